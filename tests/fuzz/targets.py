"""What is fuzzed: small valid files made by code, and the function that a reader gives each to.

``seeds`` are the files. ``feed(path)`` reads one and returns a short text that names what was read;
the only exception it may raise is ``ValueError`` (or a subclass). ``checksum`` says that the
format carries one: then bytes that were changed may not be read as anything else than before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mutate
import numpy as np
import torch
from PIL import Image

import vit_teach as vt
from vit_teach.data import cifar
from vit_teach.train.resume import read_checkpoint
from vit_teach.weights import files

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_cifar import SmallCifar, write_parquet_file  # noqa: E402

CONFIG = vt.ViTConfig(
    image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3, num_classes=3, mlp_ratio=2.0
)
TRAIN = {"steps": 2, "batch_size": 4, "threads": 1, "evaluations": 1}


@dataclass
class Target:
    """One kind of file."""

    feed: Callable[[Path], str]
    seeds: dict[str, bytes]  # name of a file, and its content
    checksum: bool = False
    inside: Callable[..., bytes] | None = None  # damage under right checksums
    odd: list[tuple[str, bytes]] = field(default_factory=list)  # hostile files, made by hand


def name_of(*parts: Any) -> str:
    """16 digits for tensors, arrays and plain values."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict):
            part = name_of(*(x for item in sorted(part.items(), key=str) for x in item))
        if isinstance(part, torch.Tensor):
            part = part.detach().contiguous().numpy()
        if isinstance(part, np.ndarray):
            digest.update(str((part.dtype, part.shape)).encode() + part.tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()[:16]


def _named(model: Any) -> str:
    return name_of(model.config, model.state_dict())


def any_weights(path: Path) -> str:
    """A model of any library."""
    with contextlib.redirect_stdout(io.StringIO()):
        return _named(vt.weights.load(path, num_heads=3, trained_size=8))


def our_weights(path: Path) -> str:
    """A model of ours, and what its header says."""
    with contextlib.suppress(ValueError):
        files.read_metadata(path)
    return _named(files.load(path)) if files.is_ours(path) else any_weights(path)


def beside_weights(path: Path) -> str:
    """A folder as Hugging Face writes it, whose config.json this is."""
    vt.weights.save(_model(), path.parent / "plain.safetensors")
    state = _model().state_dict()
    from safetensors.torch import save_file

    save_file(state, path.parent / "model.safetensors")
    path.replace(path.parent / "config.json")
    with contextlib.redirect_stdout(io.StringIO()):
        return _named(vt.weights.load(path.parent))


def a_config(path: Path) -> str:
    """A configuration as a card holds it."""
    try:
        values = json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("too deep for Python's own reader") from error
    config = vt.zoo.config_from_dict(values)
    return repr(vt.zoo.config_to_dict(config))


def a_card(path: Path) -> str:
    """A result card, and the summary of its folder."""
    card = vt.results.read_card(path)
    return name_of(card, len(vt.results.read_cards(path.parent)))


def a_checkpoint(path: Path) -> str:
    """A stopped run."""
    images = vt.data.shapes(8, seed=0)
    model = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano"))
    config = vt.train.TrainConfig(**TRAIN)
    fingerprint = f"{images.fingerprint()} {images.fingerprint()}"
    from vit_teach.train.loop import resumed

    if read_checkpoint(path, fingerprint, config, model) is None:
        return "none"
    trainer = resumed(path, fingerprint, model, images, images, config)
    return name_of(trainer.done, trainer.model.state_dict(), trainer.history.curve)


def some_pictures(split: str) -> Callable[[Path], str]:
    """A copy of CIFAR, by the file that it consists of."""

    def feed(path: Path) -> str:
        images, labels, *_ = cifar.read_files([path], "cifar10", split)
        return name_of(images, labels)

    return feed


def a_cache(path: Path) -> str:
    """The cache beside a copy: rebuilt, or the same."""
    place = path.parent / "cifar10"
    SMALL.write_parquet(place)
    cifar.read("cifar10", "test", path.parent)
    path.replace(place / "decoded" / "cifar10-test.npz")
    with contextlib.suppress(OSError, ValueError, KeyError):
        _stamp_cache(place)
    images, labels, classes, source = cifar.read("cifar10", "test", path.parent)
    if not np.array_equal(images, SMALL.images["test"]):
        return "other pictures"
    return name_of(images, labels, classes, source)


def _stamp_cache(place: Path) -> None:
    """Let the copy look as old as the one that the corpus' cache was made from."""
    import os

    for file in place.glob("*.parquet"):
        os.utime(file, ns=(10**18, 10**18))


def a_folder(path: Path) -> str:
    """A folder of own pictures with this one in it."""
    for name in ("a", "b"):
        (path.parent / "mine" / name).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(path.parent / "mine" / "b" / "good.png")
    path.replace(path.parent / "mine" / "a" / path.name)
    with contextlib.redirect_stdout(io.StringIO()):
        return name_of(vt.data.folder(path.parent / "mine", 8).images)


# --- The corpus -----------------------------------------------------------------------------------

SMALL = SmallCifar()


def _model(config: Any = CONFIG) -> Any:
    torch.manual_seed(0)
    model = vt.zoo.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def _written(folder: Path, name: str, write: Callable[[Path], Any]) -> dict[str, bytes]:
    path = folder / name
    write(path)
    return {name: path.read_bytes()}


class Bomb:
    """What a hostile pickle holds: a program, and a file that tells whether it ran."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("touch exploded",)


def _weights(folder: Path) -> dict[str, Target]:
    from safetensors.torch import save_file

    model, state = _model(), _model().state_dict()
    vt.weights.remember(model, ((0.5,) * 3, (0.25,) * 3), ["a", "b", "c"], "tiny")
    table = replace_rows(state)
    ours = _written(folder, "a.safetensors", lambda p: vt.weights.save(model, p, accuracy=0.5))
    ours |= _written(folder, "h.safetensors", lambda p: vt.weights.save(model, p, half=True))
    ours |= _written(folder, "t.safetensors", lambda p: save_file(state, p))
    ours |= _written(folder, "r.safetensors", lambda p: save_file(table, p))
    google = vt.weights.to_google(model)
    npz = _written(folder, "a.npz", lambda p: np.savez(p, **google))
    npz |= _written(folder, "c.npz", lambda p: np.savez_compressed(p, **google))
    wrapped = {"model": state, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    pth = _written(folder, "a.pth", lambda p: torch.save(state, p))
    pth |= _written(folder, "b.pth", lambda p: torch.save(wrapped, p))
    old = _written(
        folder, "o.pth", lambda p: torch.save(state, p, _use_new_zipfile_serialization=False)
    )
    hostile = [("x.pth", pickle.dumps({"patch_embed.proj.weight": Bomb()}, protocol=p))
               for p in (0, 2, 4)]  # fmt: skip
    hostile += list(_written(folder, "y.pth", lambda p: torch.save({"m": Bomb()}, p)).items())
    hostile += [(f"{i}.pth", data) for i, data in enumerate(_odd_states(state))]
    objects = {"cls": np.array([Bomb()], dtype=object)}
    evil = list(_written(folder, "z.npz", lambda p: np.savez(p, **objects)).items())
    return {
        "safetensors": Target(our_weights, ours, inside=mutate.inside_safetensors),
        "npz": Target(any_weights, npz, True, mutate.inside_zip, evil),
        "pth": Target(any_weights, pth, True, mutate.inside_zip, hostile),
        "pth of old": Target(any_weights, old),
    }


def replace_rows(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same model with registers, LayerScale and a prefix."""
    more = {"reg_token": torch.zeros(1, 2, 12), "blocks.0.ls1.gamma": torch.ones(12)}
    return {f"module.{name}": tensor for name, tensor in {**state, **more}.items()}


def _odd_states(state: dict[str, torch.Tensor]) -> list[bytes]:
    """Well-formed files of tensors that no model has."""
    tensors = [
        torch.zeros(()), torch.zeros(5), torch.zeros(0, 3, 8, 8), torch.zeros(1, 1, 1, 1, 1),
        torch.zeros(2, 2).to_sparse(), torch.zeros(2, 2, dtype=torch.bool),
        torch.zeros(2, 2, dtype=torch.complex64), torch.full((12, 3, 4, 4), float("nan")),
        torch.zeros(1).expand(10**9), torch.zeros(12, 3, 4, 4, dtype=torch.int8), "text", None, [1],
    ]  # fmt: skip
    names = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight", "head.weight",
             "cls_token", "blocks.0.attn.qkv.weight")  # fmt: skip
    odd = [{name: value} for name in names for value in tensors]
    odd += [{key: state["head.bias"]} for key in (1, None, b"x", ("a",))]
    found = []
    for change in odd:
        stream = io.BytesIO()
        torch.save({**state, **change}, stream)
        found.append(stream.getvalue())
    return found


