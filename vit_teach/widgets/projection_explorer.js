// ProjectionExplorer: one number of a token, product by product, and its filter slid over the image.
//
// `state` is what all functions share: the widget's model, the sizes, the images and filters, the
// answers of the chosen filter, and `parts`, the elements that change.

// A number in half precision from its 16 bits.
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const power = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (power ? (1 + fraction / 1024) * 2 ** (power - 15) : fraction * 2 ** -24);
}

// The projections: for each its filters, lists of `size` weights, and its biases.
export function unpack(bytes, banks, dimensions, size) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const read = (length) =>
    Float64Array.from({ length }, () => half(view.getUint16(2 * at++, true)));
  return Array.from({ length: banks }, () => ({
    filters: Array.from({ length: dimensions }, () => read(size)),
    biases: read(dimensions),
  }));
}

// Pixels (red, green, blue after each other) as three planes of normalised numbers.
export function normalise(pixels, [height, width], mean, std) {
  const number = (i, c) => (pixels[3 * i + c] / 255 - mean[c]) / std[c];
  const plane = (_, c) => Float64Array.from({ length: height * width }, (_, i) => number(i, c));
  return { height, width, planes: CHANNELS.map(plane) };
}

// The numbers below a filter in the order channel, row, column: a flattened patch.
export function cut({ planes, width }, row, column, patch) {
  const numbers = [];
  for (const plane of planes) {
    for (let y = row; y < row + patch; y++) {
      for (let x = column; x < column + patch; x++) numbers.push(plane[y * width + x]);
    }
  }
  return numbers;
}

// The projection of every patch: a sum of products and the bias, patch after patch.
export function project(image, filter, bias, patch) {
  const results = [];
  for (let row = 0; row < image.height; row += patch) {
    for (let column = 0; column < image.width; column += patch) {
      const numbers = cut(image, row, column, patch);
      results.push(numbers.reduce((sum, x, i) => sum + x * filter[i], 0) + bias);
    }
  }
  return results;
}

// The convolution of stride 1: for each weight, the whole image is shifted, weighted and added.
export function convolve({ planes, height, width }, filter, bias, patch) {
  const rows = height - patch + 1;
  const columns = width - patch + 1;
  const sums = new Float64Array(rows * columns).fill(bias);
  filter.forEach((weight, i) => {
    const down = Math.floor(i / patch) % patch;
    const across = i % patch;
    const plane = planes[Math.floor(i / patch ** 2)];
    for (let r = 0; r < rows; r++) {
      const from = (r + down) * width + across;
      for (let c = 0; c < columns; c++) sums[r * columns + c] += weight * plane[from + c];
    }
  });
  return sums;
}

const sum = (list) => list.reduce((a, b) => a + b, 0);
const printed = (x, digits = 4) =>
  x
    .toFixed(digits)
    .replace(/^-(0\.?0*)$/, "$1")
    .replace("-", "−");
const number = (x, digits) => make("b", { "data-value": x }, printed(x, digits));

// --- Moving the filter, choosing a product -------------------------------------------------------

const snap = (value, stride) => value - (value % stride);

// Puts the filter where it may stop, near a place.
function go({ model, rows, columns }, row, column) {
  const stride = model.get("stride");
  const to = {
    row: snap(clamp(row, 0, rows - 1), stride),
    column: snap(clamp(column, 0, columns - 1), stride),
  };
  if (to.row !== model.get("row") || to.column !== model.get("column")) change(model, to);
}

function setStride({ model }, stride) {
  const [row, column] = ["row", "column"].map((name) => snap(model.get(name), stride));
  change(model, { stride, row, column });
}

// A key moves the filter by `step` pixels, else by its stride.
function onKey(state, event, step) {
  const { model, rows, columns, P } = state;
  const by = step || model.get("stride");
  const [high, wide] = by === 1 ? [rows, columns] : [state.down, state.across];
  const at = ["row", "column"].map((name) => Math.floor(model.get(name) / (by === 1 ? 1 : P)));
  const next = walk(event, at[0] * wide + at[1], high * wide, wide);
  if (next !== undefined) go(state, Math.floor(next / wide) * by, (next % wide) * by);
}

function pick({ model }, entry) {
  if (entry !== model.get("entry")) change(model, { entry });
}

// --- Showing -------------------------------------------------------------------------------------

