// Starts a deck, after MathJax, if the deck has formulas, has set them.
const begin = () =>
  Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0,
    center: false,
    display: "flex",
    transition: "none",
    hash: true,
    slideNumber: "c/t",
    plugins: [RevealNotes],
  });
if (window.MathJax) MathJax.startup.promise.then(begin);
else begin();
