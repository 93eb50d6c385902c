// PatchExplorer: an image with its grid of patches beside the sequence of tokens.
//
// `state` is what all functions share: the widget's model, the images and the pixels of those that
// are loaded, the layout of the tokens, and `parts`, the elements that change.

const OWN = -1; // the reader's own picture
const OWN_SIDE = 224; // the size it is brought to
const SHOWN_NUMBERS = 48; // of each channel of a patch
const HELP = "Arrow keys, Home and End move from patch to patch.";
const COMPRESSED =
  "This image is compressed for the page: its numbers differ a little from the file's. " +
  "You can drop a picture of your own here.";

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

// The patch sizes that divide an image and give from 4 to 1024 patches.
export function patchSizes(height, width) {
  const sizes = [];
  const both = divisor(height, width);
  for (let p = 1; p <= both; p++) {
    const patches = (height * width) / (p * p);
    if (both % p === 0 && patches >= 4 && patches <= 1024) sizes.push(p);
  }
  return sizes;
}

// The numbers of one patch in the order channel, row, column. `pixels` are red, green, blue, alpha.
export function flatten(pixels, width, patch, number) {
  const across = width / patch;
  const top = Math.floor(number / across) * patch;
  const left = (number % across) * patch;
  const numbers = [];
  for (let channel = 0; channel < 3; channel++) {
    for (let y = top; y < top + patch; y++) {
      for (let x = left; x < left + patch; x++) numbers.push(pixels[4 * (y * width + x) + channel]);
    }
  }
  return numbers;
}

// A picture's pixels on a canvas of the given size; the middle of it if the shape differs.
async function pixelsOf(source, width, height) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const { naturalWidth, naturalHeight } = image;
  if (!naturalWidth || !naturalHeight) throw new Error("a picture without a size");
  const scale = Math.max(width / naturalWidth, height / naturalHeight);
  const w = naturalWidth * scale;
  const h = naturalHeight * scale;
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.fillStyle = "white"; // behind transparent pictures
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  return { canvas, pixels: pen.getImageData(0, 0, width, height).data };
}

// --- What is shown -------------------------------------------------------------------------------

const OWN_ENTRY = { height: OWN_SIDE, width: OWN_SIDE };
const entryOf = ({ entries, model }, shown = model.get("shown")) => entries[shown] || OWN_ENTRY;

function now(state) {
  const { height, width } = entryOf(state);
  const patch = state.model.get("patch_size");
  const across = width / patch;
  const image = state.loaded.get(state.model.get("shown"));
  const sizes = patchSizes(height, width);
  return { height, width, patch, across, total: (height / patch) * across, image, sizes };
}

async function load({ loaded, entries }, shown) {
  const { source, width, height } = entries[shown];
  loaded.set(shown, await pixelsOf(source, width, height));
}

// Shows another image, with the nearest patch size that it has.
async function look(state, shown) {
  const { model, loaded } = state;
  const { height, width } = entryOf(state, shown);
  if (!loaded.has(shown)) await load(state, shown);
  const patch = model.get("patch_size");
  const closer = (a, b) => (Math.abs(b - patch) < Math.abs(a - patch) ? b : a);
  const next = patchSizes(height, width).reduce(closer);
  const middle = (side) => Math.floor(side / next / 2);
  const selected = middle(height) * (width / next) + middle(width);
  change(model, { shown, patch_size: next, selected });
  update(state);
}

// Shows patches of another size; the centre of the chosen patch stays chosen.
function resizePatches(state, next) {
  const { width, patch, across } = now(state);
  const n = state.model.get("selected");
  const centre = (i) => Math.floor(((i + 0.5) * patch) / next);
  const row = centre(Math.floor(n / across));
  change(state.model, { patch_size: next, selected: row * (width / next) + centre(n % across) });
}

// The reader's own file: read by this page, sent nowhere.
async function take(state, chosen) {
  const { loaded, entries, parts } = state;
  const { input } = parts.images;
  const address = URL.createObjectURL(chosen);
  try {
    loaded.set(OWN, await pixelsOf(address, OWN_SIDE, OWN_SIDE));
    if (input.length === entries.length) {
      input.append(make("option", { value: entries.length }, "your own picture"));
    }
    await look(state, OWN);
    parts.note.textContent =
      `${chosen.name}: the middle of it, resized to ${OWN_SIDE} × ${OWN_SIDE} pixels. ` +
      "It stays on this page.";
  } catch {
    const name = chosen.name || "This";
    parts.note.textContent = `${name} is not a picture that the browser can read.`;
  } finally {
    URL.revokeObjectURL(address);
  }
}

