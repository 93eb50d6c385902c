"""Figures of the position tables: chapter 4."""

import math

import torch
import torch.nn.functional as F

from ..probe.parameters import cosine_similarity
from ..vit.embedding import RESIZE_RULES, resize_positions
from .style import CYCLE, DIVERGING, SEQUENTIAL, figure, styled

SIMILARITY = {"cmap": DIVERGING, "vmin": -1, "vmax": 1, "interpolation": "nearest"}


def _check_grid(tables, grid):
    """Raise ``ValueError`` unless each table (N, D) has a row for each place of the grid."""
    for name, table in tables.items():
        if table.ndim != 2 or len(table) != grid[0] * grid[1]:
            raise ValueError(
                f"table {name!r} of shape {tuple(table.shape)} must be ({grid[0] * grid[1]}, D) "
                f"for grid={tuple(grid)}"
            )


def tiles(values, grid):
    """Lay out (N, N) as a grid of N pictures, each (gh, gw), with an empty line between.

    Tile (r, c) shows row r * gw + c of ``values``. Returns (gh * (gh + 1) - 1,
    gw * (gw + 1) - 1) with NaN in the gaps.

    >>> tiles(torch.ones(6, 6), (2, 3)).shape
    torch.Size([5, 11])
    """
    gh, gw = grid
    boxes = values.reshape(gh, gw, gh, gw)
    boxes = F.pad(boxes, (0, 1, 0, 1), value=math.nan)  # (gh, gw, gh + 1, gw + 1)
    sheet = boxes.permute(0, 2, 1, 3).reshape(gh * (gh + 1), gw * (gw + 1))
    return sheet[:-1, :-1]


@styled
def similarity_tiles(tables, grid):
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
    opened, axes = figure(7.2, 3.3 * rows, rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        picture = ax.imshow(tiles(cosine_similarity(table), grid).numpy(), **SIMILARITY)
        ax.set_title(name)
    opened.colorbar(picture, ax=axes, label="cosine similarity", shrink=0.5)
    return opened


@styled
def table_image(table, title=""):
    """A position table as a picture: a row for each position, a column for each of D numbers.

    ``table`` is (N, D). Returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(table_image(torch.randn(6, 8)))
    """
    opened, ax = figure(7.2, 3.2)
    top = table.abs().max().item()
    picture = ax.imshow(
        table.detach().numpy(), cmap=DIVERGING, vmin=-top, vmax=top, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    ax.set(xlabel="column of the table (0 to D - 1)", ylabel="position", title=title)
    opened.colorbar(picture, ax=ax)
    return opened


@styled
def offset_similarity(one, two, grid):
    """How alike two positions are, by the offset between them, for fixed tables; the Figure.

    ``one`` and ``two`` are the 1-D and the 2-D table (N, D) of ``grid`` (gh, gw). Left: the 1-D
    table, against the difference of the patch numbers. Right: the 2-D table, against the offset in
    rows and columns. Both are scaled so that no offset gives 1.

    >>> import matplotlib.pyplot as plt, vit_teach as vt
    >>> figure = offset_similarity(vt.sincos_1d(6, 8), vt.sincos_2d((2, 3), 8), (2, 3))
    >>> plt.close(figure)
    """
    _check_grid({"one": one, "two": two}, grid)
    gh, gw = grid
    opened, (left, right) = figure(7.2, 2.9, columns=2)
    left.plot(cosine_similarity(one)[0].numpy(), color=CYCLE[0])
    for row in range(1, gh):
        left.axvline(row * gw, color=CYCLE[1], linewidth=0.8, linestyle="--")
    left.set(xlabel="difference of the patch numbers", ylabel="similarity", title="1-D table")
    near = cosine_similarity(two)[0].reshape(gh, gw).numpy()
    picture = right.imshow(near, cmap=SEQUENTIAL, interpolation="nearest", vmax=1)
    right.set(xlabel="columns apart", ylabel="rows apart", title="2-D table")
    opened.colorbar(picture, ax=right)
    return opened


@styled
def resized_slice(table, old_grid, new_grid, column, prefix_tokens=0):
    """One column of a table along the top row of patches, resized by each rule; the Figure.

    ``table`` is (1, prefix_tokens + N, D) for ``old_grid``. The dots are the old values, each at
    the place of its patch's centre in the image (0 is the left edge, 1 the right).

    >>> import matplotlib.pyplot as plt
    >>> plt.close(resized_slice(torch.randn(1, 6, 8), (2, 3), (4, 5), column=0))
    """
    opened, ax = figure(7.2, 3.4)
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
    return opened


def _centres(grid):
    """Where the centres of a row of patches lie, as fractions of the width (gw,)."""
    return (torch.arange(grid[1]).numpy() + 0.5) / grid[1]


def _top_row(table, grid, column, prefix_tokens):
    """One column of a table (1, prefix_tokens + N, D) along the top row of its grid (gw,)."""
    plane = table[0, prefix_tokens:, column].detach().reshape(tuple(grid))  # (gh, gw)
    return plane[0].numpy()
