// Every number of a stage. A part of the X-ray, see xray.js.

const LOADING = "This part comes with the model, which is loading …";

function stageChoice(list, onchange) {
  const groups = new Map();
  for (const [name, title, group] of list) {
    if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
    groups.get(group).append(make("option", { value: name }, title));
  }
  const input = make("select", { onchange: () => onchange(input.value) }, ...groups.values());
  return { box: make("label", { class: "vt-control" }, make("span", {}, "Stage"), input), input };
}

// The stage in block i that a stage is in its own; from outside the blocks, the attention.
const inBlock = (stage, i) =>
  stage.startsWith("blocks.") ? stage.replace(/\d+/, i) : `blocks.${i}.attn.weights`;

const headOf = ({ about, head }) => Math.min(head, (about.config.num_heads ?? 1) - 1);

function buildNumbers(state) {
  const { num_tokens: T, num_heads: H = 1 } = state.about.config;
  const step = { min: 0, step: 1 };
  const pick = (token) => choose(state, { token });
  const tokens = slider("Token", { ...step, max: T - 1 }, (t) => tokenName(state, t), pick);
  const told = (h) => String(h + 1);
  const heads = slider("Head", { ...step, max: H - 1 }, told, (head) => choose(state, { head }));
  const index = slider(
    "Number",
    step,
    (i) => String(i + 1),
    (i) => choose(state, { index: i }),
  );
  const list = stageChoice(state.titles, (stage) => choose(state, { stage }));
  const where = heading();
  const picture = make("div", { class: "vt-stage-view" });
  const words = statusLine();
  const numbers = region("The numbers of this token", "vt-numbers");
  const sum = region("The arithmetic of one number", "vt-sums");
  const sliders = controls(list.box, tokens.box, heads.box, index.box);
  const panel = [sliders, where, picture, words, titled("One number", sum), numbers];
  return { panel, tokens, heads, index, list, where, picture, words, numbers, sum };
}

function showNumbers(state) {
  const { parts, run, stage } = state;
  const numbers = (parts.figures ||= buildNumbers(state));
  if (!numbers.list.box.isConnected) parts.view.replaceChildren(...numbers.panel);
  numbers.tokens.set(asking(state));
  numbers.heads.set(headOf(state));
  numbers.list.input.value = stage;
  if (stage === "picture") return showPatch(state);
  if (!run.out) return void numbers.picture.replaceChildren(LOADING);
  const tensor = run.out[stage];
  numbers.heads.box.hidden = tensor.shape.length !== 3;
  numbers.tokens.box.hidden = tensor.shape.length === 1;
  return stage.endsWith("attn.weights") ? showAttention(state, tensor) : showMatrix(state, tensor);
}

const scaleOf = (top) =>
  make("p", { class: "vt-legend" }, `−${short(top)}`, make("span"), `+${short(top)}`);

// The numbers of all tokens as colours, and those of one; of one head, if there are heads.
function showMatrix(state, { shape, data: all }) {
  const { num_patches: N } = state.about.config;
  const [rows, columns] = shape.length === 1 ? [1, ...shape] : shape.slice(-2);
  const start = shape.length === 3 ? headOf(state) * rows * columns : 0;
  const data = all.subarray(start, start + rows * columns);
  const skipped = rows === N ? prefix(state) : 0; // tokens that have no row here
  const label = `${rows} rows of ${columns} numbers as colours`;
  const canvas = heatMap("vt-matrix", label, data, [rows, columns]);
  const title = `A row for each token, ${columns} numbers wide`;
  const row = rows === 1 ? 0 : Math.max(0, asking(state) - skipped);
  const rings = [makeRing(1, columns), makeRing(1, 1)];
  rings[0].move(row, 0);
  rings[1].move(row, chosenIn(state, columns));
  const rects = rings.flatMap((ring) => ring.rects);
  const cover = furnish(drawOver([rows, columns], ...rects), { preserveAspectRatio: "none" });
  const map = make("div", { class: "vt-stage vt-rows" }, canvas, cover);
  const pick = (y, x) => {
    const token = rows > 1 ? { token: Math.floor(y) + skipped } : {};
    choose(state, { ...token, index: Math.floor(x) });
    zoomInto(state.parts.figures.sum, state.parts.figures.picture.querySelectorAll(".vt-ring")[1]);
  };
  onPoint(map, () => [rows, columns], pick, ["pointerdown"]);
  const note = make("p", { class: "vt-note" }, rows === 1 ? `${columns} numbers` : title);
  const { picture, words } = state.parts.figures;
  picture.replaceChildren(note, map, scaleOf(largest(data)));
  const chosen = data.subarray(row * columns, (row + 1) * columns);
  list(state, chosen, state.stage === "logits" ? state.about.classes : null);
  const range = `from ${short(Math.min(...chosen))} to ${short(Math.max(...chosen))}`;
  words.textContent =
    `${rows === 1 ? "The vector" : `The ${tokenName(state, row + skipped)} token`}: ` +
    `${columns} numbers ${range}, length ${Math.hypot(...chosen).toFixed(2)}.`;
}

