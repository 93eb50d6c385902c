"""Widgets among the styles of others: the site's, JupyterLab's, a finger's and the system's."""

import io
from pathlib import Path

import pytest
from page_tools import drawn
from PIL import Image
from test_widgets_saved import MAKERS, Saved

SITE_STYLE = Path(__file__).resolve().parents[1] / "book" / "_ext" / "static" / "vit.css"
LAB_STYLE = """.jp-RenderedHTMLCommon dt {font-weight: bold; float: left; width: 20%}
.jp-RenderedHTMLCommon dd {float: left; width: 80%}"""  # JupyterLab 4
OVERLAP = """() => [...document.querySelectorAll(".vt-counts div")].some((tile) => {
  const [name, number] = tile.children, edge = tile.getBoundingClientRect();
  return name.getBoundingClientRect().bottom > number.getBoundingClientRect().top + 1
    || number.getBoundingClientRect().width > edge.width;
})"""


@pytest.fixture
def open_widget(browser, tmp_path):
    opened = []

    def make(name):
        opened.append(Saved(browser, tmp_path, MAKERS[name]()))
        return opened[-1].page

    yield make
    for saved in opened:
        saved.close()


@pytest.mark.parametrize("name", ["patch", "shapes"])
def test_jupyterlabs_lists_leave_the_tiles_alone(name, open_widget):
    page = open_widget(name)
    page.evaluate("document.body.className = 'jp-RenderedHTMLCommon'")
    page.add_style_tag(content=LAB_STYLE)
    assert drawn(page).evaluate("getComputedStyle(document.querySelector('dt')).float") == "none"
    assert not page.evaluate(OVERLAP)


def test_the_sites_plate_behind_figures_stays_off_widgets(open_widget):
    page = open_widget("xray")
    page.evaluate("document.querySelector('main').outerHTML += '<div class=cell_output></div>'")
    page.evaluate("document.querySelector('.cell_output').append(document.querySelector('figure'))")
    page.add_style_tag(content=SITE_STYLE.read_text("utf-8"))
    sizes = """(all) => all.map((image) => getComputedStyle(image))
      .map(({ padding, borderWidth }) => [padding, borderWidth])"""
    images = page.locator("figure img")  # the samples, and those that stand in without a script
    assert images.count() >= 6
    assert set(map(tuple, images.evaluate_all(sizes))) == {("0px", "0px")}


def touch(page, x, y, up):
    """One finger goes down at (x, y) and moves up by so many pixels."""
    client = page.context.new_cdp_session(page)
    send = lambda kind, points: client.send(  # noqa: E731
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
    )
    send("touchStart", [{"x": x, "y": y}])
    for step in range(1, 11):
        send("touchMove", [{"x": x, "y": y - up * step / 10}])
        page.wait_for_timeout(20)
    send("touchEnd", [])


@pytest.mark.parametrize("name", [n for n in MAKERS if n != "xray"])
def test_a_finger_on_a_picture_scrolls_the_page(name, browser, tmp_path):
    context = browser.new_context(viewport={"width": 390, "height": 700}, has_touch=True)
    file = MAKERS[name]().save_html(tmp_path / "w.html")
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector(".vt-live")
    page.add_style_tag(content="body { padding-bottom: 1500px }")
    for i in range(page.locator(".vt-live :is(.vt-plane, .vt-stage, .vt-chart)").count()):
        board = page.locator(".vt-live :is(.vt-plane, .vt-stage, .vt-chart)").nth(i)
        if not board.is_visible():
            continue
        board.evaluate("(board) => board.scrollIntoView({ block: 'center' })")
        box = drawn(page).locator(".vt-live :is(.vt-plane, .vt-stage, .vt-chart)").nth(i)
        edges, before = box.bounding_box(), page.evaluate("scrollY")
        touch(page, edges["x"] + edges["width"] - 4, edges["y"] + edges["height"] - 4, 150)
        page.wait_for_timeout(100)
        assert page.evaluate("scrollY") > before + 60, i
    context.close()


def test_a_finger_on_a_point_moves_the_point(browser, tmp_path):
    context = browser.new_context(viewport={"width": 390, "height": 700}, has_touch=True)
    page = context.new_page()
    page.goto(MAKERS["attention"]().save_html(tmp_path / "w.html").as_uri())
    page.wait_for_selector(".vt-live .vt-point")
    point = page.locator(".vt-key").first
    point.evaluate("(point) => point.scrollIntoView({ block: 'center' })")
    said, before = point.get_attribute("aria-label"), page.evaluate("scrollY")
    edges = drawn(page).locator(".vt-key > circle").first.bounding_box()
    touch(page, edges["x"] + edges["width"] / 2, edges["y"] + edges["height"] / 2, 40)
    assert drawn(page).locator(".vt-key").first.get_attribute("aria-label") != said
    assert page.evaluate("scrollY") == before
    context.close()


def picture(part):
    """What a part of the page looks like."""
    part.scroll_into_view_if_needed()
    return Image.open(io.BytesIO(part.screenshot())).convert("RGB")


def colours(page, selector):
    """How many colours a part of the page shows."""
    return len(picture(page.locator(selector).first).getcolors(1 << 20))


@pytest.mark.parametrize("name", ["position", "maps", "attention"])
def test_forced_colours_leave_what_means_a_number(name, open_widget):
    page = open_widget(name)
    page.emulate_media(forced_colors="active")
    if name == "attention":
        assert colours(page, ".vt-steps .vt-dot") > 1
        # Their styles differ even where the system shows them alike.
        weights = page.locator(".vt-whole .vt-weight").all()
        assert len({picture(cell).getpixel((3, 3)) for cell in weights}) > 1
        chosen = "getComputedStyle(document.querySelector('.vt-chosen')).outlineStyle"
        assert page.evaluate(chosen) == "solid"
    else:
        assert colours(page, ".vt-live .vt-legend span") > 20


def test_a_phone_shows_the_image_large_and_the_answers_side_by_side(open_widget):
    page = open_widget("projection")
    page.set_viewport_size({"width": 390, "height": 800})
    edges = "(all) => all.map((box) => [box.offsetTop, box.offsetWidth])"
    boxes = drawn(page).locator(".vt-trio > div").evaluate_all(edges)
    assert boxes[1][0] == boxes[2][0] > boxes[0][0] and boxes[0][1] > 2 * boxes[1][1]


def test_a_table_of_nothing_but_ones_does_not_open(open_widget):
    page = open_widget("position")
    table = page.get_by_role("region", name="Lengths of the rows")
    assert table.count() == 0 and "as they are" in page.locator(".vt-value").first.inner_text()
    page.get_by_role("slider").first.press("ArrowRight")
    assert drawn(page).get_by_role("region", name="Lengths of the rows").count() == 1


def test_a_number_out_of_range_is_answered_and_fields_fit_a_finger(open_widget):
    page = open_widget("attention")
    page.set_viewport_size({"width": 390, "height": 800})
    field = page.locator(".vt-field").first
    heights = "(all) => all.map((one) => one.getBoundingClientRect().height)"
    assert min(drawn(page).locator(".vt-field").evaluate_all(heights)) >= 24
    field.fill("1e9")
    assert "from −100 to 100" in page.locator("[role=status]").first.inner_text()
    for width in (640, 390):  # 1280 pixels at twice the size; a phone
        page.set_viewport_size({"width": width, "height": 800})
        frame = drawn(page).locator(".vt-live").bounding_box()
        last = page.locator(".vt-steps tbody tr:first-child td").last.bounding_box()
        assert last["x"] + last["width"] <= frame["x"] + frame["width"], width
