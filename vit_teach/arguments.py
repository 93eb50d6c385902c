"""Checks of arguments that many functions share: each says the name, the value and the rule.

For all chapters.
"""

import math
from typing import Any

MOST = 2**31 - 1


def whole(name: str, value: Any, low: int = 0, high: int = MOST) -> int:
    """``value``, if it is an integer from ``low`` to ``high``; else ``ValueError``.

    >>> whole("steps", 3, low=1)
    3
    >>> whole("steps", 0.5, low=1)
    Traceback (most recent call last):
    ...
    ValueError: steps=0.5 must be an integer from 1 to 2,147,483,647
    """
    if type(value) is not int or not low <= value <= high:
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge one"
        raise ValueError(f"{name}={shown} must be an integer from {low:,} to {high:,}")
    return value


def is_number(value: Any) -> bool:
    """Whether ``value`` is an integer or a float, and no truth value or "not a number".

    >>> is_number(2), is_number(True), is_number("2"), is_number(float("nan"))
    (True, False, False, False)
    """
    if type(value) is int:
        return abs(value) < 2**63  # what a float or a tensor can take
    return type(value) is float and not math.isnan(value)


def require_type(name: str, value: Any, kind: type[Any], words: str) -> None:
    """Raise ``ValueError`` unless ``value`` is of the class ``kind``; ``words`` say what that is.

    >>> require_type("model", 5, str, "a text")
    Traceback (most recent call last):
    ...
    ValueError: model of the class int must be a text
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} of the class {type(value).__name__} must be {words}")
