// What there is to see of a run, in words. A part of the X-ray, see xray.js.

const IN_BLOCK = [
  [".attn.q", "Queries"],
  [".attn.k", "Keys"],
  [".attn.v", "Values"],
  [".attn.weights", "Attention: who looks where"],
  [".attn", "What attention adds"],
  [".mlp", "What the MLP adds"],
  ["", "Tokens after the block"],
];

// The stages of a run in order: [name of the tensor, what to call it, its group].
function stageList(config) {
  const blocks = Array.from({ length: blocksIn(config) }, (_, i) =>
    IN_BLOCK.map(([part, title]) => {
      const group = `Block ${i + 1}`;
      return [`blocks.${i}${part}`, `${group} · ${title}`, group];
    }),
  );
  const how = config.kind === "hybrid" ? "what the convolutions give" : "each patch projected";
  const ofTokens = [
    ["patch_embed", `Patch vectors: ${how}`, "Input"],
    ["tokens", "Tokens: with class token and positions", "Input"],
    ...blocks.flat(),
    ["norm", "Tokens, normalised", "Output"],
  ];
  return [
    ["picture", "The picture, as the model reads it", "Input"],
    ...(blocks.length ? ofTokens : []),
    ["pooled", "The vector of the picture", "Output"],
    ["logits", "Scores of the classes", "Output"],
  ];
}
