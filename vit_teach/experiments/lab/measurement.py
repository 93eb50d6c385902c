"""A cell that trains no network: it measures one that is there. Chapters 11 and 14."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ... import cost, results
from ...data.imageset import ImageSet
from .images import DATA

PHOTOGRAPHS = "photographs"  # the name of the pictures that are no data set


@dataclass(frozen=True)
class Measurement:
    """What is measured, on how many pictures; it stands where a training's ``Cell`` would.

    ``labels`` are what the experiment varies; with the seed they make the cell's name. ``measure``
    takes the cell and a folder for what is worth keeping (or None) and returns :class:`Measured`.
    ``selection`` says in words what was chosen on which pictures, ``choices`` are further settings
    for the card, ``work`` is about how many FLOPs it takes. ``data`` is as in ``Cell``, or
    "photographs". Raises ``ValueError`` for other data.

    >>> Measurement({"model": "vit", "size": 112}, lambda cell, folder: None, "nothing").name
    'vit-112-s0'
    """

    labels: dict
    measure: Callable
    selection: str
    choices: dict = field(default_factory=dict)
    seed: int = 0
    n: int | None = None
    data: str = "cifar10"
    work: float = 0.0

    def __post_init__(self):
        if self.data not in (*DATA, PHOTOGRAPHS):
            raise ValueError(f"data={self.data!r} must be one of {(*DATA, PHOTOGRAPHS)}")

    @property
    def name(self):
        """The labels and the seed, such as ``112-50-s0``: unique in its experiment."""
        return "-".join([*map(str, self.labels.values()), f"s{self.seed}"])

    def settings(self):
        """The cell as plain values: what its card holds under "config", but for the weights."""
        return {"labels": self.labels, **self.choices}


@dataclass
class Measured:
    """What came out of a measurement: the model, the pictures, numbers, and words about it.

    ``weights`` say which ones the model has, for the card's "config".

    >>> Measured(None, None, {"val_accuracy": 0.5}).curves
    {}
    """

    model: torch.nn.Module
    pictures: ImageSet
    metrics: dict
    curves: dict = field(default_factory=dict)
    precision: str = "float32"
    weights: dict = field(default_factory=dict)
    note: str | None = None


def card_of(experiment, cell, command, folder=None):
    """Measure a cell and return its card. ``command`` is what to type to do it again."""
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


def digest(model):
    """12 hexadecimal digits that name the numbers in a model, its head left out.

    >>> digest(torch.nn.Identity())
    'e3b0c44298fc'
    """
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.startswith("head."):
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def seconds(cells):
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


def kept_in(folder, name):
    """A folder that the cells of an experiment share, beside that of one cell; None for None.

    >>> kept_in(Path("runs/demo/cell-s0"), "features").as_posix()
    'runs/demo/features'
    """
    return None if folder is None else Path(folder).parent / name
