// ShapeTracer: the model as a diagram, with the shape, the parameters and the work of each part.

const LARGEST = { image: 4096, grid: 65536, classes: 1000000 };

// One step: its line of code, the part of the breakdown that counts it, its name among the model's
// intermediates ("" if it has none), the shape of its result for one image, and what it costs.
const step = (code, name, part, seen, shape, params = 0, macs = 0) => ({ code, name, part, seen, shape, params, macs });

// The steps inside an encoder block of width D.
function blockSteps({ dim: D, heads: H, mlp: M }, T) {
  const tokens = [["T", T], ["D", D]], head = [["H", H], ["T", T], ["h", D / H]], pairs = [["H", H], ["T", T], ["T", T]];
  const hidden = [["T", T], ["M", M]];
  return [
    step("norm1", "norm1: each token to mean 0 and deviation 1", "norm1", "", tokens, 2 * D),
    step("qkv", "qkv: query, key and value of each token", "attn.qkv", "", [["T", T], ["3D", 3 * D]], 3 * D * D + 3 * D, 3 * T * D * D),
    step("heads", "q, k, v: three such tensors, a slice for each head", "attn.qkv", "attn.q", head),
    step("scores", "scores: each query times each key", "attn.weights", "attn.weights", pairs, 0, T * T * D),
    step("softmax", "softmax: each row sums to 1", "attn.weights", "attn.weights", pairs),
    step("weighted sum", "weighted sum of the values", "attn.weights", "attn.v", head, 0, T * T * D),
    step("join", "the heads side by side again", "attn.proj", "attn", tokens),
    step("proj", "proj: mixes the heads", "attn.proj", "attn", tokens, D * D + D, T * D * D),
    step("add attention", "add: to what came into the block", "attn.proj", "", tokens),
    step("norm2", "norm2: as norm1, with weights of its own", "norm2", "", tokens, 2 * D),
    step("fc1", "fc1: widens each token", "mlp.fc1", "", hidden, D * M + M, T * D * M),
    step("gelu", "gelu: the curve, number by number", "mlp.fc1", "", hidden),
    step("fc2", "fc2: narrows it again", "mlp.fc2", "mlp", tokens, M * D + D, T * M * D),
    step("add mlp", "add: to what came out of attention", "mlp.fc2", "block", tokens),
  ];
}

// The whole model from a picture to logits: its parts in order, each with its steps.
export function trace(config) {
  const { image: [height, width], patch: [ph, pw], channels: C, classes: K, dim: D, depth, mlp: M } = config;
  const gh = height / ph, gw = width / pw, N = gh * gw, T = N + Number(config.cls), inputs = C * ph * pw;
  const tokens = [["T", T], ["D", D]], norm = 2 * D;
  const part = (key, title, steps, times = 1) => ({ key, title, steps, times, shape: steps.at(-1).shape });
  const parts = [part("patch_embed", "Patches, projected", [
    step("project", "project: a filter of a patch's size for each of D numbers", "", "", [["D", D], ["H/P", gh], ["W/P", gw]], inputs * D + D, N * inputs * D),
    step("flatten", "flatten: the grid becomes a sequence", "", "patch_embed", [["N", N], ["D", D]]),
  ])];
  if (config.cls) parts.push(part("cls_token", "Class token, put in front", [step("class token", "one learned row, the same for every image", "", "", tokens, D)]));
  if (config.position !== "none") {
    const learned = config.position === "learned";
    parts.push(part("pos_embed", "Positions, added", [step("positions", `a ${learned ? "learned" : "fixed"} row for each token`, "", "tokens", tokens, learned ? T * D : 0)]));
  }
  parts.push(part("blocks", "Encoder blocks", blockSteps(config, T), depth));
  const last = part("norm", "Last norm", [step("norm", "each token to mean 0 and deviation 1", "", "norm", tokens, norm)]);
  const how = config.pool === "cls" ? ["pool cls", "the class token's row"] : ["pool mean", "the mean of all patch tokens"];
  const pool = part("pool", "Pooling", [step(...how, "", "pooled", [["D", D]])]);
  const after = part("fc_norm", "Last norm", [step("fc_norm", "the pooled vector to mean 0 and deviation 1", "", "pooled", [["D", D]], norm)]);
  parts.push(...(config.fc_norm ? [pool, after] : [last, pool]));
  parts.push(part("head", "Head", [step("head", "a score for each class", "", "logits", [["K", K]], D * K + K, D * K)]));
  return { N, T, parts };
}

