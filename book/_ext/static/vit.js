// Small repairs that the theme's templates do not allow us to make in their HTML.

// A page opened as a file may not read others for the summaries of what it found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// On paper nobody can open a fold.
(() => {
  const opened = [];
  window.addEventListener("beforeprint", () => {
    opened.push(...document.querySelectorAll("article details:not([open])"));
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
  // What scrolls sideways must be reachable by keyboard (WCAG 2.1.1). All are measured before the
  // first is changed, so that the page is laid out once.
  const scrolls = (box) =>
    box.scrollWidth > box.clientWidth + 1 &&
    ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
  const BOXES =
    "pre, div.math, span.vt-long, .output, div.cell_output, .pst-scrollable-table-container";
  const makeReachable = () => {
    const boxes = [...document.querySelectorAll(BOXES)].filter((box) => box.tabIndex < 0);
    boxes.filter(scrolls).forEach((box) => (box.tabIndex = 0));
  };
  window.addEventListener("load", () => requestIdleCallback(makeReachable, { timeout: 1000 }));
  window.addEventListener("resize", makeReachable);
  document.addEventListener("toggle", makeReachable, true); // what a fold held back has a width now
});
