"""Loads each built page once in a real browser and keeps what was seen, for many small tests."""

from dataclasses import dataclass, field
from pathlib import Path

import pages
import pytest

SETTINGS = [("light", 1280), ("dark", 1280), ("dark", 390), ("light", 390)]
# Only what is wrong leaves the page: the whole report has megabytes.
AXE = """async (options) => (await axe.run(document, options)).violations.flatMap((v) =>
  v.nodes.map((n) => `${v.id} (${v.impact}): ${n.html.slice(0, 160)}`))"""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]

# Everything the page draws late: fonts, formulas, plotly figures.
SETTLED = """async () => {
  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  await document.fonts.ready;
}"""
DRAWN = """() => [...document.querySelectorAll('figure.vt-plotly, figure.vt-widget')]
  .every((f) => f.dataset.drawn || f.dataset.ready)"""

UNFOLD = "(f) => { for (let e = f; e; e = e.parentElement) if ('open' in e) e.open = true; }"


@dataclass
class Seen:
    """What one load of a page showed."""

    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    overflow: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


PATIENCE = 180_000  # milliseconds: other work may share the machine


def watch(page, base: str) -> Seen:
    """Record what a page asks for and complains about; requests to other hosts are cut off."""
    seen = Seen()
    page.set_default_timeout(PATIENCE)
    page.context.route(
        lambda url: not url.startswith((base, "data:", "blob:")), lambda route: route.abort()
    )
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("pageerror", lambda error: seen.problems.append(f"page error: {error}"))

    def console(message):
        if message.type in ("error", "warning"):
            seen.problems.append(f"console {message.type}: {message.text}")

    def response(answer):
        if answer.status >= 400:
            seen.problems.append(f"HTTP {answer.status}: {answer.url}")
        seen.bytes += int(answer.headers.get("content-length", 0))

    page.on("console", console)
    page.on("response", response)
    return seen


def load(page, url: str) -> None:
    page.goto(url)
    page.evaluate(SETTLED)
    for figure in page.locator("figure.vt-plotly").all():
        figure.evaluate(UNFOLD)
        figure.scroll_into_view_if_needed()  # it is drawn when the reader comes near
    page.wait_for_function(DRAWN)


@pytest.fixture
def page(browser):
    """A fresh page that waits as long as a busy machine needs."""
    fresh = browser.new_page()
    fresh.set_default_timeout(PATIENCE)
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def axe_source() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def over_http(site, site_url, browser, axe_source):
    """name of a page -> what was seen over http, in each setting of theme and width."""
    found = {}

    def visit(name: str) -> Seen:
        if name not in found:
            context = browser.new_context(color_scheme="light", reduced_motion="reduce")
            page = context.new_page()
            seen = watch(page, site_url)
            page.set_viewport_size({"width": 1280, "height": 900})
            load(page, site_url + name)
            page.evaluate(axe_source)
            page.add_style_tag(content="* { transition: none !important }")  # no half-way colours
            for theme, width in SETTINGS:
                page.emulate_media(color_scheme=theme)
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_function(f"document.documentElement.dataset.theme == '{theme}'")
                page.wait_for_timeout(300)  # sizes follow a little later
                if (theme, width) in pages.AXE_SETTINGS:
                    options = {"runOnly": WCAG, "resultTypes": ["violations"], "preload": False}
                    seen.violations[f"{theme} {width}"] = page.evaluate(AXE, options)
                seen.overflow[f"{theme} {width}"] = page.evaluate(
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
            context.close()
            found[name] = seen
        return found[name]

    return visit


@pytest.fixture(scope="session")
def from_file(site, browser):
    """name of a page -> what was seen when it was opened as a file."""
    found = {}

    def visit(name: str) -> Seen:
        if name not in found:
            context = browser.new_context()
            page = context.new_page()
            seen = watch(page, site.as_uri())
            load(page, (site / name).as_uri())
            context.close()
            found[name] = seen
        return found[name]

    return visit


def pytest_generate_tests(metafunc):
    """A test that takes `page_name` runs for every page."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages.PAGES)
