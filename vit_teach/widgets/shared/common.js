// What all widgets share. Joined to the front of each widget's module: a module imports nothing.

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// An element with attributes, listeners (keys that begin with "on") and children.
function furnish(node, options, children) {
  for (const [key, value] of Object.entries(options)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}
const make = (tag, options = {}, ...children) => furnish(document.createElement(tag), options, children);
const draw = (tag, options = {}, ...children) =>
  furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const count = (number) => number.toLocaleString("en-US");

// A labelled slider; `show` says its value in words.
function slider(label, options, show, onchange) {
  const output = make("output");
  const input = make("input", { type: "range", oninput: () => onchange(Number(input.value)), ...options });
  const box = make("label", { class: "vt-control" }, make("span", {}, label + " ", output), input);
  const set = (value) => {
    input.value = value;
    output.textContent = show(value);
    input.setAttribute("aria-valuetext", show(value));
  };
  return { box, input, set };
}

// A labelled choice among words.
function choice(label, names, onchange) {
  const items = names.map((name, i) => make("option", { value: i }, name));
  const input = make("select", { onchange: () => onchange(Number(input.value)) }, ...items);
  return { box: make("label", { class: "vt-control" }, make("span", {}, label), input), input };
}

// The frame of a widget. JupyterLab would take arrow keys and letters for its own shortcuts.
function mount(el, title, ...children) {
  const frame = make("div", { class: "vt-live", role: "group", "aria-label": title }, ...children);
  frame.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(frame);
  return frame;
}

// Sets some of the model's values at once.
function change(model, values) {
  for (const [name, value] of Object.entries(values)) model.set(name, value);
  model.save_changes();
}

// Calls `update` at most once per frame however many values change; returns what ends it.
function follow(model, names, update) {
  let waiting = 0;
  const soon = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; update(); }); };
  names.forEach((name) => model.on("change:" + name, soon));
  return () => {
    cancelAnimationFrame(waiting);
    names.forEach((name) => model.off("change:" + name, soon));
  };
}
