"""Figures of inductive bias: chapter 10."""

import math

import torch
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from .style import COLOURS, CYCLE, DIVERGING, SEQUENTIAL, figure, model_colours, styled

MARKS = "osD^vP*X"


@styled
def shift_errors(panels, cell=None, ylabel="relative difference"):
    """Errors against the size of a shift, a panel for each measure; returns the Figure.

    ``panels`` maps a title to a dictionary of model names and errors, one for each shift of 0, 1,
    2, ... pixels. Dotted lines mark the multiples of ``cell`` pixels, if it is given.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(shift_errors({"map": {"ViT": [0.0, 0.6, 0.0], "CNN": [0.0, 0.5, 0.1]}}, cell=2))
    """
    opened, axes = figure(7.2, 3.9, 1, len(panels), squeeze=False)
    for axis, (title, errors) in zip(axes[0], panels.items(), strict=True):
        longest = max(map(len, errors.values()))
        colours = model_colours(errors)
        for place in range(0, longest, cell or longest):
            axis.axvline(place, color=COLOURS["grey"], ls=":", lw=1, zorder=0)
        for number, (name, values) in enumerate(errors.items()):
            style = {"color": colours[name], "marker": MARKS[number % len(MARKS)]}
            style |= {"mfc": "none", "ms": 10} if number % 2 == 0 else {"ms": 5}  # see both of two
            axis.plot(values, "-", lw=1.6, label=name, **style)
        axis.set(title=title, xlabel="shift to the right (pixels)", ylim=(-0.03, None))
        axis.set_xticks(range(longest))
        axis.grid(True, axis="y")
    axes[0, 0].set_ylabel(ylabel)
    handles, names = axes[0, 0].get_legend_handles_labels()
    opened.legend(handles, names, loc="outside lower center", ncols=3)
    return opened


@styled
def cell_maps(rows, log=False, label="", outline=None, width=7.2):
    """Maps of numbers >= 0 in a grid, all on one colour scale; returns the Figure.

    ``rows`` maps the name of each row to a dictionary of titles and maps (h, w). With ``log`` the
    scale is logarithmic over the largest five powers of ten, and zeros are white. ``outline`` is a
    rectangle (top, left, height, width) in cells, drawn on every map; ``label`` names the scale.
    Raises ``ValueError`` if rows differ in their number of maps.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(cell_maps({"CNN": {"layer 1": torch.rand(8, 8), "layer 2": torch.rand(8, 8)}}))
    """
    columns = len(next(iter(rows.values())))
    if any(len(maps) != columns for maps in rows.values()):
        raise ValueError("rows must have the same number of maps each")
    cell = min(1.9, (width - 1.4) / columns)
    opened, axes = figure(width, (cell + 0.3) * len(rows) + 0.15, len(rows), columns, squeeze=False)
    top = max(map_.max().item() for maps in rows.values() for map_ in maps.values())
    norm = LogNorm(top * 1e-5, top, clip=False) if log else None
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for axis, (title, map_) in zip(line, maps.items(), strict=True):
            shown = map_.where(map_ > 0, torch.nan) if log else map_
            shown = shown.clamp(min=top * 1e-5) if log else shown
            limits = {} if log else {"vmin": 0, "vmax": top}
            image = axis.imshow(shown.numpy(), cmap=SEQUENTIAL, norm=norm, **limits)
            axis.set_title(title, fontsize=9.5)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color=COLOURS["grey"], lw=0.6)
            if outline is not None:
                axis.add_patch(_box(*outline))
        line[0].set_ylabel(name, fontsize=10)
    opened.colorbar(image, ax=axes, shrink=0.9, label=label, extend="min" if log else "neither")
    return opened


def _box(top, left, height, width):
    style = {"fill": False, "edgecolor": COLOURS["vermilion"], "lw": 1.6}
    return Rectangle((left - 0.5, top - 0.5), width, height, **style)


