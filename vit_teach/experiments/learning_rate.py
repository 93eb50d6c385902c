"""Which learning rate suits each model? Asked first, so that no model is handicapped later.

``python -m vit_teach.experiments run learning_rate`` takes about 2.4 core hours. Chapter 9 reads
it.
"""

from typing import Any

from .lab import cells as lab
from .lab.cells import Cell, Experiment, cell
from .recipe import TUTORIAL

# The plain ViT with the tutorial's recipe is for the experiment recipe, the two with Muon for their
# filters too for the controls of the experiment augmentation.
MODELS = lab.MODELS | {
    "vit-tutorial": lab.MODELS["vit"],
    "cnn-muon": lab.MODELS["cnn"],
    "hybrid-muon": lab.MODELS["hybrid"],
}
NAMES = ("vit", "cnn", "hybrid", "overlap", "cct", "vit-class-token", "vit-tutorial",
         "cnn-muon", "hybrid-muon")  # fmt: skip
FILTERS_TOO = {"optimizer": "muon-conv"}
RECIPE_OF: dict[str, dict[str, Any]] = {
    "vit-tutorial": TUTORIAL,
    "cnn-muon": FILTERS_TOO,
    "hybrid-muon": FILTERS_TOO,
}
RATES = (0.002, 0.004, 0.008, 0.016)
# The best rate must not be at the end of its list. With a norm after each convolution the CNN
# trains stably at higher rates, with either optimiser; a ViT trained by AdamW needs lower ones.
RATES_OF = {
    "cnn": (*RATES, 0.032, 0.064, 0.128),
    "vit-tutorial": (0.0005, 0.001, 0.002, 0.004),
    "cnn-muon": (*RATES[1:], 0.032, 0.064, 0.128, 0.256),
    "hybrid-muon": (*RATES[1:], 0.032),
}


def cells(quick: bool) -> list[Cell]:
    """Every model at every rate, on 5,000 images, judged on the validation images alone.

    >>> cells(quick=False)[0].name
    'vit-0.002-s0'
    """
    names, images = (NAMES, 102_400) if not quick else (("vit", "cnn"), 6_400)
    return [
        cell(name, images, models=MODELS, labels={"rate": rate}, n=5000,
             data="any" if quick else "cifar10", tuned=False, test=False, evaluations=10,
             **RECIPE_OF.get(name, {}) | {"learning_rate": rate})
        for name in names
        for rate in RATES_OF.get(name, RATES)
    ]  # fmt: skip


EXPERIMENT = Experiment("learning_rate", "Which learning rate suits each model?", cells)
