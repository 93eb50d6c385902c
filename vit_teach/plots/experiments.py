"""Figures of recorded experiments: chapters 7 and 9 to 13.

They draw rows of means as ``vit_teach.experiments.rows`` gives them: dictionaries with the labels
of the experiment and the keys mean, std (None for a single seed), n and seeds.
"""

import math

from matplotlib.lines import Line2D

from .style import figure, model_colours, model_name, plotly_figure, styled

MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = (("-", "solid"), ("--", "dash"), (":", "dot"))


def _series(rows, x, by, style=None):
    """((name, style value, their rows sorted by x), ...) in order of appearance."""
    if not rows:
        raise ValueError("rows=[] must hold at least one row of means")
    groups = {}
    for row in rows:
        groups.setdefault((row[by], row[style] if style else None), []).append(row)
    for (name, kind), members in groups.items():
        if all(isinstance(row[x], (int, float)) for row in members):
            members = sorted(members, key=lambda row: row[x])
        yield name, kind, members


def _looks(rows, by, style):
    """A colour and a mark for each name, a dash for each style value."""
    names = list(dict.fromkeys(row[by] for row in rows))
    kinds = list(dict.fromkeys(row[style] for row in rows)) if style else [None]
    colours = model_colours(names)
    marks = {name: MARKS[i % len(MARKS)] for i, name in enumerate(names)}
    dashes = {kind: DASHES[i % len(DASHES)] for i, kind in enumerate(kinds)}
    return colours, marks, dashes


def _spread(row):
    """One standard deviation in per cent; not a number, and so no bar, for a single seed."""
    return math.nan if row["std"] is None else 100 * row["std"]


def _label(name, kind):
    return model_name(name) if kind is None else f"{model_name(name)}, {kind}"


@styled
def result_lines(rows, x, by="model", style=None, xlabel="", log=True, width=7.2):
    """Mean accuracy against a label, a line for each ``by`` and ``style``; returns the Figure.

    Bars are one standard deviation over seeds. ``log`` draws ``x`` on a logarithmic axis;
    ``width`` is in inches, and a narrow figure has larger words on a page. Raises ``ValueError``
    if there are no rows.

    >>> import matplotlib.pyplot as plt
    >>> row = {"model": "vit", "images": 500, "mean": 0.4, "std": 0.01, "n": 3, "seeds": [0, 1, 2]}
    >>> plt.close(result_lines([row, {**row, "images": 5000, "std": None}], "images"))
    """
    colours, marks, dashes = _looks(rows, by, style)
    opened, ax = figure(width, 4.0)
    handles = []  # of lines alone: error bars in a legend would hide the dashes
    for name, kind, members in _series(rows, x, by, style):
        look = {"color": colours[name], "marker": marks[name], "linestyle": dashes[kind][0]}
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
    ax.set(xlabel=xlabel or x, ylabel="accuracy, %", xscale="log" if log else "linear")
    ax.minorticks_off()
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.grid(True)
    opened.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=3.2)
    return opened


@styled
def result_bars(rows, x, by="model", xlabel="", width=7.2):
    """Mean accuracy as groups of bars: a group for each ``x``, a bar for each ``by``.

    Numbers grow from left to right; names stand in order of appearance. Thin lines are one standard
    deviation over seeds. ``width`` is in inches. Returns the Figure. Raises ``ValueError`` if there
    are no rows.

    >>> import matplotlib.pyplot as plt
    >>> row = {"model": "vit", "kind": "none", "mean": 0.4, "std": None, "n": 1, "seeds": [0]}
    >>> plt.close(result_bars([row, {**row, "kind": "pixels"}], "kind"))
    """
    series = list(_series(rows, x, by))
    groups = list(dict.fromkeys(row[x] for row in rows))
    if not any(isinstance(group, str) for group in groups):
        groups.sort()
    colours = model_colours([name for name, _, _ in series])
    opened, ax = figure(width, 3.6)
    width = 0.8 / len(series)  # of a bar
    for i, (name, _, members) in enumerate(series):
        places = [groups.index(row[x]) + (i - (len(series) - 1) / 2) * width for row in members]
        heights = [100 * row["mean"] for row in members]
        spread = [_spread(row) for row in members]
        bars = ax.bar(places, heights, 0.92 * width, yerr=spread, capsize=3, label=model_name(name),
                      color=colours[name])  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", fontsize=9, padding=2)
    slanted = {"rotation": 20, "ha": "right"} if len(groups) > 6 else {}  # many names would touch
    names = [model_name(g) if isinstance(g, str) else f"{g:,}" for g in groups]
    ax.set_xticks(range(len(groups)), names, **slanted)
    ax.set(xlabel=xlabel or x, ylabel="accuracy, %")
    opened.legend(loc="outside lower center", ncols=4)
    return opened


def result_explorer(rows, x, by="model", style=None, xlabel="", log=True):
    """The lines of :func:`result_lines` to explore; returns a plotly Figure.

    A point tells its mean, spread and seeds; a click in the legend hides a line. Raises
    ``ValueError`` if there are no rows.

    >>> row = {"model": "vit", "images": 500, "mean": 0.4, "std": 0.01, "n": 3, "seeds": [0, 1, 2]}
    >>> len(result_explorer([row, {**row, "model": "cnn"}], "images").data)
    2
    """
    colours, _, dashes = _looks(rows, by, style)
    series = list(_series(rows, x, by, style))
    ends = [
        f"{_label(name, kind)} goes from {members[0]['mean']:.0%} to {members[-1]['mean']:.0%}"
        for name, kind, members in series
    ]
    axis = {"title": xlabel or x, "type": "log" if log else "linear"}
    axis["tickvals"] = sorted({row[x] for row in rows})
    plot = plotly_figure(
        f"Mean accuracy against {xlabel or x}, a line for each {by}: " + "; ".join(ends) + ".",
        height=440, xaxis=axis, yaxis={"title": "accuracy", "tickformat": ".0%"},
        legend={"orientation": "h", "y": -0.25}, margin={"t": 20, "r": 16, "b": 120},
    )  # fmt: skip
    for name, kind, members in series:
        plot.add_scatter(
            x=[row[x] for row in members],
            y=[row["mean"] for row in members],
            error_y={"type": "data", "array": [row["std"] for row in members]},
            text=[f"{row['n']} seeds" if row["n"] > 1 else "one seed" for row in members],
            mode="lines+markers", name=_label(name, kind),
            line={"color": colours[name], "dash": dashes[kind][1]}, marker={"size": 7},
            hovertemplate="%{x:,}: %{y:.1%} (%{text})<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    return plot
