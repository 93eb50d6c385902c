"""Checks of chapter 1: what a sequence and an image cost, a token, colours of few bits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..vit import patches as own
from .chapter03 import CLOSE, draws
from .judge import Case, examine, seeded


def _cost(height: int, width: int, channels: int, patch: int) -> tuple[int, int, int]:
    tokens = (height // patch) * (width // patch)
    return tokens, channels * patch**2, tokens**2


COST_FAULTS = {
    "you count the patches along one side only: the grid has rows and columns.":
        lambda h, w, c, p: (h // p, c * p * p, (h // p) ** 2),
    "you take the image for a square: count its rows and its columns apart.":
        lambda h, w, c, p: _cost(h, h, c, p),
    "these are the tokens of single pixels; one token stands for a whole patch.":
        lambda h, w, c, p: (h * w, c * p * p, (h * w) ** 2),
    "a pixel has several channels: a patch holds channels * patch * patch numbers.":
        lambda h, w, c, p: (_cost(h, w, c, p)[0], p * p, _cost(h, w, c, p)[2]),
    "a patch has patch * patch pixels, not patch.":
        lambda h, w, c, p: (_cost(h, w, c, p)[0], c * p, _cost(h, w, c, p)[2]),
    "each token meets every token, itself too: the matrix has tokens * tokens entries.":
        lambda h, w, c, p: (*_cost(h, w, c, p)[:2],
                            _cost(h, w, c, p)[0] * (_cost(h, w, c, p)[0] - 1)),
    "each pair stands twice in the matrix, once in each row.":
        lambda h, w, c, p: (*_cost(h, w, c, p)[:2],
                            _cost(h, w, c, p)[0] * (_cost(h, w, c, p)[0] - 1) // 2),
    "the class token of chapter 4 is not asked for here.":
        lambda h, w, c, p: (_cost(h, w, c, p)[0] + 1, c * p * p, (_cost(h, w, c, p)[0] + 1) ** 2),
}  # fmt: skip


def sequence_cost(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``cost(height, width, channels, patch)``: (tokens, numbers in each, entries).

    The entries are those of one attention matrix; ``patch`` is the side of a square patch in
    pixels. Raises ``Wrong``.

    >>> sequence_cost(lambda height, width, channels, patch: (0, 0, 0))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: (6, 12, 36) is wanted, yours is (0, 0, 0). ...
    """
    whole, _ = draws(seed)
    questions = [(4, 6, 3, 2)]
    for _number in range(6):
        patch = whole(2, 16)
        questions.append((whole(2, 9) * patch, whole(10, 14) * patch, whole(2, 5), patch))
    names = ("height", "width", "channels", "patch")
    cases = [Case(names, inputs, _cost(*inputs), COST_FAULTS) for inputs in questions]
    examine("sequence_cost", answer, cases)


def _cut(image: Tensor, row: int, column: int, patch: int) -> Tensor:
    return image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]


TOKEN_FAULTS = {
    "row and column are swapped.":
        lambda image, matrix, row, column, patch: matrix @ _cut(
            image, column, row, patch).flatten(),
    "row and column count patches, not pixels: the patch begins at row * patch.":
        lambda image, matrix, row, column, patch: matrix @ image[
            :, row : row + patch, column : column + patch].flatten(),
    "the colour stands last in your vector; the order is channel, row, column.":
        lambda image, matrix, row, column, patch: matrix @ _cut(
            image, row, column, patch).permute(1, 2, 0).flatten(),
    "rows and columns inside the patch are swapped.":
        lambda image, matrix, row, column, patch: matrix @ _cut(
            image, row, column, patch).transpose(1, 2).flatten(),
    "this is the patch itself; the matrix makes a token of it.":
        lambda image, matrix, row, column, patch: _cut(image, row, column, patch).flatten(),
    "a token is a vector with one axis, yours has two.":
        lambda image, matrix, row, column, patch: (matrix @ _cut(
            image, row, column, patch).flatten())[None],
    "rows and columns are counted from 0.":
        lambda image, matrix, row, column, patch: matrix @ _cut(
            image, row - 1, column - 1, patch).flatten(),
}  # fmt: skip


