"""What if the picture is cut up? One fixed permutation of patches, or of pixels.

``python -m vit_teach.experiments run shuffle`` takes about 2.4 core hours. Chapter 10 reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell
from .lab.measures import shuffle_and_shift
from .lab.wrappers import PERMUTATIONS

NAMES = ("vit", "cnn", "hybrid", "vit-no-positions")
SEEDS = (0, 1, 2)
# Without positions every weight matrix has the same shape: it takes the plain model's rate.
RATE_OF = {"vit-no-positions": "vit"}


def cells(quick: bool) -> list[Cell]:
    """Models x permutations, trained and tested alike; 225,000 images, five epochs.

    Plainly trained models are also tested on permuted and on shifted pictures.

    >>> cells(quick=False)[1].name, len(cells(quick=False))
    ('cnn-none-s0', 36)
    """
    if quick:
        return [
            cell(name, 7_680, models=QUICK_MODELS, labels={"permutation": kind}, n=5000,
                 permutation=kind, data="any", tuned=False)
            for kind in ("none", "pixels")
            for name in ("vit", "cnn")
        ]  # fmt: skip
    return [
        cell(name, 225_000, models=MODELS, labels={"permutation": kind}, seed=seed,
             permutation=kind, tuned=RATE_OF.get(name, name))
        for seed in SEEDS
        for kind in PERMUTATIONS
        for name in NAMES
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "shuffle", "What does each model lose when patches or pixels change places?", cells,
    shuffle_and_shift,
)  # fmt: skip