def _texts() -> dict[str, Target]:
    configs = {
        f"{name}.json": json.dumps(vt.zoo.config_to_dict(vt.zoo.preset(preset))).encode()
        for name, preset in (("v", "CIFAR-ViT-Nano"), ("h", "CIFAR-Hybrid-Nano"),
                             ("r", "CIFAR-ResNet-Tiny"), ("p", "R50+ViT-B/16"))
        if preset in vt.zoo.names()
    }  # fmt: skip
    hub = {
        "model_type": "vit", "num_attention_heads": 3, "hidden_act": "gelu", "hidden_size": 12,
        "num_hidden_layers": 1, "image_size": 8, "layer_norm_eps": 1e-6,
    }  # fmt: skip
    timms = {
        "architecture": "vit_tiny_patch16_224", "num_classes": 3,
        "model_args": {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3},
        "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }  # fmt: skip
    about = {"c.json": json.dumps(hub).encode(), "t.json": json.dumps(timms).encode()}
    card = sorted((vt.paths.RESULTS / "train").glob("*.json"))[0].read_bytes()
    return {
        "config": Target(a_config, configs, inside=mutate.inside_json),
        "config.json": Target(beside_weights, about, inside=mutate.inside_json),
        "card": Target(a_card, {"card.json": card}, inside=mutate.inside_json),
    }


def _data(folder: Path) -> dict[str, Target]:
    cifar.PUBLISHED["cifar10"] = facts = SMALL.facts()
    batch = {"test_batch": SMALL.batch("test_batch")}
    archive = {"cifar-10-python.tar.gz": SMALL.archive()}
    images, labels = SMALL.images["test"], SMALL.labels["test"]
    parquet = {}
    for form in ("PNG", "JPEG"):
        name = f"test-{form}.parquet"
        parquet |= _written(
            folder, name, lambda p: write_parquet_file(p, images, labels, form)  # noqa: B023
        )  # fmt: skip
    place = SMALL.write_parquet(folder / "root" / "cifar10")
    _stamp_cache(place)
    cifar.read("cifar10", "test", folder / "root")
    cache = {"cache.npz": (place / "decoded" / "cifar10-test.npz").read_bytes()}
    hostile = [("test_batch", pickle.dumps({b"data": Bomb(), b"labels": []}, protocol=p))
               for p in (0, 2, 4)]  # fmt: skip
    hostile.append(("test_batch", b"cnumpy\nndarray\n(I1073741824\ntR."))
    assert facts.counts["test"] == len(images)
    return {
        "CIFAR pickle": Target(some_pictures("test"), batch, odd=hostile),
        "CIFAR tar": Target(some_pictures("test"), archive, True, mutate.inside_tar),
        "parquet": Target(some_pictures("test"), parquet),
        "cache": Target(a_cache, cache, True, mutate.inside_zip),
    }


def _pictures() -> dict[str, Target]:
    picture = Image.fromarray(SMALL.images["test"][0].transpose(1, 2, 0))
    seeds, png = {}, {}
    for suffix in ("jpg", "gif", "bmp", "tiff", "webp", "ppm", "tga", "pcx", "ico", "jp2", "dds",
                   "im", "sgi", "png"):  # fmt: skip
        stream = io.BytesIO()
        with contextlib.suppress(OSError, KeyError, ValueError):
            picture.save(stream, Image.registered_extensions()[f".{suffix}"])
            (png if suffix == "png" else seeds)[f"a.{suffix}"] = stream.getvalue()
    for mode in ("L", "P", "RGBA", "1", "LA", "I;16"):
        stream = io.BytesIO()
        grey = np.full((9, 7), 40_000, np.uint16)
        (Image.fromarray(grey) if mode == "I;16" else picture.convert(mode)).save(stream, "PNG")
        png[f"{mode.replace(';', '')}.png"] = stream.getvalue()
    ghost = [("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")]
    return {
        "pictures": Target(a_folder, seeds, odd=ghost),
        "PNG": Target(a_folder, png, True, odd=ghost),
    }


def _run(folder: Path) -> dict[str, Target]:
    images = vt.data.shapes(8, seed=0)
    model = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano"))
    config = vt.train.TrainConfig(**TRAIN)
    vt.train.train(model, images, images, config, folder / "run", quiet=True)
    checkpoint = {"checkpoint.pt": (folder / "run" / "checkpoint.pt").read_bytes()}
    return {"checkpoint": Target(a_checkpoint, checkpoint, True, mutate.inside_zip)}


def all_targets(folder: Path) -> dict[str, Target]:
    """Every target by name; ``folder`` is for files on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    found = _weights(folder) | _texts() | _data(folder) | _pictures() | _run(folder)
    page = {name: found["safetensors"].seeds[name] for name in ("a.safetensors", "h.safetensors")}
    found["X-ray"] = Target(lambda path: "", page, inside=mutate.inside_safetensors)
    return found
