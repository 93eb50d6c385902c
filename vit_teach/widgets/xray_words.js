// Names and numbers in words. A part of the X-ray, see xray.js.

const SHOWN_AT_ONCE = 192; // numbers listed of one token
const NOTE = "Your picture stays in this page: nothing is sent anywhere.";
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const isTiny = (number) => Math.abs(number) < 1e-4 && number !== 0;
const short = (number) => (isTiny(number) ? number.toExponential(1) : number.toFixed(4));

const order = (values, most) =>
  [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, most);

// A CNN has no blocks of an encoder, and no tokens; what reads it for a ViT finds none.
const isCnn = ({ about: { config } }) => config.kind === "resnet";
const blocksIn = ({ kind, depth }) => (kind === "resnet" ? 0 : depth);
const NO_ATTENTION =
  "A CNN has no attention to show: each of its layers looks through the same small windows " +
  "everywhere, whatever the picture, and no patch asks another.";
const HEAT_NOTE =
  "The temperature divides the scores before softmax: below 1 the best class gains, above 1 the bars " +
  "draw level. The scores, their order and all that the model sees stay as they are.";

// Scores to shares that sum to 1.
function softmax(scores) {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(scores, (score) => Math.exp(score - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

// How many tokens stand before those of the patches: the class token, or none.
const prefix = ({ about: { config } }) => config.num_tokens - config.num_patches;
const patchOf = (state, token) => token - prefix(state); // below 0: the class token
const middlePatch = ({ about: { config } }) => {
  const [rows, columns] = config.grid_size;
  return (rows >> 1) * columns + (columns >> 1);
};

// The row and column of a token's patch; null for the class token.
function place(state, token) {
  const patch = patchOf(state, token);
  const across = state.about.config.grid_size[1];
  return patch < 0 ? null : [Math.floor(patch / across), patch % across];
}
function tokenName(state, token) {
  const where = place(state, token);
  return where ? `row ${where[0] + 1}, column ${where[1] + 1}` : "class token";
}
const whose = (state, token) =>
  place(state, token) ? `the patch in ${tokenName(state, token)}` : "the class token";

// A picture's bytes (3, H, W), on a canvas.
function paintPicture(canvas, [height, width], bytes) {
  const plane = height * width;
  paint(canvas, [height, width], (i) => [0, plane, 2 * plane].map((c) => bytes[c + i]));
}

// A button that can do nothing now; it keeps the focus, which the attribute "disabled" would take.
const allow = (button, can) => button.setAttribute("aria-disabled", String(!can));

// Fills a box anew; a button in it that has the focus keeps it.
function refill(box, ...children) {
  const had = box.contains(document.activeElement) ? document.activeElement.textContent : null;
  box.replaceChildren(...children);
  const again = [...box.querySelectorAll("button")].find((button) => button.textContent === had);
  again?.focus({ preventScroll: true });
}
