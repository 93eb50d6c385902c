"""The built site in a real browser: local, quiet, accessible, and every link leads somewhere."""

import functools
import re
from urllib.parse import unquote, urlsplit

import nbformat
import pages
import pytest

MARK = "download-source-button"
UNFOLD = "(f) => { for (let e = f; e; e = e.parentElement) if ('open' in e) e.open = true; }"


@functools.cache
def parsed(path):
    return pages.read(path)


def test_the_site_has_exactly_the_pages_of_the_contents(site):
    built = {str(p.relative_to(site)) for p in site.rglob("*.html") if "_static" not in p.parts}
    found = {name for name in built if not name.startswith("_")}
    assert found == {*pages.ALL_PAGES, pages.REDIRECT}


def test_the_address_of_the_site_leads_to_the_first_page(page, site_url):
    page.goto(site_url)
    page.wait_for_url(site_url + pages.PAGES[0])


def test_every_page_says_first_what_it_may_load(site):
    for name in [*pages.ALL_PAGES, pages.REDIRECT]:
        head = re.split(r"<head\b[^>]*>", (site / name).read_text("utf-8"))[1]
        assert head.strip().startswith('<meta http-equiv="Content-Security-Policy"'), name


def test_no_other_host_is_asked_over_http(page_name, over_http, site_url):
    outside = [url for url in over_http(page_name).requests if outside_of(url, site_url)]
    assert outside == []


def test_no_other_host_is_asked_from_a_file(page_name, from_file, site):
    outside = [url for url in from_file(page_name).requests if outside_of(url, site.as_uri())]
    assert outside == []


def outside_of(url: str, base: str) -> bool:
    return not url.startswith((base, "data:", "blob:"))


def test_no_tag_names_another_host(page_name, site):
    assert parsed(site / page_name).outside == []


def test_the_console_stays_empty(page_name, over_http, from_file):
    assert over_http(page_name).problems == []
    assert from_file(page_name).problems == []


def test_axe_finds_nothing(page_name, over_http):
    violations = over_http(page_name).violations
    rules = pages.axe_rules(page_name)
    assert set(violations) == {f"{theme} {width}" for theme, width in rules}
    assert {setting: found for setting, found in violations.items() if found} == {}


def test_landmarks_have_different_names_and_heads_of_tables_words(page_name, over_http):
    assert over_http(page_name).opened == []


def test_every_control_has_a_name(page_name, over_http):
    assert over_http(page_name).unnamed == []


def test_nothing_is_wider_than_a_phone_or_a_zoomed_desk(page_name, over_http):
    overflow = over_http(page_name).overflow
    assert {setting: pixels for setting, pixels in overflow.items() if pixels > 0} == {}


def test_internal_links_and_anchors_resolve(page_name, site):
    page = site / page_name
    broken = []
    for link in parsed(page).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_file():
            broken.append(link)
        elif parts.fragment and target.suffix == ".html":
            anchors = parsed(target).anchors
            state = parts.fragment.startswith("xray=") and target.name == "xray.html"
            if not state and unquote(parts.fragment) not in anchors:
                broken.append(link)
    assert broken == []


def test_images_say_what_they_show(page_name, site):
    for image in parsed(site / page_name).images:
        alt = (image.get("alt") or "").strip()
        if image.get("role") == "presentation":
            continue
        assert len(alt) >= 4, f"no alt text: {image.get('src')}"
        assert not re.search(r"_images|\.(png|svg|jpe?g)$|^(figure|image|plot)\W?\d*$", alt, re.I)


def test_plotly_figures_say_what_they_show(page_name, site):
    for figure in parsed(site / page_name).figures:
        assert len(figure["aria-label"].strip()) >= 20


def test_plotly_is_loaded_only_where_a_figure_needs_it(page_name, over_http, site):
    loaded = any("plotly.min.js" in url for url in over_http(page_name).requests)
    assert loaded == bool(parsed(site / page_name).figures)


def test_plotly_waits_until_a_figure_is_asked_for(page, site, site_url):
    name = next(name for name in pages.PAGES if parsed(site / name).figures)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site_url + name)
    button = page.locator("button.vt-explore").first
    button.evaluate(UNFOLD)
    button.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    assert not any("plotly" in url and "vt-plotly" not in url for url in asked)
    page.keyboard.press("Tab")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.vt-plotly').dataset.drawn")
    assert page.locator(".vt-plotly .js-plotly-plot").count() == 1
    assert page.locator(".vt-plotly :is(.vt-still, .vt-explore)").count() == 0
    assert page.evaluate("document.activeElement.className") == "vt-plotly"  # not lost


