// AttentionByHand: queries, keys and values of a few tokens, with every number visible.

const LARGEST = 100, STEP = 0.1; // of a number; what one press of an arrow key changes
const MARKS = ["blue", "vermilion", "green", "purple", "orange", "sky"];

// softmax(factor q kᵀ / sqrt(h)) v, step by step, for lists of vectors.
export function attention(queries, keys, values, factor = 1) {
  const h = keys[0].length, dot = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const scores = queries.map((q) => keys.map((k) => dot(q, k) * factor));
  const scaled = scores.map((row) => row.map((s) => s / Math.sqrt(h)));
  const weights = scaled.map((row) => {
    const largest = Math.max(...row), powers = row.map((s) => Math.exp(s - largest)); // no overflow
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((p) => p / total);
  });
  const outputs = weights.map((row) => values[0].map((_, c) => row.reduce((sum, w, j) => sum + w * values[j][c], 0)));
  return { scores, scaled, weights, outputs };
}

const number = (x, digits = 2) => {
  if (!Number.isFinite(x)) return "too large";
  return Math.abs(x) >= 10000 ? x.toExponential(1).replace("e+", "e") : x.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
};
const tidy = (x) => Math.round(x * 1000) / 1000;
const vector = (v, digits = 2) => make("span", { class: "vt-vector" }, ...v.map((x) => make("b", { "data-value": x }, number(x, digits))));
const cell = (...children) => make("td", {}, ...children);

// A plane with points that can be dragged or moved by arrow keys. `points`: {role, i, at, label, ...}.
function plane(title, move) {
  const board = draw("svg", { class: "vt-plane", viewBox: "-110 -110 220 220", role: "group", "aria-label": title });
  const nodes = new Map();
  let low = -1, high = 1, held = null; // the range of both axes
  const across = (x) => ((x - low) / (high - low)) * 200 - 100, down = (y) => -across(y);

  function put(point, to) {
    point.at = to.map((x) => clamp(tidy(x), -LARGEST, LARGEST)); // the next key may come before the next frame
    move(point, point.at);
  }
  function node({ key, label, mark, kind, fixed }) {
    const shape = kind === "query" ? draw("path", { d: "M-10,-10H10V10H-10Z" }) : draw("circle", { r: 6.5 });
    const text = draw("text", { y: kind === "key" || kind === "value" ? -12 : 21 }, label), line = draw("line", { class: "vt-arrow" });
    const options = fixed ? { "aria-hidden": "true" } : { tabindex: 0, role: "button", "aria-roledescription": "movable point" };
    const group = draw("g", { class: `vt-point vt-${kind} vt-m-${mark}`, "data-key": key, ...options }, shape, text);
    if (!fixed) {
      group.addEventListener("keydown", (event) => {
        const step = ARROWS[event.key], { point } = nodes.get(key);
        if (!step) return;
        event.preventDefault();
        const size = event.shiftKey ? 10 * STEP : STEP;
        put(point, [point.at[0] + step[1] * size, point.at[1] - step[0] * size]);
      });
      group.addEventListener("pointerdown", (event) => { held = key; group.focus(); board.setPointerCapture(event.pointerId); event.preventDefault(); });
    }
    board.append(line, group);
    return { group, line, text };
  }
  board.addEventListener("pointermove", (event) => {
    if (!held) return;
    const box = board.getBoundingClientRect();
    const to = (part) => clamp(low + ((part * 220 - 10) / 200) * (high - low), low, high);
    const x = to((event.clientX - box.left) / box.width), y = to(1 - (event.clientY - box.top) / box.height);
    put(nodes.get(held).point, [x, y].map((n) => Math.round(n * 20) / 20));
  });
  const release = () => { if (held) { held = null; board.dispatchEvent(new Event("released")); } };
  ["pointerup", "pointercancel", "lostpointercapture"].forEach((name) => board.addEventListener(name, release));

  function axes() {
    const step = [0.5, 1, 2, 5, 10, 20, 50].find((s) => (high - low) / s <= 9), lines = [];
    for (let t = Math.ceil(low / step) * step; t <= high; t += step) {
      const kind = t === 0 ? "vt-axis" : "vt-rule";
      lines.push(draw("path", { class: kind, d: `M${across(t)},-104V104M-104,${down(t)}H104` }));
      if (t !== 0) lines.push(draw("text", { class: "vt-tick-text", x: across(t), y: down(0) + 9 }, String(t)));
    }
    return draw("g", { "aria-hidden": "true" }, ...lines);
  }

  function update(points) {
    const numbers = points.flatMap(({ at }) => at);
    if (!held) {
      high = Math.max(1.5, Math.ceil(Math.max(...numbers) * 2.3) / 2);
      low = Math.min(-high / 3, Math.floor(Math.min(...numbers) * 2.3) / 2);
    }
    board.querySelector("g:not(.vt-point)")?.remove();
    board.prepend(axes());
    for (const [key, { group, line }] of nodes) if (!points.some((p) => p.key === key)) { group.remove(); line.remove(); nodes.delete(key); }
    for (const point of points) {
      const entry = nodes.get(point.key) || node(point);
      nodes.set(point.key, { ...entry, point });
      const { group, line, text } = entry, x = across(point.at[0]), y = down(point.at[1]);
      group.setAttribute("transform", `translate(${x} ${y})`);
      group.setAttribute("aria-label", `${point.spoken}: ${point.at.map((n) => number(n)).join(", ")}. Arrow keys move it.`);
      if (point.size) group.querySelector("circle").setAttribute("r", point.size);
      text.textContent = point.label;
      text.setAttribute("text-anchor", x > 60 ? "end" : x < -60 ? "start" : "middle");
      if (point.arrow) furnish(line, { x1: across(0), y1: down(0), x2: x, y2: y }, []);
    }
  }
  return { board, update };
}

