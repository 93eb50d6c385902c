// ShapeTracer: the model as a diagram, with the shape, the parameters and the work of each part.
//
// `state` is what all functions share: the widget's model, its presets and lines of code, what the
// diagram shows (`traced`), and `parts`, the elements that change.

const LARGEST = { image: 4096, grid: 65536, classes: 1000000 };
const SIZES = ["image_size", "patch_size", "num_classes"];
const LETTERS =
  "B images at a time, C colours, H × W pixels, P a patch's side, N patches, T tokens, D their " +
  "width, M the MLP's width, K classes. Inside attention H is the number of heads and h = D / H.";

// One step: its line of code, the part of the breakdown that counts it, its name among the model's
// intermediates ("" if it has none), the shape of its result for one image, and what it costs.
const step = (code, name, part, seen, shape, params = 0, macs = 0) => ({
  code,
  name,
  part,
  seen,
  shape,
  params,
  macs,
});

// The steps of attention inside an encoder block of width D.
function attentionSteps({ dim: D, heads: H }, T) {
  const tokens = shapeOf({ T, D });
  const head = shapeOf({ H, T, h: D / H });
  const pairs = [["H", H], ["T", T], ["T", T]]; // prettier-ignore
  const inner = "attn.weights";
  return [
    step("norm1", "norm1: each token to mean 0 and deviation 1", "norm1", "", tokens, 2 * D),
    step(
      "qkv",
      "qkv: query, key and value of each token",
      "attn.qkv",
      "",
      shapeOf({ T, "3D": 3 * D }),
      3 * D * D + 3 * D,
      3 * T * D * D,
    ),
    step("heads", "q, k, v: three such tensors, a slice for each head", "attn.qkv", "attn.q", head),
    step("scores", "scores: each query times each key", inner, inner, pairs, 0, T * T * D),
    step("softmax", "softmax: each row sums to 1", inner, inner, pairs),
    step("weighted sum", "weighted sum of the values", inner, "attn.v", head, 0, T * T * D),
    step("join", "the heads side by side again", "attn.proj", "attn", tokens),
    step("proj", "proj: mixes the heads", "attn.proj", "attn", tokens, D * D + D, T * D * D),
    step("add attention", "add: to what came into the block", "attn.proj", "", tokens),
  ];
}

// The steps of the MLP inside an encoder block of width D.
function mlpSteps({ dim: D, mlp: M }, T) {
  const tokens = shapeOf({ T, D });
  const hidden = shapeOf({ T, M });
  return [
    step("norm2", "norm2: as norm1, with weights of its own", "norm2", "", tokens, 2 * D),
    step("fc1", "fc1: widens each token", "mlp.fc1", "", hidden, D * M + M, T * D * M),
    step("gelu", "gelu: the curve, number by number", "mlp.fc1", "", hidden),
    step("fc2", "fc2: narrows it again", "mlp.fc2", "mlp", tokens, M * D + D, T * M * D),
    step("add mlp", "add: to what came out of attention", "mlp.fc2", "block", tokens),
  ];
}

// A shape as pairs of letter and size.
const shapeOf = (sizes) => Object.entries(sizes);

const partOf = (key, title, steps, times = 1) => {
  return { key, title, steps, times, shape: steps.at(-1).shape };
};

// From the picture to tokens with positions.
function embeddingParts(config, grid, T) {
  const { patch, channels: C, dim: D, cls, position } = config;
  const [gh, gw] = grid;
  const N = gh * gw;
  const inputs = C * patch[0] * patch[1];
  const tokens = shapeOf({ T, D });
  const filters = "project: a filter of a patch's size for each of D numbers";
  const map = shapeOf({ D, "H/P": gh, "W/P": gw });
  const project = step("project", filters, "", "", map, inputs * D + D, N * inputs * D);
  const sequence = "flatten: the grid becomes a sequence";
  const flatten = step("flatten", sequence, "", "patch_embed", shapeOf({ N, D }));
  const parts = [partOf("patch_embed", "Patches, projected", [project, flatten])];
  if (cls) {
    const one = "one learned row, the same for every image";
    const first = step("class token", one, "", "", tokens, D);
    parts.push(partOf("cls_token", "Class token, put in front", [first]));
  }
  if (position !== "none") {
    const learned = position === "learned";
    const text = `a ${learned ? "learned" : "fixed"} row for each token`;
    const added = step("positions", text, "", "tokens", tokens, learned ? T * D : 0);
    parts.push(partOf("pos_embed", "Positions, added", [added]));
  }
  return parts;
}

