"""An image as a sequence of patches, and back: chapter 2.

Source: ViT paper (arXiv 2010.11929), section 3.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..arguments import require_tensor, whole

Size = int | Sequence[int]  # one side, or (height, width)
ORDERS = ("cpp", "ppc")


def to_pair(size: Size, name: str = "size") -> tuple[int, int]:
    """Read a size given as one integer or as (height, width).

    Raises ``ValueError`` unless both numbers are positive integers.

    >>> to_pair(4), to_pair((2, 3))
    ((4, 4), (2, 3))
    """
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    good = len(pair) == 2 and all(type(n) is int and 0 < n < 2**31 for n in pair)
    if not good:
        raise ValueError(f"{name}={size!r} must be a positive integer or a pair (height, width)")
    return pair


def grid_size(image_size: Size, patch_size: Size) -> tuple[int, int]:
    """Number of patches down and across: ``(H / P, W / P)``, as integers.

    Sizes are in pixels, an integer or (height, width). Raises ``ValueError`` if the patches do not
    tile the image.

    >>> grid_size((32, 48), (4, 8))
    (8, 6)
    """
    image = to_pair(image_size, "image_size")
    patch = to_pair(patch_size, "patch_size")
    if image[0] % patch[0] or image[1] % patch[1]:
        raise ValueError(f"image_size={image_size} must be divisible by patch_size={patch_size}")
    return image[0] // patch[0], image[1] // patch[1]


def patchify(images: Tensor, patch_size: Size, order: str = "cpp") -> Tensor:
    """Cut images into a sequence of flattened patches, row by row.

    ``images`` is (B, C, H, W). ``patch_size`` is P or (PH, PW) in pixels. ``order`` says how one
    patch is flattened: ``"cpp"`` is channel, row, column (what a convolution's weights use) and
    ``"ppc"`` is row, column, channel (what many texts draw).

    Returns (B, N, C * PH * PW) with N = (H / PH) * (W / PW). Patch (r, c) of the grid is item
    ``r * W / PW + c``. Raises ``ValueError`` for a size that does not fit.
    Source: ViT paper, section 3.1.

    >>> import torch
    >>> patchify(torch.zeros(2, 3, 8, 12), 4).shape
    torch.Size([2, 6, 48])
    """
    require_tensor("images", images, "(B, C, H, W)")
    ph, pw = to_pair(patch_size, "patch_size")
    batch, channels, height, width = images.shape
    gh, gw = grid_size((height, width), (ph, pw))
    x = images.reshape(batch, channels, gh, ph, gw, pw)  # (B, C, gh, PH, gw, PW)
    x = x.permute(0, 2, 4, *_inside(order, 1, 3, 5))  # (B, gh, gw, C, PH, PW) or (.., PH, PW, C)
    return x.reshape(batch, gh * gw, channels * ph * pw)  # (B, N, C PH PW)


def unpatchify(
    patches: Tensor, patch_size: Size, image_size: Size, channels: int = 3, order: str = "cpp"
) -> Tensor:
    """Put flattened patches back together: the inverse of :func:`patchify`, bit for bit.

    ``patches`` is (B, N, C * PH * PW); sizes are in pixels. Returns (B, C, H, W). Raises
    ``ValueError`` if the sequence does not fit the sizes.

    >>> import torch
    >>> images = torch.rand(2, 3, 8, 12)
    >>> torch.equal(unpatchify(patchify(images, 4), 4, (8, 12)), images)
    True
    """
    ph, pw = to_pair(patch_size, "patch_size")
    height, width = to_pair(image_size, "image_size")
    gh, gw = grid_size((height, width), (ph, pw))
    whole("channels", channels, 1)
    require_tensor("patches", patches, "(B, N, C * PH * PW)")
    expected = (gh * gw, channels * ph * pw)
    if tuple(patches.shape[1:]) != expected:
        raise ValueError(
            f"patches of shape {tuple(patches.shape)} must be (B, {expected[0]}, {expected[1]}) "
            f"for image_size={image_size}, patch_size={patch_size}, channels={channels}"
        )
    if _inside(order, 0, 1, 2) == (0, 1, 2):
        x = patches.reshape(-1, gh, gw, channels, ph, pw)  # (B, gh, gw, C, PH, PW)
        x = x.permute(0, 3, 1, 4, 2, 5)  # (B, C, gh, PH, gw, PW)
    else:
        x = patches.reshape(-1, gh, gw, ph, pw, channels)  # (B, gh, gw, PH, PW, C)
        x = x.permute(0, 5, 1, 3, 2, 4)  # (B, C, gh, PH, gw, PW)
    return x.reshape(-1, channels, height, width)  # (B, C, H, W)


def _inside(order: str, channel: int, row: int, column: int) -> tuple[int, int, int]:
    """The three axes inside a patch, in the given order of flattening."""
    if not isinstance(order, str) or order not in ORDERS:
        raise ValueError(f"order={order!r} must be one of {ORDERS}")
    return (channel, row, column) if order == "cpp" else (row, column, channel)


def places(grid: Size) -> tuple[Tensor, Tensor]:
    """The row and the column of every patch of ``grid`` = (gh, gw): two tensors (N,).

    >>> places((2, 3))
    (tensor([0, 0, 0, 1, 1, 1]), tensor([0, 1, 2, 0, 1, 2]))
    """
    gh, gw = to_pair(grid, "grid")
    y, x = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")  # (gh, gw) each
    return y.flatten(), x.flatten()
