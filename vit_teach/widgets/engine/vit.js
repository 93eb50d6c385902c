/* A Vision Transformer in plain JavaScript: the engine of the ViT X-ray. No library, no request.

   It reads the safetensors files that vit_teach.checkpoints.save writes and keeps every step under
   the name that VisionTransformer(images, intermediates=True) gives it:

     const model = modelFromFile(arrayBuffer);              // throws an Error that says why not
     const { probabilities, out } = forward(model, pixels); // Float32Array (C, H, W), normalised
     out["blocks.0.attn.weights"]                           // { shape: [H, T, T], data }

   Tensors are Float32Arrays in row-major order, without the batch axis. Letters: C channels,
   H/W image, P patch, N patches, T tokens, D width, M width of the MLP, h width of a head (the
   heads come first, as in (H, T, h)), K classes. vit_page.js adds pictures and a worker. */

const FORMAT = "vit_teach 1";
const FILE_LIMIT = 400e6; // bytes: ViT-B in float32 fits
const HEADER_LIMIT = 1e6; // bytes: ViT-L needs a twentieth of it
const RUN_LIMIT = 256; // megabytes kept in one run
const LAYER_NORM_EPS = 1e-6; // as in vit_teach.encoder

function fail(message) {
  throw new Error(message);
}

const isText = (v) => typeof v === "string";
const isCount = (n) => Number.isSafeInteger(n) && n >= 0;
const isSize = (n) => Number.isSafeInteger(n) && n >= 1;
const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const product = (shape) => shape.reduce((a, b) => a * b, 1);
const same = (a, b) => a.length === b.length && a.every((n, i) => n === b[i]);
const show = (value) => String(JSON.stringify(value)).slice(0, 80); // for messages: never long

// ---------------- Files ----------------

const DECODERS = {
  F32: (bytes) => new Float32Array(bytes),
  F16: (bytes) => fromHalf(new Uint16Array(bytes)),
  BF16: (bytes) => fromBfloat16(new Uint16Array(bytes)),
};
const WIDTHS = { F32: 4, F16: 2, BF16: 2 }; // bytes of one number

/* float16 (1 sign, 5 exponent, 10 fraction bits) to float32: move the fields, mend the exponent. */
function fromHalf(halves) {
  const numbers = new Float32Array(halves.length);
  const bits = new Uint32Array(numbers.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i], sign = (half & 0x8000) << 16, rest = half & 0x7fff;
    if (rest < 0x400) numbers[i] = (sign ? -1 : 1) * rest * 2 ** -24; // zero and subnormal
    else if (rest < 0x7c00) bits[i] = sign | ((rest << 13) + 0x38000000);
    else bits[i] = sign | 0x7f800000 | (rest << 13); // infinity and NaN
  }
  return numbers;
}

/* bfloat16 is the upper half of a float32. */
function fromBfloat16(halves) {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
  return new Float32Array(bits.buffer);
}

/* The object in a JSON text. Refuses the one name that could change what other objects are. */
function parseObject(text, what) {
  const refuse = (key, value) => (key === "__proto__" ? fail('the name "__proto__"') : value);
  let value;
  try {
    value = JSON.parse(text, refuse);
  } catch (error) {
    fail(`${what} cannot be read: ${error.message.slice(0, 120)}`);
  }
  return isObject(value) ? value : fail(`${what} must be an object`);
}

/* The header, checked: { metadata, entries: name -> what is said of it, start of the data }. */
function readHeader(buffer, limit) {
  if (!(buffer instanceof ArrayBuffer)) fail("the file must be given as an ArrayBuffer");
  const size = buffer.byteLength;
  if (size > limit) fail(`the file has ${size} bytes, more than the limit of ${limit}`);
  if (size < 8) fail(`no safetensors file: only ${size} bytes`);
  const view = new DataView(buffer);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > size - 8) fail(`no safetensors file: a header of ${length} bytes in ${size - 8}`);
  if (length > HEADER_LIMIT) fail(`the header has ${length} bytes, more than ${HEADER_LIMIT}`);
  const bytes = new Uint8Array(buffer, 8, length);
  if (bytes[0] !== 0x7b) fail("no safetensors file: the header does not begin with {");
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    fail("the header is not UTF-8 text");
  }
  const { __metadata__: metadata = {}, ...entries } = parseObject(text, "the header");
  if (!isObject(metadata) || !Object.values(metadata).every(isText)) {
    fail("__metadata__ must hold texts only");
  }
  return { metadata, entries, start: 8 + length };
}

