// From the map of the model down to one number and its arithmetic. A part of the X-ray, see xray.js.

const LISTED = 5; // products, the largest first

// --- In motion -----------------------------------------------------------------------------------

// Lets a part of the page grow out of the place of another; at once for readers who want no motion.
function zoomInto(target, from) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const [small, large] = [from, target].map((one) => one.getBoundingClientRect());
  const move = `translate(${small.left - large.left}px, ${small.top - large.top}px)`;
  const shrink = `scale(${small.width / large.width}, ${small.height / large.height})`;
  const origin = { transformOrigin: "0 0" };
  const start = { ...origin, transform: `${move} ${shrink}`, opacity: 0.3 };
  target.animate([start, { ...origin, transform: "none" }], { duration: 400, easing: "ease-out" });
}

// --- What a number is made of --------------------------------------------------------------------

function rowAt({ run }, name, at) {
  const { shape, data } = run.out[name];
  const width = shape.at(-1);
  return data.subarray(at * width, (at + 1) * width);
}

const partOf = (stage) => stage.replace(/^blocks\.\d+\.?/, "");
const blockOf = (stage) => Number(/\d+/.exec(stage)[0]);
const beforeBlock = (block) => (block ? `blocks.${block - 1}` : "tokens");

// The values of all heads for one token, mixed by attention, heads side by side: (D,).
function mixedValues({ run, about: { config } }, block, token) {
  const { num_heads: H, num_tokens: T, head_dim: h } = config;
  const weights = run.out[`blocks.${block}.attn.weights`].data;
  const values = run.out[`blocks.${block}.attn.v`].data;
  const mixed = new Float32Array(H * h);
  for (let i = 0; i < H * h; i++) {
    const head = Math.floor(i / h);
    let sum = 0;
    for (let s = 0; s < T; s++) {
      sum += weights[(head * T + token) * T + s] * values[(head * T + s) * h + (i % h)];
    }
    mixed[i] = sum;
  }
  return mixed;
}

// The mean of the patches' tokens: (D,).
function averaged(state) {
  const { num_patches: N, embed_dim: D } = state.about.config;
  const row = (i) => rowAt(state, "norm", i + prefix(state));
  return Float32Array.from({ length: D }, (_, d) => {
    let sum = 0;
    for (let i = 0; i < N; i++) sum += row(i)[d];
    return sum / N;
  });
}

// What the engine needs to know to explain a number: the numbers that it is made of.
const INPUTS = {
  patch_embed: (state, token) =>
    Float32Array.from(patchNumbers(state, place(state, token) ?? [0, 0])),
  norm: (state, token) => rowAt(state, beforeBlock(state.about.config.depth), token),
  logits: ({ run }) => run.out.pooled.data,
  pooled: averaged,
  mlp: (state, token, block) => {
    const added = rowAt(state, `blocks.${block}.attn`, token);
    return rowAt(state, beforeBlock(block), token).map((x, i) => x + added[i]);
  },
  attn: (state, token, block) => mixedValues(state, block, token),
  "attn.q": (state, token, block) => rowAt(state, beforeBlock(block), token),
  "attn.k": (state, token, block) => rowAt(state, beforeBlock(block), token),
  "attn.v": (state, token, block) => rowAt(state, beforeBlock(block), token),
};

const LEADS = {
  pooled: "The mean of the tokens’ numbers, as so many standard deviations, times a weight:",
  patch_embed: "Each pixel of the patch times a learned weight, all added:",
  norm: "The token’s number, as so many standard deviations from the token’s mean, times a weight:",
  logits: "Each number of the picture’s vector times a weight of this class, all added:",
  mlp: "Each hidden number of the MLP, after GELU, times a weight, all added:",
  attn: "Each number of the values that the heads have mixed, times a weight, all added:",
  "attn.q": "Each number of the normalised token times a weight, all added:",
  "attn.k": "Each number of the normalised token times a weight, all added:",
  "attn.v": "Each number of the normalised token times a weight, all added:",
};
const HEADS = ["number", "× weight"];
const BY_CONVOLUTIONS =
  "Convolutions have made this number of thousands of products, layer on layer: too many to list.";

