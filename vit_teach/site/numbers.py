"""Recorded numbers as words, for the prose of chapters 8 to 15: no number is typed by hand."""

from collections.abc import Collection

from .. import results
from ..experiments.lab.cells import Experiment
from ..experiments.lab.report import report, rows
from ..results.summary import Card, Row, labelled


def select(text: str, seeds: Collection[int] | None = None) -> Row:
    """The row of means that ``text`` names, such as ``shuffle test_accuracy model=vit ...``.

    The words are an experiment, a metric and label=value pairs that leave one group of cards.
    ``cell=NAME`` selects one card, ``seeds`` those of some seeds (None: of all). Raises
    ``ValueError`` if no card or more than one group fits.

    >>> round(select("train test_accuracy cell=cifar-vit-20min")["mean"], 1)
    0.8
    """
    return _mean(*_matching(text), seeds)


def _matching(text: str) -> tuple[str, str, list[Card]]:
    """The words, the metric they name and the recorded cards that fit them."""
    experiment, metric, *pairs = text.split()
    if not all("=" in pair for pair in pairs):
        raise ValueError(f"{text!r} must be: experiment metric label=value ...")
    wanted = dict(pair.split("=", 1) for pair in pairs)
    try:
        cards = results.recorded(experiment)
    except FileNotFoundError:
        cards = []
    if "cell" in wanted:
        name = wanted.pop("cell")
        cards = [card for card in cards if card["cell"] == name]
    return text, metric, [card for card in cards if _fits(card, wanted)]


def _mean(text: str, metric: str, cards: list[Card], seeds: Collection[int] | None = None) -> Row:
    """The one group of these cards as a row; ``ValueError`` unless there is exactly one."""
    if seeds is not None:
        cards = [card for card in cards if card["seed"] in seeds]
    found = rows([labelled(card) for card in cards], [metric])
    if len(found) != 1:
        raise ValueError(f"{text!r} fits {len(found)} groups of recorded cards; it must fit one")
    return found[0]


def _fits(card: Card, wanted: dict[str, str]) -> bool:
    labels = card["config"].get("labels", {})
    return all(str(labels.get(label)) == value for label, value in wanted.items())


def quote(text: str) -> str:
    """The recorded result that ``text`` names, as words with its spread or its single seed.

    Raises ``ValueError`` if the text names no recorded result.

    >>> quote("train test_accuracy cell=cifar-vit-20min").endswith("% (one run, seed 0)")
    True
    >>> quote("shuffle test_accuracy model=perceptron")
    Traceback (most recent call last):
    ...
    ValueError: 'shuffle test_accuracy model=perceptron' fits 0 groups of recorded cards; ...
    """
    return results.percent(select(text))


def gap(text: str) -> str:
    """The difference of two recorded results in points, the first minus the second.

    ``text`` is an experiment and a metric, then the labels of the one; then those of the other.
    If one has seeds that the other lacks, only the shared ones count: they share the images and
    the start, so what is left is the difference. Raises ``ValueError`` if either is not recorded.

    >>> gap("train test_accuracy cell=cifar-vit-20min ; cell=cifar-vit-20min")
    '0.0 points'
    """
    first, semicolon, second = text.partition(";")
    if not semicolon:
        raise ValueError(f"{text!r} must name two results with a semicolon between them")
    second = " ".join([*first.split()[:2], second])
    one, other = _matching(first), _matching(second)  # each experiment's cards are read once
    shared = set(_mean(*one)["seeds"]) & set(_mean(*other)["seeds"]) or None
    difference = _mean(*one, shared)["mean"] - _mean(*other, shared)["mean"]
    points = round(100 * difference, 1) + 0.0  # adding 0.0 turns a rounded -0.0 into 0.0
    return f"{points:.1f} points".replace("-", "\N{MINUS SIGN}")


def coverage(experiment: Experiment) -> str:
    """How much of an experiment is recorded and what it took, as words.

    >>> from vit_teach.experiments import find
    >>> coverage(find("shuffle")).endswith("core hours")
    True
    """
    found = report(experiment)
    return f"{found['complete']} of {found['cells']} runs in {found['core_hours']:.1f} core hours"
