"""The recorded experiments of the book: what was run, how, what came out. Chapters 4 to 13.

``python -m vit_teach.experiments list`` shows them. Each is a module of this folder.

>>> list(EXPERIMENTS)[:3]
['learning_rate', 'long_rate', 'data_size']
"""

from pathlib import Path

from ..arguments import one_of
from ..paths import RESULTS
from ..results.summary import Card
from . import (
    augmentation,
    bias_dial,
    cifar_attention,
    data_size,
    evening,
    filter_rate,
    learning_rate,
    long_rate,
    offsets,
    passes,
    pooling,
    positions,
    pretrained,
    pretrained_attention,
    recipe,
    recipe_long,
    resolution,
    run_length,
    scale,
    shift,
    shuffle,
    transfer,
)
from .lab.attention import heads
from .lab.cells import MODELS, Cell, Experiment, cell
from .lab.images import CLASSES, load_sets, of_classes
from .lab.report import report, rows
from .lab.report import so_far as _so_far
from .lab.runner import run_cell, run_here
from .lab.wrappers import Permuted

# In the order in which they are worth running.
EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        learning_rate, long_rate, data_size, run_length, shuffle, recipe, filter_rate,
        augmentation, passes, shift, bias_dial, positions, offsets, pooling, scale, transfer,
        resolution, cifar_attention, pretrained, pretrained_attention, evening, recipe_long,
    )
}  # fmt: skip

__all__ = [
    "CLASSES", "EXPERIMENTS", "MODELS", "Cell", "Experiment", "Permuted", "cell", "find",
    "heads", "load_sets", "of_classes", "quick", "report", "rows", "run_cell", "run_here", "so_far",
]  # fmt: skip


def find(name: str) -> Experiment:
    """The experiment of this name. Raises ``ValueError`` if there is none.

    >>> find("shuffle").name
    'shuffle'
    """
    one_of("name", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def quick(name: str, folder: str | Path | None = None) -> list[Card]:
    """Run the quick form of an experiment here and now, and return its cards.

    >>> quick("no such experiment")
    Traceback (most recent call last):
    ...
    ValueError: name='no such experiment' must be one of ...
    """
    return run_here(find(name), folder)


def so_far(name: str, folder: str | Path = RESULTS) -> list[Card]:
    """The complete recorded cards of an experiment; a printed line says how many there are.

    What the chapters show of their recorded experiments starts here, so that a page says plainly
    how much of it exists. ``folder`` is where the cards lie.

    >>> so_far("recipe", folder="no/cards/here")
    recipe: none of its 27 trainings is recorded yet. To record them:
    python -m vit_teach.experiments run recipe
    []
    """
    return _so_far(find(name), folder)
