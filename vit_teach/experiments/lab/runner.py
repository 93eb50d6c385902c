"""Run the cells of an experiment, each in its own process, and leave a card for each.

A cell is done when its card is there. A cell that was killed goes on from its checkpoint when it
is run again, so nothing is lost but the last half minute.

Chapters 9 to 14.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ... import cost, results
from ...arguments import require_type
from ...data.drawn import shapes
from ...paths import RESULTS, RUNS, as_path, writable
from ...train.card import card_of_run
from ...train.evaluation import evaluate
from ...train.loop import Trainer, train
from .cells import Cell, Experiment, nothing_more
from .images import load_sets
from .measurement import Measurement, card_of, seconds
from .pretrained import begin
from .rates import with_chosen_rate
from .same_training import same_training, shared_card
from .wrappers import build_model

if TYPE_CHECKING:
    from .measurement import AnyCell


WORK = RUNS / "experiments"  # checkpoints and logs of cells that are under way
ELSEWHERE = 75  # exit code of a cell that another process is running (EX_TEMPFAIL)


def card_path(experiment: Experiment, cell: AnyCell, folder: str | Path = RESULTS) -> Path:
    """Where the card of a cell lies.

    >>> from types import SimpleNamespace as Named
    >>> card_path(Named(name="demo"), Named(name="vit-s0"), Path("results")).as_posix()
    'results/demo/vit-s0.json'
    """
    return Path(folder) / experiment.name / f"{cell.name}.json"


def is_done(experiment: Experiment, cell: AnyCell, folder: str | Path = RESULTS) -> bool:
    """Whether the cell has a complete card; a failed one does not count.

    >>> from types import SimpleNamespace as Named
    >>> is_done(Named(name="demo"), Named(name="vit-s0"))
    False
    """
    path = card_path(experiment, cell, folder)
    if not path.exists():
        return False
    return results.read_named_card(path, experiment.name, cell.name)["status"] == "complete"


def waiting(
    experiment: Experiment, quick: bool = False, folder: str | Path = RESULTS
) -> list[AnyCell]:
    """The cells that have no complete card yet, in order.

    >>> from vit_teach.experiments import EXPERIMENTS
    >>> left = waiting(EXPERIMENTS["shuffle"], folder=Path("no", "cards", "here"))
    >>> len(left) == len(EXPERIMENTS["shuffle"].cells(quick=False))
    True
    """
    return [cell for cell in experiment.cells(quick) if not is_done(experiment, cell, folder)]


# --- One cell -------------------------------------------------------------------------------------


def run_cell(
    experiment: Experiment,
    cell: AnyCell,
    work: str | Path | None = None,
    quiet: bool = True,
    recorded: str | Path | None = None,
) -> dict[str, Any]:
    """Train one cell, measure it, and return its card (nothing is written but checkpoints).

    A :class:`Measurement` trains nothing: it is measured.

    ``work`` is the folder of the checkpoint; None keeps none. The test set is looked at once, after
    all choices. A cell whose training is in ``recorded``, a folder of cards, is not run again; its
    cards choose the learning rate, or those of the repository where it has none.

    >>> import vit_teach as vt
    >>> from vit_teach.experiments import Experiment, cell
    >>> demo = Experiment("demo", "Does it run?", lambda quick: [])
    >>> tiny = cell("cnn", 256, n=200, data="corner", tuned=False, evaluations=1)
    >>> run_cell(demo, tiny)["train"]["steps"]
    2
    """
    require_type("experiment", experiment, Experiment, "an Experiment")
    require_type("cell", cell, (Cell, Measurement), "a Cell or a Measurement")
    work = None if work is None else as_path(work, "work")
    recorded = None if recorded is None else as_path(recorded, "recorded")
    if isinstance(cell, Measurement):
        return card_of(experiment, cell, _command(experiment, cell), work)
    cell = with_chosen_rate(cell, recorded or RESULTS)
    train_set, validation_set, test_set = load_sets(cell)
    if recorded is not None and experiment.measure is nothing_more:
        twin = same_training(cell, results.data_entry(train_set), recorded)
        if twin is not None:
            names = experiment, cell
            return shared_card(twin, *names, selection(cell), _command(*names))
    model = build_model(cell, len(train_set.classes))
    begun = begin(model, cell, validation_set, work.parent / "start" if work else None)
    model, history = train(model, train_set, validation_set, cell.train, folder=work, quiet=quiet)
    metrics = {
        **begun,
        "val_accuracy": history.kept["val_accuracy"],
        "val_loss": history.kept["val_loss"],
        "train_accuracy": history.kept["train_accuracy"],
        **experiment.measure(model, cell, validation_set),
    }
    if cell.test:
        accuracy, loss = evaluate(model, test_set, precision=history.precision)
        metrics |= {"test_accuracy": accuracy, "test_loss": loss}
    return card_of_run(
        experiment.name,
        cell.name,
        seed=cell.seed,
        selection=selection(cell),
        config=cell.settings(),
        model_config=cell.config(len(train_set.classes)),
        train_set=train_set,
        history=history,
        command=_command(experiment, cell),
        metrics=metrics,
    )


def failed_card(experiment: Experiment, cell: AnyCell, reason: str) -> dict[str, Any]:
    """A card that says why a cell has no result; the cell runs again the next time.

    >>> from vit_teach.experiments import EXPERIMENTS
    >>> shuffle = EXPERIMENTS["shuffle"]
    >>> failed_card(shuffle, shuffle.cells(quick=True)[0], "out of memory")["status"]
    'failed'
    """
    return results.new_card(
        experiment.name,
        cell.name,
        status="failed",
        note=results.cards.without_machine_paths(str(reason)[:2000]),
        seed=cell.seed,
        selection=selection(cell),
        config=cell.settings(),
        data={"source": cell.data, "split": "train", "n": cell.n or 0, "fingerprint": "none"},
        train={
            "steps": 0, "epochs": 0, "wall_s": 0, "precision": "none", "threads": 1,
            "command": _command(experiment, cell),
        },
        cost={"params": 0, "macs": 0, "train_flops": 0},
        metrics={},
    )  # fmt: skip


def selection(cell: AnyCell) -> str:
    """How a cell's learning rate and weights are chosen, in words for its card.

    A measurement has its own words.

    >>> from vit_teach.experiments import cell
    >>> selection(cell("vit", 128)).endswith("the test set was looked at once, after all choices")
    True
    """
    if isinstance(cell, Measurement):
        return cell.selection
    step = "the last step" if cell.train.keep == "last" else "the look with the best accuracy"
    rate = "given"
    if cell.rate:
        rate = f"the best of the learning_rate cards of {cell.rate}"
        rate += f", times {cell.rate_factor:g}" if cell.rate_factor != 1 else ""
    test = "looked at once, after all choices" if cell.test else "not looked at"
    return (
        f"on validation images held out of the training set: weights of {step}, learning rate "
        f"{rate}; the test set was {test}"
    )


def _command(experiment: Experiment, cell: AnyCell) -> str:
    return f"python -m vit_teach.experiments cell {experiment.name} {cell.name}"


def cell_in_process(
    experiment: Experiment,
    cell: AnyCell,
    folder: str | Path = RESULTS,
    work: str | Path = WORK,
    quiet: bool = True,
) -> int:
    """Run one cell here, alone, and write its card. Returns an exit code.

    0: the card is there; 1: it failed, and a card says why; 75: another process is running it.
    An interrupted cell leaves its checkpoint and no card.
    """
    work = writable(Path(work) / experiment.name / cell.name)
    try:
        with FileLock(work / "lock", timeout=0):
            if is_done(experiment, cell, folder):
                return 0
            writable(card_path(experiment, cell, folder).parent)
            try:
                card = run_cell(experiment, cell, work=work, quiet=quiet, recorded=folder)
            except Exception as error:  # whatever it is, it goes on record and the rest goes on
                card = failed_card(experiment, cell, f"{type(error).__name__}: {error}")
            results.write_card(card, card_path(experiment, cell, folder))
    except Timeout:
        return ELSEWHERE
    if card["status"] == "failed":
        print(card["note"], file=sys.stderr)
        return 1
    shutil.rmtree(work, ignore_errors=True)
    return 0


def end_with_runner() -> None:
    """End this process when the runner that started it is gone: its end of the pipe closes."""

    def watch() -> None:
        # Not sys.stdin: its lock, held by a waiting thread, would abort a normal end of Python.
        while os.read(0, 1024):
            pass
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


# --- Many cells -----------------------------------------------------------------------------------


def run(
    experiment: Experiment,
    quick: bool = False,
    jobs: int = 1,
    shard: tuple[int, int] = (1, 1),
    folder: str | Path = RESULTS,
    work: str | Path = WORK,
) -> int:
    """Run every cell that has no complete card, ``jobs`` at a time; returns how many failed.

    Each cell is a process of its own, on one thread if there are several jobs. ``shard`` (i, n)
    takes every n-th cell from the i-th on, so that n machines share an experiment. Ctrl-C stops;
    the same call goes on. Raises ``OSError`` before the first cell if ``folder``, where the cards
    go, or ``work`` cannot be written.
    """
    for place in (folder, work):
        writable(Path(place) / experiment.name)
    number, shards = shard
    cells = experiment.cells(quick)[number - 1 :: shards]
    left = [cell for cell in cells if not is_done(experiment, cell, folder)]
    counts = f"{len(cells)} cells, {len(left)} to run, {jobs} at a time"
    print(f"{experiment.name}: {counts}", flush=True)
    progress = Progress(left, jobs)

    def start(cell: AnyCell) -> tuple[AnyCell, int, float]:
        began = time.perf_counter()
        code = _run_in_child(experiment, cell, quick, jobs, folder, work)
        return cell, code, time.perf_counter() - began

    pool = ThreadPoolExecutor(jobs)
    try:
        for done in [pool.submit(start, cell) for cell in left]:
            cell, code, spent = done.result()
            print(progress.line(experiment, cell, code, spent, folder), flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return progress.failed


def _run_in_child(
    experiment: Experiment,
    cell: AnyCell,
    quick: bool,
    jobs: int,
    folder: str | Path,
    work: str | Path,
) -> int:
    """Run one cell in a process of its own and return its exit code."""
    command = [sys.executable, "-m", "vit_teach.experiments", "cell", experiment.name, cell.name]
    command += ["--out", str(folder), "--work", str(work), "--watched"]
    command += ["--quick"] if quick else []
    environment = dict(os.environ)
    if jobs > 1:
        environment["OMP_NUM_THREADS"] = "1"
    place = Path(work) / experiment.name / cell.name
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "log.txt", "a", encoding="utf-8") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
        )
        code = child.wait()
        if child.stdin is not None:
            child.stdin.close()
    if code not in (0, 1, 130, ELSEWHERE) and not is_done(experiment, cell, folder):
        # It died without a word: killed for want of memory, say.
        card = failed_card(experiment, cell, f"the process ended with code {code}")
        results.write_card(card, card_path(experiment, cell, folder))
    return code


class Progress:
    """What is done, and how long the rest will take, judged by multiply-adds.

    The cells that ended say how fast one job is; those under way count as not begun.

    >>> from vit_teach.experiments import EXPERIMENTS
    >>> Progress(EXPERIMENTS["shuffle"].cells(quick=True)).failed
    0
    """

    def __init__(self, cells: list[AnyCell], jobs: int = 1) -> None:
        self.left = sum(_work(cell) for cell in cells)
        self.count, self.total, self.done, self.failed = len(cells), self.left, 0, 0
        self.jobs, self.spent = jobs, 0.0

    def line(
        self, experiment: Experiment, cell: AnyCell, code: int, spent: float, folder: str | Path
    ) -> str:
        """Note that a cell ended after ``spent`` seconds, and say how it went."""
        self.done += 1
        self.left -= _work(cell)
        self.spent += spent
        rest = self.spent * self.left / max(self.total - self.left, 1) / self.jobs
        if code == 0:
            card = results.read_card(card_path(experiment, cell, folder))
            accuracy = card["metrics"].get("val_accuracy")
            said = "measured" if accuracy is None else f"validation {accuracy:.1%}"
            said += f", {card['train']['wall_s']:.0f} s"
        elif code == ELSEWHERE:
            said = "runs elsewhere"
        else:
            self.failed += 1
            said = f"failed (code {code}): see its card"
        return f"[{self.done}/{self.count}] {cell.name}: {said}; {_duration(rest)} left"


def _work(cell: AnyCell) -> float:
    if isinstance(cell, Measurement):
        return cell.work
    return cost.training_flops(cell.config(), cell.images)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def run_here(experiment: Experiment, folder: str | Path | None = None) -> list[dict[str, Any]]:
    """Run the quick form in this process and return its cards: what the chapters do live.

    ``folder`` keeps the cards; a cell that has one is not run again. Uses CIFAR-10 where it is,
    else shapes.
    """
    require_type("experiment", experiment, Experiment, "an Experiment")
    folder = None if folder is None else as_path(folder, "folder")
    cards = []
    for cell in experiment.cells(True):
        path = card_path(experiment, cell, folder) if folder is not None else None
        if folder is not None and path is not None and is_done(experiment, cell, folder):
            cards.append(results.read_card(path))
            continue
        cards.append(run_cell(experiment, cell))
        if path is not None:
            results.write_card(cards[-1], path)
    return cards


def plan(
    experiment: Experiment, quick: bool = False, folder: str | Path = RESULTS, jobs: int = 1
) -> dict[str, Any]:
    """What is done and what is left: ``{"cells", "done", "waiting", "seconds"}``.

    ``seconds`` is the expected time of the waiting cells on this machine, ``jobs`` at a time, with
    the trainings they start from: one step of each different model is timed on one thread. A
    training that another experiment has on record counts in full here; ``run`` only copies it.
    """
    cells = experiment.cells(quick)
    left = waiting(experiment, quick, folder)
    trainings = [cell for cell in left if not isinstance(cell, Measurement)]
    timed, needed = {}, seconds([cell for cell in left if isinstance(cell, Measurement)])
    starts = {cell.start.name: cell.start for cell in trainings if cell.start is not None}
    for cell in [*trainings, *starts.values()]:
        key = (cell.preset, repr(cell.changes), cell.train.batch_size, cell.train.augment)
        if key not in timed:
            timed[key] = seconds_per_step(cell)
        needed += timed[key] * (cell.train.steps or 0)
    return {
        "cells": len(cells),
        "done": len(cells) - len(left),
        "waiting": [cell.name for cell in left],
        "seconds": needed / jobs,
    }


def seconds_per_step(cell: Cell) -> float:
    """Time one training step of the cell's model, in seconds, on drawn images of the right size.

    >>> from vit_teach.experiments import cell
    >>> seconds_per_step(cell("cnn", 1280, tuned=False)) > 0
    True
    """
    images = shapes(cell.train.batch_size, seed=0)
    trainer = Trainer(build_model(cell), images, images, cell.train)
    trainer.step()
    start = time.perf_counter()
    for _ in range(3):
        trainer.step()
    return (time.perf_counter() - start) / 3
