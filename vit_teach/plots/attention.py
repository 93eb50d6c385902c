"""Figures of self-attention: chapters 5 and 15.

Source of what they draw: ViT paper (arXiv 2010.11929), appendix A.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import finite, whole
from .style import (
    COLOURS,
    MARKS,
    SEQUENTIAL,
    figure,
    plain_numbers,
    show_pixels,
    square,
    styled,
    time_axes,
)

ROLES = {"q": COLOURS["blue"], "k": COLOURS["orange"], "v": COLOURS["green"]}


@styled
def matrices(parts: Mapping[str, Tensor], names: Sequence[str], columns: int = 3) -> Figure:
    """Small matrices with their numbers written in the cells; returns the Figure.

    ``parts`` is a dictionary of titles and matrices (T, anything); ``names`` holds T words for the
    rows. A matrix (T, T) gets the same words below its columns. Raises ``ValueError`` for a
    matrix with another number of rows.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(matrices({"q": torch.eye(3), "k": torch.ones(3, 2)}, ["a", "b", "c"]))
    """
    rows = math.ceil(len(parts) / whole("columns", columns, 1, 200))
    fig, axes = figure(7.2, 2.1 * rows, rows, columns, squeeze=False)
    for ax in axes.flat[len(parts) :]:
        ax.set_visible(False)
    for number, (ax, (title, matrix)) in enumerate(zip(axes.flat, parts.items(), strict=False)):
        if matrix.ndim != 2 or len(matrix) != len(names):
            shape = tuple(matrix.shape)
            raise ValueError(f"{title!r} of shape {shape} must be ({len(names)}, ...)")
        top = max(matrix.abs().max().item(), 1e-9)
        ax.imshow(matrix.numpy(), cmap="Blues", vmin=0, vmax=1.6 * top)
        for (i, j), value in _cells(matrix):
            text = f"{value:.0f}" if (matrix == matrix.round()).all() else f"{value:.2f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=9)
        words = names if matrix.shape[1] == len(names) else []
        ax.set_xticks(range(len(words)), words)
        ax.tick_params(axis="x", rotation=30)
        ax.set_yticks(range(len(names)), names if number % columns == 0 else [])
        ax.set_title(f"{title}   {matrix.shape[0]} × {matrix.shape[1]}")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return fig


def _cells(matrix: Tensor) -> Iterator[tuple[tuple[int, int], float]]:
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            yield (i, j), value


@styled
def score_scale(
    widths: Sequence[int],
    plain: Sequence[tuple[float, float]],
    divided: Sequence[tuple[float, float]],
) -> Figure:
    """What the division by sqrt(h) changes; returns the Figure.

    ``widths`` lists head widths; ``plain`` and ``divided`` list a pair (largest weight of a row,
    size of the gradient at the scores) for each of them.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(score_scale([2, 4], [(0.5, 0.2), (0.9, 0.1)], [(0.3, 0.2), (0.3, 0.2)]))
    """
    fig, axes = figure(7.2, 3.0, columns=2)
    titles = ("largest weight in a row", "size of the gradient at the scores")
    for column, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        for values, colour, mark, label in (
            (plain, COLOURS["vermilion"], "o-", "q · k"),
            (divided, COLOURS["blue"], "s-", "q · k / √h"),
        ):
            line = [pair[column] for pair in values]
            ax.plot(widths, line, mark, color=colour, label=label, markersize=4)
        ax.set_xscale("log", base=2)
        plain_numbers(ax.xaxis)
        ax.set(xlabel="head width h", title=title, ylim=(0, None))
        ax.grid(True)
    axes[0].legend()
    return fig


def _row_meaning(row: int, dim: int, num_heads: int, by_head: bool | int) -> tuple[str, int]:
    """The role and head of a row of ``qkv.weight``: as stored, or as the wrong view reads it."""
    width = dim // num_heads
    block, head = row // dim, row % dim // width
    if by_head:
        head, block = row // (3 * width), row % (3 * width) // width
    return "qkv"[block], head


@styled
def packing(dim: int, num_heads: int) -> Figure:
    """The rows of ``qkv.weight``: what they are, and what a view by head takes them for.

    Returns the Figure: a column of 3 ``dim`` rows for each of the two readings.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(packing(dim=12, num_heads=3))
    """
    if whole("dim", dim, 1) % whole("num_heads", num_heads, 1, 64):
        raise ValueError(f"dim={dim} must be divisible by num_heads={num_heads}")
    fig, axes = figure(7.2, 4.2, columns=2, sharey=True)
    width = dim // num_heads
    titles = (f"what they are: view(3, {num_heads}, {width})",
              f"the trap: view({num_heads}, 3, {width})")  # fmt: skip
    for by_head, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        for start in range(0, 3 * dim, width):
            role, head = _row_meaning(start, dim, num_heads, by_head)
            style = {"color": ROLES[role], "edgecolor": "white", "linewidth": 1.5}
            ax.barh(start + width / 2, 1, height=width, alpha=0.55, **style)
            ax.text(0.5, start + width / 2, f"{role}, head {head}", ha="center", va="center")
        ax.set(title=title, xticks=[], xlim=(0, 1), ylim=(3 * dim, 0))
        ax.set_yticks(range(0, 3 * dim + 1, dim))
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("row of qkv.weight")
    return fig


@styled
def attention_on_image(
    image: Tensor, weights: Tensor, patch_size: int, queries: Sequence[tuple[int, int]]
) -> Figure:
    """Where chosen patches look: the image, then a map of weights for each; returns the Figure.

    ``image`` is (3, H, W) in 0..1; ``weights`` (N, N), a row for each patch, without class token;
    ``queries`` lists patches as (row, column) of the grid. Each map has its own scale from 0 to
    the row's largest weight. Raises ``ValueError`` if the sizes do not fit.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(attention_on_image(torch.rand(3, 8, 12), torch.eye(6), 4, [(1, 2)]))
    """
    grid = (image.shape[1] // patch_size, image.shape[2] // patch_size)
    if weights.shape != (grid[0] * grid[1],) * 2:
        raise ValueError(f"weights of shape {tuple(weights.shape)} must be (N, N) for grid={grid}")
    for row, column in queries:
        whole("queries: row", row, 0, grid[0] - 1)
        whole("queries: column", column, 0, grid[1] - 1)
    fig, axes = figure(7.2, 2.3, columns=len(queries) + 1)
    show_pixels(axes[0], image, "the queries")
    for ax, (row, column) in zip(axes[1:], queries, strict=True):
        line = weights[row * grid[1] + column].reshape(grid).numpy()  # (gh, gw)
        ax.imshow(line, cmap=SEQUENTIAL, vmin=0, interpolation="nearest")
        ax.set(xticks=[], yticks=[], title=f"row {row}, column {column}")
        square(ax, row, column, 1, 1, linewidth=2)
        top, left = row * patch_size, column * patch_size
        square(axes[0], top, left, patch_size, patch_size, linewidth=2)
    return fig


@styled
def cost_share(dim: int, marks: Mapping[int, str], mlp_ratio: float = 4.0) -> Figure:
    """How a block's multiply-adds divide among its parts as the sequence grows.

    ``dim`` is D; ``marks`` a dictionary of numbers of tokens and words, drawn as upright lines.
    Returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(cost_share(768, {197: "224 px"}))
    """
    whole("dim", dim, 1)
    finite("mlp_ratio", mlp_ratio, 0)
    tokens = torch.logspace(6, 16, 200, base=2, dtype=torch.float64)  # 64 to 65,536
    mlp = 2 * mlp_ratio * tokens * dim**2
    projections = 4 * tokens * dim**2
    pairs = 2 * tokens**2 * dim
    parts = torch.stack([mlp, projections, pairs])  # (3, 200)
    fig, ax = figure(7.2, 3.4)
    ax.stackplot(
        tokens.numpy(), (100 * parts / parts.sum(dim=0)).numpy(),
        labels=["MLP", "projections q, k, v, out", "q kᵀ and A v"],
        colors=[COLOURS["sky"], COLOURS["green"], COLOURS["vermilion"]], alpha=0.75,
    )  # fmt: skip
    for count, words in marks.items():
        ax.axvline(count, color="black", linewidth=1)
        ax.text(count * 1.04, 3, words, rotation=90, va="bottom", fontsize=9)
    ax.set_xscale("log", base=2)
    plain_numbers(ax.xaxis)
    ax.set(xlabel="tokens T", ylabel="share of a block's MACs (%)", ylim=(0, 100),
           xlim=(64, 65536))  # fmt: skip
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return fig


@styled
def timings(lengths: Sequence[int], times: Mapping[str, Sequence[float]]) -> Figure:
    """Measured seconds against the number of tokens, on logarithmic axes; returns the Figure.

    ``times`` is a dictionary of names and lists of seconds, a number for each of ``lengths``.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(timings([64, 128], {"MLP": [0.001, 0.002]}))
    """
    fig, ax = figure(7.2, 3.6)
    for (name, seconds), mark in zip(times.items(), MARKS, strict=False):
        ax.plot(lengths, [1e3 * s for s in seconds], f"{mark}-", label=name, markersize=5)
    time_axes(ax, xlabel="tokens T")
    return fig
