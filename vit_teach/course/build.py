"""Write the versions of each exercise into one folder: what a teacher hands out, keeps and runs.

For the exercises of chapters 1 to 15.
"""

import copy
import re
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path

import nbformat

from ..paths import ROOT, written_whole
from . import others, quiz
from . import source as exercises
from .source import (
    Config,
    Notebook,
    defined,
    graded,
    is_answer,
    is_check,
    points,
    unmarked,
    visible,
)

OUT = ROOT / "_build" / "course"

NBGRADER = """\
# For nbgrader: put this file and the folder "source" into a course folder, then run
# nbgrader generate_assignment ex02_patchify
from nbconvert.preprocessors import TagRemovePreprocessor
from nbgrader.converters import GenerateAssignment

c = get_config()
steps = GenerateAssignment.class_traits()["preprocessors"].default()
c.GenerateAssignment.preprocessors = [TagRemovePreprocessor, *steps]
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_cell_tags = {"solution"}  # the reasoning is not handed out
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError  # your code here"}
c.OverwriteCells.add_missing_cells = True  # a test cell that was deleted comes back
c.Execute.timeout = 60  # seconds a cell
"""

WORKFLOW = """\
# Runs the tests on every push. Set the repository variable VIT_BOOK (Settings > Secrets and
# variables > Actions > Variables) to the address of the book's repository.
name: grade
on: [push, workflow_dispatch]
jobs:
  grade:
    runs-on: ubuntu-latest
    timeout-minutes: 15
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install torch --index-url https://download.pytorch.org/whl/cpu
      - run: pip install pytest "vit-teach @ git+${{ vars.VIT_BOOK }}"
      - run: python -m pytest --tb=line -rA
"""

CONFTEST = '''\
"""Marks a test with what it is worth."""


def pytest_configure(config):
    config.addinivalue_line("markers", "points(n): what the test is worth")
'''


def write(path: Path, text: str) -> None:
    """Write a text file, its folder included, in one step.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "new" / "note.txt", "done")
    ...     (Path(folder) / "new" / "note.txt").read_text()
    'done'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_notebook(path: Path, notebook: Notebook) -> None:
    """Write a notebook that is valid.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_notebook(Path(folder) / "a.ipynb", nbformat.v4.new_notebook())
    """
    notebook = copy.deepcopy(notebook)
    nbformat.validate(notebook)
    write(path, nbformat.writes(notebook) + "\n")


def script(source: Notebook, title: str = "", due: str = "") -> str:
    """The hand-out as a plain file: texts as comments, stubs as code.

    >>> print(script(exercises.read("ex02_patchify")).splitlines()[0])
    # # 2. Exercises: patchify
    """
    parts = []
    for cell in exercises.student(source, title, due).cells:
        if cell.cell_type == "code" and not is_check(cell):
            parts.append(re.sub(r"\n?from vit_teach import check\b", "", cell.source))
        elif cell.cell_type == "markdown":
            text = cell.source.replace("then run the check below it", "then run pytest")
            lines = text.replace("<details><summary>", "").replace("</summary>", ":")
            lines = lines.replace("\n\n</details>", "")
            parts.append(textwrap.indent(lines, "# ", lambda line: True).replace("# \n", "#\n"))
    return "\n\n\n".join(parts) + "\n"


def tests(source: Notebook, name: str, full: bool = False) -> str:
    """A file of pytest for the plain file ``name``.py beside it; ``full`` with the further cases.

    >>> "def test_patchify_check(answers):" in tests(exercises.read("ex02_patchify"), "ex02")
    True
    """
    given = [c.source for c in source.cells
             if c.cell_type == "code" and not is_answer(c) and not is_check(c)]  # fmt: skip
    known = [n for c in source.cells if is_answer(c) and c.cell_type == "code"
             for n in defined(c.source)]  # fmt: skip
    lines = [
        f'"""Tests of {name}.py. Run: python -m pytest"""', "", "import runpy",
        "from pathlib import Path", "", "import pytest", *given, "", "",
        '@pytest.fixture(scope="module")', "def answers():",
        f'    return runpy.run_path(str(Path(__file__).with_name("{name}.py")))',
    ]  # fmt: skip
    for cell in filter(is_check, source.cells):
        code = unmarked(cell.source) if full else visible(cell.source)
        test = graded(cell)["grade_id"].replace("-", "_")
        lines += ["", "", f"@pytest.mark.points({points(cell)})", f"def test_{test}(answers):"]
        lines += [f'    {n} = answers["{n}"]' for n in known if re.search(rf"\b{n}\b", code)]
        lines += [textwrap.indent(code, "    ")]
    return "\n".join(lines) + "\n"


def build(
    config: Config | None = None, names: Iterable[str] | None = None, out: str | Path = OUT
) -> list[str]:
    """Write all versions of the course's exercises, or of those of ``names``. Returns the names.

    ``config`` is what :func:`vit_teach.course.source.configuration` returns. Raises ``ValueError``
    for an exercise with faults, and then leaves what was there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     build(names=["ex02_patchify"], out=Path(folder) / "course")
    ['ex02_patchify']
    """
    config, out = config or exercises.configuration(), Path(out)
    names = list(config["exercises"]) if names is None else names
    sources = {name: exercises.read(name, config) for name in names}
    shutil.rmtree(out, ignore_errors=True)
    for name, source in sources.items():
        _write_exercise(out, name, source, config)
    write_quizzes(out / "quiz", {name[2:4] for name in sources})
    write(out / "nbgrader" / "nbgrader_config.py", NBGRADER)
    write(out / "plain" / "conftest.py", CONFTEST)
    write(out / "plain" / ".github" / "workflows" / "grade.yml", WORKFLOW)
    write(out / "instructor" / "plain" / "conftest.py", CONFTEST)
    return list(sources)


def write_quizzes(out: Path, chapters: Iterable[str] | None = None) -> int:
    """Write the quizzes for Moodle and Canvas, or those of ``chapters``. Returns their number.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_quizzes(Path(folder), ["02"])
    1
    """
    paths = sorted(quiz.FOLDER.glob("*.yml"))
    chosen = [path for path in paths if chapters is None or path.stem in chapters]
    for path in chosen:
        for name, text in quiz.exports(path).items():
            write(out / name, text)
    return len(chosen)


def _write_exercise(out: Path, name: str, source: Notebook, config: Config) -> None:
    head = config.get("title", ""), str(config["exercises"].get(name, {}).get("due", ""))
    write_notebook(out / "student" / f"{name}.ipynb", exercises.student(source, *head))
    write_notebook(out / "instructor" / f"{name}.ipynb", exercises.instructor(source, *head))
    graders = exercises.with_points(source)
    write_notebook(out / "nbgrader" / "source" / name / f"{name}.ipynb", graders)
    for file, text in others.otter_tests(source):
        write(out / "otter" / name / "tests" / file, text)
    archive = out / "gradescope" / f"{name}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(archive) as temporary:
        temporary.write_bytes(others.gradescope_zip(source, name))
    write(out / "plain" / f"{name}.py", script(source, *head))
    write(out / "plain" / f"test_{name}.py", tests(source, name))
    write(out / "instructor" / "plain" / f"test_{name}.py", tests(source, name, full=True))
