"""Small tables for pages and terminals, behind every plot of recorded results. Chapters 7 to 13."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

from ..arguments import explained, require_type
from .summary import Row, evidence, percent


class Table:
    """A table with row and column headings; a notebook shows it as HTML, a terminal as text.

    ``heading`` names the first column, ``columns`` the others, ``rows`` are (name, values) with as
    many values as columns. ``caption`` says what the numbers are. Raises ``ValueError`` for a row
    of another length.

    >>> print(Table("model", ["a", "b"], [("vit", ["1", "2"])], caption="Tokens"))
    Tokens
    model  a  b
    vit    1  2
    """

    @explained
    def __init__(
        self,
        heading: str,
        columns: Iterable[object],
        rows: Iterable[tuple[object, Sequence[object]]],
        caption: str,
    ) -> None:
        require_type("heading", heading, str, "a text")
        require_type("caption", caption, str, "a text")
        self.heading, self.caption = heading, caption
        self.columns = [str(column) for column in columns]
        self.rows = [(str(name), [str(value) for value in values]) for name, values in rows]
        for name, values in self.rows:
            if len(values) != len(self.columns):
                raise ValueError(
                    f"row {name!r} has {len(values)} values; there are {len(self.columns)} columns"
                )

    def __str__(self) -> str:
        lines = [[self.heading, *self.columns], *([name, *values] for name, values in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        padded = (
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )
        return "\n".join([self.caption, *padded])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in self.columns)
        body = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>'
            + "".join(f"<td>{html.escape(value)}</td>" for value in values)
            + "</tr>"
            for name, values in self.rows
        )
        return (
            f'<table class="vt-table"><caption>{html.escape(self.caption)}</caption>'
            f'<thead><tr><th scope="col">{html.escape(self.heading)}</th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>"
        )


@explained
def result_table(
    rows: list[Row], row: str, column: str, caption: str, missing: str = "not recorded"
) -> Table:
    """Rows of means (``vit_teach.experiments.rows``) as a :class:`Table` of two labels.

    ``row`` and ``column`` are the labels that make the rows and the columns; every number comes
    with its spread over seeds, and the caption says how many there are, if all have as many.
    Raises ``ValueError`` if two rows of means fall into one place.

    >>> rows = [{"model": "vit", "images": n, "mean": n / 1000, "std": None, "n": 1, "seeds": [0]}
    ...         for n in (500, 600)]
    >>> print(result_table(rows, "model", "images", "Test accuracy"))
    Test accuracy (one run each, seed 0)
    model  500     600
    vit    50.0 %  60.0 %
    """
    names = list(dict.fromkeys(mean[row] for mean in rows))
    columns = list(dict.fromkeys(mean[column] for mean in rows))
    if all(isinstance(value, (int, float)) for value in columns):
        columns.sort()
    places: dict[tuple[Any, Any], str] = {}
    for mean in rows:
        place = mean[row], mean[column]
        if place in places:
            raise ValueError(f"{row}={place[0]!r}, {column}={place[1]!r} has more than one result")
        places[place] = percent(mean, seeds=not evidence(rows))
    body = [(name, [places.get((name, c), missing) for c in columns]) for name in names]
    titles = [f"{c:,}" if isinstance(c, int) else c for c in columns]
    return Table(row, titles, body, _with_evidence(caption, rows))


@explained
def result_rows_table(rows: list[Row], labels: Sequence[str], caption: str) -> Table:
    """Rows of means as a :class:`Table` with a row for each group of equal ``labels``.

    >>> row = {"model": "vit", "images": 500, "mean": 0.5, "std": None, "n": 1, "seeds": [0]}
    >>> print(result_rows_table([row], ["model", "images"], "Accuracy"))
    Accuracy (one run each, seed 0)
    model, images  result
    vit, 500       50.0 %
    """
    said = {"seeds": not evidence(rows)}
    body = [(", ".join(str(row[k]) for k in labels), [percent(row, **said)]) for row in rows]
    return Table(", ".join(labels), ["result"], body, _with_evidence(caption, rows))


def _with_evidence(caption: str, rows: list[Row]) -> str:
    """The caption, with what stands behind all numbers of the table."""
    said = evidence(rows)
    return f"{caption} ({said})" if said else caption
