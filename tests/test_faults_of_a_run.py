"""Runs that go wrong: divergence, damaged checkpoints, signals, folders in use, places to write."""

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import vit_teach as vt
from vit_teach.train import __main__ as command
from vit_teach.train import loop, resume
from vit_teach.train.config import TrainConfig
from vit_teach.train.evaluation import evaluate
from vit_teach.train.loop import Trainer, train
from vit_teach.train.optim import schedule
from vit_teach.train.resume import Diverged, read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
IMAGES = vt.data.shapes(40, seed=0)
SETTINGS = {"steps": 8, "batch_size": 8, "precision": "float32", "threads": 1, "evaluations": 2}


def fresh_model():
    torch.manual_seed(0)
    return vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano"))


def run(folder=None, **changes):
    config = TrainConfig(**{**SETTINGS, **changes})
    return train(fresh_model(), IMAGES, IMAGES, config, folder, quiet=True)


# --- Divergence ----------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_that_diverges_stops_at_once_and_says_what_to_try(optimizer):
    with pytest.raises(Diverged, match=r"diverged at step \d+, at a learning rate") as caught:
        run(learning_rate=1e30, optimizer=optimizer, warmup=0.0)
    assert caught.value.step <= 4 and "Try a third of learning_rate" in str(caught.value)


def test_the_command_ends_with_one_line_of_advice(tmp_path, capsys):
    options = ["--preset", "CIFAR-ViT-Nano", "--dataset", "shapes", "--batch-size", "8",
               "--steps", "30", "--threads", "1", "--learning-rate", "1e30",
               "--out", str(tmp_path / "x")]  # fmt: skip
    assert command.main(options) == 2
    error = capsys.readouterr().err
    assert "error: the run diverged at step" in error and "Traceback" not in error
    assert not (tmp_path / "x" / "card.json").exists()


def test_the_last_good_checkpoint_goes_on_with_a_lower_rate_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)  # after every step
    real, count = Trainer.begin_step, []

    def nan_at_the_fifth(trainer):
        loss, accuracy = real(trainer)()
        count.append(loss)
        shown = float("nan") if len(count) == 5 else loss
        return lambda: [shown, accuracy]

    monkeypatch.setattr(Trainer, "begin_step", nan_at_the_fifth)
    with pytest.raises(Diverged, match="step 5"):
        run(tmp_path, schedule="constant")
    with pytest.raises(ValueError, match="holds a run with learning_rate=0.003, not 0.01"):
        run(tmp_path, learning_rate=0.01, schedule="constant")  # higher: no
    model, history = run(tmp_path, learning_rate=0.001, schedule="constant")
    assert history.note.startswith("the first 4 steps ran with learning_rate=0.003")
    assert "diverged at step 5" in history.note
    assert history.curve[-1]["step"] == 8
    assert history.curve[-1]["learning_rate"] == pytest.approx(0.001)
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_a_checkpoint_never_holds_a_weight_that_is_not_finite(tmp_path, monkeypatch):
    real = Trainer.begin_step

    def spoil(trainer):
        result = real(trainer)
        if trainer.done == SETTINGS["steps"]:
            trainer.model.head.bias.data[0] = float("inf")
        return result

    monkeypatch.setattr(Trainer, "begin_step", spoil)
    with pytest.raises(Diverged, match="head.bias holds a number that is not finite"):
        run(tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


# --- Damaged checkpoints ----------


def test_no_flipped_bit_goes_on_silently(tmp_path):
    """A flip is refused, or it lies where nothing is stored and changes nothing."""
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    config = TrainConfig(**SETTINGS)
    fingerprint = f"{IMAGES.fingerprint()} {IMAGES.fingerprint()}"
    good = read_checkpoint(path, fingerprint, config)["trainer"]["model"]
    drawn = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[drawn.randrange(len(damaged))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        try:
            state = read_checkpoint(path, fingerprint, config)["trainer"]["model"]
        except ValueError:
            refused += 1
        else:
            assert all(torch.equal(state[name], good[name]) for name in good)
    assert refused > 140


@pytest.mark.parametrize("length", [0, 1, 10, 100, 5000])
def test_a_cut_off_checkpoint_is_named(tmp_path, length):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="checkpoint.pt is damaged or not a checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize("state", [
    {}, [], {"config": 5, "trainer": {}, "data": ""}, {"config": {}, "trainer": {"done": -5}},
    {"config": {}, "trainer": {"done": 9, "steps": 8}}, {"config": None, "trainer": None},
])  # fmt: skip
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="checkpoint.pt is damaged or not a checkpoint"):
        run(tmp_path)


def test_a_damaged_name_inside_the_file_is_no_other_error(tmp_path):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[content.rfind(b"data.pkl")] = 0xEE  # no text that zip knows
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checkpoint.pt is damaged or not a checkpoint"):
        run(tmp_path)


