// AttentionExplorer: point at a patch and see where every head of every block looks.
//
// `state` is what all functions share: the widget's model, its sizes, the weights and distances of
// all heads, and `parts`, the elements that change.

const ASKS = {
  patch: "the patch you point at",
  class: "the class token",
  mean: "the mean of all patches",
};
const VIEWS = { head: "one head", rollout: "rollout up to this block" };
const COLOURS = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];
const CHART = { width: 340, height: 170, left: 34, right: 8, top: 10, bottom: 26 };

// Bytes and a scale for each row become the weights: [block][head] of T x T numbers.
export function restore(steps, scales, [blocks, heads, T]) {
  const bytes = new Uint8Array(steps.buffer, steps.byteOffset, steps.byteLength);
  const numbers = new DataView(scales.buffer, scales.byteOffset, scales.byteLength);
  const matrixOf = (first) => {
    const matrix = new Float32Array(T * T);
    for (let i = 0; i < T; i++) {
      const scale = numbers.getFloat32(4 * (first + i), true);
      for (let j = 0; j < T; j++) matrix[i * T + j] = bytes[(first + i) * T + j] * scale;
    }
    return matrix;
  };
  return Array.from({ length: blocks }, (_, l) =>
    Array.from({ length: heads }, (_, h) => matrixOf((l * heads + h) * T)),
  );
}

// One row of a T x T matrix: of a patch, of the class token, or the mean over the N patches.
export function rowOf(matrix, T, N, asks, query) {
  if (asks === "class") return Float64Array.from(matrix.subarray(0, T));
  const first = T - N;
  if (asks === "patch") {
    return Float64Array.from(matrix.subarray((first + query) * T, (first + query + 1) * T));
  }
  const line = new Float64Array(T);
  for (let i = first; i < T; i++) {
    for (let j = 0; j < T; j++) line[j] += matrix[i * T + j] / N;
  }
  return line;
}

// The distances in pixels of one patch to all.
export function distancesFrom(query, [gh, gw], [ph, pw]) {
  const row = Math.floor(query / gw);
  const column = query % gw;
  const far = (j) => Math.hypot((Math.floor(j / gw) - row) * ph, ((j % gw) - column) * pw);
  return Float64Array.from({ length: gh * gw }, (_, j) => far(j));
}

// How far one patch looks on average: weights among patches only, divided by their sum.
export function distanceOf(row, query, grid, patch) {
  const N = grid[0] * grid[1];
  const far = distancesFrom(query, grid, patch);
  let total = 0;
  let sum = 0;
  for (let j = 0; j < N; j++) {
    const weight = row[row.length - N + j];
    total += weight * far[j];
    sum += weight;
  }
  return sum ? total / sum : 0;
}

// The mean of that over all patches; without a matrix, for uniform attention.
export function meanDistance(matrix, T, grid, patch) {
  const N = grid[0] * grid[1];
  const even = new Float64Array(N).fill(1 / N);
  let total = 0;
  for (let i = 0; i < N; i++) {
    total += distanceOf(matrix ? rowOf(matrix, T, N, "patch", i) : even, i, grid, patch);
  }
  return total / N;
}

// One block's step of rollout: the mean of its heads plus the identity, each row summing to 1.
function rolloutStep(heads, T) {
  const step = new Float64Array(T * T);
  for (let i = 0; i < T; i++) {
    let sum = 0;
    for (let j = 0; j < T; j++) {
      for (const head of heads) step[i * T + j] += head[i * T + j] / heads.length;
      step[i * T + j] += i === j ? 1 : 0;
      sum += step[i * T + j];
    }
    for (let j = 0; j < T; j++) step[i * T + j] /= sum;
  }
  return step;
}

// The product of two T x T matrices.
function multiply(a, b, T) {
  const product = new Float64Array(T * T);
  for (let i = 0; i < T; i++) {
    for (let k = 0; k < T; k++) {
      const part = a[i * T + k];
      for (let j = 0; j < T; j++) product[i * T + j] += part * b[k * T + j];
    }
  }
  return product;
}

// Attention followed from the picture up to each block: the blocks' steps, multiplied.
export function rollout(blocks, T) {
  const results = [];
  for (const heads of blocks) {
    const step = rolloutStep(heads, T);
    results.push(results.length ? multiply(step, results.at(-1), T) : step);
  }
  return results;
}

