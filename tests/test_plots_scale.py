"""The figures of cost and accuracy."""

import matplotlib.pyplot as plt
import pytest

from vit_teach import plots


def test_a_line_for_each_family_in_order_of_cost():
    families = {"a": [(30, 2.0, "large"), (10, 1.0, "small")], "b": []}
    opened = plots.accuracy_against_compute(families, "FLOPs")
    ax = opened.axes[0]
    assert ax.lines[0].get_xdata().tolist() == [10, 30] and ax.get_xscale() == "log"
    assert {text.get_text() for text in ax.texts} == {"small", "large"}
    plt.close(opened)
    with pytest.raises(ValueError, match="must hold at least one point"):
        plots.accuracy_against_compute({"a": []}, "FLOPs")


def test_medians_spread_and_the_pinned_line_of_a_formula():
    samples = {"MLP": [[0.001, 0.003, 0.002], [0.004]], "softmax": [[0.5], [0.5]]}
    opened = plots.measured_growth([64, 128], samples, {"MLP": [10, 20]})
    ax = opened.axes[0]
    assert ax.containers[0].lines[0].get_ydata().tolist() == [2.0, 4.0]
    dashed = [line for line in ax.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert [list(line.get_ydata()) for line in dashed] == [[2.0, 4.0]]
    plt.close(opened)
