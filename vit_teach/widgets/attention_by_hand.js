// AttentionByHand: queries, keys and values of a few tokens, with every number visible.
//
// `state` is what all functions share: the widget's model, what it held at the start, and `parts`,
// the elements that change. `plane` is a board with movable points.

const LARGEST = 100; // of a number
const STEP = 0.1; // what one press of an arrow key changes
const MARKS = ["blue", "vermilion", "green", "purple", "orange", "sky"];
const ROLES = ["q", "k", "v"];

// softmax(factor q kᵀ / sqrt(h)) v, step by step, for lists of vectors.
export function attention(queries, keys, values, factor = 1) {
  const h = keys[0].length;
  const dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const scores = queries.map((q) => keys.map((k) => dot(q, k) * factor));
  const scaled = scores.map((row) => row.map((s) => s / Math.sqrt(h)));
  const weights = scaled.map((row) => {
    const most = Math.max(...row); // subtracted: no overflow
    const powers = row.map((s) => Math.exp(s - most));
    const total = sum(powers);
    return powers.map((p) => p / total);
  });
  const mix = (row, c) => row.reduce((sum, w, j) => sum + w * values[j][c], 0);
  const outputs = weights.map((row) => values[0].map((_, c) => mix(row, c)));
  return { scores, scaled, weights, outputs };
}

const sum = (list) => list.reduce((a, b) => a + b, 0);
const number = (x, digits = 2) => {
  if (!Number.isFinite(x)) return "too large";
  if (Math.abs(x) >= 10000) return x.toExponential(1).replace("e+", "e");
  return x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
};
const tidy = (x) => Math.round(x * 1000) / 1000;
const vector = (v) => {
  const numbers = v.map((x) => make("b", { "data-value": x }, number(x)));
  return make("span", { class: "vt-vector" }, ...numbers);
};
const cell = (...children) => make("td", {}, ...children);

// --- A plane with points that can be dragged or moved by arrow keys ------------------------------

// `move(point, to)` is told where the reader moves a point, `release()` when a drag is over.
function makePlane(label, move, release) {
  const options = { viewBox: "-110 -110 220 220", role: "group", "aria-label": label };
  const board = draw("svg", { class: "vt-plane", ...options });
  // `nodes`: key of a point -> its elements; `held`: the key of the one that is dragged.
  const plane = { board, move, nodes: new Map(), low: -1, high: 1, held: null };
  board.addEventListener("pointermove", (event) => drag(plane, event));
  const letGo = () => {
    if (!plane.held) return;
    plane.held = null;
    release();
  };
  ["pointerup", "pointercancel", "lostpointercapture"].forEach((name) =>
    board.addEventListener(name, letGo),
  );
  return plane;
}

const across = ({ low, high }, x) => ((x - low) / (high - low)) * 200 - 100;
const down = (plane, y) => -across(plane, y);

function put(plane, point, to) {
  // The point itself is told too: the next key may come before the next frame.
  point.at = to.map((x) => clamp(tidy(x), -LARGEST, LARGEST));
  plane.board.querySelector(".vt-drag")?.remove();
  plane.move(point, point.at);
}

function drag(plane, event) {
  const { board, nodes, low, high, held } = plane;
  if (!held) return;
  const { left, top, width, height } = board.getBoundingClientRect();
  const to = (part) => clamp(low + ((part * 220 - 10) / 200) * (high - low), low, high);
  const place = [to((event.clientX - left) / width), to(1 - (event.clientY - top) / height)];
  const rounded = place.map((n) => Math.round(n * 20) / 20);
  put(plane, nodes.get(held).point, rounded);
}

function onPointKey(plane, key, event) {
  const step = ARROWS[event.key];
  if (!step) return;
  event.preventDefault();
  const { point } = plane.nodes.get(key);
  const size = event.shiftKey ? 10 * STEP : STEP;
  put(plane, point, [point.at[0] + step[1] * size, point.at[1] - step[0] * size]);
}

