"""Figures of recorded experiments: chapters 7 and 9 to 13.

They draw rows of means as ``vit_teach.experiments.rows`` gives them: dictionaries with the labels
of the experiment and the keys mean, std (None for a single seed), n and seeds.
"""

import math
from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..results.summary import Row
from .style import MARKS, PHONE, bar_groups, figure, model_colours, model_name, styled

DASHES = ("-", "--", ":")


def _series(
    rows: list[Row], x: str, by: str, style: str | None = None
) -> Iterator[tuple[Any, Any, list[Row]]]:
    """((name, style value, their rows sorted by x), ...) in order of appearance."""
    if not rows:
        raise ValueError("rows=[] must hold at least one row of means")
    groups: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        groups.setdefault((row[by], row[style] if style else None), []).append(row)
    for (name, kind), members in groups.items():
        if all(isinstance(row[x], (int, float)) for row in members):
            members = sorted(members, key=lambda row: row[x])
        yield name, kind, members


def _looks(
    rows: list[Row], by: str, style: str | None
) -> tuple[dict[Any, str], dict[Any, str], dict[Any, str]]:
    """A colour and a mark for each name, a dash for each style value."""
    names = list(dict.fromkeys(row[by] for row in rows))
    kinds = list(dict.fromkeys(row[style] for row in rows)) if style else [None]
    colours = model_colours(names)
    marks = {name: MARKS[i % len(MARKS)] for i, name in enumerate(names)}
    dashes = {kind: DASHES[i % len(DASHES)] for i, kind in enumerate(kinds)}
    return colours, marks, dashes


def _spread(row: Row) -> float:
    """One standard deviation in per cent; not a number, and so no bar, for a single seed."""
    return math.nan if row["std"] is None else 100 * row["std"]


def _label(name: object, kind: object) -> str:
    return model_name(name) if kind is None else f"{model_name(name)}, {kind}"


@styled
def result_lines(
    rows: list[Row],
    x: str,
    by: str = "model",
    style: str | None = None,
    xlabel: str = "",
    log: bool = True,
    width: float = PHONE,
    ylabel: str = "accuracy, %",
) -> Figure:
    """Mean accuracy against a label, a line for each ``by`` and ``style``; returns the Figure.

    Bars are one standard deviation over seeds. ``log`` draws ``x`` on a logarithmic axis;
    ``width`` is in inches: as it is, the figure fits a phone. Means of something else, such as
    differences, want another ``ylabel``. Raises ``ValueError`` if there are no rows.

    >>> import matplotlib.pyplot as plt
    >>> row = {"model": "vit", "images": 500, "mean": 0.4, "std": 0.01, "n": 3, "seeds": [0, 1, 2]}
    >>> plt.close(result_lines([row, {**row, "images": 5000, "std": None}], "images"))
    """
    colours, marks, dashes = _looks(rows, by, style)
    fig, ax = figure(width, 3.5)
    handles = []  # of lines alone: error bars in a legend would hide the dashes
    for name, kind, members in _series(rows, x, by, style):
        look: dict[str, Any] = {
            "color": colours[name],
            "marker": marks[name],
            "linestyle": dashes[kind],
        }
        handles.append(Line2D([], [], markersize=5, label=_label(name, kind), **look))
        ax.errorbar(
            [row[x] for row in members],
            [100 * row["mean"] for row in members],
            yerr=[_spread(row) for row in members],
            markersize=5,
            capsize=3,
            **look,
        )
    ticks = sorted({row[x] for row in rows})
    ax.set(xlabel=xlabel or x, ylabel=ylabel, xscale="log" if log else "linear")
    ax.minorticks_off()
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.grid(True)
    labels = [line.get_label() for line in handles]
    fig.legend(handles=handles, loc="outside lower center", ncols=_columns(labels, width),
               handlelength=3.2)  # fmt: skip
    return fig


def _columns(labels: list[Any], width: float) -> int:
    """How many of the names of a legend stand side by side in a figure of this width."""
    longest = max(len(str(label)) for label in labels)
    return max(1, min(4, int(width / (0.7 + 0.075 * longest))))


@styled
def result_bars(
    rows: list[Row], x: str, by: str = "model", xlabel: str = "", width: float = PHONE
) -> Figure:
    """Mean accuracy as groups of bars: a group for each ``x``, a bar for each ``by``.

    Numbers grow from left to right; names stand in order of appearance. Thin lines are one standard
    deviation over seeds. ``width`` is in inches: as it is, the figure fits a phone. Returns the
    Figure. Raises ``ValueError`` if there are no rows.

    >>> import matplotlib.pyplot as plt
    >>> row = {"model": "vit", "kind": "none", "mean": 0.4, "std": None, "n": 1, "seeds": [0]}
    >>> plt.close(result_bars([row, {**row, "kind": "pixels"}], "kind"))
    """
    series = list(_series(rows, x, by))
    groups = list(dict.fromkeys(row[x] for row in rows))
    if not any(isinstance(group, str) for group in groups):
        groups.sort()
    fig, ax = figure(width, 3.2)
    heights = {name: {row[x]: 100 * row["mean"] for row in members} for name, _, members in series}
    spreads = {name: [_spread(row) for row in members] for name, _, members in series}
    bar_groups(ax, groups, heights, spreads)
    names = [model_name(g) if isinstance(g, str) else f"{g:,}" for g in groups]
    widest = max(len(line) for name in names for line in name.split("\n"))
    crowded = 0.075 * widest * len(names) > width - 0.7  # the names would touch
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    ax.set_xticks(range(len(groups)), names, **slanted)
    ax.set(xlabel=xlabel or x, ylabel="accuracy, %")
    labels = [model_name(name) for name in heights]
    fig.legend(loc="outside lower center", ncols=_columns(labels, width))
    return fig
