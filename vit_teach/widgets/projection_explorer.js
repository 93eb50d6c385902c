// ProjectionExplorer: one number of a token, product by product, and its filter slid over the image.

const CHANNELS = ["red", "green", "blue"];

// A number in half precision from its 16 bits.
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, power = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (power ? (1 + fraction / 1024) * 2 ** (power - 15) : fraction * 2 ** -24);
}

// The projections: for each its filters, lists of `size` weights, and its biases.
export function unpack(bytes, banks, dimensions, size) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const read = (length) => Float64Array.from({ length }, () => half(view.getUint16(2 * at++, true)));
  return Array.from({ length: banks }, () => ({
    filters: Array.from({ length: dimensions }, () => read(size)), biases: read(dimensions),
  }));
}

// Pixels (red, green, blue after each other) as three planes of normalised numbers.
export function normalise(pixels, [height, width], mean, std) {
  const plane = (c) => Float64Array.from({ length: height * width }, (_, i) => (pixels[3 * i + c] / 255 - mean[c]) / std[c]);
  return { height, width, planes: CHANNELS.map((_, c) => plane(c)) };
}

// The numbers below a filter in the order channel, row, column: a flattened patch.
export function cut({ planes, width }, row, column, patch) {
  const numbers = [];
  for (const plane of planes)
    for (let y = row; y < row + patch; y++)
      for (let x = column; x < column + patch; x++) numbers.push(plane[y * width + x]);
  return numbers;
}

// The projection of every patch: a sum of products and the bias, patch after patch.
export function project(image, filter, bias, patch) {
  const results = [];
  for (let row = 0; row < image.height; row += patch)
    for (let column = 0; column < image.width; column += patch)
      results.push(cut(image, row, column, patch).reduce((sum, x, i) => sum + x * filter[i], 0) + bias);
  return results;
}

// The convolution of stride 1: for each weight, the whole image is shifted, weighted and added.
export function convolve({ planes, height, width }, filter, bias, patch) {
  const rows = height - patch + 1, columns = width - patch + 1, sums = new Float64Array(rows * columns).fill(bias);
  filter.forEach((weight, i) => {
    const down = Math.floor(i / patch) % patch, across = i % patch, plane = planes[Math.floor(i / patch ** 2)];
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) sums[r * columns + c] += weight * plane[(r + down) * width + c + across];
  });
  return sums;
}

const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
const printed = (x, digits = 4) => x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
const number = (x, digits) => make("b", { "data-value": x }, printed(x, digits));

// Signed numbers as a picture: red above 0, blue below.
function paint(canvas, values, width, scale) {
  const image = new ImageData(width, values.length / width);
  values.forEach((value, i) => {
    const end = value > 0 ? [178, 24, 43] : [33, 102, 172], share = Math.min(1, Math.abs(value) / scale);
    image.data.set([...end.map((part) => Math.round(247 + share * (part - 247))), 255], 4 * i);
  });
  Object.assign(canvas, { width, height: image.height }).getContext("2d").putImageData(image, 0, 0);
}

// A picture with a ring on it that marks `side` of its pixels.
function stage(width, height, side, marks, options) {
  const canvas = make("canvas", { class: "vt-pixels", width, height });
  const rects = ["vt-ring-back", "vt-ring"].map((name) => draw("rect", { class: name, width: side, height: side }));
  const shade = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...marks, ...rects);
  const box = make("div", { class: "vt-stage vt-slide", ...options }, canvas, shade);
  const mark = (x, y) => rects.forEach((rect) => furnish(rect, { x, y }, []));
  return { box, canvas, mark };
}

// Where an event points in a picture of the given size, in its pixels.
function spot(event, box, width, height) {
  const { left, top, width: w, height: h } = box.getBoundingClientRect();
  return [clamp(((event.clientX - left) / w) * width, 0, width - 0.001), clamp(((event.clientY - top) / h) * height, 0, height - 0.001)];
}

