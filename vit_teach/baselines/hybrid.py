"""The hybrid, a few convolutions in place of the patch projection: chapter 7.

Source: ViT paper (arXiv 2010.11929), section 3.1, "Hybrid architecture". The paper cuts its patches
from a ResNet's feature map; for 32-pixel images a stem of a few layers does the same job. Two other
stems are steps on the way from a plain projection to a convolutional network (chapter 10); the last
is a small ResNet.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ..arguments import one_of, require_type
from ..vit.embedding import check_image_size, init_projection
from ..vit.model import VisionTransformer, ViTConfig
from ..vit.patches import to_pair
from .resnet import BasicBlock

STEMS = ("conv", "overlap", "cct", "residual")


@dataclass(frozen=True)
class HybridConfig(ViTConfig):
    """A :class:`ViTConfig` whose patch projection is a convolutional ``stem``.

    "conv": 3 x 3 convolutions with BatchNorm and ReLU, the first of stride 1, then one of stride 2
    for each halving, and a 1 x 1 projection. "overlap": one convolution whose kernel is twice the
    patch, so that neighbouring patches share pixels. "cct": one 3 x 3 convolution, ReLU and
    max-pooling for each halving, as in the Compact Convolutional Transformer. "residual": one 3 x 3
    convolution with BatchNorm and ReLU, max-pooling, one residual block of two convolutions for
    each halving, and a 1 x 1 projection. ``patch_size`` is the stem's whole down-sampling (as in
    the paper's names), so the grid is the plain model's. ``stem_channels`` are the widths of the
    stem's layers; ``()`` lets the stem choose.

    >>> HybridConfig(image_size=32, patch_size=4, embed_dim=96, num_heads=3).grid_size
    (8, 8)
    """

    stem: str = "conv"  # the kind of stem; one of STEMS
    stem_channels: tuple[int, ...] = ()  # channels after each layer; () lets the stem choose

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("stem", self.stem, STEMS)
        require_type("stem_channels", self.stem_channels, (tuple, list), "a tuple of integers")
        height, width = to_pair(self.patch_size)
        if height != width or height & (height - 1) or height < 2:
            raise ValueError(
                f"patch_size={self.patch_size} must be square and a power of 2, at least 2: "
                "each layer of the stem halves the picture"
            )
        object.__setattr__(self, "stem_channels", tuple(self.stem_channels))
        if len(self.stem_widths) != len(self.default_channels()):
            raise ValueError(
                f"stem_channels={self.stem_channels} must have {len(self.default_channels())} "
                f"numbers for stem={self.stem!r} and patch_size={self.patch_size}"
            )
        if any(type(n) is not int or n < 1 for n in self.stem_widths):
            raise ValueError(f"stem_channels={self.stem_widths} must be positive integers")
        if self.stem == "cct" and self.stem_widths[-1] != self.embed_dim:
            raise ValueError(
                f"stem_channels={self.stem_widths} must end in embed_dim={self.embed_dim}: "
                "what the last layer of the 'cct' stem gives are the tokens"
            )

    @property
    def halvings(self) -> int:
        """How many times the stem halves the picture: log2 of the patch size."""
        return to_pair(self.patch_size)[0].bit_length() - 1

    @property
    def stem_widths(self) -> tuple[int, ...]:
        """The widths of the stem's layers: ``stem_channels``, or the stem's own choice."""
        return self.stem_channels or self.default_channels()

    def default_channels(self) -> tuple[int, ...]:
        """Widths that double with each halving and stay below the encoder's."""
        count = {"overlap": 0, "cct": self.halvings}.get(self.stem, self.halvings + 1)
        return tuple(self.embed_dim // 2**i for i in reversed(range(count)))


class ConvStem(nn.Module):
    """Images (B, C, H, W) to patch vectors (B, N, D) through convolutions: ``backbone``, ``proj``.

    Raises ``ValueError`` if the image is not of the configuration's size.

    >>> import torch
    >>> config = HybridConfig(image_size=(8, 12), patch_size=4, embed_dim=16, num_heads=2)
    >>> ConvStem(config)(torch.zeros(2, 3, 8, 12)).shape
    torch.Size([2, 6, 16])
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        require_type("config", config, HybridConfig, "a HybridConfig")
        self.image_size = config.image_size
        self.backbone = nn.Sequential(*LAYERS[config.stem](config))
        self.proj = _projection(config)

    def forward(self, images: Tensor) -> Tensor:
        check_image_size(images, self.image_size)
        x = self.proj(self.backbone(images))  # (B, D, H/P, W/P)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)


def _projection(config: HybridConfig) -> nn.Module:
    """The stem's last layer, which gives each token its D numbers."""
    if config.stem == "cct":  # what its last layer gives are the tokens
        return nn.Identity()
    in_channels = (config.in_channels, *config.stem_widths)[-1]
    patch = to_pair(config.patch_size)[0]
    if config.stem == "overlap":
        kernel, stride, padding = 2 * patch, patch, patch // 2
    else:
        kernel, stride, padding = 1, 1, 0
    projection = nn.Conv2d(in_channels, config.embed_dim, kernel, stride, padding)
    init_projection(projection)
    return projection


def _conv_layers(config: HybridConfig) -> list[nn.Module]:
    """Convolution, BatchNorm and ReLU for each width; all but the first halve the picture."""
    layers: list[nn.Module] = []
    in_channels = config.in_channels
    for i, out_channels in enumerate(config.stem_widths):
        conv = _convolution(in_channels, out_channels, stride=1 if i == 0 else 2)
        layers += [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]
        in_channels = out_channels
    return layers


def _pooled_layers(config: HybridConfig) -> list[nn.Module]:
    """Convolution, ReLU and a max-pooling that halves the picture, for each width."""
    layers: list[nn.Module] = []
    in_channels = config.in_channels
    for out_channels in config.stem_widths:
        conv = _convolution(in_channels, out_channels)
        layers += [conv, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        in_channels = out_channels
    return layers


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def _residual_layers(config: HybridConfig) -> list[nn.Module]:
    """A small ResNet: a convolution, max-pooling, then a block for each halving of the picture."""
    in_channels, *widths = config.stem_widths
    layers: list[nn.Module] = []
    layers += [nn.Conv2d(config.in_channels, in_channels, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(in_channels), nn.ReLU(), nn.MaxPool2d(2)]
    for i, out_channels in enumerate(widths):  # the pooling has halved for the first block
        layers.append(BasicBlock(in_channels, out_channels, stride=1 if i == 0 else 2))
        in_channels = out_channels
    for module in nn.ModuleList(layers).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return layers


# The layers before the projection. "overlap" has no widths, and so no layers.
LAYERS: dict[str, Callable[[HybridConfig], list[nn.Module]]] = {
    "conv": _conv_layers,
    "overlap": _conv_layers,
    "cct": _pooled_layers,
    "residual": _residual_layers,
}


class Hybrid(VisionTransformer):
    """A :class:`VisionTransformer` that reads its tokens from a convolutional stem.

    ``forward`` is the plain model's: images (B, C, H, W) to logits (B, K), with the same
    intermediates by name.

    >>> import torch
    >>> config = HybridConfig(image_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=2)
    >>> Hybrid(config)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 1000])
    """

    def build_embedding(self, config: HybridConfig) -> nn.Module:  # type: ignore[override]
        """Make the stem that turns images (B, C, H, W) into patch vectors (B, N, D)."""
        return ConvStem(config)


def _cifar(
    name: str,
    dim: int,
    depth: int,
    heads: int,
    patch: int = 4,
    stem: str = "conv",
    channels: tuple[int, ...] = (),
) -> dict[str, HybridConfig]:
    config = HybridConfig(
        image_size=32, patch_size=patch, stem=stem, stem_channels=channels, num_classes=10,
        embed_dim=dim, depth=depth, num_heads=heads, mlp_ratio=2.0, pool="mean", class_token=False,
    )  # fmt: skip
    return {name: config}


HYBRID_PRESETS = {
    **_cifar("CIFAR-Hybrid-Nano", 64, 4, 4, patch=8, channels=(4, 8, 16, 32)),
    **_cifar("CIFAR-Hybrid-Mini", 64, 3, 2),
    **_cifar("CIFAR-Hybrid-Micro", 96, 4, 3),
    **_cifar("CIFAR-Hybrid-Tiny", 128, 6, 4),
    **_cifar("CIFAR-Hybrid-Small", 192, 6, 3),
    **_cifar("CIFAR-Hybrid-Residual", 192, 2, 3, stem="residual", channels=(64, 128, 192)),
}
