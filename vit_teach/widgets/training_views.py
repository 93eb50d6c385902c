"""What the training lab shows, as HTML and SVG: curves, a table of runs, a confusion matrix.

Drawn by hand rather than by matplotlib: a drawing takes a millisecond, so the training hardly
notices, and needs no global state, so it can be made in a thread. For chapter 8.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 520, 260, 48, 14, 10, 42
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b65f91", "#b87d00", "#3f9bd0")
SHAPES = ("●", "■", "▲", "◆", "▼", "✚")  # so that colour is not needed to tell runs apart
HEADS = ("run", "pictures", "model", "rate", "augmentation", "seed", "steps", "accuracy", "end")


@dataclass(frozen=True)
class Line:
    """A run as points (time, accuracy): on validation images, and on training images.

    >>> Line([(5.0, 0.2)], [(6.0, 0.3)]).end
    6.0
    """

    judged: Sequence[tuple[float, float]] = ()
    learned: Sequence[tuple[float, float]] = field(default=())

    @property
    def end(self) -> float:
        """The time of the last point, or 0."""
        return max((time for time, _ in [*self.judged, *self.learned]), default=0.0)


def round_steps(end: float) -> list[float]:
    """Round numbers from 0 to ``end``, at most eight.

    >>> round_steps(20)
    [0, 5, 10, 15, 20]
    """
    power = 10 ** math.floor(math.log10(end))
    step = next(s for s in (power / 10 * m for m in (1, 2, 5, 10, 20, 50)) if end / s <= 7)
    return [step * n if step % 1 else int(step * n) for n in range(int(end / step + 1e-9) + 1)]


def curves(lines: Sequence[Line], end: float, title: str, alt: str) -> str:
    """Accuracy against time as SVG: solid with marks on validation images, dashed on training ones.

    ``end`` is where the time axis ends and ``title`` its name; ``alt`` says what is seen.

    >>> curves([Line([(5, 0.2), (10, 0.4)])], 20, "seconds", "It rises.")[:48]
    '<svg role="img" aria-label="It rises." viewBox="'
    """

    def across(time: float) -> float:
        return LEFT + time / end * (WIDE - LEFT - RIGHT)

    def down(share: float) -> float:
        return TOP + (1 - share) * (HIGH - TOP - BOTTOM)

    parts = []
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        y = down(share)
        parts.append(f'<path d="M{LEFT},{y:.1f}H{WIDE - RIGHT}" stroke-opacity="0.2"/>')
        parts.append(_text(LEFT - 6, y + 5, "end", f"{share:.0%}"))
    for time in round_steps(end):
        parts.append(_text(across(time), HIGH - BOTTOM + 19, "middle", f"{time:g}"))
    parts.append(_text((LEFT + WIDE) / 2, HIGH - 4, "middle", title))
    for n, line in enumerate(lines):
        judged, learned = (
            [(across(time), down(share)) for time, share in points]
            for points in (line.judged, line.learned)
        )
        last = n == len(lines) - 1  # the earlier runs step back
        colour = COLOURS[n % len(COLOURS)]
        marks = [_text(x, y + 4, "middle", SHAPES[n % len(SHAPES)], colour) for x, y in judged]
        dashed = _path(learned, 'stroke-dasharray="5 4" stroke-width="1.3"')
        opacity = 1 if last else 0.6
        drawn = "".join([dashed, _path(judged, 'stroke-width="2.2"'), *marks])
        parts.append(f'<g stroke="{colour}" opacity="{opacity}" data-run="{n + 1}">{drawn}</g>')
    return (
        f'<svg role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {WIDE} {HIGH}" '
        f'width="{WIDE}" height="{HIGH}" style="max-width:100%;height:auto" fill="none" '
        f'stroke="currentColor" font-size="14">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, anchor: str, text: str, colour: str = "currentColor") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'stroke="none">{html.escape(text)}</text>'
    )


def _path(points: Sequence[tuple[float, float]], looks: str) -> str:
    places = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path d="M{places}" {looks}/>' if places else ""


def legend(rows: Sequence[Sequence[str]]) -> str:
    """The runs as a table, the mark of each before its number; empty for none.

    >>> legend([])
    ''
    """
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    body = ""
    for n, cells in enumerate(rows):
        mark = f'<span style="color:{COLOURS[n % len(COLOURS)]}">{SHAPES[n % len(SHAPES)]}</span>'
        named = f'<th scope="row">{mark} {n + 1}</th>'
        body += f"<tr>{named}{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
    caption = "Solid lines: validation images; dashed: training images"
    return (
        f"<table cellpadding=4>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _table(caption: str, head: str, body: str) -> str:
    return (
        f'<table cellpadding="4" style="line-height:1.4"><caption style="text-align:left;'
        f'white-space:nowrap">{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def matrix(counts: Tensor, classes: Sequence[str]) -> str:
    """A confusion matrix as a table: rows are what images are, columns what they are called.

    ``counts`` is (K, K). The darker a cell, the larger its share of the row.

    >>> import torch
    >>> matrix(torch.tensor([[8, 2], [0, 9]]), ("cat", "dog")).count("<td style")
    4
    """
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)  # (K, K), rows sum to 1
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in classes)
    body = ""
    for name, numbers, parts in zip(classes, counts.tolist(), shares.tolist(), strict=True):
        cells = "".join(
            f'<td style="text-align:right;background:rgba(0,114,178,{share:.2f});'
            f'{"color:white" if share > 0.5 else ""}">{number}</td>'
            for number, share in zip(numbers, parts, strict=True)
        )
        body += f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>'
    caption = "What the pictures are (rows), and what they are called (columns)"
    return _table(caption, f"<td></td>{head}", body)
