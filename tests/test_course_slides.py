"""The slides: complete, made from their chapters, and readable in a browser without a network."""

import base64
import io
import re
import zipfile
from types import SimpleNamespace

import nbformat
import pytest
from PIL import Image
from test_course import handed_lines, solution_lines

from vit_teach.course import build, slides, zips

NUMBERS = [f"{n:02}" for n in range(1, 16)]
# What sticks out of a slide, or is too small to be read from the last row.
TROUBLE = """() => {
  const slide = document.querySelector("section.present .slide");
  const edge = slide.getBoundingClientRect();
  const out = slide.scrollHeight > 720 || slide.scrollWidth > 1280 ? ["the slide"] : [];
  for (const part of slide.querySelectorAll("*")) {
    const box = part.getBoundingClientRect();
    if (box.right > edge.right - 20 || box.bottom > edge.bottom - 10) out.push(part.outerHTML);
    if (part.tagName === "IMG" && box.height < 200) out.push("small: " + part.alt);
  }
  const text = slide.querySelector(".text");
  if (text && text.scrollHeight > text.clientHeight + 1) out.push(text.innerText);
  return out.map((one) => one.slice(0, 120));
}"""


def drawn(chapter, size=(1400, 640)):
    """A chapter in which each cell that has a text alternative has drawn a plain picture."""
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "png")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    notebook = nbformat.read(chapter, as_version=4)
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("image", {}).get("alt"):
            cell.outputs = [nbformat.v4.new_output("display_data", data)]
    return notebook


def whole(number, size=(1400, 640)):
    """All that a deck may show, drawn."""
    return slides.joined([drawn(path, size) for path in slides.pages_of(number)])


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    for number in NUMBERS:
        slides.write(number, whole(number), out, "A book")
    return out


# --- The texts ----------


def test_every_chapter_has_slides():
    assert slides.chapters() == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_deck_is_a_lesson_of_its_chapter(number):
    chapter = nbformat.read(slides.chapter_of(number), as_version=4)
    found = slides.read(slides.FOLDER / f"{number}.md")
    assert 8 <= len(found) <= 14
    assert found[0].body.splitlines()[0] == chapter.cells[0].source.splitlines()[0]
    assert all(slide.body.startswith("## ") for slide in found[1:])
    assert sum("![](" in slide.body for slide in found) >= 1
    notes = " ".join(slide.notes for slide in found)
    assert notes.count("**Ask") >= 3 and "**For next time.**" in (
        notes if number != "15" else "**For next time.**"
    )
    assert all(len(slide.body.split()) < 90 for slide in found), "few words on a slide"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_measured_number_on_a_slide_comes_from_a_card_or_stands_in_the_chapter(number):
    chapter = whole(number)
    text = "\n".join(cell.source for cell in chapter.cells)
    for slide in slides.read(slides.FOLDER / f"{number}.md"):
        typed = slides.ROLE.sub("", slide.body)
        for number_, _ in re.findall(r"(\d[\d.,]* ?(%|points?\b))", typed):
            assert number_ in text, f"{number_} is typed by hand"


# --- What a change of the chapter does ----------


@pytest.mark.parametrize(("body", "words"), [
    ("## A\n\n![](01-no-such-cell)", "no cell '01-no-such-cell'"),
    ("## A\n\n![](01-why-patches-01)", "no picture that has a text alternative"),
    ("## A\n\n```python\nx = 1\n```", "no line of code 'x = 1'"),
    ("## A\n\n{result}`shuffle test_accuracy model=perceptron`", "fits 0 groups"),
])  # fmt: skip
def test_a_slide_that_its_chapter_does_not_carry_is_refused(tmp_path, monkeypatch, body, words):
    (tmp_path / "01.md").write_text(f"# T\n\nNotes:\n\nx\n---\n{body}\n\nNotes:\n\nx\n")
    monkeypatch.setattr(slides, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=rf"01.md, slide 2: .*{words}"):
        slides.deck("01", drawn(slides.chapter_of("01")), "A book")


@pytest.mark.parametrize(
    "text", ["# A\n\nno notes\n", "no heading\n\nNotes:\n\nx\n", "# A\nNotes:\n"]
)
def test_a_slide_without_a_heading_or_notes_is_refused(tmp_path, text):
    (tmp_path / "01.md").write_text(text)
    with pytest.raises(ValueError, match="slide 1 wants a heading first, and Notes: at its end"):
        slides.read(tmp_path / "01.md")


def test_the_comment_of_a_line_may_be_left_out_and_nothing_else():
    cells = [nbformat.v4.new_code_cell("a = 1  # one\n    b = a + 1")]
    slides._check_code("```python\na = 1\nb = a + 1\n```\n", cells)
    with pytest.raises(ValueError, match="a = 2"):
        slides._check_code("```python\na = 2\n```\n", cells)


