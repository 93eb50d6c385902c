"""Figures of the hybrid: chapter 7.

Source: ViT paper (arXiv 2010.11929), section 3.1, "Hybrid architecture", and Table 6.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch import Tensor

from ..arguments import explained, whole
from .style import (
    COLOURS,
    SEQUENTIAL,
    figure,
    model_colours,
    plotly_figure,
    show_pixels,
    size,
    square,
    styled,
)

Window = tuple[int, int, int]


@styled
def paper_pairs(pairs: Sequence[tuple[str, float, float, float, float]]) -> Figure:
    """Pairs of a plain model and its hybrid: accuracy against compute; returns the Figure.

    ``pairs`` is a list of rows (name, accuracy, exaFLOPs, hybrid's accuracy, hybrid's exaFLOPs),
    accuracies in per cent. Raises ``ValueError`` for an empty list.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(paper_pairs([("B/16", 84.15, 224, 85.58, 274)]))
    """
    if not pairs:
        raise ValueError(f"pairs={pairs!r} must hold at least one row")
    fig, ax = figure(7.2, 3.4)
    for name, plain, plain_cost, hybrid, hybrid_cost in pairs:
        ax.annotate(
            "", (hybrid_cost, hybrid), (plain_cost, plain),
            arrowprops={"arrowstyle": "->", "color": COLOURS["grey"], "shrinkA": 6, "shrinkB": 6},
        )  # fmt: skip
        crowded = any(0.7 < row[2] / plain_cost < 1 for row in pairs)  # a point close to the left
        ax.annotate(
            name, (plain_cost, plain), (8, -10) if crowded else (-8, -3),
            textcoords="offset points", ha="left" if crowded else "right",
        )  # fmt: skip
    columns, colours = list(zip(*pairs, strict=True)), model_colours(["vit", "hybrid"])
    ax.plot(columns[2], columns[1], "o", color=colours["vit"], markersize=8, label="plain ViT")
    ax.plot(columns[4], columns[3], "s", color=colours["hybrid"], markersize=8, label="hybrid")
    low, high = min(columns[1]), max(columns[3])
    room = 0.15 * (high - low)
    ax.set(xscale="log", xlabel="exaFLOPs of pre-training", ylabel="ImageNet accuracy (%)")
    ax.set(xlim=(0.5 * min(columns[2]), 1.3 * max(columns[4])), ylim=(low - room, high + room))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.grid(True)
    ax.legend(loc="lower right")
    return fig


@styled
def stem_walk(image: Tensor, maps: Mapping[str, Tensor], channels: int = 3) -> Figure:
    """A picture and a few channels of each map that a stem makes of it; returns the Figure.

    ``image`` is (3, H, W), uint8 or float from 0 to 1; ``maps`` is a dictionary of names and maps
    (C, H', W'). A column for each map, a row for each of its first ``channels``; grey values run
    from the smallest number of a channel to its largest.

    >>> import matplotlib.pyplot as plt, torch
    >>> plt.close(stem_walk(torch.rand(3, 8, 12), {"first": torch.rand(4, 4, 6)}, channels=2))
    """
    high = 1.3 * image.shape[1] / image.shape[2] * channels + 0.7
    fig, axes = figure(7.2, high, channels, 1 + len(maps), squeeze=False)
    for ax in axes[1:, 0]:
        ax.set_visible(False)
    show_pixels(axes[0, 0], image, "image\n" + size(image))
    for column, (name, map_) in zip(axes[:, 1:].T, maps.items(), strict=True):
        for number, ax in enumerate(column):
            values = map_[number].detach().numpy()
            ax.imshow(values, cmap="gray", interpolation="nearest")
            ax.set(xticks=[], yticks=[], title=f"{name}\n{size(map_)}" if number == 0 else "")
            ax.spines[:].set_visible(False)
    return fig


@styled
def receptive_fields(
    maps: Mapping[str, Tensor], windows: Mapping[str, Window], patch: Window, margin: int = 7
) -> Figure:
    """Which pixels one token depends on, measured, and the window of the formula; the Figure.

    ``maps`` is a dictionary of names and maps (H, W): how strongly each pixel moves the token, 0 or
    more; white is exactly 0, and each map has its own scale. ``windows`` holds for the same names
    (top, left, side) in pixels, drawn dashed; ``patch`` is (top, left, side) of the token's patch,
    drawn solid. Only ``margin`` pixels around the patch are shown. Raises ``ValueError`` if the
    names differ.

    >>> import matplotlib.pyplot as plt, torch
    >>> plt.close(receptive_fields({"a": torch.eye(20)}, {"a": (6, 6, 9)}, (8, 8, 4)))
    """
    if list(maps) != list(windows):
        raise ValueError(f"windows of {list(windows)} must be for maps={list(maps)}")
    fig, axes = figure(7.2, 2.3, columns=len(maps), squeeze=False)
    top, left, side = patch
    for ax, (name, map_) in zip(axes[0], maps.items(), strict=True):
        values = np.ma.masked_equal(map_.detach().numpy(), 0)
        ax.imshow(values, cmap=SEQUENTIAL, vmin=0, interpolation="nearest")
        window_top, window_left, window_side = windows[name]
        black = {"linestyle": "--", "edgecolor": COLOURS["black"]}
        square(ax, window_top, window_left, window_side, window_side, **black)
        square(ax, top, left, side, side)
        ax.set(
            title=f"{name}: {window_side} × {window_side}",
            xlim=(left - margin - 0.5, left + side + margin - 0.5),
            ylim=(top + side + margin - 0.5, top - margin - 0.5),
            xticks=range(left - side, left + 2 * side + 1, side),
            yticks=range(top - side, top + 2 * side + 1, side),
        )
    return fig


@explained
def window_explorer(windows: Mapping[str, Window], pixels: int) -> Any:
    """Step through the tokens of one row: what each and its right neighbour read; plotly figure.

    ``windows`` is a dictionary of names and (size, stride, start), as
    :func:`vit_teach.probe.receptive_field` gives them: token i reads ``size`` pixels from pixel
    ``start + i * stride`` on. ``pixels`` is the width of the picture; what lies outside is left
    out. Raises ``ValueError`` unless all stems have the same stride.

    >>> explorer = window_explorer({"linear": (4, 4, 0), "conv": (9, 4, -4)}, 16)
    >>> explorer.layout.sliders[0].steps[1].args[1]["title.text"]
    'shared with the right neighbour:<br>linear 0, conv 5 pixels'
    """
    whole("pixels", pixels, 1, 4096)
    strides = {stride for _, stride, _ in windows.values()}
    if len(strides) != 1:
        raise ValueError(f"windows={windows} must have one stride: a token of each at each place")
    names, last = list(windows), pixels // strides.pop() - 1
    fig = plotly_figure(
        "Horizontal bars over the pixels of one row of the picture, two for each stem: the pixels "
        "that a token reads and those that its right neighbour reads. A slider chooses the token. "
        "In the middle of the picture, "
        f"{_shared(windows, last // 2, pixels)}.",
        height=440, barmode="group", margin={"l": 70, "t": 100, "r": 16, "b": 40},
        xaxis={"title": {"text": "pixel", "standoff": 4}, "range": [0, pixels], "dtick": 4},
        yaxis={"autorange": "reversed"},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    )  # fmt: skip
    steps: list[dict[str, Any]] = []
    for token in range(last):
        for offset, colour in enumerate((COLOURS["blue"], COLOURS["orange"])):
            ends = [_ends(windows[name], token + offset, pixels) for name in names]
            fig.add_bar(
                y=names, base=[a for a, _ in ends], x=[b - a for a, b in ends], orientation="h",
                name=("its right neighbour" if offset else "the token"), marker={"color": colour},
                hovertemplate="%{y}: from pixel %{base} on, %{x} pixels<extra></extra>",
                visible=token == last // 2,
            )  # fmt: skip
        shown = {"visible": [i // 2 == token for i in range(2 * last)]}
        change = {"title.text": _shared(windows, token, pixels).replace(": ", ":<br>")}
        steps.append({"label": str(token), "method": "update", "args": [shown, change]})
    slider = {"active": last // 2, "steps": steps, "currentvalue": {"prefix": "token "}}
    return fig.update_layout(
        title={"text": steps[last // 2]["args"][1]["title.text"], "font": {"size": 15}, "y": 0.95},
        sliders=[{**slider, "pad": {"t": 64}}],
    )


def _ends(window: Window, token: int, pixels: int) -> tuple[int, int]:
    """The first pixel a token reads and the one after its last, inside the picture."""
    size, stride, start = window
    first = start + token * stride
    return max(0, first), min(pixels, first + size)


def _shared(windows: Mapping[str, Window], token: int, pixels: int) -> str:
    counts = []
    for name, window in windows.items():
        end = _ends(window, token, pixels)[1]
        counts.append(f"{name} {max(0, end - _ends(window, token + 1, pixels)[0])}")
    return f"shared with the right neighbour: {', '.join(counts)} pixels"
