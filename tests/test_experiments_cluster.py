"""Experiments as jobs: submitit's local executor, real processes, a Slurm of three scripts."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vit_teach import results
from vit_teach.experiments import Experiment, cell
from vit_teach.experiments import __main__ as command
from vit_teach.experiments.lab import cells, runner
from vit_teach.experiments.lab.cluster import PACKAGE, Place, submit, taken_back

ROOT = Path(__file__).resolve().parents[1]
TINY = {"n": 100, "data": "corner", "tuned": False, "batch_size": 16, "precision": "float32"}
DEMO = Experiment(
    "demo", "Does it run?",
    lambda quick: [
        cell(name, 64, models=cells.QUICK_MODELS, seed=seed, evaluations=1, **TINY)
        for seed in (0, 1)
        for name in ("cnn", "vit")
    ],
)  # fmt: skip
# Long enough to be stopped twice, at the first looks.
LONG = Experiment(
    "long", "Does it go on?",
    lambda quick: [cell("vit", 2_400, models=cells.QUICK_MODELS, evaluations=5, **TINY)],
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def no_path_of_this_machine(monkeypatch):
    """Jobs find the package that is tested, and one thread each."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def timeless(card):
    """What of a card does not depend on the clock."""
    curves = {k: v for k, v in card["curves"].items() if k != "seconds"}
    train = {k: card["train"][k] for k in ("steps", "kept_step", "precision", "threads", "command")}
    return card["config"], card["metrics"], curves, card["data"], card["seed"], train


def cards(folder, experiment):
    found = results.read_cards(Path(folder) / experiment.name)
    return {card["cell"]: timeless(card) for card in found}


def alone(experiment, folder):
    """The cards of a run without jobs, in this process."""
    for each in experiment.cells(False):
        assert runner.cell_in_process(experiment, each, folder, folder / "work") == 0
    return cards(folder, experiment)


def logs(folder, kind="out"):
    return "\n".join(path.read_text() for path in sorted(Path(folder).rglob(f"*_log.{kind}")))


def started(folder, count=1):
    """The process of a job, as soon as its training has looked at validation images again."""
    end = time.monotonic() + 60
    while logs(folder).count("step ") < count:
        assert time.monotonic() < end, "no training began"
        time.sleep(0.02)
    (pickled,) = Path(folder).rglob("*_submitted.pkl")
    return child_of(pickled.name.split("_")[0])


def child_of(process):
    children = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return int(children.stdout.split()[0])


def in_background(function, *arguments):
    """A thread that calls the function, and a list that gets what it returns."""
    out = []
    thread = threading.Thread(target=lambda: out.append(function(*arguments)))
    thread.start()
    return thread, out


# --- On this machine ----------


