/* From a picture on the page to the model and back: the page's side of vit.js.

   The two files make one ES module, this text after that of vit.js (so that it can come from a
   Blob, as modules do on a page opened from disk). Pictures are resized exactly as vit_teach.data
   does, Pillow's bicubic to the bit. The model runs in a Web Worker, or in short slices where there
   is none, so that the page never freezes:

     const engine = await openEngine({ source });                // the text of the two files
     const model = await engine.load(file);                      // rejects with an Error: why not
     const { probabilities, out } = await engine.run(imageData); // or an ImageBitmap */

const PICTURE_LIMIT = 2 ** 28; // pixels
const CIFAR10 = { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] };

// ---------------- Pictures ----------------

/* The largest centred piece of width x height with the shape of toWidth x toHeight, as
   PIL.ImageOps.fit finds it: [left, top, right, bottom], rounded to float32 as Pillow's C code. */
function centreBox(width, height, toWidth, toHeight) {
  const ratio = width / height, wanted = toWidth / toHeight;
  const w = ratio > wanted ? wanted * height : width;
  const h = ratio < wanted ? width / wanted : height;
  const left = (width - w) * 0.5, top = (height - h) * 0.5;
  return [left, top, left + w, top + h].map(Math.fround);
}

function bicubic(x) {
  const a = -0.5, d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/* For each of `to` output pixels: which input pixels it mixes, and how, in units of 1/2^22.
   When the picture shrinks, the filter grows with the step: that is the antialiasing. */
function filterWeights(from, first, last, to) {
  const step = Math.fround(last - first) / to, scale = Math.max(step, 1), support = 2 * scale;
  const starts = new Int32Array(to), weights = [];
  for (let i = 0; i < to; i++) {
    const centre = first + (i + 0.5) * step;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(from, Math.trunc(centre + support + 0.5));
    const exact = [];
    for (let x = start; x < stop; x++) exact.push(bicubic((x - centre + 0.5) * (1 / scale)));
    const total = exact.reduce((a, b) => a + b, 0);
    starts[i] = start;
    weights.push(Int32Array.from(exact, (w) => {
      const share = (w / total) * 2 ** 22;
      return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }));
  }
  return { starts, weights };
}

/* Put RGBA bytes on white in place, with the rounding of PIL.Image.alpha_composite. */
function onWhite(rgba) {
  for (let i = 3; i < rgba.length; i += 4) {
    const alpha = rgba[i];
    if (alpha === 255) continue;
    const over = alpha * 128, under = 255 * 128 - over;
    for (let j = i - 3; j < i; j++) {
      const mixed = rgba[j] * over + 255 * under + (128 << 7);
      rgba[j] = alpha ? ((mixed >> 8) + mixed) >> 15 : 255;
    }
    rgba[i] = 255;
  }
  return rgba;
}

const HALF = 1 << 21; // one half, in units of 1/2^22
const clip = (sum) => Math.max(0, Math.min(255, sum >> 22)); // fixed point to a byte

/* RGBA rows (count, width, 4) made narrower or wider: (count, W', 4). */
function mixColumns(rgba, width, count, { starts, weights }) {
  const out = new Uint8Array(count * starts.length * 4);
  for (let row = 0, to = 0; row < count; row++) {
    for (let i = 0; i < starts.length; i++, to += 4) {
      const w = weights[i];
      let r = HALF, g = HALF, b = HALF;
      for (let k = 0, at = 4 * (row * width + starts[i]); k < w.length; k++, at += 4) {
        const weight = w[k];
        r += rgba[at] * weight;
        g += rgba[at + 1] * weight;
        b += rgba[at + 2] * weight;
      }
      out[to] = clip(r);
      out[to + 1] = clip(g);
      out[to + 2] = clip(b);
    }
  }
  return out;
}

/* Add RGBA rows first .. first + count - 1 of a picture to each output row that they belong to. */
function mixRows(sums, rgba, first, count, { starts, weights }) {
  const length = rgba.length / count; // of one row
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < starts.length; i++) {
      const weight = weights[i][first + row - starts[i]];
      if (!weight) continue; // zero, or not one of this output row's
      const from = row * length, to = i * length;
      for (let k = 0; k < length; k++) sums[to + k] += rgba[from + k] * weight;
    }
  }
}

