"""Chapter 10: its exact claims hold on other sizes too, and its solutions run."""

import re

import chapters
import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from card_tools import made_up

import vit_teach as vt
from vit_teach import probe

NAME = "10_inductive_bias"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(chapter()))


def test_the_four_pixel_world_by_counting_by_hand():
    """Shift-blind functions: two answers for each of the six necklaces of four beads."""
    built = chapter()
    assert built["shift_blind"].sum() == 2**6
    assert built["fits"].sum() == 2**12
    for index in built["local"].nonzero().flatten()[:20].tolist():
        assert built["shift_blind"][index]  # a convolution with pooling is shift-blind


def test_the_error_by_hand_is_the_package_and_tells_models_apart():
    built = chapter()
    x = built["images"][:2]
    for name in ("ViT, no positions", "ViT"):
        function = built["map_of"](name)
        by_package = probe.equivariance_error(function, x, right=8)
        assert built["error"](built["models"][name], x, 2) == pytest.approx(by_package, abs=1e-12)
    assert by_package > 1e-3  # the one with positions


@pytest.mark.parametrize(("size", "patch"), [((12, 20), (4, 4)), ((8, 18), (4, 6))])
def test_a_vit_without_positions_moves_along_on_pictures_that_are_not_square(size, patch):
    torch.manual_seed(0)
    config = vt.ViTConfig(
        image_size=size, patch_size=patch, embed_dim=12, depth=2, num_heads=3, position="none"
    )
    model = vt.VisionTransformer(config).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)

    def error(down, right):
        return probe.equivariance_error(lambda x: probe.last_map(model, x), x, down, right)

    assert error(patch[0], 0) < 1e-13 and error(-patch[0], 2 * patch[1]) < 1e-13
    assert error(0, 1) > 0.1


@pytest.mark.parametrize("grid", [(3, 3), (4, 9), (5, 6)])
@pytest.mark.parametrize("down, right", [(0, -1), (1, 0), (-1, 1)])
def test_the_hand_made_question_finds_the_neighbour(grid, down, right):
    gh, gw = grid
    ask = chapter()["asks_for"].__code__
    scope = {"torch": torch, "gh": gh, "gw": gw}
    asks_for = type(chapter()["asks_for"])(ask, scope)
    rows, columns = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    place = torch.cat([F.one_hot(rows.flatten(), gh), F.one_hot(columns.flatten(), gw)], 1).double()
    found = (place @ asks_for(down, right).T @ place.T).argmax(dim=1)
    expected = (rows + down) % gh * gw + (columns + right) % gw
    assert torch.equal(found, expected.flatten())


# --- The recorded sections, on made-up cards ----------

PRELUDE = re.compile(r"^corners = |so_far\(", re.M)
HEIGHTS = {"vit": 0.6, "vit-no-positions": 0.5, "hybrid": 0.65, "cnn": 0.7}
LOSSES = {"none": 0.0, "patches": 0.1, "pixels": 0.2}


def card_of(experiment, cell):
    """Made up: the CNN loses 10 points by shuffled patches, the ViTs nothing; 1 point a pixel."""
    model, seed = cell.labels["model"], cell.seed / 1000
    if experiment == "shuffle":
        kind = cell.labels["permutation"]
        lost = 0.0 if kind == "patches" and model.startswith("vit") else LOSSES[kind]
        found = HEIGHTS[model] - lost + seed
        if kind != "none":
            return made_up(cell, experiment, found)
        jigsaw = found - (0.0 if model == "vit-no-positions" else 0.3)
        measured = {"tested_patches_accuracy": jigsaw, "tested_pixels_accuracy": 0.1}
        return made_up(cell, experiment, found, **measured, **moves(found, 0.01))
    if experiment == "shift":
        if cell.labels["world"] == "cifar10":
            return made_up(cell, experiment, 0.5, **moves(0.5, 0.02))
        corners = {f"corner_{key}_accuracy": 0.4 for key in ("tl", "tr", "bl", "br")}
        return made_up(cell, experiment, 0.4, **corners)
    return made_up(cell, experiment, 0.5 + seed)


def moves(height, each):
    return {f"shift_{pixels}_accuracy": height - each * pixels for pixels in range(9)}


def recorded_part(keep):
    """Run the cells on recorded cards, drawings included; return their variables."""
    with pytest.MonkeyPatch.context() as patch:

        def so_far(name):
            cells = [cell for cell in vt.experiments.find(name).cells(False) if keep(cell)]
            return [card_of(name, cell) for cell in cells]

        patch.setattr(vt.experiments, "so_far", so_far)
        variables = dict(chapter())
        for cell in chapters.cells(NAME):
            if cell.cell_type == "code" and (
                cell.id.startswith("10-recorded-") or PRELUDE.search(cell.source)
            ):
                exec(compile(cell.source, f"chapter 10: {cell.id}", "exec"), variables)
    plt.close("all")
    return variables


