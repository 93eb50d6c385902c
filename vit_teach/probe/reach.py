"""How far one output sees: receptive field and gradient energy. Chapters 7 and 10."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..arguments import SEEDS, explained, finite, require_tensor, require_type, whole, whole_pair


@explained
def receptive_field(layers: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Which pixels a unit can see along one axis after a stack of convolutions.

    ``layers`` lists (kernel, stride, padding) of each. Returns ``(size, stride, start)`` in
    pixels: unit i sees the pixels from ``start + i * stride`` on, ``size`` of them (some may lie
    outside the picture). Raises ``ValueError`` for a size that no layer has.

    >>> receptive_field([(3, 1, 1), (3, 2, 1), (3, 1, 1)])
    (9, 2, -4)
    """
    size, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding)):
            whole(f"layers: {name}", value, -(2**31))
        if kernel < 1 or stride < 1 or padding < 0:
            layer = (kernel, stride, padding)
            raise ValueError(f"layer {layer} must be (kernel >= 1, stride >= 1, padding >= 0)")
        size += (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
    return size, jump, start


@explained
def gradient_energy(
    function: Callable[[Tensor], Tensor], images: Tensor, row: int, column: int, seed: int = 0
) -> Tensor:
    """How strongly each pixel moves one unit of a map: squared gradients, (H, W).

    ``function`` turns images (B, C, H, W) into maps (B, D, h, w); the unit is the cell
    (``row``, ``column``). Squares are summed over the unit's channels (by random signs, drawn
    anew for each picture from ``seed``, which is right on average) and colours, and averaged over
    pictures. Raises ``ValueError`` if the map has no such cell.

    >>> convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
    >>> energy = gradient_energy(convolution, torch.rand(2, 3, 6, 8), row=2, column=5)
    >>> energy.shape, (energy > 0).sum().item()
    (torch.Size([6, 8]), 9)
    """
    require_tensor("images", images, "(B, C, H, W)")
    whole("row", row)
    whole("column", column)
    whole("seed", seed, *SEEDS)
    images = images.detach().clone().requires_grad_()  # (B, C, H, W)
    maps = function(images)  # (B, D, h, w)
    if not (0 <= row < maps.shape[2] and 0 <= column < maps.shape[3]):
        raise ValueError(
            f"row, column: cell {(row, column)} must lie in the grid {tuple(maps.shape[2:])}"
        )
    unit = maps[:, :, row, column]  # (B, D)
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, unit.shape, generator=generator) * 2 - 1  # (B, D)
    (gradient,) = torch.autograd.grad((unit * signs.to(unit)).sum(), images)  # (B, C, H, W)
    return gradient.square().sum(dim=1).mean(dim=0)  # (H, W)


def pixel_distance(image_size: Sequence[int], centre: tuple[float, float]) -> Tensor:
    """Distance in pixels of each pixel from a point, (H, W).

    ``centre`` is (row, column); whole numbers are the middles of pixels.

    >>> pixel_distance((1, 4), (0, 1.5))
    tensor([[1.5000, 0.5000, 0.5000, 1.5000]], dtype=torch.float64)
    """
    height, width = whole_pair("image_size", image_size)
    require_type("centre", centre, (tuple, list), "a pair (row, column)")
    if len(centre) != 2:
        raise ValueError(f"centre={centre!r} must be a pair (row, column)")
    for place in centre:
        finite("centre", place)
    y = torch.arange(height, dtype=torch.float64)[:, None] - centre[0]  # (H, 1)
    x = torch.arange(width, dtype=torch.float64) - centre[1]  # (W,)
    return (y.square() + x.square()).sqrt()  # (H, W)


def mean_distance(energy: Tensor, centre: tuple[float, float]) -> float:
    """Mean distance in pixels from ``centre`` = (row, column), weighted by ``energy`` (H, W).

    Raises ``ValueError`` if ``energy`` is negative somewhere or zero everywhere.

    >>> mean_distance(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), (0, 1))
    1.5
    """
    require_tensor("energy", energy, "(H, W)")
    if not energy.numel() or not energy.min() >= 0 or energy.sum() == 0:
        raise ValueError("energy must not be negative, nor zero everywhere")
    weights = energy.double() / energy.double().sum()  # (H, W)
    return (weights * pixel_distance(energy.shape, centre)).sum().item()
