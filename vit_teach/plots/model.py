"""Figures of the encoder and the whole model: chapter 6.

Source of what they draw: ViT paper (arXiv 2010.11929), section 3.1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import explained
from ..cost import Row, grouped
from .style import (
    COLOURS,
    CYCLE,
    DIVERGING,
    MARKS,
    figure,
    plain_numbers,
    plotly_figure,
    show_pixels,
    size,
    styled,
)


@styled
def gelu_forms() -> Figure:
    """GELU beside ReLU, and the difference of its two forms (erf, tanh); returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(gelu_forms())
    """
    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)  # (1001,)
    fig, axes = figure(7.2, 2.9, columns=2)
    axes[0].plot(x, F.relu(x), "--", color=COLOURS["grey"], label="ReLU")
    axes[0].plot(x, F.gelu(x), color=COLOURS["blue"], label="GELU")
    axes[0].set(title="the function", xlabel="x", xlim=(-4, 3), ylim=(-0.5, 3))
    axes[0].legend()
    difference = F.gelu(x, approximate="tanh") - F.gelu(x)
    axes[1].plot(x, 1e4 * difference, color=COLOURS["vermilion"])
    axes[1].set(title="tanh form minus erf form", xlabel="x", ylabel="difference, × 10⁻⁴")
    for ax in axes:
        ax.grid(True)
    return fig


@styled
def by_depth(panels: Mapping[str, Mapping[str, Sequence[float]]], xlabel: str = "block") -> Figure:
    """Lines against the number of the block, a panel for each quantity; returns the Figure.

    ``panels`` is a dictionary of titles and dictionaries of names and lists of numbers.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(by_depth({"length": {"pre-norm": [1.0, 2.0], "post-norm": [1.0, 1.0]}}))
    """
    fig, axes = figure(7.2, 3.0, columns=len(panels), squeeze=False)
    for ax, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for (name, values), mark, colour in zip(lines.items(), MARKS, CYCLE, strict=False):
            place = range(1, len(values) + 1)
            ax.plot(place, values, f"{mark}-", color=colour, label=name, markersize=4)
        ax.set(title=title, xlabel=xlabel, ylim=(0, None))
        ax.grid(True)
    axes[0, 0].legend()
    return fig


WALK = ("patch_embed", "tokens", "blocks.0.attn.weights", "blocks.0", "norm", "pooled", "logits")


@styled
def shape_walk(image: Tensor, out: Mapping[str, Tensor], names: Sequence[str] = WALK) -> Figure:
    """One image on its way through a model, each step drawn as the numbers it is.

    ``image`` is (3, H, W) in 0..1; ``out`` the dictionary of intermediates of a batch whose first
    image it is. Every number is a square of the same shape: a token is a row, and a vector is one
    row. Logits are bars, and an (H, T, T) step is drawn by its first head. Returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(shape_walk(torch.rand(3, 8, 8), {"norm": torch.rand(1, 5, 12)}, ["norm"]))
    """
    columns = math.ceil((len(names) + 1) / 2)
    fig, axes = figure(7.2, 4.4, rows=2, columns=columns)
    for ax in axes.flat[len(names) + 1 :]:
        ax.set_visible(False)
    show_pixels(axes.flat[0], image, f"image\n{size(image)}")
    for ax, name in zip(axes.flat[1:], names, strict=False):
        step = out[name][0].detach()
        ax.set_title(f"{name}\n{size(step)}", fontsize=9)
        if name == "logits":
            ax.bar(range(len(step)), step.numpy(), color=COLOURS["blue"])
            ax.set(xticks=[], yticks=[])
            continue
        flat = step[0] if step.ndim == 3 else step.reshape(-1, step.shape[-1])
        top = flat.abs().max().item() or 1.0
        colours = {"cmap": DIVERGING, "vmin": -top, "vmax": top}
        if name.endswith("weights"):
            colours = {"cmap": "Blues", "vmin": 0, "vmax": top}
        ax.imshow(flat.numpy(), aspect="equal", interpolation="nearest", **colours)
        ax.set(xticks=[], yticks=[])
    return fig


@explained
def where_it_sits(models: Mapping[str, list[Row]]) -> Any:
    """Where parameters and multiply-adds sit, in per cent, with a button for each of the two.

    ``models`` is a dictionary of names and rows of ``vt.cost.breakdown``. Returns a plotly figure.

    >>> from vit_teach import PRESETS, cost
    >>> len(where_it_sits({"ViT-B/16": cost.breakdown(PRESETS["ViT-B/16"])}).data)
    12
    """
    fig = plotly_figure(
        "Stacked bars: the share of parameters or of multiply-adds in the embedding, the attention "
        "projections, the attention products, the MLP, the head and the norms of each model. In "
        "the large models the MLP holds about two thirds, the projections about one third.",
        height=210 + 40 * len(models),
        barmode="stack",
        margin={"l": 110, "t": 60, "r": 16, "b": 130},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "traceorder": "normal"},
        xaxis={"range": [0, 100], "ticksuffix": " %"},
        yaxis={"autorange": "reversed"},
    )
    bars = _bars(models, "params", 1e6, "million") + _bars(models, "macs", 1e9, "GMACs")
    fig.add_traces(bars)
    half, buttons = len(bars) // 2, []
    for label, shown in (("parameters", [True, False]), ("MACs", [False, True])):
        visible = [shown[i // half] for i in range(len(bars))]
        buttons.append({"label": label, "method": "update", "args": [{"visible": visible}]})
    menu = {"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.02}
    return fig.update_layout(updatemenus=[{**menu, "yanchor": "bottom", "buttons": buttons}])


def _bars(models: Mapping[str, list[Row]], quantity: str, scale: float, unit: str) -> list[Any]:
    """A plotly bar trace for each group of parts."""
    import plotly.graph_objects as go

    sums = [grouped(rows, quantity) for rows in models.values()]
    colours = [COLOURS[c] for c in ("orange", "green", "vermilion", "sky", "purple", "grey")]
    return [
        go.Bar(
            x=[100 * model[group] / sum(model.values()) for model in sums],
            y=list(models),
            name=group,
            orientation="h",
            marker_color=colour,
            visible=quantity == "params",
            customdata=[model[group] / scale for model in sums],
            hovertemplate=f"{group}: %{{customdata:,.3f}} {unit}, %{{x:.1f}} %<extra></extra>",
        )
        for group, colour in zip(sums[0], colours, strict=True)
    ]


@styled
def small_run(losses: Sequence[float], chance: float) -> Figure:
    """The loss of a short run, step by step, with the loss of guessing; returns the Figure.

    >>> import matplotlib.pyplot as plt
    >>> plt.close(small_run([2.0, 1.0, 0.1], chance=2.08))
    """
    fig, ax = figure(7.2, 2.8)
    ax.plot(range(1, len(losses) + 1), losses, color=COLOURS["blue"])
    ax.axhline(chance, color=COLOURS["grey"], linestyle="--", linewidth=1)
    ax.text(len(losses), chance, "guessing", ha="right", va="bottom", color=COLOURS["grey"])
    ax.set(xlabel="step", ylabel="loss", yscale="log", ylim=(None, 2 * max(chance, *losses)))
    plain_numbers(ax.yaxis)
    ax.grid(True)
    return fig
