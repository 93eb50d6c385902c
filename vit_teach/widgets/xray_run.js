// Getting the engine and the model, and running them. A part of the X-ray, see xray.js.

// The engine's text and its functions: from Python, else from the scripts of the site.
async function loadEngine(model) {
  const source = model.get("engine") || (await globalThis.VitWidgets.fetch("vit_engine"));
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return { source, ...(await import(address)) };
  } finally {
    URL.revokeObjectURL(address);
  }
}

// Python's answer to a question for the weights of one of the book's models.
const askPython = (model, name) =>
  new Promise((resolve) => {
    const take = (message, [data]) => {
      if (message.weights !== name) return;
      model.off("msg:custom", take);
      resolve(data);
    };
    model.on("msg:custom", take);
    model.send({ weights: name });
  });

// The weights of one of the book's models: from the site in base 64; in Jupyter those of the first
// came with the widget.
async function bookWeights(model, name = model.get("name")) {
  if (globalThis.VitWidgets) return globalThis.VitWidgets.fetch(name);
  const isFirst = name === model.get("name");
  const found = isFirst ? model.get("weights") : await askPython(model, name);
  const { byteLength, byteOffset, buffer } = found;
  return buffer.slice(byteOffset, byteOffset + byteLength);
}

const say = (state, text) => (state.parts.status.textContent = text);

// One thing after the other; a failure is told and leaves what was there.
function queue(state, name, work) {
  const tell = ({ message }) => {
    const { run, last, loaded } = state;
    const still = run && loaded ? ` Below is still ${last.name} in ${loaded.name}.` : "";
    say(state, `That did not work: ${name}: ${message}.${still}`);
    if (!loaded) state.started = false; // the next touch tries again
  };
  state.busy = state.busy.then(work).catch(tell);
  return state.busy;
}

// Opens an engine; another one where the worker has died, of too little memory for one.
async function startEngine(state) {
  if (state.engine?.isOpen()) return;
  say(state, "Loading the engine …");
  state.tools = await loadEngine(state.model);
  state.engine = await state.tools.openEngine({ source: state.tools.source });
}

const sizesOf = ({ parameters, macs, metadata: { test_accuracy: accuracy } }) => {
  const million = count(Math.round(macs / 1e6));
  const tested =
    typeof accuracy === "number" ? `, ${percent(accuracy)} of its test pictures right` : "";
  return `${count(parameters)} parameters, ${million} million multiply-adds${tested}`;
};

// Takes a file of weights into the engine, which throws an Error that says what is wrong with it.
async function load(state, file, name) {
  const size = file.size ?? state.model.get("size");
  await startEngine(state);
  const about = await state.engine.load(file);
  const { in_channels: channels } = about.config;
  if (channels !== 3) throw new Error(`this model reads ${channels} channels, pictures have 3`);
  const isFirst = !state.loaded;
  state.loaded = { engine: state.engine, file: file instanceof Blob ? file : null, name };
  state.title = `${name}: ${sizesOf(about)}; ${megabytes(size)} read`;
  say(state, `${state.title}.`);
  state.parts.opener.hidden = true;
  if (isFirst && name === state.model.get("name")) return; // the one the page opened with
  const old = state.about;
  Object.assign(state, { about, run: null, edit: PLAIN, undo: [] });
  dropMisfits(state, old);
  adopt(state);
}

// Sees to it that an engine has the model: the book's own, or, in a new engine, the one before.
async function ready(state) {
  const { model, loaded, engine } = state;
  if (loaded && engine.isOpen() && loaded.engine === engine) return;
  const file = loaded?.file ?? (await bookWeights(model));
  if (!loaded) return load(state, file, model.get("name"));
  await startEngine(state);
  await state.engine.load(file);
  loaded.engine = state.engine;
}

// The first touch, or the page scrolled to here: the model is fetched, and runs on what is shown.
function start(state) {
  if (state.started) return;
  state.started = true;
  const { source, name } = state.samples[state.last.sample];
  queue(state, name, () => show(state, source, name, null));
}

// A source is the data address of a sample or a Blob. It goes to the engine, and its pixels are not kept.
// `old` is the edit of the picture before: it is forgotten, but not one made since.
async function show(state, source, title, old) {
  await ready(state);
  const { engine, about } = state;
  say(state, `${title}: the model runs …`);
  const began = performance.now();
  const tell = (stage) => {
    const block = /^blocks\.(\d+)$/.exec(stage)?.[1];
    if (!block || performance.now() - began < 500) return;
    say(state, `${title}: block ${Number(block) + 1} of ${about.config.depth} is done …`);
  };
  state.run = await engine.run(source, tell);
  state.before = state.run;
  const beside = await askSecond(state, state.run.bytes);
  if (beside) Object.assign(state.second, { run: beside, before: beside });
  const pass = Math.round(state.run.pass);
  const rest = Math.round(performance.now() - began - pass);
  const { width, height } = state.run;
  const sample = state.samples.findIndex((one) => one.source === source);
  state.last = { source, name: title, sample: sample < 0 ? null : sample };
  if (state.edit === old) forgetEdits(state);
  update(state);
  const took = `read and resized in ${rest} ms, one pass ${pass} ms`;
  say(state, `${state.title}. ${title}: ${width} × ${height} pixels, ${took}.`);
}

// The reader chose a picture: one of the samples, a file, or what a function finds out.
function take(state, name, find) {
  const { edit: old } = state;
  state.started = true;
  return queue(state, name, async () => {
    const [source, title] = await find();
    await show(state, source, title, old);
  });
}
const takeSample = (state, { source, name }) => take(state, name, () => [source, name]);
const takePicture = (state, file) => {
  const name = file.name || "your picture";
  return take(state, name, () => [file, name]);
};
const takePhotograph = (state) =>
  take(state, "camera", async () => {
    await startEngine(state);
    return [await state.tools.photograph(), "your photograph"];
  });
const takeModel = (state, file) =>
  take(state, file.name, async () => {
    await load(state, file, file.name);
    return [state.last.source, state.last.name];
  });
const takeFile = (state, file) =>
  (file.name.endsWith(".safetensors") ? takeModel : takePicture)(state, file);
