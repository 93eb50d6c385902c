"""Every figure of the book, a module per topic; ``vt.plots.NAME`` finds them all. For all chapters.

matplotlib functions return the Figure; plotly functions return a ``go.Figure`` whose
``layout.meta["alt"]`` says in words what it shows.
"""

from ..probe.parameters import cosine_similarity, principal_filters
from .attention import attention_on_image, cost_share, matrices, packing, score_scale, timings
from .attention_maps import distance_by_block, distance_shares, picture_and_maps
from .bias import (
    accuracy_bars,
    cell_maps,
    mixing_matrices,
    reach_by_depth,
    shift_errors,
    where_it_looks,
)
from .experiments import result_bars, result_lines
from .hybrid import paper_pairs, receptive_fields, stem_walk, window_explorer
from .model import by_depth, gelu_forms, shape_walk, small_run, where_it_sits
from .patches import attention_cost, cut_image, flatten_orders, image_row, patch_sequence, roadmap
from .positions import offset_similarity, resized_slice, similarity_tiles, table_image
from .projection import filter_bank, filter_shares, sliding_filter
from .scale import accuracy_against_compute, measured_growth
from .speed import cost_beside_formula, speed_bars
from .style import COLOURS, CYCLE, DIVERGING, SEQUENTIAL, figure, plotly_figure, show_pixels, styled
from .training import (
    augmentation_grid,
    confusion_matrix,
    learning_curves,
    mistakes,
    recorded_curves,
    run_explorer,
    schedule_curve,
    singular_values,
    weight_paths,
)

__all__ = [
    "COLOURS", "CYCLE", "DIVERGING", "SEQUENTIAL", "accuracy_against_compute", "accuracy_bars",
    "attention_cost", "attention_on_image", "augmentation_grid", "by_depth", "cell_maps",
    "confusion_matrix", "cosine_similarity", "cost_beside_formula", "cost_share", "cut_image",
    "distance_by_block", "distance_shares", "figure", "filter_bank", "filter_shares",
    "flatten_orders", "gelu_forms", "image_row", "learning_curves", "matrices",
    "measured_growth", "mistakes", "mixing_matrices",
    "offset_similarity", "packing", "paper_pairs", "patch_sequence", "picture_and_maps",
    "plotly_figure", "principal_filters", "reach_by_depth", "receptive_fields", "recorded_curves",
    "resized_slice", "result_bars", "result_lines", "roadmap", "run_explorer",
    "schedule_curve", "score_scale", "shape_walk", "shift_errors", "show_pixels",
    "similarity_tiles", "singular_values", "sliding_filter", "small_run", "speed_bars", "stem_walk",
    "styled", "table_image", "timings", "weight_paths", "where_it_looks", "where_it_sits",
    "window_explorer",
]  # fmt: skip
