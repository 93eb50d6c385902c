"""The one training loop of the book. Chapter 8.

Every random choice of a step (which images, how they are altered) is drawn from a generator that
is seeded with the run's seed and the step's number. So a step needs no memory of the steps before
it, and a run that was stopped goes on exactly as if it had not been.

``python -m vit_teach.train --help`` trains a model from the command line.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ..arguments import require_type, whole
from ..augment.batch import beside
from ..augment.policy import Augment
from ..data.imageset import ImageSet, normalise
from ..paths import as_path
from ..weights.carried import normalisation_of, remember
from . import parallel
from .config import SEEDS, History, TrainConfig
from .device import (
    autocast,
    keep_memory,
    pick_device,
    pick_precision,
    set_threads,
    subnormals_dropped,
)
from .evaluation import LOOKING, Looks, check_classes, check_scores, evaluate, looks_within
from .optim import make_optimizers, schedule, set_learning_rate
from .resume import (
    CHECKPOINT,
    SAVE_SECONDS,
    Diverged,
    StopRequest,
    _with_steps,
    locked,
    mark_diverged,
    read_checkpoint,
    write_checkpoint,
)


def batch_indices(step: int, batch_size: int, length: int, seed: int) -> Tensor:
    """Which images step number ``step`` uses: a fresh shuffle of all of them in each epoch.

    Returns int64 (batch_size,). A batch may run over the end of one epoch into the next.

    >>> batch_indices(0, 4, 10, seed=0).shape
    torch.Size([4])
    """
    for name, value, low in (
        ("step", step, 0),
        ("batch_size", batch_size, 1),
        ("length", length, 1),
    ):
        whole(name, value, low, 10**9)
    whole("seed", seed, -SEEDS, SEEDS)
    first, last = step * batch_size, (step + 1) * batch_size - 1
    orders = []
    for epoch in range(first // length, last // length + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        orders.append(torch.randperm(length, generator=generator))
    start = first % length
    return torch.cat(orders)[start : start + batch_size]


# A step that was begun: its number, its rate, and what gives its loss and accuracy.
Begun = tuple[int, float, Callable[[], list[float]]]


class Trainer:
    """A model in training: everything that one step changes, and how to save and restore it.

    ``train_set`` and ``validation_set`` are ``ImageSet``; ``config`` is a :class:`TrainConfig`.
    Use :func:`train` unless you want to drive the steps yourself.

    >>> import vit_teach as vt
    >>> images = vt.data.shapes(40, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> trainer = Trainer(model, images, images, vt.train.TrainConfig(steps=2, batch_size=8))
    >>> loss, accuracy = trainer.step()
    >>> trainer.done
    1
    """

    def __init__(
        self, model: nn.Module, train_set: ImageSet, validation_set: ImageSet, config: TrainConfig
    ) -> None:
        require_type("model", model, nn.Module, "a torch module")
        require_type("config", config, TrainConfig, "a TrainConfig")
        for name, each in (("train_set", train_set), ("validation_set", validation_set)):
            require_type(name, each, ImageSet, "an ImageSet")
            if each.classes != train_set.classes:
                raise ValueError("validation_set must have the classes of train_set")
        # A model that goes on from released weights keeps their way of normalising pictures.
        self.normalisation = normalisation_of(model)
        remember(model, self.normalisation, train_set.classes, getattr(model, "preset", None))
        check_classes(model, train_set)
        parallel.check(model, config.batch_size)
        self.config, self.train_set, self.validation_set = config, train_set, validation_set
        self.device = pick_device(config.device)
        self.precision = pick_precision(config.precision, self.device)
        self.threads = set_threads(config.threads)
        keep_memory()
        # A GPU keeps the bytes of all pictures and alters them there.
        on_gpu = self.device.type == "cuda"
        self.pictures = train_set.images.to(self.device) if on_gpu else train_set.images
        normalise(self.pictures[:1], *self.normalisation)  # raises for numbers that are none
        self.centre, self.spread = (
            torch.tensor(values, device=self.pictures.device).view(-1, 1, 1)
            for values in self.normalisation
        )  # (1 or 3, 1, 1) each
        self.behind = 1 if on_gpu else 0  # steps whose loss may be read later than they began
        # Convolutions are faster with the channels of a pixel side by side in memory.
        self.model = model.to(self.device).to(memory_format=torch.channels_last).train()
        # With several processes: averages the gradients over them.
        shared = parallel.wrapped(self.model)
        self.forward = torch.compile(shared) if config.compile else shared
        self.average = copy.deepcopy(self.model).eval() if config.average else None
        self.optimizers = make_optimizers(
            self.model, config.optimizer, config.learning_rate, config.weight_decay
        )
        self.augment = Augment(config.augment, seed=config.seed)
        # With keep="best": the weights of the best evaluation so far.
        self.kept: dict[str, Any] | None = None
        self.done = 0
        self.losses: list[float] = []  # of the steps since the last evaluation
        self.accuracies: list[float] = []
        self.looks = Looks(config.evaluations)
        self.steps = self.count_steps()
        self.history = History(
            self.steps, precision=self.precision, threads=self.threads, device=self.device.type,
            note=self.looks.note(len(validation_set)),
        )  # fmt: skip

    def count_steps(self) -> int:
        """The number of steps, from ``steps``, ``epochs`` or ``minutes`` (which is measured)."""
        config = self.config
        if config.steps:
            return config.steps
        if config.epochs:
            return max(1, round(config.epochs * len(self.train_set) / config.batch_size))
        return self.measure_steps((config.minutes or 0) * 60)

    def measure_steps(self, seconds: float) -> int:
        """How many steps fit into ``seconds``: time some on a copy, keep a share for validation.

        The share also sets how often the validation images are looked at, and how many of them.
        """
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
        per_image = per_step / self.config.batch_size / 3  # a forward pass is a third of a step
        images = len(self.validation_set)
        looks = looks_within(LOOKING * seconds, per_image, images, self.config)
        left = seconds - (time.perf_counter() - began) - looks.seconds(per_image, images)
        self.load_state_dict(saved)
        self.looks = parallel.from_first(looks)
        return int(parallel.from_first(max(1, int(left / per_step))))

    def step(self) -> tuple[float, float]:
        """One step: draw a batch, alter it, forward, backward, update. Returns (loss, accuracy)."""
        loss, accuracy = self.begin_step()()
        return loss, accuracy

    @subnormals_dropped()
    def begin_step(self) -> Callable[[], list[float]]:
        """The same; the loss and the accuracy come when the function that is returned is called.

        A GPU may still be computing them, and nothing here waits for it.
        """
        config = self.config
        index = batch_indices(self.done, config.batch_size, len(self.train_set), config.seed)
        step_seed = config.seed * 1_000_003 + self.done
        self.augment.generator.manual_seed(step_seed)
        torch.manual_seed(step_seed + parallel.rank() * 2**40)  # for dropout
        classes = len(self.train_set.classes)
        labels = self.train_set.labels[index]  # (B,)
        pictures = self.pictures[beside(index, self.pictures)]
        images, targets = self.augment(pictures, labels, classes)
        images, targets = parallel.share(images), parallel.share(targets)
        images = ((images - self.centre) / self.spread).to(self.device)  # (B, C, H, W)
        targets = targets.to(self.device)  # (B, K), rows sum to 1

        warmup = max(1, round(config.warmup * self.steps))
        set_learning_rate(self.optimizers, schedule(self.done, self.steps, warmup, config.schedule))
        with autocast(self.device, self.precision):
            logits = self.forward(images)  # (B, K)
        check_scores(logits, self.train_set)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=config.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.done += 1
        self.update_average()
        right = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
        return parallel.mean(loss, right)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the running average of the weights a little towards the weights of this step."""
        if self.average is None:
            return
        decay = min(self.config.average, self.done / (self.done + 10))  # short memory at the start
        averaged: list[Tensor] = list(self.average.parameters())
        trained: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(averaged, trained, 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mine.copy_(theirs)

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return self.optimizers[0].param_groups[0]["lr"]

    @property
    def current(self) -> nn.Module:
        """The weights of this step: the running average where there is one."""
        return self.average if self.average is not None else self.model

    def validate(self) -> dict[str, Any]:
        """Measure the validation images, add a row to the history's curve and return it."""
        measured = None
        if parallel.rank() == 0:
            images = self.validation_set
            if self.looks.images is not None and self.done < self.steps:
                images = images.subset(self.looks.images)
            measured = evaluate(self.current, images, precision=self.precision)
        accuracy, loss = parallel.from_first(measured)
        better = all(accuracy > row["val_accuracy"] for row in self.history.curve)
        row = {
            "step": self.done,
            "epoch": self.done * self.config.batch_size / len(self.train_set),
            "seconds": self.history.seconds,
            "learning_rate": self.rate,
            "train_loss": sum(self.losses) / len(self.losses),
            "train_accuracy": sum(self.accuracies) / len(self.accuracies),
            "val_loss": loss,
            "val_accuracy": accuracy,
        }
        self.history.curve.append(row)
        self.losses, self.accuracies = [], []
        if self.config.keep == "last" or better:
            self.history.kept_step = self.done
        if self.config.keep == "best" and better:
            self.kept = copy.deepcopy(self.current.state_dict())
        return row

    def read(self, begun: deque[Begun], left: int) -> None:
        """Note the losses of steps that were begun, all but ``left`` of them.

        Raises :class:`Diverged` at the first that is not finite.
        """
        while len(begun) > left:
            step, rate, measured = begun.popleft()
            loss, accuracy = measured()
            if not math.isfinite(loss):
                raise Diverged(step, rate, f"the loss is {loss}")
            self.losses.append(loss)
            self.accuracies.append(accuracy)

    def finish(self) -> nn.Module:
        """The model to use, with the weights that ``keep`` asks for."""
        if self.kept is not None:
            self.current.load_state_dict(self.kept)
        return self.current

    def state_dict(self) -> dict[str, Any]:
        """All that a stopped run needs in order to go on."""
        return {
            "done": self.done,
            "steps": self.steps,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "history": asdict(self.history),
            "kept": self.kept,
            "recent": [self.losses, self.accuracies],
            "looks": [self.looks.count, self.looks.images],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where ``state`` was taken."""
        self.done, self.steps = state["done"], state["steps"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.history = History(**state["history"])
        self.kept = state["kept"]
        self.losses, self.accuracies = (list(values) for values in state["recent"])
        self.looks = Looks(*state.get("looks", [self.config.evaluations]))


AfterStep = Callable[[Trainer], object]  # what it returns counts as true or false


def train(
    model: nn.Module,
    train_set: ImageSet,
    validation_set: ImageSet,
    config: TrainConfig,
    folder: str | Path | None = None,
    quiet: bool = False,
    after_step: AfterStep | None = None,
) -> tuple[nn.Module, History]:
    """Train ``model`` in place on an ``ImageSet`` and return (the weights to use, their History).

    ``validation_set`` is only looked at, never learned from. With a ``folder`` the run keeps a
    checkpoint there every half minute; called again with the same folder and settings, it goes on
    from it, and ends with the same weights as a run that was never stopped (bit for bit on one CPU
    thread). Device, threads and compilation may change on the way. Ctrl-C finishes the step, saves,
    and raises ``KeyboardInterrupt``; so does a request to end. ``quiet`` prints nothing.
    ``after_step`` is called with the :class:`Trainer` after each step; where it returns true, the
    run stops as after Ctrl-C. Raises ``ValueError`` if the folder holds a run with other settings
    or is in use by another, and its subclass ``Diverged`` at the first loss or weight that is not
    finite; the last good checkpoint stays, and goes on with a lower ``learning_rate``.

    >>> import vit_teach as vt
    >>> images = vt.data.shapes(64, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> config = vt.train.TrainConfig(steps=3, batch_size=8)
    >>> best, history = train(model, images, images, config, quiet=True)
    >>> history.curve[-1]["step"]
    3
    """
    require_type("config", config, TrainConfig, "a TrainConfig")
    require_type("quiet", quiet, bool, "True or False")
    if folder is None:
        trainer = Trainer(model, train_set, validation_set, config)
        run_steps(trainer, lambda: None, quiet, after_step)
        return trainer.finish(), trainer.history
    folder = as_path(folder, "folder")
    checkpoint = folder / CHECKPOINT
    first = parallel.rank() == 0  # it alone writes
    with locked(folder) if first else nullcontext():
        # Once, for it reads every image. What "best" keeps depends on the validation images too.
        fingerprint = f"{train_set.fingerprint()} {validation_set.fingerprint()}"
        trainer = resumed(checkpoint, fingerprint, model, train_set, validation_set, config)

        def save() -> None:
            if first:
                write_checkpoint(checkpoint, trainer, fingerprint, config)

        try:
            run_steps(trainer, save, quiet, after_step)
        except Diverged as error:
            if first:
                mark_diverged(checkpoint, error.step)
            raise
    return trainer.finish(), trainer.history


def resumed(
    checkpoint: Path,
    fingerprint: str,
    model: nn.Module,
    train_set: ImageSet,
    validation_set: ImageSet,
    config: TrainConfig,
) -> Trainer:
    """A :class:`Trainer` that goes on from the file ``checkpoint``, or begins where there is none.

    Raises ``ValueError`` if the file is damaged or holds another run.
    """
    state = read_checkpoint(checkpoint, fingerprint, config, model)
    if state is None:
        return Trainer(model, train_set, validation_set, config)
    config_now = _with_steps(config, state["trainer"]["steps"])
    trainer = Trainer(model, train_set, validation_set, config_now)
    try:
        trainer.load_state_dict(state["trainer"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{checkpoint} is damaged, or holds a run of another model") from error
    for weight in (*trainer.model.state_dict().values(), *trainer.current.state_dict().values()):
        if not weight.isfinite().all():
            raise ValueError(f"{checkpoint} is damaged: it holds weights that are not finite")
    for optimizer in trainer.optimizers:  # lower than before if the run diverged
        for group in optimizer.param_groups:
            group["peak_lr"] *= state.get("rate_factor", 1.0)
    notes = trainer.history.note, state.get("note", "")
    trainer.history.note = "; ".join(note for note in notes if note)
    return trainer


def run_steps(
    trainer: Trainer,
    save: Callable[[], None],
    quiet: bool = False,
    after_step: AfterStep | None = None,
) -> None:
    """Take the steps that are left, evaluate on validation images on the way, save now and then.

    ``save`` is called without arguments: every half minute, when a stop was asked for, at the end.
    ``after_step`` is that of :func:`train`.

    >>> import vit_teach as vt
    >>> images = vt.data.shapes(20, seed=0)
    >>> model = vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"])
    >>> trainer = Trainer(model, images, images, vt.train.TrainConfig(steps=2, batch_size=4))
    >>> run_steps(trainer, save=lambda: print("saved after step", trainer.done), quiet=True)
    saved after step 2
    """
    history, config = trainer.history, trainer.config
    milestones = trainer.looks.steps(trainer.steps)
    shown = sys.stderr.isatty() and not quiet
    bar = tqdm(total=trainer.steps, initial=trainer.done, unit="step", disable=not shown)
    seconds_before, began, saved_at = history.seconds, time.perf_counter(), time.perf_counter()
    begun: deque[Begun] = deque()
    with StopRequest() as stop, bar:
        while trainer.done < trainer.steps:
            measured = trainer.begin_step()
            begun.append((trainer.done, trainer.rate, measured))
            trainer.read(begun, trainer.behind)
            bar.update()
            history.images += config.batch_size
            history.seconds = seconds_before + time.perf_counter() - began
            if trainer.done in milestones:
                trainer.read(begun, 0)
                row = trainer.validate()
                history.seconds = seconds_before + time.perf_counter() - began
                if not quiet:
                    bar.write(_line(row, trainer.steps), file=sys.stdout)
                    sys.stdout.flush()  # a run whose lines go to a file can be followed there
            asked = after_step is not None and bool(after_step(trainer))
            stopping = parallel.anybody(stop.requested or asked)
            if stopping or time.perf_counter() - saved_at > SAVE_SECONDS:
                trainer.read(begun, 0)
                save()
                saved_at = time.perf_counter()
            if stopping:
                raise KeyboardInterrupt(f"stopped after step {trainer.done} of {trainer.steps}")
    save()


def _line(row: dict[str, Any], steps: int) -> str:
    return (
        f"step {row['step']:>6}/{steps} · epoch {row['epoch']:5.1f} · {row['seconds']:3.0f} s · "
        f"loss {row['train_loss']:.3f}, train {row['train_accuracy']:.1%}, "
        f"validation {row['val_accuracy']:.1%}"
    )
