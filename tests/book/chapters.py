"""The parts of a chapter that tests use: its cells, its exercises, their solutions."""

import ast
import functools
import os
import re

import nbformat
import pages
import pytest
import torch
from card_tools import made_up_cards

import vit_teach as vt

DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
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


class WithoutPictures(ast.NodeTransformer):
    """Statements that only draw, or show a widget, do nothing: the built page shows them."""

    def visit_Expr(self, node):
        drawn = "vt.plots.", "vt.widgets."
        if isinstance(node.value, ast.Call) and ast.unparse(node.value).startswith(drawn):
            return ast.copy_location(ast.Pass(), node)
        return node


def compiled(cell, name, less=()):
    """A code cell without its pictures; of one that is tagged "slow", definitions alone.

    ``less`` are pairs of texts, a part of the source and what stands there for the tests.
    """
    source = cell.source
    for part, instead in less:
        source = source.replace(part, instead)
    tree = WithoutPictures().visit(ast.parse(source))
    if "slow" in cell.metadata.get("tags", []):
        tree.body = [part for part in tree.body if isinstance(part, DEFINITIONS)]
    return compile(ast.fix_missing_locations(tree), f"{name}: {cell.id}", "exec")


@functools.cache
def built(name, less=()):
    """The variables of a chapter after its cells; slow ones were left out, nothing was drawn."""
    variables, before = {}, os.getcwd()
    os.chdir(pages.ROOT / "book")
    try:
        for cell in code_cells(name):
            exec(compiled(cell, name, less), variables)
    finally:
        os.chdir(before)
        torch.set_printoptions(profile="default")
    return variables


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
                exec(compiled(cell, name), variables)
    return variables
