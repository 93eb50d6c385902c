"""One Transformer encoder block, pre-norm: chapter 6.

Source: ViT paper (arXiv 2010.11929), section 3.1, equations 2 and 3.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import finite, require_type, whole
from .attention import MultiHeadAttention

LAYER_NORM_EPS = 1e-6  # as in Google's code; PyTorch's own default is 1e-5
INITS = ("normal", "xavier")
INIT_STD = 0.02  # as in timm; Xavier would give 0.05 to 0.1 at the book's widths


class Mlp(nn.Module):
    """Two layers with a GELU between them, applied to each token alone.

    ``forward`` takes (B, T, D) and returns (B, T, D); the hidden width is ``hidden_dim``.
    The GELU is the exact one (with erf), as in timm and torchvision.

    >>> import torch
    >>> Mlp(8, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(whole("dim", dim, 1), whole("hidden_dim", hidden_dim, 1))
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(finite("dropout", dropout, 0, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(F.gelu(self.fc1(x)))  # (B, T, M)
        return self.dropout(self.fc2(x))  # (B, T, D)


class EncoderBlock(nn.Module):
    """Attention, then an MLP, each on a normalised copy and added back (a residual connection).

    ``forward`` takes (B, T, D) and returns (B, T, D). With a dictionary ``out`` it leaves there,
    under ``name``: the attention's parts, ``.attn`` and ``.mlp``, what each branch added
    (B, T, D), and the block's result under ``name`` itself. ``offsets`` goes to the attention
    (:class:`MultiHeadAttention`). Source: equations 2 and 3.

    >>> import torch
    >>> EncoderBlock(dim=12, num_heads=3, mlp_dim=24)(torch.zeros(2, 5, 12)).shape
    torch.Size([2, 5, 12])
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_dim: int,
        dropout: float = 0.0,
        offsets: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(whole("dim", dim, 1), eps=LAYER_NORM_EPS)
        self.attn = MultiHeadAttention(dim, num_heads, dropout=dropout, offsets=offsets)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, whole("mlp_dim", mlp_dim, 1), dropout)

    def forward(
        self, x: Tensor, out: dict[str, Tensor] | None = None, name: str = "block"
    ) -> Tensor:
        attn = self.attn(self.norm1(x), out, f"{name}.attn")  # (B, T, D)
        x = x + attn  # (B, T, D), equation 2
        mlp = self.mlp(self.norm2(x))  # (B, T, D)
        x = x + mlp  # (B, T, D), equation 3
        if out is not None:
            out.update({f"{name}.attn": attn, f"{name}.mlp": mlp, name: x})
        return x


def init_linear(module: nn.Module, scheme: str = "normal") -> None:
    """Draw a block's weights anew: all matrices by ``scheme``, all biases zero.

    "normal": truncated normal of standard deviation 0.02, as in timm. "xavier": Xavier-uniform, as
    in Google's code; q, k and v are drawn one by one, as if they were three layers. The recipe
    experiment measures the difference. Raises ``ValueError`` for another scheme.

    >>> init_linear(EncoderBlock(8, 2, 16))
    """
    require_type("module", module, nn.Module, "a torch module")
    if not isinstance(scheme, str) or scheme not in INITS:
        raise ValueError(f"scheme={scheme!r} must be one of {INITS}")
    for name, layer in module.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        nn.init.zeros_(layer.bias)
        if scheme == "normal":
            nn.init.trunc_normal_(layer.weight, std=INIT_STD)
            continue
        for weight in layer.weight.data.chunk(3 if name.endswith("qkv") else 1):
            nn.init.xavier_uniform_(weight)
