// XRay: a trained ViT runs in the page, on the reader's own picture, every step open to look into.
// The engine (engine/*.js) and the weights arrive after the page: from Python in Jupyter,
// from scripts beside the host on the site.

const SHOWN_AT_ONCE = 192; // numbers listed of one token
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const short = (number) => (Math.abs(number) < 1e-4 && number !== 0 ? number.toExponential(1) : number.toFixed(4));

// --- What there is to see: the stages of a run, in order -----------------------------------------

// [name of the tensor, what to call it, its group]
function stageList(depth) {
  const list = [["picture", "The picture, as the model reads it", "Input"],
    ["patch_embed", "Patch vectors: each patch projected", "Input"],
    ["tokens", "Tokens: with class token and positions", "Input"]];
  for (let i = 0; i < depth; i++) {
    const group = `Block ${i + 1}`, name = `blocks.${i}`;
    list.push([`${name}.attn.q`, "Queries", group], [`${name}.attn.k`, "Keys", group], [`${name}.attn.v`, "Values", group],
      [`${name}.attn.weights`, "Attention: who looks where", group], [`${name}.attn`, "What attention adds", group],
      [`${name}.mlp`, "What the MLP adds", group], [name, "Tokens after the block", group]);
  }
  return [...list, ["norm", "Tokens, normalised", "Output"], ["pooled", "The vector of the picture", "Output"], ["logits", "Scores of the classes", "Output"]];
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

// --- Drawing -------------------------------------------------------------------------------------

// Blue for negative, white for zero, red for positive; `top` is the largest size.
function shade(value, top) {
  const t = top ? clamp(value / top, -1, 1) : 0, fade = Math.round(255 * (1 - Math.abs(t)));
  return t < 0 ? [Math.round(33 + 0.87 * fade), Math.round(102 + 0.6 * fade), 172 + Math.round(0.32 * fade)] :
    [178 + Math.round(0.3 * fade), Math.round(24 + 0.9 * fade), Math.round(43 + 0.83 * fade)];
}

// Rows x columns of numbers as a picture of as many pixels.
function heatMap(canvas, data, rows, columns, top) {
  canvas.width = columns;
  canvas.height = rows;
  const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set([...shade(data[i], top), 255], 4 * i);
  pen.putImageData(image, 0, 0);
}

const largest = (data) => data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

// Bytes (3, H, W) on a canvas of that size.
function showPixels(canvas, bytes, [height, width]) {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height), size = width * height;
  for (let i = 0; i < size; i++) image.data.set([bytes[i], bytes[size + i], bytes[2 * size + i], 255], 4 * i);
  pen.putImageData(image, 0, 0);
}

// --- Getting things ------------------------------------------------------------------------------

// The engine's text and the weights: from Python, else from the scripts of the site.
async function supplies(model) {
  const given = model.get("engine"), site = globalThis.VitWidgets;
  const source = given || (await site.fetch("vit_engine"));
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return { source, ...(await import(address)) };
  } finally {
    URL.revokeObjectURL(address);
  }
}

async function bookWeights(model) {
  const view = model.get("weights");
  if (view?.byteLength) return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const text = await globalThis.VitWidgets.fetch(model.get("name"));
  return fromBase64(text).buffer;
}

// The bytes of a text in base 64. A plain loop: Uint8Array.from would hold the page up for 0.15 s.
function fromBase64(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

// A picture's pixels as they are in the file: no colour management, as Pillow reads them.
async function decode(blob) {
  if (!blob.size) throw new Error("the file is empty");
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    const svg = blob.type.includes("svg") ? " (drawings in SVG are not read)" : "";
    throw new Error(`this is not a picture that the browser can read${svg}`);
  }
}

// --- The widget ----------------------------------------------------------------------------------

