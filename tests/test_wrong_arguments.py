"""Every public function that reads or writes, with one wrong argument: right, or a ValueError."""

import contextlib
import inspect
import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vit_teach as vt
from vit_teach.train.config import TrainConfig

MODEL = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano"))
STATE = MODEL.state_dict()
IMAGES = vt.data.shapes(20, seed=0)
CARD = vt.results.recorded("train")[0]
NO_FILE = "no-such-file"

# name of a function in a room: arguments that are right
CALLS = {
    "data.load": {"name": "cifar10", "split": "test", "root": NO_FILE},
    "data.find": {"name": "cifar10", "root": NO_FILE},
    "data.folder": {"path": NO_FILE, "size": 8},
    "data.load_or_shapes": {"name": "cifar100", "split": "test"},
    "data.normalise": {"images": IMAGES.images, "mean": vt.data.MEAN, "std": vt.data.STD},
    "data.photograph": {"size": 16},
    "data.shapes": {"n": 4, "seed": 0},
    "data.ImageSet": {"images": IMAGES.images, "labels": IMAGES.labels, "classes": IMAGES.classes,
                      "source": "x", "split": "train"},
    "weights.load": {"source": NO_FILE, "num_classes": None, "image_size": None, "key": None},
    "weights.read_metadata": {"path": NO_FILE},
    "weights.recorded": {"name": "cifar-vit-20min"},
    "weights.load_strict": {"model": MODEL, "state": STATE},
    "weights.adapt": {"state": STATE, "config": MODEL.config, "num_classes": 3, "image_size": 64,
                      "rule": "google", "in_channels": 1},
    "weights.from_timm": {"state": STATE},
    "weights.from_torchvision": {"state": {}},
    "weights.from_huggingface": {"state": {}},
    "weights.from_google": {"arrays": {}},
    "weights.to_timm": {"model": MODEL},
    "weights.to_google": {"model": STATE, "num_heads": 4},
    "weights.save": {"model": None, "path": NO_FILE},
    "results.read_card": {"path": NO_FILE},
    "results.read_cards": {"folder": NO_FILE, "experiment": None},
    "results.read_named_card": {"path": NO_FILE, "experiment": "train", "cell": "x"},
    "results.recorded": {"experiment": "train"},
    "results.validate": {"card": CARD},
    "results.write_card": {"card": {}, "path": NO_FILE},
    "train.TrainConfig": {**vars(TrainConfig(steps=2)), "epochs": None, "minutes": None},
    "train.batch_indices": {"step": 1, "batch_size": 4, "length": 10, "seed": 0},
    "train.evaluate": {"model": MODEL, "image_set": IMAGES, "batch_size": 10,
                       "precision": "float32"},
    "train.pick_device": {"name": "cpu"},
    "train.pick_precision": {"name": "float32", "device": torch.device("cpu")},
    "train.schedule": {"step": 1, "steps": 10, "warmup": 2, "shape": "cosine"},
    "vit.ViTConfig": vars(MODEL.config),
    "zoo.preset": {"name": "CIFAR-ViT-Nano"},
    "zoo.config_from_dict": {"values": vt.zoo.config_to_dict(MODEL.config)},
    "zoo.kind": {"config": MODEL.config},
    "zoo.build": {"config": MODEL.config},
    "probe.fit_picture": {"source": IMAGES.images[0], "config": MODEL.config},
    "probe.examine": {"model": MODEL, "pictures": IMAGES.images[0]},
}  # fmt: skip
ODD = [
    None, True, False, -1, 0, 1, 7, 2**31, 2**63, 10**400, 0.5, -0.5, float("nan"), float("inf"),
    1e308, "", "x", "\0", "~nobody-of-this-name", "/", b"x", (), (1,), (0, 0), (-1, 2), (1, 2, 3),
    [], [None], {}, {"x": 1}, {1: 2}, set(), object(), len, torch.zeros(()), torch.zeros(0),
    torch.zeros(2, 3), torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), float("nan")),
    torch.zeros(3, 4, 4, dtype=torch.int64), torch.zeros(1, 3, 4, 4, dtype=torch.complex64),
    IMAGES.subset(1), MODEL.config, torch.nn.Linear(2, 2),
]  # fmt: skip


# Any amount of work may be asked for, and any place be read: no wrong argument.
TOO_MUCH = {
    "data.shapes": {"n"}, "train.batch_indices": {"batch_size", "length"},
    "results.read_cards": {"folder"}, "train.evaluate": {"model", "batch_size"},
}  # fmt: skip


def function(name):
    room, _, part = name.partition(".")
    return getattr(getattr(vt, room), part)


def quietly(name, arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(name)(**arguments)


def test_the_right_arguments_are_right():
    for name, arguments in CALLS.items():
        assert set(arguments) <= set(inspect.signature(function(name)).parameters) or "**" in str(
            inspect.signature(function(name))
        )
        with contextlib.suppress(FileNotFoundError, ValueError):
            quietly(name, arguments)


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(data=st.data())
def test_a_wrong_argument_is_a_value_error(name, data, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    arguments = dict(CALLS[name])
    for _ in range(data.draw(st.integers(1, 2))):
        changed = data.draw(st.sampled_from(sorted(set(arguments) - TOO_MUCH.get(name, set()))))
        odd = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=9)
        arguments[changed] = data.draw(odd)
    try:
        quietly(name, arguments)
    except FileNotFoundError as error:  # documented, for a place where nothing is
        assert str(error)
    except ValueError as error:
        assert str(error).strip()


@pytest.mark.parametrize(("length", "dim"), [(6.6, 8), (-1, 8), (6, 8.0), (6, 7), ("6", 8), (6, 0)])
def test_a_table_of_waves_has_whole_sizes(length, dim):
    with pytest.raises(ValueError, match=r"(length|dim)="):
        vt.sincos_1d(length, dim)
