// AttentionExplorer: point at a patch and see where every head of every block looks.

const ASKS = { patch: "the patch you point at", class: "the class token", mean: "the mean of all patches" };
const VIEWS = { head: "one head", rollout: "rollout up to this block" };
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const CHART = { width: 340, height: 170, left: 34, right: 8, top: 10, bottom: 26 };

// Bytes and a scale for each row become the weights: [block][head] of T x T numbers.
export function restore(steps, scales, [blocks, heads, T]) {
  const bytes = new Uint8Array(steps.buffer, steps.byteOffset, steps.byteLength);
  const numbers = new DataView(scales.buffer, scales.byteOffset, scales.byteLength);
  return Array.from({ length: blocks }, (_, l) => Array.from({ length: heads }, (_, h) => {
    const matrix = new Float32Array(T * T), first = (l * heads + h) * T;
    for (let i = 0; i < T; i++) {
      const scale = numbers.getFloat32(4 * (first + i), true);
      for (let j = 0; j < T; j++) matrix[i * T + j] = bytes[(first + i) * T + j] * scale;
    }
    return matrix;
  }));
}

// One row of a T x T matrix: of a patch, of the class token, or the mean over the N patches.
export function rowOf(matrix, T, N, asks, query) {
  if (asks === "class") return Float64Array.from(matrix.subarray(0, T));
  if (asks === "patch") return Float64Array.from(matrix.subarray((T - N + query) * T, (T - N + query + 1) * T));
  const line = new Float64Array(T);
  for (let i = T - N; i < T; i++) for (let j = 0; j < T; j++) line[j] += matrix[i * T + j] / N;
  return line;
}

// The distances in pixels of one patch to all.
export function distancesFrom(query, [gh, gw], [ph, pw]) {
  const row = Math.floor(query / gw), column = query % gw;
  return Float64Array.from({ length: gh * gw }, (_, j) => Math.hypot((Math.floor(j / gw) - row) * ph, ((j % gw) - column) * pw));
}

// How far one patch looks on average: weights among patches only, divided by their sum.
export function distanceOf(row, query, grid, patch) {
  const N = grid[0] * grid[1], far = distancesFrom(query, grid, patch);
  let total = 0, sum = 0;
  for (let j = 0; j < N; j++) {
    const weight = row[row.length - N + j];
    total += weight * far[j];
    sum += weight;
  }
  return sum ? total / sum : 0;
}

// The mean of that over all patches; without a matrix, for looking everywhere alike.
export function meanDistance(matrix, T, grid, patch) {
  const N = grid[0] * grid[1], even = new Float64Array(N).fill(1 / N);
  let total = 0;
  for (let i = 0; i < N; i++) total += distanceOf(matrix ? rowOf(matrix, T, N, "patch", i) : even, i, grid, patch);
  return total / N;
}

// Attention followed from the picture up to each block: mean of heads plus identity, multiplied.
export function rollout(blocks, T) {
  const results = [];
  for (const heads of blocks) {
    const step = new Float64Array(T * T), before = results.at(-1), after = new Float64Array(T * T);
    for (let i = 0; i < T; i++) {
      let sum = 0;
      for (let j = 0; j < T; j++) {
        for (const head of heads) step[i * T + j] += head[i * T + j] / heads.length;
        step[i * T + j] += i === j ? 1 : 0;
        sum += step[i * T + j];
      }
      for (let j = 0; j < T; j++) step[i * T + j] /= sum;
    }
    if (!before) { results.push(step); continue; }
    for (let i = 0; i < T; i++)
      for (let k = 0; k < T; k++) {
        const part = step[i * T + k];
        for (let j = 0; j < T; j++) after[i * T + j] += part * before[k * T + j];
      }
    results.push(after);
  }
  return results;
}

// Dark for 0, yellow for `top`.
export function colour(value, top) {
  const place = clamp(top ? value / top : 0, 0, 1) * (COLOURS.length - 1), below = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[below].map((part, c) => Math.round(part + (place - below) * (COLOURS[below + 1][c] - part)));
}

function paint(canvas, values, [gh, gw], top) {
  const image = new ImageData(gw, gh);
  values.forEach((value, i) => image.data.set([...colour(value, top), 255], 4 * i));
  Object.assign(canvas, { width: gw, height: gh }).getContext("2d").putImageData(image, 0, 0);
}

const share = (x) => `${(100 * x).toFixed(1)} %`;

