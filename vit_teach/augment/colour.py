"""Augmentations that change colours and leave every pixel in its place. Chapter 9."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .batch import beside, check_fraction, check_images, draw, one_each, per_image

# --- Colour -------------------------------------------------------------------------------------


def _blend(plain: Tensor, images: Tensor, factor: float | Tensor) -> Tensor:
    """Move images away from a plainer picture (``factor`` above 1) or towards it (below 1)."""
    return torch.lerp(plain, images, per_image("factor", factor, images)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """Lightness (B, 1, H, W): for three channels as the eye weighs red, green, blue."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = beside(torch.tensor([0.299, 0.587, 0.114]), images)[None, :, None, None]
    return (images * weights).sum(1, keepdim=True)


def brightness(images: Tensor, factor: float | Tensor) -> Tensor:
    """Lighter (``factor`` above 1) or darker: away from black, or towards it.

    ``images`` is (B, C, H, W) float32 in 0..1, ``factor`` one number or (B,); 1 changes nothing.
    Returns (B, C, H, W) in 0..1. The next three take and return the same.

    >>> brightness(torch.full((1, 1, 1, 2), 0.4), 1.5)
    tensor([[[[0.6000, 0.6000]]]])
    """
    check_images(images, torch.float32)
    return _blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: float | Tensor) -> Tensor:
    """More or less contrast: away from the picture's mean grey, or towards it.

    ``images`` is (B, C, H, W) float32 in 0..1, ``factor`` one number or (B,). Returns (B, C, H, W).

    >>> contrast(torch.tensor([[[[0.2, 0.6]]]]), 0.5)
    tensor([[[[0.3000, 0.5000]]]])
    """
    check_images(images, torch.float32)
    return _blend(_grey(images).mean((2, 3), keepdim=True).expand_as(images), images, factor)


def saturation(images: Tensor, factor: float | Tensor) -> Tensor:
    """More or less colour: away from the same picture in grey, or towards it.

    ``images`` is (B, C, H, W) float32 in 0..1, ``factor`` one number or (B,). Returns (B, C, H, W).

    >>> saturation(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), 0.0).flatten()
    tensor([0.2990, 0.2990, 0.2990])
    """
    check_images(images, torch.float32)
    return _blend(_grey(images).expand_as(images), images, factor)


def sharpness(images: Tensor, factor: float | Tensor) -> Tensor:
    """Sharper or softer: away from a 3 x 3 blur of the picture, or towards it.

    ``images`` is (B, C, H, W) float32 in 0..1, ``factor`` one number or (B,). The outermost pixels,
    which have too few neighbours, stay as they are. Returns (B, C, H, W).

    >>> sharpness(torch.eye(3).view(1, 1, 3, 3), 0.0)[0, 0, 1]
    tensor([0.0000, 0.5385, 0.0000])
    """
    check_images(images, torch.float32)
    blurred = images.clone()
    if min(images.shape[2:]) > 2:
        middle = images[:, :, 1:-1, 1:-1]  # (B, C, H-2, W-2)
        # Weights 1 for the eight neighbours and 5 for the pixel itself: 9 x the mean, plus 4.
        blurred[:, :, 1:-1, 1:-1] = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * middle) / 13
    return _blend(blurred, images, factor)


def random_colour(images: Tensor, generator: torch.Generator, strength: float = 0.3) -> Tensor:
    """Random brightness, contrast and saturation, in this order, drawn per image.

    ``images`` is (B, C, H, W) float32 in 0..1; each factor lies between 1 - ``strength`` and
    1 + ``strength``. Returns (B, C, H, W) in 0..1.

    >>> random_colour(torch.rand(2, 3, 6, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    check_images(images, torch.float32)
    check_fraction("strength", strength)
    factors = draw(generator, 3, len(images), low=1 - strength, high=1 + strength)  # (3, B)
    return saturation(contrast(brightness(images, factors[0]), factors[1]), factors[2])


def solarize(images: Tensor, threshold: float | Tensor) -> Tensor:
    """Turn every value above ``threshold`` into its negative.

    ``images`` is (B, C, H, W) float32 in 0..1, ``threshold`` one number or (B,). Returns
    (B, C, H, W).

    >>> solarize(torch.tensor([[[[0.25, 0.75]]]]), 0.5)
    tensor([[[[0.2500, 0.2500]]]])
    """
    check_images(images, torch.float32)
    return torch.where(images > per_image("threshold", threshold, images), 1 - images, images)


def posterize(images: Tensor, bits: float | Tensor) -> Tensor:
    """Keep only the first bits of each 8-bit value, so that few shades are left.

    ``images`` is (B, C, H, W) float32 in 0..1; ``bits`` lies in 0..8, one number or (B,). Returns
    (B, C, H, W).

    >>> posterize(torch.tensor([[[[100.0, 200.0]]]]) / 255, 1) * 255
    tensor([[[[  0., 128.]]]])
    """
    check_images(images, torch.float32)
    kept = one_each("bits", bits, images)
    if not ((kept >= 0) & (kept <= 8)).all():
        raise ValueError(f"bits={bits} must lie in 0..8")
    step = 2 ** (8 - beside(kept, images)[:, None, None, None])  # a shade stands for so many values
    return torch.floor(torch.round(images * 255) / step) * step / 255


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image to fill 0..1; a flat channel stays as it is.

    ``images`` is (B, C, H, W) float32 in 0..1. Returns (B, C, H, W).

    >>> autocontrast(torch.tensor([[[[0.25, 0.5, 0.75]]]]))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    check_images(images, torch.float32)
    low = images.amin((2, 3), keepdim=True)  # (B, C, 1, 1)
    span = images.amax((2, 3), keepdim=True) - low  # (B, C, 1, 1)
    return torch.where(span > 0, (images - low) / span.clamp(min=1e-6), images)


def equalize(images: Tensor) -> Tensor:
    """Spread the 256 shades of each channel so that all are about equally common.

    ``images`` is (B, C, H, W) float32 in 0..1. Returns (B, C, H, W). The whole-number rule is the
    one of Pillow's ``ImageOps.equalize``.

    >>> (equalize(torch.tensor([[[[0.0, 0.4, 0.5, 0.6]]]]).repeat(1, 1, 255, 1)) * 255).unique()
    tensor([  0.,  85., 170., 255.])
    """
    check_images(images, torch.float32)
    if images.device.type != "cpu":
        images = images.clamp(0, 1)  # to look at them first would be to wait for a GPU
    elif not ((images >= 0) & (images <= 1)).all():
        raise ValueError("images must lie in 0..1")
    shades = torch.round(images.flatten(2) * 255).long()  # (B, C, H W)
    counts = shades.new_zeros(*shades.shape[:2], 256)
    counts.scatter_add_(2, shades, torch.ones_like(shades))  # (B, C, 256)
    brightest = counts.gather(2, shades.amax(2, keepdim=True))  # (B, C, 1)
    step = (shades.shape[2] - brightest) // 255  # (B, C, 1) pixels to each new shade
    below = counts.cumsum(2) - counts  # (B, C, 256) pixels darker than each shade
    new = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)  # (B, C, 256)
    equal = torch.where(step > 0, new.gather(2, shades), shades)  # (B, C, H W)
    return (equal.float() / 255).view_as(images)
