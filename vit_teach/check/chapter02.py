"""Checks of chapter 2: an image to patches and back, by numbers that know their place."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..vit import patches as own
from .judge import Case, examine, seeded

OWN = (own.patchify, own.unpatchify)


def places(batch: int, channels: int, height: int, width: int) -> Tensor:
    """Images whose numbers tell their place: thousands image, hundreds channel, tens row, ones x.

    >>> places(1, 2, 3, 4)[0, 1, 2, 3].item()
    123
    """
    axes = (torch.arange(n) for n in (batch, channels, height, width))
    b, c, y, x = torch.meshgrid(*axes, indexing="ij")
    return 1000 * b + 100 * c + 10 * y + x


def by_slicing(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """The slow, obvious cut: (B, C, H, W) to (B, N, C * PH * PW), patch by patch.

    >>> by_slicing(places(1, 1, 2, 4), (2, 2)).tolist()
    [[[0, 1, 10, 11], [2, 3, 12, 13]]]
    """
    (ph, pw), (height, width) = patch, images.shape[2:]
    cuts = [
        images[:, :, y : y + ph, x : x + pw].flatten(1)
        for y in range(0, height, ph)
        for x in range(0, width, pw)
    ]
    return torch.stack(cuts, dim=1)


def split(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """The six axes (B, C, gh, PH, gw, PW) of images (B, C, H, W).

    >>> split(torch.zeros(1, 3, 4, 9), (2, 3)).shape
    torch.Size([1, 3, 2, 2, 3, 3])
    """
    (ph, pw), (batch, channels, height, width) = patch, images.shape
    return images.reshape(batch, channels, height // ph, ph, width // pw, pw)


def _joined(*axes: int) -> Callable[..., Tensor]:
    """A mistaken cut: the six axes in this order, then joined."""

    def cut(images: Tensor, patch: tuple[int, int]) -> Tensor:
        six = split(images, patch)
        count = six.shape[2] * six.shape[4]
        return six.permute(axes).reshape(len(images), count, -1)

    return cut


CUT_FAULTS = {
    "a single reshape moves no number: without a permute it regroups the image's own order.":
        _joined(0, 1, 2, 3, 4, 5),
    "the channel axis stands in front of the grid: your patches mix places of one channel.":
        _joined(0, 1, 2, 4, 3, 5),
    "your patches run down the columns: the two axes of the grid are swapped.":
        _joined(0, 4, 2, 1, 3, 5),
    "rows and columns inside a patch are swapped.": _joined(0, 2, 4, 1, 5, 3),
    'the channel comes last inside your patches: that is order "ppc"; wanted is channel, row, '
    "column.": _joined(0, 2, 4, 3, 5, 1),
    "the images of the batch are mixed up.":
        lambda images, patch: by_slicing(images.flip(0), patch),
}  # fmt: skip


def _square(*axes: int) -> Callable[[Tensor, int], Tensor]:
    """The same for square patches of side p."""
    return lambda images, p: _joined(*axes)(images, (p, p))


def sizes(seed: int, count: int, square: bool = False) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """``count`` random cases: images of places and a patch size that tiles them.

    >>> [tuple(images.shape) for images, patch in sizes(0, 1)] == [(3, 1, 20, 6)]
    False
    """
    random = seeded(seed)
    for _ in range(count):
        b, c, gh, gw, ph, pw = (
            int(torch.randint(1, most, (1,), generator=random)) for most in (4, 5, 5, 5, 5, 5)
        )
        pw = ph if square else pw
        yield places(b, c, gh * ph, gw * pw), (ph, pw)


def patchify(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``patchify(images, patch)``: images (B, C, H, W), patch (PH, PW) in pixels.

    Right is (B, N, C * PH * PW): row by row, inside a patch channel, row, column. Raises ``Wrong``.

    >>> patchify(lambda images, patch: None)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: your function returns None. Is there a `return`?
    """
    small = [(places(2, 3, 4, 6), (2, 2)), (places(1, 2, 4, 9), (2, 3))]
    cases = [
        Case(("images", "patch"), pair, by_slicing(*pair), CUT_FAULTS)
        for pair in [*small, *sizes(seed, 8)]
    ]
    examine("patchify", answer, cases, OWN)


