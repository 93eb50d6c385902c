"""Sixteen submissions through every grader: the table of the page for instructors.

nbgrader and otter-grader are not among the book's requirements: their tests run where
requirements-course.txt is installed.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from submissions import ERROR, NAME, SUBMISSIONS, notebook

from vit_teach.course import __main__ as cli
from vit_teach.course import build, collect, grade, source

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": "ipython",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}  # fmt: skip


def needs(name):
    there = importlib.util.find_spec(name) is not None
    return pytest.mark.skipif(not there, reason=f"{name} is not installed (requirements-course)")


def call(*command, folder, check=True):
    run = subprocess.run([sys.executable, "-m", *command], cwd=folder, env=ENVIRONMENT,
                         capture_output=True, text=True)  # fmt: skip
    assert not check or run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def file_name(name):
    return re.sub(r"\W", "_", name)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    out = tmp_path_factory.mktemp("course") / "out"
    build.build(names=[NAME], out=out)
    return out


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_the_own_grader(name, monkeypatch, tmp_path):
    monkeypatch.setattr(grade, "CELLS", 5)
    monkeypatch.chdir(tmp_path)
    marks = grade.grade(source.read(NAME), notebook(SUBMISSIONS[name]), name)
    assert marks.total == SUBMISSIONS[name].own, [row.message for row in marks.rows]
    assert list(tmp_path.iterdir()) == []


def test_the_page_for_instructors_has_this_table():
    text = (ROOT / "book" / "appendix" / "for_instructors.md").read_text(encoding="utf-8")
    lines = text[text.index("| submission | ours") :].split("\n\n")[0].splitlines()[2:]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    wanted = []
    for name, row in SUBMISSIONS.items():
        damaged = row.damage not in ("", "empty")  # a plain file has no cells to damage
        numbers = [row.own, row.nbgrader, row.collected, row.otter, "" if damaged else row.pytest]
        wanted.append([name, *map(str, numbers)])
    assert found == wanted


# --- nbgrader ----------


def submit(folder, student, notebook):
    path = folder / "submitted" / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def nbgrader_points(folder):
    """Points by checks for each student."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        return {
            one.student.id: sum(
                grade.manual_score if grade.manual_score is not None else grade.auto_score or 0
                for grade in one.notebooks[0].grades if grade.cell.cell_type == "code"
            )
            for one in book.assignment_submissions(NAME)
        }  # fmt: skip


def nbgrader_course(course, folder, submissions):
    shutil.copytree(course / "nbgrader", folder)
    for student, made in submissions.items():
        submit(folder, student, made)
    call("nbgrader", "generate_assignment", NAME, "--create", folder=folder)
    said = call("nbgrader", "autograde", NAME, folder=folder, check=False)
    failed = set(re.findall(r"error processing .* for student '(.+)'", said))
    points = nbgrader_points(folder)
    return {student: ERROR if student in failed else points[student] for student in points}, said


@needs("nbgrader")
def test_nbgrader(course, tmp_path):
    made, wanted = {}, {}
    for name, row in SUBMISSIONS.items():
        if name != "opens the gradebook":
            made[file_name(name)], wanted[file_name(name)] = notebook(row), row.nbgrader
        if row.nbgrader == ERROR:
            clean, _ = collect.collect(source.read(NAME), notebook(row))
            made[f"{file_name(name)}-clean"], wanted[f"{file_name(name)}-clean"] = clean, 11
    points, said = nbgrader_course(course, tmp_path / "nb", made)
    assert points == wanted, said[-3000:]


@needs("nbgrader")
def test_a_submission_to_nbgrader_can_change_every_mark(course, tmp_path):
    made = {name: notebook(SUBMISSIONS[row]) for name, row in
            (("a-half", "half"), ("b-thief", "opens the gradebook"))}  # fmt: skip
    points, _ = nbgrader_course(course, tmp_path / "nb", made)
    assert points["a-half"] == 5 * 99


@needs("nbgrader")
def test_what_nbgrader_hands_out_is_our_hand_out(course, tmp_path):
    shutil.copytree(course / "nbgrader", tmp_path / "nb")
    call("nbgrader", "generate_assignment", NAME, "--create", folder=tmp_path / "nb")
    released = nbformat.read(tmp_path / "nb" / "release" / NAME / f"{NAME}.ipynb", 4)
    ours = nbformat.read(course / "student" / f"{NAME}.ipynb", 4)
    code = [[c.source for c in nb.cells if c.cell_type == "code"] for nb in (released, ours)]
    assert code[0] == code[1]
    assert not any("solution" in source.tags(cell) for cell in released.cells)


