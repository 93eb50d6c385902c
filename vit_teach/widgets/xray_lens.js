// How the answer forms: the classifier applied after each block. A part of the X-ray, see xray.js.

const LENS_CLASSES = 6;
const LENS_NOTE =
  "What this is not: the classifier was trained on the tokens after the last block alone. Before " +
  "that it tells what it would answer if the other blocks were left out, not what the model " +
  "“thinks” there; early columns can be sure and wrong.";
const AVERAGE_NOTE =
  " After the last block it is exact: the scores of the picture are the means of its patches’ scores.";
const NO_MAPS = "This model has too many classes to keep the scores of single patches.";

const levelName = (level) => (level ? `block ${level}` : "start");

// The class whose maps are shown: the chosen one, else the answer.
const lensClass = ({ run, shownClass }) => shownClass ?? order(run.probabilities, 1)[0];

// The share of one class in each patch, as the classifier reads that patch alone; null if not kept.
function lensMap(state, level, k) {
  const { tokens } = state.run.lens[level];
  if (!tokens) return null;
  const { num_patches: N, num_classes: K } = state.about.config;
  const at = (i) => (i + prefix(state)) * K;
  return Float64Array.from({ length: N }, (_, i) => softmax(tokens.subarray(at(i), at(i) + K))[k]);
}

// The classes worth a row: those that lead anywhere, and the best of the answer.
function lensClasses(levels, probabilities) {
  const leaders = levels.map((shares) => order(shares, 1)[0]);
  const most = order(probabilities, LENS_CLASSES);
  const rows = [...new Set([...leaders, ...most])].slice(0, Math.max(LENS_CLASSES, leaders.length));
  return rows.sort((a, b) => probabilities[b] - probabilities[a]);
}

function lensTable(state, levels) {
  const { classes } = state.about;
  const best = levels.map((shares) => order(shares, 1)[0]);
  const rows = lensClasses(levels, state.run.probabilities).map((k) => {
    const chosen = k === lensClass(state);
    const button = makeButton(classes[k], () => choose(state, { shownClass: k }));
    furnish(button, { class: "vt-block", "aria-pressed": String(chosen) });
    const cells = levels.map((shares, level) => {
      const looks = { class: "vt-column", style: `--p: ${(100 * shares[k]).toFixed(1)}%` };
      const text = `${Math.round(100 * shares[k])}`;
      return make("td", looks, best[level] === k ? make("b", {}, text) : text);
    });
    return tableRow({}, button, ...cells);
  });
  const table = make("table", { class: "vt-table vt-forms" });
  const titles = ["class", "start", ...levels.slice(1).map((_, i) => String(i + 1))];
  const caption = "What the classifier says after each block, in % (the leader in bold)";
  return fillTable(table, titles, rows, caption);
}

function lensMaps(state, k) {
  const { about, run, block } = state;
  if (!run.lens[0].tokens) return [make("p", { class: "vt-note" }, run.out ? NO_MAPS : LOADING)];
  const maps = run.lens.map((_, level) => {
    const shares = lensMap(state, level, k);
    const range = `from ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}`;
    const label = `${levelName(level)}: ${about.classes[k]} in single patches, ${range}`;
    const canvas = make("canvas", { class: "vt-pixels vt-map", role: "img", "aria-label": label });
    paint(canvas, about.config.grid_size, (i) => redBlue(shares[i]));
    const name = make("p", { class: "vt-note" }, levelName(level));
    return make(
      "div",
      { class: level === block + 1 ? "vt-level vt-here" : "vt-level" },
      canvas,
      name,
    );
  });
  const title = `“${about.classes[k]}” in each patch alone: white 0 %, red 100 %`;
  return [heading(title), make("div", { class: "vt-levels" }, ...maps)];
}

function showLens(state) {
  const { about, run, parts, block } = state;
  const levels = run.lens.map(({ pooled }) => softmax(pooled));
  const k = lensClass(state);
  const exact = about.config.pool === "mean" && !about.config.fc_norm;
  const words = statusLine();
  const map = lensMap(state, block + 1, k);
  const patch = patchOf(state, asking(state));
  words.textContent =
    `After block ${block + 1}: ${about.classes[k]} ${percent(levels[block + 1][k])} in the whole ` +
    `picture` +
    (map && patch >= 0 ? `, ${percent(map[patch])} in ${whose(state, asking(state))} alone.` : ".");
  refill(
    parts.view,
    heading("How the answer forms, block by block"),
    region("The classifier after each block", "vt-scroll", lensTable(state, levels)),
    ...lensMaps(state, k),
    words,
    make("p", { class: "vt-note" }, LENS_NOTE + (exact ? AVERAGE_NOTE : "")),
  );
}
