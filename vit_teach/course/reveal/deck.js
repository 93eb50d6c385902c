// Starts a deck, after MathJax, if the deck has formulas, has set them.
const begin = () =>
  Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0,
    center: false,
    transition: "none",
    hash: true,
    scrollActivationWidth: null, // on a phone, too, a slide is a slide
    slideNumber: "c/t",
    plugins: [RevealNotes],
  });
if (window.MathJax) MathJax.startup.promise.then(begin);
else begin();
