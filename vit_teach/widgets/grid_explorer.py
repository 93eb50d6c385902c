"""GridExplorer: the result cards of an experiment as a plot to explore (chapters 9 to 13)."""

from collections.abc import Sequence
from typing import Any

import traitlets

from ..arguments import explained
from ..experiments import rows
from ..results.summary import Card, Row, labelled
from ..results.tables import result_rows_table
from .shared.base import BookWidget, require

SEEN = "images seen"  # the horizontal axis of training curves
ALL_SEEDS = -1
DIGITS = 4  # of an accuracy: a test set of 10,000 images has no more


class GridExplorer(BookWidget):
    """Accuracy against any label of an experiment, with its spread over seeds, and the table.

    ``cards`` are the complete result cards of one experiment (others are left out). The traits
    follow the reader: ``metric`` (one of :attr:`metrics`), ``x`` (the label along the axis, or
    "images seen" for the curves of the validation accuracy), ``hidden`` (label values left out, as
    "model=vit") and ``seed`` (-1: mean and spread over all). Raises ``ValueError`` for no complete
    card, cards of several experiments, or a value that does not fit.

    >>> from vit_teach import results
    >>> widget = GridExplorer(results.recorded("train"))
    >>> widget.labels, widget.x
    (['cell'], 'cell')
    """

    MODULE = "grid_explorer"
    title = traitlets.Unicode().tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    cells = traitlets.List(traitlets.Dict()).tag(sync=True)
    metrics = traitlets.List(traitlets.Unicode()).tag(sync=True)
    metric = traitlets.Unicode().tag(sync=True)
    x = traitlets.Unicode().tag(sync=True)
    hidden = traitlets.List(traitlets.Unicode()).tag(sync=True)
    seed = traitlets.Int(ALL_SEEDS).tag(sync=True)

    @explained
    def __init__(
        self, cards: Sequence[Card], metric: str | None = None, x: str | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        cards = [labelled(card) for card in cards if card["status"] == "complete"]
        require(cards, "cards", cards, "must hold at least one complete card")
        names = sorted({card["experiment"] for card in cards})
        require(len(names) == 1, "cards of experiments", names, "must be of one experiment")
        self._cards = cards
        labels = list(cards[0]["config"]["labels"])
        metrics = [name for name in cards[0]["metrics"] if name.endswith("accuracy")]
        metrics = [name for name in metrics if all(name in card["metrics"] for card in cards)]
        require(metrics, "metrics of cards", list(cards[0]["metrics"]), "must hold an accuracy")
        if metric is None:
            metric = "test_accuracy" if "test_accuracy" in metrics else "val_accuracy"
        require(metric in metrics, "metric", metric, f"must be one of {metrics}")
        super().__init__(
            title=names[0], labels=labels, cells=[_small(card, metrics) for card in cards],
            metrics=metrics, metric=metric, x=_best_axis(cards, labels) if x is None else x,
            **settings,
        )  # fmt: skip

    def axes(self) -> list[str]:
        """What can be drawn from left to right: the labels and, for trainings, images seen."""
        return [*self.labels, *([SEEN] if any(cell["curve"] for cell in self.cells) else [])]

    def rows(self) -> list[Row]:
        """Mean, spread and seeds of what is not hidden, for each group of equal labels."""
        cards = [card for card in self._cards if self.seed in (ALL_SEEDS, card["seed"])]
        return rows([card for card in cards if not self._is_hidden(card)], [self.metric])

    def _is_hidden(self, card: Card) -> bool:
        labels = card["config"]["labels"].items()
        return any(f"{label}={value}" in self.hidden for label, value in labels)

    @traitlets.validate("metric", "x")
    def _check_name(self, proposal: Any) -> Any:
        known = self.metrics if proposal.trait.name == "metric" else self.axes()
        rule = f"must be one of {known}"
        require(proposal.value in known, proposal.trait.name, proposal.value, rule)
        return proposal.value

    @traitlets.validate("hidden")
    def _check_hidden(self, proposal: Any) -> Any:
        values = {f"{k}={v}" for c in self._cards for k, v in c["config"]["labels"].items()}
        for value in proposal.value:
            require(value in values, "hidden", value, f"must be one of {sorted(values)}")
        return proposal.value

    @traitlets.validate("seed")
    def _check_seed(self, proposal: Any) -> Any:
        seeds = [ALL_SEEDS, *sorted({card["seed"] for card in self._cards})]
        require(proposal.value in seeds, "seed", proposal.value, f"must be one of {seeds}")
        return proposal.value

    def describe(self) -> str:
        found = self.rows()
        means = [row["mean"] for row in found]
        seeds = sorted({card["seed"] for card in self._cards})
        return (
            f"The recorded experiment {self.title}: {len(self._cards)} trainings in {len(found)} "
            f"groups, {len(seeds)} seeds, {self.metric.replace('_', ' ')} from {min(means):.1%} to "
            f"{max(means):.1%}. With scripts on, you can choose here what is drawn against what, "
            "leave values out, look at single seeds and at the curves of training."
        )

    def picture(self) -> str:
        caption = f"{self.metric.replace('_', ' ').capitalize()} of the experiment {self.title}"
        return result_rows_table(self.rows(), self.labels, caption)._repr_html_()


def _small(card: Card, metrics: Sequence[str]) -> dict[str, Any]:
    """What the script needs of a card: labels, seed, accuracies, the curve over images seen.

    A card that trained nothing has no curve.
    """
    curves, seen = card["curves"], card["data"]["n"]
    points = zip(curves.get("epoch", []), curves.get("val_accuracy", []), strict=True)
    return {
        "at": list(card["config"]["labels"].values()),
        "seed": card["seed"],
        "values": [round(card["metrics"][name], DIGITS) for name in metrics],
        "curve": [[round(epoch * seen), round(value, DIGITS)] for epoch, value in points],
    }


def _best_axis(cards: Sequence[Card], labels: Sequence[str]) -> str:
    """The label with the most numbers as values, else the one with the most values."""
    values = {label: {card["config"]["labels"][label] for card in cards} for label in labels}
    numeric = [k for k, found in values.items() if all(isinstance(v, int | float) for v in found)]
    return max(numeric or labels, key=lambda label: len(values[label]))
