// The guide in eight steps, and links to what is shown. A part of the X-ray, see xray.js.

const VIEWS = { heads: "Where it looks", lens: "How the answer forms", numbers: "Numbers" };

// How a model's tokens come to know their places, as the end of a sentence.
function whereItLies(position) {
  if (position === "none") return ". ";
  if (position === "rotary" || position === "relative") {
    return ". Where the patch lies comes in later: it changes whom the attention looks at. ";
  }
  return ", with another row added that says where the patch lies. ";
}

// Each step: what it is called, what it shows (of a model's sizes), and what to look at.
const GUIDE = [
  {
    title: "What a patch is",
    look: () => ({ view: "numbers", stage: "picture" }),
    text: ({ kind, num_patches: N, patch_size: [h, w], in_channels: C }) =>
      `The picture is cut into ${N} patches of ${h} × ${w} pixels. Point at one: the ` +
      `${C * h * w} numbers listed below are all that the model gets from there` +
      (kind === "hybrid" ? ", though its convolutions look over the edges." : "."),
  },
  {
    title: "Tokens and positions",
    look: () => ({ view: "numbers", stage: "tokens" }),
    text: ({ kind, embed_dim: D, position }) =>
      `${kind === "hybrid" ? "A few convolutions have" : "A matrix has"} made a token of each ` +
      `patch: a row of ${D} numbers` +
      whereItLies(position) +
      "Press a row of the colours and see the ring move to its patch.",
  },
  {
    title: "One head’s attention",
    look: () => ({ view: "heads", block: 0, head: 0 }),
    text: () =>
      "The ringed patch asks the others, and the picture stays bright where head 1 of block 1 looks " +
      "for an answer. Point at other patches: each looks elsewhere.",
  },
  {
    title: "Many heads",
    look: ({ num_heads: H }) => ({ view: "heads", block: 1, head: H - 1 }),
    text: ({ depth, num_heads: H }) =>
      `${depth * H} heads look at once, each in its own way: below, all of them for the same ` +
      "patch. Find one that stays near the patch and one that looks far away, and press it.",
  },
  {
    title: "The blocks",
    look: ({ depth, num_heads: H }) => ({ view: "heads", block: depth - 1, head: H }),
    text: ({ depth }) =>
      `Each of the ${depth} blocks mixes what the one before has made. Go down the last column, ` +
      "rollout: it adds up from how far the ringed patch has gathered by then.",
  },
  {
    title: "The pooled token",
    look: () => ({ view: "numbers", stage: "pooled" }),
    text: ({ pool, embed_dim: D, num_patches: N }) =>
      (pool === "mean"
        ? `The ${N} tokens are averaged: ${D} numbers are left of the picture. `
        : `Only the class token is kept: ${D} numbers are left of the picture. `) +
      "Press another picture above and see how much of the row stays.",
  },
  {
    title: "The scores",
    look: () => ({ view: "numbers", stage: "logits" }),
    text: ({ num_classes: K }) =>
      `One last matrix makes ${K} scores of them, and softmax turns scores into shares of 100 %. ` +
      "Compare the best two: one point more in the score is 2.7 times the share.",
  },
  {
    title: "Why this class",
    look: ({ depth }) => ({
      view: "lens",
      block: Math.max(0, depth - 2),
      shownClass: null,
      brush: true,
    }),
    text: () =>
      "One block before the end the classifier reads each patch alone: bright ones already speak for " +
      "the answer. The brush is on: cover bright patches and see how many the answer can lose.",
  },
];

function goTo(state, step) {
  if (step < 0 || step >= GUIDE.length) return;
  const { config } = state.about;
  choose(state, { brush: false, step, ...GUIDE[step].look(config) });
  setAddress(`#xray=${(state.last.sample ?? 0) + 1}&step=${step + 1}`);
  start(state);
}

function buildGuide(state) {
  const back = makeButton("← Back", () => goTo(state, state.step - 1));
  const next = makeButton("", () => goTo(state, (state.step ?? -1) + 1));
  furnish(next, { class: "vt-first" });
  const words = furnish(statusLine(), { class: "vt-guide-words" });
  const onkeydown = (event) => {
    const far = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!far) return;
    event.preventDefault();
    goTo(state, (state.step ?? -1) + far);
  };
  const label = "Guide in eight steps. Arrow keys go to the next step and back.";
  const buttons = make("div", { class: "vt-buttons" }, back, next);
  const looks = { class: "vt-guide", role: "group", "aria-label": label, onkeydown };
  return { box: make("div", looks, words, buttons), back, next, words };
}

function showGuide(state) {
  const { box, back, next, words } = state.parts.guide;
  const { step, about } = state;
  box.hidden = isCnn(state); // its steps are those of a ViT
  back.hidden = step === null;
  allow(back, step !== 0);
  allow(next, step !== GUIDE.length - 1);
  next.textContent = step === null ? "Start the guide" : "Next →";
  const name = step === null ? null : `${step + 1} of ${GUIDE.length} · ${GUIDE[step].title}. `;
  const text = step === null ? INVITE : GUIDE[step].text(about.config);
  if (state.told !== step) words.replaceChildren(...(name ? [make("b", {}, name)] : []), text);
  state.told = step;
}

