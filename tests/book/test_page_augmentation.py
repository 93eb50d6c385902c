"""The page on augmentation: what it says is what the cards say."""

from itertools import pairwise

import chapters
import pytest
import torch

import vit_teach as vt

NAME = "augmentation"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


def test_the_best_policy_leads_in_points():
    rows = [{"model": "a", "epochs": 2, "augment": name, "mean": mean}
            for name, mean in (("none", 0.5), ("basic", 0.56), ("strong+mix", 0.52))]  # fmt: skip
    assert page()["best_policies"](rows) == [("a", 2, "basic", pytest.approx(4))]
    assert page()["best_policies"](rows[:1]) == []


def test_the_short_answer_is_what_the_cards_say():
    rows = vt.experiments.rows(vt.results.recorded("augmentation"), ["test_accuracy"])
    test = {(r["model"], r["augment"], r["epochs"]): r["mean"] for r in rows}
    few = vt.experiments.rows(vt.results.recorded("data_size"), ["test_accuracy"])
    of_500 = {r["augment"]: r["mean"] for r in few if (r["model"], r["images"]) == ("vit", 500)}
    for model in ("vit", "hybrid", "cnn"):  # the three behave alike
        assert test[model, "none", 2] > test[model, "basic", 2]
        assert test[model, "none", 30] < test[model, "basic", 30]
        assert test[model, "strong+mix", 30] < test[model, "none", 30]
    assert test["vit", "strong+mix", 2] < test["vit", "none", 2] - 0.1
    frozen = vt.experiments.rows(vt.results.recorded("pretrained"), ["test_accuracy"])
    (features,) = [r["mean"] for r in frozen if (r["size"], r["per_class"]) == (112, 50)]
    assert of_500["basic"] < of_500["strong+mix"] < features - 0.1


def test_what_strong_means_is_what_the_policy_does():
    doc = vt.augment.Augment.__doc__
    assert "2 operations, magnitude 5" in doc and "one batch in two by chance" in doc
    assert "``cutout`` (S/2)" in doc
    white = torch.ones(64, 3, 32, 32)
    covered = vt.augment.cutout(white, 16, torch.Generator().manual_seed(0)) != white
    assert covered[:, 0].sum(dim=(1, 2)).max() == 16 * 16 == 32 * 32 // 4  # a quarter, or less


def test_what_the_text_says_of_augmentation_is_what_the_cards_say():
    models = ("vit", "hybrid", "cnn")
    rows = vt.experiments.rows(vt.results.recorded("augmentation"), ["test_accuracy"])
    test = {(r["model"], r["augment"], r["epochs"]): r["mean"] for r in rows}
    crops = {m: test[m, "none", 2] - test[m, "basic", 2] for m in models}
    strong = {m: test[m, "none", 2] - test[m, "strong+mix", 2] for m in models}
    assert 0.03 < min(crops.values()) and max(crops.values()) < 0.05
    assert min(strong.values()) > 0.2
    assert max(strong, key=strong.get) == "vit" and min(strong, key=strong.get) == "cnn"
    two = {c["cell"]: c["metrics"]["val_accuracy"] for c in vt.results.recorded("augmentation")}
    five = {c["cell"]: c["metrics"]["val_accuracy"]
            for name in ("shift", "shuffle") for c in vt.results.recorded(name)}  # fmt: skip
    price = {m: (two[f"{m}-none-2-s0"] - two[f"{m}-basic-2-s0"],
                 five[f"{m}-cifar10-s0"] - five[f"{m}-none-s0"]) for m in models}  # fmt: skip
    assert price["vit"][1] < price["vit"][0] - 0.01 and price["hybrid"][1] > price["hybrid"][0]
    assert abs(price["cnn"][0] - price["cnn"][1]) < 0.01
    by_five = {model: found[1] for model, found in price.items()}
    assert max(by_five, key=by_five.get) == "cnn" and min(by_five, key=by_five.get) == "vit"
    rows = vt.experiments.rows(vt.results.recorded("data_size"), ["test_accuracy"])
    few = {r["augment"]: r["mean"] for r in rows if r["model"] == "vit" and r["images"] == 15_000}
    by_pictures = few["basic"] - few["strong+mix"]
    assert abs(by_pictures - test["vit", "basic", 30] + test["vit", "strong+mix", 30]) < 0.02
    for model in models:
        assert test[model, "basic", 10] - test[model, "strong+mix", 10] > 0.1
        assert abs(test[model, "none", 10] - test[model, "basic", 10]) < 0.005
    for card in vt.results.recorded("augmentation"):
        found, labels = card["metrics"], card["config"]["labels"]
        if labels["model"] not in models:
            continue  # a control
        by_heart = found["train_accuracy"] - found["val_accuracy"]
        if labels["epochs"] == 10 and labels["augment"] == "none":
            assert by_heart > 0.08, card["cell"]
        elif labels["augment"] == "basic":
            assert by_heart < 0.03 or labels["epochs"] > 10, card["cell"]


