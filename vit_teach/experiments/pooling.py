"""Class token or average? Each with the learning rate that suits it.

``python -m vit_teach.experiments run pooling`` takes about 0.2 core hours. Chapters 4 and 10 read
it.
"""

from .lab.cells import Cell, Experiment, cell

SEEDS = (0, 1)


def cells(quick: bool) -> list[Cell]:
    """Two ways to read the image off the tokens, at 5,000 and 45,000 images; each sees 225,000.

    >>> cells(quick=False)[1].name, len(cells(quick=False))
    ('vit-class-token-45000-s0', 8)
    """
    names = ("vit", "vit-class-token")
    if quick:
        return [
            cell(name, 3_200, labels={"images": 2000}, n=2000, data="any", tuned=False)
            for name in names
        ]
    return [
        cell(name, 225_000, labels={"images": n}, seed=seed, n=n, keep="best")
        for seed in SEEDS
        for n in (45_000, 5_000)
        for name in names
    ]


EXPERIMENT = Experiment("pooling", "Class token or average pooling?", cells)
