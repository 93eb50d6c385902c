"""The page on one evening: what its figures and sentences say of the cards."""

import chapters
import pytest

import vit_teach as vt
from vit_teach.experiments import evening

NAME = "evening"


def recorded():
    return {card["cell"]: card for card in vt.results.recorded("train")}


def two_minutes():
    """{choice: validation accuracy in per cent} of the runs of two minutes."""
    rows = vt.experiments.rows(vt.results.recorded("evening"), ["val_accuracy"])
    return {row["choice"]: 100 * row["mean"] for row in rows}


def test_the_command_is_the_cards():
    text = chapters.markdown(NAME).replace("\\\n    ", "")
    command = recorded()["cifar-hybrid-evening"]["train"]["command"]
    told = next(line for line in text.splitlines() if line.startswith("python -m vit_teach.train"))
    assert told.split() == command.split()


def test_a_line_goes_along_the_operations_of_a_run():
    card = recorded()["cifar-hybrid-evening"]
    points = chapters.built(NAME)["along"](card)
    assert len(points) == len(card["curves"]["epoch"]) == 25
    assert points[-1][0] == pytest.approx(card["cost"]["train_flops"] / 1e15, rel=1e-3)
    assert points[-1][1] == 100 * card["curves"]["val_accuracy"][-1]
    assert points[4][0] == pytest.approx(points[-1][0] / 5, rel=1e-2)


def test_operations_are_six_for_each_multiply_add():
    card = recorded()["cifar-hybrid-evening"]
    steps = 6 * card["cost"]["macs"] * card["train"]["steps"] * 128
    assert card["cost"]["train_flops"] == pytest.approx(steps, rel=1e-3)


def test_each_choice_got_two_minutes_of_steps():
    cards = {card["config"]["labels"]["choice"]: card for card in vt.results.recorded("evening")}
    assert set(cards) == set(evening.CHOICES)
    for name, choice in evening.CHOICES.items():
        assert cards[name]["train"]["steps"] == 120 * choice.speed // 128
        assert "test_accuracy" not in cards[name]["metrics"]