// The heads' distances as dots over the blocks, with the line of looking everywhere alike.
function chart(far, even, choose) {
  const { width, height, left, right, top, bottom } = CHART, blocks = far.length;
  const most = 1.1 * Math.max(even, ...far.flat()), step = [1, 2, 5, 10, 20, 50, 100].find((s) => most / s <= 6) || 200;
  const x = (l, h) => left + ((width - left - right) * (l + 0.5 + 0.5 * (far[l].length > 1 ? h / (far[l].length - 1) - 0.5 : 0))) / blocks;
  const y = (d) => height - bottom - ((height - top - bottom) * d) / most;
  const board = draw("svg", { class: "vt-dots", viewBox: `0 0 ${width} ${height}`, role: "img" });
  for (let d = 0; d <= most; d += step)
    board.append(draw("path", { class: "vt-rule", d: `M${left},${y(d)}H${width - right}` }), draw("text", { x: left - 4, y: y(d) + 3, "text-anchor": "end" }, String(d)));
  for (let l = 0; l < blocks; l++) board.append(draw("text", { x: x(l, (far[l].length - 1) / 2), y: height - bottom + 12, "text-anchor": "middle" }, String(l + 1)));
  board.append(draw("text", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }, "block"),
    draw("path", { class: "vt-even", d: `M${left},${y(even)}H${width - right}` }));
  const dots = far.map((heads, l) => heads.map((d, h) => {
    const dot = draw("circle", { cx: x(l, h), cy: y(d), r: 4, onclick: () => choose(l, h) });
    board.append(dot);
    return dot;
  }));
  return { board, dots };
}