def test_with_nothing_recorded_the_chapter_says_nothing(capsys):
    variables = recorded_part(lambda cell: False)
    assert "points" not in capsys.readouterr().out
    assert variables["cut_up"] == variables["moves"] == variables["dial"] == []


def test_one_seed_is_shown_as_one_seed(capsys):
    recorded_part(lambda cell: cell.seed == 0)
    printed = capsys.readouterr().out
    assert "cnn               patches shuffled: -10.0 points (one seed)" in printed
    assert "vit               patches shuffled:  +0.0 points (one seed)" in printed


def test_all_that_is_recorded_is_shown_with_its_error(capsys):
    variables = recorded_part(lambda cell: True)
    printed = capsys.readouterr().out
    assert "cnn               patches shuffled: -10.0 points, paired error 0.0" in printed
    assert "vit               with crops    by 8:  -8.0 points, paired error 0.0" in printed
    assert "hybrid            without crops by 4:  -8.0 points" in printed
    assert [row["model"] for row in variables["dial"]] == 2 * [
        "vit", "overlap", "cct", "hybrid", "cnn"
    ]  # fmt: skip
    assert len(variables["tested"]) == 12 and len(variables["moves"]) == 2 * 9 * 4


def test_what_the_text_says_came_out_is_what_the_cards_say():
    cards = [c for c in vt.results.recorded("shuffle") if c["status"] == "complete"]
    names = ("test_accuracy", "tested_patches_accuracy", "val_accuracy")
    rows = vt.experiments.rows(cards, names)
    mean = {(r["metric"], r["model"], r["permutation"]): r["mean"] for r in rows}
    test = {(m, kind): value for (metric, m, kind), value in mean.items() if metric == names[0]}
    lost = {m: test[m, "none"] - test[m, "patches"] for m in HEIGHTS}
    assert max(abs(lost["vit"]), abs(lost["vit-no-positions"])) < 0.015 < 0.1 < lost["cnn"]
    assert 0.35 < lost["hybrid"] / lost["cnn"] < 0.65
    spread = {
        (r["model"], r["permutation"]): r["std"]
        for r in rows
        if r["metric"] == names[0] and r["n"] == 3
    }
    assert len(spread) == 12
    for m in ("hybrid", "cnn"):
        assert lost[m] > 4 * max(spread[m, "none"], spread[m, "patches"])
    by_pixels = {m: test[m, "none"] - test[m, "pixels"] for m in ("vit", "hybrid", "cnn")}
    assert 0.2 < by_pixels["vit"] == min(by_pixels.values())
    level = [test[m, "none"] for m in ("vit", "hybrid", "cnn")]
    assert max(level) - min(level) < 0.015
    kept = {m: mean["tested_patches_accuracy", m, "none"] for m in HEIGHTS}
    assert kept["vit"] > kept["hybrid"] > kept["cnn"]
    assert abs(kept["vit-no-positions"] - mean["val_accuracy", "vit-no-positions", "none"]) < 0.001
    worth = test["vit", "none"] - test["vit-no-positions", "none"]
    assert abs(worth - lost["hybrid"]) < 0.02


def bare_cards():
    """The cards of training without crops, on CIFAR-10."""
    cards = vt.results.recorded("shift")
    return [c for c in cards if c["config"]["labels"]["world"] == "cifar10"]


def test_what_the_text_says_of_corners_and_moves_is_what_the_cards_say():
    corners = [f"corner_{key}_accuracy" for key in ("tl", "tr", "bl", "br")]
    moved = [f"shift_{pixels}_accuracy" for pixels in (0, 4, 8)]
    rows = vt.experiments.rows(vt.results.recorded("shift"), [*corners, *moved])
    mean = {(r["model"], r["metric"]): r["mean"] for r in rows}
    right = {m: [mean[m, corner] for corner in corners] for m in HEIGHTS}
    assert right["vit"][0] > 0.6 and max(right["vit"][1:]) < 0.25
    bare = right["vit-no-positions"]
    assert max(bare) - min(bare) < 0.01 and bare[0] < right["vit"][0] - 0.1
    assert right["hybrid"][0] == max(r[0] for r in right.values())
    assert max(right["hybrid"][1:]) < 0.5 * right["hybrid"][0]
    assert min(right["cnn"]) > 0.5 and right["cnn"][3] == min(right["cnn"])
    assert right["cnn"][3] < right["cnn"][0] - 0.1

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
