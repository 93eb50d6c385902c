"""A small site of one exercise: the page has everything, its download no solution."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from vit_teach.course import source

ROOT = Path(__file__).resolve().parents[1]
NAME = "book/exercises/ex02_patchify"
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_nb", "sphinx_design", "vit_exercises"]
html_theme = "sphinx_book_theme"
nb_execution_mode = "force"
nb_execution_timeout = 120
myst_enable_extensions = ["dollarmath"]
"""


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    home = tmp_path_factory.mktemp("site")
    (home / "conf.py").write_text(CONF)
    (home / "index.md").write_text(f"# A book\n\n```{{toctree}}\n{NAME}\n```\n")
    (home / NAME).parent.mkdir(parents=True)
    (home / f"{NAME}.ipynb").write_bytes((ROOT / f"{NAME}.ipynb").read_bytes())
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", ".", "html"]
    run = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return home / "html"


def test_the_page_holds_stub_hints_executed_solution_and_verdict(small_site):
    html = (small_site / f"{NAME}.html").read_text(encoding="utf-8")
    html = html[html.index("<article") :]
    places = [html.index(words) for words in (
        "Task 1: write the cut", "15 min · 3 points", "your code here", "Hint 1", "Hint 2",
        "Show a solution", "patchify: right (10 cases)", "Why this is right", "Task 2: and back",
    )]  # fmt: skip
    assert places == sorted(places)
    assert html.count("Show a solution") == 4 and html.count("A good answer") == 1
    assert "BEGIN SOLUTION" not in html and "seed=7" not in html and "HIDDEN" not in html


def test_the_download_is_the_students_version(small_site):
    (file,) = (small_site / "_sources").rglob("*.ipynb")
    given = nbformat.read(file, as_version=4)
    wanted = source.student(source.read("ex02_patchify"))
    assert [cell.source for cell in given.cells] == [cell.source for cell in wanted.cells]
    assert not [f for f in small_site.rglob("*") if f.is_file() and b"BEGIN SOLU" in f.read_bytes()]


def test_what_runs_ahead_of_the_build_is_what_the_page_shows(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import vit_exercises

    ahead = vit_exercises.read(source.EXERCISES / "ex02_patchify.ipynb")
    assert [c.id for c in ahead.cells] == [
        c.id for c in source.page(source.read("ex02_patchify")).cells
    ]
    chapter = ROOT / "book" / "02_patchify.ipynb"
    assert vit_exercises.read(chapter) == nbformat.read(chapter, as_version=4)


def test_every_exercise_is_in_the_contents_under_its_chapter():
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    found = {part["sections"][0]["file"]: part["file"] for group in toc["parts"]
             for part in group["chapters"] if "sections" in part}  # fmt: skip
    names = source.configuration()["exercises"]
    assert list(found) == [f"book/exercises/{name}" for name in names]
    for exercise, chapter in found.items():
        assert Path(exercise).name[2:4] == Path(chapter).name[:2]


def test_a_chapter_lists_its_exercises_with_level_and_minutes():
    for name in source.configuration()["exercises"]:
        (chapter,) = (ROOT / "book").glob(f"{name[2:4]}_*.ipynb")
        text = "\n".join(cell.source for cell in nbformat.read(chapter, as_version=4).cells)
        (section,) = re.findall(r"^## Exercises\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert f"](exercises/{name}.ipynb)" in section
        found = re.findall(r"^- (.+) \((\w+), (\d+) min\)$", section, re.M)
        tasks = [group[0].source for group in source.groups(source.read(name))[1:]]
        head = r"## Task \d+: (.+)\n\n\*Level: (\w+) · (\d+) min"
        assert found == [re.match(head, task).groups() for task in tasks], chapter.name


def test_the_page_for_instructors_states_the_right_numbers():
    text = (ROOT / "book" / "appendix" / "for_instructors.md").read_text(encoding="utf-8")
    for name in source.configuration()["exercises"]:
        notebook = source.read(name)
        cells = [cell for cell in notebook.cells if source.points(cell)]
        person = sum(source.points(cell) for cell in cells if source.is_answer(cell))
        tasks, total = len(source.groups(notebook)) - 1, sum(map(source.points, cells))
        assert f"exercises/{name}.ipynb) | {tasks} | {total} | {person} |" in text