// The answers of the chosen filter, once for each image and filter.
function compute(state, filter, bias) {
  const { model, P, parts } = state;
  const n = model.get("shown");
  const wanted = [n, model.get("bank"), model.get("dimension")].join();
  if (wanted === state.known) return;
  state.known = wanted;
  const sliding = convolve(state.images[n], filter, bias, P);
  const projected = project(state.images[n], filter, bias, P);
  const most = largest(sliding);
  const pixels = state.pixels[n];
  Object.assign(state, { sliding, projected });
  paint(parts.picture.canvas, state.size, (i) => pixels.subarray(3 * i, 3 * i + 3));
  paint(parts.answers.canvas, [state.rows, state.columns], (i) => redBlue(sliding[i], most));
  paint(parts.kept.canvas, [state.down, state.across], (i) => redBlue(projected[i], most));
  const bar = make("span", { "aria-hidden": "true" });
  parts.scale.replaceChildren(`−${printed(most, 2)} `, bar, ` +${printed(most, 2)}`);
}

function update(state) {
  const { model, P, across, parts } = state;
  const names = ["row", "column", "dimension", "stride", "shown", "bank"];
  const [row, column, d, stride, shown, bank] = names.map((name) => model.get(name));
  const { filters, biases } = state.banks[bank];
  compute(state, filters[d], biases[d]);
  parts.image.input.value = shown;
  parts.bank.input.value = bank;
  parts.moves.input.value = Number(stride === 1);
  parts.dimension.set(d);
  parts.row.input.step = parts.column.input.step = stride;
  parts.row.set(row);
  parts.column.set(column);
  const begins = row % P === 0 && column % P === 0;
  const patch = Math.floor(row / P) * across + Math.floor(column / P);
  parts.picture.move(row, column);
  parts.answers.move(row, column);
  parts.kept.move(Math.floor(patch / across), patch % across);
  parts.kept.box.classList.toggle("vt-unmarked", !begins);
  tell(state, row, column, begins ? patch : null);
  showProducts(state, cut(state.images[shown], row, column, P), filters[d], biases[d]);
}

// The answer at a place, beside the projection of the patch that begins there, if one does.
function tell({ sliding, projected, columns, P, parts }, row, column, patch) {
  const here = sliding[row * columns + column];
  const place = `Row ${row}, column ${column}: `;
  const slid = ["the sliding filter gives ", number(here)];
  if (patch === null) {
    const left = `; a stride of ${P} leaves this number out.`;
    parts.status.replaceChildren(place, "no patch begins here. Only ", ...slid, left);
    return;
  }
  const same = Math.abs(here - projected[patch]) < 1e-9 ? "the same number" : "another number";
  const begins = `patch ${patch} begins here. Projecting the patch gives `;
  const told = [begins, number(projected[patch]), "; ", ...slid];
  parts.status.replaceChildren(place, ...told, `: ${same}. A stride of ${P} keeps it.`);
}

function showProducts(state, x, w, bias) {
  const { model, parts, P, each } = state;
  const entry = model.get("entry");
  const products = x.map((value, i) => value * w[i]);
  const lists = [x, w, products];
  const ends = [2.2, largest(w), largest(products)]; // black and white pixels are near -2 and 2
  const slice = (list, c) => list.slice(c * each, (c + 1) * each);
  const channel = Math.floor(entry / each);
  ends.forEach((end, k) => (parts.scales[k].textContent = `±${printed(end, 2)}`));
  parts.cells.forEach((line, c) => {
    line.forEach((cell, k) => {
      const values = slice(lists[k], c);
      paint(cell.canvas, [P, P], (i) => redBlue(values[i], ends[k]));
      cell.move(Math.floor((entry % each) / P), entry % P);
      cell.box.classList.toggle("vt-unmarked", c !== channel);
    });
    parts.sums[c].replaceChildren(number(sum(slice(products, c))));
  });
  const sums = CHANNELS.map((_, c) => sum(slice(products, c)));
  showTotal(state, sums, sum(products), bias);
  showEntry(state, x[entry], w[entry], products[entry]);
  if (parts.more.open) fillProducts(state, x, w, products, bias);
}