/* One entry of the header, checked: { name, dtype, shape, begin, end }. */
function readEntry(name, entry, size) {
  const title = `tensor ${show(name)}`;
  if (!isObject(entry)) fail(`${title} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!Object.hasOwn(WIDTHS, dtype)) fail(`${title}: dtype=${show(dtype)}, not F16, BF16, F32`);
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
    fail(`${title} has shape=${show(shape)}: it must list whole numbers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(`${title} has data_offsets=${show(offsets)}: they must be two whole numbers`);
  }
  const [begin, end] = offsets, needed = product(shape) * WIDTHS[dtype];
  if (begin > end || end > size) fail(`${title} lies at ${begin}..${end}, outside 0..${size}`);
  if (end - begin !== needed) {
    fail(`${title} has ${end - begin} bytes; shape=${show(shape)} in ${dtype} needs ${needed}`);
  }
  return { name, dtype, shape, begin, end };
}

/* The tensors that the header describes: Map of name -> { dtype, shape, data }. */
function readTensors(buffer, { entries, start }) {
  const size = buffer.byteLength - start;
  const list = Object.entries(entries).map(([name, entry]) => readEntry(name, entry, size));
  list.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let reached = 0; // the tensors must fill the file: no overlap, no gap
  for (const { name, begin, end } of list) {
    if (begin < reached) fail(`tensor ${show(name)} overlaps the one before it at byte ${begin}`);
    if (begin > reached) fail(`bytes ${reached}..${begin} belong to no tensor`);
    reached = end;
  }
  if (reached !== size) fail(`the tensors end at byte ${reached}, the file at ${size}`);
  return new Map(list.map(({ name, dtype, shape, begin, end }) => {
    const data = DECODERS[dtype](buffer.slice(start + begin, start + end));
    return [name, { dtype, shape, data }];
  }));
}

/* A safetensors file to { tensors: Map of name -> { dtype, shape, data }, metadata }.
   The numbers come as float32. Throws an Error that names what is wrong with the file. */
export function readSafetensors(buffer, limit = FILE_LIMIT) {
  const header = readHeader(buffer, limit);
  return { tensors: readTensors(buffer, header), metadata: header.metadata };
}

const COUNTS = ["in_channels", "num_classes", "embed_dim", "depth", "num_heads"];
const CHOICES = {
  position: ["learned", "sincos1d", "sincos2d", "none"],
  pool: ["cls", "mean"],
  class_token: [true, false],
  fc_norm: [true, false],
};
const FIELDS = ["kind", "image_size", "patch_size", "mlp_ratio", "dropout"]
  .concat(COUNTS, Object.keys(CHOICES));

/* The configuration in the file's header, checked by the rules of ViTConfig, with what follows
   from it: grid_size, num_patches, num_tokens, head_dim, mlp_dim. */
function readConfig(text) {
  const config = parseObject(text, "the configuration");
  if (config.kind !== "vit") fail(`kind=${show(config.kind)}: this page runs plain ViTs ("vit")`);
  for (const name of Object.keys(config)) { // an unknown choice could change the model's meaning
    if (!FIELDS.includes(name)) fail(`${show(name)} is not a field of a ViT's configuration`);
  }
  for (const name of ["image_size", "patch_size"]) {
    const pair = config[name];
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(isSize)) {
      fail(`${name}=${show(pair)} must be a pair [height, width]`);
    }
  }
  for (const name of COUNTS) {
    if (!isSize(config[name])) fail(`${name}=${show(config[name])} must be a positive integer`);
  }
  for (const [name, allowed] of Object.entries(CHOICES)) {
    const value = config[name];
    if (!allowed.includes(value)) fail(`${name}=${show(value)} must be one of ${show(allowed)}`);
  }
  const { image_size: image, patch_size: patch, embed_dim: dim, num_heads: heads } = config;
  if (image[0] % patch[0] || image[1] % patch[1]) {
    fail(`image_size=${show(image)} must be divisible by patch_size=${show(patch)}`);
  }
  if (dim % heads) fail(`embed_dim=${dim} must be divisible by num_heads=${heads}`);
  if (config.pool === "cls" && (!config.class_token || config.fc_norm)) {
    fail('pool="cls" needs class_token=true and fc_norm=false');
  }
  const hidden = typeof config.mlp_ratio === "number" ? Math.trunc(dim * config.mlp_ratio) : 0;
  if (!isSize(hidden)) fail(`mlp_ratio=${show(config.mlp_ratio)} makes no MLP`);
  const grid = [image[0] / patch[0], image[1] / patch[1]], patches = grid[0] * grid[1];
  return {
    ...config, grid_size: grid, num_patches: patches, num_tokens: patches + +config.class_token,
    head_dim: dim / heads, mlp_dim: hidden,
  };
}

