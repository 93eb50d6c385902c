// GridExplorer: the trainings of an experiment, one label along the axis, a line for each other group.
//
// `state` is what all functions share: the widget's model, the cards' cells and labels with their
// values, the lines that are drawn, the chosen line and point, and `parts`, the elements that change.

const SEEN = "images seen";
const ALL_SEEDS = -1;
const COLOURS = ["blue", "vermilion", "green", "purple", "orange", "sky"];
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "14 4"]; // five: see `looks`
const SHAPES = [
  // a mark for each colour, so that colour is not needed to tell lines apart
  "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0",
  "M-4,-4H4V4H-4Z",
  "M0,-5.5L5,4H-5Z",
  "M0,-6L5.5,0L0,6L-5.5,0Z",
  "M0,5.5L5,-4H-5Z",
  "M-5,-1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5Z",
];
const NARROW = 520; // pixels

// A model's plain name and its colour, as in all figures of the book (vit_teach/plots/style.py).
export const MODELS = {
  vit: ["ViT", "blue"],
  "vit-no-positions": ["ViT, no positions", "purple"],
  overlap: ["overlapping patches", "sky"],
  cct: ["CCT's stem", "orange"],
  hybrid: ["hybrid", "green"],
  cnn: ["CNN", "vermilion"],
  "cnn-circular": ["CNN, circular", "vermilion"],
};

const words = (name) => name.replace(/^val_/, "validation ").replaceAll("_", " ");
const isNumber = (value) => typeof value === "number";
const plain = (name) =>
  MODELS[name]?.[0] ?? name.replace(/^(vit|cnn)-/, (_, kind) => `${MODELS[kind][0]}-`);
const told = (value) => (isNumber(value) ? count(value) : plain(String(value)));
// The colour of a model, or of the kind of model with which its name begins.
export const colourOf = (name) => (MODELS[name] ?? MODELS[String(name).split("-")[0]])?.[1];
const different = (values) => {
  const found = [...new Set(values)];
  return found.every(isNumber) ? found.sort((a, b) => a - b) : found;
};

// Mean, sample standard deviation (null for one value) and number of values.
export function summary(values) {
  const n = values.length;
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, std: n > 1 ? Math.sqrt(squares / (n - 1)) : null, n };
}

// The lines to draw: [{key, at, points: [{x, mean, std, n}]}]. `now` has the model's values.
export function lines({ cells, labels, metrics, metric, x, hidden, seed }) {
  const axis = labels.indexOf(x);
  const which = metrics.indexOf(metric);
  const found = new Map();
  for (const cell of cells) {
    if (seed !== ALL_SEEDS && cell.seed !== seed) continue;
    if (cell.at.some((value, i) => hidden.includes(`${labels[i]}=${value}`))) continue;
    const at = cell.at.map((value, i) => (i === axis ? null : value));
    const key = JSON.stringify(at);
    const line = found.get(key) || { key, at, places: new Map() };
    found.set(key, line);
    const values = x === SEEN ? cell.curve : [[cell.at[axis], cell.values[which]]];
    for (const [place, value] of values) {
      line.places.set(place, [...(line.places.get(place) || []), value]);
    }
  }
  return [...found.values()].map(({ key, at, places }) => {
    const points = [...places].map(([place, values]) => ({ x: place, ...summary(values) }));
    if (points.every((p) => isNumber(p.x))) points.sort((a, b) => a.x - b.x);
    return { key, at, points };
  });
}

// 1, 2 and 5 times the powers of ten from low to high; for a wide range the powers alone.
export function decades(low, high) {
  const factors = high / low > 1e4 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    found.push(...factors.map((factor) => Number(`${factor}e${power}`)));
  }
  return found.filter((x) => x >= low && x <= high);
}

