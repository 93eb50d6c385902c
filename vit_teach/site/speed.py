"""What ``make bench`` recorded under data/bench, as tables: the page "How fast is it?"."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..paths import ROOT
from ..results.tables import Table

FOLDER = ROOT / "data" / "bench"
RECIPES = {
    "book": "this book, hybrid",
    "book-vit": "this book, plain ViT",
    "tutorial": "a tutorial's",
    "vit-lite": "ViT-Lite-7/4",
    "cct": "CCT-7/3x1",
}
Record = dict[str, Any]
Row = dict[str, Any]  # a measurement: group, name, unit, value, spread, samples, facts


def recorded(part: str, folder: str | Path = FOLDER) -> Record:
    """The record of one ``part``, such as "step"; without measurements where there is none.

    >>> recorded("no such part")["measurements"]
    []
    """
    path = Path(folder) / f"{part}.json"
    if not path.exists():
        return {"part": part, "measurements": [], "ratios": [], "settings": {}}
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return record


def accuracy_records(folder: str | Path = FOLDER) -> list[Record]:
    """The record of each training of the part "accuracy", in order of file name.

    >>> {record["part"] for record in accuracy_records()} <= {"accuracy"}
    True
    """
    paths = sorted((Path(folder) / "accuracy").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def grouped(rows: Sequence[Row], unit: str | None = None) -> dict[str, list[Row]]:
    """Measurements by their group, in order; only those in ``unit`` if one is given.

    >>> rows = [{"group": "import", "unit": "s"}, {"group": "build", "unit": "s"}]
    >>> list(grouped(rows, "s"))
    ['import', 'build']
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        if unit is None or row["unit"] == unit:
            found.setdefault(row["group"], []).append(row)
    return found


def measured_on(records: Sequence[Record]) -> Table:
    """When, on what and how loaded a machine each part was measured, and how to do it again.

    Parts that are not recorded are left out.

    >>> measured_on([recorded("step")]).columns[0]
    'date'
    """
    rows = []
    for record in records:
        if not record["measurements"]:
            continue
        machine = record["machine"]
        units = ", ".join(machine["matrix_units"]) or "none"
        rows.append((record["part"], [
            record["date"][:10],
            f"{machine['processor']}, {machine['cores']} cores",
            units,
            f"{machine['load'][0]:.1f}",
            record["versions"]["torch"],
            record["command"],
        ]))  # fmt: skip
    columns = ["date", "processor", "bfloat16 units", "load before", "PyTorch", "command"]
    return Table("part", columns, rows, "What was measured where")


def race_table(record: Record) -> Table:
    """Each contender of the parts "step" and "inference" in each race.

    >>> race_table(recorded("step")).heading
    'race'
    """
    ratios = {(row["group"], row["name"]): row for row in record["ratios"]}
    rows = []
    for group, members in grouped(record["measurements"], "images/s").items():
        for row in members:
            facts = row["facts"]
            rows.append((group, [
                row["name"],
                facts["precision"],
                _with_spread(row["value"], row["spread"], 0),
                _times(ratios.get((group, row["name"]))),
                f"{facts['share_of_peak']:.0%}",
                f"{facts['parameters']:,}",
            ]))  # fmt: skip
    columns = ["library", "numbers", "images/s", "this book is faster", "of the peak", "parameters"]
    what = {"step": "training step", "inference": "forward pass"}[record["part"]]
    return Table("race", columns, rows, f"The {what} of one small ViT{_batch(record)}")


def peaks(record: Record) -> Table:
    """The rate of one large matrix product, the measure of "of the peak".

    >>> peaks(recorded("step")).heading
    'race'
    """
    rows = [
        (group, [row["name"], _with_spread(row["value"] / 1e9, row["spread"] / 1e9, 0)])
        for group, members in grouped(record["measurements"], "operations/s").items()
        for row in members
    ]
    caption = "The machine's peak, measured in the same turns"
    return Table("race", ["what", "billion operations/s"], rows, caption)