// The pixels of a patch as the model gets them: red, then green, then blue.
function patchNumbers({ run, about }, [y, x]) {
  const { image_size, patch_size, in_channels: channels } = about.config;
  const [height, width] = image_size;
  const [ph, pw] = patch_size;
  const patch = [];
  for (let c = 0; c < channels; c++) {
    const shade = (byte) => (byte / 255 - about.mean[c]) / about.std[c];
    for (let r = y * ph; r < (y + 1) * ph; r++) {
      const at = (c * height + r) * width + x * pw;
      patch.push(...Array.from(run.bytes.subarray(at, at + pw), shade));
    }
  }
  return patch;
}

function showPatch(state) {
  const where = place(state, asking(state));
  const patch = patchNumbers(state, where ?? [0, 0]);
  const { heads, tokens, picture, words } = state.parts.figures;
  heads.box.hidden = true;
  tokens.box.hidden = false;
  picture.replaceChildren();
  list(state, patch);
  words.textContent = where
    ? `The patch in ${tokenName(state, asking(state))}: ${patch.length} numbers, its pixels minus ` +
      "the mean colour, divided by the spread: red, then green, then blue."
    : "The class token has no place in the picture.";
}

function showAttention(state, { shape: [H, T], data }) {
  const { grid_size: grid } = state.about.config;
  const chosen = headOf(state);
  const row = (head) => {
    const at = (head * T + asking(state)) * T;
    return data.subarray(at, at + T);
  };
  const maps = Array.from({ length: H }, (_, head) => {
    const label = `Head ${head + 1}: where this token looks`;
    const canvas = heatMap("vt-map", label, row(head).subarray(prefix(state)), grid);
    const pick = makeButton(`Head ${head + 1}`, () => choose(state, { head }));
    furnish(pick, { class: "vt-head", "aria-pressed": String(head === chosen) });
    return make("div", {}, canvas, pick);
  });
  const { picture, words } = state.parts.figures;
  refill(
    picture,
    heading("Where this token looks: the redder, the more. Each map has its own scale."),
    make("div", { class: "vt-maps" }, ...maps),
  );
  const weights = row(chosen);
  const most = order(weights, 3).map((t) => `${tokenName(state, t)} (${percent(weights[t])})`);
  list(state, weights);
  words.textContent =
    `Head ${chosen + 1}: the token in ${tokenName(state, asking(state))} looks most at ` +
    `${most.join(", ")}. Looking at all alike would be ${percent(1 / T)} each.`;
}

const chosenIn = ({ index }, columns) => Math.min(index, columns - 1);

// Where in the model the chosen number stands: stage, head, token, number.
function wayTo(state, index) {
  const { heads, tokens } = state.parts.figures;
  const way = [state.titles.find(([name]) => name === state.stage)[1]];
  if (!heads.box.hidden) way.push(`head ${headOf(state) + 1}`);
  if (!tokens.box.hidden) way.push(tokenName(state, asking(state)));
  const isWeight = state.stage.endsWith("attn.weights");
  way.push(isWeight ? `looks at ${tokenName(state, index)}` : `number ${index + 1}`);
  return way.join(" › ");
}

// The numbers of a row, the chosen one marked, where it stands, and its arithmetic.
function list(state, values, names) {
  const { figures } = state.parts;
  const text = (n, i) => (names ? `${names[i]} ${short(n)}` : short(n));
  const index = chosenIn(state, values.length);
  const shown = Array.from(values.slice(0, SHOWN_AT_ONCE), (n, i) =>
    i === index ? make("mark", {}, text(n, i)) : text(n, i),
  );
  const rest = values.length - shown.length;
  const between = names ? "; " : "  ";
  const line = shown.flatMap((one, i) => (i ? [between, one] : [one]));
  figures.numbers.replaceChildren(make("p", {}, ...line, rest ? ` … and ${count(rest)} more` : ""));
  furnish(figures.index.input, { max: values.length - 1 });
  figures.index.set(index);
  figures.where.textContent = wayTo(state, index);
  showSum(state, index, values[index]);
}