def one_token(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``token(image, matrix, row, column, patch)``: the token (D,) of one patch.

    ``image`` is (C, H, W), ``matrix`` (D, C * patch * patch); row and column count patches from 0.
    Raises ``Wrong``.

    >>> one_token(lambda image, matrix, row, column, patch: matrix[:, 0] * 0)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0] ...
    """
    whole, normal = draws(seed)
    cases = []
    for _ in range(7):
        patch, channels = whole(2, 4), whole(2, 4)
        rows, columns, width = whole(5, 6), whole(7, 8), whole(1, 9)
        image = normal(channels, rows * patch, columns * patch)
        row, column = whole(1, 2), whole(3, 4)
        inputs = image, normal(width, channels * patch**2), row, column, patch
        want = inputs[1] @ _cut(image, row, column, patch).flatten()
        names = ("image", "matrix", "row", "column", "patch")
        cases.append(Case(names, inputs, want, TOKEN_FAULTS, tolerance=CLOSE))
    examine("one_token", answer, cases, (own.patchify,))


def _distances(pixels: Tensor, palette: Tensor) -> Tensor:
    return (pixels.long()[:, None] - palette.long()).square().sum(dim=2)  # (N, K)


PALETTE_FAULTS = {
    "the numbers wrap round: in uint8, 3 - 5 is 254. Make them float or long before you subtract.":
        lambda pixels, palette: (pixels[:, None] - palette).square().sum(dim=2).argmin(dim=1),
    "these are the farthest colours, not the nearest.":
        lambda pixels, palette: _distances(pixels, palette).argmax(dim=1),
    "you compare the brightness only: take the difference of each channel first.":
        lambda pixels, palette: (pixels.long().sum(1)[:, None] - palette.long().sum(1)).abs()
        .argmin(dim=1),
    "differences of either sign cancel: square them, or take their size, before you add.":
        lambda pixels, palette: (pixels.long()[:, None] - palette.long()).sum(dim=2).argmin(dim=1),
    "return the number of the colour, not the colour.":
        lambda pixels, palette: palette[_distances(pixels, palette).argmin(dim=1)],
    "you give a pixel for each colour; wanted is a colour for each pixel.":
        lambda pixels, palette: _distances(pixels, palette).argmin(dim=0),
    "you return the distance; wanted is the number of the nearest colour.":
        lambda pixels, palette: _distances(pixels, palette).amin(dim=1),
}  # fmt: skip


def nearest_colour(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``nearest(pixels, palette)``: for each pixel the number of its nearest colour, (N,).

    ``pixels`` (N, 3) and ``palette`` (K, 3) are uint8; the distance is Euclid's. Raises ``Wrong``.

    >>> nearest_colour(lambda pixels, palette: torch.ones(len(pixels), dtype=torch.long))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0] ... is wanted, yours is 1. ...
    """
    random = seeded(seed)
    cases = []
    for n, colours in ((20, 6), (40, 7), (60, 12), (30, 5)):
        pixels, palette = (
            torch.randint(0, 256, (count, 3), generator=random, dtype=torch.uint8)
            for count in (n, colours)
        )
        two = _distances(pixels, palette).topk(2, largest=False).values  # (N, 2)
        pixels = pixels[two[:, 0] < two[:, 1]]  # no pixel lies as near to another colour
        want = _distances(pixels, palette).argmin(dim=1)
        cases.append(Case(("pixels", "palette"), (pixels, palette), want, PALETTE_FAULTS))
    examine("nearest_colour", answer, cases)


def _side(gigabytes: float, number: float = 4, gigabyte: float = 1e9) -> float:
    """The side of the largest square image in pixels, not yet rounded."""
    return float((gigabytes * gigabyte / number) ** 0.25)


