// GridExplorer: the trainings of an experiment, one label along the axis, a line for each other group.

const SEEN = "images seen", ALL_SEEDS = -1;
const COLOURS = ["blue", "vermilion", "green", "purple", "orange", "sky"];
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const SHAPES = [ // a mark for each colour, so that colour is not needed to tell lines apart
  "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0", "M-4,-4H4V4H-4Z", "M0,-5.5L5,4H-5Z",
  "M0,-6L5.5,0L0,6L-5.5,0Z", "M0,5.5L5,-4H-5Z", "M-5,-1.7H-1.7V-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5Z",
];
const NARROW = 520; // pixels

const percent = (x, digits = 1) => `${(100 * x).toFixed(digits)} %`;
const words = (name) => name.replaceAll("_", " ");
const isNumber = (value) => typeof value === "number";
const different = (values) => {
  const found = [...new Set(values)];
  return found.every(isNumber) ? found.sort((a, b) => a - b) : found;
};

// Mean, sample standard deviation (null for one value) and number of values.
export function summary(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null, n: values.length };
}

// The lines to draw: [{key, at, points: [{x, mean, std, n}]}]. `state` has the model's values.
export function lines({ cells, labels, metrics, metric, x, hidden, seed }) {
  const axis = labels.indexOf(x), which = metrics.indexOf(metric), found = new Map();
  for (const cell of cells) {
    if (seed !== ALL_SEEDS && cell.seed !== seed) continue;
    if (cell.at.some((value, i) => hidden.includes(`${labels[i]}=${value}`))) continue;
    const at = cell.at.map((value, i) => (i === axis ? null : value)), key = JSON.stringify(at);
    const line = found.get(key) || { key, at, places: new Map() };
    found.set(key, line);
    const values = x === SEEN ? cell.curve : [[cell.at[axis], cell.values[which]]];
    for (const [place, value] of values) line.places.set(place, [...(line.places.get(place) || []), value]);
  }
  return [...found.values()].map(({ key, at, places }) => {
    const points = [...places].map(([place, values]) => ({ x: place, ...summary(values) }));
    if (points.every((p) => isNumber(p.x))) points.sort((a, b) => a.x - b.x);
    return { key, at, points };
  });
}

