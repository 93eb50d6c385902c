"""Every recorded number with the command that makes it: the page "Reproduce every number".

Everything is read from the result cards and from the pages themselves, so it grows with them.

For all pages.
"""

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import results
from ..experiments.lab.report import core_hours
from ..paths import RESULTS, ROOT
from ..results.summary import Card
from ..results.tables import Table

METRICS = {"validation": "val_accuracy", "test": "test_accuracy"}


def recorded_by_experiment(folder: str | Path = RESULTS) -> dict[str, list[Card]]:
    """The cards under ``folder`` as lists by the name of their experiment, in order of file name.

    Raises ``FileNotFoundError`` for a missing folder.

    >>> "train" in recorded_by_experiment()
    True
    """
    found: dict[str, list[Card]] = {}
    for card in results.read_cards(folder):
        found.setdefault(card["experiment"], []).append(card)
    return found


def overview(found: dict[str, list[Card]], book: str | Path = ROOT / "book") -> Table:
    """One row per experiment: cells, seeds, time, data, processor, pages; a :class:`Table`.

    ``found`` is what :func:`recorded_by_experiment` returns. Time is processor time: seconds times
    threads, of complete cells; a training that two experiments share counts in the first alone.

    >>> "train" in dict(overview(recorded_by_experiment()).rows)
    True
    """
    rows = []
    for name, cards in found.items():
        complete = [card for card in cards if card["status"] == "complete"]
        declared = _declared(name)
        rows.append((name, [
            f"{len(complete)} of {declared}" if declared else str(len(complete)),
            _listed(card["seed"] for card in complete),
            f"{core_hours(complete):.1f} h",
            _listed(card["data"]["source"] for card in complete),
            _listed(card["env"]["cpu"] for card in complete),
            "; ".join(pages_using(name, cards, book)) or "none yet",
        ]))  # fmt: skip
    columns = ["cells", "seeds", "core hours", "data", "processor", "used on"]
    return Table("experiment", columns, rows, "What is recorded, by experiment")


def pages_using(name: str, cards: list[Card], book: str | Path = ROOT / "book") -> list[str]:
    """Titles of the pages of ``book`` that read the cards of experiment ``name``, sorted by file.

    A page reads them through ``recorded("NAME")`` or ``so_far("NAME")``, through a role such as
    ``{result}`NAME ...```, or by naming a cell in quotes, as the loading of its weights does.

    >>> pages_using("no such experiment", [])
    []
    """
    cells = "|".join(re.escape(card["cell"]) for card in cards)
    patterns = [
        rf"(recorded\w*|so_far)\(\s*[\"']{re.escape(name)}[\"']",
        rf"{{(result|gap|coverage)}}`{re.escape(name)}\b",
        rf"[\"']({cells})[\"']" if cells else "$^",
    ]
    titles = []
    for path in sorted([*Path(book).rglob("*.ipynb"), *Path(book).rglob("*.md")]):
        text = _text(path)
        if any(re.search(pattern, text) for pattern in patterns):
            title = re.search(r"^# (.+)$", text, re.MULTILINE)
            titles.append(title.group(1) if title else path.stem)
    return titles


def _text(path: Path) -> str:
    """What a page says, its code included."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


class Details:
    """Below the overview: for each experiment its command, its results, and every single card.

    ``found`` is what :func:`recorded_by_experiment` returns. A notebook shows it as HTML with
    folded tables, a terminal as text.

    >>> "train" in str(Details(recorded_by_experiment())).splitlines()
    True
    """

    def __init__(self, found: dict[str, list[Card]]) -> None:
        self.parts = [
            (name, _question(name), _command(name), _results(cards), _cells(cards))
            for name, cards in found.items()
        ]

    def __str__(self) -> str:
        lines = []
        for name, question, command, *tables in self.parts:
            lines += [name, question, command, *map(str, tables), ""]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = []
        for name, question, command, means, cells in self.parts:
            parts.append(
                f"<p><strong>{html.escape(name)}</strong>: {html.escape(question)}<br>"
                f"{html.escape(command)}</p>{_folded(means)}{_folded(cells)}"
            )
        return "\n".join(parts)


def _folded(table: Table) -> str:
    title = f"{html.escape(table.caption)} ({len(table.rows)})"
    # A box of its own scrolls sideways on a phone; tabindex lets the keyboard scroll it too.
    box = f'<div style="overflow-x:auto" tabindex="0">{table._repr_html_()}</div>'
    return f"<details><summary>{title}</summary>{box}</details>"


def _declared(name: str) -> int | None:
    """The number of cells that an experiment declares; None for single trainings."""
    from ..experiments import EXPERIMENTS

    return len(EXPERIMENTS[name].cells(quick=False)) if name in EXPERIMENTS else None


def _question(name: str) -> str:
    from ..experiments import EXPERIMENTS

    if name in EXPERIMENTS:
        return EXPERIMENTS[name].question
    return "Single trainings, each with its own command."


def _command(name: str) -> str:
    if _declared(name):
        return f"All cells that have no card yet: python -m vit_teach.experiments run {name}"
    return "The command of each stands in the table of its cells."


def _labels(card: Card) -> str:
    """What a card's result is a result of: its labels, or its own name."""
    labels = card["config"].get("labels") or {}
    return ", ".join(f"{key} {value}" for key, value in labels.items()) or card["cell"]


def _results(cards: list[Card]) -> Table:
    """Mean and spread over seeds for each group of equal labels."""
    groups: dict[str, list[Card]] = {}
    for card in cards:
        if card["status"] == "complete":
            groups.setdefault(_labels(card), []).append(card)
    rows = [
        (named, [_accuracy(group, metric) for metric in METRICS.values()])
        for named, group in groups.items()
    ]
    return Table("what", list(METRICS), rows, "Accuracies, mean and spread over seeds")


def _accuracy(group: list[Card], metric: str) -> str:
    if any(card["metrics"].get(metric) is None for card in group):
        return "not looked at"
    (row,) = results.summarise(group, by=("experiment",), metric=metric)
    return results.percent(row)


def _cells(cards: list[Card]) -> Table:
    """One row per card, whatever its status."""
    rows = []
    for card in cards:
        accuracies = (card["metrics"].get(metric) for metric in METRICS.values())
        train = card["train"]
        rows.append((card["cell"], [
            card["status"],
            card["seed"],
            *("" if value is None else f"{value:.2%}" for value in accuracies),
            _time(card),
            f"{card['data']['source']}, {card['data']['n']:,} images",
            card["env"]["cpu"],
            train["command"],
        ]))  # fmt: skip
    columns = ["status", "seed", *METRICS, "time", "data", "processor", "command"]
    return Table("cell", columns, rows, "Every card")


def _time(card: Card) -> str:
    """How long the training took; for a shared one where its time is counted."""
    if "same_training_as" in card:
        return f"as {card['same_training_as']}"
    return f"{card['train']['wall_s'] / 60:.1f} min, {_threads(card['train']['threads'])}"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _listed(values: Iterable[Any]) -> str:
    """Different values once each, sorted, as text."""
    return ", ".join(map(str, sorted(set(values))))
