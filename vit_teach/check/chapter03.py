"""Checks of chapter 3: the linear projection, its cost, its weights elsewhere, and a shift."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..vit import embedding as own
from ..vit import patches as cuts
from .judge import Case, examine, seeded

CLOSE = 1e-6


def draws(seed: int) -> tuple[Callable[[int, int], int], Callable[..., Tensor]]:
    """Two functions that draw from one stream: a whole number of low..high, and normal numbers.

    >>> whole, normal = draws(0)
    >>> 2 <= whole(2, 5) <= 5, normal(2, 3).shape
    (True, torch.Size([2, 3]))
    """
    random = seeded(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=random))

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return whole, normal


def _tokens(
    images: Tensor, weight: Tensor, bias: Tensor, order: str = "cpp", bias_too: bool = True
) -> Tensor:
    patches = cuts.patchify(images, tuple(weight.shape[2:]), order)
    return patches @ weight.flatten(1).T + (bias if bias_too else 0)


def _down_the_columns(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    grid = F.conv2d(images, weight, bias, stride=weight.shape[2:])
    return grid.transpose(2, 3).flatten(2).transpose(1, 2)


def _reshaped(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    grid = F.conv2d(images, weight, bias, stride=weight.shape[2:])
    return grid.reshape(len(images), -1, weight.shape[0])


PROJECTION_FAULTS = {
    "the bias is missing.":
        lambda images, weight, bias: _tokens(images, weight, bias, bias_too=False),
    'your patches are in order "ppc", the weight is in order channel, row, column.':
        lambda images, weight, bias: _tokens(images, weight, bias, "ppc"),
    "the width must come last: you return (B, D, N), wanted is (B, N, D).":
        lambda images, weight, bias: _tokens(images, weight, bias).transpose(1, 2),
    "the tokens run down the columns; the grid is read row by row.": _down_the_columns,
    "a reshape of (B, D, gh, gw) mixes channels and places: flatten the grid, then swap two axes.":
        _reshaped,
    "the kernel is mirrored: a layer's convolution does not turn it round.":
        lambda images, weight, bias: _tokens(images, weight.flip(2, 3), bias),
    "the weight is reshaped where it should be transposed: one column is not one filter.":
        lambda images, weight, bias: cuts.patchify(images, tuple(weight.shape[2:]))
        @ weight.reshape(-1, len(weight)) + bias,
}  # fmt: skip


def projection(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``project(images, weight, bias)``: tokens (B, N, D) of images (B, C, H, W).

    ``weight`` is a convolution's, (D, C, PH, PW); ``bias`` is (D,). Raises ``Wrong``.

    >>> projection(lambda images, weight, bias: images)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 6, 5) is wanted, yours is (2, 3, 4, 9) ...
    """
    whole, normal = draws(seed)
    shapes: list[tuple[int, ...]] = [(2, 3, 2, 3, 2, 3, 5)]
    shapes += [tuple(whole(1, 4) for _ in range(7)) for _ in range(6)]
    cases = []
    for b, c, gh, gw, ph, pw, d in shapes:
        inputs = normal(b, c, gh * ph, gw * pw), normal(d, c, ph, pw), normal(d)
        want = _tokens(*inputs)
        names = ("images", "weight", "bias")
        cases.append(Case(names, inputs, want, PROJECTION_FAULTS, tolerance=CLOSE))
    forbidden = (
        own.PatchEmbedding, nn.Conv2d, (F, "conv2d"), (torch, "conv2d"),
    )  # fmt: skip
    examine("projection", answer, cases, forbidden)


