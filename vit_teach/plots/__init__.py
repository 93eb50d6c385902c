"""Every figure of the book, a module per topic; ``vt.plots.NAME`` finds them all.

matplotlib functions return the Figure; plotly functions return a ``go.Figure`` whose
``layout.meta["alt"]`` says in words what it shows.
"""

from .style import COLOURS, CYCLE, DIVERGING, SEQUENTIAL, figure, plotly_figure, show_pixels, styled

__all__ = [
    "COLOURS", "CYCLE", "DIVERGING", "SEQUENTIAL", "figure", "plotly_figure", "show_pixels",
    "styled",
]  # fmt: skip
