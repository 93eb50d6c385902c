/* A picture changed before the model reads it: the part of the engine after resize.js.

     const bytes = edited(run.bytes, model, { ...NO_EDIT, turn: 1 }); // a quarter to the right

   Every change starts from the same bytes (3, H, W), so that it can be taken back. */

/* turn: quarters to the right. right, down: pixels, in a circle. shuffle: the number of an order of
   the patches, 0 for their own. cover: patches painted with the mean colour. noise: standard
   deviation, in steps of 255. */
export const NO_EDIT = { turn: 0, right: 0, down: 0, shuffle: 0, cover: [], noise: 0 };

/* Random numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/* Bytes whose pixel (y, x) of each channel is what was at from(y, x) = [y', x']. */
function moved(bytes, [H, W], from) {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < H * W; i++) {
    const [y, x] = from(Math.floor(i / W), i % W);
    for (let c = 0; c < 3; c++) out[c * H * W + i] = bytes[(c * H + y) * W + x];
  }
  return out;
}

const around = (n, size) => ((n % size) + size) % size;

/* An order of N patches, drawn by chance: place i gets the patch order[i]. */
function drawOrder(N, seed) {
  const order = Array.from({ length: N }, (_, i) => i);
  const random = randomNumbers(seed);
  for (let i = N - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function shuffled(bytes, { image_size, patch_size: [ph, pw], grid_size: [gh, gw] }, seed) {
  const order = drawOrder(gh * gw, seed);
  return moved(bytes, image_size, (y, x) => {
    const patch = order[Math.floor(y / ph) * gw + Math.floor(x / pw)];
    return [Math.floor(patch / gw) * ph + (y % ph), (patch % gw) * pw + (x % pw)];
  });
}

/* Paints patches, in place, with the mean colour: near 0 for the model. */
function paintPatches(bytes, { config, mean }, patches) {
  const {
    image_size: [H, W],
    patch_size: [ph, pw],
    grid_size: [, gw],
  } = config;
  for (const patch of patches) {
    for (let i = 0; i < ph * pw; i++) {
      const y = Math.floor(patch / gw) * ph + Math.floor(i / pw);
      const x = (patch % gw) * pw + (i % pw);
      for (let c = 0; c < 3; c++) bytes[(c * H + y) * W + x] = Math.round(255 * mean[c]);
    }
  }
}

/* Adds normal noise, in place; the same at every strength, so that a slider does not flicker. */
function addNoise(bytes, strength) {
  const random = randomNumbers(1);
  for (let i = 0; i < bytes.length; i++) {
    const size = Math.sqrt(-2 * Math.log(1 - random()));
    const shade = bytes[i] + strength * size * Math.cos(2 * Math.PI * random());
    bytes[i] = Math.max(0, Math.min(255, Math.round(shade)));
  }
}

/* Bytes (3, H, W) changed as `edit` says, in the order of NO_EDIT; the given ones stay. */
export function edited(bytes, { config, mean }, edit) {
  const { turn, right, down, shuffle, cover, noise } = edit;
  const [H, W] = config.image_size;
  if (turn && H !== W) fail(`a picture of ${H} x ${W} pixels cannot be turned: it is no square`);
  let out = bytes.slice();
  for (let i = 0; i < turn; i++) out = moved(out, [H, W], (y, x) => [H - 1 - x, y]);
  if (right || down) {
    out = moved(out, [H, W], (y, x) => [around(y - down, H), around(x - right, W)]);
  }
  if (shuffle) out = shuffled(out, config, shuffle);
  paintPatches(out, { config, mean }, cover);
  if (noise) addNoise(out, noise);
  return out;
}