/* RGBA (H, W, 4) to colour planes (3, H, W). */
function planes(rgba) {
  const size = rgba.length / 4, out = new Uint8Array(3 * size);
  for (let i = 0; i < out.length; i++) out[i] = rgba[4 * (i % size) + Math.floor(i / size)];
  return out;
}

/* The generator behind resize: `source` is { width, height, rows(first, count) -> RGBA bytes }.
   Each pass rounds to bytes. Pillow takes the rows first where that saves much work (since its
   version 13), so this does, too. The picture is read in strips: it may be large. */
function* resizeSteps(source, toHeight, toWidth) {
  const { width, height } = source;
  const [left, top, right, bottom] = centreBox(width, height, toWidth, toHeight);
  const across = filterWeights(width, left, right, toWidth);
  const down = filterWeights(height, top, bottom, toHeight);
  const rowsFirst = height > toHeight && height - toHeight > 2 * (width - toWidth);
  const between = rowsFirst ? width : toWidth; // the width between the two passes
  const sums = new Int32Array(toHeight * between * 4).fill(HALF);
  const last = down.starts[toHeight - 1] + down.weights[toHeight - 1].length;
  const strip = Math.max(1, Math.floor(2 ** 17 / width)); // rows at a time: 0.5 MB of RGBA
  for (let row = down.starts[0]; row < last; row += strip) {
    const count = Math.min(strip, last - row), rgba = onWhite(source.rows(row, count));
    mixRows(sums, rowsFirst ? rgba : mixColumns(rgba, width, count, across), row, count, down);
    yield;
  }
  const rows = Uint8Array.from(sums, clip); // (H', width between, 4)
  return planes(rowsFirst ? mixColumns(rows, width, toHeight, across) : rows); // (3, H', W')
}

/* { data, width, height } (ImageData, RGBA bytes) or an ImageBitmap, read some rows at a time. */
function pictureSource(picture) {
  const { data, width, height } = picture ?? {};
  if (!isSize(width) || !isSize(height)) fail(`a picture of ${width} x ${height} pixels is empty`);
  if (width * height > PICTURE_LIMIT) fail(`a picture of ${width} x ${height} pixels is too large`);
  if (globalThis.ImageBitmap && picture instanceof ImageBitmap) {
    return { width, height, rows: (first, count) => bitmapRows(picture, first, count) };
  }
  const bytes = data instanceof Uint8ClampedArray || data instanceof Uint8Array;
  if (!bytes || data.length !== 4 * width * height) {
    fail(`the picture must hold ${4 * width * height} RGBA bytes for ${width} x ${height} pixels`);
  }
  const rows = (first, count) => data.slice(4 * width * first, 4 * width * (first + count));
  return { width, height, rows };
}

function bitmapRows(bitmap, first, count) {
  const canvas = new OffscreenCanvas(bitmap.width, count);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, -first);
  return context.getImageData(0, 0, bitmap.width, count).data;
}

/* An RGBA picture, cut to the centre and resized as vit_teach.data does: bytes (3, H', W').
   Transparent parts become white. */
export function resize(rgba, width, height, toHeight, toWidth) {
  if (!isSize(toHeight) || !isSize(toWidth)) fail(`cannot resize to ${toHeight} x ${toWidth}`);
  return finish(resizeSteps(pictureSource({ data: rgba, width, height }), toHeight, toWidth));
}

/* { mean, std } of each channel, as the file's metadata says; without it those of CIFAR-10. */
export function colourConstants({ metadata: { mean = CIFAR10.mean, std = CIFAR10.std } }) {
  for (const [name, numbers] of [["mean", mean], ["std", std]]) {
    const good = Array.isArray(numbers) && numbers.length === 3 && numbers.every(Number.isFinite);
    if (!good) fail(`${name}=${show(numbers)} must be three numbers`);
  }
  if (!std.every((n) => n > 0)) fail(`std=${show(std)} must be above 0`);
  return { mean, std };
}

