"""Figures of chapters 1 and 2: what a token costs, and how an image becomes patches."""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text
from torch import Tensor

from ..arguments import require_tensor, whole
from ..vit.patches import Size, grid_size, patchify, to_pair
from .style import COLOURS, figure, show_pixels, styled, time_axes

CHANNELS = (("red", COLOURS["vermilion"]), ("green", COLOURS["green"]), ("blue", COLOURS["blue"]))


@styled
def image_row(images: Sequence[Tensor], titles: Sequence[str], height: float = 2.4) -> Figure:
    """Draw several images (C, H, W) side by side under their titles. Returns the Figure.

    >>> image_row([torch.rand(3, 8, 8), torch.rand(3, 8, 8)], ["one", "two"]).axes[1].get_title()
    'two'
    """
    fig, axes = figure(7.2, height, 1, len(images), squeeze=False)
    for ax, image, title in zip(axes[0], images, titles, strict=True):
        show_pixels(ax, image, title)
    return fig


@styled
def attention_cost(names: Mapping[int, str], seconds: Mapping[int, float], reach: int) -> Figure:
    """Draw measured attention times against the number of tokens, both axes logarithmic.

    ``names`` maps each token count to what has so many tokens. ``seconds`` maps the measured ones
    to their time. A line of slope 2 goes from the last measured point to ``reach`` tokens, whose
    time is computed, not measured. Returns the Figure.

    >>> names = {64: "small", 256: "larger", 1024: "out of reach"}
    >>> [text.get_text() for text in attention_cost(names, {64: 0.1, 256: 1.6}, 1024).axes[0].texts]
    ['small', 'larger', 'out of reach']
    """
    fig, axes = figure(7.2, 4.2)
    last = max(seconds)
    line = {n: seconds[last] * (n / last) ** 2 for n in (sorted(seconds)[1], reach)}
    axes.plot(
        *zip(*line.items(), strict=True), "--", color=COLOURS["grey"], lw=1.2, label="time ∝ N²"
    )
    axes.plot(
        *zip(*seconds.items(), strict=True), "o-", color=COLOURS["blue"], label="measured here"
    )
    far = {"color": COLOURS["vermilion"], "mfc": "white", "ms": 9, "ls": ""}
    axes.plot(reach, line[reach], marker="D", label="computed from the line", **far)
    for count, name in names.items():
        place = (count, seconds.get(count, line[reach]))
        offset, side = ((-12, -3), "right") if count == reach else ((9, -9), "left")
        axes.annotate(name, place, offset, textcoords="offset points", ha=side)
    time_axes(axes, "seconds on one core: one head, one layer", "tokens in the sequence, N")
    return fig


