"""One training, two questions: a cell takes the card of the same training in another experiment.

The position experiment, say, and the one on pooling both need the plain ViT. A training on one
thread is a function of its declaration and its seed, so it is run once.

Chapters 9 to 14.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import results

if TYPE_CHECKING:
    from ...experiments.lab.cells import Cell, Experiment


METRICS = ("val_accuracy", "val_loss", "train_accuracy", "test_accuracy", "test_loss")


def same_training(cell: Cell, data: dict[str, Any], folder: str | Path) -> dict[str, Any] | None:
    """A complete card in ``folder`` of the training that ``cell`` declares, or None.

    Same means: the same images (``data`` is a card's entry for them), model, recipe, steps and
    seed, and the same weights kept; only the labels differ. Both look at the test set, or neither
    does. A card that is itself a copy is passed over.

    >>> from vit_teach.experiments import cell
    >>> same_training(cell("vit", 128), {"n": 128}, folder="no/cards/here") is None
    True
    """
    wanted = _essentials(cell.settings())
    for path in sorted(Path(folder).glob("*/*.json")):
        card = results.read_card(path)
        if (
            card["status"] == "complete"
            and "same_training_as" not in card
            and (card["seed"], card["train"]["steps"]) == (cell.seed, cell.train.steps)
            and card["data"] == data
            and _essentials(card["config"]) == wanted
            and _keeps_the_same(card, cell)
            and ("test_accuracy" in card["metrics"]) == cell.test
        ):
            return card
    return None


def _essentials(config: dict[str, Any]) -> dict[str, Any]:
    """A card's settings without its labels, and without the rule for the weights to keep."""
    plain = json.loads(json.dumps(config))  # tuples become lists, as in a card that was read
    plain.pop("labels", None)
    plain["train"].pop("keep", None)
    return plain


def _keeps_the_same(card: dict[str, Any], cell: Cell) -> bool:
    """Whether the weights that the card measured are those that the cell would keep.

    Where the best evaluation was the last, "best" and "last" keep the same ones.
    """
    if card["config"]["train"].get("keep") == cell.train.keep:
        return True
    return cell.train.keep == "last" and card["train"].get("kept_step") == card["train"]["steps"]


def shared_card(
    card: dict[str, Any], experiment: Experiment, cell: Cell, selection: str, command: str
) -> dict[str, Any]:
    """The card of ``cell`` in ``experiment`` with what ``card``, the same training, measured.

    It names the other card under "same_training_as". What only the other experiment measured is
    left out.
    """
    copy = {
        **card,
        "experiment": experiment.name,
        "cell": cell.name,
        "same_training_as": f"{card['experiment']}/{card['cell']}",
        "selection": selection,
        "config": cell.settings(),
        "train": {**card["train"], "command": command},
        "metrics": {key: card["metrics"][key] for key in METRICS if key in card["metrics"]},
    }
    copy = json.loads(json.dumps(copy))  # as it will be read again: tuples become lists
    results.validate(copy)
    return copy
