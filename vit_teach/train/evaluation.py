"""Accuracy and loss of a model on a set of images. Chapter 8."""

import torch
import torch.nn.functional as F

from ..data.imageset import normalise
from .device import autocast, subnormals_dropped


@torch.no_grad()
@subnormals_dropped()
def evaluate(model, image_set, batch_size=500, precision="float32"):
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
