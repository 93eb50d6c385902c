"""What if the object moves? Shifted pictures, and objects in a corner they were never seen in.

``python -m vit_teach.experiments run shift`` takes about 0.6 core hours for each seed. Chapter 10
reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell
from .lab.measures import shift_or_corner
from .shuffle import NAMES
from .shuffle import RATE_OF as RATE_OF_PLAIN

# A CNN whose border is no border must lose nothing in the other corners: a control.
CIRCULAR = "cnn-circular"
RATE_OF = {**RATE_OF_PLAIN, CIRCULAR: "cnn"}
# Each world: its models and its seeds.
WORLDS = {"corner": ((*NAMES, CIRCULAR), (0, 1, 2)), "cifar10": (NAMES, (0, 1))}


def cells(quick: bool) -> list[Cell]:
    """Models trained without augmentation on CIFAR-10, and on shapes in the top left corner.

    Random crops teach a model to tolerate shifts, so the crops are left out here. The plain cells
    of the experiment shuffle are the same models with crops.

    >>> [c.name for c in cells(quick=False)[:2]]
    ['vit-corner-s0', 'cnn-corner-s0']
    """
    if quick:
        return [
            cell(name, 12_800, models=QUICK_MODELS, labels={"world": "corner"}, data="corner",
                 augment="none", tuned=False)
            for name in ("vit", "cnn")
        ]  # fmt: skip
    return [
        cell(name, 225_000 if world == "cifar10" else 102_400, models=MODELS,
             labels={"world": world}, seed=seed, data=world, augment="none",
             tuned=RATE_OF.get(name, name))
        for seed in (0, 1, 2)
        for world, (names, seeds) in WORLDS.items()
        if seed in seeds
        for name in names
    ]  # fmt: skip


EXPERIMENT = Experiment(
    "shift", "What does each model lose when the object is somewhere else?", cells, shift_or_corner
)