/* Bytes (3, H, W) to float32 (3, H, W), (x / 255 - mean) / std, rounded at each step as PyTorch. */
export function normalise(bytes, { mean, std } = CIFAR10) {
  const pixels = new Float32Array(bytes.length), size = bytes.length / 3, f = Math.fround;
  for (let c = 0; c < 3; c++) {
    const shade = (_, byte) => f(f(byte / 255) - f(mean[c])) / f(std[c]);
    const table = Float32Array.from({ length: 256 }, shade);
    for (let i = c * size; i < (c + 1) * size; i++) pixels[i] = table[bytes[i]];
  }
  return pixels;
}

function* prepareSteps(model, picture) {
  const { in_channels: channels, image_size: size } = model.config;
  if (channels !== 3) fail(`the model reads ${channels} channels; a picture has 3`);
  const bytes = yield* resizeSteps(pictureSource(picture), ...size);
  return { bytes, pixels: normalise(bytes, colourConstants(model)) };
}

/* A picture ({ data, width, height } or an ImageBitmap) to what the model reads:
   { bytes: Uint8Array (3, H, W), pixels: Float32Array (3, H, W) }. */
export function prepare(model, picture) {
  return finish(prepareSteps(model, picture));
}

// ---------------- In a worker, or in slices ----------------

/* Run a generator to its end, letting the page breathe whenever `budget` milliseconds are over. */
export async function inSlices(generator, onStage = () => {}, budget = 10) {
  for (let start = performance.now(); ; ) {
    const { done, value } = generator.next();
    if (done) return value;
    if (value) onStage(value);
    if (performance.now() - start > budget) {
      await new Promise((resolve) => setTimeout(resolve));
      start = performance.now();
    }
  }
}

async function loadModel(file) {
  if (globalThis.Blob && file instanceof Blob) {
    if (file.size > FILE_LIMIT) fail(`the file has ${file.size} bytes, more than ${FILE_LIMIT}`);
    file = await file.arrayBuffer();
  }
  const loaded = modelFromFile(file);
  return { loaded, said: describe(loaded) };
}

/* What a page needs to know of a model: all but the numbers. */
function describe({ tensors, ...rest }) {
  const list = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  return { ...rest, ...colourConstants(rest), tensors: list };
}

/* A picture, or { pixels } ready-made, to what forward returns, with bytes and pixels added. */
function* runSteps(model, picture) {
  if (!model) fail("no model is loaded");
  const start = performance.now();
  const input = picture?.pixels ? picture : yield* prepareSteps(model, picture);
  const prepared = performance.now() - start;
  picture.close?.(); // an ImageBitmap holds much memory until it is closed
  const { bytes = null, pixels } = input;
  const result = yield* stages(model, pixels);
  return { ...result, bytes, pixels, times: { prepare: prepared, ...result.times } };
}

/* The worker's side. Messages in: { id, type: "load", file } and { id, type: "run", picture }.
   Messages out: { type: "ready" } once, then { id, type: "loaded", model }, { id, type: "stage",
   name }, { id, type: "result", result } or { id, type: "error", message }. */
export function serve(scope) {
  let model = null, queue = Promise.resolve();
  async function answer({ id, type, file, picture }) {
    if (type === "load") {
      const { loaded, said } = await loadModel(file);
      model = loaded;
      return scope.postMessage({ id, type: "loaded", model: said });
    }
    if (type !== "run") fail(`unknown message ${show(type)}`);
    const steps = runSteps(model, picture);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return scope.postMessage({ id, type: "result", result: value }, buffersOf(value));
      if (value) scope.postMessage({ id, type: "stage", name: value });
    }
  }
  scope.onmessage = ({ data }) => { // one after the other, in the order of arrival
    const refuse = ({ message }) => scope.postMessage({ id: data.id, type: "error", message });
    queue = queue.then(() => answer(data)).catch(refuse);
  };
  scope.postMessage({ type: "ready" });
}

