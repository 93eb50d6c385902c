"""Accuracy and loss of a model on a set of images. Chapter 8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ..arguments import require_type
from ..data.imageset import ImageSet, normalise
from ..weights.carried import classes_of, normalisation_of
from .device import PRECISIONS, autocast, subnormals_dropped

if TYPE_CHECKING:
    from .config import TrainConfig

LOOKING = 0.05  # the largest part of a run of so many minutes that goes into looking
FEWEST = 250  # images: with fewer a look says little, so there are fewer looks instead


@torch.no_grad()
@subnormals_dropped()
def evaluate(
    model: nn.Module, image_set: ImageSet, batch_size: int = 500, precision: str = "float32"
) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy (nats) of ``model`` on an ``ImageSet``.

    The pictures are normalised as the model's own were (``vt.weights.normalisation_of``). The model
    is left in the mode (training or not) that it came in. Raises ``ValueError`` if the
    set is empty, or the model and the images do not belong together (:func:`check_classes`).

    >>> import vit_teach as vt
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> accuracy, loss = evaluate(model, vt.data.shapes(20, seed=0))
    >>> round(loss, 4)  # ln 10: a head of zeros gives each of 10 classes the same score
    2.3026
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model={type(model).__name__} must be a torch module")
    require_type("image_set", image_set, ImageSet, "an ImageSet")
    if len(image_set) == 0:
        raise ValueError("image_set of length 0 must hold at least one image")
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be 1 or more")
    if precision not in PRECISIONS[1:]:
        raise ValueError(f"precision={precision!r} must be one of {PRECISIONS[1:]}")
    check_classes(model, image_set)
    mean, std = normalisation_of(model)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right, loss = 0, 0.0
    for start in range(0, len(image_set), batch_size):
        pictures = image_set.images[start : start + batch_size].to(device)
        images = normalise(pictures, mean, std)  # (B, C, H, W)
        labels = image_set.labels[start : start + batch_size].to(device)
        with autocast(device, precision):
            logits = model(images).float()  # (B, K)
        check_scores(logits, image_set)
        right += (logits.argmax(dim=1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    model.train(was_training)
    return right / len(image_set), loss / len(image_set)


def check_scores(logits: torch.Tensor, image_set: ImageSet) -> None:
    """Raise ``ValueError`` unless logits (B, K) have a score for each class of the images.

    >>> import vit_teach as vt
    >>> check_scores(torch.zeros(20, 10), vt.data.shapes(20, seed=0))
    """
    if logits.ndim != 2 or logits.shape[1] != len(image_set.classes):
        raise ValueError(
            f"model gives scores of shape {tuple(logits.shape)}; they must be (B, "
            f"{len(image_set.classes)}), for the number of classes of the images"
        )


def check_classes(model: nn.Module, image_set: ImageSet) -> None:
    """Raise ``ValueError`` if a model's classes or colours are not those of the images.

    That is: another number of classes, the same names in another order, one channel of colour.

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
    names = classes_of(model)
    if names is not None and names != wanted and sorted(names) == sorted(wanted):
        raise ValueError(
            f"image_set has the classes {wanted[:3]}... and the model {names[:3]}...: the same "
            "names in another order"
        )
    channels = getattr(getattr(inner, "config", None), "in_channels", 3)
    if channels != image_set.images.shape[1]:
        raise ValueError(
            f"in_channels={channels} of the model must be 3, the colours of the images: "
            "vt.weights.load(..., in_channels=3) makes it so"
        )


@dataclass(frozen=True)
class Looks:
    """How often a run looks at its validation images: ``count`` times, the last time at all.

    ``images`` is how many a look on the way takes, as many of each class; None takes all.

    >>> sorted(Looks(4).steps(100))
    [25, 50, 75, 100]
    """

    count: int
    images: int | None = None

    def steps(self, steps: int) -> set[int]:
        """After which of ``steps`` steps the looks come: evenly, the last at the end."""
        return {round(steps * part / self.count) for part in range(1, self.count + 1)}

    def seconds(self, per_image: float, images: int) -> float:
        """How long they take together, with ``images`` validation images."""
        on_the_way = images if self.images is None else self.images
        return per_image * ((self.count - 1) * on_the_way + images)

    def note(self, images: int) -> str:
        """What a reader of the curve must know, with ``images`` validation images: often nothing.

        >>> Looks(4, images=300).note(5000)
        'the looks on the way took 300 of the 5,000 validation images, the last look took all'
        """
        if self.images is None:
            return ""
        return (
            f"the looks on the way took {self.images:,} of the {images:,} validation images, "
            "the last look took all"
        )


def looks_within(seconds: float, per_image: float, images: int, config: TrainConfig) -> Looks:
    """The looks that fit into ``seconds``, of at most ``config.evaluations``; one at least.

    ``images`` is the number of validation images, ``per_image`` the seconds for one of them. What
    does not fit makes the looks on the way smaller, and then fewer. Where the best of them decides
    (``keep="best"``) each takes all images, so there are only fewer.

    >>> from vit_teach.train import TrainConfig
    >>> looks_within(6, 0.0007, 5000, TrainConfig(minutes=2))
    Looks(count=10, images=396)
    >>> looks_within(30, 0.0007, 5000, TrainConfig(minutes=10))
    Looks(count=10, images=4206)
    """
    count, whole = config.evaluations, images * per_image
    if count * whole <= seconds or count == 1:
        return Looks(count)
    if config.keep == "best":
        return Looks(max(1, int(seconds / whole)))
    on_the_way = int(max(0.0, seconds - whole) / per_image)  # images, of all looks but the last
    size = min(images, max(on_the_way // (count - 1), FEWEST))
    count = min(count, 1 + on_the_way // size)
    return Looks(count, size if count > 1 and size < images else None)
