"""The inductive-bias lab: its exact claims and its recorded ones."""

import chapters
import pytest
import torch
import torch.nn.functional as F
from bias_cards import HEIGHTS, recorded_part

import vit_teach as vt

NAME = "appendix/bias_lab"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(page()))


def test_the_window_by_the_formula_is_the_packages():
    windows = page()["windows"]
    assert {name: found[0] for name, found in windows.items()} == {
        "conv1": 3, "layer1.0": 7, "layer2.0": 13, "layer3.0": 25,
    }  # fmt: skip


@pytest.mark.parametrize("grid", [(3, 3), (4, 9), (5, 6)])
@pytest.mark.parametrize("down, right", [(0, -1), (1, 0), (-1, 1)])
def test_the_hand_made_question_finds_the_neighbour(grid, down, right):
    gh, gw = grid
    ask = page()["asks_for"].__code__
    scope = {"torch": torch, "gh": gh, "gw": gw}
    asks_for = type(page()["asks_for"])(ask, scope)
    rows, columns = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    place = torch.cat([F.one_hot(rows.flatten(), gh), F.one_hot(columns.flatten(), gw)], 1).double()
    found = (place @ asks_for(down, right).T @ place.T).argmax(dim=1)
    expected = (rows + down) % gh * gw + (columns + right) % gw
    assert torch.equal(found, expected.flatten())


MARKS = ("so_far(",)


def test_with_nothing_recorded_the_lab_says_nothing(capsys):
    variables = recorded_part(NAME, page(), lambda cell: False, MARKS)
    assert "points" not in capsys.readouterr().out
    assert variables["moves"] == variables["dial"] == []


def test_all_that_is_recorded_is_shown_with_its_error(capsys):
    variables = recorded_part(NAME, page(), lambda cell: True, MARKS)
    printed = capsys.readouterr().out
    assert "vit               with crops    by 8:  -8.0 points, paired error 0.0" in printed
    assert "hybrid            without crops by 4:  -8.0 points" in printed
    assert [row["model"] for row in variables["dial"]] == 2 * [
        "vit", "overlap", "cct", "hybrid", "cnn"
    ]  # fmt: skip
    assert len(variables["moves"]) == 2 * 9 * 4


def bare_cards():
    """The cards of training without crops, on CIFAR-10."""
    cards = vt.results.recorded("shift")
    return [c for c in cards if c["config"]["labels"]["world"] == "cifar10"]


def test_what_the_text_says_of_moves_is_what_the_cards_say():
    moved = [f"shift_{pixels}_accuracy" for pixels in (0, 4, 8)]
    rows = vt.experiments.rows(vt.results.recorded("shift"), moved)
    mean = {(r["model"], r["metric"]): r["mean"] for r in rows}
    plain = [c for c in vt.results.recorded("shuffle") if c["cell"].split("-")[-2] == "none"]
    crops = {(r["model"], r["metric"]): r["mean"] for r in vt.experiments.rows(plain, moved)}
    still, four, eight = moved
    without = {m: [mean[m, still] - mean[m, by] for by in (four, eight)] for m in HEIGHTS}
    with_crops = {m: [crops[m, still] - crops[m, by] for by in (four, eight)] for m in HEIGHTS}
    better = {m: [b - a for a, b in zip(with_crops[m], without[m], strict=True)] for m in HEIGHTS}
    assert min(better["vit"][1], better["hybrid"][1]) > 0.04 and max(better["cnn"]) < 0.02
    assert better["vit"][0] < 0.02 < better["hybrid"][0]
    shifts = [f"shift_{pixels}_accuracy" for pixels in range(9)]
    of_cnn = [{r["metric"]: r["mean"] for r in vt.experiments.rows(cards, shifts)
               if r["model"] == "cnn"} for cards in (bare_cards(), plain)]  # fmt: skip
    assert all(of_cnn[0][shift] > of_cnn[1][shift] for shift in shifts)
    by_eight = [without[m][1] for m in ("vit", "hybrid", "cnn")]
    assert max(by_eight) - min(by_eight) < 0.04
    assert without["vit-no-positions"][1] == min(lost[1] for lost in without.values())
    assert all(mean[m, still] > crops[m, still] for m in HEIGHTS)


def test_what_the_text_says_of_the_dial_is_what_the_cards_say():
    rows = vt.experiments.rows(vt.results.recorded("bias_dial"), ["test_accuracy"])
    test = {(r["model"], r["images"]): r["mean"] for r in rows}
    lead = {(m, n): test[m, n] - test["vit", n] for m, n in test}
    assert lead["cnn", 5_000] > 0.05 and 0.01 < lead["cnn", 45_000] < lead["cnn", 5_000] - 0.03
    assert lead["overlap", 5_000] < -0.03 and -0.02 < lead["overlap", 45_000] < -0.019
    for n in (5_000, 45_000):
        for stem in ("cct", "hybrid"):
            assert 0 < lead[stem, n] < 0.02
        assert test["cnn", n] == max(test[m, n] for m in ("vit", "overlap", "cct", "hybrid", "cnn"))
    assert max(lead["cct", 5_000], lead["hybrid", 5_000]) < 0.5 * lead["cnn", 5_000]


