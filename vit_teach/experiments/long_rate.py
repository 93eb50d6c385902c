"""Does the learning rate that won a short run also win a longer one? Only then it is used.

``python -m vit_teach.experiments run long_rate`` takes about half a core hour. Chapter 9 reads it.
"""

from .lab.cells import Cell, Experiment, cell

# For each model the best rate of the experiment learning_rate and its neighbours: the best of the
# longer runs must not be at the end of the list.
RATES = {
    "vit": (0.004, 0.008, 0.016),
    "cnn": (0.016, 0.032, 0.064),
    "hybrid": (0.004, 0.008, 0.016),
}


def cells(quick: bool) -> list[Cell]:
    """The models of the longest experiments on 5,000 images, 225,000 seen; validation images only.

    >>> cells(quick=False)[0].name
    'vit-0.004-s0'
    """
    images = 225_000 if not quick else 6_400
    return [
        cell(model, images, labels={"rate": rate}, n=5000, learning_rate=rate, keep="best",
             data="any" if quick else "cifar10", tuned=False, test=False)
        for model, rates in RATES.items()
        for rate in rates
    ]  # fmt: skip


EXPERIMENT = Experiment("long_rate", "Does the chosen learning rate hold in a longer run?", cells)
