"""Which rate suits Muon for the filters of a CNN in ten passes over all images?

``python -m vit_teach.experiments run filter_rate`` takes about 0.6 core hours. The page "Muon"
reads it.
"""

from .lab.cells import MODELS, Cell, Experiment, cell

NAME = "cnn-filters"
# The short sweep of the experiment learning_rate chose 0.128, which was unsteady in ten passes.
RATES = (0.016, 0.032, 0.064)


def cells(quick: bool) -> list[Cell]:
    """The CNN, its filters trained by Muon, at three rates; judged on the validation images alone.

    >>> cells(quick=False)[0].name
    'cnn-filters-0.016-s0'
    """
    images, n = (450_000, 45_000) if not quick else (3_200, 3_200)
    return [
        cell(NAME, images, models={NAME: MODELS["cnn"]}, labels={"rate": rate}, n=n, keep="best",
             learning_rate=rate, data="any" if quick else "cifar10", tuned=False, test=False,
             optimizer="muon-conv")
        for rate in RATES
    ]  # fmt: skip


EXPERIMENT = Experiment("filter_rate", "Which rate suits Muon for a CNN's filters?", cells)