/* The names and shapes of all parameters of a model: a Map. */
function parameterShapes(config) {
  const { embed_dim: D, mlp_dim: M, num_tokens: T, num_classes: K } = config;
  const shapes = new Map();
  const layer = (name, out, ...input) => {
    shapes.set(`${name}.weight`, [out, ...input]).set(`${name}.bias`, [out]);
  };
  layer("patch_embed.proj", D, config.in_channels, ...config.patch_size);
  if (config.class_token) shapes.set("cls_token", [1, 1, D]);
  if (config.position !== "none") shapes.set("pos_embed", [1, T, D]);
  for (let i = 0; i < config.depth; i++) {
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

function checkTensors(config, tensors) {
  // A header can claim any size. Believe the tensors before making a list of that length.
  if (config.depth > tensors.size) fail(`depth=${config.depth}, but only ${tensors.size} tensors`);
  const shapes = parameterShapes(config);
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

/* What one run keeps must fit into memory: a header of a few bytes can ask for a million tokens. */
function checkMemory(config) {
  const { num_tokens: T, embed_dim: D, num_heads: H, mlp_dim: M, depth } = config;
  const pixels = 2 * config.in_channels * product(config.image_size);
  const numbers = depth * (6 * T * D + H * T * T) + T * (7 * D + M) + pixels;
  const megabytes = Math.round((4 * numbers) / 1e6);
  if (megabytes > RUN_LIMIT) fail(`one run would keep ${megabytes} MB, more than ${RUN_LIMIT}`);
}

function classNames(given, K) {
  const good = Array.isArray(given) && given.length === K && given.every(isText);
  return good ? given : Array.from({ length: K }, (_, i) => `class ${i}`);
}

/* Multiply-adds of one picture, as vit_teach.cost.macs counts them. */
function countMacs(config) {
  const { num_patches: N, num_tokens: T, embed_dim: D, mlp_dim: M, depth, num_classes: K } = config;
  const block = 4 * T * D * D + 2 * T * T * D + 2 * T * D * M;
  return N * config.in_channels * product(config.patch_size) * D + depth * block + D * K;
}

/* A file of vit_teach.checkpoints.save, as an ArrayBuffer, to a model:
   { config, metadata, classes, parameters, macs, tensors }. */
export function modelFromFile(buffer) {
  const header = readHeader(buffer, FILE_LIMIT), { format, ...texts } = header.metadata;
  if (format !== FORMAT) {
    fail(`not written by vit_teach: format=${show(format)} must be ${show(FORMAT)}`);
  }
  const config = readConfig(texts.config);
  const metadata = parseObject(texts.metadata, "the metadata");
  const tensors = readTensors(buffer, header);
  checkTensors(config, tensors);
  checkMemory(config);
  let parameters = 0;
  for (const [name, { data }] of tensors) {
    if (name !== "pos_embed" || config.position === "learned") parameters += data.length;
  }
  return {
    config, metadata, classes: classNames(metadata.classes, config.num_classes),
    parameters, macs: countMacs(config), tensors,
  };
}

// ---------------- Arithmetic ----------------

/* out (rows, cols) = a (rows, inner) @ w (cols, inner)^T + bias, for one block of rows and columns.
   PyTorch keeps weights as (out, in), so both rows of each dot product are contiguous as they are.
   Two rows times four columns at once: 6 numbers loaded for 8 multiply-adds, and the 8 sums stay
   in registers. Past the edge the last row or column is simply computed again. */
function multiplyBlock(out, a, w, bias, size, rowFrom, rowTo, colFrom, colTo) {
  const { cols, inner } = size, lastRow = rowTo - 1, lastCol = colTo - 1;
  for (let c = colFrom; c < colTo; c += 4) {
    const c1 = Math.min(c + 1, lastCol), c2 = Math.min(c + 2, lastCol);
    const c3 = Math.min(c + 3, lastCol);
    const p0 = c * inner, p1 = c1 * inner, p2 = c2 * inner, p3 = c3 * inner;
    for (let r = rowFrom; r < rowTo; r += 2) {
      const r1 = Math.min(r + 1, lastRow), q0 = r * inner, q1 = r1 * inner;
      let s0 = bias ? bias[c] : 0, s1 = bias ? bias[c1] : 0, s2 = bias ? bias[c2] : 0;
      let s3 = bias ? bias[c3] : 0, t0 = s0, t1 = s1, t2 = s2, t3 = s3;
      for (let i = 0; i < inner; i++) {
        const x = a[q0 + i], y = a[q1 + i];
        const w0 = w[p0 + i], w1 = w[p1 + i], w2 = w[p2 + i], w3 = w[p3 + i];
        s0 += x * w0; s1 += x * w1; s2 += x * w2; s3 += x * w3;
        t0 += y * w0; t1 += y * w1; t2 += y * w2; t3 += y * w3;
      }
      const o = r * cols, o1 = r1 * cols;
      out[o + c] = s0; out[o + c1] = s1; out[o + c2] = s2; out[o + c3] = s3;
      out[o1 + c] = t0; out[o1 + c1] = t1; out[o1 + c2] = t2; out[o1 + c3] = t3;
    }
  }
}

const ROWS_AT_ONCE = 64, MACS_AT_ONCE = 4e6; // a block takes a few milliseconds

/* a (rows, inner) @ w (cols, inner)^T + bias -> (rows, cols); pauses between blocks. */
function* multiply(a, w, bias, rows, cols, inner) {
  const out = new Float32Array(rows * cols), size = { cols, inner };
  const width = 4 * Math.max(1, Math.floor(MACS_AT_ONCE / (ROWS_AT_ONCE * inner * 4)));
  for (let r = 0; r < rows; r += ROWS_AT_ONCE) {
    for (let c = 0; c < cols; c += width) {
      const rowTo = Math.min(r + ROWS_AT_ONCE, rows), colTo = Math.min(c + width, cols);
      multiplyBlock(out, a, w, bias, size, r, rowTo, c, colTo);
      yield;
    }
  }
  return out; // (rows, cols)
}

/* x (rows, in) through the linear layer `name` of the model -> (rows, out). */
function* linear(model, name, x, rows) {
  const weight = model.tensors.get(`${name}.weight`), bias = model.tensors.get(`${name}.bias`).data;
  const [cols, ...input] = weight.shape;
  return yield* multiply(x, weight.data, bias, rows, cols, product(input)); // (rows, out)
}

/* Each row of x (rows, D) to mean 0 and variance 1, then scaled and shifted. */
function layerNorm(model, name, x, rows) {
  const weight = model.tensors.get(`${name}.weight`).data, D = weight.length;
  const bias = model.tensors.get(`${name}.bias`).data, out = new Float32Array(x.length);
  for (let from = 0; from < rows * D; from += D) {
    let mean = 0, variance = 0;
    for (let i = 0; i < D; i++) mean += x[from + i];
    mean /= D;
    for (let i = 0; i < D; i++) variance += (x[from + i] - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / D + LAYER_NORM_EPS);
    for (let i = 0; i < D; i++) out[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
  }
  return out; // (rows, D)
}

/* Softmax of each row of x (rows, cols), in place. */
function softmax(x, rows, cols) {
  for (let from = 0; from < rows * cols; from += cols) {
    let most = -Infinity, total = 0;
    for (let i = from; i < from + cols; i++) most = Math.max(most, x[i]);
    for (let i = from; i < from + cols; i++) total += x[i] = Math.exp(x[i] - most);
    for (let i = from; i < from + cols; i++) x[i] /= total;
  }
  return x; // (rows, cols)
}

/* The normal distribution P(X <= x) at multiples of 1/64, and its slope times 1/64, interleaved.
   For x > 0: 1/2 + density(x) (x + x^3/3 + x^5/15 + ...), a sum of positive terms. */
const REACH = 6, PER_UNIT = 64; // beyond 6 the probability is 0 or 1 to nine digits
const NORMAL = new Float64Array(2 * (2 * REACH * PER_UNIT + 2));
for (let i = 0; i < NORMAL.length / 2; i++) {
  const x = i / PER_UNIT - REACH, density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  let sum = 0;
  for (let n = 1, term = Math.abs(x); term > 1e-17; n += 2, term *= x * x / n) sum += term;
  NORMAL[2 * i] = 0.5 + Math.sign(x) * density * sum;
  NORMAL[2 * i + 1] = density / PER_UNIT;
}

/* GELU, x P(X <= x), in place. This is the exact one (with erf), not its tanh approximation.
   JavaScript has no erf; a cubic through the table's values and slopes is right to 1e-9. */
export function gelu(x) {
  for (let i = 0; i < x.length; i++) {
    const value = x[i];
    if (value <= -REACH) x[i] = 0;
    else if (value < REACH) {
      const place = (value + REACH) * PER_UNIT, left = Math.floor(place), k = 2 * left;
      const t = place - left, u = 1 - t;
      const ends = NORMAL[k] * (1 + 2 * t) * u * u + NORMAL[k + 2] * t * t * (1 + 2 * u);
      x[i] = value * (ends + t * u * (NORMAL[k + 1] * u - NORMAL[k + 3] * t));
    }
  }
  return x;
}

function add(a, b) {
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i] + b[i];
  return out;
}

// ---------------- The model ----------------

/* Pixels (C, H, W) cut into flattened patches (N, C PH PW), in the order of the weights ("cpp"). */
function patchify(pixels, { in_channels: C, image_size: [H, W], patch_size: [ph, pw] }) {
  const out = new Float32Array(pixels.length);
  let at = 0;
  for (let y = 0; y < H; y += ph) {
    for (let x = 0; x < W; x += pw) {
      for (let c = 0; c < C; c++) {
        for (let row = y; row < y + ph; row++, at += pw) {
          const from = (c * H + row) * W + x;
          out.set(pixels.subarray(from, from + pw), at);
        }
      }
    }
  }
  return out; // (N, C PH PW)
}

/* Patch vectors (N, D) to tokens (T, D): class token in front, positions added. Equation 1. */
function addPositions(model, patches) {
  const { num_tokens: T, embed_dim: D, class_token: first } = model.config;
  const x = new Float32Array(T * D), positions = model.tensors.get("pos_embed")?.data;
  if (first) x.set(model.tensors.get("cls_token").data);
  x.set(patches, first ? D : 0);
  return positions ? add(x, positions) : x; // (T, D)
}

/* qkv (T, 3D), rows ordered q, k, v and by head inside each, to three arrays (H, T, h). */
function splitHeads(qkv, T, D, h) {
  return [0, 1, 2].map((part) => {
    const out = new Float32Array(T * D);
    for (let head = 0, at = 0; head < D / h; head++) {
      for (let t = 0; t < T; t++, at += h) {
        const from = t * 3 * D + part * D + head * h;
        out.set(qkv.subarray(from, from + h), at);
      }
    }
    return out; // (H, T, h)
  });
}

/* Softmax(q k^T / sqrt(h)) of each head: equation 6. */
function* attentionWeights(q, k, heads, T, h) {
  const weights = new Float32Array(heads * T * T), scale = h ** -0.5;
  for (let head = 0; head < heads; head++) {
    const part = (x) => x.subarray(head * T * h, (head + 1) * T * h); // (T, h)
    const scores = yield* multiply(part(q).map((n) => n * scale), part(k), null, T, T, h); // (T, T)
    weights.set(softmax(scores, T, T), head * T * T);
  }
  return weights; // (H, T, T)
}

/* A v of each head, heads side by side again: equation 7. */
function* mixValues(weights, v, heads, T, h) {
  const mixed = new Float32Array(T * heads * h), turned = new Float32Array(h * T);
  for (let head = 0; head < heads; head++) {
    for (let t = 0; t < T; t++) {
      for (let i = 0; i < h; i++) turned[i * T + t] = v[(head * T + t) * h + i]; // (h, T)
    }
    const rows = weights.subarray(head * T * T, (head + 1) * T * T); // (T, T)
    const part = yield* multiply(rows, turned, null, T, h, T); // (T, h)
    for (let t = 0; t < T; t++) {
      mixed.set(part.subarray(t * h, (t + 1) * h), (t * heads + head) * h);
    }
  }
  return mixed; // (T, D)
}

/* One encoder block, equations 2 and 3: x (T, D) -> (T, D). `keep` stores what it is given. */
function* encoderBlock(model, name, x, keep) {
  const { num_tokens: T, embed_dim: D, num_heads: H, head_dim: h } = model.config;
  const normal = layerNorm(model, `${name}.norm1`, x, T); // (T, D)
  const qkv = yield* linear(model, `${name}.attn.qkv`, normal, T); // (T, 3D)
  const [q, k, v] = splitHeads(qkv, T, D, h); // (H, T, h) each
  for (const [letter, data] of [["q", q], ["k", k], ["v", v]]) {
    yield keep(`${name}.attn.${letter}`, [H, T, h], data);
  }
  const weights = yield* attentionWeights(q, k, H, T, h); // (H, T, T)
  yield keep(`${name}.attn.weights`, [H, T, T], weights);
  const mixed = yield* mixValues(weights, v, H, T, h); // (T, D)
  const attn = yield* linear(model, `${name}.attn.proj`, mixed, T); // (T, D)
  yield keep(`${name}.attn`, [T, D], attn);
  const middle = add(x, attn); // (T, D), equation 2
  const input = layerNorm(model, `${name}.norm2`, middle, T); // (T, D)
  const hidden = gelu(yield* linear(model, `${name}.mlp.fc1`, input, T)); // (T, M)
  const mlp = yield* linear(model, `${name}.mlp.fc2`, hidden, T); // (T, D)
  yield keep(`${name}.mlp`, [T, D], mlp);
  const out = add(middle, mlp); // (T, D), equation 3
  yield keep(name, [T, D], out);
  return out; // (T, D)
}

/* Normalised tokens (T, D) to the vector (D,) that the classifier reads. */
function pool(model, x) {
  const { pool: kind, class_token: first, num_patches: N, embed_dim: D, fc_norm } = model.config;
  if (kind === "cls") return x.slice(0, D); // (D,)
  const sums = new Float64Array(D);
  for (let i = first ? D : 0; i < x.length; i++) sums[i % D] += x[i];
  const mean = Float32Array.from(sums, (sum) => sum / N); // (D,), patch tokens only
  return fc_norm ? layerNorm(model, "fc_norm", mean, 1) : mean; // (D,)
}

/* The forward pass as a generator. It yields the name of each intermediate as it is ready, and
   undefined at places in between where the caller may pause; it returns what forward returns. */
export function* stages(model, pixels) {
  const { config } = model, { num_tokens: T, num_patches: N, embed_dim: D } = config;
  const shape = [config.in_channels, ...config.image_size];
  if (!(pixels instanceof Float32Array) || pixels.length !== product(shape)) {
    fail(`pixels must be a Float32Array of ${show(shape)}, ${product(shape)} numbers`);
  }
  const out = {}, times = {};
  let then = performance.now();
  const keep = (name, shape, data) => {
    const now = performance.now();
    times[name] = now - then; // milliseconds since the one before
    then = now;
    out[name] = { shape, data };
    return name;
  };
  const patches = yield* linear(model, "patch_embed.proj", patchify(pixels, config), N); // (N, D)
  yield keep("patch_embed", [N, D], patches);
  let x = addPositions(model, patches); // (T, D)
  yield keep("tokens", [T, D], x);
  for (let i = 0; i < config.depth; i++) {
    x = yield* encoderBlock(model, `blocks.${i}`, x, keep); // (T, D)
  }
  x = config.fc_norm ? x.slice() : layerNorm(model, "norm", x, T); // (T, D)
  yield keep("norm", [T, D], x);
  const pooled = pool(model, x); // (D,)
  yield keep("pooled", [D], pooled);
  const logits = yield* linear(model, "head", pooled, 1); // (K,)
  yield keep("logits", [logits.length], logits);
  return { logits, probabilities: softmax(logits.slice(), 1, logits.length), out, times };
}

function finish(generator) {
  for (;;) {
    const { done, value } = generator.next();
    if (done) return value;
  }
}

/* Pixels (C, H, W), normalised, to { logits (K,), probabilities (K,), out: name -> tensor,
   times: name -> milliseconds }. */
export function forward(model, pixels) {
  return finish(stages(model, pixels));
}
