"""The images of a cell: the same validation images for all, nested subsets. Chapter 11."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch

from ... import data
from ...arguments import explained, require_type
from ...data.drawn import shapes
from ...data.imageset import ImageSet

if TYPE_CHECKING:
    from .cells import Cell

# Two halves of the ten classes, by even and odd number, for transfer from the one to the other.
CLASSES = {"source": (0, 2, 4, 6, 8), "target": (1, 3, 5, 7, 9)}
VALIDATION = 5000  # images of the training set that every cell holds out, the same ones
QUICK_VALIDATION = 2000  # the same for the quick forms, which leave the test set alone
DATA = ("cifar10", "any", "corner")


@explained
def load_sets(cell: Cell) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The (training, validation, test) ``ImageSet`` of a cell; subsets of one seed are nested.

    The validation images are the same in every cell. Raises ``FileNotFoundError`` where the cell
    needs CIFAR-10 and there is none.

    >>> from vit_teach.experiments import cell
    >>> [len(images) for images in load_sets(cell("vit", 128, n=500, data="corner"))]
    [500, 1000, 2000]
    """
    train, validation, test = base_sets(cell.data)
    if cell.classes is not None:
        kept = CLASSES[cell.classes]
        train, validation, test = (of_classes(part, kept) for part in (train, validation, test))
    if cell.n is not None:
        train = train.subset(min(cell.n, len(train)), seed=cell.seed)
    return train, validation, test


def of_classes(images: ImageSet, labels: Sequence[int]) -> ImageSet:
    """The images with these labels (ascending), and the labels numbered anew from 0.

    >>> few = of_classes(shapes(100, seed=0), (1, 3, 5))
    >>> len(few.classes), sorted(set(few.labels.tolist()))
    (3, [0, 1, 2])
    """
    require_type("images", images, ImageSet, "an ImageSet")
    known = range(len(images.classes))
    if not isinstance(labels, (tuple, list)) or [n for n in known if n in labels] != list(labels):
        raise ValueError(f"labels={labels!r} must be ascending numbers from 0 to {known[-1]}")
    wanted = torch.tensor(labels)  # (K',)
    kept = images.take(torch.isin(images.labels, wanted).nonzero().flatten())
    names = tuple(images.classes[label] for label in labels)
    return replace(kept, labels=torch.searchsorted(wanted, kept.labels), classes=names)


@cache
def base_sets(name: str) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The (training, validation, test) images that the cells with this ``data`` share, read once.

    >>> [len(images) for images in base_sets("corner")]
    [9000, 1000, 2000]
    """
    if name == "corner":
        full = shapes(10_000, seed=0, corner="tl")
        test = shapes(2_000, seed=0, split="test", corner="tl")
    elif name == "any":
        full, test = data.load_or_shapes("cifar10", "train"), data.load_or_shapes("cifar10", "test")
    else:
        full, test = data.load("cifar10", "train"), data.load("cifar10", "test")
    held_out = QUICK_VALIDATION if name == "any" else VALIDATION
    return (*full.hold_out(min(held_out, len(full) // 10), seed=0), test)
