"""Augmentations that move pixels: crop, flip, cutout, affine maps. Chapter 9."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import finite, require_tensor, whole, whole_pair
from .batch import beside, check_fraction, check_images, draw, draw_whole, one_each

GREY = 0.5  # what fills a place the picture has left: close to the mean colour of photographs


def rectangles(
    top: Tensor, left: Tensor, bottom: Tensor, right: Tensor, size: Sequence[int]
) -> Tensor:
    """Mark one rectangle per image; what lies outside the picture is cut off.

    ``top``, ``left``, ``bottom`` and ``right`` are (B,) whole pixels, ``bottom`` and ``right`` just
    past the last one; ``size`` is the picture's (H, W). Returns (B, 1, H, W) bool, True inside.

    >>> one, three, nine = torch.tensor([1]), torch.tensor([3]), torch.tensor([9])
    >>> rectangles(one, one, three, nine, (3, 4)).int().tolist()
    [[[[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]]]]
    """
    edges = {"top": top, "left": left, "bottom": bottom, "right": right}
    for name, edge in edges.items():
        require_tensor(name, edge, "(B,)")
        if len(edge) != len(top):
            raise ValueError(f"{name} has {len(edge)} entries and top {len(top)}")
    size = whole_pair("size", size)
    rows = torch.arange(size[0], device=top.device)  # (H,)
    columns = torch.arange(size[1], device=top.device)  # (W,)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (B, W)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]  # (B, 1, H, W)


# --- Crop and flip: pixels move, none changes, so these work on uint8 as well -------------------


def crop(images: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one window from each image.

    ``images`` is (B, C, H, W) of any dtype, ``top`` and ``left`` (B,) whole pixels, ``size`` the
    window's (height, width). Returns (B, C, height, width). Raises ``ValueError`` if the window is
    larger than the images.

    >>> images = torch.arange(16).view(1, 1, 4, 4)
    >>> crop(images, torch.tensor([1]), torch.tensor([2]), (2, 2)).tolist()
    [[[[6, 7], [10, 11]]]]
    """
    check_images(images)
    height, width = whole_pair("size", size)
    if not (0 < height <= images.shape[2] and 0 < width <= images.shape[3]):
        raise ValueError(f"size={size} must fit into images of {tuple(images.shape[2:])}")
    for name, place, most in (
        ("top", top, images.shape[2] - height), ("left", left, images.shape[3] - width)
    ):  # fmt: skip
        require_tensor(name, place, "(B,)", torch.int64)
        if len(place) != len(images) or place.min() < 0 or place.max() > most:
            raise ValueError(f"{name}={place.tolist()} must be one of 0..{most} for each image")
    # unfold only makes a view: all windows, at every top and left, without copying a pixel.
    windows = images.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, height, width)
    each = torch.arange(len(images), device=images.device)  # (B,)
    return windows[each, :, beside(top, images), beside(left, images)]