// Round numbers that divide the range from low to high into four to eight steps.
export function ticks(low, high) {
  const raw = (high - low) / 6 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

// The fewest decimals with which every height, as a per cent, stands as itself.
export function decimals(heights) {
  const isExact = (y, digits) => Math.abs(Number((100 * y).toFixed(digits)) - 100 * y) < 1e-9;
  return [0, 1, 2].find((digits) => heights.every((y) => isExact(y, digits))) ?? 3;
}

const NAMES = ["cells", "labels", "metrics", "metric", "x", "hidden", "seed"];
const valuesOf = (model) => Object.fromEntries(NAMES.map((name) => [name, model.get(name)]));

// --- Words and looks of a line -------------------------------------------------------------------

// The label that gives a line its colour: the model, where there are several.
function colourLabel({ labels, values }, line) {
  const isShown = (i) => line.at[i] !== null && values[i].length > 1;
  const found = labels.indexOf("model");
  return found >= 0 && isShown(found) ? found : labels.findIndex((_, i) => isShown(i));
}

// The looks of all lines that there can be against x, hidden ones too, so that a line keeps its
// own: a colour for each model, and for each line of that colour another of twelve marks, full or
// hollow; a mark that comes again has another dash. So no two are alike.
export function looks(state, all) {
  const taken = new Set();
  return new Map(
    all.map((line) => {
      const i = colourLabel(state, line);
      const first = i < 0 ? 0 : state.values[i].indexOf(line.at[i]);
      const own = state.labels[i] === "model" ? COLOURS.indexOf(colourOf(line.at[i])) : -1;
      const colour = own < 0 ? first % COLOURS.length : own;
      let n = colour;
      while (taken.has(`${colour} ${n}`)) n += 1;
      taken.add(`${colour} ${n}`);
      const isHollow = Math.floor(n / SHAPES.length) % 2;
      const look = {
        colour: COLOURS[colour],
        shape: SHAPES[n % SHAPES.length],
        dash: DASHES[(n - colour) % DASHES.length],
        kind: isHollow ? "vt-mark vt-hollow" : "vt-mark",
      };
      return [line.key, look];
    }),
  );
}

function nameOf({ model, values }, line) {
  const shown = line.at.filter((value, i) => value !== null && values[i].length > 1);
  return shown.map(told).join(", ") || model.get("title");
}

function saidOf({ mean, std, n }) {
  if (std !== null) return `${percent(mean)} ± ${(100 * std).toFixed(1)} (${n} runs)`;
  return percent(mean) + (n === 1 ? " (one run)" : "");
}

// --- Where things come to lie --------------------------------------------------------------------

// Where numbers and words come to lie: [position of a value, marks of the axis].
function scale(places, from, to) {
  if (!places.every(isNumber)) {
    const step = (to - from) / places.length;
    return [(x) => from + (places.indexOf(x) + 0.5) * step, places];
  }
  const low = Math.min(...places);
  const high = Math.max(...places);
  const isWide = low > 0 && high / low >= 8;
  const f = isWide ? Math.log : (x) => x;
  const span = f(high) - f(low) || 1;
  const position = (x) => from + 14 + ((f(x) - f(low)) / span) * (to - from - 28);
  const round = isWide ? decades : ticks;
  return [position, places.length <= 8 ? places : round(low, high)];
}

// The range of the accuracies with their spread, a little wider.
function range(drawn) {
  const ends = drawn.flatMap(({ points }) =>
    points.flatMap(({ mean, std }) => [mean - (std || 0), mean + (std || 0)]),
  );
  const low = Math.min(...ends);
  const high = Math.max(...ends);
  const room = Math.max(0.01, (high - low) * 0.06);
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

// Words along the axis lie below each other, and the accuracy runs to the right.
function layOut(drawn, places, wide) {
  const sideways = !places.every(isNumber);
  const across = wide < NARROW ? 110 : 150;
  const height = sideways ? 60 + 42 * places.length : 340;
  const box = sideways ? [across, wide - 14, 10, height - 42] : [48, wide - 12, 10, height - 46];
  const [left, right, top, bottom] = box;
  const [low, high] = range(drawn);
  const part = (y) => (y - low) / (high - low);
  const [along, marks] = sideways ? scale(places, top, bottom) : scale(places, left, right);
  const toRight = (y) => left + part(y) * (right - left);
  const toTop = (y) => bottom - part(y) * (bottom - top);
  const up = sideways ? toRight : toTop;
  const at = (x, y) => (sideways ? [up(y), along(x)] : [along(x), up(y)]);
  return { wide, sideways, height, box, at, along, up, marks, heights: ticks(low, high) };
}

// --- Drawing -------------------------------------------------------------------------------------

const textAt = (x, y, anchor, content, kind = "") =>
  draw("text", { x, y, "text-anchor": anchor, class: kind }, content);

// The rules of the accuracy and their numbers, as many as have room.
function drawHeights({ sideways, box: [left, right, top, bottom], up, heights }) {
  const parts = [];
  const digits = decimals(heights);
  let end = -99; // where the number before ends, of those that stand side by side
  for (const y of heights) {
    const rule = sideways ? `M${up(y)},${top}V${bottom}` : `M${left},${up(y)}H${right}`;
    const text = percent(y, digits);
    const half = 3.6 * text.length;
    parts.push(draw("path", { class: "vt-rule", d: rule }));
    if (!sideways) parts.push(textAt(left - 6, up(y) + 4, "end", text));
    else if (up(y) - half > end) {
      end = up(y) + half;
      parts.push(textAt(up(y), bottom + 16, "middle", text));
    }
  }
  return parts;
}

// The numbers or words along the axis.
function drawMarks({ wide, sideways, box: [left, , , bottom], along, marks }) {
  const parts = [];
  let last = -99;
  for (const x of marks) {
    if (sideways) parts.push(textAt(left - 10, along(x) + 4, "end", told(x)));
    else if (along(x) - last > (wide < NARROW ? 44 : 52)) {
      last = along(x);
      parts.push(textAt(along(x), bottom + 17, "middle", count(x)));
    }
  }
  return parts;
}

function drawAxes({ model }, field) {
  const [left, right, , bottom] = field.box;
  const name = words(model.get(field.sideways ? "metric" : "x"));
  const title = textAt((left + right) / 2, bottom + 36, "middle", name, "vt-axis-title");
  return draw("g", { "aria-hidden": "true" }, ...drawHeights(field), ...drawMarks(field), title);
}

function drawLine(state, line, i, { sideways, at }) {
  const { colour, shape, dash, kind } = state.looks.get(line.key);
  const others = state.drawn.length;
  // Where the models stand along the axis, one line has the colours of all.
  const isModels = others === 1 && state.model.get("x") === "model";
  const alone = (x) => (isModels && colourOf(x) ? `vt-m-${colourOf(x)}` : "");
  const shift = sideways ? (i - (others - 1) / 2) * Math.min(9, 30 / others) : 0;
  const spot = (x, y) => {
    const [a, b] = at(x, y);
    return [a, b + shift];
  };
  const group = draw("g", { class: `vt-m-${colour}`, "data-line": nameOf(state, line) });
  if (!sideways) {
    const d = `M${line.points.map((p) => spot(p.x, p.mean).join()).join("L")}`;
    group.append(draw("path", { class: "vt-line", "stroke-dasharray": dash, d }));
  }
  line.points.forEach((p, j) => {
    if (p.std) {
      const d = `M${spot(p.x, p.mean - p.std)}L${spot(p.x, p.mean + p.std)}`;
      group.append(draw("path", { class: "vt-spread", d }));
    }
    const transform = `translate(${spot(p.x, p.mean)})`;
    const mark = { class: `${kind} ${alone(p.x)}`, d: shape, transform, "data-point": j };
    const show = () => choosePoint(state, i, j);
    group.append(draw("path", { ...mark, onpointerenter: show, onpointerdown: show }));
  });
  return group;
}

// A ring round the chosen point, and its numbers in words.
function choosePoint(state, i, j) {
  const { model, drawn, parts } = state;
  const { plot, status } = parts;
  state.chosen = [i, j];
  plot.querySelectorAll(".vt-circle").forEach((node) => node.remove());
  const point = drawn[i]?.points[j];
  if (!point) return;
  const groups = plot.querySelectorAll("g[data-line]");
  groups.forEach((one, n) => one.classList.toggle("vt-here", n === i));
  const group = groups[i];
  const transform = group.querySelectorAll(".vt-mark")[j].getAttribute("transform");
  plot.append(draw("circle", { class: "vt-circle", r: 9, transform }));
  const place = `${words(model.get("x"))} ${told(point.x)}`;
  status.textContent = `${nameOf(state, drawn[i])}; ${place}: ${saidOf(point)}.`;
}

function onKey(state, event) {
  const { drawn, chosen } = state;
  const step = ARROWS[event.key];
  if (!step || !drawn.length) return;
  event.preventDefault();
  const i = clamp(chosen[0] + step[0], 0, drawn.length - 1);
  choosePoint(state, i, clamp(chosen[1] + step[1], 0, drawn[i].points.length - 1));
}

function showTable(state, places) {
  const { model, drawn, parts } = state;
  const cell = (point) =>
    point ? make("td", { "data-mean": point.mean }, saidOf(point)) : make("td", {}, "not recorded");
  const rows = drawn.map((line) => {
    const cells = places.map((x) => cell(line.points.find((p) => p.x === x)));
    return tableRow({}, nameOf(state, line), ...cells);
  });
  const titles = [words(model.get("x")), ...places.map(told)];
  parts.table.replaceChildren(fillTable(make("table", { class: "vt-table" }), titles, rows));
}

// The names of the lines: to point at one, or to press it, makes the others pale.
function showLegend(state) {
  const { legend, plot } = state.parts;
  const entries = state.drawn.map((line, i) => {
    const { colour, shape, dash, kind } = state.looks.get(line.key);
    const viewBox = "-16 -8 32 16";
    const size = { viewBox, width: 32, height: 16, "aria-hidden": "true" };
    const swatch = draw("svg", { class: `vt-m-${colour}`, ...size });
    swatch.append(
      draw("path", { class: "vt-line", "stroke-dasharray": dash, d: "M-15,0H15" }),
      draw("path", { class: kind, d: shape }),
    );
    const show = () => {
      plot.classList.add("vt-one");
      choosePoint(state, i, line.points.length - 1);
    };
    const pale = () => plot.classList.remove("vt-one");
    const events = { onclick: show, onpointerenter: show, onfocus: show };
    const name = makeButton("", show);
    furnish(name, { ...events, onpointerleave: pale, onblur: pale }, [swatch, nameOf(state, line)]);
    return make("li", {}, name);
  });
  legend.hidden = entries.length < 2;
  legend.replaceChildren(...entries);
}

// --- The widget ----------------------------------------------------------------------------------

function showControls({ parts, axes, metrics, seeds }, { metric, x, hidden, seed }) {
  const curves = x === SEEN; // of the validation accuracy
  parts.metric.input.value = metrics.indexOf(curves ? "val_accuracy" : metric);
  parts.metric.input.disabled = curves;
  parts.axis.input.value = axes.indexOf(x);
  parts.seed.input.value = seed === ALL_SEEDS ? 0 : seeds.indexOf(seed) + 1;
  const inputs = parts.boxes.flatMap((box) => [...box.querySelectorAll("input")]);
  inputs.forEach((input) => (input.checked = !hidden.includes(input.dataset.value)));
}

// The places along the axis that the drawn lines have: numbers by size, words as listed.
function placesOf({ drawn, values, labels }, x) {
  const places = different(drawn.flatMap(({ points }) => points.map((p) => p.x)));
  if (places.every(isNumber)) return places.sort((a, b) => a - b);
  const listed = values[labels.indexOf(x)];
  return places.sort((a, b) => listed.indexOf(a) - listed.indexOf(b));
}

function update(state) {
  const { model, parts, chosen } = state;
  const now = valuesOf(model);
  const wide = Math.max(260, parts.plot.clientWidth || 640);
  showControls(state, now);
  const drawn = lines(now);
  state.drawn = drawn;
  state.looks = looks(state, lines({ ...now, hidden: [], seed: ALL_SEEDS }));
  [parts.plot, parts.legend, parts.table].forEach((box) => box.replaceChildren());
  parts.status.textContent = "Nothing is left to draw: tick a value of each label.";
  if (!drawn.length) return;
  const places = placesOf(state, now.x);
  const field = layOut(drawn, places, wide);
  const size = { viewBox: `0 0 ${wide} ${field.height}`, height: field.height };
  const groups = drawn.map((line, i) => drawLine(state, line, i, field));
  furnish(parts.plot, size, [drawAxes(state, field), ...groups]);
  const line = clamp(chosen[0], 0, drawn.length - 1);
  choosePoint(state, line, drawn[line].points.length - 1);
  showLegend(state);
  showTable(state, places);
}

// The values of a label, each with a box to tick.
function buildValues({ model, values }, label, i) {
  const boxes = values[i].map((value) => {
    const name = `${label}=${value}`;
    const onchange = () => {
      const others = model.get("hidden").filter((entry) => entry !== name);
      change(model, { hidden: input.checked ? others : [...others, name] });
    };
    const input = make("input", { type: "checkbox", "data-value": name, onchange });
    return make("label", { class: "vt-tick" }, input, make("span", {}, told(value)));
  });
  return make("fieldset", { class: "vt-values" }, make("legend", {}, words(label)), ...boxes);
}

function buildControls({ model, axes, metrics, seeds }) {
  const set = (name) => (value) => change(model, { [name]: value });
  const runs = ["all: mean and spread", ...seeds.map((s) => `seed ${s}`)];
  const setSeed = (i) => set("seed")(i ? seeds[i - 1] : ALL_SEEDS);
  return {
    axis: choice("Against", axes.map(words), (i) => set("x")(axes[i])),
    metric: choice("Accuracy", metrics.map(words), (i) => set("metric")(metrics[i])),
    seed: choice("Seeds", runs, setSeed),
  };
}

function build(state, el) {
  const { axis, metric, seed } = buildControls(state);
  const boxes = state.labels.map((label, i) => buildValues(state, label, i));
  const label = "Plot. Left and right arrow keys move along a line, up and down to another line.";
  const options = { class: "vt-chart", tabindex: 0, role: "application", "aria-label": label };
  const plot = draw("svg", { ...options, onkeydown: (event) => onKey(state, event) });
  const line = statusLine();
  const legend = make("ul", { class: "vt-lines" });
  const table = region("The numbers of the plot", "vt-scroll");
  table.setAttribute("role", "group"); // no landmark: a page may have several of them
  const more = make("details", {}, make("summary", {}, "The numbers as a table"), table);
  const top = [controls(axis.box, metric.box, seed.box), controls(...boxes)];
  const title = `Results of the experiment ${words(state.model.get("title"))}`;
  const first = heading(
    make("b", {}, "Point at a mark or a name"),
    "Its line stands out, and its number is said.",
  );
  mount(el, title, first, ...top, plot, line, legend, more);
  return { axis, metric, seed, boxes, plot, legend, table, status: line };
}

function render({ model, el }) {
  const { cells, labels, metrics } = valuesOf(model);
  const values = labels.map((_, i) => different(cells.map((cell) => cell.at[i])));
  const axes = labels.filter((_, i) => values[i].length > 1 || labels.length === 1);
  if (cells.some((cell) => cell.curve.length)) axes.push(SEEN);
  const seeds = different(cells.map((cell) => cell.seed));
  const state = { model, labels, metrics, values, axes, seeds };
  Object.assign(state, { drawn: [], chosen: [0, 0] }); // lines; the line and point looked at
  state.parts = build(state, el);
  const { plot } = state.parts;
  const unfollow = follow(model, ["metric", "x", "hidden", "seed"], () => update(state));
  let width = 0; // a new height must not draw again
  const resize = new ResizeObserver(() => {
    if (plot.clientWidth === width) return;
    width = plot.clientWidth;
    update(state);
  });
  resize.observe(plot);
  update(state);
  return () => {
    unfollow();
    resize.disconnect();
  };
}

export default { render };
