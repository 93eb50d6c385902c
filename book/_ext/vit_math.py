"""Formulas as MathML, written while the site is built: a page needs no script to show them.

Browsers draw MathML and screen readers read it. Its letters come from static/vt-math.woff2.
"""

import base64
import html
import re
from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOG = logging.getLogger(__name__)
CONVERTER = LatexToMathML(fancy_error=False)
CLASS = "math notranslate nohighlight"
LONG = 25  # signs of a formula that may be wider than a line on a phone: there it scrolls
FONT = re.compile(r'url\("([\w-]+\.woff2)"\)')
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


def inline_font(app, error: Exception | None) -> None:
    """Put the font into its style sheet: it is there at the first paint, and no line moves."""
    sheet = Path(app.outdir) / "_static" / "vt" / "vt-math.css"
    if error is None and sheet.is_file():
        sheet.write_text(with_font(sheet.read_text("utf-8"), sheet.parent), encoding="utf-8")


def with_font(css: str, folder: Path) -> str:
    """A style sheet with each ``url("NAME.woff2")`` of ``folder`` as data.

    >>> with_font("math { color: red }", Path("."))
    'math { color: red }'
    """

    def data(found: re.Match[str]) -> str:
        font = base64.b64encode((folder / found[1]).read_bytes()).decode()
        return f'url("data:font/woff2;base64,{font}")'

    return FONT.sub(data, css)


def setup(app) -> dict:
    """Register the renderer; the configuration chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", inline_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
