"""Checks of chapter 4: fixed tables of sines, the class token, a table moved and resized."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..vit import embedding as own
from .chapter03 import CLOSE, draws
from .judge import Case, examine

FIXED = (own.sincos_1d, own.sincos_2d, own.fixed_table)
TABLE = 1e-5  # the tables are often built in 32-bit numbers


def _angles(length: int, omega: Tensor, start: int = 0) -> Tensor:
    return torch.arange(start, length + start, dtype=torch.float64)[:, None] * omega


def _omega(count: int, divisor: float) -> Tensor:
    return 10000 ** (-torch.arange(count, dtype=torch.float64) / divisor)


def _sincos(length: int, dim: int, divisor: float | None = None, start: int = 0) -> Tensor:
    angles = _angles(length, _omega(dim // 2, divisor or dim / 2), start)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _alternating(length: int, dim: int) -> Tensor:
    sines, cosines = _sincos(length, dim).chunk(2, dim=1)
    return torch.stack([sines, cosines], dim=2).flatten(1)


SINCOS_FAULTS = {
    "sines and cosines alternate; here the first half is sines, the second cosines.": _alternating,
    "the cosines stand first.": lambda n, d: _sincos(n, d).roll(d // 2, dims=1),
    "the exponent is 2 i / dim: yours is i / dim, so that no wave is slow enough.":
        lambda n, d: _sincos(n, d, divisor=d),
    "the last frequency is not 1 / 10000 itself: divide by dim / 2, not by dim / 2 - 1.":
        lambda n, d: _sincos(n, d, divisor=max(d // 2 - 1, 0.5)),
    "the patches are numbered from 0: yours begin at 1.": lambda n, d: _sincos(n, d, start=1),
    "the table is turned: wanted is one row for each patch.": lambda n, d: _sincos(n, d).T,
    "these are the angles: their sine and cosine are wanted.":
        lambda n, d: _angles(n, _omega(d // 2, d / 2)).repeat(1, 2),
    "the frequencies must fall: yours grow with the column.":
        lambda n, d: _sincos(n, d, divisor=-d / 2),
}  # fmt: skip


def sincos(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``sincos(length, dim)``: the table (length, dim) of ``vt.sincos_1d``.

    Raises ``Wrong``.

    >>> sincos(lambda length, dim: torch.zeros(length, dim))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0, 4] 1 is wanted, ...
    """
    whole, _ = draws(seed)
    sizes = [(6, 8), (3, 4)] + [(whole(2, 40), 2 * whole(2, 12)) for _ in range(6)]
    cases = [
        Case(("length", "dim"), size, _sincos(*size), SINCOS_FAULTS, tolerance=TABLE)
        for size in sizes
    ]
    examine("sincos", answer, cases, FIXED)


def _sincos_2d(
    grid: tuple[int, int],
    dim: int,
    divisor: float | None = None,
    start: int = 0,
    turned: bool = False,
) -> Tensor:
    gh, gw = grid
    omega = _omega(dim // 4, dim // 4 - 1 if divisor is None else divisor)
    indexing = "xy" if turned else "ij"
    rows, columns = (torch.arange(start, n + start, dtype=torch.float64) for n in (gh, gw))
    y, x = torch.meshgrid(rows, columns, indexing=indexing)
    y, x = y.reshape(-1, 1) * omega, x.reshape(-1, 1) * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)


def _quarters(*order: int) -> Callable[..., Tensor]:
    def table(grid: tuple[int, int], dim: int) -> Tensor:
        quarters = _sincos_2d(grid, dim).chunk(4, dim=1)
        return torch.cat([quarters[n] for n in order], dim=1)

    return table


