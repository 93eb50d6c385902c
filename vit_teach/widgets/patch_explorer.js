// PatchExplorer: an image with its grid of patches beside the sequence of tokens.

const OWN = -1, OWN_SIDE = 224; // the reader's own picture, and the size it is brought to
const SHOWN_NUMBERS = 48; // of each channel of a patch
const CHANNELS = ["red", "green", "blue"];

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

// The patch sizes that divide an image and give from 4 to 1024 patches.
export function patchSizes(height, width) {
  const sizes = [], both = divisor(height, width);
  for (let p = 1; p <= both; p++) {
    const patches = (height * width) / (p * p);
    if (both % p === 0 && patches >= 4 && patches <= 1024) sizes.push(p);
  }
  return sizes;
}

// The numbers of one patch in the order channel, row, column. `pixels` are red, green, blue, alpha.
export function flatten(pixels, width, patch, number) {
  const across = width / patch, numbers = [];
  const top = Math.floor(number / across) * patch, left = (number % across) * patch;
  for (let channel = 0; channel < 3; channel++)
    for (let y = top; y < top + patch; y++)
      for (let x = left; x < left + patch; x++) numbers.push(pixels[4 * (y * width + x) + channel]);
  return numbers;
}

// A picture's pixels on a canvas of the given size; the middle of it if the shape differs.
async function pixelsOf(source, width, height) {
  const image = new Image();
  image.src = source;
  await image.decode();
  if (!image.naturalWidth || !image.naturalHeight) throw new Error("a picture without a size");
  const scale = Math.max(width / image.naturalWidth, height / image.naturalHeight);
  const w = image.naturalWidth * scale, h = image.naturalHeight * scale;
  const canvas = make("canvas", { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.fillStyle = "white"; // behind transparent pictures
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  return { canvas, width, height, pixels: pen.getImageData(0, 0, width, height).data };
}

function render({ model, el }) {
  const entries = model.get("images");
  const loaded = new Map(); // number of an image -> its pixels
  let layout = null; // of the token sequence: columns, step and side in pixels

  const images = choice("Image", entries.map((e) => e.name), (i) => look(i === entries.length ? OWN : i));
  const sizes = slider("Patch size", { min: 0, step: 1 }, (i) => {
    const p = patchSizes(...size())[i];
    return `${p} × ${p}`;
  }, (i) => resizePatches(patchSizes(...size())[i]));
  const file = make("input", {
    type: "file", accept: "image/*", hidden: true,
    onchange: () => file.files.length && take(file.files[0]),
  });
  const button = make("button", { type: "button", onclick: () => file.click() }, "Your own picture …");
  const note = make("p", { class: "vt-note", role: "status" });

  const keys = { tabindex: 0, role: "application", onkeydown: onKey };
  const help = "Arrow keys, Home and End move from patch to patch.";
  const picture = make("div", { class: "vt-stage", "aria-label": "The image and its patches. " + help, ...keys });
  const strip = make("div", { class: "vt-stage", "aria-label": "The sequence of tokens. " + help, ...keys });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const zoom = make("canvas", { class: "vt-zoom", role: "img" });
  const numbers = make("div", { class: "vt-numbers", tabindex: 0, role: "region", "aria-label": "The numbers of the patch" });
  const counts = make("dl", { class: "vt-counts" });
  const frame = mount(el, "Patch explorer",
    make("div", { class: "vt-controls" }, images.box, sizes.box, button, file), note,
    make("div", { class: "vt-pair" },
      make("div", {}, make("p", { class: "vt-title" }, "The image, cut"), picture),
      make("div", {}, make("p", { class: "vt-title" }, "The sequence of tokens, line by line"), strip)),
    make("div", { class: "vt-detail" }, zoom, make("div", {}, status, numbers)), counts);

  const size = () => {
    const entry = entries[model.get("shown")];
    return entry ? [entry.height, entry.width] : [OWN_SIDE, OWN_SIDE];
  };
  const now = () => {
    const [height, width] = size(), patch = model.get("patch_size"), across = width / patch;
    return { height, width, patch, across, total: (height / patch) * across, image: loaded.get(model.get("shown")) };
  };

  // Shows another image, with the nearest patch size that it has.
  async function look(shown) {
    const entry = entries[shown] || { height: OWN_SIDE, width: OWN_SIDE };
    if (!loaded.has(shown)) loaded.set(shown, await pixelsOf(entry.source, entry.width, entry.height));
    const patch = model.get("patch_size");
    const fitting = patchSizes(entry.height, entry.width);
    const nearest = fitting.reduce((a, b) => (Math.abs(b - patch) < Math.abs(a - patch) ? b : a));
    change(model, { shown, patch_size: nearest, selected: middle(entry, nearest) });
    update();
  }
  const middle = ({ height, width }, p) => Math.floor(height / p / 2) * (width / p) + Math.floor(width / p / 2);

  // Another patch size; the selected patch stays where it was in the image.
  function resizePatches(next) {
    const { width, patch, across } = now(), n = model.get("selected");
    const centre = (i) => Math.floor(((i + 0.5) * patch) / next);
    change(model, { patch_size: next, selected: centre(Math.floor(n / across)) * (width / next) + centre(n % across) });
  }

  // The reader's own file: read by this page, sent nowhere.
  async function take(chosen) {
    const address = URL.createObjectURL(chosen);
    try {
      loaded.set(OWN, await pixelsOf(address, OWN_SIDE, OWN_SIDE));
      if (images.input.length === entries.length)
        images.input.append(make("option", { value: entries.length }, "your own picture"));
      await look(OWN);
      note.textContent = `${chosen.name}: the middle of it, resized to ${OWN_SIDE} × ${OWN_SIDE} pixels. It stays on this page.`;
    } catch {
      note.textContent = `${chosen.name || "This"} is not a picture that the browser can read.`;
    } finally {
      URL.revokeObjectURL(address);
      file.value = "";
    }
  }

  const select = (n) => n !== model.get("selected") && change(model, { selected: n });

  function onKey(event) {
    const { across, total } = now(), n = model.get("selected");
    const columns = event.currentTarget === strip ? layout.columns : across;
    let next = { Home: 0, End: total - 1 }[event.key];
    if (event.key in ARROWS) next = n + ARROWS[event.key][0] * columns + ARROWS[event.key][1];
    if (next === undefined) return;
    event.preventDefault();
    if (next >= 0 && next < total) select(next);
  }

  picture.addEventListener("pointermove", (event) => pointPatch(event));
  picture.addEventListener("pointerdown", (event) => pointPatch(event));
  function pointPatch(event) {
    const box = picture.getBoundingClientRect(), { height, width, patch, across } = now();
    const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * (width / patch)), 0, across - 1);
    const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * (height / patch)), 0, height / patch - 1);
    select(row * across + column);
  }

  strip.addEventListener("pointermove", (event) => pointToken(event));
  strip.addEventListener("pointerdown", (event) => pointToken(event));
  function pointToken(event) {
    const box = strip.getBoundingClientRect(), { columns, step } = layout;
    const column = clamp(Math.floor((event.clientX - box.left) / step), 0, columns - 1);
    const n = Math.floor((event.clientY - box.top) / step) * columns + column;
    if (n >= 0 && n < now().total) select(n);
  }

  // The image under its grid. The canvas keeps the image's own pixels, the page scales it.
  function drawImage({ height, width, patch, image }) {
    let path = "";
    for (let x = patch; x < width; x += patch) path += `M${x},0V${height}`;
    for (let y = patch; y < height; y += patch) path += `M0,${y}H${width}`;
    const canvas = make("canvas", { width, height, class: width < 100 ? "vt-pixels" : "" });
    canvas.getContext("2d").drawImage(image.canvas, 0, 0);
    picture.replaceChildren(canvas, draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      draw("path", { d: path, class: "vt-grid-back" }), draw("path", { d: path, class: "vt-grid" }),
      draw("rect", { class: "vt-ring-back", width: patch, height: patch }),
      draw("rect", { class: "vt-ring", width: patch, height: patch })));
  }

  // The tokens as small pictures in lines that are not the lines of the image.
  function drawStrip({ patch, across, total, image }) {
    const room = strip.clientWidth || 320, sharp = window.devicePixelRatio || 1;
    const columns = Math.min(total, across + Math.max(1, Math.round(across / 6)));
    const step = Math.min(room / columns, 72), side = step * (step < 14 ? 0.84 : 0.9);
    const lines = Math.ceil(total / columns);
    layout = { columns, step, side };
    const canvas = make("canvas", { width: room * sharp, height: lines * step * sharp });
    canvas.style.height = `${lines * step}px`;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.imageSmoothingEnabled = patch > side;
    for (let n = 0; n < total; n++) {
      const x = (n % across) * patch, y = Math.floor(n / across) * patch;
      pen.drawImage(image.canvas, x, y, patch, patch, (n % columns) * step, Math.floor(n / columns) * step, side, side);
    }
    strip.replaceChildren(canvas, draw("svg", { viewBox: `0 0 ${room} ${lines * step}`, "aria-hidden": "true" },
      draw("rect", { class: "vt-ring-back", width: side, height: side }),
      draw("rect", { class: "vt-ring", width: side, height: side })));
  }

  function drawSelection({ patch, across, width, image }) {
    const n = model.get("selected"), row = Math.floor(n / across), column = n % across;
    const place = (stage, x, y) => stage.querySelectorAll("rect").forEach((rect) => furnish(rect, { x, y }, []));
    place(picture, column * patch, row * patch);
    place(strip, (n % layout.columns) * layout.step, Math.floor(n / layout.columns) * layout.step);
    furnish(zoom, { width: patch, height: patch, "aria-label": `Patch ${n}, enlarged` }, []);
    zoom.getContext("2d").drawImage(image.canvas, column * patch, row * patch, patch, patch, 0, 0, patch, patch);
    status.textContent = `Patch in row ${row}, column ${column} of the grid = token ${n} of the sequence: ` +
      `${count(3 * patch * patch)} numbers, channel after channel.`;
    const values = flatten(image.pixels, width, patch, n), each = patch * patch, rest = each - SHOWN_NUMBERS;
    numbers.replaceChildren(...CHANNELS.map((name, c) => {
      const first = values.slice(c * each, c * each + Math.min(each, SHOWN_NUMBERS)).join(" ");
      return make("p", {}, make("b", { class: "vt-" + name }, name), ` ${first}${rest > 0 ? ` … and ${count(rest)} more` : ""}`);
    }));
  }

  function drawCounts({ height, width, patch, total }) {
    const pixels = height * width, exact = entries[model.get("shown")]?.exact;
    const rows = [
      ["tokens N", count(total), `${height / patch} × ${width / patch} patches`],
      ["attention entries N²", count(total * total), "every token with every token"],
      ["with a token per pixel", count(pixels * pixels), `${count(pixels)} tokens: ${count(patch ** 4)} times as many entries`],
    ];
    counts.replaceChildren(...rows.map(([name, value, why]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, make("b", {}, value), make("span", {}, why)))));
    if (model.get("shown") !== OWN) note.textContent = exact ? "" :
      "This image is compressed for the page: its numbers differ a little from the file's. You can drop a picture of your own here.";
  }

  let drawn = ""; // what the pictures show, so that pointing does not draw them again
  function update() {
    const state = now();
    if (!state.image || patchSizes(...size()).indexOf(state.patch) < 0) return;
    const shown = model.get("shown"), fitting = patchSizes(...size());
    images.input.value = shown === OWN ? entries.length : shown;
    sizes.input.max = fitting.length - 1;
    sizes.set(fitting.indexOf(state.patch));
    const wanted = [shown, state.patch, strip.clientWidth].join();
    if (wanted !== drawn || shown === OWN) {
      drawImage(state);
      drawStrip(state);
      drawCounts(state);
      drawn = wanted;
    }
    if (model.get("selected") < state.total) drawSelection(state);
  }

  frame.addEventListener("dragover", (event) => { event.preventDefault(); frame.classList.add("vt-drop"); });
  frame.addEventListener("dragleave", () => frame.classList.remove("vt-drop"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    frame.classList.remove("vt-drop");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });

  const unfollow = follow(model, ["shown", "patch_size", "selected"], async () => {
    const shown = model.get("shown");
    if (!loaded.has(shown) && entries[shown]) loaded.set(shown, await pixelsOf(entries[shown].source, entries[shown].width, entries[shown].height));
    update();
  });
  const resize = new ResizeObserver(update);
  resize.observe(strip);
  const first = entries[model.get("shown")] || entries[0];
  const start = pixelsOf(first.source, first.width, first.height).then((pixels) => {
    loaded.set(entries.indexOf(first), pixels);
    update();
  });
  const end = () => { unfollow(); resize.disconnect(); };
  return start.then(() => end);
}

export default { render };
