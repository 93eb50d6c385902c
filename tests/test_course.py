"""The exercises and what is built from them: complete, solvable, and without a leak."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest

from vit_teach import check
from vit_teach.course import build, source
from vit_teach.course.grade import BY_A_PERSON, grade, prove

NAMES = list(source.configuration()["exercises"])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    out = tmp_path_factory.mktemp("course")
    assert build.build(out=out / "all") == NAMES
    return out / "all"


def solution_lines():
    """Every line that only a solution, its reasoning or a hidden test holds."""
    found = set()
    for name in NAMES:
        for cell in source.read(name).cells:
            for region in (source.REGION, source.HIDDEN):
                found |= {line.strip() for part in region.finditer(cell.source + "\n")
                          for line in part[0].splitlines()}  # fmt: skip
            written = source.is_answer(cell) and cell.cell_type == "markdown"
            if written or "solution" in source.tags(cell):
                found |= {line.strip() for line in cell.source.splitlines()}
    return {line for line in found if len(line) > 15}


def handed_lines():
    """Every line that an author means to hand out; a faulty function to repair is such a text."""
    found = set()
    for name in NAMES:
        for cell in source.read(name).cells:
            written = source.is_answer(cell) and cell.cell_type == "markdown"
            if not written and "solution" not in source.tags(cell):
                text = source.visible(cell.source)
                text = source.stubbed(text) if source.is_answer(cell) else text
                found |= {line.strip() for line in text.splitlines()}
    return found


# --- The exercises ----------


def test_the_folder_and_the_course_file_agree():
    assert NAMES == sorted(path.stem for path in source.EXERCISES.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_is_complete(name):
    notebook = source.read(name)
    nbformat.validate(notebook)
    head, *tasks = source.groups(notebook)
    builds_code = "02" <= name[2:4] <= "07"
    assert (4 if builds_code else 2) <= len(tasks) <= 5
    if not builds_code:
        titles = " ".join(group[0].source.splitlines()[0] for group in tasks)
        assert "predict, then measure" in titles and "find the bug" in titles
    for number, group in enumerate(tasks, 1):
        assert group[0].source.startswith(f"## Task {number}: ")
        line = r"^\*Level: (easy|medium|hard) · \d+ min · Goal: .+\.\*$"
        assert len(re.findall(line, group[0].source, re.M)) == 1
        assert sum(map(source.points, group)) > 0
        code = [cell for cell in group if source.is_answer(cell) and cell.cell_type == "code"]
        if code:
            assert any("hint" in source.tags(cell) for cell in group)
            assert any("solution" in source.tags(cell) for cell in group)
            assert any(source.is_check(cell) for cell in group)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
            ast.parse(cell.source)
            assert max(map(len, cell.source.splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_every_worked_solution_has_full_marks(name):
    notebook = source.read(name)
    prove(notebook, name)
    marks = grade(notebook, notebook)
    assert all(row.message == "right" for row in marks.rows if row.score is not None)
    assert marks.most == sum(map(source.points, notebook.cells)) and marks.notes == []


@pytest.mark.parametrize("name", NAMES)
def test_every_hand_out_scores_nothing_and_hears_that_the_answer_is_missing(name):
    notebook = source.read(name)
    marks = grade(notebook, source.student(notebook))
    assert marks.total == 0 and marks.notes == []
    assert {row.message for row in marks.rows} <= {str(check.NoAnswer()), BY_A_PERSON}
    space = {}
    for cell in source.student(notebook).cells:
        if source.is_check(cell):
            with pytest.raises(check.NoAnswer):
                exec(cell.source, space)
        elif cell.cell_type == "code":
            exec(cell.source, space)


@pytest.mark.parametrize("name", NAMES)
def test_every_solution_passes_in_the_notebook_itself(name, capsys):
    space = {}
    for cell in source.read(name).cells:
        if cell.cell_type == "code":
            exec(source.unmarked(cell.source), space)
    said = capsys.readouterr().out
    checks = [
        c for c in source.read(name).cells if c.source.startswith("check.") and source.is_check(c)
    ]
    ours = [cell for cell in checks if not cell.source.startswith("check.answered")]
    assert said.count(": right (") == 2 * len(ours)


# --- What is built ----------


def test_no_file_of_a_student_holds_a_line_of_a_solution(course):
    lines = solution_lines()
    assert len(lines) > 100
    files = [f for part in ("student", "plain") for f in (course / part).rglob("*") if f.is_file()]
    assert len(files) == 3 * len(NAMES) + 2  # a notebook, a file, its tests; two for all
    handed = handed_lines()
    for file in files:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".ipynb":
            text = "\n".join(cell.source for cell in nbformat.read(file, 4).cells)
        found = {line for line in lines if line in text} - handed
        assert not found, (file.name, found)
        assert "SOLUTION" not in text and "HIDDEN" not in text


def test_the_search_for_leaks_finds_one(course):
    notebook = course / "instructor" / f"{NAMES[0]}.ipynb"
    text = "\n".join(cell.source for cell in nbformat.read(notebook, 4).cells)
    assert {line for line in solution_lines() if line in text}


def test_the_instructors_notebook_holds_points_solutions_and_reasons(course):
    cells = nbformat.read(course / "instructor" / "ex02_patchify.ipynb", 4).cells
    assert "| together | 13 | |" in cells[1].source
    text = "\n".join(cell.source for cell in cells)
    assert "x.permute(0, 2, 4, 1, 3, 5)" in text and "**Why.**" in text and "seed=7" in text


def test_the_source_for_nbgrader_keeps_its_metadata(course):
    path = course / "nbgrader" / "source" / "ex02_patchify" / "ex02_patchify.ipynb"
    kept = nbformat.read(path, 4)
    assert source.faults(kept) == []
    assert sum(map(source.points, kept.cells)) == 13
    compile((course / "nbgrader" / "nbgrader_config.py").read_text(), "config", "exec")


def test_a_plain_file_is_tested_by_pytest(course, tmp_path):
    name = "ex02_patchify"
    for file in ("conftest.py", f"test_{name}.py", f"{name}.py"):
        (tmp_path / file).write_text((course / "plain" / file).read_text())
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", "."]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "5 failed" in run.stdout and run.stdout.count("no answer in the cell yet") >= 5
    text = (tmp_path / f"{name}.py").read_text()
    assert "check" not in text.split("Task 1")[1] and "BEGIN" not in text
    solved = "\n\n".join(source.unmarked(c.source) for c in source.read(name).cells
                         if c.cell_type == "code" and not source.is_check(c))  # fmt: skip
    (tmp_path / f"{name}.py").write_text(solved)
    full = (course / "instructor" / "plain" / f"test_{name}.py").read_text()
    (tmp_path / f"test_{name}.py").write_text(full)
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "5 passed" in run.stdout, run.stdout
    assert full.count("seed=7") == 5
    (tmp_path / f"{name}.py").write_text(solved.replace("def patchify", "def missing"))
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed, 4 passed" in run.stdout, run.stdout


def test_run_all_in_a_hand_out_stops_with_the_kind_message(course):
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(course / "student" / "ex02_patchify.ipynb", 4)
    with pytest.raises(CellExecutionError, match="There is no answer in the cell yet"):
        NotebookClient(notebook, timeout=120).execute()
    (shown,) = [o for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert len(shown.traceback) == 1 and "Your turn." in shown.traceback[0]


def test_the_course_file_sets_title_date_and_points(tmp_path):
    path = tmp_path / "course.yml"
    path.write_text("title: Seeing\nsolutions: hidden\nexercises:\n  ex02_patchify:\n"
                    "    {due: 2027-03-01, points: {patchify-check: 5}}\n")  # fmt: skip
    config = source.configuration(path)
    build.build(config, out=tmp_path / "out")
    cells = nbformat.read(tmp_path / "out" / "student" / "ex02_patchify.ipynb", 4).cells
    assert "*Seeing* · due 2027-03-01" in cells[0].source
    assert "15 min · 5 points · Goal" in cells[2].source
    assert "25 min · 4 points, 2 of them read by a person · Goal" in cells[-6].source


@pytest.mark.parametrize(("text", "words"), [
    ("exercises: {}", "at least one notebook"),
    ("exercises: {a: }\nsolutions: maybe", "must be 'shown' or 'hidden'"),
    ("exercises: {a: {date: 1}}", "unknown entries"),
    ("exercise: {a: }", "unknown entries"),
])  # fmt: skip
def test_a_wrong_course_file_is_refused(tmp_path, text, words):
    (tmp_path / "course.yml").write_text(text)
    with pytest.raises(ValueError, match=words):
        source.configuration(tmp_path / "course.yml")


def test_an_exercise_with_faults_is_not_built(tmp_path):
    good = source.read("ex02_patchify")
    for change, words in (
        (lambda cells: cells[0].update(source="### BEGIN SOLUTION"), "it would be handed out"),
        (lambda cells: cells.append(cells[5]), "is used 2 times"),
        (lambda cells: cells[5].update(source="def patchify(): pass"), "an answer cell without"),
        (lambda cells: cells[0].update(source="### BEGIN HIDDEN TESTS"), "a hidden test outside"),
        (lambda cells: cells[6].update(source="### BEGIN HIDDEN TESTS"), "without its partner"),
        (
            lambda cells: cells.insert(3, cells.pop(8)),
            r"'Task 1: write the cut': no answer follows",
        ),
        (lambda cells: cells.pop(6), r"'Task 1: write the cut': no check follows its answer"),
    ):
        bad = nbformat.from_dict(good.copy())
        bad.cells = [nbformat.from_dict(dict(cell)) for cell in good.cells]
        change(bad.cells)
        path = tmp_path / "bad.ipynb"
        path.write_text(nbformat.writes(bad))
        with pytest.raises(ValueError, match=words):
            source.read(path)
    with pytest.raises(ValueError, match="no graded cell has this id"):
        config = {"exercises": {"ex02_patchify": {"points": {"nothing": 3}}}}
        source.read("ex02_patchify", config)


# --- The page ----------


def test_a_page_shows_stub_hints_folded_solution_check_and_reason():
    cells = {cell.id: cell for cell in source.page(source.read("ex02_patchify")).cells}
    order = [name for name in cells if name.startswith("patchify")]
    assert order == ["patchify-task", "patchify-stub", "patchify-hint-1", "patchify-hint-2",
                     "patchify", "patchify-check", "patchify-why"]  # fmt: skip
    assert source.STUB in cells["patchify-stub"].source
    assert cells["patchify"].metadata.tags == ["hide-input"]
    assert "### " not in cells["patchify"].source and "permute" in cells["patchify"].source
    assert cells["patchify-check"].source == "check.patchify(patchify)"
    assert "{dropdown} A good answer" in cells["round-trip"].source


def test_a_page_without_solutions_has_none_and_runs():
    lines = solution_lines()
    for name in NAMES:
        cells = source.page(source.read(name), "hidden").cells
        text = "\n".join(cell.source for cell in cells)
        handed = "\n".join(cell.source for cell in source.student(source.read(name)).cells)
        assert not {line for line in lines if line in text and line not in handed}
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert len(code) == 1 and "import" in code[0].source
