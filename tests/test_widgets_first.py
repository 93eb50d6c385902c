"""The first seconds with a widget: what to do, where, what is seen then; links that set one."""

import json
import re
from pathlib import Path

import pytest
from page_tools import drawn
from test_widgets_grid import grid
from test_widgets_saved import MAKERS, Saved

from vit_teach import data, widgets
from vit_teach.widgets import GridExplorer, PatchExplorer

ROOT = Path(__file__).resolve().parents[1]
FIRST = {
    "patch": "Point at a patch", "projection": "Point at a patch", "position": "Point at a place",
    "attention": "Drag a key", "shapes": "Open a part", "grid": "Point at a mark or a name",
    "maps": "Point at a patch",
}  # fmt: skip
POINTED = ["patch", "projection", "position", "maps"]
LINK = re.compile(r'<a href="#([^"]+)" data-vt-set="([^"]+)">([^<]+)</a>')


@pytest.fixture
def open_widget(browser, tmp_path):
    opened = []

    def make(widget):
        opened.append(Saved(browser, tmp_path, widget))
        return opened[-1].page

    yield make
    for saved in opened:
        saved.close()


@pytest.mark.parametrize("name", FIRST)
def test_a_widget_opens_with_one_marked_action_and_says_what_is_seen(name, open_widget):
    page = open_widget(MAKERS[name]())
    first = page.locator(".vt-live > :first-child")  # above all else
    assert first.locator("b").inner_text() == FIRST[name]
    assert len(first.inner_text()) > len(FIRST[name]) + 30
    pill = "(b) => getComputedStyle(b).backgroundColor"
    assert first.locator("b").evaluate(pill) != page.locator(".vt-live").evaluate(pill)
    hints = page.locator("[data-first], .vt-drag")
    assert hints.count() == (name in [*POINTED, "attention"])


@pytest.mark.parametrize("name", POINTED)
@pytest.mark.parametrize("by", ["pointer", "keyboard"])
def test_the_hint_goes_at_the_first_touch(name, by, open_widget):
    page = open_widget(MAKERS[name]())
    stage = page.locator(".vt-stage").first
    hint = "(stage) => getComputedStyle(stage, '::after').content"
    assert stage.evaluate(hint) == '"point here"'
    if by == "pointer":
        stage.hover()
    elif name == "position":  # its maps take the keys together
        page.locator(".vt-maps").press("ArrowRight")
    else:
        stage.press("ArrowRight")
    assert drawn(page).locator(".vt-stage").first.evaluate(hint) == "none"


def test_the_point_to_drag_is_marked_until_it_is_moved(open_widget):
    page = open_widget(MAKERS["attention"]())
    mark = page.locator(".vt-key .vt-drag")
    assert mark.is_visible() and mark.text_content() == "drag this"
    page.locator(".vt-key:has(.vt-drag)").press("ArrowUp")
    assert drawn(page).locator(".vt-drag").count() == 0


def test_labels_are_plain_words(open_widget):
    cards = grid(seeds=(0,))
    for card in cards:
        card["config"]["labels"]["learning_rate"] = 0.1
    page = open_widget(GridExplorer(cards))
    assert page.locator("fieldset legend").all_text_contents() == [
        "model",
        "images",
        "learning rate",
    ]
    label = page.locator(".vt-live").get_attribute("aria-label")
    assert label == "Results of the experiment data size"


@pytest.mark.parametrize("by", ["Enter", "click"])
def test_a_link_sets_a_widget(by, open_widget):
    page = open_widget(PatchExplorer({"small": data.photograph(32)}, patch_size=8))
    page.evaluate("""document.querySelector("main").insertAdjacentHTML("beforeend", `<p style=
      "margin-top: 2000px"><a href="#x" data-vt-set="patch_explorer patch_size=4 selected=9">4</a>
      <a href="#y" data-vt-set="no_such patch_size=4">no widget</a></p>`)""")
    link = page.locator("a", has_text="4")
    link.press("Enter") if by == "Enter" else link.click()
    assert drawn(page).locator(".vt-value").first.inner_text() == "4 × 4"
    assert "token 9 of the sequence" in page.locator(".vt-status").inner_text()
    page.wait_for_function(
        "() => document.querySelector('.vt-live').getBoundingClientRect().bottom > 0"
    )
    assert not page.url.endswith("#x")
    page.locator("a", has_text="no widget").press("Enter")  # without a widget it is a link
    assert page.url.endswith("#y")


def links():
    """(chapter, section, module, settings) of each sentence that sets a widget."""
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        text = "\n\n".join(
            "".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"]
        )
        assert text.count("data-vt-set") == len(LINK.findall(text)), path.stem
        for section, setting, _ in LINK.findall(text):
            module, *pairs = setting.split(" ")
            yield path.stem, text, section, module, dict(pair.split("=") for pair in pairs)


LINKS = list(links())


def test_several_chapters_have_such_sentences():
    assert len(LINKS) >= 5 and len({chapter for chapter, *_ in LINKS}) >= 3


@pytest.mark.parametrize("number", range(len(LINKS)))
def test_a_sentence_sets_what_its_chapters_widget_has(number):
    chapter, text, section, module, settings = LINKS[number]
    name = "".join(part.title() for part in module.split("_"))
    assert f"vt.widgets.{name}(" in text, chapter
    traits = getattr(widgets, name).class_traits(sync=True)
    assert set(settings) <= set(traits)
    assert all(type(json.loads(value)) is int for value in settings.values())
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    slugs = [re.sub(r"[^a-z0-9]+", "-", head.lower()).strip("-") for head in headings]
    assert section in slugs
