"""Four ways to train on CIFAR-10 from scratch: this book's, a tutorial's, and two published ones.

ViT-Lite and CCT are those of Hassani et al. 2021, "Escaping the Big Data Paradigm with Compact
Transformers" (arXiv 2104.05704), rebuilt from their tables and from the settings in their
repository (github.com/SHI-Labs/Compact-Transformers): the sizes from ``src/vit.py`` and
``src/cct.py``, ViT-Lite's training from ``examples/main.py``, CCT's from
``configs/pretrained/cct_7-3x1_cifar10_300epochs.yml``. Their schedules are as long as the time that
is given, with every part of it in proportion.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from . import models

PIXELS = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}  # as they give them


@dataclass(frozen=True)
class Recipe:
    """A training by hand: model, changes to the pictures, AdamW's settings."""

    model: Callable[[], nn.Module]
    transform: Callable[[], Any]
    learning_rate: float
    weight_decay: float
    warmup: float = 0.0  # part of the time
    lowest_rate: float | None = None  # at the end of a cosine; None: the rate stays
    label_smoothing: float = 0.0
    mixed_until: float = 0.0  # mixup and CutMix in this part of the time
    faster_numbers: bool = True  # bfloat16 where the processor multiplies it

    def rate(self, part: float) -> float:
        """The learning rate after this part (0 to 1) of the time."""
        if part < self.warmup:
            return self.learning_rate * max(part / self.warmup, 0.02)
        if self.lowest_rate is None:
            return self.learning_rate
        down = 0.5 * (1 + math.cos(math.pi * (part - self.warmup) / (1 - self.warmup)))
        return self.lowest_rate + (self.learning_rate - self.lowest_rate) * down


def vit_lite() -> nn.Module:
    """ViT-Lite-7/4: 7 layers, width 256, patches of 4, a class token; 3.72 million parameters."""
    from vit_pytorch.cct import Tokenizer, TransformerClassifier

    tokens = Tokenizer(
        kernel_size=4, stride=4, padding=0, max_pool=False, n_output_channels=256, conv_bias=True
    )
    classifier = TransformerClassifier(
        seq_pool=False, embedding_dim=256, num_layers=7, num_heads=4, mlp_ratio=2, num_classes=10,
        dropout_rate=0.0, attention_dropout=0.1, stochastic_depth_rate=0.1,
        positional_embedding="learnable", sequence_length=64,
    )  # fmt: skip
    return nn.Sequential(tokens, classifier)


def cct() -> nn.Module:
    """CCT-7/3x1: one convolution and pooling make 256 tokens; 3.76 million parameters."""
    from vit_pytorch.cct import cct_7

    return cct_7(
        img_size=32, n_conv_layers=1, kernel_size=3, positional_embedding="learnable",
        num_classes=10,
    )  # fmt: skip


def tutorial_transform() -> Any:
    from torchvision import transforms as T

    middle = (0.5, 0.5, 0.5)
    return T.Compose([T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(middle, middle)])


def vit_lite_transform() -> Any:
    from torchvision import transforms as T

    return T.Compose([
        T.AutoAugment(T.AutoAugmentPolicy.CIFAR10), T.RandomCrop(32, padding=4),
        T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(**PIXELS),
    ])  # fmt: skip


def cct_transform() -> Any:
    from timm.data import create_transform

    return create_transform(
        input_size=32, is_training=True, scale=(0.8, 1.0), interpolation="random",
        auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.0, **PIXELS,
    )  # fmt: skip


RECIPES = {
    "tutorial": Recipe(
        lambda: models.build("vit-pytorch ViT"), tutorial_transform, 3e-4, 0.01,
        faster_numbers=False,
    ),
    "vit-lite": Recipe(
        vit_lite, vit_lite_transform, 5e-4, 0.03, warmup=5 / 200, lowest_rate=0.0,
        label_smoothing=0.1,
    ),
    "cct": Recipe(
        cct, cct_transform, 5.5e-4, 0.06, warmup=10 / 300, lowest_rate=1e-5, label_smoothing=0.1,
        mixed_until=175 / 300,
    ),
}  # fmt: skip
# This book's own go through its own training: the preset and what differs from the defaults.
OURS = {
    "book": ("CIFAR-Hybrid-Residual", {"optimizer": "muon-conv", "learning_rate": 6e-3}),
    "book-vit": ("CIFAR-ViT-Tiny", {"learning_rate": 4e-3}),
}
NAMES = ("book", "tutorial", "vit-lite", "cct")  # measured unless others are asked for
