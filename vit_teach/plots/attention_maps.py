"""Figures of what attention sees: chapter 14.

Source: the layouts of the ViT paper (arXiv 2010.11929), Figures 6, 7 and 11.
"""

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import whole
from .style import COLOURS, CYCLE, MARKS, SEQUENTIAL, figure, show_pixels, styled


@styled
def distance_by_block(
    distances: Mapping[str, Tensor],
    uniform: float,
    ylabel: str = "mean attention distance (pixels)",
) -> Figure:
    """A number for each head of each block, for several models on one axis; returns the Figure.

    ``distances`` maps a model's name to a tensor (L, H): a dot for each head, a line through the
    means of the blocks. ``uniform``, the value of a head with equal weights everywhere, is a
    dashed line. Raises ``ValueError`` if the models differ in their number of blocks.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(distance_by_block({"trained": torch.rand(4, 3)}, uniform=0.5))
    """
    depths = {len(table) for table in distances.values()}
    if len(depths) != 1:
        raise ValueError(f"models must have the same number of blocks, not {sorted(depths)}")
    fig, ax = figure(7.2, 3.7)
    ax.axhline(uniform, color=COLOURS["black"], ls="--", lw=1.2, label="everywhere alike")
    for number, (name, table) in enumerate(distances.items()):
        table = torch.as_tensor(table).detach().cpu()
        place = torch.arange(1, len(table) + 1) + 0.16 * (number - (len(distances) - 1) / 2)
        style = {"color": CYCLE[number % len(CYCLE)], "marker": MARKS[number % len(MARKS)]}
        ax.plot(place, table.mean(dim=1), lw=1.4, ms=0, color=style["color"])
        dots = place[:, None].expand_as(table).flatten()
        ax.plot(dots, table.flatten(), ls="", ms=5.5, alpha=0.8, label=name, **style)
    ax.set_xticks(range(1, depths.pop() + 1))
    ax.set(xlabel="block", ylabel=ylabel, ylim=(0, 1.05 * ax.dataLim.y1))  # no dot is cut off
    ax.grid(True, axis="y")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


@styled
def distance_shares(panels: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Heads of models of any depth, a panel for each, on one axis; returns the Figure.

    ``panels`` maps a title to a dictionary of names and tensors (L, H): distances as shares of the
    uniform line, which is dashed at 1. A dot for each head, a line through the means of the blocks.
    The first name of a panel is filled, the second, its control, is open. Raises ``ValueError`` if
    the models of a panel differ in their number of blocks.

    >>> import matplotlib.pyplot as plt
    >>> heads = {"trained": torch.rand(4, 3), "untrained": torch.ones(4, 3)}
    >>> plt.close(distance_shares({"small": heads, "large": {"trained": torch.rand(12, 6)}}))
    """
    widths = [max(map(len, tables.values())) + 4 for tables in panels.values()]
    settings = {"squeeze": False, "sharey": True, "width_ratios": widths}
    fig, axes = figure(7.2, 3.9, 1, len(panels), **settings)
    for ax, (title, tables) in zip(axes.flat, panels.items(), strict=True):
        _shares(ax, title, tables)
    axes[0, 0].set_ylabel("mean attention distance, share of the line")
    named: dict[str, Artist] = {}  # one entry for a name that stands in several panels
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    fig.legend(named.values(), named, loc="outside lower center", ncols=3)
    return fig


def _shares(ax: Axes, title: str, tables: Mapping[str, Tensor]) -> None:
    """One panel: blocks to the right, shares of the uniform line upwards."""
    depths = {len(table) for table in tables.values()}
    if len(depths) != 1:
        raise ValueError(f"{title!r} must have models of one depth, not {sorted(depths)}")
    ax.axhline(1, color=COLOURS["black"], ls="--", lw=1.2, label="everywhere alike")
    for number, (name, table) in enumerate(tables.items()):
        colour = CYCLE[number % len(CYCLE)]
        look: dict[str, Any] = {"color": colour, "marker": MARKS[number % len(MARKS)]}
        look["markerfacecolor"] = colour if number == 0 else "none"
        place = torch.arange(1, len(table) + 1)
        ax.plot(place, table.mean(dim=1), lw=1.4, color=colour)
        dots = place[:, None].expand_as(table).flatten()
        ax.plot(dots, table.flatten(), ls="", ms=5, alpha=0.8, label=name, **look)
    depth = depths.pop()
    ax.set_xticks(range(1, depth + 1), [str(block) for block in range(1, depth + 1)])
    ax.set(title=title, xlabel="block", ylim=(0, 1.3), xlim=(0.3, depth + 0.7))
    ax.grid(True, axis="y")


@styled
def picture_and_maps(image: Tensor, maps: Mapping[str, Tensor], per_row: int = 4) -> Figure:
    """A picture, then maps of it, each on its own scale from 0; returns the Figure.

    ``image`` is (3, H, W), uint8 or float from 0 to 1; ``maps`` a dictionary of titles and maps
    (gh, gw) of numbers >= 0. Raises ``ValueError`` for a negative number.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(picture_and_maps(torch.rand(3, 8, 8), {"rollout": torch.rand(2, 2)}))
    """
    if any(map_.min() < 0 for map_ in maps.values()):
        raise ValueError("maps must not be negative")
    rows = -(-(len(maps) + 1) // whole("per_row", per_row, 1, 200))
    fig, axes = figure(7.2, 2.05 * rows, rows, per_row, squeeze=False)
    for ax in axes.flat[len(maps) + 1 :]:
        ax.set_visible(False)
    show_pixels(axes.flat[0], image, "the picture")
    for ax, (title, map_) in zip(axes.flat[1:], maps.items(), strict=False):
        ax.imshow(map_.detach().cpu().numpy(), cmap=SEQUENTIAL, vmin=0, interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=title)
        ax.spines[:].set_visible(False)
    for ax in axes.flat:
        ax.title.set_fontsize(9.5)
    return fig
