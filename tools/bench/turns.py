"""Contenders measured in turns, each in a process of its own.

The processes live through the whole measurement and wait for their turn, so that what disturbs the
machine for a while disturbs all alike, and nobody pays for another's memory, threads or settings.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

Work = Callable[[], float]  # does one piece of work and returns its size, such as 128 (images)
Maker = Callable[..., tuple[Work, dict[str, Any]]]  # prepares it; the dictionary holds facts


def rate(work: Work, seconds: float) -> float:
    """Pieces of work a second, over at least ``seconds`` and at least two calls."""
    amount, calls, start = 0.0, 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - start < seconds:
        amount, calls = amount + work(), calls + 1
    if torch.cuda.is_available():  # a GPU works beside the processor: wait until it is done
        torch.cuda.synchronize()
    return amount / (time.perf_counter() - start)


def serve(connection: Connection) -> None:
    """What a contender's process does: prepare what arrives, or take a turn of so many seconds."""
    work: Work | None = None
    while True:
        try:
            order = connection.recv()
        except (EOFError, KeyboardInterrupt):  # the process that asks is gone: so is the contender
            return
        if order is None:
            return
        try:
            if isinstance(order, tuple):
                make, arguments = order
                work = None  # the memory of the last work is free before the next is prepared
                work, answer = make(*arguments)
            elif work is not None:
                answer = rate(work, order)
            connection.send(answer)
        except Exception as error:  # told to the process that asks, which raises it
            connection.send(f"{type(error).__name__}: {error}")


class Contender:
    """A process that prepares what it is told and takes turns in doing it.

    ``facts`` is what it told about the work that it prepared last. Raises ``RuntimeError`` where
    the work fails.
    """

    def __init__(self, name: str, make: Maker, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,))
        self.process.start()
        theirs.close()
        try:
            self.prepare(make, *arguments)
        except BaseException:
            self.close()
            raise

    def prepare(self, make: Maker, *arguments: Any) -> None:
        """Let the process run ``make(*arguments)``; its work takes the turns from now on."""
        self.facts: dict[str, Any] = self.asked((make, arguments))

    def turn(self, seconds: float) -> float:
        """Pieces of work a second in one turn."""
        return self.asked(seconds)

    def asked(self, order: Any) -> Any:
        self.connection.send(order)
        answer = self.connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(f"{self.name} failed: {answer}")
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.is_alive():
            self.connection.send(None)
        self.process.join()


def in_turns(
    contenders: list[Contender], rounds: int, seconds: float, dropped: int = 1
) -> dict[str, list[float]]:
    """The rates of each contender by its name: A B C, A B C, ... ``rounds`` times.

    ``dropped`` rounds before them warm up: memory is allocated, code is compiled.
    """
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(dropped + rounds):
        for contender in contenders:
            measured = contender.turn(seconds)
            if number >= dropped:
                rates[contender.name].append(measured)
    return rates


def half_range(values: list[float]) -> float:
    """Half the distance from the smallest to the largest: the spread of a measurement here."""
    return (max(values) - min(values)) / 2


def ratio(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """How many times as fast, and the spread of that: median and half range over the rounds.

    A round's two turns follow each other, so their quotient suffers least from the machine.
    """
    quotients = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(quotients), half_range(quotients)
