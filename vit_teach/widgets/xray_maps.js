// Attention over the picture: which row of which map is shown, and all maps as one grid.
// A part of the X-ray, see xray.js. Head number H, one past the last, stands for rollout.

const isRollout = (state, head) => head === state.about.config.num_heads;
const headName = (state, block, head) =>
  isRollout(state, head)
    ? `rollout up to block ${block + 1}`
    : `block ${block + 1}, head ${head + 1}`;

// The token that asks: the one pointed at, else the chosen one; before the model is here, the one
// whose attention came with the page.
const asking = ({ run, hover, token }) => run?.only ?? hover ?? token;

// Where the token that asks looks: a share for each of the T tokens.
function attentionRow(state, block, head) {
  const { about, run } = state;
  const { num_tokens: T, num_heads: H } = about.config;
  if (!run.out) return run.rows[block * (H + 1) + head];
  const at = asking(state) * T;
  if (isRollout(state, head)) return run.rollout[block].subarray(at, at + T);
  const from = head * T * T + at;
  return run.out[`blocks.${block}.attn.weights`].data.subarray(from, from + T);
}

function heatMap(kind, label, data, size) {
  const canvas = make("canvas", { class: `vt-pixels ${kind}`, role: "img", "aria-label": label });
  const top = largest(data);
  paint(canvas, size, (i) => redBlue(data[i], top));
  return canvas;
}

// Darkens a picture where shares are small; the largest share leaves it as it is. Shares beyond the
// picture count for that only.
function shade(canvas, [height, width], shares) {
  const image = new ImageData(width, height);
  const top = largest(shares);
  shares
    .slice(0, height * width)
    .forEach((share, i) => (image.data[4 * i + 3] = Math.round(195 * (1 - share / top))));
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(image, 0, 0);
}

// --- The grid of all maps ------------------------------------------------------------------------

// A row for each block, a column for each head and one for rollout; arrow keys go from map to map.
function buildGrid(state) {
  const { depth, num_heads: H } = state.about.config;
  const tiles = Array.from({ length: depth * (H + 1) }, (_, i) => {
    const look = { block: Math.floor(i / (H + 1)), head: i % (H + 1) };
    const tile = makeButton("", () => choose(state, look));
    const map = make("canvas", { class: "vt-pixels", "aria-hidden": "true" });
    const label = headName(state, look.block, look.head);
    return furnish(tile, { class: "vt-tile", "aria-label": label }, [map]);
  });
  const onkeydown = (event) => {
    const now = state.block * (H + 1) + state.head;
    const next = walk(event, now, tiles.length, H + 1);
    if (next === undefined) return;
    choose(state, { block: Math.floor(next / (H + 1)), head: next % (H + 1) });
    tiles[next].focus();
  };
  const titles = ["", ...Array.from({ length: H }, (_, h) => `head ${h + 1}`), "rollout"];
  const label = "Maps of all blocks and heads. Arrow keys go from map to map.";
  const style = `grid-template-columns: auto repeat(${H + 1}, minmax(2.2rem, 4.4rem))`;
  const looks = { class: "vt-tiles", role: "group", "aria-label": label, style, onkeydown };
  const titleOf = (text) => make("span", { "aria-hidden": "true" }, text);
  const rows = Array.from({ length: depth }, (_, i) => [
    titleOf(`block ${i + 1}`),
    ...tiles.slice(i * (H + 1), (i + 1) * (H + 1)),
  ]);
  const box = make("div", looks, ...titles.map(titleOf), ...rows.flat());
  const words = statusLine();
  const note = make(
    "p",
    { class: "vt-note" },
    "The redder, the more; each map has its own scale. Rollout averages the heads, adds what the " +
      "token kept of itself, and multiplies the blocks.",
  );
  const panel = [heading("Where it looks, in all blocks and heads"), box, note, words];
  return { panel, tiles, words };
}

function showGrid(state) {
  const { about, block, head, parts } = state;
  const { depth, num_heads: H, num_tokens: T, grid_size: grid } = about.config;
  const { tiles, words } = (parts.grid ||= buildGrid(state));
  for (let i = 0; i < depth * (H + 1); i++) {
    const row = attentionRow(state, Math.floor(i / (H + 1)), i % (H + 1)).subarray(prefix(state));
    const top = largest(row);
    const chosen = i === block * (H + 1) + head;
    paint(tiles[i].firstElementChild, grid, (k) => redBlue(row[k], top));
    furnish(tiles[i], { "aria-pressed": String(chosen), tabindex: chosen ? 0 : -1 });
  }
  const weights = attentionRow(state, block, head);
  const most = order(weights, 3).map((t) => `${tokenName(state, t)} (${percent(weights[t])})`);
  words.textContent =
    `In ${headName(state, block, head)}, ${whose(state, asking(state))} looks most at ` +
    `${most.join(", ")}. Looking at all alike would be ${percent(1 / T)} each.`;
  parts.view.replaceChildren(...parts.grid.panel);
}