// The elements of a point. `point`: { key, role, i, at, label, kind, mark, spoken, ... }.
function makePoint(plane, { key, label, mark, kind, fixed }) {
  const square = draw("path", { d: "M-10,-10H10V10H-10Z" });
  const shape = kind === "query" ? square : draw("circle", { r: 6.5 });
  const text = draw("text", { y: kind === "key" || kind === "value" ? -12 : 21 }, label);
  const line = draw("line", { class: "vt-arrow" });
  const movable = { tabindex: 0, role: "button", "aria-roledescription": "movable point" };
  const options = fixed ? { "aria-hidden": "true" } : movable;
  const looks = { class: `vt-point vt-${kind} vt-m-${mark}`, "data-key": key, ...options };
  const group = draw("g", looks, shape, text);
  if (!fixed) {
    group.addEventListener("keydown", (event) => onPointKey(plane, key, event));
    // A finger on a point drags it; beside the points it scrolls the page. (Chromium does not heed
    // touch-action inside an SVG.)
    group.addEventListener("touchstart", (event) => event.preventDefault());
    group.addEventListener("pointerdown", (event) => {
      plane.held = key;
      group.focus({ preventScroll: true });
      plane.board.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
  }
  plane.board.append(line, group);
  return { group, line, text };
}

// Words at a point that nobody has moved yet.
function markPoint(plane, key) {
  const { group, point } = plane.nodes.get(key);
  const isFar = across(plane, point.at[0]) > 60; // no room at its right
  const place = { x: isFar ? -11 : 11, y: 4, "text-anchor": isFar ? "end" : "start" };
  group.append(draw("text", { class: "vt-drag", ...place }, "drag this"));
}

function drawAxes(plane) {
  const { low, high } = plane;
  const step = [0.5, 1, 2, 5, 10, 20, 50].find((s) => (high - low) / s <= 9);
  const lines = [];
  for (let t = Math.ceil(low / step) * step; t <= high; t += step) {
    const d = `M${across(plane, t)},-104V104M-104,${down(plane, t)}H104`;
    lines.push(draw("path", { class: t === 0 ? "vt-axis" : "vt-rule", d }));
    const place = { x: across(plane, t), y: down(plane, 0) + 9 };
    if (t !== 0) lines.push(draw("text", { class: "vt-tick-text", ...place }, String(t)));
  }
  return draw("g", { "aria-hidden": "true" }, ...lines);
}

// Shows these points and no others; the range of the axes stays while one is dragged.
function updatePlane(plane, points) {
  const { board, nodes } = plane;
  const numbers = points.flatMap(({ at }) => at);
  if (!plane.held) {
    plane.high = Math.max(1.5, Math.ceil(Math.max(...numbers) * 2.3) / 2);
    plane.low = Math.min(-plane.high / 3, Math.floor(Math.min(...numbers) * 2.3) / 2);
  }
  board.querySelector("g:not(.vt-point)")?.remove();
  board.prepend(drawAxes(plane));
  for (const [key, { group, line }] of nodes) {
    if (points.some((point) => point.key === key)) continue;
    group.remove();
    line.remove();
    nodes.delete(key);
  }
  points.forEach((point) => placePoint(plane, point));
}

function placePoint(plane, point) {
  const entry = plane.nodes.get(point.key) || makePoint(plane, point);
  plane.nodes.set(point.key, { ...entry, point });
  const { group, line, text } = entry;
  const x = across(plane, point.at[0]);
  const y = down(plane, point.at[1]);
  const place = point.at.map((n) => number(n)).join(", ");
  group.setAttribute("transform", `translate(${x} ${y})`);
  group.setAttribute("aria-label", `${point.spoken}: ${place}. Arrow keys move it.`);
  if (point.size) group.querySelector("circle").setAttribute("r", point.size);
  text.textContent = point.label;
  text.setAttribute("text-anchor", x > 60 ? "end" : x < -60 ? "start" : "middle");
  if (point.arrow) furnish(line, { x1: across(plane, 0), y1: down(plane, 0), x2: x, y2: y });
}

// --- Changing the numbers and their order --------------------------------------------------------

const compute = ({ model }) => attention(...[...ROLES, "factor"].map((name) => model.get(name)));

// One vector takes another value.
function edit({ model }, role, i, to) {
  change(model, { [role]: model.get(role).map((v, j) => (j === i ? to : v)) });
}

// Deals the tokens out in another order: everything that belongs to a token goes with it.
function reorder(state, order) {
  const { model, parts } = state;
  const { outputs } = compute(state);
  const before = new Map(model.get("names").map((name, i) => [name, outputs[i]]));
  const next = { chosen: order.indexOf(model.get("chosen")) };
  for (const part of ["names", ...ROLES]) next[part] = order.map((i) => model.get(part)[i]);
  change(model, next);
  const after = compute(state).outputs;
  const gapOf = (name, i) => Math.max(...after[i].map((x, c) => Math.abs(x - before.get(name)[c])));
  const gap = Math.max(...next.names.map(gapOf));
  const differ = gap === 0 ? "exactly 0" : `at most ${gap.toExponential(0)} (rounding)`;
  parts.said.textContent =
    `New order: ${next.names.join(", ")}. The outputs moved with their tokens; ` +
    `matched by name, they differ by ${differ}.`;
}

const positions = ({ original }) => original.names.map((_, n) => n);

// The chosen token changes places with the one above (-1) or below (1).
function swap(state, by) {
  const { model, parts, T } = state;
  const i = model.get("chosen");
  const j = i + by;
  if (j < 0 || j >= T) {
    const end = j < 0 ? "first" : "last";
    parts.said.textContent = `${model.get("names")[i]} is already ${end}.`;
    return;
  }
  const order = positions(state);
  [order[i], order[j]] = [order[j], order[i]];
  reorder(state, order);
}

function shuffle(state) {
  const order = positions(state);
  do order.sort(() => Math.random() - 0.5);
  while (order.every((n, i) => n === i));
  reorder(state, order);
}

function startAgain({ model, parts, original }) {
  parts.said.textContent = "The numbers of the start.";
  change(model, { ...original, factor: 1, chosen: 0 });
}

// --- Building ------------------------------------------------------------------------------------

// Number fields of one vector; `place` gives the token's place when the reader types.
function makeFields(state, role, spoken, place) {
  const onType = (input, c) => {
    const x = input.valueAsNumber;
    const good = Number.isFinite(x) && Math.abs(x) <= LARGEST;
    input.setAttribute("aria-invalid", !good);
    if (!good) {
      state.parts.said.textContent = `A number must be from −${LARGEST} to ${LARGEST}.`;
      return;
    }
    const old = state.model.get(role)[place()];
    edit(
      state,
      role,
      place(),
      old.map((value, d) => (d === c ? x : value)),
    );
  };
  const limits = { type: "number", step: STEP, min: -LARGEST, max: LARGEST, class: "vt-field" };
  const inputs = [0, 1].map((c) => {
    const oninput = (event) => onType(event.target, c);
    return make("input", { ...limits, oninput, onblur: () => update(state) });
  });
  const set = (v, name) =>
    inputs.forEach((input, c) => {
      const which = c ? "second" : "first";
      input.setAttribute("aria-label", `${spoken} of ${name}, ${which} number`);
      showField(input, v[c]);
    });
  return { box: make("span", { class: "vt-vector" }, ...inputs), set };
}

// A field says its number, but leaves the reader alone who is typing in it.
function showField(input, value) {
  const typing = input === document.activeElement;
  if (typing && input.valueAsNumber === value) return;
  if (typing && input.getAttribute("aria-invalid") === "true") return;
  input.value = tidy(value);
  input.setAttribute("aria-invalid", false);
}

// The table of one query: a line for each key.
function buildSteps(state) {
  const lines = state.original.names.map((_, j) => {
    const name = make("th", { scope: "row" });
    const key = makeFields(state, "k", "key", () => j);
    const value = makeFields(state, "v", "value", () => j);
    const cells = [0, 1, 2, 3, 4].map(() => cell());
    const numbers = [...cells.slice(0, 4), cell(value.box), cells[4]];
    return { name, key, value, cells, tail: make("tr", {}, name, cell(key.box), ...numbers) };
  });
  const sums = make("tr", { class: "vt-sum" });
  const titles = ["", "key k", "q·k", "÷√2", "exp", "weight", "value v", "× v"];
  const table = make("table", { class: "vt-table vt-steps" });
  fillTable(table, titles, [...lines.map((line) => line.tail), sums]);
  return { lines, sums, steps: table };
}

function buildControls(state) {
  const { model, original } = state;
  const pick = choice("The query of", original.names, (i) => change(model, { chosen: i }));
  const steps = { min: 0, max: 8, step: 0.25 };
  const factor = slider("Queries times", steps, String, (x) => change(model, { factor: x }));
  const buttons = [
    makeButton("Shuffle the tokens", () => shuffle(state)),
    makeButton("Token up", () => swap(state, -1)),
    makeButton("Token down", () => swap(state, 1)),
    makeButton("Start again", () => startAgain(state)),
  ];
  const box = controls(pick.box, factor.box, make("div", { class: "vt-buttons" }, ...buttons));
  return { pick, factor, settings: box };
}

function build(state, el) {
  const { pick, factor, settings } = buildControls(state);
  const said = make("p", { class: "vt-note", role: "status" });
  const line = statusLine();
  const move = ({ role, i }, to) => edit(state, role, i, to);
  const redraw = () => update(state);
  const left = makePlane("Plane of the chosen query and all keys", move, redraw);
  const right = makePlane("Plane of the values and the output", move, redraw);
  const query = makeFields(state, "q", "query", () => state.model.get("chosen"));
  const times = make("span");
  const { lines, sums, steps } = buildSteps(state);
  const whole = make("table", { class: "vt-table vt-whole" });
  const first = titled("The query (square) and the keys", left.board);
  const second = titled("The values and the output (ring)", right.board);
  const title = heading("One query, step by step: q = ", query.box, times);
  title.classList.add("vt-query-line");
  mount(
    el,
    "Attention by hand",
    heading(
      make("b", {}, "Drag a key"),
      "All weights of the row change with it, and the output (the ring) moves.",
    ),
    settings,
    said,
    make("div", { class: "vt-pair" }, first, second),
    line,
    title,
    region("One query, step by step", "vt-scroll", steps),
    region("All queries", "vt-scroll", whole),
  );
  return { pick, factor, said, left, right, query, times, lines, sums, whole, status: line };
}

// --- Showing -------------------------------------------------------------------------------------

const markOf = ({ original }, name) =>
  MARKS[Math.max(0, original.names.indexOf(name)) % MARKS.length];
const dot = (state, name) =>
  make("span", { class: `vt-dot vt-m-${markOf(state, name)}`, "aria-hidden": "true" });

// The points of one role for all tokens.
function pointsOf(state, role, kind, more) {
  const { model } = state;
  return model.get("names").map((name, i) => {
    const at = model.get(role)[i];
    const mark = markOf(state, name);
    const looks = { label: name, kind, mark, spoken: `${kind} of ${name}`, ...more(i) };
    return { key: role + name, role, i, at, ...looks };
  });
}

function showPlanes(state, i, { weights, outputs }) {
  const name = state.model.get("names")[i];
  const query = pointsOf(state, "q", "query", () => ({ label: "q", arrow: true }))[i];
  const keys = pointsOf(state, "k", "key", () => ({ arrow: true }));
  updatePlane(state.parts.left, [query, ...keys]);
  const size = (j) => 3 + 9 * Math.sqrt(weights[i][j]);
  const values = pointsOf(state, "v", "value", (j) => ({ size: size(j) }));
  const looks = { label: "output", kind: "output", spoken: "output", fixed: true };
  const output = { key: `out${name}`, at: outputs[i], mark: markOf(state, name), ...looks };
  updatePlane(state.parts.right, [...values, output]);
}

function showSteps(state, names, i, { scores, scaled, weights, outputs }) {
  const { model, parts } = state;
  const powers = scaled[i].map(Math.exp);
  const values = model.get("v");
  const factor = model.get("factor");
  const show = (node, value, digits) => {
    node.textContent = number(value, digits);
    node.dataset.value = value;
  };
  parts.query.set(model.get("q")[i], names[i]);
  parts.times.textContent = factor === 1 ? "" : ` × ${factor}`;
  parts.lines.forEach(({ name, key, value, cells }, j) => {
    name.replaceChildren(dot(state, names[j]), names[j]);
    key.set(model.get("k")[j], names[j]);
    value.set(values[j], names[j]);
    show(cells[0], scores[i][j]);
    show(cells[1], scaled[i][j]);
    show(cells[2], powers[j]);
    show(cells[3], weights[i][j], 3);
    cells[4].replaceChildren(vector(values[j].map((x) => weights[i][j] * x)));
  });
  const totals = [cell(number(sum(powers))), cell(number(sum(weights[i]), 3))];
  const output = cell(make("strong", {}, vector(outputs[i])));
  const title = make("th", { scope: "row" }, "sum");
  parts.sums.replaceChildren(title, cell(), cell(), cell(), ...totals, cell(), output);
}

function showWhole(state, names, i, { weights, outputs }) {
  const weight = (w) =>
    make("td", { class: "vt-weight", style: `--w: ${w}`, "data-value": w }, w.toFixed(2));
  const rows = names.map((name, r) => {
    const cells = [...weights[r].map(weight), cell(vector(outputs[r]))];
    return tableRow({ class: r === i ? "vt-chosen" : "" }, [dot(state, name), name], ...cells);
  });
  const caption = "All queries: each row's weights over the keys, and its output";
  fillTable(state.parts.whole, ["", ...names, "output"], rows, caption);
}

function showWords({ parts, T }, names, i, { weights, outputs }) {
  const entropy = weights.flat().reduce((sum, w) => sum - (w > 0 ? w * Math.log(w) : 0), 0) / T;
  const most = weights[i].indexOf(Math.max(...weights[i]));
  const output = outputs[i].map((x) => number(x)).join(", ");
  const size = `${entropy.toFixed(2)}, at most ${Math.log(T).toFixed(2)}`;
  parts.status.textContent =
    `${names[i]} looks most at ${names[most]} (${weights[i][most].toFixed(2)}). ` +
    `Its output is (${output}). Mean entropy of the rows ${size}.`;
}

function update(state) {
  const { model, parts, T } = state;
  const names = model.get("names");
  const i = Math.min(model.get("chosen"), T - 1);
  const result = compute(state);
  names.forEach((name, n) => (parts.pick.input.options[n].textContent = name));
  parts.pick.input.value = i;
  parts.factor.set(model.get("factor"));
  showPlanes(state, i, result);
  showSteps(state, names, i, result);
  showWhole(state, names, i, result);
  showWords(state, names, i, result);
}

function render({ model, el }) {
  const values = ["names", ...ROLES].map((name) => [name, model.get(name)]);
  const original = Object.fromEntries(values);
  const state = { model, original, T: original.names.length };
  state.parts = build(state, el);
  const watched = ["names", ...ROLES, "factor", "chosen"];
  const end = follow(model, watched, () => update(state));
  update(state);
  markPoint(state.parts.left, `k${original.names.at(-1)}`);
  return end;
}

export default { render };
