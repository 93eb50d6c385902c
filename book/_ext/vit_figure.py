"""The still picture that stands on a page for a plotly figure until the reader asks for more.

Plotly is five megabytes of script. A page shows a drawing of the figure as it opens, and loads
plotly when the button below it is pressed: vt-plotly.js. The book's figures are lines and bars.
"""

import base64
import functools
import html
import io
import json
import re

import matplotlib.pyplot as plt

from vit_teach.plots.style import figure, styled

# What figure_html of the package writes: its words for a page without scripts give way.
FIGURE = re.compile(
    r'(<figure class="vt-plotly".*?<script type="application/json">)(.*?)(</script>)'
    r"<noscript>.*?</noscript>(</figure>)",
    re.DOTALL,
)
DOTS = 72  # of an SVG, to an inch
WIDTH = 7.2  # inches
DASHES = {"solid": "-", "dot": ":", "dash": "--", "dashdot": "-."}
BUTTON = '<button type="button" class="vt-explore" hidden>Explore this figure: {}</button>'


def with_stills(page: str) -> str:
    """The page with a picture and a button in each plotly figure."""
    return FIGURE.sub(
        lambda found: found[1] + found[2] + found[3] + still(found[2]) + found[4], page
    )


@functools.lru_cache(maxsize=64)  # a page may be written more than once
def still(text: str) -> str:
    """The picture and the button for a figure that is given as plotly's JSON."""
    given = json.loads(text)
    drawing = draw(given["data"], given["layout"])
    width, height = (round(side * DOTS) for side in drawing.get_size_inches())
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vit"}):
        drawing.savefig(file, format="svg", metadata={"Date": None})
    plt.close(drawing)
    address = "data:image/svg+xml;base64," + base64.b64encode(file.getvalue().encode()).decode()
    size = f'width="{width}" height="{height}"'
    button = BUTTON.format(html.escape(offer(given["layout"])))
    return f'<img class="vt-still" src="{address}" alt="" role="presentation" {size}/>{button}'


@styled
def draw(data: list, layout: dict):
    """The figure as plotly first shows it, as a matplotlib Figure.

    Raises ``ValueError`` for a kind of trace that no figure of the book has.
    """
    shown = [trace for trace in data if trace.get("visible", True) is True]
    drawing, axes = figure(WIDTH, layout.get("height", 450) / 110)
    ends = {}  # where the next bar of a stack begins
    for place, trace in enumerate(shown):
        if trace["type"] == "scatter":
            line = trace.get("line", {})
            mark = "o" if "markers" in trace.get("mode", "lines") else ""
            style = DASHES[line.get("dash", "solid")]
            axes.plot(trace["x"], trace["y"], style, marker=mark, markersize=3.5,
                      color=line.get("color"), label=trace["name"])  # fmt: skip
        elif trace["type"] == "bar" and trace.get("orientation") == "h":
            lie(axes, trace, place, len(shown), ends, layout.get("barmode"))
        else:
            raise ValueError(f"a still picture of a {trace['type']} trace cannot be drawn")
    finish(axes, layout)
    drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing


def lie(axes, trace: dict, place: int, count: int, ends: dict, mode: str | None) -> None:
    """Draw one trace of lying bars: on the ends of those before, or beside them."""
    rows = range(len(trace["y"]))
    colour = trace.get("marker", {}).get("color")
    base = trace.get("base") or [0] * len(rows)
    height, shift = 0.75, 0.0
    if mode == "stack":
        base = [ends.get(row, 0) for row in rows]
        ends.update({row: base[row] + trace["x"][row] for row in rows})
    else:
        height = 0.8 / count
        shift = (place - (count - 1) / 2) * height
    axes.barh([row + shift for row in rows], trace["x"], height, base, color=colour,
              label=trace["name"])  # fmt: skip
    axes.set_yticks(rows, trace["y"])


def offer(layout: dict) -> str:
    """What the figure itself offers beyond its picture, in a few words."""
    labels = [b["label"] for menu in layout.get("updatemenus", []) for b in menu["buttons"]]
    words = ["a slider"] * bool(layout.get("sliders"))
    return ", ".join([*labels, *words, "exact values"])


def chosen(layout: dict) -> str:
    """What the figure's switch or slider is set to when it opens."""
    said = []
    for menu in layout.get("updatemenus", []):
        said.append(menu["buttons"][menu.get("active", 0)]["label"])
    for slider in layout.get("sliders", []):
        prefix = slider.get("currentvalue", {}).get("prefix", "")
        said.append(prefix + slider["steps"][slider.get("active", 0)]["label"])
    return ", ".join(said)


def finish(axes, layout: dict) -> None:
    """Titles, ranges and grid as the layout wants them."""
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        wanted = layout.get(f"{name}axis", {})
        title = wanted.get("title", {})
        axes.set(**{f"{name}label": title.get("text", "")})
        if "range" in wanted:
            axes.set(**{f"{name}lim": wanted["range"]})
        if wanted.get("rangemode") == "tozero":
            axes.set(**{f"{name}lim": (0, None)})
        if wanted.get("tickformat") == ".0%":
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if "ticksuffix" in wanted:
            axis.set_major_formatter(lambda value, _, end=wanted["ticksuffix"]: f"{value:g}{end}")
        if "dtick" in wanted:
            axis.set_major_locator(plt.MultipleLocator(wanted["dtick"]))
    if layout.get("yaxis", {}).get("autorange") == "reversed":
        axes.invert_yaxis()
    title = layout.get("title", {}).get("text", "").replace("<br>", "\n")
    axes.set_title("\n".join(filter(None, [chosen(layout), title])), fontsize=10)
    axes.grid(True, axis="both" if axes.lines else "x")
