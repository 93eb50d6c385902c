"""The recorded experiments of the book: what was run, how to run it again, what came out.

``python -m vit_teach.experiments list`` shows them. Each is a module of this folder.

>>> list(EXPERIMENTS)[:3]
['learning_rate', 'data_size', 'shuffle']
"""

from . import (
    augmentation,
    bias_dial,
    data_size,
    learning_rate,
    pooling,
    positions,
    recipe,
    scale,
    shift,
    shuffle,
)
from .grid import Cell, Experiment, Permuted, cell
from .report import report, rows
from .runner import run_cell, run_here

# In the order in which they are worth running.
EXPERIMENTS = {
    module.EXPERIMENT.name: module.EXPERIMENT
    for module in (
        learning_rate, data_size, shuffle, recipe, augmentation, shift, bias_dial, positions,
        pooling, scale,
    )
}  # fmt: skip

__all__ = [
    "EXPERIMENTS", "Cell", "Experiment", "Permuted", "cell", "find", "quick", "report", "rows",
    "run_cell", "run_here",
]  # fmt: skip


def find(name):
    """The experiment of this name. Raises ``ValueError`` if there is none.

    >>> find("shuffle").name
    'shuffle'
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"name={name!r} must be one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def quick(name, folder=None):
    """Run the quick form of an experiment here and now, and return its cards.

    >>> quick("no such experiment")
    Traceback (most recent call last):
    ...
    ValueError: name='no such experiment' must be one of ...
    """
    return run_here(find(name), folder)
