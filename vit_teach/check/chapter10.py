"""Checks of chapter 10: symmetries that are bought by averaging, or tied into the weights."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..vit.patches import patchify
from .chapter03 import CLOSE, draws
from .isolate import Wrong
from .judge import Case, examine

Features = Callable[[Tensor], Tensor]  # images (B, C, H, W) to vectors (B, D)


def _features(weight: Tensor, patch: int) -> Features:
    """Vectors that no circular shift by whole patches changes."""
    return lambda images: (patchify(images, patch) @ weight).relu().mean(dim=1)


def _rolled(images: Tensor, patch: int) -> list[Tensor]:
    """The pictures shifted by 0 to patch - 1 pixels, down (slow) and right (fast)."""
    return [
        torch.roll(images, (down, right), dims=(2, 3))
        for down in range(patch)
        for right in range(patch)
    ]


def _averaged(
    choose: Callable[[list[Tensor], int], list[Tensor]],
) -> Callable[[Tensor, Tensor, int], Tensor]:
    """The mean over the shifted pictures that ``choose(all, patch)`` leaves."""

    def mean(images: Tensor, weight: Tensor, patch: int) -> Tensor:
        moved = choose(_rolled(images, patch), patch)
        return torch.stack([_features(weight, patch)(x) for x in moved]).mean(dim=0)

    return mean


def _padded(images: Tensor, weight: Tensor, patch: int) -> Tensor:
    height, width = images.shape[2:]
    moved = [
        F.pad(images, (right, 0, down, 0))[..., :height, :width]
        for down in range(patch)
        for right in range(patch)
    ]
    return torch.stack([_features(weight, patch)(x) for x in moved]).mean(dim=0)


_forced = _averaged(lambda moved, patch: moved)
FORCED_FAULTS = {
    "nothing is averaged: these are the features of the picture as it is.":
        _averaged(lambda moved, patch: moved[:1]),
    "you shift to the right only; a shift down matters too.":
        _averaged(lambda moved, patch: moved[:patch]),
    "you shift down only; a shift to the right matters too.":
        _averaged(lambda moved, patch: moved[::patch]),
    "you shift down and right by the same number only: all pairs are needed.":
        _averaged(lambda moved, patch: moved[:: patch + 1]),
    "the vectors are added up; their mean is wanted.":
        lambda images, weight, patch: patch**2 * _forced(images, weight, patch),
    "the largest value is taken; the mean is wanted.":
        lambda images, weight, patch: torch.stack(
            [_features(weight, patch)(x) for x in _rolled(images, patch)]).amax(dim=0),
    "you average the pictures; a blurred picture is another one. Average the vectors.":
        lambda images, weight, patch: _features(weight, patch)(
            torch.stack(_rolled(images, patch)).mean(dim=0)),
    "what leaves on one side comes in again on the other: torch.roll, no zeros.": _padded,
}  # fmt: skip


def _call_forced(answer: Callable[..., Any], images: Tensor, weight: Tensor, patch: int) -> Any:
    seen = 0

    def features(images: Tensor) -> Tensor:
        nonlocal seen
        seen += len(images)
        return _features(weight, patch)(images)

    result = answer(features, images, patch)
    most = len(images) * patch**2
    if seen > most:
        raise Wrong(f"your function looks at {seen} pictures, {most} are enough: shifts by whole "
                    "patches are free.")  # fmt: skip
    return result


def forced_invariance(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``forced(features, images, patch)``: vectors that no circular shift changes.

    ``features`` maps images (B, C, H, W) to vectors (B, D), and ignores shifts by whole patches of
    side ``patch``; right is the mean over all other shifts, in patch**2 passes. Raises ``Wrong``.

    >>> forced_invariance(lambda features, images, patch: features(images))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: nothing is averaged: these are the features of the picture ...
    """
    whole, normal = draws(seed)
    cases = []
    for patch in (2, 3, 4, 3):
        batch, channels, width = whole(1, 3), whole(1, 3), whole(2, 5)
        images = normal(batch, channels, 2 * patch, 3 * patch)
        inputs = images, normal(channels * patch**2, width), patch
        names, want = ("images", "weight", "patch"), _forced(*inputs)
        cases.append(Case(names, inputs, want, FORCED_FAULTS, _call_forced, tolerance=CLOSE))
    examine("forced_invariance", answer, cases)


Grid = tuple[int, int]


def _folded(value: Tensor, *dims: int) -> Tensor:
    return (value + value.flip(dims)) / 2


def _folded_table(table: Tensor, grid: Grid, *dims: int) -> Tensor:
    return _folded(table.view(1, *grid, -1), *dims).view_as(table)


def _tied(kernel: Tensor, table: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    return _folded(kernel, 3), _folded_table(table, grid, 2)


TIED_FAULTS = {
    "the table is as it was: the patches change places too.":
        lambda kernel, table, grid: (_folded(kernel, 3), table),
    "the kernel is as it was: each patch is mirrored inside too.":
        lambda kernel, table, grid: (kernel, _folded_table(table, grid, 2)),
    "the kernel is averaged with itself upside down; left and right are its last axis.":
        lambda kernel, table, grid: (_folded(kernel, 2), _folded_table(table, grid, 2)),
    "the table is averaged from top to bottom; left and right are the columns of its grid.":
        lambda kernel, table, grid: (_folded(kernel, 3), _folded_table(table, grid, 1)),
    "the sequence is turned round as a whole; only the columns of the grid change places.":
        lambda kernel, table, grid: (_folded(kernel, 3), _folded(table, 1)),
    "these are the mirror images; average each with its original.":
        lambda kernel, table, grid: (kernel.flip(3), table.view(1, *grid, -1).flip(2).view_as(
            table)),
    "the sums are twice too large: divide by 2.":
        lambda kernel, table, grid: tuple(2 * part for part in _tied(kernel, table, grid)),
    "rows and columns of the grid are swapped: it is (rows, columns).":
        lambda kernel, table, grid: _tied(kernel, table, grid[::-1]),
}  # fmt: skip


def left_right_tied(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``tied(kernel, table, grid)``: both averaged with their mirror images.

    ``kernel`` is (D, C, P, P), ``table`` (1, N, D) for the grid (rows, columns). Raises ``Wrong``.

    >>> left_right_tied(lambda kernel, table, grid: (kernel, table[0]))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: part 0: right shape, wrong content: ...
    """
    whole, normal = draws(seed)
    sizes = [(2, 3, 3, 4)] + [(whole(2, 4), whole(2, 4), whole(2, 4), whole(5, 7)) for _ in "123"]
    cases = []
    for dim, side, rows, columns in sizes:
        kernel, table = normal(dim, 3, side, side), normal(1, rows * columns, dim)
        inputs = kernel, table, (rows, columns)
        names, want = ("kernel", "table", "grid"), _tied(*inputs)
        cases.append(Case(names, inputs, want, TIED_FAULTS, tolerance=CLOSE))
    examine("left_right_tied", answer, cases)
