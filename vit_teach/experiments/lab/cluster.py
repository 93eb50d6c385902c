"""Run the cells of an experiment as jobs that submitit starts: on a Slurm cluster, or here.

The queue is the cluster's own; locks, checkpoints and cards are those of the runner. A job that
must give its machine back saves the training first and goes on in its next turn.

Chapters 9 to 14.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from ... import results
from ...arguments import one_of, whole
from ...paths import RESULTS, RUNS, as_path, writable
from .cells import Experiment
from .runner import WORK, Progress, card_path, cell_in_process, is_done

if TYPE_CHECKING:
    from .measurement import AnyCell

PACKAGE = "submitit>=1.5,<2"
EXECUTORS = ("slurm", "local")
JOBS = RUNS / "submitit"  # what submitit writes: scripts, logs, results of its jobs
MINUTES = {"slurm": 60, "local": 7 * 24 * 60}  # of a job's turn, where nothing is said
TURNS = 10  # how often a job goes on that came to the end of its time
GRACE = 20  # seconds that a training has to save, or a cell to end, before the job gives way


@dataclass(frozen=True)
class Place:
    """Where jobs run, and what each of them gets.

    ``executor`` is "slurm", or "local" for this machine. ``partition`` is Slurm's queue (None: the
    cluster's default), ``time`` the minutes of a job's turn (None: an hour, here a week), ``cpus``
    the cores and threads of a job, ``gpus`` 0 or 1. ``jobs`` is how many run at a time (None: 1
    here, all that Slurm lets). On Slurm a job takes ``cells_per_job`` cells (None: 1), one after
    the other; here the cells are dealt out to ``jobs`` jobs. ``folder`` takes scripts and logs; on
    a cluster all machines must see it, and the folders of cards and checkpoints. Raises
    ``ValueError`` for a bad value.

    >>> Place("local", jobs=2).shares(["a", "b", "c"])
    [['a', 'c'], ['b']]
    """

    executor: str
    partition: str | None = None
    time: int | None = None
    cpus: int = 1
    gpus: int = 0
    jobs: int | None = None
    cells_per_job: int | None = None
    folder: str | Path = JOBS

    def __post_init__(self) -> None:
        one_of("executor", self.executor, EXECUTORS)
        whole("cpus", self.cpus, 1, 1024)
        if self.gpus not in (0, 1) or type(self.gpus) is not int:
            raise ValueError(f"gpus={self.gpus!r} must be 0 or 1: a cell trains on one")
        for name in ("time", "jobs", "cells_per_job"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), 1, 10**6)
        partition = self.partition
        if partition is not None and not re.fullmatch(r"[\w.,-]+", str(partition)):
            raise ValueError(f"partition={partition!r} must be a name, or several with commas")
        for name in ("partition", "cells_per_job"):
            if self.executor == "local" and getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)!r} must come with executor='slurm'")
        as_path(self.folder, "folder")

    def shares(self, names: Sequence[str]) -> list[list[str]]:
        """The cells of each job, by name, in order.

        >>> Place("slurm", cells_per_job=2).shares(["a", "b", "c"])
        [['a', 'b'], ['c']]
        """
        if self.executor == "local":
            count = min(self.jobs or 1, len(names))
            return [list(names[number::count]) for number in range(count)]
        size = self.cells_per_job or 1
        return [list(names[first : first + size]) for first in range(0, len(names), size)]


class Job:
    """Some cells of an experiment, one after the other: what submitit sends to a machine.

    The names are looked up where the job runs. Cells that are done, or that another job is running,
    are passed over. ``threads`` are PyTorch's.

    >>> demo = Experiment("demo", "Does it run?", lambda quick: [])
    >>> Job(demo, [], True, "cards", "work", 1).names
    []
    """

    def __init__(
        self,
        experiment: Experiment,
        names: list[str],
        quick: bool,
        folder: str | Path,
        work: str | Path,
        threads: int,
    ) -> None:
        self.experiment, self.names, self.quick = experiment, names, quick
        self.folder, self.work, self.threads = folder, work, threads

    def __call__(self) -> dict[str, int]:
        """Run the cells; returns the exit code of each, as ``cell_in_process`` gives it."""
        torch.set_num_threads(self.threads)
        cells = {cell.name: cell for cell in self.experiment.cells(self.quick)}
        turn, codes = Turn(), {}
        try:
            for name in self.names:
                codes[name] = cell_in_process(
                    self.experiment, cells[name], self.folder, self.work, quiet=False
                )
                turn.end_if_asked()
        except KeyboardInterrupt:  # the training was asked to end, and has saved
            turn.asked = turn.asked or taken_back()
            turn.end_if_asked()
            raise
        return codes

    def checkpoint(self) -> Any:
        """What submitit runs in the next turn: the same; what is done is on disk."""
        return _submitit().helpers.DelayedSubmission(self)


class Turn:
    """The turn of a job on a machine: a request for another one waits until the training saved.

    submitit listens to one signal, which Slurm sends before the time is over: it keeps the job,
    asks for another turn and ends the process. A training listens to SIGTERM. So the first is
    passed on as the second, and carried out when the training has saved, or after ``GRACE``
    seconds. For what SIGTERM alone means see :func:`taken_back`.
    """

    def __init__(self) -> None:
        self.signal = getattr(signal, f"SIG{_submitit().JobEnvironment.USR_SIG}")
        self.another: Any = signal.getsignal(self.signal)
        self.idle = signal.getsignal(signal.SIGTERM)
        self.asked = False
        signal.signal(self.signal, self.ask)
        signal.signal(signal.SIGALRM, self.another)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the request; let a training that is under way save."""
        self.asked = True
        signal.alarm(GRACE)
        if signal.getsignal(signal.SIGTERM) != self.idle:
            signal.raise_signal(signal.SIGTERM)

    def end_if_asked(self) -> None:
        """Give way now, if that was asked for: this does not return then."""
        if self.asked:
            signal.alarm(0)
            self.another(self.signal, None)


