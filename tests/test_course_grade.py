"""A class of odd submissions, marked: what each loses, and what it cannot touch."""

import csv
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from submissions import BODY as RIGHT
from submissions import NAME, PATCHER, patchify

from vit_teach.course import __main__ as cli
from vit_teach.course import collect, grade, report, source
from vit_teach.course.collect import owner

STUB = "raise NotImplementedError  # your code here"


def answered(**answers):
    """A hand-out with these answers; others as the worked solution has them."""
    exercise = source.read(NAME)
    right = {c.id: source.unmarked(c.source) for c in exercise.cells if source.is_answer(c)}
    notebook = source.student(exercise)
    for cell in notebook.cells:
        if source.is_answer(cell):
            cell.source = answers.get(cell.id, right[cell.id])
    return notebook


FORGER = """def patchify(images, patch):
    import json, os
    for number in range(3, 100):
        try:
            text = json.dumps({"dict": [["values", {"list": []}]]}).encode()
            os.write(number, len(text).to_bytes(8, "big") + text)
        except OSError:
            pass
    os._exit(0)"""
TABLE = [
    ("right", patchify(RIGHT), 3, "right"),
    ("a plain view", patchify("return images.reshape(len(images), -1, images.shape[1] * patch[0] "
                              "* patch[1])"), 0, "a single reshape moves no number"),
    ("a warning", patchify("import warnings\nwarnings.warn('hm')\n" + RIGHT), 3, "right"),
    ("endless", patchify("while True: pass"), 0, "did not come back within"),
    ("endless in C", patchify("return sum(range(10**13))"), 0, "did not come back within"),
    ("ends Python", patchify("import os\nos._exit(0)"), 0, "ends the whole program"),
    ("20 MB", patchify("print('x' * 20_000_000)\n" + RIGHT), 0, "more than 64 kB"),
    ("6 GB", patchify("return torch.ones(6 << 30, dtype=torch.uint8)"), 0, "more than 2 GB"),
    ("the book's own", "patchify = vt.patchify", 0, "switched off"),
    ("patches the checker", PATCHER, 0, "is wanted, yours is"),
    ("forges results", FORGER, 0, "disturbs the check"),
    ("no tracebacks", patchify(RIGHT) + "\nimport sys\nsys.tracebacklimit = 0", 3, "right"),
    ("ends the cell", patchify(RIGHT) + "\nraise SystemExit", 3, "right"),
    ("does not parse", "def patchify(images, patch:", 0, "is missing. (the cell stops with Syntax"),
    ("endless cell", "while True: pass", 0, "the cell did not come back within"),
    ("kills its process", "import os\nos._exit(3)", 0, "the cell ends the whole program"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "score", "words"), [row[1:] for row in TABLE],
                         ids=[row[0] for row in TABLE])  # fmt: skip
def test_an_odd_answer_costs_only_its_own_points(answer, score, words, monkeypatch):
    monkeypatch.setattr(grade, "CELLS", 3)
    marks = grade.grade(source.read(NAME), answered(patchify=answer))
    rows = {row.task: row for row in marks.rows}
    assert rows["patchify-check"].score == score
    assert words in rows["patchify-check"].message
    assert marks.total == 8 + score


def damaged(how):
    notebook = answered()
    cells = notebook.cells
    if how == "test cells deleted":
        notebook.cells = [c for c in cells if not source.is_check(c)]
    elif how == "metadata stripped":
        for cell in cells:
            cell.metadata = nbformat.NotebookNode()
    elif how == "metadata and ids stripped":
        for number, cell in enumerate(cells):
            cell.metadata, cell.id = nbformat.NotebookNode(), f"new-{number}"
    elif how == "answer doubled, the first one wrong":
        place = next(n for n, cell in enumerate(cells) if cell.id == "patchify")
        double = nbformat.from_dict(cells[place])
        double.source = patchify("return images")
        cells.insert(place, double)
    elif how == "answer doubled, the second one a stub":
        place = next(n for n, cell in enumerate(cells) if cell.id == "patchify")
        double = nbformat.from_dict(cells[place])
        double.source = patchify(STUB)
        cells.insert(place + 1, double)
    elif how == "cells in reverse order":
        notebook.cells = cells[::-1]
    elif how == "set-up deleted":
        notebook.cells = [c for c in cells if c.id != "ex02-set-up"]
    elif how == "points raised":
        for cell in filter(source.is_check, cells):
            cell.metadata["nbgrader"]["points"] = 99
            cell.source = "pass"
    return notebook


