"""Chapter 12: its exact claims hold elsewhere too, its tables can be filled, its code runs."""

import chapters
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import vit_teach as vt
from vit_teach.data.drawn import shapes

NAME = "12_transfer"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME, less=(("subset(200)", "subset(20)"),))


def test_the_rows_of_a_fresh_head_that_no_picture_shows_stay_alike():
    built = chapter()

    def rows_after_a_step(labels):
        fresh = vt.weights.recorded("cifar-vit-20min")
        fresh.reset_head(built["K"])
        F.cross_entropy(fresh(built["images"]), labels).backward()
        return -0.03 * fresh.head.weight.grad  # (K, D)

    labels = built["few"].labels
    rows = rows_after_a_step(labels)
    assert all(not torch.allclose(rows[a], rows[b]) for a in range(built["K"]) for b in range(a))
    rows = rows_after_a_step(torch.zeros_like(labels))
    assert torch.equal(rows[1], rows[2]) and not torch.allclose(rows[0], rows[1])


def test_the_control_that_the_exercises_ask_for_can_be_run_in_the_chapter():
    built = chapter()
    bare = vt.weights.recorded("cifar-vit-20min")
    bare.pos_embed.data.zero_()
    found = built["answers"](bare, built["plain"])
    assert not torch.equal(found, built["said"]["32 pixels"])
    assert found.shape == built["said"]["no table"].shape


@pytest.mark.parametrize(
    "changes", [{}, {"pool": "mean", "class_token": False}, {"pool": "mean", "fc_norm": True}]
)
def test_a_zero_head_sends_no_gradient_on_the_first_step_and_some_on_the_second(changes):
    torch.manual_seed(0)
    model = vt.VisionTransformer(vt.ViTConfig(
        image_size=(8, 12), patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=7,
        **changes))  # fmt: skip
    images, labels = torch.randn(9, 3, 8, 12), torch.arange(9) % 7
    norms = chapter()["gradient_norms"]
    for body_learns in (False, True):
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        if not body_learns:
            assert loss.item() == pytest.approx(torch.tensor(7.0).log().item(), abs=1e-6)
        found = norms(model)
        assert (found["body"] > 0) is body_learns and found["head"] > 0
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None


def card(labels, seed, **metrics):
    config = {"labels": labels}
    return {"status": "complete", "cell": f"{labels}{seed}", "seed": seed, "config": config,
            "metrics": metrics}  # fmt: skip


def test_the_rate_is_chosen_by_validation_and_never_by_the_test():
    cards = []
    for rate, val, test in (("full", 0.5, 0.9), ("quarter", 0.6, 0.4)):
        for start in ("pretrained", "scratch"):
            for seed in (0, 1):
                labels = {"model": "vit", "start": start, "per_class": 10, "rate": rate}
                better = val if start == "pretrained" else 1 - val
                cards.append(card(labels, seed, val_accuracy=better, test_accuracy=test))
    rows = chapter()["better_rate"](cards)
    assert {(r["start"], r["rate"], round(r["mean"], 6)) for r in rows} == {
        ("pretrained", "quarter", 0.4), ("scratch", "full", 0.9)
    }  # fmt: skip
    table = vt.results.result_table(rows, "which", "per_class", "demo")
    assert [name for name, _ in table.rows] == ["ViT, pre-trained", "ViT, from scratch"]
    assert vt.plots.result_lines(rows, "per_class", style="start").axes


def test_the_table_of_resolution_has_a_line_for_a_rule_and_one_for_the_control():
    summary = chapter()["summary"]
    rule = [card({"model": "vit", "rule": "hf"}, seed, before_val_accuracy=0.5, val_accuracy=0.75,
                 test_accuracy=0.625, start_row_norm=2.0, before_row_norm=1.5, row_norm=1.25)
            for seed in (0, 1)]  # fmt: skip
    assert summary(rule)[:2] == ["50.0 ± 0.0 % (2 seeds)", "75.0 ± 0.0 % (2 seeds)"]
    assert summary(rule)[3:] == ["2.00", "1.50", "1.25"]
    metrics = {"val_accuracy": 0.7, "test_accuracy": 0.7, "row_norm": 2.0}
    control = [card({"model": "vit", "rule": "32px"}, 0, **metrics)]
    assert summary(control)[0] == "as trained" and summary(control)[3:] == ["", "", "2.00"]


