"""What is common to all checks: cases, the comparison, and the words for what is wrong.

For the exercises of chapters 1 to 15.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..arguments import SEEDS, whole
from .isolate import Forbidden, NoAnswer, Wrong, results
from .plain import Other


def plain_call(answer: Callable[..., Any], *inputs: Any) -> Any:
    """Call the answer with the inputs, as most cases do.

    >>> plain_call(max, 2, 3)
    3
    """
    return answer(*inputs)


def seeded(seed: int) -> torch.Generator:
    """The source of a check's other sizes and numbers. Raises ``ValueError`` for a wrong seed.

    >>> seeded("x")
    Traceback (most recent call last):
    ...
    ValueError: seed='x' must be an integer from ...
    """
    return torch.Generator().manual_seed(whole("seed", seed, *SEEDS))


@dataclass
class Case:
    """One question to an answer, and what a right one replies.

    ``names`` are the names of ``inputs``; ``want`` is the right value. ``faults`` maps words to
    functions of the inputs: each gives what one known mistake would. ``call`` asks the answer,
    ``rule`` gets a value of the right shape and returns what is wrong with it in words, or None;
    with ``free`` it alone decides, and ``want`` only shows the kind of value.
    ``tolerance`` is absolute and relative; 0 asks for equality, type included.

    >>> Case(("x",), (2,), 4).want
    4
    """

    names: tuple[str, ...]
    inputs: tuple[Any, ...]
    want: object
    faults: dict[str, Callable[..., Any]] = field(default_factory=dict)
    call: Callable[..., Any] = plain_call
    rule: Callable[[Any], str | None] | None = None
    tolerance: float = 0.0
    free: bool = False

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{name}={value}"
            for name, value in zip(self.names, self.inputs, strict=True)
            if not isinstance(value, dict)
        )


def examine(
    name: str, answer: Any, cases: Sequence[Case], forbidden: Sequence[Forbidden] = ()
) -> None:
    """Ask an answer all cases in a child process, and judge its replies here.

    Prints a line if all are right; raises :class:`Wrong` for the first that is not, and
    :class:`NoAnswer` for an untouched stub.

    >>> examine("square", lambda x: x * x, [Case(("x",), (2,), 4), Case(("x",), (3,), 9)])
    square: right (2 cases)
    """
    if answer is None or answer is ...:
        raise NoAnswer
    if not callable(answer):
        raise Wrong(
            f"check.{name} wants your function or class itself, not its result: "
            f"you gave a value of type {type(answer).__name__}."
        )
    replies, printed = results([_question(case) for case in cases], answer, forbidden)
    if printed:
        print(f"Your function printed:\n{printed.rstrip()}")
    if len(replies) != len(cases):
        raise Wrong("your code disturbs the check: its results cannot be read.")
    for case, reply in zip(cases, replies, strict=True):
        judge(case, *reply)
    print(f"{name}: right ({len(cases)} cases)")


def _question(case: Case) -> Callable[..., tuple[Any, Any]]:
    """A call that replies (value, inputs afterwards)."""

    def ask(answer: Callable[..., Any]) -> tuple[Any, Any]:
        inputs = copy.deepcopy(case.inputs)
        return case.call(answer, *inputs), inputs

    return ask


def judge(case: Case, got: Any, inputs: Any) -> None:
    """Raise :class:`Wrong` unless ``got`` is right and the ``inputs`` are as they were.

    >>> judge(Case(("x",), (2,), 4, {"you double instead of squaring.": lambda x: 2 * x}), 4, (2,))
    """
    got = tidy(got)
    _judge_kind(case, got)
    if not same(inputs, case.inputs):
        raise Wrong("your function changes what it is given. Work on a new tensor.")
    words = case.rule(got) if case.rule else None
    if words is None and (case.free or same(got, case.want, case.tolerance)):
        return
    for fault, function in case.faults.items():
        if same(got, tidy(function(*copy.deepcopy(case.inputs))), case.tolerance):
            raise Wrong(f"{fault} ({case})")
    raise Wrong(f"{words or difference(got, case.want, case.tolerance)} ({case})")


def _judge_kind(case: Case, got: Any) -> None:
    """The type, the shape, the kind of numbers."""
    want = case.want
    if got is None:
        raise Wrong("your function returns None. Is there a `return`?")
    if not isinstance(want, torch.Tensor):
        if type(got) is not type(want) and not {type(got), type(want)} <= {int, float}:
            raise Wrong(f"{_kind(want)} is wanted, yours is {_kind(got)} ({case}).")
        return
    if not isinstance(got, torch.Tensor):
        raise Wrong(f"a tensor is wanted, your function returns {_kind(got)}.")
    if got.shape != want.shape:
        for fault, function in case.faults.items():
            value = tidy(function(*copy.deepcopy(case.inputs)))
            if value.shape == got.shape and same(got, value, case.tolerance):
                raise Wrong(f"{fault} ({case})")
        shapes = f"{tuple(want.shape)} is wanted, yours is {tuple(got.shape)}"
        raise Wrong(f"shape: {shapes} ({case}).")
    if want.dtype != got.dtype and not case.tolerance:
        raise Wrong(f"kind of numbers: {want.dtype} is wanted, yours is {got.dtype} ({case}).")
    if got.is_floating_point() and got.isnan().any():
        raise Wrong(f"your result holds NaN, not a number ({case}).")


def _kind(value: object) -> str:
    if isinstance(value, Other):
        return f"a value of type {value.name}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a value of type {type(value).__name__}"


def tidy(value: Any) -> Any:
    """A list as a tuple, a tensor of one number without axes as that number.

    >>> tidy([torch.tensor(3), 4])
    (3, 4)
    """
    if isinstance(value, (list, tuple)):
        return tuple(tidy(item) for item in value)
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return value.item()
    return value


def same(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    """Whether two values are equal, tensors within the tolerance.

    >>> same((torch.zeros(2), "x"), (torch.zeros(2), "x"))
    True
    >>> same(torch.tensor([1.0]), torch.tensor([1.1]), 0.01)
    False
    """
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.shape != b.shape or a.is_meta != b.is_meta:
            return False
        if not tolerance:
            return a.dtype == b.dtype and torch.equal(a, b)
        return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(same(*pair, tolerance) for pair in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return False
    if tolerance and isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= tolerance * (1 + abs(b))
    return bool(a == b)


def difference(got: Any, want: Any, tolerance: float = 0.0) -> str:
    """The first place where two values of one shape differ, in words.

    >>> difference(torch.tensor([1, 5]), torch.tensor([1, 2]))
    'right shape, wrong content: at [1] 2 is wanted, yours is 5.'
    """
    if isinstance(want, tuple) and any(isinstance(part, torch.Tensor) for part in want):
        return _difference_in_parts(got, want, tolerance)
    if not isinstance(want, torch.Tensor):
        return f"{want} is wanted, yours is {got}."
    far = (got.double() - want.double()).abs() > tolerance * (1 + want.double().abs())
    places = far.nonzero()
    place = tuple(places[0].tolist()) if len(places) else (0,) * want.ndim
    wanted, yours = (f"{value[place].item():.6g}" for value in (want, got))
    return f"right shape, wrong content: at {list(place)} {wanted} is wanted, yours is {yours}."


def _difference_in_parts(got: Any, want: tuple[Any, ...], tolerance: float) -> str:
    """The first part of a tuple with tensors that differs."""
    parts = enumerate(zip(got, want, strict=True))
    number, (mine, right) = next(part for part in parts if not same(*part[1], tolerance))
    if not isinstance(mine, torch.Tensor):
        return f"part {number}: a tensor is wanted, yours is {_kind(mine)}."
    if mine.shape != right.shape:
        shapes = tuple(right.shape), tuple(mine.shape)
        return f"part {number}: shape {shapes[0]} is wanted, yours is {shapes[1]}."
    return f"part {number}: {difference(mine, right, tolerance)}"
