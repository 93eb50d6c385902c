"""Handwritten digits: real pictures that a small model learns in half a minute. Chapter 8.

The 1,797 pictures that scikit-learn carries, 8 x 8 pixels with 17 levels of grey. They are the test
part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998, UCI Machine
Learning Repository, CC BY 4.0), written by 13 people. Here they are grown to 32 x 32, so that they
fit the models for CIFAR. A mirrored digit is no digit: train on them without flips.
"""

from __future__ import annotations

from functools import cache

import torch
from torch.nn.functional import interpolate

from .imageset import ImageSet

SPLITS = ("train", "test")
SIZE = 32  # pixels of a side, as in CIFAR
TEST = 297  # pictures held back to test on; 1,500 remain
SOURCE = "handwritten digits (scikit-learn's, grown to 32 x 32)"


def digits(split: str = "train") -> ImageSet:
    """One split of the handwritten digits: "train" (1,500 pictures) or "test" (297).

    The split is always the same one, each digit in proportion; pictures by one hand are in both
    parts. As with CIFAR, validation images are held out of the training part (``hold_out``).

    Returns an :class:`ImageSet` with images (N, 3, 32, 32), three equal channels, white on black.
    Raises ``ValueError`` for another split and ``ImportError`` without scikit-learn.

    >>> digits("test")
    ImageSet(handwritten digits (...), test: 297 images of 32 x 32, 10 classes)
    """
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split={split!r} must be one of {', '.join(SPLITS)}")
    train, test = _parts()
    return train if split == "train" else test


@cache
def _parts() -> tuple[ImageSet, ImageSet]:
    """(train, test), read and grown once."""
    try:
        from sklearn.datasets import load_digits  # slow to import, and only this function needs it
    except ImportError as error:
        raise ImportError("The digits come with scikit-learn: pip install scikit-learn") from error
    found = load_digits()
    small = torch.from_numpy(found.images).float()[:, None] / 16  # (N, 1, 8, 8), 0 to 1
    grown = interpolate(small, size=SIZE, mode="bilinear").clamp(0, 1)  # (N, 1, 32, 32)
    images = (grown * 255).round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(found.target).long()  # (N,)
    everything = ImageSet(images, labels, tuple("0123456789"), SOURCE, "train")
    train, held = everything.hold_out(TEST, seed=0)
    return train, held.take(torch.arange(len(held)), "test")
