"""The training lab without a browser: its buttons are pressed by code."""

import json
import re
import threading
import time

import pytest
import torch

import vit_teach as vt
from vit_teach.widgets import TrainingLab, training_lab
from vit_teach.widgets.shared import base
from vit_teach.widgets.training_views import Line, curves, matrix, round_steps

PATIENCE = 120  # seconds: other work may share the machine
VIEW = "application/vnd.jupyter.widget-view+json"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def lab(monkeypatch):
    """A lab with few pictures, whose runs are 24 steps long."""
    sets = vt.data.shapes(64, seed=0), vt.data.shapes(40, seed=1)
    monkeypatch.setattr(training_lab, "image_sets", lambda dataset: sets)
    monkeypatch.setattr(training_lab, "measure_steps", lambda *settings: 24)
    monkeypatch.setattr(training_lab, "REDRAW", 0)
    lab = TrainingLab(preset="CIFAR-ResNet-Nano", seconds=5)
    yield lab
    lab.stop()
    assert lab.wait(PATIENCE)


def press(lab, name):
    assert not lab.buttons[name].disabled
    lab.buttons[name].click()


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def held(lab, monkeypatch, step):
    """Makes the lab's runs wait after a step, until the test lets them go on."""
    reached, go = threading.Event(), threading.Event()
    real = lab._watch

    def watch(run, trainer):
        stopping = real(run, trainer)
        if trainer.done == step:
            reached.set()
            assert go.wait(PATIENCE)
            return real(run, trainer)
        return stopping

    monkeypatch.setattr(lab, "_watch", watch)
    return reached, go


def text(lab):
    return re.sub("<[^>]+>", " ", lab.status.value + lab.problem.value)


def enabled(lab):
    return [name for name, button in lab.buttons.items() if not button.disabled]


def test_a_run_draws_its_curve_while_it_trains_and_ends_with_a_confusion_matrix(lab, monkeypatch):
    reached, go = held(lab, monkeypatch, step=12)
    assert enabled(lab) == ["Train"]
    empty = lab.picture.value
    press(lab, "Train")
    assert reached.wait(PATIENCE)
    assert lab.training and enabled(lab) == ["Stop"]
    assert re.search(r"Step 12 of 24 · \d+ s left", text(lab))
    half = lab.picture.value
    assert half.count("●") == len(lab.runs[0].curve) == 6 and "●" not in empty
    assert "stroke-dasharray" in half and "training" in lab.table.value
    go.set()
    assert lab.wait(PATIENCE) and enabled(lab) == ["Train", "Again"]
    (run,) = lab.runs
    assert (run.outcome, run.steps, len(run.curve)) == ("finished", 24, 12)
    assert lab.picture.value.count("●") == 12
    assert run.confusion.sum() == 40 and lab.confusion.value.count("<td") == 101
    assert f"{run.accuracy:.1%} on validation images" in text(lab)


def test_the_run_is_that_of_vt_train(lab):
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    learned, judges = training_lab.image_sets("digits")
    model = training_lab.fresh(lab.settings(), judges)
    best, history = vt.train.train(model, learned, judges, lab.settings().config(24), quiet=True)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in curve]
                for curve in (lab.runs[0].curve, history.curve)]  # fmt: skip
    assert timeless[0] == timeless[1]
    diagonal = lab.runs[0].confusion.diagonal().sum().item() / len(judges)
    assert diagonal == pytest.approx(history.curve[-1]["val_accuracy"], abs=1 / 40)


def test_stop_ends_the_run_after_the_step_at_hand_and_keeps_what_it_learned(lab, monkeypatch):
    reached, go = held(lab, monkeypatch, step=5)
    press(lab, "Train")
    assert reached.wait(PATIENCE)
    press(lab, "Stop")
    go.set()
    assert lab.wait(PATIENCE)
    (run,) = lab.runs
    assert (run.outcome, run.steps, len(run.curve)) == ("stopped", 5, 2)
    assert "stopped after 5 steps" in text(lab) and 'role="alert"' not in lab.problem.value
    assert run.confusion.sum() == 40 and enabled(lab) == ["Train", "Again"]


def test_again_repeats_the_settings_with_the_next_seed_beside_the_earlier_run(lab, monkeypatch):
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    lab.controls["augment"].value = "strong"  # of the next run, not of this one
    press(lab, "Again")
    assert lab.wait(PATIENCE)
    first, second = lab.runs
    assert second.settings == training_lab.Settings(**{**vars(first.settings), "seed": 1})
    assert first.curve != second.curve
    assert lab.picture.value.count("●") == lab.picture.value.count("■") == 12
    assert lab.table.value.count("<tr>") == 3
    monkeypatch.setattr(training_lab, "MOST", 2)
    press(lab, "Again")
    assert lab.wait(PATIENCE)
    assert [run.settings.seed for run in lab.runs] == [1, 2]


def test_a_run_that_diverges_says_at_which_step_and_what_to_try(lab):
    lab.controls["learning_rate"].value = 1e30
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    (run,) = lab.runs
    assert run.outcome == "diverged" and run.confusion is None and lab.confusion.value == ""
    assert re.search(r"diverged at step \d+, at a learning rate of", text(lab))
    assert "Try a third of learning_rate" in text(lab) and 'role="alert"' in lab.problem.value
    lab.controls["learning_rate"].value = 3e-3
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    assert lab.runs[-1].outcome == "finished" and "diverged" not in lab.problem.value


