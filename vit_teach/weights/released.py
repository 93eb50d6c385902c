"""Released models: open a file of any known layout, fit it to your images and classes.

``load`` does all of it; the functions below it are its steps. Nothing is executed that a file may
contain: arrays are read, objects are refused.
"""

import math
import pickle
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .. import zoo
from ..baselines.paper_hybrid import PaperHybridConfig
from ..vit.embedding import resize_positions
from ..vit.model import ViTConfig
from . import files
from .files import load_strict
from .layouts import from_google, from_huggingface, from_timm, from_torchvision

HEAD_DIM = 64  # the width of a head in every released plain ViT
LIMIT = 16e9  # bytes that a file may unpack to; ViT-H in float32 has 2.5e9
LIBRARIES = ("timm", "torchvision", "huggingface")


def load(source, num_classes=None, image_size=None, num_heads=None, rule="google"):
    """A trained model from a file or a library, in float32 and evaluation mode.

    ``source`` is a local file (one of ours, ``.npz`` of Google or big_vision, ``.safetensors``,
    ``.pth``, ``.bin``), or "timm:NAME", "torchvision:NAME" or "huggingface:NAME", which fetches
    the weights by that library. ``num_classes`` makes a new, zero head for so many classes (None
    keeps the file's); ``image_size`` (pixels) resizes the position table by ``rule``, one of
    ``RESIZE_RULES``. ``num_heads`` defaults to one head for each 64 columns.

    Raises ``ValueError`` for a file that cannot be read or does not hold a plain ViT, and
    ``RuntimeError`` that says what to fetch where a library or the network is missing.

    >>> load("no-such-file.npz")
    Traceback (most recent call last):
    ...
    ValueError: source='no-such-file.npz' must be an existing file or one of timm:NAME, ...
    """
    library, colon, name = str(source).partition(":")
    if files.is_ours(source):
        model = files.load(source)
        if num_classes is None and image_size is None:
            return model
        state, config = adapt(model.state_dict(), model.config, num_classes, image_size, rule)
        return _filled(config, state, source)
    if colon and library in LIBRARIES:
        state = fetch(library, name)
    else:
        state = read(source)
    state = to_ours(state, head=num_classes is None)
    config = infer_config(state, num_heads=num_heads)
    state = {name: tensor.float() for name, tensor in state.items()}
    state, config = adapt(state, config, num_classes, image_size, rule)
    return _filled(config, state, source)


def _filled(config, state, source):
    """The model of ``config`` with the weights of ``state``, in evaluation mode."""
    model = zoo.build(config)
    load_strict(model, state, source)
    return model.eval()


# --- Opening files --------------------------------------------------------------------------------


