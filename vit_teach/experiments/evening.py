"""What is each choice of an evening's training worth, at equal time?

Each cell takes as many steps as fitted into two minutes on the machine that recorded it (two AMD
EPYC cores with units for bfloat16, both for one training): so a choice that makes a step slower
pays for it. The steps are written down here, so that the cells can be repeated exactly.

``python -m vit_teach.experiments run evening`` takes about half a core hour. The page "What one
evening buys" reads it.
"""

from dataclasses import dataclass
from typing import Any

from .lab.cells import QUICK_MODELS, Cell, Experiment, Models, cell

MODELS: Models = {
    "hybrid-residual": ("CIFAR-Hybrid-Residual", {}),
    "hybrid-thin": ("CIFAR-Hybrid-Small", {}),
    "vit-tiny": ("CIFAR-ViT-Tiny", {}),
}
BY_MUON = {"optimizer": "muon-conv", "learning_rate": 0.01}


@dataclass(frozen=True)
class Choice:
    """A model, how it is trained, and the images a second on the recording machine.

    >>> Choice("vit-tiny", {"learning_rate": 0.004}, speed=430).images
    51600
    """

    model: str
    train: dict[str, Any]
    speed: int  # images a second, two threads; measured, differences under a tenth were noise

    @property
    def images(self) -> int:
        """Training images seen in two minutes."""
        return 120 * self.speed


# The evening's settings with crop and flip, and what becomes of them when one thing is different.
CHOICES = {
    "all": Choice("hybrid-residual", BY_MUON, 300),
    "medium": Choice("hybrid-residual", {**BY_MUON, "augment": "medium"}, 300),
    "float32": Choice("hybrid-residual", {**BY_MUON, "precision": "float32"}, 180),
    "filters-adamw": Choice("hybrid-residual", {"learning_rate": 0.008}, 300),
    "adamw": Choice("hybrid-residual", {"optimizer": "adamw", "learning_rate": 0.003}, 300),
    "thin": Choice("hybrid-thin", BY_MUON, 200),
    "plain": Choice("vit-tiny", {"learning_rate": 0.004}, 430),
}


def cells(quick: bool) -> list[Cell]:
    """One cell for each choice, judged on the validation images alone; the last step's weights.

    >>> cells(quick=False)[0].name
    'hybrid-residual-all-s0'
    """
    if quick:
        return [
            cell("hybrid", 2_048, models=QUICK_MODELS, labels={"choice": name}, n=2_048,
                 data="any", tuned=False, **CHOICES[name].train)
            for name in ("all", "adamw")
        ]  # fmt: skip
    return [
        cell(choice.model, choice.images, models=MODELS, labels={"choice": name}, tuned=False,
             test=False, average=0.99, evaluations=4, **choice.train)
        for name, choice in CHOICES.items()
    ]  # fmt: skip


EXPERIMENT = Experiment("evening", "What is each choice of an evening worth, at equal time?", cells)
