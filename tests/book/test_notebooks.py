"""The committed chapters: clean, short cells, one set-up line, nothing left over."""

import ast
import re

import chapters
import nbformat
import pages
import pytest

# The exercises of chapters check themselves, in book/exercises; these pages have one of their own.
EXERCISES = {"muon": 1, "appendix/bias_lab": 1, "appendix/statistics": 1}
ALLOWED_IMPORTS = {"vit_teach", "torch", "torchvision", "matplotlib"}


@pytest.fixture(params=pages.CHAPTERS)
def notebook(request):
    return nbformat.read(pages.ROOT / f"{request.param}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_chapter_of_the_contents_exists():
    for name in pages.DOCUMENTS:
        assert any((pages.ROOT / f"{name}{end}").exists() for end in (".ipynb", ".md")), name


def test_valid_and_without_outputs(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert cell.outputs == [] and cell.execution_count is None


def test_cells_are_short(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 30, cell.source.splitlines()[0]


def test_lines_are_short(notebook):
    for cell in code_cells(notebook):
        for line in cell.source.splitlines():
            assert len(line) <= 100, line


def test_the_first_code_cell_is_the_set_up(notebook):
    assert code_cells(notebook)[0].source.splitlines()[0] == "import vit_teach as vt"


def test_only_torch_torchvision_matplotlib_and_our_package_are_imported(notebook):
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                assert name.split(".")[0] in ALLOWED_IMPORTS, name


def test_the_head_of_a_chapter_says_what_it_takes(notebook):
    head = notebook.cells[0].source
    assert head.startswith("# ")
    if head.startswith("# Vision Transformers, Step by Step"):
        return  # the landing page says what each route takes
    assert "Reading " in head and "Running " in head and "Needs: " in head


def test_nothing_is_left_to_do(notebook):
    text = "\n".join(cell.source for cell in notebook.cells)
    for word in ("TODO", "FIXME", "XXX", "lorem ipsum"):
        assert word not in text


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_has_a_head_a_hint_and_a_solution_with_code(name):
    exercises = chapters.exercises(name)
    assert [int(text[0]) for text in exercises] == list(range(1, EXERCISES[name] + 1))
    for number, text in enumerate(exercises):
        head = r"^\*Level: (easy|medium|hard) · \d+ min[^·]* · Goal: .+\*$"
        assert len(re.findall(head, text, re.M)) == 1
        assert "{dropdown} Hint" in text and text.count("{dropdown} Solution") == 1
        assert "assert" in chapters.solution(name, number)


def test_no_other_page_has_an_exercise_that_nothing_checks():
    found = {page for page in pages.CHAPTERS if "### Exercise" in chapters.markdown(page[5:])}
    assert found == {f"book/{name}" for name in EXERCISES}


def test_every_picture_has_alt_text_is_shown_once_and_has_a_word_after_it(notebook):
    for number, cell in enumerate(notebook.cells):
        source = cell.source.rstrip().removesuffix("# fmt: skip").rstrip()
        drawn = "vt.plots." in source and (source.endswith(";") or source.startswith("if "))
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
        assert (alt is not None) == drawn, cell.id
        if drawn:
            assert len(alt) > 60, cell.id
            after = notebook.cells[number + 1 : number + 3]
            assert any(cell.cell_type == "markdown" for cell in after), cell.id
