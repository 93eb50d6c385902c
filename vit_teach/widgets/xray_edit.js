// Change the picture and see what becomes of the answer. A part of the X-ray, see xray.js.
//
// An edit (engine/edit.js) says what is done to the picture as it came; so each change can be taken
// back, and a link can carry it. `state.before` is the run without any.

const PLAIN = { turn: 0, right: 0, down: 0, shuffle: 0, cover: [], noise: 0 };
const STRONGEST = 100; // noise, in steps of 255
const ORDERS = 999; // how many orders of patches there are to draw
const isPlain = ({ cover, ...numbers }) => !cover.length && Object.values(numbers).every((n) => !n);

// The edit becomes another one. Many steps of one slider are one step to take back.
function edit(state, changes, slides = false) {
  const name = slides ? Object.keys(changes)[0] : null;
  if (!name || state.slid !== name) state.undo.push(state.edit);
  state.slid = name;
  setEdit(state, { ...state.edit, ...changes });
}

function setEdit(state, wanted) {
  state.edit = wanted;
  start(state);
  showEdit(state);
  if (state.due) return; // one run is waiting already: it takes the newest edit
  state.due = true;
  queue(state, "the changed picture", () => {
    state.due = false;
    return runEdited(state);
  });
}

async function runEdited(state) {
  await ready(state);
  const { engine, about, before, second, tools } = state;
  const began = performance.now();
  if (isPlain(state.edit)) {
    state.run = before;
    if (second) second.run = second.before;
  } else {
    const bytes = tools.edited(before.bytes, about, state.edit);
    const pixels = tools.normalise(bytes, about);
    const [run, beside] = await Promise.all([engine.run({ pixels }), askSecond(state, bytes)]);
    const { width, height } = before;
    state.run = { ...run, bytes, width, height };
    if (beside) second.run = beside;
  }
  update(state);
  const took = Math.round(performance.now() - began);
  const what = isPlain(state.edit) ? "is as it came" : `is changed, answered in ${took} ms`;
  say(state, `${state.last.name} ${what}.`);
}

function undo(state) {
  state.slid = null;
  if (state.undo.length) setEdit(state, state.undo.pop());
}

// Another picture: what was done to the one before is forgotten.
function forgetEdits(state) {
  Object.assign(state, { edit: PLAIN, undo: [], slid: null });
  showEdit(state);
}

// --- The brush -----------------------------------------------------------------------------------

const isCovered = ({ edit: { cover } }, patch) => cover.includes(patch);

function coverPatch(state, patch, on = !isCovered(state, patch)) {
  if (patch < 0 || on === isCovered(state, patch)) return;
  const rest = state.edit.cover.filter((other) => other !== patch);
  edit(state, { cover: on ? [...rest, patch].sort((a, b) => a - b) : rest });
}

// --- Building ------------------------------------------------------------------------------------

function buildEdit(state) {
  const brush = makeButton("Cover patches", () => choose(state, { brush: !state.brush }));
  const turn = makeButton("Turn", () => edit(state, { turn: (state.edit.turn + 1) % 4 }));
  const shuffle = makeButton("Shuffle patches", () =>
    edit(state, { shuffle: (state.edit.shuffle % ORDERS) + 1 }),
  );
  const back = makeButton("Undo", () => undo(state));
  const reset = makeButton("As it came", () => isPlain(state.edit) || edit(state, PLAIN));
  const far = { min: -16, max: 16, step: 1 };
  const pixels = (n) => `${n} px`;
  const slide = (name) => (value) => edit(state, { [name]: value }, true);
  const right = slider("Shift right", far, pixels, slide("right"));
  const down = slider("Shift down", far, pixels, slide("down"));
  const strength = { min: 0, max: STRONGEST, step: 2 };
  const noise = slider("Noise", strength, (n) => `${n} of 255`, slide("noise"));
  const group = { class: "vt-buttons", role: "group", "aria-label": "Change the picture" };
  const hint = make("p", { class: "vt-note" });
  const box = make(
    "div",
    { class: "vt-edit" },
    heading("Change it and see"),
    make("div", group, brush, turn, shuffle, back, reset),
    hint,
    controls(right.box, down.box, noise.box),
  );
  return { box, brush, turn, back, reset, right, down, noise, hint };
}

function showEdit(state) {
  const { brush, turn, back, reset, right, down, noise, hint } = state.parts.edits;
  const { image_size: size } = state.about.config;
  const { edit: now } = state;
  brush.setAttribute("aria-pressed", String(state.brush));
  turn.hidden = size[0] !== size[1];
  allow(back, state.undo.length > 0);
  allow(reset, !isPlain(now));
  furnish(right.input, { min: -(size[1] >> 1), max: size[1] >> 1 });
  furnish(down.input, { min: -(size[0] >> 1), max: size[0] >> 1 });
  right.set(now.right);
  down.set(now.down);
  noise.set(now.noise);
  const { length } = now.cover;
  const covered = length ? `${length} ${length === 1 ? "patch is" : "patches are"} covered. ` : "";
  const how = "Press patches in the picture, or Enter on the chosen one, to cover or uncover them.";
  hint.textContent = covered + (state.brush ? how : "");
}
