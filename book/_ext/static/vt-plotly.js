// Draws the plotly figures of a page from the JSON beside them, in the colours of the page's theme.
(() => {
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

  // The layout for the width at hand: tight margins, and on a phone the legend below the plot.
  const fitted = (layout, width) => {
    const narrow = width < 500;
    const margin = {
      t: layout.title ? 56 : 24,
      r: 16,
      b: 56,
      l: narrow ? 44 : 60,
      ...layout.margin,
    };
    const legend = narrow
      ? { ...layout.legend, orientation: "h", x: 0, xanchor: "left", y: -0.25, yanchor: "top" }
      : layout.legend;
    return { ...layout, margin, legend, width: undefined, autosize: true };
  };

  const draw = async (figure) => {
    const { data, layout, frames, config } = JSON.parse(figure.querySelector("script").textContent);
    const plot = document.createElement("div");
    figure.append(plot);
    const settings = { responsive: true, displaylogo: false, ...config };
    await Plotly.newPlot(plot, {
      data,
      layout: fitted(layout, figure.clientWidth),
      frames,
      config: settings,
    });
    const recolour = () => Plotly.relayout(plot, themed(plot.layout));
    await recolour();
    new MutationObserver(recolour).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
    figure.dataset.drawn = "true";
  };

  const drawAll = () => document.querySelectorAll("figure.vt-plotly").forEach(draw);
  document.readyState === "loading"
    ? document.addEventListener("DOMContentLoaded", drawAll)
    : drawAll();
})();
