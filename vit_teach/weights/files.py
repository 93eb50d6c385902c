"""Weights on disk. Chapter 12.

Our files are safetensors: numbers and a header, no code. The header says how to rebuild the model.
For other people's weights, ``layouts`` knows their names and ``released`` opens their files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import zoo
from ..arguments import require_type
from ..paths import WEIGHTS, as_path, written_whole
from .carried import carried, checked, inner, remember
from .layouts import State

FORMAT = "vit_teach 1"


def save(model: nn.Module, path: str | Path, half: bool = False, **metadata: Any) -> Path:
    """Write a model's weights and configuration to a safetensors file.

    ``half`` stores float16 numbers, two bytes each. ``metadata`` (plain values: an accuracy, a data
    source) goes into the header, and with it what the model carries (:func:`remember`): the
    ``mean`` and ``std`` of its pictures, its ``classes``, its ``preset``. A compiled or parallel
    model is saved as the model inside. The file is complete or not there. Returns the path.

    Raises ``ValueError`` for what :func:`load` would not take: another class of model, a number
    that is not finite (also one too large for float16), or, in ``metadata``, a number that JSON
    does not have.

    >>> import tempfile, vit_teach as vt
    >>> model = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(model, Path(folder) / "nano.safetensors", test_accuracy=0.5)
    ...     read_metadata(path)["test_accuracy"], load(path).config == model.config
    (0.5, True)
    """
    path, own = as_path(path, "path"), _unwrapped(model)
    metadata = {**carried(own), **metadata}
    tensors = {name: _stored(name, t, half) for name, t in own.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "format": FORMAT,
        "config": json.dumps(zoo.config_to_dict(own.config)),
        "metadata": json.dumps(metadata, allow_nan=False),
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)
        _sort_header(temporary)
    return path


def _sort_header(path: Path) -> None:
    """Put the metadata of a safetensors file in order: equal models then give equal files.

    The library writes them in an order that changes from run to run.
    """
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:end])
    metadata = dict(sorted(entries.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def _unwrapped(model: nn.Module) -> zoo.Model:
    """The package's own model inside of what torch.compile and DataParallel put around it."""
    inside = inner(model)
    if type(inside) not in [kind for _, kind in zoo.KINDS.values()]:
        raise ValueError(
            f"model={type(model).__name__} must be one of the package's models. If one is inside "
            "of it, save that, as in save(model.model, ...)"
        )
    return inside


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """A tensor as a file holds it; ``ValueError`` for a number that is not finite."""
    tensor = tensor.detach().cpu().contiguous()
    stored = tensor.half() if half and tensor.is_floating_point() else tensor
    if not stored.isfinite().all():
        limit = ": float16 ends at 65504, use half=False" if tensor.isfinite().all() else ""
        raise ValueError(f"model holds a number that is not finite, in {name}{limit}")
    return stored


def is_ours(path: str | Path) -> bool:
    """Whether ``path`` is a safetensors file whose header says that :func:`save` wrote it.

    >>> is_ours("no-such-file.safetensors")
    False
    """
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
        return False


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What the header of one of our files says: ``{"config": ..., and what save was given}``.

    Raises ``ValueError`` if the file cannot be read or is not ours.

    >>> read_metadata("no-such-file.safetensors")
    Traceback (most recent call last):
    ...
    ValueError: path='no-such-file.safetensors' must be an existing file
    """
    if not as_path(path, "path").is_file():
        raise ValueError(f"path={str(path)!r} must be an existing file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by vit_teach: format={header.get('format')!r} must be "
            f"{FORMAT!r}. For another library's weights use vt.weights.load"
        )
    try:
        config = zoo.config_from_dict(json.loads(header["config"]))
        return {**json.loads(header["metadata"]), "config": config}
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} has a damaged header: {error}") from error


def load(path: str | Path) -> zoo.Model:
    """The model in one of our files, in float32 and evaluation mode.

    ``model.normalisation`` is (mean, deviation) of the pictures it was trained on, if the header
    has ``mean`` and ``std``, else None.

    Raises ``ValueError`` if the file cannot be read, is not ours, does not hold exactly the
    model's parameters, or holds a number that is not finite.

    >>> load("no-such-file.safetensors")
    Traceback (most recent call last):
    ...
    ValueError: path='no-such-file.safetensors' must be an existing file
    """
    metadata, state = read_metadata(path), load_file(path)
    config = metadata["config"]
    if config.depth > len(state):  # a header can claim any size: believe the tensors
        raise ValueError(f"{path} does not fit the model: too few tensors for depth={config.depth}")
    try:
        with torch.device("meta"):  # shapes without memory
            check_fit(zoo.build(config), state, path)
    except (RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} describes a model that cannot be built: {reason}") from error
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path} holds a number that is not finite, in {name}")
    model = zoo.build(config)
    load_strict(model, state, path)
    remember(model, **_carried(metadata, path))
    return model.eval()


def _carried(metadata: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """What a file's metadata tell a model to carry; ``ValueError`` for what cannot be right."""
    mean, std = checked(metadata.get("mean")), checked(metadata.get("std"))
    for name, found in (("mean", mean), ("std", std)):
        if metadata.get(name) is not None and (
            found is None or (name == "std" and min(found) <= 0)
        ):
            raise ValueError(
                f"{path} has a damaged header: {name}={metadata[name]!r} must be a number for each "
                "colour" + (", above 0" if name == "std" else "")
            )
    classes, preset = metadata.get("classes"), metadata.get("preset")
    if not isinstance(classes, list) or len(classes) != metadata["config"].num_classes:
        classes = None
    return {
        "normalisation": (mean, std) if mean and std else None,
        "classes": classes and [str(name) for name in classes],
        "preset": preset if isinstance(preset, str) else None,
    }


def recorded(name: str) -> zoo.Model:
    """One of the book's own trained models: data/weights/NAME.safetensors of the repository.

    Raises ``ValueError`` if there is no such file.

    >>> recorded("cifar-vit-20min").config.embed_dim
    128
    """
    if not WEIGHTS.is_dir():
        raise ValueError(
            f"name={name!r} is not in {WEIGHTS}: the book's own models lie in its repository, and "
            "this package is installed without it. Give load the path of a file"
        )
    known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
    if name not in known:
        raise ValueError(f"name={name!r} must be one of {', '.join(known)}")
    return load(WEIGHTS / f"{name}.safetensors")


def load_strict(model: nn.Module, state: State, source: str | Path = "state") -> None:
    """Copy a state dict into ``model``: every name there, no other, every shape right.

    Raises ``ValueError`` that names what differs and leaves the model as it was.

    >>> load_strict(torch.nn.Linear(2, 3), {"weight": torch.zeros(3, 2)})
    Traceback (most recent call last):
    ...
    ValueError: state does not fit the model: missing bias
    """
    check_fit(model, state, source)
    model.load_state_dict(state, strict=True)


def check_fit(model: nn.Module, state: State, source: str | Path) -> None:
    """Raise ``ValueError`` unless ``state`` has the model's names and shapes.

    >>> check_fit(torch.nn.Linear(2, 1), {"weight": torch.zeros(1, 2)}, "state")
    Traceback (most recent call last):
    ...
    ValueError: state does not fit the model: missing bias
    """
    require_type("model", model, nn.Module, "a torch module")
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{source} must be a state dict: names and tensors")
    own = model.state_dict()
    faults = [f"missing {name}" for name in own if name not in state]
    faults += [f"unexpected {name}" for name in state if name not in own]
    faults += [
        f"{name} has shape {tuple(state[name].shape)}, the model {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(faults[:5])}{more}")
