"""Where do the heads of the book's own model look, beside its two controls?

``python -m vit_teach.experiments run cifar_attention`` takes about 0.03 core hours, two minutes.
Chapter 14 reads it.
"""

from pathlib import Path

from .. import cost, probe, zoo
from ..data.imageset import normalise
from ..train.evaluation import evaluate
from .lab import attention
from .lab.cells import Experiment
from .lab.images import base_sets
from .lab.measurement import Measured, Measurement, digest

MODELS = ("trained", "shuffled labels", "untrained")  # as vt.probe.with_controls calls them
PICTURES = 200
SELECTION = "nothing is chosen: recorded weights, validation images; the test set was not looked at"


def cells(quick: bool) -> list[Measurement]:
    """The trained model and its two controls on the same 200 validation images.

    >>> [c.name for c in cells(quick=False)]
    ['trained-s0', 'shuffled-labels-s0', 'untrained-s0']
    """
    n, data = (20, "any") if quick else (PICTURES, "cifar10")
    work = 2.0 * cost.macs(zoo.preset("CIFAR-ViT-Tiny")) * n * 8  # six answers, two looks inside
    return [
        Measurement(
            {"model": name.replace(" ", "-")}, _measure, SELECTION, n=n, data=data, work=work
        )
        for name in MODELS
    ]


def _measure(cell: Measurement, folder: str | Path | None) -> Measured:
    """Accuracy, heads, outliers and the covering test of one model."""
    model = probe.with_controls()[cell.labels["model"].replace("-", " ")]
    few = base_sets(cell.data)[1].subset(cell.n)
    pictures = normalise(few.images)
    accuracy, loss = evaluate(model, few)
    metrics, curves = attention.of_heads(model, pictures, batch=50)
    metrics |= {"val_accuracy": accuracy, "val_loss": loss, **attention.covered(model, pictures)}
    about = {"source": cell.labels["model"], "digest": digest(model)}
    note = None
    if cell.labels["model"] == "untrained":
        note = (
            "Its head is zero, so that all classes tie and its answer never changes: stays_... = 1."
        )
    return Measured(model, few, metrics, curves, weights=about, note=note)


EXPERIMENT = Experiment(
    "cifar_attention", "Where do the heads of a small ViT look, and what of it is learned?", cells,
    shown=("nearest_share", "mean_share", "farthest_share", "stays_brightest_rollout",
           "stays_random"),
)  # fmt: skip