function render({ model, el }) {
  const P = model.get("patch_size"), each = P * P, [height, width] = model.get("size");
  const rows = height - P + 1, columns = width - P + 1, across = width / P;
  const names = model.get("names"), banks = unpack(model.get("weights"), names.length, model.get("dimensions"), 3 * each);
  const { buffer, byteOffset } = model.get("pixels"), all = height * width * 3;
  const pixels = model.get("pictures").map((_, n) => new Uint8Array(buffer, byteOffset + n * all, all));
  const images = pixels.map((list) => normalise(list, [height, width], model.get("mean"), model.get("std")));

  const snap = (value) => value - (value % model.get("stride"));
  function go(row, column) {
    const to = { row: snap(clamp(row, 0, rows - 1)), column: snap(clamp(column, 0, columns - 1)) };
    if (to.row !== model.get("row") || to.column !== model.get("column")) change(model, to);
  }
  function take(stride) {
    const back = (value) => value - (value % stride);
    change(model, { stride, row: back(model.get("row")), column: back(model.get("column")) });
  }

  const image = choice("Image", model.get("pictures"), (i) => change(model, { shown: i }));
  const bank = choice("Filters", names, (i) => change(model, { bank: i }));
  const dimension = slider("Output dimension", { min: 0, max: model.get("dimensions") - 1, step: 1 }, String, (d) => change(model, { dimension: d }));
  const moves = choice("The filter moves by", ["a whole patch (projection)", "one pixel (convolution)"], (i) => take(i ? 1 : P));
  const row = slider("Row", { min: 0, max: rows - 1 }, String, (r) => go(r, model.get("column")));
  const column = slider("Column", { min: 0, max: columns - 1 }, String, (c) => go(model.get("row"), c));

  // Three pictures, each of which can be pointed at: the image, all answers, the answers kept.
  const keys = (step) => ({ tabindex: 0, role: "application", onkeydown: (event) => onKey(event, step) });
  const help = "Arrow keys move the filter, Home and End go to the corners.";
  let grid = "";
  for (let x = P; x < width; x += P) grid += `M${x},0V${height}`;
  for (let y = P; y < height; y += P) grid += `M0,${y}H${width}`;
  const dots = [];
  for (let y = 0; y < rows; y += P) for (let x = 0; x < columns; x += P) dots.push(draw("circle", { class: "vt-start", cx: x + 0.5, cy: y + 0.5, r: 0.22 }));
  const lines = ["vt-grid-back", "vt-grid"].map((name) => draw("path", { class: name, d: grid }));
  const picture = stage(width, height, P, lines, { "aria-label": `The image, its patches and the filter's place. ${help}`, ...keys(0) });
  const answers = stage(columns, rows, 1, dots, { "aria-label": `The filter's answers at all places. ${help}`, ...keys(0) });
  const kept = stage(across, height / P, 1, [], { "aria-label": `The answers that a stride of ${P} keeps, one for each patch. Arrow keys move from patch to patch.`, ...keys(P) });
  const scale = make("p", { class: "vt-legend" });

  // The product, entry by entry.
  const parts = ["patch", "filter", "product"];
  const cells = CHANNELS.map((name, c) => parts.map((part) => {
    const cell = stage(P, P, 1, [], {});
    ["pointermove", "pointerdown"].forEach((kind) => cell.box.addEventListener(kind, (event) => {
      const [x, y] = spot(event, cell.box, P, P).map(Math.floor);
      pick(c * each + y * P + x);
    }));
    return cell;
  }));
  const sums = CHANNELS.map(() => make("div", { class: "vt-part" }));
  const scales = parts.map(() => make("span", { class: "vt-note" }));
  const heads = ["patch x", "filter w", "product x·w"].map((text, k) => make("div", { class: "vt-title" }, text, make("br"), scales[k]));
  const board = make("div", {
    class: "vt-products", tabindex: 0, role: "application", onkeydown: onEntryKey,
    "aria-label": "Patch, filter and product for red, green and blue. Arrow keys move from entry to entry.",
  }, make("div"), ...heads, make("div", { class: "vt-title" }, "sum"), ...CHANNELS.flatMap((name, c) => [make("div", {}, name), ...cells[c].map((cell) => cell.box), sums[c]]));
  const said = make("p", { class: "vt-note vt-said", "aria-live": "polite" });
  const total = make("p", { class: "vt-total" });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const table = make("table", { class: "vt-table" });
  const more = make("details", { class: "vt-more", ontoggle: () => update() }, make("summary", {}, `All ${3 * each} products as a table`),
    make("div", { class: "vt-scroll vt-tall", tabindex: 0, role: "region", "aria-label": "All products" }, table));

  const titled = (text, { box }) => make("div", {}, make("p", { class: "vt-title" }, text), box);
  mount(el, "Projection explorer",
    make("div", { class: "vt-controls" }, image.box, bank.box, dimension.box, moves.box, row.box, column.box),
    make("div", { class: "vt-trio" }, titled("The image and the filter's place", picture),
      titled("The answer at every place; dots: a patch begins", answers),
      titled(`What a stride of ${P} keeps: a number for each patch`, kept)),
    scale, status, board, total, said, more);

  function onKey(event, step) {
    const from = ["row", "column"].map((name) => model.get(name)), by = step || model.get("stride");
    const move = ARROWS[event.key], at = step ? from.map((value) => value - (value % P)) : from;
    if (move) go(at[0] + move[0] * by, at[1] + move[1] * by);
    else if (event.key === "Home") go(0, 0);
    else if (event.key === "End") go(rows - 1, columns - 1);
    else return;
    event.preventDefault();
  }
  function pick(entry) {
    if (entry >= 0 && entry < 3 * each && entry !== model.get("entry")) change(model, { entry });
  }
  function onEntryKey(event) {
    const move = ARROWS[event.key];
    if (move) pick(model.get("entry") + move[0] * P + move[1]);
    else if (event.key === "Home") pick(0);
    else if (event.key === "End") pick(3 * each - 1);
    else return;
    event.preventDefault();
  }
  const onPoint = (target, w, h, to) => ["pointermove", "pointerdown"].forEach((kind) => target.box.addEventListener(kind, (event) => {
    const [x, y] = spot(event, target.box, w, h);
    go(...to(x, y));
  }));
  onPoint(picture, width, height, (x, y) => (model.get("stride") === 1 ? [Math.round(y - P / 2), Math.round(x - P / 2)] : [Math.floor(y), Math.floor(x)]));
  onPoint(answers, columns, rows, (x, y) => [Math.floor(y), Math.floor(x)]);
  onPoint(kept, across, height / P, (x, y) => [Math.floor(y) * P, Math.floor(x) * P]);

  let known = "", sliding = [], projected = []; // the answers, and for what they were computed
  function compute(filter, bias) {
    const n = model.get("shown"), wanted = [n, model.get("bank"), model.get("dimension")].join();
    if (wanted === known) return;
    known = wanted;
    sliding = convolve(images[n], filter, bias, P);
    projected = project(images[n], filter, bias, P);
    const most = largest(sliding), data = new ImageData(width, height);
    for (let i = 0; i < height * width; i++) data.data.set([...pixels[n].subarray(3 * i, 3 * i + 3), 255], 4 * i);
    picture.canvas.getContext("2d").putImageData(data, 0, 0);
    paint(answers.canvas, sliding, columns, most);
    paint(kept.canvas, projected, across, most);
    scale.replaceChildren(`−${printed(most, 2)} `, make("span", { "aria-hidden": "true" }), ` +${printed(most, 2)}`);
  }

  function update() {
    const at = [model.get("row"), model.get("column")], d = model.get("dimension"), stride = model.get("stride");
    const { filters, biases } = banks[model.get("bank")], filter = filters[d], bias = biases[d];
    compute(filter, bias);
    image.input.value = model.get("shown");
    bank.input.value = model.get("bank");
    moves.input.value = Number(stride === 1);
    dimension.set(d);
    [row, column].forEach((control, i) => { control.input.step = stride; control.set(at[i]); });
    const begins = at.every((value) => value % P === 0), patch = Math.floor(at[0] / P) * across + Math.floor(at[1] / P);
    picture.mark(at[1], at[0]);
    answers.mark(at[1], at[0]);
    kept.mark(patch % across, Math.floor(patch / across));
    kept.box.classList.toggle("vt-unmarked", !begins);
    tell(at, patch, begins);
    drawProducts(cut(images[model.get("shown")], ...at, P), filter, bias, d);
  }

  function tell([r, c], patch, begins) {
    const here = sliding[r * columns + c], place = `Row ${r}, column ${c}: `;
    const slid = ["the sliding filter gives ", number(here)];
    const same = Math.abs(here - projected[patch]) < 1e-9 ? "the same number" : "another number";
    status.replaceChildren(place, ...(begins
      ? [`patch ${patch} begins here. Projecting the patch gives `, number(projected[patch]), "; ", ...slid, `: ${same}. A stride of ${P} keeps it.`]
      : ["no patch begins here. Only ", ...slid, `; a stride of ${P} leaves this number out.`]));
  }

  function drawProducts(x, w, bias, d) {
    const products = x.map((value, i) => value * w[i]), entry = model.get("entry"), lists = [x, w, products];
    const ends = [2.2, largest(w), largest(products)]; // black and white pixels are near -2 and 2
    const slice = (list, c) => list.slice(c * each, (c + 1) * each), sum = (list) => list.reduce((a, b) => a + b, 0);
    const channel = Math.floor(entry / each), y = Math.floor((entry % each) / P), column = entry % P;
    ends.forEach((end, k) => { scales[k].textContent = `±${printed(end, 2)}`; });
    cells.forEach((line, c) => {
      line.forEach((cell, k) => {
        paint(cell.canvas, slice(lists[k], c), P, ends[k]);
        cell.mark(column, y);
        cell.box.classList.toggle("vt-unmarked", c !== channel);
      });
      sums[c].replaceChildren(number(sum(slice(products, c))));
    });
    const z = sum(products) + bias, term = (x) => (x < 0 ? ["(", number(x), ")"] : [number(x)]);
    const plus = CHANNELS.flatMap((name, c) => (c ? [" + ", ...term(sum(slice(products, c)))] : [number(sum(slice(products, c)))]));
    total.replaceChildren(`Dimension ${d}: `, ...plus, " + bias ", ...term(bias), " = ", make("strong", {}, number(z)));
    const raw = pixels[model.get("shown")][3 * ((model.get("row") + y) * width + model.get("column") + column) + channel];
    said.replaceChildren(`${CHANNELS[channel]}, row ${y}, column ${column} of the filter: pixel ${raw}, normalised x = `, number(x[entry]),
      "; weight w = ", number(w[entry]), "; product ", number(products[entry]), ".");
    if (more.open) fill(x, w, products, bias);
  }

  function fill(x, w, products, bias) {
    let sum = 0;
    const cell = (value) => make("td", { "data-value": value }, printed(value));
    const name = (i) => `${CHANNELS[Math.floor(i / each)]} ${Math.floor((i % each) / P)}, ${i % P}`;
    const body = products.map((value, i) => {
      sum += value;
      return make("tr", { class: i === model.get("entry") ? "vt-chosen" : "" }, make("th", { scope: "row" }, name(i)), cell(x[i]), cell(w[i]), cell(value), cell(sum));
    });
    body.push(make("tr", { class: "vt-sum" }, make("th", { scope: "row" }, "bias"), make("td"), make("td"), cell(bias), cell(sum + bias)));
    const titles = ["channel row, column", "x", "w", "x·w", "sum so far"].map((text) => make("th", { scope: "col" }, text));
    table.replaceChildren(make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...body));
  }

  const end = follow(model, ["shown", "bank", "dimension", "row", "column", "stride", "entry"], update);
  update();
  return end;
}

export default { render };
