"""AttentionExplorer on the built page: every control clicked and typed, all numbers PyTorch's."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from page_tools import STICK_OUT
from PIL import Image
from test_widgets_site import LOOK, SETTINGS, TOO_WIDE, WCAG, Visit

from vit_teach import probe
from vit_teach.widgets import AttentionExplorer
from vit_teach.widgets.attention_explorer import colours, restore

PAGE = "14_attention_maps"
READ = """(all) => all.map(({ width, height }, n) => {
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(all[n], 0, 0);
  return [height, width, [...pen.getImageData(0, 0, width, height).data]];
})"""


@pytest.fixture(scope="module")
def shared(browser, site_url):
    """The page with its widget ready; in the end nothing went wrong on it."""
    found = Visit(browser, site_url, PAGE).ready()
    yield found
    found.context.close()
    outside = [u for u in found.requests if not u.startswith((site_url, "data:", "blob:"))]
    assert outside == [] and found.problems == []


@pytest.fixture
def visit(shared):
    """The widget as it starts: block 1, head 1, one head, the patch that is pointed at."""
    slide(shared, 1)
    shared.widget.locator(".vt-small button").first.click()
    shared.press(".vt-stage[tabindex]", "Home")
    shared.widget.get_by_label("one colour scale").uncheck()
    return shared


@pytest.fixture(scope="module")
def twin(shared):
    """The same explorer in Python, from the state in the page."""
    state = shared.widget.locator("script").evaluate("(s) => JSON.parse(s.textContent)")

    def numbers(name, kind):
        return torch.from_numpy(np.frombuffer(base64.b64decode(state[name]["base64"]), kind).copy())

    blocks, heads, tokens = state["shape"]
    steps = numbers("weights", np.uint8).view(blocks, heads, tokens, tokens)
    weights = restore(steps, numbers("scales", np.float32).view(blocks, heads, tokens))
    file = io.BytesIO(base64.b64decode(state["picture_source"].split(",")[1]))
    picture = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return AttentionExplorer(weights, picture, tuple(state["patch"]), query=0)


def slide(visit, block):
    visit.widget.locator("input[type=range]").fill(str(block))


def put(twin, **values):
    """Set the Python twin; what is not given is as the widget starts."""
    start = {"block": 0, "head": 0, "query": 0, "asks": "patch", "view": "head", "common": False}
    for name, value in {**start, **values}.items():
        setattr(twin, name, value)


def pixels(visit, selector):
    visit.text(".vt-status")
    found = visit.widget.locator(selector).evaluate_all(READ)
    return [torch.tensor(d).view(height, width, 4)[..., :3] for height, width, d in found]


def check(visit, twin, **values):
    """The large map is the twin's, and so are the two numbers of the status line."""
    put(twin, **values)
    expected = twin.shown_map()
    (found,) = pixels(visit, ".vt-still canvas")
    assert (found - torch.from_numpy(colours(expected)).int()).abs().max() <= 1
    status = visit.text(".vt-status")
    most = f"{100 * expected.max():.1f} %"
    assert f"({most};" in status and most in visit.text(".vt-legend")
    row, column = divmod(expected.argmax().item(), twin.grid[1])
    assert f"looks most at row {row}, column {column}" in status
    return status


def point(visit, row, column, grid=(8, 8), press=False):
    box = visit.widget.locator(".vt-stage[tabindex]").bounding_box()
    at = (box["x"] + box["width"] * (column + 0.5) / grid[1],
          box["y"] + box["height"] * (row + 0.5) / grid[0])  # fmt: skip
    (visit.page.mouse.click if press else visit.page.mouse.move)(*at)
    said = "([text]) => document.querySelector('.vt-widget .vt-status').textContent.includes(text)"
    visit.page.wait_for_function(said, arg=[f"The patch in row {row}, column {column} looks"])


def test_the_picture_and_the_distances_are_those_of_the_state(visit, twin):
    (found,) = pixels(visit, ".vt-stage[tabindex] canvas")
    assert np.array_equal(found.numpy(), twin._pixels)
    cells = visit.numbers(".vt-table td[data-value]").view(twin.shape[0], twin.shape[1])
    assert (cells - twin.distances()).abs().max() < 1e-3
    assert f"{twin.uniform():.2f}" in visit.widget.locator("caption").text_content()


def test_pointing_at_a_patch_asks_it(visit, twin):
    for number, (row, column) in enumerate([(2, 5), (7, 7), (4, 0)]):
        point(visit, row, column, press=number == 1)
        status = check(visit, twin, query=8 * row + column)
        far = probe.query_distances(twin.shown_weights()[0, 0], (8, 8), 4)
        said = float(re.search(r"on average ([\d.]+) px", status)[1])
        assert abs(said - far[8 * row + column].item()) < 0.06
        ring = visit.widget.locator(".vt-still rect.vt-ring")
        assert [ring.get_attribute(a) for a in "yx"] == [str(row), str(column)]


