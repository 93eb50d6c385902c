/* The engine as a page uses it: the last part, after decode.js.

   The model runs in a Web Worker, or in short slices where there is none, so that the page never
   freezes:

     const engine = await openEngine({ source });                // the text of all parts
     const model = await engine.load(file);                      // rejects with an Error: why not
     const { probabilities, out } = await engine.run(imageData); // or an ImageBitmap or a Blob */

/* Run a generator to its end, letting the page breathe whenever `budget` milliseconds are over. */
export async function inSlices(generator, onStage = () => {}, budget = 10) {
  for (let start = performance.now(); ;) {
    const { done, value } = generator.next();
    if (done) return value;
    if (value) onStage(value);
    if (performance.now() - start > budget) {
      await new Promise((resolve) => setTimeout(resolve));
      start = performance.now();
    }
  }
}

async function loadModel(file) {
  if (isText(file)) file = fromBase64(file).buffer;
  if (globalThis.Blob && file instanceof Blob) {
    if (file.size > FILE_LIMIT) fail(`the file has ${file.size} bytes, more than ${FILE_LIMIT}`);
    file = await file.arrayBuffer();
  }
  const loaded = modelFromFile(file);
  return { loaded, said: describe(loaded) };
}

/* What a page needs to know of a model: all but the numbers. */
function describe({ config, metadata, classes, parameters, macs, tensors }) {
  const list = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const said = { config, metadata, classes, parameters, macs, tensors: list };
  return { ...said, ...colourConstants(said) };
}

/* A picture, or { pixels } ready-made, to what forward returns, with bytes, pixels, the picture's
   size and what readings.js reads off the run added. */
function* runSteps(model, picture) {
  if (!model) fail("no model is loaded");
  const start = performance.now();
  const input = picture?.pixels ? picture : yield* prepareSteps(model, picture);
  const { width, height } = picture; // an ImageBitmap forgets them when it is closed
  const prepared = performance.now() - start;
  picture.close?.(); // an ImageBitmap holds much memory until it is closed
  const { bytes = null, pixels } = input;
  const result = yield* stages(model, pixels);
  const pass = performance.now() - start - prepared; // milliseconds in the model alone
  const times = { prepare: prepared, ...result.times };
  const read = yield* readingSteps(model, result.out);
  return { ...result, ...read, bytes, pixels, width, height, pass, times };
}

/* The worker's side. Messages in: { id, type: "load", file }, { id, type: "run", picture } and
   { id, type: "explain", question }. Messages out: { type: "ready" } once, then { id, type: "loaded",
   model }, { id, type: "stage", name }, { id, type: "result", result } or { id, type: "error",
   message }. */
export function serve(scope) {
  let model = null;
  let queue = Promise.resolve();
  async function answer({ id, type, file, picture, question }) {
    if (type === "load") {
      const { loaded, said } = await loadModel(file);
      model = loaded;
      return scope.postMessage({ id, type: "loaded", model: said });
    }
    if (type === "explain") {
      return scope.postMessage({ id, type: "result", result: explain(model, question) });
    }
    if (type !== "run") fail(`unknown message ${show(type)}`);
    const steps = runSteps(model, await opened(picture));
    for (;;) {
      const { done, value } = steps.next();
      if (done) return scope.postMessage({ id, type: "result", result: value }, buffersOf(value));
      if (value) scope.postMessage({ id, type: "stage", name: value });
    }
  }
  scope.onmessage = ({ data }) => {
    // one after the other, in the order of arrival
    const refuse = ({ message }) => scope.postMessage({ id: data.id, type: "error", message });
    queue = queue.then(() => answer(data)).catch(refuse);
  };
  scope.postMessage({ type: "ready" });
}

/* The buffers of a result, each once: they are handed over, not copied. */
function buffersOf({ out, bytes, pixels, probabilities, lens, rollout }) {
  const arrays = [pixels, probabilities, ...Object.values(out).map((tensor) => tensor.data)];
  arrays.push(bytes, ...rollout, ...lens.flatMap(({ pooled, tokens }) => [pooled, tokens]));
  return [...new Set(arrays.filter(Boolean).map((array) => array.buffer))];
}

