"""A small residual network for 32-pixel images: the CNN that the book compares with.

Source: "Deep residual learning for image recognition" (He et al. 2016), section 4.2. Parameters
carry torchvision's names.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from ..vit.embedding import check_image_size
from ..vit.patches import to_pair


@dataclass(frozen=True)
class ResNetConfig:
    """A CIFAR ResNet: three stages of ``width``, 2 and 4 times ``width`` channels.

    ``depth`` counts the layers with weights: 6 n + 2 for n blocks in each stage (8, 14, 20, ...).
    ``image_size`` is in pixels, an integer or (height, width). Raises ``ValueError`` for a depth
    that is not of this form or a size that cannot be halved twice.

    >>> ResNetConfig(depth=14).blocks_per_stage
    2
    """

    image_size: int | tuple[int, int] = 32
    in_channels: int = 3
    num_classes: int = 10
    width: int = 32
    depth: int = 8

    def __post_init__(self):
        object.__setattr__(self, "image_size", to_pair(self.image_size, "image_size"))
        if any(side % 4 for side in self.image_size):
            raise ValueError(f"image_size={self.image_size} must be divisible by 4: two halvings")
        for name in ("in_channels", "num_classes", "width"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")
        if type(self.depth) is not int or self.depth < 8 or (self.depth - 2) % 6:
            raise ValueError(f"depth={self.depth!r} must be 6 n + 2 with n >= 1: 8, 14, 20, ...")

    @property
    def blocks_per_stage(self):
        """n, the number of residual blocks in each of the three stages."""
        return (self.depth - 2) // 6

    @property
    def stages(self):
        """(channels, first stride) of each stage."""
        return [(self.width, 1), (2 * self.width, 2), (4 * self.width, 2)]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: (B, C, H, W) to (B, C', H / stride, W / stride).

    >>> import torch
    >>> BasicBlock(4, 8, stride=2)(torch.zeros(2, 4, 8, 12)).shape
    torch.Size([2, 8, 4, 6])
    """

    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride != 1 or before != width:
            conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x):
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

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(config.in_channels, config.width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        before = config.width
        for number, (width, stride) in enumerate(config.stages, start=1):
            blocks = []
            for i in range(config.blocks_per_stage):
                blocks.append(BasicBlock(before, width, stride if i == 0 else 1))
                before = width
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images):
        """Images (B, C, H, W) to the vectors (B, 4 width) that the classifier reads."""
        check_image_size(images, self.config.image_size)
        x = F.relu(self.bn1(self.conv1(images)))  # (B, width, H, W)
        x = self.layer3(self.layer2(self.layer1(x)))  # (B, 4 width, H/4, W/4)
        return x.mean(dim=(2, 3))  # (B, 4 width)

    def forward(self, images):
        return self.fc(self.features(images))  # (B, K)


RESNET_PRESETS = {
    "CIFAR-ResNet-Nano": ResNetConfig(width=7, depth=8),
    "CIFAR-ResNet-Mini": ResNetConfig(width=15, depth=8),
    "CIFAR-ResNet-Micro": ResNetConfig(width=16, depth=8),
    "CIFAR-ResNet-Tiny": ResNetConfig(width=32, depth=8),
    "CIFAR-ResNet-Small": ResNetConfig(width=32, depth=14),
}
