"""What the augmentations share: checks of arguments, random numbers per image. Chapter 9."""

import torch
from torch import Tensor

from ..arguments import finite, is_number, require_tensor, require_type


def check_images(images: Tensor, dtype: torch.dtype | None = None) -> None:
    """Raise ``ValueError`` unless ``images`` is (B, C, H, W), not empty, and of ``dtype`` if given.

    >>> check_images(torch.zeros(3, 8, 8))
    Traceback (most recent call last):
    ...
    ValueError: images has shape (3, 8, 8); it must be (B, C, H, W), nothing empty
    """
    require_type("images", images, Tensor, "a tensor (B, C, H, W)")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images has shape {tuple(images.shape)}; it must be (B, C, H, W), nothing empty"
        )
    if dtype not in (None, images.dtype):
        values = "0..255" if dtype == torch.uint8 else "0..1"
        raise ValueError(f"images has dtype {images.dtype}; it must be {dtype} in {values}")


def check_fraction(name: str, value: float) -> None:
    """Raise ``ValueError`` that names the argument unless ``value`` lies in 0..1.

    >>> check_fraction("probability", 2)
    Traceback (most recent call last):
    ...
    ValueError: probability=2 must lie in 0..1
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must lie in 0..1")


def draw(generator: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform random numbers from ``low`` to ``high``, of the given shape.

    >>> draw(torch.Generator(), 4, low=2, high=3).shape
    torch.Size([4])
    """
    require_type("generator", generator, torch.Generator, "a torch.Generator")
    draws = torch.rand(shape, generator=generator, device=generator.device)
    return low + (high - low) * draws


def draw_whole(generator: torch.Generator, below: int, *shape: int) -> Tensor:
    """Random whole numbers from 0 to ``below`` - 1, of the given shape.

    >>> draw_whole(torch.Generator(), 1, 3)
    tensor([0, 0, 0])
    """
    require_type("generator", generator, torch.Generator, "a torch.Generator")
    return torch.randint(below, shape, generator=generator, device=generator.device)


def beside(values: Tensor, images: Tensor) -> Tensor:
    """``values``, such as random numbers from the processor, on the device of ``images``.

    A GPU is not waited for: it takes them when its work comes to it.

    >>> beside(torch.ones(2), torch.zeros(2, 3, 8, 8)).device
    device(type='cpu')
    """
    return values.to(images.device, non_blocking=images.device.type == "cuda")


def one_each(name: str, value: float | Tensor, images: Tensor) -> Tensor:
    """One number, or one per image: (1 or B,), of the type of ``images``, where it was drawn.

    Raises ``ValueError`` that names the argument for any other number of values.

    >>> one_each("factor", 2, torch.zeros(5, 3, 8, 8))
    tensor([2.])
    """
    if isinstance(value, Tensor):
        require_tensor(name, value)
    else:
        finite(name, value, -1e6, 1e6)
    value = torch.as_tensor(value, dtype=images.dtype).reshape(-1)
    if len(value) not in (1, len(images)):
        raise ValueError(
            f"{name} has {len(value)} values for {len(images)} images; give one, or one each"
        )
    return value


def per_image(name: str, value: float | Tensor, images: Tensor) -> Tensor:
    """One number, or one per image, in a shape that multiplies images: (1 or B, 1, 1, 1).

    Raises ``ValueError`` that names the argument for any other number of values.

    >>> per_image("factor", 2, torch.zeros(5, 3, 8, 8)).shape
    torch.Size([1, 1, 1, 1])
    """
    return beside(one_each(name, value, images), images)[:, None, None, None]