def repaired(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``repaired(images, p)``: the cut of square patches, side ``p`` in pixels.

    Raises ``Wrong``.

    >>> repaired(lambda images, p: images.flatten(2))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 6, 12) is wanted, yours is (2, 3, 24) ...
    """
    faults = {
        words: lambda images, p, cut=cut: cut(images, (p, p)) for words, cut in CUT_FAULTS.items()
    }
    small = [(places(2, 3, 4, 6), (2, 2)), (places(1, 2, 3, 9), (3, 3))]
    cases = [
        Case(("images", "p"), (images, patch[0]), by_slicing(images, patch), faults)
        for images, patch in [*small, *sizes(seed, 6, square=True)]
    ]
    examine("repaired", answer, cases, OWN)


def _pasted(*axes: int, grid: str = "rows") -> Callable[..., Tensor]:
    """A mistaken way back: the axes (B, gh, gw, C, PH, PW) in this order, then joined."""

    def paste(
        patches: Tensor, patch: tuple[int, int], size: tuple[int, int], channels: int
    ) -> Tensor:
        (ph, pw), (height, width) = patch, size
        gh, gw = height // ph, width // pw
        if grid == "columns":
            six = patches.reshape(-1, gw, gh, channels, ph, pw).transpose(1, 2)
        elif grid == "ppc":
            six = patches.reshape(-1, gh, gw, ph, pw, channels).permute(0, 1, 2, 5, 3, 4)
        else:
            six = patches.reshape(-1, gh, gw, channels, ph, pw)
        return six.permute(axes).reshape(-1, channels, height, width)

    return paste


PASTE_FAULTS = {
    "a single reshape moves no number: the patches follow each other like rows of the image.":
        _pasted(0, 1, 2, 3, 4, 5),
    "the rows inside a patch stand before the rows of the grid: each joined axis needs the grid "
    "first.": _pasted(0, 3, 4, 1, 5, 2),
    "the channel moves to the front, but grid and patch are not interleaved.":
        _pasted(0, 3, 1, 2, 4, 5),
    "you read the sequence column by column; the patches stand row by row.":
        _pasted(0, 3, 1, 4, 2, 5, grid="columns"),
    'you read each patch in order "ppc"; these are channel, row, column.':
        _pasted(0, 3, 1, 4, 2, 5, grid="ppc"),
    "the image is mirrored: the patches are laid from the end.":
        lambda patches, *sizes: _pasted(0, 3, 1, 4, 2, 5)(patches.flip(1), *sizes),
}  # fmt: skip


def unpatchify(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``unpatchify(patches, patch, size, channels)``: the way back.

    Patches are (B, N, C * PH * PW), sizes are (height, width) in pixels; right is (B, C, H, W).
    Raises ``Wrong``.

    >>> unpatchify(lambda patches, patch, size, channels: patches)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 3, 4, 6) is wanted, yours is (2, 6, 12) ...
    """
    small = [(places(2, 3, 4, 6), (2, 2)), (places(1, 2, 4, 9), (2, 3))]
    cases = []
    for images, patch in [*small, *sizes(seed, 8)]:
        size, channels = tuple(images.shape[2:]), images.shape[1]
        inputs = by_slicing(images, patch), patch, size, channels
        names = ("patches", "patch", "size", "channels")
        cases.append(Case(names, inputs, images, PASTE_FAULTS))
    examine("unpatchify", answer, cases, OWN)


def _where(channel: int, y: int, x: int, width: int, patch: int) -> tuple[int, int]:
    number = y // patch * (width // patch) + x // patch
    return number, (channel * patch + y % patch) * patch + x % patch


