"""A result in prose comes from a card or from a source: the chapters of experiments type none."""

import re

import nbformat
import pages
import pytest

NAMES = "07_hybrid 09_recipe 10_inductive_bias 11_data_size 12_transfer 13_scale"
CHAPTERS = [*NAMES.split(), "muon", "augmentation", "appendix/bias_lab"]
RESULT = re.compile(r"(\d[\d.,]*)\s?(?:%|per cent\b|(?:percentage )?points?\b)")
SOURCE = re.compile(r"\{cite|\]\(http|\b(Table|Figure|section) \d")
FENCE = re.compile(r"^(`{3,}).*?^\1`*[ \t]*$", re.M | re.S)
ROLE = re.compile(r"\{(?:result|gap|coverage)\}`[^`]*`")
# Not results of ours: chance, limits of statistics, examples made up on the page, and numbers that
# repeat or subtract published ones of a table above, rounded.
GIVEN = {
    "augmentation": {"3.5"},
    "11_data_size": {"95", "90", "50"},
    "12_transfer": {"0.7"},
    "13_scale": {"94"},
}


def blocks(text):
    """The paragraphs, lists and tables of prose, without code and without numbers from cards."""
    return re.split(r"\n\s*\n", ROLE.sub("", FENCE.sub("", text)))


def typed(text):
    """(numbers that stand beside a source, the other numbers) of a chapter's prose."""
    sourced, bare = set(), set()
    for block in blocks(text):
        (sourced if SOURCE.search(block) else bare).update(RESULT.findall(block))
    return sourced, bare


def prose(name):
    notebook = nbformat.read(pages.ROOT / "book" / f"{name}.ipynb", as_version=4)
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_result_is_typed_by_hand(name):
    sourced, bare = typed(prose(name))
    assert bare - sourced - GIVEN.get(name, set()) == set()


@pytest.mark.parametrize("name", GIVEN)
def test_every_exception_is_still_needed(name):
    sourced, bare = typed(prose(name))
    assert GIVEN[name] - (bare - sourced) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The ViT reaches 61.2 % here.", {"61.2"}),
        ("A gap of 7.5 points.", {"7.5"}),
        ("A gap of 7 percentage points.", {"7"}),
        ("Reached: {result}`train test_accuracy cell=x`.", set()),
        ("{cite:t}`dosovitskiy2021image` report 88.55 %.", set()),
        ("```python\nprint('61.2 %')\n```", set()),
        ("````{dropdown} Solution\n```python\nx\n```\n61.2 % of them\n````", set()),
        ("Published: 75.6 % {cite:p}`x`.\n\nAgain 75.6 %, and 80.1 % here.", {"80.1"}),
    ],
)
def test_the_rule_finds_what_it_should(text, expected):
    sourced, bare = typed(text)
    assert bare - sourced == expected