// The sums that the page makes itself, of numbers it has: { lead, parts } or { lead, factors, weights }.
const OWN = {
  picture: ({ run, about: { mean, std, config } }, token, index, where) => {
    if (!where) return { lead: "" };
    const [height, width] = config.image_size;
    const [ph, pw] = config.patch_size;
    const c = Math.floor(index / (ph * pw));
    const row = where[0] * ph + Math.floor((index % (ph * pw)) / pw);
    const byte = run.bytes[(c * height + row) * width + where[1] * pw + (index % pw)];
    return { lead: `The ${CHANNELS[c]} of a pixel: (${byte} ÷ 255 − ${mean[c]}) ÷ ${std[c]}` };
  },
  tokens: (state, token, index, where) => {
    if (!where) return { lead: "Learned: the class token and its position." };
    const vector = rowAt(state, "patch_embed", patchOf(state, token))[index];
    const position = rowAt(state, "tokens", token)[index] - vector;
    return { lead: "Two numbers added:", parts: { "patch vector": vector, position } };
  },
  "": (state, token, index, _, block) => {
    const number = (name) => rowAt(state, name, token)[index];
    const parts = {
      "token before the block": number(beforeBlock(block)),
      "what attention adds": number(`blocks.${block}.attn`),
      "what the MLP adds": number(`blocks.${block}.mlp`),
    };
    return { lead: "Three numbers added:", parts };
  },
  "attn.weights": (state, token, index, _, block) => {
    const { num_tokens: T, head_dim: h, position } = state.about.config;
    const at = headOf(state) * T;
    const factors = rowAt(state, `blocks.${block}.attn.q`, at + token);
    const weights = rowAt(state, `blocks.${block}.attn.k`, at + index);
    const score = factors.reduce((sum, x, i) => sum + x * weights[i], 0);
    const bias = position.endsWith("relative")
      ? "A learned number for the offset of the two patches is added. "
      : "";
    const after =
      `Divided by √${h}: ${short(score / Math.sqrt(h))}. ${bias}Softmax over the ${T} scores of this row ` +
      `makes a share of it.`;
    return {
      lead: "The query’s numbers times the key’s, all added:",
      heads: ["query", "× key"],
      factors,
      weights,
      score,
      after,
    };
  },
  pooled: (state, token, index) => {
    const { pool, num_patches: N } = state.about.config;
    if (pool === "cls") return { lead: "The class token’s number, as it is." };
    const number = (_, i) => rowAt(state, "norm", i + prefix(state))[index];
    const factors = Float32Array.from({ length: N }, number);
    const lead = `The ${N} patches’ numbers, averaged:`;
    return { lead, factors, weights: factors.map(() => 1 / N) };
  },
};

// What a number of a stage is made of; what needs weights comes from the engine.
async function sumOf(state, token, index) {
  const { stage, engine, about } = state;
  const { kind, fc_norm: last } = about.config;
  const part = partOf(stage);
  const block = part === stage ? null : blockOf(stage);
  if (part === { hybrid: "patch_embed", resnet: "pooled" }[kind]) return { lead: BY_CONVOLUTIONS };
  if (last && part === "norm") return { lead: "As it was: this model normalises after averaging." };
  const where = place(state, token);
  if (OWN[part] && !(last && part === "pooled"))
    return OWN[part](state, token, index, where, block);
  const input = INPUTS[part](state, token, block);
  const question = { stage, head: headOf(state), index, input };
  return { lead: LEADS[part], ...(await engine.explain(question)) };
}

// --- Showing -------------------------------------------------------------------------------------

const numberCells = (...numbers) => numbers.map((number) => make("td", {}, short(number)));

// The largest products, the others together, the bias, and what they add up to.
function productRows({ factors, weights, bias, score }, value) {
  const products = Array.from(factors, (x, i) => x * weights[i]);
  const [most, rest] = [0, LISTED].map((from) =>
    order(products.map(Math.abs), products.length).slice(from, from ? undefined : LISTED),
  );
  const row = (i) =>
    tableRow({}, `number ${i + 1}`, ...numberCells(factors[i], weights[i], products[i]));
  const total = (title, number) =>
    tableRow({}, title, make("td"), make("td"), ...numberCells(number));
  return [
    ...most.map(row),
    ...(rest.length
      ? [
          total(
            `the other ${rest.length}`,
            rest.reduce((sum, i) => sum + products[i], 0),
          ),
        ]
      : []),
    ...(bias === undefined ? [] : [total("bias", bias)]),
    furnish(total("sum", score ?? value), { class: "vt-sum" }),
  ];
}

function sumTable(sum, value) {
  const table = make("table", { class: "vt-table" });
  if (sum.factors)
    return fillTable(table, ["", ...(sum.heads ?? HEADS), "= product"], productRows(sum, value));
  const rows = Object.entries(sum.parts).map(([title, number]) =>
    tableRow({}, title, ...numberCells(number)),
  );
  rows.push(tableRow({ class: "vt-sum" }, "sum", ...numberCells(value)));
  return fillTable(table, ["", "number"], rows);
}

// The arithmetic of one number, below the others; an answer that comes too late is dropped.
async function showSum(state, index, value) {
  const { sum: box } = state.parts.figures;
  const wanted = (state.wanted = {});
  let sum;
  try {
    sum = state.run.out ? await sumOf(state, asking(state), index) : { lead: LOADING };
  } catch ({ message }) {
    sum = { lead: message };
  }
  if (state.wanted !== wanted) return;
  const table = sum.factors || sum.parts ? [sumTable(sum, value)] : [];
  const notes = [sum.lead, sum.after].map((text) => make("p", { class: "vt-note" }, text ?? ""));
  box.replaceChildren(notes[0], ...table, notes[1]);
}
