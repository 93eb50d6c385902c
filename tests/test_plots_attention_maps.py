"""The figures of chapter 14 show what they say."""

import matplotlib.pyplot as plt
import pytest
import torch

from vit_teach import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_every_head_is_a_dot_and_every_model_a_line_through_its_means():
    tables = {"trained": torch.rand(5, 3), "untrained": torch.rand(5, 3)}
    figure = plots.distance_by_block(tables, uniform=0.7, ylabel="nats")
    (ax,) = figure.axes
    level, *lines = ax.lines
    assert set(level.get_ydata()) == {0.7} and level.get_linestyle() == "--"
    for (name, table), mean, dots in zip(tables.items(), lines[::2], lines[1::2], strict=True):
        assert dots.get_label() == name
        torch.testing.assert_close(torch.tensor(mean.get_ydata()), table.mean(dim=1))
        torch.testing.assert_close(torch.tensor(dots.get_ydata()), table.flatten())
        near = [round(x) for x in dots.get_xdata()]
        assert near == [block for block in range(1, 6) for _ in range(3)]
    assert ax.get_ylim()[0] == 0 and ax.get_ylabel() == "nats"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["everywhere alike", "trained", "untrained"]


def test_models_of_different_depth_have_no_common_plot():
    with pytest.raises(ValueError, match=r"must have the same number of blocks, not \[2, 3\]"):
        plots.distance_by_block({"a": torch.rand(2, 1), "b": torch.rand(3, 1)}, uniform=1.0)


def test_shares_of_models_of_any_depth_stand_on_one_axis():
    small, large = torch.rand(3, 2), torch.rand(5, 4)
    panels = {
        "small": {"trained": small, "untrained": torch.ones(3, 2)},
        "large": {"trained": large},
    }
    figure = plots.distance_shares(panels)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("small", "large")
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[0] == 0
    for ax, table in ((left, small), (right, large)):
        line, mean, dots, *_ = ax.lines
        assert set(line.get_ydata()) == {1} and line.get_linestyle() == "--"
        torch.testing.assert_close(torch.tensor(mean.get_ydata()), table.mean(dim=1))
        torch.testing.assert_close(torch.tensor(dots.get_ydata()), table.flatten())
        blocks = [block for block in range(1, len(table) + 1) for _ in range(table.shape[1])]
        assert dots.get_xdata().tolist() == blocks
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == ["everywhere alike", "trained", "untrained"]
    with pytest.raises(ValueError, match=r"'a' must have models of one depth, not \[2, 3\]"):
        plots.distance_shares({"a": {"x": torch.rand(2, 1), "y": torch.rand(3, 1)}})


def test_each_map_has_its_own_scale_from_zero():
    maps = {"flat": torch.full((2, 3), 0.5), "steep": torch.arange(6.0).view(2, 3)}
    figure = plots.picture_and_maps(torch.rand(3, 8, 12), maps, per_row=2)
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["the picture", "flat", "steep"]
    assert [ax.images[0].get_clim() for ax in shown[1:]] == [(0, 0.5), (0, 5)]
    with pytest.raises(ValueError, match="maps must not be negative"):
        plots.picture_and_maps(torch.rand(3, 8, 12), {"bad": -torch.ones(2, 3)})
