"""The figures of chapter 7 show what they say."""

import matplotlib.pyplot as plt
import pytest
import torch

from vit_teach import plots

WINDOWS = {"linear": (4, 4, 0), "conv": (9, 4, -4)}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_paper_pairs_put_each_model_at_its_cost():
    rows = [("B/32", 80.73, 55, 84.90, 106), ("B/16", 84.15, 224, 85.58, 274)]
    ax = plots.paper_pairs(rows).axes[0]
    plain, hybrid = ax.lines
    assert list(zip(*plain.get_data(), strict=True)) == [(55, 80.73), (224, 84.15)]
    assert list(zip(*hybrid.get_data(), strict=True)) == [(106, 84.90), (274, 85.58)]
    assert [t.get_text() for t in ax.texts if t.get_text()] == ["B/32", "B/16"]
    assert ax.get_xscale() == "log"


def test_paper_pairs_need_a_row():
    with pytest.raises(ValueError, match=r"pairs=\[\] must hold at least one row"):
        plots.paper_pairs([])


def test_stem_walk_has_a_column_for_each_map():
    maps = {"first": torch.rand(5, 8, 12), "second": torch.rand(6, 4, 6)}
    figure = plots.stem_walk(torch.rand(3, 8, 12), maps, channels=2)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["image\n3 × 8 × 12", "first\n5 × 8 × 12", "second\n6 × 4 × 6"]
    shown = torch.tensor(figure.axes[5].images[0].get_array().data)  # second row, last column
    torch.testing.assert_close(shown, maps["second"][1])


def test_receptive_fields_draw_window_and_patch_around_whole_pixels():
    strength = torch.zeros(24, 40)
    strength[4:13, 12:21] = 1
    ax = plots.receptive_fields({"conv": strength}, {"conv": (4, 12, 9)}, (8, 16, 4)).axes[0]
    window, patch = (box.get_bbox() for box in ax.patches)
    assert (window.x0, window.x1) == (11.5, 20.5)
    assert (window.y0, window.y1) == (3.5, 12.5)
    assert (patch.x0, patch.y1) == (15.5, 11.5)
    hidden = torch.tensor(ax.images[0].get_array().mask)  # what stays white
    assert torch.equal(hidden, strength == 0)
    assert ax.get_title() == "conv: 9 × 9"


def test_receptive_fields_refuse_other_names():
    with pytest.raises(ValueError, match=r"windows of \['b'\] must be for maps=\['a'\]"):
        plots.receptive_fields({"a": torch.eye(8)}, {"b": (0, 0, 4)}, (0, 0, 4))


def test_window_explorer_cuts_windows_at_the_picture():
    figure = plots.window_explorer(WINDOWS, pixels=16)  # tokens 0 to 3; a neighbour for three
    bars = [[(b, b + w) for b, w in zip(t.base, t.x, strict=True)] for t in figure.data]
    assert bars == [
        [(0, 4), (0, 5)], [(4, 8), (0, 9)],
        [(4, 8), (0, 9)], [(8, 12), (4, 13)],
        [(8, 12), (4, 13)], [(12, 16), (8, 16)],
    ]  # fmt: skip
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "1", "2"]
    for number, step in enumerate(steps):
        shown = step.args[0]["visible"]
        assert [i for i, on in enumerate(shown) if on] == [2 * number, 2 * number + 1]
        assert step.args[1]["title.text"].endswith("linear 0, conv 5 pixels")
    assert [i for i, trace in enumerate(figure.data) if trace.visible] == [2, 3]
    assert "slider" in figure.layout.meta["alt"] and "conv 5" in figure.layout.meta["alt"]


def test_window_explorer_refuses_different_strides():
    with pytest.raises(ValueError, match="must have one stride"):
        plots.window_explorer({"a": (4, 4, 0), "b": (8, 8, 0)}, 32)
