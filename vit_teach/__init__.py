"""Vision Transformers, step by step: the helper package of the book.

The model is in six short files, in the order of the chapters: patches, embedding, attention,
encoder, vit, and hybrid. Everything else (data, training, plots) loads when it is first used.

>>> import vit_teach as vt
>>> vt.PRESETS["ViT-B/16"].num_tokens
197
"""

import importlib

from .attention import MultiHeadAttention, attend, attention_weights
from .embedding import (
    RESIZE_RULES,
    PatchEmbedding,
    resize_positions,
    sincos_1d,
    sincos_2d,
)
from .encoder import EncoderBlock, Mlp
from .patches import patchify, unpatchify
from .vit import PRESETS, VisionTransformer, ViTConfig

__version__ = "0.1.0"

_MODULES = (
    "augment", "checkpoints", "cost", "data", "device", "download", "experiments", "hybrid",
    "layouts", "muon", "optim", "plots", "probe", "released", "resnet", "results", "shapes",
    "tables", "timing", "train", "widgets", "zoo",
)  # fmt: skip

__all__ = [
    "PRESETS", "RESIZE_RULES", "EncoderBlock", "Mlp", "MultiHeadAttention", "PatchEmbedding",
    "ViTConfig", "VisionTransformer", "attend", "attention_weights", "patchify",
    "resize_positions", "sincos_1d", "sincos_2d", "unpatchify", *_MODULES,
]  # fmt: skip


def __getattr__(name):
    """Load a sub-module on first use, so that importing the package stays fast."""
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