@pytest.mark.parametrize("how", [
    "test cells deleted", "metadata stripped", "metadata and ids stripped",
    "answer doubled, the first one wrong", "answer doubled, the second one a stub",
    "cells in reverse order", "set-up deleted", "points raised",
])  # fmt: skip
def test_a_damaged_notebook_costs_nobody_a_point(how):
    marks = grade.grade(source.read(NAME), damaged(how))
    assert (marks.total, marks.most) == (11, 13), [row.message for row in marks.rows]


def test_a_students_own_cells_are_kept_where_they_are_needed():
    notebook = answered(patchify="def patchify(images, patch):\n    return helper(images, patch)")
    place = next(n for n, cell in enumerate(notebook.cells) if cell.id == "patchify")
    helper = patchify(RIGHT).replace("patchify", "helper")
    notebook.cells.insert(place, new_code_cell("%matplotlib inline\nimport math\n" + helper))
    notebook.cells.insert(place, new_code_cell("1 / 0"))
    marks = grade.grade(source.read(NAME), notebook)
    assert marks.total == 11
    assert any("ZeroDivisionError" in note for note in marks.notes)


def test_a_submission_cannot_reach_the_grader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = collect.collect, source.STUB
    answer = """import vit_teach.course.source as s, os, sys
s.STUB = "mine"
os.environ["MINE"] = "1"
sys.modules["torch"] = None
def patchify(images, patch): return images"""
    marks = grade.grade(source.read(NAME), answered(patchify=answer))
    import os

    assert marks.rows[0].score == 0 and "MINE" not in os.environ
    assert before == (collect.collect, source.STUB)


def test_a_test_cell_of_plain_asserts_is_judged_here():
    exercise = nbformat.v4.new_notebook(cells=[new_code_cell("import torch")])
    ng = {"schema_version": 3, "task": False}
    solution = (
        "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\nn = 5"
    )
    test = "y = double(torch.ones(2))\nassert y.tolist() == [2, 2]\nassert n == 5"
    for name, code, more in (
        ("double", solution, {"solution": True, "grade": False, "locked": False}),
        ("double-check", test, {"solution": False, "grade": True, "locked": True, "points": 4}),
    ):
        meta = {"nbgrader": {**ng, **more, "grade_id": name}}
        exercise.cells.append(new_code_cell(code, id=name, metadata=meta))
    grade.prove(exercise)
    wrong = nbformat.from_dict(exercise)
    for code, words in (
        ("def double(x):\n    return x\nn = 5", "does not hold: assert y.tolist() == [2, 2]"),
        ("def double(x):\n    return 2 * x\nn = 6", "does not hold: assert n == 5"),
        ("def double(x):\n    return 1 / 0\nn = 5", "ZeroDivisionError"),
        ("n = 5", "double is missing"),
    ):
        wrong.cells[1] = nbformat.from_dict({**wrong.cells[1], "source": code})
        (row,) = grade.grade(exercise, wrong).rows
        assert row.score == 0 and words in row.message


def test_a_solution_that_fails_stops_the_grader():
    exercise = source.read(NAME)
    for cell in exercise.cells:
        if cell.id == "patchify":
            cell.source = cell.source.replace("(0, 2, 4, 1, 3, 5)", "(0, 2, 4, 1, 5, 3)")
    with pytest.raises(ValueError, match="the worked solution of .* rows and columns inside"):
        grade.prove(exercise)


def test_without_fork_nothing_is_graded(monkeypatch):
    monkeypatch.setattr(grade.isolate, "can_fork", lambda: False)
    with pytest.raises(ValueError, match="grading needs Linux or macOS"):
        grade.grade(source.read(NAME), answered())


