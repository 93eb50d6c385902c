"""The files under data/bench: written whole, checked, compared."""

import json
import math
import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fastjsonschema

from vit_teach.paths import ROOT, written_whole

from . import machine

FOLDER = ROOT / "data" / "bench"
SCHEMA = json.loads(Path(__file__).with_name("record.schema.json").read_text(encoding="utf-8"))
check = fastjsonschema.compile(SCHEMA)
Record = dict[str, Any]


class Watch:
    """Notes date, load and time of a measurement; ``finished`` puts its record together."""

    def __init__(self, part: str, command: str, settings: dict[str, Any]) -> None:
        self.part, self.command, self.settings = part, command, settings

    def __enter__(self) -> "Watch":
        self.date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.load, self.began = os.getloadavg(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def finished(self, measurements: list[Record], ratios: list[Record]) -> Record:
        return rounded({
            "schema": 1, "part": self.part, "date": self.date,
            "command": machine.without_paths(self.command),
            "seconds": time.perf_counter() - self.began,
            "machine": machine.describe(self.load), "versions": machine.versions(),
            "settings": self.settings, "measurements": measurements, "ratios": ratios,
        })  # fmt: skip


def rounded(value: Any) -> Any:
    """The same with floats of five digits: more is noise."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(each) for each in value]
    if isinstance(value, float) and math.isfinite(value) and value:
        return round(value, 4 - math.floor(math.log10(abs(value))))
    return value


def write(record: Record, path: Path) -> Path:
    """Write a record after a look at its form; the file is whole or the old one stays.

    Raises ``fastjsonschema.JsonSchemaException`` for one that does not follow the schema.
    """
    check(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Record:
    """The record at ``path``, checked."""
    record = json.loads(path.read_text(encoding="utf-8"))
    check(record)
    return record


def comparable(new: Record, old: Record) -> bool:
    """Whether the ratios of two records may be compared: same kind of machine, same batches."""
    batches = [each["settings"].get("batch") for each in (new, old)]
    return machine.same_kind(new["machine"], old["machine"]) and batches[0] == batches[1]


def fallen(new: Record, old: Record) -> list[str]:
    """What became slower beside the others than it was on record, a sentence for each ratio.

    A ratio has fallen if it lies below the recorded one by more than the spread, the larger of the
    two. Empty if the machines are of different kinds, or the steps of different size: then nothing
    can be said.
    """
    if not comparable(new, old):
        return []
    now = {(row["group"], row["name"]): row for row in new["ratios"]}
    found = []
    for row in old["ratios"]:
        mine = now.get((row["group"], row["name"]))
        if mine is None:
            continue
        spread = max(row["spread"], mine["spread"])
        if mine["ratio"] < row["ratio"] - spread:
            found.append(
                f"{new['part']}, {row['group']}, against {row['name']}: {mine['ratio']:.2f}, "
                f"recorded {row['ratio']:.2f} with a spread of {spread:.2f}"
            )
    return found
