"""The Vision Transformer, patches in and class scores out: chapter 6.

Source: "An image is worth 16x16 words" (Dosovitskiy et al., arXiv 2010.11929), section 3.1, with
the sizes of its Table 1; the new head for fine-tuning is section 3.2 (chapter 12).
Parameters carry timm's names and shapes, so weights move between the two without renaming.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..arguments import require_type, whole
from .embedding import POSITIONS, TABLES, PatchEmbedding, fixed_table, init_projection
from .encoder import LAYER_NORM_EPS, EncoderBlock, init_linear
from .offsets import OFFSETS, build_offsets
from .patches import Size, grid_size, to_pair

POOLS = ("cls", "mean")


@dataclass(frozen=True)
class ViTConfig:
    """Every choice that fixes a Vision Transformer's shape. The defaults are ViT-B/16.

    ``image_size`` and ``patch_size`` are pixels, an integer or (height, width). ``position`` is a
    table that is added to the tokens ("learned", "sincos1d", "sincos2d"), or acts on the offsets of
    two patches in the attention ("rotary", "relative"), or both ("learned+rotary",
    "learned+relative"), or "none". ``pool`` is "cls" (read the class token) or "mean"
    (average the patch tokens; ``class_token=False`` then leaves the class token out).
    ``fc_norm`` puts the last LayerNorm after the pooling, as timm does for averaged models.
    ``registers`` is the number of extra learned tokens behind the class token: they have no place
    in the image, so no row in the position table, and the pooling never reads them (Darcet et al.
    2023, "Vision transformers need registers"). Raises ``ValueError`` for a combination that cannot
    be built.

    >>> config = ViTConfig(image_size=(32, 48), patch_size=(4, 8), embed_dim=96, num_heads=3)
    >>> config.grid_size, config.num_patches, config.num_tokens, config.head_dim, config.mlp_dim
    ((8, 6), 48, 49, 32, 384)
    """

    image_size: Size = 224  # (H, W) in pixels
    patch_size: Size = 16  # (PH, PW) in pixels; must tile the image
    in_channels: int = 3  # C: 3 for colour, 1 for grey
    num_classes: int = 1000  # K, the length of the logits
    embed_dim: int = 768  # D, the width of every token
    depth: int = 12  # L, the number of encoder blocks
    num_heads: int = 12  # H, heads of attention; must divide embed_dim
    mlp_ratio: float = 4.0  # the MLP's hidden width as a multiple of embed_dim
    position: str = "learned"  # what says where a patch lay; one of POSITIONS
    pool: str = "cls"  # what the classifier reads; one of POOLS
    class_token: bool = True  # whether a class token is put before the patches
    fc_norm: bool = False  # whether the last LayerNorm comes after the pooling
    dropout: float = 0.0  # probability in training, after embedding, attention and MLP
    registers: int = 0  # R, learned tokens behind the class token that no pooling reads

    def __post_init__(self) -> None:
        for name in ("image_size", "patch_size"):
            object.__setattr__(self, name, to_pair(getattr(self, name), name))
        grid_size(self.image_size, self.patch_size)
        for name in ("in_channels", "num_classes", "embed_dim", "depth", "num_heads"):
            whole(name, getattr(self, name), 1)
        whole("registers", self.registers)
        for name in ("class_token", "fc_norm"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name}={getattr(self, name)!r} must be True or False")
        for name in ("mlp_ratio", "dropout"):
            if type(getattr(self, name)) not in (int, float):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a number")
        if self.embed_dim % self.num_heads:
            raise ValueError(
                f"embed_dim={self.embed_dim} must be divisible by num_heads={self.num_heads}"
            )
        if self.position not in POSITIONS:
            raise ValueError(f"position={self.position!r} must be one of {POSITIONS}")
        if self.pool not in POOLS:
            raise ValueError(f"pool={self.pool!r} must be one of {POOLS}")
        if self.pool == "cls" and not self.class_token:
            raise ValueError("class_token=False needs pool='mean': there is no class token to read")
        if self.pool == "cls" and self.fc_norm:
            raise ValueError("fc_norm=True needs pool='mean': it is the norm after averaging")
        if not 1 <= self.embed_dim * self.mlp_ratio < 2**31:
            raise ValueError(
                f"mlp_ratio={self.mlp_ratio} must make the MLP at least 1 wide, and finite: "
                f"mlp_ratio * embed_dim, with embed_dim={self.embed_dim}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1)")
        if self.offsets == "rotary" and self.head_dim % 4:
            raise ValueError(
                f"position={self.position!r} needs heads of a multiple of 4 numbers: embed_dim="
                f"{self.embed_dim} and num_heads={self.num_heads} make {self.head_dim}"
            )
        if self.table in ("sincos1d", "sincos2d"):
            with torch.device("meta"):  # checks the width and takes no memory
                fixed_table(self.table, (1, 1), self.embed_dim, 0)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Patches down and across, (H / P, W / P)."""
        return grid_size(self.image_size, self.patch_size)

    @property
    def num_patches(self) -> int:
        """N, the number of patches."""
        return self.grid_size[0] * self.grid_size[1]

    @property
    def num_tokens(self) -> int:
        """T, the length of the sequence: patches, class token and registers where there are any."""
        return self.num_patches + self.prefix_tokens

    @property
    def prefix_tokens(self) -> int:
        """How many tokens stand before the patches: the class token and the registers."""
        return int(self.class_token) + self.registers

    @property
    def table(self) -> str | None:
        """The table that is added to the tokens: "learned", "sincos1d", "sincos2d" or None."""
        first = self.position.split("+")[0]
        return first if first in TABLES else None

    @property
    def offsets(self) -> str | None:
        """What acts on offsets in the attention: "rotary", "relative" or None."""
        last = self.position.split("+")[-1]
        return last if last in OFFSETS else None

    @property
    def head_dim(self) -> int:
        """h = D / H, the width of one head."""
        return self.embed_dim // self.num_heads

    @property
    def mlp_dim(self) -> int:
        """M, the hidden width of the MLP."""
        return int(self.embed_dim * self.mlp_ratio)


