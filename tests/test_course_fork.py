"""A teacher's first hour: an own folder, two chapters, a task added, one dropped, marks."""

import csv
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from vit_teach.course import __main__ as cli
from vit_teach.course import source

COURSE = """title: Seeing with Transformers
solutions: hidden
exercises:
  ex02_mine: {due: 2027-03-01, points: {patchify-check: 5}}
  ex05_attention: {}
"""


def panel(grade_id, **more):
    """The metadata that nbgrader's panel in JupyterLab writes (0.9.6, schema 3)."""
    base = {"grade": False, "grade_id": grade_id, "locked": False, "schema_version": 3,
            "solution": False, "task": False}  # fmt: skip
    return {"editable": True, "slideshow": {"slide_type": ""}, "tags": [],
            "nbgrader": {**base, **more}}  # fmt: skip


def by_tags(*tags):
    """The metadata that the tags of JupyterLab's own sidebar leave (4.6.6)."""
    return {"tags": list(tags)}


# how the answer and the check are marked, and what the check is called then
MARKED = {
    "panel": (panel("cell-0a1b2c3d4e5f6a7b", solution=True),
              panel("grey", grade=True, locked=True, points=2), "grey"),
    "tags": (by_tags("answer"), by_tags("check", "points-2"), "grey-check"),
}  # fmt: skip


