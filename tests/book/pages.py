"""The pages the book should have, read from its table of contents."""

import re
from html.parser import HTMLParser
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
FILES = [entry["file"] for part in TOC["parts"] for entry in part["chapters"]]
EXERCISES = [name for name in FILES if "/exercises/" in name]
DOCUMENTS = [TOC["root"]] + [name for name in FILES if name not in EXERCISES]
CHAPTERS = [name for name in DOCUMENTS if (ROOT / f"{name}.ipynb").exists()]
# The pages that are looked at in the browser: of the exercises one, for all are made alike.
PAGES = [f"{name}.html" for name in [*DOCUMENTS, EXERCISES[4]]] + ["genindex.html", "search.html"]
ALL_PAGES = {*PAGES, *(f"{name}.html" for name in EXERCISES)}
REDIRECT = "index.html"  # the address of the site itself leads to its first page
# The longest task of a page's load, as a multiple of a calculation that the same page does right
# after: some 13 ms on a laptop's core. With MathJax it was 20 and more.
TASK = 10
# Axe takes seconds on a page of code. Its rule of colours depends on the theme and its rule of what
# scrolls on the width; all others give the same in every setting.
AXE_ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
AXE_OPENED = {"type": "rule", "values": ["landmark-unique", "empty-table-header"]}
AXE_BY_LOOK = {"type": "rule", "values": ["color-contrast", "scrollable-region-focusable"]}
AXE_SETTINGS = [("light", 1280), ("dark", 390)]


def axe_rules(name: str) -> dict[tuple, object]:
    """The rules by which a page is judged, for each setting in which it is.

    Chapters are judged in both looks. Of the other pages, which have the same parts, each is
    judged in one, in turn.
    """
    first = PAGES.index(name) % 2
    rules = {AXE_SETTINGS[first]: AXE_ALL}
    if name.removesuffix(".html") in CHAPTERS:
        rules[AXE_SETTINGS[1 - first]] = AXE_BY_LOOK
    return rules


class Collector(HTMLParser):
    """Collects the links, anchors, images and figures of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors, self.images, self.figures, self.outside = [], set(), [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)
        if tag == "figure" and "vt-plotly" in (values.get("class") or ""):
            self.figures.append(values)
        source = values.get("src") or (values.get("href") if tag == "link" else None) or ""
        if re.match(r"(https?:)?//", source) and values.get("rel") != "canonical":
            self.outside.append(source)


def read(path: Path) -> Collector:
    """The collected parts of one HTML file."""
    collector = Collector()
    collector.feed(path.read_text(encoding="utf-8"))
    return collector
