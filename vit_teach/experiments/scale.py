"""Accuracy against compute: ViT, hybrid and ResNet at four sizes each.

``python -m vit_teach.experiments run scale`` takes about 6 core hours. Chapter 13 reads it.
"""

from .lab.cells import Cell, Experiment, Models, cell

SIZES = ("Mini", "Micro", "Tiny", "Small")
FAMILIES = {"vit": "ViT", "hybrid": "Hybrid", "cnn": "ResNet"}
# The rate was chosen for the smallest models. Larger ones may want less of it, so they get more
# tries: what the name ends with, the part of that rate, and for which sizes.
TRIES = {"": (1.0, SIZES), "-half": (0.5, SIZES[1:]), "-quarter": (0.25, SIZES[3:])}
QUICK: Models = {"vit": ("CIFAR-ViT-Nano", {}), "cnn": ("CIFAR-ResNet-Nano", {})}


def cells(quick: bool) -> list[Cell]:
    """Twelve models, five epochs each; a family takes the rate chosen for its smallest model.

    All but the smallest are trained with half of that rate as well, and the largest with a quarter;
    which of them counts is for the validation images to say.

    >>> cells(quick=False)[0].name, cells(quick=False)[-1].name, len(cells(quick=False))
    ('vit-mini-s0', 'cnn-small-quarter-s0', 24)
    """
    if quick:
        return [
            cell(name, images, models=QUICK, labels={"seen": images}, n=5000, data="any",
                 tuned=False)
            for images in (2_560, 10_240)
            for name in QUICK
        ]  # fmt: skip
    return [
        _cell(family, size, again, part)
        for again, (part, sizes) in TRIES.items()
        for size in sizes
        for family in FAMILIES
    ]


def _cell(family: str, size: str, again: str, part: float) -> Cell:
    name = f"{family}-{size.lower()}{again}"
    models: Models = {name: (f"CIFAR-{FAMILIES[family]}-{size}", {})}
    optimizer = "adamw" if family == "cnn" else "muon"
    return cell(name, 225_000, models=models, tuned=family, rate_factor=part, optimizer=optimizer)


EXPERIMENT = Experiment("scale", "How does accuracy grow with compute?", cells)