// From the last block's tokens to logits.
function headParts({ dim: D, classes: K, pool, fc_norm }, T) {
  const one = shapeOf({ D });
  const each = "each token to mean 0 and deviation 1";
  const pooled = "the pooled vector to mean 0 and deviation 1";
  const norm = step("norm", each, "", "norm", shapeOf({ T, D }), 2 * D);
  const after = step("fc_norm", pooled, "", "pooled", one, 2 * D);
  const names = { cls: "the class token's row", mean: "the mean of all patch tokens" };
  const kind = pool === "cls" ? "cls" : "mean";
  const taken = partOf("pool", "Pooling", [step(`pool ${kind}`, names[kind], "", "pooled", one)]);
  const scores = step(
    "head",
    "a score for each class",
    "",
    "logits",
    shapeOf({ K }),
    D * K + K,
    D * K,
  );
  const head = partOf("head", "Head", [scores]);
  return fc_norm
    ? [taken, partOf("fc_norm", "Last norm", [after]), head]
    : [partOf("norm", "Last norm", [norm]), taken, head];
}

// The whole model from a picture to logits: its parts in order, each with its steps.
export function trace(config) {
  const grid = config.image.map((side, i) => side / config.patch[i]);
  const N = grid[0] * grid[1];
  const T = N + Number(config.cls);
  const block = [...attentionSteps(config, T), ...mlpSteps(config, T)];
  const blocks = partOf("blocks", "Encoder blocks", block, config.depth);
  return { N, T, parts: [...embeddingParts(config, grid, T), blocks, ...headParts(config, T)] };
}

const total = (steps, name) => steps.reduce((sum, one) => sum + one[name], 0);

// Parameters and MACs of the whole model.
export function totals(config) {
  const { N, T, parts } = trace(config);
  const all = (name) => parts.reduce((sum, part) => sum + part.times * total(part.steps, name), 0);
  return { patches: N, tokens: T, parameters: all("params"), macs: all("macs") };
}

// What is wrong with the sizes that the reader chose: which of them, and why in words; null if
// nothing is.
export function problem(image, patch, classes) {
  const limits = [
    ["The image size", image, LARGEST.image],
    ["The patch size", patch, image],
    ["The number of classes", classes, LARGEST.classes],
  ];
  const fits = ([, value, most]) => Number.isInteger(value) && value >= 1 && value <= most;
  const field = limits.findIndex((limit) => !fits(limit));
  if (field >= 0) {
    const [name, , most] = limits[field];
    return { field, text: `${name} must be a whole number from 1 to ${count(most)}.` };
  }
  if (image % patch) return { field: 1, text: leftOver(image, patch) };
  const grid = (image / patch) ** 2;
  if (grid <= LARGEST.grid) return null;
  const limit = `The tracer stops at ${count(LARGEST.grid)}.`;
  return { field: 1, text: `That would be ${count(grid)} patches. ${limit}` };
}

function leftOver(image, patch) {
  const sizes = Array.from({ length: image }, (_, i) => i + 1);
  const fitting = sizes.filter((n) => image % n === 0 && (image / n) ** 2 <= LARGEST.grid);
  const times = Math.floor(image / patch);
  return (
    `Patches of ${patch} pixels do not fill an image of ${image}: ${times} × ${patch} = ` +
    `${times * patch}, and ${image % patch} are left over. ` +
    `Patch sizes that fit: ${fitting.join(", ")}.`
  );
}

