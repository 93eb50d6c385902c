"""Figures of training: chapters 8 and 9.

A training curve is what ``vit_teach.train`` gives: a list of rows (dictionaries with the same
keys), or, as in a result card, a dictionary of lists.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import explained, whole
from ..results.summary import Card
from .style import (
    COLOURS,
    CYCLE,
    MARKS,
    figure,
    plain_numbers,
    plotly_figure,
    show_pixels,
    styled,
)

TRAIN, VALIDATION = COLOURS["orange"], COLOURS["blue"]

Columns = dict[str, list[Any]]
Curve = list[dict[str, Any]] | Columns


def columns(curve: Curve) -> Columns:
    """A training curve as a dictionary of lists of equal length, from either of its two forms.

    Raises ``ValueError`` if it is empty or its columns differ in length.

    >>> columns([{"step": 1, "val_accuracy": 0.2}, {"step": 2, "val_accuracy": 0.3}])
    {'step': [1, 2], 'val_accuracy': [0.2, 0.3]}
    """
    if not isinstance(curve, dict):
        curve = {key: [row[key] for row in curve] for key in (curve[0] if curve else ())}
    if len({len(values) for values in curve.values()}) != 1 or not curve.get("step"):
        raise ValueError(f"curve of {list(curve)} must have a 'step' and columns of equal length")
    return curve


@styled
def augmentation_grid(originals: Tensor, altered: Tensor, names: Sequence[str] = ()) -> Figure:
    """Each image, then altered copies of it in the same row; returns the Figure.

    ``originals`` is (n, C, H, W), ``altered`` (n, copies, C, H, W); uint8, or float from 0 to 1.
    ``names`` are written beside the rows. Raises ``ValueError`` if the two do not fit.

    >>> import matplotlib.pyplot as plt, torch
    >>> plt.close(augmentation_grid(torch.rand(2, 3, 8, 8), torch.rand(2, 4, 3, 8, 8)))
    """
    if altered.ndim != 5 or altered.shape[0] != len(originals) or not len(originals):
        raise ValueError(
            f"altered of shape {tuple(altered.shape)} must be (n, copies, C, H, W) with "
            f"n={len(originals)}, and n at least 1"
        )
    rows, copies = altered.shape[:2]
    shape = {"rows": rows, "columns": 1 + copies, "squeeze": False}
    fig, axes = figure(7.2, 0.3 + 7.0 * rows / (1 + copies), **shape)
    for row in range(rows):
        show_pixels(axes[row, 0], originals[row])
        if row < len(names):
            axes[row, 0].set_ylabel(names[row], fontsize=9)
        for copy in range(copies):
            show_pixels(axes[row, 1 + copy], altered[row, copy])
    axes[0, 0].set_title("original", fontsize=9)
    axes[0, (1 + copies) // 2].set_title("as trained on", fontsize=9)
    return fig


@styled
def singular_values(**spectra: Tensor | Sequence[float]) -> Figure:
    """Singular values from the largest to the smallest, a line for each; returns the Figure.

    Each argument is a name (underscores become spaces) and its values, a 1-D tensor or list.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(singular_values(before=[3.0, 0.1], after=[1.1, 0.9]))
    """
    fig, ax = figure(7.2, 3.2)
    for (name, values), mark in zip(spectra.items(), MARKS, strict=False):
        place = range(1, len(values) + 1)
        ax.plot(place, values, f"{mark}-", label=name.replace("_", " "), markersize=3)
    ax.set(xlabel="singular value, the largest first", ylabel="size", yscale="log")
    plain_numbers(ax.yaxis)
    ax.legend()
    ax.grid(True)
    return fig


@styled
def schedule_curve(fractions: Sequence[float], warmup: int) -> Figure:
    """The learning rate as a fraction of its peak, for each step; returns the Figure.

    ``fractions`` holds one number per step; the first ``warmup`` of them are the rise.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(schedule_curve([0.5, 1.0, 0.6, 0.1], warmup=2))
    """
    whole("warmup", warmup)
    fig, ax = figure(7.2, 2.8)
    ax.axvspan(0, warmup, color=COLOURS["sky"], alpha=0.25, linewidth=0)
    ax.annotate("warm-up", (warmup, 0.06), xytext=(6, 0), textcoords="offset points")
    ax.plot(range(len(fractions)), fractions, color=COLOURS["blue"])
    ax.set(xlabel="step", ylabel="fraction of the peak rate", ylim=(0, 1.08), xlim=(0, None))
    ax.grid(True)
    return fig


@styled
def weight_paths(steps: Sequence[float], **paths: Sequence[float]) -> Figure:
    """One weight along a run: the steps taken and averages of them; returns the Figure.

    ``steps`` are the values of the weight itself, drawn thin; each of ``paths`` is a name
    (underscores become spaces) and as many values. The best value is 0.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(weight_paths([2.0, -1.0, 1.0], running_average=[2.0, 1.0, 0.9]))
    """
    fig, ax = figure(7.2, 2.9)
    ax.axhline(0, color=COLOURS["grey"], linewidth=1, linestyle="--", label="best value")
    ax.plot(range(len(steps)), steps, color=COLOURS["sky"], linewidth=0.8, label="the weight")
    for (name, values), colour in zip(paths.items(), CYCLE[1:], strict=False):
        ax.plot(range(len(values)), values, color=colour, label=name.replace("_", " "))
    ax.set(xlabel="step", ylabel="value")
    ax.legend(ncols=len(paths) + 2, loc="upper right")
    return fig


@styled
def learning_curves(runs: Mapping[str, Curve], chance: float | None = None) -> Figure:
    """Accuracy on training and validation images against the epoch, a panel for each run.

    ``runs`` is a dictionary of titles and training curves; ``chance`` draws a line at the accuracy
    of guessing. Returns the Figure. Raises ``ValueError`` for an empty curve.

    >>> import matplotlib.pyplot as plt
    >>> curve = {"step": [1], "epoch": [1.0], "train_accuracy": [0.3], "val_accuracy": [0.2]}
    >>> plt.close(learning_curves({"a run": curve}, chance=0.1))
    """
    fig, axes = figure(7.2, 3.1, columns=len(runs), sharey=True, squeeze=False)
    for ax, (title, curve) in zip(axes[0], runs.items(), strict=True):
        curve = columns(curve)
        ax.plot(curve["epoch"], curve["train_accuracy"], "s--", color=TRAIN, markersize=4,
                label="training images, as trained on")  # fmt: skip
        ax.plot(curve["epoch"], curve["val_accuracy"], "o-", color=VALIDATION, markersize=4,
                label="validation images")  # fmt: skip
        if chance is not None:
            ax.axhline(chance, color=COLOURS["grey"], linewidth=1, linestyle=":", label="guessing")
        ax.set(title=title, xlabel="epoch", ylim=(0, 1.02), xlim=(0, None))
        ax.grid(True)
    axes[0, 0].set_ylabel("accuracy")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def _runs(cards: Sequence[Card]) -> Iterator[tuple[str, list[float], Columns]]:
    """(name, minutes, curve) of each recorded run."""
    if not cards:
        raise ValueError("cards=[] must hold at least one result card")
    for card in cards:
        curve = columns(card["curves"])
        yield card["cell"], [second / 60 for second in curve["seconds"]], curve


@styled
def recorded_curves(cards: Sequence[Card]) -> Figure:
    """Accuracy and loss of recorded runs against wall time, for print; returns the Figure.

    ``cards`` are result cards. Solid lines are validation images, dashed ones training images.
    Raises ``ValueError`` if there is no card.

    >>> import matplotlib.pyplot as plt
    >>> names = "step seconds train_accuracy val_accuracy train_loss val_loss".split()
    >>> plt.close(recorded_curves([{"cell": "a", "curves": {name: [0.5] for name in names}}]))
    """
    fig, axes = figure(7.2, 3.3, columns=2)
    for (name, minutes, curve), colour in zip(_runs(cards), CYCLE * 9, strict=False):
        for ax, what in zip(axes, ("accuracy", "loss"), strict=True):
            label = {"label": name} if what == "accuracy" else {}
            ax.plot(minutes, curve[f"val_{what}"], "o-", color=colour, markersize=3, **label)
            ax.plot(minutes, curve[f"train_{what}"], "--", color=colour, linewidth=1.3)
    for ax, what in zip(axes, ("accuracy", "loss"), strict=True):
        ax.set(title=what, xlabel="minutes of training", xlim=(0, None))
        ax.grid(True)
    axes[0].plot([], [], "o-", color=COLOURS["grey"], markersize=3, label="validation")
    axes[0].plot([], [], "--", color=COLOURS["grey"], linewidth=1.3, label="training")
    fig.legend(loc="outside lower center", ncols=4)
    return fig


@explained
def run_explorer(cards: Sequence[Card]) -> Any:
    """Accuracy of recorded runs against wall time, to explore; returns a plotly Figure.

    ``cards`` are result cards. A point tells its epoch, step, losses and learning rate; a click in
    the legend hides a line. Raises ``ValueError`` if there is no card.

    >>> names = "step epoch seconds learning_rate train_accuracy val_accuracy train_loss val_loss"
    >>> card = {"cell": "a", "curves": {name: [0.5] for name in names.split()}}
    >>> len(run_explorer([card]).data)
    2
    """
    runs = list(_runs(cards))
    ends = [
        f"{name} ends at {curve['val_accuracy'][-1]:.0%} on validation images after "
        f"{minutes[-1]:.0f} minutes" for name, minutes, curve in runs
    ]  # fmt: skip
    plot = plotly_figure(
        "Accuracy against minutes of training for each recorded run, on training and on "
        "validation images: " + "; ".join(ends) + ".",
        xaxis={"title": "minutes of training", "rangemode": "tozero"},
        yaxis={"title": "accuracy", "tickformat": ".0%"},
        legend={"orientation": "h", "y": -0.25},
        margin={"t": 20, "r": 16, "b": 110},
    )
    for (name, minutes, curve), colour in zip(runs, CYCLE * 9, strict=False):
        for part, dash in (("val", "solid"), ("train", "dot")):
            rows = zip(*(curve[k] for k in ("epoch", "step", f"{part}_loss", "learning_rate")),
                       strict=True)  # fmt: skip
            text = [f"epoch {e:.1f}, step {s:,}<br>loss {loss:.3f}<br>learning rate {rate:.2g}"
                    for e, s, loss, rate in rows]  # fmt: skip
            plot.add_scatter(
                x=minutes, y=curve[f"{part}_accuracy"], text=text, mode="lines+markers",
                name=f"{name}, {'validation' if part == 'val' else 'training'}",
                line={"color": colour, "dash": dash}, marker={"size": 5},
                hovertemplate="%{x:.1f} min: %{y:.1%}<br>%{text}<extra>%{fullData.name}</extra>",
            )  # fmt: skip
    return plot


@styled
def confusion_matrix(counts: Tensor, classes: Sequence[str]) -> Figure:
    """How often an image of each class (row) is called each class (column); returns the Figure.

    ``counts`` is a (K, K) tensor of whole numbers; colours show each row's shares. Raises
    ``ValueError`` if it is not K x K for the K ``classes``.

    >>> import matplotlib.pyplot as plt, torch
    >>> plt.close(confusion_matrix(torch.tensor([[8, 2], [1, 9]]), ("cat", "dog")))
    """
    k = len(classes)
    if tuple(counts.shape) != (k, k):
        raise ValueError(f"counts of shape {tuple(counts.shape)} must be ({k}, {k})")
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)  # (K, K), rows sum to 1
    fig, ax = figure(6.6, 5.6)
    ax.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    for row in range(k):
        for column in range(k):
            ink = "white" if shares[row, column] > 0.5 else "black"
            text = f"{int(counts[row, column])}"
            ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=9)
    ax.set(xlabel="called", ylabel="is")
    ax.set_xticks(range(k), classes, rotation=45, ha="right")
    ax.set_yticks(range(k), classes)
    ax.spines[:].set_visible(False)
    return fig


@styled
def mistakes(images: Tensor, titles: Sequence[str], per_row: int = 6) -> Figure:
    """Images with two-line titles, in rows; returns the Figure.

    ``images`` is (n, C, H, W), uint8 or float from 0 to 1; ``titles`` has n texts. Raises
    ``ValueError`` if the numbers differ or there is nothing to show.

    >>> import matplotlib.pyplot as plt, torch
    >>> plt.close(mistakes(torch.rand(2, 3, 8, 8), ["cat 99 %\\nis dog", "dog 98 %\\nis cat"]))
    """
    if len(images) != len(titles) or not len(titles):
        raise ValueError(f"{len(titles)} titles must be one for each of {len(images)} images")
    rows = math.ceil(len(images) / whole("per_row", per_row, 1, 200))
    fig, axes = figure(7.2, 1.65 * rows, rows=rows, columns=per_row, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.set_axis_on()
        show_pixels(ax, image)
        ax.set_title(title, fontsize=9, fontweight="normal")
    return fig