const total = (steps, name) => steps.reduce((sum, one) => sum + one[name], 0);

// Parameters and MACs of the whole model.
export function totals(config) {
  const { N, T, parts } = trace(config), all = (name) => parts.reduce((sum, part) => sum + part.times * total(part.steps, name), 0);
  return { patches: N, tokens: T, parameters: all("params"), macs: all("macs") };
}

// What is wrong with the sizes that the reader chose: which of them, and why in words; null if nothing is.
export function problem(image, patch, classes) {
  const limits = [["The image size", image, LARGEST.image], ["The patch size", patch, image], ["The number of classes", classes, LARGEST.classes]];
  const field = limits.findIndex(([, value, most]) => !(Number.isInteger(value) && value >= 1 && value <= most));
  if (field >= 0) return { field, text: `${limits[field][0]} must be a whole number from 1 to ${count(limits[field][2])}.` };
  const grid = (image / patch) ** 2, times = Math.floor(image / patch);
  if (image % patch) {
    const fitting = Array.from({ length: image }, (_, i) => i + 1).filter((size) => image % size === 0 && (image / size) ** 2 <= LARGEST.grid);
    return { field: 1, text: `Patches of ${patch} pixels do not fill an image of ${image}: ${times} × ${patch} = ${times * patch}, ` +
      `and ${image % patch} are left over. Patch sizes that fit: ${fitting.join(", ")}.` };
  }
  return grid > LARGEST.grid ? { field: 1, text: `That would be ${count(grid)} patches. The tracer stops at ${count(LARGEST.grid)}.` } : null;
}

const inWords = (macs) => {
  const [size, unit] = macs >= 1e12 ? [1e12, "T"] : macs >= 1e9 ? [1e9, "G"] : macs >= 1e6 ? [1e6, "M"] : [1, ""];
  return `${(macs / size).toLocaleString("en-US", { maximumSignificantDigits: 3 })} ${unit}MACs`;
};

// A shape in letters and in numbers, with the axis of the batch in front.
function wire(shape, from = "") {
  const letters = shape.map(([letter]) => letter).join(", "), numbers = shape.map(([, size]) => String(size)).join(", ");
  return make("span", { class: "vt-shape", "data-shape": numbers }, `${from}(B, ${letters}) = `, make("b", {}, `(B, ${numbers})`));
}
const costs = (params, macs) => make("span", { class: "vt-costs" },
  make("span", { "data-params": params, class: params ? "" : "vt-none" }, `${count(params)} parameters`),
  make("span", { "data-macs": macs, class: macs ? "" : "vt-none" }, `${count(macs)} MACs`));