def test_two_submissions_at_once_run_each_cell_once_and_leave_the_usual_cards(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(command, "find", lambda name: DEMO)
    arguments = ["run", "shift", "--executor", "local", "--jobs", "1"]
    for name in ("out", "work", "folder"):
        arguments += [f"--{name}", str(tmp_path / name)]
    thread, code = in_background(command.main, arguments)
    while thread.is_alive() and not list(tmp_path.rglob("*_submitted.pkl")):
        time.sleep(0.01)  # its job is on the way: seconds before its first cell
    assert command.main(arguments) == 0
    thread.join(200)
    assert code == [0]
    assert logs(tmp_path / "folder").count("step ") == 4  # one look for each cell
    assert cards(tmp_path / "out", DEMO) == alone(DEMO, tmp_path / "alone")
    printed = capsys.readouterr().out
    assert printed.count("demo: 4 cells, 4 to run, 1 jobs") == 2 and printed.count(" s; ") >= 4
    assert command.main(arguments) == 0
    assert capsys.readouterr().out == "demo: 4 cells, 0 to run, 0 jobs\n"


def test_a_job_that_is_ended_or_preempted_goes_on_where_it_was(tmp_path, capsys):
    places = (False, (1, 1), tmp_path / "out", tmp_path / "work")
    thread, failed = in_background(submit, LONG, Place("local", folder=tmp_path / "one"), *places)
    os.kill(started(tmp_path / "one"), signal.SIGTERM)
    thread.join(200)
    assert failed == [1] and "vit-s0: stopped; the same command goes on" in capsys.readouterr().out
    assert (tmp_path / "work/long/vit-s0/checkpoint.pt").exists()
    assert not cards(tmp_path / "out", LONG)

    thread, failed = in_background(submit, LONG, Place("local", folder=tmp_path / "two"), *places)
    trains = started(tmp_path / "two")
    for number in (signal.SIGTERM, signal.SIGUSR2):  # as some clusters send them, at once
        os.kill(trains, number)
    thread.join(200)
    assert failed == [0]
    steps = [int(n) for n in re.findall(r"step +(\d+)/150", logs(tmp_path))]
    assert steps == list(range(30, 151, 30))  # each look once, over three processes
    first_turn, second_turn = logs(tmp_path / "two").split("Requeued job")
    assert first_turn.count("step ") < second_turn.count("step ")  # it gave way in the middle
    assert cards(tmp_path / "out", LONG) == alone(LONG, tmp_path / "alone")
    assert not (tmp_path / "work/long/vit-s0").exists()


def test_a_cell_that_fails_is_on_record_and_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path / "nothing-here"))
    broken = Experiment("broken", "Does it fail?", lambda quick: [cell("cnn", 64, tuned=False)])
    places = (False, (1, 1), tmp_path / "out", tmp_path / "work")
    assert submit(broken, Place("local", folder=tmp_path / "jobs"), *places) == 1
    assert "cnn-s0: failed (code 1): see its card" in capsys.readouterr().out
    card = results.read_card(tmp_path / "out/broken/cnn-s0.json")
    assert card["status"] == "failed" and "VIT_TEACH_DATA" in card["note"]


