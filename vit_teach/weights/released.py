"""Released models: open a file of any known layout, fit it to your images and classes. Chapter 12.

The steps stand in files of their own: ``opening`` (what a file holds), ``layouts`` and ``parts``
(names), ``sizes``, ``facts`` and ``settling`` (what they leave open), ``fitting`` (other classes,
another size), ``fetching`` (by a library's name).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .. import cost, zoo
from ..vit.embedding import RESIZE_RULES
from ..vit.model import VisionTransformer, ViTConfig
from ..vit.patches import Size
from . import facts as known
from . import files
from .carried import classes_of, remember
from .fetching import library_of
from .files import check_fit, load_strict
from .fitting import adapt
from .layouts import State
from .opening import find
from .settling import open_source


def load(
    source: str | Path,
    num_classes: int | None = None,
    image_size: Size | None = None,
    num_heads: int | None = None,
    rule: str = "google",
    *,
    pool: str | None = None,
    trained_size: Size | None = None,
    in_channels: int | None = None,
    key: str | None = None,
    architecture: str | None = None,
) -> zoo.Model:
    """A trained model from a file, a folder or a library, in float32 and evaluation mode.

    ``source`` is a local file of any ending (one of ours, Google's or big_vision's ``.npz``,
    safetensors, PyTorch), a folder as Hugging Face and timm write it, or "timm:NAME",
    "torchvision:NAME" or "huggingface:NAME", which fetches the weights by that library.
    ``num_classes`` makes a new, zero head for so many classes (None keeps the file's);
    ``image_size`` (pixels) resizes the position table by ``rule``, one of ``RESIZE_RULES``;
    ``in_channels`` fits the projection to grey (1) or coloured (3) pictures.

    The other arguments answer what a file may leave open, if no header, no ``config.json`` beside
    it, no library's model and no published size does: ``num_heads``; ``pool``, "cls" or "mean";
    ``trained_size``, the image size in pixels that the file's position table is for; ``key``, the
    state dict that is meant; ``architecture``, timm's name for the model. What is assumed, and how
    the model differs from the original, is printed in one line. ``model.normalisation`` is the
    (mean, deviation) of the pictures it was trained on, or None where nothing says it.

    Raises ``ValueError`` for a file that cannot be read or does not hold a plain ViT, or for an
    argument that is needed or contradicts the file; ``RuntimeError`` that says what to fetch where
    a library or the network is missing.

    >>> load("no-such-file.npz")
    Traceback (most recent call last):
    ...
    ValueError: source='no-such-file.npz' must be an existing file or folder, or one of ...
    """
    if rule not in RESIZE_RULES:
        raise ValueError(f"rule={rule!r} must be one of {RESIZE_RULES}")
    given: dict[str, Any] = {"num_heads": num_heads, "pool": pool, "trained_size": trained_size}
    ours = _ours(source)
    if ours is not None:
        opened = _open_ours(ours, given)
        if num_classes is image_size is in_channels is None:
            return opened
        fitted = adapt(
            opened.state_dict(), opened.config, num_classes, image_size, rule, in_channels
        )
        carried = {"normalisation": getattr(opened, "normalisation", None)}
        if num_classes is None:  # a new classifier has other classes
            carried["classes"] = classes_of(opened)
        return _filled(*fitted, source, carried)
    found = open_source(
        source, num_classes=num_classes, image_size=image_size, key=key,
        architecture=architecture, **given,
    )  # fmt: skip
    state, config = adapt(found.state, found.config, num_classes, image_size, rule, in_channels)
    model = _filled(state, config, source, {"normalisation": found.normalisation})
    print(found.line(Path(source).name or str(source)))
    return model


def _ours(source: str | Path) -> Path | None:
    """The path of a file that ``save`` wrote, or None."""
    if library_of(source)[0]:
        return None
    paths = find(source)
    return paths[0] if len(paths) == 1 and files.is_ours(paths[0]) else None


def _open_ours(path: Path, given: dict[str, Any]) -> zoo.Model:
    """One of our own models; an argument that contradicts its header is refused."""
    model = files.load(path)
    for name, value in given.items():
        own = getattr(model.config, {"trained_size": "image_size"}.get(name, name), None)
        if value is not None and known.pair(value) != known.pair(own):
            raise ValueError(f"{name}={value!r} must be {own!r}: the header of {path} says so")
    return model


def _filled(
    state: State, config: ViTConfig, source: str | Path, carried: dict[str, Any]
) -> VisionTransformer:
    """The model of ``config`` with the weights of ``state``, in evaluation mode."""
    if cost.parameters(config) != sum(tensor.numel() for tensor in state.values()):
        with torch.device("meta"):  # shapes without memory: a file can imply any size
            check_fit(zoo.build(config), state, source)
    model = zoo.build(config)
    load_strict(model, state, source)
    remember(model, **carried)
    return model.eval()
