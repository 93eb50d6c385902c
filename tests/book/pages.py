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
# Axe takes long on a page of code. Its colour rules depend on the theme, its layout rules on the
# width: two settings hold each of both.
AXE_SETTINGS = [("light", 1280), ("dark", 390)]


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