@styled
def cut_image(
    image: Tensor,
    patch_size: Size,
    gap: int | None = None,
    numbers: bool = True,
    inches: float = 5.0,
) -> Figure:
    """Draw an image (C, H, W) cut into patches that are moved apart, each with its number.

    ``gap`` is the space between patches in pixels (a sixth of a patch if None), ``inches`` the
    height of the figure. Returns the Figure.

    >>> len(cut_image(torch.rand(3, 8, 12), 4).axes[0].texts)
    6
    """
    ph, pw = to_pair(patch_size, "patch_size")
    channels, height, width = image.shape
    gh, gw = grid_size((height, width), (ph, pw))
    gap = max(1, min(ph, pw) // 6) if gap is None else whole("gap", gap, 0, 1000)
    white = 255 if image.dtype == torch.uint8 else 1
    size = (channels, gh * (ph + gap) - gap, gw * (pw + gap) - gap)
    canvas = torch.full(size, white, dtype=image.dtype)  # (C, H + gaps, W + gaps)
    patches = patchify(image[None], (ph, pw))[0].reshape(gh, gw, channels, ph, pw)
    fig, axes = figure(min(7.2, inches * size[2] / size[1]), inches)
    for r in range(gh):
        for c in range(gw):
            y, x = r * (ph + gap), c * (pw + gap)
            canvas[:, y : y + ph, x : x + pw] = patches[r, c]
            if numbers:
                number_patch(axes, x, y, r * gw + c)
    show_pixels(axes, canvas)
    return fig


def number_patch(axes: Axes, x: float, y: float, number: int) -> Text:
    """Write a patch's number into its upper left corner, readable on any colour.

    >>> fig, axes = figure(2, 2)
    >>> number_patch(axes, 0, 0, 7).get_text()
    '7'
    """
    box = {"boxstyle": "square,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.85}
    return axes.text(x, y, str(number), fontsize=9, color="black", va="top", bbox=box)


@styled
def patch_sequence(
    patches: Tensor, patch_size: Size, channels: int = 3, columns: int = 14
) -> Figure:
    """Draw flattened patches (N, C * PH * PW) in "cpp" order as a line of small numbered pictures.

    The line breaks after ``columns`` patches, as text does. Returns the Figure.

    >>> len(patch_sequence(torch.rand(6, 48), 4, columns=3).axes)
    6
    """
    ph, pw = to_pair(patch_size, "patch_size")
    require_tensor("patches", patches, "(N, C * PH * PW)")
    columns = min(whole("columns", columns, 1), len(patches))
    rows = -(-len(patches) // columns)
    fig, axes = figure(
        7.2, 0.72 * rows * max(1.0, 14 / columns * ph / pw), rows, columns, squeeze=False
    )
    for ax in axes.flat[len(patches) :]:
        ax.remove()
    for number, (ax, patch) in enumerate(zip(axes.flat, patches, strict=False)):
        show_pixels(ax, patch.reshape(channels, ph, pw))
        ax.set_title(number, fontsize=9, fontweight="normal", pad=2)
    return fig


@styled
def flatten_orders(height: int = 2, width: int = 2) -> Figure:
    """Draw the two ways to flatten one small colour patch: "cpp" and "ppc". Returns the Figure.

    Each cell is one number of the vector: its colour is its channel, its text its row and column.

    >>> [text.get_text() for text in flatten_orders().axes[0].texts][:4]
    ['0,0', '0,1', '1,0', '1,1']
    """
    whole("height", height, 1, 100)
    whole("width", width, 1, 100)
    places = [(r, c) for r in range(height) for c in range(width)]
    vectors = {
        'order "cpp": channel by channel (what a convolution\'s weights use)': [
            (channel, place) for channel in CHANNELS for place in places
        ],
        'order "ppc": pixel by pixel (what many texts draw)': [
            (channel, place) for place in places for channel in CHANNELS
        ],
    }
    fig, axes = figure(7.2, 2.4, 2, 1)
    for ax, (title, vector) in zip(axes, vectors.items(), strict=True):
        for i, ((_, colour), (r, c)) in enumerate(vector):
            ax.add_patch(Rectangle((i, 0), 0.94, 0.94, color=colour))
            ax.text(i + 0.47, 0.47, f"{r},{c}", color="white", ha="center", va="center")
        ax.set(xlim=(0, len(vector)), ylim=(0, 1), aspect="equal")
        ax.set_title(title, loc="left", fontweight="normal")
        ax.axis("off")
    handles = [Rectangle((0, 0), 1, 1, color=colour) for _, colour in CHANNELS]
    fig.legend(handles, [name for name, _ in CHANNELS], loc="outside lower left", ncols=3)
    return fig


@styled
def roadmap(image: Tensor, patch_size: Size) -> Figure:
    """Draw the whole model as the way of the book, from an image (C, H, W) to class scores.

    The image should make six patches or more: six vectors are drawn. Returns the Figure.

    >>> len(roadmap(torch.rand(3, 12, 12), 4).axes[0].child_axes)
    2
    """
    fig, axes = figure(7.2, 4.6)
    axes.set(xlim=(-1, 102), ylim=(-3, 61))
    axes.axis("off")
    show_pixels(axes.inset_axes([0, 40, 18, 18], transform=axes.transData), image)
    cut = axes.inset_axes([27, 40, 18, 18], transform=axes.transData)
    show_pixels(cut, image)
    (ph, pw), (height, width) = to_pair(patch_size, "patch_size"), image.shape[1:]
    cut.vlines([x - 0.5 for x in range(pw, width, pw)], -0.5, height - 0.5, "white", lw=2.5)
    cut.hlines([y - 0.5 for y in range(ph, height, ph)], -0.5, width - 0.5, "white", lw=2.5)
    count = min(6, prod(grid_size((height, width), (ph, pw))))
    _bars(axes, 55, 40, count, COLOURS["blue"])
    _bars(axes, 82, 40, 1, COLOURS["orange"], first=0)
    _bars(axes, 85, 40, count, COLOURS["blue"], first=1)
    captions = {9: "image\nchapter 1", 36: "patches\nchapter 2", 63: "one vector each\nchapter 3"}
    captions[91] = "class token, positions\nchapter 4"
    for x, text in captions.items():
        axes.text(x, 37, text, ha="center", va="top")
    for start in (19.5, 46.5, 73):
        _arrow(axes, (start, 49), (start + 6, 49))
    _roadmap_model(axes)
    return fig


def _roadmap_model(axes: Axes) -> None:
    """The lower row of the roadmap: encoder, head, scores."""
    _arrow(axes, (91, 31), (91, 27.5), "-")
    _arrow(axes, (91, 27.5), (5, 27.5), "-")
    _arrow(axes, (5, 27.5), (5, 22.5))
    _box(axes, 0, 6, 50, 16, "white", "")
    _box(axes, 3, 9, 21, 10, COLOURS["green"], "self-attention\nchapter 5")
    _box(axes, 26, 9, 21, 10, COLOURS["purple"], "MLP\nchapter 6")
    axes.text(25, 4, "encoder block, repeated · chapter 6", ha="center", va="top")
    _arrow(axes, (51, 14), (57, 14))
    _box(axes, 58, 9, 13, 10, COLOURS["orange"], "head\nchapter 6")
    _arrow(axes, (72, 14), (78, 14))
    for i, score in enumerate((3, 14, 5, 2)):
        axes.add_patch(Rectangle((79, 19 - 3.3 * i), score, 2.3, color=COLOURS["vermilion"]))
    axes.text(87, 4, "class scores\ntrained in chapter 8", ha="center", va="top")


def _bars(
    axes: Axes, x: float, y: float, count: int, colour: str, first: int | None = None
) -> None:
    """Vectors as upright bars; ``first`` is the position of the first, where they have one."""
    for i in range(count):
        axes.add_patch(Rectangle((x + 2.6 * i, y + 2), 1.9, 16, color=colour, alpha=1 - 0.1 * i))
        if first is not None:
            axes.text(x + 2.6 * i + 0.9, y + 1.6, str(first + i), ha="center", va="top", fontsize=9)


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, colour: str, text: str
) -> None:
    style = "round,pad=0,rounding_size=1.5"
    box = FancyBboxPatch((x, y), width, height, style, fc=colour, ec="#444444", lw=1.2)
    axes.add_patch(box)
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color="black")


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], style: str = "-|>"
) -> None:
    arrow = FancyArrowPatch(
        start, end, arrowstyle=style, mutation_scale=12, color="#444444", shrinkA=0, shrinkB=0
    )
    axes.add_patch(arrow)
