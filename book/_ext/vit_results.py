"""Roles that put recorded numbers into the prose: {result}, {gap} and {coverage}.

A role whose cards are missing is a warning, and a warning fails the build. In a table the seeds
behind its numbers are said once, below it.
"""

import re

from docutils import nodes
from sphinx.util import logging

LOG = logging.getLogger(__name__)
# How a number ends that says what stands behind it (vit_teach.results.percent).
BEHIND = re.compile(r"\s\((?:one run, seed\s(?P<seed>\d+)|(?P<seeds>\d+) seeds)\)$")


def _say(kind: str, text: str) -> str:
    from vit_teach.experiments import find
    from vit_teach.site import numbers

    if kind == "result":
        return numbers.quote(text)
    return numbers.gap(text) if kind == "gap" else numbers.coverage(find(text))


def make_role(kind: str):
    """A role that replaces its text with the recorded number that the text names."""

    def role(name, rawtext, text, lineno, inliner, options=None, content=None):
        try:
            said = _say(kind, text)
        except (ValueError, FileNotFoundError) as error:
            place = (inliner.document.current_source, lineno)
            LOG.warning("%s: %s", rawtext, error, location=place)
            said = rawtext
        for pair in (" %", "seed "):  # no line break there in a narrow table
            said = said.replace(pair, pair.replace(" ", "\N{NO-BREAK SPACE}"))
        return [nodes.inline(said, said, classes=["vt-number"])], []

    return role


def say_once(table: nodes.table) -> str:
    """Take the seeds out of a table's numbers and return a sentence that says them for all.

    Empty, and the table unchanged, where fewer than two numbers stand alone in their places or
    where they do not rest on the same seeds.
    """
    alone = [node for node in table.findall(nodes.inline) if "vt-number" in node["classes"]
             and len(node.parent) == 1 and BEHIND.search(node.astext())]  # fmt: skip
    found = [BEHIND.search(node.astext()) for node in alone]
    single = {match["seed"] for match in found if match["seed"]}
    several = {match["seeds"] for match in found if match["seeds"]}
    if len(alone) < 2 or len(single) > 1 or len(several) > 1:
        return ""
    for node in alone:
        node.children = []
        node += nodes.Text(BEHIND.sub("", node.rawsource))
    mean = f"Mean ± standard deviation over {max(several, default=0)} seeds"
    run = f"one run each, seed\N{NO-BREAK SPACE}{max(single, default=0)}"
    if several and single:
        return f"{mean}; without ±: {run}."
    return f"{mean}." if several else f"{run[0].upper()}{run[1:]}."


def mend_tables(app, doctree) -> None:
    """Say the seeds of each table once, in a line below it."""
    for table in list(doctree.findall(nodes.table)):
        said = say_once(table)
        if said:
            line = nodes.paragraph("", said, classes=["vt-behind"])
            table.parent.insert(table.parent.index(table) + 1, line)


def setup(app) -> None:
    """Register the roles, and the lines below tables."""
    app.connect("doctree-read", mend_tables)
    for kind in ("result", "gap", "coverage"):
        app.add_role(kind, make_role(kind))
