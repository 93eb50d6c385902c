"""Where and how precisely to compute; no test here needs a GPU."""

import subprocess
import sys

import pytest
import torch

from vit_teach.data.drawn import shapes
from vit_teach.train import device
from vit_teach.train.config import TrainConfig
from vit_teach.train.device import (
    autocast,
    keep_memory,
    pick_device,
    pick_precision,
    set_threads,
    subnormals_dropped,
)
from vit_teach.train.evaluation import evaluate
from vit_teach.train.loop import Trainer

CPU = torch.device("cpu")


def has(monkeypatch, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    "cuda, mps, expected",
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda, mps, expected):
    has(monkeypatch, cuda, mps)
    assert pick_device().type == expected
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(monkeypatch, name):
    has(monkeypatch, False, False)
    with pytest.raises(ValueError, match=f"device='{name}' is not available on this machine"):
        pick_device(name)


def test_a_device_that_does_not_exist():
    with pytest.raises(ValueError, match="device='toaster'"):
        pick_device("toaster")


@pytest.mark.parametrize("bf16, amx", [(True, False), (False, True), (False, False)])
def test_auto_precision_on_a_processor(monkeypatch, bf16, amx):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert pick_precision("auto", CPU) == ("bfloat16" if bf16 or amx else "float32")
    for name in ("float32", "bfloat16"):
        assert pick_precision(name, CPU) == name


@pytest.mark.parametrize("supported", [True, False])
def test_auto_precision_on_gpus(monkeypatch, supported):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    expected = "bfloat16" if supported else "float32"
    assert pick_precision("auto", torch.device("cuda")) == expected
    assert pick_precision("auto", torch.device("mps")) == "float32"


def test_older_torch_without_the_probes_takes_float32(monkeypatch):
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    assert pick_precision("auto", CPU) == "float32"


@pytest.mark.parametrize(
    "name, expected", [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_changes_products_and_not_weights(name, expected):
    layer = torch.nn.Linear(2, 2)
    with autocast(CPU, name):
        assert layer(torch.ones(1, 2)).dtype == expected
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_threads():
    before = torch.get_num_threads()
    try:
        assert set_threads() == before
        assert set_threads(1) == 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [0, -1, 1.0, "2", True, 10**6])
def test_bad_threads(threads):
    with pytest.raises(ValueError, match=r"threads=.* must be an integer from 1 to"):
        set_threads(threads)


def test_bad_precision():
    with pytest.raises(ValueError, match=r"precision='half' must be one of \('auto', 'float32'"):
        pick_precision("half", CPU)


FAULTS = """
import resource, sys, torch
from vit_teach.train.device import keep_memory
if sys.argv[1] == "keep" and not keep_memory():
    sys.exit(7)
def fill():
    torch.ones(64, 2**18)  # 64 MB, freed at once: more than glibc ever keeps unasked
for _ in range(10):  # where each lies is settled after a few
    fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_memory(), reason="not glibc: the C library has no mallopt")
def test_memory_that_is_kept_is_not_cleared_again():
    """Page faults of ten tensors of 64 MB, each freed before the next is made."""
    command = [sys.executable, "-c", FAULTS]
    kept, plain = (
        int(subprocess.run([*command, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "plain")
    )
    assert kept < 0.05 * plain, (kept, plain)


def test_another_c_library_changes_nothing(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: object())
    assert keep_memory() is False


def nonzero():
    """How many weights a softmax leaves above zero; exp(-90) is the subnormal 8e-40."""
    return torch.tensor([0.0, -80.0, -90.0]).softmax(dim=0).count_nonzero().item()


def test_subnormal_numbers_are_zero_inside_and_come_back_after():
    with subnormals_dropped() as able:
        assert nonzero() == (2 if able else 3)
    assert nonzero() == 3
    with pytest.raises(RuntimeError), subnormals_dropped():
        raise RuntimeError
    assert nonzero() == 3


def test_a_step_and_an_evaluation_drop_them():
    with subnormals_dropped() as able:
        pass
    found, images = [], shapes(4, seed=0)

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(3, len(images.classes))

        def forward(self, x):  # (B, C, H, W)
            found.append(nonzero())
            return self.head(x.mean(dim=(2, 3)))

    config = TrainConfig(steps=1, batch_size=2, optimizer="adamw")
    Trainer(Watched(), images, images, config).step()
    evaluate(Watched(), images)
    assert found == [2 if able else 3] * 2
    assert nonzero() == 3
