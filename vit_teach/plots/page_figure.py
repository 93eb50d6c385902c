"""How a plotly figure becomes part of a page: as JSON, drawn there by a local script.

For all chapters.
"""

import html
import json
from typing import Any

import plotly.graph_objects as go


def figure_html(figure: dict[str, Any]) -> str:
    """Return the HTML of one plotly figure given as its JSON dictionary.

    The text alternative is ``figure["layout"]["meta"]["alt"]``: it names the figure for screen
    readers and stands in for it where no script runs.

    Raises:
        ValueError: the figure carries no text alternative.

    >>> page = figure_html({"data": [], "layout": {"meta": {"alt": "Tokens against patch size"}}})
    >>> page[:59]
    '<figure class="vt-plotly" aria-label="Tokens against patch '
    """
    meta = figure.get("layout", {}).get("meta")
    alt = meta.get("alt", "").strip() if isinstance(meta, dict) else ""
    if not alt:
        raise ValueError("layout.meta of a plotly figure must be {'alt': 'what the figure shows'}")
    # "<" may not stand inside a script element: a "</script>" in a label would end it.
    data = json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<figure class="vt-plotly" aria-label="{html.escape(alt)}">'
        f'<script type="application/json">{data}</script>'
        f"<noscript><p>A script draws this figure. It shows: {html.escape(alt)}</p></noscript>"
        "</figure>"
    )


class PageFigure(go.Figure):  # type: ignore[misc]  # plotly brings no types
    """A plotly figure that a notebook shows as any other, and a page of the book by its own HTML.

    >>> figure = PageFigure(layout={"meta": {"alt": "Tokens against patch size"}})
    >>> "Tokens against patch size" in figure._repr_mimebundle_()["text/html"]
    True
    """

    # plotly's own would be asked before the bundle below, and pass it by.
    _ipython_display_ = None

    def _repr_mimebundle_(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Plotly's own bundle, which Jupyter prefers, and HTML and words where it brings none."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(*arguments, **options)
        page = figure_html(json.loads(self.to_json()))
        return {"text/html": page, "text/plain": self.layout.meta["alt"], **bundle}
