"""Augmentations that mix two images and their labels: mixup and CutMix. Chapter 9."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import finite, require_tensor, require_type, whole
from .batch import beside, check_images, draw_whole, per_image
from .geometry import rectangles


def _check_mix(images: Tensor, targets: Tensor, alpha: float) -> None:
    check_images(images, torch.float32)
    require_tensor("targets", targets)
    if targets.ndim != 2 or len(targets) != len(images):
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}; it must be (B, K) for {len(images)} images"
        )
    if not finite("alpha", alpha, -1e6, 1e6) > 0:
        raise ValueError(f"alpha={alpha} must be above 0")


def draw_shares(images: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The share that each image keeps, from Beta(alpha, alpha), and the partner it mixes with.

    Torch's Beta takes no generator, so numpy draws it, from a seed that our generator gives.
    Returns shares (B,) and partners (B,) as indices.

    >>> shares, partners = draw_shares(torch.zeros(3, 1, 4, 4), 1.0, torch.Generator())
    >>> sorted(partners.tolist())
    [0, 1, 2]
    """
    batch = len(images)
    beta = np.random.default_rng(int(draw_whole(generator, 2**62)))
    shares = torch.from_numpy(beta.beta(alpha, alpha, batch)).float()
    partners = torch.randperm(batch, generator=generator, device=generator.device)
    return beside(shares, images), beside(partners, images)


def mixup(
    images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Average each image with another of the batch, and their targets alike (Zhang et al., 2018).

    ``images`` is (B, C, H, W) float32, ``targets`` (B, K); the share that an image keeps is drawn
    from Beta(``alpha``, ``alpha``) for each image anew (the paper's code draws one for the batch).
    Returns both in the same shapes; rows of targets that sum to 1 still do. Section 2 of the paper.

    >>> images, targets = mixup(
    ...     torch.rand(2, 3, 6, 8), torch.eye(2), 1.0, torch.Generator().manual_seed(0))
    >>> targets.sum(1)
    tensor([1., 1.])
    """
    _check_mix(images, targets, alpha)
    shares, partners = draw_shares(images, alpha, generator)
    mixed = torch.lerp(
        images[partners], images, per_image("shares", shares, images)
    )  # (B, C, H, W)
    return mixed, torch.lerp(targets[partners], targets, shares[:, None])


def cutmix(
    images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another image into each; targets share by area (Yun et al., 2019).

    ``images`` is (B, C, H, W) float32, ``targets`` (B, K); the area that an image keeps is drawn
    from Beta(``alpha``, ``alpha``) for each image anew. The rectangle has the image's shape and its
    centre anywhere, so the edge may cut it; the targets follow the area that is really pasted.
    Returns both in the same shapes. Section 3 of the paper.

    >>> images, targets = cutmix(
    ...     torch.rand(2, 3, 6, 8), torch.eye(2), 1.0, torch.Generator().manual_seed(0))
    >>> targets.sum(1)
    tensor([1., 1.])
    """
    _check_mix(images, targets, alpha)
    shares, partners = draw_shares(images, alpha, generator)
    batch, _, height, width = images.shape
    side = (1 - shares).sqrt()  # (B,) rectangle's side as a part of the picture's
    tall, wide = (height * side).round().long(), (width * side).round().long()  # (B,)
    top = beside(draw_whole(generator, height, batch), images) - tall // 2  # (B,)
    left = beside(draw_whole(generator, width, batch), images) - wide // 2  # (B,)
    pasted = rectangles(top, left, top + tall, left + wide, (height, width))  # (B, 1, H, W)
    kept = 1 - pasted.float().mean((2, 3))  # (B, 1)
    mixed = torch.where(pasted, images[partners], images)  # (B, C, H, W)
    return mixed, torch.lerp(targets[partners], targets, kept)


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as rows of targets: 1 at the label, 0 elsewhere.

    ``labels`` is (B,) int64, each from 0 to ``num_classes`` - 1. Returns (B, K) float32. Raises
    ``ValueError`` for another shape, type or label.

    >>> one_hot(torch.tensor([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    require_type("labels", labels, Tensor, "a tensor (B,)")
    whole("num_classes", num_classes, 1)
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} and dtype {labels.dtype}; "
            "it must be (B,) torch.int64"
        )
    if len(labels) and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(
            f"labels range over {int(labels.min())}..{int(labels.max())}; "
            f"each must lie in 0..{num_classes - 1}"
        )
    return F.one_hot(labels, num_classes).float()  # (B, K)
