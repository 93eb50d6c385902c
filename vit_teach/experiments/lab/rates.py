"""The learning rate that recorded cards chose for a model. Chapter 9."""

from dataclasses import replace
from pathlib import Path

from ... import results
from ...paths import RESULTS
from .cells import Cell

SWEEPS = ("long_rate", "filter_rate", "learning_rate")  # the longer runs decide where there are any


def with_chosen_rate(cell: Cell, folder: str | Path = RESULTS) -> Cell:
    """The cell with the learning rate that the cards in ``folder`` chose for its model.

    >>> from vit_teach.experiments import cell
    >>> given = cell("vit", 128, tuned=False, learning_rate=0.5)
    >>> with_chosen_rate(given).train.learning_rate
    0.5
    """
    if cell.start is not None:
        cell = replace(cell, start=with_chosen_rate(cell.start, folder))
    if cell.rate is None:
        return cell
    rate = cell.rate_factor * chosen_rate(cell.rate, folder)
    return replace(cell, train=replace(cell.train, learning_rate=rate))


def chosen_rate(model: str, folder: str | Path = RESULTS) -> float:
    """The learning rate with the best validation accuracy among the cards of ``model``.

    The cards of the experiment long_rate decide where there are any, else those of learning_rate.
    A ``folder`` without either takes the repository's. Raises ``ValueError`` if there are no such
    cards.

    >>> chosen_rate("perceptron")
    Traceback (most recent call last):
    ...
    ValueError: model='perceptron' has no learning rate yet: ...
    """
    if not any((Path(folder) / sweep).is_dir() for sweep in SWEEPS):
        folder = RESULTS
    for sweep in SWEEPS:
        rates = _rates_tried(Path(folder) / sweep, model)
        if rates:
            return max(rates, key=lambda rate: sum(rates[rate]) / len(rates[rate]))
    raise ValueError(
        f"model={model!r} has no learning rate yet: "
        "first run python -m vit_teach.experiments run learning_rate"
    )


def _rates_tried(folder: Path, model: str) -> dict[float, list[float]]:
    """The validation accuracies of a model's complete cards in ``folder`` by learning rate."""
    rates: dict[float, list[float]] = {}
    for card in results.read_cards(folder) if folder.is_dir() else []:
        if card["status"] == "complete" and card["config"]["labels"]["model"] == model:
            rate = card["config"]["train"]["learning_rate"]
            rates.setdefault(rate, []).append(card["metrics"]["val_accuracy"])
    return rates
