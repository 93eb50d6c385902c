"""Do positions that act on offsets in the attention help, and from what length of training on?

``python -m vit_teach.experiments run offsets`` takes about 2 core hours for the runs of ten passes,
6 for those of thirty and 19 for those of a hundred. Chapter 4 reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "vit-no-positions", "vit-rotary", "vit-relative", "vit-learned-rotary",
         "vit-learned-relative")  # fmt: skip
PASSES = (10, 30, 100)


def cells(quick: bool) -> list[Cell]:
    """Six kinds of positions, 10, 30 and 100 passes over 45,000 images, each a whole cosine.

    All take the learning rate of the plain model: only the positions differ.

    >>> cells(quick=False)[2].name, len(cells(quick=False))
    ('vit-rotary-10-s0', 18)
    """
    if quick:
        return [
            cell(name, 3_200, models=QUICK_MODELS, labels={"passes": 1}, n=3_200, data="any",
                 tuned=False)
            for name in ("vit", "vit-rotary")
        ]  # fmt: skip
    return [
        cell(name, 45_000 * passes, models=MODELS, labels={"passes": passes}, n=45_000,
             keep="best", tuned="vit")
        for passes in PASSES
        for name in NAMES
    ]  # fmt: skip


EXPERIMENT = Experiment("offsets", "Do positions of offsets help, and how soon?", cells)
