// Runs the widgets of a page without Python: each gets its state from the page and its module from a
// script beside this one or in the page itself, so that it also works in a page opened as a file.
(() => {
  const folder = new URL(".", document.currentScript.src || document.baseURI).href;
  const sources = {}; // name of a module -> its text, told by NAME.def.js
  const modules = {}; // name of a module -> a promise of it
  const texts = {}; // name -> a promise of a large text that a widget asks for: an engine, weights
  const given = {};
  window.VitWidgets = {
    define: (name, source) => {
      sources[name] = source;
    },
    give: (name, text) => {
      given[name] = text;
    },
    fetch: (name) =>
      (texts[name] ||= scriptUnless(name in given, `${name}.data.js`).then(
        () => given[name],
        () => {
          delete texts[name];
          throw new Error(`${name}.data.js did not load`);
        },
      )),
  };

  const script = (src) =>
    new Promise((resolve, reject) => {
      const tag = Object.assign(document.createElement("script"), {
        src,
        onload: resolve,
        onerror: reject,
      });
      document.head.append(tag);
    });
  const scriptUnless = (known, name) => (known ? Promise.resolve() : script(folder + name));

  // A page opened as a file may not import a module file, but it may import one from memory.
  const load = (name) =>
    (modules[name] ||= scriptUnless(name in sources, `${name}.def.js`).then(async () => {
      const text = `${sources[name]}\n//# sourceURL=${name}.js`;
      const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      try {
        return (await import(address)).default;
      } finally {
        URL.revokeObjectURL(address);
      }
    }));

  const decode = (value) => {
    if (typeof value?.base64 !== "string") return value;
    return new DataView(
      Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0)).buffer,
    );
  };

  // What anywidget gives a module, as far as that goes without Python.
  const modelOf = (state) => {
    const values = Object.fromEntries(
      Object.entries(state).map(([name, value]) => [name, decode(value)]),
    );
    const listeners = new Map(); // event -> the functions to call
    const emit = (event, value) =>
      [...(listeners.get(event) || [])].forEach((call) => call({ type: event }, value));
    return {
      get: (name) => values[name],
      set(name, value) {
        if (values[name] === value) return;
        values[name] = value;
        emit(`change:${name}`, value);
      },
      save_changes: () => emit("change"),
      on: (event, call) => {
        listeners.set(event, [...(listeners.get(event) || []), call]);
      },
      off: (event, call) => {
        listeners.set(
          event,
          (listeners.get(event) || []).filter((other) => call && other !== call),
        );
      },
      send() {}, // nobody would hear it
    };
  };

  // A link in the text that sets a widget: <a href="#section" data-vt-set="patch_explorer patch_size=8">.
  // Without a script, and in Jupyter, it leads to the section of the widget.
  const mounted = new Map(); // a widget's figure -> its model
  const set = (event) => {
    const link = event.target.closest?.("a[data-vt-set]");
    const [name, ...pairs] = link?.dataset.vtSet.split(" ") ?? [];
    const figure = [...mounted.keys()].find((one) => one.dataset.vtModule === name);
    if (!figure) return;
    event.preventDefault();
    for (const pair of pairs) {
      const [key, value] = pair.split("=");
      mounted.get(figure).set(key, JSON.parse(value));
    }
    mounted.get(figure).save_changes();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    figure.scrollIntoView({ block: "nearest", behavior: still ? "instant" : "smooth" });
  };
  document.addEventListener("click", set);

  const mount = async (figure) => {
    const el = document.createElement("div");
    try {
      const widget = await load(figure.dataset.vtModule);
      const model = modelOf(JSON.parse(figure.querySelector("script").textContent));
      figure.append(el);
      await widget.initialize?.({ model });
      await widget.render({ model, el });
      figure.querySelector(".vt-fallback").hidden = true;
      mounted.set(figure, model);
    } catch (error) {
      el.remove(); // the description and the picture stay
      console.error(`The widget ${figure.dataset.vtModule} does not start:`, error);
    }
    figure.dataset.ready = "true";
  };

  // A script in the page itself runs before the page is read; one that is deferred, after.
  const mountAll = () => document.querySelectorAll("figure.vt-widget").forEach(mount);
  document.readyState === "loading"
    ? document.addEventListener("DOMContentLoaded", mountAll)
    : mountAll();
})();