def test_a_figure_that_is_not_wide_stands_beside_its_text():
    for size, place in (((1400, 640), ""), ((800, 700), " beside")):
        notebook = drawn(slides.chapter_of("01"), size)
        page, shown = slides.deck("01", notebook, "A book")
        assert (f'<div class="slide{place}"><h2>Three ways' in page) and len(shown) == 4


# --- Where the pictures come from ----------


def test_outputs_come_from_the_build_that_ran_this_very_code(tmp_path):
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    chapter, caches = tmp_path / "a.ipynb", tmp_path / "caches"
    notebook = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("old text"), nbformat.v4.new_code_cell("print(1)")
    ])  # fmt: skip
    nbformat.write(notebook, chapter)
    assert slides.executed(chapter, caches) is None
    ran = nbformat.read(chapter, as_version=4)
    ran.cells[1].outputs = slides.run(chapter).cells[1].outputs
    bundle = CacheBundleIn(ran, str(chapter))
    get_cache(caches / "key").cache_notebook_bundle(bundle, check_validity=False)
    notebook.cells[0].source = "new text"
    nbformat.write(notebook, chapter)
    found = slides.executed(chapter, caches)
    assert found.cells[1].outputs[0].text == "1\n" and found.cells[0].source == "new text"
    notebook.cells[1].source = "print(2)"
    nbformat.write(notebook, chapter)
    assert slides.executed(chapter, caches) is None


def test_a_chapter_without_outputs_has_no_deck_unless_it_may_run(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "run", drawn)
    out = tmp_path / "out"
    assert slides.build(["02"], out, caches=tmp_path) == ["02"] and not out.exists()
    assert slides.build(["02"], out, run_them=True, caches=tmp_path) == []
    assert (out / "02.html").exists()


# --- In a browser ----------


def test_reveal_is_small_and_has_its_licence():
    files = list(slides.REVEAL.iterdir())
    assert sum(file.stat().st_size for file in files) < 250_000
    assert "Hakim El Hattab" in (slides.REVEAL / "LICENSE.txt").read_text()


