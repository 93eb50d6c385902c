"""Checks of chapter 5: attention, a mask, several heads, their packing, and pieces of keys."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..vit import attention as own
from .chapter03 import CLOSE, draws
from .isolate import Wrong
from .judge import Case, examine

State = dict[str, Tensor]  # a layer's numbers by name

KERNEL = (F, "scaled_dot_product_attention")
OWN = (own.attend, own.attention_weights, own.MultiHeadAttention, nn.MultiheadAttention, KERNEL)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-2, -1)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, dim: int = -1) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (_scores(q, k) * scale).softmax(dim) @ v


ATTENTION_FAULTS = {
    "the scores are not scaled: divide them by the square root of the head width.":
        lambda q, k, v: _attend(q, k, v, 1.0),
    "the scores are divided by the head width; its square root is wanted.":
        lambda q, k, v: _attend(q, k, v, 1 / q.shape[-1]),
    "the scores are multiplied by the square root of the head width; divide by it.":
        lambda q, k, v: _attend(q, k, v, q.shape[-1] ** 0.5),
    "softmax runs over the queries: the weights of one query must sum to 1.":
        lambda q, k, v: _attend(q, k, v, dim=-2),
    "queries and keys are swapped.": lambda q, k, v: _attend(k, q, v),
    "there is no softmax: scores are no weights.":
        lambda q, k, v: _scores(q, k) * q.shape[-1] ** -0.5 @ v,
    "you return the weights; they have still to be applied to the values.":
        lambda q, k, v: (_scores(q, k) * q.shape[-1] ** -0.5).softmax(-1),
    "the scale is taken from the number of tokens; it is the head width's.":
        lambda q, k, v: _attend(q, k, v, q.shape[-2] ** -0.5),
    "the values are not used: the weights are applied to the keys.":
        lambda q, k, v: _attend(q, k, k),
}  # fmt: skip


def attention(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``attend(q, k, v)``: softmax(q k^T / sqrt(h)) v, for (..., T, h). Raises ``Wrong``.

    >>> attention(lambda q, k, v: v.mean(-2))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (5, 3) is wanted, yours is (3,) ...
    """
    whole, normal = draws(seed)
    shapes = [(5, 3), (2, 3, 4, 6)]
    shapes += [(whole(1, 3), whole(2, 7), whole(8, 12)) for _ in range(6)]
    cases = []
    for shape in shapes:
        q, k, v = inputs = tuple(1.5 * normal(*shape) for _ in range(3))
        want = _attend(q, k, v)
        cases.append(Case(("q", "k", "v"), inputs, want, ATTENTION_FAULTS, tolerance=CLOSE))
    examine("attention", answer, cases, OWN)