def test_the_optional_cell_runs_on_a_file_with_random_weights(tmp_path):
    torch.manual_seed(0)
    released = vt.VisionTransformer(
        vt.ViTConfig(embed_dim=64, num_heads=1, depth=1, num_classes=21)
    )
    path = tmp_path / "model.safetensors"
    save_file(vt.weights.to_timm(released.state_dict()), path)
    block = next(
        code
        for code in chapters.FENCE.findall(chapters.markdown(NAME))
        if "vt.weights.load(" in code
    )
    for old, new in {
        'name = "timm:vit_tiny_patch16_224.augreg_in21k"': f"name = {str(path)!r}",
        'vt.data.load("cifar10", "train").hold_out(5000, seed=0)': "pictures.hold_out(20, seed=0)",
        'vt.data.load("cifar10", "test")': "pictures",
        "vt.weights.load(name, ": 'vt.weights.load(name, num_heads=1, pool="cls", ',
        "steps=500, batch_size=128": "steps=2, batch_size=4, evaluations=1",
    }.items():
        assert old in block, old
        block = block.replace(old, new)
    variables = {"vt": vt, "Prepared": chapter()["Prepared"], "pictures": shapes(40, seed=0)}
    exec(block, variables)
    inner = variables["model"].model
    assert inner.config.num_patches == 36 and inner.config.num_classes == 10


def test_prepared_pictures_are_what_google_expects():
    shown = []

    class Watch(torch.nn.Module):
        config = vt.zoo.preset("ViT-Ti/16", image_size=32)

        def forward(self, images):
            shown.append(images)

    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    chapter()["Prepared"](Watch())(vt.data.normalise(pixels))
    torch.testing.assert_close(shown[0], pixels / 127.5 - 1, rtol=0, atol=1e-5)


def test_what_the_text_says_of_transfer_is_what_the_cards_say():
    cards = vt.results.recorded("transfer")
    rows = chapter()["better_rate"](cards)
    gain = {(model, n): points for model, n, points in chapter()["gains"](rows)}
    sizes = (10, 50, 250, 1000)
    assert set(gain) == {(model, n) for model in ("vit", "cnn") for n in sizes}
    assert min(gain.values()) > 5
    for model in ("vit", "cnn"):
        assert gain[model, 10] == max(gain[model, n] for n in sizes)
        assert gain[model, 1000] > gain[model, 250]
    assert max(abs(gain["vit", n] - gain["cnn", n]) for n in sizes) < 5
    mean = {(row["model"], row["start"], row["per_class"]): row["mean"] for row in rows}
    for start in ("scratch", "pretrained"):
        ahead = {n: mean["cnn", start, n] - mean["vit", start, n] for n in sizes}
        assert min(ahead[n] for n in sizes[1:]) > 0.01
    assert abs(ahead[10]) < 0.02  # pre-trained
    # of single seeds: each start with the rate that `better_rate` finds for it
    cnn = {n: seed_gains(cards, f"cnn-pretrained-{n}-{rate}", f"cnn-scratch-{n}-quarter")
           for n, rate in ((10, "quarter"), (1000, "full"))}  # fmt: skip
    assert gain["cnn", 10] - gain["cnn", 1000] < 3
    assert not all(few > many for few, many in zip(cnn[10], cnn[1000], strict=True))
    rates = {10: "quarter", 50: "quarter", 250: "full", 1000: "full"}
    vit = {n: seed_gains(cards, f"vit-pretrained-{n}-{rate}", f"vit-scratch-{n}-full")
           for n, rate in rates.items()}  # fmt: skip
    assert all(few == max(column) for few, *column in zip(vit[10], *vit.values(), strict=True))
    spread = {n: max(found) - min(found) for n, found in vit.items()}
    assert spread[10] > 3 and max(spread[250], spread[1000]) < 2


def seed_gains(cards, pretrained, scratch):
    """Test accuracy in points, pre-trained minus from scratch, for seed 0, 1 and 2."""
    test = {card["cell"]: 100 * card["metrics"]["test_accuracy"] for card in cards}
    return [test[f"{pretrained}-s{seed}"] - test[f"{scratch}-s{seed}"] for seed in range(3)]


def test_what_the_text_says_of_48_pixels_is_what_the_cards_say():
    cards = vt.results.recorded("resolution")

    def means(metric):
        found = vt.experiments.rows([c for c in cards if metric in c["metrics"]], [metric])
        return {row["rule"]: row["mean"] for row in found}

    before, after, control = means("before_val_accuracy"), means("test_accuracy"), "32px"
    start = means("start_val_accuracy")["google"]
    assert set(before) == set(vt.RESIZE_RULES) == set(after) - {control}
    assert max(before.values()) < start - 0.1
    assert max(before.values()) - min(before.values()) < 0.01
    gains = [after[rule] - after[control] for rule in before]
    assert 0.01 < min(gains) and max(gains) < 0.03 and max(gains) - min(gains) < 0.005
    test = {
        (c["config"]["labels"]["rule"], c["seed"]): c["metrics"]["test_accuracy"] for c in cards
    }
    assert {seed for _, seed in test} == {0, 1, 2}
    assert all(accuracy > test[control, seed] for (rule, seed), accuracy in test.items()
               if rule != control)  # fmt: skip
    rows_before, rows_after = means("before_row_norm"), means("row_norm")
    shortest = sorted(before, key=rows_before.get)[:2]
    assert set(shortest) == {"google", "timm-npz"}
    assert not set(shortest) & {min(before, key=before.get)}
    assert all(abs(rows_after[rule] / rows_before[rule] - 1) < 0.01 for rule in before)
