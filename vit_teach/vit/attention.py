"""Multi-head self-attention, by hand and through PyTorch's fused kernel: chapter 5.

Source: ViT paper (arXiv 2010.11929), appendix A, equations 5 to 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import finite, require_tensor, require_type, whole


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
    """How much each query looks at each key: softmax(q k^T / sqrt(h)), equation 6.

    ``q`` and ``k`` are (..., T, h). Returns (..., T, T); each row is non-negative and sums to 1.
    ``bias`` (H, T, T) is added to the scores where positions act there (chapter 4).

    >>> attention_weights(torch.zeros(3, 8), torch.zeros(3, 8))[0]
    tensor([0.3333, 0.3333, 0.3333])
    """
    _check_shapes(q, k, k)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (..., T, T)
    if bias is not None:
        require_tensor("bias", bias, "(H, T, T)")
        if bias.shape[-2:] != scores.shape[-2:]:
            raise ValueError(
                f"bias of shape {tuple(bias.shape)} must fit scores of {tuple(scores.shape)}"
            )
        scores = scores + bias  # (..., T, T)
    return scores.softmax(dim=-1)  # (..., T, T)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mix the values by the attention weights: A v, equation 7.

    ``q``, ``k`` and ``v`` are (..., T, h), ``bias`` as in :func:`attention_weights`. Returns
    (..., T, h).

    >>> attend(torch.zeros(3, 8), torch.zeros(3, 8), torch.ones(3, 8)).shape
    torch.Size([3, 8])
    """
    _check_shapes(q, k, v)
    return attention_weights(q, k, bias) @ v  # (..., T, h)


def prefers_fused(x: Tensor) -> bool:
    """Whether PyTorch's fused kernel is the faster path for a tensor like ``x``.

    On a CPU in bfloat16 the kernel's backward pass is several times slower than the three plain
    lines above; in float32 and on a GPU the kernel wins.

    >>> prefers_fused(torch.zeros(1)), prefers_fused(torch.zeros(1, dtype=torch.bfloat16))
    (True, False)
    """
    if x.device.type != "cpu":
        return True
    return x.dtype != torch.bfloat16 and not torch.is_autocast_enabled("cpu")


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        require_tensor(name, tensor, "(..., T, h)")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"k of width {k.shape[-1]} must have the width of q, {q.shape[-1]}")
    if v.shape[-2] != k.shape[-2]:
        raise ValueError(f"v of {v.shape[-2]} tokens must have as many as k, {k.shape[-2]}")


class MultiHeadAttention(nn.Module):
    """Self-attention in ``num_heads`` heads side by side: MSA of equation 8.

    ``forward`` takes tokens (B, T, D) and returns (B, T, D). With a dictionary ``out`` it also
    leaves there, under ``name``: ``.q``, ``.k``, ``.v`` (B, H, T, h) and ``.weights`` (B, H, T, T).
    ``fused`` is None (choose by :func:`prefers_fused`), True or False; the result is the same.
    ``offsets`` is one of the modules of offsets.py, where positions act in the attention; then
    ``.q`` and ``.k`` are as it left them. Raises ``ValueError`` unless ``num_heads`` divides
    ``dim``.

    >>> MultiHeadAttention(dim=12, num_heads=3)(torch.zeros(2, 5, 12)).shape
    torch.Size([2, 5, 12])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool = True,
        dropout: float = 0.0,
        fused: bool | None = None,
        offsets: nn.Module | None = None,
    ) -> None:
        super().__init__()
        whole("dim", dim, 1)
        if whole("num_heads", num_heads, 1) > dim or dim % num_heads:
            raise ValueError(f"dim={dim} must be divisible by num_heads={num_heads}")
        require_type("qkv_bias", qkv_bias, bool, "True or False")
        require_type("fused", fused, (bool, type(None)), "None, True or False")
        require_type("offsets", offsets, (nn.Module, type(None)), "None or a module of offsets.py")
        self.num_heads, self.fused, self.offsets = num_heads, fused, offsets
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(finite("dropout", dropout, 0, 1))

    def forward(
        self, x: Tensor, out: dict[str, Tensor] | None = None, name: str = "attn"
    ) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x)  # (B, T, 3D), rows ordered q, k, v, and by head inside each
        qkv = qkv.view(batch, tokens, 3, self.num_heads, dim // self.num_heads)  # (B, T, 3, H, h)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, h) each
        bias = None
        if self.offsets is not None:
            q, k, bias = self.offsets(q, k)  # (B, H, T, h) twice, (H, T, T) or None
        fused = prefers_fused(x) if self.fused is None else self.fused
        if out is not None:
            weights = attention_weights(q, k, bias)  # (B, H, T, T)
            out.update({f"{name}.q": q, f"{name}.k": k, f"{name}.v": v, f"{name}.weights": weights})
            x = weights @ v  # (B, H, T, h)
        elif fused:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, h)
        else:
            x = attend(q, k, v, bias)  # (B, H, T, h)
        x = x.transpose(1, 2).reshape(batch, tokens, dim)  # (B, T, D), heads side by side again
        return self.dropout(self.proj(x))  # (B, T, D)
