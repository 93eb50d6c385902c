"""Chapter 14: what it builds by hand holds on other sizes too, and its solutions run."""

import functools
import re

import chapters
import pytest
import torch

from vit_teach import probe

NAME = "14_attention_maps"
SKIPPED = re.compile(r"vt\.plots\.(?!cosine|principal)|vt\.widgets\.")  # the built page draws them


@functools.cache
def chapter():
    """The variables of the chapter after its cells, without its figures."""
    variables = {}
    for cell in chapters.cells(NAME):
        if cell.cell_type == "code" and not SKIPPED.search(cell.source):
            exec(compile(cell.source, f"chapter 14: {cell.id}", "exec"), variables)
    torch.set_printoptions(profile="default")
    return variables


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(chapter()))


def test_every_comparison_has_both_controls():
    built = chapter()
    names = ["trained", "shuffled labels", "untrained"]
    for table in ("models", "measured", "far", "last", "evenness", "tables", "filters"):
        assert list(built[table]) == names, table
    states = [model.state_dict()["pos_embed"] for model in built["models"].values()]
    assert not torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_no_finding_about_the_weights_is_written_into_the_prose():
    """Numbers of pixels in the text are closed forms; what was measured is in the outputs."""
    found = set(re.findall(r"(\d+(?:\.\d+)?) px", chapters.markdown(NAME)))
    assert found <= {"16.55", "116.5", "115.5", "4", "12", "200"}


def test_what_the_text_says_came_out_is_what_cifar_shows():
    built = chapter()
    if "CIFAR" not in built["few"].source:
        pytest.skip("the sentences are about CIFAR-10; set VIT_TEACH_DATA to check them")
    holds = {claim[0]: bool(found) for claim, found in built["claims"].items()}
    assert holds == {"A": True, "B": False, "C": True, "D": True, "E": True}
    far, line = built["far"], built["line"]
    assert 0.75 < far["trained"].min() / line < 0.85 and 1 < far["trained"].max() / line < 1.1
    assert far["trained"].mean(dim=1)[1:].max() < 0.97 * line
    assert (far["shuffled labels"].mean(dim=1) / line - 1).abs().max() < 0.05
    assert far["trained"].min(dim=1).values.argsort()[:3].sort().values.tolist() == [1, 2, 3]
    sharpest = {name: table.min().item() for name, table in built["evenness"].items()}
    assert min(sharpest, key=sharpest.get) == "shuffled labels"


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
