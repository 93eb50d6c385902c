/* Convolutions in plain JavaScript: a hybrid's stem and the CNN, the part after arithmetic.js.

   A map is { data, size: [H, W] } with its channels last, (H W, C): so the numbers under one row of
   a kernel lie side by side, and the last map of a stem is the tokens as they are. */

const PLACES_AT_ONCE = 64; // their windows, copied, stay in the cache

/* The numbers under the kernel at the places from..to of the layer's map: (places, k k C), with 0
   beyond the edges. */
function windows({ data, size: [H, W] }, layer, across, from, to) {
  const { kernel, stride, padding, input: C } = layer;
  const out = new Float32Array((to - from) * kernel * kernel * C);
  let at = 0;
  for (let place = from; place < to; place++) {
    const top = Math.floor(place / across) * stride - padding;
    const left = (place % across) * stride - padding;
    const first = Math.max(left, 0);
    const last = Math.min(left + kernel, W);
    for (let y = top; y < top + kernel; y++, at += kernel * C) {
      if (y < 0 || y >= H) continue;
      const row = data.subarray((y * W + first) * C, (y * W + last) * C);
      out.set(row, at + (first - left) * C);
    }
  }
  return out;
}

/* A map through a convolution, with the BatchNorm after it folded in, and ReLU if the layer has
   it: a matrix product of all windows with the kernels. */
function* convolve(model, layer, map) {
  const { weight, bias } = model.convolutions.get(layer.name); // (out, k k C), (out,)
  const { output, relu } = layer;
  const size = sizeAfter(layer, map.size);
  const places = product(size);
  const inner = weight.length / output;
  const data = new Float32Array(places * output);
  for (let from = 0; from < places; from += PLACES_AT_ONCE) {
    const to = Math.min(from + PLACES_AT_ONCE, places);
    const rows = windows(map, layer, size[1], from, to);
    data.set(yield* multiply(rows, weight, bias, to - from, output, inner), from * output);
  }
  return { data: relu ? rectified(data) : data, size }; // (H' W', out)
}

/* ReLU, in place. */
function rectified(data) {
  for (let i = 0; i < data.length; i++) if (data[i] < 0) data[i] = 0;
  return data;
}

/* The largest number of each channel in each window; what lies beyond the edges does not count. */
function maxPooled(layer, { data, size }) {
  const { kernel, stride, padding } = layer;
  const [H, W] = size;
  const [height, width] = sizeAfter(layer, size);
  const C = data.length / (H * W);
  const out = new Float32Array(height * width * C).fill(-Infinity);
  for (let place = 0; place < height * width; place++) {
    const top = Math.floor(place / width) * stride - padding;
    const left = (place % width) * stride - padding;
    for (let y = Math.max(top, 0); y < Math.min(top + kernel, H); y++) {
      for (let x = Math.max(left, 0); x < Math.min(left + kernel, W); x++) {
        for (let c = 0; c < C; c++) {
          const value = data[(y * W + x) * C + c];
          if (value > out[place * C + c]) out[place * C + c] = value;
        }
      }
    }
  }
  return { data: out, size: [height, width] }; // (H' W', C)
}

/* Two convolutions beside a shortcut, added. */
function* residual(model, { first, second, shortcut }, map) {
  const inside = yield* convolve(model, first, map);
  const { data, size } = yield* convolve(model, second, inside);
  const across = shortcut ? yield* convolve(model, shortcut, map) : map;
  return { data: rectified(add(data, across.data)), size }; // (H' W', C')
}

/* Pixels (C, H, W) through all convolutional layers of a model to the last map (H' W', C'). */
function* lastMap(model, pixels) {
  const { in_channels: C, image_size: size } = model.config;
  const places = product(size);
  const turned = pixels.map((_, i) => pixels[(i % C) * places + Math.floor(i / C)]); // (H W, C)
  let map = { data: turned, size };
  for (const layer of model.layers) {
    if (layer.kind === "pool") map = maxPooled(layer, map);
    else if (layer.kind === "block") map = yield* residual(model, layer, map);
    else map = yield* convolve(model, layer, map);
  }
  return map.data; // (H' W', C')
}

/* The pass of the CNN: the mean of its last map over all places, and the classifier of that. */
function* cnnStages(model, pixels, keep) {
  const map = yield* lastMap(model, pixels); // (H W / 16, D)
  const D = 4 * model.config.width;
  const sums = new Float64Array(D);
  for (let i = 0; i < map.length; i++) sums[i % D] += map[i];
  const mean = Float32Array.from(sums, (sum) => (sum * D) / map.length); // (D,)
  yield keep("pooled", [D], mean);
  const logits = yield* linear(model, "fc", mean, 1); // (K,)
  yield keep("logits", [logits.length], logits);
  return logits;
}
