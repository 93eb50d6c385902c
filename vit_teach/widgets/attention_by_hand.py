"""AttentionByHand: queries, keys and values of a few tokens, to be moved by hand (chapter 5)."""

import html
import math
from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from ..arguments import explained
from ..vit.attention import attend, attention_weights
from .shared.base import BookWidget, require

Vectors = list[list[float]]

LARGEST = 100.0  # of a number in a vector
FACTORS = (0.0, 8.0)


def _vectors(name: str, value: Any) -> Vectors:
    """T vectors of two numbers as plain lists; ``ValueError`` for anything else."""
    rows = value.tolist() if hasattr(value, "tolist") else value
    try:
        rows = [[float(number) for number in row] for row in rows]
    except (TypeError, ValueError):
        rows = [[]]
    require(all(len(row) == 2 for row in rows), name, rows, "must be vectors of two numbers")
    fits = all(math.isfinite(x) and abs(x) <= LARGEST for row in rows for x in row)
    require(fits, name, rows, f"must be finite numbers of at most {LARGEST:g}")
    return rows


class AttentionByHand(BookWidget):
    """Self-attention of 2 to 6 tokens with every number visible and every vector movable.

    Queries ``q``, keys ``k`` and values ``v`` are (T, 2), ``names`` are T different words. The
    traits of these names, ``chosen`` (whose query is spelled out) and ``factor`` (by which all
    queries are multiplied) follow what the reader does; :meth:`weights` and :meth:`outputs` are
    computed by the package from their present values. Raises ``ValueError`` for anything that does
    not fit.

    >>> widget = AttentionByHand(torch.eye(2), torch.eye(2), torch.eye(2), ["a", "b"], factor=0)
    >>> widget.outputs().tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    MODULE = "attention_by_hand"
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    q: Any = traitlets.List().tag(sync=True)
    k: Any = traitlets.List().tag(sync=True)
    v: Any = traitlets.List().tag(sync=True)
    factor = traitlets.Float(1.0).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)

    @explained
    def __init__(
        self, q: Any, k: Any, v: Any, names: Sequence[str],
        factor: float = 1.0, chosen: int = 0, **settings: Any,
    ) -> None:  # fmt: skip
        vectors = {part: _vectors(part, rows) for part, rows in zip("qkv", (q, k, v), strict=True)}
        words = [str(name) for name in names]
        own = {"names": words, "factor": float(factor), "chosen": chosen}
        super().__init__(**vectors, **own, **settings)

    def weights(self) -> Tensor:
        """The attention weights (T, T) of the present numbers."""
        return attention_weights(self.factor * self._tensor("q"), self._tensor("k"))

    def outputs(self) -> Tensor:
        """The weighted sums of the values (T, 2)."""
        return attend(self.factor * self._tensor("q"), self._tensor("k"), self._tensor("v"))

    def _tensor(self, name: str) -> Tensor:
        return torch.tensor(getattr(self, name), dtype=torch.float64)  # (T, 2)

    @traitlets.validate("q", "k", "v")
    def _check_vectors(self, proposal: Any) -> Any:
        name, rows = proposal.trait.name, _vectors(proposal.trait.name, proposal.value)
        count = len(self.names)
        rule = f"must be {count}, one for each name"
        require(len(rows) == count, f"number of vectors in {name}", len(rows), rule)
        return rows

    @traitlets.validate("names")
    def _check_names(self, proposal: Any) -> Any:
        words = proposal.value
        require(2 <= len(words) <= 6, "names", words, "must be 2 to 6 words")
        require(len(set(words)) == len(words) and all(words), "names", words, "must all differ")
        return words

    @traitlets.validate("factor")
    def _check_factor(self, proposal: Any) -> Any:
        low, high = FACTORS
        rule = f"must be from {low:g} to {high:g}"
        require(low <= proposal.value <= high, "factor", proposal.value, rule)
        return proposal.value

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal: Any) -> Any:
        last = len(self.names) - 1
        require(0 <= proposal.value <= last, "chosen", proposal.value, f"must be from 0 to {last}")
        return proposal.value

    def describe(self) -> str:
        return (
            f"Self-attention of {len(self.names)} tokens: {', '.join(self.names)}. The table gives "
            "each token's query, key and value, the weights its query puts on all keys, and its "
            "output, the weighted sum of the values. With scripts on, you can move every vector "
            "here and change the order of the tokens."
        )

    def picture(self) -> str:
        heads = ["token", "query", "key", "value", *(f"looks at {n}" for n in self.names), "output"]
        lines = []
        parts = zip(self.names, self.q, self.k, self.v, strict=True)
        weights, outputs = self.weights().tolist(), self.outputs().tolist()
        for (name, *vectors), looks, output in zip(parts, weights, outputs, strict=True):
            cells = [*map(_words, vectors), *(f"{w:.2f}" for w in looks), _words(output)]
            lines.append(
                f'<tr><th scope="row">{html.escape(name)}</th>'
                + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
            )  # fmt: skip
        head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
        body = "".join(lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _words(vector: Sequence[float]) -> str:
    """A vector as text.

    >>> _words([1.0, -0.25])
    '(1.00, -0.25)'
    """
    return "(" + ", ".join(f"{number:.2f}" for number in vector) + ")"
