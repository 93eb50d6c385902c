"""The page on Muon: best steps for two bounds, and the CNN's fair try."""

import chapters
import pytest
import torch

import vit_teach as vt

NAME = "muon"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(page()))


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
    step = page()["first_step"](torch.optim.AdamW, G)
    torch.testing.assert_close(step, G.sign(), rtol=0, atol=1e-4)


def test_two_thirds_of_the_gain_are_the_rates_as_the_page_says():
    rows = vt.experiments.rows(vt.results.recorded("recipe"), ["test_accuracy"])
    test = {row["recipe"]: row["mean"] for row in rows if row["model"] == "vit"}
    gain = {name: test[name] - test["tutorial"] for name in ("optimizer", "rate")}
    assert 0.6 < gain["rate"] / gain["optimizer"] < 0.73
    large = {row["recipe"]: row["mean"] for row in rows if row["model"] == "vit-base"}
    assert large["optimizer"] < large["tutorial"]


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
        "cnn",
        "hybrid",
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
