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

// --- What there is to see: the stages of a run, in order -----------------------------------------

// [name of the tensor, what to call it, its group]
function stageList(depth) {
  const blocks = Array.from({ length: depth }, (_, i) => [
    [`blocks.${i}.attn.q`, "Queries", `Block ${i + 1}`],
    [`blocks.${i}.attn.k`, "Keys", `Block ${i + 1}`],
    [`blocks.${i}.attn.v`, "Values", `Block ${i + 1}`],
    [`blocks.${i}.attn.weights`, "Attention: who looks where", `Block ${i + 1}`],
    [`blocks.${i}.attn`, "What attention adds", `Block ${i + 1}`],
    [`blocks.${i}.mlp`, "What the MLP adds", `Block ${i + 1}`],
    [`blocks.${i}`, "Tokens after the block", `Block ${i + 1}`],
  ]);
  return [
    ["picture", "The picture, as the model reads it", "Input"],
    ["patch_embed", "Patch vectors: each patch projected", "Input"],
    ["tokens", "Tokens: with class token and positions", "Input"],
    ...blocks.flat(),
    ["norm", "Tokens, normalised", "Output"],
    ["pooled", "The vector of the picture", "Output"],
    ["logits", "Scores of the classes", "Output"],
  ];
}

function stageChoice(list, onchange) {
  const groups = new Map();
  for (const [name, title, group] of list) {
    if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
    groups.get(group).append(make("option", { value: name }, title));
  }
  const input = make("select", { onchange: () => onchange(input.value) }, ...groups.values());
  return { box: make("label", { class: "vt-control" }, make("span", {}, "Stage"), input), input };
}

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
  return fromBase64(await globalThis.VitWidgets.fetch(model.get("name"))).buffer;
}

// The bytes of a text in base 64. A plain loop: Uint8Array.from would hold the page up for 0.15 s.
function fromBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// A data address to a Blob without a request.
function sampleBlob(address) {
  const [head, body] = address.split(",");
  return new Blob([fromBase64(body)], { type: head.slice(5).split(";")[0] });
}

// A picture's pixels as they are in the file: no colour management, as Pillow reads them.
async function decode(blob) {
  if (!blob.size) throw new Error("the file is empty");
  try {
    return await createImageBitmap(blob, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    const svg = blob.type.includes("svg") ? " (drawings in SVG are not read)" : "";
    throw new Error(`this is not a picture that the browser can read${svg}`);
  }
}

// One frame of the reader's camera, which is on only for that.
async function photograph() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: true });
  try {
    const video = Object.assign(document.createElement("video"), {
      srcObject: stream,
      muted: true,
    });
    await video.play();
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    return await new Promise((done) => canvas.toBlob(done));
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

// --- Running -------------------------------------------------------------------------------------

const say = (state, text) => (state.parts.status.textContent = text);

// One thing after the other; a failure is told and leaves what was there.
function queue(state, work) {
  const tell = (error) => say(state, `That did not work: ${error.message}.`);
  state.busy = state.busy.then(work).catch(tell);
  return state.busy;
}

async function startEngine(state) {
  if (state.engine) return;
  say(state, "Loading the engine …");
  const { openEngine, source } = await loadEngine(state.model);
  state.engine = await openEngine({ source });
}

// Takes a file of weights into the engine, which throws an Error that says what is wrong with it.
async function load(state, file, name) {
  const size = file.byteLength ?? file.size;
  await startEngine(state);
  const about = await state.engine.load(file);
  const { in_channels: channels, grid_size: grid } = about.config;
  if (channels !== 3) throw new Error(`this model reads ${channels} channels, pictures have 3`);
  const { parameters, macs, metadata } = about;
  const { test_accuracy: accuracy } = metadata;
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
  const { opener, stages, tokens, heads } = state.parts;
  const { depth, num_tokens: T, num_heads: H } = state.about.config;
  const list = stageChoice(stageList(depth), (stage) => choose(state, { stage }));
  opener.hidden = true;
  tokens.input.max = T - 1;
  heads.input.max = H - 1;
  stages.replaceChildren(list.box, tokens.box, heads.box);
  state.parts.stage = list.input;
}

async function ready(state) {
  const { model, about } = state;
  if (!about) await load(state, await bookWeights(model), model.get("name"));
}

// A source is an address of a sample or a Blob. Its pixels go to the engine and are not kept.
async function show(state, source, title) {
  await ready(state);
  const bitmap = await decode(typeof source === "string" ? sampleBlob(source) : source);
  const size = `${bitmap.width} × ${bitmap.height} pixels`;
  say(state, `${title}: ${size}. The model runs …`);
  const began = performance.now();
  state.run = await state.engine.run(bitmap);
  state.last = { source, name: title };
  const pass = `one pass ${Math.round(performance.now() - began)} ms`;
  say(state, `${state.title}. ${title}: ${size}, ${pass}.`);
  state.parts.results.hidden = false;
  update(state);
}

const takeSample = (state, { source, name }) => queue(state, () => show(state, source, name));
const takePicture = (state, file) =>
  queue(state, () => show(state, file, file.name || "your picture"));
const takePhotograph = (state) =>
  queue(state, async () => show(state, await photograph(), "your photograph"));
const takeModel = (state, file) =>
  queue(state, async () => {
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

const heatMap = (canvas, data, size) => {
  const top = largest(data);
  paint(canvas, size, (i) => redBlue(data[i], top));
};

// The numbers of all tokens as colours, and those of one; of one head, if there are heads.
function showMatrix(state, { shape, data: all }) {
  const { num_tokens: T, num_patches: N } = state.about.config;
  const [rows, columns] = shape.length === 1 ? [1, ...shape] : shape.slice(-2);
  const start = shape.length === 3 ? state.head * rows * columns : 0;
  const data = all.subarray(start, start + rows * columns);
  const patchesOnly = rows === N && N !== T;
  const label = `${rows} rows of ${columns} numbers as colours`;
  const canvas = make("canvas", { class: "vt-matrix vt-pixels", role: "img", "aria-label": label });
  heatMap(canvas, data, [rows, columns]);
  const title = `A row for each token, ${columns} numbers wide`;
  state.parts.view.replaceChildren(heading(rows === 1 ? `${columns} numbers` : title), canvas);

  let row = patchesOnly ? Math.max(0, patchOf(state, state.token)) : state.token;
  if (rows === 1) row = 0;
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
    const canvas = make("canvas", { class: "vt-pixels vt-map", role: "img", "aria-label": label });
    heatMap(canvas, row(head).subarray(Number(first)), grid);
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
  const words = statusLine();
  const numbers = region("The numbers of this token", "vt-numbers");
  const pair = [titled("What the model reads", picture), titled("What it says", answers)];
  const top = make("div", { class: "vt-pair" }, ...pair);
  const results = make("div", { hidden: true }, top, stages, view, words, numbers);
  return { ...pictureParts, results, answers, stages, tokens, heads, view, words, numbers };
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