function showTotal({ model, parts }, sums, all, bias) {
  const term = (x) => (x < 0 ? ["(", number(x), ")"] : [number(x)]);
  const plus = sums.flatMap((part, c) => (c ? [" + ", ...term(part)] : [number(part)]));
  const result = make("strong", {}, number(all + bias));
  const name = `Dimension ${model.get("dimension")}: `;
  parts.total.replaceChildren(name, ...plus, " + bias ", ...term(bias), " = ", result);
}

// The chosen product in words, with the pixel's byte.
function showEntry({ model, parts, pixels, size, P, each }, x, w, product) {
  const entry = model.get("entry");
  const channel = Math.floor(entry / each);
  const y = Math.floor((entry % each) / P);
  const column = entry % P;
  const at = (model.get("row") + y) * size[1] + model.get("column") + column;
  const raw = pixels[model.get("shown")][3 * at + channel];
  const where = `${CHANNELS[channel]}, row ${y}, column ${column} of the filter`;
  const told = [number(x), "; weight w = ", number(w), "; product ", number(product), "."];
  parts.said.replaceChildren(`${where}: pixel ${raw}, normalised x = `, ...told);
}

function fillProducts({ model, parts, P, each }, x, w, products, bias) {
  let running = 0;
  const cell = (value) => make("td", { "data-value": value }, printed(value));
  const name = (i) => `${CHANNELS[Math.floor(i / each)]} ${Math.floor((i % each) / P)}, ${i % P}`;
  const rows = products.map((value, i) => {
    running += value;
    const kind = { class: i === model.get("entry") ? "vt-chosen" : "" };
    return tableRow(kind, name(i), cell(x[i]), cell(w[i]), cell(value), cell(running));
  });
  const none = [make("td"), make("td")];
  rows.push(tableRow({ class: "vt-sum" }, "bias", ...none, cell(bias), cell(running + bias)));
  fillTable(parts.table, ["channel row, column", "x", "w", "x·w", "sum so far"], rows);
}

// --- Building ------------------------------------------------------------------------------------

// A picture with a ring on it that marks `side` of its pixels; with a label, it takes keys.
function stage(size, side, marks, label, onkeydown) {
  const canvas = make("canvas", { class: "vt-pixels", width: size[1], height: size[0] });
  const { rects, move } = makeRing(side, side);
  const inside = [canvas, drawOver(size, ...marks, ...rects)];
  const kind = "vt-stage vt-slide";
  const box = label
    ? walkable(kind, label, onkeydown, ...inside)
    : make("div", { class: kind }, ...inside);
  return { box, canvas, move };
}

// Three pictures, each of which can be pointed at: the image, all answers, the answers kept.
function buildPictures(state) {
  const { model, P, size, rows, columns, down, across } = state;
  const help = "Arrow keys move the filter, Home and End go to the corners.";
  const label = `The image, its patches and the filter's place. ${help}`;
  const keys = (event) => onKey(state, event, 0);
  const picture = stage(size, P, gridLines(size, [P, P]), label, keys);
  const dots = [];
  for (let y = 0; y < rows; y += P) {
    for (let x = 0; x < columns; x += P) {
      dots.push(draw("circle", { class: "vt-start", cx: x + 0.5, cy: y + 0.5, r: 0.22 }));
    }
  }
  const all = `The filter's answers at all places. ${help}`;
  const answers = stage([rows, columns], 1, dots, all, keys);
  const few =
    `The answers that a stride of ${P} keeps, one for each patch. ` +
    "Arrow keys move from patch to patch.";
  const kept = stage([down, across], 1, [], few, (event) => onKey(state, event, P));

  const centred = (at) => (model.get("stride") === 1 ? Math.round(at - P / 2) : Math.floor(at));
  const cell = (y, x) => go(state, Math.floor(y), Math.floor(x));
  onPoint(
    picture.box,
    () => size,
    (y, x) => go(state, centred(y), centred(x)),
  );
  onPoint(answers.box, () => [rows, columns], cell);
  onPoint(
    kept.box,
    () => [down, across],
    (y, x) => go(state, Math.floor(y) * P, Math.floor(x) * P),
  );
  return { picture, answers, kept };
}

