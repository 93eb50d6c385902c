"""``make bench``, or ``python -m tools.bench`` from the root of the repository.

Without arguments: every part that takes minutes, in turns against other libraries. What is measured
goes to runs/bench/; where data/bench/ has no record of a part yet, or with --record, there too.
The exit code is 1 if a ratio fell below the recorded one by more than its spread, on a machine of
the same kind. ``--only accuracy`` and ``--only build`` take long, so they run when asked for; the
former writes to data/bench/accuracy/, a file for each run, and goes on where it was stopped.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vit_teach.paths import RUNS
from vit_teach.results.tables import Table
from vit_teach.site import speed as tables

from . import accuracy, costs, loading, recipes, record, speed, startup

Measured = tuple[list[dict[str, Any]], list[dict[str, Any]]]
# Each part: what measures it, given the rounds, the seconds of one turn and the images of a step.
PARTS: dict[str, Callable[[int, float, int], Measured]] = {
    "step": lambda rounds, seconds, batch: speed.measure("step", rounds, seconds, batch),
    "inference": lambda rounds, seconds, batch: speed.measure("inference", rounds, seconds, batch),
    "data": loading.measure,
    "startup": lambda rounds, seconds, batch: startup.imports(rounds),
    "cost": lambda rounds, seconds, batch: costs.measure(rounds),
    "build": lambda rounds, seconds, batch: startup.book(),
}
# What is printed of each part.
TABLES: dict[str, list[Callable[[dict[str, Any]], Table]]] = {
    "step": [tables.race_table, tables.peaks],
    "inference": [tables.race_table, tables.peaks],
    "data": [tables.loading_table],
    "startup": [lambda found: tables.waiting_table([found])],
    "cost": [tables.cost_table],
    "build": [lambda found: tables.waiting_table([found])],
}
SHORT = ("step", "inference", "data", "startup", "cost")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--only", nargs="+", choices=[*PARTS, "accuracy"], default=SHORT, help="these parts")
    add("--record", action="store_true", help="replace what is recorded under data/bench")
    add("--rounds", type=int, default=6, help="turns of each contender (default: %(default)s)")
    add("--seconds", type=float, default=1.0, help="of one turn (default: %(default)s)")
    add("--batch", type=int, default=128, help="images of a step (default: %(default)s)")
    add("--minutes", type=float, default=10.0, help="of one training of the part accuracy")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the part accuracy")
    add("--recipes", nargs="+", choices=[*recipes.RECIPES, *recipes.OURS], default=[],
        help="of the part accuracy (default: " + ", ".join(recipes.NAMES) + ")")  # fmt: skip
    add("--dataset", choices=["cifar10", "shapes"], default="cifar10", help="of accuracy")
    add("--folder", type=Path, default=record.FOLDER, help="where the records lie")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for; returns 1 if something fell behind its record, else 0."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(arguments)
    if min(options.rounds, options.batch) < 1 or min(options.seconds, options.minutes) <= 0:
        print("error: rounds, batch, seconds and minutes must be positive", file=sys.stderr)
        return 2
    fallen = []
    for part in options.only:
        if part == "accuracy":
            accuracy.measure(
                options.recipes, options.seeds, options.minutes, options.dataset,
                options.folder / "accuracy", command("accuracy", options),
            )  # fmt: skip
            continue
        fallen += measure(part, options)
    for sentence in fallen:
        print(f"slower than recorded: {sentence}", file=sys.stderr)
    return 1 if fallen else 0


def command(part: str, options: argparse.Namespace) -> str:
    """What to type to measure this part again."""
    words = ["python", "-m", "tools.bench", "--only", part]
    if part == "accuracy":
        words += ["--minutes", f"{options.minutes:g}"]
    else:
        words += ["--rounds", str(options.rounds), "--seconds", f"{options.seconds:g}"]
        words += ["--batch", str(options.batch), "--record"]
    return shlex.join(words)


def measure(part: str, options: argparse.Namespace) -> list[str]:
    """Measure one part, print and write it; returns what fell behind the record."""
    print(f"\n{part}", flush=True)
    settings = {"rounds": options.rounds, "seconds": options.seconds, "batch": options.batch}
    with record.Watch(part, command(part, options), settings) as watch:
        new = watch.finished(*PARTS[part](options.rounds, options.seconds, options.batch))
    for make in TABLES[part]:
        print(make(new))
    record.write(new, RUNS / "bench" / f"{part}.json")
    path = options.folder / f"{part}.json"
    known = record.read(path) if path.exists() else None
    if options.record or known is None:
        record.write(new, path)
        print(f"  recorded: {path}")
        return []
    if not record.comparable(new, known):
        print("  recorded on another kind of machine, or with other batches: nothing is compared")
    return record.fallen(new, known)


if __name__ == "__main__":
    sys.exit(main())
