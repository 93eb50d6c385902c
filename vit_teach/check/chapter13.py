"""Check of chapter 13: from exaFLOPs to years, and from core-days to a speed."""

from collections.abc import Callable
from typing import Any

from ..cost import PAPER_TABLE6
from .chapter03 import CLOSE, draws
from .judge import Case, examine

DAY, YEAR = 86_400, 365 * 86_400  # seconds


def _needed(exaflops: float, rate: float, core_days: float) -> tuple[float, float]:
    work = exaflops * 1e18
    return work / rate / YEAR, work / (core_days * DAY) / 1e12


TIME_FAULTS = {
    "an exaFLOP is 10**18 operations, a petaFLOP 10**15.":
        lambda e, r, d: _needed(e / 1000, r, d),
    "these are days; years are wanted.":
        lambda e, r, d: (_needed(e, r, d)[0] * 365, _needed(e, r, d)[1]),
    "these are seconds; years are wanted.":
        lambda e, r, d: (_needed(e, r, d)[0] * YEAR, _needed(e, r, d)[1]),
    "a core-day has 86,400 seconds, not 3,600.":
        lambda e, r, d: (_needed(e, r, d)[0], _needed(e, r, d)[1] * 24),
    "these are operations a day; a second is wanted.":
        lambda e, r, d: (_needed(e, r, d)[0], _needed(e, r, d)[1] * DAY),
    "tera is 10**12; these are gigaFLOPs.":
        lambda e, r, d: (_needed(e, r, d)[0], _needed(e, r, d)[1] * 1000),
    "exaFLOPs count both multiplications and additions already: do not double them.":
        lambda e, r, d: _needed(2 * e, r, d),
    "exaFLOPs of a training hold the backward passes already: do not take them three times.":
        lambda e, r, d: _needed(3 * e, r, d),
    "you return the speed first and the years second.":
        lambda e, r, d: _needed(e, r, d)[::-1],
}  # fmt: skip


def time_needed(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``time_needed(exaflops, rate, core_days)``: (years here, teraFLOPs/s of their core).

    ``rate`` is in FLOPs per second, a year has 365 days. Raises ``Wrong``.

    >>> time_needed(lambda exaflops, rate, core_days: (0.0, 0.0))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: (...) is wanted, yours is (0.0, 0.0). (exaflops=4262, ...
    """
    whole, _ = draws(seed)
    printed = [row[2] for row in PAPER_TABLE6]
    questions = [(printed[-1], 5e10, 2500)]
    questions += [(e, 1e9 * whole(5, 200), whole(50, 3000)) for e in printed[:3]]
    names = ("exaflops", "rate", "core_days")
    cases = [Case(names, q, _needed(*q), TIME_FAULTS, tolerance=CLOSE) for q in questions]
    examine("time_needed", answer, cases)
