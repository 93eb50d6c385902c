// Small repairs that the theme's templates do not allow us to make in their HTML.

// A page opened as a file may not read others for the summaries of what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// On paper nobody can open a fold.
(() => {
  const opened = [];
  window.addEventListener("beforeprint", () => {
    opened.push(...document.querySelectorAll("details:not([open])"));
    opened.forEach((fold) => (fold.open = true));
    document.querySelectorAll("img[loading=lazy]").forEach((image) => (image.loading = "eager"));
  });
  window.addEventListener("afterprint", () => {
    opened.splice(0).forEach((fold) => (fold.open = false));
  });
})();

// All copy buttons of a page are one stop of the Tab key: up and down arrow keys go from one to the
// next.
window.addEventListener("load", () => {
  const buttons = [...document.querySelectorAll("button.copybtn")];
  const stopAt = (chosen) => buttons.forEach((one) => (one.tabIndex = one === chosen ? 0 : -1));
  stopAt(buttons.find((one) => one.checkVisibility()) ?? buttons[0]);
  buttons.forEach((button) => {
    button.addEventListener("focus", () => stopAt(button));
    button.addEventListener("keydown", (event) => {
      const seen = buttons.filter((one) => one.checkVisibility()); // not those in closed folds
      const i = seen.indexOf(button);
      const to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: seen.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      seen[to]?.focus();
    });
  });
});

document.addEventListener("DOMContentLoaded", () => {
  // A button's spoken name must contain its visible text (WCAG 2.5.3).
  document
    .querySelectorAll(".search-button-field[aria-label]")
    .forEach((button) => button.removeAttribute("aria-label"));
  document.querySelectorAll(".theme-switch-button").forEach((button) => {
    button.removeAttribute("aria-label");
    if (!button.querySelector(".visually-hidden")) {
      button.insertAdjacentHTML("beforeend", '<span class="visually-hidden">Colour theme</span>');
    }
  });
  // What scrolls sideways must be reachable by keyboard (WCAG 2.1.1).
  // (A formula in a line of text has no width of its own: it never scrolls.)
  const scrolls = (box) =>
    box.scrollWidth > box.clientWidth + 1 &&
    ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
  const makeReachable = () => {
    document
      .querySelectorAll(
        "pre, mjx-container, div.math, .output, div.cell_output, .pst-scrollable-table-container",
      )
      .forEach((box) => {
        if (scrolls(box)) box.tabIndex = 0;
      });
  };
  makeReachable();
  window.addEventListener("load", () => {
    makeReachable();
    window.MathJax?.startup?.promise?.then(makeReachable);
  });
  window.addEventListener("resize", makeReachable);
  document.addEventListener("toggle", makeReachable, true); // what a fold held back has a width now
  // On paper every fold is open.
  const closed = () => document.querySelectorAll(".bd-article details:not([open])");
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...closed()];
    opened.forEach((fold) => (fold.open = true));
  });
  window.addEventListener("afterprint", () => opened.forEach((fold) => (fold.open = false)));
});
