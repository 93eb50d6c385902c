"""The one training loop of the book.

Every random choice of a step (which images, how they are altered) is drawn from a generator that
is seeded with the run's seed and the step's number. So a step needs no memory of the steps before
it, and a run that was stopped goes on exactly as if it had not been.

``python -m vit_teach.train --help`` trains a model from the command line.
"""

import copy
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from .augment import POLICIES, Augment
from .data import normalise
from .device import (
    PRECISIONS,
    autocast,
    keep_memory,
    pick_device,
    pick_precision,
    set_threads,
    subnormals_dropped,
)
from .optim import OPTIMIZERS, SCHEDULES, make_optimizers, schedule, set_learning_rate

# Settings that may change when a stopped run goes on: they move the work, not its outcome (but for
# rounding: sums are taken in another order).
WHERE_IT_RUNS = ("device", "threads", "compile")


SAVE_SECONDS = 30  # how often a run writes its checkpoint
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


@torch.no_grad()
@subnormals_dropped()
def evaluate(model, image_set, batch_size=500, precision="float32"):
    """Accuracy (a fraction) and mean cross-entropy (nats) of ``model`` on an ``ImageSet``.

    The model is left in the mode (training or not) that it came in. Raises ``ValueError`` if the
    set is empty.

    >>> import vit_teach as vt
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> accuracy, loss = evaluate(model, vt.shapes.shapes(20, seed=0))
    >>> round(loss, 4)  # ln 10: a head of zeros gives each of 10 classes the same score
    2.3026
    """
    if len(image_set) == 0:
        raise ValueError("image_set of length 0 must hold at least one image")
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right, loss = 0, 0.0
    for start in range(0, len(image_set), batch_size):
        images = normalise(image_set.images[start : start + batch_size]).to(device)
        labels = image_set.labels[start : start + batch_size].to(device)
        with autocast(device, precision):
            logits = model(images).float()  # (B, K)
        right += (logits.argmax(dim=1) == labels).sum().item()
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
    model.train(was_training)
    return right / len(image_set), loss / len(image_set)


