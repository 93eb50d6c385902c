"""What the cards of an experiment say: means, spread, what is missing. Chapters 9 to 13."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ... import results
from ...arguments import explained, require_type
from ...paths import RESULTS, as_path
from ...results.summary import Card, Row
from .cells import Experiment
from .runner import card_path


def report(
    experiment: Experiment, quick: bool = False, folder: str | Path = RESULTS
) -> dict[str, Any]:
    """The state of an experiment as plain values, ready for JSON.

    Keys: ``experiment``, ``question``, ``cells`` (declared), ``complete``, ``missing`` and
    ``failed`` (names; a failed one with its error), ``core_hours`` (spent on the complete cells)
    and ``rows``: for each group of labels and each accuracy its mean, sample standard deviation
    (None for a single seed), number of cells and seeds. An experiment that is not about accuracies
    names the fractions that stand there instead (``shown``).

    >>> from vit_teach.experiments import EXPERIMENTS
    >>> report(EXPERIMENTS["shuffle"], folder="no/cards/here")["complete"]
    0
    """
    cards, missing, failed = _sorted_cells(experiment, quick, folder)
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "cells": len(cards) + len(missing) + len(failed),
        "complete": len(cards),
        "missing": missing,
        "failed": failed,
        "core_hours": core_hours(cards),
        "rows": rows(cards, experiment.shown),
    }


def _sorted_cells(
    experiment: Experiment, quick: bool, folder: str | Path
) -> tuple[list[Card], list[str], dict[str, str]]:
    """(complete cards, names of missing cells, errors of failed ones by name)."""
    require_type("experiment", experiment, Experiment, "an Experiment")
    folder = as_path(folder, "folder")
    cards: list[Card] = []
    missing: list[str] = []
    failed: dict[str, str] = {}
    for cell in experiment.cells(quick):
        path = card_path(experiment, cell, folder)
        there = path.exists()
        card = results.read_named_card(path, experiment.name, cell.name) if there else None
        if card is None:
            missing.append(cell.name)
        elif card["status"] == "complete":
            cards.append(card)
        else:
            failed[cell.name] = card.get("note", card["status"])
    return cards, missing, failed


def core_hours(cards: list[Card]) -> float:
    """Hours of one core that the trainings of these cards took; a shared one counts nothing.

    >>> took = {"train": {"wall_s": 1800, "threads": 2}}
    >>> core_hours([took, {**took, "same_training_as": "shuffle/vit-none-s0"}])
    1.0
    """
    own = [card["train"] for card in cards if "same_training_as" not in card]
    return sum(train["wall_s"] * train["threads"] for train in own) / 3600


COLUMNS = 84  # that fit beside a page's table of contents


def so_far(experiment: Experiment, folder: str | Path = RESULTS) -> list[Card]:
    """The complete recorded cards of an experiment, after one printed line that says how many.

    An empty list where nothing is recorded: the line then says how to record it.

    >>> from vit_teach.experiments import EXPERIMENTS
    >>> so_far(EXPERIMENTS["shuffle"], folder="no/cards/here")
    shuffle: none of its 36 trainings is recorded yet. To record them:
    python -m vit_teach.experiments run shuffle
    []
    """
    cards, missing, failed = _sorted_cells(experiment, False, folder)
    count = len(cards) + len(missing) + len(failed)
    command = f"python -m vit_teach.experiments run {experiment.name}"
    if not cards:
        print(f"{experiment.name}: none of its {count} trainings is recorded yet. To record them:")
        print(command)
        return cards
    seeds = ", ".join(str(seed) for seed in sorted({card["seed"] for card in cards}))
    many = f"{len(cards)} of its {count}" if len(cards) < count else f"all its {count}"
    said = f"{experiment.name}: {many} trainings are recorded"
    shared = sum("same_training_as" in card for card in cards)
    others = f",\n{shared} shared with other experiments" if shared else ""
    more = f"(seeds {seeds}; {core_hours(cards):.1f} hours of one core{others})"
    fits = len(f"{said} {more.splitlines()[0]}") <= COLUMNS
    print(said, more, sep=" " if fits else "\n")
    if len(cards) < count:
        print(f"What follows is that part. To record the rest:\n{command}")
    return cards


@explained
def rows(cards: list[Card], metrics: Sequence[str] | None = None) -> list[Row]:
    """Mean and spread over seeds of each accuracy, for each group of equal labels.

    ``metrics`` are names of accuracies (None: all that any card has). Returns dictionaries with the
    labels and the keys of :func:`vit_teach.results.summarise`.

    >>> rows([])
    []
    """
    if not cards:
        return []
    if metrics is None:
        named = {name: None for card in cards for name in card["metrics"]}
        metrics = [name for name in named if name.endswith("accuracy")]
    labels = list(cards[0]["config"]["labels"])
    found = []
    for metric in metrics:
        having = [card for card in cards if card["metrics"].get(metric) is not None]
        by = tuple(f"config.labels.{label}" for label in labels)
        for row in results.summarise(having, by=by, metric=metric):
            found.append({key.removeprefix("config.labels."): row[key] for key in row})
    return found


def as_text(found: dict[str, Any]) -> str:
    """A report as lines to read.

    >>> empty = {"experiment": "demo", "question": "Why?", "cells": 2, "complete": 1,
    ...     "missing": ["vit-s1"], "failed": {}, "core_hours": 0.5, "rows": [
    ...     {"model": "vit", "metric": "val_accuracy", "mean": 0.5, "std": None, "n": 1,
    ...      "seeds": [0]}]}
    >>> print(as_text(empty))
    demo: Why?
    1 of 2 cells complete, 0 failed, 0.5 core hours
    model  metric        result
    vit    val_accuracy  50.0 % (one run, seed 0)
    missing: vit-s1
    """
    lines = [
        f"{found['experiment']}: {found['question']}",
        f"{found['complete']} of {found['cells']} cells complete, {len(found['failed'])} failed, "
        f"{found['core_hours']:.1f} core hours",
    ]
    if found["rows"]:
        labels = list(found["rows"][0])
        labels = labels[: labels.index("metric")]
        table = [[*labels, "metric", "result"]]
        for row in found["rows"]:
            table.append([*(str(row[k]) for k in labels), row["metric"], results.percent(row)])
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        for line in table:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            lines.append("  ".join(padded).rstrip())
    if found["missing"]:
        lines.append("missing: " + ", ".join(found["missing"]))
    lines += [f"failed: {name}: {error}" for name, error in found["failed"].items()]
    return "\n".join(lines)
