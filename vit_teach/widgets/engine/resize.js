/* From a picture to what the model reads: the part of the engine after readings.js.

   Pictures are cut and resized exactly as vit_teach.data does, Pillow's bicubic to the bit, and
   normalised as PyTorch does:

     const { bytes, pixels } = prepare(model, imageData); // or an ImageBitmap */

const PICTURE_LIMIT = 2 ** 28; // pixels
const CIFAR10 = { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] };

/* The largest centred piece of width x height with the shape of toWidth x toHeight, as
   PIL.ImageOps.fit finds it: [left, top, right, bottom], rounded to float32 as Pillow's C code. */
function centreBox(width, height, toWidth, toHeight) {
  const ratio = width / height;
  const wanted = toWidth / toHeight;
  const w = ratio > wanted ? wanted * height : width;
  const h = ratio < wanted ? width / wanted : height;
  const left = (width - w) * 0.5;
  const top = (height - h) * 0.5;
  return [left, top, left + w, top + h].map(Math.fround);
}

function bicubic(x) {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/* For each of `to` output pixels: which input pixels it mixes, and how, in units of 1/2^22.
   When the picture shrinks, the filter grows with the step: that is the antialiasing. */
function filterWeights(from, first, last, to) {
  const step = Math.fround(last - first) / to;
  const scale = Math.max(step, 1);
  const support = 2 * scale;
  const starts = new Int32Array(to);
  const weights = [];
  for (let i = 0; i < to; i++) {
    const centre = first + (i + 0.5) * step;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const stop = Math.min(from, Math.trunc(centre + support + 0.5));
    const exact = [];
    for (let x = start; x < stop; x++) exact.push(bicubic((x - centre + 0.5) * (1 / scale)));
    const total = exact.reduce((a, b) => a + b, 0);
    starts[i] = start;
    weights.push(
      Int32Array.from(exact, (w) => {
        const share = (w / total) * 2 ** 22;
        return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
      }),
    );
  }
  return { starts, weights };
}

/* Put RGBA bytes on white in place, with the rounding of PIL.Image.alpha_composite. */
function onWhite(rgba) {
  for (let i = 3; i < rgba.length; i += 4) {
    const alpha = rgba[i];
    if (alpha === 255) continue;
    const over = alpha * 128;
    const under = 255 * 128 - over;
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
      let r = HALF;
      let g = HALF;
      let b = HALF;
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
      const from = row * length;
      const to = i * length;
      for (let k = 0; k < length; k++) sums[to + k] += rgba[from + k] * weight;
    }
  }
}

/* RGBA (H, W, 4) to colour planes (3, H, W). */
function planes(rgba) {
  const size = rgba.length / 4;
  const out = new Uint8Array(3 * size);
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
    const count = Math.min(strip, last - row);
    const rgba = onWhite(source.rows(row, count));
    mixRows(sums, rowsFirst ? rgba : mixColumns(rgba, width, count, across), row, count, down);
    yield;
  }
  const rows = Uint8Array.from(sums, clip); // (H', width between, 4)
  return planes(rowsFirst ? mixColumns(rows, width, toHeight, across) : rows); // (3, H', W')
}

function checkSize(width, height) {
  if (!isSize(width) || !isSize(height)) fail(`a picture of ${width} x ${height} pixels is empty`);
  if (width * height > PICTURE_LIMIT) fail(`a picture of ${width} x ${height} pixels is too large`);
}

/* { data, width, height } (ImageData, RGBA bytes) or an ImageBitmap, read some rows at a time. */
function pictureSource(picture) {
  const { data, width, height } = picture ?? {};
  checkSize(width, height);
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
  for (const [name, numbers] of [
    ["mean", mean],
    ["std", std],
  ]) {
    const good = Array.isArray(numbers) && numbers.length === 3 && numbers.every(Number.isFinite);
    if (!good) fail(`${name}=${show(numbers)} must be three numbers`);
  }
  if (!std.every((n) => n > 0)) fail(`std=${show(std)} must be above 0`);
  return { mean, std };
}

/* Bytes (3, H, W) to float32 (3, H, W), (x / 255 - mean) / std, rounded at each step as PyTorch. */
export function normalise(bytes, { mean, std } = CIFAR10) {
  const pixels = new Float32Array(bytes.length);
  const size = bytes.length / 3;
  const f = Math.fround;
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
