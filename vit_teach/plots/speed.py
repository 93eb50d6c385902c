"""Figures of measured speed, from the records of ``make bench``."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .style import COLOURS, figure, styled

Row = Mapping[str, Any]  # a measurement: "name", "value", "spread", "samples", "facts"
OURS = ("this book", "vit_teach")


def _colour(name: str) -> str:
    return COLOURS["vermilion" if name.startswith(OURS) else "blue"]


@styled
def speed_bars(panels: Mapping[str, Sequence[Row]], xlabel: str) -> Figure:
    """A bar for each measurement, a panel below the other for each group; this book stands out.

    ``panels`` is a dictionary of titles and lists of measurements; the thin lines are their
    spreads. Returns the Figure. Raises ``ValueError`` if there is no measurement.

    >>> import matplotlib.pyplot as plt
    >>> row = {"name": "this book", "value": 500.0, "spread": 20.0}
    >>> plt.close(speed_bars({"as used": [row]}, "images a second"))
    """
    if not any(panels.values()):
        raise ValueError(f"panels={panels!r} must hold at least one measurement")
    heights = [len(rows) for rows in panels.values()]
    fig, axes = figure(
        7.2, 0.5 * len(panels) + 0.26 * sum(heights) + 0.4, rows=len(panels), sharex=True,
        squeeze=False, height_ratios=heights,
    )  # fmt: skip
    for ax, (title, rows) in zip(axes[:, 0], panels.items(), strict=True):
        names = [row["name"] for row in rows]
        values, spreads = [row["value"] for row in rows], [row["spread"] for row in rows]
        places = range(len(rows))
        ax.barh(places, values, xerr=spreads, capsize=3, color=[_colour(name) for name in names])
        for place, value, spread in zip(places, values, spreads, strict=True):
            ax.annotate(
                f"{value:,.3g}" if value < 100 else f"{value:,.0f}", (value + spread, place),
                (5, 0), textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        ax.set_yticks(places, names)
        ax.invert_yaxis()
        ax.set_title(title, loc="left")
        ax.margins(x=0.12)
    axes[-1, 0].set_xlabel(xlabel)
    return fig


@styled
def cost_beside_formula(panels: Mapping[str, Sequence[Row]]) -> Figure:
    """Time and memory against one size each, beside what the formula of the products promises.

    ``panels`` is a dictionary of the name of a size and measurements in seconds, whose facts are
    the "size", the "macs" of the formula and the "kept_bytes". Everything is drawn as a multiple of
    the first. Returns the Figure. Raises ``ValueError`` if there is no panel.

    >>> import matplotlib.pyplot as plt
    >>> rows = [{"value": n, "facts": {"size": n, "macs": n, "kept_bytes": n}} for n in (1, 2)]
    >>> plt.close(cost_beside_formula({"tokens": rows}))
    """
    if not panels:
        raise ValueError("panels={} must hold at least one measured size")
    fig, axes = figure(7.2, 5.2, rows=2, columns=(len(panels) + 1) // 2, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (name, rows) in zip(axes.flat, panels.items(), strict=False):
        sizes = [row["facts"]["size"] for row in rows]
        lines = {
            "formula": [row["facts"]["macs"] for row in rows],
            "time": [row["value"] for row in rows],
            "memory": [row["facts"]["kept_bytes"] for row in rows],
        }
        looks = {"formula": ("--", "grey"), "time": ("o-", "blue"), "memory": ("s-", "orange")}
        for label, values in lines.items():
            mark, colour = looks[label]
            grown = [value / values[0] for value in values]
            ax.plot(sizes, grown, mark, color=COLOURS[colour], label=label, markersize=5)
        ax.set(xscale="log", yscale="log", xlabel=name)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.grid(True)
    for ax in axes[:, 0]:
        ax.set_ylabel("times the first")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