// The product, entry by entry: a line for each colour.
function buildProducts(state) {
  const { model, P, each } = state;
  const kinds = ["patch x", "filter w", "product x·w"];
  const cells = CHANNELS.map((_, c) =>
    kinds.map(() => {
      const cell = stage([P, P], 1, []);
      const at = (y, x) => pick(state, c * each + Math.floor(y) * P + Math.floor(x));
      onPoint(cell.box, () => [P, P], at);
      return cell;
    }),
  );
  const sums = CHANNELS.map(() => make("div", { class: "vt-part" }));
  const scales = kinds.map(() => make("span", { class: "vt-note" }));
  const title = (...content) => make("div", { class: "vt-title" }, ...content);
  const heads = kinds.map((text, k) => title(text, make("br"), scales[k]));
  const line = (name, c) => [make("div", {}, name), ...cells[c].map(({ box }) => box), sums[c]];
  const label =
    "Patch, filter and product for red, green and blue. Arrow keys move from entry to entry.";
  const onkeydown = (event) => {
    const next = walk(event, model.get("entry"), 3 * each, P, true);
    if (next !== undefined) pick(state, next);
  };
  const inside = [make("div"), ...heads, title("sum"), ...CHANNELS.flatMap(line)];
  return { cells, sums, scales, board: walkable("vt-products", label, onkeydown, ...inside) };
}

function buildControls(state) {
  const { model, P, rows, columns } = state;
  const last = model.get("dimensions") - 1;
  const set = (name) => (value) => change(model, { [name]: value });
  const ways = ["a whole patch (projection)", "one pixel (convolution)"];
  const to = {
    row: (r) => go(state, r, model.get("column")),
    column: (c) => go(state, model.get("row"), c),
  };
  return {
    image: choice("Image", model.get("pictures"), set("shown")),
    bank: choice("Filters", model.get("names"), set("bank")),
    dimension: slider("Output dimension", { min: 0, max: last, step: 1 }, String, set("dimension")),
    moves: choice("The filter moves by", ways, (i) => setStride(state, i ? 1 : P)),
    row: slider("Row", { min: 0, max: rows - 1 }, String, to.row),
    column: slider("Column", { min: 0, max: columns - 1 }, String, to.column),
  };
}

function build(state, el) {
  const { P, each } = state;
  const settings = buildControls(state);
  const pictures = buildPictures(state);
  const { board, ...products } = buildProducts(state);
  const scale = make("p", { class: "vt-legend" });
  const said = make("p", { class: "vt-note vt-said", "aria-live": "polite" });
  const total = make("p", { class: "vt-total" });
  const line = statusLine();
  const table = make("table", { class: "vt-table" });
  const more = make(
    "details",
    { class: "vt-more", ontoggle: () => update(state) },
    make("summary", {}, `All ${3 * each} products as a table`),
    region("All products", "vt-scroll vt-tall", table),
  );
  const trio = [
    titled("The image and the filter's place", pictures.picture.box),
    titled("The answer at every place; dots: a patch begins", pictures.answers.box),
    titled(`What a stride of ${P} keeps: a number for each patch`, pictures.kept.box),
  ];
  pictures.picture.box.dataset.first = "";
  const first = heading(
    make("b", {}, "Point at a patch"),
    `Its ${3 * each} products and their sum stand below.`,
  );
  const boxes = Object.values(settings).map(({ box }) => box);
  const top = [first, controls(...boxes), make("div", { class: "vt-trio" }, ...trio), scale, line];
  mount(el, "Projection explorer", ...top, board, total, said, more);
  return { ...settings, ...pictures, ...products, scale, status: line, total, said, more, table };
}

function render({ model, el }) {
  const P = model.get("patch_size");
  const size = model.get("size");
  const [height, width] = size;
  const names = model.get("names");
  const { buffer, byteOffset } = model.get("pixels");
  const all = height * width * 3;
  const pixels = model
    .get("pictures")
    .map((_, n) => new Uint8Array(buffer, byteOffset + n * all, all));
  const state = {
    model,
    P,
    each: P * P, // numbers of one channel of a patch
    size,
    rows: height - P + 1, // places of the filter
    columns: width - P + 1,
    down: height / P, // patches
    across: width / P,
    banks: unpack(model.get("weights"), names.length, model.get("dimensions"), 3 * P * P),
    pixels,
    images: pixels.map((list) => normalise(list, size, model.get("mean"), model.get("std"))),
    known: "", // for what the answers were computed: `sliding` and `projected`
  };
  state.parts = build(state, el);
  const watched = ["shown", "bank", "dimension", "row", "column", "stride", "entry"];
  const end = follow(model, watched, () => update(state));
  update(state);
  return end;
}

export default { render };
