"""TrainingLab: set up a training, watch it, stop it, try again (chapter 8).

It is made of the notebook's own controls (ipywidgets) and has no script, so it runs wherever they
do. The training runs in a thread of the kernel: so the kernel hears the button that stops it. A
page without Python shows a recorded run in its place.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import ipywidgets
import torch

from .. import data, results, zoo
from ..arguments import whole
from ..augment.policy import POLICIES
from ..train import TrainConfig
from ..train import train as train_model
from ..train.resume import Diverged
from .shared.base import require
from .training_views import Line, curves, legend, matrix

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..data.imageset import ImageSet
    from ..train import Trainer

DATASETS = ("digits", "shapes", "cifar10")
SECONDS = (3, 3600)  # of a run
MOST = 6  # runs that are kept: as many as there are colours
BATCH, EVALUATIONS, JUDGES = 64, 12, 500
REDRAW = 0.4  # seconds between two drawings
SAYS = (
    "In a notebook this is a lab: choose the pictures, a model, the learning rate, the "
    "augmentation and the seconds, and press Train; the curve grows beside those of your earlier "
    "runs."
)
RUNS_TITLE = "Accuracy against seconds of training"


@dataclass(frozen=True)
class Settings:
    """What a run of the lab is set to. Raises ``ValueError`` for a bad value.

    >>> Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 20).config(steps=100).batch_size
    64
    """

    dataset: str
    preset: str
    learning_rate: float
    augment: str
    seconds: int
    seed: int = 0

    def __post_init__(self) -> None:
        rule = f"must be one of {', '.join(found())}"
        require(self.dataset in found(), "dataset", self.dataset, rule)
        rule = f"must be one of {', '.join(models())}"
        require(self.preset in models(), "preset", self.preset, rule)
        whole("seconds", self.seconds, *SECONDS)
        self.config(steps=1)

    def config(self, steps: int) -> TrainConfig:
        """The settings of a training of so many steps."""
        return TrainConfig(
            steps=steps, batch_size=BATCH, learning_rate=self.learning_rate,
            augment=self.augment, evaluations=EVALUATIONS, seed=self.seed,
        )  # fmt: skip


@dataclass
class Run:
    """A training of the lab: its settings, what it wrote down, how it ended.

    ``curve`` has the rows of :class:`vit_teach.train.History`; ``recent`` pairs of seconds and
    accuracy on the last training batches; ``confusion`` counts (K, K), the classes that the
    validation images have in the rows, those that they are called in the columns. ``outcome`` is
    "training", "finished", "stopped", "diverged" or "failed", and ``why`` says more.

    >>> Run(Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 20)).accuracy is None
    True
    """

    settings: Settings
    curve: list[dict[str, Any]] = field(default_factory=list)
    recent: list[tuple[float, float]] = field(default_factory=list)
    steps: int = 0
    outcome: str = "training"
    why: str = ""
    classes: tuple[str, ...] = ()
    confusion: Tensor | None = None

    @property
    def accuracy(self) -> float | None:
        """The last accuracy on validation images, or None before the first."""
        return self.curve[-1]["val_accuracy"] if self.curve else None

    @property
    def line(self) -> Line:
        """What is drawn of it."""
        judged = [(row["seconds"], row["val_accuracy"]) for row in self.curve]
        return Line(judged, self.recent)


def found() -> list[str]:
    """The data sets that there are here: CIFAR-10 only where a copy lies.

    >>> found()[:2]
    ['digits', 'shapes']
    """
    return [name for name in DATASETS if name != "cifar10" or data.find(name) is not None]


def models() -> list[str]:
    """The presets for pictures of 32 x 32.

    >>> models()[0]
    'CIFAR-ViT-Nano'
    """
    return [name for name in zoo.names() if name.startswith("CIFAR-")]


@lru_cache(maxsize=1)
def image_sets(dataset: str) -> tuple[ImageSet, ImageSet]:
    """(to learn from, to look at): a fifth is held back, and at most 500 of it are looked at.

    >>> [len(images) for images in image_sets("digits")]
    [1200, 300]
    """
    everything = data.stand_in("train") if dataset == "shapes" else data.load(dataset, "train")
    learned, held = everything.hold_out(0.2, seed=0)
    return learned, held.subset(min(JUDGES, len(held)))


def fresh(settings: Settings, images: ImageSet) -> nn.Module:
    """A new model for the classes of ``images``, its first weights drawn from the seed.

    >>> settings = Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 20)
    >>> fresh(settings, data.shapes(20, seed=0)).head.out_features
    10
    """
    torch.manual_seed(settings.seed)
    return zoo.build(zoo.preset(settings.preset, num_classes=len(images.classes)))


def measure_steps(
    settings: Settings, learned: ImageSet, judges: ImageSet, stop: threading.Event
) -> int:
    """How many steps fit into the seconds: a few are timed on a model that is thrown away.

    ``vt.train`` would measure it too (``TrainConfig(minutes=...)``), but hears no Stop meanwhile.
    Raises ``KeyboardInterrupt`` if ``stop`` is set.

    >>> settings = Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 3)
    >>> measure_steps(settings, *image_sets("digits"), threading.Event()) >= EVALUATIONS
    True
    """
    began, ends = time.perf_counter(), []

    def enough(trainer: Trainer) -> bool:
        ends.append(time.perf_counter())
        long = len(ends) > 20 or (len(ends) > 3 and ends[-1] - began > settings.seconds / 10)
        return stop.is_set() or long

    try:
        train_model(fresh(settings, judges), learned, judges, settings.config(10**6), quiet=True,
                    after_step=enough)  # fmt: skip
    except KeyboardInterrupt:
        if stop.is_set():
            raise
    except Diverged:  # which is for the real run to say
        return EVALUATIONS
    per_step = (ends[-1] - ends[0]) / (len(ends) - 1)  # the first one is slow
    looks = EVALUATIONS * len(judges) / BATCH / 3  # an evaluation, in steps: a third for each image
    left = settings.seconds - (ends[-1] - began)
    return max(EVALUATIONS, int(left / per_step - looks))


@torch.no_grad()
def count_confusions(model: nn.Module, images: ImageSet) -> Tensor:
    """How often an image of each class (row) is called each class (column): (K, K), int64.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> count_confusions(model, data.shapes(20, seed=0)).sum().item()
    20
    """
    K = len(images.classes)
    device = next(model.parameters()).device
    model.eval()
    parts = data.normalise(images.images).split(BATCH)
    called = torch.cat([model(part.to(device)).argmax(dim=1).cpu() for part in parts])  # (n,)
    return (K * images.labels + called).bincount(minlength=K * K).view(K, K)


class TrainingLab(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A small training to set up, watch, stop and repeat, with its curve as it grows.

    The arguments are where the controls begin: ``dataset`` (digits, shapes, or cifar10 where it
    lies), ``preset`` (a model of the book for 32 x 32 pixels), ``learning_rate``, ``augment`` (a
    policy of ``vt.augment``) and ``seconds`` (3 to 3,600, measuring the speed included). *Train*
    begins a run, *Stop* ends it after the step at hand, *Again* repeats the last one with the next
    seed. ``runs`` holds the last six :class:`Run`. One lab trains at a time. Meanwhile other cells
    can run, but their random numbers are no longer those of their seeds. Raises ``ValueError`` for
    a value that does not fit.

    >>> lab = TrainingLab(seconds=5)
    >>> lab.settings().preset, lab.runs
    ('CIFAR-ViT-Nano', [])
    """

    _last: ClassVar[TrainingLab | None] = None  # the lab that trained last

    def __init__(
        self, dataset: str = "digits", preset: str = "CIFAR-ViT-Nano",
        learning_rate: float = 3e-3, augment: str = "none", seconds: int = 20,
    ) -> None:  # fmt: skip
        self._stop = threading.Event()
        settings = Settings(dataset, preset, learning_rate, augment, seconds)
        self.runs: list[Run] = []
        self._thread: threading.Thread | None = None
        self._trainer: Trainer | None = None
        self._busy, self._drawn = False, 0.0
        self.controls = make_controls(settings)
        calls = {"Train": self.train, "Stop": self.stop, "Again": self.again}
        self.buttons = {name: ipywidgets.Button(description=name) for name in calls}
        for name, call in calls.items():
            self.buttons[name].on_click(lambda _, call=call: call())
        self.status, self.problem, self.picture, self.table, self.confusion = (
            ipywidgets.HTML() for _ in range(5)
        )
        wrapped = ipywidgets.Layout(flex_flow="row wrap")
        super().__init__([
            ipywidgets.HBox(list(self.controls.values()), layout=wrapped),
            ipywidgets.HBox(list(self.buttons.values()), layout=wrapped),
            self.status, self.problem, self.picture, self.table, self.confusion,
        ])  # fmt: skip
        self._tell("Press Train: the curve grows here.")
        self._show()

    def settings(self) -> Settings:
        """What the controls say. Raises ``ValueError`` if a value does not fit."""
        return Settings(**{name: control.value for name, control in self.controls.items()})

    # --- What the buttons do ---------------------------------------------------------------------

    def train(self) -> None:
        """Begin a run with what the controls say; a value that does not fit is explained."""
        try:
            self._begin(self.settings())
        except ValueError as error:
            self._complain(str(error))

    def again(self) -> None:
        """Repeat the last run with the next seed; the earlier one stays beside it."""
        if self.runs:
            last = self.runs[-1].settings
            self._begin(Settings(**{**vars(last), "seed": last.seed + 1}))

    def stop(self) -> None:
        """End the run after the step at hand."""
        self._stop.set()

    def close(self) -> None:
        """Stop what is running and remove the lab."""
        self.stop()
        super().close()

    @property
    def training(self) -> bool:
        """Whether a run is on its way."""
        return self._busy

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the run is over, at most so many seconds; returns whether it is."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    # --- A run, in its thread --------------------------------------------------------------------

    def _begin(self, settings: Settings) -> None:
        if self.training:
            return
        before, TrainingLab._last = TrainingLab._last, self
        if before is not None and before is not self:
            before.stop()
        self.runs = [*self.runs, Run(settings)][-MOST:]
        self._busy = True
        self._stop.clear()
        self._trainer = None
        self._complain("")
        self.confusion.value = ""
        self._tell("Reading the pictures and measuring the speed …")
        work = threading.Thread(target=self._work, args=(self.runs[-1], before), daemon=True)
        self._thread = work
        work.start()
        self._show()

    def _work(self, run: Run, before: TrainingLab | None) -> None:
        """The whole of a run: all that goes wrong is told, for nobody else would see it."""
        try:
            if before is not None and before is not self:
                before.wait()
            learned, judges = image_sets(run.settings.dataset)
            run.classes = judges.classes
            steps = measure_steps(run.settings, learned, judges, self._stop)
            model, config = fresh(run.settings, judges), run.settings.config(steps)
            train_model(model, learned, judges, config, quiet=True,
                        after_step=lambda trainer: self._watch(run, trainer))  # fmt: skip
            run.outcome, run.why = "finished", doubt(run, len(judges))
        except KeyboardInterrupt as stopped:
            run.outcome, run.why = "stopped", str(stopped)
        except Diverged as error:
            run.outcome, run.why = "diverged", str(error)
        except Exception as error:
            run.outcome, run.why = "failed", f"{type(error).__name__}: {error}"
        self._end(run)

    def _watch(self, run: Run, trainer: Trainer) -> bool:
        """After each step: draw now and then, and say whether to stop."""
        self._trainer, run.steps, run.curve = trainer, trainer.done, list(trainer.history.curve)
        if time.monotonic() - self._drawn > REDRAW:
            seconds = trainer.history.seconds
            if latest := trainer.accuracies[-20:]:  # empty after an evaluation
                run.recent.append((seconds, sum(latest) / len(latest)))
            left = (trainer.steps - trainer.done) * seconds / trainer.done
            loss = f" · loss {trainer.losses[-1]:.3f}" if trainer.losses else ""
            self._tell(f"Step {trainer.done:,} of {trainer.steps:,} · {left:.0f} s left{loss}")
            self._show()
        return self._stop.is_set()

    def _end(self, run: Run) -> None:
        trainer = self._trainer
        if run.outcome in ("finished", "stopped") and trainer is not None:
            run.confusion = count_confusions(trainer.current, trainer.validation_set)
            self.confusion.value = matrix(run.confusion, run.classes)
        score = "" if run.accuracy is None else f", {run.accuracy:.1%} on validation images"
        self._tell(f"Run {len(self.runs)} {run.outcome} after {run.steps:,} steps{score}.")
        self._complain("" if run.outcome == "stopped" else run.why)
        self._busy = False
        self._show()

    # --- What is seen ----------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        self.status.value = f"<p>{html.escape(text)}</p>"

    def _complain(self, text: str) -> None:
        lines = "<br>".join(html.escape(line) for line in text.splitlines())
        self.problem.value = f'<p role="alert"><b>{lines}</b></p>' if text else ""

    def _show(self) -> None:
        """Draw the curves and the table of the runs, and say which buttons can be pressed."""
        self._drawn = time.monotonic()
        lines = [run.line for run in self.runs]
        seconds = max((run.settings.seconds for run in self.runs), default=20)
        self.picture.value = curves(lines, max([seconds, *(line.end for line in lines)]),
                                    "seconds of training", alt(self.runs))  # fmt: skip
        self.table.value = legend(list(map(row, self.runs)))
        self.buttons["Train"].disabled = self.training
        self.buttons["Stop"].disabled = not self.training
        self.buttons["Again"].disabled = self.training or not self.runs

    def static_html(self) -> str:
        """A recorded run in place of the lab, for a page without Python."""
        try:
            cards = {card["cell"]: card for card in results.recorded("train")}
            card = cards["cifar-vit-20min"]
        except FileNotFoundError:  # the package without its repository
            return f"<p>{SAYS}</p>"
        curve, preset = card["curves"], card["config"]["preset"]
        minutes = [second / 60 for second in curve["seconds"]]
        parts = [list(zip(minutes, curve[f"{part}_accuracy"], strict=True))
                 for part in ("val", "train")]  # fmt: skip
        ends = [f"{part[0][1]:.0%} after {minutes[0]:.0f} to {part[-1][1]:.0%} after "
                f"{minutes[-1]:.0f} minutes" for part in parts]  # fmt: skip
        told = f"A recorded run of {preset}: accuracy on validation images goes from {ends[0]}, "
        told += f"on training images from {ends[1]}."
        drawn = curves([Line(*parts)], minutes[-1], "minutes of training", told)
        legend_ = "Solid: validation images; dashed: training images."
        return (
            f'<figure class="vt-lab">{drawn}<figcaption>A recorded run of {html.escape(preset)}. '
            f"{legend_} {SAYS}</figcaption></figure>"
        )

    def _repr_mimebundle_(self, **settings: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**settings)
        return {**bundle, "text/html": self.static_html()}


