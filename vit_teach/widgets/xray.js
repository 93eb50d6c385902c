// XRay: a trained ViT runs in the page, on the reader's own picture, every step open to look into.
// The page brings the answer for one picture (`opening`). The engine (engine/*.js) and the weights
// come at the first touch: from Python in Jupyter, from scripts beside the host on the site.
//
// `state` is what all functions share: the widget's model and samples, the engine and what it says
// of its model (`about`), the run that is shown and the one `before` the picture was changed, a
// `second` model and a `kept` answer to compare with, what the reader looks at (view, stage, block,
// head, token, hover, heat), and `parts`, the elements that change.

const INVITE =
  "A Vision Transformer says what is in a picture. Point at a patch and see where it looks, " +
  "change the picture, or let eight steps lead you from the patches to the answer.";

// --- What the page brings ------------------------------------------------------------------------

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// The answer that came with the page, as a run of the model with only one token's attention.
function openingRun({ about, bytes, token, logits, lens, steps, scales, flow }) {
  const T = about.config.num_tokens;
  const all = bytesOf(steps);
  const row = (scale, i) => Float64Array.from(all.subarray(i * T, (i + 1) * T), (n) => n * scale);
  return {
    bytes: bytesOf(bytes),
    probabilities: softmax(logits),
    logits,
    lens: lens.map((pooled) => ({ pooled, tokens: null })),
    rows: scales.map(row),
    only: token,
    flow,
    out: null,
  };
}

// --- Choosing ------------------------------------------------------------------------------------

function choose(state, changes) {
  const { stage, block, view } = changes;
  const [, number] = /^blocks\.(\d+)/.exec(stage ?? "") ?? [];
  if (number) changes = { ...changes, block: Number(number) };
  else if (block !== undefined && (view ?? state.view) === "numbers" && stage === undefined) {
    changes = { ...changes, stage: inBlock(state.stage, block) };
  }
  Object.assign(state, changes);
  update(state);
}

// The page is drawn once a frame however fast the reader points.
function point(state, hover) {
  if (state.hover === hover) return;
  state.hover = hover;
  state.frame ??= requestAnimationFrame(() => {
    state.frame = null;
    update(state);
  });
}

function onKey(state, event) {
  const [rows, columns] = state.about.config.grid_size;
  const patch = patchOf(state, state.token);
  if (state.brush && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    return coverPatch(state, patch);
  }
  const next = walk(event, Math.max(0, patch), rows * columns, columns);
  if (next !== undefined) choose(state, { hover: null, token: next + prefix(state) });
}

// --- Showing -------------------------------------------------------------------------------------

const SHOW = { heads: showGrid, lens: showLens, numbers: showNumbers };

function update(state) {
  const { parts, run, last } = state;
  showFlow(state);
  showGuide(state);
  showEdit(state);
  parts.tiles.forEach((tile, i) => tile.setAttribute("aria-pressed", String(i === last.sample)));
  if (!run) return;
  showPicture(state);
  showAnswers(state);
  const hasView = state.view === "numbers" || !isCnn(state);
  if (hasView) SHOW[state.view](state);
  else parts.view.replaceChildren(make("p", {}, NO_ATTENTION));
}

// What the chosen view lays over the picture, a share for each patch; null: nothing.
function shadeOf(state) {
  const { view, block, head, parts } = state;
  if (!parts.lit.input.checked || view === "numbers" || isCnn(state)) return null;
  if (view === "heads") return attentionRow(state, block, head).subarray(prefix(state));
  const map = lensMap(state, block + 1, lensClass(state));
  return map && [...map, 1]; // the last one sets the scale: 100 %
}

function showPicture(state) {
  const { about, run, parts, view, block, head } = state;
  const { image_size: size, patch_size: patch, grid_size: grid } = about.config;
  const [height, width] = size;
  const { seen, veil, ring, cover, caption } = parts.picture;
  paintPicture(seen, size, run.bytes);
  seen.setAttribute("aria-label", `The picture, ${width} × ${height} pixels`);
  const shares = shadeOf(state);
  veil.hidden = !shares;
  if (shares) shade(veil, grid, shares);
  const where = place(state, asking(state));
  cover.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const at = (where ?? [0, 0]).map((n, i) => n * patch[i]);
  const visibility = where ? "visible" : "hidden";
  ring.move(...at, { visibility, height: patch[0], width: patch[1] });
  const names = {
    heads: `bright: where ${whose(state, asking(state))} looks, ${headName(state, block, head)}`,
    lens: `bright: patches that alone speak for “${about.classes[lensClass(state)]}”`,
    numbers: `ringed: ${whose(state, asking(state))}`,
  };
  caption.textContent = shares || view === "numbers" ? names[view] : "";
  parts.lit.box.hidden = isCnn(state);
}