function render({ model, el }) {
  const original = Object.fromEntries(["names", "q", "k", "v"].map((name) => [name, model.get(name)]));
  const mark = (name) => MARKS[Math.max(0, original.names.indexOf(name)) % MARKS.length];
  const T = original.names.length;
  let before = null; // outputs by name before the last change of order

  const edit = (role, i, to) => change(model, { [role]: model.get(role).map((v, j) => (j === i ? to : v)) });
  const move = ({ role, i }, to) => edit(role, i, to);
  const pick = choice("The query of", original.names, (i) => change(model, { chosen: i }));
  const factor = slider("Queries times", { min: 0, max: 8, step: 0.25 }, (x) => String(x), (x) => change(model, { factor: x }));
  const said = make("p", { class: "vt-note", role: "status" });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const left = plane("Plane of the chosen query and all keys", move), right = plane("Plane of the values and the output", move);
  [left, right].forEach(({ board }) => board.addEventListener("released", () => update()));
  const button = (text, onclick) => make("button", { type: "button", onclick }, text);

  // Deals the tokens out in another order: everything that belongs to a token goes with it.
  function reorder(order) {
    const names = model.get("names"), outputs = compute().outputs;
    before = new Map(names.map((name, i) => [name, outputs[i]]));
    const next = { chosen: order.indexOf(model.get("chosen")) };
    for (const part of ["names", "q", "k", "v"]) next[part] = order.map((i) => model.get(part)[i]);
    change(model, next);
    const after = compute().outputs;
    const gap = Math.max(...next.names.map((name, i) => Math.max(...after[i].map((x, c) => Math.abs(x - before.get(name)[c])))));
    said.textContent = `New order: ${next.names.join(", ")}. The outputs moved with their tokens; matched by name, they differ by ` +
      `${gap === 0 ? "exactly 0" : `at most ${gap.toExponential(0)} (rounding)`}.`;
  }
  function swap(step) {
    const i = model.get("chosen"), j = i + step, order = original.names.map((_, n) => n);
    if (j < 0 || j >= T) { said.textContent = `${model.get("names")[i]} is already ${j < 0 ? "first" : "last"}.`; return; }
    [order[i], order[j]] = [order[j], order[i]];
    reorder(order);
  }
  function shuffle() {
    const order = original.names.map((_, n) => n);
    do order.sort(() => Math.random() - 0.5); while (order.every((n, i) => n === i));
    reorder(order);
  }
  const compute = () => attention(model.get("q"), model.get("k"), model.get("v"), model.get("factor"));

  // Number fields of one vector; `reach` gives the token's place when the reader types.
  function fields(role, spoken, reach) {
    const inputs = [0, 1].map((c) => make("input", {
      type: "number", step: STEP, min: -LARGEST, max: LARGEST, class: "vt-field",
      oninput: (event) => {
        const x = event.target.valueAsNumber, good = Number.isFinite(x) && Math.abs(x) <= LARGEST;
        event.target.setAttribute("aria-invalid", !good);
        if (good) edit(role, reach(), model.get(role)[reach()].map((old, d) => (d === c ? x : old)));
      },
      onblur: () => update(),
    }));
    const set = (v, name) => inputs.forEach((input, c) => {
      input.setAttribute("aria-label", `${spoken} of ${name}, ${c ? "second" : "first"} number`);
      if (input !== document.activeElement || input.valueAsNumber !== v[c]) {
        if (input === document.activeElement && input.getAttribute("aria-invalid") === "true") return;
        input.value = tidy(v[c]);
        input.setAttribute("aria-invalid", false);
      }
    });
    return { box: make("span", { class: "vt-vector" }, ...inputs), set };
  }

  const queryFields = fields("q", "query", () => model.get("chosen"));
  const lines = original.names.map((_, j) => ({
    name: make("th", { scope: "row" }), key: fields("k", "key", () => j), value: fields("v", "value", () => j), tail: make("tr"),
  }));
  const factorText = make("span");
  const sums = make("tr", { class: "vt-sum" });
  const heads = ["", "key k", "q·k", "÷√2", "exp", "weight", "value v", "× v"];
  const steps = make("table", { class: "vt-table vt-steps" },
    make("thead", {}, make("tr", {}, ...heads.map((text) => make(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
    make("tbody", {}, ...lines.map((line) => line.tail), sums));
  lines.forEach((line) => { line.cells = [0, 1, 2, 3, 4].map(() => make("td")); });
  lines.forEach(({ name, key, value, tail, cells: [a, b, c, d, e] }) => tail.append(name, cell(key.box), a, b, c, d, cell(value.box), e));
  const whole = make("table", { class: "vt-table vt-whole" });
  const scroll = (label, table) => make("div", { class: "vt-scroll", tabindex: 0, role: "region", "aria-label": label }, table);
  mount(el, "Attention by hand",
    make("div", { class: "vt-controls" }, pick.box, factor.box,
      make("div", { class: "vt-buttons" }, button("Shuffle the tokens", shuffle), button("Token up", () => swap(-1)), button("Token down", () => swap(1)),
        button("Start again", () => { said.textContent = "The numbers of the start."; change(model, { ...original, factor: 1, chosen: 0 }); }))),
    said,
    make("div", { class: "vt-pair" },
      make("div", {}, make("p", { class: "vt-title" }, "The query (square) and the keys"), left.board),
      make("div", {}, make("p", { class: "vt-title" }, "The values and the output (ring)"), right.board)),
    status, make("p", { class: "vt-title vt-query-line" }, "One query, step by step: q = ", queryFields.box, factorText), scroll("One query, step by step", steps), scroll("All queries", whole));

  const show = (node, value, digits) => { node.textContent = number(value, digits); node.dataset.value = value; };

  function drawPlanes(names, i, { weights, outputs }) {
    const [q, k, v] = ["q", "k", "v"].map((role) => model.get(role));
    const keys = names.map((name, j) => ({ key: "k" + name, role: "k", i: j, at: k[j], label: name, kind: "key", mark: mark(name), spoken: `key of ${name}`, arrow: true }));
    const query = { key: "q" + names[i], role: "q", i, at: q[i], label: "q", kind: "query", mark: mark(names[i]), spoken: `query of ${names[i]}`, arrow: true };
    left.update([query, ...keys]);
    const values = names.map((name, j) => ({ key: "v" + name, role: "v", i: j, at: v[j], label: name, kind: "value", mark: mark(name), spoken: `value of ${name}`, size: 3 + 9 * Math.sqrt(weights[i][j]) }));
    right.update([...values, { key: "out" + names[i], at: outputs[i], label: "output", kind: "output", mark: mark(names[i]), spoken: "output", fixed: true }]);
  }

  function drawSteps(names, i, { scores, scaled, weights, outputs }) {
    const powers = scaled[i].map(Math.exp), values = model.get("v"), times = model.get("factor");
    queryFields.set(model.get("q")[i], names[i]);
    factorText.textContent = times === 1 ? "" : ` × ${times}`;
    lines.forEach(({ name, key, value, cells }, j) => {
      name.replaceChildren(make("span", { class: `vt-dot vt-m-${mark(names[j])}`, "aria-hidden": "true" }), names[j]);
      key.set(model.get("k")[j], names[j]);
      value.set(values[j], names[j]);
      [scores, scaled].forEach((part, n) => show(cells[n], part[i][j]));
      show(cells[2], powers[j]);
      show(cells[3], weights[i][j], 3);
      cells[4].replaceChildren(vector(values[j].map((x) => weights[i][j] * x)));
    });
    const total = powers.reduce((a, b) => a + b, 0), ones = weights[i].reduce((a, b) => a + b, 0);
    sums.replaceChildren(make("th", { scope: "row" }, "sum"), cell(), cell(), cell(), cell(number(total)), cell(number(ones, 3)), cell(),
      cell(make("strong", {}, vector(outputs[i]))));
  }

  function drawWhole(names, i, { weights, outputs }) {
    const head = make("tr", {}, make("td", {}), ...[...names, "output"].map((name) => make("th", { scope: "col" }, name)));
    const rows = names.map((name, r) => make("tr", { class: r === i ? "vt-chosen" : "" },
      make("th", { scope: "row" }, make("span", { class: `vt-dot vt-m-${mark(name)}`, "aria-hidden": "true" }), name),
      ...weights[r].map((w) => make("td", { class: "vt-weight", style: `--w: ${w}`, "data-value": w }, w.toFixed(2))), cell(vector(outputs[r]))));
    whole.replaceChildren(make("caption", {}, "All queries: each row's weights over the keys, and its output"),
      make("thead", {}, head), make("tbody", {}, ...rows));
  }

  function update() {
    const names = model.get("names"), i = Math.min(model.get("chosen"), T - 1), result = compute();
    names.forEach((name, n) => { pick.input.options[n].textContent = name; });
    pick.input.value = i;
    factor.set(model.get("factor"));
    drawPlanes(names, i, result);
    drawSteps(names, i, result);
    drawWhole(names, i, result);
    const entropy = result.weights.flat().reduce((sum, w) => sum - (w > 0 ? w * Math.log(w) : 0), 0) / T;
    const most = result.weights[i].indexOf(Math.max(...result.weights[i]));
    status.textContent = `${names[i]} looks most at ${names[most]} (${result.weights[i][most].toFixed(2)}). Its output is ` +
      `(${result.outputs[i].map((x) => number(x)).join(", ")}). Mean entropy of the rows ${entropy.toFixed(2)}, at most ${Math.log(T).toFixed(2)}.`;
  }
  const end = follow(model, ["names", "q", "k", "v", "factor", "chosen"], update);
  update();
  return end;
}

export default { render };
