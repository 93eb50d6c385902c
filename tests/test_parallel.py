"""One training in two real processes: the same curve, the same checkpoint, a clear end."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from vit_teach import train, zoo
from vit_teach.data import shapes
from vit_teach.train import parallel

SETTINGS = [
    "--preset", "CIFAR-ViT-Nano", "--dataset", "shapes", "--validation", "200",
    "--batch-size", "32", "--precision", "float32", "--threads", "1", "--evaluations", "2",
]  # fmt: skip
TWO = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]


def start(out, *more, processes=2):
    command = TWO if processes == 2 else [sys.executable]
    command = [*command, "-m", "vit_teach.train", *SETTINGS, *more, "--out", str(out)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def curve(folder):
    return json.loads((folder / "card.json").read_text())["curves"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of 160 steps in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    code, _, err = finish(start(folder, "--steps", "160", processes=1))
    assert code == 0, err
    return folder


def close(one, two):
    for name in ("train_loss", "val_loss"):
        assert one[name] == pytest.approx(two[name], rel=2e-3), name


def test_two_processes_have_the_curve_of_one_stop_together_and_go_on_as_one(alone, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--steps", "160")
    time.sleep(1)
    while process.poll() is None and "step" not in process.stdout.readline():
        pass  # the first evaluation, after half of the steps
    process.send_signal(signal.SIGTERM)
    code, _, err = finish(process)
    assert code != 0 and "torchrun --nproc-per-node 2 -m vit_teach.train" in err, err
    assert (folder / "checkpoint.pt").exists() and not (folder / "card.json").exists()
    code, out, err = finish(start(folder, "--steps", "160", processes=1))
    assert code == 0, err
    assert out.count("step ") < 3  # it went on, it did not begin anew
    close(curve(alone), curve(folder))


def test_a_killed_process_ends_the_run_and_loses_nothing(alone, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, "--steps", "160")
    while process.poll() is None and "step" not in process.stdout.readline():
        pass
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
    code, _, err = finish(process)
    assert code != 0 and "Signal 9 (SIGKILL)" in err, err
    assert not (folder / "card.json").exists() and not list(folder.glob(".*.tmp"))
    code, _, err = finish(start(folder, "--steps", "160"))
    assert code == 0, err
    close(curve(alone), curve(folder))
    card = json.loads((folder / "card.json").read_text())
    assert card["train"]["command"].startswith("torchrun --nproc-per-node 2 -m vit_teach.train")


def test_what_would_come_out_otherwise_is_refused(monkeypatch):
    monkeypatch.setattr(parallel, "processes", lambda: 2)
    images = shapes(40, seed=0)
    config = train.TrainConfig(steps=1, batch_size=9)
    with pytest.raises(ValueError, match="batch_size=9 must be divisible by the 2 processes"):
        train.Trainer(zoo.build(zoo.preset("CIFAR-ViT-Nano")), images, images, config)
    with pytest.raises(ValueError, match="BatchNorm must train in one process"):
        parallel.check(nn.Sequential(nn.BatchNorm2d(3)), 8)


def test_each_process_takes_its_rows_and_all_rows_are_taken(monkeypatch):
    rows, taken = torch.arange(6), []
    monkeypatch.setattr(parallel, "processes", lambda: 3)
    for number in range(3):
        monkeypatch.setattr(parallel, "rank", lambda number=number: number)
        taken += parallel.share(rows).tolist()
    assert taken == rows.tolist()
