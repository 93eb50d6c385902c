// Draws the plotly figures of a page from the JSON beside them, in the colours of the page's theme.
// A still picture stands there first: plotly itself, five megabytes, is loaded when the reader asks.
(() => {
  const PLOTLY = new URL("plotly.min.js", document.currentScript.src).href;
  let loading = null;
  const loadPlotly = () =>
    (loading ||= new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      document.head.append(Object.assign(tag, { src: PLOTLY, onload: resolve, onerror: reject }));
    }));
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      text: read("--pst-color-text-base"),
      grid: read("--pst-color-border"),
      surface: read("--pst-color-surface"),
    };
  };

  // The layout keys that follow the theme, for the axes and controls this figure has.
  const themed = (layout) => {
    const { text, grid, surface } = colours();
    const patch = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      "font.color": text,
      "hoverlabel.bgcolor": surface,
      "hoverlabel.font.color": text,
      "hoverlabel.bordercolor": grid,
      "modebar.bgcolor": "rgba(0,0,0,0)",
      "modebar.color": text,
      "legend.bgcolor": "rgba(0,0,0,0)",
    };
    Object.keys(layout)
      .filter((key) => /^[xy]axis\d*$/.test(key))
      .forEach((axis) => {
        ["gridcolor", "zerolinecolor", "linecolor"].forEach((part) => {
          patch[`${axis}.${part}`] = grid;
        });
      });
    (layout.sliders || []).forEach((_, i) => {
      patch[`sliders[${i}].font.color`] = text;
      patch[`sliders[${i}].bgcolor`] = surface;
      patch[`sliders[${i}].bordercolor`] = grid;
    });
    (layout.updatemenus || []).forEach((_, i) => {
      patch[`updatemenus[${i}].font.color`] = text;
      patch[`updatemenus[${i}].bgcolor`] = surface;
      patch[`updatemenus[${i}].bordercolor`] = grid;
    });
    return patch;
  };

  // An axis whose title keeps its distance from the numbers, and whose numbers get their room.
  const withRoom = (axis) => {
    const title = typeof axis.title === "string" ? { text: axis.title } : axis.title;
    return { ...axis, automargin: true, ...(title && { title: { standoff: 10, ...title } }) };
  };

  // The layout for the width at hand: tight margins, and on a phone the legend below the plot.
  const fitted = (layout, width) => {
    const narrow = width < 500;
    const margin = { t: layout.title ? 56 : 24, r: 16, b: 56, l: 60, ...layout.margin };
    const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    const roomy = Object.fromEntries(axes.map((axis) => [axis, withRoom(layout[axis])]));
    const below = narrow && !layout.sliders; // a slider stands there already
    const legend = below
      ? { ...layout.legend, orientation: "h", x: 0, xanchor: "left", y: -0.3, yanchor: "top" }
      : layout.legend;
    return { ...layout, ...roomy, margin, legend, width: undefined, autosize: true };
  };

  const read = (figure) => JSON.parse(figure.querySelector("script").textContent);

  const draw = async (figure) => {
    const button = figure.querySelector(".vt-explore");
    button.disabled = true;
    button.textContent = "Loading";
    await loadPlotly();
    const { data, layout, frames, config } = read(figure);
    const plot = document.createElement("div");
    figure.querySelector(".vt-still").remove();
    figure.append(plot);
    const wide = figure.clientWidth >= 500; // on a phone the buttons would lie over the plot
    const settings = { responsive: true, displaylogo: false, ...config };
    if (!wide) settings.displayModeBar = false;
    await Plotly.newPlot(plot, {
      data,
      layout: fitted(layout, figure.clientWidth),
      frames,
      config: settings,
    });
    const recolour = () => Plotly.relayout(plot, themed(plot.layout));
    await recolour();
    const signs = ".modebar svg, #js-plotly-tester"; // they say nothing to a reader of names
    document.querySelectorAll(signs).forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    new MutationObserver(recolour).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
    figure.dataset.drawn = "true";
    figure.tabIndex = -1;
    figure.focus({ preventScroll: true }); // the button that had the focus goes
    button.remove();
  };

  const failed = (button) => {
    loading = null;
    button.disabled = false;
    button.textContent = "This did not load. Try again";
  };

  document.querySelectorAll(".vt-explore").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () =>
      draw(button.closest("figure")).catch((error) => {
        console.error(error);
        failed(button);
      }),
    );
  });
})();
