"""How a plotly figure becomes part of a page: as JSON, drawn there by a local script.

Jupyter Book finds :class:`PlotlyFigure` through the entry point in ``pyproject.toml``.
"""

import html
import json

PLOTLY = "application/vnd.plotly.v1+json"


def figure_html(figure: dict) -> str:
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


class PlotlyFigure:
    """myst-nb's interface for one MIME type.

    >>> PlotlyFigure.mime_priority_overrides[0][0]
    'html'
    """

    mime_priority_overrides = [("html", PLOTLY, 4)]

    @staticmethod
    def handle_mime(renderer, data, inline):
        """Return the docutils nodes of a plotly output, or None for any other MIME type."""
        if data.mime_type != PLOTLY:
            return None
        from docutils import nodes  # only a book build has docutils

        try:
            text = figure_html(data.content)
        except ValueError as problem:
            renderer.logger.warning(str(problem), subtype="plotly", line=data.line)
            return []
        return [nodes.raw(text=text, format="html", classes=["output", "text_html"])]