// Round numbers that divide the range from low to high into four to eight steps.
export function ticks(low, high) {
  const raw = (high - low) / 6 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The fewest decimals with which every height, as a per cent, stands as itself.
export function decimals(heights) {
  const exact = (digits) => heights.every((y) => Math.abs(Number((100 * y).toFixed(digits)) - 100 * y) < 1e-9);
  return [0, 1, 2].find(exact) ?? 3;
}

function render({ model, el }) {
  const names = ["cells", "labels", "metrics", "metric", "x", "hidden", "seed"];
  const state = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const { cells, labels, metrics } = state();
  const values = labels.map((_, i) => different(cells.map((cell) => cell.at[i])));
  const axes = [...labels.filter((_, i) => values[i].length > 1 || labels.length === 1), SEEN];
  const seeds = different(cells.map((cell) => cell.seed));
  let drawn = [], chosen = [0, 0]; // the lines on the page; the line and point that the reader looks at

  const metricChoice = choice("Accuracy", metrics.map(words), (i) => change(model, { metric: metrics[i] }));
  const axisChoice = choice("Against", axes.map(words), (i) => change(model, { x: axes[i] }));
  const seedChoice = choice("Seeds", ["all: mean and spread", ...seeds.map((s) => `seed ${s}`)],
    (i) => change(model, { seed: i ? seeds[i - 1] : ALL_SEEDS }));
  const boxes = labels.map((label, i) => make("fieldset", { class: "vt-values" }, make("legend", {}, label),
    ...values[i].map((value) => {
      const name = `${label}=${value}`;
      const input = make("input", { type: "checkbox", "data-value": name, onchange: () => {
        const others = model.get("hidden").filter((entry) => entry !== name);
        change(model, { hidden: input.checked ? others : [...others, name] });
      } });
      return make("label", { class: "vt-tick" }, input, make("span", {}, isNumber(value) ? count(value) : value));
    })));
  const plot = draw("svg", { class: "vt-chart", tabindex: 0, role: "application", onkeydown: onKey,
    "aria-label": "Plot. Left and right arrow keys move along a line, up and down to another line." });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const legend = make("ul", { class: "vt-lines" });
  const table = make("div", { class: "vt-scroll", tabindex: 0, role: "region", "aria-label": "The numbers of the plot" });
  mount(el, `Results of the experiment ${model.get("title")}`,
    make("div", { class: "vt-controls" }, axisChoice.box, metricChoice.box, seedChoice.box),
    make("div", { class: "vt-controls" }, ...boxes), plot, status, legend,
    make("details", {}, make("summary", {}, "The numbers as a table"), table));

  // The look of a line: colour and mark from its first label, dashes from its second, hollow marks
  // from its third.
  function look(line) {
    const shown = line.at.map((value, i) => (value === null || values[i].length < 2 ? -1 : values[i].indexOf(value)));
    const [first = 0, second = 0, third = 0] = shown.filter((i) => i >= 0);
    const kind = third % 2 ? "vt-mark vt-hollow" : "vt-mark";
    return { colour: COLOURS[first % 6], shape: SHAPES[first % 6], dash: DASHES[second % 4], kind };
  }
  const nameOf = (line) => line.at.filter((value, i) => value !== null && values[i].length > 1)
    .map((value) => (isNumber(value) ? count(value) : value)).join(", ") || model.get("title");
  const said = ({ mean, std, n }) => percent(mean) + (std === null ? (n === 1 ? " (one run)" : "") : ` ± ${(100 * std).toFixed(1)} (${n} runs)`);
  const place = (x) => (isNumber(x) ? count(x) : x);

  // Where numbers and words come to lie: [position of a value, marks of the axis].
  function scale(places, from, to) {
    if (!places.every(isNumber)) {
      const step = (to - from) / places.length;
      return [(x) => from + (places.indexOf(x) + 0.5) * step, places];
    }
    const low = Math.min(...places), high = Math.max(...places), log = low > 0 && high / low >= 8;
    const f = log ? Math.log : (x) => x, span = f(high) - f(low) || 1;
    return [(x) => from + 14 + ((f(x) - f(low)) / span) * (to - from - 28), places.length <= 8 ? places : ticks(low, high)];
  }

  // The range of the accuracies with their spread, a little wider.
  function range() {
    const ends = drawn.flatMap((line) => line.points.flatMap(({ mean, std }) => [mean - (std || 0), mean + (std || 0)]));
    const low = Math.min(...ends), high = Math.max(...ends), room = Math.max(0.01, (high - low) * 0.06);
    return [Math.max(0, low - room), Math.min(1, high + room)];
  }

  // Words along the axis lie below each other, and the accuracy runs to the right.
  function frame(places, wide) {
    const sideways = !places.every(isNumber), across = wide < NARROW ? 110 : 150;
    const height = sideways ? 60 + 42 * places.length : 340;
    const box = sideways ? [across, wide - 14, 10, height - 42] : [48, wide - 12, 10, height - 46];
    const [left, right, top, bottom] = box, [low, high] = range();
    const part = (y) => (y - low) / (high - low);
    const [along, marks] = sideways ? scale(places, top, bottom) : scale(places, left, right);
    const up = sideways ? (y) => left + part(y) * (right - left) : (y) => bottom - part(y) * (bottom - top);
    const at = (x, y) => (sideways ? [up(y), along(x)] : [along(x), up(y)]);
    return { sideways, height, box, at, along, up, marks, heights: ticks(low, high) };
  }

  function drawAxes({ sideways, box: [left, right, top, bottom], along, up, marks, heights }, wide) {
    const parts = [], text = (x, y, anchor, content, kind = "") => parts.push(draw("text", { x, y, "text-anchor": anchor, class: kind }, content));
    const digits = decimals(heights);
    let end = -99; // where the number before ends, of those that stand side by side
    for (const y of heights) {
      const rule = sideways ? `M${up(y)},${top}V${bottom}` : `M${left},${up(y)}H${right}`;
      parts.push(draw("path", { class: "vt-rule", d: rule }));
      const half = 3.6 * percent(y, digits).length;
      if (!sideways) text(left - 6, up(y) + 4, "end", percent(y, digits));
      else if (up(y) - half > end) {
        end = up(y) + half;
        text(up(y), bottom + 16, "middle", percent(y, digits));
      }
    }
    let last = -99;
    for (const x of marks) {
      if (sideways) text(left - 10, along(x) + 4, "end", String(x));
      else if (along(x) - last > (wide < NARROW ? 44 : 52)) {
        last = along(x);
        text(along(x), bottom + 17, "middle", count(x));
      }
    }
    const title = sideways ? words(model.get("metric")) : words(model.get("x"));
    text((left + right) / 2, bottom + 36, "middle", title, "vt-axis-title");
    return draw("g", { "aria-hidden": "true" }, ...parts);
  }

  function drawLine(line, i, { sideways, at }) {
    const { colour, shape, dash, kind } = look(line), shift = sideways ? (i - (drawn.length - 1) / 2) * Math.min(9, 30 / drawn.length) : 0;
    const spot = (x, y) => { const [a, b] = at(x, y); return [a, b + shift]; };
    const group = draw("g", { class: `vt-m-${colour}`, "data-line": nameOf(line) });
    if (!sideways) group.append(draw("path", { class: "vt-line", "stroke-dasharray": dash, d: "M" + line.points.map((p) => spot(p.x, p.mean).join()).join("L") }));
    line.points.forEach((p, j) => {
      if (p.std) group.append(draw("path", { class: "vt-spread", d: `M${spot(p.x, p.mean - p.std)}L${spot(p.x, p.mean + p.std)}` }));
      const mark = { class: kind, d: shape, transform: `translate(${spot(p.x, p.mean)})`, "data-point": j };
      const show = () => { chosen = [i, j]; ring(); };
      group.append(draw("path", { ...mark, onpointerenter: show, onpointerdown: show }));
    });
    return group;
  }

  // A ring round the chosen point, and its numbers in words.
  function ring() {
    plot.querySelectorAll(".vt-circle").forEach((node) => node.remove());
    const line = drawn[chosen[0]], point = line?.points[chosen[1]];
    if (!point) return;
    const mark = plot.querySelectorAll("g[data-line]")[chosen[0]].querySelectorAll(".vt-mark")[chosen[1]];
    plot.append(draw("circle", { class: "vt-circle", r: 9, transform: mark.getAttribute("transform") }));
    status.textContent = `${nameOf(line)}; ${words(model.get("x"))} ${place(point.x)}: ${said(point)}.`;
  }

  function onKey(event) {
    const step = ARROWS[event.key];
    if (!step || !drawn.length) return;
    event.preventDefault();
    const i = clamp(chosen[0] + step[0], 0, drawn.length - 1);
    chosen = [i, clamp(chosen[1] + step[1], 0, drawn[i].points.length - 1)];
    ring();
  }

  function drawTable(places) {
    const head = make("tr", {}, make("th", { scope: "col" }, words(model.get("x"))), ...places.map((x) => make("th", { scope: "col" }, place(x))));
    const body = drawn.map((line) => make("tr", {}, make("th", { scope: "row" }, nameOf(line)), ...places.map((x) => {
      const point = line.points.find((p) => p.x === x);
      return make("td", point ? { "data-mean": point.mean } : {}, point ? said(point) : "not recorded");
    })));
    table.replaceChildren(make("table", { class: "vt-table" }, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  function drawLegend() {
    legend.replaceChildren(...drawn.map((line) => {
      const { colour, shape, dash, kind } = look(line);
      const swatch = draw("svg", { viewBox: "-16 -8 32 16", width: 32, height: 16, class: `vt-m-${colour}`, "aria-hidden": "true" },
        draw("path", { class: "vt-line", "stroke-dasharray": dash, d: "M-15,0H15" }), draw("path", { class: kind, d: shape }));
      return make("li", {}, swatch, nameOf(line));
    }));
  }

  function update() {
    const now = state(), wide = Math.max(260, plot.clientWidth || 640), curves = now.x === SEEN;
    metricChoice.input.value = metrics.indexOf(curves ? "val_accuracy" : now.metric);
    metricChoice.input.disabled = curves; // curves are of the validation accuracy
    axisChoice.input.value = axes.indexOf(now.x);
    seedChoice.input.value = now.seed === ALL_SEEDS ? 0 : seeds.indexOf(now.seed) + 1;
    boxes.forEach((box) => box.querySelectorAll("input").forEach((input) => { input.checked = !now.hidden.includes(input.dataset.value); }));
    drawn = lines(now);
    plot.replaceChildren();
    legend.replaceChildren();
    table.replaceChildren();
    status.textContent = "Nothing is left to draw: tick a value of each label.";
    if (!drawn.length) return;
    const places = different(drawn.flatMap((line) => line.points.map((p) => p.x)));
    if (places.every(isNumber)) places.sort((a, b) => a - b);
    else places.sort((a, b) => values[labels.indexOf(now.x)].indexOf(a) - values[labels.indexOf(now.x)].indexOf(b));
    const field = frame(places, wide);
    furnish(plot, { viewBox: `0 0 ${wide} ${field.height}`, height: field.height }, [drawAxes(field, wide)]);
    plot.append(...drawn.map((line, i) => drawLine(line, i, field)));
    chosen = [clamp(chosen[0], 0, drawn.length - 1), 0];
    chosen[1] = drawn[chosen[0]].points.length - 1;
    ring();
    drawLegend();
    drawTable(places);
  }

  const unfollow = follow(model, ["metric", "x", "hidden", "seed"], update);
  let width = 0; // a new height must not draw again
  const resize = new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; update(); } });
  resize.observe(plot);
  update();
  return () => { unfollow(); resize.disconnect(); };
}

export default { render };
