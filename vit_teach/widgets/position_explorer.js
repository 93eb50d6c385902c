// PositionExplorer: the similarity of one position to all others, for several position tables.
//
// `state` is what all functions share: the widget's model, the tables, their cosines (`similar`),
// and `parts`, the elements that change.

const RULES = {
  google: { kernel: "linear", corners: true, text: "bilinear, corners kept" },
  timm: { kernel: "cubic", a: -0.5, antialias: true, text: "bicubic, anti-aliased" },
  "timm-npz": { kernel: "linear", text: "bilinear, by centres" },
  torchvision: { kernel: "cubic", a: -0.75, corners: true, text: "bicubic, corners kept" },
  hf: { kernel: "cubic", a: -0.75, text: "bicubic, by centres" },
};
const LARGEST_SIDE = 16;

// How much a place counts at a distance: the kernel of a rule.
function kernelOf({ kernel, a }) {
  if (kernel === "linear") return (x) => Math.max(0, 1 - Math.abs(x));
  return (distance) => {
    const x = Math.abs(distance);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  };
}

// How much each old place counts for each new one along one side: `next` rows of `old` weights.
export function resizeWeights(rule, old, next) {
  const { kernel, corners, antialias } = RULES[rule];
  const curve = kernelOf(RULES[rule]);
  const stretch = antialias ? Math.max(1, old / next) : 1; // a wider kernel when shrinking
  const reach = (kernel === "linear" ? 1 : 2) * stretch;
  const cornered = (n) => (next > 1 ? (n * (old - 1)) / (next - 1) : 0);
  return Array.from({ length: next }, (_, n) => {
    const weights = new Array(old).fill(0);
    if (old === next) {
      weights[n] = 1;
      return weights;
    }
    const place = corners ? cornered(n) : ((n + 0.5) * old) / next - 0.5;
    for (let i = Math.ceil(place - reach); i <= place + reach; i++) {
      if (antialias && (i < 0 || i >= old)) continue; // left out, and the rest scaled up below
      weights[clamp(i, 0, old - 1)] += curve((i - place) / stretch); // else the edge is repeated
    }
    const total = weights.reduce((sum, w) => sum + w, 0);
    return weights.map((w) => w / total);
  });
}

// For each new place, the old places that count and how much: lists of [place, weight].
function resizeParts([gh, gw], [nh, nw], rule) {
  const down = resizeWeights(rule, gh, nh);
  const across = resizeWeights(rule, gw, nw);
  const partOf = (r, c) => {
    const part = [];
    for (let y = 0; y < gh; y++) {
      for (let x = 0; x < gw; x++) {
        const weight = down[r][y] * across[c][x];
        if (weight) part.push([y * gw + x, weight]);
      }
    }
    return part;
  };
  return Array.from({ length: nh * nw }, (_, i) => partOf(Math.floor(i / nw), i % nw));
}

// The products of all pairs of rows, after the table is resized: R G Rᵀ for old products G.
export function resizeProducts(products, grid, next, rule) {
  const parts = resizeParts(grid, next, rule);
  const old = grid[0] * grid[1];
  const half = parts.map((part) => {
    const line = new Float64Array(old);
    for (const [i, weight] of part) {
      for (let j = 0; j < old; j++) line[j] += weight * products[i][j];
    }
    return line;
  });
  const mix = (part, line) => part.reduce((sum, [j, w]) => sum + w * line[j], 0);
  return half.map((line) => Float64Array.from(parts, (part) => mix(part, line)));
}

const meanOf = (list) => list.reduce((a, b) => a + b, 0) / list.length;

// The cosine of the angle of each pair, from their products; `centred` subtracts the mean row first.
export function cosines(products, centred) {
  const means = products.map(meanOf);
  const mean = meanOf(means);
  const moved = (i, j) => products[i][j] - means[i] - means[j] + mean;
  const value = centred ? moved : (i, j) => products[i][j];
  const lengths = products.map((_, i) => Math.sqrt(Math.max(value(i, i), 0)) || 1);
  const cosine = (i, j) => clamp(value(i, j) / lengths[i] / lengths[j], -1, 1);
  return products.map((line, i) => Float64Array.from(line, (_, j) => cosine(i, j)));
}

// The triangles of all tables as square matrices of products.
export function unpack(bytes, tables, n) {
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  return Array.from({ length: tables }, () => {
    const square = Array.from({ length: n }, () => new Float64Array(n));
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++, at += 4) {
        square[i][j] = square[j][i] = numbers.getFloat32(at, true);
      }
    }
    return square;
  });
}

const meanLength = (products) =>
  products.reduce((sum, line, i) => sum + Math.sqrt(Math.max(line[i], 0)), 0) / products.length;

// The grid with the given number of rows and the shape of the old one; halves round up.
export function newGrid([gh, gw], rows) {
  return [rows, Math.max(2, Math.floor((2 * rows * gw + gh) / (2 * gh)))];
}

const inWords = ([h, w]) => `${h} × ${w}`;
const present = ({ model, grid }) => newGrid(grid, model.get("rows"));

// --- Choosing ------------------------------------------------------------------------------------

function go({ model }, row, column) {
  if (row !== model.get("row") || column !== model.get("column")) change(model, { row, column });
}

// Resizes the tables; the position stays where it was in the image.
function resize(state, rows) {
  const { model, grid } = state;
  const next = newGrid(grid, rows);
  const [row, column] = present(state).map((old, i) => {
    const place = (model.get(["row", "column"][i]) + 0.5) / old;
    return clamp(Math.floor(place * next[i]), 0, next[i] - 1);
  });
  change(model, { rows, row, column });
}

function onKey(state, event) {
  const { model } = state;
  const [height, width] = present(state);
  const n = model.get("row") * width + model.get("column");
  const next = walk(event, n, height * width, width);
  if (next !== undefined) go(state, Math.floor(next / width), next % width);
}

