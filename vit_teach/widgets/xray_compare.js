// Answers side by side: a second model on the same picture, an answer that was kept, and the
// temperature of the softmax. A part of the X-ray, see xray.js.

const HOTTEST = 8; // steps of the slider each way: the temperature is 2 to the power of a quarter each
const temperatureOf = (heat) => 2 ** (heat / 4);

// --- Shares and columns --------------------------------------------------------------------------

// The classes' probabilities in a run, at the temperature that is set.
const sharesOf = ({ heat }, { logits }) =>
  softmax(Array.from(logits, (score) => score / temperatureOf(heat)));

// The answers to show, each a column: the model's, the second model's, the kept one.
function columnsOf(state) {
  const { run, before, second, kept } = state;
  const column = (title, { run, before, bytes = run.bytes }) => {
    const [now, then] = [run, before].map((one) => sharesOf(state, one));
    return { title, bytes, now, then, logits: run.logits, changed: run !== before };
  };
  const columns = [column(titleOf(state), { run, before })];
  if (second?.run) columns.push(column(second.title, { ...second, bytes: run.bytes }));
  if (kept) columns.push(column(kept.title, kept));
  return columns;
}

// What two answers have in common, in a sentence.
function difference(classes, one, other) {
  const [mine, theirs] = [one, other].map(({ now }) => order(now, 1)[0]);
  const says = ({ title, now }, k) => `${title} says ${classes[k]} (${percent(now[k])})`;
  const apart = one.now.reduce((sum, share, k) => sum + Math.abs(share - other.now[k]) / 2, 0);
  const rest = `of 100 points of probability, ${(100 * apart).toFixed(1)} lie elsewhere.`;
  if (mine === theirs) {
    return `Both say ${classes[mine]}, ${percent(one.now[mine])} and ${percent(other.now[mine])}: ${rest}`;
  }
  const gives = `and gives ${classes[mine]} ${percent(other.now[mine])}`;
  return `They disagree: ${says(one, mine)}; ${says(other, theirs)} ${gives}: ${rest}`;
}

// --- The second model ----------------------------------------------------------------------------

const titleOf = ({ model, loaded }, name = loaded?.name ?? model.get("name")) =>
  model.get("models").find((one) => one.name === name)?.title ?? name;

// Why two models have no answers to compare; null if they have.
function misfit(one, other) {
  const sides = ({ config }) => config.image_size.join(" × ");
  if (sides(one) !== sides(other)) {
    return `it reads ${sides(other)} pixels, the model beside it ${sides(one)}`;
  }
  return one.classes.join() === other.classes.join() ? null : "the two know different classes";
}

async function openBookModel({ model, tools }, name) {
  const engine = await tools.openEngine({ source: tools.source });
  return { engine, about: await engine.load(await bookWeights(model, name)) };
}

// What the second model says of bytes (3, H, W); its worker is replaced if it died. null: no model.
async function askSecond(state, bytes) {
  const { second, tools } = state;
  if (!second) return null;
  if (!second.engine.isOpen()) Object.assign(second, await openBookModel(state, second.name));
  return second.engine.run({ pixels: tools.normalise(bytes, second.about) });
}

function dropSecond(state) {
  state.second?.engine.close();
  state.second = null;
}

// Puts one of the book's models beside the first, or none.
function chooseSecond(state, name) {
  start(state);
  return queue(state, titleOf(state, name ?? undefined), async () => {
    if (name === (state.second?.name ?? null)) return;
    try {
      await ready(state);
      dropSecond(state);
      if (name) await loadSecond(state, name);
    } finally {
      update(state);
    }
  });
}

async function loadSecond(state, name) {
  const title = titleOf(state, name);
  say(state, `Loading ${title} …`);
  const second = { name, title, ...(await openBookModel(state, name)) };
  const reason = misfit(state.about, second.about);
  if (reason) {
    second.engine.close();
    throw new Error(reason);
  }
  state.second = second;
  const { run, before } = state;
  second.before = await askSecond(state, before.bytes);
  second.run = run === before ? second.before : await askSecond(state, run.bytes);
  say(state, `Beside it: ${title}: ${sizesOf(second.about)}.`);
}

// --- The kept answer -----------------------------------------------------------------------------

function keep(state) {
  const { run, last } = state;
  const changed = run === state.before ? "" : ", changed";
  state.kept = { title: `kept answer (${last.name}${changed})`, run, before: run };
  update(state);
}

// After another first model came: what cannot stand beside it goes.
function dropMisfits(state, old) {
  if (misfit(state.about, old)) state.kept = null;
  if (state.second && misfit(state.about, state.second.about)) dropSecond(state);
}

// --- Building and showing ------------------------------------------------------------------------

function buildCompare(state) {
  const names = [null, ...state.model.get("models").map(({ name }) => name)];
  const titles = names.map((name) => (name ? titleOf(state, name) : "no other model"));
  const other = choice("Beside it", titles, (i) => chooseSecond(state, names[i]));
  other.box.hidden = names.length < 3;
  const pin = makeButton("Keep this answer", () => keep(state));
  const forget = makeButton("Let it go", () => choose(state, { kept: null }));
  const steps = { min: -HOTTEST, max: HOTTEST, step: 1 };
  const told = (heat) => temperatureOf(heat).toFixed(2);
  const heat = slider("Temperature", steps, told, (heat) => choose(state, { heat }));
  const reset = makeButton("Back to 1", () => choose(state, { heat: 0 }));
  const words = furnish(statusLine(), { class: "vt-status vt-difference" });
  const note = make("p", { class: "vt-note" });
  const box = make(
    "div",
    { class: "vt-compare" },
    heading("Compare"),
    controls(other.box, make("div", { class: "vt-buttons" }, pin, forget)),
    note,
    controls(heat.box, reset),
    make("p", { class: "vt-note" }, HEAT_NOTE),
  );
  return { box, names, other, forget, heat, reset, words, note };
}

function showCompare(state, columns) {
  const { names, other, forget, heat, reset, words, note } = state.parts.compare;
  const { second, about } = state;
  const [own, ...rest] = columns;
  other.input.value = names.indexOf(second?.name ?? null);
  const shown = state.loaded?.name ?? state.model.get("name");
  [...other.input.options].forEach((option, i) => (option.disabled = names[i] === shown));
  forget.hidden = !state.kept;
  heat.set(state.heat);
  allow(reset, state.heat !== 0);
  words.textContent = rest.map((column) => difference(about.classes, own, column)).join(" ");
  const only = second ? `The maps are those of ${own.title}. ` : "";
  note.textContent = second && isCnn(second) ? only + NO_ATTENTION : only;
}

// The title of a column; with an answer kept, its picture as well.
function columnTitle({ about: { config }, kept }, { title, bytes }) {
  if (!kept) return title;
  const canvas = make("canvas", { class: "vt-pixels vt-thumb", "aria-hidden": "true" });
  paintPicture(canvas, config.image_size, bytes);
  return make("span", {}, canvas, title);
}
