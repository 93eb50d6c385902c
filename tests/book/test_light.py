"""Every page stays light: what it transfers, how often it asks, what moves and what holds it up."""

import doctest
import re
import sys
from types import SimpleNamespace

import page_weight
import pages
import pytest
from PIL import Image

sys.path.insert(0, str(pages.ROOT / "book" / "_ext"))

import vit_book
import vit_figure
import vit_math
import vit_page
import vit_style
from math_core import LatexError

# For one load over http with gzip, before the reader asks for a figure or scrolls.
KB, REQUESTS, SHIFT = 350, 40, 0.02
FORMULAS = re.compile(r"<math[ >].*?</math>", re.DOTALL)


def test_a_page_transfers_little(page_name, over_http):
    weight = over_http(page_name).weight
    assert weight["kB"] <= KB
    assert weight["requests"] <= REQUESTS


def test_nothing_jumps_while_a_page_loads(page_name, over_http, browser, site_url):
    """On a busy machine the font of formulas may come after the first paint: one of three loads."""
    shift = over_http(page_name).weight["shift"]
    for _ in range(2):
        if shift > SHIFT:
            shift = min(shift, page_weight.weigh(browser, site_url + page_name)[-1])
    assert shift <= SHIFT


def test_no_task_holds_a_page_up(page_name, over_http):
    assert over_http(page_name).weight["task"] <= pages.TASK


@pytest.mark.parametrize("module", [vit_math, vit_page, vit_style])
def test_the_examples_of_the_extension_are_right(module):
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0 and found.failed == 0


def formulas(site):
    """The MathML of all formulas on all pages."""
    for name in sorted(pages.ALL_PAGES):
        for formula in FORMULAS.findall((site / name).read_text("utf-8")):
            yield name, formula


def test_every_formula_is_mathml_and_well_formed(site):
    from xml.etree import ElementTree

    seen = 0
    for name, formula in formulas(site):
        tree = ElementTree.fromstring(
            formula.replace("&ApplyFunction;", "\N{FUNCTION APPLICATION}")
        )
        said = "".join(tree.itertext())
        assert "\\" not in said and "$" not in said, (name, said)
        assert said.strip() and not list(tree.iter("merror")), (name, formula)
        seen += 1
    assert seen > 600
    for name in pages.ALL_PAGES:
        text = (site / name).read_text("utf-8")
        assert not re.search("<script[^>]*(mathjax|tex-chtml)", text, re.IGNORECASE)
        assert ("vt-math.css" in text) == ("<math" in text)


def test_no_formula_of_the_sources_stays_as_it_was_typed(site):
    typed = re.compile(r"\\\(|\\\[|\$[^$<]{1,80}\\[a-z]+[^$<]*\$")
    code = re.compile(r"<(script|pre|code|style)\b.*?</\1>", re.DOTALL)
    for name in pages.ALL_PAGES:
        text = code.sub("", (site / name).read_text("utf-8"))
        assert typed.findall(text) == [], name


# What a converter may get wrong, with the MathML that is right.
RIGHT = {
    r"\frac{a}{b}": "<mfrac><mi>a</mi><mi>b</mi></mfrac>",
    r"\sqrt{h}": "<msqrt><mi>h</mi></msqrt>",
    r"z'_\ell": "<msubsup><mi>z</mi><mi>ℓ</mi><mo>′</mo></msubsup>",
    r"\mathbb{R}^D": "<msup><mi>ℝ</mi><mi>D</mi></msup>",
    r"\text{size} \le n": "<mtext>size</mtext><mo>≤</mo><mi>n</mi>",
    r"a < b": "<mi>a</mi><mo>&lt;</mo><mi>b</mi>",
}


@pytest.mark.parametrize("formula", RIGHT)
def test_a_formula_is_written_right(formula):
    assert RIGHT[formula] in vit_math.mathml(formula)


def test_a_formula_that_cannot_be_read_is_an_error():
    with pytest.raises(LatexError):
        vit_math.mathml(r"\frac{a}{b")


def test_formulas_are_drawn_in_their_own_letters(page, site_url, site):
    used = {letter for _, formula in formulas(site) for letter in re.sub("<[^>]*>", "", formula)}
    page.goto(site_url + "book/05_attention.html")
    page.evaluate("document.fonts.ready")
    loaded = "[...document.fonts].filter((f) => f.status === 'loaded').map((f) => f.family)"
    assert page.evaluate(loaded) == ["vt-math"]
    # A letter that the font lacks has the width that it has in the font after it.
    missing = """(letters) => {
      const pen = document.createElement("canvas").getContext("2d");
      const width = (font, letter) => ((pen.font = `40px ${font}`), pen.measureText(letter).width);
      return letters.filter((l) => width("vt-math, monospace", l) === width("monospace", l)
        && width("vt-math, serif", l) === width("serif", l));
    }"""
    assert page.evaluate(missing, sorted(used - set(" \u2061\n"))) == []


def test_a_formula_is_as_high_as_its_line_and_keeps_its_comma(page, site_url):
    page.goto(site_url + "book/05_attention.html")
    page.wait_for_load_state("load")
    parted = """[...document.querySelectorAll(".vt-together")].filter((box) => {
      const rows = new Set([...box.getClientRects()].map((r) => Math.round(r.bottom / 12)));
      return rows.size > 2; }).length"""
    assert page.locator(".vt-together").count() > 10 and page.evaluate(parted) == 0
    centred = page.locator("div.math").first.evaluate(
        "(box) => { const [a, b] = [box, box.firstElementChild].map((e) =>"
        " e.getBoundingClientRect()); return Math.abs((a.left + a.right) - (b.left + b.right)); }"
    )
    assert centred < 4


