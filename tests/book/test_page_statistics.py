"""Statistics for small tables: its solution runs, and no seed is a stranger."""

import chapters
import pytest
import torch

import vit_teach as vt

NAME = "appendix/statistics"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(page()))


def test_no_seed_of_one_model_meets_the_other_as_the_figure_says():
    test = {}
    for card in page()["sizes"]:
        labels = card["config"]["labels"]
        if labels["augment"] == "basic":
            test.setdefault((labels["model"], labels["images"]), []).append(
                card["metrics"]["test_accuracy"]
            )
    spread = {place: max(found) - min(found) for place, found in test.items()}
    for n in (500, 1_500, 5_000, 15_000, 45_000):
        assert max(test["vit", n]) < min(test["cnn", n])
    for model in ("vit", "cnn"):
        assert spread[model, 500] > spread[model, 45_000]


def test_no_seed_is_a_stranger_as_the_text_says():
    tested, types = {}, {}
    for card in vt.results.recorded("data_size"):
        labels = tuple(card["config"]["labels"].values())
        tested.setdefault(labels, {})[card["seed"]] = 100 * card["metrics"]["test_accuracy"]
        types.setdefault(card["seed"], set()).add(card["train"]["precision"])
    assert types[0] == types[1] == {"bfloat16"} and "float32" in types[2]
    complete = [by_seed for by_seed in tested.values() if len(by_seed) == 3]
    apart = {seed: torch.tensor([1.5 * (cell[seed] - sum(cell.values()) / 3) for cell in complete])
             for seed in types}  # fmt: skip
    off = {seed: found.mean().abs().item() for seed, found in apart.items()}
    assert off[2] < max(off.values()) < 0.4
    for found in apart.values():
        assert 0.25 < (found > 0).double().mean() < 0.75
