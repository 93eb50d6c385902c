"""Loads each built page once in a real browser and keeps what was seen, for many small tests."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import page_weight
import pages
import pytest
from page_tools import drawn

# 640 pixels are a desk's 1280 at a zoom of 200 %.
SETTINGS = [("light", 1280), ("dark", 1280), ("dark", 390), ("light", 390), ("light", 640)]
# Only what is wrong leaves the page: the whole report has megabytes.
AXE = """async (options) => (await axe.run(document, options)).violations.flatMap((v) =>
  v.nodes.map((n) => `${v.id} (${v.impact}): ${n.html.slice(0, 160)}`))"""
# Everything the page draws late: fonts, widgets, plotly figures when they are asked for.
SETTLED = "async () => { await document.fonts.ready; }"
DRAWN = """() => [...document.querySelectorAll('figure.vt-plotly, figure.vt-widget')]
  .every((f) => f.dataset.drawn || f.dataset.ready)"""

CONTROLS = {
    "button", "checkbox", "combobox", "link", "radio", "searchbox", "slider", "spinbutton",
    "switch", "textbox", "application", "img", "image", "DisclosureTriangle",
}  # fmt: skip
UNFOLD = "(f) => { for (let e = f; e; e = e.parentElement) if ('open' in e) e.open = true; }"


@dataclass
class Seen:
    """What one load of a page showed."""

    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)  # violations with every fold open
    overflow: dict[str, int] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)


PATIENCE = 180_000  # milliseconds: other work may share the machine


def watch(page, base: str) -> Seen:
    """Record what a page asks for and complains about; requests to other hosts are cut off."""
    seen = Seen()
    page.set_default_timeout(PATIENCE)
    page.route(
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

    page.on("console", console)
    page.on("response", response)
    return seen


def load(page, url: str) -> None:
    page.goto(url)
    draw_all(page)


def draw_all(page) -> None:
    """Let the page draw all it has: its figures wait until they are asked for."""
    page.evaluate(SETTLED)
    for button in page.locator("button.vt-explore").all():
        button.evaluate(UNFOLD)
        button.click()
    page.wait_for_function(DRAWN)


def unnamed(page) -> list[str]:
    """The controls of a page for which a screen reader has no name."""
    client = page.context.new_cdp_session(page)
    nodes = client.send("Accessibility.getFullAXTree")["nodes"]
    client.detach()
    value = lambda node, key: str(node.get(key, {}).get("value", ""))  # noqa: E731
    told = [node for node in nodes if not node["ignored"] and value(node, "role") in CONTROLS]
    return [value(node, "role") for node in told if not value(node, "name").strip()]


def weigh(page, seen: Seen, url: str, site: Path, base: str) -> dict[str, float]:
    """Load a page: what it transfers, moves, and computes at a stretch."""
    first, task = timed(page, url)
    paths = [unquote(urlsplit(url).path) for url in seen.requests if url.startswith(base)]
    for _ in range(2):  # other work on the machine may have cut in
        task = task if task <= pages.TASK else min(task, timed(page, url)[1])
    files = [site / path.removeprefix(urlsplit(base).path) for path in paths]
    return {
        "kB": sum(len(page_weight.sent_body(file)) for file in files if file.is_file()) / 1000,
        "requests": len(paths),
        "shift": first["shift"],
        "task": task,
    }


def timed(page, url: str) -> tuple[dict, float]:
    """What one load showed, and its longest task as a multiple of the reference task."""
    page.goto(url)
    page.evaluate(SETTLED)
    page.wait_for_load_state("networkidle")
    found = page.evaluate(page_weight.READ)
    return found, found["longest"] / page.evaluate(page_weight.REFERENCE)


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
            page.add_init_script(page_weight.WATCH)
            seen.weight = weigh(page, seen, site_url + name, site, site_url)
            draw_all(page)
            seen.unnamed = unnamed(page)
            page.evaluate(axe_source)
            page.add_style_tag(content="* { transition: none !important }")  # no half-way colours
            for theme, width in SETTINGS:
                page.emulate_media(color_scheme=theme)
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_function(f"document.documentElement.dataset.theme == '{theme}'")
                drawn(page)  # sizes follow a little later
                rules = pages.axe_rules(name).get((theme, width))
                if rules:
                    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
                    seen.violations[f"{theme} {width}"] = page.evaluate(AXE, options)
                seen.overflow[f"{theme} {width}"] = page.evaluate(
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
            page.set_viewport_size({"width": 390, "height": 900})  # where explorers are added
            page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
            drawn(page)
            options = {"runOnly": pages.AXE_OPENED, "resultTypes": ["violations"], "preload": False}
            seen.opened = page.evaluate(AXE, options)
            context.close()
            found[name] = seen
        return found[name]

    return visit


@pytest.fixture(scope="session")
def from_file(site, browser):
    """name of a page -> what was seen when it was opened as a file."""
    found = {}
    context = browser.new_context()

    def visit(name: str) -> Seen:
        if name not in found:
            page = context.new_page()
            seen = watch(page, site.as_uri())
            load(page, (site / name).as_uri())
            page.close()
            found[name] = seen
        return found[name]

    yield visit
    context.close()


def pytest_generate_tests(metafunc):
    """A test that takes `page_name` runs for every page."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages.PAGES)