def test_no_formula_is_cut_on_a_phone(page, site_url):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(site_url + "book/05_attention.html")
    page.evaluate(
        "document.querySelectorAll('article details').forEach((fold) => (fold.open = true))"
    )
    cut = """[...document.querySelectorAll("article .math")].filter((box) => {
      const style = getComputedStyle(box);
      return style.display !== "inline" && style.overflowX !== "auto"
        && box.scrollWidth > box.clientWidth + 1; }).length"""
    assert page.evaluate(cut) == 0
    assert page.locator("span.math.vt-long").count() > 0
    right = "(all) => Math.max(...all.map((box) => box.getBoundingClientRect().right))"
    assert page.locator("article span.math").evaluate_all(right) <= 390
    left = page.locator("div.math > math").evaluate_all(
        "(all) => all.map((m) => m.getBoundingClientRect().left"
        " - m.parentElement.getBoundingClientRect().left)"
    )
    assert min(left) > -2  # a formula that scrolls begins where its line does


def test_pictures_are_webp_where_that_is_smaller(site, tmp_path):
    named = set()
    for name in pages.ALL_PAGES:
        named |= set(re.findall(r'_images/([^"?]+)"', (site / name).read_text("utf-8")))
    assert sum(name.endswith(".webp") for name in named) > 60
    for name in named:
        assert (site / "_images" / name).is_file()
        if name.endswith(".png"):
            webp = site / "_images" / f"{name[:-4]}.webp"
            assert webp.stat().st_size >= (site / "_images" / name).stat().st_size
    source, target = tmp_path / "a.png", tmp_path / "a.webp"
    Image.linear_gradient("L").convert("RGBA").save(source)
    assert vit_page.write_webp(source, target) == target
    with Image.open(target) as one, Image.open(source) as other:
        assert one.convert("RGB").tobytes() == other.convert("RGB").tobytes()


def test_the_theme_s_sheet_has_the_rules_that_pages_use_and_few_others(site, page, site_url):
    sheet = (site / "_static" / "styles" / "pydata-sphinx-theme.css").read_text("utf-8")
    assert len(sheet) < 150_000 and "@font-face" not in sheet and ".fa-0" not in sheet
    for used in (".bd-sidebar-primary", ".toctree-l1", ".admonition", ".dropdown-menu.show"):
        assert used in sheet
    assert sheet.count("{") == sheet.count("}")


def test_scripts_wait_and_none_comes_that_has_nothing_to_do(page_name, site):
    text = (site / page_name).read_text("utf-8")
    head = text.partition("</head>")[0]
    early = re.findall(r'<script(?![^>]*\bdefer)[^>]*\bsrc="([^"?]*)', head)
    if page_name != "search.html":
        assert [name for name in early if "documentation_options" not in name] == []
    gone = ("togglebutton.js", "sphinx-thebe", "styles/theme.css")
    assert not any(name in text for name in gone)
    assert ("copybutton.js" in head) == ('class="highlight' in text)


FIGURE = {
    "data": [{"type": "bar", "orientation": "h", "x": [1, 2], "y": ["a", "b"], "name": "one"}],
    "layout": {"meta": {"alt": "Two bars"}, "barmode": "stack",
               "updatemenus": [{"buttons": [{"label": "this"}, {"label": "that & those"}]}]},
}  # fmt: skip


def test_a_figure_opens_as_a_picture_with_a_button():
    from vit_teach.plots.page_figure import figure_html

    page = vit_figure.with_stills(figure_html(FIGURE))
    assert page.count("<img") == page.count("<button") == 1 and "<noscript>" not in page
    assert "this, that &amp; those, exact values</button>" in page
    assert page == vit_figure.with_stills(figure_html(FIGURE))  # the same for the same figure


def test_bars_of_a_picture_stand_where_plotly_puts_them():
    import matplotlib.pyplot as plt

    more = {**FIGURE["data"][0], "x": [3, 4], "name": "two"}
    hidden = {**more, "visible": False}
    drawing = vit_figure.draw([*FIGURE["data"], more, hidden], FIGURE["layout"])
    bars = [(bar.get_x(), bar.get_width()) for bar in drawing.axes[0].patches]
    plt.close(drawing)
    assert bars == [(0, 1), (0, 2), (1, 3), (2, 4)]
    with pytest.raises(ValueError, match="pie"):
        vit_figure.draw([{"type": "pie"}], {})


def test_a_link_of_a_published_site_names_its_address_in_full(monkeypatch):
    def tags() -> str:
        context = {"title": "A page", "docstitle": "Book", "pathto": lambda name, _: f"../{name}"}
        vit_book.add_share_tags(SimpleNamespace(), "book/05_attention", context, None)
        return context["metatags"]

    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert 'content="../_static/vt/share.png"' in tags() and "http" not in tags()
    monkeypatch.setenv("GITHUB_REPOSITORY", "Owner/book")
    assert 'content="https://owner.github.io/book/_static/vt/share.png"' in tags()
    address = "https://owner.github.io/book/book/05_attention.html"
    assert f'property="og:url" content="{address}"' in tags()


@pytest.mark.parametrize(
    "title, shown, suffix",
    [("Book", "Book", ""), ("<em>A</em> page", "A page", "Book"), ("", "Book", "Book")],
)
def test_a_title_names_the_book_once(title, shown, suffix):
    context = {"title": title, "docstitle": "Book", "pathto": lambda name, _: name}
    vit_book.add_share_tags(SimpleNamespace(), "book/index", context, None)
    assert f'property="og:title" content="{shown}"' in context["metatags"]
    assert context["docstitle"] == suffix


def test_the_theme_is_settled_before_a_page_is_seen(page, site_url):
    page.emulate_media(color_scheme="dark")
    page.route("**/pydata-sphinx-theme.js*", lambda route: route.abort())
    page.goto(site_url + "book/05_attention.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
