"""Open a weight file: its arrays by name, and what stands beside it. Nothing is executed.

What a file is, is read off its first bytes and not off its name. A folder is opened as Hugging Face
and timm write it: the weights (in one file or several), ``config.json``, and the colours in
``preprocessor_config.json``.

Chapter 12.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors.torch import load_file

LIMIT = 16e9  # bytes that a file may unpack to; ViT-H in float32 has 2.5e9
LIBRARIES = ("timm", "torchvision", "huggingface")
IN_A_FOLDER = ("model.safetensors", "weights.safetensors", "pytorch_model.bin")  # first wins
INDEX = "model.safetensors.index.json"  # of weights that are spread over several files

# Each layout by a name that every plain ViT of it has, perhaps behind a prefix such as "module.".
MARKS = {
    "google": r"(.*/)?embedding/kernel",
    "torchvision": r"(.*\.)?conv_proj\.weight",
    "huggingface": r"(.*\.)?embeddings\.patch_embeddings\.projection\.weight",
    "timm": r"(.*\.)?patch_embed\.proj\.weight",
}


def find(source: str | Path) -> list[Path]:
    """The weight file, or the files, that ``source`` names: a list of paths.

    ``source`` is a file or a folder; ``~`` is the home folder. Raises ``ValueError`` if there is
    none, or if a folder leaves open which is meant.

    >>> find("model.onnx")
    Traceback (most recent call last):
    ...
    ValueError: source='model.onnx' must be an existing file or folder, or one of timm:NAME, ...
    """
    try:
        path = Path(source).expanduser()
        kind = "file" if path.is_file() else "folder" if path.is_dir() else None
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"source={source!r} must be the path of a weight file: {error}") from error
    if kind == "file":
        return [path]
    if kind is None:
        names = ", ".join(f"{library}:NAME" for library in LIBRARIES)
        raise ValueError(
            f"source={str(source)!r} must be an existing file or folder, or one of {names}"
        )
    if (path / INDEX).is_file():
        return [path / name for name in _spread(path / INDEX)]
    found = [path / name for name in IN_A_FOLDER if (path / name).is_file()]
    if not found:
        found = [
            p for p in sorted(path.iterdir()) if re.search(r"\.(safetensors|pth|pt|npz)$", p.name)
        ]
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise ValueError(
                f"source={str(source)!r} must hold one weight file, such as {IN_A_FOLDER[0]}; "
                f"found: {names}"
            )
    return found[:1]


def _spread(index: Path) -> list[str]:
    """The files that an index names, all of its own folder."""
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    wrong = [n for n in names if Path(n).name != n or not (index.parent / n).is_file()]
    if wrong or not names:
        raise ValueError(f"{index} must name files of its own folder, not {wrong[:1]}")
    return names


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON file that holds an object, as a dictionary; ``ValueError`` for anything else.

    >>> read_json("no-such-file.json")
    Traceback (most recent call last):
    ...
    ValueError: no-such-file.json cannot be read: ...
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(values).__name__}")
    return values


def beside(path: str | Path, name: str) -> dict[str, Any] | None:
    """The JSON file ``name`` in the folder of ``path``, as a dictionary, or None.

    >>> beside("no-such-folder/model.safetensors", "config.json") is None
    True
    """
    file = Path(path).parent / name
    return read_json(file) if file.is_file() else None


def read(source: str | Path, key: str | None = None) -> dict[str, Any]:
    """The named arrays of a weight file or folder: tensors, or numpy arrays from an ``.npz``.

    ``key`` says which state dict is meant where a file holds several, such as "teacher". Raises
    ``ValueError`` if there is no such file, its kind is unknown, it is damaged, holds no numbers or
    some that are not finite, or would unpack to more than 16 GB.

    >>> read("model.onnx")
    Traceback (most recent call last):
    ...
    ValueError: source='model.onnx' must be an existing file or folder, or one of timm:NAME, ...
    """
    content: dict[str, Any] = {}
    for path in find(source):
        try:
            content |= _reader(path)(path)
        except ValueError:
            raise
        except Exception as error:  # damaged bytes make the readers fail in many ways
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"{path} is damaged or not a weight file: {reason}") from error
    state = choose(content, key, source)
    for name, array in state.items():
        _check_numbers(name, array, source)
    return state


def _reader(path: Path) -> Callable[[Path], dict[str, Any]]:
    """The function that reads this kind of file, by its first bytes."""
    with path.open("rb") as opened:
        start = opened.read(9)
    if start[:2] == b"PK":
        with zipfile.ZipFile(path) as file:
            is_torch = any(name.endswith("data.pkl") for name in file.namelist())
        return _read_torch if is_torch else _read_npz
    if start[8:9] == b"{":  # eight bytes of length, then a header
        return load_file
    if start[:1] == b"\x80":  # a pickle: PyTorch's old format
        return _read_torch
    raise ValueError(
        f"{path} is damaged or not a weight file (.npz, .safetensors, .pth, .pt, .bin, .ckpt): "
        f"it begins with {start!r}"
    )


def _read_npz(path: Path) -> dict[str, Any]:
    """Arrays of an .npz; sizes are checked before anything is unpacked."""
    arrays = {}
    with zipfile.ZipFile(path) as file:
        entries = file.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > LIMIT:
            raise ValueError(f"{path} would unpack to {total / 1e9:.0f} GB, more than 16 GB")
        for entry in entries:
            with file.open(entry) as member:
                arrays[entry.filename.removesuffix(".npy")] = _read_npy(member, entry, path)
    return arrays


def _read_npy(member: IO[bytes], entry: zipfile.ZipInfo, path: Path) -> Any:
    try:
        version = np.lib.format.read_magic(member)
    except ValueError as error:
        raise ValueError(f"{path}: {entry.filename} is not an array: {error}") from error
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{path}: {entry.filename} has an unknown format version {version}")
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
        np.lib.format.read_array_header_2_0
    )  # fmt: skip
    shape, fortran, dtype = reader(member)
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise ValueError(f"{path}: {entry.filename} holds {dtype}, not numbers; it is not read")
    size = math.prod(shape) * dtype.itemsize
    if size > entry.file_size:  # a header may claim any shape
        raise ValueError(f"{path}: {entry.filename} claims {size} bytes of {entry.file_size}")
    data = member.read()
    if len(data) != size:
        raise ValueError(f"{path}: {entry.filename} has {len(data)} bytes; {shape} needs {size}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))


def _read_torch(path: Path) -> dict[str, Any]:
    """A PyTorch file, read without executing what it may contain."""
    if zipfile.is_zipfile(path):  # PyTorch does not look at the check sums, so a bit may be wrong
        with zipfile.ZipFile(path) as file:
            total = sum(entry.file_size for entry in file.infolist())
            if total > LIMIT:
                raise ValueError(f"{path} would unpack to {total / 1e9:.0f} GB, more than 16 GB")
            bad = file.testzip()
        if bad:
            raise ValueError(f"{path} is damaged: {bad} does not have its check sum")
    allowed = torch.serialization.safe_globals([argparse.Namespace])  # plain values by name
    try:
        with allowed:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"Python objects ({found[1]})" if found else "something that is no tensor"
        raise ValueError(
            f"{path} is damaged or holds {what}, which are never executed here. Where it was "
            "made, save the tensors alone: torch.save(model.state_dict(), ...)"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a state dict: names and tensors")
    return content


# --- Which of the tensors -------------------------------------------------------------------------


def layout(state: Mapping[str, Any]) -> str:
    """Which library's names these are: "google", "torchvision", "huggingface" or "timm".

    Raises ``ValueError`` for names of none of them.

    >>> layout({"module.conv_proj.weight": 0})
    'torchvision'
    """
    for name, pattern in MARKS.items():
        if any(re.fullmatch(pattern, str(key)) for key in state):
            return name
    raise ValueError(
        f"no layout known for names such as {sorted(map(str, state))[:3]}: not a plain ViT"
    )


def choose(content: Mapping[str, Any], key: str | None, source: str | Path) -> dict[str, Any]:
    """The one state dict of a known layout in nested dictionaries.

    Training code wraps it: ``{"state_dict": ...}``, ``{"teacher": ..., "epoch": 1}``. Raises
    ``ValueError`` if there is none, or if there are several and ``key`` names none of them.

    >>> choose({"epoch": 1, "model": {"conv_proj.weight": 0}}, None, "a.pth")
    {'conv_proj.weight': 0}
    """
    found = _models_in(content)
    if not found:
        layout(content)  # says which names there are
    for path, state in found.items():
        if key is not None and key in (path, path.rpartition(".")[2]):
            return state
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(path or "the file itself" for path in found)
    raise ValueError(
        f"{source} holds several models: {names}. Say which one with "
        f"key={max(found).rpartition('.')[2]!r} or the like (key={key!r} is none of them)"
    )


def _models_in(
    content: Mapping[str, Any], path: str = "", deep: int = 4
) -> dict[str, dict[str, Any]]:
    """Every dictionary inside that has a projection's name, by the keys that lead to it."""
    found: dict[str, dict[str, Any]] = {}
    marks = "|".join(MARKS.values())
    if any(isinstance(name, str) and re.fullmatch(marks, name) for name in content):
        found[path] = dict(content)
    for name, value in content.items():
        if isinstance(value, dict) and deep:
            found |= _models_in(value, f"{path}.{name}".lstrip("."), deep - 1)
    return found


def _check_numbers(name: object, array: object, source: str | Path) -> None:
    """Raise ``ValueError`` unless ``array`` is a plain array of finite numbers with a name."""
    if not isinstance(name, str):
        raise ValueError(f"{source} has the name {name!r}, which must be text")
    if isinstance(array, np.ndarray):
        good = bool(np.isfinite(array).all())
    elif isinstance(array, torch.Tensor):
        plain = array.layout == torch.strided and not array.is_meta and not array.is_quantized
        if not plain or array.is_complex() or array.dtype == torch.bool:
            raise ValueError(f"{source} holds {name} as {array.dtype}, {array.layout}: not numbers")
        if array.numel() * array.element_size() > array.untyped_storage().nbytes():
            raise ValueError(f"{source} holds {name} as one number in many places: not weights")
        good = bool(array.isfinite().all())
    else:
        raise ValueError(f"{source} holds {name!r} as {type(array).__name__}, not a tensor")
    if not good:
        raise ValueError(f"{source} holds a number that is not finite, in {name}")
