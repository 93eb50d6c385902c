"""The figures of chapter 10 show what they say."""

import matplotlib.pyplot as plt
import pytest
import torch

from vit_teach import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_shift_errors_draw_each_line_and_the_cells():
    errors = {"ViT": [0.0, 0.6, 0.7, 0.6, 0.0], "CNN": [0.0, 0.5, 0.6, 0.6, 0.3]}
    figure = plots.shift_errors({"map": errors, "pooled": {"ViT": errors["ViT"]}}, cell=4)
    left, right = figure.axes
    dotted = [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == ":"]
    drawn = [list(line.get_ydata()) for line in left.lines if line.get_linestyle() == "-"]
    assert dotted == [0, 4] and drawn == list(errors.values())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ViT", "CNN"]
    assert right.get_title() == "pooled"


def test_cell_maps_share_one_scale():
    maps = {"a": {"x": torch.ones(2, 3), "y": 3 * torch.ones(2, 3)}}
    figure = plots.cell_maps(maps, outline=(0, 1, 2, 1))
    images = [ax.images[0] for ax in figure.axes[:2]]
    assert {image.get_clim() for image in images} == {(0.0, 3.0)}
    box = figure.axes[0].patches[0]
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((0.5, -0.5), 1, 2)


def test_cell_maps_leave_zeros_blank_on_a_logarithmic_scale():
    map_ = torch.tensor([[0.0, 1.0], [1e-9, 1e-3]])
    image = plots.cell_maps({"a": {"x": map_}}, log=True).axes[0].images[0]
    shown = image.get_array()
    assert shown.mask.tolist() == [[True, False], [False, False]]
    assert shown[1, 0] == pytest.approx(1e-5)  # the smallest value of the scale


def test_cell_maps_refuse_rows_of_different_length():
    with pytest.raises(ValueError, match="the same number of maps"):
        plots.cell_maps({"a": {"x": torch.ones(1, 1)}, "b": {}})


def test_reach_by_depth_ends_at_the_last_layer():
    lines = {"CNN": [("a", 1.0), ("b", 2.0), ("c", 4.0)], "ViT": [("a", 1.5), ("b", 5.0)]}
    axis = plots.reach_by_depth(lines, uniform=12.0).axes[0]
    assert list(axis.lines[0].get_xdata()) == [0, 0.5, 1]
    assert list(axis.lines[1].get_ydata()) == [1.5, 5.0]
    assert axis.lines[2].get_ydata()[0] == 12.0


def test_mixing_matrices_are_square():
    figure = plots.mixing_matrices({"identity": torch.eye(3)})
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)
    with pytest.raises(ValueError, match=r"'b' of shape \(2, 3\) must be \(N, N\)"):
        plots.mixing_matrices({"b": torch.ones(2, 3)})


def test_where_it_looks_shows_the_row_and_frames_the_query():
    weights = torch.rand(6, 6)
    axis = plots.where_it_looks(weights, (2, 3), [(1, 2)]).axes[0]
    torch.testing.assert_close(torch.tensor(axis.images[0].get_array().data), weights[5].view(2, 3))
    assert axis.patches[0].get_xy() == (1.5, 0.5)
    with pytest.raises(ValueError, match=r"must be \(N, N\), N = 2 \* 2"):
        plots.where_it_looks(weights, (2, 2), [(0, 0)])


def test_accuracy_bars_have_the_heights_and_the_line_of_guessing():
    groups = {"vit": {"plain": 0.4, "cut": 0.3}, "cnn": {"plain": 0.5, "cut": 0.2}}
    axis = plots.accuracy_bars(groups, chance=0.1).axes[0]
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights == [[pytest.approx(40), pytest.approx(50)], [pytest.approx(30), 20]]
    assert axis.lines[0].get_ydata()[0] == 10
    with pytest.raises(ValueError, match="every group must have the conditions"):
        plots.accuracy_bars({"vit": {"plain": 0.4}, "cnn": {"cut": 0.4}})
