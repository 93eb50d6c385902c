"""Formulas as MathML, written while the site is built: a page needs no script to show them.

Browsers draw MathML and screen readers read it. Its letters come from static/vt-math.woff2.
"""

import html
import re

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOG = logging.getLogger(__name__)
CONVERTER = LatexToMathML(fancy_error=False)
CLASS = "math notranslate nohighlight"
LONG = 25  # signs of a formula that may be wider than a line on a phone: there it scrolls
TAG = re.compile(r"<[^>]*>")
# A browser may break a line on either side of a formula, even between it and a comma.
IN_A_LINE = re.compile(
    rf'[(\[“]*<span class="{CLASS}(?: vt-long)?"[^>]*><math>.*?</math></span>[^\s<]*', re.DOTALL
)


def mathml(formula: str, display: bool = False) -> str:
    r"""The MathML of a formula in TeX; ``LatexError`` if it cannot be read.

    >>> mathml(r"x^2")
    '<math><msup><mi>x</mi><mn>2</mn></msup></math>'
    """
    return CONVERTER.convert_with_local_state(formula.strip(), displaystyle=display)


def _written(node, display: bool) -> str:
    """The MathML of a node; what cannot be read fails the build and stands there as it is."""
    try:
        return mathml(node.astext(), display)
    except LatexError as error:
        LOG.warning("a formula cannot be read: %s: %s", node.astext(), error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_inline(self, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    written = _written(node, False)
    long = " vt-long" * (len(TAG.sub("", written)) > LONG)
    self.body.append(self.starttag(node, "span", "", CLASS=CLASS + long) + written + "</span>")
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    """Write a formula in a line of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS=CLASS))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_written(node, True) + "</div>\n")
    raise nodes.SkipNode


def keep_together(page: str) -> str:
    """The HTML of a page whose formulas do not part from what touches them.

    >>> keep_together(f'(<span class="{CLASS}"><math>N</math></span>), and')
    '<span class="vt-together">(<span class="math notranslate nohighlight">...</span>),</span> and'
    """

    def together(found):
        text = found[0]
        alone = text.startswith("<") and text.endswith(">")
        return text if alone else f'<span class="vt-together">{text}</span>'

    return IN_A_LINE.sub(together, page)


def setup(app) -> dict:
    """Register the renderer; the configuration chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
