"""A training that two experiments need is run once: which card may be taken, and what it says."""

from pathlib import Path

import pytest

from vit_teach import results
from vit_teach.experiments import EXPERIMENTS, Experiment, cell, find
from vit_teach.experiments.lab import runner
from vit_teach.experiments.lab.measurement import Measurement
from vit_teach.experiments.lab.report import core_hours
from vit_teach.experiments.lab.same_training import METRICS

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
TINY = {"n": 100, "data": "corner", "tuned": False, "evaluations": 2, "batch_size": 16}


def experiment(name, **more):
    return Experiment(name, "Does it run?", lambda quick: [], **more)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with the card of one small training, and that card."""
    folder = tmp_path_factory.mktemp("cards")
    first = experiment("first", measure=lambda *_: {"more_accuracy": 0.5})
    trained = cell("cnn", 64, labels={"images": 100}, **TINY)
    assert runner.cell_in_process(first, trained, folder, folder / "work") == 0
    return folder, results.read_card(runner.card_path(first, trained, folder))


def test_the_same_training_is_not_run_again(first, monkeypatch):
    folder, card = first
    monkeypatch.setattr(runner, "train", None)  # would end in an error
    again = cell("cnn", 64, labels={"depth": 4}, **TINY)
    copy = runner.run_cell(experiment("second"), again, recorded=folder)
    assert copy["same_training_as"] == "first/cnn-100-s0"
    assert (copy["experiment"], copy["cell"]) == ("second", "cnn-4-s0")
    assert copy["config"]["labels"] == {"model": "cnn", "depth": 4}
    assert copy["train"]["command"].endswith("cell second cnn-4-s0")
    assert "more_accuracy" in card["metrics"] and set(copy["metrics"]) == set(METRICS)
    for key in ("seed", "data", "cost", "curves", "env"):
        assert copy[key] == card[key]
    assert core_hours([card]) == core_hours([card, copy]) > 0


def test_where_the_best_evaluation_was_the_last_both_rules_keep_it(tmp_path):
    kept_best = cell("cnn", 64, **{**TINY, "evaluations": 1}, keep="best")
    assert runner.cell_in_process(experiment("best"), kept_best, tmp_path, tmp_path / "work") == 0
    kept_last = cell("cnn", 64, labels={"rule": "last"}, **{**TINY, "evaluations": 1})
    copy = runner.run_cell(experiment("last"), kept_last, recorded=tmp_path)
    assert copy["same_training_as"] == "best/cnn-s0" and copy["config"]["train"]["keep"] == "last"
    path = runner.card_path(experiment("best"), kept_best, tmp_path)
    card = results.read_card(path)
    card["train"]["kept_step"] = card["train"]["steps"] - 1  # now the best was not the last
    results.write_card(card, path)
    anew = runner.run_cell(experiment("last"), kept_last, recorded=tmp_path)
    assert "same_training_as" not in anew


def test_a_copy_equals_the_training_run_anew(first):
    folder, _ = first
    again = cell("cnn", 64, labels={"depth": 4}, **TINY)
    copy = runner.run_cell(experiment("second"), again, recorded=folder)
    anew = runner.run_cell(experiment("second"), again)
    assert copy["metrics"] == anew["metrics"] and "same_training_as" not in anew
    assert copy["curves"]["val_loss"] == anew["curves"]["val_loss"]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 99}, {"augment": "none"}, {"seed": 1}, {"test": False}, {"keep": "best"},
        {"permutation": "pixels"}, {"learning_rate": 0.1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_another_training_is_run(first, change):
    folder, _ = first
    other = cell("cnn", 64, **{**TINY, **change})
    assert "same_training_as" not in runner.run_cell(experiment("second"), other, recorded=folder)


def test_longer_or_with_more_to_measure_it_is_run(first):
    folder, _ = first
    longer = cell("cnn", 128, **TINY)
    assert "same_training_as" not in runner.run_cell(experiment("b"), longer, recorded=folder)
    more = experiment("c", measure=lambda *_: {"other_accuracy": 0.25})
    card = runner.run_cell(more, cell("cnn", 64, **TINY), recorded=folder)
    assert "same_training_as" not in card and card["metrics"]["other_accuracy"] == 0.25


def test_a_failed_card_and_a_copy_are_passed_over(first, tmp_path):
    _, card = first
    tiny = cell("cnn", 64, labels={"images": 100}, **TINY)
    for change in ({"status": "failed"}, {"same_training_as": "first/cnn-s0"}):
        results.write_card({**card, **change}, tmp_path / "first" / "cnn-100-s0.json")
        found = runner.run_cell(experiment("second"), tiny, recorded=tmp_path)
        assert "same_training_as" not in found


def test_experiments_that_share_trainings():
    def trainings(name):
        plain = {}
        for each in find(name).cells(quick=False):
            if isinstance(each, Measurement):
                continue  # it trains nothing
            settings = {**each.settings(), "labels": None}
            plain[each.name] = (repr(settings), each.n, each.train.steps, each.seed, each.test)
        return plain

    of = {name: set(trainings(name).values()) for name in EXPERIMENTS}
    assert len(of["augmentation"] & of["data_size"]) == 12
    assert len(of["scale"] & of["shuffle"]) == 3
    assert len(of["positions"] & of["bias_dial"] & of["pooling"]) == 4


def recorded_copies():
    paths = sorted(RESULTS.glob("*/*.json"))
    return [path for path in paths if "same_training_as" in results.read_card(path)]


@pytest.mark.parametrize("path", recorded_copies(), ids=lambda path: path.stem)
def test_a_recorded_copy_equals_its_training(path):
    card = results.read_card(path)
    origin = results.read_card(RESULTS / f"{card['same_training_as']}.json")
    names = ("experiment", "cell", "same_training_as", "selection", "config", "train", "metrics")
    for key in (set(card) | set(origin)) - set(names):
        assert card[key] == origin[key]
    rules = [each["config"]["train"].pop("keep") for each in (card, origin)]
    if rules[0] != rules[1]:  # where the best evaluation was the last, both keep the same weights
        assert rules == ["last", "best"]
        assert origin["train"]["kept_step"] == origin["train"]["steps"]
    assert {**card["config"], "labels": None} == {**origin["config"], "labels": None}
    assert {**card["train"], "command": None} == {**origin["train"], "command": None}
    assert card["metrics"].items() <= origin["metrics"].items()
