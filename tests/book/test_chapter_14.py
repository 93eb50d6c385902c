"""Chapter 14: what it builds by hand holds on other sizes too, and what its exercises say."""

import copy
import re

import chapters
import pytest
import torch

from vit_teach import probe, results
from vit_teach.experiments import heads

NAME = "14_attention_maps"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


def test_a_model_with_the_same_maps_gives_other_answers():
    built = chapter()
    model, some = built["models"]["trained"], built["images"][:20]
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.blocks[-1].attn.proj.weight.mul_(-3)  # what attention adds is turned around
        assert torch.equal(probe.collect(changed, some), probe.collect(model, some))
        assert (changed(some) - model(some)).abs().max() > 0.01


def test_every_comparison_has_both_controls():
    built = chapter()
    names = ["trained", "shuffled labels", "untrained"]
    for table in ("models", "measured", "far", "last", "evenness", "tables", "filters", "sharp"):
        assert list(built[table]) == names, table
    states = [model.state_dict()["pos_embed"] for model in built["models"].values()]
    assert not torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_no_finding_about_the_weights_is_written_into_the_prose():
    """Numbers of pixels in the text are closed forms; what was measured is in the outputs."""
    found = set(re.findall(r"(\d+(?:\.\d+)?) px", chapters.markdown(NAME)))
    assert found <= {"16.55", "116.5", "115.5", "116.6", "4", "12", "200"}


def card(experiment, cell):
    return results.read_card(results.cards.RESULTS / experiment / f"{cell}-s0.json")


def test_what_the_text_says_came_out_is_what_the_cards_say():
    built = chapter()
    holds = {claim[0]: bool(found) for claim, found in built["claims"].items()}
    assert holds == {"A": True, "B": False, "C": True, "D": True, "E": True}
    far, line = built["far"], built["line"]
    assert list(far) == ["trained", "shuffled labels", "untrained"]
    assert 0.75 < far["trained"].min() / line < 0.85 and 1 < far["trained"].max() / line < 1.1
    means = far["trained"].mean(dim=1) / line
    assert 0.905 < means[1:].min() and means[1:].max() < 0.955
    assert (far["shuffled labels"].mean(dim=1) / line - 1).abs().max() < 0.035
    assert far["trained"].min(dim=1).values.argsort()[:3].sort().values.tolist() == [1, 2, 3]
    tokens = {
        name: heads(card("cifar_attention", name.replace(" ", "-")), "entropy").min().exp().item()
        for name in far
    }
    assert {name: round(number) for name, number in tokens.items()} == {
        "trained": 17, "shuffled labels": 7, "untrained": 64,
    }  # fmt: skip
    assert heads(card("cifar_attention", "trained")).shape == (6, 4)
    for name, table in built["measured"].items():
        if "CIFAR" in built["few"].source:  # the same pictures
            torch.testing.assert_close(table.mean(dim=0), far[name], atol=0.1, rtol=0)


def test_the_covering_test_came_out_as_the_text_says():
    found = card("cifar_attention", "trained")["metrics"]
    error = (found["stays_random"] * (1 - found["stays_random"]) / found["pictures"]) ** 0.5
    assert found["pictures"] == 200 and error < 0.035
    for kind in ("rollout", "last_block"):
        assert found[f"stays_brightest_{kind}"] < found["stays_random"] - 3 * error
        assert abs(found[f"stays_darkest_{kind}"] - found["stays_random"]) < 1.5 * error


def shares(cell):
    found = card("pretrained_attention", cell)
    return heads(found) / found["metrics"]["uniform_distance"]


def test_the_pretrained_model_looks_as_the_text_says():
    found = shares("pretrained-photographs-224")
    assert found.shape == (12, 6)
    near = (found < 0.5).sum(dim=1).tolist()
    assert near == [0, 3, 1, 3, 2, 2, 0, 2, 0, 0, 0, 0] and sum(near) == 13
    assert 0.15 < found.min() < 0.18  # a sixth
    for block in (2, 3, 4):
        assert found[block].min() < 0.25 and found[block].max() > 0.9
    assert found[0].min() > 0.6
    assert (shares("untrained-photographs-224") - 1).abs().max() < 0.01
    enlarged = (shares("pretrained-cifar-224") < 0.5).sum(dim=1).tolist()
    assert sum(enlarged) == 16 and [bool(n) for n in enlarged] == [False] + 7 * [True] + 4 * [False]
    photographs = card("pretrained_attention", "pretrained-photographs-224")
    assert photographs["data"]["n"] == 21 == len(photographs["config"]["files"])
    assert round(photographs["metrics"]["uniform_distance"], 1) == 116.6
    assert "saliency" in photographs["config"]["weights"]["source"]
    assert round(photographs["cost"]["params"] / 1e6) == 22
    assert card("pretrained_attention", "pretrained-cifar-224")["metrics"]["pictures"] == 100


def test_outliers_are_as_the_text_says():
    trained = card("cifar_attention", "trained")["curves"]
    assert [bool(n) for n in trained["outliers"]] == [False] * 4 + [True, True, False]
    assert 2.5 < max(trained["longest"][1:]) < 3.5
    assert sum(card("cifar_attention", "shuffled-labels")["curves"]["outliers"]) == 0
    large = card("pretrained_attention", "pretrained-photographs-224")
    assert sorted(large["curves"]["outliers"])[-2:] == [0, 2] and 21 * 16 * 16 == 5_376
    assert max(large["curves"]["longest"][1:]) < 2.1


@pytest.mark.parametrize("grid", [(8, 8), (3, 5), (1, 6)])
@pytest.mark.parametrize("prefix", [0, 1])
def test_the_measures_by_hand_are_the_packages(grid, prefix):
    """The chapter's own functions on other grids, and with a class token in front."""
    gh, gw = grid
    count, patch = gh * gw, 4
    row, column = torch.arange(count) // gw, torch.arange(count) % gw
    apart = torch.hypot((row[:, None] - row).float(), (column[:, None] - column).float())
    scope = {"torch": torch, "N": count, "d": patch * apart, "gh": gh, "gw": gw}
    scope |= {"row": row, "column": column}
    torch.manual_seed(count)
    weights = torch.randn(3, 2, count + prefix, count + prefix).softmax(dim=-1)  # (L, H, T, T)
    by_hand = {
        name: type(lambda: 0)(chapter()[name].__code__, scope)
        for name in ("mean_distance", "offsets", "rollout")
    }
    expected = probe.attention_distance(weights, grid, patch)
    assert by_hand["mean_distance"](weights[1, 0]) == pytest.approx(expected[1, 0].item(), abs=1e-4)
    torch.testing.assert_close(by_hand["rollout"](weights), probe.rollout(weights))
    alone = probe.patches_only(weights, grid)[2, 1]
    torch.testing.assert_close(by_hand["offsets"](alone), probe.offset_map(alone, grid))
