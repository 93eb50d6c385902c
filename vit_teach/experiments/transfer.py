"""Does pre-training on other classes help? Fine-tuning against training from scratch.

``python -m vit_teach.experiments run transfer`` takes about 1.2 core hours. Chapter 12 reads it.
"""

from typing import Any

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell
from .lab.images import CLASSES

NAMES = ("vit", "cnn")  # "hybrid" may be added: half as much time again
PER_CLASS = (50, 250, 10, 1000)  # images of each target class
RATES = {"full": 1.0, "quarter": 0.25}  # of the rate that was chosen for training from scratch
SEEDS = (0, 1, 2)
K = len(CLASSES["target"])


def cells(quick: bool) -> list[Cell]:
    """Models x images per class x start x rate, one seed after the other.

    Pre-training sees the training images of the five source classes alone, 225,000 with repeats;
    after it every cell sees 38,400 of its few images of the five target classes, whatever its
    start. Validation and test images are of the target classes. Both starts are tried with both
    rates, so that neither is handicapped.

    >>> cells(quick=False)[0].name
    'vit-pretrained-50-full-s0'
    """
    if quick:
        return [
            _cell("vit", start, per_class, "full", 0, 19_200, 3_200, models=QUICK_MODELS,
                  data="any", tuned=False)
            for per_class in (100, 10)
            for start in ("pretrained", "scratch")
        ]  # fmt: skip
    return [
        _cell(name, start, per_class, rate, seed, 225_000, 38_400, models=MODELS)
        for seed in SEEDS
        for per_class in PER_CLASS
        for rate in RATES
        for start in ("pretrained", "scratch")
        for name in NAMES
    ]


def _cell(
    name: str,
    start: str,
    per_class: int,
    rate: str,
    seed: int,
    before: int,
    after: int,
    **settings: Any,
) -> Cell:
    """One cell, and with ``start="pretrained"`` the training on the source classes before it."""
    first = None
    if start == "pretrained":
        first = cell(name, before, seed=seed, classes="source", test=False, **settings)
    return cell(
        name, after, labels={"start": start, "per_class": per_class, "rate": rate}, seed=seed,
        n=K * per_class, classes="target", start=first, rate_factor=RATES[rate], evaluations=6,
        keep="best", **settings,
    )  # fmt: skip


EXPERIMENT = Experiment(
    "transfer", "Does pre-training on other classes help when images are few?", cells
)
