"""Fine-tuning at a higher resolution: which rule resizes the position table best?

``python -m vit_teach.experiments run resolution`` takes about 0.7 core hours. Chapter 12 reads it.
"""

from typing import Any

from torch import nn

from ..data.imageset import ImageSet
from ..vit.embedding import RESIZE_RULES
from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell
from .lab.pretrained import row_norm

SIZE = 48  # pixels: patches of 4 make a grid of 12 x 12 where 32 pixels have 8 x 8
CONTROL = "32px"  # as much fine-tuning without a change of resolution
SEEDS = (0, 1, 2)


def cells(quick: bool) -> list[Cell]:
    """A ViT trained at 32 pixels, fine-tuned at 48 after each rule, and at 32 as a control.

    225,000 images before (five epochs), 45,000 after, at a quarter of the rate.

    >>> [c.name for c in cells(quick=False)[:2]], len(cells(quick=False))
    (['vit-google-s0', 'vit-32px-s0'], 18)
    """
    if quick:
        return [
            _cell(rule, 0, 12_800, 3_200, models=QUICK_MODELS, data="any", tuned=False)
            for rule in ("google", CONTROL)
        ]
    first, *others = RESIZE_RULES
    return [
        _cell(rule, seed, 225_000, 45_000, models=MODELS)
        for seed in SEEDS
        for rule in (first, CONTROL, *others)
    ]


def _cell(rule: str, seed: int, before: int, after: int, **settings: Any) -> Cell:
    start = cell("vit", before, seed=seed, test=False, **settings)
    larger: dict[str, Any] = (
        {} if rule == CONTROL else {"changes": {"image_size": SIZE}, "rule": rule}
    )
    return cell("vit", after, labels={"rule": rule}, seed=seed, start=start, rate_factor=0.25,
                evaluations=3, **larger, **settings)  # fmt: skip


def measure(model: nn.Module, cell: Cell, validation_set: ImageSet) -> dict[str, float]:
    """The mean length of a row of the position table after fine-tuning: ``row_norm``."""
    inner: Any = getattr(model, "model", model)  # inside the part that enlarges the images
    return {"row_norm": row_norm(inner.pos_embed, int(inner.config.class_token))}


EXPERIMENT = Experiment(
    "resolution", "What does a higher resolution bring, and does the resizing rule matter?",
    cells, measure,
)  # fmt: skip