def _masked(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    scores = (_scores(q, k) * q.shape[-1] ** -0.5).masked_fill(~allowed, float("-inf"))
    return scores.softmax(-1) @ v


def _groups(number: Tensor) -> Tensor:
    return number[:, None] == number[None, :]


def _rows(q: Tensor, k: Tensor, v: Tensor, width: int) -> Tensor:
    return _masked(q, k, v, _groups(torch.arange(len(q)) // width))


def _by_hand(after: bool) -> Callable[..., Tensor]:
    def attend(q: Tensor, k: Tensor, v: Tensor, width: int) -> Tensor:
        allowed = _groups(torch.arange(len(q)) // width)
        scores = _scores(q, k) * q.shape[-1] ** -0.5
        if after:
            return scores.softmax(-1) * allowed @ v
        return (scores * allowed).softmax(-1) @ v

    return attend


ROW_FAULTS = {
    "the mask is missing: every patch attends to all.": lambda q, k, v, width: _attend(q, k, v),
    "each patch attends to its own column: the row of patch i is i // width.":
        lambda q, k, v, width: _masked(q, k, v, _groups(torch.arange(len(q)) % width)),
    "the grid is turned: a row has `width` patches, you take the number of rows for it.":
        lambda q, k, v, width: _rows(q, k, v, len(q) // width),
    "the weights no longer sum to 1: mask the scores, before softmax.": _by_hand(after=True),
    "a score of 0 is no mask: e to the power 0 is 1. Use minus infinity.": _by_hand(after=False),
    "the mask is the wrong way round: your patches attend to all rows but their own.":
        lambda q, k, v, width: _masked(q, k, v, ~_groups(torch.arange(len(q)) // width)),
    "each patch attends to those before it and itself: that is a causal mask.":
        lambda q, k, v, width: _masked(
            q, k, v, torch.ones(len(q), len(q), dtype=torch.bool).tril()),
    "the scores are not scaled: divide them by the square root of the head width.":
        lambda q, k, v, width: _rows(q * q.shape[-1] ** 0.5, k, v, width),
}  # fmt: skip


def row_attention(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``row_attention(q, k, v, width)``: each patch attends only to its own row.

    ``q``, ``k``, ``v`` are (N, h) for a grid of ``width`` columns. Raises ``Wrong``.

    >>> row_attention(lambda q, k, v, width: 2 * v)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0, 0] ...
    """
    whole, normal = draws(seed)
    sizes = [(3, 4, 8)] + [(whole(2, 5), whole(2, 5), whole(2, 8)) for _ in range(6)]
    cases = []
    for rows, width, h in sizes:
        q, k, v = (normal(rows * width, h) for _ in range(3))
        names, inputs = ("q", "k", "v", "width"), (q, k, v, width)
        cases.append(Case(names, inputs, _rows(*inputs), ROW_FAULTS, tolerance=CLOSE))
    examine("row_attention", answer, cases, (own.attend, own.attention_weights))


# --- Several heads ----------


def _heads(
    x: Tensor,
    state: State,
    heads: int,
    view: str = "rhc",
    order: tuple[int, ...] = (0, 1, 2),
    scale: float | None = None,
    join: str = "right",
    proj: bool = True,
) -> Tensor:
    """Multi-head attention from a state dict; the further arguments make the known mistakes.

    ``view`` names the axes of a row of qkv, slowest first: role, head, channel.
    """
    b, t, dim = x.shape
    sizes = {"r": 3, "h": heads, "c": dim // heads}
    qkv = x @ state["qkv.weight"].T + state["qkv.bias"]
    qkv = qkv.view(b, t, *(sizes[axis] for axis in view))
    qkv = qkv.permute(2 + view.index("r"), 0, 2 + view.index("h"), 1, 2 + view.index("c"))
    q, k, v = (qkv[n] for n in order)
    mixed = _attend(q, k, v, scale)  # (B, H, T, h)
    mixed = mixed.transpose(1, 2) if join == "right" else mixed
    mixed = mixed.reshape(b, t, dim)
    return mixed @ state["proj.weight"].T + state["proj.bias"] if proj else mixed


def _fault(**how: Any) -> Callable[..., Tensor]:
    return lambda x, state, dim, heads: _heads(x, state, **{"heads": heads, **how})


HEAD_FAULTS = {
    "there is one head over the whole width: split it into `heads` parts.": _fault(heads=1),
    "the rows of qkv are read head by head; they are ordered q, k, v, then by head.":
        _fault(view="hrc"),
    "the heads are read as the fastest axis: each head has neighbouring channels.":
        _fault(view="rch"),
    "the roles are mixed up: the rows of qkv are q, then k, then v.": _fault(order=(1, 0, 2)),
    "values and queries are swapped: the rows of qkv are q, then k, then v.":
        _fault(order=(2, 1, 0)),
    "the heads are joined without a transpose: bring the tokens in front of the heads first.":
        _fault(join="wrong"),
    "the scores are divided by the root of the whole width; each head has its own, dim / heads.":
        lambda x, state, dim, heads: _heads(x, state, heads, scale=dim**-0.5),
    "the scores are not scaled: divide them by the square root of the head width.":
        _fault(scale=1.0),
    "the last projection is missing.": _fault(proj=False),
}  # fmt: skip


def load(layer: object, state: State) -> nn.Module:
    """Put the numbers of ``state`` into a layer; raise :class:`Wrong` if its parts differ.

    >>> load(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})
    Linear(in_features=2, out_features=2, bias=True)
    """
    if not isinstance(layer, nn.Module):
        raise Wrong(f"a torch.nn.Module is wanted, yours gives {type(layer).__name__}.")
    found = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    wanted = {name: tuple(value.shape) for name, value in state.items()}
    for name in wanted.keys() | found.keys():
        if found.get(name) != wanted.get(name):
            want, have = (shapes.get(name, "none") for shapes in (wanted, found))
            raise Wrong(f"the layer's parts: {name} of shape {want} is wanted, yours: {have}.")
    layer.to(torch.float64).eval()
    layer.load_state_dict(state)
    return layer


def _call_heads(
    answer: Callable[..., Any], x: Tensor, state: State, dim: int, heads: int
) -> Tensor:
    with torch.no_grad():
        return load(answer(dim, heads), state)(x)


def multi_head(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check a class ``Attention(dim, heads)`` with linear layers ``qkv`` and ``proj``.

    It maps tokens (B, T, D) to (B, T, D). Raises ``Wrong``.

    >>> multi_head(lambda dim, heads: torch.nn.Identity())
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: the layer's parts: ...
    """
    whole, normal = draws(seed)
    sizes = [(2, 5, 3, 4)] + [(whole(1, 3), whole(2, 6), whole(2, 4), whole(2, 5)) for _ in "1234"]
    cases = []
    for b, t, heads, h in sizes:
        dim = heads * h
        state = {
            "qkv.weight": 2 * normal(3 * dim, dim) * dim**-0.5, "qkv.bias": normal(3 * dim),
            "proj.weight": normal(dim, dim), "proj.bias": normal(dim),
        }  # fmt: skip
        inputs = normal(b, t, dim), state, dim, heads
        names, want = ("x", "state", "dim", "heads"), _heads(inputs[0], state, heads)
        cases.append(Case(names, inputs, want, HEAD_FAULTS, _call_heads, tolerance=CLOSE))
    examine("multi_head", answer, cases, OWN)


def _repacked(
    rows: Tensor, heads: int, view: str = "hrc", back: tuple[int, ...] = (1, 0, 2)
) -> Tensor:
    sizes = {"r": 3, "h": heads, "c": len(rows) // (3 * heads)}
    split = rows.reshape(*(sizes[axis] for axis in view), -1)
    return split.permute(*back, 3).reshape(rows.shape)


REPACK_FAULTS = {
    "the rows are as they came.": lambda rows, heads: rows,
    "that is the way back: the given rows are ordered by head first, then q, k, v.":
        lambda rows, heads: _repacked(rows, heads, "rhc"),
    "the channels are taken for the slowest axis; given is head, role, channel.":
        lambda rows, heads: _repacked(rows, heads, "chr", (2, 1, 0)),
    "the channels are moved in front of the heads: their order inside a head stays.":
        lambda rows, heads: _repacked(rows, heads, "hrc", (1, 2, 0)),
    "the roles are the fastest axis in your reading; given is head, role, channel.":
        lambda rows, heads: _repacked(rows, heads, "hcr", (2, 0, 1)),
    "the roles come out as v, k, q.":
        lambda rows, heads: torch.cat(_repacked(rows, heads).chunk(3)[::-1]),
    "the heads come out in reverse order.":
        lambda rows, heads: _repacked(rows, heads).reshape(3, heads, -1).flip(1)
        .reshape(rows.shape),
}  # fmt: skip


def repack(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``repack(rows, heads)``: rows ordered head, role, channel to role, head, channel.

    ``rows`` is a weight (3D, D) or a bias (3D,). Raises ``Wrong``.

    >>> repack(lambda rows, heads: rows)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: the rows are as they came. (rows (24, 8), heads=2)
    """
    whole, _ = draws(seed)
    sizes = [(2, 4), (3, 2)] + [(whole(2, 5), whole(2, 5)) for _ in range(4)]
    cases = []
    for heads, h in sizes:
        dim = heads * h
        weight = torch.arange(3 * dim * dim, dtype=torch.float64).reshape(3 * dim, dim)
        for rows in (weight, torch.arange(3 * dim, dtype=torch.float64)):
            want = _repacked(rows, heads)
            cases.append(Case(("rows", "heads"), (rows, heads), want, REPACK_FAULTS))
    examine("repack", answer, cases)


# --- Piece by piece ----------


def _pieces(
    q: Tensor, k: Tensor, v: Tensor, size: int, total: bool = True, result: bool = True
) -> Tensor:
    """Attention over pieces of keys; what is not rescaled for a new maximum is a mistake."""
    largest = q.new_full((len(q), 1), -float("inf"))
    sums, mixed = torch.zeros_like(largest), torch.zeros_like(q)
    for some_k, some_v in zip(k.split(size), v.split(size), strict=True):
        scores = _scores(q, some_k) * q.shape[-1] ** -0.5
        new = torch.maximum(largest, scores.amax(dim=1, keepdim=True))
        shrink, part = (largest - new).exp(), (scores - new).exp()
        sums = sums * (shrink if total else 1) + part.sum(dim=1, keepdim=True)
        mixed = mixed * (shrink if result else 1) + part @ some_v
        largest = new
    return mixed / sums


def _each(q: Tensor, k: Tensor, v: Tensor, size: int) -> Tensor:
    """Attention to each piece alone, (pieces, T, h)."""
    pairs = zip(k.split(size), v.split(size), strict=True)
    return torch.stack([_attend(q, some_k, some_v) for some_k, some_v in pairs])


def _not_divided(q: Tensor, k: Tensor, v: Tensor, size: int) -> Tensor:
    scores = _scores(q, k) * q.shape[-1] ** -0.5
    return (scores - scores.amax(dim=1, keepdim=True)).exp() @ v


PIECE_FAULTS = {
    "each piece has a softmax of its own and all count alike: the sums must go over all keys.":
        lambda q, k, v, size: _each(q, k, v, size).mean(dim=0),
    "the results of the pieces are added up; divide once, by the sum over all keys.":
        lambda q, k, v, size: _each(q, k, v, size).sum(dim=0),
    "only the last piece counts: your loop forgets the earlier ones.":
        lambda q, k, v, size: _each(q, k, v, size)[-1],
    "the last, shorter piece of keys is left out.":
        lambda q, k, v, size: _attend(q, k[: len(k) // size * size], v[: len(k) // size * size]),
    "with a new maximum both what is summed and what is mixed must shrink; yours shrink not.":
        lambda q, k, v, size: _pieces(q, k, v, size, total=False, result=False),
    "with a new maximum the sum must shrink as well as the result.":
        lambda q, k, v, size: _pieces(q, k, v, size, total=False),
    "with a new maximum the result must shrink as well as the sum.":
        lambda q, k, v, size: _pieces(q, k, v, size, result=False),
    "the result is not divided by the sum of the weights.": _not_divided,
    "the scores are not scaled: divide them by the square root of the head width.":
        lambda q, k, v, size: _attend(q, k, v, 1.0),
}  # fmt: skip


class _Watch(TorchFunctionMode):
    """Remembers how many numbers the largest result has."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def _call_pieces(answer: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, size: int) -> Any:
    with _Watch() as seen:
        result = answer(q, k, v, size)
    most = len(q) * max(size, q.shape[1], -(-len(k) // size))
    if seen.numbers > most:
        raise Wrong(f"you hold {seen.numbers:,} numbers at once; {most:,} are allowed, T * size.")
    if isinstance(result, Tensor) and result.isnan().any():
        raise Wrong("e to the power of a large score is infinite: subtract the largest score so "
                    "far before you take the power.")  # fmt: skip
    return result


def attention_in_pieces(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``attend_in_pieces(q, k, v, size)``: attention that sees ``size`` keys at a time.

    ``q``, ``k``, ``v`` are (T, h); no tensor may have more numbers than T times
    ``size``, h or the number of pieces.
    Raises ``Wrong``.

    >>> attention_in_pieces(lambda q, k, v, size: q @ k.T @ v)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: you hold 400 numbers at once; 140 are allowed, T * size.
    """
    whole, normal = draws(seed)
    sizes = [(20, 6, 3, 1.0), (50, 8, 16, 1.0), (30, 4, 7, 1000.0)]
    sizes += [(whole(20, 40), whole(2, 6), whole(3, 9), 3.0) for _ in range(5)]
    cases = []
    for t, h, size, loud in sizes:
        inputs = loud * normal(t, h), normal(t, h), normal(t, h), size
        names, want = ("q", "k", "v", "size"), _attend(*inputs[:3])
        cases.append(Case(names, inputs, want, PIECE_FAULTS, _call_pieces, tolerance=CLOSE))
    examine("attention_in_pieces", answer, cases, OWN)
