"""The training loop: it learns, it repeats, and it can be stopped in any way and go on."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from model_tools import few, randomise
from PIL import Image

from vit_teach import weights, zoo
from vit_teach.data.drawn import shapes
from vit_teach.data.imageset import ImageSet
from vit_teach.train import __main__ as train_command
from vit_teach.train.config import TrainConfig
from vit_teach.train.evaluation import LOOKING, Looks, evaluate, looks_within
from vit_teach.train.loop import Trainer, batch_indices, run_steps, train
from vit_teach.train.optim import schedule
from vit_teach.train.resume import Diverged, read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
MODEL = zoo.preset("CIFAR-ViT-Nano", depth=1, embed_dim=16, num_heads=2, dropout=0.1)
SHORT = TrainConfig(
    steps=12, batch_size=8, augment="strong+mix", evaluations=3, precision="float32", threads=1
)
IMAGES = shapes(50, seed=0)
HELD_OUT = shapes(30, seed=0, split="validation")


pytestmark = pytest.mark.usefixtures("one_thread")


def fresh(config=MODEL, seed=0):
    torch.manual_seed(seed)
    return zoo.build(config)


def run(config=SHORT, model=MODEL, folder=None, seed=0):
    return train(fresh(model, seed), IMAGES, HELD_OUT, config, folder, quiet=True)


def assert_same_state(one, other):
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def assert_same_curve(one, other):
    def timeless(history):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in history.curve]

    assert timeless(one) == timeless(other)


# --- It repeats ----------

KINDS = {
    "vit": (MODEL, {}),
    "adamw, no average": (MODEL, {"optimizer": "adamw", "average": 0}),
    "bfloat16": (MODEL, {"precision": "bfloat16"}),
    "hybrid": (zoo.preset("CIFAR-Hybrid-Micro", depth=1, embed_dim=16, num_heads=2), {}),
    "resnet": (zoo.preset("CIFAR-ResNet-Micro", width=4), {}),
}


def test_one_seed_one_result():
    (one, history), (two, same) = run(), run()
    assert_same_state(one.state_dict(), two.state_dict())
    assert_same_curve(history, same)
    other, _ = run(replace(SHORT, seed=1))
    assert not torch.equal(one.state_dict()["head.weight"], other.state_dict()["head.weight"])


class Stopped(Exception):
    """Stands for whatever ends a program."""


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_resumed_is_bit_equal(kind, tmp_path, monkeypatch):
    model, changes = KINDS[kind]
    config = replace(SHORT, **changes)
    expected, history = run(config, model)
    monkeypatch.setattr("vit_teach.train.loop.SAVE_SECONDS", 0)  # after every step
    step = Trainer.begin_step

    def fail_after_five(trainer):
        if trainer.done == 5:
            raise Stopped
        return step(trainer)

    monkeypatch.setattr(Trainer, "begin_step", fail_after_five)
    with pytest.raises(Stopped):
        run(config, model, tmp_path)
    monkeypatch.setattr(Trainer, "begin_step", step)
    resumed, same = run(config, model, tmp_path, seed=9)  # the fresh weights do not matter
    assert_same_state(resumed.state_dict(), expected.state_dict())
    assert_same_curve(same, history)
    assert same.images == history.images == 12 * 8 and same.seconds > 0


def test_the_optimisers_memory_is_restored(tmp_path):
    whole = Trainer(fresh(), IMAGES, HELD_OUT, SHORT)
    for _ in range(6):
        whole.step()
    state = pickle.loads(pickle.dumps(whole.state_dict()))
    other = Trainer(fresh(seed=3), IMAGES, HELD_OUT, SHORT)
    other.load_state_dict(state)
    for _ in range(3):
        assert whole.step() == other.step()


def test_a_finished_run_is_not_trained_again(tmp_path):
    best, history = run(folder=tmp_path)
    again, same = run(folder=tmp_path, seed=5)
    assert_same_state(best.state_dict(), again.state_dict())
    assert same.curve == history.curve and same.seconds == history.seconds


def test_minutes_become_steps_and_the_measuring_leaves_no_trace(monkeypatch):
    measured = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=None, minutes=0.05))
    assert measured.done == 0 and measured.history.curve == [] and measured.steps >= 1
    plain = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=measured.steps))
    for _ in range(3):
        assert measured.step() == plain.step()
    assert_same_state(measured.current.state_dict(), plain.current.state_dict())


def test_minutes_are_kept():
    began = time.perf_counter()
    _, history = run(replace(SHORT, steps=None, minutes=0.05))  # 3 seconds
    assert 1 < time.perf_counter() - began < 6
    assert history.curve[-1]["step"] == history.steps
    assert history.images == 8 * history.steps
    assert history.images_per_second == history.images / history.seconds


@few
@example(2.0, 0.0007, 5000, 10, "last")  # fewer images
@example(0.5, 0.0002, 5000, 10, "last")  # and fewer looks
@example(2.0, 0.0007, 5000, 10, "best")
@given(st.floats(0.1, 200), st.floats(1e-5, 0.01), st.integers(1, 5000), st.integers(1, 12),
       st.sampled_from(["last", "best"]))  # fmt: skip
def test_looks_fit_into_their_time_and_the_last_is_whole(minutes, per_image, images, count, keep):
    config = TrainConfig(minutes=minutes, evaluations=count, keep=keep)
    seconds = LOOKING * 60 * minutes
    looks = looks_within(seconds, per_image, images, config)
    assert 1 <= looks.count <= count
    assert looks.count == 1 or looks.seconds(per_image, images) <= seconds * (1 + 1e-9)
    if count * images * per_image <= seconds or keep == "best":
        assert looks.images is None
    if count * images * per_image <= seconds:
        assert looks.count == count
    assert looks.images is None or 250 <= looks.images < images


def looking(trainer, monkeypatch):
    """How many images each look of a run takes."""
    taken = []

    def counting(model, images, precision):
        taken.append(len(images))
        return evaluate(model, images, precision=precision)

    monkeypatch.setattr("vit_teach.train.loop.evaluate", counting)
    run_steps(trainer, lambda: None, quiet=True)
    return taken


def test_a_run_of_minutes_looks_at_fewer_images_on_the_way_and_says_so(monkeypatch):
    monkeypatch.setattr("vit_teach.train.loop.looks_within", lambda *_: Looks(3, images=20))
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=None, minutes=1e-4))
    trainer.steps = 9
    assert looking(trainer, monkeypatch) == [20, 20, 30]
    assert "20 of the 30 validation images" in trainer.history.note


def test_a_run_of_steps_looks_at_all_images_every_time(monkeypatch):
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, SHORT)
    assert looking(trainer, monkeypatch) == [30, 30, 30] and trainer.history.note == ""
    assert [row["step"] for row in trainer.history.curve] == [4, 8, 12]


def test_the_looks_of_a_stopped_run_stay(monkeypatch):
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, SHORT)
    trainer.looks = Looks(2, images=10)
    other = Trainer(fresh(), IMAGES, HELD_OUT, SHORT)
    other.load_state_dict(trainer.state_dict())
    assert looking(other, monkeypatch) == [10, 30]
    state = trainer.state_dict()
    del state["looks"]  # as a checkpoint of an earlier version
    other.load_state_dict(state)
    assert other.looks == Looks(SHORT.evaluations)


def test_epochs_become_steps():
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=None, epochs=4))
    assert trainer.steps == 25  # 4 x 50 / 8
    assert Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=None, epochs=1e-3)).steps == 1


# --- Stopped from outside, in a process of its own ----------

ARGUMENTS = [
    *("--preset", "CIFAR-ViT-Nano", "--batch-size", "8"),
    *("--threads", "1", "--precision", "float32", "--seed", "3"),
]
SLOW = """
import sys, time
import vit_teach.train as t
t.loop.SAVE_SECONDS = 0
step = t.Trainer.begin_step
def slow_step(trainer):
    print("done", trainer.done, flush=True)
    time.sleep(0.2 if trainer.done > 4 else 0)
    return step(trainer)