# --- On a cluster of three scripts ----------


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder where sbatch leaves its script and scontrol its words; srun runs here and now."""
    place = tmp_path / "slurm"
    place.mkdir()
    scripts = {
        "sbatch": f'cp "$1" {place}/script; echo "Submitted batch job 4242"',
        "srun": 'while [ "${1#-}" != "$1" ]; do case "$1" in *=*|--unbuffered) shift ;; '
        '*) shift 2 ;; esac; done; exec "$@"',
        "scontrol": f'echo "$@" >> {place}/words',
        "squeue": "echo RUNNING",
    }
    for name, text in scripts.items():
        (place / name).write_text(f"#!/bin/bash\n{text}\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return place


def task(slurm, number):
    """One task of the array that was submitted last, as Slurm starts it."""
    own = {"SLURM_ARRAY_JOB_ID": "4242", "SLURM_ARRAY_TASK_ID": str(number),
           "SLURM_JOB_ID": str(4300 + number), "SLURM_PROCID": "0"}  # fmt: skip
    return subprocess.Popen(
        ["bash", "-c", f"exec 2>&1; . {slurm}/script"], env=os.environ | own,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_an_array_of_jobs_is_submitted_and_its_tasks_write_the_cards(slurm, tmp_path, capsys):
    place = Place("slurm", "gpu", 30, 2, 1, jobs=1, cells_per_job=2, folder=tmp_path / "jobs")
    places = (False, (1, 1), tmp_path / "out", tmp_path / "work")
    assert submit(DEMO, place, *places) == 0
    printed = capsys.readouterr().out
    assert "demo: 4 cells, 4 to run, 2 jobs" in printed and "4242_0, 4242_1" in printed
    asked = set(re.findall(r"^#SBATCH --(.*)$", (slurm / "script").read_text(), re.M))
    assert asked >= {
        "array=0-1%1", "partition=gpu", "time=30", "cpus-per-task=2", "gpus-per-node=1",
        "job-name=vit-demo", "nodes=1",
    }  # fmt: skip
    assert not cards(tmp_path / "out", DEMO)
    assert task(slurm, 0).wait(200) == 0
    assert set(cards(tmp_path / "out", DEMO)) == {"cnn-s0", "vit-s0"}
    assert submit(DEMO, place, *places) == 0  # the same command: what is missing
    assert "4 cells, 2 to run, 1 jobs" in capsys.readouterr().out


def test_a_preempted_task_saves_and_asks_slurm_for_another_turn(slurm, tmp_path):
    places = (False, (1, 1), tmp_path / "out", tmp_path / "work")
    two = Experiment("two", "Both?", lambda quick: [*LONG.cells(quick), *DEMO.cells(quick)[:1]])
    submit(two, Place("slurm", folder=tmp_path / "jobs"), *places)
    running = task(slurm, 0)
    assert any("step " in line for line in running.stdout)  # not all lines: up to the first look
    os.kill(child_of(running.pid), signal.SIGTERM)
    said = running.stdout.read()
    assert running.wait(200) != 0 and "this job is" in said, said
    assert (slurm / "words").read_text() == "requeue 4242_0\n"
    assert (tmp_path / "work/two/vit-s0/checkpoint.pt").exists()


@pytest.mark.parametrize(("state", "wanted"), [("RUNNING", True), ("COMPLETING", False)])
def test_a_cancelled_job_asks_for_no_other_turn(state, wanted, slurm, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4242")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    (slurm / "squeue").write_text(f'#!/bin/bash\n[ "${{@: -1}}" = 4242_1 ] && echo {state}\n')
    assert not taken_back()  # no job of Slurm
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert taken_back() == wanted


# --- What is refused ----------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--executor pbs", "executor='pbs' must be one of slurm, local"),
        ("--executor slurm --time 0", "time=0 must be an integer from 1 to 1,000,000"),
        ("--executor slurm --time soon", "time='soon' must be an integer from 1 to 1,000,000"),
        ("--executor slurm --cpus 0", "cpus=0 must be an integer from 1 to 1,024"),
        ("--executor slurm --gpus 2", "gpus=2 must be 0 or 1: a cell trains on one"),
        ("--executor slurm --cells-per-job -1", "cells_per_job=-1 must be an integer from 1 to"),
        ("--executor slurm --partition a;b", "partition='a;b' must be a name, or several"),
        ("--executor local --partition gpu", "partition='gpu' must come with executor='slurm'"),
        ("--executor local --cells-per-job 2", "cells_per_job=2 must come with executor='slurm'"),
        ("--partition gpu", "partition='gpu' must come with --executor slurm or local"),
        ("--gpus 1", "gpus=1 must come with --executor slurm or local"),
        ("--executor slurm", "executor='slurm' must run where Slurm is"),
    ],
)
def test_what_cannot_be_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))  # no srun
    arguments = ["run", "shift", "--quick", *words.split()]
    for name in ("out", "work"):
        arguments += [f"--{name}", str(tmp_path / name)]
    if "--executor" in words:
        arguments += ["--folder", str(tmp_path / "jobs")]
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}") and error.count("\n") == 1, error


def test_a_missing_submitit_is_said_with_the_way_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    arguments = ["run", "shift", "--quick", "--executor", "local", "--out", str(tmp_path)]
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    way = f"python -m pip install '{PACKAGE}'"
    assert said == f"error: executor needs the package submitit: {way}\n"
    extra = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'cluster = ["{PACKAGE}"]' in extra
    assert PACKAGE in (ROOT / "requirements-test.txt").read_text(encoding="utf-8").splitlines()


def test_slurm_may_refuse(slurm, tmp_path, capsys):
    (slurm / "sbatch").write_text("#!/bin/bash\necho 'invalid partition specified' >&2; exit 1\n")
    with pytest.raises(ValueError, match=r"executor='slurm' was refused its jobs: .*invalid part"):
        submit(DEMO, Place("slurm", "none", folder=tmp_path), folder=tmp_path, work=tmp_path)
