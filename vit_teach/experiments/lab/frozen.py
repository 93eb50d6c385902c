"""A frozen, pre-trained ViT: which one, and its features, computed once and kept. Chapters 11, 14.

The weights are not part of the repository. ``VIT_TEACH_PRETRAINED`` names them: a file, a folder,
or a name such as ``huggingface:facebook/dinov2-small``, whatever :func:`vit_teach.weights.load`
takes.
"""

import hashlib
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ... import weights, zoo
from ...data.imageset import normalise
from ...paths import written_whole
from ...train.device import autocast
from ...vit.model import VisionTransformer
from ...vit.patches import to_pair
from .measurement import digest

VARIABLE = "VIT_TEACH_PRETRAINED"
# Mean and deviation of ImageNet's pixels, in 0 to 1: DINOv2 was trained with them.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHUNK = 250  # pictures whose features go into one file: seconds to a minute of work
BATCH = 25


def source(environment: Mapping[str, str] = os.environ) -> str:
    """What ``VIT_TEACH_PRETRAINED`` says. Raises ``ValueError`` where it says nothing.

    >>> source({})
    Traceback (most recent call last):
    ...
    ValueError: VIT_TEACH_PRETRAINED=None must name pre-trained weights: a file, a folder, or ...
    """
    named = environment.get(VARIABLE)
    if not named:
        raise ValueError(
            f"{VARIABLE}={named!r} must name pre-trained weights: a file, a folder, or a name such "
            "as huggingface:facebook/dinov2-small"
        )
    return named


def check(quick: bool) -> None:
    """Raise ``ValueError`` if a full form has no weights; a quick one takes the book's own.

    >>> check(quick=True)
    """
    if not quick:
        source()


def load_frozen(size: int) -> VisionTransformer:
    """The pre-trained model for pictures of ``size`` pixels, with a blank head, for evaluation.

    The position table is resized by the rule of Hugging Face's code, "hf". A file that does not say
    how its pictures were normalised gets ImageNet's mean and deviation, as DINOv2 has them.
    """
    model: Any = weights.load(source(), num_classes=1, image_size=size, rule="hf")
    model.normalisation = model.normalisation or IMAGENET
    return model


def described(model: VisionTransformer) -> dict[str, str]:
    """Which weights these are, for a card: what their file says of itself, and a digest.

    The digest leaves the position table out, which is another one for every image size.

    >>> import vit_teach as vt
    >>> len(described(vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano")))["digest"])
    12
    """
    path = Path(os.environ.get(VARIABLE, "")).expanduser()
    said = path.name or "given"
    if path.is_file() and path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("source", said)
    return {"source": said, "digest": digest(model.blocks)}


# --- Features -------------------------------------------------------------------------------------


def features(
    model: zoo.Model,
    images: Tensor,
    precision: str = "float32",
    folder: str | Path | None = None,
) -> tuple[Tensor, float]:
    """What a classifier on top of a frozen model would read: uint8 (N, 3, H, W) to float32 (N, D).

    For DINOv2 that is the class token of the last block, behind the last norm. Pictures are
    normalised as the model wants and enlarged to its size, bicubic. Returns the features and the
    mean time of a picture in core seconds. What was computed once lies under ``folder``, a file for
    every ``CHUNK`` pictures, and is not computed again: not after a stop, and not for another set
    that holds the same pictures. ``folder=None`` keeps nothing.

    >>> from vit_teach.data import shapes
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> features(model, shapes(4, seed=0).images)[0].shape
    torch.Size([4, 64])
    """
    if folder is None:
        began = time.process_time()
        found = _compute(model, images, precision)
        return found, (time.process_time() - began) / len(images)
    size = "x".join(map(str, to_pair(model.config.image_size)))
    folder = Path(folder) / f"{digest(model)}-{size}-{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    keys = [hashlib.sha256(picture.numpy().tobytes()).hexdigest()[:16] for picture in images]
    known, times = _read(folder)
    if any(key not in known for key in keys):
        with FileLock(folder / "lock"):
            known, times = _read(folder)  # what another process has computed meanwhile
            missing = [i for i, key in enumerate(keys) if key not in known]
            for start in range(0, len(missing), CHUNK):
                index = missing[start : start + CHUNK]
                names = [keys[i] for i in index]
                found, seconds = _keep(folder, model, images[index], names, precision)
                known.update(zip(names, found, strict=True))
                times.append(seconds)
    return torch.stack([known[key] for key in keys]), statistics.fmean(times)


def _keep(
    folder: Path, model: zoo.Model, images: Tensor, names: Sequence[str], precision: str
) -> tuple[Tensor, float]:
    """Compute the features of one file and write it; returns them and core seconds a picture."""
    began = time.process_time()
    found = _compute(model, images, precision)  # (n, D)
    seconds = (time.process_time() - began) / len(images)
    about = {"keys": " ".join(names), "seconds": str(seconds)}
    with written_whole(folder / f"{names[0]}.safetensors") as temporary:
        save_file({"features": found}, temporary, metadata=about)
    return found, seconds


def _read(folder: Path) -> tuple[dict[str, Tensor], list[float]]:
    """All features that a folder holds, by the key of the picture, and seconds a picture."""
    known: dict[str, Tensor] = {}
    times: list[float] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
        times.append(float(about["seconds"]))
        known.update(zip(about["keys"].split(), load_file(path)["features"], strict=True))
    return known, times


def _compute(model: zoo.Model, images: Tensor, precision: str) -> Tensor:
    """The features of a few pictures, in batches."""
    size, parts = to_pair(model.config.image_size), []
    with torch.inference_mode(), autocast(torch.device("cpu"), precision):
        for pictures in images.split(BATCH):
            pictures = normalise(pictures, *weights.normalisation_of(model))
            larger = F.interpolate(pictures, size=size, mode="bicubic")  # (B, 3, *size)
            parts.append(model.features(larger).float())
    return torch.cat(parts).clone()