def test_a_run_that_learned_nothing_says_so(lab):
    lab.controls["learning_rate"].value = 1e-12
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    assert "did no better than guessing (10%)" in text(lab)


def test_whatever_else_goes_wrong_is_told(lab, monkeypatch):
    monkeypatch.setattr(training_lab, "image_sets", lambda name: 1 / 0)
    press(lab, "Train")
    assert lab.wait(PATIENCE)
    assert lab.runs[0].outcome == "failed" and "ZeroDivisionError" in text(lab)


WRONG = [
    ("learning_rate", -1.0, "learning_rate=-1.0 must be positive"),
    ("learning_rate", float("nan"), "learning_rate=nan must be"),
    ("seconds", 0, "seconds=0 must be an integer from 3 to 3,600"),
    ("seconds", 10**9, "seconds=1000000000 must be an integer"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_is_refused_in_words_and_trains_nothing(lab, name, value, message):
    lab.controls[name].value = value
    press(lab, "Train")
    assert message in text(lab) and lab.runs == [] and not lab.training
    assert enabled(lab) == ["Train"]


BAD = [
    ({"dataset": "mnist"}, "dataset='mnist' must be one of digits, shapes"),
    ({"preset": "ViT-B/16"}, "preset='ViT-B/16' must be one of CIFAR-ViT-Nano"),
    ({"augment": "much"}, "augment='much' must be one of"),
    ({"learning_rate": 0}, "learning_rate=0 must be positive"),
    ({"seconds": 1.5}, "seconds=1.5 must be an integer"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainingLab(**arguments)


def test_cifar_is_offered_where_it_lies(monkeypatch):
    for folder, names in ((None, ["digits", "shapes"]), ("x", ["digits", "shapes", "cifar10"])):
        monkeypatch.setattr(vt.data, "find", lambda name, folder=folder: folder)
        assert [value if isinstance(value, str) else value[1]
                for value in TrainingLab().controls["dataset"].options] == names  # fmt: skip


def test_a_lab_that_begins_stops_the_one_that_trains(lab, monkeypatch):
    reached, go = held(lab, monkeypatch, step=3)
    press(lab, "Train")
    assert reached.wait(PATIENCE)
    other = TrainingLab(preset="CIFAR-ResNet-Nano", seconds=5)
    press(other, "Train")
    go.set()
    assert other.wait(PATIENCE)
    assert (lab.runs[0].outcome, other.runs[0].outcome) == ("stopped", "finished")
    assert lab.runs[0].steps < 24


def test_stop_is_heard_while_the_speed_is_measured():
    sets = vt.data.shapes(64, seed=0), vt.data.shapes(40, seed=1)
    settings = training_lab.Settings("digits", "CIFAR-ResNet-Nano", 3e-3, "none", 3600)
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt, match="stopped after step 1 of"):
        training_lab.measure_steps(settings, *sets, stop)


def test_more_seconds_are_more_steps():
    sets = vt.data.shapes(64, seed=0), vt.data.shapes(40, seed=1)
    steps = [
        training_lab.measure_steps(
            training_lab.Settings("digits", "CIFAR-ResNet-Nano", rate, "none", seconds),
            *sets, threading.Event(),
        )
        for seconds, rate in ((3, 3e-3), (600, 3e-3), (600, 1e30))
    ]  # fmt: skip
    assert 12 <= steps[0] < steps[1] / 5 and steps[2] >= 12


# --- What is drawn ----------


def test_curves_lie_where_their_numbers_are():
    drawn = curves([Line([(0, 0.0), (20, 1.0)])], 20, "seconds", "Up.")
    assert 'd="M48.0,218.0L506.0,10.0"' in drawn and 'aria-label="Up."' in drawn
    assert round_steps(0.7)[-1] == pytest.approx(0.7) and round_steps(3600)[1] == 1000


def test_names_cannot_leave_their_place():
    bad = "<b>&"
    assert "<b>" not in matrix(torch.eye(2, dtype=torch.int64), (bad, "dog"))
    assert "<b>" not in curves([], 1, "x", bad)


def test_the_lab_is_no_module_of_the_site():
    assert "training_lab" not in base.modules()


# --- The page without Python ----------


def test_the_page_shows_a_recorded_run_without_the_state_of_a_widget():
    bundle = TrainingLab()._repr_mimebundle_()
    shown = bundle["text/html"]
    assert VIEW in bundle and "<script" not in shown and "model_id" not in shown
    card = {c["cell"]: c for c in vt.results.recorded("train")}["cifar-vit-20min"]
    alt = re.search(r'role="img" aria-label="([^"]+)"', shown)[1]
    assert card["config"]["preset"] in alt
    assert f"to {card['curves']['val_accuracy'][-1]:.0%} after 22 minutes" in alt
    assert "press Train" in re.search("<figcaption>(.*)</figcaption>", shown)[1]
    assert shown.count("●") == len(card["curves"]["step"])
    assert len(shown) < 6000 and json.dumps(shown)


def test_without_the_recorded_cards_there_are_words(monkeypatch):
    monkeypatch.setattr(training_lab.results.cards, "RESULTS", base.FOLDER / "no such folder")
    assert TrainingLab().static_html() == f"<p>{training_lab.SAYS}</p>"