SIDE_FAULTS: dict[str, Callable[..., Any]] = {
    "that is the number of tokens; a square image of side s has s * s of them.":
        lambda gigabytes: int(_side(gigabytes) ** 2),
    "a number of 32 bits takes four bytes, you count one.":
        lambda gigabytes: int(_side(gigabytes, 1)),
    "32 bits are four bytes: do not divide bytes by 32.":
        lambda gigabytes: int(_side(gigabytes, 32)),
    "a number of 32 bits takes four bytes; two are those of 16 bits.":
        lambda gigabytes: int(_side(gigabytes, 2)),
    "a gigabyte is 10**9 bytes here, not 2**30.":
        lambda gigabytes: int(_side(gigabytes, gigabyte=2**30)),
    "a gigabyte has 10**9 bytes, not 10**6.": lambda gigabytes: int(_side(gigabytes, 4, 1e6)),
    "round down: the matrix of this image is larger than the memory.":
        lambda gigabytes: int(_side(gigabytes)) + 1,
    "whole pixels are wanted: round down.": _side,
}  # fmt: skip


def largest_side(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``largest_side(gigabytes)``: side of the largest square image, in whole pixels.

    With a token for each pixel, one attention matrix of 32-bit numbers fits into ``gigabytes`` of
    10**9 bytes. Raises ``Wrong``.

    >>> largest_side(lambda gigabytes: 0)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: 125 is wanted, yours is 0. (gigabytes=1)
    """
    whole, _ = draws(seed)
    sizes = [1, 16, *(whole(2, 500) for _ in range(8))]
    sizes = [n for n in sizes if abs(_side(n) - round(_side(n))) > 1e-6]  # no tie to round
    cases = [Case(("gigabytes",), (n,), int(_side(n)), SIDE_FAULTS) for n in sizes]
    examine("largest_side", answer, cases)


def _steps(image: Tensor, steps: int = 8) -> Tensor:
    return (image * steps).floor().clamp(max=steps - 1)


BITS_FAULTS = {
    "each value becomes the middle of its step, not its lower end.":
        lambda image: _steps(image) / 8,
    "rounding gives nine values, from 0 to 1; eight equal steps are wanted, and their middles.":
        lambda image: (image * 8).round() / 8,
    "eight values from 0 to 1 are seven equal steps: divide the range into eight.":
        lambda image: (image * 7).round() / 7,
    "the value 1.0 is the upper end of the last step, and belongs to it.":
        lambda image: ((image * 8).floor() + 0.5) / 8,
    "3 bits count 2**3 = 8 steps, not 3.": lambda image: (_steps(image, 3) + 0.5) / 3,
    "these are the numbers of the steps; the middle of step s is (s + 1/2) / 8.": _steps,
    "step s ends at (s + 1) / 8: its middle is (s + 1/2) / 8.":
        lambda image: (_steps(image) + 1) / 8,
    "each channel keeps its own 3 bits; yours are all alike, a grey picture.":
        lambda image: ((_steps(image.mean(dim=0, keepdim=True)) + 0.5) / 8).expand_as(image),
}  # fmt: skip


def three_bits(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``three_bits(image)``: (C, H, W), values 0 to 1, each at the middle of its eighth.

    Raises ``Wrong``.

    >>> three_bits(lambda image: image)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0, 0, 0] 0.0625 is wanted, ...
    """
    whole, _ = draws(seed)
    random = seeded(seed)
    cases = []
    for _ in range(6):
        shape = whole(2, 4), whole(3, 7), whole(3, 7)
        step = torch.randint(0, 8, shape, generator=random)
        inside = 0.1 + 0.8 * torch.rand(shape, generator=random, dtype=torch.float64)
        image = (step + inside) / 8  # no value near the border of two steps
        image[0, 0, 0], image[-1, -1, -1] = 0, 1
        want = (_steps(image) + 0.5) / 8
        cases.append(Case(("image",), (image,), want, BITS_FAULTS, tolerance=CLOSE))
    examine("three_bits", answer, cases)
