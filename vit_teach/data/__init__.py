"""Images for the book, held in memory: CIFAR, your own pictures, one photograph. Chapters 8, 11.

Everything is an ``ImageSet``: a uint8 tensor of images, an int64 tensor of labels, and the names
that say what they are and where they come from. At 32 x 32 pixels the whole of CIFAR-10 is
184 MB, so a batch is an index into memory and no loader processes are needed.

``cifar`` says where CIFAR is looked for and how it is read. In its place ``drawn`` draws pictures
and ``digits`` holds handwritten digits, real ones that a small model learns in half a minute.
``python -m vit_teach.data cifar10`` fetches a copy of CIFAR; nothing else here downloads anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from .cifar import PUBLISHED, DataError, data_folder, find, read
from .digits import digits
from .drawn import shapes, stand_in
from .imageset import MEAN, STD, ImageSet, normalise
from .pictures import folder, photograph

__all__ = [
    "MEAN", "STD", "DataError", "ImageSet", "data_folder", "digits", "find", "folder", "load",
    "load_or_digits", "load_or_shapes", "normalise", "photograph", "shapes", "stand_in",
]  # fmt: skip


# ---------------------------------------------------------------------------------------------
# CIFAR, or something in its place
# ---------------------------------------------------------------------------------------------


def load(name: str = "cifar10", split: str = "train", root: str | Path | None = None) -> ImageSet:
    """Read one split of CIFAR-10, CIFAR-100 or the digits into memory.

    The first time the pictures are decoded (a few seconds) and kept beside the copy, or in the
    user's cache folder if that place cannot be written; after that it takes a fraction of one.

    ``name`` is "cifar10", "cifar100" or "digits", ``split`` "train" (50,000 images) or "test"
    (10,000; for the digits see :func:`digits`), and ``root`` the folder to look for CIFAR in (None:
    ``data_folder()``). Returns an :class:`ImageSet` with images (N, 3, 32, 32). Raises
    ``ValueError`` for an unknown name or split, ``FileNotFoundError`` if there is no copy (the
    message says how to get one), and ``DataError`` if the copy is damaged (the message names the
    file).

    >>> load("cifar10", split="holiday")
    Traceback (most recent call last):
    ...
    ValueError: split='holiday' ...
    """
    if name == "digits":
        return digits(split)
    images, labels, classes, source = read(name, split, root)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels), classes, source, split)


def load_or_digits(name: str = "cifar10", split: str = "train") -> ImageSet:
    """CIFAR where a copy is present, else the handwritten digits; prints one line that says which.

    For a training that a reader watches: the digits are real, and a small model learns them in half
    a minute. Arguments and errors are those of :func:`load_or_shapes`.

    >>> images = load_or_digits("cifar10", "test")
    Data: ...
    >>> len(images.classes)
    10
    """
    return _load_or(digits, name, split)


def load_or_shapes(name: str = "cifar10", split: str = "train") -> ImageSet:
    """CIFAR where a copy is present, else the built-in shapes; prints one line that says which.

    For controlled experiments, and where pictures are only looked at. ``name`` is "cifar10" or
    "cifar100", ``split`` "train" or "test". A copy that is there but damaged is an error
    (``DataError``), not a reason to use something else; and so is none where VIT_TEACH_DATA says
    that there is one (``FileNotFoundError``).

    >>> images = load_or_shapes("cifar10", "test")
    Data: ...
    >>> len(images.classes)
    10
    """
    return _load_or(stand_in, name, split)


def _load_or(other: Callable[[str], ImageSet], name: str, split: str) -> ImageSet:
    """CIFAR where there is a copy, else what ``other`` gives for this split; says which."""
    if find(name) is not None or os.environ.get("VIT_TEACH_DATA"):
        images = load(name, split)
        print(f"Data: {images.source}, {split}, {len(images):,} images.")
        return images
    if not isinstance(split, str) or split not in PUBLISHED[name].counts:
        raise ValueError(f"split={split!r} must be one of {', '.join(PUBLISHED[name].counts)}")
    images = other(split)
    title = PUBLISHED[name].title
    print(
        f"Data: {images.source}, {split}, {len(images):,} images.\n"
        f"There is no {title} here: `python -m vit_teach.data {name}` fetches it."
    )
    return images