t.Trainer.begin_step = slow_step
from vit_teach.train import __main__ as train_command
sys.exit(train_command.main(sys.argv[1:]))
"""


def start(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **pipes)


def wait_for(process, line):
    for text in process.stdout:
        if text.strip() == line:
            return
    pytest.fail("the training ended early: " + process.stderr.read())


def finish(process, code=0):
    out, error = process.communicate(timeout=120)
    assert process.returncode == code, error
    return out, error


def test_killed_or_interrupted_then_resumed_is_bit_equal(tmp_path):
    def command(folder):
        where = ["--dataset", str(tmp_path / "pictures"), "--out", str(tmp_path / folder)]
        return [*ARGUMENTS, "--steps", "14", *where]

    for i, image in enumerate(IMAGES.images):
        path = tmp_path / "pictures" / f"kind {i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)

    killed, asked = (start("-c", SLOW, *command(folder)) for folder in ("killed", "asked"))
    wait_for(killed, "done 5")
    killed.send_signal(signal.SIGKILL)
    finish(killed, -signal.SIGKILL)
    wait_for(asked, "done 5")
    asked.send_signal(signal.SIGINT)
    _, message = finish(asked, 130)
    told = re.search(r"stopped after step (\d+) of 14\. To go on, run the same command", message)
    assert told and 6 <= int(told[1]) < 14  # on a busy machine the wish arrives a step later
    assert "python -m vit_teach.train --preset CIFAR-ViT-Nano" in message
    assert "Traceback" not in message
    assert train_command.main(command("whole")) == 0
    expected = weights.load(tmp_path / "whole" / "weights.safetensors").state_dict()
    for folder in ("killed", "asked"):
        assert not (tmp_path / folder / "weights.safetensors").exists()
        saved = torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)
        done = saved["trainer"]["done"]
        assert done == int(told[1]) if folder == "asked" else 4 <= done < 14
        if folder == "killed":
            finish(start("-m", "vit_teach.train", *command(folder)))
        else:
            assert train_command.main(command(folder)) == 0
        found = weights.load(tmp_path / folder / "weights.safetensors").state_dict()
        assert_same_state(found, expected)
        cards = [json.loads((tmp_path / f / "card.json").read_text()) for f in ("whole", folder)]
        assert cards[0]["metrics"] == cards[1]["metrics"]
        assert cards[0]["curves"]["train_loss"] == cards[1]["curves"]["train_loss"]


def test_the_second_ctrl_c_is_immediate():
    from vit_teach.train.resume import StopRequest

    found = signal.getsignal(signal.SIGINT)
    before = signal.default_int_handler  # a test run in the background inherits "ignore"
    signal.signal(signal.SIGINT, before)
    try:
        with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.requested
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, found)


@pytest.mark.parametrize("with_folder", [False, True])
def test_after_step_sees_every_step_and_changes_nothing(tmp_path, with_folder):
    seen = []

    def note(trainer):
        seen.append((trainer.done, trainer.steps, len(trainer.history.curve)))

    folder = tmp_path if with_folder else None
    best, history = train(fresh(), IMAGES, HELD_OUT, SHORT, folder, quiet=True, after_step=note)
    assert seen == [(n, 12, n // 4) for n in range(1, 13)]
    alone, expected = run()
    assert_same_state(best.state_dict(), alone.state_dict())
    assert_same_curve(history, expected)


def test_after_step_stops_the_run_where_it_returns_true_and_the_folder_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after step 5 of 12"):
        train(fresh(), IMAGES, HELD_OUT, SHORT, tmp_path, quiet=True,
              after_step=lambda trainer: trainer.done == 5)  # fmt: skip
    best, history = run(folder=tmp_path)
    alone, expected = run()
    assert_same_state(best.state_dict(), alone.state_dict())
    assert_same_curve(history, expected)


# --- Checkpoints that do not fit ----------


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    run(folder=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    changes = {
        "steps": 13, "batch_size": 4, "optimizer": "adamw", "learning_rate": 1e-3,
        "weight_decay": 0.1, "warmup": 0.2, "label_smoothing": 0.0, "clip": 2.0, "average": 0.5,
        "augment": "none", "precision": "bfloat16", "evaluations": 2, "seed": 1,
    }  # fmt: skip
    for name, value in changes.items():
        message = rf"holds a run with {name}=.*, not {value!r}: use the same settings"
        with pytest.raises(ValueError, match=message):
            run(replace(SHORT, **{name: value}), folder=tmp_path)
    with pytest.raises(ValueError, match="holds a run on other images"):
        train(fresh(), HELD_OUT, HELD_OUT, SHORT, tmp_path, quiet=True)
    with pytest.raises(ValueError, match="holds a run of another model"):
        run(model=replace(MODEL, embed_dim=32), folder=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


class Trap:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (Path(self.marker),)


@pytest.mark.parametrize("fault", ["empty", "text", "truncated", "pickle", "code", "tensor"])
def test_damaged_checkpoints_are_refused_and_never_executed(fault, tmp_path):
    path, marker = tmp_path / "checkpoint.pt", tmp_path / "marker"
    if fault == "empty":
        path.write_bytes(b"")
    elif fault == "text":
        path.write_text("hello " * 50)
    elif fault == "truncated":
        run(replace(SHORT, steps=1, evaluations=1), folder=tmp_path)
        path.write_bytes(path.read_bytes()[:-500])
    elif fault == "pickle":
        path.write_bytes(pickle.dumps(Trap(str(marker))))
    elif fault == "code":
        torch.save({"config": Trap(str(marker))}, path)
    else:
        torch.save(torch.zeros(3), path)
    with pytest.raises(
        ValueError, match=r"checkpoint.pt is damaged or not a checkpoint: delete it"
    ):
        read_checkpoint(path, IMAGES.fingerprint(), SHORT)
    assert not marker.exists()


def test_no_checkpoint_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(replace(SHORT, steps=2))
    assert list(tmp_path.iterdir()) == []


# --- Each part of a step ----------


@few
@given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 3))
def test_each_epoch_sees_each_image_once(length, batch, seed):
    epochs = 3
    steps = -(-epochs * length // batch)
    stream = torch.cat([batch_indices(step, batch, length, seed) for step in range(steps)])
    assert len(stream) == steps * batch
    for epoch in range(epochs):
        seen = stream[epoch * length : (epoch + 1) * length]
        assert seen.sort().values.tolist() == list(range(length))


def test_epochs_and_seeds_shuffle_anew():
    first, second = batch_indices(0, 50, 50, 0), batch_indices(1, 50, 50, 0)
    assert not torch.equal(first, second) and not torch.equal(first, torch.arange(50))
    assert not torch.equal(first, batch_indices(0, 50, 50, 1))
    assert torch.equal(first, batch_indices(0, 50, 50, 0))


def test_the_learning_rate_follows_the_schedule():
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, warmup=0.25))
    for step in range(12):
        trainer.step()
        groups = [g for optimizer in trainer.optimizers for g in optimizer.param_groups]
        assert {g["lr"] for g in groups} == {3e-3 * schedule(step, 12, 3)}
    assert [round(schedule(step, 12, 3), 3) for step in (0, 1, 2, 3)] == [0.333, 0.667, 1, 1]


def test_the_average_follows_the_weights():
    trainer = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, average=0.3))
    expected = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    for step in range(1, 7):
        trainer.step()
        decay = min(0.3, step / (step + 10))
        for name, parameter in trainer.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, parameter in trainer.average.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])
        assert not torch.equal(parameter, trainer.model.get_parameter(name))
    assert trainer.current is trainer.average
    assert Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, average=0)).average is None


def test_the_average_has_the_models_batch_statistics():
    model = zoo.preset("CIFAR-ResNet-Micro", width=4)
    trainer = Trainer(fresh(model), IMAGES, HELD_OUT, SHORT)
    trainer.step()
    buffers = dict(trainer.model.named_buffers())
    assert buffers["bn1.running_mean"].abs().max() > 0
    for name, buffer in trainer.average.named_buffers():
        assert torch.equal(buffer, buffers[name])


def test_gradients_are_clipped(monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def watched(parameters, limit):
        parameters = list(parameters)
        clip(parameters, limit)
        norms.append(torch.stack([p.grad.norm() for p in parameters]).norm().item())

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    Trainer(randomise(fresh()), IMAGES, HELD_OUT, replace(SHORT, clip=0.01)).step()
    assert abs(norms[0] - 0.01) < 1e-4


def test_the_first_loss_is_ln_10():
    loss, _ = Trainer(fresh(), IMAGES, HELD_OUT, SHORT).step()
    assert abs(loss - 2.302585) < 1e-4  # a zero head; label smoothing does not change it


def test_the_curve_is_complete():
    _, history = run()
    assert [row["step"] for row in history.curve] == [4, 8, 12]
    assert [row["epoch"] for row in history.curve] == [0.64, 1.28, 1.92]
    keys = ["step", "epoch", "seconds", "learning_rate", "train_loss", "train_accuracy"]
    assert all(list(row) == [*keys, "val_loss", "val_accuracy"] for row in history.curve)
    assert (history.precision, history.threads, history.device) == ("float32", 1, "cpu")


def test_more_looks_than_steps():
    _, history = run(replace(SHORT, steps=2, evaluations=10))
    assert [row["step"] for row in history.curve] == [1, 2]


def test_the_last_row_is_the_returned_weights():
    best, history = run()
    accuracy, loss = evaluate(best, HELD_OUT)
    assert (accuracy, loss) == (history.curve[-1]["val_accuracy"], history.curve[-1]["val_loss"])


def test_one_line_for_each_look(capsys):
    train(fresh(), IMAGES, HELD_OUT, SHORT)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("step     12/12 · epoch   1.9 ·")
    run()
    assert capsys.readouterr().out == ""


def test_validation_images_are_not_learned_from(monkeypatch):
    best, _ = run()
    other = ImageSet(
        HELD_OUT.images, (HELD_OUT.labels + 1) % 10, HELD_OUT.classes, "x", "validation"
    )
    same, _ = train(fresh(), IMAGES, other, SHORT, quiet=True)
    assert_same_state(best.state_dict(), same.state_dict())


# --- Evaluation ----------


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_the_mode_and_no_gradient(training):
    model = randomise(fresh(replace(MODEL, dropout=0.5))).train(training)
    first = evaluate(model, HELD_OUT)
    assert model.training == training and all(p.grad is None for p in model.parameters())
    assert evaluate(model, HELD_OUT) == first  # dropout is off inside
    assert evaluate(model, HELD_OUT, batch_size=7) == pytest.approx(first, rel=1e-5)


def test_evaluate_is_accuracy_and_cross_entropy():
    model = randomise(fresh()).eval()
    from vit_teach.data.imageset import normalise

    with torch.no_grad():
        chances = model(normalise(HELD_OUT.images)).double().softmax(dim=1)
    rows = range(len(HELD_OUT))
    hits = [chances[i].argmax() == HELD_OUT.labels[i] for i in rows]
    losses = [-chances[i, HELD_OUT.labels[i]].log().item() for i in rows]
    accuracy, loss = evaluate(model, HELD_OUT)
    assert accuracy == sum(hits) / 30 and loss == pytest.approx(sum(losses) / 30, rel=1e-5)


def test_evaluate_refuses_nothing():
    with pytest.raises(ValueError, match="image_set of length 0 must hold at least one image"):
        evaluate(fresh(), HELD_OUT.take(torch.tensor([], dtype=torch.long)))


# --- It learns, and only what is there ----------


def test_eight_images_are_learned_by_heart():
    eight = shapes(8, seed=1)
    config = TrainConfig(steps=60, batch_size=8, augment="none", evaluations=1, label_smoothing=0.0,
                         average=0, threads=1, precision="float32")  # fmt: skip
    began = time.process_time()  # other programs do not count
    model = fresh(zoo.preset("CIFAR-ViT-Nano"))
    best, _ = train(model, eight, eight, config, quiet=True)
    accuracy, loss = evaluate(best, eight)
    assert accuracy == 1 and loss < 0.3
    assert time.process_time() - began < 10


def test_true_labels_teach_and_shuffled_labels_do_not():
    """Squares of one colour: easy to learn, and worth nothing when labels are dealt at random."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(600) % 10
    colours = 25 * labels[:, None, None, None].expand(-1, 3, 32, 32)
    noise = torch.randint(0, 25, (600, 3, 32, 32), generator=generator)
    images = (colours + noise).to(torch.uint8)
    names = tuple("0123456789")
    config = TrainConfig(steps=400, learning_rate=5e-3, batch_size=50, augment="none",
                         evaluations=1, average=0, threads=1, precision="float32")  # fmt: skip
    dealt = labels[:400][torch.randperm(400, generator=generator)]
    held_out = ImageSet(images[400:], labels[400:], names, "squares", "validation")
    accuracies = []
    for given_labels in (labels[:400], dealt):
        train_set = ImageSet(images[:400], given_labels, names, "squares", "train")
        best, _ = train(fresh(replace(MODEL, dropout=0.0)), train_set, held_out, config, quiet=True)
        accuracies.append(evaluate(best, held_out)[0])
    assert accuracies[0] > 0.6 and accuracies[1] < 0.25


