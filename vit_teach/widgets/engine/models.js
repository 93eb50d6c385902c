/* The model in a file: the part of the engine after layers.js.

   It reads what vit_teach.weights.save writes, for a ViT, a small hybrid or the CNN:

     const model = modelFromFile(arrayBuffer); // throws an Error that says why not */

const FORMAT = "vit_teach 1";
const RUN_LIMIT = 256; // megabytes kept in one run

// ---------------- The configuration ----------------

const COUNTS = ["in_channels", "num_classes", "embed_dim", "depth", "num_heads"];
const TABLES = ["learned", "sincos1d", "sincos2d"];
const OFFSETS = ["rotary", "relative", "learned+rotary", "learned+relative"];
const CHOICES = {
  position: [...TABLES, ...OFFSETS, "none"],
  pool: ["cls", "mean"],
  class_token: [true, false],
  fc_norm: [true, false],
};
const VIT_FIELDS = ["kind", "image_size", "patch_size", "mlp_ratio", "dropout"].concat(
  COUNTS,
  Object.keys(CHOICES),
);
const HYBRID_FIELDS = [...VIT_FIELDS, "stem", "stem_channels"];
const CNN_COUNTS = ["in_channels", "num_classes", "width", "depth"];
const CNN_FIELDS = ["kind", "image_size", ...CNN_COUNTS];
const CNN_HALVES = 4; // the CNN's last map has a quarter of the picture's sides

/* An unknown choice could change the model's meaning. */
function checkFields(config, fields, whose) {
  for (const name of Object.keys(config)) {
    if (!fields.includes(name)) fail(`${show(name)} is not a field of ${whose} configuration`);
  }
}

function checkPair(config, name) {
  const pair = config[name];
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(isSize)) {
    fail(`${name}=${show(pair)} must be a pair [height, width]`);
  }
}

function checkCounts(config, names) {
  for (const name of names) {
    if (!isSize(config[name])) fail(`${name}=${show(config[name])} must be a positive integer`);
  }
}

/* A ViT's configuration, checked by the rules of ViTConfig, with what follows from it: grid_size,
   num_patches, num_tokens, head_dim, mlp_dim. */
function readViT(config, fields = VIT_FIELDS) {
  checkFields(config, fields, "a ViT's");
  for (const name of ["image_size", "patch_size"]) checkPair(config, name);
  checkCounts(config, COUNTS);
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = config[name];
    if (!allowed.includes(value)) fail(`${name}=${show(value)} must be one of ${show(allowed)}`);
  }
  const { image_size: image, patch_size: patch, embed_dim: dim, num_heads: heads } = config;
  if (image[0] % patch[0] || image[1] % patch[1]) {
    fail(`image_size=${show(image)} must be divisible by patch_size=${show(patch)}`);
  }
  if (dim % heads) fail(`embed_dim=${dim} must be divisible by num_heads=${heads}`);
  if (config.position.endsWith("rotary") && (dim / heads) % 4) {
    fail(`position=${show(config.position)} needs heads of a multiple of 4 numbers`);
  }
  if (config.pool === "cls" && (!config.class_token || config.fc_norm)) {
    fail('pool="cls" needs class_token=true and fc_norm=false');
  }
  const hidden = typeof config.mlp_ratio === "number" ? Math.trunc(dim * config.mlp_ratio) : 0;
  if (!isSize(hidden)) fail(`mlp_ratio=${show(config.mlp_ratio)} makes no MLP`);
  const grid = [image[0] / patch[0], image[1] / patch[1]];
  const patches = product(grid);
  return {
    ...config,
    grid_size: grid,
    num_patches: patches,
    num_tokens: patches + +config.class_token,
    head_dim: dim / heads,
    mlp_dim: hidden,
  };
}

/* A hybrid's, by the rules of HybridConfig: a ViT's with a stem. */
function readHybrid(given) {
  const config = readViT(given, HYBRID_FIELDS);
  const { stem, stem_channels: channels, patch_size: patch, embed_dim: dim } = config;
  const [height, width] = patch;
  if (!isText(stem) || !Object.hasOwn(STEMS, stem)) {
    fail(`stem=${show(stem)} must be one of ${show(Object.keys(STEMS))}`);
  }
  if (height !== width || height < 2 || !Number.isInteger(Math.log2(height))) {
    fail(`patch_size=${show(patch)} must be square and a power of 2, at least 2`);
  }
  if (!Array.isArray(channels)) fail(`stem_channels=${show(channels)} must be a list`);
  if (stem === "cct" && stemWidths(config).at(-1) !== dim) {
    fail(`stem_channels=${show(channels)} must end in embed_dim=${dim}`);
  }
  return config;
}

/* A CNN's, by the rules of ResNetConfig. Pictures are changed by patches: here the squares that
   have a place of their own in the last map. */
function readCnn(config) {
  checkFields(config, CNN_FIELDS, "a CNN's");
  checkPair(config, "image_size");
  checkCounts(config, CNN_COUNTS);
  const { image_size: image, depth } = config;
  if (image.some((side) => side % CNN_HALVES)) {
    fail(`image_size=${show(image)} must be divisible by ${CNN_HALVES}`);
  }
  if (depth < 8 || (depth - 2) % 6) fail(`depth=${depth} must be 8, 14, 20, ...`);
  const grid = image.map((side) => side / CNN_HALVES);
  const patches = product(grid);
  return {
    ...config,
    patch_size: [CNN_HALVES, CNN_HALVES],
    grid_size: grid,
    num_patches: patches,
    num_tokens: patches,
  };
}

const READERS = { vit: readViT, hybrid: readHybrid, resnet: readCnn };