def test_what_the_text_says_of_thirty_passes_is_what_the_cards_say():
    cards = {c["cell"]: c for c in vt.results.recorded("augmentation")}
    test = {cell: card["metrics"]["test_accuracy"] for cell, card in cards.items()}
    pays = {}
    for model in ("vit", "hybrid", "cnn"):
        pays[model] = test[f"{model}-basic-30-s0"] - test[f"{model}-none-30-s0"]
        behind = [
            test[f"{model}-basic-{n}-s0"] - test[f"{model}-strong+mix-{n}-s0"] for n in (2, 10, 30)
        ]
        assert behind[0] > behind[1] > behind[2] > 0.01
        assert cards[f"{model}-none-30-s0"]["curves"]["train_accuracy"][-1] > 0.97  # by heart
    assert min(pays.values()) > 0.02
    assert min(pays, key=pays.get) == "cnn" and pays["vit"] - pays["cnn"] < 0.005  # by a hair
    for model in ("vit", "hybrid"):  # a peak a little after the half, then a fall
        none = cards[f"{model}-none-30-s0"]
        looks = none["curves"]["val_accuracy"]
        assert 0.5 < none["train"]["kept_step"] / none["train"]["steps"] < 0.65
        assert looks[-1] < max(looks) - 0.02
    rising = cards["cnn-none-30-s0"]["curves"]["val_accuracy"]
    assert rising[-1] == max(rising) > rising[-5] + 0.01
    assert abs(test["cnn-none-30-s0"] - test["cnn-none-10-s0"]) < 0.002
    for passes in (2, 10):
        crops = {model: test[f"{model}-basic-{passes}-s0"] for model in pays}
        assert max(crops, key=crops.get) == "cnn"
    assert test["hybrid-basic-30-s0"] > max(test["vit-basic-30-s0"], test["cnn-basic-30-s0"]) + 0.01