def random_crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Pad each side with black, then cut a window of the old size at a random place, one per image.

    ``images`` is (B, C, H, W) of any dtype; ``padding`` is in pixels, 0 or more. Returns
    (B, C, H, W). CIFAR is usually given 4 pixels (He et al., 2016, section 4.2).

    >>> images = torch.ones(2, 3, 6, 8, dtype=torch.uint8)
    >>> random_crop(images, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    check_images(images)
    batch, _, height, width = images.shape
    whole("padding", padding)
    padded = F.pad(images, (padding,) * 4)
    top, left = draw_whole(generator, 2 * padding + 1, 2, batch)
    return crop(padded, top, left, (height, width))  # (B, C, H, W)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror, left to right, the images that ``mask`` marks.

    ``images`` is (B, C, H, W) of any dtype, ``mask`` (B,) bool. Returns (B, C, H, W).

    >>> flip(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([True])).tolist()
    [[[[3, 2, 1]]]]
    """
    check_images(images)
    require_tensor("mask", mask, "(B,)", torch.bool)
    if len(mask) != len(images):
        raise ValueError(f"mask has {len(mask)} entries for {len(images)} images")
    return torch.where(beside(mask, images)[:, None, None, None], images.flip(3), images)


def random_flip(images: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Mirror each image left to right with the given ``probability``.

    ``images`` is (B, C, H, W) of any dtype, ``probability`` in 0..1. Returns (B, C, H, W).

    >>> random_flip(torch.tensor([[[[1, 2, 3]]]]), torch.Generator(), probability=1.0).tolist()
    [[[[3, 2, 1]]]]
    """
    check_images(images)
    check_fraction("probability", probability)
    return flip(images, draw(generator, len(images)) < probability)


# --- Cutout and geometry: float32 in 0..1 from here on -------------------------------------------


def cutout(images: Tensor, size: int, generator: torch.Generator, fill: float = 0.0) -> Tensor:
    """Cover one square of each image with a flat value (DeVries and Taylor, 2017).

    ``images`` is (B, C, H, W) float32, ``size`` the square's side in pixels, ``fill`` the value. As
    in the paper, the centre is any pixel, so a square at the edge is cut off. Returns (B, C, H, W).

    >>> out = cutout(torch.ones(2, 3, 8, 8), 1, torch.Generator().manual_seed(0))
    >>> (out == 0).sum((1, 2, 3)).tolist()
    [3, 3]
    """
    check_images(images, torch.float32)
    whole("size", size, 1)
    finite("fill", fill, -1e6, 1e6)
    batch, _, height, width = images.shape
    top = draw_whole(generator, height, batch) - size // 2  # (B,)
    left = draw_whole(generator, width, batch) - size // 2  # (B,)
    hidden = rectangles(top, left, top + size, left + size, (height, width))  # (B, 1, H, W)
    return images.masked_fill(beside(hidden, images), fill)


def affine(
    images: Tensor,
    rotate: float | Tensor = 0.0,
    shear_x: float | Tensor = 0.0,
    shear_y: float | Tensor = 0.0,
    right: float | Tensor = 0.0,
    down: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
    fill: float = GREY,
) -> Tensor:
    """Rotate, shear, enlarge and shift each image, in one resampling (bilinear).

    ``images`` is (B, C, H, W) float32. Each change is one number or (B,): ``rotate`` in degrees
    clockwise; ``shear_x`` in pixels to the right per pixel down, ``shear_y`` in pixels down per
    pixel to the right; ``scale`` as a factor; then ``right`` and ``down`` in pixels. All but the
    shift turn about the picture's centre. ``fill`` is the value where no picture is left. Returns
    (B, C, H, W).

    >>> affine(torch.tensor([[[[0.1, 0.2, 0.3]]]]), right=1.0, fill=0.0)
    tensor([[[[0.0000, 0.1000, 0.2000]]]])
    """
    check_images(images, torch.float32)
    finite("fill", fill, -1e6, 1e6)
    height, width = images.shape[2:]
    given = {"rotate": rotate, "shear_x": shear_x, "shear_y": shear_y, "right": right,
             "down": down, "scale": scale}  # fmt: skip
    values = [one_each(*each, images).expand(len(images)) for each in given.items()]
    if len({value.device for value in values}) > 1:
        values = [beside(value, images) for value in values]
    angle, lean_x, lean_y, along, below, factor = values  # each (B,)
    # A pixel at (x, y) from the centre goes to [[xx, xy], [yx, yy]] (x, y), each entry (B,).
    cos, sin = factor * torch.deg2rad(angle).cos(), factor * torch.deg2rad(angle).sin()
    xx, xy = cos - sin * lean_y, cos * lean_x - sin
    yx, yy = sin + cos * lean_y, sin * lean_x + cos
    det = (xx * yy - xy * yx)[:, None]  # (B, 1)
    if not det.isfinite().all() or not det.all():
        raise ValueError(f"scale={scale}, shear_x={shear_x}, shear_y={shear_y} leave no picture")
    # Sampling asks the other way round: where did a pixel of the new picture come from?
    along, below = beside(along, images)[:, None], beside(below, images)[:, None]  # (B, 1)
    x = torch.arange(width, device=images.device) - (width - 1) / 2 - along  # (B, W)
    y = torch.arange(height, device=images.device) - (height - 1) / 2 - below  # (B, H)
    yy, xy, yx, xx = (
        beside(entry[:, None] / det, images) for entry in (yy, xy, yx, xx)
    )  # each (B, 1)
    from_x = (yy * x)[:, None, :] - (xy * y)[:, :, None]  # (B, H, W)
    from_y = (xx * y)[:, :, None] - (yx * x)[:, None, :]  # (B, H, W)
    # grid_sample measures in half widths and half heights, not in pixels.
    places = torch.stack([from_x / (width / 2), from_y / (height / 2)], 3)  # (B, H, W, 2)
    return F.grid_sample(images - fill, places, align_corners=False) + fill  # outside counts as 0


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    degrees: float = 10.0,
    shear: float = 0.1,
    shift: float = 0.05,
    scale: float = 0.1,
) -> Tensor:
    """A small random rotation, shear, shift and change of size, all in one, drawn per image.

    ``images`` is (B, C, H, W) float32. Each argument bounds its draw on both sides: ``degrees``,
    ``shear`` as a slope, ``shift`` as a part of the side, ``scale`` as a part around 1. Returns
    (B, C, H, W).

    >>> random_affine(torch.rand(2, 3, 6, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    check_images(images, torch.float32)
    height, width = images.shape[2:]
    bounds = {"degrees": degrees, "shear": shear, "shift": shift, "scale": scale}
    for name, bound in bounds.items():
        finite(name, bound, -1e6, 1e6)
    draws = draw(generator, 6, len(images), low=-1.0)  # (6, B)
    return affine(
        images,
        rotate=degrees * draws[0],
        shear_x=shear * draws[1],
        shear_y=shear * draws[2],
        right=shift * width * draws[3],
        down=shift * height * draws[4],
        scale=1 + scale * draws[5],
    )