/* The configuration in the file's header, checked, with what follows from it. */
function readConfig(text) {
  const config = parseObject(text, "the configuration");
  const { kind } = config;
  if (!isText(kind) || !Object.hasOwn(READERS, kind)) {
    fail(`kind=${show(kind)}: this page runs ViTs, small hybrids and the CNN`);
  }
  return READERS[kind](config);
}

// ---------------- The tensors ----------------

/* The names and shapes of all tensors of a model: a Map. */
function tensorShapes(config, layers) {
  const { embed_dim: D, mlp_dim: M, num_tokens: T, num_classes: K } = config;
  const shapes = new Map();
  const layer = (name, out, ...input) => {
    shapes.set(`${name}.weight`, [out, ...input]).set(`${name}.bias`, [out]);
  };
  addLayerShapes(shapes, layers);
  if (config.kind === "resnet") {
    layer("fc", K, 4 * config.width);
    return shapes;
  }
  if (config.kind === "vit") layer("patch_embed.proj", D, config.in_channels, ...config.patch_size);
  if (config.class_token) shapes.set("cls_token", [1, 1, D]);
  if (/^(learned|sincos)/.test(config.position)) shapes.set("pos_embed", [1, T, D]);
  const offsets = config.grid_size.map((side) => 2 * side - 1);
  for (let i = 0; i < config.depth; i++) {
    if (config.position.endsWith("relative")) {
      shapes.set(`blocks.${i}.attn.offsets.offset_bias`, [config.num_heads, ...offsets]);
    }
    layer(`blocks.${i}.norm1`, D);
    layer(`blocks.${i}.attn.qkv`, 3 * D, D);
    layer(`blocks.${i}.attn.proj`, D, D);
    layer(`blocks.${i}.norm2`, D);
    layer(`blocks.${i}.mlp.fc1`, M, D);
    layer(`blocks.${i}.mlp.fc2`, D, M);
  }
  layer(config.fc_norm ? "fc_norm" : "norm", D);
  layer("head", K, D);
  return shapes;
}

function checkTensors(shapes, tensors) {
  for (const [name, shape] of shapes) {
    const found = tensors.get(name);
    if (!found) fail(`the tensor ${name} is missing`);
    if (!same(found.shape, shape)) {
      fail(`${name} has shape ${show(found.shape)}, the model wants ${show(shape)}`);
    }
    if (!found.data.every(Number.isFinite)) fail(`${name} holds NaN or infinity`);
  }
  for (const name of tensors.keys()) {
    if (!shapes.has(name)) fail(`unexpected tensor ${show(name)}: the model has none`);
  }
}

/* Numbers that the encoder of a ViT or hybrid keeps of one run. */
function encoderNumbers({ num_tokens: T, embed_dim: D, num_heads: H, mlp_dim: M, depth }) {
  return depth * (6 * T * D + H * T * T) + T * (7 * D + M);
}

/* What one run keeps must fit into memory: a header of a few bytes can ask for a million tokens. */
function checkMemory(config, largestMap) {
  const pixels = 2 * config.in_channels * product(config.image_size);
  const encoder = config.kind === "resnet" ? 0 : encoderNumbers(config);
  const megabytes = Math.round((4 * (pixels + encoder + 3 * largestMap)) / 1e6); // 3 maps at a time
  if (megabytes > RUN_LIMIT) fail(`one run would keep ${megabytes} MB, more than ${RUN_LIMIT}`);
}

function classNames(given, K) {
  const good = Array.isArray(given) && given.length === K && given.every(isText);
  return good ? given : Array.from({ length: K }, (_, i) => `class ${i}`);
}

/* Multiply-adds of one picture, as vit_teach.cost.macs counts them; `inLayers` are convolutions'. */
function countMacs(config, inLayers) {
  const { num_patches: N, num_tokens: T, embed_dim: D, mlp_dim: M, depth, num_classes: K } = config;
  if (config.kind === "resnet") return inLayers + 4 * config.width * K;
  const block = 4 * T * D * D + 2 * T * T * D + 2 * T * D * M;
  const projection = N * config.in_channels * product(config.patch_size) * D;
  return (config.kind === "vit" ? projection : inLayers) + depth * block + D * K;
}

/* The number of trained parameters: tables of sines are none, nor what BatchNorm has measured. */
function countParameters({ position }, tensors) {
  let parameters = 0;
  for (const [name, { data }] of tensors) {
    const measured = /\.(running_mean|running_var|num_batches_tracked)$/.test(name);
    const fixed = name === "pos_embed" && !position.startsWith("learned");
    if (!measured && !fixed) parameters += data.length;
  }
  return parameters;
}

/* A file of vit_teach.weights.save, as an ArrayBuffer, to a model:
   { config, metadata, classes, parameters, macs, tensors, layers, convolutions }. */
export function modelFromFile(buffer) {
  const header = readHeader(buffer, FILE_LIMIT);
  const { format, ...texts } = header.metadata;
  if (format !== FORMAT) {
    fail(`not written by vit_teach: format=${show(format)} must be ${show(FORMAT)}`);
  }
  const config = readConfig(texts.config);
  const metadata = parseObject(texts.metadata, "the metadata");
  const tensors = readTensors(buffer, header);
  // A header can claim any size. Believe the tensors before making a list of that length.
  const { depth } = config;
  if (depth > tensors.size) fail(`depth=${depth}, but only ${tensors.size} tensors`);
  const layers = layersOf(config);
  checkTensors(tensorShapes(config, layers), tensors);
  const { macs, largest } = layerCosts(layers, config.in_channels, config.image_size);
  checkMemory(config, largest);
  return {
    config,
    metadata,
    classes: classNames(metadata.classes, config.num_classes),
    parameters: countParameters(config, tensors),
    macs: countMacs(config, macs),
    tensors,
    layers,
    convolutions: foldedLayers(layers, tensors),
  };
}