// Dark for 0, yellow for `top`.
export function colour(value, top) {
  const place = clamp(top ? value / top : 0, 0, 1) * (COLOURS.length - 1);
  const below = Math.min(Math.floor(place), COLOURS.length - 2);
  const mixed = (part, c) => Math.round(part + (place - below) * (COLOURS[below + 1][c] - part));
  return COLOURS[below].map(mixed);
}

const where = (n, gw) => `row ${Math.floor(n / gw)}, column ${n % gw}`;
const pixels = (d) => `${d.toFixed(1)} px`;

// --- The chart of distances ----------------------------------------------------------------------

// Where the chart puts a head of a block, and a distance; and its rules, `step` pixels apart.
function chartScale(far, even) {
  const { width, height, left, right, top, bottom } = CHART;
  const most = 1.1 * Math.max(even, ...far.flat());
  const step = [1, 2, 5, 10, 20, 50, 100].find((s) => most / s <= 6) || 200;
  const wide = (width - left - right) / far.length; // of one block
  const aside = (l, h) => (far[l].length > 1 ? h / (far[l].length - 1) - 0.5 : 0);
  const x = (l, h) => left + wide * (l + 0.5 + 0.5 * aside(l, h));
  const y = (d) => height - bottom - ((height - top - bottom) * d) / most;
  return { most, step, x, y };
}

// The heads' distances as dots over the blocks, with the line of uniform attention.
function buildChart(far, even, choose) {
  const { width, height, left, right, bottom } = CHART;
  const { most, step, x, y } = chartScale(far, even);
  const viewBox = `0 0 ${width} ${height}`;
  const board = draw("svg", { class: "vt-dots", viewBox, role: "img" });
  const rule = (kind, d) => draw("path", { class: kind, d: `M${left},${y(d)}H${width - right}` });
  const text = (x, y, anchor, words) => draw("text", { x, y, "text-anchor": anchor }, words);
  for (let d = 0; d <= most; d += step) {
    board.append(rule("vt-rule", d), text(left - 4, y(d) + 3, "end", String(d)));
  }
  far.forEach((heads, l) => {
    const middle = x(l, (heads.length - 1) / 2);
    board.append(text(middle, height - bottom + 12, "middle", String(l + 1)));
  });
  const below = text((left + width) / 2, height - 3, "middle", "block");
  board.append(below, rule("vt-even", even));
  const dots = far.map((heads, l) =>
    heads.map((d, h) =>
      draw("circle", { cx: x(l, h), cy: y(d), r: 4, onclick: () => choose(l, h) }),
    ),
  );
  board.append(...dots.flat());
  return { board, dots };
}

// --- Building ------------------------------------------------------------------------------------

function buildControls({ model, blocks, asked, views }) {
  const set = (name) => (value) => change(model, { [name]: value });
  const words = (l) => `${l} of ${blocks}`;
  const level = slider("Block", { min: 1, max: blocks, step: 1 }, words, (l) =>
    set("block")(l - 1),
  );
  const asks = asked.map((name) => ASKS[name]);
  const who = choice("Who looks", asks, (i) => set("asks")(asked[i]));
  const shown = views.map((name) => VIEWS[name]);
  const what = choice("Show", shown, (i) => set("view")(views[i]));
  const common = tickBox("one colour scale for all heads", set("common"));
  return { level, who, what, common };
}

// The picture, at whose patches the reader points.
function buildPicture(state) {
  const { model, patch, gh, gw } = state;
  const [height, width] = [gh * patch[0], gw * patch[1]];
  const canvas = make("canvas", { width, height, class: width < 100 ? "vt-pixels" : "" });
  const ring = makeRing(...patch);
  const go = (query) => {
    const known = query === model.get("query") && model.get("asks") === "patch";
    if (!known) change(model, { query, asks: "patch" });
  };
  const keys = (event) => {
    const next = walk(event, model.get("query"), gh * gw, gw);
    if (next !== undefined) go(next);
  };
  const label = "The picture and its patches. Arrow keys, Home and End move from patch to patch.";
  const cover = drawOver([height, width], ...ring.rects);
  const picture = walkable("vt-stage", label, keys, canvas, cover);
  onPoint(
    picture,
    () => [gh, gw],
    (y, x) => go(Math.floor(y) * gw + Math.floor(x)),
  );
  return { canvas, picture, ring };
}

