"""How much data? CNN, ViT and hybrid on more and more images, all seeing the same number.

``python -m vit_teach.experiments run data_size`` takes about 17 core hours. Chapters 11 and 15 read
it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "cnn", "hybrid")
SIZES = (45_000, 5_000, 500, 15_000, 1_500)
AUGMENT = ("basic", "strong+mix")
SEEDS = (0, 1, 2)


def cells(quick: bool) -> list[Cell]:
    """Models x numbers of images x augmentation, for one seed after the other.

    The subsets of a seed are nested and balanced. Every cell sees 450,000 images, ten epochs of the
    largest set; the validation images choose which evaluation to keep.

    >>> cells(quick=False)[0].name
    'vit-45000-basic-s0'
    """
    if quick:
        return [
            cell(name, 4_096, models=QUICK_MODELS, labels={"images": n, "augment": "basic"}, n=n,
                 keep="best", data="any", tuned=False)
            for n in (4000, 1000, 250)
            for name in NAMES
        ]  # fmt: skip
    return [
        cell(name, 450_000, models=MODELS, labels={"images": n, "augment": augment}, seed=seed,
             n=n, augment=augment, keep="best")
        for seed in SEEDS
        for augment in AUGMENT
        for n in SIZES
        for name in NAMES
    ]  # fmt: skip


EXPERIMENT = Experiment("data_size", "How does accuracy grow with the number of images?", cells)
