"""Every figure of the book, a module per topic; ``vt.plots.NAME`` finds them all.

matplotlib functions return the Figure; plotly functions return a ``go.Figure`` whose
``layout.meta["alt"]`` says in words what it shows.
"""

from .patches import (
    attention_cost,
    cut_image,
    explore_patch_size,
    flatten_orders,
    image_row,
    patch_sequence,
    roadmap,
)
from .style import COLOURS, CYCLE, DIVERGING, SEQUENTIAL, figure, plotly_figure, show_pixels, styled

__all__ = [
    "COLOURS", "CYCLE", "DIVERGING", "SEQUENTIAL", "attention_cost", "cut_image",
    "explore_patch_size", "figure", "flatten_orders", "image_row", "patch_sequence",
    "plotly_figure", "roadmap", "show_pixels", "styled",
]  # fmt: skip
