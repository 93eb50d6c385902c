// The map of the model, from the picture to the scores: a part to press for each stage, and thick
// where much flows. A part of the X-ray, see xray.js.
//
// What flows is the token that asks: how thick it is drawn is the length of its vector; so are what
// attention and the MLP of a block add to it, above and below. Lengths do not add up as numbers do:
// two long vectors can point against each other.

const FLOW = { high: 130, thickest: 44, above: 21, below: 109 }; // a part is 10 wide
const FLOW_MIDDLE = FLOW.high / 2;

// --- What flows ----------------------------------------------------------------------------------

const lengthAt = (state, name, row) => Math.hypot(...rowAt(state, name, row));

// How much of the tokens' length is left after averaging: 1 where all point the same way.
function agreement({ run, about: { config } }) {
  const { num_tokens: T, embed_dim: D, pool } = config;
  if (pool === "cls") return 1;
  const { data } = run.out.norm;
  const first = T - config.num_patches;
  const mean = new Float64Array(D);
  let lengths = 0;
  for (let t = first; t < T; t++) {
    const row = data.subarray(t * D, (t + 1) * D);
    row.forEach((x, d) => (mean[d] += x));
    lengths += Math.hypot(...row);
  }
  return Math.hypot(...mean) / lengths;
}

// The lengths on the way of the token that asks: { patch, position, stream (L + 1), attn (L),
// mlp (L), agree }; null for a CNN, which has no tokens. Before the model is here, those that came
// with the page.
function flowOf(state) {
  const { run, about } = state;
  if (isCnn(state)) return null;
  if (!run.out) return run.flow;
  const token = asking(state);
  const patch = patchOf(state, token);
  const blocks = Array.from({ length: about.config.depth }, (_, i) => `blocks.${i}`);
  const lengths = (names) => names.map((name) => lengthAt(state, name, token));
  const tokens = rowAt(state, "tokens", token);
  const vector = patch < 0 ? tokens.map(() => 0) : rowAt(state, "patch_embed", patch);
  return {
    patch: Math.hypot(...vector),
    position: Math.hypot(...tokens.map((x, d) => x - vector[d])),
    stream: lengths(["tokens", ...blocks]),
    attn: lengths(blocks.map((name) => `${name}.attn`)),
    mlp: lengths(blocks.map((name) => `${name}.mlp`)),
    agree: (run.agree ??= agreement(state)),
  };
}

// --- Drawing -------------------------------------------------------------------------------------

// A band from one point to another, [x, y, thickness] each, level at both ends.
function band([x, y, thick], [toX, toY, toThick]) {
  const half = (x + toX) / 2;
  const edge = (from, start, to, end) =>
    `${from},${start} C${half},${start} ${half},${end} ${to},${end}`;
  const lower = edge(toX, toY + toThick / 2, x, y + thick / 2);
  return `M${edge(x, y - thick / 2, toX, toY - toThick / 2)} L${lower} Z`;
}

// What a part of a block reads from the token (a thin line), makes of it, and adds to it.
function detour(x, y, thick) {
  const steps = [
    [x, FLOW_MIDDLE, 1],
    [x + 1, y, 1],
    [x + 1.5, y, thick],
    [x + 3.5, y, thick],
    [x + 4.7, FLOW_MIDDLE, thick],
  ];
  return steps
    .slice(1)
    .map((step, i) => band(steps[i], step))
    .join(" ");
}

// The shares of the three best classes: each leaves the stream for a place of its own.
function fanBands(shares) {
  let from = FLOW_MIDDLE - FLOW.thickest / 2;
  return order(shares, 3).map((k, i) => {
    const thick = shares[k] * FLOW.thickest;
    const start = from + thick / 2;
    from += thick;
    const path = band([0, start, thick], [10, FLOW_MIDDLE + (i - 1) * 30, thick]);
    return [i ? "vt-stream" : "vt-attn", path];
  });
}

// The bands of each part by its name, [kind, path] each; `scale` is the thickness of length 1.
function bandsOf(flow, shares) {
  const scale = FLOW.thickest / Math.max(...flow.stream);
  const [first, ...after] = flow.stream.map((length) => length * scale);
  const found = {
    tokens: [
      ["vt-attn", band([0, FLOW.above, flow.patch * scale], [7, FLOW_MIDDLE, flow.patch * scale])],
      [
        "vt-mlp",
        band([0, FLOW.below, flow.position * scale], [7, FLOW_MIDDLE, flow.position * scale]),
      ],
      ["vt-stream", band([6, FLOW_MIDDLE, first], [10, FLOW_MIDDLE, first])],
    ],
    pooled: [
      [
        "vt-stream",
        band([0, FLOW_MIDDLE, FLOW.thickest], [10, FLOW_MIDDLE, flow.agree * FLOW.thickest]),
      ],
    ],
    logits: fanBands(shares),
  };
  after.forEach((thick, i) => {
    found[`blocks.${i}`] = [
      ["vt-stream", band([0, FLOW_MIDDLE, i ? after[i - 1] : first], [10, FLOW_MIDDLE, thick])],
      ["vt-attn", detour(0.2, FLOW.above, flow.attn[i] * scale)],
      ["vt-mlp", detour(5, FLOW.below, flow.mlp[i] * scale)],
    ];
  });
  return found;
}

