"""The parts of a chapter that tests use: its cells, its exercises, their solutions."""

import functools
import re

import nbformat
import pages
import pytest
from card_tools import made_up_cards

import vit_teach as vt

DRAWN = re.compile(r"^\s*vt\.plots\..*$", re.M)  # lines that only draw
FENCE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


@functools.cache
def cells(name):
    """All cells of the chapter book/``name``.ipynb."""
    return nbformat.read(pages.ROOT / "book" / f"{name}.ipynb", as_version=4).cells


def code_cells(name):
    return [cell for cell in cells(name) if cell.cell_type == "code"]


def markdown(name):
    return "\n".join(cell.source for cell in cells(name) if cell.cell_type == "markdown")


def exercises(name):
    """The text of each exercise, in order."""
    parts = re.split(r"^### Exercise (?=\d)", markdown(name), flags=re.M)[1:]
    return [re.split(r"^## ", part, flags=re.M)[0] for part in parts]


def solution(name, number):
    """The code in the exercise of this number, counted from 0: that of its solution."""
    return "\n".join(FENCE.findall(exercises(name)[number]))


def run_on_made_up_cards(name, accuracy, variables=None, start=None, recorded=False):
    """The variables of a chapter after its code cells, from the one that holds ``start`` on.

    Its live runs give made-up cards, whose test accuracy is ``accuracy(labels, seed)``. What it
    finds recorded is made up the same way, or nothing. No figure is drawn.
    """
    variables, reached = variables or {}, start is None
    live = functools.partial(made_up_cards, accuracy=accuracy, quick=True)
    kept = functools.partial(made_up_cards, accuracy=accuracy) if recorded else lambda name: []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vt.experiments, "quick", live)
        patch.setattr(vt.experiments, "so_far", kept)
        for cell in code_cells(name):
            reached = reached or start in cell.source
            if reached:
                source = DRAWN.sub(lambda line: re.match(r"\s*", line[0])[0] + "None", cell.source)
                exec(compile(source, f"{name}: {cell.id}", "exec"), variables)
    return variables
