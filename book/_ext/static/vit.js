// Small repairs that the theme's templates do not allow us to make in their HTML.
document.addEventListener("DOMContentLoaded", () => {
  // A button's spoken name must contain its visible text (WCAG 2.5.3).
  document.querySelectorAll(".search-button-field[aria-label]").forEach((button) => button.removeAttribute("aria-label"));
  document.querySelectorAll(".theme-switch-button").forEach((button) => {
    button.removeAttribute("aria-label");
    if (!button.querySelector(".visually-hidden")) {
      button.insertAdjacentHTML("beforeend", '<span class="visually-hidden">Colour theme</span>');
    }
  });
  // What scrolls sideways must be reachable by keyboard (WCAG 2.1.1).
  const makeReachable = () => {
    document.querySelectorAll("pre, mjx-container, div.math, .output, .pst-scrollable-table-container").forEach((box) => {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
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
