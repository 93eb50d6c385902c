"""The book's own weights: each belongs to its card, and does on CIFAR-10 what the card says."""

from pathlib import Path

import pytest

from vit_teach import cost, data, results, train, weights

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "data" / "weights").iterdir())
CARDS = {card["cell"]: card for name in ("train", "control") for card in results.recorded(name)}


def test_every_file_has_a_card_and_every_card_a_file():
    assert {file.name for file in FILES} == {f"{name}.safetensors" for name in CARDS}
    assert sum(file.stat().st_size for file in FILES) < 10_000_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_is_of_the_cards_run(file):
    about, card = weights.read_metadata(file), CARDS[file.stem]
    assert about["test_accuracy"] == card["metrics"]["test_accuracy"]
    assert about["steps"] == card["train"]["steps"] and about["seed"] == card["seed"]
    assert about["preset"] == card["config"]["preset"] and about["data"] == card["data"]["source"]
    assert cost.parameters(about["config"]) == card["cost"]["params"]


@pytest.mark.cifar10
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_weights_reach_the_cards_accuracy(file):
    """On 1,000 of the 10,000 test images: within four standard errors (5.1 points at 80 %)."""
    model, card = weights.load(file), CARDS[file.stem]
    expected = card["metrics"]["test_accuracy"]
    found, _ = train.evaluate(model, data.load("cifar10", "test").subset(1000))
    assert abs(found - expected) < 4 * (expected * (1 - expected) / 1000) ** 0.5
