"""A small site of one exercise: the page has everything, its download no solution."""

import itertools
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from vit_teach.course import quiz, source

ROOT = Path(__file__).resolve().parents[1]
NAME = "book/exercises/ex02_patchify"
CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_nb", "sphinx_design", "vit_exercises", "vit_quiz"]
html_static_path = [{str(ROOT / "book" / "_ext" / "static")!r}]
html_js_files = [("vt-quiz.js", {{"defer": "defer"}})]
html_css_files = ["vt-quiz.css"]
mathjax_path = "none.js"
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
    assert html.count("Show a solution") == 5 and html.count("A good answer") == 1
    assert "BEGIN SOLUTION" not in html and "seed=7" not in html and "HIDDEN" not in html


def test_the_download_is_the_students_version(small_site):
    (file,) = (small_site / "_sources").rglob("*.ipynb")
    given = nbformat.read(file, as_version=4)
    wanted = source.student(source.read("ex02_patchify"))
    assert [cell.source for cell in given.cells] == [cell.source for cell in wanted.cells]
    assert not [f for f in small_site.rglob("*") if f.is_file() and b"BEGIN SOLU" in f.read_bytes()]


def test_the_index_for_the_search_holds_no_line_of_a_hidden_test_or_solution(small_site):
    text = (small_site / "searchindex.js").read_text(encoding="utf-8")
    for cell in source.read("ex02_patchify").cells:
        for region in (source.REGION, source.HIDDEN):
            for part in region.finditer(cell.source + "\n"):
                lines = [line.strip() for line in part[0].splitlines()]
                assert not [line for line in lines if len(line) > 15 and line in text]
    assert "unpatchifi" in text  # a word of a heading, in the form that is searched for


# --- The quiz on the page ----------


@pytest.fixture
def page(small_site, browser):
    context = browser.new_context()
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((small_site / f"{NAME}.html").as_uri())
    page.asked = asked
    yield page
    context.close()


def quiz_form(page, name):
    return page.locator(f"#quiz-{name}")


def test_a_question_is_answered_by_keyboard_alone(page):
    form = quiz_form(page, "shape-only")
    form.locator("input").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    said = form.locator("output")
    assert said.inner_text().startswith("Not yet.") and "mixes up the pixels" in said.inner_text()
    assert form.locator("[data-state=bad]").count() == 1
    page.keyboard.press("ArrowDown")
    assert said.inner_text() == "" and form.locator("[data-state]").count() == 0
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert said.inner_text().startswith("Right.") and "rearranged" in said.inner_text()


def test_several_answers_and_a_number(page):
    form = quiz_form(page, "order-inside")
    form.get_by_role("button").press("Enter")
    assert form.locator("output").inner_text() == "Choose an answer first."
    boxes = form.get_by_role("checkbox")
    boxes.nth(1).check()
    form.get_by_role("button").press("Enter")
    assert form.locator("output").inner_text().startswith("Not yet.")
    boxes.nth(2).check()
    form.get_by_role("button").press("Enter")
    assert form.locator("output").inner_text().startswith("Right.")
    form = quiz_form(page, "count")
    for text, word in (
        ("195", "Not yet."),
        ("196", "Right."),
        ("x", "Not yet."),
        (" 196,0 ", "Right."),
    ):
        form.get_by_role("textbox").fill(text)
        form.get_by_role("textbox").press("Enter")
        assert form.locator("output").inner_text().startswith(word), text


def test_the_questions_are_groups_with_names_and_ask_no_other_host(page):
    import axe_playwright_python

    axe = Path(axe_playwright_python.__file__).parent / "axe.min.js"
    page.evaluate(axe.read_text())
    found = page.evaluate("() => axe.run('section#check-yourself')")
    assert found["violations"] == [] and found["passes"]
    for one in quiz.read(quiz.FOLDER / "02.yml"):
        start = one["ask"].replace("`", "").split("$")[0].split('"')[0][:30]
        group = quiz_form(page, one["id"]).get_by_role("group")
        assert start in group.locator("legend").inner_text()
    assert [address for address in page.asked if not address.startswith("file:")] == []


