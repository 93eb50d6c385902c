"""Chapters keep to their budgets, and state honest minutes."""

import html
import importlib.util
import re

import pages
import pytest

spec = importlib.util.spec_from_file_location("lengths", pages.ROOT / "tools" / "lengths.py")
lengths = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lengths)

CHAPTERS = {str(path.relative_to(lengths.BOOK))[:-6]: path for path in lengths.chapters()}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_keeps_to_its_budget(name):
    found = lengths.measured(CHAPTERS[name])
    for measure, limit in lengths.budget(name).items():
        assert found[measure] <= limit, (measure, found[measure], limit)


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_minutes_that_a_chapter_states_are_those_of_the_reading(name):
    found = lengths.measured(CHAPTERS[name])
    assert abs(found["minutes"] - found["says"]) <= 2, (found["minutes"], found["says"])


# The height of a page's text without its exercises, in pixels.
MAIN_PATH = """() => {
  const high = (part) => part?.getBoundingClientRect().height ?? 0;
  const apart = ["exercises", "try"].map((id) => high(document.querySelector(`section#${id}`)));
  return high(document.querySelector("article.bd-article")) - apart[0] - apart[1];
}"""


def test_the_main_path_of_a_chapter_has_no_more_screens_than_it_may(page, site):
    width, height = lengths.SCREEN
    page.set_viewport_size({"width": width, "height": height})
    found = {}
    for name in CHAPTERS:
        if name[0].isdigit():
            page.goto((site / "book" / f"{name}.html").as_uri())
            page.wait_for_timeout(300)
            found[name] = round(page.evaluate(MAIN_PATH) / height, 1)
    assert len(found) == 15
    assert not {name: n for name, n in found.items() if n > lengths.screens(name)}, found


STREAM = re.compile(r'<div class="output[^"]*stream[^>]*>.*?<pre>(.*?)</pre>', re.S)


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_printed_line_is_cut_beside_the_table_of_contents(name, site):
    page = (site / "book" / f"{name}.html").read_text(encoding="utf-8")
    printed = html.unescape(re.sub("<[^>]+>", "", "\n".join(STREAM.findall(page))))
    assert [line for line in printed.splitlines() if len(line) > lengths.COLUMNS] == []


def markdown(source):
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def code(source, *tags):
    return {"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}}


def test_the_main_path_leaves_out_folds_and_exercises():
    cells = [
        markdown("# Title\n\none two"), code("a = 1"), code("b = 2", "hide-cell"),
        markdown("three\n\n## Going deeper\n\n### More\n\nnot counted"), code("c = 3"),
        markdown("## Exercises\n\nnot counted\n\n## Check yourself\n\nfour"), code("d = 4"),
    ]  # fmt: skip
    kept = lengths.main_path(cells)
    assert [source for kind, source, _ in kept if kind == "code"] == ["a = 1", "d = 4"]
    prose = sum(lengths.words(source) for kind, source, _ in kept if kind == "prose")
    assert prose == len("Title one two three Check yourself four".split())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("two words", 2),
        ("a formula $a + b + c$ here", 4),
        ("$$\na + b\n$$", 1),
        ("see {term}`the class token <class token>` and {result}`train x cell=y`", 6),
        ("a [link](other.ipynb#some-place) – and **bold**", 4),
        ("```python\nnot = 1\n```\nbut this", 2),
        ("````{dropdown} Not this\nnor this\n````\nbut this", 2),
        (":::{admonition} A heading\n:class: note\nand a body\n:::", 5),
    ],
)
def test_words_are_what_is_read(text, count):
    assert lengths.words(text) == count