async function render({ model, el }) {
  const [blocks, heads, T] = model.get("shape"), grid = model.get("grid"), patch = model.get("patch");
  const [gh, gw] = grid, N = gh * gw, token = T > N;
  const weights = restore(model.get("weights"), model.get("scales"), [blocks, heads, T]);
  const far = weights.map((block) => block.map((matrix) => meanDistance(matrix, T, grid, patch)));
  const even = meanDistance(null, N, grid, patch);
  let rolled = null; // computed when it is first looked at

  const level = slider("Block", { min: 1, max: blocks, step: 1 }, (l) => `${l} of ${blocks}`, (l) => change(model, { block: l - 1 }));
  const asked = Object.keys(ASKS).filter((name) => token || name !== "class"), views = Object.keys(VIEWS);
  const who = choice("Who looks", asked.map((name) => ASKS[name]), (i) => change(model, { asks: asked[i] }));
  const what = choice("Show", views.map((name) => VIEWS[name]), (i) => change(model, { view: views[i] }));
  const tick = make("input", { type: "checkbox", onchange: () => change(model, { common: tick.checked }) });

  const frame = (number) => [draw("rect", { class: "vt-ring-back", width: pw(number), height: ph(number) }), draw("rect", { class: "vt-ring", width: pw(number), height: ph(number) })];
  const ph = (number) => (number ? 1 : patch[0]), pw = (number) => (number ? 1 : patch[1]);
  const canvas = make("canvas", { width: gw * patch[1], height: gh * patch[0], class: gw * patch[1] < 100 ? "vt-pixels" : "" });
  const rings = [frame(0), frame(1)];
  const picture = make("div", {
    class: "vt-stage", tabindex: 0, role: "application", onkeydown: onKey,
    "aria-label": "The picture and its patches. Arrow keys, Home and End move from patch to patch.",
  }, canvas, draw("svg", { viewBox: `0 0 ${gw * patch[1]} ${gh * patch[0]}`, "aria-hidden": "true" }, ...rings[0]));
  const large = make("canvas", { class: "vt-pixels", role: "img" });
  const stage = make("div", { class: "vt-stage vt-still" }, large, draw("svg", { viewBox: `0 0 ${gw} ${gh}`, "aria-hidden": "true" }, ...rings[1]));
  const name = make("p", { class: "vt-title" }), top = make("b"), status = make("p", { class: "vt-status", "aria-live": "polite" });
  const small = Array.from({ length: heads }, (_, h) => {
    const map = make("canvas", { class: "vt-map vt-pixels", "aria-hidden": "true", style: `aspect-ratio: ${gw} / ${gh}`, onclick: () => pick(h) });
    const button = make("button", { type: "button", class: "vt-head", onclick: () => pick(h) });
    return { map, button, box: make("div", {}, map, button) };
  });
  const pick = (head) => change(model, { head, view: "head" });
  const { board, dots } = chart(far, even, (block, head) => change(model, { block, head, view: "head" }));
  const table = make("table", { class: "vt-table" });
  const cells = far.map((line) => line.map((d) => make("td", { "data-value": d }, d.toFixed(1))));
  table.append(make("caption", {}, `Mean attention distance in pixels; everywhere alike: ${even.toFixed(2)}`),
    make("thead", {}, make("tr", {}, make("td", {}), ...small.map((_, h) => make("th", { scope: "col" }, `head ${h + 1}`)))),
    make("tbody", {}, ...cells.map((line, l) => make("tr", {}, make("th", { scope: "row" }, `block ${l + 1}`), ...line))));
  mount(el, "Attention explorer",
    make("div", { class: "vt-controls" }, level.box, who.box, what.box,
      make("label", { class: "vt-control vt-tick" }, tick, make("span", {}, "one colour scale for all heads"))),
    make("div", { class: "vt-pair vt-looks" },
      make("div", {}, make("p", { class: "vt-title" }, "The picture: point at a patch"), picture),
      make("div", {}, name, stage)),
    make("p", { class: "vt-legend" }, "0 ", make("span", { class: "vt-scale", "aria-hidden": "true" }), top), status,
    make("p", { class: "vt-title" }, "All heads of this block, and their mean attention distance"),
    make("div", { class: "vt-maps vt-small" }, ...small.map(({ box }) => box)),
    make("p", { class: "vt-title" }, `Mean attention distance of each head (pixels). Dashed: everywhere alike, ${even.toFixed(2)}`), board,
    make("details", {}, make("summary", {}, "The distances as a table"),
      make("div", { class: "vt-scroll", tabindex: 0, role: "region", "aria-label": "Mean attention distances" }, table)));

  const go = (query) => {
    if (query !== model.get("query") || model.get("asks") !== "patch") change(model, { query, asks: "patch" });
  };
  function point(event) {
    const box = picture.getBoundingClientRect();
    const part = (at, from, length, parts) => clamp(Math.floor(((at - from) / length) * parts), 0, parts - 1);
    go(part(event.clientY, box.top, box.height, gh) * gw + part(event.clientX, box.left, box.width, gw));
  }
  picture.addEventListener("pointermove", point);
  picture.addEventListener("pointerdown", point);
  function onKey(event) {
    const n = model.get("query"), step = ARROWS[event.key];
    if (step) go(clamp(Math.floor(n / gw) + step[0], 0, gh - 1) * gw + clamp((n % gw) + step[1], 0, gw - 1));
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(N - 1);
    else return;
    event.preventDefault();
  }

  const where = (n) => `row ${Math.floor(n / gw)}, column ${n % gw}`;
  function update() {
    const [block, head, query, asks, view] = ["block", "head", "query", "asks", "view"].map((n) => model.get(n));
    level.set(block + 1);
    who.input.value = asked.indexOf(asks);
    what.input.value = views.indexOf(view);
    tick.checked = model.get("common");
    const row = (matrix) => rowOf(matrix, T, N, asks, query), maps = weights[block].map(row), patches = (line) => line.subarray(T - N);
    if (view === "rollout") rolled ||= rollout(weights, T);
    const shown = view === "rollout" ? row(rolled[block]) : maps[head], values = patches(shown);
    const most = Math.max(...maps.map((line) => Math.max(...patches(line)))), own = Math.max(...values);
    const common = model.get("common"), limit = common && view === "head" ? most : own;
    paint(large, values, grid, limit);
    small.forEach(({ map, button }, h) => {
      paint(map, patches(maps[h]), grid, common ? most : Math.max(...patches(maps[h])));
      button.replaceChildren(`head ${h + 1} `, make("br"), `${far[block][h].toFixed(1)} px`);
      button.setAttribute("aria-pressed", view === "head" && h === head);
    });
    rings.forEach((pair, i) => pair.forEach((ring) => furnish(ring, {
      x: (query % gw) * pw(i), y: Math.floor(query / gw) * ph(i), visibility: asks === "patch" ? "visible" : "hidden",
    }, [])));
    dots.forEach((line, l) => line.forEach((dot, h) => dot.setAttribute("class", l === block && (h === head || view === "rollout") ? "vt-here" : "")));
    cells.forEach((line, l) => line[0].parentNode.setAttribute("class", l === block ? "vt-chosen" : ""));
    const title = view === "rollout" ? `Rollout, block 1 to ${block + 1}` : `Block ${block + 1}, head ${head + 1}`;
    name.textContent = title;
    top.textContent = share(limit);
    const subject = asks === "patch" ? `The patch in ${where(query)}` : asks === "class" ? "The class token" : "The mean of all patches";
    const apart = asks === "patch" ? `, on average ${distanceOf(shown, query, grid, patch).toFixed(1)} px away` : "";
    const rest = token ? ` ${share(1 - values.reduce((a, b) => a + b, 0) / shown.reduce((a, b) => a + b, 0))} of the weight goes to the class token.` : "";
    status.textContent = `${title}. ${subject} looks most at ${where(values.indexOf(own))} (${share(own)}; alike would be ${share(1 / T)})${apart}.${rest}`;
    large.setAttribute("aria-label", status.textContent);
    board.setAttribute("aria-label", `Mean attention distance of each head. Block ${block + 1}: ${far[block].map((d) => d.toFixed(1)).join(", ")} pixels; everywhere alike ${even.toFixed(2)}.`);
  }
  const image = new Image();
  image.src = model.get("picture_source");
  await image.decode();
  canvas.getContext("2d").drawImage(image, 0, 0);
  const end = follow(model, ["block", "head", "query", "asks", "view", "common"], update);
  update();
  return end;
}

export default { render };
