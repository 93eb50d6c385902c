"""From a linear patch projection to a CNN in five steps, at matched multiply-adds.

``python -m vit_teach.experiments run bias_dial`` takes about 0.8 core hours for each seed. Chapters
7 and 10 read it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "overlap", "cct", "hybrid", "cnn")
SEEDS = (0, 1)


def cells(quick: bool) -> list[Cell]:
    """Five models at 5,000 and at 45,000 images; each sees 225,000.

    >>> cells(quick=False)[1].name, len(cells(quick=False))
    ('overlap-45000-s0', 20)
    """
    if quick:
        return [
            cell(name, 9_600, models=QUICK_MODELS, labels={"images": 2000}, n=2000, data="any",
                 tuned=False)
            for name in ("vit", "hybrid", "cnn")
        ]  # fmt: skip
    return [
        cell(name, 225_000, models=MODELS, labels={"images": n}, seed=seed, n=n, keep="best")
        for seed in SEEDS
        for n in (45_000, 5_000)
        for name in NAMES
    ]


EXPERIMENT = Experiment(
    "bias_dial", "How much of a CNN must a ViT borrow to learn from few images?", cells
)
