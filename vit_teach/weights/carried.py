"""What a model carries beside its weights: how its pictures were normalised, its classes' names.

Both travel with the model: ``save`` writes them into the header, ``load`` puts them back, and
training, evaluation and the measures of attention use them without being told.

Chapter 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..arguments import require_type
from ..data.imageset import MEAN, STD

LARGEST = 1e30  # of a mean or a deviation; colours are 0 to 255 at most
Normalisation = tuple[tuple[float, ...], tuple[float, ...]]  # (mean, deviation), of colours 0 to 1


def inner(model: nn.Module) -> Any:
    """The model inside of what torch.compile and DataParallel put around it.

    A module of your own that holds a model is not looked into: it may change the pictures first.

    >>> layer = nn.Linear(2, 2)
    >>> inner(nn.DataParallel(layer)) is layer
    True
    """
    require_type("model", model, nn.Module, "a torch module")
    found: Any = model
    for name in ("_orig_mod", "module", "_orig_mod"):
        found = getattr(found, name, found)
    return found


def remember(
    model: nn.Module,
    normalisation: Normalisation | None = None,
    classes: Sequence[str] | None = None,
    preset: str | None = None,
) -> None:
    """Let a model carry (mean, deviation) of its pictures, its classes' names, its preset's name.

    None means: not known. The names belong to the classifier: they go with it when it is replaced.

    >>> layer = nn.Linear(2, 2)
    >>> remember(layer, ((0.5,) * 3, (0.25,) * 3))
    >>> normalisation_of(layer)
    ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    """
    own = inner(model)
    if not (classes is None or isinstance(classes, (list, tuple))):
        raise ValueError(f"classes={classes!r} must be None or a list of names")
    object.__setattr__(own, "normalisation", normalisation)
    object.__setattr__(own, "preset", preset)
    head = _head(own)
    if head is not None:
        object.__setattr__(head, "classes", None if classes is None else tuple(classes))


def normalisation_of(model: nn.Module) -> Normalisation:
    """(mean, deviation) of the pictures that a model was trained on; the book's where none is told.

    >>> normalisation_of(nn.Linear(2, 2)) == (MEAN, STD)
    True
    """
    known = getattr(inner(model), "normalisation", None)
    return (MEAN, STD) if known is None else known


def classes_of(model: nn.Module) -> tuple[str, ...] | None:
    """The names of a model's classes, or None where they are not known.

    >>> classes_of(nn.Linear(2, 2)) is None
    True
    """
    return getattr(_head(inner(model)), "classes", None)


def _head(own: Any) -> Any:
    """The classifier: of a ViT, of a ResNet, or None."""
    return getattr(own, "head", getattr(own, "fc", None))


def carried(model: nn.Module) -> dict[str, Any]:
    """What a model carries, as a file's header has it: "mean", "std", "classes", "preset".

    >>> carried(nn.Linear(2, 2))
    {}
    """
    own = inner(model)
    mean, std = getattr(own, "normalisation", None) or (None, None)
    found = {"mean": mean, "std": std, "classes": classes_of(own)}
    found["preset"] = getattr(own, "preset", None)
    return {name: value for name, value in found.items() if value is not None}


def checked(values: object) -> tuple[float, ...] | None:
    """A mean or a deviation as a file may hold it: numbers for one or three colours, else None.

    >>> checked([0.5, 0.5, 0.5]), checked([1, "x"])
    ((0.5, 0.5, 0.5), None)
    """
    if not isinstance(values, (list, tuple)) or len(values) not in (1, 3):
        return None
    # A comparison holds for no NaN, and takes an integer of any length, which a float does not.
    good = all(type(v) in (int, float) and abs(v) < LARGEST for v in values)
    return tuple(float(v) for v in values) if good else None
