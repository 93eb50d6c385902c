"""A small residual network for 32-pixel images: the CNN that the book compares with.

Chapters 7 and 9 to 13 compare. Source: "Deep residual learning for image recognition" (He et al.
2016), section 4.2. Parameters carry torchvision's names.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import one_of, require_type, whole
from ..vit.embedding import check_image_size
from ..vit.patches import Size, to_pair

Padding = Literal["zeros", "circular"]
PADDINGS: tuple[Padding, ...] = ("zeros", "circular")


@dataclass(frozen=True)
class ResNetConfig:
    """A CIFAR ResNet: three stages of ``width``, 2 and 4 times ``width`` channels.

    ``depth`` counts the layers with weights: 6 n + 2 for n blocks in each stage (8, 14, 20, ...).
    ``image_size`` is in pixels, an integer or (height, width). ``padding`` is what a convolution
    sees beyond the border: "zeros", or with "circular" the pixels of the other side, which makes
    the network exactly equivariant to circular shifts by its total stride, 4. Raises ``ValueError``
    for a depth that is not of this form, a size that cannot be halved twice or another padding.

    >>> ResNetConfig(depth=14).blocks_per_stage
    2
    """

    image_size: Size = 32  # (H, W) in pixels; 4 must divide both
    in_channels: int = 3  # C: 3 for colour, 1 for grey
    num_classes: int = 10  # K, the length of the logits
    width: int = 32  # channels of the first stage; the next two have twice and four times as many
    depth: int = 8  # layers with weights: 6 n + 2
    padding: Padding = "zeros"  # beyond the border; one of PADDINGS

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", to_pair(self.image_size, "image_size"))
        if any(side % 4 for side in to_pair(self.image_size)):
            raise ValueError(f"image_size={self.image_size} must be divisible by 4: two halvings")
        for name in ("in_channels", "num_classes", "width"):
            whole(name, getattr(self, name), 1)
        if type(self.depth) is not int or not 8 <= self.depth < 2**31 or (self.depth - 2) % 6:
            raise ValueError(f"depth={self.depth!r} must be 6 n + 2 with n >= 1: 8, 14, 20, ...")
        one_of("padding", self.padding, PADDINGS)

    @property
    def blocks_per_stage(self) -> int:
        """n, the number of residual blocks in each of the three stages."""
        return (self.depth - 2) // 6

    @property
    def stages(self) -> list[tuple[int, int]]:
        """(channels, first stride) of each stage."""
        return [(self.width, 1), (2 * self.width, 2), (4 * self.width, 2)]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: (B, C, H, W) to (B, C', H / stride, W / stride).

    >>> import torch
    >>> BasicBlock(4, 8, stride=2)(torch.zeros(2, 4, 8, 12)).shape
    torch.Size([2, 8, 4, 6])
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride}
        for name, value in sizes.items():
            whole(name, value, 1)
        one_of("padding", padding, PADDINGS)
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride, padding=1, padding_mode=padding, bias=False
        )
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(
            out_channels, out_channels, 3, padding=1, padding_mode=padding, bias=False
        )
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))  # (B, C', H/s, W/s)
        y = self.bn2(self.conv2(y))  # (B, C', H/s, W/s)
        return F.relu(y + self.downsample(x))  # (B, C', H/s, W/s)


class ResNet(nn.Module):
    """The network: one convolution, three stages, average pooling, a linear classifier.

    ``forward`` takes float images (B, C, H, W) and returns logits (B, K). Raises ``ValueError`` if
    the image is not of the configuration's size.

    >>> import torch
    >>> ResNet(ResNetConfig(width=4))(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        require_type("config", config, ResNetConfig, "a ResNetConfig")
        self.config = config
        self.conv1 = nn.Conv2d(
            config.in_channels, config.width, 3, padding=1, padding_mode=config.padding, bias=False
        )
        self.bn1 = nn.BatchNorm2d(config.width)
        in_channels = config.width
        for number, (out_channels, stride) in enumerate(config.stages, start=1):
            blocks = []
            for i in range(config.blocks_per_stage):
                first = stride if i == 0 else 1
                blocks.append(BasicBlock(in_channels, out_channels, first, config.padding))
                in_channels = out_channels
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(in_channels, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to the vectors (B, 4 width) that the classifier reads."""
        check_image_size(images, self.config.image_size)
        x = F.relu(self.bn1(self.conv1(images)))  # (B, width, H, W)
        x = self.layer3(self.layer2(self.layer1(x)))  # (B, 4 width, H/4, W/4)
        return x.mean(dim=(2, 3))  # (B, 4 width)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images))  # (B, K)


RESNET_PRESETS = {
    "CIFAR-ResNet-Nano": ResNetConfig(width=7, depth=8),
    "CIFAR-ResNet-Mini": ResNetConfig(width=15, depth=8),
    "CIFAR-ResNet-Micro": ResNetConfig(width=16, depth=8),
    "CIFAR-ResNet-Tiny": ResNetConfig(width=32, depth=8),
    "CIFAR-ResNet-Small": ResNetConfig(width=32, depth=14),
}
