"""How long should a run on few images be? The same recipe, complete, at four lengths.

A run that is far too long for its images is best before its learning rate has come down, and the
weights that validation then keeps never saw the end of the schedule. So a comparison of models on
few images has to give each of them a whole schedule of the length that suits it.

``python -m vit_teach.experiments run run_length`` takes about 9 core hours. Chapter 11
reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "cnn", "hybrid")
SIZES = (500, 1_500, 5_000)
AUGMENT = ("basic", "strong+mix")
# Training images seen: a tenth, a quarter, half and all of what the experiment data_size sees.
LENGTHS = (45_000, 112_500, 225_000, 450_000)
# (policy, images): the length for each of NAMES that was best on validation images with seed 0.
CHOSEN = {
    ("basic", 500): (225_000, 450_000, 112_500),
    ("basic", 1_500): (112_500, 450_000, 225_000),
    ("basic", 5_000): (450_000, 450_000, 450_000),
}


def cells(quick: bool) -> list[Cell]:
    """Models x numbers of images x augmentation x lengths; the last step's weights.

    One seed at every length; two more at the length that validation images chose. Every run goes
    through its whole schedule. Where the best evaluation of the experiment data_size was its last,
    that run is the longest one here.

    >>> cells(quick=False)[0].name
    'vit-500-basic-45000-s0'
    """
    if quick:
        return [
            cell(name, seen, models=QUICK_MODELS, labels={"images": 250, "seen": seen}, n=250,
                 data="any", tuned=False)
            for seen in (1_024, 4_096)
            for name in ("vit", "cnn")
        ]  # fmt: skip
    asked = [
        (augment, n, seen, name, 0)
        for augment in AUGMENT
        for n in SIZES
        for seen in LENGTHS
        for name in NAMES
    ]
    for seed in (1, 2):
        for (augment, n), lengths in CHOSEN.items():
            chosen = zip(NAMES, lengths, strict=True)
            asked += [(augment, n, seen, name, seed) for name, seen in chosen]
    return [
        cell(name, seen, models=MODELS, n=n, seed=seed, augment=augment, evaluations=10,
             labels={"images": n, "augment": augment, "seen": seen})
        for augment, n, seen, name, seed in asked
    ]  # fmt: skip


EXPERIMENT = Experiment("run_length", "How long should a run on few images be?", cells)
