"""Run a learner's function where it can harm nothing: in a child process with limits.

This is for accidents: endless loops, ``exit()``, a megabyte of prints, too much memory, a crash, a
changed input. It is no wall against someone who means harm; that takes a container.

The child only computes. Its results come back as plain data (:mod:`.plain`), and the verdict is
made in the process that called, which the learner's code cannot write to. Without ``os.fork``
(Windows), or where a forked child cannot compute, the function runs in the calling process: an
endless loop in Python is then stopped only where the system has an alarm, and memory has no limit.

For the exercises of chapters 1 to 15.
"""

import contextlib
import faulthandler
import functools
import inspect
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from .plain import pack, unpack

SECONDS = 5  # for all calls of one check together
MEMORY = 2 << 30  # bytes, above what the process holds already (Linux)
OUTPUT = 64 << 10  # bytes that may be printed, or written to one file
ANSWER = 64 << 20  # bytes of results that are read
HERE = str(Path(__file__).resolve().parent)
SWITCHED_OFF = "the task is to write this yourself: the book's own function is switched off here."

Call = Callable[[Any], Any]  # asks an answer something
Forbidden = Callable[..., Any] | type | tuple[Any, str]  # see switched_off


class Wrong(AssertionError):
    """The answer is wrong; the message names the property that is broken."""

    heading = "\x1b[31mNot yet.\x1b[0m"

    def _render_traceback_(
        self,
    ) -> list[str]:  # asked for by IPython: the message, not the checker's source
        return [f"{self.heading} {self}"]


class NoAnswer(Wrong):
    """The cell still holds the stub."""

    heading = "\x1b[34mYour turn.\x1b[0m"

    def __init__(
        self, message: str = "There is no answer in the cell yet. Write yours, then run this."
    ) -> None:
        super().__init__(message)


def answered(*answers: Any) -> None:
    """Raise :class:`NoAnswer` if one of the functions or classes is an untouched stub.

    For test cells of plain ``assert`` lines, which would else stop with a bare error.

    >>> answered(abs)
    >>> def stub(x):
    ...     raise NotImplementedError  # your code here
    >>> answered(stub)
    Traceback (most recent call last):
    vit_teach.check.isolate.NoAnswer: There is no answer in the cell yet. ...
    """
    for answer in answers:
        parts = [answer, *vars(answer).values()] if inspect.isclass(answer) else [answer]
        codes = [part.__code__ for part in parts if inspect.isfunction(part)]
        if answer is ... or any("NotImplementedError" in code.co_names for code in codes):
            raise NoAnswer


class Later:
    """An answer that comes into being only in the child, by ``make()``.

    The grader hands these to checks, so that it never runs a submission's code itself. ``seconds``
    is what ``make`` may take, on top of the check's own limit.

    >>> Later(lambda: abs)(-3)
    3
    """

    def __init__(self, make: Callable[[], Any], seconds: float = 0.0) -> None:
        self.make, self.seconds = make, seconds

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return results([lambda answer: answer(*args, **kwargs)], self)[0][0]


def results(
    calls: Sequence[Call],
    answer: Any,
    forbidden: Sequence[Forbidden] = (),
    seconds: float = SECONDS,
) -> tuple[list[Any], str]:
    """``call(answer)`` for each of ``calls``, computed in one child. Returns (values, printed).

    ``forbidden`` lists functions and classes that are switched off in the child, and pairs (module,
    name) for functions not written in Python. Raises :class:`Wrong` with the reason if the child
    does not come back with all results.

    >>> results([lambda f: f(2), lambda f: f(3)], lambda x: x * x)
    ([4, 9], '')
    """
    seconds += getattr(answer, "seconds", 0) if isinstance(answer, Later) else 0
    if not can_fork():
        return _here(calls, answer, forbidden, seconds), ""
    with tempfile.TemporaryFile() as printed:
        text, late, status = _in_child(
            lambda: _compute(calls, answer, forbidden), printed.fileno(), seconds
        )
        printed.seek(0)
        shown = printed.read(2000).decode("utf-8", "replace")
    if text is None:
        raise Wrong(_end(late, status, seconds))
    values = _open(text)
    if "error" in values:
        raise _error(values["error"])
    return values["values"], shown


def _open(text: str) -> dict[str, Any]:
    """What a child sent: a dictionary with "values" or "error"."""
    try:
        values = unpack(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not {"values", "error"} & set(values):
        raise Wrong("your code disturbs the check: its results cannot be read.")
    return values


def _error(words: object) -> Wrong:
    return NoAnswer() if words is None else Wrong(str(words))


def _compute(calls: Sequence[Call], answer: Any, forbidden: Sequence[Forbidden]) -> dict[str, Any]:
    """In the child: the values, or the reason in words (None: there is no answer yet)."""
    try:
        if isinstance(answer, Later):
            answer = answer.make()
        with switched_off(forbidden):
            return {"values": [call(answer) for call in calls]}
    except BaseException as error:  # exit() too is reported
        return {"error": explain(error)}


def explain(error: BaseException) -> str | None:
    """An error of the learner's function in words; None for an untouched stub.

    >>> explain(RecursionError())
    'your function calls itself without end.'
    >>> explain(NotImplementedError()) is None
    True
    """
    if isinstance(error, Wrong):
        return None if isinstance(error, NoAnswer) else str(error)
    if isinstance(error, NotImplementedError) and not error.args:
        return None
    if isinstance(error, SystemExit):
        return "your function calls exit(). A function should return its result."
    if isinstance(error, RecursionError):
        return "your function calls itself without end."
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"your function needs more than {MEMORY >> 30} GB of memory for a tiny input."
    if isinstance(error, OSError) and error.errno == 27:
        return f"your function prints or writes more than {OUTPUT >> 10} kB."
    if SWITCHED_OFF in str(error):
        return SWITCHED_OFF
    stack = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in stack if not frame.filename.startswith(HERE)]
    where = (
        f", in line {frames[-1].lineno}: {frames[-1].line}" if frames and frames[-1].line else ""
    )
    return f"your function stops with {type(error).__name__}: {error}{where}"


