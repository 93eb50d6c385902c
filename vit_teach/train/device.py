"""Where and how precisely to compute: one function each. Chapter 8."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

PRECISIONS = ("auto", "float32", "bfloat16")
# The names of glibc's malloc.h, and a size that no tensor of a training step reaches.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 2**30  # bytes


def pick_device(name: str = "auto") -> torch.device:
    """The device to compute on: "cuda" if there is one, else "mps" (Apple), else "cpu".

    ``name`` other than "auto" is taken as it is. Returns a ``torch.device``. Raises
    ``ValueError`` for a device that this machine does not have.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if name == "auto":
        name = next((kind for kind, there in present.items() if there()), "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"device={name!r} must be 'auto', 'cpu', 'cuda' or 'mps'") from error
    if device.type != "cpu" and device.type not in present:
        raise ValueError(f"device={name!r} must be 'auto', 'cpu', 'cuda' or 'mps'")
    if device.type in present and not present[device.type]():
        raise ValueError(f"device={name!r} is not available on this machine: use 'auto' or 'cpu'")
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """The number type for matrix products: "float32" or "bfloat16".

    "auto" is bfloat16 where the processor or GPU multiplies it in hardware (a CPU with AVX-512
    BF16 or AMX, a CUDA GPU that says so), else float32. Raises ``ValueError`` for another name.

    >>> pick_precision("float32", torch.device("cpu"))
    'float32'
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision={name!r} must be one of {PRECISIONS}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device.type == "cpu":
        fast = any(
            getattr(torch.cpu, probe, lambda: False)()
            for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return "bfloat16" if fast else "float32"
    return "float32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """A context in which matrix products run in ``precision``; weights stay in float32.

    >>> with autocast(torch.device("cpu"), "bfloat16"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def set_threads(threads: int | None = None) -> int:
    """Use ``threads`` CPU threads (None: what OMP_NUM_THREADS or PyTorch says); return the number.

    Raises ``ValueError`` unless it is a positive integer.

    >>> set_threads(torch.get_num_threads()) == torch.get_num_threads()
    True
    """
    if threads is not None:
        if type(threads) is not int or not 1 <= threads <= 4 * (os.cpu_count() or 1):
            raise ValueError(f"threads={threads!r} must be an integer from 1 to 4 times the cores")
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def keep_memory() -> bool:
    """Let this process keep the memory that it frees, for the next step; say whether it does.

    A training step on a CPU frees and asks for the same large tensors again and again. By default
    glibc hands each back to the system, which clears every page that it gives out anew: more than
    a tenth of a small model's step. Only where the C library is glibc (Linux); elsewhere nothing
    changes. Source: man 3 mallopt.

    >>> keep_memory() in (True, False)
    True
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return all(mallopt(kind, LARGEST_KEPT) == 1 for kind in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


@contextlib.contextmanager
def subnormals_dropped() -> Iterator[bool]:
    """A context, or a decorator, in which this thread rounds subnormal numbers to zero.

    A float32 below 1.2e-38 is called subnormal: it has lost digits, and many processors handle it
    very slowly. A softmax makes such numbers as soon as two scores lie 87 or more apart, and the
    gradients through them are as small, so a model with sharp attention can train at half its
    speed. To the sums that they enter they add nothing. Yields whether the processor can do it.

    >>> import platform
    >>> with subnormals_dropped() as able:
    ...     able or platform.machine() not in ("x86_64", "AMD64")
    True
    """
    try:
        yield torch.set_flush_denormal(True)
    finally:
        torch.set_flush_denormal(False)
