"""One training, two questions: a cell takes the card of the same training in another experiment.

The position experiment, say, and the one on pooling both need the plain ViT. A training on one
thread is a function of its declaration and its seed, so it is run once.
"""

import json
from pathlib import Path

from ... import results

METRICS = ("val_accuracy", "val_loss", "train_accuracy", "test_accuracy", "test_loss")


def same_training(cell, data, folder):
    """A complete card in ``folder`` of the training that ``cell`` declares, or None.

    Same means: the same images (``data`` is a card's entry for them), model, recipe, steps and
    seed; only the labels differ. Both look at the test set, or neither does. A card that is itself
    a copy is passed over.

    >>> from vit_teach.experiments import cell
    >>> same_training(cell("vit", 128), {"n": 128}, folder="no/cards/here") is None
    True
    """
    wanted = _without_labels(cell.settings())
    for path in sorted(Path(folder).glob("*/*.json")):
        card = results.read_card(path)
        if (
            card["status"] == "complete"
            and "same_training_as" not in card
            and (card["seed"], card["train"]["steps"]) == (cell.seed, cell.train.steps)
            and card["data"] == data
            and _without_labels(card["config"]) == wanted
            and ("test_accuracy" in card["metrics"]) == cell.test
        ):
            return card
    return None


def _without_labels(config):
    plain = json.loads(json.dumps(config))  # tuples become lists, as in a card that was read
    return {key: value for key, value in plain.items() if key != "labels"}


def shared_card(card, experiment, cell, selection, command):
    """The card of ``cell`` in ``experiment`` with what ``card``, the same training, measured.

    It names the other card under "same_training_as". What only the other experiment measured is
    left out.

    >>> shared_card.__name__
    'shared_card'
    """
    copy = {
        **card,
        "experiment": experiment.name,
        "cell": cell.name,
        "same_training_as": f"{card['experiment']}/{card['cell']}",
        "selection": selection,
        "config": {**card["config"], "labels": cell.labels},
        "train": {**card["train"], "command": command},
        "metrics": {key: card["metrics"][key] for key in METRICS if key in card["metrics"]},
    }
    results.validate(copy)
    return copy
