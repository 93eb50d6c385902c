"""A cell's model and what stands before it: a fixed shuffle, an enlargement. Chapters 10, 12."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import zoo
from ...arguments import SEEDS, one_of, require_type, whole, whole_pair
from ...vit.encoder import init_linear
from ...vit.patches import grid_size, patchify, to_pair, unpatchify
from ...zoo import Model

if TYPE_CHECKING:
    from .cells import Cell

DATA_SIZE = (32, 32)  # pixels of every image set that the experiments use
PERMUTATIONS = ("none", "patches", "pixels")


class Permuted(nn.Module):
    """A model that sees every image shuffled by one fixed order of its patches or pixels.

    The order is drawn once from ``seed``. Images (B, C, H, W) in, what ``model`` gives out. As
    part of the model the shuffle comes after augmentation, in training and in testing alike.
    Raises ``ValueError`` for another ``kind`` than "patches" or "pixels".

    >>> Permuted(nn.Identity(), "pixels", image_size=(4, 4))(torch.ones(1, 3, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    order: Tensor  # (N,)

    def __init__(
        self,
        model: nn.Module,
        kind: str,
        image_size: tuple[int, int] = (32, 32),
        patch_size: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_type("model", model, nn.Module, "a torch module")
        one_of("kind", kind, PERMUTATIONS[1:])
        whole_pair("image_size", image_size)
        whole("patch_size", patch_size, 1)
        whole("seed", seed, *SEEDS)
        self.model, self.image_size = model, image_size
        self.patch_size = patch_size if kind == "patches" else 1
        grid_size(image_size, self.patch_size)
        count = image_size[0] * image_size[1] // self.patch_size**2
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))  # (N,)
        self.register_buffer("order", order)

    def shuffle(self, images: Tensor) -> Tensor:
        """Put the patches (or pixels) of images (B, C, H, W) into the fixed order.

        >>> picture = torch.arange(16.0).view(1, 1, 4, 4)
        >>> shuffled = Permuted(nn.Identity(), "pixels", image_size=(4, 4)).shuffle(picture)
        >>> torch.equal(shuffled, picture), sorted(shuffled.flatten().tolist())[:3]
        (False, [0.0, 1.0, 2.0])
        """
        parts = patchify(images, self.patch_size)[:, self.order]  # (B, N, C P P)
        return unpatchify(parts, self.patch_size, self.image_size, images.shape[1])

    def forward(self, images: Tensor) -> Tensor:
        return self.model(self.shuffle(images))


class Enlarged(nn.Module):
    """A model for larger images than it is given: they are enlarged first, bicubic.

    Images (B, C, H, W) in, what ``model`` gives out. As part of the model the step comes after
    augmentation, so that a crop of 4 pixels stays one eighth of the picture.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano", image_size=48))
    >>> Enlarged(model)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        size = to_pair(self.model.config.image_size)
        return self.model(F.interpolate(images, size=size, mode="bicubic"))  # (B, K)


def build_model(cell: Cell, num_classes: int = 10) -> nn.Module:
    """The cell's model with fresh weights drawn from its seed.

    A model for larger images than the data's 32 pixels enlarges them.

    >>> from vit_teach.experiments import cell
    >>> type(build_model(cell("vit", 128, permutation="patches"))).__name__
    'Permuted'
    """
    torch.manual_seed(cell.seed)
    config = cell.config(num_classes)
    model: Model = zoo.build(config)
    if cell.init != "normal":
        init_linear(model.get_submodule("blocks"), cell.init)
    if cell.permutation != "none":
        return Permuted(model, cell.permutation, to_pair(config.image_size))
    return model if config.image_size == DATA_SIZE else Enlarged(model)