def my_edition(folder, answer_is, check_is):
    """Chapter 2's exercises without the task "where does a pixel go?", with one about the mean."""
    notebook = nbformat.read(source.EXERCISES / "ex02_patchify.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not cell.id.startswith("where")]
    task = "## Task 6: grey\n\n*Level: easy · 5 min · Goal: average over channels.*\n\nReturn it."
    answer = """def grey(images):
    ### BEGIN SOLUTION
    return images.mean(dim=1, keepdim=True)
    ### END SOLUTION"""
    test = """check.answered(grey)
assert grey(torch.ones(2, 3, 4, 5)).shape == (2, 1, 4, 5)
### BEGIN HIDDEN TESTS
assert float(grey(torch.arange(3.0).view(1, 3, 1, 1))) == 1
### END HIDDEN TESTS"""
    notebook.cells += [
        new_markdown_cell(task, metadata={"tags": ["task"]}),
        new_code_cell(answer, metadata=answer_is),
        new_code_cell(test, metadata=check_is),
    ]
    nbformat.write(notebook, folder / "ex02_mine.ipynb")


def hand_in(folder, name, change):
    """The hand-out with answers that ``change`` makes of the worked ones."""
    exercise = source.read(folder / "ex02_mine.ipynb")
    right = {cell.id: source.unmarked(cell.source) for cell in exercise.cells}
    made = source.student(exercise)
    for cell in filter(source.is_answer, made.cells):
        cell.source = change(right[cell.id])
    path = folder / "in" / name / "ex02_mine.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(made, path)


@pytest.mark.parametrize("how", MARKED)
def test_a_teachers_own_edition(how, tmp_path, monkeypatch, capsys):
    *marked, grey_id = MARKED[how]
    (tmp_path / "course.yml").write_text(COURSE)
    my_edition(tmp_path, *marked)
    monkeypatch.setattr(source, "EXERCISES", tmp_path)
    (tmp_path / "ex05_attention.ipynb").write_bytes(
        (source.ROOT / "book" / "exercises" / "ex05_attention.ipynb").read_bytes()
    )
    mine = ["--config", str(tmp_path / "course.yml")]
    assert cli.main([*mine, "prove", "ex02_mine"]) == 0
    assert cli.main([*mine, "build", "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.stem for path in (tmp_path / "out" / "student").iterdir()) == [
        "ex02_mine", "ex05_attention",
    ]  # fmt: skip
    cells = nbformat.read(tmp_path / "out" / "student" / "ex02_mine.ipynb", 4).cells
    text = "\n".join(cell.source for cell in cells)
    assert "*Seeing with Transformers* · due 2027-03-01" in text and "5 points" in text
    assert "def grey" in text and "def where" not in text and "keepdim" not in text
    hand_in(tmp_path, "ada", lambda code: code)
    hand_in(tmp_path, "bo", lambda code: code.replace("mean(dim=1", "mean(dim=2"))
    hand_in(tmp_path, "cy", lambda code: source.STUB)
    order = [*mine, "grade", "ex02_mine", str(tmp_path / "in"), "--out", str(tmp_path / "marks")]
    assert cli.main(order) == 0
    rows = list(csv.DictReader((tmp_path / "marks" / "marks.csv").open(encoding="utf-8")))
    total = {}
    for row in rows:
        total[row["student"]] = total.get(row["student"], 0) + float(row["score"] or 0)
    assert total == {"ada": 13, "bo": 11, "cy": 0}
    sums = csv.DictReader((tmp_path / "marks" / "totals.csv").open(encoding="utf-8"))
    assert {row["student"]: float(row["score"]) for row in sums} == total
    (said,) = [row["message"] for row in rows if row["student"] == "bo" and row["task"] == grey_id]
    assert said.startswith("this does not hold: assert grey(torch.ones(2, 3, 4, 5))")


def test_the_whole_course_is_built_in_less_than_a_minute(tmp_path):
    start = sum(os.times()[:4])  # of this process and its children: others share the machine
    assert cli.main(["build", "--out", str(tmp_path / "out")]) == 0
    assert sum(os.times()[:4]) - start < 60
    names = source.configuration()["exercises"]
    parts = {"student": ".ipynb", "instructor": ".ipynb", "gradescope": ".zip", "plain": ".py"}
    for name in names:
        for part, end in parts.items():
            assert (tmp_path / "out" / part / f"{name}{end}").is_file()
        assert list((tmp_path / "out" / "otter" / name / "tests").glob("*.py"))
        assert (tmp_path / "out" / "nbgrader" / "source" / name / f"{name}.ipynb").is_file()
    assert len(list((tmp_path / "out" / "quiz").iterdir())) == 3 * len(names)


def test_a_hand_out_that_gets_points_for_nothing_is_not_proved(tmp_path, monkeypatch, capsys):
    answer = "### BEGIN SOLUTION\nx = 3\n### END SOLUTION"
    cells = [
        new_markdown_cell("## Task 1: three", metadata=by_tags("task")),
        new_code_cell(answer, metadata=by_tags("answer")),
        new_code_cell("assert 1 + 2 == 3", metadata=by_tags("check")),
    ]
    path = tmp_path / "ex99_three.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert cli.main(["prove", str(path)]) == 1
    assert "an untouched hand-out gets points for x-check" in capsys.readouterr().err


def test_points_are_those_of_the_tag_or_one():
    cells = [
        new_markdown_cell("## Task 1: a", metadata=by_tags("task")),
        new_code_cell("def my_a(): ...", metadata=by_tags("answer")),
        new_code_cell("assert my_a", metadata=by_tags("check", "points-3")),
        new_markdown_cell("In words.", metadata=by_tags("answer")),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    source.marked_by_tags(notebook)
    found = [(source.graded(c).get("grade_id"), source.points(c)) for c in notebook.cells]
    assert found == [(None, 0), ("my-a", 0), ("my-a-check", 3), ("my-a-words", 1)]
    assert [source.is_answer(c) for c in notebook.cells] == [False, True, False, True]


def test_sums_take_in_what_a_person_has_filled_in(tmp_path, capsys):
    head = "student,task,score,max,message\n"
    marks = tmp_path / "marks.csv"
    marks.write_text(head + "Ada,a,2,3,right\nBo,a,0,3,wrong\nAda,b,1.5,2,\nBo,b,,2,to be read\n")
    assert cli.main(["total", str(tmp_path)]) == 0
    assert (tmp_path / "totals.csv").read_text().split() == [
        "student,score,max,open", "Ada,3.5,5,0", "Bo,0,5,2",
    ]  # fmt: skip
    saved = "student;task;score;max;message\nAda;a;2;3;right\nAda;b;1,5;2;\n"
    marks.write_text("\ufeff" + saved, encoding="utf-8")  # by a spreadsheet, with decimal commas
    assert cli.main(["total", str(tmp_path)]) == 0
    assert "Ada,3.5,5,0" in (tmp_path / "totals.csv").read_text()
    marks.write_text(head + "Ada,a,two,3,right\n")
    assert cli.main(["total", str(tmp_path)]) == 1
    assert "Ada, a: could not convert" in capsys.readouterr().err
