"""Figures of cost and accuracy against it: chapters 12 and 13."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .style import COLOURS, CYCLE, MARKS, figure, model_colours, styled, time_axes

LABELS = ((5, -12, "left"), (5, -12, "left"), (-4, 7, "right"))  # where a family's names stand


@styled
def accuracy_against_compute(
    families: Mapping[str, Sequence[tuple[float, float, str]]],
    xlabel: str,
    ylabel: str = "accuracy, %",
    lines: bool = True,
    width: float = 7.2,
) -> Figure:
    """Accuracy against cost on a logarithmic axis, a colour and a mark for each family of models.

    ``families`` is a dictionary of names and lists of points (cost, accuracy in per cent, label);
    a label may be empty. ``lines`` joins the points of a family in order of cost. ``width`` is in
    inches. Returns the Figure. Raises ``ValueError`` if there is no point.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(accuracy_against_compute({"ViT": [(55, 80.73, "B/32")]}, "exaFLOPs"))
    """
    if not any(families.values()):
        raise ValueError(f"families={families!r} must hold at least one point")
    fig, ax = figure(width, 0.35 * width + 1.6)
    colours = model_colours(families)
    for i, (name, points) in enumerate(families.items()):
        points = sorted(points)
        style = {"color": colours[name], "marker": MARKS[i % len(MARKS)], "markersize": 6}
        costs, accuracies = [p[0] for p in points], [p[1] for p in points]
        ax.plot(costs, accuracies, linestyle="-" if lines else "none", label=name, **style)
        right, up, side = LABELS[i % len(LABELS)]
        for cost, accuracy, label in points:
            ax.annotate(
                label, (cost, accuracy), (right, up), ha=side, fontsize=9, color=style["color"],
                textcoords="offset points",
            )  # fmt: skip
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.margins(x=0.1, y=0.12)
    ax.grid(True)
    fig.legend(loc="outside lower center", ncols=3)
    return fig


@styled
def measured_growth(
    lengths: Sequence[int],
    samples: Mapping[str, Sequence[Sequence[float]]],
    formulas: Mapping[str, Sequence[float]],
) -> Figure:
    """Measured times against the number of tokens, with the slope that a formula promises.

    ``samples`` is a dictionary of names and, for each of ``lengths``, a list of seconds: drawn are
    the median and, as a bar, the fastest and the slowest. ``formulas`` holds for some of the names
    one number for each length (multiply-adds, say): a dashed line with its shape, through the last
    median. Returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(measured_growth([1, 2], {"MLP": [[0.1, 0.2], [0.3]]}, {"MLP": [5, 10]}))
    """
    fig, ax = figure(7.2, 3.8)
    for i, (name, lists) in enumerate(samples.items()):
        middle = [1e3 * statistics.median(times) for times in lists]
        low = [m - 1e3 * min(times) for m, times in zip(middle, lists, strict=True)]
        high = [1e3 * max(times) - m for m, times in zip(middle, lists, strict=True)]
        colour = CYCLE[i % len(CYCLE)]
        ax.errorbar(lengths, middle, yerr=[low, high], color=colour, marker=MARKS[i], markersize=5,
                    linestyle="none", capsize=3, label=name)  # fmt: skip
        if name in formulas:
            scale = middle[-1] / formulas[name][-1]
            ax.plot(lengths, [scale * value for value in formulas[name]], "--", color=colour,
                    linewidth=1.3)  # fmt: skip
    ax.plot([], [], "--", color=COLOURS["grey"], linewidth=1.3, label="slope of the formula")
    time_axes(ax)
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    return fig