function render({ model, el }) {
  const samples = model.get("samples");
  const state = { engine: null, about: null, run: null, stage: "picture", token: 0, head: 0, last: null, busy: Promise.resolve() };

  const status = make("p", { class: "vt-status", role: "status" }, "The model is not loaded yet.");
  const opener = make("button", { type: "button", onclick: () => start() }, `Load the model (${megabytes(model.get("size"))})`);
  const note = make("p", { class: "vt-note" }, "Your picture stays in this page: nothing is sent anywhere.");
  const tiles = samples.map(({ name, source }) => make("button", { type: "button", class: "vt-sample", onclick: () => takeSample(source, name) },
    make("img", { src: source, alt: "", width: 48, height: 48 }), name));
  const pictureFile = filePicker("Your own picture", "image/*", takePicture);
  const modelFile = filePicker("Your own model", ".safetensors", takeModel);
  const camera = make("button", { type: "button", onclick: () => takePhotograph() }, "Camera");
  camera.hidden = !(globalThis.isSecureContext && navigator.mediaDevices?.getUserMedia);
  const seen = make("canvas", { class: "vt-pixels", role: "img" });
  const ring = draw("rect", { class: "vt-ring" });
  const overlay = draw("svg", { "aria-hidden": "true" }, ring);
  const picture = make("div", {
    class: "vt-stage vt-xray-picture", tabindex: 0, role: "application", onkeydown: onKey, onpointerdown: onPoint,
    "aria-label": "The picture as the model reads it. Arrow keys choose a patch.",
  }, seen, overlay);
  const answers = make("div", { class: "vt-scroll" });
  const stages = make("div", { class: "vt-controls" });
  const tokens = slider("Token", { min: 0, step: 1 }, (t) => tokenName(t), (t) => choose({ token: t }));
  const heads = slider("Head", { min: 0, step: 1 }, (h) => String(h + 1), (h) => choose({ head: h }));
  const view = make("div", { class: "vt-view" });
  const words = make("p", { class: "vt-status", "aria-live": "polite" });
  const numbers = make("div", { class: "vt-numbers", tabindex: 0, role: "region", "aria-label": "The numbers of this token" });
  const results = make("div", { hidden: true },
    make("div", { class: "vt-pair" },
      make("div", {}, make("p", { class: "vt-title" }, "What the model reads"), picture),
      make("div", {}, make("p", { class: "vt-title" }, "What it says"), answers)),
    stages, view, words, numbers);
  const frame = mount(el, "ViT X-ray",
    make("div", { class: "vt-buttons" }, opener, ...modelFile), status,
    make("div", { class: "vt-buttons", role: "group", "aria-label": "Pictures" }, ...tiles, ...pictureFile, camera), note, results);
  frame.addEventListener("dragover", (event) => { event.preventDefault(); frame.classList.add("vt-drop"); });
  frame.addEventListener("dragleave", () => frame.classList.remove("vt-drop"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("vt-drop");
    takeFile(event.dataTransfer.files[0]);
  });
  const onPaste = (event) => { const [file] = event.clipboardData?.files ?? []; if (file) takeFile(file); };
  document.addEventListener("paste", onPaste);

  function filePicker(title, accept, use) {
    const input = make("input", { type: "file", accept, hidden: true, "aria-label": title,
      onchange: () => { if (input.files.length) use(input.files[0]); input.value = ""; } });
    return [make("button", { type: "button", onclick: () => input.click() }, `${title} …`), input];
  }

  // One thing after the other; a failure is told and leaves what was there.
  function queue(work) {
    state.busy = state.busy.then(work).catch((error) => { status.textContent = `That did not work: ${error.message}.`; });
    return state.busy;
  }

  async function engine() {
    if (state.engine) return state.engine;
    status.textContent = "Loading the engine …";
    const module = await supplies(model);
    state.engine = await module.openEngine({ source: module.source });
    return state.engine;
  }

  async function load(buffer, title) {
    const bytes = buffer.byteLength ?? buffer.size, runner = await engine();
    const about = await runner.load(buffer); // throws an Error that says what is wrong with the file
    if (about.config.in_channels !== 3) throw new Error(`this model reads ${about.config.in_channels} channels, pictures have 3`);
    state.about = about;
    const accuracy = about.metadata.test_accuracy;
    const tested = typeof accuracy === "number" ? `, ${percent(accuracy)} of its test pictures right` : "";
    state.title = `${title}: ${count(about.parameters)} parameters, ${count(Math.round(about.macs / 1e6))} million multiply-adds${tested}; ${megabytes(bytes)} read`;
    opener.hidden = true;
    status.textContent = `${state.title}.`;
    const list = stageChoice(stageList(about.config.depth), (name) => choose({ stage: name }));
    Object.assign(tokens.input, { max: about.config.num_tokens - 1 });
    Object.assign(heads.input, { max: about.config.num_heads - 1 });
    stages.replaceChildren(list.box, tokens.box, heads.box);
    state.stages = list;
    state.run = null;
    const [rows, columns] = about.config.grid_size;
    choose({ stage: "picture", head: 0 });
    choosePatch(rows >> 1, columns >> 1);
  }

  const ready = async () => { if (!state.about) await load(await bookWeights(model), model.get("name")); };
  const start = () => queue(async () => { await ready(); await show(samples[0].source, samples[0].name); });

  // A source is an address of a sample or a Blob. Its pixels go to the engine and are not kept.
  async function show(source, title) {
    await ready();
    const blob = typeof source === "string" ? sampleBlob(source) : source;
    const bitmap = await decode(blob);
    const size = `${bitmap.width} × ${bitmap.height} pixels`;
    status.textContent = `${title}: ${size}. The model runs …`;
    const began = performance.now();
    state.run = await state.engine.run(bitmap);
    state.last = { source, title };
    status.textContent = `${state.title}. ${title}: ${size}, one pass ${Math.round(performance.now() - began)} ms.`;
    results.hidden = false;
    update();
  }

  // A data address to a Blob without a request.
  function sampleBlob(address) {
    const [head, body] = address.split(",");
    return new Blob([fromBase64(body)], { type: head.slice(5).split(";")[0] });
  }
  function takeSample(source, name) { return queue(() => show(source, name)); }
  function takePicture(file) { return queue(() => show(file, file.name || "your picture")); }
  function takeModel(file) { return queue(async () => {
    await load(file, file.name);
    const { source, title } = state.last ?? { source: samples[0].source, title: samples[0].name };
    await show(source, title);
  }); }
  function takeFile(file) { return file && (file.name.endsWith(".safetensors") ? takeModel(file) : takePicture(file)); }
  const takePhotograph = () => queue(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    try {
      const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true });
      await video.play();
      const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      await show(await new Promise((done) => canvas.toBlob(done)), "your photograph");
    } finally {
      stream.getTracks().forEach((track) => track.stop());
    }
  });

  // --- Choosing and showing ---

  const patchOf = (token) => token - Number(state.about.config.class_token); // -1: the class token
  function place(token) {
    const patch = patchOf(token), across = state.about.config.grid_size[1];
    return patch < 0 ? null : [Math.floor(patch / across), patch % across];
  }
  function tokenName(token) {
    const where = state.about && place(token);
    return where ? `row ${where[0] + 1}, column ${where[1] + 1}` : "class token";
  }

  function choose(changes) {
    Object.assign(state, changes);
    update();
  }

  function onKey(event) {
    if (!(event.key in ARROWS) || !state.about) return;
    event.preventDefault();
    const [rows, columns] = state.about.config.grid_size, [y, x] = place(state.token) ?? [0, 0], [dy, dx] = ARROWS[event.key];
    choosePatch(clamp(y + dy, 0, rows - 1), clamp(x + dx, 0, columns - 1));
  }
  function onPoint(event) {
    if (!state.about) return;
    const box = picture.getBoundingClientRect(), [rows, columns] = state.about.config.grid_size;
    choosePatch(clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * columns), 0, columns - 1));
  }
  const choosePatch = (row, column) => {
    const { grid_size: [, across], class_token: first } = state.about.config;
    choose({ token: row * across + column + Number(first) });
  };

  function update() {
    if (!state.about) return;
    tokens.set(state.token);
    heads.set(state.head);
    state.stages.input.value = state.stage;
    const { image_size: [height, width], patch_size: [ph, pw] } = state.about.config, where = place(state.token);
    overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    ring.setAttribute("visibility", where ? "visible" : "hidden");
    if (where) furnish(ring, { x: where[1] * pw, y: where[0] * ph, width: pw, height: ph }, []);
    if (!state.run) return;
    showPixels(seen, state.run.bytes, [height, width]);
    seen.setAttribute("aria-label", `The picture, ${width} × ${height} pixels`);
    showAnswers();
    showStage();
  }

  function showAnswers() {
    const { classes } = state.about, { probabilities, logits } = state.run;
    const order = [...classes.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 12);
    const rows = order.map((k) => make("tr", {}, make("th", { scope: "row" }, classes[k]),
      make("td", {}, make("span", { class: "vt-bar", style: `width:${(100 * probabilities[k]).toFixed(1)}%` })),
      make("td", {}, percent(probabilities[k])), make("td", {}, short(logits[k]))));
    const title = ["class", "", "probability", "score"].map((text) => make("th", { scope: "col" }, text));
    answers.replaceChildren(make("table", { class: "vt-table vt-answers" }, make("caption", {}, `It is: ${classes[order[0]]}`),
      make("thead", {}, make("tr", {}, ...title)), make("tbody", {}, ...rows)));
  }

  function showStage() {
    const tensor = state.run.out[state.stage], { num_tokens: T, num_patches: N } = state.about.config;
    if (state.stage === "picture") return showPatch();
    const shape = tensor.shape, perHead = shape.length === 3;
    heads.box.hidden = !perHead;
    tokens.box.hidden = shape.length === 1;
    if (state.stage.endsWith("attn.weights")) return showAttention(tensor);
    const [rows, columns] = perHead ? shape.slice(1) : shape.length === 1 ? [1, shape[0]] : shape;
    const start = perHead ? state.head * rows * columns : 0, data = tensor.data.subarray(start, start + rows * columns);
    const row = rows === 1 ? 0 : rows === N && N !== T ? Math.max(0, patchOf(state.token)) : state.token;
    const canvas = make("canvas", { class: "vt-matrix vt-pixels", role: "img", "aria-label": `${rows} rows of ${columns} numbers as colours` });
    heatMap(canvas, data, rows, columns, largest(data));
    view.replaceChildren(make("p", { class: "vt-title" }, rows === 1 ? `${columns} numbers` : `A row for each token, ${columns} numbers wide`), canvas);
    const chosen = data.subarray(row * columns, (row + 1) * columns);
    list(chosen, state.stage === "logits" ? state.about.classes : null);
    const length = Math.hypot(...chosen), who = rows === 1 ? "The vector" : `The ${tokenName(rows === N && N !== T ? row + 1 : row)} token`;
    words.textContent = `${who}: ${columns} numbers from ${short(Math.min(...chosen))} to ${short(Math.max(...chosen))}, length ${length.toFixed(2)}.`;
  }

  function showPatch() {
    const { image_size: [height, width], patch_size: [ph, pw], in_channels: channels } = state.about.config;
    const [y, x] = place(state.token) ?? [0, 0], patch = [];
    for (let c = 0; c < channels; c++)
      for (let r = y * ph; r < (y + 1) * ph; r++)
        for (let q = x * pw; q < (x + 1) * pw; q++) patch.push(state.run.pixels[(c * height + r) * width + q]);
    heads.box.hidden = true;
    tokens.box.hidden = false;
    view.replaceChildren();
    list(patch);
    words.textContent = place(state.token) ?
      `The patch in ${tokenName(state.token)}: ${patch.length} numbers, its pixels minus the mean colour, divided by the spread: red, then green, then blue.` :
      "The class token has no place in the picture.";
  }

  function showAttention({ shape: [count_, T], data }) {
    const { grid_size: [rows, columns], class_token: first } = state.about.config, skip = Number(first);
    const row = (head) => data.subarray((head * T + state.token) * T, (head * T + state.token + 1) * T);
    const maps = Array.from({ length: count_ }, (_, head) => {
      const canvas = make("canvas", { class: "vt-pixels vt-map", role: "img", "aria-label": `Head ${head + 1}: where this token looks` });
      const weights = row(head).subarray(skip);
      heatMap(canvas, weights, rows, columns, largest(weights));
      const pick = make("button", { type: "button", class: "vt-head", "aria-pressed": String(head === state.head), onclick: () => choose({ head }) }, `Head ${head + 1}`);
      return make("div", {}, canvas, pick);
    });
    view.replaceChildren(make("p", { class: "vt-title" }, "Where this token looks: the redder, the more. Each map has its own scale."), make("div", { class: "vt-maps" }, ...maps));
    const weights = row(state.head), most = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, 3);
    list(weights);
    words.textContent = `Head ${state.head + 1}: the token in ${tokenName(state.token)} looks most at ${most.map((t) => `${tokenName(t)} (${percent(weights[t])})`).join(", ")}. Looking at all alike would be ${percent(1 / T)} each.`;
  }

  function list(values, names) {
    const shown = Array.from(values.slice(0, SHOWN_AT_ONCE), (n, i) => (names ? `${names[i]} ${short(n)}` : short(n)));
    const more = values.length > shown.length ? ` … and ${count(values.length - shown.length)} more` : "";
    numbers.replaceChildren(make("p", {}, shown.join(names ? "; " : "  ") + more));
  }

  return () => { document.removeEventListener("paste", onPaste); state.engine?.close(); };
}

export default { render };
