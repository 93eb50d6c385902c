"""Chapter 9: its exact claims hold on other sizes too, its solutions run, its records are shown."""

import functools

import chapters
import pytest
import torch

import vit_teach as vt

NAME = "09_recipe"


def accuracy(labels, seed):
    """Made up: the modern recipe is best, the others are alike."""
    return 0.5 + 0.1 * (labels.get("recipe") == "modern") + 0.01 * seed


@functools.cache
def chapter():
    """The variables of the chapter after its cells: live runs made up, nothing recorded."""
    variables = chapters.run_on_made_up_cards(NAME, accuracy)
    torch.set_printoptions(profile="default")
    return variables


def test_the_chapter_says_what_is_recorded_whether_it_is_nothing_or_all(capsys):
    chapter()
    capsys.readouterr()
    run = functools.partial(chapters.run_on_made_up_cards, NAME, accuracy)
    nothing = run(dict(chapter()), start='so_far("recipe")')
    printed = capsys.readouterr().out
    assert nothing["found"] == [] and "single factors" not in printed
    full = run(dict(chapter()), start='so_far("recipe")', recorded=True)
    printed = capsys.readouterr().out
    assert "small model: sum of the single factors +0.0 points, all six together +10.0" in printed
    assert {row["recipe"] for row in full["found"]} >= {"tutorial", "modern", "rate"}


def test_gains_count_in_points():
    rows = [{"model": "a", "recipe": name, "mean": mean}
            for name, mean in (("tutorial", 0.5), ("init", 0.53), ("modern", 0.48))]  # fmt: skip
    found = chapter()["gains"](rows, "a")
    assert found == {"init": pytest.approx(3), "modern": pytest.approx(-2)}
    assert chapter()["gains"](rows, "b") == {} == chapter()["gains"](rows[1:], "a")


def test_what_the_text_says_of_the_recipes_is_what_the_cards_say():
    cards = [c for c in vt.results.recorded("recipe") if c["config"]["labels"]["model"] == "vit"]
    points = chapter()["gains"](vt.experiments.rows(cards, ["test_accuracy"]), "vit")
    control, together = points.pop("rate"), points.pop("modern")
    optimizer = points.pop("optimizer")
    assert optimizer > 10 and max(points.values()) < 0.5  # the only factor that gains by itself
    assert optimizer > 0.8 * together
    costs = {name for name, found in points.items() if found < -2}
    assert costs == {"schedule", "augmentation"}
    assert all(abs(found) < 2 for name, found in points.items() if name not in costs)
    assert points["schedule"] == min(points.values()) and sum(points.values()) < -10
    assert max(abs(points["smoothing"]), abs(points["averaging"])) < 1
    assert 0.6 < control / optimizer < 0.73  # two thirds
    assert abs(optimizer + sum(points.values())) < 2 and 12 < together < 18
    assert 0.5 < together - optimizer < 4  # with Muon the other five add a little
    assert all(c["metrics"]["train_accuracy"] < 0.75 for c in cards)  # nothing learned by heart
    (crops,) = (c for c in vt.results.recorded("data_size") if c["cell"] == "vit-45000-basic-s0")
    (modern,) = (c for c in cards if c["cell"] == "vit-modern-s0")
    assert crops["metrics"]["test_accuracy"] > modern["metrics"]["test_accuracy"] + 0.02
    assert crops["train"]["steps"] == modern["train"]["steps"]
    for key in set(crops["config"]["train"]) - {"augment", "evaluations", "keep"}:
        assert crops["config"]["train"][key] == modern["config"]["train"][key]
    assert crops["config"]["model"] == modern["config"]["model"]


def test_what_the_text_says_of_the_large_model_is_what_the_cards_say():
    cards = vt.results.recorded("recipe")
    rows = vt.experiments.rows(cards, ["test_accuracy"])
    large, small = (chapter()["gains"](rows, model) for model in ("vit-base", "vit"))
    assert 0.4 < large["modern"] / small["modern"] < 0.6
    assert small["optimizer"] == max(v for name, v in small.items() if name != "modern")
    assert -7 < large["augmentation"] < small["augmentation"] - 1 < -2
    assert small["schedule"] == min(small.values()) and -1 < large["schedule"] < 0
    assert -0.5 < large["init"] < 0 and small["init"] < -1
    for name in ("smoothing", "averaging"):
        assert 0 < large[name] < 3 and -1 < small[name] < 0
    assert large["smoothing"] < 1
    assert set(large) == set(small)
    spreads = vt.experiments.rows(vt.results.recorded("data_size"), ["test_accuracy"])
    spread = 100 * max(row["std"] for row in spreads)
    assert large["rate"] < large["optimizer"] < -4 * spread
    named = {c["config"]["labels"]["recipe"]: c for c in cards
             if c["config"]["labels"]["model"] == "vit-base"}  # fmt: skip
    seen = {c["train"]["steps"] * c["config"]["train"]["batch_size"] for c in named.values()}
    assert {round(n, -3) for n in seen} == {180_000}
    halves = {name for name, card in named.items() if card["train"]["precision"] == "bfloat16"}
    assert halves == {"tutorial", "schedule", "modern"}
    rates = [named[name]["config"]["train"]["learning_rate"] for name in ("optimizer", "modern")]
    assert rates[0] == rates[1]
    widths = [vt.PRESETS[f"CIFAR-ViT-{size}"].embed_dim for size in ("Base", "Mini")]
    assert widths[0] == 4 * widths[1]
