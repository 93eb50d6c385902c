/* One pass through any model: the part of the engine after vit.js.

     const { probabilities, out } = forward(model, pixels); // Float32Array (C, H, W), normalised
     out["blocks.0.attn.weights"]                           // { shape: [H, T, T], data } */

/* The forward pass as a generator. It yields the name of each intermediate as it is ready, and
   undefined at places in between where the caller may pause; it returns what forward returns. */
export function* stages(model, pixels) {
  const { config } = model;
  const shape = [config.in_channels, ...config.image_size];
  if (!(pixels instanceof Float32Array) || pixels.length !== product(shape)) {
    fail(`pixels must be a Float32Array of ${show(shape)}, ${product(shape)} numbers`);
  }
  const out = {};
  const times = {};
  let then = performance.now();
  const keep = (name, shape, data) => {
    const now = performance.now();
    times[name] = now - then; // milliseconds since the one before
    then = now;
    out[name] = { shape, data };
    return name;
  };
  const pass = config.kind === "resnet" ? cnnStages : vitStages;
  const logits = yield* pass(model, pixels, keep); // (K,)
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
