"""Chapter 10: its exact claims hold on other sizes too, and so do those of its exercises."""

import chapters
import pytest
import torch
from bias_cards import HEIGHTS, recorded_part

import vit_teach as vt
from vit_teach import probe

NAME = "10_inductive_bias"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


def test_a_class_token_feels_no_jigsaw_and_the_patches_move_along():
    built = chapter()
    images, order = built["images"], built["order"]
    model = built["untrained"]("CIFAR-ViT-Tiny", position="none", pool="cls", class_token=True)
    _, plain_out = model(images, intermediates=True)
    _, cut_out = model(built["jigsaw"](images), intermediates=True)
    before, after = plain_out["norm"], cut_out["norm"]  # (B, 1 + N, D) each
    torch.testing.assert_close(after[:, 0], before[:, 0], rtol=0, atol=1e-12)
    torch.testing.assert_close(after[:, 1:], before[:, 1:][:, order], rtol=0, atol=1e-12)
    assert (after[:, 1] - before[:, 1]).abs().max() > 0.1


@pytest.mark.parametrize(("down", "right"), [(0, 1), (3, 5)])
def test_sixteen_passes_make_a_vit_without_positions_invariant(down, right):
    built = chapter()
    model, images = built["models"]["ViT, no positions"], built["images"][:4]

    def forced(x):
        moved = [probe.shifted(x, a, b) for a in range(4) for b in range(4)]
        return torch.stack([model.features(m) for m in moved]).mean(dim=0)

    assert probe.invariance_error(model.features, images, down, right) > 0.05
    assert probe.invariance_error(forced, images, down, right) < 1e-13


def test_a_tied_kernel_and_table_cannot_tell_left_from_right():
    images = chapter()["images"]
    model = vt.weights.recorded("cifar-vit-20min").double().requires_grad_(False)
    mirrored = images.flip(3)  # (B, C, H, W)
    assert (model(mirrored) - model(images)).abs().max() > 0.1
    kernel, table = model.patch_embed.proj.weight, model.pos_embed
    kernel.copy_((kernel + kernel.flip(3)) / 2)
    grid = table.view(1, 8, 8, -1)  # (1, gh, gw, D)
    table.copy_(((grid + grid.flip(2)) / 2).view_as(table))
    torch.testing.assert_close(model(mirrored), model(images), rtol=0, atol=1e-10)


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


# --- The recorded sections, on made-up cards ----------

MARKS = ("corners = {", "so_far(")


def test_with_nothing_recorded_the_chapter_says_nothing(capsys):
    variables = recorded_part(NAME, chapter(), lambda cell: False, MARKS)
    assert "points" not in capsys.readouterr().out
    assert variables["cut_up"] == [] and variables["groups"] == {}


def test_one_seed_is_shown_as_one_seed(capsys):
    recorded_part(NAME, chapter(), lambda cell: cell.seed == 0, MARKS)
    printed = capsys.readouterr().out
    assert "cnn               patches shuffled: -10.0 points (one seed)" in printed
    assert "vit               patches shuffled:  +0.0 points (one seed)" in printed


def test_all_that_is_recorded_is_shown_with_its_error(capsys):
    variables = recorded_part(NAME, chapter(), lambda cell: True, MARKS)
    printed = capsys.readouterr().out
    assert "cnn               patches shuffled: -10.0 points, paired error 0.0" in printed
    assert len(variables["tested"]) == 12


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


def test_what_the_text_says_of_corners_is_what_the_cards_say():
    corners = [f"corner_{key}_accuracy" for key in ("tl", "tr", "bl", "br")]
    rows = vt.experiments.rows(vt.results.recorded("shift"), corners)
    mean = {(r["model"], r["metric"]): r["mean"] for r in rows}
    right = {m: [mean[m, corner] for corner in corners] for m in HEIGHTS}
    assert right["vit"][0] > 0.6 and max(right["vit"][1:]) < 0.25
    bare = right["vit-no-positions"]
    # Each corner has 1,000 pictures of its own; the same ones, rolled there, lose nothing at all.
    assert max(bare) - min(bare) < 0.02 and bare[0] < right["vit"][0] - 0.1
    for card in vt.results.recorded("shift"):
        found = [v for name, v in card["metrics"].items() if name.startswith("rolled")]
        if found and card["config"]["labels"]["model"] in ("vit-no-positions", "cnn-circular"):
            assert max(found) == min(found)
    assert right["hybrid"][0] == max(r[0] for r in right.values())
    assert max(right["hybrid"][1:]) < 0.5 * right["hybrid"][0]
    assert min(right["cnn"]) > 0.5 and right["cnn"][3] == min(right["cnn"])
    assert right["cnn"][3] < right["cnn"][0] - 0.1
