"""Looking into a model from outside: what a shift does to it. Chapter 10.

Nothing here needs to know how a model works. A function that turns images (B, C, H, W) into maps
(B, D, h, w) is shifted, or differentiated, and what comes out is compared. What the attention
weights inside a model say is measured in ``vit_teach.probe``.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import explained, finite, require_tensor
from ..baselines.resnet import ResNet
from ..vit.model import VisionTransformer


@explained
def feature_maps(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The maps (B, D, h, w) inside a model, by name, from the first layer to the last.

    ``images`` is (B, C, H, W). A ViT or hybrid gives "patch_embed", "blocks.0", ... and "norm",
    its patch tokens laid out on their grid; a ResNet "conv1", "layer1.0", ... The last map is the
    one that is averaged before the classifier. Raises ``ValueError`` for another kind of model.

    >>> from vit_teach import zoo
    >>> maps = feature_maps(zoo.build(zoo.preset("CIFAR-ResNet-Nano")), torch.zeros(2, 3, 32, 32))
    >>> {name: tuple(map_.shape) for name, map_ in maps.items()}
    {'conv1': (2, 7, 32, 32), 'layer1.0': (2, 7, 32, 32), 'layer2.0': (2, 14, 16, 16),
     'layer3.0': (2, 28, 8, 8)}
    """
    require_tensor("images", images, "(B, C, H, W)")
    if isinstance(model, VisionTransformer):
        _, out = model(images, intermediates=True)
        names = ["patch_embed", *(f"blocks.{i}" for i in range(len(model.blocks))), "norm"]
        gh, gw = model.config.grid_size
        return {n: out[n][:, -gh * gw :].mT.unflatten(2, (gh, gw)) for n in names}  # (B, D, gh, gw)
    if isinstance(model, ResNet):
        x = F.relu(model.bn1(model.conv1(images)))  # (B, width, H, W)
        maps = {"conv1": x}
        for number in (1, 2, 3):
            for i, block in enumerate(getattr(model, f"layer{number}")):
                x = maps[f"layer{number}.{i}"] = block(x)
        return maps
    raise ValueError(f"model={type(model).__name__} must be a VisionTransformer, Hybrid or ResNet")


def last_map(model: nn.Module, images: Tensor) -> Tensor:
    """The last of :func:`feature_maps`, (B, D, h, w), for images (B, C, H, W); no gradients.

    >>> from vit_teach import zoo
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> last_map(model, torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64, 4, 4])
    """
    with torch.no_grad():
        return list(feature_maps(model, images).values())[-1]


def shifted(x: Tensor, down: float = 0, right: float = 0) -> Tensor:
    """A map or picture (B, C, H, W) moved in a circle: what leaves on one side enters opposite.

    ``down`` and ``right`` are in cells of ``x``. A fraction is a weighted mean of the two whole
    moves next to it. Returns (B, C, H, W).

    >>> row = torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> shifted(row, right=1)
    tensor([[[[4., 1., 2., 3.]]]])
    >>> shifted(row, right=0.5)
    tensor([[[[2.5000, 1.5000, 2.5000, 3.5000]]]])
    """
    require_tensor("x", x, "(B, C, H, W)")
    finite("down", down, -(2**31), 2**31)
    finite("right", right, -(2**31), 2**31)
    for amount, axis in ((down, 2), (right, 3)):
        whole = int(amount // 1)
        part = amount - whole
        x = torch.roll(x, whole, axis)  # (B, C, H, W)
        if part:
            x = (1 - part) * x + part * torch.roll(x, 1, axis)  # (B, C, H, W)
    return x


@explained
def equivariance_error(
    function: Callable[[Tensor], Tensor], images: Tensor, down: float = 0, right: float = 0
) -> float:
    """How far f(shifted picture) is from shifted f(picture), for circular shifts in pixels.

    ``function`` turns images (B, C, H, W) into maps (B, D, h, w); a shift by H / h pixels is one
    cell of the map. The result is the length of the difference divided by the length of the map
    without each channel's mean, so that what is the same everywhere does not count: 0 means that
    the map moves along exactly, sqrt(2) that it is as different as an unrelated one. Raises
    ``ValueError`` if ``function`` does not return a map, or the map is the same everywhere.

    >>> images = torch.rand(2, 3, 8, 12)
    >>> blur = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
    >>> equivariance_error(blur, images, right=5) < 1e-5
    True
    """
    require_tensor("images", images, "(B, C, H, W)")
    with torch.no_grad():
        expected, found = function(images), function(shifted(images, down, right))
    if expected.ndim != 4:
        raise ValueError(f"function gave shape {tuple(expected.shape)}, it must be (B, D, h, w)")
    cell_h, cell_w = images.shape[2] / expected.shape[2], images.shape[3] / expected.shape[3]
    spread = (expected - expected.mean(dim=(2, 3), keepdim=True)).norm()
    if spread == 0:
        raise ValueError("function gave a map that is the same everywhere: any shift fits it")
    expected = shifted(expected, down / cell_h, right / cell_w)  # (B, D, h, w)
    return ((found - expected).norm() / spread).item()


@explained
def invariance_error(
    function: Callable[[Tensor], Tensor], images: Tensor, down: float = 0, right: float = 0
) -> float:
    """How far f(shifted picture) is from f(picture), for circular shifts in pixels.

    ``function`` turns images (B, C, H, W) into vectors (B, D). The result is the length of the
    difference divided by the spread between the pictures: 0 means that the shift changes nothing,
    sqrt(2) that it changes as much as taking another picture. Raises ``ValueError`` if there are
    not two pictures that differ.

    >>> invariance_error(lambda x: x.mean(dim=(2, 3)), torch.rand(4, 3, 8, 12), right=5) < 1e-5
    True
    """
    require_tensor("images", images, "(B, C, H, W)")
    with torch.no_grad():
        expected, found = function(images), function(shifted(images, down, right))
    if expected.ndim != 2:
        raise ValueError(f"function gave shape {tuple(expected.shape)}, it must be (B, D)")
    spread = (expected - expected.mean(dim=0)).norm()
    if spread == 0:
        raise ValueError("images must be at least two that function tells apart")
    return ((found - expected).norm() / spread).item()