function select({ model }, n) {
  if (n !== model.get("selected")) change(model, { selected: n });
}

// A key on a stage whose cells lie in lines of `columns`.
function onKey(state, event, columns) {
  const next = walk(event, state.model.get("selected"), now(state).total, columns, true);
  if (next !== undefined) select(state, next);
}

// --- Drawing -------------------------------------------------------------------------------------

// The image under its grid. The canvas keeps the image's own pixels, the page scales it.
function drawImage({ parts }, { height, width, patch, image }) {
  const canvas = make("canvas", { width, height, class: width < 100 ? "vt-pixels" : "" });
  canvas.getContext("2d").drawImage(image.canvas, 0, 0);
  const ring = makeRing(patch, patch);
  const lines = gridLines([height, width], [patch, patch]);
  parts.picture.replaceChildren(canvas, drawOver([height, width], ...lines, ...ring.rects));
  parts.patchRing = ring;
}

// The tokens as small pictures in lines that are not the lines of the image.
function drawStrip(state, { patch, across, total, image }) {
  const { strip } = state.parts;
  const room = strip.clientWidth || 320;
  const sharp = window.devicePixelRatio || 1;
  const columns = Math.min(total, across + Math.max(1, Math.round(across / 6)));
  const step = Math.min(room / columns, 72);
  const side = step * (step < 14 ? 0.84 : 0.9);
  const height = Math.ceil(total / columns) * step;
  state.layout = { columns, step };
  const canvas = make("canvas", { width: room * sharp, height: height * sharp });
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.imageSmoothingEnabled = patch > side;
  for (let n = 0; n < total; n++) {
    const from = [(n % across) * patch, Math.floor(n / across) * patch];
    const to = [(n % columns) * step, Math.floor(n / columns) * step];
    pen.drawImage(image.canvas, ...from, patch, patch, ...to, side, side);
  }
  const ring = makeRing(side, side);
  strip.replaceChildren(canvas, drawOver([height, room], ...ring.rects));
  state.parts.tokenRing = ring;
}

function drawSelection(state, { patch, across, width, image }) {
  const { model, parts } = state;
  const { columns, step } = state.layout;
  const n = model.get("selected");
  const row = Math.floor(n / across);
  const column = n % across;
  parts.patchRing.move(row * patch, column * patch);
  parts.tokenRing.move(Math.floor(n / columns) * step, (n % columns) * step);
  furnish(parts.zoom, { width: patch, height: patch, "aria-label": `Patch ${n}, enlarged` });
  const pen = parts.zoom.getContext("2d");
  pen.drawImage(image.canvas, column * patch, row * patch, patch, patch, 0, 0, patch, patch);
  parts.status.textContent =
    `Patch in row ${row}, column ${column} of the grid = token ${n} of the sequence: ` +
    `${count(3 * patch * patch)} numbers, channel after channel.`;
  showNumbers(parts.numbers, flatten(image.pixels, width, patch, n), patch * patch);
}

// The numbers of a patch, `each` of a channel.
function showNumbers(box, values, each) {
  const rest = each - SHOWN_NUMBERS;
  const more = rest > 0 ? ` … and ${count(rest)} more` : "";
  const lines = CHANNELS.map((name, c) => {
    const first = values.slice(c * each, c * each + Math.min(each, SHOWN_NUMBERS)).join(" ");
    return make("p", {}, make("b", { class: `vt-${name}` }, name), ` ${first}${more}`);
  });
  box.replaceChildren(...lines);
}

function drawCounts(state, { height, width, patch, total }) {
  const { model, parts } = state;
  const pixels = height * width;
  const times = `${count(pixels)} tokens: ${count(patch ** 4)} times as many entries`;
  const large = (number) => make("b", {}, count(number));
  fillCounts(parts.counts, [
    ["tokens N", large(total), `${height / patch} × ${width / patch} patches`],
    ["attention entries N²", large(total * total), "every token with every token"],
    ["with a token per pixel", large(pixels * pixels), times],
  ]);
  if (model.get("shown") === OWN) return;
  parts.note.textContent = entryOf(state).exact ? "" : COMPRESSED;
}

