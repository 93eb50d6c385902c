"""What a recorded experiment is: a list of cells, each one training run written down in full.

An experiment is a short module that declares its cells with :func:`cell`. To ask your own
question, copy one of them, change the lists at its top, and add it to ``EXPERIMENTS``.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from .. import data, results, zoo
from ..embedding import RESIZE_RULES
from ..encoder import INITS, init_linear
from ..patches import patchify, unpatchify
from ..shapes import shapes
from ..train import TrainConfig

VALIDATION = 5000  # images of the training set that every cell holds out, the same ones
QUICK_VALIDATION = 2000  # the same for the quick forms, which leave the test set alone
BATCH = 128
LOOK_EVERY = 45_000  # training images between two looks at the validation images
DATA_SIZE = (32, 32)  # pixels of every image set that the experiments use
PERMUTATIONS = ("none", "patches", "pixels")
DATA = ("cifar10", "any", "corner")
# Two halves of the ten classes, by even and odd number, for transfer from the one to the other.
CLASSES = {"source": (0, 2, 4, 6, 8), "target": (1, 3, 5, 7, 9)}

# The models that are compared: a preset and the fields that differ from it. The first five need
# nearly the same number of multiply-adds (11 million).
MODELS = {
    "vit": ("CIFAR-ViT-Mini", {}),
    "overlap": ("CIFAR-Hybrid-Mini", {"stem": "overlap", "depth": 4}),
    "cct": ("CIFAR-Hybrid-Mini", {"stem": "cct", "depth": 2}),
    "hybrid": ("CIFAR-Hybrid-Mini", {}),
    "cnn": ("CIFAR-ResNet-Mini", {}),
    "vit-no-positions": ("CIFAR-ViT-Mini", {"position": "none"}),
    "vit-sincos1d": ("CIFAR-ViT-Mini", {"position": "sincos1d"}),
    "vit-sincos2d": ("CIFAR-ViT-Mini", {"position": "sincos2d"}),
    "vit-class-token": ("CIFAR-ViT-Mini", {"pool": "cls", "class_token": True}),
}
# Models that are small enough to train while a reader waits, for the quick forms.
QUICK_MODELS = {
    "vit": ("CIFAR-ViT-Nano", {}),
    "hybrid": ("CIFAR-Hybrid-Nano", {}),
    "cnn": ("CIFAR-ResNet-Nano", {}),
    "vit-no-positions": ("CIFAR-ViT-Nano", {"position": "none"}),
}


@dataclass(frozen=True)
class Cell:
    """One training run: what is special about it, a model, a recipe, the images.

    ``labels`` are what the experiment varies, such as ``{"model": "vit", "images": 500}``; with the
    seed they make the cell's name. ``n`` is the number of training images (None: all that are not
    held out), ``data`` where they come from: "cifar10"; "any", which is CIFAR-10 where it is, else
    shapes; or "corner", shapes in the top left corner. ``permutation`` shuffles every image, in
    training and in testing, by one fixed order of its patches or pixels. ``init`` is how a ViT's
    blocks start (:func:`vit_teach.encoder.init_linear`). ``rate`` names the model whose
    ``learning_rate`` cards choose the rate (None: the rate is given), ``rate_factor`` what it is
    multiplied by. ``test`` is whether the test set is looked at. ``classes`` leaves one of
    ``CLASSES`` of the images (None: all). ``start`` is another cell whose trained weights this one
    starts from, with its position table resized by ``rule`` if the image size differs. Raises
    ``ValueError`` for a bad value.

    >>> Cell({"model": "vit"}, "CIFAR-ViT-Nano", TrainConfig(steps=10, seed=2)).name
    'vit-s2'
    """

    labels: dict
    preset: str
    train: TrainConfig
    changes: dict = field(default_factory=dict)
    n: int | None = None
    data: str = "cifar10"
    permutation: str = "none"
    init: str = "normal"
    rate: str | None = None
    rate_factor: float = 1.0
    test: bool = True
    classes: str | None = None
    start: "Cell | None" = None
    rule: str = "google"

    def __post_init__(self):
        if self.permutation not in PERMUTATIONS:
            raise ValueError(f"permutation={self.permutation!r} must be one of {PERMUTATIONS}")
        if self.init not in INITS:
            raise ValueError(f"init={self.init!r} must be one of {INITS}")
        if self.data not in DATA:
            raise ValueError(f"data={self.data!r} must be one of {DATA}")
        if self.classes not in (None, *CLASSES):
            raise ValueError(f"classes={self.classes!r} must be None or one of {tuple(CLASSES)}")
        if self.rule not in RESIZE_RULES:
            raise ValueError(f"rule={self.rule!r} must be one of {RESIZE_RULES}")
        if not self.train.steps:
            raise ValueError(f"train={self.train!r} must give its length in steps")

    @property
    def name(self):
        """The labels and the seed, such as ``vit-500-s0``: unique in its experiment."""
        return "-".join([*map(str, self.labels.values()), f"s{self.seed}"])

    @property
    def seed(self):
        """What starts every random choice of the run, the choice of a subset included."""
        return self.train.seed

    @property
    def images(self):
        """Training images seen, each time counted."""
        return self.train.steps * self.train.batch_size

    def config(self, num_classes=None):
        """The model's configuration; ``num_classes`` defaults to that of the cell's images."""
        if num_classes is None:
            num_classes = len(CLASSES[self.classes]) if self.classes else 10
        return zoo.preset(self.preset, num_classes=num_classes, **self.changes)

    def settings(self):
        """The cell as plain values: what its card holds under "config"."""
        left_out = ("steps", "epochs", "minutes", "seed", "device", "threads", "compile")
        recipe = {k: v for k, v in asdict(self.train).items() if k not in left_out}
        more = {"classes": list(CLASSES[self.classes])} if self.classes else {}
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


def nothing_more(model, cell, validation_set):
    """Measure no more than the accuracies that every card holds.

    >>> nothing_more(None, None, None)
    {}
    """
    return {}


@dataclass(frozen=True)
class Experiment:
    """A named question and the cells that answer it.

    ``cells(quick)`` returns a list of :class:`Cell` in the order in which they should run: any
    first part of it is already worth reading. With ``quick`` they are few and small, minutes in
    all. ``measure(model, cell, validation_set)`` returns more numbers for the card, by name.

    >>> Experiment("demo", "Does it train?", lambda quick: []).cells(quick=True)
    []
    """

    name: str
    question: str
    cells: Callable
    measure: Callable = nothing_more


def cell(model, images, *, models=MODELS, labels=None, seed=0, n=None, data="cifar10",
         permutation="none", init="normal", test=None, tuned=True, changes=None, classes=None,
         start=None, rule="google", rate_factor=1.0, **train):  # fmt: skip
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
    if model == "cnn":
        train.setdefault("optimizer", "adamw")
    batch = train.setdefault("batch_size", BATCH)
    test = data != "any" if test is None else test
    train.setdefault("evaluations", 1 if data == "any" else max(2, images // LOOK_EVERY))
    return Cell(
        {"model": model, **(labels or {})},
        preset,
        TrainConfig(steps=max(1, images // batch), seed=seed, **train),
        changes={**fields, **(changes or {})}, n=n, data=data, permutation=permutation, init=init,
        rate=model if tuned is True else tuned or None, rate_factor=rate_factor, test=test,
        classes=classes, start=start, rule=rule,
    )  # fmt: skip


class Permuted(nn.Module):
    """A model that sees every image shuffled by one fixed order of its patches or pixels.

    The order is drawn once from ``seed``. Images (B, C, H, W) in, what ``model`` gives out. As
    part of the model the shuffle comes after augmentation, in training and in testing alike.
    Raises ``ValueError`` for another ``kind`` than "patches" or "pixels".

    >>> Permuted(nn.Identity(), "pixels", image_size=(4, 4))(torch.ones(1, 3, 4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """

    def __init__(self, model, kind, image_size=(32, 32), patch_size=4, seed=0):
        super().__init__()
        if kind not in PERMUTATIONS[1:]:
            raise ValueError(f"kind={kind!r} must be one of {PERMUTATIONS[1:]}")
        self.model, self.image_size = model, image_size
        self.patch_size = patch_size if kind == "patches" else 1
        count = image_size[0] * image_size[1] // self.patch_size**2
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))  # (N,)
        self.register_buffer("order", order)

    def shuffle(self, images):
        """Put the patches (or pixels) of images (B, C, H, W) into the fixed order.

        >>> picture = torch.arange(16.0).view(1, 1, 4, 4)
        >>> shuffled = Permuted(nn.Identity(), "pixels", image_size=(4, 4)).shuffle(picture)
        >>> torch.equal(shuffled, picture), sorted(shuffled.flatten().tolist())[:3]
        (False, [0.0, 1.0, 2.0])
        """
        parts = patchify(images, self.patch_size)[:, self.order]  # (B, N, C P P)
        return unpatchify(parts, self.patch_size, self.image_size, images.shape[1])

    def forward(self, images):
        return self.model(self.shuffle(images))


class Enlarged(nn.Module):
    """A model for larger images than it is given: they are enlarged first, bicubic.

    Images (B, C, H, W) in, what ``model`` gives out. As part of the model the step comes after
    augmentation, so that a crop of 4 pixels stays one eighth of the picture.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano", image_size=48))
    >>> Enlarged(model)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        size = self.model.config.image_size
        return self.model(F.interpolate(images, size=size, mode="bicubic"))  # (B, K)


def build_model(cell, num_classes=10):
    """The cell's model with fresh weights drawn from its seed.

    A model for larger images than the data's 32 pixels enlarges them.

    >>> type(build_model(cell("vit", 128, permutation="patches"))).__name__
    'Permuted'
    """
    torch.manual_seed(cell.seed)
    config = cell.config(num_classes)
    model = zoo.build(config)
    if cell.init != "normal":
        init_linear(model.blocks, cell.init)
    if cell.permutation != "none":
        return Permuted(model, cell.permutation, config.image_size)
    return model if config.image_size == DATA_SIZE else Enlarged(model)


def load_sets(cell):
    """The (training, validation, test) ``ImageSet`` of a cell; subsets of one seed are nested.

    The validation images are the same in every cell. Raises ``FileNotFoundError`` where the cell
    needs CIFAR-10 and there is none.

    >>> [len(images) for images in load_sets(cell("vit", 128, n=500, data="corner"))]
    [500, 1000, 2000]
    """
    sets = _base_sets(cell.data)
    if cell.classes is not None:
        sets = [of_classes(images, CLASSES[cell.classes]) for images in sets]
    train, validation, test = sets
    if cell.n is not None:
        train = train.subset(min(cell.n, len(train)), seed=cell.seed)
    return train, validation, test


def of_classes(images, labels):
    """The images with these labels (ascending), and the labels numbered anew from 0.

    >>> few = of_classes(shapes(100, seed=0), (1, 3, 5))
    >>> len(few.classes), sorted(set(few.labels.tolist()))
    (3, [0, 1, 2])
    """
    wanted = torch.tensor(labels)  # (K',)
    kept = images.take(torch.isin(images.labels, wanted).nonzero().flatten())
    names = tuple(images.classes[label] for label in labels)
    return replace(kept, labels=torch.searchsorted(wanted, kept.labels), classes=names)


@cache
def _base_sets(name):
    if name == "corner":
        full = shapes(10_000, seed=0, corner="tl")
        test = shapes(2_000, seed=0, split="test", corner="tl")
    elif name == "any":
        full, test = data.load_or_shapes("cifar10", "train"), data.load_or_shapes("cifar10", "test")
    else:
        full, test = data.load("cifar10", "train"), data.load("cifar10", "test")
    held_out = QUICK_VALIDATION if name == "any" else VALIDATION
    return (*full.hold_out(min(held_out, len(full) // 10), seed=0), test)


def with_chosen_rate(cell):
    """The cell with the learning rate that the recorded cards chose for its model.

    >>> given = cell("vit", 128, tuned=False, learning_rate=0.5)
    >>> with_chosen_rate(given).train.learning_rate
    0.5
    """
    if cell.start is not None:
        cell = replace(cell, start=with_chosen_rate(cell.start))
    if cell.rate is None:
        return cell
    rate = cell.rate_factor * chosen_rate(cell.rate)
    return replace(cell, train=replace(cell.train, learning_rate=rate))


def chosen_rate(model):
    """The learning rate with the best validation accuracy among the cards of ``model``.

    The cards of the experiment long_rate decide where there are any, else those of learning_rate.
    Raises ``ValueError`` if there are no such cards.

    >>> chosen_rate("perceptron")
    Traceback (most recent call last):
    ...
    ValueError: model='perceptron' has no learning rate yet: ...
    """
    for experiment in ("long_rate", "learning_rate"):
        rates = _rates_tried(experiment, model)
        if rates:
            return max(rates, key=lambda rate: sum(rates[rate]) / len(rates[rate]))
    raise ValueError(
        f"model={model!r} has no learning rate yet: "
        "first run python -m vit_teach.experiments run learning_rate"
    )


def _rates_tried(experiment, model):
    """The validation accuracies of a model's complete cards by learning rate."""
    try:
        cards = results.recorded(experiment)
    except FileNotFoundError:
        cards = []
    rates = {}
    for card in cards:
        if card["status"] == "complete" and card["config"]["labels"]["model"] == model:
            rate = card["config"]["train"]["learning_rate"]
            rates.setdefault(rate, []).append(card["metrics"]["val_accuracy"])
    return rates