def test_patches_by_keyboard_also_when_keys_come_faster_than_frames(visit, twin):
    keys = ("Home", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp", "ArrowLeft")
    visit.press(".vt-stage[tabindex]", *keys)
    check(visit, twin, query=1)
    visit.press(".vt-stage[tabindex]", "End", "ArrowDown", "ArrowRight")
    check(visit, twin, query=63)
    visit.widget.locator(".vt-stage[tabindex]").evaluate("""(node) => {
      for (const key of "Home ArrowDown ArrowDown ArrowRight ArrowRight ArrowRight".split(" "))
        node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    }""")
    check(visit, twin, query=19)


def test_every_block_and_head(visit, twin):
    blocks, heads, _ = twin.shape
    for block in range(blocks):
        head = block % heads
        slide(visit, block + 1)
        visit.widget.locator(".vt-small button").nth(head).click()
        assert f"Block {block + 1}, head {head + 1}." in check(visit, twin, block=block, head=head)
        labels = visit.widget.locator(".vt-small button").all_inner_texts()
        assert [float(re.findall(r"([\d.]+) px", text)[0]) for text in labels] == [
            pytest.approx(far, abs=0.06) for far in twin.distances()[block].tolist()
        ]
        small = pixels(visit, ".vt-small canvas")
        for number, found in enumerate(small):
            put(twin, block=block, head=number)
            assert (found - torch.from_numpy(colours(twin.shown_map())).int()).abs().max() <= 1


def test_a_small_map_or_a_dot_chooses_its_head(visit, twin):
    visit.widget.locator(".vt-small canvas").nth(2).click()
    check(visit, twin, head=2)
    dot = visit.widget.locator(".vt-dots circle").nth(3 * twin.shape[1] + 1)
    dot.click()
    check(visit, twin, block=3, head=1)
    assert visit.text(".vt-value") == "4 of 6" and dot.get_attribute("class") == "vt-here"


def test_the_mean_of_all_patches(visit, twin):
    visit.widget.get_by_label("Who looks").select_option(label="the mean of all patches")
    assert check(visit, twin, asks="mean").startswith("Block 1, head 1. The mean of all patches")
    assert visit.widget.locator(".vt-still rect.vt-ring").get_attribute("visibility") == "hidden"
    visit.press(".vt-stage[tabindex]", "ArrowRight")  # pointing asks a patch again
    check(visit, twin, query=1)


def test_rollout_up_to_each_block(visit, twin):
    visit.widget.get_by_label("Show").select_option(label="rollout up to this block")
    visit.press(".vt-stage[tabindex]", "ArrowDown")
    for block in (0, 2, 5):
        slide(visit, block + 1)
        check(visit, twin, block=block, view="rollout", query=8)
    visit.widget.get_by_label("Who looks").select_option(label="the mean of all patches")
    check(visit, twin, block=5, view="rollout", asks="mean")


def test_one_colour_scale_for_all_heads(visit, twin):
    visit.widget.get_by_label("one colour scale").check()
    put(twin)
    row = twin.shown_weights()[0, :, 0]  # (H, T), the first patch asks
    small = pixels(visit, ".vt-small canvas")
    for found, line in zip(small, row, strict=True):
        both = torch.cat([line, row.max()[None]])[None]  # the last number sets the scale
        expected = torch.from_numpy(colours(both)[0, :-1]).int()
        assert (found.view(-1, 3) - expected).abs().max() <= 1
    assert f"{100 * row.max():.1f} %" in visit.text(".vt-legend")


# --- The page ----------


def test_every_setting_fits_and_reads_well(visit, axe_source):
    page = visit.page
    page.evaluate(axe_source)
    page.add_style_tag(content="* { transition: none !important }")
    visit.widget.locator("details").evaluate("(node) => { node.open = true }")
    for theme, width in SETTINGS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(f"document.documentElement.dataset.theme == '{theme}'")
        page.wait_for_timeout(300)
        assert max(visit.widget.evaluate(TOO_WIDE)) <= 0, (theme, width)
        assert page.evaluate(STICK_OUT) == [], (theme, width)
        options = {"runOnly": WCAG, "preload": False}
        found = page.evaluate("(options) => axe.run('.vt-live', options)", options)
        assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == [], theme
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_every_control_has_a_visible_focus_and_keeps_its_keys(visit):
    controls = visit.widget.locator(".vt-live :is(button, select, input, summary, [tabindex='0'])")
    visit.page.keyboard.press("Tab")  # focus is shown to those who use the keyboard
    visit.page.evaluate("window.heard = 0; addEventListener('keydown', () => window.heard++)")
    for n in range(controls.count()):
        if not controls.nth(n).is_visible():
            continue
        controls.nth(n).evaluate("(node) => node.blur()")
        before = controls.nth(n).evaluate(LOOK)
        controls.nth(n).focus()
        assert controls.nth(n).evaluate(LOOK) != before
        controls.nth(n).press("ArrowRight")
    assert visit.page.evaluate("window.heard") == 0


def test_it_answers_at_once(visit):
    """The best of five: other work may share the machine."""
    measure = """(node, key) => new Promise((done) => {
      const start = performance.now();
      node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      requestAnimationFrame(() => {
        node.getBoundingClientRect();
        done(performance.now() - start);
      });
    })"""
    stage = visit.widget.locator(".vt-stage[tabindex]")
    assert min(stage.evaluate(measure, key) for key in ["End", "Home"] * 3) < 50


def test_print_shows_the_description(visit):
    visit.page.emulate_media(media="print")
    assert visit.widget.locator(".vt-fallback").is_visible()
    assert not visit.widget.locator(".vt-live").is_visible()
    visit.page.emulate_media(media="screen")


def test_without_scripts_there_is_a_description_and_a_picture(browser, site_url):
    visit = Visit(browser, site_url, PAGE, java_script_enabled=False)
    assert "everywhere alike gives 16.55" in visit.widget.locator(".vt-fallback p").inner_text()
    assert visit.widget.locator(".vt-fallback img").first.is_visible()
    visit.context.close()


def test_from_a_file_too(browser, site):
    visit = Visit(browser, site.as_uri() + "/", PAGE).ready()
    before = visit.text(".vt-status")
    slide(visit, 6)
    assert visit.text(".vt-status") != before
    assert visit.problems == []
    visit.context.close()