/* The text of a worker's script, from the text of this module. It becomes a classic script, without
   exports: on a page opened from disk Chromium starts no worker that is a module. */
export function workerSource(source) {
  return `"use strict";\n${source.replace(/^export (default )?/gm, "")}\nserve(self);\n`;
}

function startWorker(source) {
  return new Promise((resolve, reject) => {
    const url = URL.createObjectURL(new Blob([workerSource(source)], { type: "text/javascript" }));
    const worker = new Worker(url);
    const give = (settle, value) => {
      clearTimeout(timer);
      URL.revokeObjectURL(url);
      settle(value);
    };
    const timer = setTimeout(() => worker.onerror(), 10000);
    worker.onmessage = () => give(resolve, worker);
    worker.onerror = () => {
      worker.terminate();
      give(reject, new Error("the worker did not start"));
    };
  });
}

/* What to send of a picture, and which of its parts to hand over. */
function parcel(picture) {
  const { data, width, height, pixels } = picture ?? {};
  if (isFile(picture)) return { picture, transfer: [] };
  if (pixels) return { picture: { pixels }, transfer: pixels.buffer ? [pixels.buffer] : [] };
  pictureSource(picture); // says now what is wrong with it
  if (!data) return { picture, transfer: [picture] }; // an ImageBitmap
  return { picture: { data, width, height }, transfer: [data.buffer] };
}

function workerEngine(worker) {
  const waiting = new Map();
  let last = 0;
  let stopped = null; // the number of the last question, and why there will be no more
  const ask = async (message, transfer, onStage) => {
    if (stopped) fail(stopped);
    const id = ++last;
    worker.postMessage({ id, ...message }, transfer);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject, onStage }));
  };
  worker.onmessage = ({ data: { id, type, name, message, model, result } }) => {
    const asked = waiting.get(id);
    if (!asked) return; // stopped meanwhile
    if (type === "stage") return asked.onStage?.(name);
    waiting.delete(id);
    if (type === "error") asked.reject(new Error(message));
    else asked.resolve(model ?? result);
  };
  const stop = (reason) => {
    stopped = reason;
    worker.terminate();
    for (const { reject } of waiting.values()) reject(new Error(reason));
    waiting.clear();
  };
  worker.onerror = () => stop("the worker stopped"); // out of memory, for one
  return {
    mode: "worker",
    isOpen: () => !stopped,
    load: (file) => ask({ type: "load", file }, file instanceof ArrayBuffer ? [file] : []),
    run: async (given, onStage) => {
      const { picture, transfer } = parcel(given);
      return ask({ type: "run", picture }, transfer, onStage);
    },
    explain: (question) => ask({ type: "explain", question }),
    close: () => stop("the engine was closed"),
  };
}

function slicedEngine() {
  let model = null;
  let queue = Promise.resolve();
  const next = (work) => (queue = queue.catch(() => {}).then(work));
  return {
    mode: "slices",
    isOpen: () => true,
    load: (file) =>
      next(async () => {
        const { loaded, said } = await loadModel(file);
        model = loaded;
        return said;
      }),
    run: (picture, onStage) =>
      next(async () => inSlices(runSteps(model, await opened(picture)), onStage)),
    explain: (question) => next(() => explain(model, question)),
    close: () => {
      next(() => {
        model = null;
      });
    },
  };
}

/* What a page uses: { mode: "worker" or "slices", load(file), run(picture, onStage),
   explain(question), isOpen(), close() }. load takes an ArrayBuffer, a Blob or a text in base 64; run
   takes { data, width, height }, an ImageBitmap, a Blob, a data address or { pixels }; explain what
   explain.js does. Buffers are handed over to the worker: the caller's are empty afterwards. An
   engine whose worker died is not open any more: open another. `source` is the text of this module,
   all parts of it; without it there is no worker. */
export async function openEngine({ source, worker = true } = {}) {
  if (!worker || !source || !globalThis.Worker) return slicedEngine();
  try {
    return workerEngine(await startWorker(source));
  } catch {
    return slicedEngine();
  }
}
