"""Roles that put recorded numbers into the prose: {result}, {gap} and {coverage}.

A role whose cards are missing is a warning, and a warning fails the build.
"""

from docutils import nodes
from sphinx.util import logging

LOG = logging.getLogger(__name__)


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


def setup(app) -> None:
    """Register the roles."""
    for kind in ("result", "gap", "coverage"):
        app.add_role(kind, make_role(kind))