// The map that is shown large, with its title.
function buildLarge({ gh, gw }) {
  const large = make("canvas", { class: "vt-pixels", role: "img" });
  const spot = makeRing(1, 1);
  const name = heading();
  const cover = drawOver([gh, gw], ...spot.rects);
  const stage = make("div", { class: "vt-stage vt-still" }, large, cover);
  return { large, spot, name, box: make("div", {}, name, stage) };
}

// The maps of all heads, each above the button that chooses it.
function buildHeads({ model, heads, gh, gw }) {
  return Array.from({ length: heads }, (_, head) => {
    const onclick = () => change(model, { head, view: "head" });
    const style = `aspect-ratio: ${gw} / ${gh}`;
    const looks = { class: "vt-map vt-pixels", "aria-hidden": "true", style, onclick };
    const map = make("canvas", looks);
    const button = furnish(makeButton("", onclick), { class: "vt-head" });
    return { map, button, box: make("div", {}, map, button) };
  });
}

// The distances as a table, and its rows.
function buildTable({ far, even, heads }) {
  const cell = (d) => make("td", { "data-value": d }, d.toFixed(1));
  const rows = far.map((line, l) => tableRow({}, `block ${l + 1}`, ...line.map(cell)));
  const titles = ["", ...Array.from({ length: heads }, (_, h) => `head ${h + 1}`)];
  const caption = `Mean attention distance in pixels; everywhere alike: ${even.toFixed(2)}`;
  const table = fillTable(make("table", { class: "vt-table" }), titles, rows, caption);
  const summary = make("summary", {}, "The distances as a table");
  const inside = region("Mean attention distances", "vt-scroll", table);
  return { rows, more: make("details", {}, summary, inside) };
}

function build(state, el) {
  const { model, far, even } = state;
  const { level, who, what, common } = buildControls(state);
  const { picture, canvas, ring } = buildPicture(state);
  picture.dataset.first = "";
  const { box, large, spot, name } = buildLarge(state);
  const maps = buildHeads(state);
  const pick = (block, head) => change(model, { block, head, view: "head" });
  const { board, dots } = buildChart(far, even, pick);
  const { rows, more } = buildTable(state);
  const top = make("b");
  const line = statusLine();
  const bar = make("span", { class: "vt-scale", "aria-hidden": "true" });
  const pair = [titled("The picture", picture), box];
  const dashed = `Dashed: everywhere alike, ${even.toFixed(2)}`;
  mount(
    el,
    "Attention explorer",
    heading(
      make("b", {}, "Point at a patch"),
      "The map beside it shows where the head looks from there.",
    ),
    controls(level.box, who.box, what.box, common.box),
    make("div", { class: "vt-pair vt-looks" }, ...pair),
    make("p", { class: "vt-legend" }, "0 ", bar, top),
    line,
    heading("All heads of this block, and their mean attention distance"),
    make("div", { class: "vt-maps vt-small" }, ...maps.map((map) => map.box)),
    heading(`Mean attention distance of each head (pixels). ${dashed}`),
    board,
    more,
  );
  const settings = { level, who, what, common };
  const shown = { canvas, ring, large, spot, name, top, maps, board, dots, rows, status: line };
  return { ...settings, ...shown };
}

// --- Showing -------------------------------------------------------------------------------------

function update(state) {
  const { model, parts, weights, T, N } = state;
  const names = ["block", "head", "query", "asks", "view", "common"];
  const now = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const row = (matrix) => rowOf(matrix, T, N, now.asks, now.query);
  const patches = (line) => line.subarray(T - N);
  const rolls = now.view === "rollout";
  if (rolls) state.rolled ||= rollout(weights, T); // computed when it is first looked at
  const maps = weights[now.block].map(row);
  const shown = rolls ? row(state.rolled[now.block]) : maps[now.head];
  const values = patches(shown);
  const tops = maps.map((line) => Math.max(...patches(line)));
  const most = Math.max(...tops);
  const limit = now.common && !rolls ? most : Math.max(...values);
  showControls(state, now);
  paint(parts.large, [state.gh, state.gw], (i) => colour(values[i], limit));
  parts.top.textContent = percent(limit);
  showHeads(state, now, maps.map(patches), now.common ? maps.map(() => most) : tops);
  showPlace(state, now);
  showWords(state, now, shown, values);
}