// --- Links ---------------------------------------------------------------------------------------

// A page of the book or a saved one has addresses of its own; a notebook has not.
const hasAddress = () => Boolean(globalThis.VitWidgets);

function setAddress(hash) {
  if (hasAddress()) history.replaceState(history.state, "", hash);
}

// What is shown, as the part of an address after #; blocks and heads count from 1, as in the page.
function hashOf(state) {
  const { about, view, stage, block, head, token, last, edit: changes } = state;
  const shown = new URLSearchParams({ xray: (last.sample ?? 0) + 1, view, block: block + 1 });
  shown.set("head", isRollout(state, head) ? "rollout" : head + 1);
  shown.set("token", token);
  if (view === "numbers") shown.set("stage", stage);
  if (view === "numbers" && state.index) shown.set("number", state.index + 1);
  if (state.shownClass !== null) shown.set("class", about.classes[state.shownClass]);
  if (state.heat) shown.set("temperature", temperatureOf(state.heat).toFixed(2));
  if (state.second) shown.set("beside", state.second.name);
  for (const [name, value] of Object.entries(changes)) {
    if (name === "cover" ? value.length : value) shown.set(name, [value].flat().join("."));
  }
  return `#${shown}`;
}

const wholeFrom = (text, least, most) => {
  const number = /^-?\d+$/.test(text ?? "") ? Number(text) : NaN;
  return number >= least && number <= most ? number : undefined;
};

// The edit in a link: what does not fit is left out.
function editFrom(asked, { image_size: size, num_patches: N }) {
  const limits = {
    turn: [0, size[0] === size[1] ? 3 : 0],
    right: [-(size[1] >> 1), size[1] >> 1],
    down: [-(size[0] >> 1), size[0] >> 1],
    shuffle: [0, ORDERS],
    noise: [0, STRONGEST],
  };
  const found = { ...PLAIN };
  for (const [name, limit] of Object.entries(limits)) {
    found[name] = wholeFrom(asked.get(name), ...limit) ?? 0;
  }
  const patches = (asked.get("cover") ?? "").split(".").map((text) => wholeFrom(text, 0, N - 1));
  return { ...found, cover: [...new Set(patches)].filter((patch) => patch !== undefined) };
}

// The step of the temperature's slider that a link names; 0 for none.
function heatFrom(text) {
  const heat = Math.round(4 * Math.log2(Number(text)));
  return Math.abs(heat) <= HOTTEST ? heat : 0;
}

// What a link asks for: { sample, look, edit, beside }, or null if it is no link to an X-ray.
function readHash(state, hash) {
  if (!hash.startsWith("#xray=")) return null;
  const asked = new URLSearchParams(hash.slice(1));
  const { config, classes } = state.about;
  const step = isCnn(state) ? undefined : wholeFrom(asked.get("step"), 1, GUIDE.length);
  const rolls = asked.get("head") === "rollout";
  const wanted = {
    view: Object.hasOwn(VIEWS, asked.get("view")) ? asked.get("view") : undefined,
    block: wholeFrom(asked.get("block"), 1, blocksIn(config)) - 1,
    head: rolls ? config.num_heads : wholeFrom(asked.get("head"), 1, config.num_heads) - 1,
    token: wholeFrom(asked.get("token"), 0, config.num_tokens - 1),
    index: wholeFrom(asked.get("number"), 1, 1e6) - 1,
    stage: state.titles.find(([name]) => name === asked.get("stage"))?.[0],
    shownClass: asked.has("class") ? classes.indexOf(asked.get("class")) : undefined,
  };
  const isGiven = ([name, value]) =>
    value !== undefined && !Number.isNaN(value) && !(name === "shownClass" && value === -1);
  const given = Object.entries(wanted).filter(isGiven);
  const look = step ? { ...GUIDE[step - 1].look(config), step: step - 1 } : {};
  const sample = (wholeFrom(asked.get("xray"), 1, state.samples.length) ?? 1) - 1;
  Object.assign(look, Object.fromEntries(given), { heat: heatFrom(asked.get("temperature")) });
  const { name: beside = null } =
    state.model.get("models").find(({ name }) => name === asked.get("beside")) ?? {};
  return { sample, look, edit: editFrom(asked, config), beside };
}

// Opens what the address asks for, if it does.
function followLink(state) {
  if (!hasAddress()) return;
  const wanted = readHash(state, location.hash);
  if (!wanted) return;
  choose(state, wanted.look);
  takeSample(state, state.samples[wanted.sample]);
  queue(state, "the link", () => {
    if (!isPlain(wanted.edit)) edit(state, wanted.edit);
    chooseSecond(state, wanted.beside); // last, so that its answer is to the changed picture
  });
  state.parts.frame.scrollIntoView();
}

async function copyLink(state) {
  setAddress(hashOf(state));
  const own = state.last.sample === null ? " Your own picture is not in it." : "";
  const kept = state.kept ? " The kept answer is not in it." : "";
  const where = "The link to what you see stands in the address bar";
  try {
    await navigator.clipboard.writeText(location.href);
    say(state, `${where}, and is copied.${own}${kept}`);
  } catch {
    say(state, `${where}.${own}${kept}`);
  }
}
