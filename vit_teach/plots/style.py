"""The look that every figure of the book shares: sizes, colours, fonts. For all chapters.

A plot function is decorated with ``@styled``, opens its figure with :func:`figure` (matplotlib) or
:func:`plotly_figure` (plotly), and returns it. A matplotlib figure appears in a notebook when its
cell ends, so such a cell ends with ``;`` to show it once. Figures are drawn on white: the site puts
them on a white card in its dark theme too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import matplotlib
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..arguments import explained, require_tensor, whole

# Load the backend now. Loaded later, inside @styled, its "interactive" setting would be undone
# when the style ends, and a notebook would show the first figure only.
plt.switch_backend(matplotlib.get_backend())

# Okabe and Ito's palette: told apart with any common kind of colour blindness, and on grey paper.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",  # for areas only: a yellow line on white is hard to see
    "black": "#000000",
    "grey": "#6B6B6B",
}
_LINES = ("blue", "vermilion", "green", "orange", "purple", "sky", "black")
CYCLE = [COLOURS[name] for name in _LINES]
# One colour for a model in the whole book, and its plain name: the name in cards and in figures.
MODELS = {
    "vit": ("ViT", "blue"),
    "vit-no-positions": ("ViT, no positions", "purple"),
    "overlap": ("overlapping patches", "sky"),
    "cct": ("CCT's stem", "orange"),
    "hybrid": ("hybrid", "green"),
    "cnn": ("CNN", "vermilion"),
    "cnn-circular": ("CNN, circular", "vermilion"),
}
SEQUENTIAL = "viridis"  # for values from low to high
DIVERGING = "RdBu_r"  # for values around zero
MARKS = "osD^vP*X"  # of points; the first ones are the easiest to tell apart
PHONE = 4.5  # inches: on a phone of 390 pixels such a figure fits, with 9 pixels for 9 points

STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "font.size": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "grid.color": "#DDDDDD",
}

_SAME = {"resnet": "cnn", "vit, no positions": "vit-no-positions"}  # other names of a model


def model_name(name: object) -> str:
    """The plain name of a model of the book; any other name stays as it is.

    >>> model_name("vit-no-positions"), model_name("tutorial")
    ('ViT, no positions', 'tutorial')
    """
    return MODELS.get(str(name), (str(name), ""))[0]


def model_colours(names: Iterable[Any]) -> dict[Any, str]:
    """A colour for each name: a model's own in every figure, another free one for other names.

    >>> model_colours(["cnn", "other"]) == {"cnn": COLOURS["vermilion"], "other": COLOURS["blue"]}
    True
    """
    keys = {name: _SAME.get(str(name).lower(), str(name).lower()) for name in names}
    own = {name: COLOURS[MODELS[key][1]] for name, key in keys.items() if key in MODELS}
    free = [colour for colour in CYCLE if colour not in own.values()] or CYCLE
    others = [name for name in keys if name not in own]
    return own | {name: free[i % len(free)] for i, name in enumerate(others)}


F = TypeVar("F", bound=Callable[..., Any])
# A decorator: the style holds while the function runs. (matplotlib's hints do not say that it is.)
_in_style: Callable[[Any], Any] = plt.rc_context(STYLE)  # type: ignore[assignment]


def styled(function: F) -> F:
    """A decorator for what draws: the book's style holds, and what cannot be drawn is named.

    >>> styled(lambda lengths: len(lengths))(5)
    Traceback (most recent call last):
    ...
    ValueError: <lambda> cannot use lengths=5 (TypeError: object of type 'int' has no len())
    """
    drawn: F = explained(_in_style(function))
    return drawn


@styled
def figure(
    width: float = 7.2, height: float = 3.6, rows: int = 1, columns: int = 1, **settings: Any
) -> tuple[Figure, Any]:
    """Open a matplotlib figure in the book's style; returns ``(fig, axes)``.

    ``width`` and ``height`` are inches; 7.2 fills a page, and fonts are sized for that. ``axes`` is
    one Axes, or an array of them if there are several ``rows`` or ``columns``. More ``settings``
    go to ``plt.subplots``.

    >>> fig, axes = figure(rows=2, columns=3)
    >>> axes.shape
    (2, 3)
    >>> plt.close(fig)
    """
    whole("rows", rows, 1, 200)
    whole("columns", columns, 1, 200)
    settings = {"layout": "constrained", "dpi": 144, **settings}
    return plt.subplots(rows, columns, figsize=(width, height), **settings)


@explained
def show_pixels(axes: Axes, image: Tensor, title: str = "") -> Axes:
    """Draw an image (C, H, W) as square pixels without ticks; C is 3 (colour) or 1 (grey).

    ``image`` is a tensor, uint8 from 0 to 255 or float from 0 to 1. Raises ``ValueError`` for
    another shape. Returns the Axes.

    >>> import torch
    >>> fig, axes = figure(2, 2)
    >>> show_pixels(axes, torch.rand(3, 4, 6), title="noise").get_title()
    'noise'
    >>> plt.close(fig)
    """
    require_tensor("image", image)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image of shape {tuple(image.shape)} must be (3, H, W) or (1, H, W)")
    pixels = image.permute(1, 2, 0).cpu().numpy()  # (H, W, C): the order matplotlib reads
    top = 255 if pixels.dtype.kind == "u" else 1
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    return axes


@explained
def plotly_figure(alt: str, height: int = 400, **layout: Any) -> Any:
    """An empty plotly figure in the book's style, to which traces are added.

    ``alt`` says in words what the figure shows; the site needs it. ``height`` is in pixels, the
    width follows the page, the colours of text and grid follow the page's theme. More ``layout``
    goes to plotly. Raises ``ValueError`` if ``alt`` is empty.

    >>> plotly_figure("Tokens against patch size.").layout.meta["alt"]
    'Tokens against patch size.'
    """
    from .page_figure import PageFigure  # plotly: slow to import, and only few chapters use it

    if not alt.strip():
        raise ValueError(f"alt={alt!r} must say what the figure shows")
    settings = {
        "template": "none",
        "colorway": CYCLE,
        "font": {"size": 14},
        "height": height,
        "margin": {"t": 40, "r": 16},
        "meta": {"alt": alt},
        **layout,
    }
    return PageFigure(layout=settings)


def size(tensor: Tensor) -> str:
    """A tensor's shape as it is written over a picture.

    >>> import torch
    >>> size(torch.zeros(3, 8, 12))
    '3 × 8 × 12'
    """
    return " × ".join(map(str, tensor.shape))


def square(
    ax: Axes, top: float, left: float, height: float, width: float, **look: Any
) -> Rectangle:
    """Outline ``height`` x ``width`` cells of a map, from the cell (``top``, ``left``) on.

    More of the ``look`` goes to matplotlib's Rectangle. Returns the Rectangle.

    >>> fig, ax = figure(2, 2)
    >>> square(ax, top=1, left=2, height=4, width=4).get_xy()
    (1.5, 0.5)
    >>> plt.close(fig)
    """
    look = {"edgecolor": COLOURS["vermilion"], "linewidth": 1.8, **look}
    outline = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, **look)
    ax.add_patch(outline)
    return outline


def bar_groups(
    ax: Axes,
    groups: Sequence[object],
    series: Mapping[str, Mapping[Any, float]],
    spreads: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Groups of bars with their heights written above them, a bar of each series in a group.

    ``groups`` are the names below; ``series`` maps a name to a dictionary of group and height;
    ``spreads`` holds for the same names a list of half lengths of the thin lines, NaN for none.

    >>> fig, ax = figure(2, 2)
    >>> bar_groups(ax, ["plain", "cut"], {"vit": {"plain": 40, "cut": 30}})
    >>> plt.close(fig)
    """
    colours, width = model_colours(series), 0.8 / len(series)
    for i, (name, heights) in enumerate(series.items()):
        shift = (i - (len(series) - 1) / 2) * width
        places = [groups.index(group) + shift for group in heights]
        lines: dict[str, Any] = {} if spreads is None else {"yerr": spreads[name], "capsize": 3}
        bars = ax.bar(places, list(heights.values()), 0.92 * width, label=model_name(name),
                      color=colours[name], **lines)  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", fontsize=9, padding=2)


