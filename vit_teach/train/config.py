"""The settings of a run and what it wrote down on its way. Chapter 8."""

import math
from dataclasses import dataclass, field
from typing import Any

from ..arguments import is_number
from ..augment.policy import POLICIES
from .device import PRECISIONS
from .optim import OPTIMIZERS, SCHEDULES

KEEP = ("last", "best")
NUMBERS = ("learning_rate", "weight_decay", "warmup", "label_smoothing", "clip", "average")
SEEDS = 2**31  # a seed times a million, plus a step, must fit into 64 bits


def setting(default: Any, meaning: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field of :class:`TrainConfig`: its default, what it means, the values it may take.

    The command line is made from these, so that a default and its explanation stand once.

    >>> setting(128, "images in one step").metadata["meaning"]
    'images in one step'
    """
    return field(default=default, metadata={"meaning": meaning, "choices": choices})


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Give the length as ``steps``, ``epochs`` or ``minutes``, one of the three.

    What each field means stands beside it; ``python -m vit_teach.train --help`` shows the same
    text. Raises ``ValueError`` for a bad value.

    >>> TrainConfig(steps=100).batch_size
    128
    """

    steps: int | None = setting(None, "train for so many steps (exactly repeatable)")
    epochs: float | None = setting(None, "train for so many passes over the images")
    minutes: float | None = setting(None, "train for about this long; the speed is measured first")
    batch_size: int = setting(128, "images in one step")
    optimizer: str = setting(
        "muon",
        "muon turns the matrices of the blocks, muon-conv filters too; the rest is adamw's",
        OPTIMIZERS,
    )
    learning_rate: float = setting(3e-3, "at its peak")
    weight_decay: float = setting(
        0.05, "how far each step shrinks the weights, times the learning rate"
    )
    warmup: float = setting(0.05, "part of the steps in which the rate rises from zero")
    schedule: str = setting(
        "cosine",
        "how the rate goes after the warm-up: along a cosine to zero, level and then "
        "straight to zero, or level to the end",
        SCHEDULES,
    )
    label_smoothing: float = setting(0.1, "share of the target that goes to all classes alike")
    clip: float = setting(1.0, "the largest norm of a step's gradient; a longer one is shortened")
    average: float = setting(0.998, "how slowly the averaged weights follow, 0 for no averaging")
    augment: str = setting(
        "basic", "how training images are altered; basic is crop and flip", POLICIES
    )
    precision: str = setting(
        "auto", "of matrix products; auto takes bfloat16 where the processor has it", PRECISIONS
    )
    compile: bool = setting(
        False, "let PyTorch compile the model: a wait, then some faster; needs a C++ compiler"
    )
    device: str = setting("auto", "auto, cpu, cuda or mps")
    threads: int | None = setting(None, "CPU threads (None: all cores)")
    evaluations: int = setting(
        10,
        "how often the validation images are evaluated on the way; with minutes at most so often, "
        "and on fewer images, so that it takes a twentieth of the time",
    )
    keep: str = setting(
        "last", "the weights of the last step, or of the best evaluation on the way", KEEP
    )
    seed: int = setting(0, "starts every random choice")

    def __post_init__(self) -> None:
        for name in ("steps", "epochs", "minutes", *NUMBERS):
            value = getattr(self, name)
            known = is_number(value) or type(value) is float  # "not a number" breaks a rule below
            if not known and not (value is None and name not in NUMBERS):
                raise ValueError(f"{name}={value!r} must be a number")
        lengths = [n for n in (self.steps, self.epochs, self.minutes) if n is not None]
        if len(lengths) != 1 or not 0 < lengths[0] < math.inf:
            raise ValueError(
                f"give one of steps={self.steps}, epochs={self.epochs}, minutes={self.minutes}, "
                "and it must be positive"
            )
        rules = {
            "steps": (self.steps is None or type(self.steps) is int, "an integer"),
            "batch_size": (type(self.batch_size) is int and self.batch_size > 0, "positive"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}"),
            "learning_rate": (0 < self.learning_rate < math.inf, "positive and finite"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more and finite"),
            "warmup": (0 <= self.warmup < 1, "a fraction of the steps in [0, 1)"),
            "schedule": (self.schedule in SCHEDULES, f"one of {SCHEDULES}"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "clip": (self.clip > 0, "positive"),
            "average": (0 <= self.average < 1, "in [0, 1)"),
            "augment": (self.augment in POLICIES, f"one of {POLICIES}"),
            "precision": (self.precision in PRECISIONS, f"one of {PRECISIONS}"),
            "evaluations": (
                type(self.evaluations) is int and 1 <= self.evaluations <= 10**6,
                "an integer from 1 to a million",
            ),
            "seed": (
                type(self.seed) is int and abs(self.seed) < SEEDS,
                f"an integer within {SEEDS:,}",
            ),
            "threads": (
                self.threads is None or (type(self.threads) is int and self.threads > 0),
                "None or a positive integer",
            ),
            "keep": (self.keep in KEEP, f"one of {KEEP}"),
        }
        for name, (good, rule) in rules.items():
            if not good:
                raise ValueError(f"{name}={getattr(self, name)!r} must be {rule}")


@dataclass
class History:
    """What a run did: its settings, its curves, how long it took.

    ``curve`` is a list of dictionaries with keys step, epoch, seconds, learning_rate, train_loss,
    train_accuracy (on altered images), val_loss and val_accuracy; accuracies are fractions.
    ``kept_step`` is the step whose weights are used, and ``kept`` its row of the curve.

    >>> History(steps=10).images_per_second
    0.0
    """

    steps: int
    seconds: float = 0.0
    images: int = 0
    precision: str = "float32"
    threads: int = 1
    device: str = "cpu"
    curve: list[dict[str, Any]] = field(default_factory=list)
    kept_step: int = 0
    note: str = ""  # what a reader of the result must know, such as a change of rate on the way

    @property
    def kept(self) -> dict[str, Any]:
        """The row of the curve that belongs to the weights in use."""
        return next(row for row in self.curve if row["step"] == self.kept_step)

    @property
    def images_per_second(self) -> float:
        """Training images per second of wall time, validation included."""
        return self.images / self.seconds if self.seconds else 0.0
