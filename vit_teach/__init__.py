"""Vision Transformers, step by step: the helper package of the book.

The Vision Transformer is the folder ``vit``: six short files, in the order of the chapters. All
else (models to compare with, data, training, plots) stands beside it and loads when it is first
used. What you type as ``vt.NAME`` is the file or folder NAME of this package.

>>> import vit_teach as vt
>>> vt.PRESETS["ViT-B/16"].num_tokens
197
"""

import importlib
from types import ModuleType

from .vit import (
    PRESETS,
    RESIZE_RULES,
    EncoderBlock,
    Mlp,
    MultiHeadAttention,
    PatchEmbedding,
    VisionTransformer,
    ViTConfig,
    attend,
    attention_weights,
    patchify,
    resize_positions,
    sincos_1d,
    sincos_2d,
    unpatchify,
)

__version__ = "0.1.0"

DOORS = (
    "augment", "baselines", "check", "cost", "course", "data", "experiments", "plots", "probe",
    "results", "site", "train", "vit", "weights", "widgets", "zoo",
)  # fmt: skip

# Names of earlier editions of the notebooks, and where their contents are now.
MOVED = {
    "attention": "vit.attention", "attention_maps": "probe", "bit": "baselines.paper_hybrid",
    "checkpoints": "weights", "cifar": "data.cifar", "device": "train.device",
    "download": "data.download", "embedding": "vit.embedding", "encoder": "vit.encoder",
    "hybrid": "baselines.hybrid", "layouts": "weights.layouts", "muon": "train.muon",
    "optim": "train.optim", "patches": "vit.patches", "released": "weights",
    "reproduce": "site.reproduce", "resnet": "baselines.resnet", "shapes": "data.drawn",
    "tables": "results", "timing": "cost",
}  # fmt: skip

__all__ = [
    "PRESETS", "RESIZE_RULES", "EncoderBlock", "Mlp", "MultiHeadAttention", "PatchEmbedding",
    "ViTConfig", "VisionTransformer", "attend", "attention_weights", "patchify",
    "resize_positions", "sincos_1d", "sincos_2d", "unpatchify", *DOORS,
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """Load a door on first use, so that importing the package stays fast."""
    if name in DOORS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in MOVED:
        raise AttributeError(f"vt.{name} is vt.{MOVED[name]} now")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
