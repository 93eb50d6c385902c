"""Positions inside the attention, where only the offset of two patches counts: chapter 4.

A table of positions is added to the tokens once, before the first block. The two modules here act
in every block, on the scores: a score then depends on how far apart two patches lie, and not on
where they lie. Sources: "RoFormer" (Su et al. 2021) and, for pictures, "Rotary position embedding
for Vision Transformer" (Heo et al. 2024, its axial kind); "Swin Transformer" (Liu et al. 2021),
section 3.2, for the table of offsets.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import finite, require_tensor, require_type, whole
from .patches import Size, places, to_pair

OFFSETS = ("rotary", "relative")
ROTARY_BASE = 100.0  # as Heo et al. for pictures; texts, which are longer, take 10,000


def rotary_angles(grid: Size, head_dim: int, base: float = ROTARY_BASE) -> Tensor:
    """By how much each pair of numbers of a query or a key is turned, in radians, float64.

    ``grid`` is (gh, gw) in patches. Returns (N, head_dim / 2): the first half of a row is the
    patch's row times the frequencies 1 ... 1 / ``base``, the second half its column times the same.
    Raises ``ValueError`` unless 4 divides ``head_dim``: half the pairs for each of two axes.

    >>> rotary_angles((2, 3), 4)[4]
    tensor([1., 1.], dtype=torch.float64)
    """
    if whole("head_dim", head_dim, 1) % 4:
        raise ValueError(f"head_dim={head_dim} must be a multiple of 4: pairs for rows and columns")
    if finite("base", base, 0) <= 1:
        raise ValueError(f"base={base!r} must be above 1: the slowest frequency is near 1 / base")
    pairs = head_dim // 4
    omega = base ** (-torch.arange(pairs, dtype=torch.float64) / pairs)  # (h/4,)
    y, x = places(grid)
    return torch.cat([y[:, None] * omega, x[:, None] * omega], dim=1)  # (N, h/2)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the pairs (0, 1), (2, 3), ... of each vector of ``x`` by ``angles``.

    ``x`` is (..., N, h), ``angles`` (N, h / 2). Returns (..., N, h). Turning both q and k changes
    their product only through the difference of their angles.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([[torch.pi / 2]])).round()
    tensor([[-0., 1.]])
    """
    require_tensor("x", x, "(..., N, h)")
    require_tensor("angles", angles, "(N, h / 2)")
    if x.ndim < 2 or angles.shape != (x.shape[-2], x.shape[-1] // 2) or x.shape[-1] % 2:
        raise ValueError(
            f"angles of shape {tuple(angles.shape)} must be (N, h / 2) for x of {tuple(x.shape)}"
        )
    a, b = x[..., 0::2], x[..., 1::2]  # (..., N, h/2) each
    cos, sin = angles.cos(), angles.sin()  # (N, h/2) each
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)  # (..., N, h)


class Rotary(nn.Module):
    """Rotary positions for a grid of patches: turns queries and keys, adds nothing to the scores.

    ``forward`` takes q and k (B, H, T, h) and returns (q, k, None). The first ``prefix_tokens``
    tokens (class token, registers) have no place and are not turned. There is nothing to train,
    and nothing to resize when the grid grows.

    >>> q, k, bias = Rotary((2, 3), 8, prefix_tokens=1)(*torch.ones(2, 1, 2, 7, 8))
    >>> q.shape, bool((q[:, :, 0] == 1).all()), bias is None
    (torch.Size([1, 2, 7, 8]), True, True)
    """

    angles: Tensor  # (T, h/2)

    def __init__(self, grid: Size, head_dim: int, prefix_tokens: int = 0) -> None:
        super().__init__()
        angles = rotary_angles(grid, head_dim).float()  # (N, h/2)
        angles = F.pad(angles, (0, 0, whole("prefix_tokens", prefix_tokens), 0))  # (T, h/2)
        self.register_buffer("angles", angles, persistent=False)  # follows from the configuration

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        turned = [rotate(x, self.angles).to(x.dtype) for x in (q, k)]  # (B, H, T, h) each
        return turned[0], turned[1], None


class RelativeBias(nn.Module):
    """A learned number for each head and each offset of two patches, added to their score.

    ``forward`` takes q and k (B, H, T, h) and returns (q, k, bias) with the bias (H, T, T). The
    table ``offset_bias`` is (H, 2 gh - 1, 2 gw - 1), zero at the start; its middle is the offset
    zero. Pairs with one of the first ``prefix_tokens`` tokens get 0.

    >>> bias = RelativeBias((2, 3), 4)(*torch.zeros(2, 1, 4, 6, 8))[2]
    >>> bias.shape
    torch.Size([4, 6, 6])
    """

    down: Tensor  # (N, N)
    right: Tensor  # (N, N)

    def __init__(self, grid: Size, num_heads: int, prefix_tokens: int = 0) -> None:
        super().__init__()
        gh, gw = to_pair(grid, "grid")
        self.prefix_tokens = whole("prefix_tokens", prefix_tokens)
        heads = whole("num_heads", num_heads, 1)
        self.offset_bias = nn.Parameter(torch.zeros(heads, 2 * gh - 1, 2 * gw - 1))
        y, x = places(grid)
        down = y[:, None] - y + gh - 1  # (N, N): how far the query lies below the key, from 0 on
        right = x[:, None] - x + gw - 1  # (N, N)
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("right", right, persistent=False)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        bias = self.offset_bias[:, self.down, self.right]  # (H, N, N)
        prefix = self.prefix_tokens
        return q, k, F.pad(bias, (prefix, 0, prefix, 0)).to(q.dtype)  # (H, T, T)


def build_offsets(
    kind: str | None, grid: Size, num_heads: int, head_dim: int, prefix_tokens: int
) -> nn.Module | None:
    """The module for ``kind``: "rotary", "relative", or None for none.

    >>> build_offsets("rotary", (2, 3), 2, 8, 0)
    Rotary()
    """
    require_type("kind", kind, (str, type(None)), f"None or one of {OFFSETS}")
    if kind is None:
        return None
    if kind not in OFFSETS:
        raise ValueError(f"kind={kind!r} must be None or one of {OFFSETS}")
    if kind == "rotary":
        return Rotary(grid, head_dim, prefix_tokens)
    return RelativeBias(grid, num_heads, prefix_tokens)
