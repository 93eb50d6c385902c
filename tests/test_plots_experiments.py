"""The figures of means over seeds."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer

from vit_teach import plots


def row(model, x, mean, std=None):
    return {"model": model, "x": x, "mean": mean, "std": std, "n": 2 if std else 1, "seeds": [0]}


def labels(axis):
    return [text.get_text() for text in axis.get_xticklabels()]


@pytest.mark.parametrize(
    "groups, order, heights",
    [
        ((45000, 5000), ["5,000", "45,000"], [50, 75]),
        (("none", "basic"), ["none", "basic"], [75, 50]),
    ],
)
def test_groups_of_bars_stand_by_number_or_as_they_appear(groups, order, heights):
    means = dict(zip(groups, (0.75, 0.5), strict=True))
    rows = [row(model, x, means[x]) for x in groups for model in ("vit", "cnn")]
    opened = plots.result_bars(rows, "x")
    axis = opened.axes[0]
    assert labels(axis) == order
    for bars in (kept for kept in axis.containers if isinstance(kept, BarContainer)):
        places = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in bars}
        assert [places[0], places[1]] == heights
    plt.close(opened)


def test_lines_of_something_else_say_what_it_is():
    axes = [plots.result_lines([row("vit", 500, -0.05)], "x", **more).axes[0]
            for more in ({}, {"ylabel": "gain, points"})]  # fmt: skip
    assert [ax.get_ylabel() for ax in axes] == ["accuracy, %", "gain, points"]


def test_lines_rise_along_x_with_a_bar_where_there_are_seeds():
    opened = plots.result_lines([row("vit", 500, 0.5), row("vit", 50, 0.4, 0.02)], "x")
    axis = opened.axes[0]
    assert axis.lines[0].get_xdata().tolist() == [50, 500] and labels(axis) == ["50", "500"]
    assert axis.lines[0].get_ydata().tolist() == [40, 50] and axis.get_xscale() == "log"
    bars = axis.collections[0].get_segments()
    assert [bar.tolist() for bar in bars if len(bar)] == [[[50, 38], [50, 42]]]
    plt.close(opened)


@pytest.mark.parametrize("draw", [plots.result_bars, plots.result_lines])
def test_nothing_to_draw_is_an_error(draw):
    with pytest.raises(ValueError, match="must hold at least one row"):
        draw([], "x")


def test_a_model_has_one_colour_in_lines_and_bars_and_its_plain_name():
    rows = [row(model, x, 0.5) for model in ("cnn", "other", "vit") for x in (1, 2)]
    lines = plots.result_lines(rows, "x", style="model")
    bars = plots.result_bars([r for r in rows if r["model"] != "other"], "x")
    told = [[text.get_text() for text in drawn.legends[0].get_texts()] for drawn in (lines, bars)]
    by_name = dict(zip(told[0], lines.legends[0].get_lines(), strict=True))
    patches = dict(zip(told[1], bars.legends[0].get_patches(), strict=True))
    assert list(patches) == ["CNN", "ViT"]
    for name, patch in patches.items():
        line = by_name[f"{name}, {name.lower()}"]
        assert to_hex(line.get_color()) == to_hex(patch.get_facecolor())
    assert len({line.get_linestyle() for line in by_name.values()}) == 3  # the legend shows dashes
    plt.close("all")
