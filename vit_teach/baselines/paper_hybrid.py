"""The paper's own hybrid, a ViT on the feature map of a ResNet with group norm: chapter 7.

Source: ViT paper (arXiv 2010.11929), sections 3.1 and 4.1 (the ResNet of "Big Transfer", Kolesnikov
et al. 2020, with weight standardisation and group norm). Parameters carry timm's names. Two small
numbers follow timm (1e-8 in the standardisation, 1e-5 in the group norm); Google's code has 1e-5
and 1e-6 there.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import require_type
from ..vit.embedding import check_image_size, init_projection
from ..vit.model import VisionTransformer, ViTConfig

GROUPS = 32
ROOT_WIDTH = 64  # channels after the first convolution; stage s ends with 256, 512, 1024, 2048
STANDARDISE_EPS = 1e-8


@dataclass(frozen=True)
class PaperHybridConfig(ViTConfig):
    """A :class:`ViTConfig` whose patches are 1 x 1 on the feature map of a ResNet.

    ``units`` are the bottleneck units in each stage: (3, 4, 6, 3) is a ResNet-50 and shrinks the
    picture 32 times; (3, 4, 9) has the last stage's three units moved into the third and shrinks it
    16 times, which gives four times the tokens (section 4.1). ``patch_size`` is this shrinking, as
    in the models' names. Raises ``ValueError`` if the two do not fit.

    >>> PaperHybridConfig(patch_size=16, units=(3, 4, 9)).num_patches
    196
    """

    units: tuple[int, ...] = (3, 4, 9)  # bottleneck units in each stage

    def __post_init__(self) -> None:
        super().__post_init__()
        require_type("units", self.units, (tuple, list), "a tuple of integers")
        object.__setattr__(self, "units", tuple(self.units))
        if not self.units or any(type(n) is not int or n < 1 for n in self.units):
            raise ValueError(f"units={self.units} must be positive integers, one for each stage")
        shrinking = 4 * 2 ** (len(self.units) - 1)
        if self.patch_size != (shrinking, shrinking):
            raise ValueError(
                f"patch_size={self.patch_size} must be {shrinking}: the shrinking of a ResNet with "
                f"{len(self.units)} stages"
            )

    @property
    def stages(self) -> list[tuple[int, int, int, int]]:
        """(width of the bottleneck, channels out, first stride, units) of each stage."""
        return [
            (ROOT_WIDTH * 2**i, 4 * ROOT_WIDTH * 2**i, 1 if i == 0 else 2, count)
            for i, count in enumerate(self.units)
        ]


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad images (B, C, H, W) so that ceil(H / stride) places result, as TensorFlow's "SAME" does.

    An odd pixel goes to the bottom and to the right.

    >>> import torch
    >>> pad_same(torch.zeros(1, 1, 8, 9), kernel=3, stride=2).shape
    torch.Size([1, 1, 9, 11])
    """
    padding = []
    for length in (x.shape[3], x.shape[2]):  # F.pad begins with the last axis
        total = max(0, (math.ceil(length / stride) - 1) * stride + kernel - length)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


def standardise(weight: Tensor) -> Tensor:
    """Convolution weights (out, in, h, w) with mean 0 and variance 1 in each output filter.

    The output of the layer then depends neither on the scale nor on the mean of its weights.

    >>> import torch
    >>> w = standardise(torch.rand(4, 3, 5, 5))
    >>> bool(w.mean(dim=(1, 2, 3)).abs().max() < 1e-6)
    True
    """
    centred = weight - weight.mean(dim=(1, 2, 3), keepdim=True)
    variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred * (variance + STANDARDISE_EPS).rsqrt()


