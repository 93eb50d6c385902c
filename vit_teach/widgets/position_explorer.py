"""PositionExplorer: which positions are alike, and what a resize does to them (chapter 4)."""

import html
from collections.abc import Mapping
from typing import Any

import torch
import traitlets
from torch import Tensor

from ..arguments import explained
from ..vit.embedding import RESIZE_RULES
from .shared.base import BookWidget, data_uri, red_blue, require

LARGEST_SIDE = 16  # rows and columns of a resized grid


def products(table: Tensor) -> Any:
    """The dot products of all pairs of rows of a table (N, D), its upper triangle as float32.

    They are all the script needs: every resize rule is linear, and the products of the resized rows
    follow from those of the old ones. Returns (N (N + 1) / 2,) as a numpy array.

    >>> products(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    array([ 5., 11., 25.], dtype=float32)
    """
    rows = table.detach().double().cpu()
    pairs = rows @ rows.T  # (N, N)
    upper = torch.triu_indices(*pairs.shape)
    return pairs[upper[0], upper[1]].float().numpy()


def similarity_map(table: Tensor, grid: tuple[int, int], place: tuple[int, int]) -> Any:
    """The cosine similarity of one place (row, column) to all, as pixels (gh, gw, 3), uint8.

    Red for alike, white for a cosine of 0, blue for opposite.

    >>> similarity_map(torch.eye(6), (2, 3), (0, 1))[0].tolist()
    [[247, 247, 247], [178, 24, 43], [247, 247, 247]]
    """
    (gh, gw), (row, column) = grid, place
    rows = torch.nn.functional.normalize(table.detach().float().cpu(), dim=1)
    values = (rows @ rows[row * gw + column]).clamp(-1, 1)
    return red_blue(values.reshape(gh, gw)).numpy()


class PositionExplorer(BookWidget):
    """Maps of the cosine similarity of one position to all others, for several tables side by side.

    ``tables`` is a dictionary of names and tables (N, D) without a class token's row, ``grid`` is
    (gh, gw), at most 16 each. The traits follow the reader: ``row`` and ``column`` (the position),
    ``rows`` (of the grid the tables are resized to), ``rule`` (one of ``RESIZE_RULES``) and
    ``centred`` (whether the mean row is subtracted first). Raises ``ValueError`` for a table or a
    value that does not fit.

    >>> widget = PositionExplorer({"random": torch.randn(6, 8)}, (2, 3), rows=4)
    >>> widget.new_grid()
    (4, 6)
    """

    MODULE = "position_explorer"
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    grid: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    products = traitlets.Bytes().tag(sync=True)  # one triangle after the other
    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)
    rows = traitlets.Int(1).tag(sync=True)
    rule = traitlets.Unicode("google").tag(sync=True)
    centred = traitlets.Bool(False).tag(sync=True)

    @explained
    def __init__(
        self, tables: Mapping[str, Tensor], grid: tuple[int, int], rows: int | None = None,
        row: int | None = None, column: int | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        require(isinstance(tables, dict) and tables, "tables", tables, "must be a dictionary")
        gh, gw = (int(side) for side in grid)
        rule = f"must be two sides from 2 to {LARGEST_SIDE}"
        require(2 <= min(gh, gw) and max(gh, gw) <= LARGEST_SIDE, "grid", (gh, gw), rule)
        for name, table in tables.items():
            shape = tuple(getattr(table, "shape", ()))
            fits, rule = len(shape) == 2 and shape[0] == gh * gw, f"must be ({gh * gw}, D)"
            require(fits, f"tables[{name!r}] of shape", shape, rule)
        self._tables = dict(tables)
        settings["products"] = b"".join(products(table).tobytes() for table in tables.values())
        settings["row"] = gh // 2 if row is None else row
        settings["column"] = gw // 2 if column is None else column
        names = [str(name) for name in tables]
        super().__init__(names=names, grid=[gh, gw], rows=rows or gh, **settings)

    def new_grid(self, rows: int | None = None) -> tuple[int, int]:
        """The grid of the old shape with ``rows`` rows (else the trait's): (gh', gw')."""
        (gh, gw), rows = self.grid, rows or self.rows
        return rows, max(2, (2 * rows * gw + gh) // (2 * gh))  # halves round up

    @traitlets.validate("rows")
    def _check_rows(self, proposal: Any) -> Any:
        rule = f"must be from 2 to {LARGEST_SIDE} and give no more columns than that"
        fits = 2 <= proposal.value <= LARGEST_SIDE
        fits = fits and self.new_grid(proposal.value)[1] <= LARGEST_SIDE
        require(fits, "rows", proposal.value, rule)
        return proposal.value

    @traitlets.validate("row", "column")
    def _check_place(self, proposal: Any) -> Any:
        side = self.new_grid()[proposal.trait.name == "column"]
        rule = f"must be from 0 to {side - 1}"
        require(0 <= proposal.value < side, proposal.trait.name, proposal.value, rule)
        return proposal.value

    @traitlets.validate("rule")
    def _check_rule(self, proposal: Any) -> Any:
        rule = f"must be one of {RESIZE_RULES}"
        require(proposal.value in RESIZE_RULES, "rule", proposal.value, rule)
        return proposal.value

    @traitlets.observe("rows")
    def _keep_within(self, change: Any) -> None:
        """On a smaller grid, take the nearest position that exists."""
        height, width = self.new_grid()
        self.row, self.column = min(self.row, height - 1), min(self.column, width - 1)

    def describe(self) -> str:
        gh, gw = self.grid
        return (
            f"Position tables for a grid of {gh} × {gw} patches: {', '.join(self.names)}. Each map "
            f"shows how alike the place in row {gh // 2}, column {gw // 2} is to every place of "
            "the grid: red where the cosine similarity is high, white where it is 0, blue where it "
            "is negative. With scripts on, you can point at any place here, and resize the tables "
            "by each rule."
        )

    def picture(self) -> str:
        boxes, middle = [], (self.grid[0] // 2, self.grid[1] // 2)
        for name, table in self._tables.items():
            source, label = data_uri(similarity_map(table, self.grid, middle)), html.escape(name)
            boxes.append(
                f'<span class="vt-panel"><img src="{source}" alt="Similarity map: {label}" '
                f'width="150"><br>{label}</span>'
            )
        return "".join(boxes)
