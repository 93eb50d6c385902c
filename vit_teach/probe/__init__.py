"""Looking into a trained model: shifts, reach, attention, parameters. Chapters 3, 4, 7, 10, 14."""

from .attention import (
    attention_distance,
    collect,
    distances,
    entropy,
    offset_map,
    outlier_tokens,
    patch_distances,
    patches_only,
    query_distances,
    reader,
    readout_map,
    rollout,
    token_norms,
    uniform_distance,
)
from .examine import Findings, examine, fit_picture, untrained_twin, with_controls
from .parameters import colour_filters, cosine_similarity, position_table, principal_filters, tiles
from .reach import gradient_energy, mean_distance, pixel_distance, receptive_field
from .shift import equivariance_error, feature_maps, invariance_error, last_map, shifted

__all__ = [
    "Findings", "attention_distance", "collect", "colour_filters", "cosine_similarity",
    "distances", "entropy", "equivariance_error", "examine", "feature_maps", "fit_picture",
    "gradient_energy", "invariance_error", "last_map", "mean_distance", "offset_map",
    "outlier_tokens", "patch_distances", "patches_only", "pixel_distance", "position_table",
    "principal_filters", "query_distances", "reader", "readout_map", "receptive_field",
    "rollout", "shifted", "tiles", "token_norms", "uniform_distance", "untrained_twin",
    "with_controls",
]  # fmt: skip