class StdConv(nn.Conv2d):
    """A convolution without bias, with standardised weights and "SAME" padding.

    >>> import torch
    >>> StdConv(3, 8, 7, stride=2)(torch.zeros(1, 3, 16, 24)).shape
    torch.Size([1, 8, 8, 12])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, standardise(self.weight), stride=self.stride)


class Projection(nn.Module):
    """The shortcut where a unit changes size: a 1 x 1 convolution and its norm.

    >>> import torch
    >>> Projection(64, 128, 2)(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 128, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = StdConv(in_channels, out_channels, 1, stride)
        self.norm = nn.GroupNorm(GROUPS, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """A unit: 1 x 1, 3 x 3 (with the stride) and 1 x 1 convolutions around a shortcut.

    (B, C, H, W) to (B, C', H / stride, W / stride). The last norm begins at zero, so a new unit is
    its shortcut.

    >>> import torch
    >>> Bottleneck(64, 32, 128, 2)(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 128, 4, 4])
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.downsample = Projection(in_channels, out_channels, stride) if changes else None
        self.conv1 = StdConv(in_channels, mid_channels, 1)
        self.norm1 = nn.GroupNorm(GROUPS, mid_channels)
        self.conv2 = StdConv(mid_channels, mid_channels, 3, stride)
        self.norm2 = nn.GroupNorm(GROUPS, mid_channels)
        self.conv3 = StdConv(mid_channels, out_channels, 1)
        self.norm3 = nn.GroupNorm(GROUPS, out_channels)
        nn.init.zeros_(self.norm3.weight)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)  # (B, C', H/s, W/s)
        x = F.relu(self.norm1(self.conv1(x)))  # (B, C'/4, H, W)
        x = F.relu(self.norm2(self.conv2(x)))  # (B, C'/4, H/s, W/s)
        return F.relu(self.norm3(self.conv3(x)) + shortcut)  # (B, C', H/s, W/s)


class Root(nn.Module):
    """The beginning: a 7 x 7 convolution and a pooling, each halves the picture.

    >>> import torch
    >>> Root(3)(torch.zeros(1, 3, 32, 48)).shape
    torch.Size([1, 64, 8, 12])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = StdConv(channels, ROOT_WIDTH, 7, stride=2)
        self.norm = nn.GroupNorm(GROUPS, ROOT_WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(images)))  # (B, 64, H/2, W/2)
        return F.max_pool2d(pad_same(x, 3, 2, value=float("-inf")), 3, 2)  # (B, 64, H/4, W/4)


class Stage(nn.Module):
    """Units one after the other; the first one changes the size.

    >>> import torch
    >>> Stage(64, 32, 128, stride=2, units=2)(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 128, 4, 4])
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, stride: int, units: int
    ) -> None:
        super().__init__()
        first = Bottleneck(in_channels, mid_channels, out_channels, stride)
        rest = (Bottleneck(out_channels, mid_channels, out_channels, 1) for _ in range(units - 1))
        self.blocks = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Backbone(nn.Module):
    """Images (B, C, H, W) to the feature map (B, 256 * 2^(stages - 1), H / P, W / P).

    >>> import torch
    >>> config = PaperHybridConfig(image_size=32, patch_size=8, units=(1, 1))
    >>> Backbone(config)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 512, 4, 4])
    """

    def __init__(self, config: PaperHybridConfig) -> None:
        super().__init__()
        self.stem, in_channels, stages = Root(config.in_channels), ROOT_WIDTH, []
        for mid_channels, out_channels, stride, units in config.stages:
            stages.append(Stage(in_channels, mid_channels, out_channels, stride, units))
            in_channels = out_channels
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(self.stem(images))


class FeatureEmbedding(nn.Module):
    """Images (B, C, H, W) to patch vectors (B, N, D): the backbone, then 1 x 1 patches of its map.

    Raises ``ValueError`` if the image is not of the configuration's size.

    >>> import torch
    >>> config = PaperHybridConfig(image_size=32, patch_size=8, units=(1, 1))
    >>> FeatureEmbedding(config)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 16, 768])
    """

    def __init__(self, config: PaperHybridConfig) -> None:
        super().__init__()
        require_type("config", config, PaperHybridConfig, "a PaperHybridConfig")
        self.image_size = config.image_size
        self.backbone = Backbone(config)
        self.proj = nn.Conv2d(config.stages[-1][1], config.embed_dim, 1)
        init_projection(self.proj)

    def forward(self, images: Tensor) -> Tensor:
        check_image_size(images, self.image_size)
        x = self.proj(self.backbone(images))  # (B, D, H/P, W/P)
        return x.flatten(2).transpose(1, 2)  # (B, N, D)


class PaperHybrid(VisionTransformer):
    """A :class:`VisionTransformer` that reads its tokens from a ResNet's feature map.

    ``forward`` is the plain model's: images (B, C, H, W) to logits (B, K).

    >>> import torch
    >>> config = PaperHybridConfig(
    ...     image_size=32, patch_size=8, units=(1, 1), embed_dim=16, depth=1, num_heads=2)
    >>> PaperHybrid(config)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 1000])
    """

    def build_embedding(self, config: PaperHybridConfig) -> nn.Module:  # type: ignore[override]
        """Make the module that turns images (B, C, H, W) into patch vectors (B, N, D)."""
        return FeatureEmbedding(config)


PAPER_HYBRIDS = {
    "R50+ViT-B/16": PaperHybridConfig(units=(3, 4, 9)),
    "R50+ViT-L/32": PaperHybridConfig(
        units=(3, 4, 6, 3), patch_size=32, embed_dim=1024, depth=24, num_heads=16
    ),
    "R26+ViT-S/32": PaperHybridConfig(
        units=(2, 2, 2, 2), patch_size=32, embed_dim=384, depth=12, num_heads=6
    ),
}
