"""The words of every figure can be read: the site shows them at half their size on a phone."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from right_arguments import CALLS

from vit_teach import plots

POINTS = 9  # at 144 dots an inch, drawn at half their size, these are 9 pixels
FIGURES = sorted(name for name in CALLS if name.startswith("plots.") and name != "plots.figure")


def words(fig: Figure) -> list[Text]:
    """The words that the figure shows."""
    fig.canvas.draw()
    return [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip()]


def small(found: list[Text]) -> list[str]:
    """Those with less than nine points, and numbers with an exponent, which is smaller."""
    return [t.get_text() for t in found if t.get_fontsize() < POINTS or "^{" in t.get_text()]


@pytest.mark.parametrize("name", FIGURES)
def test_no_word_of_a_figure_is_smaller_than_nine_points(name):
    drawn = getattr(plots, name.removeprefix("plots."))(**CALLS[name])
    if isinstance(drawn, Figure):  # and not one of plotly
        assert small(words(drawn)) == []
        plt.close(drawn)


def test_small_words_and_exponents_are_noticed():
    fig, ax = plots.figure(2, 2)
    ax.set(yscale="log", ylim=(0.01, 100), title="a title")
    assert any("^{" in text for text in small(words(fig)))
    ax.title.set_fontsize(8)
    assert "a title" in small(words(fig))
    plt.close(fig)
