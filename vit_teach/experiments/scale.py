"""Accuracy against compute: ViT, hybrid and ResNet at four sizes each."""

from .grid import Experiment, cell

SIZES = ("Mini", "Micro", "Tiny", "Small")
FAMILIES = {"vit": "ViT", "hybrid": "Hybrid", "cnn": "ResNet"}
MODELS = {
    f"{name}-{size.lower()}": (f"CIFAR-{family}-{size}", {})
    for size in SIZES
    for name, family in FAMILIES.items()
}
QUICK = {"vit": ("CIFAR-ViT-Nano", {}), "cnn": ("CIFAR-ResNet-Nano", {})}


def cells(quick):
    """Twelve models, five epochs each; a family takes the rate chosen for its smallest model.

    >>> cells(quick=False)[0].name, len(cells(quick=False))
    ('vit-mini-s0', 12)
    """
    if quick:
        return [
            cell(name, images, models=QUICK, labels={"seen": images}, n=5000, data="any",
                 tuned=False)
            for images in (2_560, 10_240)
            for name in QUICK
        ]  # fmt: skip
    return [_cell(name, 225_000) for name in MODELS]


def _cell(name, images):
    family = name.split("-")[0]
    optimizer = "adamw" if family == "cnn" else "muon"
    return cell(name, images, models=MODELS, tuned=family, optimizer=optimizer)


EXPERIMENT = Experiment("scale", "How does accuracy grow with compute?", cells)
