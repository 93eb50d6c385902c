"""Chapter 15: the changes it shows do what it says, on other sizes too, and its solutions run."""

import chapters

import vit_teach as vt
from vit_teach import results

NAME = "15_strengths_limits"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


def test_the_formula_of_a_block_is_the_packages():
    config = vt.ViTConfig(image_size=24, patch_size=4, embed_dim=20, depth=1, num_heads=2)
    rows = [row for row in vt.cost.breakdown(config) if row["part"].startswith("blocks.0")]
    n, width = config.num_tokens, config.embed_dim
    assert sum(row["macs"] for row in rows) == 12 * n * width**2 + 2 * n**2 * width


def card(augment, epochs, seed, accuracy):
    labels = {"model": "vit", "augment": augment, "epochs": epochs}
    return {
        "experiment": "augmentation", "cell": f"vit-{augment}-{epochs}-s{seed}", "seed": seed,
        "status": "complete", "config": {"labels": labels},
        "metrics": {"test_accuracy": accuracy},
    }  # fmt: skip


def test_the_box_reads_its_number_from_the_cards(monkeypatch, capsys):
    table_of = chapter()["recorded_table"]  # built before the cards are exchanged
    made = [card("none", 2, 0, 0.5), card("none", 2, 1, 0.54), card("basic", 30, 0, 0.81)]
    made.append(card("basic", 2, 0, 0.6) | {"status": "failed"})
    capsys.readouterr()
    monkeypatch.setattr(results, "recorded", lambda name: made)
    table = table_of("augmentation", "augment", "epochs", "x", model="vit")
    assert "52.0 ± 2.8 %" in str(table) and "81.0 %" in str(table)
    assert "over 2 seeds; without: one run, seed 0" in table.caption
    assert "60.0" not in str(table) and capsys.readouterr().out == ""


def test_the_box_says_that_nothing_is_recorded(monkeypatch, capsys):
    def missing(name):
        raise FileNotFoundError(name)

    table_of = chapter()["recorded_table"]
    capsys.readouterr()
    monkeypatch.setattr(results, "recorded", missing)
    assert table_of("augmentation", "augment", "epochs", "x") is None
    said = capsys.readouterr().out
    assert "nothing is recorded yet" in said
    assert "python -m vit_teach.experiments run augmentation" in said
