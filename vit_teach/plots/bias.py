"""Figures of inductive bias: chapter 10.

The question is the one of the ViT paper (arXiv 2010.11929), section 3.1, "Inductive bias".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import whole, whole_pair
from .style import (
    COLOURS,
    DIVERGING,
    MARKS,
    PHONE,
    SEQUENTIAL,
    bar_groups,
    figure,
    model_colours,
    plain_numbers,
    square,
    styled,
)


@styled
def shift_errors(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    cell: int | None = None,
    ylabel: str = "relative difference",
) -> Figure:
    """Errors against the size of a shift, a panel for each measure; returns the Figure.

    ``panels`` maps a title to a dictionary of model names and errors, one for each shift of 0, 1,
    2, ... pixels. Dotted lines mark the multiples of ``cell`` pixels, if it is given.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(shift_errors({"map": {"ViT": [0.0, 0.6, 0.0], "CNN": [0.0, 0.5, 0.1]}}, cell=2))
    """
    if cell is not None:
        whole("cell", cell, 1)
    fig, axes = figure(7.2, 3.6, 1, len(panels), squeeze=False)
    for ax, (title, errors) in zip(axes[0], panels.items(), strict=True):
        longest = max(map(len, errors.values()))
        colours = model_colours(errors)
        for place in range(0, longest, cell or longest):
            ax.axvline(place, color=COLOURS["grey"], ls=":", lw=1, zorder=0)
        for number, (name, values) in enumerate(errors.items()):
            style: dict[str, Any] = {"color": colours[name], "marker": MARKS[number % len(MARKS)]}
            style |= {"mfc": "none", "ms": 10} if number % 2 == 0 else {"ms": 5}  # see both of two
            ax.plot(values, "-", lw=1.6, label=name, **style)
        ax.set(title=title, xlabel="shift to the right (pixels)", ylim=(-0.03, None))
        ax.set_xticks(range(longest))
        ax.grid(True, axis="y")
    axes[0, 0].set_ylabel(ylabel)
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=3)
    return fig


@styled
def cell_maps(
    rows: Mapping[str, Mapping[str, Tensor]],
    log: bool = False,
    label: str = "",
    outline: tuple[float, float, float, float] | None = None,
    width: float = 7.2,
) -> Figure:
    """Maps of numbers >= 0 in a grid, all on one colour scale; returns the Figure.

    ``rows`` maps the name of each row to a dictionary of titles and maps (h, w). With ``log`` the
    scale is logarithmic over the largest five powers of ten, and zeros are white. ``outline`` is a
    rectangle (top, left, height, width) in cells, drawn on every map; ``label`` names the scale.
    Raises ``ValueError`` if rows differ in their number of maps.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(cell_maps({"CNN": {"layer 1": torch.rand(8, 8), "layer 2": torch.rand(8, 8)}}))
    """
    columns = len([*rows.values()][0])
    if any(len(maps) != columns for maps in rows.values()):
        raise ValueError("rows must have the same number of maps each")
    cell = min(1.9, (width - 1.4) / columns)
    fig, axes = figure(width, (cell + 0.3) * len(rows) + 0.15, len(rows), columns, squeeze=False)
    top = max(map_.max().item() for maps in rows.values() for map_ in maps.values())
    norm = LogNorm(top * 1e-5, top, clip=False) if log else None
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for ax, (title, map_) in zip(line, maps.items(), strict=True):
            shown = map_.where(map_ > 0, torch.nan) if log else map_
            shown = shown.clamp(min=top * 1e-5) if log else shown
            limits = {} if log else {"vmin": 0, "vmax": top}
            image = ax.imshow(shown.numpy(), cmap=SEQUENTIAL, norm=norm, **limits)
            ax.set_title(title, fontsize=9.5)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=True, color=COLOURS["grey"], lw=0.6)
            if outline is not None:
                square(ax, *outline)
        line[0].set_ylabel(name, fontsize=10)
    bar = fig.colorbar(image, ax=axes, shrink=0.9, label=label, extend="min" if log else "neither")
    if log:
        plain_numbers(bar.ax.yaxis)
    return fig


@styled
def reach_by_depth(
    distances: Mapping[str, Sequence[tuple[str, float]]],
    uniform: float,
    ylabel: str = "mean distance (pixels)",
) -> Figure:
    """How far the last unit looks, against its depth; returns the Figure.

    ``distances`` maps a model's name to a list of pairs (name of the layer, distance), first layer
    first; ``uniform`` is the distance if all pixels counted alike, a dotted line.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(reach_by_depth({"ViT": [("embedding", 1.5), ("block 0", 4.0)]}, uniform=12.3))
    """
    fig, ax = figure(7.2, 3.4)
    colours = model_colours(distances)
    for number, (name, line) in enumerate(distances.items()):
        x = [i / (len(line) - 1) for i in range(len(line))]
        mark = MARKS[number % len(MARKS)]
        reached = [distance for _, distance in line]
        ax.plot(x, reached, marker=mark, label=name, color=colours[name])
    ax.axhline(uniform, color=COLOURS["grey"], ls=":")
    ax.annotate("all pixels alike", (0, uniform), (0, 4), textcoords="offset points", fontsize=9)
    ax.set(xlabel="depth", ylabel=ylabel, ylim=(0, 1.15 * uniform))
    ax.set_xticks([0, 0.5, 1], ["first layer", "half-way", "last layer"])
    ax.grid(True, axis="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


@styled
def mixing_matrices(matrices: Mapping[str, Tensor]) -> Figure:
    """Which place feeds which, as matrices (N, N) side by side; returns the Figure.

    ``matrices`` maps titles to matrices whose row i holds the weights that make place i. Each has
    its own scale around zero: red above, blue below, pale near zero.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(mixing_matrices({"identity": torch.eye(4), "dense": torch.randn(4, 4)}))
    """
    fig, axes = figure(7.2, 2.5, 1, len(matrices), squeeze=False)
    for ax, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"{title!r} of shape {tuple(matrix.shape)} must be (N, N)")
        top = matrix.abs().max().item()
        ax.imshow(matrix.numpy(), cmap=DIVERGING, vmin=-top, vmax=top)
        ax.set_title(title, fontsize=9.5)
        ax.set(xticks=[], yticks=[], xlabel="from place")
    axes[0, 0].set_ylabel("to place")
    return fig


@styled
def where_it_looks(
    weights: Tensor, grid: tuple[int, int], queries: Sequence[tuple[int, int]]
) -> Figure:
    """The attention weights of chosen patches as maps over the grid; returns the Figure.

    ``weights`` is (N, N) for a ``grid`` (gh, gw); ``queries`` lists patches as (row, column). A
    frame marks the query. Raises ``ValueError`` if the sizes do not fit.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(where_it_looks(torch.eye(6), (2, 3), [(0, 1), (1, 2)]))
    """
    gh, gw = whole_pair("grid", grid)
    for row, column in queries:
        whole("queries: row", row, 0, gh - 1)
        whole("queries: column", column, 0, gw - 1)
    if tuple(weights.shape) != (gh * gw, gh * gw):
        raise ValueError(f"weights of shape {tuple(weights.shape)} must be (N, N), N = {gh} * {gw}")
    columns = min(4, len(queries))
    lines = math.ceil(len(queries) / columns)
    fig, axes = figure(7.2, 1.75 * lines, lines, columns, squeeze=False)
    for ax in axes.flat[len(queries) :]:
        ax.set_visible(False)
    for ax, (row, column) in zip(axes.flat, queries, strict=False):
        map_ = weights[row * gw + column].view(gh, gw)
        ax.imshow(map_.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=1)
        square(ax, row, column, 1, 1)
        ax.set_title(f"row {row}, column {column}", fontsize=9.5)
        ax.set_xticks([x - 0.5 for x in range(1, gw)], [])
        ax.set_yticks([y - 0.5 for y in range(1, gh)], [])
        ax.tick_params(length=0)
        ax.grid(True, color=COLOURS["grey"], lw=0.6)
    return fig


@styled
def accuracy_bars(groups: Mapping[str, Mapping[str, float]], chance: float | None = None) -> Figure:
    """Accuracies as bars, a group for each model; returns the Figure.

    ``groups`` maps a model's name to a dictionary of condition and accuracy (a fraction); every
    model has the same conditions. ``chance`` draws the line of guessing. Raises ``ValueError`` if
    the conditions differ.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(accuracy_bars({"vit": {"plain": 0.4, "shuffled": 0.3}}, chance=0.1))
    """
    conditions = list([*groups.values()][0])
    if any(list(bars) != conditions for bars in groups.values()):
        raise ValueError(f"every group must have the conditions {conditions}")
    fig, ax = figure(PHONE, 2.9)
    series = {c: {name: 100 * bars[c] for name, bars in groups.items()} for c in conditions}
    bar_groups(ax, list(groups), series)
    if chance is not None:
        ax.axhline(100 * chance, color=COLOURS["grey"], ls=":", label="guessing")
    ax.set_xticks(range(len(groups)), [name.replace(", ", ",\n") for name in groups])
    ax.set(ylabel="accuracy (%)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig
