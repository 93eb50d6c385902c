"""Weights on disk: bit-exact, complete or refused, and never code."""

import json
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from model_tools import pictures, randomise
from safetensors.torch import load_file, save_file

from vit_teach import zoo
from vit_teach.weights import from_timm, from_torchvision, layouts, to_timm
from vit_teach.weights.files import (
    load,
    load_strict,
    read_metadata,
    save,
)

SMALL = zoo.preset("CIFAR-ViT-Nano", depth=1, embed_dim=16)
CONFIGS = {
    "vit": SMALL,
    "class token": replace(SMALL, pool="cls", class_token=True),
    "fixed positions": replace(SMALL, position="sincos2d"),
    "norm after pooling": replace(SMALL, fc_norm=True),
    "hybrid": zoo.preset("CIFAR-Hybrid-Micro", depth=1, embed_dim=16, num_heads=2),
    "resnet": zoo.preset("CIFAR-ResNet-Micro", width=4),
}


def make(config=SMALL):
    torch.manual_seed(0)
    model = randomise(zoo.build(config))
    model.train()(pictures(4, 3, 32, 32))  # moves BatchNorm's statistics, where there are any
    return model


@pytest.mark.parametrize("kind", CONFIGS)
def test_round_trip_is_bit_exact(kind, tmp_path):
    model = make(CONFIGS[kind])
    loaded = load(save(model, tmp_path / "new folder" / "model.safetensors"))
    assert loaded.config == model.config and not loaded.training
    state = loaded.state_dict()
    assert list(state) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor) and state[name].dtype == tensor.dtype, name
    images = pictures(2, 3, 32, 32)
    assert torch.equal(loaded(images), model.eval()(images))


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_half_precision_takes_half_the_room(kind, tmp_path):
    model = make(CONFIGS[kind])
    full = save(model, tmp_path / "full.safetensors")
    half = save(model, tmp_path / "half.safetensors", half=True)
    assert half.stat().st_size < 0.6 * full.stat().st_size + 2000
    stored = load_file(half)
    state = load(half).state_dict()
    for name, tensor in model.state_dict().items():
        assert state[name].dtype == tensor.dtype
        if tensor.is_floating_point():
            assert stored[name].dtype == torch.float16
            torch.testing.assert_close(state[name], tensor, rtol=2**-11, atol=2**-24)
        else:
            assert torch.equal(state[name], tensor)


def test_saving_leaves_the_model_as_it_was(tmp_path):
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save(model, tmp_path / "model.safetensors", half=True)
    assert model.training and all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_the_header_says_what_it_was_given(tmp_path):
    facts = {"test_accuracy": 0.75, "classes": ["cat", "dog"], "note": "größer", "seed": None}
    path = save(make(), tmp_path / "model.safetensors", **facts)
    assert read_metadata(path) == {"config": SMALL, **facts}
    assert read_metadata(str(path))["config"] == SMALL


def test_a_new_head_is_saved_with_its_size(tmp_path):
    model = make()
    model.reset_head(3)
    assert load(save(model, tmp_path / "model.safetensors")).head.out_features == 3


def test_the_file_is_complete_or_the_old_one_stays(tmp_path, monkeypatch):
    path = save(make(), tmp_path / "model.safetensors")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(make(), path, bad=object())  # not a plain value

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(randomise(make()), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


# --- Files that are not right ----------


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


def write_pickle(path):
    path.write_bytes(pickle.dumps(Trap(str(path) + ".marker")))


def write_torch(path):
    torch.save({"weight": torch.zeros(1), "trap": Trap(str(path) + ".marker")}, path)


def write_truncated(path):
    path.write_bytes(save(make(), path).read_bytes()[:-100])


def write_header_only(path):
    path.write_bytes(save(make(), path).read_bytes()[:200])


def write_longer(path):
    path.write_bytes(save(make(), path).read_bytes() + b"more")


def write_damaged(path):
    data = bytearray(save(make(), path).read_bytes())
    data[8:40] = b"\xff" * 32
    path.write_bytes(data)


def write_giant_header(path):
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")


def write_foreign(path):
    save_file({"weight": torch.zeros(2)}, path)


def write_old_format(path):
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "vit_teach 0"})


def with_header(**changes):
    def write(path):
        model = make()
        header = {
            "format": "vit_teach 1",
            "config": json.dumps(zoo.config_to_dict(SMALL)),
            "metadata": "{}",
        }
        header |= changes
        state = {n: t.contiguous() for n, t in model.state_dict().items()}
        save_file(state, path, metadata={k: v for k, v in header.items() if v is not None})

    return write


def with_config(**changes):
    return with_header(config=json.dumps(zoo.config_to_dict(SMALL) | changes))


def with_state(change):
    def write(path):
        state = load_file(save(make(), path))
        metadata = {
            "format": "vit_teach 1",
            "config": json.dumps(zoo.config_to_dict(SMALL)),
            "metadata": "{}",
        }
        change(state)
        save_file(state, path, metadata=metadata)

    return write


BAD_FILES = {
    "empty": (lambda path: path.write_bytes(b""), "not a readable safetensors file"),
    "text": (lambda path: path.write_text("hello " * 99), "not a readable safetensors file"),
    "pickle": (write_pickle, "not a readable safetensors file"),
    "torch file": (write_torch, "not a readable safetensors file"),
    "truncated": (write_truncated, "not a readable safetensors file"),
    "header only": (write_header_only, "not a readable safetensors file"),
    "longer": (write_longer, "not a readable safetensors file"),
    "damaged": (write_damaged, "not a readable safetensors file"),
    "giant header": (write_giant_header, "not a readable safetensors file"),
    "foreign": (write_foreign, "was not written by vit_teach: format=None must be"),
    "old format": (write_old_format, "was not written by vit_teach: format='vit_teach 0' must be"),
    "no config": (with_header(config=None), "has a damaged header"),
    "no metadata": (with_header(metadata=None), "has a damaged header"),
    "config not JSON": (with_header(config="{'a': 1}"), "has a damaged header"),
    "config a number": (with_header(config="3"), "has a damaged header"),
    "config a list": (with_header(config="[1, 2]"), "has a damaged header"),
    "metadata a list": (with_header(metadata="[]"), "has a damaged header"),
    "deep JSON": (with_header(config="[" * 100_000), "has a damaged header"),
    "unknown kind": (with_config(kind="rnn"), "has a damaged header: kind='rnn' must be one of"),
    "unknown field": (with_config(colour="red"), "has a damaged header: 'colour' is not a field"),
    "bad value": (with_config(depth=-1), "has a damaged header: depth=-1 must be"),
    "bad type": (with_config(mlp_ratio="4"), "has a damaged header"),
    "infinite": (with_config(mlp_ratio=float("inf")), "has a damaged header"),
    "endless depth": (with_config(depth=10**9), "does not fit the model"),
    "endless width": (with_config(embed_dim=10**9), "does not fit|cannot be built"),
    "endless fixed table": (
        with_config(embed_dim=10**9, position="sincos2d"), "does not fit|cannot be built"
    ),
    "endless image": (with_config(image_size=8 * 10**5), "does not fit|cannot be built"),
    "endless numbers": (with_config(embed_dim=4 * 10**30), "does not fit|cannot be built|damaged"),
    "other depth": (with_config(depth=2), "missing blocks.1.norm1.weight.* and 7 more"),
    "other width": (with_config(embed_dim=32), r"pos_embed has shape \(1, 16, 16\), the model"),
    "missing": (with_state(lambda s: s.pop("head.bias")), "missing head.bias"),
    "unexpected": (with_state(lambda s: s.update(more=torch.zeros(1))), "unexpected more"),
    "not a number": (
        with_state(lambda s: s["head.bias"].fill_(float("nan"))), "not finite, in head.bias"
    ),
    "other shape": (
        with_state(lambda s: s.update({"head.bias": torch.zeros(3)})), r"head.bias has shape \(3,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_FILES)
def test_bad_files_are_refused(fault, tmp_path):
    write, message = BAD_FILES[fault]
    path = tmp_path / "model.safetensors"
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert not Path(str(path) + ".marker").exists()


def test_the_trap_would_have_worked(tmp_path):
    path = tmp_path / "file"
    write_pickle(path)
    pickle.loads(path.read_bytes())
    assert Path(str(path) + ".marker").exists()


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):  # a folder is not a file
        with pytest.raises(ValueError, match="must be an existing file"):
            load(path)


# --- Names of other libraries ----------


def test_load_strict_changes_nothing_on_failure():
    model = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items()}
    state["head.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"mine does not fit the model: head.bias has shape"):
        load_strict(model, state, "mine")
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_timm_there_and_back_is_a_copy():
    state = make().state_dict()
    for convert in (from_timm, to_timm):
        result = convert(state)
        assert result is not state and list(result) == list(state)
        assert all(result[name] is state[name] for name in state)


def test_torchvision_names_old_and_new():
    layer = "encoder.layers.encoder_layer_11"
    names = {
        f"{layer}.self_attention.in_proj_weight": "blocks.11.attn.qkv.weight",
        f"{layer}.self_attention.out_proj.bias": "blocks.11.attn.proj.bias",
        f"{layer}.mlp.0.weight": "blocks.11.mlp.fc1.weight",
        f"{layer}.mlp.3.weight": "blocks.11.mlp.fc2.weight",
        f"{layer}.mlp.linear_1.bias": "blocks.11.mlp.fc1.bias",
        f"{layer}.mlp.linear_2.bias": "blocks.11.mlp.fc2.bias",
        f"{layer}.ln_2.bias": "blocks.11.norm2.bias",
        "encoder.ln.weight": "norm.weight",
        "heads.head.bias": "head.bias",
        "encoder.pos_embedding": "pos_embed",
        "class_token": "cls_token",
    }
    state = {name: torch.tensor(i) for i, name in enumerate(names)}
    renamed = from_torchvision(state)
    assert list(renamed) == list(names.values())
    assert [tensor.item() for tensor in renamed.values()] == list(range(len(names)))
    assert len(state) == len(names)  # the input is left alone
    assert len(layouts.TORCHVISION_NAMES) == 10


@pytest.mark.parametrize(
    "name", ["head.weight", "xclass_token", "encoder.layers.encoder_layer_x.ln_1.bias"]
)
def test_unknown_torchvision_names_are_refused(name):
    with pytest.raises(ValueError, match=f"state has '{name}', which is not a name in torchvision"):
        from_torchvision({name: torch.zeros(1)})
