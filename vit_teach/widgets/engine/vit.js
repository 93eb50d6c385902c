/* A Vision Transformer in plain JavaScript: the part of the engine after convolution.js.

   It keeps every step under the name that VisionTransformer(images, intermediates=True) gives it. A
   hybrid is one, too: only its patch vectors come from a stem of convolutions. */

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
  const x = new Float32Array(T * D);
  const positions = model.tensors.get("pos_embed")?.data;
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

/* Softmax(q k^T / sqrt(h)) of each head: equation 6. `bias` is a table of offsets, or undefined. */
function* attentionWeights(q, k, bias, config) {
  const { num_heads: heads, num_tokens: T, head_dim: h } = config;
  const weights = new Float32Array(heads * T * T);
  const scale = h ** -0.5;
  for (let head = 0; head < heads; head++) {
    const part = (x) => x.subarray(head * T * h, (head + 1) * T * h); // (T, h)
    const scores = yield* multiply(
      part(q).map((n) => n * scale),
      part(k),
      null,
      T,
      T,
      h,
    ); // (T, T)
    if (bias) addOffsetBias(scores, bias, head, config);
    weights.set(softmax(scores, T, T), head * T * T);
  }
  return weights; // (H, T, T)
}

/* A v of each head, heads side by side again: equation 7. */
function* mixValues(weights, v, heads, T, h) {
  const mixed = new Float32Array(T * heads * h);
  const turned = new Float32Array(h * T);
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
  if (model.config.position.endsWith("rotary")) [q, k].forEach((x) => rotate(x, model.config));
  for (const [letter, data] of [
    ["q", q],
    ["k", k],
    ["v", v],
  ]) {
    yield keep(`${name}.attn.${letter}`, [H, T, h], data);
  }
  const bias = model.tensors.get(`${name}.attn.offsets.offset_bias`)?.data;
  const weights = yield* attentionWeights(q, k, bias, model.config); // (H, T, T)
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

/* The vectors (N, D) of the patches: projected, or what a hybrid's stem makes of the picture. */
function* embedPatches(model, pixels) {
  const { config } = model;
  if (config.kind === "hybrid") return yield* lastMap(model, pixels); // (N, D)
  const patches = patchify(pixels, config); // (N, C PH PW)
  return yield* linear(model, "patch_embed.proj", patches, config.num_patches); // (N, D)
}

/* The pass of a ViT or a hybrid: each step is given to `keep`. */
function* vitStages(model, pixels, keep) {
  const { config } = model;
  const { num_tokens: T, num_patches: N, embed_dim: D } = config;
  const patches = yield* embedPatches(model, pixels); // (N, D)
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
  return logits;
}
