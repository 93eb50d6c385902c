"""Chapter 13: its counts hold on other sizes too, its table is complete."""

import chapters
import pytest
from card_tools import made_up_cards

import vit_teach as vt

NAME = "13_scale"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


def recorded(sizes):
    """The variables of the cells on recorded cards, with made-up cards of these sizes."""
    cards = [card for card in made_up_cards("scale", lambda labels, seed: 0.5)
             if card["config"]["labels"]["model"].split("-")[1] in sizes]  # fmt: skip
    variables = dict(chapter(), cards=cards)
    for cell in chapters.cells(NAME):
        if "\nkept = " in cell.source or "several = " in cell.source:
            exec(compile(cell.source, cell.id, "exec"), variables)
    return variables


@pytest.mark.parametrize(
    "sizes, trained, several", [(["mini"], 3, False), (["mini", "micro"], 3 + 2 * 3, True)]
)
def test_one_size_of_each_family_makes_no_curve(sizes, trained, several):
    variables = recorded(sizes)
    assert variables["several"] is several and len(variables["rows"]) == trained
    assert len(variables["kept"]) == 3 * len(sizes)
    assert sum(values[-1] == "kept" for _, values in variables["rows"]) == 3 * len(sizes)


@pytest.mark.parametrize("better", [0, 1])
def test_of_two_rates_the_validation_images_choose(better):
    variables = recorded(["tiny"])
    pair = [c for c in variables["cards"] if c["cell"].startswith("vit-tiny")]
    assert [card["cell"] for card in pair] == ["vit-tiny-s0", "vit-tiny-half-s0"]
    pair[better]["metrics"] |= {"val_accuracy": 0.7, "test_accuracy": 0.1}
    (choose,) = (c.source for c in chapters.cells(NAME) if "\nkept = " in c.source)
    exec(compile(choose, "the choice", "exec"), variables)
    assert variables["kept"]["vit-tiny"] is pair[better]


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": (8, 36), "patch_size": (8, 4), "in_channels": 1},
        {"class_token": False, "pool": "mean", "mlp_ratio": 0.5},
        {"num_classes": 3, "depth": 1, "embed_dim": 30, "num_heads": 5},
    ],
)
def test_the_count_by_hand_is_the_package_s(changes):
    settings = {"image_size": 24, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
    config = vt.ViTConfig(**{**settings, **changes})
    assert chapter()["macs_by_hand"](config) == vt.cost.macs(config)


def test_table_6_holds_the_numbers_of_the_package_and_of_chapter_7():
    table = chapter()["table6"]
    plain = {row[0].split(",")[0]: row[-1] for row in table["ViT"] if "14 ep." not in row[0]}
    printed = {name: value for name, epochs, value in vt.cost.PAPER_TABLE6 if epochs == 7}
    assert {f"ViT-{name}": value for name, value in plain.items()} == printed
    seven = chapters.cells("07_hybrid")
    cell = next(c for c in seven if c.source.startswith("# name, epochs, accuracy in %"))
    variables = {}
    exec(cell.source.split("for name")[0], variables)
    pairs = [(row[2], row[3], row[4], row[5]) for row in variables["table6"]]
    ours = {(row[1], row[-1]) for rows in table.values() for row in rows}
    for plain_accuracy, plain_cost, hybrid_accuracy, hybrid_cost in pairs:
        assert {(plain_accuracy, plain_cost), (hybrid_accuracy, hybrid_cost)} <= ours
    assert all(50 < value < 100 for rows in table.values() for r in rows for value in r[1:-1])


def test_the_cost_at_equal_accuracy_lies_between_the_best_models():
    compute_for = chapter()["compute_for"]
    points = [(1, 10, ""), (100, 30, ""), (50, 5, "")]  # the last is worse than a cheaper one
    assert compute_for(points, 20) == pytest.approx(10)
    assert compute_for(points, 31) is None and compute_for(points, 9) is None


def test_the_fitted_exponent_of_a_sum_lies_between_its_parts():
    exponent = chapter()["exponent"]
    lengths = [64, 128, 256, 512]
    assert 1 < exponent(lengths, [n + n**2 / 200 for n in lengths]) < 2


def test_what_the_text_says_came_out_is_what_the_cards_say():
    variables = dict(chapter(), cards=vt.results.recorded("scale"))
    (choose,) = (c.source for c in chapters.cells(NAME) if "\nkept = " in c.source)
    exec(compile(choose, "the choice", "exec"), variables)
    kept = variables["kept"]
    test = {model: card["metrics"]["test_accuracy"] for model, card in kept.items()}
    cost = {model: card["cost"]["train_flops"] for model, card in kept.items()}
    smallest = [test[f"{family}-mini"] for family in ("vit", "hybrid", "cnn")]
    assert max(smallest) - min(smallest) < 0.01
    others = [model for model in kept if not model.startswith("cnn")]
    assert test["cnn-tiny"] > max(test[model] for model in others) + 0.01
    assert min(cost[f"{family}-small"] for family in ("vit", "hybrid")) > 2 * cost["cnn-tiny"]
    at = {c["config"]["labels"]["model"]: c["metrics"]["test_accuracy"] for c in variables["cards"]}
    assert at["vit-small"] < at["vit-tiny"] - 0.01 and at["hybrid-small"] < at["hybrid-tiny"] - 0.01
    assert at["vit-tiny"] < at["vit-tiny-half"] < at["vit-small-half"]
    assert cost["vit-tiny"] < 0.5 * cost["vit-small"]
    halved = {f: at[f"{f}-small-half"] - at[f"{f}-small"] for f in ("vit", "hybrid", "cnn")}
    assert 0 < halved["cnn"] < 0.4 * min(halved["vit"], halved["hybrid"])
    for family in ("vit", "hybrid", "cnn"):
        assert abs(at[f"{family}-small-quarter"] - at[f"{family}-small-half"]) < 0.01
    assert abs(at["vit-small-quarter"] - at["vit-small-half"]) < 0.0005
    chosen = {family: kept[f"{family}-small"]["cell"] for family in ("vit", "hybrid", "cnn")}
    assert chosen == {"vit": "vit-small-quarter-s0", "hybrid": "hybrid-small-half-s0",
                      "cnn": "cnn-small-half-s0"}  # fmt: skip
    assert at["hybrid-small"] < at["hybrid-tiny-half"] < at["hybrid-small-half"]
    for size in ("micro", "tiny", "small"):
        errors = sum(test[f"{family}-{size}"] * (1 - test[f"{family}-{size}"]) / 10_000
                     for family in ("hybrid", "vit")) ** 0.5  # fmt: skip
        assert errors < test[f"hybrid-{size}"] - test[f"vit-{size}"] < 0.02
        assert 1.19 < cost[f"hybrid-{size}"] / cost[f"vit-{size}"] < 0.01 + 1.3
        assert test[f"hybrid-{size}"] < test[f"cnn-{size}"] - (0 if size == "micro" else 0.02)
    for family in ("vit", "hybrid"):
        assert 0 < test[f"{family}-small"] - test[f"{family}-tiny"] < 0.01
        assert cost[f"{family}-small"] > 2 * cost[f"{family}-tiny"]
    longer = {c["cell"]: c for c in vt.results.recorded("augmentation")}
    for family in ("vit", "hybrid", "cnn"):
        card = longer[f"{family}-basic-30-s0"]
        assert card["cost"]["macs"] == kept[f"{family}-mini"]["cost"]["macs"]
        assert card["cost"]["train_flops"] < 0.7 * cost[f"{family}-small"]
        assert card["metrics"]["test_accuracy"] > test[f"{family}-small"] + 0.01