function showControls({ parts, asked, views }, { block, asks, view, common }) {
  parts.level.set(block + 1);
  parts.who.input.value = asked.indexOf(asks);
  parts.what.input.value = views.indexOf(view);
  parts.common.input.checked = common;
}

function showHeads({ parts, far, gh, gw }, { block, head, view }, maps, tops) {
  parts.maps.forEach(({ map, button }, h) => {
    paint(map, [gh, gw], (i) => colour(maps[h][i], tops[h]));
    button.replaceChildren(`head ${h + 1} `, make("br"), pixels(far[block][h]));
    button.setAttribute("aria-pressed", view === "head" && h === head);
  });
}

function showPlace({ parts, patch, gw }, { block, head, query, asks, view }) {
  const [row, column] = [Math.floor(query / gw), query % gw];
  const visibility = asks === "patch" ? "visible" : "hidden";
  parts.ring.move(row * patch[0], column * patch[1], { visibility });
  parts.spot.move(row, column, { visibility });
  const isHere = (l, h) => l === block && (h === head || view === "rollout");
  parts.dots.forEach((line, l) =>
    line.forEach((dot, h) => dot.setAttribute("class", isHere(l, h) ? "vt-here" : "")),
  );
  parts.rows.forEach((line, l) => line.setAttribute("class", l === block ? "vt-chosen" : ""));
}

function showWords(state, { block, head, query, asks, view }, shown, values) {
  const { parts, T, gw, grid, patch, far, even } = state;
  const number = block + 1;
  const title =
    view === "rollout" ? `Rollout, block 1 to ${number}` : `Block ${number}, head ${head + 1}`;
  const subjects = { patch: `The patch in ${where(query, gw)}`, class: "The class token" };
  const subject = subjects[asks] ?? "The mean of all patches";
  const distance = distanceOf(shown, query, grid, patch);
  const apart = asks === "patch" ? `, on average ${pixels(distance)} away` : "";
  const own = Math.max(...values);
  const total = (line) => line.reduce((a, b) => a + b, 0);
  const left = percent(1 - total(values) / total(shown));
  const rest = state.token ? ` ${left} of the weight goes to the class token.` : "";
  const most = `${where(values.indexOf(own), gw)} (${percent(own)}; alike would be ${percent(1 / T)})`;
  parts.name.textContent = title;
  parts.status.textContent = `${title}. ${subject} looks most at ${most}${apart}.${rest}`;
  parts.large.setAttribute("aria-label", parts.status.textContent);
  const list = far[block].map((d) => d.toFixed(1)).join(", ");
  const label =
    `Mean attention distance of each head. Block ${number}: ${list} pixels; ` +
    `everywhere alike ${even.toFixed(2)}.`;
  parts.board.setAttribute("aria-label", label);
}

async function render({ model, el }) {
  const shape = model.get("shape");
  const [blocks, heads, T] = shape;
  const grid = model.get("grid");
  const patch = model.get("patch");
  const [gh, gw] = grid;
  const N = gh * gw;
  const token = T > N; // whether there is a class token
  const weights = restore(model.get("weights"), model.get("scales"), shape);
  const far = weights.map((block) => block.map((matrix) => meanDistance(matrix, T, grid, patch)));
  const even = meanDistance(null, N, grid, patch);
  const asked = Object.keys(ASKS).filter((name) => token || name !== "class");
  const sizes = { blocks, heads, T, N, grid, gh, gw, patch, token };
  const state = { model, ...sizes, weights, far, even, asked, views: Object.keys(VIEWS) };
  state.parts = build(state, el);
  const image = new Image();
  image.src = model.get("picture_source");
  await image.decode();
  state.parts.canvas.getContext("2d").drawImage(image, 0, 0);
  const watched = ["block", "head", "query", "asks", "view", "common"];
  const end = follow(model, watched, () => update(state));
  update(state);
  return end;
}

export default { render };