function render({ model, el }) {
  const presets = model.get("presets"), names = Object.keys(presets), code = model.get("code");
  const SIZES = ["image_size", "patch_size", "num_classes"];

  const kind = choice("Model", names, (i) => reset(names[i]));
  const labels = ["Image size, pixels", "Patch size, pixels", "Classes"];
  const fields = SIZES.map(() => make("input", { type: "number", min: 1, step: 1, class: "vt-field", oninput: typed }));
  const boxes = fields.map((field, n) => make("label", { class: "vt-control" }, make("span", {}, labels[n]), field));
  const back = make("button", { type: "button", onclick: () => reset(model.get("preset")) }, "Sizes of the preset");
  const note = make("p", { class: "vt-note vt-problem", role: "alert" });
  const status = make("p", { class: "vt-status", "aria-live": "polite" });
  const counts = make("dl", { class: "vt-counts vt-totals" });
  const flow = make("ol", { class: "vt-flow", onkeydown: onKey });
  mount(el, "Shape tracer", make("div", { class: "vt-controls" }, kind.box, ...boxes, back), note, counts, status, flow,
    make("p", { class: "vt-note" }, "B images at a time, C colours, H × W pixels, P a patch's side, N patches, T tokens, D their width, M the MLP's width, K classes. Inside attention H is the number of heads and h = D / H."));

  const config = () => {
    const image = model.get("image_size"), patch = model.get("patch_size");
    return { ...presets[model.get("preset")], image: [image, image], patch: [patch, patch], classes: model.get("num_classes") };
  };
  function reset(preset) {
    const { image, patch, classes } = presets[preset];
    change(model, { preset, image_size: image[0], patch_size: patch[0], num_classes: classes });
    show();
  }
  // The model takes the sizes when all of them fit; until then the diagram stays as it is.
  function typed() {
    const values = fields.map((field) => field.valueAsNumber), wrong = problem(...values);
    say(wrong);
    if (!wrong) change(model, Object.fromEntries(SIZES.map((name, n) => [name, values[n]])));
  }
  function say(wrong) {
    note.textContent = wrong ? `${wrong.text} The diagram shows the last sizes that fit.` : "";
    fields.forEach((field, n) => field.setAttribute("aria-invalid", wrong?.field === n));
    flow.classList.toggle("vt-stale", Boolean(wrong));
  }
  // The fields say what the model has.
  function show() {
    fields.forEach((field, n) => { if (field.valueAsNumber !== model.get(SIZES[n])) field.value = model.get(SIZES[n]); });
    say(null);
  }

  const toggle = (key) => change(model, { selected: model.get("selected") === key ? "" : key });
  function onKey(event) {
    const buttons = [...flow.querySelectorAll(".vt-box")], at = buttons.indexOf(event.target);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    buttons[clamp(next, 0, buttons.length - 1)].focus();
  }

  function drawPart({ key, title, steps, times, shape }) {
    const params = total(steps, "params"), macs = total(steps, "macs");
    const name = times > 1 ? `${title} × ${times}` : title;
    const inner = make("div", { class: "vt-inner", id: `vt-inner-${key}` });
    const button = make("button", { type: "button", class: "vt-box", "data-key": key, onclick: () => toggle(key) },
      make("span", { class: "vt-name" }, name), costs(times * params, times * macs));
    return make("li", {}, button, inner, make("p", { class: "vt-wire" }, make("span", { "aria-hidden": "true" }, "↓ "), wire(shape)));
  }

  // The steps of an open part: names, shapes, costs, and where the package does it.
  function open(inner, { steps, times }) {
    const lines = steps.map((one) => {
      const { file, line, text } = code[one.code];
      return make("li", { "data-step": one.code },
        make("div", {}, make("b", {}, one.name), wire(one.shape, "→ ")), costs(one.params, one.macs),
        make("code", {}, text, make("span", {}, ` ${file}, line ${line}`)));
    });
    const head = times > 1 ? [make("p", { class: "vt-title" }, `Inside one of the ${times} blocks; all are built alike:`), costs(total(steps, "params"), total(steps, "macs"))] : [];
    inner.replaceChildren(...head, make("ol", {}, ...lines));
  }

  let drawn = "", traced = null; // what the diagram shows
  function update() {
    const wanted = [model.get("preset"), ...SIZES.map((name) => model.get(name))].join(), setting = config();
    if (wanted !== drawn) {
      drawn = wanted;
      traced = trace(setting);
      const { image: [height, width], channels } = setting;
      const first = make("li", {}, make("p", { class: "vt-wire" }, "Picture ", wire([["C", channels], ["H", height], ["W", width]])));
      flow.replaceChildren(first, ...traced.parts.map(drawPart));
      kind.input.value = names.indexOf(model.get("preset"));
      show();
      drawTotals(setting);
    }
    for (const part of traced.parts) {
      const chosen = part.key === model.get("selected"), button = flow.querySelector(`[data-key="${part.key}"]`), inner = button.nextSibling;
      button.setAttribute("aria-expanded", chosen);
      inner.hidden = !chosen;
      if (chosen && !inner.firstChild) open(inner, part);
    }
  }

  function drawTotals(setting) {
    const { patches, tokens, parameters, macs } = totals(setting), side = setting.image[0] / setting.patch[0];
    const pairs = setting.depth * 2 * tokens ** 2 * setting.dim;
    const rows = [
      ["patches N", patches, `${side} × ${side}`],
      ["tokens T", tokens, setting.cls ? "N and the class token" : "no class token: T = N"],
      ["parameters", parameters, `${inWords(parameters).replace(/ ?MACs/, "")}`],
      ["MACs for one image", macs, `${inWords(macs)}; ${((100 * pairs) / macs).toFixed(1)} % grow with T²`],
    ];
    counts.replaceChildren(...rows.map(([name, value, why]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, make("b", { "data-value": value }, count(value)), make("span", {}, why)))));
    status.textContent = `${model.get("preset")}, ${setting.image[0]} pixels, patches of ${setting.patch[0]}: ${count(tokens)} tokens of ${setting.dim} numbers, ` +
      `${count(parameters)} parameters, ${inWords(macs)}. Open a part to see its steps.`;
  }

  const end = follow(model, ["preset", ...SIZES, "selected"], update);
  update();
  return end;
}

export default { render };