def batch_indices(step, batch_size, length, seed):
    """Which images step number ``step`` uses: a fresh shuffle of all of them in each epoch.

    Returns int64 (batch_size,). A batch may run over the end of one epoch into the next.

    >>> batch_indices(0, 4, 10, seed=0).shape
    torch.Size([4])
    """
    first, last = step * batch_size, (step + 1) * batch_size - 1
    orders = []
    for epoch in range(first // length, last // length + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        orders.append(torch.randperm(length, generator=generator))
    start = first % length
    return torch.cat(orders)[start : start + batch_size]


class Trainer:
    """A model in training: everything that one step changes, and how to save and restore it.

    ``train_set`` and ``validation_set`` are ``ImageSet``; ``config`` is a :class:`TrainConfig`.
    Use :func:`train` unless you want to drive the steps yourself.

    >>> import vit_teach as vt
    >>> images = vt.shapes.shapes(40, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> trainer = Trainer(model, images, images, TrainConfig(steps=2, batch_size=8))
    >>> loss, accuracy = trainer.step()
    >>> trainer.done
    1
    """

    def __init__(self, model, train_set, validation_set, config):
        self.config, self.train_set, self.validation_set = config, train_set, validation_set
        self.device = pick_device(config.device)
        self.precision = pick_precision(config.precision, self.device)
        self.threads = set_threads(config.threads)
        keep_memory()
        # Convolutions are faster with the channels of a pixel side by side in memory.
        self.model = model.to(self.device, memory_format=torch.channels_last).train()
        self.forward = torch.compile(self.model) if config.compile else self.model
        self.average = copy.deepcopy(self.model).eval() if config.average else None
        self.optimizers = make_optimizers(
            self.model, config.optimizer, config.learning_rate, config.weight_decay
        )
        self.augment = Augment(config.augment, seed=config.seed)
        self.kept = None  # with keep="best": the weights of the best look so far
        self.done = 0
        self.losses, self.hits = [], []  # of the steps since the last look at validation images
        self.steps = self.count_steps()
        self.history = History(
            self.steps, precision=self.precision, threads=self.threads, device=self.device.type
        )

    def count_steps(self):
        """The number of steps, from ``steps``, ``epochs`` or ``minutes`` (which is measured)."""
        config = self.config
        if config.steps:
            return config.steps
        if config.epochs:
            return max(1, round(config.epochs * len(self.train_set) / config.batch_size))
        return self.measure_steps(config.minutes * 60)

    def measure_steps(self, seconds):
        """How many steps fit into ``seconds``: time some on a copy, keep a share for validation."""
        self.steps = 10**9
        self.history = History(self.steps)
        saved = copy.deepcopy(self.state_dict())
        began = time.perf_counter()
        for _ in range(3):  # the first steps are slow: memory is allocated, code is compiled
            self.step()
        start = time.perf_counter()
        for _ in range(20):
            self.step()
        per_step = (time.perf_counter() - start) / 20
        evaluating = len(self.validation_set) * self.config.evaluations
        reserve = evaluating * per_step / self.config.batch_size / 3  # a forward pass is a third
        left = seconds - (time.perf_counter() - began) - reserve
        self.load_state_dict(saved)
        return max(1, int(left / per_step))

    @subnormals_dropped()
    def step(self):
        """One step: draw a batch, alter it, forward, backward, update. Returns (loss, accuracy)."""
        config = self.config
        index = batch_indices(self.done, config.batch_size, len(self.train_set), config.seed)
        step_seed = config.seed * 1_000_003 + self.done
        self.augment.generator.manual_seed(step_seed)
        torch.manual_seed(step_seed)  # for dropout
        classes = len(self.train_set.classes)
        labels = self.train_set.labels[index]  # (B,)
        images, targets = self.augment(self.train_set.images[index], labels, classes)
        images = normalise(images).to(self.device)  # (B, C, H, W)
        targets = targets.to(self.device)  # (B, K), rows sum to 1

        warmup = max(1, round(config.warmup * self.steps))
        set_learning_rate(self.optimizers, schedule(self.done, self.steps, warmup, config.schedule))
        with autocast(self.device, self.precision):
            logits = self.forward(images)  # (B, K)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.done += 1
        self.update_average()
        right = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
        return loss.item(), right.item()

    @torch.no_grad()
    def update_average(self):
        """Move the running average of the weights a little towards the weights of this step."""
        if self.average is None:
            return
        decay = min(self.config.average, self.done / (self.done + 10))  # short memory at the start
        averaged = list(self.average.parameters())
        torch._foreach_lerp_(averaged, list(self.model.parameters()), 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)

    @property
    def current(self):
        """The weights of this step: the running average where there is one."""
        return self.average if self.average is not None else self.model

    def look(self):
        """Measure the validation images, add a row to the history's curve and return it."""
        accuracy, loss = evaluate(self.current, self.validation_set, precision=self.precision)
        better = all(accuracy > row["val_accuracy"] for row in self.history.curve)
        row = {
            "step": self.done,
            "epoch": self.done * self.config.batch_size / len(self.train_set),
            "seconds": self.history.seconds,
            "learning_rate": self.optimizers[0].param_groups[0]["lr"],
            "train_loss": sum(self.losses) / len(self.losses),
            "train_accuracy": sum(self.hits) / len(self.hits),
            "val_loss": loss,
            "val_accuracy": accuracy,
        }
        self.history.curve.append(row)
        self.losses, self.hits = [], []
        if self.config.keep == "last" or better:
            self.history.kept_step = self.done
        if self.config.keep == "best" and better:
            self.kept = copy.deepcopy(self.current.state_dict())
        return row

    def finish(self):
        """The model to use, with the weights that ``keep`` asks for."""
        if self.kept is not None:
            self.current.load_state_dict(self.kept)
        return self.current

    def state_dict(self):
        """All that a stopped run needs in order to go on."""
        return {
            "done": self.done,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "history": asdict(self.history),
            "kept": self.kept,
            "recent": [self.losses, self.hits],
        }

    def load_state_dict(self, state):
        """Go back to where ``state`` was taken."""
        self.done, self.steps = state["done"], state["steps"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.history = History(**state["history"])
        self.kept = state["kept"]
        self.losses, self.hits = (list(values) for values in state["recent"])


def train(model, train_set, validation_set, config, folder=None, quiet=False):
    """Train ``model`` in place on an ``ImageSet`` and return (the weights to use, their History).

    ``validation_set`` is only looked at, never learned from. With a ``folder`` the run keeps a
    checkpoint there every half minute; called again with the same folder and settings, it goes on
    from it, and ends with the same weights as a run that was never stopped (bit for bit on one CPU
    thread). Device, threads and compilation may change on the way. Ctrl-C finishes the step, saves,
    and raises ``KeyboardInterrupt``. ``quiet`` prints nothing. Raises ``ValueError`` if the folder
    holds a run with other settings.

    >>> import vit_teach as vt
    >>> images = vt.shapes.shapes(64, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> best, history = train(model, images, images, TrainConfig(steps=3, batch_size=8), quiet=True)
    >>> history.curve[-1]["step"]
    3
    """
    checkpoint = Path(folder) / "checkpoint.pt" if folder is not None else None
    resumed = read_checkpoint(checkpoint, train_set, config) if checkpoint else None
    if resumed:
        config_now = _with_steps(config, resumed["trainer"]["steps"])
        trainer = Trainer(model, train_set, validation_set, config_now)
        try:
            trainer.load_state_dict(resumed["trainer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{checkpoint} holds a run of another model") from error
    else:
        trainer = Trainer(model, train_set, validation_set, config)

    def save():
        if checkpoint:
            write_checkpoint(checkpoint, trainer, train_set, config)

    run_steps(trainer, save, quiet)
    return trainer.finish(), trainer.history


def run_steps(trainer, save, quiet=False):
    """Take the steps that are left, look at validation images on the way, save now and then.

    ``save`` is called without arguments: every half minute, at a wish to stop, and at the end.

    >>> import vit_teach as vt
    >>> images = vt.shapes.shapes(20, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> trainer = Trainer(model, images, images, TrainConfig(steps=2, batch_size=4))
    >>> run_steps(trainer, save=lambda: print("saved after step", trainer.done), quiet=True)
    saved after step 2
    """
    history, config = trainer.history, trainer.config
    looks = {round(trainer.steps * (i + 1) / config.evaluations) for i in range(config.evaluations)}
    shown = sys.stderr.isatty() and not quiet
    bar = tqdm(total=trainer.steps, initial=trainer.done, unit="step", disable=not shown)
    seconds_before, began, saved_at = history.seconds, time.perf_counter(), time.perf_counter()
    with StopRequest() as stop, bar:
        while trainer.done < trainer.steps:
            loss, accuracy = trainer.step()
            trainer.losses.append(loss)
            trainer.hits.append(accuracy)
            bar.update()
            history.images += config.batch_size
            history.seconds = seconds_before + time.perf_counter() - began
            if trainer.done in looks:
                row = trainer.look()
                history.seconds = seconds_before + time.perf_counter() - began
                if not quiet:
                    bar.write(_line(row, trainer.steps), file=sys.stdout)
                    sys.stdout.flush()  # a run whose lines go to a file can be followed there
            if stop.requested or time.perf_counter() - saved_at > SAVE_SECONDS:
                save()
                saved_at = time.perf_counter()
            if stop.requested:
                raise KeyboardInterrupt(f"stopped after step {trainer.done} of {trainer.steps}")
    save()


def _line(row, steps):
    return (
        f"step {row['step']:>6}/{steps} · epoch {row['epoch']:5.1f} · {row['seconds']:6.0f} s · "
        f"train loss {row['train_loss']:.3f} accuracy {row['train_accuracy']:.1%} · "
        f"validation accuracy {row['val_accuracy']:.1%}"
    )


class StopRequest:
    """Turns a first Ctrl-C into a request to stop after the step at hand; a second is immediate.

    >>> with StopRequest() as stop:
    ...     stop.requested
    False
    """

    def __enter__(self):
        self.requested = False
        self.handled = threading.current_thread() is threading.main_thread()
        if self.handled:
            self.previous = signal.signal(signal.SIGINT, self.request)
        return self

    def request(self, *_):
        """Note the wish, and let the next Ctrl-C through."""
        self.requested = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_):
        if self.handled:
            signal.signal(signal.SIGINT, self.previous)


def write_checkpoint(path, trainer, train_set, config):
    """Save a run's state to ``path``; the file is complete or the old one stays.

    >>> write_checkpoint.__name__
    'write_checkpoint'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".tmp{os.getpid()}")
    state = {
        "trainer": trainer.state_dict(),
        "config": asdict(config),
        "data": train_set.fingerprint(),
    }
    torch.save(state, temporary)
    os.replace(temporary, path)


def read_checkpoint(path, train_set, config):
    """The state saved at ``path``, or None if there is no such file.

    Only tensors and plain values are read; a file with code in it is refused. Raises
    ``ValueError`` if the state belongs to a run with other settings or other data.

    >>> read_checkpoint(Path("no-such-file.pt"), None, None)
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        settings = state["config"]
    except (RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        message = f"{path} is damaged or not a checkpoint: delete it to start anew"
        raise ValueError(message) from error
    for name, value in asdict(config).items():
        if name not in WHERE_IT_RUNS and settings.get(name) != value:
            raise ValueError(
                f"{path} holds a run with {name}={settings.get(name)!r}, not {value!r}: "
                "use the same settings to go on, or another folder to start anew"
            )
    if state["data"] != train_set.fingerprint():
        raise ValueError(f"{path} holds a run on other training images: use another folder")
    return state


def _with_steps(config, steps):
    """The same settings with the length as a number of steps."""
    return TrainConfig(**{**asdict(config), "steps": steps, "epochs": None, "minutes": None})


if __name__ == "__main__":
    from .train_cli import main

    sys.exit(main())