# [the boxes of some parts of a figure, those of others that may not touch them]
PARTS = """(figure) => [[".ytitle", ".ytick text"], [".xtitle", ".legend"]]
  .map((pair) => pair.map((part) => [...figure.querySelectorAll(part)]
    .map((node) => node.getBoundingClientRect()).filter((box) => box.width)
    .map(({ left, right, top, bottom }) => [left, right, top, bottom])))"""


def touch(one, other):
    """Whether two boxes (left, right, top, bottom) have a pixel in common."""
    return (max(one[0], other[0]) < min(one[1], other[1])
            and max(one[2], other[2]) < min(one[3], other[3]))  # fmt: skip


def test_the_parts_of_a_figure_do_not_lie_on_each_other_on_a_phone(page, site):
    page.set_viewport_size({"width": 390, "height": 844})
    titles = 0
    for name in [name for name in pages.PAGES if parsed(site / name).figures]:
        page.goto((site / name).as_uri())
        for button in page.locator("button.vt-explore").all():
            button.evaluate(UNFOLD)
            button.click()
        drawn = "() => [...document.querySelectorAll('.vt-plotly')].every((f) => f.dataset.drawn)"
        page.wait_for_function(drawn)
        for figure in page.locator(".vt-plotly").all():
            assert figure.locator(".modebar-btn").count() == 0  # they would lie on the plot
            for boxes, others in figure.evaluate(PARTS):
                titles += len(boxes)
                assert not any(touch(one, other) for one in boxes for other in others), name
    assert titles > 2


def test_a_figure_that_does_not_load_can_be_tried_again(page, site, site_url):
    name = next(name for name in pages.PAGES if parsed(site / name).figures)
    page.route("**/plotly.min.js*", lambda route: route.abort())
    page.goto(site_url + name)
    button = page.locator("button.vt-explore").first
    button.evaluate(UNFOLD)
    button.click()
    page.wait_for_selector("text=Try again")
    assert page.locator(".vt-still").first.is_visible()
    page.unroute("**/plotly.min.js*")
    button.click()
    page.wait_for_function("() => document.querySelector('.vt-plotly').dataset.drawn")


def test_no_page_loads_an_icon_font_or_an_index_it_does_not_search(page_name, over_http):
    asked = over_http(page_name).requests
    fonts = ("fontawesome", "fa-solid", "fa-brands")
    assert not any(word in url for url in asked for word in fonts)
    assert any("searchindex.js" in url for url in asked) == (page_name == "search.html")


def test_every_icon_of_a_page_is_drawn(page_name, site):
    icons = (pages.ROOT / "book/_ext/static/icons.css").read_text("utf-8")
    text = (site / page_name).read_text("utf-8")
    names = re.findall(r'class="[^"]*\bfa[bsr]?(?:-solid|-brands)? (fa-[a-z-]+)', text)
    assert {name for name in names if f".{name} {{" not in icons} == set()


def test_pictures_have_a_size_and_wait(page_name, site):
    images = parsed(site / page_name).images
    assert [i["src"][:80] for i in images if not (i.get("width") and i.get("height"))] == []
    images = [i for i in images if "_images/" in i["src"]]
    assert all(image.get("loading") == "lazy" for image in images[1:])


def test_a_link_to_a_page_says_what_it_is(page_name, site):
    text = (site / page_name).read_text("utf-8")
    assert text.count('property="og:title"') == text.count('property="og:image"') == 1
    assert re.search('property="og:title" content="[^"]+"', text)
    title = re.search("<title>(.*?)</title>", text, re.S).group(1)
    first, *rest = re.split(" (?:&#8212;|—) ", title.strip())
    assert first not in rest
    if page_name.startswith("book/"):
        assert len(re.search('name="description" content="([^"]*)"', text).group(1)) >= 40


def test_search_from_a_file_is_quiet(page, site):
    problems = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto((site / "search.html").as_uri() + "?q=patch")
    page.wait_for_selector("#search-results li a")
    page.wait_for_timeout(500)
    assert problems == []


def test_paper_opens_every_fold_and_closes_it_again(page, site_url):
    page.goto(site_url + "book/appendix/widgets.html")
    page.evaluate(
        "document.querySelector('article').insertAdjacentHTML('beforeend',"
        " '<details class=sd-dropdown><summary>Hint</summary>text</details>')"
    )
    shut = "document.querySelectorAll('details:not([open])').length"
    before = page.evaluate(shut)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert before > 0 and page.evaluate(shut) == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(shut) == before


