"""How far do the heads of a pre-trained ViT look? The paper's picture, measured.

``python -m vit_teach.experiments run pretrained_attention`` takes about 0.3 core hours.
Chapter 14 reads it. The weights are not in the repository: see
:mod:`vit_teach.experiments.lab.frozen`.
"""

from pathlib import Path

from .. import cost, data, probe, zoo
from ..data.imageset import ImageSet, normalise
from ..weights import normalisation_of
from .lab import attention, frozen
from .lab.cells import Experiment
from .lab.images import base_sets
from .lab.measurement import PHOTOGRAPHS, Measured, Measurement, digest
from .lab.photographs import NAMES, photographs

CIFAR = 100  # validation images, enlarged
WHAT = (
    ("pretrained", "photographs", 224),
    ("untrained", "photographs", 224),
    ("pretrained", "cifar", 224),
    ("pretrained", "cifar", 112),
    ("pretrained", "photographs", 518),  # the size of DINOv2's own position table
)
SELECTION = "nothing is chosen: released weights, all pictures; no test set was looked at"


def cells(quick: bool) -> list[Measurement]:
    """The pre-trained model on photographs, beside its untrained twin, and on enlarged CIFAR.

    >>> [c.name for c in cells(quick=False)][:3]
    ['pretrained-photographs-224-s0', 'untrained-photographs-224-s0', 'pretrained-cifar-224-s0']
    """
    if quick:
        return [_cell(model, "photograph", 32, quick) for model in ("pretrained", "untrained")]
    return [_cell(model, what, size, quick) for model, what, size in WHAT]


def _cell(model: str, what: str, size: int, quick: bool) -> Measurement:
    n = {"photographs": len(NAMES), "cifar": CIFAR, "photograph": 1}[what]
    preset = zoo.preset("CIFAR-ViT-Tiny")
    if not quick:
        preset = zoo.preset("ViT-S/16", image_size=size, patch_size=14)
    return Measurement(
        {"model": model, "pictures": what, "size": size}, _measure, SELECTION,
        {"files": list(NAMES)} if what == "photographs" else {}, n=n,
        data="cifar10" if what == "cifar" else PHOTOGRAPHS, work=4.0 * cost.macs(preset) * n,
    )  # fmt: skip


def _measure(cell: Measurement, folder: str | Path | None) -> Measured:
    """Heads, outliers and rollout of one model on one kind of picture."""
    size, what = cell.labels["size"], cell.labels["pictures"]
    if what == "photograph":  # the quick form: the book's own model
        model = probe.with_controls()["trained"]
        about = {"source": "cifar-vit-20min"}
    else:
        model = frozen.load_frozen(size)
        about = frozen.described(model)
    colours = normalisation_of(model)
    if cell.labels["model"] == "untrained":
        model = probe.untrained_twin(model)
        about = {"source": "untrained, seed 0", "digest": digest(model.blocks)}
    images = _pictures(what, size)
    pictures = attention.enlarged(normalise(images.images, *colours), size)
    metrics, curves = attention.of_heads(model, pictures, batch=1 if size > 300 else 7)
    return Measured(model, images, metrics, curves, weights=about)


def _pictures(what: str, size: int) -> ImageSet:
    if what == "cifar":
        return base_sets("cifar10")[1].subset(CIFAR)
    if what == "photographs":
        return photographs(size)
    one = data.photograph(size)[None]  # (1, 3, size, size)
    labels = one.new_zeros(1).long()
    return ImageSet(one, labels, ("photograph",), "matplotlib's photograph", "photographs")


EXPERIMENT = Experiment(
    "pretrained_attention", "How far do the heads of a pre-trained ViT look?", cells,
    shown=("nearest_share", "mean_share", "farthest_share", "outlier_share", "rollout_top_quarter"),
    check=frozen.check,
)  # fmt: skip
