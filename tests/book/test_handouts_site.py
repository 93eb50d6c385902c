"""What a teacher downloads: on the built site, complete, linked, and without a solution."""

import zipfile

import nbformat
import pytest
from test_course import handed_lines, solution_lines

from vit_teach.course import slides, source

NUMBERS = slides.chapters()


def test_the_site_has_a_deck_and_a_zip_for_every_chapter(site):
    for folder, end in (("slides", "html"), ("course", "zip")):
        found = sorted(path.stem for path in (site / "_static" / folder).glob(f"*.{end}"))
        assert found == NUMBERS
    page = (site / "book" / "appendix" / "for_instructors.html").read_text(encoding="utf-8")
    for number in NUMBERS:
        assert f'href="../../_static/slides/{number}.html"' in page
        assert f'href="../../_static/course/{number}.zip"' in page


def test_a_zip_has_the_notebook_behind_the_download_button(site):
    for name in source.configuration()["exercises"]:
        download = site / "_sources" / "book" / "exercises" / f"{name}.ipynb"
        with zipfile.ZipFile(site / "_static" / "course" / f"{name[2:4]}.zip") as archive:
            given = archive.read(f"{name[2:4]}/{name}.ipynb")
        assert given == download.read_bytes()
        text = "\n".join(cell.source for cell in nbformat.reads(given.decode(), 4).cells)
        assert "BEGIN SOLUTION" not in text and "HIDDEN" not in text


def test_neither_a_download_nor_the_index_of_the_search_holds_a_line_of_a_solution(site):
    lines, handed = solution_lines(), handed_lines()
    downloads = sorted((site / "_sources" / "book" / "exercises").glob("*.ipynb"))
    assert [path.stem for path in downloads] == list(source.configuration()["exercises"])
    for path in downloads:
        text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
        assert not {line for line in lines if line in text} - handed, path.name
    indexes = sorted(site.glob("search*.js*"))
    assert indexes
    for path in indexes:
        text = path.read_text(encoding="utf-8")
        assert not {line for line in lines if line in text} - handed, path.name


@pytest.mark.parametrize("number", NUMBERS)
def test_a_deck_shows_the_figures_of_its_chapter_and_asks_nobody(site, browser, number):
    asked, complaints = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((site / "_static" / "slides" / f"{number}.html").as_uri())
    page.wait_for_function("() => window.Reveal?.isReady()", timeout=60_000)
    pictures = page.evaluate("[...document.images].map((one) => [one.alt, one.naturalWidth])")
    page.close()
    assert pictures and all(alt and width > 300 for alt, width in pictures)
    assert complaints == [] and all(url.startswith("file:") for url in asked)