// The classes to list: by what they had before the picture was changed, and what leads anywhere now.
function listed(columns) {
  const [{ then }] = columns;
  const rows = [...order(then, 10), ...columns.flatMap(({ now }) => order(now, 2))];
  return [...new Set(rows)].sort((a, b) => then[b] - then[a]);
}

function barsOf({ now, then, changed }, k) {
  const bar = (share, kind) =>
    make("span", { class: kind, style: `width:${(100 * share).toFixed(1)}%` });
  return [bar(now[k], "vt-bar"), ...(changed ? [bar(then[k], "vt-bar vt-then")] : [])];
}

// The answer of one model: bars, then numbers. Of several: a column of bars for each.
function answerTable(state, columns) {
  const { classes } = state.about;
  const [own, ...rest] = columns;
  const { now, then, logits, changed } = own;
  const cells = rest.length
    ? (k) => columns.map((column) => [...barsOf(column, k), percent(column.now[k])])
    : (k) => [barsOf(own, k), percent(now[k]), changed ? percent(then[k]) : logits[k].toFixed(2)];
  const rows = listed(columns).map((k) =>
    tableRow({}, classes[k], ...cells(k).map((cell) => make("td", {}, ...[cell].flat()))),
  );
  const alone = ["", "probability", changed ? "before" : "score"];
  const titles = rest.length ? columns.map((column) => columnTitle(state, column)) : alone;
  const kind = rest.length ? "vt-table vt-answers vt-columns" : "vt-table vt-answers";
  const [best, was] = [now, then].map((shares) => classes[order(shares, 1)[0]]);
  const caption = `It is: ${best}${changed ? ` (before: ${was})` : ""}`;
  return fillTable(make("table", { class: kind }), ["class", ...titles], rows, caption);
}

function showAnswers(state) {
  const { about, parts, second } = state;
  const columns = columnsOf(state);
  const lines = columns.slice(0, second?.run ? 2 : 1).map(({ title, now }, i) => {
    const [best] = order(now, 1);
    const who = i || second ? `${title} says` : "The model says";
    return make("span", {}, `${who}: ${about.classes[best]}, ${percent(now[best])}`);
  });
  parts.verdict.replaceChildren(...lines);
  parts.answers.replaceChildren(answerTable(state, columns));
  showCompare(state, columns);
}

// --- Building ------------------------------------------------------------------------------------

// The picture as the model reads it: under a veil that is thin where the chosen map is large, with
// a ring round the patch that asks.
function buildPicture(state) {
  const seen = make("canvas", { class: "vt-pixels", role: "img" });
  const veil = make("canvas", { class: "vt-pixels vt-veil", "aria-hidden": "true" });
  const ring = makeRing(1, 1);
  const cover = drawOver([1, 1], ...ring.rects);
  const label = "The picture as the model reads it. Arrow keys choose a patch.";
  const keys = (event) => onKey(state, event);
  const box = walkable("vt-stage vt-slide vt-xray-picture", label, keys, seen, veil, cover);
  const grid = () => state.about.config.grid_size;
  const patchAt = (y, x) => Math.floor(y) * grid()[1] + Math.floor(x);
  let paints = null; // whether the pressed brush covers or uncovers
  const press = (y, x) => {
    const patch = patchAt(y, x);
    paints = !isCovered(state, patch);
    choose(state, { hover: null, token: patch + prefix(state) });
    if (state.brush) coverPatch(state, patch, paints);
  };
  const move = (y, x) => {
    const patch = patchAt(y, x);
    point(state, patch + prefix(state));
    if (paints === null) return;
    state.token = patch + prefix(state);
    if (state.brush) coverPatch(state, patch, paints);
  };
  const end = () => (paints = null);
  const leave = () => point(state, null);
  onPoint(box, grid, press, ["pointerdown"]);
  onPoint(box, grid, move, ["pointermove"]);
  ["pointerup", "pointercancel", "pointerleave"].forEach((name) => box.addEventListener(name, end));
  box.addEventListener("pointerleave", leave);
  return { box, seen, veil, ring, cover, caption: make("p", { class: "vt-note vt-caption" }) };
}

// After another model came: what is laid out by its sizes.
function adopt(state) {
  const { parts, about } = state;
  state.titles = stageList(about.config);
  const flow = buildFlow(state);
  parts.flow.box.replaceWith(flow.box);
  Object.assign(parts, { flow, grid: null, figures: null });
  parts.view.replaceChildren();
  const start = { view: "heads", stage: "picture", block: 0, head: 0, shownClass: null };
  const token = middlePatch(state) + prefix(state);
  choose(state, { ...start, step: null, hover: null, token });
}