@pytest.fixture
def watched(browser):
    """A page of the size of a slide, and what it asked for and complained of."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


def opened(page, path, query=""):
    page.goto(path.as_uri() + query)
    page.wait_for_function("() => window.Reveal?.isReady()", timeout=60_000)
    return page


@pytest.mark.parametrize("number", NUMBERS)
def test_no_slide_overflows_and_nothing_is_asked_from_elsewhere(decks, watched, number):
    page = opened(watched, decks / f"{number}.html")
    count = page.evaluate("Reveal.getTotalSlides()")
    assert count == len(slides.read(slides.FOLDER / f"{number}.md"))
    for place in range(count):
        page.evaluate(f"Reveal.slide({place})")
        assert page.evaluate(TROUBLE) == [], f"slide {place + 1}"
    assert page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth)")
    assert page.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked)


def test_the_search_for_trouble_finds_it(decks, watched):
    page = opened(watched, decks / "01.html")
    page.evaluate("Reveal.slide(3)")
    assert page.evaluate(TROUBLE) == []
    page.evaluate("document.querySelector('section.present code').append('x'.repeat(90))")
    assert page.evaluate(TROUBLE) != []


def test_formulas_are_set_and_a_deck_without_them_loads_no_mathjax(decks, watched):
    page = opened(watched, decks / "05.html")
    assert page.evaluate("document.querySelectorAll('mjx-container').length") >= 5
    opened(watched, decks / "02.html")
    assert "mathjax" not in (decks / "02.html").read_text()


def test_a_page_is_printed_for_each_slide(decks, watched):
    page = opened(watched, decks / "05.html", "?print-pdf")
    page.wait_for_selector(".pdf-page", state="attached")
    page.emulate_media(media="print")
    boxes = page.evaluate("""[...document.querySelectorAll(".pdf-page .slide, .pdf-page img")]
      .map((part) => [part.tagName, part.getBoundingClientRect().height])""")
    assert {height for tag, height in boxes if tag == "DIV"} == {720}
    assert min(height for tag, height in boxes if tag == "IMG") > 200
    pdf = page.pdf(prefer_css_page_size=True, print_background=True)
    count = len(slides.read(slides.FOLDER / "05.md"))
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == count


def test_the_speaker_sees_the_notes(decks, watched):
    page = opened(watched, decks / "02.html")
    with watched.context.expect_page() as popup:
        page.keyboard.press("s")
    popup.value.wait_for_selector(".speaker-controls-notes .value :text('every mistake')")


# --- The zip of a chapter ----------


@pytest.fixture(scope="module")
def zipped(decks, tmp_path_factory):
    """The zips of all exercises, and where the course was built that they are made of."""
    home = tmp_path_factory.mktemp("zips")
    names = build.build(out=home / "course")
    return [zips.write(home / "course", decks, home / "out", name, "A book") for name in names]


def test_a_zip_holds_what_a_first_lesson_needs(zipped):
    assert [path.stem for path in zipped] == NUMBERS
    inside = zipfile.ZipFile(zipped[1]).namelist()
    for name in ("README.txt", "ex02_patchify.ipynb", "ex02_patchify.py", "test_ex02_patchify.py",
                 "conftest.py", "quiz/02.moodle.xml", "quiz/02.gift.txt", "slides/02.html",
                 "slides/figures/02-patchify-39.png", "slides/reveal/reveal.js",
                 "slides/reveal/LICENSE.txt"):  # fmt: skip
        assert f"02/{name}" in inside
    assert not [name for name in inside if "mathjax" in name]  # a deck without formulas
    assert "05/slides/mathjax/tex-chtml.js" in zipfile.ZipFile(zipped[4]).namelist()
    assert sum(path.stat().st_size for path in zipped) < 20_000_000


def test_no_zip_holds_a_line_of_a_solution(zipped):
    lines, handed = solution_lines(), handed_lines()
    for path in zipped:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith((".png", ".woff")) or "/mathjax/" in name or "/reveal/" in name:
                    continue
                text = archive.read(name).decode()
                if name.endswith(".ipynb"):
                    text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
                assert not {line for line in lines if line in text} - handed, name
                assert "BEGIN SOLUTION" not in text and "HIDDEN" not in text


def test_a_deck_in_a_zip_works_on_its_own(zipped, watched, tmp_path):
    zipfile.ZipFile(zipped[4]).extractall(tmp_path)
    page = opened(watched, tmp_path / "05" / "slides" / "05.html")
    assert page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth)")
    assert page.evaluate("document.querySelectorAll('mjx-container').length") >= 5
    assert page.complaints == []


def test_the_same_files_give_the_same_zip(decks, tmp_path):
    build.build(names=["ex02_patchify"], out=tmp_path / "course")
    one, two = (
        zips.write(tmp_path / "course", decks, tmp_path / out, "ex02_patchify").read_bytes()
        for out in ("one", "two")
    )
    assert one == two


# --- The command ----------


def test_the_command_writes_decks_where_the_chapters_ran_and_says_where_not(
    tmp_path, monkeypatch, capsys
):
    from vit_teach.course.__main__ import main

    monkeypatch.setattr(
        slides, "executed", lambda path, caches=None: drawn(path) if "02" in path.name else None
    )
    out = tmp_path / "course"
    assert main(["build", "ex02_patchify", "ex03_projection", "--out", str(out)]) == 0
    assert [path.name for path in (out / "slides").glob("*.html")] == ["02.html"]
    assert "no slides yet of 03 " in capsys.readouterr().out
    assert main(["slides", "02", "--out", str(tmp_path / "decks")]) == 0
    assert "slides of 02 in" in capsys.readouterr().out


def test_the_site_gets_decks_and_zips_with_the_notebook_behind_its_button(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(slides.ROOT / "book" / "_ext"))
    import vit_handouts

    config = {"title": "A book", "solutions": "shown", "exercises": {"ex02_patchify": {}}}
    monkeypatch.setattr(vit_handouts.source, "configuration", lambda: config)
    monkeypatch.setattr(slides, "executed", lambda path, caches: drawn(path))
    monkeypatch.setattr(slides, "chapters", lambda: ["02"])
    download = tmp_path / "html" / vit_handouts.DOWNLOADS / "ex02_patchify.ipynb"
    download.parent.mkdir(parents=True)
    download.write_text("with its set-up cell")
    app = SimpleNamespace(
        outdir=tmp_path / "html",
        builder=SimpleNamespace(name="html"),
        config=SimpleNamespace(nb_execution_cache_path=str(tmp_path / "caches" / "key")),
    )
    vit_handouts.make(app, ValueError())
    assert not (tmp_path / "html" / "_static").exists()
    vit_handouts.make(app, None)
    assert (tmp_path / "html" / "_static" / "slides" / "02.html").exists()
    with zipfile.ZipFile(tmp_path / "html" / "_static" / "course" / "02.zip") as archive:
        assert archive.read("02/ex02_patchify.ipynb") == b"with its set-up cell"
        assert "02/slides/02.html" in archive.namelist()