# --- Bad arguments ----------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": None}, r"give one of steps=None, epochs=None, minutes=None"),
        ({"epochs": 1.0}, r"give one of steps=12, epochs=1.0, minutes=None"),
        ({"steps": 0}, r"give one of steps=0, .* and it must be positive"),
        ({"steps": None, "minutes": -1}, r"minutes=-1, and it must be positive"),
        ({"steps": None, "epochs": float("nan")}, r"epochs=nan, .* must be positive"),
        ({"steps": 1.5}, r"steps=1.5 must be an integer"),
        ({"batch_size": 0}, r"batch_size=0 must be positive"),
        ({"batch_size": 2.5}, r"batch_size=2.5 must be positive"),
        ({"optimizer": "sgd"}, r"optimizer='sgd' must be one of \('muon', 'muon-conv', 'adamw'\)"),
        ({"learning_rate": 0}, r"learning_rate=0 must be positive"),
        ({"weight_decay": -1}, r"weight_decay=-1 must be 0 or more"),
        ({"warmup": 1.0}, r"warmup=1.0 must be a fraction of the steps in \[0, 1\)"),
        ({"label_smoothing": 1}, r"label_smoothing=1 must be in \[0, 1\)"),
        ({"clip": 0}, r"clip=0 must be positive"),
        ({"average": 1}, r"average=1 must be in \[0, 1\)"),
        ({"augment": "magic"}, r"augment='magic' must be one of \('none', 'basic'"),
        ({"precision": "half"}, r"precision='half' must be one of"),
        ({"evaluations": 0}, r"evaluations=0 must be an integer from 1 to a million"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **changes)