def test_what_the_text_says_of_strong_augmentation_is_what_the_cards_say():
    cards = vt.results.recorded("data_size")
    assert all(card["status"] == "complete" for card in cards)
    assert len(cards) == len(vt.experiments.find("data_size").cells(False))
    rows = vt.experiments.rows(cards, ["test_accuracy"])
    assert {row["n"] for row in rows} == {3}
    mean = {(r["model"], r["images"], r["augment"]): r["mean"] for r in rows}
    models, few, many = ("vit", "hybrid", "cnn"), (500, 1_500), (5_000, 15_000, 45_000)
    gain = {(m, n): mean[m, n, "strong+mix"] - mean[m, n, "basic"]
            for m in models for n in few + many}  # fmt: skip
    assert min(gain[m, n] for m in models for n in few) > 0.01
    assert max(gain[m, n] for m in models for n in many) < -0.025
    for n in (1_500, *many):
        assert gain["cnn", n] < min(gain["vit", n], gain["hybrid", n])
    for model in models:
        light = {n: mean[model, n, "basic"] for n in few + many}
        images_needed = chapters.built("11_data_size")["images_needed"]
        worth = images_needed(light, mean[model, 500, "strong+mix"])
        assert 900 < worth < 1_500
        level = [mean[model, n, "strong+mix"] for n in many]
        assert max(level) - min(level) < 0.011
    for other in ("vit", "hybrid"):
        for n in few + many:
            ahead = {a: mean["cnn", n, a] - mean[other, n, a] for a in ("basic", "strong+mix")}
            assert 0 < ahead["strong+mix"] < ahead["basic"]
    short = {m: mean[m, 45_000, "strong+mix"] - mean[m, 1_500, "strong+mix"] for m in models}
    assert 0 < min(short.values()) and max(short["cnn"], short["hybrid"]) < 0.02
    assert short["vit"] > 0.03
    early = {"basic": [], "strong+mix": []}
    for c in cards:
        if c["cell"].startswith("vit-500-"):
            part = c["train"]["kept_step"] / c["train"]["steps"]
            early[c["config"]["labels"]["augment"]].append(part)
    assert max(early["basic"]) < 0.11 and 0.45 < min(early["strong+mix"]) < 0.55


def test_passes_decide_and_not_pictures_as_the_text_says():
    test = {}
    for card in vt.results.recorded("run_length"):
        labels = card["config"]["labels"]
        if card["seed"] == 0:
            place = labels["model"], labels["images"], labels["augment"], labels["seen"]
            test[place] = 100 * card["metrics"]["test_accuracy"]
    gain = {(model, n, round(seen / n)): accuracy - test[model, n, "basic", seen]
            for (model, n, augment, seen), accuracy in test.items()
            if augment == "strong+mix"}  # fmt: skip
    found = {(row["model"], row["images"], row["passes"]): 100 * row["mean"]
             for row in page()["gains"]}  # fmt: skip
    assert found == pytest.approx(gain)
    assert len(page()["of_vit"]) >= 10  # the figure has something to show
    vit = {(n, passes): value for (model, n, passes), value in gain.items() if model == "vit"}
    assert -4 < vit[500, 90] < 0 and -4 < vit[5_000, 90] < 0  # the passes alike, ten times as many
    assert -4 < vit[1_500, 75] < 0 < vit[1_500, 150] and vit[500, 225] > 5
    assert min(vit[1_500, 300], vit[500, 900]) > 9.5
    by_passes = [value for _, value in sorted((p, value) for (_, p), value in vit.items())]
    assert all(later > before - 1.5 for before, later in pairwise(by_passes))
    assert gain["cnn", 1_500, 150] < -2 < 0 < gain["cnn", 1_500, 300]
    assert gain["cnn", 500, 90] < -2 and gain["cnn", 500, 225] > 0
    assert abs(gain["hybrid", 500, 90] - vit[500, 90]) < 3
    assert abs(gain["hybrid", 1_500, 75] - vit[1_500, 75]) < 3
    of_15 = [100 * card["metrics"]["test_accuracy"] * (1 if "basic" in card["cell"] else -1)
             for card in vt.results.recorded("data_size")
             if card["cell"].startswith("vit-15000-")]  # fmt: skip
    cards = {c["cell"]: 100 * c["metrics"]["test_accuracy"]
             for c in vt.results.recorded("augmentation")}  # fmt: skip
    thirty = [-vit[1_500, 30], sum(of_15) / 3,
              cards["vit-basic-30-s0"] - cards["vit-strong+mix-30-s0"]]  # fmt: skip
    assert all(9.9 < value < 16 for value in thirty), thirty
    declared = [each.labels for each in vt.experiments.find("passes").cells(False)]
    assert {"model": "vit", "images": 45_000, "passes": 100, "augment": "strong+mix"} in declared