WHERE_FAULTS = {
    "rows and columns of the grid are swapped in the patch's number.":
        lambda c, y, x, w, p: (x // p * (w // p) + y // p, _where(c, y, x, w, p)[1]),
    "the number of patches in a row is width // patch, not the width.":
        lambda c, y, x, w, p: (y // p * w + x // p, _where(c, y, x, w, p)[1]),
    "rows and columns are swapped inside the patch.":
        lambda c, y, x, w, p: (_where(c, y, x, w, p)[0], (c * p + x % p) * p + y % p),
    "the channel is the slowest axis inside a patch: it has patch * patch numbers before the next.":
        lambda c, y, x, w, p: (_where(c, y, x, w, p)[0], c * p + y % p * p + x % p),
    'that is the place in order "ppc": the book\'s is channel, row, column.':
        lambda c, y, x, w, p: (_where(c, y, x, w, p)[0], _channel_last(c, y, x, p)),
    "you return the place first and the patch's number second.":
        lambda c, y, x, w, p: _where(c, y, x, w, p)[::-1],
    "you count from one; Python counts from zero.":
        lambda c, y, x, w, p: tuple(n + 1 for n in _where(c, y, x, w, p)),
    "the place inside the patch needs y % patch and x % patch.":
        lambda c, y, x, w, p: (_where(c, y, x, w, p)[0], (c * p + y) * p + x),
}  # fmt: skip


def _channel_last(c: int, y: int, x: int, p: int, channels: int = 3) -> int:
    return (y % p * p + x % p) * channels + c


def where(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``where(channel, y, x, width, patch)``: (number of the patch, place in its vector).

    Sizes are in pixels; the images have three channels. Raises ``Wrong``.

    >>> where(lambda channel, y, x, width, patch: 7)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: a tuple of 2 is wanted, yours is a value of type int ...
    """
    questions = [(1, 1, 3, 6, 2), (2, 3, 4, 9, 3), (1, 5, 2, 15, 3), (2, 7, 10, 12, 4)]
    random = seeded(seed)
    for _ in range(8):
        c, y, gw, p = (
            int(torch.randint(low, most, (1,), generator=random))
            for low, most in ((0, 3), (0, 30), (1, 8), (1, 6))
        )
        x = int(torch.randint(0, gw * p, (1,), generator=random))
        questions.append((c, y, x, gw * p, p))
    names = ("channel", "y", "x", "width", "patch")
    cases = [Case(names, inputs, _where(*inputs), WHERE_FAULTS) for inputs in questions]
    examine("where", answer, cases)


# --- A test of cuts ----------


# what a cut does -> (the cut, what is said of a judge that is wrong about it)
CUTS: dict[str, tuple[Callable[[Tensor, int], Tensor], str]] = {
    "right": (lambda images, p: by_slicing(images, (p, p)), "refuses the right cut."),
    "reshape": (_square(0, 1, 2, 3, 4, 5), "accepts a single reshape, which moves no number."),
    "unfold": (
        _square(0, 1, 2, 4, 3, 5),
        "accepts a cut with the channel axis in front of the grid. Several channels show it.",
    ),
    "columns": (
        _square(0, 4, 2, 1, 3, 5),
        "accepts a grid that is read column by column. Several rows and columns of patches show "
        "it.",
    ),
    "batch": (
        lambda images, p: by_slicing(images.flip(0), (p, p)),
        "accepts a cut that mixes up the images of a batch. A batch of several images shows it.",
    ),
    "inside": (_square(0, 2, 4, 1, 5, 3), "accepts patches whose rows and columns are swapped."),
    "ppc": (_square(0, 2, 4, 3, 5, 1), 'accepts order "ppc", the channel last.'),
    "shape": (
        lambda images, p: by_slicing(images, (p, p))[:, :1],
        "accepts a cut that gives the first patch only: look at the shape too.",
    ),
}  # fmt: skip


def _call_judge(answer: Callable[..., Any], cut: str) -> Any:
    return answer(CUTS[cut][0])


def cut_judge(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``judge(cut)``: True for a right cut of images into patches, False for the others.

    ``cut(images, p)`` takes images (B, C, H, W) and the side of a square patch. The same cuts come
    with every ``seed``, in another order. Raises ``Wrong``.

    >>> cut_judge(lambda cut: False)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: your judge refuses the right cut. (cut=right)
    """
    order = torch.randperm(len(CUTS), generator=seeded(seed)).tolist()
    cases = []
    for cut in (list(CUTS)[n] for n in [0, *order]):
        right = cut == "right"
        faults = {f"your judge {CUTS[cut][1]}": lambda cut, right=right: not right}
        cases.append(Case(("cut",), (cut,), right, faults, _call_judge))
    examine("cut_judge", answer, cases, OWN)