def test_without_scripts_the_answers_stand_folded_below_the_questions(small_site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((small_site / f"{NAME}.html").as_uri())
    assert page.get_by_role("button", name="Check").count() == 0
    answers = page.locator("noscript details")
    questions = quiz.read(quiz.FOLDER / "02.yml")
    assert answers.count() == len(questions)
    answers.first.locator("summary").click()
    text = answers.first.inner_text()
    assert text.count("Not right: ") == 2 and text.count("Right: ") == 1
    assert "only rearranged" in text
    context.close()


def test_a_chapter_may_show_some_of_the_questions(tmp_path):
    (tmp_path / "conf.py").write_text(CONF)
    good = "```{quiz} 03\n:only: flattening coincidence\n```"
    (tmp_path / "index.md").write_text(f"# A\n\n{good}\n")
    order = [sys.executable, "-m", "sphinx", "-W", "-q", ".", "html"]
    run = subprocess.run(order, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    html = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'id="quiz-([a-z-]+)"', html) == ["flattening", "coincidence"]
    (tmp_path / "index.md").write_text("# A\n\n```{quiz} 03\n:only: nothing\n```\n")
    run = subprocess.run(order, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0 and "03.yml has no question 'nothing'" in run.stderr


def test_what_runs_ahead_of_the_build_is_what_the_page_shows(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import vit_exercises

    ahead = vit_exercises.read(source.EXERCISES / "ex02_patchify.ipynb")
    page = source.page(source.read("ex02_patchify"), quiz="02")
    assert [cell.id for cell in ahead.cells] == [cell.id for cell in page.cells]
    chapter = ROOT / "book" / "02_patchify.ipynb"
    assert vit_exercises.read(chapter) == nbformat.read(chapter, as_version=4)


def test_every_exercise_is_in_the_contents_under_its_chapter():
    import yaml

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [entry["file"] for group in toc["parts"] for entry in group["chapters"]]
    found = {one: before for before, one in itertools.pairwise(files) if "/exercises/" in one}
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
        wanted = source.task_list(source.read(name), f"exercises/{name}.ipynb")
        assert len(wanted) == len(source.groups(source.read(name))) - 1 >= 2
        assert section.strip().splitlines()[2:] == wanted, "the list, and nothing else"


def test_an_edition_lists_the_tasks_that_it_has(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import vit_exercises

    (chapter,) = (ROOT / "book").glob("02_*.ipynb")
    cells = nbformat.read(chapter, as_version=4).cells
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Exercises")]
    assert vit_exercises.relisted(text) == text
    mine = source.read("ex02_patchify")
    mine.cells = [cell for cell in mine.cells if not cell.id.startswith("where")]
    nbformat.write(mine, tmp_path / "ex02_patchify.ipynb")
    monkeypatch.setattr(source, "EXERCISES", tmp_path)
    assert "where does a pixel go?" in text
    fewer = vit_exercises.relisted(text)
    assert "where does a pixel go?" not in fewer and fewer.count("\n- [") == 4


def test_the_page_for_instructors_states_the_right_numbers():
    text = (ROOT / "book" / "appendix" / "for_instructors.md").read_text(encoding="utf-8")
    for name in source.configuration()["exercises"]:
        notebook = source.read(name)
        cells = [cell for cell in notebook.cells if source.points(cell)]
        person = sum(source.points(cell) for cell in cells if source.is_answer(cell))
        tasks, total = len(source.groups(notebook)) - 1, sum(map(source.points, cells))
        minutes = sum(minutes_of(group) for group in source.groups(notebook)[1:])
        (row,) = re.findall(rf"^.*exercises/{name}\.ipynb\) .*$", text, re.M)
        assert row.endswith(f"| {tasks} | {total} | {person} | {minutes} |")
        for folder, end in (("slides", "html"), ("course", "zip")):
            assert f'href="../../_static/{folder}/{name[2:4]}.{end}"' in row


def minutes_of(group):
    return int(re.search(r" · (\d+) min", group[0].source)[1])


def test_the_plans_add_up():
    text = (ROOT / "book" / "appendix" / "for_instructors.md").read_text(encoding="utf-8")
    reading, tasks = {}, {}
    for name in source.configuration()["exercises"]:
        (chapter,) = (ROOT / "book").glob(f"{name[2:4]}_*.ipynb")
        head = nbformat.read(chapter, as_version=4).cells[0].source
        reading[int(name[2:4])] = int(re.search(r"Reading (\d+) min", head)[1])
        groups = source.groups(source.read(name))[1:]
        tasks[int(name[2:4])] = sum(map(minutes_of, groups))
    rows = re.findall(r"^\| [\w ]+ \| ([\d, ]+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert len(rows) == 5 + 4
    for chapters, read, work in rows:
        chosen = [int(number) for number in chapters.split(",")]
        assert sum(tasks[number] for number in chosen) == int(work), chapters
        total = sum(reading[number] for number in chosen)
        assert abs(total - int(read)) <= total / 10, (chapters, total)
    session = re.findall(r"^\| (\d+) \| (?:slides|task|three)", text, re.M)
    assert sum(map(int, session)) == 90
