"""A set of labelled images in memory, and how pixels become the numbers a model sees. Chapter 8."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..arguments import require_type
from .cifar import PUBLISHED

# Pixel statistics of the CIFAR-10 training images, as fractions of 255, one number per channel
# (red, green, blue). They are the usual constants for 32 x 32 training from scratch.
MEAN, STD = PUBLISHED["cifar10"].pixels["train"]
ROUNDING = 1e-3  # how far past 0 and 1 a float image may go


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels in memory, and the names that say what they are.

    ``classes[label]`` is the name of a label. Raises ``ValueError`` if a tensor has the wrong type
    or shape, or a label names no class.

    >>> pictures = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    >>> few = ImageSet(pictures, torch.tensor([0, 1, 0, 1]), ("cat", "dog"), "zeros", "train")
    >>> len(few), len(few.subset(2))
    (4, 2)
    """

    images: torch.Tensor  # uint8 (N, 3, H, W): red, green, blue, 0 to 255
    labels: torch.Tensor  # int64 (N,), each in 0 .. K-1
    classes: tuple[str, ...]  # the K class names
    source: str  # where the images come from, such as "CIFAR-10, JPEG re-encoding"
    split: str  # which part this is: "train", "validation" or "test"

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        for name in ("images", "labels"):
            require_type(name, getattr(self, name), torch.Tensor, "a tensor")
        require_type("classes", self.classes, tuple, "a tuple of names")
        require_type("source", self.source, str, "a text")
        require_type("split", self.split, str, "a text")
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images={images.dtype} {tuple(images.shape)} must be uint8 (N, 3, H, W)"
            )
        if labels.dtype != torch.int64 or labels.shape != (len(images),):
            raise ValueError(
                f"labels={labels.dtype} {tuple(labels.shape)} must be int64 ({len(images)},)"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise ValueError(
                f"labels={int(labels.min())}..{int(labels.max())} must lie in "
                f"0..{len(self.classes) - 1}: there are {len(self.classes)} class names"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, _, height, width = self.images.shape
        return (
            f"ImageSet({self.source}, {self.split}: {n:,} images of {height} x {width}, "
            f"{len(self.classes)} classes)"
        )

    def take(self, index: torch.Tensor, split: str | None = None) -> ImageSet:
        """The images at the positions ``index`` (int64 (n,)), in that order, as a new ImageSet."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            split=self.split if split is None else split,
        )

    def subset(self, n: int, seed: int = 0) -> ImageSet:
        """``n`` images, as many of each class as of any other (within one).

        The subsets of one seed are nested: ``subset(500)`` is the beginning of ``subset(1500)``.
        So a curve of accuracy against n adds images and never swaps them. A class that has
        fewer images than its share gives all it has. ``seed`` chooses one of the many possible
        subsets. Raises ``ValueError`` unless ``n`` is in 1 .. len(self).
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"n={n} must be in 1..{len(self)}, the number of images in the set")
        return self.take(_class_order(self.labels, seed)[:n])

    def hold_out(self, validation: int | float = 5000, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Hold images back for validation, each class in proportion to its size.

        Split first and take subsets of the training part after: then no validation image is
        ever trained on. (The method cannot be called ``split``: that is the name of the part.)
        ``validation`` is how many images to hold back, or the fraction of them (0 < fraction < 1);
        ``seed`` chooses which. Returns (train, validation): disjoint, together the whole set, each
        in the original order. Raises ``ValueError`` if either part would be empty.
        """
        n = round(validation * len(self)) if isinstance(validation, float) else validation
        if not 0 < n < len(self):
            raise ValueError(
                f"validation={validation} must hold back at least 1 and leave at least 1 of the "
                f"{len(self)} images"
            )
        order = _class_order(self.labels, seed, proportional=True)
        train, held = order[n:].sort().values, order[:n].sort().values
        return self.take(train, "train"), self.take(held, "validation")

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the content: SHA-256 of sizes, pixels and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


def _class_order(labels: torch.Tensor, seed: int, proportional: bool = False) -> torch.Tensor:
    """A random order of all images in which every beginning holds the classes evenly.

    Image number r (in random order) of its class gets the key r, or, with ``proportional``,
    (r + 1/2) / (size of the class); sorting by the key deals the classes out like cards.
    """
    # RandomState is the numpy generator whose stream is frozen for good: same seed, same subset.
    random = np.random.RandomState(seed)
    label_of = labels.cpu().numpy()  # (N,)
    key = np.empty(len(label_of))
    for label in np.unique(label_of):
        members = random.permutation(np.flatnonzero(label_of == label))
        rank = np.arange(len(members))
        key[members] = (rank + 0.5) / len(members) if proportional else rank
    tie_break = random.permutation(label_of.max(initial=0) + 1)[label_of]  # which class comes first
    return torch.from_numpy(np.lexsort((tie_break, key)))


def normalise(
    images: torch.Tensor, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> torch.Tensor:
    """Images (B, 3, H, W) or (3, H, W) -> float32 of the same shape, (x - mean) / std.

    Takes uint8 (0..255, divided by 255 first) or float (0..1 already). The constants are those of
    CIFAR-10 unless you pass others. Any constants near the data's own do; what matters is to use
    the same ones in training and afterwards. Raises ``ValueError`` for another shape or type, for
    float images outside 0..1, and unless there is a mean and a positive deviation for each colour.

    >>> normalise(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).max()
    tensor(1.)
    """
    require_type("images", images, torch.Tensor, "a tensor")
    if images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(f"images of shape {tuple(images.shape)} must be (B, 3, H, W) or (3, H, W)")
    if images.dtype == torch.uint8:
        images = images.float() / 255
    elif not images.is_floating_point():
        raise ValueError(f"images of type {images.dtype} must be uint8 or float")
    elif images.numel():
        low, high = (value.item() for value in images.aminmax())
        if not -ROUNDING <= low <= high <= 1 + ROUNDING:
            raise ValueError(
                f"images={low:g}..{high:g} must lie in 0..1 as floats: divide bytes by 255, and "
                "normalise only once"
            )
    _check_colours("mean", mean, -math.inf)
    _check_colours("std", std, 0)
    centre = torch.tensor(mean, device=images.device).view(-1, 1, 1)
    spread = torch.tensor(std, device=images.device).view(-1, 1, 1)
    return (images - centre) / spread  # (B, 3, H, W)


def _check_colours(name: str, values: Sequence[float], above: float) -> None:
    """Raise ``ValueError`` unless there are one or three finite numbers, each greater than that."""
    numbers = list(values) if isinstance(values, (list, tuple)) else []
    if len(numbers) not in (1, 3) or not all(
        isinstance(v, (int, float)) and above < v < math.inf for v in numbers
    ):
        rule = "positive numbers" if above == 0 else "finite numbers"
        raise ValueError(f"{name}={values!r} must be {rule}, one for each of three colours")
