"""The recipe in the long run: is a modern recipe still ahead after a hundred passes, or two?

``python -m vit_teach.experiments run recipe_long`` takes about 20 core hours for the small model's
six cells; the 3.2-million-parameter model's four want a GPU. Chapter 9 reads it.
"""

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, Models
from .recipe import with_recipe

TRAINING_IMAGES = 45_000
# The tutorial's recipe, the modern one, and the tutorial's at the rate that suits it.
SMALL = ("tutorial", "modern", "rate")
LARGE = ("tutorial", "modern")
PASSES = (180, 200)  # of the large model: where a well-known tutorial stops, and a little later


def cells(quick: bool) -> list[Cell]:
    """The small model for 100 passes, the large one for more, the small one's second seed.

    Every run goes through its whole schedule.

    >>> cells(quick=False)[0].name
    'vit-100-tutorial-s0'
    """
    if quick:
        return [
            with_recipe("vit", name, 4_096, QUICK_MODELS, {"passes": 1, "recipe": name}, n=5_000,
                        data="any", quick=True)
            for name in SMALL
        ]  # fmt: skip
    models = MODELS | {"vit-base": ("CIFAR-ViT-Base", {})}
    small = [_long("vit", 100, name, models, seed) for seed in (0, 1) for name in SMALL]
    large = [_long("vit-base", passes, name, models) for passes in PASSES for name in LARGE]
    return sorted([*small, *large], key=lambda cell: cell.seed)


def _long(model: str, passes: int, recipe: str, models: Models, seed: int = 0) -> Cell:
    labels = {"passes": passes, "recipe": recipe}
    images = passes * TRAINING_IMAGES
    return with_recipe(model, recipe, images, models, labels, seed=seed, evaluations=20)


EXPERIMENT = Experiment("recipe_long", "Does the recipe still matter in the long run?", cells)
