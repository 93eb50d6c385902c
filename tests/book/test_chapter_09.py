"""Chapter 9: its exact claims hold on other sizes too, its solutions run, its records are shown."""

import functools

import chapters
import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt

NAME = "09_recipe"


def accuracy(labels, seed):
    """Made up: longer runs are better, the modern recipe best, augmentation pays at 30 epochs."""
    value = 0.5 + 0.1 * (labels.get("recipe") == "modern") + 0.01 * seed
    if "epochs" in labels:
        sign = 1 if labels["epochs"] == 30 else -1
        value += 0.002 * labels["epochs"] + sign * 0.03 * (labels["augment"] == "strong+mix")
    return value


@functools.cache
def chapter():
    """The variables of the chapter after its cells: live runs made up, nothing recorded."""
    variables = chapters.run_on_made_up_cards(NAME, accuracy)
    torch.set_printoptions(profile="default")
    return variables


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(chapter()))


def test_the_chapter_says_what_is_recorded_whether_it_is_nothing_or_all(capsys):
    chapter()
    capsys.readouterr()
    run = functools.partial(chapters.run_on_made_up_cards, NAME, accuracy)
    nothing = run(dict(chapter()), start='so_far("recipe")')
    printed = capsys.readouterr().out
    assert nothing["found"] == [] and "single factors" not in printed and "best is" not in printed
    full = run(dict(chapter()), start='so_far("recipe")', recorded=True)
    printed = capsys.readouterr().out
    assert "vit: sum of the single factors +0.0 points, all six together +10.0" in printed
    assert "vit     30 passes: best is strong+mix, by 3.0 points" in printed
    assert {row["epochs"] for row in full["found"]} == {2, 10, 30}


def test_gains_and_best_policies_count_in_points():
    rows = [{"model": "a", "recipe": name, "mean": mean}
            for name, mean in (("tutorial", 0.5), ("init", 0.53), ("modern", 0.48))]  # fmt: skip
    found = chapter()["gains"](rows, "a")
    assert found == {"init": pytest.approx(3), "modern": pytest.approx(-2)}
    assert chapter()["gains"](rows, "b") == {} == chapter()["gains"](rows[1:], "a")
    rows = [{"model": "a", "epochs": 2, "augment": name, "mean": mean}
            for name, mean in (("none", 0.5), ("basic", 0.56), ("strong+mix", 0.52))]  # fmt: skip
    assert chapter()["best_policies"](rows) == [("a", 2, "basic", pytest.approx(4))]
    assert chapter()["best_policies"](rows[:1]) == []


