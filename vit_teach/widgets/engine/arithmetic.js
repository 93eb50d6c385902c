/* Matrix products, norms and curves: the part of the engine after models.js. Tensors are Float32Arrays
   in row-major order, without the batch axis. */

const LAYER_NORM_EPS = 1e-6; // as in vit_teach.vit.encoder

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