def _end(late: bool, status: int, seconds: float) -> str:
    """Why a child ended without a result."""
    if late:
        return f"your function did not come back within {seconds:.0f} seconds: an endless loop?"
    if os.WIFSIGNALED(status):
        return f"your function crashed Python (signal {os.WTERMSIG(status)})."
    return "your function ends the whole program (os._exit?). It should return its result."


# --- The child ----------


def _in_child(
    work: Callable[[], Any], printed: int, seconds: float, limits: bool = True
) -> tuple[str | None, bool, int]:
    """Fork, let the child send ``pack(work())``. Returns (text or None, late, status)."""
    pipe, end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        child = os.fork()
    if child == 0:
        try:
            _prepare(printed, end, seconds, limits)
            _send(end, pack(work()).encode())
        finally:
            os._exit(0)
    os.close(end)
    try:
        text, late = _receive(pipe, time.monotonic() + seconds)
    finally:
        os.close(pipe)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(child, signal.SIGKILL if late else signal.SIGTERM if text else 0)
        status = _reap(child)
    return text, late, status


def _reap(child: int) -> int:
    """Wait for a child that has sent its result or is dying; one that lingers is killed."""
    for _ in range(200):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    else:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what the function itself has started
    return status


def _send(end: int, data: bytes) -> None:
    data = len(data).to_bytes(8, "big") + data
    while data:
        data = data[os.write(end, data) :]


def _receive(pipe: int, deadline: float) -> tuple[str | None, bool]:
    """(text, late): a whole message, or None if the child ended or the deadline came first."""
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None, True
        part = os.read(pipe, 1 << 20)
        data += part
        length = int.from_bytes(data[:8], "big")
        if not part or length > ANSWER:
            return None, False
        if len(data) >= 8 and len(data) >= 8 + length:
            return data[8 : 8 + length].decode("utf-8", "replace"), False


def _prepare(printed: int, end: int, seconds: float, limits: bool) -> None:
    """Make this process, a fresh child, quiet, alone in its group, and limited.

    It keeps no open file but ``end``, through which it answers.
    """
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    faulthandler.disable()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (printed, 1), (printed, 2)):
        os.dup2(old, new)
    os.closerange(3, end)
    os.closerange(end + 1, 4096)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    torch.set_num_threads(1)  # a forked child that starts threads of OpenMP hangs
    if limits:
        _limit(seconds)


def _limit(seconds: float) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing too much raises instead
    limits = [("RLIMIT_CPU", int(seconds) + 2), ("RLIMIT_FSIZE", OUTPUT), ("RLIMIT_CORE", 0)]
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere the memory held is not known, and memory is not limited
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
        limits.append(("RLIMIT_DATA", (int(held.split()[1]) << 10) + MEMORY))
    for name, value in limits:
        hard = resource.getrlimit(getattr(resource, name))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (value, value))


@functools.cache
def can_fork() -> bool:
    """Whether a forked child of this process can multiply matrices: not so on every system.

    >>> can_fork() in (True, False)
    True
    """
    if not hasattr(os, "fork"):
        return False
    with tempfile.TemporaryFile() as printed:
        ones = torch.ones(64, 64)
        text, *_ = _in_child(lambda: (ones @ ones).sum().item(), printed.fileno(), 5, limits=False)
    return text == pack(64.0**3)


# --- The book's own functions, switched off ----------


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise RuntimeError(
        "the task is to write this yourself: the book's own function is switched off here."
    )


@contextlib.contextmanager
def switched_off(forbidden: Sequence[Forbidden]) -> Iterator[None]:
    """Within the block the functions and classes of ``forbidden`` refuse to work.

    A function of Python loses its code, so that every other name of it refuses too; a class loses
    its ``__init__``; a pair (module, name) is replaced in that module.

    >>> import vit_teach as vt
    >>> with switched_off([vt.patchify]):
    ...     vt.patchify(torch.zeros(1, 1, 2, 2), 1)
    Traceback (most recent call last):
    RuntimeError: the task is to write this yourself: ...
    """
    with contextlib.ExitStack() as stack:
        for part in forbidden:
            owner, name, new = _lever(part)
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, new)
        yield


def _lever(part: Forbidden) -> tuple[Any, str, Any]:
    """What has to be set on what, so that a function or class refuses."""
    if inspect.isfunction(part):  # what a decorator stands around, if one does
        return inspect.unwrap(part), "__code__", _refuse.__code__
    if inspect.isclass(part):
        return part, "__init__", _refuse
    assert isinstance(part, tuple)
    return *part, _refuse


# --- Without a child ----------


def _here(
    calls: Sequence[Call], answer: Any, forbidden: Sequence[Forbidden], seconds: float
) -> list[Any]:
    """The values, computed in this process; an alarm ends loops where the system has one."""
    alarm = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()

    def ring(*_: object) -> NoReturn:
        raise Wrong(_end(True, 0, seconds))

    if alarm:
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        found = _open(pack(_compute(calls, answer, forbidden)))
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if "error" in found:
        raise _error(found["error"])
    return found["values"]
