// Numbers as pictures, and how the reader moves over them. Joined to each module after common.js.

const CHANNELS = ["red", "green", "blue"];
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// --- Colours -------------------------------------------------------------------------------------

// Red above 0, blue below, and full at `top`; the scale of vit_teach.widgets.shared.base.
function redBlue(value, top = 1) {
  const end = value > 0 ? [178, 24, 43] : [33, 102, 172];
  const share = Math.min(1, Math.abs(value) / top);
  return end.map((part) => Math.round(247 + share * (part - 247)));
}

// The size of the largest of some numbers, as a `top`: never 0.
const largest = (values) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;

// A picture on a canvas of as many pixels; `colour(i)` gives red, green and blue of pixel i.
function paint(canvas, [height, width], colour) {
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set([...colour(i), 255], 4 * i);
  Object.assign(canvas, { width, height }).getContext("2d").putImageData(image, 0, 0);
}

// --- What lies over a picture --------------------------------------------------------------------

const drawOver = ([height, width], ...children) =>
  draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...children);

// A ring round some pixels, seen on dark and on light; `move` says where.
function makeRing(height, width) {
  const kinds = ["vt-ring-back", "vt-ring"];
  const rects = kinds.map((kind) => draw("rect", { class: kind, width, height }));
  const move = (y, x, more) => rects.forEach((rect) => furnish(rect, { x, y, ...more }));
  return { rects, move };
}

// The lines between the patches of a picture.
function gridLines([height, width], [ph, pw]) {
  let d = "";
  for (let x = pw; x < width; x += pw) d += `M${x},0V${height}`;
  for (let y = ph; y < height; y += ph) d += `M0,${y}H${width}`;
  return ["vt-grid-back", "vt-grid"].map((kind) => draw("path", { d, class: kind }));
}

// --- Pointing, walking, dropping -----------------------------------------------------------------

// A box that takes the arrow keys.
const walkable = (kind, label, onkeydown, ...children) => {
  const options = { class: kind, tabindex: 0, role: "application", "aria-label": label, onkeydown };
  return make("div", options, ...children);
};

// Calls `choose(y, x)` while the reader points at a box of so many rows and columns. The whole part
// of a place is its cell. `size` gets the box's width and height on the screen. The words on what to
// touch first (data-first, see widgets.css) go then.
function onPoint(box, size, choose, events = ["pointermove", "pointerdown"]) {
  const part = (at, length, cells) => clamp((at / length) * cells, 0, cells - 1e-6);
  const tell = (event) => {
    delete box.closest("[data-first]")?.dataset.first;
    const edges = box.getBoundingClientRect();
    const [rows, columns] = size(edges);
    const y = part(event.clientY - edges.top, edges.height, rows);
    choose(y, part(event.clientX - edges.left, edges.width, columns));
  };
  events.forEach((name) => box.addEventListener(name, tell));
}

// The cell to which a key leads from cell n of `total`, in lines of `columns`; undefined for other
// keys. At the end of a line it stays, or, where the lines are one sequence, goes on to the next.
function walk(event, n, total, columns, sequence = false) {
  const step = ARROWS[event.key];
  let next = { Home: 0, End: total - 1 }[event.key];
  if (step) {
    next = n + step[0] * columns + step[1];
    const leaves = step[1] && Math.floor(next / columns) !== Math.floor(n / columns);
    if (next < 0 || next >= total || (leaves && !sequence)) next = n;
  }
  if (next !== undefined) event.preventDefault();
  return next;
}

// A button that opens a file of the reader's, and the field behind it.
function filePicker(title, accept, take) {
  const onchange = () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  };
  const input = make("input", {
    type: "file",
    accept,
    hidden: true,
    "aria-label": title,
    onchange,
  });
  return [makeButton(`${title} …`, () => input.click()), input];
}

// Lets the reader drop a file on the widget.
function dropZone(frame, take) {
  const over = (event, inside) => {
    event.preventDefault();
    frame.classList.toggle("vt-drop", inside);
  };
  frame.addEventListener("dragover", (event) => over(event, true));
  frame.addEventListener("dragleave", () => frame.classList.remove("vt-drop"));
  frame.addEventListener("drop", (event) => {
    over(event, false);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}