def taken_back() -> bool:
    """Whether Slurm wants this job's machine for somebody else, after it sent SIGTERM.

    It sends the same to a job that is cancelled, but does not call that one running any more. A job
    that ended without asking for another turn would not begin again.

    >>> taken_back()  # this is no job
    False
    """
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return False
    job = _submitit().JobEnvironment().job_id  # of this task: the array's own names all of them
    command = ["squeue", "--noheader", "--format=%T", "--jobs", job]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() == "RUNNING"


def submit(
    experiment: Experiment,
    place: Place,
    quick: bool = False,
    shard: tuple[int, int] = (1, 1),
    folder: str | Path = RESULTS,
    work: str | Path = WORK,
) -> int:
    """Submit every cell that has no complete card; returns how many did not come to their end.

    On Slurm nothing is waited for, and the number is 0: the jobs write their cards when they run.
    Here it returns when all have ended. The other arguments are those of ``runner.run``. Raises
    ``ValueError`` where submitit or Slurm is missing, or Slurm refuses, and ``OSError`` for a place
    that cannot be written.
    """
    submitit = _submitit()
    logs = Path(place.folder).expanduser().resolve() / experiment.name
    for each in (Path(folder) / experiment.name, Path(work) / experiment.name, logs):
        writable(each)
    number, shards = shard
    cells = experiment.cells(quick)[number - 1 :: shards]
    left = [cell for cell in cells if not is_done(experiment, cell, folder)]
    shares = place.shares([cell.name for cell in left])
    counts = f"{len(cells)} cells, {len(left)} to run, {len(shares)} jobs"
    print(f"{experiment.name}: {counts}", flush=True)
    if not left:
        return 0
    executor = _executor(submitit, place, f"vit-{experiment.name}", logs)
    refusals = submitit.core.utils
    todo = [Job(experiment, names, quick, folder, work, place.cpus) for names in shares]
    try:
        jobs = executor.submit_array(todo)
    except (refusals.FailedJobError, refusals.FailedSubmissionError) as error:
        said = " ".join(str(error).split())[-300:]
        raise ValueError(f"executor={place.executor!r} was refused its jobs: {said}") from error
    print(f"submitted: {', '.join(job.job_id for job in jobs)}; logs: {logs}", flush=True)
    if place.executor == "slurm":
        return 0
    return _followed(experiment, left, jobs, folder)


def _followed(
    experiment: Experiment, left: list[AnyCell], jobs: list[Any], folder: str | Path
) -> int:
    """Print a line for each cell as it ends, until all jobs have; how many cells have no card."""
    progress, told, running = Progress(left, len(jobs)), set(), True
    while running:
        running = not all(job.done() for job in jobs)
        for cell in left:
            if cell.name not in told and is_done(experiment, cell, folder):
                told.add(cell.name)
                spent = results.read_card(card_path(experiment, cell, folder))["train"]["wall_s"]
                print(progress.line(experiment, cell, 0, spent, folder), flush=True)
        time.sleep(0.5 if running else 0)
    codes: dict[str, int] = {}
    for job in jobs:
        if job.paths.result_pickle.exists() and job.exception() is None:
            codes |= job.result()
    stopped = 0
    for cell in left:
        if cell.name in told:
            continue
        if cell.name in codes:
            print(progress.line(experiment, cell, codes[cell.name], 0.0, folder), flush=True)
            continue
        stopped += 1
        print(f"{cell.name}: stopped; the same command goes on", flush=True)
    return progress.failed + stopped


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ImportError as error:
        raise ValueError(
            f"executor needs the package submitit: python -m pip install '{PACKAGE}'"
        ) from error


def _executor(submitit: Any, place: Place, name: str, logs: Path) -> Any:
    """submitit's executor, with what each job gets."""
    kind = place.executor
    try:
        executor = submitit.AutoExecutor(logs, cluster=kind, **{f"{kind}_max_num_timeout": TURNS})
    except RuntimeError as error:  # no srun
        raise ValueError(
            "executor='slurm' must run where Slurm is: this machine has no srun; 'local' runs here"
        ) from error
    settings = {
        "name": name,
        "timeout_min": place.time or MINUTES[kind],
        "cpus_per_task": place.cpus,
        "gpus_per_node": place.gpus or None,
        "slurm_partition": place.partition,
        "slurm_array_parallelism": place.jobs,
    }
    executor.update_parameters(**{k: v for k, v in settings.items() if v is not None})
    return executor