def test_formulas_are_no_stops_and_copy_buttons_are_one(page, site_url):
    page.goto(site_url + "book/06_encoder.html")
    page.wait_for_load_state("load")
    inline = "[...document.querySelectorAll('span.math, span.math *')]"
    assert page.evaluate(f"{inline}.length > 3 && {inline}.every((m) => m.tabIndex < 0)")
    buttons = page.locator("button.copybtn")
    stops = "(all) => all.map((button) => button.tabIndex)"
    before = buttons.evaluate_all(stops)
    assert before.count(0) == 1
    buttons.nth(before.index(0)).focus()
    page.keyboard.press("ArrowDown")
    moved = buttons.evaluate_all(stops)  # to the next that is seen: some are in closed folds
    assert moved.count(0) == 1 and moved.index(0) > before.index(0)
    assert page.evaluate("document.activeElement.classList.contains('copybtn')")


def test_the_focus_is_seen_on_every_button_of_the_header(page, site_url):
    page.goto(site_url + "book/06_encoder.html")
    page.keyboard.press("Tab")
    for button in page.locator(".bd-header-article button:visible").all():
        button.focus()
        assert button.evaluate("(b) => getComputedStyle(b).outlineStyle") == "solid"


def test_colours_of_the_system_leave_icons_and_the_focus(page, site_url):
    page.emulate_media(forced_colors="active")
    page.goto(site_url + "book/06_encoder.html")
    page.keyboard.press("Tab")
    canvas = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for button in page.locator(".bd-header-article button:visible").all():
        button.focus()
        ring = button.evaluate("(b) => [getComputedStyle(b).outlineStyle, b.querySelector('i')"
                               " && getComputedStyle(b.querySelector('i'), '::before')"
                               ".backgroundColor]")  # fmt: skip
        assert ring[0] == "solid" and ring[1] != canvas


def test_nothing_moves_for_those_who_asked_for_stillness(page, site_url):
    page.emulate_media(reduced_motion="reduce")
    page.goto(site_url + "book/06_encoder.html")
    page.wait_for_load_state("load")
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter((e) => ['transitionDuration',"
        " 'animationDuration'].some((part) => parseFloat(getComputedStyle(e)[part]) > 0.001))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert moving == []
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


@pytest.mark.parametrize("name", ["06_encoder", "appendix/notation", "appendix/reproduce"])
def test_paper_cuts_no_table(name, page, site_url):
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 with Chromium's own margins
    page.goto(site_url + f"book/{name}.html")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    cut = page.evaluate(
        "[...document.querySelectorAll('article table')].filter((t) => t.checkVisibility()"
        " && t.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map((t) => t.textContent.slice(0, 60))"
    )
    assert cut == []


def test_search_finds_the_class_token(page, site_url):
    page.goto(site_url + "search.html?q=class+token")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("links => links.map(a => a.href)")
    assert any("glossary" in link or "04_positions" in link for link in found)


@pytest.mark.parametrize("name", pages.CHAPTERS)
def test_the_download_button_gives_the_chapter(name, site):
    page = site / f"{name}.html"
    html = page.read_text(encoding="utf-8")
    tag = re.search(rf"<a [^>]*{MARK}[^>]*>", html).group()
    file = (page.parent / re.search(r'href="([^"]+)"', tag).group(1)).resolve()
    downloaded = nbformat.read(file, as_version=4)
    nbformat.validate(downloaded)
    assert file.suffix == ".ipynb"
    source = nbformat.read(pages.ROOT / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in downloaded.cells if cell.get("id") != "set-up"]
    # The build runs these same cells, and a failing one fails the build.
    assert [c.source for c in cells] == [c.source for c in source.cells]


@pytest.mark.skipif(not pages.CHAPTERS, reason="the book has no chapters yet")
def test_a_downloaded_chapter_runs_elsewhere(site, tmp_path):
    from nbclient import NotebookClient

    files = [site / "_sources" / f"{name}.ipynb" for name in pages.CHAPTERS]
    shortest = min(files, key=lambda file: file.stat().st_size)
    notebook = nbformat.read(shortest, as_version=4)
    NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_the_theme_of_a_figure_follows_the_page(site, page):
    with_figure = [name for name in pages.PAGES if parsed(site / name).figures]
    if not with_figure:
        pytest.skip("no page has a plotly figure")
    page.emulate_media(color_scheme="light")
    page.goto((site / with_figure[0]).as_uri())
    button = page.locator("button.vt-explore").first
    button.evaluate(UNFOLD)
    button.click()
    colour = "() => document.querySelector('.vt-plotly .js-plotly-plot')?._fullLayout.font.color"
    page.wait_for_function("() => document.querySelector('.vt-plotly')?.dataset.drawn")
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(before) => ({colour})() !== before", arg=light)
