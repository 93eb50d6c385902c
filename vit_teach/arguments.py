"""Checks of arguments that many functions share: each says the name, the value and the rule.

For all chapters.
"""

import functools
import inspect
import math
import reprlib
from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])
MOST = 2**31 - 1
SEEDS = -(2**63), 2**63 - 1  # what torch's generators take
# What Python, numpy, torch and matplotlib raise when they are given something that does not fit.
FAULTS = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    AssertionError,
)  # fmt: skip


def whole(name: str, value: Any, low: int = 0, high: int = MOST) -> int:
    """``value``, if it is an integer from ``low`` to ``high``; else ``ValueError``.

    >>> whole("steps", 3, low=1)
    3
    >>> whole("steps", 0.5, low=1)
    Traceback (most recent call last):
    ...
    ValueError: steps=0.5 must be a positive integer
    """
    if type(value) is not int or not low <= value <= high:
        rule = f"an integer from {low:,} to {high:,}"
        if high == MOST and low in (0, 1) and not (type(value) is int and value > high):
            rule = "a positive integer" if low else "0 or a positive integer"
        shown = repr(value) if type(value) is not int or abs(value) < 10**20 else "a huge one"
        raise ValueError(f"{name}={shown} must be {rule}")
    return value


def is_number(value: Any) -> bool:
    """Whether ``value`` is an integer or a float, and no truth value or "not a number".

    >>> is_number(2), is_number(True), is_number("2"), is_number(float("nan"))
    (True, False, False, False)
    """
    if type(value) is int:
        return abs(value) < 2**63  # what a float or a tensor can take
    return type(value) is float and not math.isnan(value)


def require_type(
    name: str, value: Any, kind: type[Any] | tuple[type[Any], ...], words: str
) -> None:
    """Raise ``ValueError`` unless ``value`` is of the class ``kind``; ``words`` say what that is.

    >>> require_type("model", 5, str, "a text")
    Traceback (most recent call last):
    ...
    ValueError: model of the class int must be a text
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} of the class {type(value).__name__} must be {words}")


def finite(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """``value``, if it is a finite number from ``low`` to ``high``; else ``ValueError``.

    >>> finite("probability", 0.5, 0, 1)
    0.5
    >>> finite("probability", "x", 0, 1)
    Traceback (most recent call last):
    ...
    ValueError: probability='x' must be a finite number from 0 to 1
    """
    if not is_number(value) or math.isinf(value) or not low <= value <= high:
        least, most = (f"{end:g}" for end in (low, high))
        rule = "" if (low, high) == (-math.inf, math.inf) else f" from {least} to {most}"
        shown = "a huge one" if type(value) is int and abs(value) >= 10**20 else repr(value)
        raise ValueError(f"{name}={shown} must be a finite number{rule}")
    return value


def whole_pair(name: str, value: Any, low: int = 1) -> tuple[int, int]:
    """``value``, if it is a pair of integers of at least ``low``; else ``ValueError``.

    >>> whole_pair("grid", [2, 3])
    (2, 3)
    """
    good = isinstance(value, (tuple, list)) and len(value) == 2
    if not good or any(type(n) is not int or not low <= n <= MOST for n in value):
        raise ValueError(f"{name}={reprlib.repr(value)} must be two integers of at least {low}")
    return value[0], value[1]


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """``value``, if it is one of the words in ``known``; else ``ValueError``.

    >>> one_of("order", "cpp", ("cpp", "ppc"))
    'cpp'
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={reprlib.repr(value)} must be one of {', '.join(known)}")
    return value


def require_tensor(name: str, value: Any, axes: str = "", dtype: torch.dtype | None = None) -> None:
    """Raise ``ValueError`` unless ``value`` is a tensor of real numbers with these ``axes``.

    ``axes`` is written as in the docstrings: "(B, C, H, W)" for four of them, "(..., T, T)" for two
    or more, "" for any number.

    >>> require_tensor("images", torch.zeros(2, 3, 8, 8), "(B, C, H, W)")
    >>> require_tensor("images", torch.zeros(3, 8, 8), "(B, C, H, W)")
    Traceback (most recent call last):
    ...
    ValueError: images of shape (3, 8, 8) must be (B, C, H, W)
    """
    require_type(name, value, torch.Tensor, f"a tensor {axes}".strip())
    count = sum(bool(axis.strip()) for axis in axes.strip("()").split(","))
    fits = value.ndim >= count - 1 if "..." in axes else value.ndim == count
    if axes and not fits:
        raise ValueError(f"{name} of shape {tuple(value.shape)} must be {axes}")
    if value.is_complex() or dtype not in (None, value.dtype):
        raise ValueError(f"{name} of dtype {value.dtype} must be {dtype or 'real numbers'}")


def explained(function: F) -> F:
    """A decorator that turns what goes wrong inside ``function`` into words about its arguments.

    For functions that take rows, cards or panels: dictionaries in dictionaries, of which a check
    one by one would be longer than the function. What fails inside is a ``ValueError`` that shows
    the arguments; one that already names an argument stays as it is, and so do its subclasses.

    >>> @explained
    ... def total(rows):
    ...     return sum(row["mean"] for row in rows)
    >>> total([{"median": 1}])
    Traceback (most recent call last):
    ...
    ValueError: total cannot use rows=[{'median': 1}] (KeyError: 'mean')
    """

    if not callable(function):
        raise ValueError(f"function={function!r} must be a function")

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except FAULTS as error:
            names = inspect.signature(function).parameters
            given = {**dict(zip(names, arguments, strict=False)), **named}
            given.pop("self", None)
            told = type(error) is not ValueError or any(name in str(error) for name in given)
            if not given or (isinstance(error, ValueError) and told):
                raise
            shown = ", ".join(f"{name}={_short(value)}" for name, value in given.items())
            what = f"{type(error).__name__}: {error}"
            who = function.__qualname__.removesuffix(".__init__")
            raise ValueError(f"{who} cannot use {shown} ({what})") from error

    return cast("F", call)


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    return " ".join(reprlib.repr(value).split())
