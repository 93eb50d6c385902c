"""How long one waits: for the import, for the site, for each chapter."""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vit_teach.paths import ROOT

from .turns import half_range, ratio

Facts = dict[str, Any]
IMPORTS = {"torch alone": "import torch", "vit_teach": "import vit_teach"}


def import_seconds(statement: str) -> float:
    """Wall time of a new Python that runs ``statement``, its own start included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def imports(rounds: int) -> tuple[list[Facts], list[Facts]]:
    """(measurements, ratios): the time of ``import vit_teach`` beside that of torch alone."""
    samples: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(rounds + 1):
        for name, statement in IMPORTS.items():
            took = import_seconds(statement)
            if number:  # the first round fills the system's cache of files
                samples[name].append(took)
    value, spread = ratio(samples["torch alone"], samples["vit_teach"])
    quotient = {"group": "import", "name": "torch alone", "ratio": value, "spread": spread}
    return [seconds_row("import", name, values) for name, values in samples.items()], [quotient]


def seconds_row(group: str, name: str, values: list[float]) -> Facts:
    """A measurement in seconds."""
    return {
        "group": group, "name": name, "unit": "s", "value": statistics.median(values),
        "spread": half_range(values), "samples": values, "facts": {},
    }  # fmt: skip


def book() -> tuple[list[Facts], list[Facts]]:
    """(measurements, no ratios): the site built from nothing, then again, and each chapter's time.

    It is built in a copy of the last commit. The chapters run two at a time, so that their sum is
    more than the cold build.
    """
    measurements = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "book"
        subprocess.run(["git", "clone", "--quiet", ROOT, copy], check=True)
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        for name in ("cold", "warm"):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "tools/build.py"], cwd=copy, env=environment, check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            measurements.append(seconds_row("build", name, [time.perf_counter() - start]))
        times = chapter_times(copy / "_build" / ".jupyter_cache")
    return measurements + [seconds_row("chapter", name, [took]) for name, took in times.items()], []


def chapter_times(caches: Path) -> dict[str, float]:
    """Seconds of each notebook by its name, from the newest of the build's own ``caches``."""
    newest = max(caches.iterdir(), key=lambda path: path.stat().st_mtime)
    with sqlite3.connect(newest / "global.db") as database:
        rows = database.execute("select uri, data from nbcache order by uri").fetchall()
    return {
        Path(uri).stem: json.loads(data)["execution_seconds"]
        for uri, data in rows
        if "/exercises/" not in uri
    }