def test_what_the_text_says_of_the_hybrid_is_what_the_cards_say():
    rows = vt.experiments.rows(vt.results.recorded("bias_dial"), ["test_accuracy"])
    test = {(r["model"], r["images"]): r["mean"] for r in rows}
    few, many = (test["hybrid", n] - test["vit", n] for n in (5_000, 45_000))
    assert 0 < many < 0.01 and many < few < 0.03
    assert test["cnn", 5_000] > test["hybrid", 5_000] + 0.03
    assert test["cnn", 45_000] > test["hybrid", 45_000]
    past = []  # how far each model with few images falls from its best look to its last
    for card in vt.results.recorded("bias_dial"):
        looks = card["curves"]["val_accuracy"]
        assert len(looks) == 5 and "the look with the best accuracy" in card["selection"]
        if card["cell"] in ("vit-5000-s0", "hybrid-5000-s0"):
            past.append(max(looks) - looks[-1])
    assert min(past) > 0.01 and max(past) > few


def test_what_the_text_says_of_the_hybrid_in_longer_runs_is_what_the_cards_say():
    """Same models and recipe at two, five, ten and thirty passes; the CNN is unsteady till late."""
    cards = {c["cell"]: c for c in vt.results.recorded("augmentation")}
    five = {c["cell"]: c for c in vt.results.recorded("bias_dial")}
    test = {}
    for model in ("vit", "hybrid", "cnn"):
        run = {n: cards[f"{model}-basic-{n}-s0"] for n in (2, 10, 30)}
        run[5] = five[f"{model}-45000-s0"]
        for passes, card in run.items():
            assert abs(card["train"]["epochs"] - passes) < 0.01
            assert card["config"]["model"] == run[30]["config"]["model"]
            changed = {"evaluations"}
            for key in set(card["config"]["train"]) - changed:
                assert card["config"]["train"][key] == run[30]["config"]["train"][key], key
            test[model, passes] = card["metrics"]["test_accuracy"]
    for passes in (2, 5, 10):
        assert 0 < test["hybrid", passes] - test["vit", passes] < 0.02
        assert test["hybrid", passes] < test["cnn", passes]
    assert test["hybrid", 30] > test["vit", 30] + 0.03
    assert test["hybrid", 30] > test["cnn", 30] + 0.01
    gain = {model: test[model, 30] - test[model, 2] for model in ("vit", "hybrid", "cnn")}
    assert max(gain, key=gain.get) == "hybrid"
    looks = cards["cnn-basic-30-s0"]["curves"]["val_accuracy"]
    assert max(a - b for a, b in zip(looks[20:], looks[21:], strict=False)) > 0.05
    control = cards["cnn-half-basic-30-s0"]
    rates = [c["config"]["train"]["learning_rate"] for c in (control, cards["cnn-basic-30-s0"])]
    assert rates[0] == rates[1] / 2
    assert abs(control["metrics"]["test_accuracy"] - test["cnn", 30]) < 0.005


def test_the_quick_form_of_the_dial_is_small_and_of_three_models():
    quick = vt.experiments.find("bias_dial").cells(quick=True)
    assert [cell.labels["model"] for cell in quick] == ["vit", "hybrid", "cnn"]
    assert len({cell.images for cell in quick}) == 1 and quick[0].images <= 16_000
    macs = [vt.cost.macs(cell.config()) for cell in quick]
    assert max(macs) < 3e6 and max(macs) / min(macs) < 1.1


def test_what_the_text_says_of_positions_and_reading_is_what_the_cards_say():
    found = {}
    for name in ("positions", "pooling"):
        for row in vt.experiments.rows(vt.results.recorded(name)):
            found[row["metric"], row["model"], row["images"]] = row["mean"]
    kinds = ("vit", "vit-sincos1d", "vit-sincos2d")
    for n in (5_000, 45_000):
        by_kind = [found["test_accuracy", kind, n] for kind in kinds]
        assert max(by_kind) - min(by_kind) < 0.01
        assert found["test_accuracy", "vit-no-positions", n] < min(by_kind) - 0.05
        read = [found["test_accuracy", name, n] for name in ("vit", "vit-class-token")]
        assert (read[0] - read[1] > 0.02) is (n == 5_000) and read[0] > read[1]
    by_heart = {kind: found["train_accuracy", kind, 5_000] for kind in (*kinds, "vit-no-positions")}
    assert max(by_heart, key=by_heart.get) == "vit-no-positions"
    assert max(by_heart[kind] for kind in kinds) < by_heart["vit-no-positions"] - 0.05
    rates = {}
    for card in vt.results.recorded("learning_rate"):
        labels = card["config"]["labels"]
        if labels["model"] in ("vit", "vit-class-token"):
            rate = card["config"]["train"]["learning_rate"]
            rates.setdefault(labels["model"], {})[rate] = card["metrics"]["val_accuracy"]
    token = sorted(rates["vit-class-token"].values())
    assert token[-1] - token[-2] < 0.006
    best = {name: max(tried, key=tried.get) for name, tried in rates.items()}
    assert best["vit"] == 2 * best["vit-class-token"]
