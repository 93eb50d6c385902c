"""The X-ray as a reader meets it, in a page saved as a file: where am I, what went wrong."""

import io
import re

import pytest
from page_tools import drawn
from PIL import Image

from vit_teach.widgets import XRay

STATUS = "[role=status]"
KEEP_WORKERS = """window.workers = [];
window.Worker = class extends Worker {
  constructor(...given) { super(...given); workers.push(this); }
};"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return XRay().save_html(tmp_path_factory.mktemp("xray") / "x.html").as_uri()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.add_init_script(KEEP_WORKERS)
    page.goto(address)
    page.locator(".vt-sample").first.click()
    until(page, "one pass")
    yield page
    page.close()
    assert problems == []


def until(page, text):
    place = f"document.querySelector('{STATUS}').textContent"
    page.wait_for_function(f"(text) => {place}.includes(text)", arg=text)
    return page.locator(STATUS).first.inner_text()


def give(page, label, name, data, kind="image/png"):
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.get_by_label(label, exact=True).set_input_files(file)


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (50, 40), colour).save(file, "PNG")
    return file.getvalue()


def test_the_block_is_named_in_the_choice_and_above_the_view(page):
    page.locator("select").select_option("blocks.4.attn.weights")
    assert (
        page.locator("select option:checked").inner_text() == "Block 5 · Attention: who looks where"
    )
    title = drawn(page).locator(".vt-view").locator("xpath=preceding-sibling::p[1]")
    assert title.inner_text().startswith("Block 5 · ")


def test_a_strip_of_blocks_leads_to_the_same_stage_of_another(page):
    strip = page.get_by_role("group", name="Blocks")
    assert strip.get_by_role("button").count() == 6
    strip.get_by_role("button", name="Block 3").click()  # from outside the blocks: the attention
    assert page.locator("select").input_value() == "blocks.2.attn.weights"
    page.locator("select").select_option("blocks.2.mlp")
    strip.get_by_role("button", name="Block 6").click()
    assert page.locator("select").input_value() == "blocks.5.mlp"
    pressed = strip.get_by_role("button", pressed=True)
    assert pressed.count() == 1 and pressed.get_attribute("aria-label") == "Block 6"


def test_a_row_of_numbers_can_be_chosen_and_is_marked(page):
    page.locator("select").select_option("blocks.0")
    rows = drawn(page).locator(".vt-rows")
    rows.click(position={"x": 50, "y": rows.bounding_box()["height"] * 40.5 / 64})
    assert drawn(page).locator(".vt-rows .vt-ring").get_attribute("y") == "40"
    assert (
        drawn(page).locator(".vt-control", has_text="Token").locator("input").input_value() == "40"
    )
    assert re.match(r"−\d.*\+\d", page.locator(".vt-view .vt-legend").inner_text())


def test_a_worker_that_died_is_replaced(page):
    first = page.locator(".vt-answers td").all_inner_texts()
    page.evaluate("workers.at(-1).onerror()")
    give(page, "Your own picture", "blue.png", png("blue"))
    assert "50 × 40 pixels" in until(page, "blue.png: 50")
    page.locator(".vt-sample").first.click()
    until(page, "drawn aeroplane: 96")
    assert page.evaluate("workers.length") == 2
    assert drawn(page).locator(".vt-answers td").all_inner_texts() == first


def test_a_refused_file_is_named_and_what_stays_is_said(page):
    give(page, "Your own model", "photo.safetensors", png("red"))
    said = until(page, "That did not work")
    assert said == (
        "That did not work: photo.safetensors: this is a PNG picture, no safetensors file. "
        "Below is still drawn aeroplane in cifar-vit-20min."
    )


def test_reading_a_large_picture_is_not_told_as_the_models_time(page):
    file = io.BytesIO()
    Image.effect_noise((3000, 2500), 50).convert("RGB").save(file, "JPEG")
    give(page, "Your own picture", "large.jpg", file.getvalue(), "image/jpeg")
    said = until(page, "large.jpg: 3000")
    found = re.search(r"read and resized in (\d+) ms, one pass (\d+) ms", said)
    assert int(found[1]) > int(found[2])


def test_a_long_run_says_how_far_it_is(page):
    page.evaluate(
        """() => {
          window.told = [];
          const status = document.querySelector("[role=status]");
          new MutationObserver(() => told.push(status.textContent)).observe(status,
            { childList: true, characterData: true, subtree: true });
          let ahead = 0; // a clock that runs a second ahead at every question
          const now = performance.now.bind(performance);
          performance.now = () => now() + 1000 * ahead++;
        }"""
    )
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    assert [t for t in page.evaluate("told") if "block 3 of 6 is done" in t]
