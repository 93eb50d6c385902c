"""What a recorded experiment is: a list of cells, each one training written down. Chapter 11.

An experiment is a short module that declares its cells with :func:`cell`. To ask your own
question, copy one of them, change the lists at its top, and add it to ``EXPERIMENTS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ... import zoo
from ...arguments import explained, finite, one_of, require_type, whole
from ...data.imageset import ImageSet
from ...train.config import TrainConfig
from ...vit.embedding import RESIZE_RULES
from ...vit.encoder import INITS
from .images import CLASSES, DATA
from .wrappers import PERMUTATIONS

if TYPE_CHECKING:
    from .measurement import AnyCell

BATCH = 128
EVALUATE_EVERY = 45_000  # training images between two evaluations on the validation images

Models = dict[str, tuple[str, dict[str, Any]]]  # a name: a preset and fields that differ

# The models that are compared: a preset and the fields that differ from it. The first five need
# nearly the same number of multiply-adds (11 million).
MODELS: Models = {
    "vit": ("CIFAR-ViT-Mini", {}),
    "overlap": ("CIFAR-Hybrid-Mini", {"stem": "overlap", "depth": 4}),
    "cct": ("CIFAR-Hybrid-Mini", {"stem": "cct", "depth": 2}),
    "hybrid": ("CIFAR-Hybrid-Mini", {}),
    "cnn": ("CIFAR-ResNet-Mini", {}),
    "vit-no-positions": ("CIFAR-ViT-Mini", {"position": "none"}),
    "vit-sincos1d": ("CIFAR-ViT-Mini", {"position": "sincos1d"}),
    "vit-sincos2d": ("CIFAR-ViT-Mini", {"position": "sincos2d"}),
    "vit-class-token": ("CIFAR-ViT-Mini", {"pool": "cls", "class_token": True}),
    "vit-rotary": ("CIFAR-ViT-Mini", {"position": "rotary"}),
    "vit-relative": ("CIFAR-ViT-Mini", {"position": "relative"}),
    "vit-learned-rotary": ("CIFAR-ViT-Mini", {"position": "learned+rotary"}),
    "vit-learned-relative": ("CIFAR-ViT-Mini", {"position": "learned+relative"}),
    "cnn-circular": ("CIFAR-ResNet-Mini", {"padding": "circular"}),
}
# Models that are small enough to train while a reader waits, for the quick forms.
QUICK_MODELS: Models = {
    "vit": ("CIFAR-ViT-Nano", {}),
    "hybrid": ("CIFAR-Hybrid-Nano", {}),
    "cnn": ("CIFAR-ResNet-Nano", {}),
    "vit-no-positions": ("CIFAR-ViT-Nano", {"position": "none"}),
    "vit-rotary": ("CIFAR-ViT-Nano", {"position": "rotary"}),
}


@dataclass(frozen=True)
class Cell:
    """One training run: what is special about it, a model, a recipe, the images.

    ``labels`` are what the experiment varies, such as ``{"model": "vit", "images": 500}``; with the
    seed they make the cell's name. ``n`` is the number of training images (None: all that are not
    held out), ``data`` where they come from: "cifar10"; "any", which is CIFAR-10 where it is, else
    shapes; or "corner", shapes in the top left corner. ``permutation`` shuffles every image, in
    training and in testing, by one fixed order of its patches or pixels. ``init`` is how a ViT's
    blocks start (:func:`vit_teach.vit.encoder.init_linear`). ``rate`` names the model whose
    ``learning_rate`` cards choose the rate (None: the rate is given), ``rate_factor`` what it is
    multiplied by. ``test`` is whether the test set is looked at. ``classes`` leaves one of
    ``CLASSES`` of the images (None: all). ``start`` is another cell whose trained weights this one
    starts from, with its position table resized by ``rule`` if the image size differs. Raises
    ``ValueError`` for a bad value.

    >>> Cell({"model": "vit"}, "CIFAR-ViT-Nano", TrainConfig(steps=10, seed=2)).name
    'vit-s2'
    """

    labels: dict[str, Any]
    preset: str
    train: TrainConfig
    changes: dict[str, Any] = field(default_factory=dict)
    n: int | None = None
    data: str = "cifar10"
    permutation: str = "none"
    init: str = "normal"
    rate: str | None = None
    rate_factor: float = 1.0
    test: bool = True
    classes: str | None = None
    start: Cell | None = None
    rule: str = "google"

    def __post_init__(self) -> None:
        one_of("permutation", self.permutation, PERMUTATIONS)
        one_of("init", self.init, INITS)
        one_of("data", self.data, DATA)
        one_of("rule", self.rule, RESIZE_RULES)
        one_of("preset", self.preset, zoo.names())
        if self.classes is not None:
            one_of("classes", self.classes, CLASSES)
        if self.n is not None:
            whole("n", self.n, 1)
        finite("rate_factor", self.rate_factor, 1e-6, 1e6)
        require_type("labels", self.labels, dict, "a dictionary")
        require_type("changes", self.changes, dict, "a dictionary")
        require_type("train", self.train, TrainConfig, "a TrainConfig")
        require_type("rate", self.rate, (str, type(None)), "None or the name of a model")
        require_type("test", self.test, bool, "True or False")
        require_type("start", self.start, (Cell, type(None)), "None or a Cell")
        if not self.train.steps:
            raise ValueError(f"train={self.train!r} must give its length in steps")

    @property
    def name(self) -> str:
        """The labels and the seed, such as ``vit-500-s0``: unique in its experiment."""
        return "-".join([*map(str, self.labels.values()), f"s{self.seed}"])

    @property
    def seed(self) -> int:
        """What starts every random choice of the run, the choice of a subset included."""
        return self.train.seed

    @property
    def images(self) -> int:
        """Training images seen, each time counted."""
        return (self.train.steps or 0) * self.train.batch_size

    def config(self, num_classes: int | None = None) -> zoo.Config:
        """The model's configuration; ``num_classes`` defaults to that of the cell's images."""
        if num_classes is None:
            num_classes = len(CLASSES[self.classes]) if self.classes else 10
        return zoo.preset(self.preset, num_classes=num_classes, **self.changes)

    def settings(self) -> dict[str, Any]:
        """The cell as plain values: what its card holds under "config"."""
        left_out = ("steps", "epochs", "minutes", "seed", "device", "threads", "compile")
        recipe = {k: v for k, v in asdict(self.train).items() if k not in left_out}
        more: dict[str, Any] = {"classes": list(CLASSES[self.classes])} if self.classes else {}
        if self.start is not None:
            start = {**self.start.settings(), "steps": self.start.train.steps, "rule": self.rule}
            more["start"] = {"seed": self.start.seed, **start}
        return {
            "labels": self.labels,
            "preset": self.preset,
            "model": zoo.config_to_dict(self.config()),
            "train": recipe,
            "permutation": self.permutation,
            "init": self.init,
            **more,
        }


def nothing_more(model: Any, cell: Any, validation_set: Any) -> dict[str, float]:
    """Measure no more than the accuracies that every card holds.

    >>> nothing_more(None, None, None)
    {}
    """
    return {}


def nothing_to_check(quick: bool) -> None:
    """What most experiments need is there.

    >>> nothing_to_check(quick=True)
    """


@dataclass(frozen=True)
class Experiment:
    """A named question and the cells that answer it.

    ``cells(quick)`` returns a list of :class:`Cell`, or of ``measurement.Measurement``, in the
    order in which they should run: any first part of it is already worth reading. With ``quick``
    they are few and small, minutes in all. ``measure(model, cell, validation_set)`` returns more
    numbers for the card, by name. ``shown`` are the fractions that a report shows, by name (None:
    all accuracies). ``check(quick)`` raises ``ValueError`` where something is missing that every
    cell needs; then none is run.

    >>> Experiment("demo", "Does it train?", lambda quick: []).cells(quick=True)
    []
    """

    name: str
    question: str
    cells: Callable[[bool], Sequence[AnyCell]]
    measure: Callable[[Any, Cell, ImageSet], dict[str, float]] = nothing_more
    shown: tuple[str, ...] | None = None
    check: Callable[[bool], None] = nothing_to_check

    def __post_init__(self) -> None:
        require_type("name", self.name, str, "a text")
        require_type("question", self.question, str, "a text")
        require_type("shown", self.shown, (tuple, type(None)), "None or a tuple of names")
        for name in ("cells", "measure", "check"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a function")


@explained
def cell(
    model: str,
    images: int,
    *,
    models: Models = MODELS,
    labels: Mapping[str, Any] | None = None,
    seed: int = 0,
    n: int | None = None,
    data: str = "cifar10",
    permutation: str = "none",
    init: str = "normal",
    test: bool | None = None,
    tuned: bool | str = True,
    changes: Mapping[str, Any] | None = None,
    classes: str | None = None,
    start: Cell | None = None,
    rule: str = "google",
    rate_factor: float = 1.0,
    **train: Any,
) -> Cell:
    """A :class:`Cell` for the model of this name that sees ``images`` training images.

    ``labels`` come after the model's name; ``tuned`` takes the learning rate that was chosen for
    the model (of another name, if ``tuned`` is one); ``test`` defaults to False where the data may
    be any, which is in the quick forms; ``changes`` are more fields of the model that differ from
    its preset; ``train`` are fields of :class:`TrainConfig`, the others those of :class:`Cell`.
    The CNN is trained by AdamW unless ``train`` says otherwise: Muon is for the matrices of encoder
    blocks, and it has none ("muon-conv" would take its filters).

    >>> cell("vit", 12800, labels={"images": 500}, n=500, seed=1, augment="none").name
    'vit-500-s1'
    """
    if model not in models:
        raise ValueError(f"model={model!r} must be one of {', '.join(models)}")
    preset, fields = models[model]
    if preset.startswith("CIFAR-ResNet"):
        train.setdefault("optimizer", "adamw")
    batch = train.setdefault("batch_size", BATCH)
    test = data != "any" if test is None else test
    train.setdefault("evaluations", 1 if data == "any" else max(2, images // EVALUATE_EVERY))
    return Cell(
        {"model": model, **(labels or {})},
        preset,
        TrainConfig(steps=max(1, images // batch), seed=seed, **train),
        changes={**fields, **(changes or {})}, n=n, data=data, permutation=permutation, init=init,
        rate=model if tuned is True else tuned or None, rate_factor=rate_factor, test=test,
        classes=classes, start=start, rule=rule,
    )  # fmt: skip
