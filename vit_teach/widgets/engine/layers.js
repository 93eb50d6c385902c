/* The convolutional layers of a hybrid's stem and of the CNN: the part of the engine after files.js.

   A layer is a convolution, a max-pooling, or a residual block of two convolutions and a shortcut.
   Their list follows from a configuration; what tensors a file must hold, what a pass costs and the
   weights as convolution.js wants them follow from the list. */

const BATCH_NORM_EPS = 1e-5; // PyTorch's

// ---------------- The lists ----------------

/* A convolution with a square kernel. `norm` names the BatchNorm after it, null: none. ReLU comes
   last, unless `relu` is false. */
const convolution = (name, input, output, { kernel = 3, ...more } = {}) => {
  const usual = { stride: 1, padding: kernel >> 1, norm: null, bias: false, relu: true };
  return { kind: "convolution", name, input, output, kernel, ...usual, ...more };
};
const maxPool = (kernel, padding) => ({ kind: "pool", kernel, stride: 2, padding });

/* Two convolutions of 3 x 3; the shortcut is a convolution of 1 x 1 where the size changes. */
function residualBlock(name, input, output, stride) {
  const numbered = (n, from, more) =>
    convolution(`${name}.conv${n}`, from, output, { norm: `${name}.bn${n}`, ...more });
  const across = { kernel: 1, stride, norm: `${name}.downsample.1`, relu: false };
  return {
    kind: "block",
    first: numbered(1, input, { stride }),
    second: numbered(2, output, { relu: false }),
    shortcut:
      stride === 1 && input === output
        ? null
        : convolution(`${name}.downsample.0`, input, output, across),
  };
}

/* How many channels each layer of a hybrid's stem gives: the configuration's own, or widths that
   double with each halving of the picture. */
function stemWidths({ stem, stem_channels: given, patch_size: [P], embed_dim: D }) {
  const halvings = Math.log2(P);
  const count = { overlap: 0, cct: halvings }[stem] ?? halvings + 1;
  const usual = Array.from({ length: count }, (_, i) => Math.floor(D / 2 ** (count - 1 - i)));
  const widths = given.length ? given : usual;
  if (widths.length !== count || !widths.every(isSize)) {
    fail(`stem_channels=${show(given)}: this stem wants ${count} positive integers`);
  }
  return widths;
}

/* The layers before the projection, by the kind of stem; `at(n)` names the n-th of PyTorch's. */
const STEMS = {
  conv: (widths, before, at) =>
    widths.map((width, i) =>
      convolution(at(3 * i), before[i], width, { stride: i ? 2 : 1, norm: at(3 * i + 1) }),
    ),
  overlap: () => [],
  cct: (widths, before, at) =>
    widths.flatMap((width, i) => [convolution(at(3 * i), before[i], width), maxPool(3, 1)]),
  residual: ([first, ...widths], before, at) => [
    convolution(at(0), before[0], first, { norm: at(1) }),
    maxPool(2, 0),
    ...widths.map((width, i) => residualBlock(at(4 + i), before[i + 1], width, i ? 2 : 1)),
  ],
};

function stemLayers(config) {
  const { stem, in_channels, patch_size: patch, embed_dim: D } = config;
  const [P] = patch;
  const widths = stemWidths(config);
  const before = [in_channels, ...widths]; // channels that each layer gets
  const layers = STEMS[stem](widths, before, (n) => `patch_embed.backbone.${n}`);
  if (stem === "cct") return layers; // what its last layer gives are the tokens
  const wide = { kernel: 2 * P, stride: P, padding: P / 2 };
  const looks = { bias: true, relu: false, ...(stem === "overlap" ? wide : { kernel: 1 }) };
  return [...layers, convolution("patch_embed.proj", before.at(-1), D, looks)];
}

/* One convolution and three stages of blocks; each stage but the first halves the map. */
function cnnLayers({ in_channels, width, depth }) {
  const stage = (number) =>
    Array.from({ length: (depth - 2) / 6 }, (_, i) => {
      const output = width * 2 ** (number - 1);
      const halves = number > 1 && i === 0;
      const input = halves ? output / 2 : output;
      return residualBlock(`layer${number}.${i}`, input, output, halves ? 2 : 1);
    });
  const first = convolution("conv1", in_channels, width, { norm: "bn1" });
  return [first, ...[1, 2, 3].flatMap(stage)];
}

/* The convolutional layers of a model, in order; a plain ViT has none. */
function layersOf(config) {
  if (config.kind === "resnet") return cnnLayers(config);
  return config.kind === "hybrid" ? stemLayers(config) : [];
}

// ---------------- What follows from a list ----------------

function convolutionsOf(layer) {
  if (layer.kind === "block") return [layer.first, layer.second, layer.shortcut].filter(Boolean);
  return layer.kind === "pool" ? [] : [layer];
}

/* The names and shapes of the parameters of some layers, put into a Map. */
function addLayerShapes(shapes, layers) {
  for (const { name, norm, input, output, kernel, bias } of layers.flatMap(convolutionsOf)) {
    shapes.set(`${name}.weight`, [output, input, kernel, kernel]);
    if (bias) shapes.set(`${name}.bias`, [output]);
    if (!norm) continue;
    for (const part of ["weight", "bias", "running_mean", "running_var"]) {
      shapes.set(`${norm}.${part}`, [output]);
    }
    shapes.set(`${norm}.num_batches_tracked`, []);
  }
}

/* The height and width of the map that a layer makes of one of `size`. */
function sizeAfter(layer, size) {
  const { kernel, stride, padding } = layer.kind === "block" ? layer.first : layer;
  return size.map((side) => Math.floor((side + 2 * padding - kernel) / stride) + 1);
}

/* Multiply-adds of the layers for a picture of `size`, and the numbers of the largest map. */
function layerCosts(layers, channels, size) {
  let macs = 0;
  let largest = channels * product(size);
  for (const layer of layers) {
    size = sizeAfter(layer, size);
    for (const { input, output, kernel } of convolutionsOf(layer)) {
      macs += product(size) * kernel * kernel * input * output;
      largest = Math.max(largest, product(size) * output);
    }
  }
  return { macs, largest };
}

/* A convolution's weights with the BatchNorm after it folded in, as in evaluation both only scale
   and shift: { weight (out, k, k, in), bias (out,) }. */
function folded(tensors, { name, norm, input, output, kernel, bias }) {
  const numbers = (title) => tensors.get(title).data;
  const weight = numbers(`${name}.weight`); // (out, in, k, k)
  const places = kernel * kernel;
  const turned = new Float32Array(weight.length);
  const shifts = bias ? numbers(`${name}.bias`).slice() : new Float32Array(output);
  for (let o = 0; o < output; o++) {
    let scale = 1;
    if (norm) {
      const variance = numbers(`${norm}.running_var`)[o];
      if (variance < 0) fail(`${norm}.running_var holds ${variance}: no variance is below 0`);
      scale = numbers(`${norm}.weight`)[o] / Math.sqrt(variance + BATCH_NORM_EPS);
      shifts[o] = numbers(`${norm}.bias`)[o] - numbers(`${norm}.running_mean`)[o] * scale;
    }
    for (let c = 0; c < input; c++) {
      for (let p = 0; p < places; p++) {
        turned[(o * places + p) * input + c] = weight[(o * input + c) * places + p] * scale;
      }
    }
  }
  return { weight: turned, bias: shifts };
}

/* Name of each convolution -> its folded weights. */
function foldedLayers(layers, tensors) {
  const all = layers.flatMap(convolutionsOf);
  return new Map(all.map((layer) => [layer.name, folded(tensors, layer)]));
}
