// PositionExplorer: the similarity of one position to all others, for several position tables.

const RULES = {
  google: { kernel: "linear", corners: true, text: "bilinear, corners kept" },
  timm: { kernel: "cubic", a: -0.5, antialias: true, text: "bicubic, anti-aliased" },
  "timm-npz": { kernel: "linear", text: "bilinear, by centres" },
  torchvision: { kernel: "cubic", a: -0.75, corners: true, text: "bicubic, corners kept" },
  hf: { kernel: "cubic", a: -0.75, text: "bicubic, by centres" },
};
const LARGEST_SIDE = 16;

// How much each old place counts for each new one along one side: `next` rows of `old` weights.
export function resizeWeights(rule, old, next) {
  const { kernel, a, corners, antialias } = RULES[rule];
  const curve = (x) => {
    x = Math.abs(x);
    if (kernel === "linear") return Math.max(0, 1 - x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  };
  const stretch = antialias ? Math.max(1, old / next) : 1; // a wider kernel when shrinking
  const reach = (kernel === "linear" ? 1 : 2) * stretch;
  return Array.from({ length: next }, (_, n) => {
    const weights = new Array(old).fill(0);
    if (old === next) { weights[n] = 1; return weights; }
    const place = corners ? (next > 1 ? (n * (old - 1)) / (next - 1) : 0) : ((n + 0.5) * old) / next - 0.5;
    for (let i = Math.ceil(place - reach); i <= place + reach; i++) {
      if (antialias && (i < 0 || i >= old)) continue; // left out, and the rest scaled up below
      weights[clamp(i, 0, old - 1)] += curve((i - place) / stretch); // else the edge is repeated
    }
    const total = weights.reduce((sum, w) => sum + w, 0);
    return weights.map((w) => w / total);
  });
}

// The products of all pairs of rows, after the table is resized: R G Rᵀ for old products G.
export function resizeProducts(products, [gh, gw], [nh, nw], rule) {
  const down = resizeWeights(rule, gh, nh), across = resizeWeights(rule, gw, nw);
  const parts = []; // for each new place, the old places that count and how much
  for (let r = 0; r < nh; r++)
    for (let c = 0; c < nw; c++) {
      const part = [];
      for (let y = 0; y < gh; y++)
        for (let x = 0; x < gw; x++) {
          const weight = down[r][y] * across[c][x];
          if (weight) part.push([y * gw + x, weight]);
        }
      parts.push(part);
    }
  const old = gh * gw, half = parts.map((part) => {
    const line = new Float64Array(old);
    for (const [i, weight] of part) for (let j = 0; j < old; j++) line[j] += weight * products[i][j];
    return line;
  });
  return half.map((line) => Float64Array.from(parts, (part) => part.reduce((sum, [j, w]) => sum + w * line[j], 0)));
}

// The cosine of the angle of each pair, from their products; `centred` subtracts the mean row first.
export function cosines(products, centred) {
  const n = products.length, means = products.map((line) => line.reduce((a, b) => a + b, 0) / n);
  const mean = means.reduce((a, b) => a + b, 0) / n;
  const value = (i, j) => (centred ? products[i][j] - means[i] - means[j] + mean : products[i][j]);
  const lengths = products.map((_, i) => Math.sqrt(Math.max(value(i, i), 0)) || 1);
  return products.map((line, i) => Float64Array.from(line, (_, j) => clamp(value(i, j) / lengths[i] / lengths[j], -1, 1)));
}

// The triangles of all tables as square matrices of products.
export function unpack(bytes, tables, n) {
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  return Array.from({ length: tables }, () => {
    const square = Array.from({ length: n }, () => new Float64Array(n));
    for (let i = 0; i < n; i++)
      for (let j = i; j < n; j++, at += 4) square[i][j] = square[j][i] = numbers.getFloat32(at, true);
    return square;
  });
}

const meanLength = (products) => products.reduce((sum, line, i) => sum + Math.sqrt(Math.max(line[i], 0)), 0) / products.length;

// Red for alike, white for a cosine of 0, blue for opposite.
function colour(value) {
  const end = value > 0 ? [178, 24, 43] : [33, 102, 172];
  return end.map((part) => Math.round(247 + Math.abs(value) * (part - 247)));
}

// The grid with the given number of rows and the shape of the old one; halves round up.
export function newGrid([gh, gw], rows) {
  return [rows, Math.max(2, Math.floor((2 * rows * gw + gh) / (2 * gh)))];
}

function render({ model, el }) {
  const names = model.get("names"), grid = model.get("grid"), rules = Object.keys(RULES);
  const tables = unpack(model.get("products"), names.length, grid[0] * grid[1]);
  const present = () => newGrid(grid, model.get("rows"));
  const inWords = ([h, w]) => `${h} × ${w}`;

  const size = slider("Resize the tables to", { min: 2, max: LARGEST_SIDE, step: 1 }, (rows) => inWords(newGrid(grid, rows)), (rows) => {
    const [height, width] = present(), [h, w] = newGrid(grid, rows); // the position stays where it was in the image
    const row = clamp(Math.floor(((model.get("row") + 0.5) / height) * h), 0, h - 1);
    const column = clamp(Math.floor(((model.get("column") + 0.5) / width) * w), 0, w - 1);
    change(model, { rows, row, column });
  });
  while (newGrid(grid, Number(size.input.max))[1] > LARGEST_SIDE) size.input.max -= 1;
  const rule = choice("by the rule", rules.map((name) => `${name}: ${RULES[name].text}`), (i) => change(model, { rule: rules[i] }));
  const tick = make("input", { type: "checkbox", onchange: () => change(model, { centred: tick.checked }) });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const maps = names.map((name) => {
    const canvas = make("canvas", { class: "vt-pixels" });
    const ring = draw("rect", { class: "vt-ring", width: 1, height: 1 }), back = draw("rect", { class: "vt-ring-back", width: 1, height: 1 });
    const shade = draw("svg", { "aria-hidden": "true" }, back, ring);
    const stage = make("div", { class: "vt-stage" }, canvas, shade);
    const box = make("div", {}, make("p", { class: "vt-title" }, name), stage);
    stage.addEventListener("pointermove", point);
    stage.addEventListener("pointerdown", point);
    return { box, canvas, shade, rects: [back, ring] };
  });
  const legend = make("p", { class: "vt-legend" }, "opposite −1 ", make("span", { "aria-hidden": "true" }), " +1 alike");
  const lengths = make("table", { class: "vt-table" });
  mount(el, "Position explorer",
    make("div", { class: "vt-controls" }, size.box, rule.box,
      make("label", { class: "vt-control vt-tick" }, tick, make("span", {}, "subtract the mean row"))),
    make("div", {
      class: "vt-maps", tabindex: 0, role: "application", onkeydown: onKey,
      "aria-label": "Similarity maps. Arrow keys move the chosen position, Home and End go to the corners.",
    }, ...maps.map((map) => map.box)),
    legend, status,
    make("div", { class: "vt-scroll", tabindex: 0, role: "region", "aria-label": "Lengths of the rows" }, lengths));

  const go = (row, column) => {
    if (row !== model.get("row") || column !== model.get("column")) change(model, { row, column });
  };
  function point(event) {
    const box = event.currentTarget.getBoundingClientRect(), [height, width] = present();
    const part = (at, from, length, parts) => clamp(Math.floor(((at - from) / length) * parts), 0, parts - 1);
    go(part(event.clientY, box.top, box.height, height), part(event.clientX, box.left, box.width, width));
  }
  function onKey(event) {
    const [height, width] = present();
    const step = ARROWS[event.key];
    if (step) go(clamp(model.get("row") + step[0], 0, height - 1), clamp(model.get("column") + step[1], 0, width - 1));
    else if (event.key === "Home") go(0, 0);
    else if (event.key === "End") go(height - 1, width - 1);
    else return;
    event.preventDefault();
  }

  let similar = [], known = ""; // the cosines of each table, and for what they were computed
  function compute(next) {
    const wanted = [...next, model.get("rule"), model.get("centred")].join();
    if (wanted === known) return;
    known = wanted;
    similar = tables.map((table) => cosines(resizeProducts(table, grid, next, model.get("rule")), model.get("centred")));
    const head = make("tr", {}, make("th", { scope: "col" }, "rule"), ...names.map((name) => make("th", { scope: "col" }, name)));
    const lines = rules.map((name) => make("tr", { class: name === model.get("rule") ? "vt-chosen" : "" }, make("th", { scope: "row" }, name),
      ...tables.map((table) => {
        const ratio = meanLength(resizeProducts(table, grid, next, name)) / meanLength(table);
        return make("td", { "data-value": ratio }, ratio.toFixed(3));
      })));
    const caption = `Mean length of a row, new over old, ${inWords(grid)} → ${inWords(next)}`;
    lengths.replaceChildren(make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...lines));
  }

  function update() {
    const next = present(), [height, width] = next;
    const row = Math.min(model.get("row"), height - 1), column = Math.min(model.get("column"), width - 1);
    size.set(model.get("rows"));
    rule.input.value = rules.indexOf(model.get("rule"));
    rule.input.disabled = height === grid[0] && width === grid[1];
    tick.checked = model.get("centred");
    compute(next);
    maps.forEach(({ canvas, shade, rects }, t) => {
      const values = similar[t][row * width + column], image = new ImageData(width, height);
      values.forEach((value, i) => image.data.set([...colour(value), 255], 4 * i));
      Object.assign(canvas, { width, height }).getContext("2d").putImageData(image, 0, 0);
      furnish(shade, { viewBox: `0 0 ${width} ${height}` }, []);
      rects.forEach((rect) => furnish(rect, { x: column, y: row }, []));
    });
    const right = column + 1 < width ? 1 : -1, below = row + 1 < height ? 1 : -1;
    const near = names.map((name, t) => {
      const values = similar[t][row * width + column], to = (r, c) => values[r * width + c].toFixed(2).replace("-", "−");
      return `${name} ${to(row, column + right)} and ${to(row + below, column)}`;
    });
    status.textContent = `Row ${row}, column ${column} of ${inWords(next)}. Cosine with the place ${right > 0 ? "to its right" : "to its left"} ` +
      `and the place ${below > 0 ? "below" : "above"} it: ${near.join("; ")}.`;
  }
  const end = follow(model, ["row", "column", "rows", "rule", "centred"], update);
  update();
  return end;
}

export default { render };
