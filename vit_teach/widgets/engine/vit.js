/* A Vision Transformer in plain JavaScript: the second part of the engine, after files.js.

   It keeps every step under the name that VisionTransformer(images, intermediates=True) gives it:

     const { probabilities, out } = forward(model, pixels); // Float32Array (C, H, W), normalised
     out["blocks.0.attn.weights"]                           // { shape: [H, T, T], data }

   Tensors are Float32Arrays in row-major order, without the batch axis; for the letters in their
   shapes see files.js. */

const LAYER_NORM_EPS = 1e-6; // as in vit_teach.encoder

// ---------------- Arithmetic ----------------

/* out (rows, cols) = a (rows, inner) @ w (cols, inner)^T + bias, for one block of rows and columns.
   PyTorch keeps weights as (out, in), so both rows of each dot product are contiguous as they are.
   Two rows times four columns at once: 6 numbers loaded for 8 multiply-adds, and the 8 sums stay
   in registers. Past the edge the last row or column is simply computed again. */
/* eslint-disable one-var -- the block is laid out by hand, so that the sums stand side by side */
// prettier-ignore
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
/* eslint-enable one-var */

const ROWS_AT_ONCE = 64;
const MACS_AT_ONCE = 4e6; // a block takes a few milliseconds

/* a (rows, inner) @ w (cols, inner)^T + bias -> (rows, cols); pauses between blocks. */
function* multiply(a, w, bias, rows, cols, inner) {
  const out = new Float32Array(rows * cols);
  const size = { cols, inner };
  const width = 4 * Math.max(1, Math.floor(MACS_AT_ONCE / (ROWS_AT_ONCE * inner * 4)));
  for (let r = 0; r < rows; r += ROWS_AT_ONCE) {
    for (let c = 0; c < cols; c += width) {
      const rowTo = Math.min(r + ROWS_AT_ONCE, rows);
      const colTo = Math.min(c + width, cols);
      multiplyBlock(out, a, w, bias, size, r, rowTo, c, colTo);
      yield;
    }
  }
  return out; // (rows, cols)
}

/* x (rows, in) through the linear layer `name` of the model -> (rows, out). */
function* linear(model, name, x, rows) {
  const weight = model.tensors.get(`${name}.weight`);
  const bias = model.tensors.get(`${name}.bias`).data;
  const [cols, ...input] = weight.shape;
  return yield* multiply(x, weight.data, bias, rows, cols, product(input)); // (rows, out)
}

/* Each row of x (rows, D) to mean 0 and variance 1, then scaled and shifted. */
function layerNorm(model, name, x, rows) {
  const weight = model.tensors.get(`${name}.weight`).data;
  const D = weight.length;
  const bias = model.tensors.get(`${name}.bias`).data;
  const out = new Float32Array(x.length);
  for (let from = 0; from < rows * D; from += D) {
    let mean = 0;
    let variance = 0;
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
    let most = -Infinity;
    let total = 0;
    for (let i = from; i < from + cols; i++) most = Math.max(most, x[i]);
    for (let i = from; i < from + cols; i++) total += x[i] = Math.exp(x[i] - most);
    for (let i = from; i < from + cols; i++) x[i] /= total;
  }
  return x; // (rows, cols)
}

/* The normal distribution P(X <= x) at multiples of 1/64, and its slope times 1/64, interleaved.
   For x > 0: 1/2 + density(x) (x + x^3/3 + x^5/15 + ...), a sum of positive terms. */
const REACH = 6;
const PER_UNIT = 64; // beyond 6 the probability is 0 or 1 to nine digits
const NORMAL = new Float64Array(2 * (2 * REACH * PER_UNIT + 2));
for (let i = 0; i < NORMAL.length / 2; i++) {
  const x = i / PER_UNIT - REACH;
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
  let sum = 0;
  for (let n = 1, term = Math.abs(x); term > 1e-17; n += 2, term *= (x * x) / n) sum += term;
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
      const place = (value + REACH) * PER_UNIT;
      const left = Math.floor(place);
      const k = 2 * left;
      const t = place - left;
      const u = 1 - t;
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

/* Softmax(q k^T / sqrt(h)) of each head: equation 6. */
function* attentionWeights(q, k, heads, T, h) {
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
  for (const [letter, data] of [
    ["q", q],
    ["k", k],
    ["v", v],
  ]) {
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
  const { config } = model;
  const { num_tokens: T, num_patches: N, embed_dim: D } = config;
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
