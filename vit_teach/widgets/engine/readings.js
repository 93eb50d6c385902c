/* What can be read off a run besides the model's own numbers: the part of the engine after forward.js.

   The lens applies the classifier to tokens that it was not trained on: those after each block, and
   each alone. Rollout follows attention through all blocks. Neither changes what the model says. */

const LENS_LIMIT = 2e6; // scores kept of single tokens: with more, only those of the pooled ones

/* The classifier's scores for tokens x (T, D) as they stand: pooled (K,) and of each token (T, K). */
function* lensOf(model, x, each) {
  const { num_tokens: T, fc_norm: last } = model.config;
  const normal = last ? x : layerNorm(model, "norm", x, T); // (T, D)
  const pooled = yield* linear(model, "head", pool(model, normal), 1); // (K,)
  if (!each) return { pooled, tokens: null };
  const single = last ? layerNorm(model, "fc_norm", x, T) : normal; // (T, D)
  return { pooled, tokens: yield* linear(model, "head", single, T) }; // (T, K)
}

/* The lens before the first block and after each: L + 1 times what lensOf returns. */
function* lensSteps(model, out) {
  const { depth, num_tokens: T, num_classes: K } = model.config;
  const names = ["tokens", ...Array.from({ length: depth }, (_, i) => `blocks.${i}`)];
  const levels = [];
  for (const name of names) {
    levels.push(yield* lensOf(model, out[name].data, names.length * T * K <= LENS_LIMIT));
  }
  return levels;
}

/* One block of rollout: the mean of its heads (H, T, T) plus the identity, rows summing to 1. */
function meanHead({ shape: [H, T], data }) {
  const step = new Float32Array(T * T);
  for (let i = 0; i < T; i++) {
    let sum = 0;
    for (let j = 0; j < T; j++) {
      let mean = 0;
      for (let head = 0; head < H; head++) mean += data[(head * T + i) * T + j] / H;
      step[i * T + j] = mean + (i === j ? 1 : 0);
      sum += step[i * T + j];
    }
    for (let j = 0; j < T; j++) step[i * T + j] /= sum;
  }
  return step; // (T, T)
}

function transposed(matrix, T) {
  return matrix.map((_, i) => matrix[(i % T) * T + Math.floor(i / T)]);
}

/* Attention followed from the picture to each block: L matrices (T, T), as probe.rollout's. */
function* rolloutSteps(model, out) {
  const { depth, num_tokens: T } = model.config;
  const found = [];
  for (let i = 0; i < depth; i++) {
    const step = meanHead(out[`blocks.${i}.attn.weights`]);
    const before = found.at(-1);
    found.push(before ? yield* multiply(step, transposed(before, T), null, T, T, T) : step);
  }
  return found;
}

/* What forward gave as `out` to { lens, rollout }; both are empty for a CNN, which has neither
   tokens nor attention. */
function* readingSteps(model, out) {
  if (model.config.kind === "resnet") return { lens: [], rollout: [] };
  return { lens: yield* lensSteps(model, out), rollout: yield* rolloutSteps(model, out) };
}

export function readings(model, out) {
  return finish(readingSteps(model, out));
}
