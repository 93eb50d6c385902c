// XRay: a trained ViT runs in the page, on the reader's own picture, every step open to look into.
// The engine (engine/*.js) and the weights arrive after the page: from Python in Jupyter, from
// scripts beside the host on the site.
//
// `state` is what all functions share: the widget's model and samples, the engine and what it says
// of its ViT (`about`), the last run, what the reader looks at (stage, token, head), and `parts`,
// the elements that change.

const SHOWN_AT_ONCE = 192; // numbers listed of one token
const NOTE = "Your picture stays in this page: nothing is sent anywhere.";
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const isTiny = (number) => Math.abs(number) < 1e-4 && number !== 0;
const short = (number) => (isTiny(number) ? number.toExponential(1) : number.toFixed(4));

// --- Choosing a stage ----------------------------------------------------------------------------

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

// --- Getting things ------------------------------------------------------------------------------

// The engine's text and its functions: from Python, else from the scripts of the site.
async function loadEngine(model) {
  const source = model.get("engine") || (await globalThis.VitWidgets.fetch("vit_engine"));
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return { source, ...(await import(address)) };
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function bookWeights(model) {
  const { byteLength, byteOffset, buffer } = model.get("weights") ?? {};
  if (byteLength) return buffer.slice(byteOffset, byteOffset + byteLength);
  return globalThis.VitWidgets.fetch(model.get("name")); // in base 64
}

// --- Running -------------------------------------------------------------------------------------

const say = (state, text) => (state.parts.status.textContent = text);

// One thing after the other; a failure is told and leaves what was there.
function queue(state, name, work) {
  const tell = ({ message }) => {
    const { run, last, loaded } = state;
    const still = run ? ` Below is still ${last.name} in ${loaded.name}.` : "";
    say(state, `That did not work: ${name}: ${message}.${still}`);
  };
  state.busy = state.busy.then(work).catch(tell);
  return state.busy;
}

// Opens an engine; another one where the worker has died, of too little memory for one.
async function startEngine(state) {
  if (state.engine?.isOpen()) return;
  say(state, "Loading the engine …");
  const { openEngine, stageList, photograph, source } = await loadEngine(state.model);
  Object.assign(state, { engine: await openEngine({ source }), stageList, photograph });
}

// Takes a file of weights into the engine, which throws an Error that says what is wrong with it.
async function load(state, file, name) {
  const size = file.size ?? state.model.get("size");
  await startEngine(state);
  const about = await state.engine.load(file);
  const { in_channels: channels, grid_size: grid } = about.config;
  if (channels !== 3) throw new Error(`this model reads ${channels} channels, pictures have 3`);
  const { parameters, macs, metadata } = about;
  const { test_accuracy: accuracy } = metadata;
  state.loaded = { engine: state.engine, file: file instanceof Blob ? file : null, name };
  const million = count(Math.round(macs / 1e6));
  const tested =
    typeof accuracy === "number" ? `, ${percent(accuracy)} of its test pictures right` : "";
  const sizes = `${count(parameters)} parameters, ${million} million multiply-adds`;
  Object.assign(state, { about, run: null });
  state.title = `${name}: ${sizes}${tested}; ${megabytes(size)} read`;
  say(state, `${state.title}.`);
  offerStages(state);
  choose(state, { stage: "picture", head: 0 });
  choosePatch(state, (grid[0] >> 1) * grid[1] + (grid[1] >> 1));
}

function offerStages(state) {
  const { opener, stages, strip, tokens, heads } = state.parts;
  const { depth, num_tokens: T, num_heads: H } = state.about.config;
  state.titles = state.stageList(depth);
  const list = stageChoice(state.titles, (stage) => choose(state, { stage }));
  const blocks = Array.from({ length: depth }, (_, i) => {
    const button = makeButton(i + 1, () => choose(state, { stage: inBlock(state.stage, i) }));
    return furnish(button, { class: "vt-block", "aria-label": `Block ${i + 1}` });
  });
  strip.replaceChildren("Block", ...blocks);
  opener.hidden = true;
  tokens.input.max = T - 1;
  heads.input.max = H - 1;
  stages.replaceChildren(list.box, tokens.box, heads.box);
  state.parts.stage = list.input;
}

// Sees to it that an engine has the model: the book's own, or, in a new engine, the one before.
async function ready(state) {
  const { model, about, loaded, engine } = state;
  if (about && engine.isOpen() && loaded.engine === engine) return;
  const file = loaded?.file ?? (await bookWeights(model));
  if (!about) return load(state, file, model.get("name"));
  await startEngine(state);
  await state.engine.load(file);
  loaded.engine = state.engine;
}

// A source is the data address of a sample or a Blob. It goes to the engine, and its pixels are not kept.
async function show(state, source, title) {
  await ready(state);
  const { engine, about } = state;
  say(state, `${title}: the model runs …`);
  const began = performance.now();
  const tell = (stage) => {
    const block = /^blocks\.(\d+)$/.exec(stage)?.[1];
    if (!block || performance.now() - began < 500) return;
    say(state, `${title}: block ${Number(block) + 1} of ${about.config.depth} is done …`);
  };
  state.run = await engine.run(source, tell);
  const pass = Math.round(state.run.pass);
  const rest = Math.round(performance.now() - began - pass);
  const { width, height } = state.run;
  state.last = { source, name: title };
  const took = `read and resized in ${rest} ms, one pass ${pass} ms`;
  say(state, `${state.title}. ${title}: ${width} × ${height} pixels, ${took}.`);
  state.parts.results.hidden = false;
  update(state);
}

const takeSample = (state, { source, name }) => queue(state, name, () => show(state, source, name));
const takePicture = (state, file) => {
  const name = file.name || "your picture";
  return queue(state, name, () => show(state, file, name));
};
const takePhotograph = (state) =>
  queue(state, "camera", async () => {
    await startEngine(state);
    await show(state, await state.photograph(), "your photograph");
  });
const takeModel = (state, file) =>
  queue(state, file.name, async () => {
    await load(state, file, file.name);
    const { source, name } = state.last ?? state.samples[0];
    await show(state, source, name);
  });
const takeFile = (state, file) =>
  (file.name.endsWith(".safetensors") ? takeModel : takePicture)(state, file);

// --- Choosing ------------------------------------------------------------------------------------

const patchOf = ({ about }, token) => token - Number(about.config.class_token); // class token: -1

// The row and column of a token's patch; null for the class token.
function place(state, token) {
  const patch = patchOf(state, token);
  const across = state.about.config.grid_size[1];
  return patch < 0 ? null : [Math.floor(patch / across), patch % across];
}
function tokenName(state, token) {
  const where = state.about && place(state, token);
  return where ? `row ${where[0] + 1}, column ${where[1] + 1}` : "class token";
}

function choose(state, changes) {
  Object.assign(state, changes);
  update(state);
}
const choosePatch = (state, patch) =>
  choose(state, { token: patch + Number(state.about.config.class_token) });

function onKey(state, event) {
  if (!state.about) return;
  const [rows, columns] = state.about.config.grid_size;
  const patch = walk(event, Math.max(0, patchOf(state, state.token)), rows * columns, columns);
  if (patch !== undefined) choosePatch(state, patch);
}

// --- Showing -------------------------------------------------------------------------------------

function update(state) {
  if (!state.about) return;
  const { parts, run, token } = state;
  parts.tokens.set(token);
  parts.heads.set(state.head);
  parts.stage.value = state.stage;
  const [, title, group] = state.titles.find(([name]) => name === state.stage);
  parts.where.textContent = title;
  [...parts.strip.children].forEach((button) =>
    button.setAttribute("aria-pressed", button.ariaLabel === group),
  );
  showPlace(state);
  if (!run) return;
  const [height, width] = state.about.config.image_size;
  const size = height * width;
  paint(parts.seen, [height, width], (i) => [0, size, 2 * size].map((c) => run.bytes[c + i]));
  parts.seen.setAttribute("aria-label", `The picture, ${width} × ${height} pixels`);
  showAnswers(state);
  showStage(state);
}

function showPlace(state) {
  const { image_size: size, patch_size: patch } = state.about.config;
  const { cover, ring } = state.parts;
  const where = place(state, state.token);
  cover.setAttribute("viewBox", `0 0 ${size[1]} ${size[0]}`);
  ring.setAttribute("visibility", where ? "visible" : "hidden");
  if (!where) return;
  const [y, x] = where.map((at, i) => at * patch[i]);
  furnish(ring, { x, y, width: patch[1], height: patch[0] });
}

const order = (values, most) =>
  [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, most);

function showAnswers({ about: { classes }, run: { probabilities, logits }, parts }) {
  const best = order(probabilities, 12);
  const rows = best.map((k) => {
    const width = `width:${(100 * probabilities[k]).toFixed(1)}%`;
    const cells = [make("span", { class: "vt-bar", style: width })];
    cells.push(percent(probabilities[k]), short(logits[k]));
    return tableRow({}, classes[k], ...cells.map((cell) => make("td", {}, cell)));
  });
  const table = make("table", { class: "vt-table vt-answers" });
  const titles = ["class", "", "probability", "score"];
  parts.answers.replaceChildren(fillTable(table, titles, rows, `It is: ${classes[best[0]]}`));
}

function showStage(state) {
  const { parts, stage, run } = state;
  if (stage === "picture") return showPatch(state);
  const tensor = run.out[stage];
  parts.heads.box.hidden = tensor.shape.length !== 3;
  parts.tokens.box.hidden = tensor.shape.length === 1;
  return stage.endsWith("attn.weights") ? showAttention(state, tensor) : showMatrix(state, tensor);
}

function heatMap(kind, label, data, size) {
  const looks = { class: `vt-pixels ${kind}`, role: "img", "aria-label": label };
  const canvas = make("canvas", looks);
  const top = largest(data);
  paint(canvas, size, (i) => redBlue(data[i], top));
  return canvas;
}

const scaleOf = (top) =>
  make("p", { class: "vt-legend" }, `−${short(top)}`, make("span"), `+${short(top)}`);

// The numbers of all tokens as colours, and those of one; of one head, if there are heads.
function showMatrix(state, { shape, data: all }) {
  const { num_tokens: T, num_patches: N } = state.about.config;
  const [rows, columns] = shape.length === 1 ? [1, ...shape] : shape.slice(-2);
  const start = shape.length === 3 ? state.head * rows * columns : 0;
  const data = all.subarray(start, start + rows * columns);
  const patchesOnly = rows === N && N !== T;
  const label = `${rows} rows of ${columns} numbers as colours`;
  const canvas = heatMap("vt-matrix", label, data, [rows, columns]);
  const title = `A row for each token, ${columns} numbers wide`;
  let row = patchesOnly ? Math.max(0, patchOf(state, state.token)) : state.token;
  if (rows === 1) row = 0;
  const ring = makeRing(1, columns);
  ring.move(row, 0);
  const cover = furnish(drawOver([rows, columns], ...ring.rects), { preserveAspectRatio: "none" });
  const map = make("div", { class: "vt-stage vt-rows" }, canvas, cover);
  const pick = (y) => choose(state, { token: Math.floor(y) + (patchesOnly && T > N ? 1 : 0) });
  if (rows > 1) onPoint(map, () => [rows, columns], pick, ["pointerdown"]);
  const note = make("p", { class: "vt-note" }, rows === 1 ? `${columns} numbers` : title);
  state.parts.view.replaceChildren(note, map, scaleOf(largest(data)));
  const chosen = data.subarray(row * columns, (row + 1) * columns);
  list(state, chosen, state.stage === "logits" ? state.about.classes : null);
  const name = tokenName(state, patchesOnly ? row + 1 : row);
  const range = `from ${short(Math.min(...chosen))} to ${short(Math.max(...chosen))}`;
  state.parts.words.textContent =
    `${rows === 1 ? "The vector" : `The ${name} token`}: ${columns} numbers ${range}, ` +
    `length ${Math.hypot(...chosen).toFixed(2)}.`;
}

function showPatch(state) {
  const { parts, run, token } = state;
  const { image_size, patch_size, in_channels: channels } = state.about.config;
  const [height, width] = image_size;
  const [ph, pw] = patch_size;
  const [y, x] = place(state, token) ?? [0, 0];
  const patch = [];
  for (let c = 0; c < channels; c++) {
    for (let r = y * ph; r < (y + 1) * ph; r++) {
      const at = (c * height + r) * width + x * pw;
      patch.push(...run.pixels.subarray(at, at + pw));
    }
  }
  parts.heads.box.hidden = true;
  parts.tokens.box.hidden = false;
  parts.view.replaceChildren();
  list(state, patch);
  parts.words.textContent = place(state, token)
    ? `The patch in ${tokenName(state, token)}: ${patch.length} numbers, its pixels minus the ` +
      "mean colour, divided by the spread: red, then green, then blue."
    : "The class token has no place in the picture.";
}

function showAttention(state, { shape: [H, T], data }) {
  const { grid_size: grid, class_token: first } = state.about.config;
  const row = (head) => {
    const at = (head * T + state.token) * T;
    return data.subarray(at, at + T);
  };
  const maps = Array.from({ length: H }, (_, head) => {
    const label = `Head ${head + 1}: where this token looks`;
    const canvas = heatMap("vt-map", label, row(head).subarray(Number(first)), grid);
    const pick = makeButton(`Head ${head + 1}`, () => choose(state, { head }));
    furnish(pick, { class: "vt-head", "aria-pressed": String(head === state.head) });
    return make("div", {}, canvas, pick);
  });
  state.parts.view.replaceChildren(
    heading("Where this token looks: the redder, the more. Each map has its own scale."),
    make("div", { class: "vt-maps" }, ...maps),
  );
  const weights = row(state.head);
  const most = order(weights, 3).map((t) => `${tokenName(state, t)} (${percent(weights[t])})`);
  list(state, weights);
  state.parts.words.textContent =
    `Head ${state.head + 1}: the token in ${tokenName(state, state.token)} looks most at ` +
    `${most.join(", ")}. Looking at all alike would be ${percent(1 / T)} each.`;
}

function list({ parts }, values, names) {
  const text = (n, i) => (names ? `${names[i]} ${short(n)}` : short(n));
  const shown = Array.from(values.slice(0, SHOWN_AT_ONCE), text);
  const rest = values.length - shown.length;
  const more = rest ? ` … and ${count(rest)} more` : "";
  parts.numbers.replaceChildren(make("p", {}, shown.join(names ? "; " : "  ") + more));
}

// --- Building ------------------------------------------------------------------------------------

// The picture as the model reads it, with a ring round one patch.
function buildPicture(state) {
  const seen = make("canvas", { class: "vt-pixels", role: "img" });
  const ring = draw("rect", { class: "vt-ring" });
  const cover = drawOver([1, 1], ring);
  const label = "The picture as the model reads it. Arrow keys choose a patch.";
  const keys = (event) => onKey(state, event);
  const picture = walkable("vt-stage vt-xray-picture", label, keys, seen, cover);
  const at = (y, x) => {
    if (state.about)
      choosePatch(state, Math.floor(y) * state.about.config.grid_size[1] + Math.floor(x));
  };
  onPoint(picture, () => state.about?.config.grid_size ?? [1, 1], at, ["pointerdown"]);
  return { picture, seen, ring, cover };
}

// All that is shown of a run.
function buildResults(state) {
  const { picture, ...pictureParts } = buildPicture(state);
  const answers = make("div", { class: "vt-scroll" });
  const stages = controls();
  const step = { min: 0, step: 1 };
  const tokenText = (token) => tokenName(state, token);
  const tokens = slider("Token", step, tokenText, (token) => choose(state, { token }));
  const heads = slider(
    "Head",
    step,
    (h) => String(h + 1),
    (head) => choose(state, { head }),
  );
  const view = make("div", { class: "vt-view" });
  const where = heading();
  const strip = make("div", {
    class: "vt-buttons vt-strip",
    role: "group",
    "aria-label": "Blocks",
  });
  const words = statusLine();
  const numbers = region("The numbers of this token", "vt-numbers");
  const pair = [titled("What the model reads", picture), titled("What it says", answers)];
  const top = make("div", { class: "vt-pair" }, ...pair);
  const inside = [top, strip, stages, where, view, words, numbers];
  const results = make("div", { hidden: true }, ...inside);
  const parts = { results, answers, strip, stages, tokens, heads, where, view, words, numbers };
  return { ...pictureParts, ...parts };
}

function build(state, el) {
  const { model, samples } = state;
  const status = make("p", { class: "vt-status", role: "status" }, "The model is not loaded yet.");
  const opener = makeButton(`Load the model (${megabytes(model.get("size"))})`, () =>
    takeSample(state, samples[0]),
  );
  const tiles = samples.map((sample) => {
    const tile = makeButton("", () => takeSample(state, sample));
    const image = make("img", { src: sample.source, alt: "", width: 48, height: 48 });
    return furnish(tile, { class: "vt-sample" }, [image, sample.name]);
  });
  const picker = filePicker("Your own picture", "image/*", (file) => takePicture(state, file));
  const weights = filePicker("Your own model", ".safetensors", (file) => takeModel(state, file));
  const camera = makeButton("Camera", () => takePhotograph(state));
  camera.hidden = !(globalThis.isSecureContext && navigator.mediaDevices?.getUserMedia);
  const group = { class: "vt-buttons", role: "group", "aria-label": "Pictures" };
  const parts = buildResults(state);
  const frame = mount(
    el,
    "ViT X-ray",
    make("div", { class: "vt-buttons" }, opener, ...weights),
    status,
    make("div", group, ...tiles, ...picker, camera),
    make("p", { class: "vt-note" }, NOTE),
    parts.results,
  );
  dropZone(frame, (file) => takeFile(state, file));
  return { ...parts, status, opener };
}

function render({ model, el }) {
  const look = { stage: "picture", token: 0, head: 0 };
  const state = { model, samples: model.get("samples"), ...look, busy: Promise.resolve() };
  state.parts = build(state, el);
  const onPaste = ({ clipboardData }) => {
    const [file] = clipboardData?.files ?? [];
    if (file) takeFile(state, file);
  };
  document.addEventListener("paste", onPaste);
  return () => {
    document.removeEventListener("paste", onPaste);
    state.engine?.close();
  };
}

export default { render };
