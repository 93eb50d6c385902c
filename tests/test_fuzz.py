"""A short slice of `make fuzz`, and: would it see a fault if there were one?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parent / "fuzz"
sys.path.insert(0, str(FUZZ))
import run  # noqa: E402  (it stands beside the other files of the fuzz)

ROOT = FUZZ.parents[1]


def test_a_slice_of_damaged_files_finds_no_fault():
    limits = ["--minutes", "0.4", "--jobs", "1", "--seed", "1"]  # `make fuzz` takes a new seed
    command = [sys.executable, str(FUZZ / "run.py"), *limits]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 faults (seed" in result.stdout


FAULTS = """
import os, sys, tempfile
from pathlib import Path
import numpy as np
import worker as w, targets as t

w.MEMORY = 10**18
outside = Path(sys.argv[1])
worker = w.Worker(1, Path(sys.argv[2]), ["config"])

def outcome(feed, checksum=False, **more):
    worker.targets = {"config": t.Target(feed, {"a": b"0123456789"}, checksum, **more)}
    worker.normal = {("config", "a"): "as before"}
    return worker.take(0)["kind"]

def broken(error):
    def feed(path):
        raise error
    return feed

class Held(list):
    def __init__(self):
        w.MEMORY = 1

print(outcome(broken(KeyError("x"))))
print(outcome(broken(ValueError())))
print(outcome(broken(ValueError("the reason"))))
print(outcome(lambda path: "as before", checksum=True))
print(outcome(lambda path: "something else", checksum=True))
print(outcome(lambda path: "something else"))
print(outcome(lambda path: str(os.system("true"))))
print(outcome(lambda path: str((outside / "new").write_text("x"))))
print(outcome(lambda path: str(path.with_name("new").write_text("x"))))
print(outcome(lambda path: str(path.with_name("exploded").touch())))
print(outcome(lambda path: str(Held())))
"""


def test_the_fuzz_sees_each_kind_of_fault(tmp_path):
    (tmp_path / "outside").mkdir()
    command = [sys.executable, "-c", FAULTS, str(tmp_path / "outside"), str(tmp_path / "work")]
    environment = {"PYTHONPATH": f"{ROOT}:{FUZZ}", "PATH": "/usr/bin:/bin"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.stdout.splitlines() == [
        "another exception", "an error without words", "clear", "read",
        "damage read in spite of its checksum", "read", "execution", "a write outside", "read",
        "execution", "memory",
    ], result.stderr  # fmt: skip


LINES = "import time; print('ready\\n0', flush=True)\n"
ANSWER = json.dumps({"number": 0, "target": "card", "kind": "read", "detail": ""})


@pytest.mark.parametrize("code, kind", [
    (LINES + "import os; os.abort()", "the process died"),
    (LINES + "while True: pass", "more than 0.5 seconds"),
    (LINES + f"print({ANSWER!r}, flush=True); time.sleep(60)", None),
])  # fmt: skip
def test_a_crash_and_a_hang_are_faults(code, kind, tmp_path, monkeypatch):
    (tmp_path / "worker.py").write_text(code)
    monkeypatch.setattr(run, "HERE", tmp_path / "a" / "b")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "worker.py").rename(tmp_path / "a" / "b" / "worker.py")
    monkeypatch.setattr(run, "SECONDS", 0.5 if kind else 60)
    counts, faults = run.fuzz(1, 6, 1, [])
    assert faults[0]["kind"].startswith(kind) if kind else not faults, faults
    assert counts["card", "read"] == (0 if kind else 1)


def test_the_seed_is_printed_and_faults_make_it_fail(capsys, monkeypatch):
    fault = {"number": 7, "target": "card", "kind": "another exception", "detail": "KeyError: x"}
    results = [({("card", "fault"): 1}, [fault]), ({("card", "read"): 3}, []), ({}, [])]
    monkeypatch.setattr(run, "fuzz", lambda *_: (run.Counter(results[0][0]), results.pop(0)[1]))
    assert run.main(["--seed", "5", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert "seed 5" in said and "worker.py --seed 5 --only 7" in said and "KeyError: x" in said
    assert run.main(["--jobs", "1"]) == 0
    assert run.main(["--jobs", "1"]) == 1  # no file at all is no proof
