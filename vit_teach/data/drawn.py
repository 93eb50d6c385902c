"""A small world of pictures drawn by code, in CIFAR's place and for experiments: chapters 8, 10.

Three kinds of 10 classes each, at 32 x 32 pixels in colour:

- "shape": which outline is it? Place, size, colour, turn and background are random, so no
  single pixel and no colour gives the class away. This is the stand-in for CIFAR.
- "texture": which pattern fills the object? A few neighbouring pixels are enough to tell, and
  the outline says nothing.
- "relation": in which direction does the square lie as seen from the ring? Every small piece
  of the picture looks the same in all classes; only two far-apart places together give the answer.

Everything is drawn with signed distances: a function that is negative inside an outline and
positive outside. Then ``1/2 - distance``, in pixels and cut to 0..1, is how much of a pixel is
covered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .imageset import ImageSet

CLASSES = {
    "shape": (
        "disc", "ring", "square", "triangle", "star",
        "plus", "crescent", "heart", "bar", "letter T",
    ),
    "texture": (
        "fine stripes 0°", "fine stripes 45°", "fine stripes 90°", "fine stripes 135°",
        "wide stripes 0°", "wide stripes 45°", "wide stripes 90°", "wide stripes 135°",
        "checkerboard", "dots",
    ),
    "relation": tuple(f"square at {36 * k}°" for k in range(10)),
}  # fmt: skip
# One colour for each class: the corners of the colour cube, and two in between.
CLASS_COLOURS = np.array(
    [
        [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0],
        [1, 0, 1], [1, 1, 0], [1, 1, 1], [0.5, 0.5, 0.2], [0.2, 0.5, 0.5],
    ],
    np.float32,
)  # fmt: skip
CORNERS = {"tl": (0, 0), "tr": (0, 1), "bl": (1, 0), "br": (1, 1)}  # (lower half?, right half?)
SPLITS = ("train", "validation", "test")

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 500  # images drawn at a time; block b of a seed is the same whatever n is


def shapes(
    n: int,
    seed: int = 0,
    split: str = "train",
    image_size: int = 32,
    corner: str | None = None,
    kind: str = "shape",
    colour_hint: float = 0.0,
) -> ImageSet:
    """``n`` pictures drawn by code, equal for equal arguments, classes balanced within one.

    The pictures of a smaller ``n`` are the first of a larger one. ``seed`` says which world; the
    splits ("train", "validation", "test") of one seed are drawn from different streams of random
    numbers. ``image_size`` is height and width in pixels, at least 16; ``kind`` is "shape",
    "texture" or "relation". ``corner`` says where the object lies: "tl", "tr", "bl", "br" (top or
    bottom, left or right), or None for anywhere; its size does not depend on this. ``colour_hint``
    is how far the background leans towards a colour of the class, from 0 (not at all) to 1 (it
    gives the class away). Photographs have such hints: ships lie on blue.

    Returns an :class:`ImageSet` with images (n, 3, image_size, image_size). Raises ``ValueError``
    if an argument is out of range, or kind "relation" is given a corner (its two parts need the
    room).

    >>> shapes(20, seed=1).images.shape
    torch.Size([20, 3, 32, 32])
    """
    _check(n, seed, split, image_size, corner, kind, colour_hint)
    images = np.empty((n, 3, image_size, image_size), np.uint8)
    labels = np.empty(n, np.int64)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        # Kind and corner are not part of the key: the same backgrounds, another object.
        random = np.random.default_rng([seed, SPLITS.index(split), start // _BLOCK])
        block, truth = _draw_block(random, image_size, corner, kind, colour_hint)
        images[start:stop], labels[start:stop] = block[: stop - start], truth[: stop - start]
    details = [f"seed {seed}"] + ([f"corner {corner}"] if corner else [])
    details += [f"colour hint {colour_hint}"] if colour_hint else []
    source = f"built-in {kind} pictures ({', '.join(details)})"
    pictures, truths = torch.from_numpy(images), torch.from_numpy(labels)
    return ImageSet(pictures, truths, CLASSES[kind], source, split)


def stand_in(split: str = "train") -> ImageSet:
    """The shapes that take CIFAR's place where there is none: 10,000 for training, 2,000 to test.

    Their backgrounds hint at the class (colour_hint 0.3). A small ViT then learns something within
    a minute; without the hint it needs far more images than these.

    >>> len(stand_in("test"))
    2000
    """
    n = 10_000 if split == "train" else 2_000
    return shapes(n, seed=0, split=split, colour_hint=0.3)


def _check(
    n: int,
    seed: int,
    split: str,
    image_size: int,
    corner: str | None,
    kind: str,
    colour_hint: float,
) -> None:
    if type(n) is not int or n < 1:
        raise ValueError(f"n={n!r} must be at least 1, an integer")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r} must be at least 0, an integer")
    if not isinstance(image_size, int) or not isinstance(colour_hint, (int, float)):
        raise ValueError(
            f"image_size={image_size!r} and colour_hint={colour_hint!r} must be numbers"
        )
    if not all(isinstance(text, (str, type(None))) for text in (split, corner, kind)):
        raise ValueError(f"split={split!r}, corner={corner!r} and kind={kind!r} must be texts")
    if split not in SPLITS:
        raise ValueError(f"split={split!r} must be one of {', '.join(SPLITS)}")
    if image_size < 16:
        raise ValueError(f"image_size={image_size} must be at least 16")
    if kind not in CLASSES:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(CLASSES)}")
    if corner is not None and corner not in CORNERS:
        raise ValueError(f"corner={corner!r} must be None or one of {', '.join(CORNERS)}")
    if not 0 <= colour_hint <= 1:
        raise ValueError(f"colour_hint={colour_hint} must be in 0..1")
    if corner is not None and kind == "relation":
        raise ValueError(f"corner={corner!r} must be None for kind='relation'")


def _draw_block(
    random: np.random.Generator, size: int, corner: str | None, kind: str, colour_hint: float
) -> tuple[Array, Array]:
    """One block: (images uint8 (n, 3, S, S), labels (n,))."""
    labels = random.permuted(np.tile(np.arange(10), (_BLOCK // 10, 1)), axis=1).reshape(-1)
    paper, ink = _two_colours(random, CLASS_COLOURS[labels], colour_hint)  # (n, 3) each
    canvas = _background(random, paper, size)  # (n, 3, S, S)
    y, x = np.meshgrid(*[np.arange(size, dtype=np.float32) + 0.5] * 2, indexing="ij")  # (S, S)
    if kind == "relation":
        cover = _pair(random, labels, x, y)  # (n, S, S)
    else:
        cover = _object(random, labels, x, y, corner, kind)
    cover = cover[:, None]  # (n, 1, S, S)
    canvas += cover * (ink[:, :, None, None] - canvas)
    canvas += random.standard_normal(canvas.shape, np.float32) * 0.04  # grain
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8), labels


def _two_colours(random: np.random.Generator, hint: Array, strength: float) -> tuple[Array, Array]:
    """Colours (n, 3) in 0..1 of background and object, clearly different from each other.

    The background leans towards the colours ``hint`` (n, 3), as far as ``strength`` (0..1) says.
    """
    paper = np.asarray(random.random(hint.shape, np.float32))
    ink = random.random(hint.shape, np.float32)
    paper += strength * (hint - paper)
    # Too close: move the ink half way round each channel.
    close = np.linalg.norm(paper - ink, axis=1, keepdims=True) < 0.5
    return paper, np.where(close, (paper + 0.5) % 1, ink)


def _background(random: np.random.Generator, paper: Array, size: int) -> Array:
    """Background (n, 3, S, S): a colour that fades across the picture, with small litter on it."""
    n = len(paper)
    place = np.linspace(-1, 1, size, dtype=np.float32)
    slope = random.uniform(-0.15, 0.15, (n, 3, 2, 1)).astype(np.float32)
    canvas = paper[:, :, None, None] + (slope[:, :, 0] * place)[:, :, :, None]
    canvas = canvas + (slope[:, :, 1] * place)[:, :, None, :]  # (n, 3, S, S)
    for _ in range(6):  # squares of 2 pixels of any colour, on each picture
        row, column = random.integers(0, size - 1, (2, n))
        colour = random.random((n, 3), np.float32)
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            canvas[np.arange(n), :, row + dy, column + dx] = colour
    return canvas


# ---------------------------------------------------------------------------------------------
# Kinds "shape" and "texture": one object
# ---------------------------------------------------------------------------------------------


def _object(
    random: np.random.Generator, labels: Array, x: Array, y: Array, corner: str | None, kind: str
) -> Array:
    """How much of each pixel the object covers, (n, S, S) in 0..1."""
    n, size = len(labels), len(x)
    radius = random.uniform(0.16, 0.215, n) * size
    margin = radius + 0.5  # the soft edge included
    centre = margin + random.random((2, n)) * ((size if corner is None else size / 2) - 2 * margin)
    if corner is not None:
        centre += np.array(CORNERS[corner])[:, None] * (size / 2)
    turn = random.uniform(-0.5, 0.5, n)  # radians, about 30 degrees either way
    cy, cx, radius, turn = _columns(*centre, radius, turn)
    cos, sin = np.cos(turn), np.sin(turn)
    right, down = (x - cx) / radius, (y - cy) / radius  # (n, S, S), in units of the radius
    u, v = cos * right + sin * down, cos * down - sin * right
    # A texture needs an area to be seen on: disc, square or heart, whatever the class.
    outline = labels if kind == "shape" else random.choice([0, 2, 7], n)
    cover = np.empty((n, size, size), np.float32)
    for label, distance in enumerate(OUTLINES):
        chosen = outline == label
        right, down = u[chosen], v[chosen]
        # Beyond a sharp point the soft edge would reach too far: cut it at the disc around all.
        away = np.maximum(distance(right, down), np.hypot(right, down) - 1)
        cover[chosen] = (0.5 - away * radius[chosen]).clip(0, 1)
    if kind == "texture":
        cover *= _texture(random, labels, x, y)
    return cover


def _columns(*values: Array) -> list[Array]:
    """One number per picture, (n,), -> (n, 1, 1) in float32, ready to meet (S, S)."""
    return [value.astype(np.float32)[:, None, None] for value in values]


def _box(u: Array, v: Array, half_width: float | Array, half_height: float | Array) -> Array:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _triangle(u: Array, v: Array) -> Array:
    slope = np.float32(np.sqrt(3) / 2)
    return np.maximum(np.maximum(slope * u - 0.5 * v, -slope * u - 0.5 * v), v) - 0.5


def _star(u: Array, v: Array) -> Array:
    """Five points: fold the plane into one tenth of a turn, where the outline is one line."""
    tenth = np.float32(np.pi / 5)
    angle = np.abs((np.arctan2(u, -v) + tenth) % (2 * tenth) - tenth)
    length = np.hypot(u, v)
    along, across = length * np.cos(angle), length * np.sin(angle)
    tip, notch = np.array([1.0, 0.0]), 0.45 * np.array([np.cos(tenth), np.sin(tenth)])
    edge = (notch - tip) / np.linalg.norm(notch - tip)
    return np.float32(edge[1]) * (along - 1) - np.float32(edge[0]) * across


def _heart(u: Array, v: Array) -> Array:
    """A square on its corner and a disc on each of its two upper sides."""
    half = np.float32(np.sqrt(0.125))
    discs = np.hypot(np.abs(u) - half, v + half) - 0.5
    return np.minimum((np.abs(u) + np.abs(v)) * np.float32(np.sqrt(0.5)) - 0.5, discs)


# Distance to each outline, which fits into the disc of radius 1; u right, v down, (n, S, S) each.
OUTLINES: tuple[Callable[[Array, Array], Array], ...] = (
    lambda u, v: np.hypot(u, v) - 1,
    lambda u, v: np.abs(np.hypot(u, v) - 0.75) - 0.22,
    lambda u, v: _box(u, v, 0.7, 0.7),
    _triangle,
    _star,
    lambda u, v: np.minimum(_box(u, v, 0.28, 0.95), _box(u, v, 0.95, 0.28)),
    lambda u, v: np.maximum(np.hypot(u, v) - 1, 0.75 - np.hypot(u - 0.55, v)),
    _heart,
    lambda u, v: _box(u, v, 0.95, 0.28),
    lambda u, v: np.minimum(_box(u, v + 0.5, 0.68, 0.23), _box(u, v - 0.1, 0.25, 0.83)),
)


def _texture(random: np.random.Generator, labels: Array, x: Array, y: Array) -> Array:
    """Pattern (n, S, S) of 0 and 1 with soft edges, at a random phase; fixed in pixels."""
    n = len(labels)
    phase = random.random((2, n, 1, 1), np.float32) * 2 * np.float32(np.pi)
    period = np.array([3] * 4 + [5] * 4 + [5, 5], np.float32)[labels][:, None, None]
    angle = np.array([0, 45, 90, 135] * 2 + [0, 0], np.float32)[labels][:, None, None]
    angle, step = np.deg2rad(angle), np.float32(2 * np.pi) / period
    first = np.sin(step * (np.cos(angle) * x + np.sin(angle) * y) + phase[0])
    second = np.sin(step * (np.cos(angle) * y - np.sin(angle) * x) + phase[1])
    pattern = np.where((labels == 8)[:, None, None], first * second * 2, first)
    pattern = np.where((labels == 9)[:, None, None], first + second - 0.6, pattern)
    return (0.5 + pattern).clip(0, 1)


# ---------------------------------------------------------------------------------------------
# Kind "relation": a ring and a square
# ---------------------------------------------------------------------------------------------


def _pair(random: np.random.Generator, labels: Array, x: Array, y: Array) -> Array:
    """Cover (n, S, S) of a ring and a square; the class is the direction from one to the other."""
    n, size = len(labels), len(x)
    radius = random.uniform(0.09, 0.12, n) * size
    apart = random.uniform(0.4, 0.55, n) * size
    # Each class has 36 degrees; the middle 24 are used, so that no picture lies on a border.
    angle = np.deg2rad(36 * labels + random.uniform(-12, 12, n))
    half = np.stack([-np.sin(angle), np.cos(angle)]) * apart / 2  # (2, n): down, right
    room = size / 2 - np.abs(half) - radius
    middle = size / 2 + random.uniform(-1, 1, (2, n)) * room
    y1, x1, y2, x2, radius = _columns(*(middle - half), *(middle + half), radius)
    ring = np.abs(np.hypot(x - x1, y - y1) - 0.7 * radius) - 0.3 * radius
    square = _box(x - x2, y - y2, 0.9 * radius, 0.9 * radius)
    return (0.5 - np.minimum(ring, square)).clip(0, 1)