def loading_table(record: Record) -> Table:
    """Batches a second of the part "data".

    >>> loading_table(recorded("data")).columns
    ['batches/s', 'this book is faster']
    """
    ratios = {row["name"]: row for row in record["ratios"]}
    rows = [
        (
            row["name"],
            [_with_spread(row["value"], row["spread"], 1), _times(ratios.get(row["name"]))],
        )
        for row in record["measurements"]
    ]
    columns = ["batches/s", "this book is faster"]
    caption = f"Crop, flip, normalise{_batch(record)}"
    return Table("loader", columns, rows, caption)


def waiting_table(records: Sequence[Record]) -> Table:
    """Seconds of the parts "startup" and "build".

    >>> waiting_table([recorded("startup")]).columns
    ['seconds']
    """
    rows = [
        (f"{row['group']}: {row['name']}", [_with_spread(row["value"], row["spread"], 1)])
        for record in records
        for row in record["measurements"]
    ]
    return Table("what", ["seconds"], rows, "How long you wait")


def accuracy_rows(records: Sequence[Record]) -> list[Row]:
    """Mean, spread (standard deviation over seeds) and samples of each recipe, best first.

    >>> rows = accuracy_rows(accuracy_records())
    >>> [row["value"] for row in rows] == sorted((row["value"] for row in rows), reverse=True)
    True
    """
    runs: dict[str, list[Row]] = {}
    for record in records:
        (row,) = record["measurements"]
        runs.setdefault(row["name"], []).append(row)
    rows = []
    for name, members in runs.items():
        values = [row["value"] for row in members]
        facts = {
            key: statistics.mean(row["facts"][key] for row in members)
            for key in ("images", "minutes", "parameters")
        }
        rows.append({
            "group": "accuracy", "name": RECIPES[name], "unit": "fraction",
            "value": statistics.mean(values), "samples": values,
            "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
            "facts": {**facts, "precision": members[0]["facts"]["precision"]},
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["value"])


def accuracy_table(records: Sequence[Record]) -> Table:
    """What each recipe reached, and how many pictures it saw in its time.

    >>> accuracy_table(accuracy_records()).heading
    'recipe'
    """
    rows = []
    for row in accuracy_rows(records):
        facts, runs = row["facts"], len(row["samples"])
        spread = f" ± {100 * row['spread']:.1f}" if runs > 1 else ""
        rows.append((row["name"], [
            f"{100 * row['value']:.1f}{spread} %",
            runs,
            f"{facts['minutes']:g}",
            f"{facts['images']:,.0f}",
            facts["precision"],
            f"{facts['parameters'] / 1e6:.2f} M",
        ]))  # fmt: skip
    columns = ["validation accuracy", "seeds", "minutes", "images seen", "numbers", "parameters"]
    return Table("recipe", columns, rows, "CIFAR-10 from scratch, equal time")


def cost_table(record: Record) -> Table:
    """Each size of the part "cost" beside the formula, both as multiples of the axis's first size.

    >>> cost_table(recorded("cost")).heading
    'varied'
    """
    rows = []
    for group, members in grouped(record["measurements"]).items():
        first = members[0]
        for row in members:
            facts = row["facts"]
            grown = facts["kept_bytes"] / first["facts"]["kept_bytes"]
            rows.append((f"{group} {facts['size']}", [
                _with_spread(1e3 * row["value"], 1e3 * row["spread"], 0),
                f"{row['value'] / first['value']:.2f}",
                f"{facts['macs'] / first['facts']['macs']:.2f}",
                f"{facts['kept_bytes'] / 1e6:.0f}",
                f"{grown:.2f}",
            ]))  # fmt: skip
    columns = ["ms a step", "time, times", "formula, times", "MB kept", "memory, times"]
    return Table(
        "varied", columns, rows, "One step in float32, against the first size of each axis"
    )


def _batch(record: Record) -> str:
    """The end of a caption: how many pictures go together."""
    batch = record["settings"].get("batch")
    return f", {batch} pictures at a time" if batch else ": not recorded"


def _with_spread(value: float, spread: float, digits: int) -> str:
    return f"{value:,.{digits}f}" + (f" ± {spread:,.{digits}f}" if spread else "")


def _times(row: Row | None) -> str:
    """A ratio as text; nothing for this book itself."""
    return "" if row is None else f"{row['ratio']:.2f} ± {row['spread']:.2f} times"