def make_controls(settings: Settings) -> dict[str, Any]:
    """A control for each setting but the seed, at its value.

    >>> list(make_controls(Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 20)))
    ['dataset', 'preset', 'learning_rate', 'augment', 'seconds']
    """
    titles = {"cifar10": "CIFAR-10"}
    choices = {
        "dataset": [(titles.get(name, name), name) for name in found()],
        "preset": models(),
        "augment": list(POLICIES),
    }
    words = {"dataset": "Pictures", "preset": "Model", "learning_rate": "Learning rate",
             "augment": "Augmentation", "seconds": "Seconds"}  # fmt: skip
    made: dict[str, Any] = {}
    for name, word in words.items():
        shared = {"description": word, "value": getattr(settings, name),
                  "style": {"description_width": "6.5rem"}}  # fmt: skip
        if name in choices:
            made[name] = ipywidgets.Dropdown(options=choices[name], **shared)
        elif name == "seconds":
            made[name] = ipywidgets.IntText(step=5, **shared)
        else:
            made[name] = ipywidgets.FloatText(step=0.001, **shared)
    return made


def doubt(run: Run, n: int) -> str:
    """What to say of a run that ended no better than guessing; empty for one that learned.

    >>> run = Run(Settings("digits", "CIFAR-ViT-Nano", 3, "none", 20), classes=("a", "b"))
    >>> run.curve = [{"val_accuracy": 0.5}]
    >>> doubt(run, n=300)[:29]
    'It did no better than guessin'
    """
    guess = 1 / len(run.classes)
    luck = (guess * (1 - guess) / n) ** 0.5  # standard error of guessing
    if run.accuracy is None or run.accuracy > guess + 3 * luck:
        return ""
    return (
        f"It did no better than guessing ({guess:.0%}). Perhaps the learning rate "
        f"{run.settings.learning_rate:g} is too large, or too small for so few steps."
    )


def row(run: Run) -> list[str]:
    """The words of a run in the table, in the order of ``training_views.HEADS``.

    >>> row(Run(Settings("digits", "CIFAR-ViT-Nano", 0.003, "none", 20)))
    ['digits', 'CIFAR-ViT-Nano', '0.003', 'none', '0', '0', '', 'training']
    """
    s = run.settings
    accuracy = "" if run.accuracy is None else f"{run.accuracy:.1%}"
    return [s.dataset, s.preset, f"{s.learning_rate:g}", s.augment, str(s.seed), f"{run.steps:,}",
            accuracy, run.outcome]  # fmt: skip


def alt(runs: Sequence[Run]) -> str:
    """The drawn curves in words.

    >>> alt([])
    'Accuracy against seconds of training: no run yet.'
    """
    ends = [
        f"run {n} is at {run.accuracy:.0%} on validation images"
        for n, run in enumerate(runs, 1) if run.accuracy is not None
    ]  # fmt: skip
    return f"{RUNS_TITLE}: {'; '.join(ends) or 'no run yet'}."