class VisionTransformer(nn.Module):
    """The model of Figure 1: embed patches, add positions, encode, classify.

    ``forward`` takes float images (B, C, H, W) and returns logits (B, K). With
    ``intermediates=True`` it returns ``(logits, out)``, where ``out`` holds every step by name:
    "patch_embed" (B, N, D), "tokens" (B, T, D), for each block i "blocks.i.attn.q", ".k", ".v"
    (B, H, T, h), "blocks.i.attn.weights" (B, H, T, T), "blocks.i.attn" and "blocks.i.mlp" (what the
    branch added) and "blocks.i" (B, T, D), then "norm" (B, T, D), "pooled" (B, D), "logits" (B, K).

    The blocks' weights are drawn as in timm (:func:`vit_teach.vit.encoder.init_linear`); the head
    starts at zero as in Google's code, so an untrained model gives every class the same score.

    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3)
    >>> logits, out = VisionTransformer(config)(torch.zeros(2, 3, 8, 8), intermediates=True)
    >>> logits.shape, out["blocks.1.attn.weights"].shape
    (torch.Size([2, 1000]), torch.Size([2, 3, 5, 5]))
    """

    pos_embed: Tensor | None  # (1, T, D)

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        require_type("config", config, ViTConfig, "a ViT's configuration")
        self.config = config
        dim = config.embed_dim
        self.patch_embed = self.build_embedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if config.class_token else None
        self.reg_token = None
        if config.registers:  # equal tokens would stay equal: they start at random
            self.reg_token = nn.Parameter(torch.randn(1, config.registers, dim) * 0.02)
        self.build_positions()
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(self.build_block(config) for _ in range(config.depth))
        norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.norm = nn.Identity() if config.fc_norm else norm
        self.fc_norm = norm if config.fc_norm else nn.Identity()
        self.head = nn.Linear(dim, config.num_classes)
        init_linear(self.blocks)
        self.reset_head(config.num_classes)

    def build_embedding(self, config: ViTConfig) -> nn.Module:
        """Make the module that turns images (B, C, H, W) into patch vectors (B, N, D)."""
        embedding = PatchEmbedding(
            config.image_size, config.patch_size, config.in_channels, config.embed_dim
        )
        init_projection(embedding.proj)
        return embedding

    def build_block(self, config: ViTConfig) -> EncoderBlock:
        """Make one encoder block, with its own module for offsets where there is one."""
        offsets = build_offsets(
            config.offsets, config.grid_size, config.num_heads, config.head_dim,
            config.prefix_tokens,
        )  # fmt: skip
        return EncoderBlock(
            config.embed_dim, config.num_heads, config.mlp_dim, config.dropout, offsets
        )

    def build_positions(self) -> None:
        """Make ``pos_embed``: a parameter if learned, a constant if fixed, else None.

        It is (1, T, D), or (1, T - R, D) with R registers, which have no row.
        """
        config = self.config
        if config.table == "learned":
            rows = config.num_tokens - config.registers
            table = torch.empty(1, rows, config.embed_dim)
            self.pos_embed = nn.Parameter(nn.init.normal_(table, std=0.02))
        elif config.table is None:
            self.pos_embed = None
        else:  # a buffer is saved and moved with the model, but not trained
            prefix = int(config.class_token)
            table = fixed_table(config.table, config.grid_size, config.embed_dim, prefix)
            self.register_buffer("pos_embed", table)

    def reset_head(self, num_classes: int) -> None:
        """Replace the classifier by a zero-initialised one for ``num_classes`` (section 3.2).

        ``config`` is changed to match. Raises ``ValueError`` unless ``num_classes`` is positive.
        """
        self.config = replace(self.config, num_classes=num_classes)
        self.head = nn.Linear(self.config.embed_dim, num_classes).to(self.head.weight)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def embed(self, images: Tensor, out: dict[str, Tensor] | None = None) -> Tensor:
        """Images (B, C, H, W) to tokens (B, T, D) that carry their positions: equation 1."""
        x = self.patch_embed(images)  # (B, N, D)
        if out is not None:
            out["patch_embed"] = x
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, T, D)
        if self.pos_embed is not None:
            x = x + self.pos_embed  # (B, T, D)
        if self.reg_token is not None:  # behind the class token, without a position
            first = int(self.config.class_token)
            registers = self.reg_token.expand(len(x), -1, -1)  # (B, R, D)
            x = torch.cat([x[:, :first], registers, x[:, first:]], dim=1)  # (B, T, D)
        return self.dropout(x)  # (B, T, D)

    def pool(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) to one vector for each image (B, D)."""
        if self.config.pool == "cls":
            return x[:, 0]  # (B, D)
        return x[:, self.config.prefix_tokens :].mean(dim=1)  # (B, D), patch tokens only

    def features(self, images: Tensor, out: dict[str, Tensor] | None = None) -> Tensor:
        """Images (B, C, H, W) to the vectors (B, D) that the classifier reads: y of equation 4."""
        x = self.embed(images, out)  # (B, T, D)
        if out is not None:
            out["tokens"] = x
        for i, block in enumerate(self.blocks):
            x = block(x, out, f"blocks.{i}")  # (B, T, D)
        x = self.norm(x)  # (B, T, D)
        pooled = self.fc_norm(self.pool(x))  # (B, D)
        if out is not None:
            out.update({"norm": x, "pooled": pooled})
        return pooled

    def forward(
        self, images: Tensor, intermediates: bool = False
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        out: dict[str, Tensor] | None = {} if intermediates else None
        logits = self.head(self.features(images, out))  # (B, K)
        if out is not None:
            out["logits"] = logits
            return logits, out
        return logits


def _released(name: str, patch: int, dim: int, depth: int, heads: int) -> dict[str, ViTConfig]:
    return {name: ViTConfig(patch_size=patch, embed_dim=dim, depth=depth, num_heads=heads)}


def _cifar(name: str, dim: int, depth: int, heads: int, patch: int = 4) -> dict[str, ViTConfig]:
    """A size for 32-pixel images: MLP twice as wide, the patch tokens averaged."""
    config = ViTConfig(
        image_size=32, patch_size=patch, num_classes=10, embed_dim=dim, depth=depth,
        num_heads=heads, mlp_ratio=2.0, pool="mean", class_token=False,
    )  # fmt: skip
    return {name: config}


PRESETS = {
    **_released("ViT-Ti/16", 16, 192, 12, 3),
    **_released("ViT-S/32", 32, 384, 12, 6),
    **_released("ViT-S/16", 16, 384, 12, 6),
    **_released("ViT-B/32", 32, 768, 12, 12),
    **_released("ViT-B/16", 16, 768, 12, 12),
    **_released("ViT-B/8", 8, 768, 12, 12),
    **_released("ViT-L/32", 32, 1024, 24, 16),
    **_released("ViT-L/16", 16, 1024, 24, 16),
    **_released("ViT-H/14", 14, 1280, 32, 16),
    **_cifar("CIFAR-ViT-Nano", 64, 4, 4, patch=8),
    **_cifar("CIFAR-ViT-Mini", 64, 4, 2),
    **_cifar("CIFAR-ViT-Micro", 96, 4, 3),
    **_cifar("CIFAR-ViT-Tiny", 128, 6, 4),
    **_cifar("CIFAR-ViT-Small", 192, 6, 3),
    **_cifar("CIFAR-ViT-Base", 256, 6, 4),
}