def read(path):
    """The named arrays of a weight file: tensors, or numpy arrays from an ``.npz``.

    Raises ``ValueError`` if there is no such file, its kind is unknown, it is damaged, holds
    anything but numbers, or would unpack to more than 16 GB.

    >>> read("model.onnx")
    Traceback (most recent call last):
    ...
    ValueError: source='model.onnx' must be an existing file or one of timm:NAME, ...
    """
    path = Path(path)
    if not path.is_file():
        names = ", ".join(f"{library}:NAME" for library in LIBRARIES)
        raise ValueError(f"source={str(path)!r} must be an existing file or one of {names}")
    readers = {".npz": _read_npz, ".safetensors": load_file}
    reader = readers.get(path.suffix, _read_torch)
    if path.suffix not in (*readers, ".pth", ".pt", ".bin"):
        raise ValueError(f"source={str(path)!r} must end in .npz, .safetensors, .pth, .pt or .bin")
    try:
        return reader(path)
    except (SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged or not a weight file: {error}") from error
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_npz(path):
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


def _read_npy(member, entry, path):
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
    if dtype.kind not in "fiu":
        raise ValueError(f"{path}: {entry.filename} holds {dtype}, not numbers; it is not read")
    size = math.prod(shape) * dtype.itemsize
    if size > entry.file_size:  # a header may claim any shape
        raise ValueError(f"{path}: {entry.filename} claims {size} bytes of {entry.file_size}")
    data = member.read()
    if len(data) != size:
        raise ValueError(f"{path}: {entry.filename} has {len(data)} bytes; {shape} needs {size}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_torch(path):
    """A PyTorch file, read without executing what it may contain."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # some files wrap the state dict
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise ValueError(f"{path} does not hold a state dict: names and tensors")
    return state


def fetch(library, name):
    """The state dict of a released model by its library's name for it, fetched if need be.

    ``library`` is "timm", "torchvision" or "huggingface". Raises ``RuntimeError`` that says which
    file to fetch by hand where the library or the network is missing.

    >>> fetch("keras", "vit")
    Traceback (most recent call last):
    ...
    ValueError: library='keras' must be one of ('timm', 'torchvision', 'huggingface')
    """
    if library not in LIBRARIES:
        raise ValueError(f"library={library!r} must be one of {LIBRARIES}")
    try:
        return {"timm": _from_timm, "torchvision": _from_torchvision}.get(library, _from_hub)(name)
    except ImportError as error:
        raise RuntimeError(
            f"{library}:{name} needs the package {error.name!r}: pip install {error.name}"
        ) from error
    except Exception as error:  # each library has its own errors for "no network" and "no model"
        where = f"https://huggingface.co/{'timm/' if library == 'timm' else ''}{name}"
        if library == "torchvision":
            where = f"the .pth file that torchvision's page for {name} names"
        raise RuntimeError(
            f"{library}:{name} could not be fetched ({type(error).__name__}: {error}). On another "
            f"machine, fetch {where} (model.safetensors) and give its path"
        ) from error


def _from_timm(name):
    import timm

    return timm.create_model(name, pretrained=True).state_dict()


def _from_torchvision(name):
    from torchvision.models import get_model_weights

    return get_model_weights(name).DEFAULT.get_state_dict(progress=False)


def _from_hub(name):
    from huggingface_hub import hf_hub_download

    return load_file(hf_hub_download(name, "model.safetensors"))


# --- Making them ours -----------------------------------------------------------------------------


def layout(state):
    """Which library's names these are: "google", "torchvision", "huggingface" or "timm".

    Raises ``ValueError`` for names of none of them.

    >>> layout({"conv_proj.weight": 0})
    'torchvision'
    """
    marks = {
        "google": r"(.*/)?embedding/kernel",
        "torchvision": r"conv_proj\.weight",
        "huggingface": r"(vit\.)?embeddings\.patch_embeddings\.projection\.weight",
        "timm": r"patch_embed\.proj\.weight",
    }
    for name, pattern in marks.items():
        if any(re.fullmatch(pattern, key) for key in state):
            return name
    raise ValueError(f"no layout known for names such as {sorted(state)[:3]}: not a plain ViT")


def to_ours(state, head=True):
    """A state dict of any known layout in our names, with or without the classifier.

    >>> sorted(to_ours({"conv_proj.weight": torch.zeros(1), "heads.head.bias": torch.zeros(2)}))
    ['head.bias', 'patch_embed.proj.weight']
    """
    kind = layout(state)
    if kind == "google":
        return from_google(state, head=head)
    renamed = {
        "torchvision": from_torchvision, "huggingface": from_huggingface, "timm": from_timm
    }[kind](state)  # fmt: skip
    return {n: t for n, t in renamed.items() if head or not n.startswith("head.")}


def infer_config(state, num_heads=None, image_size=None):
    """The configuration that a state dict in our names belongs to: a ViT's or a paper hybrid's.

    All sizes can be read off the shapes but two: the number of heads (default: one for each 64
    columns) and, if the image is not square, ``image_size``. Without a classifier ``num_classes``
    is 1. Raises ``ValueError`` for a state that is not a plain ViT's.

    >>> from vit_teach import PRESETS, VisionTransformer
    >>> with torch.device("meta"):
    ...     state = VisionTransformer(PRESETS["ViT-S/32"]).state_dict()
    >>> infer_config(state) == PRESETS["ViT-S/32"]
    True
    """
    for name in ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight"):
        if name not in state:
            raise ValueError(f"state has no {name!r}: not a plain ViT with positions")
    dim, channels, ph, pw = state["patch_embed.proj.weight"].shape
    kind, units = ViTConfig, {}
    if "patch_embed.backbone.stem.conv.weight" in state:  # the paper's hybrid
        kind, units = PaperHybridConfig, {"units": _count_units(state)}
        channels = state["patch_embed.backbone.stem.conv.weight"].shape[1]
        ph = pw = 4 * 2 ** (len(units["units"]) - 1)
    class_token = "cls_token" in state
    patches = state["pos_embed"].shape[1] - int(class_token)
    if image_size is None:
        side = math.isqrt(patches)
        if side * side != patches:
            raise ValueError(f"pos_embed has {patches} patches, not a square: give image_size")
        image_size = (side * ph, side * pw)
    heads = num_heads or dim // HEAD_DIM
    fc_norm = "fc_norm.weight" in state
    return kind(
        **units,
        image_size=image_size,
        patch_size=(ph, pw),
        in_channels=channels,
        num_classes=state["head.weight"].shape[0] if "head.weight" in state else 1,
        embed_dim=dim,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        num_heads=heads,
        mlp_ratio=state["blocks.0.mlp.fc1.weight"].shape[0] / dim,
        pool="mean" if fc_norm or not class_token else "cls",
        class_token=class_token,
        fc_norm=fc_norm,
    )


def _count_units(state):
    """How many units each stage of a hybrid's ResNet has."""
    pattern = r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.weight"
    stages = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def adapt(state, config, num_classes=None, image_size=None, rule="google"):
    """Fit a state dict in our names to another number of classes and another image size.

    Returns (state, config). With ``num_classes`` the classifier is replaced by a zero one, as in
    the paper (section 3.2). The patch size stays, so a larger ``image_size`` has more patches, and
    the position table is resized by ``rule``. Raises ``ValueError`` if the image size is not
    divisible by the patch size.

    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> state = zoo.build(config).state_dict()
    >>> state, config = adapt(state, config, num_classes=5, image_size=16)
    >>> state["pos_embed"].shape, state["head.weight"].shape, config.num_patches
    (torch.Size([1, 17, 12]), torch.Size([5, 12]), 16)
    """
    state, new = dict(state), config
    if image_size is not None:
        new = replace(new, image_size=image_size)
        state["pos_embed"] = resize_positions(
            state["pos_embed"], config.grid_size, new.grid_size, rule, int(config.class_token)
        )
    if num_classes is not None:
        new = replace(new, num_classes=num_classes)
        kind = state["pos_embed"].dtype
        state["head.weight"] = torch.zeros(num_classes, new.embed_dim, dtype=kind)
        state["head.bias"] = torch.zeros(num_classes, dtype=kind)
    return state, new
