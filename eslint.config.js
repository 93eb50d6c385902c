// The rules for the book's JavaScript. Widgets and engine are joined as text, without a bundler (see
// vit_teach/widgets/shared/base.py and xray.py), so a file uses names of the files before it. Those
// names are read from the files themselves: an unknown name is still an error.
import { readFileSync, readdirSync } from "node:fs";
import js from "@eslint/js";
import { parse } from "espree";
import globals from "globals";

const WIDGETS = "vit_teach/widgets";

const read = (file) => readFileSync(new URL(file, import.meta.url), "utf8");

// The names that a file defines at its top level.
function namesOf(file) {
  const { body } = parse(read(file), { ecmaVersion: "latest", sourceType: "module" });
  const definitions = body.map((node) => node.declaration ?? node);
  return definitions.flatMap(({ id, declarations = [] }) =>
    (id ? [id] : declarations.map((one) => one.id)).map(({ name }) => name),
  );
}

// The rules for one file of a joined text: it may use names of the files before it, and a name that
// a file after it uses is not unused.
function joined(file, before, after) {
  const texts = after.map(read);
  const isUsed = (name) => texts.some((text) => new RegExp(`\\b${name}\\b`).test(text));
  const varsIgnorePattern = `^(${namesOf(file).filter(isUsed).join("|")})$`;
  const known = before.flatMap(namesOf).map((name) => [name, "readonly"]);
  return {
    files: [file],
    languageOptions: { globals: Object.fromEntries(known) },
    rules: { "no-unused-vars": ["error", { varsIgnorePattern }] },
  };
}

const inFolder = (folder) => (name) => `${WIDGETS}/${folder}${name}.js`;
const SHARED = ["common", "pictures"].map(inFolder("shared/"));
const ENGINE_PARTS = (
  "files layers models arithmetic convolution offsets vit forward readings explain " +
  "resize edit decode worker"
).split(" ");
const ENGINE = ENGINE_PARTS.map(inFolder("engine/"));
const EACH = readdirSync(new URL(WIDGETS, import.meta.url))
  .filter((name) => name.endsWith(".js"))
  .map((name) => `${WIDGETS}/${name}`);

// A large widget has parts, NAME_*.js beside NAME.js: each may use what the others define.
const partOf = (file) => file.replace(/(xray)_\w+\.js$/, "$1.js");
const siblings = (file) => EACH.filter((other) => other !== file && partOf(other) === partOf(file));

const style = {
  "max-lines-per-function": ["error", { max: 50 }],
  "max-len": ["error", { code: 110 }],
  "one-var": ["error", "never"], // so that a name stands at the beginning of its line
};

export default [
  { ignores: ["_build/", ".venv/", "vit_teach/course/reveal/{reveal,notes}.js"] },
  js.configs.recommended,
  { rules: style },
  { files: ["*.js"], languageOptions: { globals: globals.node } },
  {
    files: [`${WIDGETS}/**/*.js`],
    languageOptions: { globals: globals.browser, sourceType: "module" },
  },
  ...SHARED.map((file, i) => joined(file, SHARED.slice(0, i), [...SHARED.slice(i + 1), ...EACH])),
  ...EACH.map((file) => joined(file, [...SHARED, ...siblings(file)], siblings(file))),
  ...ENGINE.map((file, i) => joined(file, ENGINE.slice(0, i), ENGINE.slice(i + 1))),
  {
    files: ["vit_teach/course/reveal/deck.js"],
    languageOptions: {
      globals: {
        ...globals.browser,
        MathJax: "readonly",
        Reveal: "readonly",
        RevealNotes: "readonly",
      },
      sourceType: "script",
    },
  },
  {
    // Scripts of a page, not modules. Plotly and Sphinx come from their own.
    files: [`${WIDGETS}/shared/host.js`, "book/_ext/static/*.js"],
    languageOptions: {
      globals: { ...globals.browser, Plotly: "readonly", DOCUMENTATION_OPTIONS: "readonly" },
      sourceType: "script",
    },
  },
];
