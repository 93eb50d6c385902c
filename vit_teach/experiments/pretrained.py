"""What is a pre-trained ViT worth when labels are few? A linear classifier on frozen features.

``python -m vit_teach.experiments run pretrained`` takes about 1 core hour. Chapter 11 reads
it. The weights are not in the repository: see :mod:`vit_teach.experiments.lab.frozen`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import cost, weights, zoo
from ..data.imageset import ImageSet
from ..train.device import pick_precision
from .lab import frozen, linear
from .lab.cells import Experiment
from .lab.images import base_sets
from .lab.measurement import Measured, Measurement, kept_in

PER_CLASS = {112: (10, 50, 150, 500, 1500, 4500), 224: (10, 50, 150)}  # by size in pixels
SEEDS = (0, 1, 2)
K = 10
VALIDATION = 2000  # of the validation images: they choose, and features cost time
TEST = {224: 2000}  # of the test images, where all would take too long
CHECKED = {112: 500, 224: 100}  # pictures whose features are computed in float32 as well
QUICK = "cifar-vit-20min"  # the book's own model stands for the pre-trained one
SELECTION = (
    "weight decay of the linear classifier and number of neighbours on 2,000 validation images "
    "held out of the training set; {} were looked at once, after all choices"
)


def cells(quick: bool) -> list[Measurement]:
    """Image sizes x images of each class, one draw after the other.

    The draws are the nested, balanced parts of ``data_size``: the same images for the same seed.
    Of 4,500 images of each class there is one draw only, all of them.

    >>> [c.name for c in cells(quick=False)[:2]], len(cells(quick=False))
    (['112-10-s0', '112-50-s0'], 25)
    """
    if quick:
        return [_cell(32, n, 0, data="any") for n in (5, 20)]
    return [
        _cell(size, n, seed)
        for seed in SEEDS
        for size, numbers in PER_CLASS.items()
        for n in numbers
        if seed == 0 or n < max(PER_CLASS[112])
    ]


def _cell(size: int, per_class: int, seed: int, data: str = "cifar10") -> Measurement:
    one = cost.macs(
        zoo.preset("ViT-S/16", image_size=size, patch_size=14 if size % 14 == 0 else 16)
    )
    tested = f"{TEST[size]:,} of the test images" if size in TEST else "the test images"
    tested = "no test images" if data == "any" else tested
    return Measurement(
        {"size": size, "per_class": per_class}, _measure, SELECTION.format(tested), seed=seed,
        n=K * per_class, data=data, work=2.0 * one * (K * per_class + VALIDATION),
    )  # fmt: skip


def _measure(cell: Measurement, folder: str | Path | None) -> Measured:
    """Fit on the features of the cell's images, choose on validation, look once at the test."""
    quick = cell.data == "any"
    model, about = _model(quick, cell.labels["size"])
    precision = pick_precision("auto", torch.device("cpu"))
    train, validation, test = base_sets(cell.data)
    train = train.subset(cell.n, seed=cell.seed)
    test = test.subset(TEST.get(cell.labels["size"], len(test)))
    held = validation.subset(min(VALIDATION, len(validation) // 5 if quick else VALIDATION))
    kept = kept_in(folder, "features")

    def read(pictures: ImageSet, kind: str = precision) -> tuple[Tensor, float]:
        return frozen.features(model, pictures.images, kind, kept)

    (x, seconds), (v, _) = read(train), read(held)
    given = (x, train.labels, v, held.labels, K)
    classifier, metrics = _linear(*given)
    k = linear.best_neighbours(*given)
    metrics |= {"neighbours": k, "picture_core_s": seconds}
    parts = {"val": (v, held)} if quick else {"val": (v, held), "test": (read(test)[0], test)}
    for name, (found, pictures) in parts.items():
        _, placed = linear.standardised(x, found)
        right = linear.accuracy(linear.scores(classifier, placed), pictures.labels)
        votes = linear.neighbour_votes(x, train.labels, found, k, K)
        metrics[f"{name}_accuracy"] = right
        metrics[f"{name}_pictures"] = len(pictures)
        metrics[f"nearest_{name}_accuracy"] = linear.accuracy(votes, pictures.labels)
    if precision != "float32":
        few = held.subset(CHECKED.get(cell.labels["size"], 20))
        metrics |= _agreement(x, classifier, read(few)[0], read(few, "float32")[0])
    return Measured(model, train, metrics, precision=precision, weights=about, note=_note(about))


def _model(quick: bool, size: int) -> tuple[zoo.Model, dict[str, str]]:
    """The frozen model, and which one it is, for the card."""
    if quick:
        return weights.recorded(QUICK), {"source": QUICK}
    model = frozen.load_frozen(size)
    return model, frozen.described(model)


def _linear(
    x: Tensor, labels: Tensor, v: Tensor, held_labels: Tensor, num_classes: int
) -> tuple[Tensor, dict[str, Any]]:
    """The chosen linear classifier, and what to note of it."""
    placed, held = linear.standardised(x, v)
    classifier, decay = linear.fit_best(placed, labels, held, held_labels, num_classes)
    right = linear.accuracy(linear.scores(classifier, placed), labels)
    return classifier, {"decay": decay, "train_accuracy": right}


def _agreement(x: Tensor, classifier: Tensor, rough: Tensor, exact: Tensor) -> dict[str, float]:
    """How far features in bfloat16 are from float32: a relative length, and equal answers."""
    away = (rough - exact).norm(dim=1) / exact.norm(dim=1)  # (N,)
    answers = [linear.scores(classifier, part).argmax(dim=1)
               for part in linear.standardised(x, rough, exact)[1:]]  # fmt: skip
    same = (answers[0] == answers[1]).double().mean().item()
    return {"float32_difference": away.mean().item(), "float32_same_answer": same}


def _note(about: dict[str, str]) -> str:
    return (
        f"Weights: {about['source']}. Features: the class token of the last block, behind the last "
        "norm (the mean of the patches where a model has no class token). The images are enlarged, "
        "bicubic. Features are shared by the cells: picture_core_s is the mean time of a picture, "
        "wall_s the time of this cell, with those features that it was the first to need."
    )


EXPERIMENT = Experiment(
    "pretrained", "What is a pre-trained ViT worth when labels are few?", cells, check=frozen.check
)
