/* Positions that act in the attention: the part of the engine before vit.js.

   What vit_teach/vit/offsets.py does. Rotary positions turn queries and keys, a relative bias is
   added to the scores. Tokens in front of the patches have no place: they are left alone. */

const ROTARY_BASE = 100; // as in vit_teach.vit.offsets

/* Turn the pairs of q or k (H, T, h), in place: the first half of them by the patch's row times a
   speed, the second half by its column. The speeds run from 1 to nearly 1 / ROTARY_BASE. */
function rotate(x, { num_tokens: T, num_patches: N, head_dim: h, grid_size: [, across] }) {
  const pairs = h / 4;
  for (let from = 0; from < x.length; from += h) {
    const patch = ((from / h) % T) - (T - N);
    if (patch < 0) continue;
    const place = [Math.floor(patch / across), patch % across];
    for (let i = 0; i < h / 2; i++) {
      const angle = place[Math.floor(i / pairs)] * ROTARY_BASE ** (-(i % pairs) / pairs);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      const [a, b] = [x[from + 2 * i], x[from + 2 * i + 1]];
      x[from + 2 * i] = a * cos - b * sin;
      x[from + 2 * i + 1] = a * sin + b * cos;
    }
  }
}

/* Add to the scores (T, T) of a head its number for the offset of each pair of patches. */
function addOffsetBias(scores, bias, head, config) {
  const { num_tokens: T, num_patches: N, grid_size: grid } = config;
  const [down, across] = grid;
  const width = 2 * across - 1;
  const middle = head * (2 * down - 1) * width + (down - 1) * width + across - 1; // offset zero
  for (let i = 0; i < N; i++) {
    for (let j = 0; j < N; j++) {
      const rows = Math.floor(i / across) - Math.floor(j / across);
      const columns = (i % across) - (j % across);
      scores[(T - N + i) * T + T - N + j] += bias[middle + rows * width + columns];
    }
  }
}
