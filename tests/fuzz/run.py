"""Damaged files for every reader of the package, as many as fit into some minutes (make fuzz).

Each process reads one file after another (``worker.py``); this one watches them. What counts as a
fault: another exception than ``ValueError``, a process that dies, one that takes longer than 10
seconds or 2 GB, anything executed, a write outside, and a damaged file that is read although it
carries a checksum. The seed is printed: with it every file can be made again.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 10  # of work on one file
START = 180  # seconds that a process may take until it is ready


class Process:
    """A worker, its lines, and how long it has been at one file."""

    def __init__(self, seed: int, folder: Path, first: int, step: int, target: list[str]) -> None:
        self.folder, self.step, self.next = folder, step, first
        command = [sys.executable, str(HERE / "worker.py"), "--seed", str(seed), "--folder",
                   str(folder), "--first", str(first), "--step", str(step)]  # fmt: skip
        for name in target:
            command += ["--target", name]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parents[1])}
        self.log = open(f"{folder}.log", "w+")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.ready, self.since, self.cpu = False, time.monotonic(), 0.0

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line)

    def seconds(self) -> float:
        """Seconds at the file at hand: of the processor where the system tells, else of the day."""
        waited = time.monotonic() - self.since
        if waited > 6 * SECONDS:
            return waited
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return waited
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return used - self.cpu

    def mark(self) -> None:
        """A new file is begun."""
        self.since, self.cpu = time.monotonic(), 0.0
        self.cpu = self.seconds()

    def results(self) -> list[dict[str, Any]]:
        """What has come since the last call; a fault if the process died or hangs."""
        found = []
        while not self.lines.empty():
            line = self.lines.get().strip()
            if line == "ready":
                self.ready = True
                self.mark()
            elif line.isdigit():
                self.next = int(line)
                self.mark()
            elif line:
                found.append(json.loads(line))
                self.next += self.step
                self.mark()
        fault = None
        if self.process.poll() is not None and self.lines.empty():
            fault = f"the process died ({self.process.returncode})"
        elif not self.ready and time.monotonic() - self.since > START:
            fault = "the process does not get ready"
        elif self.ready and self.seconds() > SECONDS:
            fault = f"more than {SECONDS} seconds"
        if fault and not (found and found[-1]["kind"] == "memory"):
            self.log.seek(0)
            detail = self.log.read()[-1500:]
            found.append({"number": self.next, "target": "?", "kind": fault, "detail": detail})
        return found

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.log.close()


def fuzz(seed: int, seconds: float, jobs: int, target: list[str]) -> tuple[Counter, list[dict]]:
    """Read files for so long, from when the first process is ready.

    Returns (how many of each target came to what, the faults).
    """
    counts: Counter = Counter()
    faults: list[dict] = []
    with tempfile.TemporaryDirectory() as base:
        running = [Process(seed, Path(base) / str(i), i, jobs, target) for i in range(jobs)]
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(0.02)
            if not counts and not any(process.ready for process in running):
                began = time.monotonic()  # the corpus is being made
            for place, process in enumerate(list(running)):
                bad = False
                for result in process.results():
                    good = result["kind"] in ("read", "clear")
                    counts[result["target"], result["kind"] if good else "fault"] += 1
                    if not good:
                        faults.append(result)
                        bad = result["kind"] == "memory" or result["target"] == "?"
                if bad:
                    process.stop()
                    if not process.ready:
                        return counts, faults
                    first = process.next + (jobs if faults[-1]["target"] == "?" else 0)
                    running[place] = Process(seed, process.folder, first, jobs, target)
        for process in running:
            process.stop()
    return counts, faults


def told(counts: Counter) -> str:
    """A table of what came of the files."""
    names = sorted({name for name, _ in counts})
    lines = [f"{'':16}{'clear':>8}{'read':>8}{'faults':>8}"]
    for name in names:
        cells = (counts[name, kind] for kind in ("clear", "read", "fault"))
        lines.append(f"{name:16}" + "".join(f"{cell:8,}" for cell in cells))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="the same files again (default: new ones)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--target", action="append", default=[], help="one kind of file only")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"seed {seed}, {options.jobs} processes, {options.minutes:g} minutes", flush=True)
    counts, faults = fuzz(seed, 60 * options.minutes, options.jobs, options.target)
    print(told(counts))
    shown: Counter = Counter()
    for fault in faults:
        group = (fault["target"], fault["kind"], fault["detail"][-60:])
        shown[group] += 1
        if shown[group] <= 2:
            print(f"\n{fault['target']}, number {fault['number']}: {fault['kind']}")
            print(f"  {fault['detail']}")
            more = "".join(f" --target {name!r}" for name in options.target)
            again = f"--seed {seed} --only {fault['number']}{more}"
            print(f"  again: python tests/fuzz/worker.py {again}")
    total = sum(counts.values())
    print(f"\n{total:,} files, {len(faults)} faults (seed {seed})")
    return 1 if faults or not total else 0


if __name__ == "__main__":
    sys.exit(main())
