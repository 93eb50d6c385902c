"""Do the position embeddings matter, and which kind?

``python -m vit_teach.experiments run positions`` takes about 0.4 core hours for each seed. Chapters
4 and 10 read it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "vit-no-positions", "vit-sincos1d", "vit-sincos2d")
SEEDS = (0, 1)


def cells(quick: bool) -> list[Cell]:
    """Four kinds of positions at 5,000 and at 45,000 images; each sees 225,000.

    All take the learning rate of the plain model: only the position table differs.

    >>> cells(quick=False)[1].name, len(cells(quick=False))
    ('vit-no-positions-45000-s0', 16)
    """
    if quick:
        return [
            cell(name, 12_800, models=QUICK_MODELS, labels={"images": 4000}, n=4000, data="any",
                 tuned=False)
            for name in ("vit", "vit-no-positions")
        ]  # fmt: skip
    return [
        cell(name, 225_000, models=MODELS, labels={"images": n}, seed=seed, n=n, keep="best",
             tuned="vit")
        for seed in SEEDS
        for n in (45_000, 5_000)
        for name in NAMES
    ]  # fmt: skip


EXPERIMENT = Experiment("positions", "Which kind of position embedding, if any?", cells)