SINCOS_2D_FAULTS = {
    "rows and columns are swapped: x counts the columns and comes first.": _quarters(2, 3, 0, 1),
    "the places run down the columns; the sequence is row by row.":
        lambda grid, dim: _sincos_2d(grid, dim, turned=True),
    "the quarters are sin x, sin y, cos x, cos y; wanted is sin x, cos x, sin y, cos y.":
        _quarters(0, 2, 1, 3),
    "the cosines stand before the sines.": _quarters(1, 0, 3, 2),
    "the exponent ends at 1 here: divide i by dim / 4 - 1, not by dim / 4.":
        lambda grid, dim: _sincos_2d(grid, dim, divisor=dim // 4),
    "rows and columns are numbered from 0: yours begin at 1.":
        lambda grid, dim: _sincos_2d(grid, dim, start=1),
    "this is the table of a line: it knows the patch's number, not its row and column.":
        lambda grid, dim: _sincos(grid[0] * grid[1], dim),
}  # fmt: skip


def sincos_2d(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``sincos_2d(grid, dim)``: the table (gh * gw, dim) of ``vt.sincos_2d``.

    Raises ``Wrong``.

    >>> sincos_2d(lambda grid, dim: torch.zeros(2, 3, dim))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (6, 8) is wanted, yours is (2, 3, 8) ...
    """
    whole, _ = draws(seed)
    sizes = [((2, 3), 8), ((3, 2), 12)]
    sizes += [((whole(1, 9), whole(1, 9)), 4 * whole(2, 6)) for _ in range(6)]
    cases = [
        Case(("grid", "dim"), size, _sincos_2d(*size), SINCOS_2D_FAULTS, tolerance=TABLE)
        for size in sizes
    ]
    examine("sincos_2d", answer, cases, FIXED)


def _tokens(patches: Tensor, cls: Tensor, table: Tensor | float) -> Tensor:
    return torch.cat([cls.expand(len(patches), -1, -1), patches], dim=1) + table


def _last(patches: Tensor, cls: Tensor, table: Tensor) -> Tensor:
    return torch.cat([patches, cls.expand(len(patches), -1, -1)], dim=1) + table


TOKEN_FAULTS = {
    "the class token stands at the end; its place is the first.": _last,
    "the class token gets no position: row 0 of the table is its own.":
        lambda patches, cls, table: _tokens(patches, cls, F.pad(table[:, 1:], (0, 0, 1, 0))),
    "the positions are one place too far: row 0 of the table belongs to the class token.":
        lambda patches, cls, table: _tokens(patches, cls, table.roll(-1, 1)),
    "the table is missing.": lambda patches, cls, table: _tokens(patches, cls, 0),
    "the table is added, not multiplied.":
        lambda patches, cls, table: _tokens(patches, cls, 0) * table,
    "the class token is missing: the sequence must grow by one.":
        lambda patches, cls, table: patches + table[:, 1:],
    "the class token is added to every patch; it is a token of its own.":
        lambda patches, cls, table: patches + cls + table[:, 1:],
    "every patch gets the same position.":
        lambda patches, cls, table: _tokens(patches, cls, table[:, :1]),
}  # fmt: skip


def tokens(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``tokens(patches, cls, table)``: class token in front, positions added.

    ``patches`` (B, N, D), ``cls`` (1, 1, D), ``table`` (1, N + 1, D); right is (B, N + 1, D).
    Raises ``Wrong``.

    >>> tokens(lambda patches, cls, table: patches)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 4, 5) is wanted, yours is (2, 3, 5) ...
    """
    whole, normal = draws(seed)
    sizes = [(2, 3, 5)] + [(whole(1, 4), whole(2, 9), whole(2, 9)) for _ in range(6)]
    cases = []
    for b, n, d in sizes:
        inputs = normal(b, n, d), normal(1, 1, d), normal(1, n + 1, d)
        names, want = ("patches", "cls", "table"), _tokens(*inputs)
        cases.append(Case(names, inputs, want, TOKEN_FAULTS, tolerance=CLOSE))
    examine("tokens", answer, cases)


def _plane(patches: Tensor, old: tuple[int, int], new: tuple[int, int], **how: Any) -> Tensor:
    """Resize (1, N, D) as a picture of D channels."""
    plane = patches.reshape(1, *old, -1).permute(0, 3, 1, 2)
    plane = F.interpolate(plane, size=new, **{"mode": "bilinear", "align_corners": True, **how})
    return plane.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1)


def _resized(table: Tensor, old: tuple[int, int], new: tuple[int, int], **how: Any) -> Tensor:
    return torch.cat([table[:, :1], _plane(table[:, 1:], old, new, **how)], dim=1)


def _without_permute(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    plane = table[:, 1:].reshape(1, -1, *old)
    plane = F.interpolate(plane, size=new, mode="bilinear", align_corners=True)
    return torch.cat([table[:, :1], plane.reshape(1, new[0] * new[1], -1)], dim=1)


def _on_a_line(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    line = table[:, 1:].transpose(1, 2)
    line = F.interpolate(line, size=new[0] * new[1], mode="linear", align_corners=True)
    return torch.cat([table[:, :1], line.transpose(1, 2)], dim=1)


def _by_number(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Resize only where the number of patches changes."""
    return table if old[0] * old[1] == new[0] * new[1] else _resized(table, old, new)


RESIZE_FAULTS = {
    "as many patches in another shape are another grid: compare the grids, not their number.":
        _by_number,
    "the corners are not aligned: old corner and new corner must be the same row.":
        lambda table, old, new: _resized(table, old, new, align_corners=False),
    "this is bicubic; the rule here is bilinear.":
        lambda table, old, new: _resized(table, old, new, mode="bicubic"),
    "a reshape to (1, D, gh, gw) mixes places and channels: it takes a permute.": _without_permute,
    "the table is stretched along the sequence; it is a grid of rows and columns.": _on_a_line,
    "height and width of the grids are swapped.":
        lambda table, old, new: _resized(table, old[::-1], new[::-1]),
    "the class token's row stands at the end; it stays the first.":
        lambda table, old, new: _resized(table, old, new).roll(-1, 1),
    "the class token's row is lost.":
        lambda table, old, new: _resized(table, old, new)[:, 1:],
    "the class token's row must come over untouched; yours is zero.":
        lambda table, old, new: F.pad(_resized(table, old, new)[:, 1:], (0, 0, 1, 0)),
    "the class token is no place of the grid: set row 0 aside before you resize.":
        lambda table, old, new: torch.cat(
            [table[:, -1:], _plane(table[:, :-1], old, new)], dim=1),
}  # fmt: skip


def resize_positions(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``resize(table, old, new)``: (1, 1 + N, D) to (1, 1 + N', D).

    Bilinear, corners aligned, the class token's row untouched. ``old`` and ``new`` are grids
    (rows, columns). Raises ``Wrong``.

    >>> resize_positions(lambda table, old, new: table)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (1, 21, 3) is wanted, yours is (1, 7, 3) ...
    """
    whole, normal = draws(seed)
    sizes = [(2, 3, 4, 5, 3)] + [tuple(whole(2, 6) for _ in range(5)) for _ in range(6)]
    sizes.append((4, 3, 4, 3, 5))  # an equal grid: the table as it was
    sizes.append((4, 4, 2, 8, 3))  # as many patches, in another shape
    cases = []
    for gh, gw, nh, nw, d in sizes:
        inputs = normal(1, 1 + gh * gw, d), (gh, gw), (nh, nw)
        names, want = ("table", "old", "new"), _resized(*inputs)
        cases.append(Case(names, inputs, want, RESIZE_FAULTS, tolerance=CLOSE))
    examine("resize_positions", answer, cases, (own.resize_positions,))


def _shuffled(table: Tensor, order: Tensor) -> Tensor:
    return torch.cat([table[:, :1], table[:, 1:][:, order]], dim=1)


SHUFFLE_FAULTS = {
    "this is the inverse order: row i of the new table is row order[i] of the old one.":
        lambda table, order: _shuffled(table, order.argsort()),
    "the table is as it was: its rows must follow their patches.": lambda table, order: table,
    "patch i has row i + 1 of the table: row 0 is the class token's.":
        lambda table, order: torch.cat([table[:, :1], table[:, order]], dim=1),
    "the class token stays where it is, and so does its row.":
        lambda table, order: torch.cat([table[:, order], table[:, -1:]], dim=1),
    "the class token's row is lost.": lambda table, order: table[:, 1:][:, order],
    "the class token's row stands at the end; it stays the first.":
        lambda table, order: _shuffled(table, order).roll(-1, 1),
    "the class token's row must stay as it is; yours is zero.":
        lambda table, order: F.pad(table[:, 1:][:, order], (0, 0, 1, 0)),
}  # fmt: skip


def shuffled_table(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``follow(table, order)``: the table (1, 1 + N, D) with which a shuffle changes nothing.

    Place i of the shuffled picture holds patch ``order[i]`` of the old one. Raises ``Wrong``.

    >>> shuffled_table(lambda table, order: table)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: the table is as it was: its rows must follow their patches. ...
    """
    whole, normal = draws(seed)
    orders = [torch.tensor([1, 2, 0, 4, 3])]
    for _ in range(5):
        orders.append(normal(whole(5, 12)).argsort())
    cases = []
    for order in orders:
        inputs = normal(1, 1 + len(order), whole(2, 6)), order
        cases.append(Case(("table", "order"), inputs, _shuffled(*inputs), SHUFFLE_FAULTS))
    examine("shuffled_table", answer, cases)