def time_axes(
    ax: Axes, ylabel: str = "milliseconds, one picture", xlabel: str = "tokens N"
) -> None:
    """Logarithmic axes for measured times against the number of tokens, with grid and legend.

    >>> fig, ax = figure(2, 2)
    >>> _ = ax.plot([64, 128], [1.0, 4.0], label="measured")
    >>> time_axes(ax)
    >>> ax.get_xscale(), ax.get_yscale()
    ('log', 'log')
    >>> plt.close(fig)
    """
    ax.set_xscale("log", base=2)
    ax.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
    plain_numbers(ax.xaxis, ax.yaxis)
    ax.grid(True)
    ax.legend()


def plain_numbers(*axes: Axis) -> None:
    """Numbers as they are written by hand: the small exponents of a logarithmic axis are not read.

    >>> fig, ax = figure(2, 2)
    >>> _ = ax.set(xscale="log", xlim=(0.01, 2000))
    >>> plain_numbers(ax.xaxis)
    >>> [ax.xaxis.get_major_formatter()(x) for x in (1e-6, 0.01, 1, 65_536)]
    ['1e-06', '0.01', '1', '65,536']
    >>> plt.close(fig)
    """
    for axis in axes:
        axis.set_major_formatter(lambda x, _: _plain(x))
        axis.set_minor_formatter(_between(axis))


def _between(axis: Axis) -> Callable[[float, float], str]:
    """What stands at the numbers between the powers of ten: 2 and 5, where there is room."""

    def written(x: float, _: float) -> str:
        low, high = axis.get_view_interval()
        return _plain(x) if high < 30 * low and f"{x:e}"[0] in "25" else ""

    return written


def _plain(x: float) -> str:
    return f"{x:,.0f}" if x >= 1000 else f"{x:g}"
