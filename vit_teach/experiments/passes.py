"""Does augmentation pay? Passes over the images against the number of different images.

Passes and images are parted here: with few images many passes cost little. Crop and flip against
the strong policy, each run a complete cosine whose last weights count.

``python -m vit_teach.experiments run passes`` takes about 30 core hours; its first eight cells take
two and a half. Chapter 11 reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

# Training images, passes and models, the cheapest first.
GRID = (
    (5_000, 30, ("vit", "cnn")),
    (5_000, 100, ("vit", "cnn")),
    (15_000, 30, ("vit", "cnn")),
    (45_000, 10, ("vit",)),
    (45_000, 30, ("vit",)),
    (5_000, 300, ("vit", "cnn")),
    (15_000, 100, ("vit", "cnn")),
    (5_000, 900, ("vit",)),
    (15_000, 300, ("vit",)),
    (45_000, 100, ("vit",)),
)
SECOND_SEED = 500_000  # images seen up to which a cell costs less than half a core hour


def cells(quick: bool) -> list[Cell]:
    """Numbers of images x passes x policies x models; no augmentation at all where it is cheap.

    >>> cells(quick=False)[0].name
    'vit-5000-30-basic-s0'
    """
    if quick:
        return [
            cell("vit", 250 * passes, models=QUICK_MODELS, n=250, augment=policy, data="any",
                 labels={"images": 250, "passes": passes, "augment": policy}, tuned=False)
            for passes in (4, 16)
            for policy in ("basic", "strong+mix")
        ]  # fmt: skip
    return [
        cell(name, n * passes, models=MODELS, n=n, augment=policy, seed=seed, evaluations=10,
             labels={"images": n, "passes": passes, "augment": policy})
        for seed in (0, 1)
        for n, passes, names in GRID
        for name in names
        for policy in ("basic", "strong+mix", "none")
        if (seed == 0 or n * passes <= SECOND_SEED)
        and (policy != "none" or (n == 5_000 and passes <= 100))
    ]  # fmt: skip


EXPERIMENT = Experiment("passes", "Does augmentation pay with passes, or with pictures?", cells)