def test_bad_device_and_threads_are_refused_at_the_start():
    with pytest.raises(ValueError, match="device='toaster'"):
        run(replace(SHORT, device="toaster"))
    with pytest.raises(ValueError, match="threads=0 must be"):
        run(replace(SHORT, threads=0))


def test_a_loss_may_be_read_a_step_later_as_on_a_gpu():
    trainers = [Trainer(fresh(), IMAGES, HELD_OUT, SHORT) for _ in range(2)]
    seen = []
    trainers[1].behind = 1
    for trainer in trainers:
        counts = []
        run_steps(
            trainer, lambda: None, True, lambda t, counts=counts: counts.append(len(t.losses))
        )
        seen.append(counts)
    assert seen[0] != seen[1] and max(seen[0]) == 1 + max(seen[1])  # it was a step behind
    assert_same_state(trainers[0].current.state_dict(), trainers[1].current.state_dict())
    assert_same_curve(trainers[0].history, trainers[1].history)


def test_a_run_that_reads_its_losses_later_stops_at_the_step_that_went_wrong(monkeypatch):
    trainer, real = Trainer(fresh(), IMAGES, HELD_OUT, SHORT), Trainer.begin_step
    trainer.behind = 1

    def third(trainer):
        measured = real(trainer)
        return (lambda: [float("inf"), 0.0]) if trainer.done == 3 else measured

    monkeypatch.setattr(Trainer, "begin_step", third)
    with pytest.raises(Diverged, match="diverged at step 3, .*the loss is inf"):
        run_steps(trainer, lambda: pytest.fail("saved"), quiet=True)
    assert trainer.done == 4


