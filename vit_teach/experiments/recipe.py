"""Recipe or architecture? One model, a tutorial's recipe and a modern one, factor by factor.

``python -m vit_teach.experiments run recipe`` takes about 9 core hours for the first 18 of its 27
cells. Chapter 9 reads it.
"""

from collections.abc import Mapping
from typing import Any

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, Models, cell

# What a well-known tutorial does, but for its length, and what this book does.
TUTORIAL: dict[str, Any] = {
    "optimizer": "adamw", "learning_rate": 3e-4, "schedule": "constant", "warmup": 0.0,
    "label_smoothing": 0.0, "augment": "basic", "average": 0.0, "init": "xavier",
}  # fmt: skip
FACTORS: dict[str, dict[str, Any]] = {
    "schedule": {"schedule": "cosine", "warmup": 0.05},
    "optimizer": {"optimizer": "muon", "learning_rate": None},
    "smoothing": {"label_smoothing": 0.1},
    "averaging": {"average": 0.998},
    "augmentation": {"augment": "medium"},
    "init": {"init": "normal"},
}
# A control: the tutorial's recipe at the rate that suits it. How much of a gain is the rate alone?
CONTROL: dict[str, dict[str, Any]] = {"rate": {"learning_rate": None}}
# The 3.2-million-parameter model of the tutorial's size, and the book's small one; images, seeds.
SIZES = {"vit": (450_000, (0, 1)), "vit-base": (180_000, (0,))}


def recipes() -> dict[str, dict[str, Any]]:
    """The recipes by name: the tutorial's, all factors exchanged, one at a time, and the control.

    A learning rate of None is the one that was chosen for it on validation images.

    >>> list(recipes())[:3]
    ['tutorial', 'modern', 'schedule']
    """
    modern = dict(TUTORIAL)
    for change in FACTORS.values():
        modern |= change
    changed = {name: TUTORIAL | change for name, change in (FACTORS | CONTROL).items()}
    return {"tutorial": TUTORIAL, "modern": modern, **changed}


def cells(quick: bool) -> list[Cell]:
    """Two models x recipes; within a model every recipe sees the same number of images.

    >>> cells(quick=False)[0].name
    'vit-tutorial-s0'
    """
    if quick:
        return [
            with_recipe("vit", name, 4_096, QUICK_MODELS, {"recipe": name}, n=5000, data="any",
                        quick=True)
            for name in recipes()
        ]  # fmt: skip
    models = MODELS | {"vit-base": ("CIFAR-ViT-Base", {})}
    return [
        with_recipe(model, name, images, models, {"recipe": name}, seed=seed)
        for seed in (0, 1)
        for model, (images, seeds) in SIZES.items()
        if seed in seeds
        for name in recipes()
    ]


def with_recipe(
    model: str, name: str, images: int, models: Models, labels: Mapping[str, Any],
    quick: bool = False, **options: Any,
) -> Cell:  # fmt: skip
    """The cell of a model that is trained by the recipe of this name, with ``labels`` beside it.

    >>> with_recipe("vit", "tutorial", 12_800, MODELS, {"recipe": "tutorial"}).train.learning_rate
    0.0003
    """
    recipe = dict(recipes()[name])
    tuned: bool | str = False
    if recipe["learning_rate"] is None:
        recipe["learning_rate"] = 3e-3  # in the quick form, where nothing was chosen
        tuned = False if quick else {"muon": "vit", "adamw": "vit-tutorial"}[recipe["optimizer"]]
    return cell(model, images, models=models, labels=labels, tuned=tuned, **recipe, **options)


EXPERIMENT = Experiment("recipe", "Which parts of the recipe make the accuracy?", cells)
