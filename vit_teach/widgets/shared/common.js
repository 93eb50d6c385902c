// What all widgets share. Joined to the front of each widget's module: a module imports nothing.

// An element with attributes, listeners (keys that begin with "on") and children.
function furnish(node, options, children = []) {
  for (const [key, value] of Object.entries(options)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}
const make = (tag, options = {}, ...children) =>
  furnish(document.createElement(tag), options, children);
const draw = (tag, options = {}, ...children) =>
  furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
// A number in full: by default a browser leaves out what follows the third decimal.
const count = (number) =>
  Number(number.toPrecision(12)).toLocaleString("en-US", { maximumFractionDigits: 12 });
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

// --- Controls ------------------------------------------------------------------------------------

// A labelled slider; `show` says its value in words. The value is no <output>: the label would name
// that instead of the slider.
function slider(label, options, show, onchange) {
  const told = make("span", { class: "vt-value" });
  const oninput = () => onchange(Number(input.value));
  const input = make("input", { type: "range", "aria-label": label, oninput, ...options });
  const words = make("span", {}, `${label} `, told);
  const set = (value) => {
    input.value = value;
    told.textContent = show(value);
    input.setAttribute("aria-valuetext", show(value));
  };
  return { box: make("label", { class: "vt-control" }, words, input), input, set };
}

// A labelled choice among words.
function choice(label, names, onchange) {
  const items = names.map((name, i) => make("option", { value: i }, name));
  const input = make("select", { onchange: () => onchange(Number(input.value)) }, ...items);
  return { box: make("label", { class: "vt-control" }, make("span", {}, label), input), input };
}

// A labelled box to tick.
function tickBox(label, onchange) {
  const input = make("input", { type: "checkbox", onchange: () => onchange(input.checked) });
  const box = make("label", { class: "vt-control vt-tick" }, input, make("span", {}, label));
  return { box, input };
}

const makeButton = (text, onclick) => make("button", { type: "button", onclick }, text);

// --- Boxes ---------------------------------------------------------------------------------------

const controls = (...children) => make("div", { class: "vt-controls" }, ...children);
const heading = (...text) => make("p", { class: "vt-title" }, ...text);
const titled = (title, ...children) => make("div", {}, heading(title), ...children);
const statusLine = () => make("p", { class: "vt-status", "aria-live": "polite" });

// A box that scrolls, within reach of the keyboard.
const region = (label, kind, ...children) =>
  make("div", { class: kind, tabindex: 0, role: "region", "aria-label": label }, ...children);

// A row of a table: its title, then its cells. `fillTable` puts titles of columns above such rows.
const tableRow = (options, title, ...cells) =>
  make("tr", options, make("th", { scope: "row" }, ...[title].flat()), ...cells);
function fillTable(table, titles, rows, caption) {
  const heads = titles.map((text) => (text ? make("th", { scope: "col" }, text) : make("td")));
  table.replaceChildren(
    ...(caption ? [make("caption", {}, caption)] : []),
    make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...rows),
  );
  return table;
}

// The numbers that a widget tells in large type: [name, the number, what it means].
function fillCounts(list, rows) {
  const entry = ([name, number, meaning]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, number, make("span", {}, meaning)));
  list.replaceChildren(...rows.map(entry));
}

// The frame of a widget. JupyterLab would take arrow keys and letters for its own shortcuts.
function mount(el, title, ...children) {
  const frame = make("div", { class: "vt-live", role: "group", "aria-label": title }, ...children);
  frame.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(frame);
  return frame;
}

// --- The model's values --------------------------------------------------------------------------

// Sets some of the model's values at once.
function change(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

// Calls `update` at most once per frame however many values change; returns what ends it.
function follow(model, names, update) {
  let waiting = 0;
  const run = () => {
    waiting = 0;
    update();
  };
  const soon = () => {
    waiting ||= requestAnimationFrame(run);
  };
  names.forEach((name) => model.on(`change:${name}`, soon));
  return () => {
    cancelAnimationFrame(waiting);
    names.forEach((name) => model.off(`change:${name}`, soon));
  };
}