// A large number with its unit: [number, unit].
function inUnits(number) {
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"]]; // prettier-ignore
  const [size, unit] = units.find(([least]) => number >= least) ?? [1, ""];
  return [(number / size).toLocaleString("en-US", { maximumSignificantDigits: 3 }), unit];
}
const inMacs = (macs) => `${inUnits(macs).join(" ")}MACs`;

// --- Pieces of the diagram -----------------------------------------------------------------------

// A shape in letters and in numbers, with the axis of the batch in front.
function wire(shape, from = "") {
  const letters = shape.map(([letter]) => letter).join(", ");
  const numbers = shape.map(([, size]) => String(size)).join(", ");
  const bold = make("b", {}, `(B, ${numbers})`);
  const options = { class: "vt-shape", "data-shape": numbers };
  return make("span", options, `${from}(B, ${letters}) = `, bold);
}

function costs(params, macs) {
  const cost = (name, number, unit) =>
    make("span", { [name]: number, class: number ? "" : "vt-none" }, `${count(number)} ${unit}`);
  const both = [cost("data-params", params, "parameters"), cost("data-macs", macs, "MACs")];
  return make("span", { class: "vt-costs" }, ...both);
}

function drawPart({ model }, { key, title, steps, times, shape }) {
  const selected = () => (model.get("selected") === key ? "" : key);
  const button = makeButton("", () => change(model, { selected: selected() }));
  const name = make("span", { class: "vt-name" }, times > 1 ? `${title} × ${times}` : title);
  const cost = costs(times * total(steps, "params"), times * total(steps, "macs"));
  furnish(button, { class: "vt-box", "data-key": key }, [name, cost]);
  const inner = make("div", { class: "vt-inner", id: `vt-inner-${key}` });
  const arrow = make("span", { "aria-hidden": "true" }, "↓ ");
  return make("li", {}, button, inner, make("p", { class: "vt-wire" }, arrow, wire(shape)));
}

// The steps of an open part: names, shapes, costs, and where the package does it.
function fillPart({ code }, inner, { steps, times }) {
  const lines = steps.map((one) => {
    const { file, line, text } = code[one.code];
    const place = make("span", {}, ` ${file}, line ${line}`);
    const name = make("div", {}, make("b", {}, one.name), wire(one.shape, "→ "));
    const cost = costs(one.params, one.macs);
    return make("li", { "data-step": one.code }, name, cost, make("code", {}, text, place));
  });
  const list = make("ol", {}, ...lines);
  if (times === 1) return inner.replaceChildren(list);
  const title = heading(`Inside one of the ${times} blocks; all are built alike:`);
  return inner.replaceChildren(title, costs(total(steps, "params"), total(steps, "macs")), list);
}

// --- Choosing ------------------------------------------------------------------------------------

function reset(state, preset) {
  const { image, patch, classes } = state.presets[preset];
  const sizes = { image_size: image[0], patch_size: patch[0], num_classes: classes };
  change(state.model, { preset, ...sizes });
  showFields(state);
}

// The model takes the sizes when all of them fit; until then the diagram stays as it is.
function onType(state) {
  const values = state.parts.fields.map((field) => field.valueAsNumber);
  const wrong = problem(...values);
  say(state, wrong);
  if (wrong) return;
  change(state.model, Object.fromEntries(SIZES.map((name, n) => [name, values[n]])));
}

function say({ parts }, wrong) {
  parts.note.textContent = wrong ? `${wrong.text} The diagram shows the last sizes that fit.` : "";
  parts.fields.forEach((field, n) => field.setAttribute("aria-invalid", wrong?.field === n));
  parts.flow.classList.toggle("vt-stale", Boolean(wrong));
}

// The fields say what the model has.
function showFields(state) {
  state.parts.fields.forEach((field, n) => {
    const value = state.model.get(SIZES[n]);
    if (field.valueAsNumber !== value) field.value = value;
  });
  say(state, null);
}

// Up and down, Home and End move from part to part.
function onKey({ parts }, event) {
  const buttons = [...parts.flow.querySelectorAll(".vt-box")];
  const at = buttons.indexOf(event.target);
  if (at < 0) return;
  buttons[walk(event, at, buttons.length, 1)]?.focus();
}