@styled
def reach_by_depth(distances, uniform, ylabel="mean distance (pixels)"):
    """How far the last unit looks, against its depth; returns the Figure.

    ``distances`` maps a model's name to a list of pairs (name of the layer, distance), first layer
    first; ``uniform`` is the distance if all pixels counted alike, a dotted line.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(reach_by_depth({"ViT": [("embedding", 1.5), ("block 0", 4.0)]}, uniform=12.3))
    """
    opened, axis = figure(7.2, 3.4)
    colours = model_colours(distances)
    for number, (name, line) in enumerate(distances.items()):
        x = [i / (len(line) - 1) for i in range(len(line))]
        mark = MARKS[number % len(MARKS)]
        reached = [distance for _, distance in line]
        axis.plot(x, reached, marker=mark, label=name, color=colours[name])
    axis.axhline(uniform, color=COLOURS["grey"], ls=":")
    axis.annotate("all pixels alike", (0, uniform), (0, 4), textcoords="offset points", fontsize=9)
    axis.set(xlabel="depth", ylabel=ylabel, ylim=(0, 1.15 * uniform))
    axis.set_xticks([0, 0.5, 1], ["first layer", "half-way", "last layer"])
    axis.grid(True, axis="y")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return opened


@styled
def mixing_matrices(matrices):
    """Which place feeds which, as matrices (N, N) side by side; returns the Figure.

    ``matrices`` maps titles to matrices whose row i holds the weights that make place i. Each has
    its own scale around zero: red above, blue below, pale near zero.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(mixing_matrices({"identity": torch.eye(4), "dense": torch.randn(4, 4)}))
    """
    opened, axes = figure(7.2, 2.5, 1, len(matrices), squeeze=False)
    for axis, (title, matrix) in zip(axes[0], matrices.items(), strict=True):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"{title!r} of shape {tuple(matrix.shape)} must be (N, N)")
        top = matrix.abs().max().item()
        axis.imshow(matrix.numpy(), cmap=DIVERGING, vmin=-top, vmax=top)
        axis.set_title(title, fontsize=9.5)
        axis.set(xticks=[], yticks=[], xlabel="from place")
    axes[0, 0].set_ylabel("to place")
    return opened


@styled
def where_it_looks(weights, grid, queries):
    """The attention weights of chosen patches as maps over the grid; returns the Figure.

    ``weights`` is (N, N) for a ``grid`` (gh, gw); ``queries`` lists patches as (row, column). A
    frame marks the query. Raises ``ValueError`` if the sizes do not fit.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(where_it_looks(torch.eye(6), (2, 3), [(0, 1), (1, 2)]))
    """
    gh, gw = grid
    if tuple(weights.shape) != (gh * gw, gh * gw):
        raise ValueError(f"weights of shape {tuple(weights.shape)} must be (N, N), N = {gh} * {gw}")
    columns = min(4, len(queries))
    lines = math.ceil(len(queries) / columns)
    opened, axes = figure(7.2, 1.75 * lines, lines, columns, squeeze=False)
    for axis in axes.flat[len(queries) :]:
        axis.set_visible(False)
    for axis, (row, column) in zip(axes.flat, queries, strict=False):
        map_ = weights[row * gw + column].view(gh, gw)
        axis.imshow(map_.numpy(), cmap=SEQUENTIAL, vmin=0, vmax=1)
        axis.add_patch(_box(row, column, 1, 1))
        axis.set_title(f"row {row}, column {column}", fontsize=9.5)
        axis.set_xticks([x - 0.5 for x in range(1, gw)], [])
        axis.set_yticks([y - 0.5 for y in range(1, gh)], [])
        axis.tick_params(length=0)
        axis.grid(True, color=COLOURS["grey"], lw=0.6)
    return opened


@styled
def accuracy_bars(groups, chance=None):
    """Accuracies as bars, a group for each model; returns the Figure.

    ``groups`` maps a model's name to a dictionary of condition and accuracy (a fraction); every
    model has the same conditions. ``chance`` draws the line of guessing.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(accuracy_bars({"vit": {"plain": 0.4, "shuffled": 0.3}}, chance=0.1))
    """
    conditions = list(next(iter(groups.values())))
    if any(list(bars) != conditions for bars in groups.values()):
        raise ValueError(f"every group must have the conditions {conditions}")
    opened, axis = figure(7.2, 3.4)
    width = 0.8 / len(conditions)
    for number, condition in enumerate(conditions):
        heights = [100 * bars[condition] for bars in groups.values()]
        places = [i + (number - (len(conditions) - 1) / 2) * width for i in range(len(groups))]
        bars = axis.bar(places, heights, 0.92 * width, label=condition, color=CYCLE[number])
        axis.bar_label(bars, fmt="%.0f", fontsize=9, padding=2)
    if chance is not None:
        axis.axhline(100 * chance, color=COLOURS["grey"], ls=":", label="guessing")
    axis.set_xticks(range(len(groups)), list(groups))
    axis.set(ylabel="accuracy (%)")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return opened