# --- otter-grader ----------


@needs("otter")
def test_otter(course, tmp_path):
    shutil.copytree(course / "otter" / NAME, tmp_path / "course")
    folder = tmp_path / "course"
    call("otter", "generate", "-t", "tests", "-o", "grader.zip", "--no-environment", folder=folder)
    (archive,) = folder.rglob("*.zip")
    found = {}
    for name, row in SUBMISSIONS.items():
        at = tmp_path / file_name(name)
        (at / "out").mkdir(parents=True)
        nbformat.write(notebook(row), at / f"{NAME}.ipynb")
        call("otter", "run", "-a", str(archive), "-o", "out", f"{NAME}.ipynb",
             folder=at, check=False)  # fmt: skip
        results = at / "out" / "results.json"
        tests = json.loads(results.read_text())["tests"] if results.exists() else None
        found[name] = ERROR if tests is None else sum(test.get("score", 0) for test in tests)
    assert found == {name: row.otter for name, row in SUBMISSIONS.items()}


# --- pytest and Gradescope ----------


def plain(row):
    """A submission as a plain file."""
    return "\n\n".join(cell.source for cell in notebook(row).cells
                       if cell.cell_type == "code" and not source.is_check(cell))  # fmt: skip


def pytest_points(said):
    passed = re.findall(r"^PASSED \S*::test_(\w+)$", said, re.M)
    worth = {source.graded(cell)["grade_id"].replace("-", "_"): source.points(cell)
             for cell in source.read(NAME).cells if source.is_check(cell)}  # fmt: skip
    return sum(worth[test] for test in passed)


def test_pytest(course, tmp_path):
    rows = {name: row for name, row in SUBMISSIONS.items()
            if row.damage in ("", "empty") and name not in ("loops", "no tracebacks")}  # fmt: skip
    for name, row in rows.items():
        folder = tmp_path / file_name(name)
        folder.mkdir()
        shutil.copy(course / "instructor" / "plain" / f"test_{NAME}.py", folder)
        shutil.copy(course / "plain" / "conftest.py", folder)
        (folder / f"{NAME}.py").write_text(plain(row))
    order = ["pytest", "-q", "-rA", "--tb=line", "-p", "no:cacheprovider"]
    alone = file_name("patches the checker")  # it would change the checks of all that follow
    together = [f"{file_name(name)}" for name in rows if file_name(name) != alone]
    said = call(*order, "--import-mode=importlib", *together, folder=tmp_path, check=False)
    for name, row in rows.items():
        if file_name(name) == alone:
            mine = call(*order, alone, folder=tmp_path, check=False)
        else:
            mine = "\n".join(re.findall(rf"^PASSED {file_name(name)}/.*$", said, re.M))
        assert pytest_points(mine) == row.pytest, (name, said)


def test_gradescope_gets_a_report_of_the_own_grader(course, tmp_path):
    shutil.unpack_archive(course / "gradescope" / f"{NAME}.zip", tmp_path / "grader")
    folder = tmp_path / "grader"
    (folder / "submission").mkdir()
    nbformat.write(notebook(SUBMISSIONS["half"]), folder / "submission" / f"{NAME}.ipynb")
    order = (folder / "run_autograder").read_text().split("vit_teach.course", 1)[1]
    words = order.replace("\\\n", " ").split()
    call("vit_teach.course", *words, folder=folder)
    report = json.loads((folder / "results" / "results.json").read_text())
    scores = {test["name"]: (test["score"], test["max_score"]) for test in report["tests"]}
    assert scores["patchify-check"] == (0, 3) and len(scores) == 5
    assert sum(score for score, _ in scores.values()) == 8


def test_a_report_for_gradescope_takes_one_submission(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for student in ("ada", "bo"):
        nbformat.write(notebook(SUBMISSIONS["empty"]), tmp_path / "in" / f"{student}.ipynb")
    order = ["grade", NAME, str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json", "x"]
    assert cli.main(order) == 1
    assert "--json takes one submission, here are 2" in capsys.readouterr().err