// --- Showing -------------------------------------------------------------------------------------

function update(state) {
  const { model, parts } = state;
  const wanted = ["preset", ...SIZES].map((name) => model.get(name)).join();
  if (wanted !== state.drawn) {
    state.drawn = wanted;
    drawModel(state);
  }
  for (const part of state.traced.parts) {
    const chosen = part.key === model.get("selected");
    const button = parts.flow.querySelector(`[data-key="${part.key}"]`);
    const inner = button.nextSibling;
    button.setAttribute("aria-expanded", chosen);
    inner.hidden = !chosen;
    if (chosen && !inner.firstChild) fillPart(state, inner, part);
  }
}

function drawModel(state) {
  const { model, presets, parts } = state;
  const preset = model.get("preset");
  const [image, patch, classes] = SIZES.map((name) => model.get(name));
  const config = { ...presets[preset], image: [image, image], patch: [patch, patch], classes };
  state.traced = trace(config);
  const picture = wire(shapeOf({ C: config.channels, H: image, W: image }));
  const first = make("li", {}, make("p", { class: "vt-wire" }, "Picture ", picture));
  parts.flow.replaceChildren(first, ...state.traced.parts.map((part) => drawPart(state, part)));
  parts.kind.input.value = Object.keys(presets).indexOf(preset);
  showFields(state);
  showTotals(state, config);
}

function showTotals({ model, parts }, config) {
  const { patches, tokens, parameters, macs } = totals(config);
  const { image, patch, dim, depth, cls } = config;
  const side = image[0] / patch[0];
  const pairs = depth * 2 * tokens ** 2 * dim;
  const large = (value) => make("b", { "data-value": value }, count(value));
  const grows = `${percent(pairs / macs)} grow with T²`;
  const first = cls ? "N and the class token" : "no class token: T = N";
  fillCounts(parts.counts, [
    ["patches N", large(patches), `${side} × ${side}`],
    ["tokens T", large(tokens), first],
    ["parameters", large(parameters), inUnits(parameters).join(" ").trim()],
    ["MACs for one image", large(macs), `${inMacs(macs)}; ${grows}`],
  ]);
  const size = `${image[0]} pixels, patches of ${patch[0]}`;
  parts.status.textContent =
    `${model.get("preset")}, ${size}: ${count(tokens)} tokens of ${dim} numbers, ` +
    `${count(parameters)} parameters, ${inMacs(macs)}.`;
}

function build(state, el) {
  const { model, presets } = state;
  const names = Object.keys(presets);
  const kind = choice("Model", names, (i) => reset(state, names[i]));
  const labels = ["Image size, pixels", "Patch size, pixels", "Classes"];
  const options = { type: "number", min: 1, step: 1, class: "vt-field" };
  const fields = labels.map(() => make("input", { ...options, oninput: () => onType(state) }));
  const boxes = fields.map((field, n) =>
    make("label", { class: "vt-control" }, make("span", {}, labels[n]), field),
  );
  const back = makeButton("Sizes of the preset", () => reset(state, model.get("preset")));
  const note = make("p", { class: "vt-note vt-problem", role: "alert" });
  const line = statusLine();
  const counts = make("dl", { class: "vt-counts vt-totals" });
  const flow = make("ol", { class: "vt-flow", onkeydown: (event) => onKey(state, event) });
  const letters = make("p", { class: "vt-note" }, LETTERS);
  const top = [controls(kind.box, ...boxes, back), note, counts, line];
  const first = heading(
    make("b", {}, "Open a part"),
    "Its steps, shapes and costs unfold; another model changes all.",
  );
  mount(el, "Shape tracer", first, ...top, flow, letters);
  return { kind, fields, note, counts, flow, status: line };
}

function render({ model, el }) {
  const state = { model, presets: model.get("presets"), code: model.get("code"), drawn: "" };
  state.parts = build(state, el);
  const end = follow(model, ["preset", ...SIZES, "selected"], () => update(state));
  update(state);
  return end;
}

export default { render };
