"""The hybrid: a few convolutions in place of the patch projection, then the same encoder.

Source: ViT paper, section 3.1, "Hybrid architecture". The paper cuts its patches from a ResNet's
feature map; for 32-pixel images a stem of a few layers does the same job. Two other stems are steps
on the way from a plain projection to a convolutional network; the last is a small ResNet.
"""

from dataclasses import dataclass

from torch import nn

from ..vit.embedding import check_image_size, init_projection
from ..vit.model import VisionTransformer, ViTConfig
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

    stem: str = "conv"
    stem_channels: tuple[int, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        if self.stem not in STEMS:
            raise ValueError(f"stem={self.stem!r} must be one of {STEMS}")
        square = self.patch_size[0] == self.patch_size[1]
        if not square or self.patch_size[0] & (self.patch_size[0] - 1) or self.patch_size[0] < 2:
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
        if any(type(width) is not int or width < 1 for width in self.stem_widths):
            raise ValueError(f"stem_channels={self.stem_widths} must be positive integers")
        if self.stem == "cct" and self.stem_widths[-1] != self.embed_dim:
            raise ValueError(
                f"stem_channels={self.stem_widths} must end in embed_dim={self.embed_dim}: "
                "what the last layer of the 'cct' stem gives are the tokens"
            )

    @property
    def halvings(self):
        """How many times the stem halves the picture: log2 of the patch size."""
        return self.patch_size[0].bit_length() - 1

    @property
    def stem_widths(self):
        """The widths of the stem's layers: ``stem_channels``, or the stem's own choice."""
        return self.stem_channels or self.default_channels()

    def default_channels(self):
        """Widths that double with each halving and stay below the encoder's."""
        if self.stem == "overlap":
            return ()
        if self.stem == "cct":
            return tuple(self.embed_dim // 2**i for i in reversed(range(self.halvings)))
        return tuple(self.embed_dim // 2**i for i in reversed(range(self.halvings + 1)))


class ConvStem(nn.Module):
    """Images (B, C, H, W) to patch vectors (B, N, D) through convolutions: ``backbone``, ``proj``.

    Raises ``ValueError`` if the image is not of the configuration's size.

    >>> import torch
    >>> config = HybridConfig(image_size=(8, 12), patch_size=4, embed_dim=16, num_heads=2)
    >>> ConvStem(config)(torch.zeros(2, 3, 8, 12)).shape
    torch.Size([2, 6, 16])
    """

    def __init__(self, config):
        super().__init__()
        self.image_size = config.image_size
        dim, patch = config.embed_dim, config.patch_size[0]
        last = (config.in_channels, *config.stem_widths)[-1]
        make_layers = _residual_layers if config.stem == "residual" else _layers
        self.backbone = nn.Sequential(*make_layers(config))
        if config.stem == "overlap":
            self.proj = nn.Conv2d(last, dim, 2 * patch, stride=patch, padding=patch // 2)
        elif config.stem == "cct":
            self.proj = nn.Identity()
        else:
            self.proj = nn.Conv2d(last, dim, 1)
        if isinstance(self.proj, nn.Conv2d):
            init_projection(self.proj)

    def forward(self, images):
        check_image_size(images, self.image_size)
        x = self.proj(self.backbone(images))  # (B, D, H/P, W/P)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)


def _layers(config):
    """The stem's layers before the projection, in order."""
    layers, before = [], config.in_channels
    for i, width in enumerate(config.stem_widths):
        if config.stem == "cct":
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.ReLU()]
            layers += [nn.MaxPool2d(3, stride=2, padding=1)]
        else:
            stride = 1 if i == 0 else 2
            layers += [nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-3].weight)
        before = width
    return layers


def _residual_layers(config):
    """A small ResNet: a convolution, max-pooling, then a block for each halving of the picture."""
    first, *widths = config.stem_widths
    layers = [nn.Conv2d(config.in_channels, first, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2)]
    for i, (before, width) in enumerate(zip(config.stem_widths, widths, strict=False)):
        layers.append(BasicBlock(before, width, stride=1 if i == 0 else 2))  # the pooling halved
    for module in nn.ModuleList(layers).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return layers


class Hybrid(VisionTransformer):
    """A :class:`VisionTransformer` that reads its tokens from a convolutional stem.

    ``forward`` is the plain model's: images (B, C, H, W) to logits (B, K), with the same
    intermediates by name.

    >>> import torch
    >>> config = HybridConfig(image_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=2)
    >>> Hybrid(config)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 1000])
    """

    def build_embedding(self, config):
        """Make the stem that turns images (B, C, H, W) into patch vectors (B, N, D)."""
        return ConvStem(config)


def _cifar(name, dim, depth, heads, patch=4, stem="conv", channels=()):
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
    **_cifar("CIFAR-Hybrid-Residual", 192, 3, 3, stem="residual", channels=(48, 96, 192)),
}
