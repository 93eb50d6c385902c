"""From patches to vectors that know their place: chapter 3 (projection), chapter 4 (positions).

Sources: ViT paper (arXiv 2010.11929), section 3.1, equation 1, section 3.2 (resizing the table)
and appendix D.4 (kinds of positions); the fixed tables follow "Attention is all you need" (1-D) and
"Better plain ViT baselines" (2-D).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import require_tensor, require_type, whole
from .patches import Size, grid_size, places, to_pair

TABLES = ("learned", "sincos1d", "sincos2d")
# A table, or what acts on offsets in the attention (offsets.py), or both, or nothing.
POSITIONS = (*TABLES, "rotary", "relative", "learned+rotary", "learned+relative", "none")
RESIZE_RULES = ("google", "timm", "timm-npz", "torchvision", "hf")


class PatchEmbedding(nn.Module):
    """Cut an image into patches and project each to a vector of width D: E of equation 1.

    A convolution whose stride equals its kernel size is the same map as flattening each patch and
    multiplying by a matrix; the weights are the same numbers in the same order ("cpp").

    ``forward`` takes images (B, C, H, W) and returns (B, N, D). Raises ``ValueError`` if the image
    is not of ``image_size``.

    >>> PatchEmbedding((8, 12), 4, 3, 16)(torch.zeros(2, 3, 8, 12)).shape
    torch.Size([2, 6, 16])
    """

    def __init__(
        self, image_size: Size, patch_size: Size, in_channels: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.image_size = to_pair(image_size, "image_size")
        self.grid_size = grid_size(image_size, patch_size)
        patch = to_pair(patch_size, "patch_size")
        whole("in_channels", in_channels, 1)
        whole("embed_dim", embed_dim, 1)
        self.proj = nn.Conv2d(in_channels, embed_dim, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        check_image_size(images, self.image_size)
        x = self.proj(images)  # (B, D, H/P, W/P)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)


def check_image_size(images: Tensor, image_size: Size) -> None:
    """Raise ``ValueError`` unless ``images`` (B, C, H, W) is ``image_size`` = (H, W) in pixels.

    >>> check_image_size(torch.zeros(1, 3, 8, 12), (8, 12))
    """
    height, width = to_pair(image_size, "image_size")
    require_type("images", images, Tensor, f"a tensor (B, C, {height}, {width})")
    if images.ndim != 4 or tuple(images.shape[2:]) != (height, width):
        raise ValueError(f"images of shape {tuple(images.shape)} must be (B, C, {height}, {width})")


def sincos_1d(length: int, dim: int) -> Tensor:
    """Fixed sine and cosine table over the patch number, as in the original Transformer.

    Returns (length, dim): the first half of each row holds sines, the second cosines, at
    frequencies 1 / 10000^(2i / dim). Raises ``ValueError`` unless ``dim`` is even.
    Source: Vaswani et al. 2017, section 3.5 (their table alternates sine and cosine; the order of
    the columns makes no difference to a model that learns what comes next).

    >>> sincos_1d(6, 8).shape
    torch.Size([6, 8])
    """
    whole("length", length)
    if whole("dim", dim) < 2 or dim % 2:
        raise ValueError(f"dim={dim!r} must be even: half sines, half cosines")
    omega = 10000 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))  # (dim/2,)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * omega  # (length, dim/2)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()  # (length, dim)


def sincos_2d(grid: Size, dim: int) -> Tensor:
    """Fixed sine and cosine table over rows and columns.

    ``grid`` is (gh, gw) in patches. Returns (gh * gw, dim): a quarter each of sin x, cos x, sin y,
    cos y. Raises ``ValueError`` unless 4 divides ``dim`` and ``dim`` is at least 8.
    Source: MoCo v3 and "Better plain ViT baselines" (Beyer et al. 2022).

    >>> sincos_2d((2, 3), 8).shape
    torch.Size([6, 8])
    """
    if whole("dim", dim) < 8 or dim % 4:
        raise ValueError(f"dim={dim} must be a multiple of 4, at least 8: sin and cos of x and y")
    y, x = places(grid)  # (N,) each
    omega = 10000 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4 - 1))  # (dim/4,)
    x, y = x[:, None] * omega, y[:, None] * omega  # (N, dim/4) each
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1).float()  # (N, dim)


def fixed_table(position: str, grid: tuple[int, int], dim: int, prefix_tokens: int) -> Tensor:
    """A sine-cosine table for ``position`` "sincos1d" or "sincos2d", (1, prefix_tokens + N, dim).

    The class token's row is zero: it has no place in the image.

    >>> fixed_table("sincos2d", (2, 3), 8, 1).shape
    torch.Size([1, 7, 8])
    """
    table = sincos_1d(grid[0] * grid[1], dim) if position == "sincos1d" else sincos_2d(grid, dim)
    return F.pad(table, (0, 0, prefix_tokens, 0))[None]  # (1, prefix_tokens + N, dim)


def resize_positions(
    table: Tensor, old_grid: Size, new_grid: Size, rule: str = "google", prefix_tokens: int = 1
) -> Tensor:
    """Resize a position table to another grid of patches, by the rule of one library.

    ``table`` is (1, prefix_tokens + N, D) for ``old_grid`` = (gh, gw) in patches; the first
    ``prefix_tokens`` rows (the class token's) are carried over untouched. Returns
    (1, prefix_tokens + N', D) for ``new_grid``. On an equal grid the table comes back as it is.

    Rules: "google" bilinear, corners aligned · "timm" bicubic, anti-aliased · "timm-npz" bilinear ·
    "torchvision" bicubic, corners aligned · "hf" bicubic. Raises ``ValueError`` for another rule
    or a table that does not fit. Source: ViT paper, section 3.2 ("Fine-tuning and higher
    resolution"), and the five libraries' public code.

    >>> resize_positions(torch.rand(1, 5, 8), (2, 2), (3, 4)).shape
    torch.Size([1, 13, 8])
    """
    if not isinstance(rule, str) or rule not in RESIZE_RULES:
        raise ValueError(f"rule={rule!r} must be one of {RESIZE_RULES}")
    old, new = to_pair(old_grid, "old_grid"), to_pair(new_grid, "new_grid")
    expected = whole("prefix_tokens", prefix_tokens) + old[0] * old[1]
    require_tensor("table", table, f"(1, {expected}, D)")
    if table.shape[:2] != (1, expected):
        raise ValueError(
            f"table of shape {tuple(table.shape)} must be (1, {expected}, D) for old_grid={old}"
        )
    if old == new:  # compare grids, not counts: 2 x 8 and 4 x 4 have as many patches
        return table
    prefix, patches = table[:, :prefix_tokens], table[:, prefix_tokens:]
    plane = patches.reshape(1, *old, -1).permute(0, 3, 1, 2)  # (1, D, gh, gw)
    plane = F.interpolate(
        plane,
        size=new,
        mode="bilinear" if rule in ("google", "timm-npz") else "bicubic",
        align_corners=rule in ("google", "torchvision"),
        antialias=rule == "timm",
    )  # (1, D, gh', gw')
    patches = plane.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1)  # (1, N', D)
    return torch.cat([prefix, patches], dim=1)  # (1, prefix_tokens + N', D)


def init_projection(conv: nn.Conv2d) -> None:
    """Draw a patch projection's weights as Google's code does: normal, variance 1 / fan-in.

    >>> init_projection(nn.Conv2d(3, 8, 4))
    """
    fan_in = conv.in_channels * math.prod(conv.kernel_size)
    nn.init.trunc_normal_(conv.weight, std=fan_in**-0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