# --- A class ----------


@pytest.mark.parametrize(("path", "name"), [
    ("Ada Lovelace_123_assignsubmission_file_/ex02_patchify.ipynb", "Ada Lovelace"),
    ("Ada Lovelace_123_assignsubmission_file/mine.ipynb", "Ada Lovelace"),
    ("lovelaceada_123_456_ex02_patchify.ipynb", "lovelaceada"),
    ("lovelaceada_LATE_123_456_ex02_patchify-2.ipynb", "lovelaceada"),
    ("class/ada/ex02_patchify.ipynb", "ada"),
    ("ada.ipynb", "ada"),
])  # fmt: skip
def test_a_platforms_file_name_tells_the_student(path, name):
    assert owner(path) == name


def test_a_zip_of_a_class_becomes_marks_and_feedback(tmp_path, capsys):
    folder = "{}_1_assignsubmission_file_/ex02_patchify.ipynb"
    plain = "\n\n".join(c.source for c in answered().cells
                        if c.cell_type == "code" and not source.is_check(c))  # fmt: skip
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.writestr(folder.format("Ada Lovelace"), nbformat.writes(answered()))
        archive.writestr(
            folder.format("Bo <b>"), nbformat.writes(source.student(source.read(NAME)))
        )
        archive.writestr(folder.format("Cy"), "this is no notebook")
        archive.writestr("Di_4_assignsubmission_file_/ex02_patchify.py", plain)
        archive.writestr("../../=Eve.ipynb", nbformat.writes(answered(patchify="x = 1")))
        archive.writestr("__MACOSX/._ada.ipynb", "x")
        archive.writestr("Ada Lovelace_1_assignsubmission_file_/photo.png", "x")
    out = tmp_path / "graded"
    assert cli.main(["grade", NAME, str(tmp_path / "class.zip"), "--out", str(out)]) == 0
    rows = list(csv.reader((out / "marks.csv").open(encoding="utf-8", newline="")))
    assert rows[0] == ["student", "task", "score", "max", "message"]
    total = {}
    for student, _, score, *_ in rows[1:]:
        total[student] = total.get(student, 0) + float(score or 0)
    assert total == {"Ada Lovelace": 11, "Bo <b>": 0, "Cy": 0, "Di": 11, "'=Eve": 8}
    assert len(rows) == 1 + 5 * 6
    page = (out / "feedback" / "Bo_b.html").read_text(encoding="utf-8")
    assert "no answer in the cell yet" in page and "Bo &lt;b&gt;" in page and "<b>" not in page
    assert "2 more are for a person to give" in page
    assert "cannot be read" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["class.zip", "graded"]


def test_collect_writes_clean_copies(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    nbformat.write(damaged("metadata stripped"), tmp_path / "in" / "ada.ipynb")
    assert cli.main(["collect", NAME, str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    clean = nbformat.read(tmp_path / "out" / "ada.ipynb", 4)
    assert sum(map(source.points, clean.cells)) == 13
    assert "found by its cell" in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(tmp_path, capsys):
    assert cli.main(["grade", "ex99_nothing", str(tmp_path)]) == 1
    assert "there is no exercise 'ex99_nothing'" in capsys.readouterr().err
    assert cli.main(["build", NAME, "--out", str(tmp_path / "built")]) == 0
    assert (tmp_path / "built" / "student" / f"{NAME}.ipynb").exists()


def test_two_students_of_one_name_get_a_page_each(tmp_path):
    marks = [grade.Graded(name, [grade.Row("a", 1, 1, "right")]) for name in ("A b", "A/b")]
    marks[0].rows[0].message, marks[0].notes = "<i>odd</i>", ["<i>note</i>"]
    report.write_reports(marks, tmp_path)
    pages = sorted((tmp_path / "feedback").iterdir())
    assert len(pages) == 2
    text = pages[0].read_text(encoding="utf-8")
    assert "<i>" not in text and text.count("&lt;i&gt;") == 2