function update(state) {
  const { model, parts, entries } = state;
  const picture = now(state);
  const size = picture.sizes.indexOf(picture.patch);
  if (!picture.image || size < 0) return;
  const shown = model.get("shown");
  parts.images.input.value = shown === OWN ? entries.length : shown;
  parts.sizes.input.max = picture.sizes.length - 1;
  parts.sizes.set(size);
  const wanted = [shown, picture.patch, parts.strip.clientWidth].join();
  if (wanted !== state.drawn || shown === OWN) {
    drawImage(state, picture);
    drawStrip(state, picture);
    drawCounts(state, picture);
    state.drawn = wanted;
  }
  if (model.get("selected") < picture.total) drawSelection(state, picture);
}

// --- Building ------------------------------------------------------------------------------------

function buildControls(state) {
  const { entries } = state;
  const names = entries.map(({ name }) => name);
  const images = choice("Image", names, (i) => look(state, i === entries.length ? OWN : i));
  const sizeAt = (i) => now(state).sizes[i];
  const words = (i) => `${sizeAt(i)} × ${sizeAt(i)}`;
  const to = (i) => resizePatches(state, sizeAt(i));
  return { images, sizes: slider("Patch size", { min: 0, step: 1 }, words, to) };
}

// The image and the sequence of tokens, in both of which the reader chooses a patch.
function buildStages(state) {
  const keys = (event) => onKey(state, event, now(state).across);
  const picture = walkable("vt-stage", `The image and its patches. ${HELP}`, keys);
  const cells = () => {
    const { height, width, patch } = now(state);
    return [height / patch, width / patch];
  };
  onPoint(picture, cells, (y, x) =>
    select(state, Math.floor(y) * now(state).across + Math.floor(x)),
  );

  const tokenKeys = (event) => onKey(state, event, state.layout.columns);
  const strip = walkable("vt-stage", `The sequence of tokens. ${HELP}`, tokenKeys);
  const places = ({ height, width }) => [height, width].map((side) => side / state.layout.step);
  onPoint(strip, places, (y, x) => {
    const { columns } = state.layout;
    const n = Math.floor(y) * columns + Math.min(Math.floor(x), columns - 1);
    if (n < now(state).total) select(state, n);
  });
  return { picture, strip };
}

function build(state, el) {
  const { images, sizes } = buildControls(state);
  const { picture, strip } = buildStages(state);
  picture.dataset.first = "";
  const picker = filePicker("Your own picture", "image/*", (file) => take(state, file));
  const note = make("p", { class: "vt-note", role: "status" });
  const zoom = make("canvas", { class: "vt-zoom", role: "img" });
  const line = statusLine();
  const numbers = region("The numbers of the patch", "vt-numbers");
  const counts = make("dl", { class: "vt-counts" });
  const pair = [
    titled("The image, cut", picture),
    titled("The sequence of tokens, line by line", strip),
  ];
  const frame = mount(
    el,
    "Patch explorer",
    heading(
      make("b", {}, "Point at a patch"),
      "Its token lights up in the sequence; its numbers stand below.",
    ),
    controls(images.box, sizes.box, ...picker),
    note,
    make("div", { class: "vt-pair" }, ...pair),
    make("div", { class: "vt-detail" }, zoom, make("div", {}, line, numbers)),
    counts,
  );
  dropZone(frame, (file) => take(state, file));
  return { images, sizes, picture, strip, note, zoom, numbers, counts, status: line };
}

async function render({ model, el }) {
  const entries = model.get("images");
  const loaded = new Map(); // number of an image -> its canvas and pixels
  const layout = { columns: 1, step: 1 }; // of the tokens, in pixels
  const state = { model, entries, loaded, layout, drawn: "" }; // what the pictures show
  state.parts = build(state, el);
  const unfollow = follow(model, ["shown", "patch_size", "selected"], async () => {
    const shown = model.get("shown");
    if (!loaded.has(shown) && entries[shown]) await load(state, shown);
    update(state);
  });
  const resize = new ResizeObserver(() => update(state));
  resize.observe(state.parts.strip);
  await load(state, entries[model.get("shown")] ? model.get("shown") : 0);
  update(state);
  return () => {
    unfollow();
    resize.disconnect();
  };
}

export default { render };
