"""Means and spreads over the seeds of recorded cards. Chapters 9 to 13."""

import json
import statistics
from typing import Any

from ..arguments import explained

Card = dict[str, Any]  # a result card, as card.schema.json describes it
Row = dict[str, Any]  # a mean over seeds: labels, then metric, mean, std, n and seeds

# --- Summing up -----------------------------------------------------------------------------------


@explained
def summarise(
    cards: list[Card], by: str | tuple[str, ...] = ("cell",), metric: str = "val_accuracy"
) -> list[Row]:
    """Mean and spread of a metric over seeds, one row per group of complete cards.

    ``by`` are keys whose values make a group, dotted into the card, such as ("config.policy",
    "data.n"); ``metric`` is a key of "metrics". Each row holds the ``by`` values and "metric",
    "mean", "std" (sample standard deviation, None for a single seed), "n" (cards) and "seeds". Rows
    stand in the order in which their groups first appear.

    Raises ``ValueError`` where a complete card lacks the metric or a key, and where a seed appears
    twice in a group: then the spread would mix something else with the seeds.

    >>> run = lambda seed, value: {"cell": f"s{seed}", "status": "complete", "seed": seed,
    ...     "config": {"policy": "basic"}, "metrics": {"val_accuracy": value}}
    >>> row, = summarise([run(0, 0.5), run(1, 0.75)], by=("config.policy",))
    >>> row["config.policy"], row["mean"], round(row["std"], 4), row["n"], row["seeds"]
    ('basic', 0.625, 0.1768, 2, [0, 1])
    """
    by = (by,) if isinstance(by, str) else tuple(by)
    groups: dict[str, list[Card]] = {}
    for card in cards:
        if card["status"] == "complete":
            values = [_look_up(card, key) for key in by]
            groups.setdefault(json.dumps(values, sort_keys=True), []).append(card)
    return [_row(group, by, metric) for group in groups.values()]


def _row(group: list[Card], by: tuple[str, ...], metric: str) -> Row:
    group = sorted(group, key=lambda card: card["seed"])
    seeds = [card["seed"] for card in group]
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"by={by} puts cells {[card['cell'] for card in group]} with seeds "
            f"{seeds} in one group; a group may hold each seed once"
        )
    values = [_look_up(card, f"metrics.{metric}") for card in group]
    if None in values:
        cell = group[values.index(None)]["cell"]
        raise ValueError(f"metric={metric!r} was not measured in cell {cell!r}")
    return {
        **{key: _look_up(group[0], key) for key in by},
        "metric": metric,
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "seeds": seeds,
    }


def _look_up(card: Card, dotted: str) -> Any:
    value: Any = card
    for key in dotted.split("."):
        if not isinstance(value, dict) or key not in value:
            raise ValueError(f"{dotted!r} is not in the card of cell {card['cell']!r}")
        value = value[key]
    return value


@explained
def labelled(card: Card) -> Card:
    """The card with labels, so that cards of a single training count as a group too.

    A card that has none gets its cell's name as its only label.

    >>> labelled({"cell": "a", "config": {}})["config"]["labels"]
    {'cell': 'a'}
    """
    if "labels" in card["config"]:
        return card
    return {**card, "config": {**card["config"], "labels": {"cell": card["cell"]}}}


@explained
def percent(row: Row, seeds: bool = True) -> str:
    """A row of :func:`summarise` as text: never a number without its spread or its single seed.

    Where one line says it for many numbers (:func:`evidence`), ``seeds=False`` leaves it out here.

    >>> percent({"mean": 0.8112, "std": 0.004, "n": 3, "seeds": [0, 1, 2]})
    '81.1 ± 0.4 % (3 seeds)'
    >>> percent({"mean": 0.8112, "std": None, "n": 1, "seeds": [7]})
    '81.1 % (one run, seed 7)'
    """
    if row["std"] is None:
        text, said = f"{100 * row['mean']:.1f} %", f"one run, seed {row['seeds'][0]}"
    else:
        text, said = f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f} %", f"{row['n']} seeds"
    return f"{text} ({said})" if seeds else text


def evidence(rows: list[Row]) -> str:
    """What stands behind all numbers of a table, to be said once; empty where they differ.

    >>> one = {"mean": 0.5, "std": None, "n": 1, "seeds": [0]}
    >>> three = {"mean": 0.5, "std": 0.01, "n": 3, "seeds": [0, 1, 2]}
    >>> evidence([one, one]), evidence([three])
    ('one run each, seed 0', 'mean ± standard deviation over 3 seeds')
    >>> evidence([one, three])
    'with ±: mean and standard deviation over 3 seeds; without: one run, seed 0'
    >>> evidence([one, {**one, "seeds": [1]}])
    ''
    """
    single = {row["seeds"][0] for row in rows if row["std"] is None}
    several = {row["n"] for row in rows if row["std"] is not None}
    if len(single) > 1 or len(several) > 1 or not rows:
        return ""
    if not several:
        return f"one run each, seed {single.pop()}"
    if not single:
        return f"mean ± standard deviation over {several.pop()} seeds"
    return (
        f"with ±: mean and standard deviation over {several.pop()} seeds; "
        f"without: one run, seed {single.pop()}"
    )