def test_run_steps_saves_at_the_end():
    trainer, saves = Trainer(fresh(), IMAGES, HELD_OUT, replace(SHORT, steps=3)), []
    run_steps(trainer, lambda: saves.append(trainer.done), quiet=True)
    assert saves == [3]


def test_the_best_look_is_kept_and_survives_a_stop(tmp_path, monkeypatch):
    accuracies = iter([0.3, 0.6, 0.5, 0.6])
    weights = []

    def scripted(model, *_, **__):
        weights.append({k: v.clone() for k, v in model.state_dict().items()})
        return next(accuracies), 1.0

    monkeypatch.setattr("vit_teach.train.loop.evaluate", scripted)
    config = replace(SHORT, evaluations=4, keep="best")
    stopped = Trainer(fresh(), IMAGES, HELD_OUT, config)
    for _ in range(6):
        stopped.losses.append(stopped.step()[0])
        stopped.accuracies.append(0.0)
        if stopped.done % 3 == 0:
            stopped.validate()
    resumed = Trainer(fresh(seed=9), IMAGES, HELD_OUT, config)
    resumed.load_state_dict(stopped.state_dict())
    run_steps(resumed, save=lambda: None, quiet=True)
    assert len(weights) == 4
    assert_same_state(resumed.finish().state_dict(), weights[1])  # the first of two equals
    assert resumed.history.kept_step == 6 and resumed.history.kept["val_accuracy"] == 0.6


def test_the_last_step_is_kept_by_default(monkeypatch):
    accuracies = iter([0.6, 0.5, 0.3])
    monkeypatch.setattr("vit_teach.train.loop.evaluate", lambda *_, **__: (next(accuracies), 1.0))
    _, history = run(SHORT)
    assert history.kept_step == 12 and history.kept["val_accuracy"] == 0.3


def test_every_look_takes_all_validation_images(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "vit_teach.train.loop.evaluate",
        lambda _, images, **__: (seen.append(len(images)) or 0.5, 1.0),
    )
    run(SHORT)
    assert seen == [len(HELD_OUT)] * 3
