"""The Vision Transformer, all of it, in the order of the chapters. Chapters 2 to 6.

``patches`` cuts an image (chapter 2), ``embedding`` turns patches into tokens with positions
(chapters 3 and 4), ``offsets`` holds the positions that act in the attention (chapter 4),
``attention`` lets tokens exchange what they hold (chapter 5), ``encoder`` stacks that into blocks
and ``model`` puts the whole together (chapter 6).
"""

from .attention import MultiHeadAttention, attend, attention_weights
from .embedding import (
    POSITIONS,
    RESIZE_RULES,
    PatchEmbedding,
    resize_positions,
    sincos_1d,
    sincos_2d,
)
from .encoder import EncoderBlock, Mlp, init_linear
from .model import POOLS, PRESETS, VisionTransformer, ViTConfig
from .offsets import RelativeBias, Rotary, rotary_angles, rotate
from .patches import patchify, unpatchify

__all__ = [
    "POOLS", "POSITIONS", "PRESETS", "RESIZE_RULES", "EncoderBlock", "Mlp", "MultiHeadAttention",
    "PatchEmbedding", "RelativeBias", "Rotary", "ViTConfig", "VisionTransformer", "attend",
    "attention_weights", "init_linear", "patchify", "resize_positions", "rotary_angles", "rotate",
    "sincos_1d", "sincos_2d", "unpatchify",
]  # fmt: skip
