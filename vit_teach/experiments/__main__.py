"""The command line: ``python -m vit_teach.experiments list | plan | run | report | cell``.

Chapters 9 to 14.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import torch

from ..paths import RESULTS, RUNS
from . import EXPERIMENTS, find
from .lab.cluster import JOBS, Place, submit
from .lab.report import as_text, report
from .lab.runner import WORK, cell_in_process, end_with_runner, is_done, plan, run

NAMED = {
    "plan": "the cells, what is done, and how long the rest takes on this machine",
    "run": "run the cells that have no card yet; the same command goes on after a stop",
    "report": "means, spread and what is missing",
    "cell": "run one cell, in this process",
}
QUICK_RESULTS = RUNS / "quick"  # quick cards are for trying things out, never on record


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options, each with what it means.

    >>> make_parser().parse_args(["run", "shuffle", "--jobs", "2"]).jobs
    2
    """
    parser = argparse.ArgumentParser(
        prog="python -m vit_teach.experiments",
        description="Run the book's experiments, or look at what they found.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the experiments, and how much of each is done")
    for name, text in NAMED.items():
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "name",
            choices=list(EXPERIMENTS),
            metavar="NAME",
            help="one of " + ", ".join(EXPERIMENTS),
        )
        command.add_argument(
            "--quick",
            action="store_true",
            help="the small form: minutes, not hours, on CIFAR-10 or shapes",
        )
        command.add_argument(
            "--out",
            type=Path,
            metavar="FOLDER",
            help="where the cards lie (default: data/results, quick: runs/quick)",
        )
        _add_own_options(command, name)
    return parser  # fmt: skip


def _add_own_options(command: argparse.ArgumentParser, name: str) -> None:
    """The options that only some of the commands have."""
    add = command.add_argument
    if name in ("plan", "run"):
        add(
            "--jobs",
            type=_positive,
            metavar="N",
            help="cells at a time, one thread each if several (default: 1; on Slurm, all it lets)",
        )
    if name in ("run", "cell"):
        add(
            "--work",
            type=Path,
            default=WORK,
            metavar="FOLDER",
            help="where checkpoints lie (default: runs/experiments)",
        )
    if name == "run":
        add(
            "--shard",
            type=_shard,
            default=(1, 1),
            metavar="I/N",
            help="take every N-th cell from the I-th on, as in 2/3",
        )
        _add_cluster_options(command)
    if name == "report":
        add("--json", action="store_true", help="as JSON")
    if name == "cell":
        add("cell", metavar="CELL", help="its name, as 'plan' shows it")
        add("--watched", action="store_true", help=argparse.SUPPRESS)  # fmt: skip


# What a job of a cluster gets; the rules, and the defaults, are those of Place.
ON_CLUSTER = {
    "partition": ("NAME", "the queue (default: the cluster's own)"),
    "time": ("MINUTES", "of a job's turn; it goes on in another one (default: 60; here a week)"),
    "cpus": ("N", "cores and threads of a job (default: 1)"),
    "gpus": ("N", "0 or 1 (default: 0)"),
    "cells-per-job": ("N", "cells that a job takes one after the other (default: 1; slurm only)"),
    "folder": ("FOLDER", f"scripts and logs of the jobs (default: {JOBS.parent.name}/{JOBS.name})"),
}


def _add_cluster_options(command: argparse.ArgumentParser) -> None:
    """The options that send the cells to a cluster."""
    group = command.add_argument_group("on a cluster, through submitit")
    group.add_argument(
        "--executor",
        metavar="NAME",
        help="slurm: a job array of the cells that are missing; local: the same jobs here",
    )
    for name, (metavar, meaning) in ON_CLUSTER.items():
        group.add_argument(f"--{name}", type=_number, metavar=metavar, help=meaning)


def _number(text: str) -> int | str:
    """An integer, or the text as it is, about which Place has a word to say."""
    try:
        return int(text)
    except ValueError:
        return text


def _place(options: argparse.Namespace) -> Place | None:
    """Where the jobs run; None without ``--executor``."""
    names = [name.replace("-", "_") for name in ON_CLUSTER]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.executor is None:
        if given:
            name, value = next(iter(given.items()))
            raise ValueError(f"{name}={value!r} must come with --executor slurm or local")
        return None
    for name in ("partition", "folder"):  # a name may be a number
        if name in given:
            given[name] = str(given[name])
    return Place(options.executor, jobs=options.jobs, **given)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return value


def _shard(text: str) -> tuple[int, int]:
    number, _, shards = text.partition("/")
    try:
        pair = (int(number), int(shards))
    except ValueError:
        pair = (0, 0)
    if not 1 <= pair[0] <= pair[1]:
        raise argparse.ArgumentTypeError(f"{text!r} must be I/N with 1 <= I <= N, as in 2/3")
    return pair


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: done; 1: a cell failed; 2: bad input; 130: stopped; 141: nobody reads the output any more.

    >>> main(["cell", "shuffle", "no-such-cell"])
    2
    """
    options = make_parser().parse_args(arguments)
    try:
        code = COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read the output, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return 141
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130


def _folder(options: argparse.Namespace) -> Path:
    return options.out or (QUICK_RESULTS if options.quick else RESULTS)


def _list(options: argparse.Namespace) -> int:
    for name, experiment in EXPERIMENTS.items():
        cells = experiment.cells(quick=False)
        done = sum(is_done(experiment, cell) for cell in cells)
        print(f"{name:20} {done:3} of {len(cells):3} cells  {experiment.question}")
    return 0


def _plan(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    jobs = options.jobs or 1
    found = plan(find(options.name), options.quick, _folder(options), jobs)
    hours = found["seconds"] / 3600
    print(f"{options.name}: {found['done']} of {found['cells']} cells done")
    print(f"the rest takes at most about {hours:.1f} hours here, {jobs} at a time")
    for name in found["waiting"]:
        print(f"  {name}")
    return 0


def _run(options: argparse.Namespace) -> int:
    experiment, folder = find(options.name), _folder(options)
    place = _place(options)
    experiment.check(options.quick)
    places = options.shard, folder.resolve(), options.work.resolve()
    if place is None:
        failed = run(experiment, options.quick, options.jobs or 1, *places)
    else:
        failed = submit(experiment, place, options.quick, *places)
    return 1 if failed else 0


def _report(options: argparse.Namespace) -> int:
    found = report(find(options.name), options.quick, _folder(options))
    print(json.dumps(found, indent=2) if options.json else as_text(found))
    return 0


def _cell(options: argparse.Namespace) -> int:
    experiment = find(options.name)
    named = {cell.name: cell for cell in experiment.cells(options.quick)}
    if options.cell not in named:
        raise ValueError(f"cell={options.cell!r} is not in {options.name}: see 'plan'")
    experiment.check(options.quick)
    if options.watched:
        end_with_runner()
    cell = named[options.cell]
    return cell_in_process(experiment, cell, _folder(options), options.work, quiet=False)


COMMANDS = {"list": _list, "plan": _plan, "run": _run, "report": _report, "cell": _cell}

if __name__ == "__main__":
    sys.exit(main())
