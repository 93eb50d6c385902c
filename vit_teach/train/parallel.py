"""One training in several processes, each with its part of every batch. Chapter 8.

``torchrun --nproc-per-node 2 -m vit_teach.train ...`` starts two of them. Every process draws the
same batch, alters it in the same way and keeps its rows; PyTorch's ``DistributedDataParallel``
averages the gradients, so all take the same step and hold the same weights. The first process
evaluates, writes and prints. Without ``torchrun`` there is one process, and nothing here does
anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .device import pick_device


def processes() -> int:
    """How many processes train together.

    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0.

    >>> rank()
    0
    """
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def group(device: str = "auto") -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did, for as long as the block lasts.

    They speak by NCCL on GPUs and by gloo on CPUs. ``device`` is as in ``TrainConfig``.

    >>> with group():
    ...     processes()
    1
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield
        return
    on_gpu = pick_device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def check(model: nn.Module, batch_size: int) -> None:
    """Raise ``ValueError`` for what several processes would train to another result than one.

    >>> check(nn.BatchNorm2d(3), 7)  # one process may train anything
    """
    count = processes()
    if count == 1:
        return
    if batch_size % count:
        raise ValueError(f"batch_size={batch_size} must be divisible by the {count} processes")
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        raise ValueError(
            f"a model with BatchNorm must train in one process: each of {count} would "
            "take its means over a part of the batch only"
        )


def wrapped(model: nn.Module) -> nn.Module:
    """The model whose gradients are averaged over the processes; for one, the model itself.

    >>> model = nn.Linear(2, 3)
    >>> wrapped(model) is model
    True
    """
    return DistributedDataParallel(model) if processes() > 1 else model


def share(rows: Tensor) -> Tensor:
    """This process's rows of a batch (B, ...): (B / processes, ...).

    >>> share(torch.arange(4)).tolist()
    [0, 1, 2, 3]
    """
    return rows.chunk(processes())[rank()]


def mean(*values: Tensor) -> Callable[[], list[float]]:
    """The means of scalars over the processes, by a function that waits until they are there.

    On a GPU their copy is ordered now, so what is ordered after it is not waited for.

    >>> mean(torch.tensor(0.5), torch.tensor(2.0))()
    [0.5, 2.0]
    """
    together, count = torch.stack([value.detach().float() for value in values]), processes()
    if count > 1:
        dist.all_reduce(together)
    if together.device.type != "cuda":
        return lambda: [value / count for value in together.tolist()]
    copied, ordered = together.to("cpu", non_blocking=True), torch.cuda.Event()
    ordered.record()

    def wait() -> list[float]:
        ordered.synchronize()
        return [value / count for value in copied.tolist()]

    return wait


def from_first(value: Any) -> Any:
    """What the first process has; the others' values do not count.

    >>> from_first((0.5, 1.25))
    (0.5, 1.25)
    """
    if processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def anybody(wish: bool) -> bool:
    """Whether at least one process says so, so that all stop after the same step.

    >>> anybody(False)
    False
    """
    if processes() == 1:
        return wish
    on_gpu = dist.get_backend() == "nccl"
    said = torch.tensor(int(wish), device="cuda" if on_gpu else "cpu")
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said.item())


def command(line: str) -> str:
    """A command line of this package as it must be typed for as many processes.

    >>> command("python -m vit_teach.train --steps 5")
    'python -m vit_teach.train --steps 5'
    """
    if processes() == 1:
        return line
    start = f"torchrun --nproc-per-node {processes()}"
    return line.replace("python", start, 1)
