"""The figures of chapter 8: what is drawn, what is said in words, what is refused."""

import json

import matplotlib.pyplot as plt
import pytest
import torch

from vit_teach import plots
from vit_teach.plots.training import columns

CURVE = {
    "step": [5, 10, 15],
    "epoch": [0.5, 1.0, 1.5],
    "seconds": [30.0, 60.0, 90.0],
    "learning_rate": [1e-3, 5e-4, 0.0],
    "train_loss": [2.2, 2.0, 1.9],
    "train_accuracy": [0.15, 0.25, 0.30],
    "val_loss": [2.1, 1.9, 1.8],
    "val_accuracy": [0.2, 0.3, 0.35],
}
ROWS = [{key: CURVE[key][i] for key in CURVE} for i in range(3)]
CARDS = [{"cell": "short", "curves": CURVE}, {"cell": "long", "curves": CURVE}]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_both_forms_of_a_curve_are_the_same():
    assert columns(ROWS) == columns(CURVE) == CURVE


@pytest.mark.parametrize("curve", [[], {}, {"step": []}, {"step": [1, 2], "epoch": [1.0]}])
def test_a_curve_that_is_empty_or_ragged_is_refused(curve):
    with pytest.raises(ValueError, match="equal length"):
        columns(curve)


def test_augmentation_grid_has_a_row_for_each_image_and_the_original_first():
    originals = torch.randint(256, (2, 3, 6, 8), dtype=torch.uint8)
    shown = plots.augmentation_grid(originals, torch.rand(2, 5, 3, 6, 8), ["cat", "dog"])
    assert len(shown.axes) == 2 * 6
    first = shown.axes[0].images[0].get_array()
    assert torch.equal(torch.as_tensor(first.data), originals[0].permute(1, 2, 0))
    assert shown.axes[6].get_ylabel() == "dog"


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (3, 5, 3, 6, 8)])
def test_augmentation_grid_refuses_copies_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="altered of shape"):
        plots.augmentation_grid(torch.rand(2, 3, 6, 8), torch.rand(shape))


def test_singular_values_are_drawn_as_given():
    shown = plots.singular_values(the_gradient=[3.0, 0.1], after=torch.tensor([1.1, 0.9]))
    lines = shown.axes[0].lines
    assert list(lines[0].get_ydata()) == [3.0, 0.1]
    assert [line.get_label() for line in lines] == ["the gradient", "after"]


def test_schedule_curve_and_weight_paths_show_every_step():
    shown = plots.schedule_curve([0.5, 1.0, 0.6, 0.1], warmup=2)
    assert list(shown.axes[0].lines[0].get_ydata()) == [0.5, 1.0, 0.6, 0.1]
    shown = plots.weight_paths([2.0, -1.0], running_average=[2.0, 0.5])
    assert list(shown.axes[0].lines[-1].get_ydata()) == [2.0, 0.5]


def test_learning_curves_has_a_panel_for_each_run():
    shown = plots.learning_curves({"rows": ROWS, "columns": CURVE}, chance=0.1)
    assert [ax.get_title() for ax in shown.axes] == ["rows", "columns"]
    for ax in shown.axes:
        assert list(ax.lines[0].get_ydata()) == CURVE["train_accuracy"]
        assert list(ax.lines[1].get_ydata()) == CURVE["val_accuracy"]


def test_recorded_curves_are_in_minutes():
    shown = plots.recorded_curves(CARDS)
    assert list(shown.axes[0].lines[0].get_xdata()) == [0.5, 1.0, 1.5]
    assert list(shown.axes[1].lines[0].get_ydata()) == CURVE["val_loss"]


def test_run_explorer_says_in_words_where_each_run_ends():
    shown = plots.run_explorer(CARDS)
    alt = shown.layout.meta["alt"]
    assert "short ends at 35%" in alt and "long ends at 35%" in alt
    assert [line.name for line in shown.data] == [
        "short, validation", "short, training", "long, validation", "long, training",
    ]  # fmt: skip
    assert "epoch 1.5" in shown.data[0].text[2] and "loss 1.800" in shown.data[0].text[2]
    json.loads(shown.to_json())


@pytest.mark.parametrize("function", [plots.run_explorer, plots.recorded_curves])
def test_no_card_is_an_error(function):
    with pytest.raises(ValueError, match="at least one result card"):
        function([])


def test_confusion_matrix_writes_each_count():
    counts = torch.tensor([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    shown = plots.confusion_matrix(counts, ("cat", "dog", "owl"))
    assert [int(text.get_text()) for text in shown.axes[0].texts] == counts.flatten().tolist()
    with pytest.raises(ValueError, match=r"must be \(2, 2\)"):
        plots.confusion_matrix(counts, ("cat", "dog"))


def test_mistakes_fill_rows():
    shown = plots.mistakes(torch.rand(5, 3, 8, 8), list("abcde"), per_row=3)
    assert [ax.get_title() for ax in shown.axes] == ["a", "b", "c", "d", "e", ""]
    for images, titles in ((torch.rand(2, 3, 8, 8), ["a"]), (torch.rand(0, 3, 8, 8), [])):
        with pytest.raises(ValueError, match="titles must be one for each"):
            plots.mistakes(images, titles)
