"""A cell that trains no network: it measures one that is there. Chapters 11 and 14."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ... import cost, results, zoo
from ...data.imageset import ImageSet
from .cells import Cell, Experiment
from .images import DATA

PHOTOGRAPHS = "photographs"  # the name of the pictures that are no data set


@dataclass(frozen=True)
class Measurement:
    """What is measured, on how many pictures; it stands where a training's ``Cell`` would.

    ``labels`` are what the experiment varies; with the seed they make the cell's name. ``measure``
    takes the cell and a folder for what is worth keeping (or None) and returns :class:`Measured`.
    ``selection`` says in words what was chosen on which pictures, ``choices`` are further settings
    for the card, ``n`` is the number of pictures, ``work`` about how many FLOPs it takes. ``data``
    is as in ``Cell``, or "photographs". Raises ``ValueError`` for other data.

    >>> Measurement({"model": "vit", "size": 112}, lambda cell, folder: None, "nothing").name
    'vit-112-s0'
    """

    labels: dict[str, Any]
    measure: Callable[[Measurement, str | Path | None], Measured]
    selection: str
    choices: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    n: int = 0
    data: str = "cifar10"
    work: float = 0.0

    def __post_init__(self) -> None:
        if self.data not in (*DATA, PHOTOGRAPHS):
            raise ValueError(f"data={self.data!r} must be one of {(*DATA, PHOTOGRAPHS)}")

    @property
    def name(self) -> str:
        """The labels and the seed, such as ``112-50-s0``: unique in its experiment."""
        return "-".join([*map(str, self.labels.values()), f"s{self.seed}"])

    def settings(self) -> dict[str, Any]:
        """The cell as plain values: what its card holds under "config", but for the weights."""
        return {"labels": self.labels, **self.choices}


@dataclass
class Measured:
    """What came out of a measurement: the model, the pictures, numbers, and words about it.

    ``weights`` say which ones the model has, for the card's "config".

    >>> Measured(None, None, {"val_accuracy": 0.5}).curves
    {}
    """

    model: zoo.Model
    pictures: ImageSet
    metrics: dict[str, Any]
    curves: dict[str, list[Any]] = field(default_factory=dict)
    precision: str = "float32"
    weights: dict[str, str] = field(default_factory=dict)
    note: str | None = None


AnyCell = Cell | Measurement  # what an experiment may declare


def card_of(
    experiment: Experiment, cell: Measurement, command: str, folder: str | Path | None = None
) -> dict[str, Any]:
    """Measure a cell and return its card. ``command`` is what to type to do it again.

    >>> from vit_teach.data import shapes
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> found = Measured(model, shapes(4, seed=0), {"heads": 16})
    >>> cell = Measurement({"model": "nano"}, lambda cell, folder: found, "nothing is chosen")
    >>> card_of(Experiment("demo", "How many?", lambda quick: [cell]), cell, "none")["metrics"]
    {'heads': 16}
    """
    began = time.perf_counter()
    found = cell.measure(cell, folder)
    config = found.model.config
    return results.new_card(
        experiment.name,
        cell.name,
        seed=cell.seed,
        selection=cell.selection,
        config={**cell.settings(), "weights": found.weights},
        data=results.data_entry(found.pictures),
        train={
            "steps": 0, "epochs": 0, "wall_s": time.perf_counter() - began,
            "precision": found.precision, "threads": torch.get_num_threads(), "command": command,
        },
        cost={"params": cost.parameters(config), "macs": cost.macs(config), "train_flops": 0},
        metrics=found.metrics,
        curves=found.curves,
        note=found.note,
    )  # fmt: skip


def digest(model: nn.Module) -> str:
    """12 hexadecimal digits that name the numbers in a model, its head left out.

    >>> digest(torch.nn.Identity())
    'e3b0c44298fc'
    """
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.startswith("head."):
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def seconds(cells: Iterable[Measurement]) -> float:
    """About how long measurements take on this machine: their work at the speed of one product.

    >>> seconds([])
    0.0
    """
    side = 1024
    a = torch.randn(side, side)
    a @ a  # the first one is slower
    began = time.perf_counter()
    a @ a
    speed = 2 * side**3 / (time.perf_counter() - began)  # FLOPs per second
    return sum(cell.work for cell in cells) / speed


def kept_in(folder: str | Path | None, name: str) -> Path | None:
    """A folder that the cells of an experiment share, beside that of one cell; None for None.

    >>> kept_in(Path("runs/demo/cell-s0"), "features").as_posix()
    'runs/demo/features'
    """
    return None if folder is None else Path(folder).parent / name
