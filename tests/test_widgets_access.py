"""Every widget for everyone: the names a screen reader says, touch, forced colours, the theme."""

import pytest
from test_widgets_saved import MAKERS, Saved

CONTROLS = {
    "button", "checkbox", "combobox", "link", "radio", "searchbox", "slider", "spinbutton",
    "switch", "textbox", "application", "region", "img", "DisclosureTriangle",
}  # fmt: skip


@pytest.fixture(scope="module", params=MAKERS)
def saved(request, browser, tmp_path_factory):
    """Each widget, saved as a file and opened at the width of a desk."""
    saved = Saved(browser, tmp_path_factory.mktemp(request.param), MAKERS[request.param]())
    if request.param == "xray":  # its sliders come with its model
        saved.page.locator(".vt-sample").first.click()
        saved.page.wait_for_selector(".vt-answers td")
    yield saved
    saved.close()


def spoken(page):
    """(role, name) of all that the accessibility tree of a page holds."""
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    value = lambda node, key: node.get(key, {}).get("value", "")  # noqa: E731
    return [(value(n, "role"), value(n, "name")) for n in nodes if not n["ignored"]]


def test_everything_that_can_be_reached_has_a_name(saved):
    told = [(role, name) for role, name in spoken(saved.page) if role in CONTROLS]
    assert len(told) > 1
    assert [role for role, name in told if not name.strip()] == []


def test_a_slider_is_found_by_its_label(saved):
    sliders = saved.page.locator(".vt-live input[type=range]")
    for i in range(sliders.count()):
        label = sliders.nth(i).evaluate("(i) => i.closest('label').firstChild.firstChild.data")
        names = [name for role, name in spoken(saved.page) if role == "slider"]
        if sliders.nth(i).is_visible():
            assert label.strip() in names
            assert sliders.nth(i).evaluate("(i) => i.closest('label').control === i")
