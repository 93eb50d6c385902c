/* Reading a weight file: the first part of the engine behind the ViT X-ray.

   The engine is fourteen texts, joined in this order to one ES module (so that it can come from a
   Blob, as modules do on a page opened from disk): files.js reads files of numbers, layers.js lists
   the convolutions of a model, models.js finds the model in a file, arithmetic.js multiplies,
   convolution.js runs the CNN and a hybrid's stem, offsets.js puts positions into the attention,
   vit.js runs the ViT, forward.js either of them, readings.js reads more off a run, explain.js takes
   single numbers apart, resize.js prepares pictures, edit.js changes them, decode.js reads their
   files, worker.js runs it all beside the page. No library, no request.

   This part reads the safetensors files that vit_teach.weights.save writes. A file may come from
   anybody, so nothing in it is believed before it is checked.

   Letters in all parts: C channels, H/W image, P patch, N patches, T tokens, D width, M width of the
   MLP, h width of a head (the heads come first, as in (H, T, h)), K classes. */

const FILE_LIMIT = 400e6; // bytes: ViT-B in float32 fits
const HEADER_LIMIT = 1e6; // bytes: ViT-L needs a twentieth of it

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

const PICKLE = "PyTorch file of the old kind";
const KINDS = [
  ["\xff\xd8\xff", "JPEG picture"],
  ["\x89PNG\r\n", "PNG picture"],
  ["GIF8", "GIF picture"],
  ["RIFF", "WebP picture"],
  ["%PDF", "PDF document"],
  ["PK\x03\x04", "zip archive, as PyTorch's own files are"],
  ["\x80\x02", PICKLE],
  ["\x80\x04", PICKLE],
];

/* What a file is by its first bytes, in a human's words; undefined for what is not known. */
function kindOf(bytes) {
  const first = String.fromCharCode(...bytes.subarray(0, 16));
  return KINDS.find(([start]) => first.startsWith(start))?.[1];
}

// ---------------- Files of numbers ----------------

const DECODERS = {
  F32: (bytes) => new Float32Array(bytes),
  F16: (bytes) => fromHalf(new Uint16Array(bytes)),
  BF16: (bytes) => fromBfloat16(new Uint16Array(bytes)),
  I64: (bytes) => Float64Array.from(new BigInt64Array(bytes), Number), // BatchNorm counts its steps
};
const WIDTHS = { F32: 4, F16: 2, BF16: 2, I64: 8 }; // bytes of one number

/* float16 (1 sign, 5 exponent, 10 fraction bits) to float32: move the fields, mend the exponent. */
function fromHalf(halves) {
  const numbers = new Float32Array(halves.length);
  const bits = new Uint32Array(numbers.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const sign = (half & 0x8000) << 16;
    const rest = half & 0x7fff;
    if (rest < 0x400)
      numbers[i] = (sign ? -1 : 1) * rest * 2 ** -24; // zero and subnormal
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
  const kind = kindOf(new Uint8Array(buffer, 0, Math.min(size, 16)));
  if (kind && length > HEADER_LIMIT) fail(`this is a ${kind}, no safetensors file`);
  if (length > size - 8 && length <= HEADER_LIMIT) {
    fail(`the file is cut off: ${size} bytes, but a header of ${length} bytes in ${size - 8}`);
  }
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
  if (!Object.hasOwn(WIDTHS, dtype))
    fail(`${title}: dtype=${show(dtype)}, not F16, BF16, F32, I64`);
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isCount)) {
    fail(`${title} has shape=${show(shape)}: it must list whole numbers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(`${title} has data_offsets=${show(offsets)}: they must be two whole numbers`);
  }
  const [begin, end] = offsets;
  const needed = product(shape) * WIDTHS[dtype];
  if (begin > end || end > size) fail(`${title} lies at ${begin}..${end}, outside 0..${size}`);
  if (end - begin !== needed) {
    fail(`${title} has ${end - begin} bytes; shape=${show(shape)} in ${dtype} needs ${needed}`);
  }
  return { name, dtype, shape, begin, end };
}

/* A file whose last tensor ends behind its end was not read or copied to the end. */
function checkLength(entries, start, size) {
  const end = Math.max(0, ...Object.values(entries).map((entry) => entry?.data_offsets?.[1] || 0));
  if (!isCount(end) || end <= size) return;
  fail(
    `the file is cut off: ${start + size} of ${start + end} bytes ` +
      `(its tensors need 0..${end}; there is nothing outside 0..${size})`,
  );
}

/* The tensors that the header describes: Map of name -> { dtype, shape, data }. */
function readTensors(buffer, { entries, start }) {
  const size = buffer.byteLength - start;
  checkLength(entries, start, size);
  const list = Object.entries(entries).map(([name, entry]) => readEntry(name, entry, size));
  list.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let reached = 0; // the tensors must fill the file: no overlap, no gap
  for (const { name, begin, end } of list) {
    if (begin < reached) fail(`tensor ${show(name)} overlaps the one before it at byte ${begin}`);
    if (begin > reached) fail(`bytes ${reached}..${begin} belong to no tensor`);
    reached = end;
  }
  if (reached !== size) fail(`the tensors end at byte ${reached}, the file at ${size}`);
  return new Map(
    list.map(({ name, dtype, shape, begin, end }) => {
      const data = DECODERS[dtype](buffer.slice(start + begin, start + end));
      return [name, { dtype, shape, data }];
    }),
  );
}

/* A safetensors file to { tensors: Map of name -> { dtype, shape, data }, metadata }.
   The numbers come as float32, whole ones as float64. Throws an Error that names what is wrong. */
export function readSafetensors(buffer, limit = FILE_LIMIT) {
  const header = readHeader(buffer, limit);
  return { tensors: readTensors(buffer, header), metadata: header.metadata };
}
