"""Weights that several cells start from: trained once, kept, made again if gone. Chapter 12.

A cell's ``start`` is another cell. Its trained weights lie in a file whose name holds a digest of
everything that made them, so weights of other settings or other images are never taken for them.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor, nn

from ... import weights
from ...data.imageset import ImageSet
from ...train.evaluation import evaluate
from ...train.loop import train
from ...vit.embedding import resize_positions
from .cells import Cell
from .images import load_sets
from .wrappers import build_model

HEADS = ("head.", "fc.")  # how the classifier's weights are called: of a ViT, of a ResNet
_MADE: dict[
    str, tuple[dict[str, Tensor], dict[str, Any]]
] = {}  # digest -> (weights, facts): of this process, for runs that keep no files


def digest(start: Cell, train_set: ImageSet) -> str:
    """12 hexadecimal digits that name a training: its settings, length, seed and images.

    >>> from vit_teach.experiments import cell
    >>> from vit_teach.data import shapes
    >>> short, long = cell("vit", 128), cell("vit", 256)
    >>> digest(short, shapes(9, seed=0)) == digest(long, shapes(9, seed=0))
    False
    """
    named = {**start.settings(), "steps": start.train.steps, "seed": start.seed}
    named |= {"precision": start.train.precision, "images": train_set.fingerprint()}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]


def start_weights(
    start: Cell, folder: str | Path | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of the cell ``start`` after its training, and facts about it; trains if need be.

    Returns (state dict, {"start_val_accuracy", "start_seconds"}). ``folder`` keeps the weights for
    the other cells that start from them, and the checkpoint of a training that was stopped; a
    second process waits for the first. None keeps them in memory. The learning rate of ``start``
    must be set (:func:`vit_teach.experiments.lab.rates.with_chosen_rate`).
    """
    train_set, validation_set, _ = load_sets(start)
    name = digest(start, train_set)
    if folder is None:
        if name not in _MADE:
            model, facts = _train(start, train_set, validation_set, None)
            _MADE[name] = model.state_dict(), facts
        return _MADE[name]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{start.name}-{name}.safetensors"
    with FileLock(folder / f"{name}.lock"):
        if not path.exists():
            model, facts = _train(start, train_set, validation_set, folder / name)
            weights.save(model, path, **facts)
            shutil.rmtree(folder / name, ignore_errors=True)
    header = weights.read_metadata(path)
    facts = {name: header[name] for name in ("start_val_accuracy", "start_seconds")}
    return weights.load(path).state_dict(), facts


def _train(
    start: Cell, train_set: ImageSet, validation_set: ImageSet, folder: str | Path | None
) -> tuple[nn.Module, dict[str, Any]]:
    model = build_model(start, len(train_set.classes))
    model, history = train(model, train_set, validation_set, start.train, folder, quiet=True)
    accuracy = history.kept["val_accuracy"]
    return model, {"start_val_accuracy": accuracy, "start_seconds": history.seconds}


def begin(
    model: nn.Module, cell: Cell, validation_set: ImageSet, folder: str | Path | None = None
) -> dict[str, Any]:
    """Give ``model`` the weights that its cell starts from; returns what to note in the card.

    Without a ``start`` nothing happens. The classifier is taken over only if the classes are the
    same. For a model of another image size the position table is resized by the cell's rule; then
    the card holds the accuracy before any training ("before_val_accuracy") and the mean length of
    a row of the table in the start and after resizing ("start_row_norm", "before_row_norm").

    >>> from vit_teach.experiments import cell
    >>> begin(None, cell("vit", 128), None)
    {}
    """
    if cell.start is None:
        return {}
    weights, found = start_weights(cell.start, folder)
    weights, found = dict(weights), dict(found)
    inner: Any = getattr(model, "model", model)  # inside the part that enlarges the images
    if cell.start.classes != cell.classes:
        weights = {name: w for name, w in weights.items() if not name.startswith(HEADS)}
    before: Any = cell.start.config()  # of a ViT, where it is of another size
    resized = before.image_size != inner.config.image_size
    if resized:
        old, new = before.grid_size, inner.config.grid_size
        prefix, table = int(inner.config.class_token), weights["pos_embed"]
        weights["pos_embed"] = resize_positions(table, old, new, cell.rule, prefix)
        found["start_row_norm"] = row_norm(table, prefix)
        found["before_row_norm"] = row_norm(weights["pos_embed"], prefix)
    missing, unexpected = inner.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith(HEADS) for name in missing):
        raise ValueError(f"start={cell.start.name!r} does not fit {cell.name!r}: it must be alike")
    if resized:
        found["before_val_accuracy"], _ = evaluate(model, validation_set)
    return found


def row_norm(table: Tensor, prefix_tokens: int = 0) -> float:
    """The mean Euclidean length of the patches' rows of a position table (1, prefix + N, D).

    >>> import torch
    >>> row_norm(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    3.0
    """
    return table.detach()[0, prefix_tokens:].norm(dim=1).mean().item()