/* The buffers of a result, each once: they are handed over, not copied. */
function buffersOf({ out, bytes, pixels, probabilities }) {
  const arrays = [pixels, probabilities, ...Object.values(out).map((tensor) => tensor.data)];
  if (bytes) arrays.push(bytes);
  return [...new Set(arrays.map((array) => array.buffer))];
}

/* The text of a worker's script, from the text of this module. It becomes a classic script, without
   exports: on a page opened from disk Chromium starts no worker that is a module. */
export function workerSource(source) {
  return `"use strict";\n${source.replace(/^export (default )?/gm, "")}\nserve(self);\n`;
}

function startWorker(source) {
  return new Promise((resolve, reject) => {
    const url = URL.createObjectURL(new Blob([workerSource(source)], { type: "text/javascript" }));
    const worker = new Worker(url);
    const give = (settle, value) => {
      clearTimeout(timer);
      URL.revokeObjectURL(url);
      settle(value);
    };
    const timer = setTimeout(() => worker.onerror(), 10000);
    worker.onmessage = () => give(resolve, worker);
    worker.onerror = () => {
      worker.terminate();
      give(reject, new Error("the worker did not start"));
    };
  });
}

/* What to send of a picture, and which of its parts to hand over. */
function parcel(picture) {
  const { data, width, height, pixels } = picture ?? {};
  if (pixels) return { picture: { pixels }, transfer: pixels.buffer ? [pixels.buffer] : [] };
  pictureSource(picture); // says now what is wrong with it
  if (!data) return { picture, transfer: [picture] }; // an ImageBitmap
  return { picture: { data, width, height }, transfer: [data.buffer] };
}

function workerEngine(worker) {
  const waiting = new Map();
  let last = 0, stopped = null; // the number of the last question, and why there will be no more
  const ask = async (message, transfer, onStage) => {
    if (stopped) fail(stopped);
    const id = ++last;
    worker.postMessage({ id, ...message }, transfer);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, onStage }));
  };
  worker.onmessage = ({ data: { id, type, name, message, model, result } }) => {
    const asked = waiting.get(id);
    if (!asked) return; // stopped meanwhile
    if (type === "stage") return asked.onStage?.(name);
    waiting.delete(id);
    if (type === "error") asked.reject(new Error(message));
    else asked.resolve(model ?? result);
  };
  const stop = (reason) => {
    stopped = reason;
    worker.terminate();
    for (const { reject } of waiting.values()) reject(new Error(reason));
    waiting.clear();
  };
  worker.onerror = () => stop("the worker stopped"); // out of memory, for one
  return {
    mode: "worker",
    load: (file) => ask({ type: "load", file }, file instanceof ArrayBuffer ? [file] : []),
    run: async (given, onStage) => {
      const { picture, transfer } = parcel(given);
      return ask({ type: "run", picture }, transfer, onStage);
    },
    close: () => stop("the engine was closed"),
  };
}

function slicedEngine() {
  let model = null, queue = Promise.resolve();
  const next = (work) => (queue = queue.catch(() => {}).then(work));
  return {
    mode: "slices",
    load: (file) => next(async () => {
      const { loaded, said } = await loadModel(file);
      model = loaded;
      return said;
    }),
    run: (picture, onStage) => next(() => inSlices(runSteps(model, picture), onStage)),
    close: () => { next(() => { model = null; }); },
  };
}

/* What a page uses: { mode: "worker" or "slices", load(file), run(picture, onStage), close() }.
   load takes an ArrayBuffer or a Blob; run takes { data, width, height }, an ImageBitmap or
   { pixels }. Both hand their buffers over to the worker: the caller's are empty afterwards.
   `source` is the text of this module (vit.js, then vit_page.js); without it there is no worker. */
export async function openEngine({ source, worker = true } = {}) {
  if (!worker || !source || !globalThis.Worker) return slicedEngine();
  try {
    return workerEngine(await startWorker(source));
  } catch {
    return slicedEngine();
  }
}