// --- Building and showing ------------------------------------------------------------------------

const INPUT_STAGES = { picture: "Picture", patch_embed: "Patches", tokens: "Tokens" };
const OUTPUT_STAGES = { pooled: "Pooled", logits: "Scores" };
const SEEN = ["picture", "patch_embed"]; // drawn as the picture itself; the others as bands

// A button with a drawing under its name, and what happens when it is pressed.
function partOfMap(state, title, label, drawing, changes) {
  const button = makeButton("", () => {
    choose(state, changes);
    zoomInto(state.parts.view, button);
  });
  const name = make("span", {}, title);
  return furnish(button, { class: "vt-block vt-part", "aria-label": label }, [name, drawing]);
}

const bandBox = () =>
  draw("svg", {
    viewBox: `0 0 10 ${FLOW.high}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  });

// The picture, whole or (for the patches) with the lines along which it is cut.
function pictureBox(name, { grid_size: [rows, columns] = [1, 1] }) {
  const canvas = make("canvas", { class: "vt-pixels", "aria-hidden": "true" });
  const cut = name === "patch_embed" ? `--rows: ${rows}; --columns: ${columns}` : null;
  return make("span", { class: "vt-seen", style: cut }, canvas);
}

// The whole model as one line, from the picture to the scores: press a part to look into it.
function buildFlow(state) {
  const { config } = state.about;
  const drawings = {};
  const stages = [];
  const isThere = ([name]) => state.titles.some(([stage]) => stage === name);
  const stagePart = ([name, title]) => {
    drawings[name] = SEEN.includes(name) ? pictureBox(name, config) : bandBox();
    const look = { view: "numbers", stage: name };
    stages.push([name, partOfMap(state, title, title, drawings[name], look)]);
    return stages.at(-1)[1];
  };
  const blocks = Array.from({ length: blocksIn(config) }, (_, i) => {
    const drawing = (drawings[`blocks.${i}`] = bandBox());
    return partOfMap(state, i + 1, `Block ${i + 1}`, drawing, { block: i });
  });
  const strip = { class: "vt-strip", role: "group", "aria-label": "Blocks" };
  const way = make(
    "div",
    { class: "vt-way", role: "group", "aria-label": "The way through the model" },
    ...Object.entries(INPUT_STAGES).filter(isThere).map(stagePart),
    ...(blocks.length ? [make("div", strip, ...blocks)] : []),
    ...Object.entries(OUTPUT_STAGES).map(stagePart),
  );
  const words = make("p", { class: "vt-note" });
  return { box: make("div", { class: "vt-flow" }, way, words), stages, blocks, drawings, words };
}

function showFlow(state) {
  const { view, stage, block, parts, run } = state;
  const { stages, blocks } = parts.flow;
  const numbers = view === "numbers" && !stage.startsWith("blocks.");
  for (const [name, button] of stages) {
    button.setAttribute("aria-pressed", String(numbers && name === stage));
  }
  blocks.forEach((button, i) =>
    button.setAttribute("aria-pressed", String(!numbers && i === block)),
  );
  for (const [name, tab] of Object.entries(parts.tabs)) {
    tab.setAttribute("aria-pressed", String(name === view));
  }
  if (run) drawFlow(state);
}

function drawFlow(state) {
  const { run, about, parts } = state;
  const { drawings, words } = parts.flow;
  if (parts.flow.bytes !== run.bytes) {
    const seen = SEEN.filter((name) => drawings[name]);
    seen.forEach((name) =>
      paintPicture(drawings[name].firstElementChild, about.config.image_size, run.bytes),
    );
    parts.flow.bytes = run.bytes;
  }
  const flow = flowOf(state);
  const shares = sharesOf(state, run);
  const bands = flow ? bandsOf(flow, shares) : { logits: fanBands(shares) };
  for (const [name, paths] of Object.entries(bands)) {
    drawings[name].replaceChildren(...paths.map(([kind, d]) => draw("path", { class: kind, d })));
  }
  words.replaceChildren(...(flow ? flowWords(state, flow) : []));
}

// What the map shows, in words: the vector, and (where there is room) what is added to it.
function flowWords(state, { stream, attn, mlp, agree }) {
  const most = (added) => {
    const [block] = order(added, 1);
    return `most in block ${block + 1}, ${added[block].toFixed(1)}`;
  };
  const pooled = agree < 1 ? ` Averaging leaves ${percent(agree, 0)} of the tokens’ length.` : "";
  const vector =
    `Thick is long: the vector of ${whose(state, asking(state))} has length ` +
    `${stream[0].toFixed(1)} before the blocks, ${stream.at(-1).toFixed(1)} after them. `;
  const added =
    `Above, what attention adds (${most(attn)}); ` +
    `below, what the MLP adds (${most(mlp)}).${pooled}`;
  return [vector, make("span", { class: "vt-more" }, added)];
}