function buildSources(state) {
  const { model, samples } = state;
  const opener = makeButton(`Load the model (${megabytes(model.get("size"))})`, () => start(state));
  const tiles = samples.map((sample) => {
    const tile = makeButton("", () => takeSample(state, sample));
    const image = make("img", { src: sample.source, alt: "", width: 48, height: 48 });
    return furnish(tile, { class: "vt-sample" }, [image, sample.name]);
  });
  const picker = filePicker("Your own picture", "image/*", (file) => takePicture(state, file));
  const weights = filePicker("Your own model", ".safetensors", (file) => takeModel(state, file));
  const camera = makeButton("Camera", () => takePhotograph(state));
  camera.hidden = !(globalThis.isSecureContext && navigator.mediaDevices?.getUserMedia);
  const link = makeButton("Copy link", () => copyLink(state));
  link.hidden = !hasAddress();
  const group = { class: "vt-buttons", role: "group", "aria-label": "Pictures" };
  const pictures = make("div", group, ...tiles);
  const rest = make("div", { class: "vt-buttons" }, ...picker, camera, opener, ...weights, link);
  return { opener, tiles, pictures, rest };
}

function build(state, el) {
  const { opener, tiles, pictures, rest } = buildSources(state);
  const told = `Worked out beforehand by ${state.model.get("name")}: ${sizesOf(state.about)}.`;
  const status = make("p", { class: "vt-status", role: "status" }, told);
  const picture = buildPicture(state);
  const lit = tickBox("dark where it does not count", () => update(state));
  lit.input.checked = true;
  const answers = make("div", { class: "vt-scroll" });
  const compare = buildCompare(state);
  const guide = buildGuide(state);
  const edits = buildEdit(state);
  const flow = buildFlow(state);
  const tabs = Object.fromEntries(
    Object.entries(VIEWS).map(([view, title]) => {
      const tab = makeButton(title, () => choose(state, { view }));
      return [view, furnish(tab, { class: "vt-block" })];
    }),
  );
  const view = make("div", { class: "vt-view" });
  const views = { class: "vt-buttons vt-views", role: "group", "aria-label": "Views" };
  const tablist = make("div", views, ...Object.values(tabs));
  const verdict = heading();
  const board = make(
    "div",
    { class: "vt-board" },
    make("div", {}, verdict, picture.box, picture.caption, lit.box),
    make("div", { class: "vt-right" }, make("div", {}, tablist, view), compare.box),
    titled("What it says", answers, compare.words),
    edits.box,
  );
  const note = make("p", { class: "vt-note" }, NOTE);
  const inside = [guide.box, pictures, flow.box, board, status, rest, note];
  const frame = mount(el, "ViT X-ray", ...inside);
  dropZone(frame, (file) => takeFile(state, file));
  const shown = { picture, verdict, lit, answers, compare, guide, edits, flow, tabs, view };
  return { frame, opener, tiles, status, ...shown };
}

// --- Starting ------------------------------------------------------------------------------------

const TOUCHES = ["pointerover", "pointerdown", "keydown", "focusin"];

// The first touch loads the model; so does a reader who scrolls until the picture is in sight.
function awaitReader(state) {
  const { frame } = state.parts;
  const touched = () => start(state);
  TOUCHES.forEach((name) => frame.addEventListener(name, touched, { once: true }));
  const watch = new IntersectionObserver((seen) => {
    if (seen.some(({ isIntersecting }) => isIntersecting)) start(state);
  });
  const scrolled = () => watch.observe(state.parts.picture.box);
  document.addEventListener("scroll", scrolled, { once: true, capture: true, passive: true });
  return () => {
    document.removeEventListener("scroll", scrolled, { capture: true });
    watch.disconnect();
  };
}

function render({ model, el }) {
  const opening = model.get("opening");
  const { about, token } = opening;
  const run = openingRun(opening);
  const samples = model.get("samples");
  const last = { ...samples[0], sample: 0 };
  const look = {
    view: "heads",
    stage: "picture",
    token,
    hover: null,
    shownClass: null,
    step: null,
    index: 0,
    heat: 0,
    second: null,
    kept: null,
  };
  const changes = { edit: PLAIN, undo: [], slid: null, brush: false };
  const titles = stageList(about.config);
  const shown = { about, run, before: run, last, titles, block: opening.block, head: opening.head };
  const state = { model, samples, ...shown, ...look, ...changes, busy: Promise.resolve() };
  state.parts = build(state, el);
  update(state);
  const ended = awaitReader(state);
  const onPaste = ({ clipboardData }) => {
    const [file] = clipboardData?.files ?? [];
    if (file) takeFile(state, file);
  };
  const onHash = () => followLink(state);
  document.addEventListener("paste", onPaste);
  addEventListener("hashchange", onHash);
  followLink(state);
  return () => {
    document.removeEventListener("paste", onPaste);
    removeEventListener("hashchange", onHash);
    ended();
    state.engine?.close();
    dropSecond(state);
  };
}

export default { render };