def test_a_tensor_under_a_wrong_number_is_no_other_error(tmp_path):
    """PyTorch asserts that the place of a tensor's numbers is given as a tuple."""
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w") as archive:
        archive.writestr("checkpoint/data.pkl", b"\x80\x02K\x05Q.")  # the integer 5 instead
        archive.writestr("checkpoint/version", b"3")
    with pytest.raises(ValueError, match="checkpoint.pt is damaged or not a checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize("part", ["model", "average"])
def test_weights_that_are_not_finite_are_not_taken_from_a_file(tmp_path, part):
    run(tmp_path)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["trainer"][part]["head.bias"][0] = float("nan")
    torch.save(state, path)
    with pytest.raises(ValueError, match="checkpoint.pt is damaged: it holds weights that are not"):
        run(tmp_path)


def test_a_run_of_a_model_with_other_heads_or_other_validation_images_is_refused(tmp_path):
    config = TrainConfig(**SETTINGS)
    run(tmp_path)
    other = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano", num_heads=1))
    with pytest.raises(ValueError, match="holds a run of another model: ViTConfig"):
        train(other, IMAGES, IMAGES, config, tmp_path, quiet=True)
    with pytest.raises(ValueError, match="holds a run on other images"):
        train(fresh_model(), IMAGES, IMAGES.subset(20), config, tmp_path, quiet=True)


# --- Folders, signals, files ----------


def test_a_folder_in_use_is_refused_and_nothing_is_left_behind(tmp_path):
    lock = FileLock(tmp_path / ".lock")
    with lock, pytest.raises(ValueError, match="is in use by another run"):
        run(tmp_path)
    (tmp_path / ".checkpoint.pt.123.tmp").write_bytes(b"half")  # of a run that was killed
    run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


SLOW = """
import sys, time
import vit_teach.train.loop as loop
from vit_teach.train import __main__ as command
step = loop.Trainer.begin_step
def slow(trainer):
    print("done", trainer.done, flush=True)
    time.sleep(0.1)
    return step(trainer)
loop.Trainer.begin_step = slow
sys.exit(command.main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be handled")
def test_a_request_to_end_saves_like_control_c(tmp_path):
    options = ["--preset", "CIFAR-ViT-Nano", "--dataset", "shapes", "--batch-size", "8",
               "--steps", "200", "--threads", "1", "--out", str(tmp_path / "x")]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *options], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.strip() == "done 3":
            break
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped after step" in error
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_closed_terminal_stops_a_run_unless_it_is_to_be_ignored():
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, requested in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, handler)
            with resume.StopRequest() as stop:
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(0.01)
                assert stop.requested is requested
            assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_files_get_the_permissions_of_the_user(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    vt.weights.save(fresh_model(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_mode == usual.stat().st_mode


def test_a_place_that_cannot_be_written_is_an_error_before_the_first_step(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    began = time.perf_counter()
    for place in (tmp_path / "file", tmp_path / "file" / "x", Path("~") / "x", tmp_path / "x "):
        options = ["--preset", "CIFAR-ViT-Nano", "--dataset", "shapes", "--steps", "100000",
                   "--out", str(place)]  # fmt: skip
        assert command.main(options) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and len(error.splitlines()) == 1
    assert time.perf_counter() - began < 60  # no training was begun
    assert not os.path.exists("~")


# --- Arguments ----------


@pytest.mark.parametrize("change, message", [
    ({"learning_rate": float("inf")}, "learning_rate=inf must be positive and finite"),
    ({"weight_decay": float("inf")}, "weight_decay=inf must be 0 or more and finite"),
    ({"evaluations": 1.5}, "evaluations=1.5 must be an integer"),
    ({"evaluations": 10**12}, "evaluations=1000000000000 must be an integer from 1 to a million"),
    ({"seed": 2**63}, "seed=9223372036854775808 must be an integer within"),
    ({"seed": 1.5}, "seed=1.5 must be an integer within"),
    ({"threads": 0}, "threads=0 must be None or a positive integer"),
])  # fmt: skip
def test_settings_that_would_fail_later_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**SETTINGS, **change})


def test_what_evaluate_and_schedule_cannot_do_is_refused():
    model = fresh_model()
    with pytest.raises(ValueError, match="batch_size=-1 must be 1 or more"):
        evaluate(model, IMAGES, batch_size=-1)
    with pytest.raises(ValueError, match="precision='float16' must be one of"):
        evaluate(model, IMAGES, precision="float16")
    for step in (-1, 10):
        with pytest.raises(ValueError, match=rf"step={step} must lie in 0\.\.9"):
            schedule(step, 10, 2)
    five = vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano", num_classes=5))
    for use in (lambda: evaluate(five, IMAGES),
                lambda: train(five, IMAGES, IMAGES, TrainConfig(**SETTINGS))):  # fmt: skip
        with pytest.raises(ValueError, match="num_classes=5 of the model must be 10"):
            use()


def test_a_flip_between_the_parts_of_a_checkpoint_is_seen_too(tmp_path):
    """The zip's own checksums do not cover the gaps that PyTorch leaves to align its arrays."""
    path = tmp_path / "checkpoint.pt"
    torch.save({"weights": torch.arange(100.0)}, path)
    resume.seal(path)
    content = path.read_bytes()
    assert resume.is_whole(content)
    for place in (0, 40, len(content) // 2, len(content) - 70, len(content) - 65, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 4
        assert not resume.is_whole(bytes(flipped)), place
