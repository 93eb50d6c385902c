"""Figures of the position tables: chapter 4.

Source: ViT paper (arXiv 2010.11929), section 4.5, Figure 7, and appendix D.4.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import require_tensor, whole, whole_pair
from ..probe.parameters import cosine_similarity, tiles
from ..vit.embedding import RESIZE_RULES, resize_positions
from .style import CYCLE, DIVERGING, SEQUENTIAL, figure, styled

SIMILARITY = {"cmap": DIVERGING, "vmin": -1, "vmax": 1, "interpolation": "nearest"}

Array = np.ndarray[Any, np.dtype[Any]]


def _check_grid(tables: Mapping[str, Tensor], grid: tuple[int, int]) -> None:
    """Raise ``ValueError`` unless each table (N, D) has a row for each place of the grid."""
    whole_pair("grid", grid)
    for name, table in tables.items():
        if table.ndim != 2 or len(table) != grid[0] * grid[1]:
            raise ValueError(
                f"table {name!r} of shape {tuple(table.shape)} must be ({grid[0] * grid[1]}, D) "
                f"for grid={tuple(grid)}"
            )


@styled
def similarity_tiles(tables: Mapping[str, Tensor], grid: tuple[int, int]) -> Figure:
    """Every position compared with every other, for several tables; returns the Figure.

    ``tables`` is a dictionary of names and tables (N, D) without the class token's row, ``grid``
    is (gh, gw). In a panel, the tile at (r, c) is a picture of the grid: the cosine similarity of
    position (r, c) with each position. Source: the layout of ViT paper, Figure 7, centre.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(similarity_tiles({"random": torch.randn(6, 8)}, (2, 3)))
    """
    _check_grid(tables, grid)
    columns = min(2, len(tables))
    rows = math.ceil(len(tables) / columns)
    fig, axes = figure(7.2, 3.3 * rows, rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        picture = ax.imshow(tiles(cosine_similarity(table), grid).numpy(), **SIMILARITY)
        ax.set_title(name)
    fig.colorbar(picture, ax=axes, label="cosine similarity", shrink=0.5)
    return fig


@styled
def table_image(table: Tensor, title: str = "") -> Figure:
    """A position table as a picture: a row for each position, a column for each of D numbers.

    ``table`` is (N, D). Returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(table_image(torch.randn(6, 8)))
    """
    fig, ax = figure(7.2, 3.2)
    top = table.abs().max().item()
    picture = ax.imshow(
        table.detach().numpy(), cmap=DIVERGING, vmin=-top, vmax=top, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    ax.set(xlabel="column of the table (0 to D - 1)", ylabel="position", title=title)
    fig.colorbar(picture, ax=ax)
    return fig


@styled
def offset_similarity(one: Tensor, two: Tensor, grid: tuple[int, int]) -> Figure:
    """How alike two positions are, by the offset between them, for fixed tables; the Figure.

    ``one`` and ``two`` are the 1-D and the 2-D table (N, D) of ``grid`` (gh, gw). Left: the 1-D
    table, against the difference of the patch numbers. Right: the 2-D table, against the offset in
    rows and columns. Both are scaled so that no offset gives 1.

    >>> import matplotlib.pyplot as plt, vit_teach as vt
    >>> fig = offset_similarity(vt.sincos_1d(6, 8), vt.sincos_2d((2, 3), 8), (2, 3))
    >>> plt.close(fig)
    """
    _check_grid({"one": one, "two": two}, grid)
    gh, gw = grid
    fig, (left, right) = figure(7.2, 2.9, columns=2)
    left.plot(cosine_similarity(one)[0].numpy(), color=CYCLE[0])
    for row in range(1, gh):
        left.axvline(row * gw, color=CYCLE[1], linewidth=0.8, linestyle="--")
    left.set(xlabel="difference of the patch numbers", ylabel="similarity", title="1-D table")
    near = cosine_similarity(two)[0].reshape(gh, gw).numpy()
    picture = right.imshow(near, cmap=SEQUENTIAL, interpolation="nearest", vmax=1)
    right.set(xlabel="columns apart", ylabel="rows apart", title="2-D table")
    fig.colorbar(picture, ax=right)
    return fig


@styled
def resized_slice(
    table: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    column: int,
    prefix_tokens: int = 0,
) -> Figure:
    """One column of a table along the top row of patches, resized by each rule; the Figure.

    ``table`` is (1, prefix_tokens + N, D) for ``old_grid``. The dots are the old values, each at
    the place of its patch's centre in the image (0 is the left edge, 1 the right).

    >>> import matplotlib.pyplot as plt
    >>> plt.close(resized_slice(torch.randn(1, 6, 8), (2, 3), (4, 5), column=0))
    """
    require_tensor("table", table, "(1, N, D)")
    whole("column", column, 0, table.shape[2] - 1)
    fig, ax = figure(7.2, 3.4)
    marks = ("o-", "s--", "^:", "D-.", "v-")
    for rule, mark, colour in zip(RESIZE_RULES, marks, CYCLE, strict=False):
        new = resize_positions(table, old_grid, new_grid, rule, prefix_tokens)
        line = _top_row(new, new_grid, column, prefix_tokens)
        look = {"color": colour, "markersize": 3, "linewidth": 1.2}
        ax.plot(_centres(new_grid), line, mark, label=rule, **look)
    line = _top_row(table, old_grid, column, prefix_tokens)
    ax.plot(_centres(old_grid), line, "o", color="black", markersize=7, zorder=0, label="old table")
    ax.set(xlabel="place in the image, left to right", ylabel=f"column {column} of the table")
    ax.grid(True)
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.25))
    return fig


def _centres(grid: tuple[int, int]) -> Array:
    """Where the centres of a row of patches lie, as fractions of the width (gw,)."""
    return (torch.arange(grid[1]).numpy() + 0.5) / grid[1]


def _top_row(table: Tensor, grid: tuple[int, int], column: int, prefix_tokens: int) -> Array:
    """One column of a table (1, prefix_tokens + N, D) along the top row of its grid (gw,)."""
    plane = table[0, prefix_tokens:, column].detach().reshape(tuple(grid))  # (gh, gw)
    return plane[0].numpy()