def _cost(image: int, patch: int, channels: int, width: int) -> tuple[int, int]:
    numbers = channels * patch**2
    return numbers * width + width, (image // patch) ** 2 * numbers * width


COST_FAULTS = {
    "the parameters lack the bias: one number for each of the filters.":
        lambda i, p, c, d: (_cost(i, p, c, d)[0] - d, _cost(i, p, c, d)[1]),
    "a patch has patch * patch pixels, not patch.":
        lambda i, p, c, d: (c * p * d + d, (i // p) ** 2 * c * p * d),
    "a pixel has several channels, you count one.":
        lambda i, p, c, d: (p * p * d + d, (i // p) ** 2 * p * p * d),
    "your MACs are those of a single patch: the image has (image / patch) squared of them.":
        lambda i, p, c, d: (_cost(i, p, c, d)[0], c * p * p * d),
    "your MACs are those of one row of patches: the grid has two sides.":
        lambda i, p, c, d: (_cost(i, p, c, d)[0], i // p * c * p * p * d),
    "adding the bias is no multiplication: it does not count as MACs.":
        lambda i, p, c, d: (_cost(i, p, c, d)[0], _cost(i, p, c, d)[0] * (i // p) ** 2),
    "you return the MACs first and the parameters second.":
        lambda i, p, c, d: _cost(i, p, c, d)[::-1],
    "every patch uses the same matrix: parameters do not grow with the image.":
        lambda i, p, c, d: ((_cost(i, p, c, d)[0]) * (i // p) ** 2, _cost(i, p, c, d)[1]),
}  # fmt: skip


def projection_cost(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``cost(image, patch, channels, width)``: (parameters, MACs) of the projection.

    ``image`` and ``patch`` are sides of squares in pixels; the MACs are those of one image.
    Raises ``Wrong``.

    >>> projection_cost(lambda image, patch, channels, width: (0, 0))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: (753920, 192675840) is wanted, yours is (0, 0). ...
    """
    whole, _ = draws(seed)
    questions = [(224, 14, 3, 1280), (32, 4, 3, 192)]
    for _ in range(6):
        patch = whole(2, 20)
        questions.append((patch * whole(2, 20), patch, whole(2, 6), whole(8, 900)))
    names = ("image", "patch", "channels", "width")
    cases = [Case(names, inputs, _cost(*inputs), COST_FAULTS) for inputs in questions]
    examine("projection_cost", answer, cases)


GOOGLE_FAULTS = {
    "rows and columns of the kernel are swapped.": lambda k: k.permute(3, 2, 1, 0),
    "a reshape gives this shape too, but it moves no number: use permute.":
        lambda k: k.reshape(k.shape[3], k.shape[2], k.shape[0], k.shape[1]),
    "the channel must come right after the filter: yours is (D, P, P, C).":
        lambda k: k.permute(3, 0, 1, 2),
    "the filter comes first, then the channel: yours is (C, D, P, P).":
        lambda k: k.permute(2, 3, 0, 1),
    "this is still the kernel as it came, (P, P, C, D).": lambda k: k,
    "the kernel is mirrored: both libraries go through it in the same direction.":
        lambda k: k.permute(3, 2, 0, 1).flip(2, 3),
}  # fmt: skip


def from_google(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``from_google(kernel)``: (PH, PW, C, D) to a convolution's weight (D, C, PH, PW).

    Raises ``Wrong``.

    >>> from_google(lambda kernel: kernel[0])
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (7, 5, 3, 2) is wanted, yours is (2, 5, 7) ...
    """
    whole, normal = draws(seed)
    shapes = [(3, 2, 5, 7), (2, 2, 3, 4)] + [tuple(whole(2, 6) for _ in range(4)) for _ in range(4)]
    cases = []
    for shape in shapes:
        kernel = normal(*shape)
        want = kernel.permute(3, 2, 0, 1)
        cases.append(Case(("kernel",), (kernel,), want, GOOGLE_FAULTS))
    examine("from_google", answer, cases)


def _twice(weight: Tensor) -> Tensor:
    return weight.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


TWICE_FAULTS = {
    "each pixel is there four times now: the four weights on it must sum to the old one.": _twice,
    "the kernel grows in two directions: half of it is a quarter too much.":
        lambda w: _twice(w) / 2,
    "the kernel is laid beside itself: each weight must be repeated at its own place.":
        lambda w: w.repeat(1, 1, 2, 2) / 4,
    "the new weights are a mixture of neighbours: each old pixel keeps its own weight.":
        lambda w: F.interpolate(w, scale_factor=2, mode="bilinear") / 4,
    "rows and columns of the kernel are swapped.": lambda w: _twice(w).transpose(2, 3) / 4,
    "only the columns are doubled.": lambda w: w.repeat_interleave(2, dim=3) / 2,
    "only the rows are doubled.": lambda w: w.repeat_interleave(2, dim=2) / 2,
}  # fmt: skip


def twice_kernel(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``twice_kernel(weight)``: (D, C, PH, PW) to (D, C, 2 PH, 2 PW) for twice the pixels.

    The four weights on one old pixel are equal. Raises ``Wrong``.

    >>> twice_kernel(lambda weight: weight)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (5, 3, 4, 6) is wanted, yours is (5, 3, 2, 3) ...
    """
    whole, normal = draws(seed)
    shapes = [(5, 3, 2, 3), (4, 2, 3, 3)] + [tuple(whole(2, 5) for _ in range(4)) for _ in range(4)]
    cases = []
    for shape in shapes:
        weight = normal(*shape)
        want = _twice(weight) / 4
        cases.append(Case(("weight",), (weight,), want, TWICE_FAULTS, tolerance=CLOSE))
    examine("twice_kernel", answer, cases)


# --- A picture that moves ----------


def _embedded(image: Tensor, weight: Tensor) -> Tensor:
    return _tokens(image[None], weight, image.new_zeros(len(weight)))[0]  # (N, D)


def _found(image: Tensor, moved: Tensor, weight: Tensor) -> Tensor:
    """(N, N), True where a token of the moved image is one of the image as it was."""
    return torch.cdist(_embedded(moved, weight), _embedded(image, weight)) < CLOSE


def _survivors(image: Tensor, weight: Tensor, shift: int, axis: int = 2) -> int:
    moved = torch.roll(image, shift, dims=axis)
    return int(_found(image, moved, weight).any(dim=1).sum())


def _without_the_rest(image: Tensor, shift: int) -> Tensor:
    return F.pad(image, (shift, 0))[..., : image.shape[2]]


SURVIVOR_FAULTS = {
    "you look for each token in its own place only; it may stand in another.":
        lambda image, weight, shift: int(
            _found(image, torch.roll(image, shift, dims=2), weight).diagonal().sum()),
    "the picture has moved down; to the right is along the columns, the last axis.":
        lambda image, weight, shift: _survivors(image, weight, shift, axis=1),
    "what leaves on the right comes in again on the left: torch.roll, no zeros.":
        lambda image, weight, shift: int(
            _found(image, _without_the_rest(image, shift), weight).any(dim=1).sum()),
    "you count pairs; a new token that equals several old ones counts once.":
        lambda image, weight, shift: int(
            _found(image, torch.roll(image, shift, dims=2), weight).sum()),
    "these are the new tokens; wanted are those that were there before.":
        lambda image, weight, shift: len(_embedded(image, weight))
        - _survivors(image, weight, shift),
    "the shift is in pixels, not in patches.":
        lambda image, weight, shift: _survivors(image, weight, shift * weight.shape[3]),
    "the number is wanted, not the share.":
        lambda image, weight, shift: _survivors(image, weight, shift)
        / len(_embedded(image, weight)),
}  # fmt: skip


def _call_survivors(answer: Callable[..., Any], image: Tensor, weight: Tensor, shift: int) -> Any:
    return answer(lambda image: _embedded(image, weight), image, shift)


def survivors(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``survivors(embed, image, shift)``: how many tokens a shift to the right leaves alive.

    ``embed`` maps an image (C, H, W) to tokens (N, D), ``shift`` is in pixels. Raises ``Wrong``.

    >>> survivors(lambda embed, image, shift: 0)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: 6 is wanted, yours is 0. (image (3, 9, 20), ..., shift=1)
    """
    _, normal = draws(seed)
    cases = []
    for (ph, pw), shift in (((3, 4), 1), ((2, 5), 2), ((3, 4), 4), ((3, 4), 8), ((2, 5), 1)):
        image = normal(3, 3 * ph, 5 * pw)
        image[:, : 2 * ph, pw + 1 : 5 * pw - 1] = 1  # a wall of one colour, in two rows
        inputs = image, normal(6, 3, ph, pw), shift
        names, want = ("image", "kernel", "shift"), _survivors(*inputs)
        cases.append(Case(names, inputs, want, SURVIVOR_FAULTS, _call_survivors))
    examine("survivors", answer, cases)
