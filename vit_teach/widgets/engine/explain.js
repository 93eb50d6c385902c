/* Where one number of a run comes from: the part of the engine after readings.js.

   Nearly every number of a model is a sum of products: numbers of the run times a row of a matrix.
   The page has the first, this part the second:

     explain(model, { stage: "blocks.0.mlp", index: 5, input }) // { factors, weights, bias } */

/* Row `index` of a linear layer, beside the numbers that it is multiplied with. */
function productsOf(model, name, index, factors) {
  const { data, shape } = model.tensors.get(`${name}.weight`);
  const inner = data.length / shape[0];
  const weights = data.slice(index * inner, (index + 1) * inner);
  return { factors, weights, bias: model.tensors.get(`${name}.bias`).data[index] };
}

/* One number of a row after LayerNorm: its distance from the row's mean, in standard deviations,
   times a weight. */
function scaledOne(model, name, index, row) {
  const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
  const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length;
  const factor = (row[index] - mean) / Math.sqrt(variance + LAYER_NORM_EPS);
  const number = (part) => model.tensors.get(`${name}.${part}`).data[index];
  return { factors: [factor], weights: [number("weight")], bias: number("bias") };
}

/* The products and the bias that make number `index` of a stage (of a head, for q, k and v). `input`
   is what the stage is made of: the token before it; for "attn" the mixed values, for "patch_embed"
   the patch's pixels, for "logits" the vector of the picture. */
export function explain(model, { stage, head = 0, index, input }) {
  const { kind, embed_dim: D, head_dim: h, position } = model.config;
  const [, block, part] = /^(blocks\.\d+)\.(.+)$/.exec(stage) ?? [];
  if (stage === "logits") {
    return productsOf(model, kind === "resnet" ? "fc" : "head", index, input);
  }
  if (stage === "patch_embed") return productsOf(model, "patch_embed.proj", index, input);
  if (stage === "norm") return scaledOne(model, "norm", index, input);
  if (stage === "pooled") return scaledOne(model, "fc_norm", index, input);
  if (part === "attn") return productsOf(model, `${block}.attn.proj`, index, input);
  if (part === "mlp") {
    const normal = layerNorm(model, `${block}.norm2`, input, 1);
    const hidden = gelu(finish(linear(model, `${block}.mlp.fc1`, normal, 1)));
    return productsOf(model, `${block}.mlp.fc2`, index, hidden);
  }
  const letter = ["attn.q", "attn.k", "attn.v"].indexOf(part);
  if (letter < 0) fail(`stage=${show(stage)} has no products of its own`);
  if (letter < 2 && position.endsWith("rotary")) {
    fail("A sum of products, turned afterwards by an angle that its patch's place gives.");
  }
  const normal = layerNorm(model, `${block}.norm1`, input, 1);
  return productsOf(model, `${block}.attn.qkv`, letter * D + head * h + index, normal);
}