@pytest.mark.parametrize("s", [0.1, 0.7, 3.0])
def test_the_size_of_gelu_is_that_of_many_draws(s):
    draws = torch.randn(400_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = F.gelu(s * draws).square().mean().sqrt().item()
    assert chapter()["gelu_size"](s) == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize("shape", [(3, 11), (12, 5)])
def test_no_step_of_its_size_gains_more(shape):
    torch.manual_seed(2)
    G = torch.randn(shape, dtype=torch.float64)
    U, S, Vt = torch.linalg.svd(G, full_matrices=False)
    rivals = torch.randn(2000, *shape, dtype=torch.float64)
    spectrum = rivals / torch.linalg.matrix_norm(rivals, 2)[:, None, None]
    entries = rivals / rivals.abs().amax(dim=(1, 2), keepdim=True)
    assert (G * spectrum).sum(dim=(1, 2)).max() < S.sum()
    assert (G * entries).sum(dim=(1, 2)).max() < G.abs().sum()
    step = chapter()["first_step"](torch.optim.AdamW, G)
    torch.testing.assert_close(step, G.sign(), rtol=0, atol=1e-4)


def test_a_target_of_three_classes_is_scored_three_times():
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    target = torch.tensor([0.2, 0.0, 0.5, 0.0, 0.3, 0.0]).double().expand(4, 6)
    apart = sum(
        share * F.cross_entropy(z, torch.full((4,), k)) for k, share in enumerate(target[0])
    )
    torch.testing.assert_close(F.cross_entropy(z, target), apart)


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


def test_what_the_text_says_of_muon_for_filters_is_what_the_cards_say():
    rows = vt.experiments.rows(vt.results.recorded("learning_rate"), ["val_accuracy"])
    sweep = {(row["model"], row["rate"]): row["mean"] for row in rows}
    best = {}
    for model in ("cnn", "cnn-muon", "hybrid", "hybrid-muon"):
        rates = [rate for name, rate in sweep if name == model]
        best[model] = max(rates, key=lambda rate: sweep[model, rate])
        assert min(rates) < best[model] < max(rates)
    assert best == {"cnn": 0.064, "cnn-muon": 0.128, "hybrid": 0.008, "hybrid-muon": 0.016}
    longer = {}
    for card in vt.results.recorded("long_rate"):
        model, rate = card["cell"].split("-")[0], card["config"]["train"]["learning_rate"]
        longer.setdefault(model, {})[rate] = card["metrics"]["val_accuracy"]
    assert max(longer["cnn"], key=longer["cnn"].get) == 0.032 and set(longer) & set(best) == {
        "cnn", "hybrid"
    }  # no longer sweep for Muon
    top = {model: sweep[model, rate] for model, rate in best.items()}
    above = [mean > top["cnn"] for (name, _), mean in sweep.items() if name == "cnn-muon"]
    assert len(above) == 7 and all(above)
    short = {model: top[f"{model}-muon"] - top[model] for model in ("cnn", "hybrid")}
    assert short["cnn"] > 0.07 > 0.03 > short["hybrid"] > 0.01

    cards = {card["cell"]: card for card in vt.results.recorded("augmentation")}
    test = {cell: card["metrics"]["test_accuracy"] for cell, card in cards.items()}
    assert -0.01 < test["cnn-muon-basic-10-s0"] - test["cnn-basic-10-s0"] < 0
    assert 0.01 < test["cnn-muon-quarter-basic-30-s0"] - test["cnn-basic-30-s0"] < 0.02
    assert test["hybrid-muon-basic-10-s0"] - test["hybrid-basic-10-s0"] > 0.02
    assert abs(test["hybrid-muon-basic-30-s0"] - test["hybrid-basic-30-s0"]) < 0.002
    ahead = test["hybrid-muon-basic-30-s0"] - test["cnn-muon-quarter-basic-30-s0"]
    error = (2 * 0.83 * 0.17 / 10_000) ** 0.5
    assert 0 < ahead < 1.1 * error
    assert test["hybrid-basic-30-s0"] - test["cnn-basic-30-s0"] > 2 * ahead
    assert abs(test["hybrid-muon-basic-10-s0"] - test["cnn-basic-10-s0"]) < 0.005
    lowest = min(test["cnn-muon-quarter-basic-30-s0"], test["hybrid-muon-basic-30-s0"])
    assert lowest > test["vit-basic-30-s0"] + 0.03
    looks = cards["cnn-muon-basic-10-s0"]["curves"]["val_accuracy"]
    falls = [a - b for a, b in zip(looks, looks[1:], strict=False)]
    assert max(falls[len(falls) // 2 :]) > 0.05
    named = ("cnn-muon-basic-10-s0", "cnn-muon-quarter-basic-30-s0", "cnn-basic-30-s0")
    rates = [cards[name]["config"]["train"]["learning_rate"] for name in named]
    assert rates[0] / 4 == rates[1] == rates[2]
    muon = [card for cell, card in cards.items() if "muon" in cell]
    assert len(muon) == 4 and {card["train"]["precision"] for card in muon} == {"float32"}
    plain = [cards[f"{m}-basic-{n}-s0"] for m in ("cnn", "hybrid") for n in (10, 30)]
    assert {card["train"]["precision"] for card in plain} == {"bfloat16"}


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
