"""The settings of a run and what it wrote down on its way. Chapter 8."""

from dataclasses import dataclass, field

from ..augment.policy import POLICIES
from .device import PRECISIONS
from .optim import OPTIMIZERS, SCHEDULES

KEEP = ("last", "best")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Give the length as ``steps``, ``epochs`` or ``minutes``, one of the three.

    ``learning_rate`` is the peak; ``warmup`` a fraction of the steps; ``average`` the decay of the
    running weight average (0: none); ``clip`` the largest norm of a gradient; ``evaluations`` how
    often to look at the validation images on the way. ``keep`` says which weights to use: those of
    the "last" step, or of the look with the "best" validation accuracy. Raises ``ValueError`` for a
    bad value.

    >>> TrainConfig(steps=100).batch_size
    128
    """

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 128
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    schedule: str = "cosine"
    label_smoothing: float = 0.1
    clip: float = 1.0
    average: float = 0.998
    augment: str = "basic"
    precision: str = "auto"
    compile: bool = False
    device: str = "auto"
    threads: int | None = None
    evaluations: int = 10
    keep: str = "last"
    seed: int = 0

    def __post_init__(self):
        lengths = [n for n in (self.steps, self.epochs, self.minutes) if n is not None]
        if len(lengths) != 1 or not lengths[0] > 0:
            raise ValueError(
                f"give one of steps={self.steps}, epochs={self.epochs}, minutes={self.minutes}, "
                "and it must be positive"
            )
        rules = {
            "steps": (self.steps is None or type(self.steps) is int, "an integer"),
            "batch_size": (type(self.batch_size) is int and self.batch_size > 0, "positive"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {OPTIMIZERS}"),
            "learning_rate": (self.learning_rate > 0, "positive"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "warmup": (0 <= self.warmup < 1, "a fraction of the steps in [0, 1)"),
            "schedule": (self.schedule in SCHEDULES, f"one of {SCHEDULES}"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "in [0, 1)"),
            "clip": (self.clip > 0, "positive"),
            "average": (0 <= self.average < 1, "in [0, 1)"),
            "augment": (self.augment in POLICIES, f"one of {POLICIES}"),
            "precision": (self.precision in PRECISIONS, f"one of {PRECISIONS}"),
            "evaluations": (self.evaluations >= 1, "1 or more"),
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
    curve: list = field(default_factory=list)
    kept_step: int = 0

    @property
    def kept(self):
        """The row of the curve that belongs to the weights in use."""
        return next(row for row in self.curve if row["step"] == self.kept_step)

    @property
    def images_per_second(self):
        """Training images per second of wall time, validation included."""
        return self.images / self.seconds if self.seconds else 0.0
