"""Widgets: figures of the book that the reader can change, on the page and in Jupyter.

In a notebook they are ordinary widgets: their traits can be read and set from Python. On the
book's site they run without Python; see :class:`vit_teach.widgets.shared.base.BookWidget`.

For all chapters.
"""

from .attention_by_hand import AttentionByHand
from .attention_explorer import AttentionExplorer
from .grid_explorer import GridExplorer
from .patch_explorer import PatchExplorer
from .position_explorer import PositionExplorer
from .projection_explorer import ProjectionExplorer
from .shape_tracer import ShapeTracer
from .shared.base import BookWidget
from .training_lab import TrainingLab
from .xray import XRay

__all__ = [
    "AttentionByHand",
    "AttentionExplorer",
    "BookWidget",
    "GridExplorer",
    "PatchExplorer",
    "PositionExplorer",
    "ProjectionExplorer",
    "ShapeTracer",
    "TrainingLab",
    "XRay",
]