// --- Building ------------------------------------------------------------------------------------

function buildControls(state) {
  const { model, grid, rules } = state;
  const words = (rows) => inWords(newGrid(grid, rows)) + (rows === grid[0] ? ", as they are" : "");
  const steps = { min: 2, max: LARGEST_SIDE, step: 1 };
  const size = slider("Resize the tables to", steps, words, (rows) => resize(state, rows));
  while (newGrid(grid, Number(size.input.max))[1] > LARGEST_SIDE) size.input.max -= 1;
  const texts = rules.map((name) => `${name}: ${RULES[name].text}`);
  const rule = choice("by the rule", texts, (i) => change(model, { rule: rules[i] }));
  const centred = tickBox("subtract the mean row", (on) => change(model, { centred: on }));
  return { size, rule, centred };
}

// The map of one table, at which the reader can point.
function buildMap(state, name) {
  const canvas = make("canvas", { class: "vt-pixels" });
  const ring = makeRing(1, 1);
  const cover = drawOver([1, 1], ...ring.rects);
  const stage = make("div", { class: "vt-stage" }, canvas, cover);
  const choose = (y, x) => go(state, Math.floor(y), Math.floor(x));
  onPoint(stage, () => present(state), choose);
  return { box: titled(name, stage), canvas, cover, ring };
}

function build(state, el) {
  const { size, rule, centred } = buildControls(state);
  const maps = state.names.map((name) => buildMap(state, name));
  const lengths = make("table", { class: "vt-table" });
  const line = statusLine();
  const label =
    "Similarity maps. Arrow keys move the chosen position, Home and End go to the corners.";
  const keys = (event) => onKey(state, event);
  const all = walkable("vt-maps", label, keys, ...maps.map(({ box }) => box));
  all.dataset.first = "";
  const bar = make("span", { "aria-hidden": "true" });
  mount(
    el,
    "Position explorer",
    heading(
      make("b", {}, "Point at a place"),
      "All maps show which places are like it: red alike, blue opposite.",
    ),
    controls(size.box, rule.box, centred.box),
    all,
    make("p", { class: "vt-legend" }, "opposite −1 ", bar, " +1 alike"),
    line,
    region("Lengths of the rows", "vt-scroll", lengths),
  );
  return { size, rule, centred, maps, lengths, status: line };
}

// --- Showing -------------------------------------------------------------------------------------

// The cosines of each table, once for each size and rule.
function compute(state, next) {
  const { model, tables, grid } = state;
  const rule = model.get("rule");
  const wanted = [...next, rule, model.get("centred")].join();
  if (wanted === state.known) return;
  state.known = wanted;
  const similar = (table) => cosines(resizeProducts(table, grid, next, rule), model.get("centred"));
  state.similar = tables.map(similar);
  showLengths(state, next);
}

function showLengths({ model, tables, grid, rules, names, parts }, next) {
  const cell = (table, rule) => {
    const ratio = meanLength(resizeProducts(table, grid, next, rule)) / meanLength(table);
    return make("td", { "data-value": ratio }, ratio.toFixed(3));
  };
  const rows = rules.map((rule) => {
    const kind = { class: rule === model.get("rule") ? "vt-chosen" : "" };
    return tableRow(kind, rule, ...tables.map((table) => cell(table, rule)));
  });
  const caption = `Mean length of a row, new over old, ${inWords(grid)} → ${inWords(next)}`;
  fillTable(parts.lengths, ["rule", ...names], rows, caption);
}

function update(state) {
  const { model, grid, rules, parts } = state;
  const next = present(state);
  const [height, width] = next;
  const row = Math.min(model.get("row"), height - 1);
  const column = Math.min(model.get("column"), width - 1);
  parts.size.set(model.get("rows"));
  parts.rule.input.value = rules.indexOf(model.get("rule"));
  parts.rule.input.disabled = height === grid[0] && width === grid[1];
  parts.centred.input.checked = model.get("centred");
  compute(state, next);
  parts.lengths.parentElement.hidden = parts.rule.input.disabled; // nothing is resized yet
  parts.maps.forEach(({ canvas, cover, ring }, t) => {
    const values = state.similar[t][row * width + column];
    paint(canvas, next, (i) => redBlue(values[i]));
    cover.setAttribute("viewBox", `0 0 ${width} ${height}`);
    ring.move(row, column);
  });
  tell(state, next, row, column);
}

// The cosines with two neighbours, in words.
function tell({ names, similar, parts }, next, row, column) {
  const [height, width] = next;
  const right = column + 1 < width ? 1 : -1;
  const below = row + 1 < height ? 1 : -1;
  const near = names.map((name, t) => {
    const values = similar[t][row * width + column];
    const to = (r, c) => values[r * width + c].toFixed(2).replace("-", "−");
    return `${name} ${to(row, column + right)} and ${to(row + below, column)}`;
  });
  const sides = [right > 0 ? "to its right" : "to its left", below > 0 ? "below" : "above"];
  parts.status.textContent =
    `Row ${row}, column ${column} of ${inWords(next)}. Cosine with the place ${sides[0]} ` +
    `and the place ${sides[1]} it: ${near.join("; ")}.`;
}

function render({ model, el }) {
  const names = model.get("names");
  const grid = model.get("grid");
  const tables = unpack(model.get("products"), names.length, grid[0] * grid[1]);
  const rules = Object.keys(RULES);
  const state = { model, names, grid, tables, rules, similar: [], known: "" };
  state.parts = build(state, el);
  const watched = ["row", "column", "rows", "rule", "centred"];
  const end = follow(model, watched, () => update(state));
  update(state);
  return end;
}

export default { render };
