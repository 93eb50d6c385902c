"""Figures of the linear projection: chapter 3.

Source: ViT paper (arXiv 2010.11929), section 4.5, Figure 7, left.
"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from ..arguments import whole
from ..probe.parameters import principal_filters
from .style import CYCLE, DIVERGING, figure, show_pixels, styled


@styled
def sliding_filter(image: Tensor, dense: Tensor, patch_size: int) -> Figure:
    """One filter at every pixel, and what is kept of it: every P-th number. Returns the Figure.

    ``image`` is (C, H, W); ``dense`` (H - P + 1, W - P + 1) is the filter's answer with its upper
    left corner on each pixel, that is a convolution of stride 1.

    >>> import matplotlib.pyplot as plt
    >>> import torch
    >>> plt.close(sliding_filter(torch.rand(3, 8, 12), torch.rand(5, 9), 4))
    """
    step = whole("patch_size", patch_size, 1)
    fig, axes = figure(7.2, 1.95, columns=3)
    answers = dense.detach().numpy()
    top = abs(answers).max()
    colours = {"cmap": DIVERGING, "vmin": -top, "vmax": top, "interpolation": "nearest"}
    show_pixels(axes[0], image, "the image")
    axes[1].imshow(answers, **colours)
    rows, columns = range(0, answers.shape[0], step), range(0, answers.shape[1], step)
    for row in rows:
        axes[1].scatter(columns, [row] * len(columns), s=2.5, color="black", linewidths=0)
    axes[1].set_title("at every pixel")
    axes[2].imshow(answers[::step, ::step], **colours)
    axes[2].set_title(f"at every {step}th pixel")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return fig


@styled
def filter_bank(banks: Mapping[str, Tensor], count: int = 12) -> Figure:
    """The first principal patterns of several filter banks, a row for each; returns the Figure.

    ``banks`` is a dictionary of names and weights (D, 3, P, P). Grey is zero; each pattern is
    stretched on its own to the full range of colours.

    >>> import matplotlib.pyplot as plt
    >>> import torch
    >>> plt.close(filter_bank({"untrained": torch.randn(16, 3, 2, 2)}, count=4))
    """
    fig, axes = figure(7.2, 0.65 * len(banks) + 0.25, len(banks), count, squeeze=False)
    for row, (name, weight) in zip(axes, banks.items(), strict=True):
        patterns, _ = principal_filters(weight)
        for number, (ax, pattern) in enumerate(zip(row, patterns[:count], strict=True), start=1):
            show_pixels(ax, 0.5 + 0.5 * pattern / pattern.abs().max())
            if ax in axes[0]:
                ax.set_title(str(number), fontsize=9, fontweight="normal")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return fig


@styled
def filter_shares(banks: Mapping[str, Tensor], count: int = 48) -> Figure:
    """How much of a bank its first k patterns carry together; returns the Figure.

    ``banks`` is a dictionary of names and weights (D, C, P, P).

    >>> import matplotlib.pyplot as plt
    >>> import torch
    >>> plt.close(filter_shares({"untrained": torch.randn(16, 3, 2, 2)}))
    """
    fig, ax = figure(7.2, 3.0)
    dashes = ("-", "--", ":", "-.")
    for (name, weight), colour, dash in zip(banks.items(), CYCLE, dashes, strict=False):
        whole("count", count, 1)
        total = principal_filters(weight)[1][:count].cumsum(0).numpy()  # (R,)
        ax.plot(range(1, len(total) + 1), 100 * total, dash, color=colour, label=name)
    ax.set(xlabel="patterns kept", ylabel="variance of the bank (%)", ylim=(0, 102))
    ax.grid(True)
    ax.legend(loc="lower right")
    return fig
