"""Accuracy and loss of a model on a set of images. Chapter 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ..data.imageset import normalise
from .device import PRECISIONS, autocast, subnormals_dropped

if TYPE_CHECKING:
    from ..data.imageset import ImageSet


@torch.no_grad()
@subnormals_dropped()
def evaluate(
    model: nn.Module, image_set: ImageSet, batch_size: int = 500, precision: str = "float32"
) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy (nats) of ``model`` on an ``ImageSet``.

    The model is left in the mode (training or not) that it came in. Raises ``ValueError`` if the
    set is empty.

    >>> import vit_teach as vt
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> accuracy, loss = evaluate(model, vt.data.shapes(20, seed=0))
    >>> round(loss, 4)  # ln 10: a head of zeros gives each of 10 classes the same score
    2.3026
    """
    if len(image_set) == 0:
        raise ValueError("image_set of length 0 must hold at least one image")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be 1 or more")
    if precision not in PRECISIONS[1:]:
        raise ValueError(f"precision={precision!r} must be one of {PRECISIONS[1:]}")
    check_classes(model, image_set)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right, loss = 0, 0.0
    for start in range(0, len(image_set), batch_size):
        images = normalise(image_set.images[start : start + batch_size]).to(device)
        labels = image_set.labels[start : start + batch_size].to(device)
        with autocast(device, precision):
            logits = model(images).float()  # (B, K)
        right += (logits.argmax(dim=1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    model.train(was_training)
    return right / len(image_set), loss / len(image_set)


def check_classes(model: nn.Module, image_set: ImageSet) -> None:
    """Raise ``ValueError`` if a model says that it has another number of classes than the images.

    >>> import vit_teach as vt
    >>> model = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano", num_classes=5))
    >>> check_classes(model, vt.data.shapes(20, seed=0))
    Traceback (most recent call last):
    ...
    ValueError: num_classes=5 of the model must be 10, the number of classes of the images
    """
    inner = getattr(model, "model", model)  # inside the part that shuffles or enlarges the images
    own, wanted = getattr(getattr(inner, "config", None), "num_classes", None), image_set.classes
    if own is not None and own != len(wanted):
        raise ValueError(
            f"num_classes={own} of the model must be {len(wanted)}, "
            "the number of classes of the images"
        )
