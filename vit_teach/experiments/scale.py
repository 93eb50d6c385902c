"""Accuracy against compute: ViT, hybrid and ResNet at four sizes each."""

from .grid import Experiment, cell

SIZES = ("Mini", "Micro", "Tiny", "Small")
FAMILIES = {"vit": "ViT", "hybrid": "Hybrid", "cnn": "ResNet"}
MODELS = {
    f"{name}-{size.lower()}": (f"CIFAR-{family}-{size}", {})
    for size in SIZES
    for name, family in FAMILIES.items()
}
# The rate was chosen for the smallest models. A larger one may want less: it gets a second try.
HALF_RATE = {f"{name}-half": model for name, model in MODELS.items() if "mini" not in name}
QUICK = {"vit": ("CIFAR-ViT-Nano", {}), "cnn": ("CIFAR-ResNet-Nano", {})}


def cells(quick):
    """Twelve models, five epochs each; a family takes the rate chosen for its smallest model.

    All but the smallest are trained with half of that rate as well; which of the two counts is for
    the validation images to say.

    >>> cells(quick=False)[0].name, cells(quick=False)[-1].name, len(cells(quick=False))
    ('vit-mini-s0', 'cnn-small-half-s0', 21)
    """
    if quick:
        return [
            cell(name, images, models=QUICK, labels={"seen": images}, n=5000, data="any",
                 tuned=False)
            for images in (2_560, 10_240)
            for name in QUICK
        ]  # fmt: skip
    return [_cell(name, 225_000) for name in (*MODELS, *HALF_RATE)]


def _cell(name, images):
    family = name.split("-")[0]
    optimizer = "adamw" if family == "cnn" else "muon"
    factor = 0.5 if name in HALF_RATE else 1.0
    return cell(name, images, models=MODELS | HALF_RATE, tuned=family, rate_factor=factor,
                optimizer=optimizer)  # fmt: skip


EXPERIMENT = Experiment("scale", "How does accuracy grow with compute?", cells)
