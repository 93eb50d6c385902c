"""The shared figure style and the figures of chapters 1 and 2 show what they are given."""

import matplotlib.pyplot as plt
import pytest
import torch

import vit_teach as vt
from vit_teach.cost import seconds
from vit_teach.plots import patches as module

plots = vt.plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pixels_of(axes):
    return torch.tensor(axes.images[0].get_array())  # (H, W, C)


def test_the_style_ends_with_the_figure():
    before = plt.rcParams["axes.spines.top"]
    _, axes = plots.figure()
    assert not axes.spines["top"].get_visible()
    assert plt.rcParams["axes.spines.top"] == before


def test_text_is_large_enough_to_read():
    assert all(value >= 9 for name, value in plots.style.STYLE.items() if name.endswith("size"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_show_pixels_draws_the_tensor(dtype):
    image = torch.randint(0, 256, (3, 4, 6)).to(dtype)
    if dtype is torch.float32:
        image = image / 255
    _, axes = plots.figure(2, 2)
    plots.show_pixels(axes, image)
    assert torch.equal(pixels_of(axes), image.permute(1, 2, 0))


@pytest.mark.parametrize("shape", [(4, 6), (2, 4, 6), (1, 3, 4, 6)])
def test_show_pixels_refuses_other_shapes(shape):
    _, axes = plots.figure(2, 2)
    with pytest.raises(ValueError, match=r"must be \(3, H, W\) or \(1, H, W\)"):
        plots.show_pixels(axes, torch.zeros(shape))


def test_plotly_figures_must_say_what_they_show():
    with pytest.raises(ValueError, match="alt=' ' must say"):
        plots.plotly_figure(" ")


def test_image_row_needs_a_title_for_each_image():
    images = [torch.rand(3, 4, 6)] * 2
    assert len(plots.image_row(images, ["a", "b"]).axes) == 2
    with pytest.raises(ValueError):
        plots.image_row(images, ["a"])


def test_attention_cost_draws_the_line_of_slope_two():
    names = {10: "a", 100: "b", 1000: "c"}
    fig = plots.attention_cost(names, {10: 0.1, 100: 2.0}, reach=1000)
    line, measured, far = fig.axes[0].lines
    assert list(measured.get_xdata()) == [10, 100] and list(measured.get_ydata()) == [0.1, 2.0]
    assert list(line.get_xdata()) == [100, 1000]
    assert list(line.get_ydata()) == pytest.approx([2.0, 200.0])
    assert list(far.get_ydata()) == pytest.approx([200.0])


def test_cut_image_moves_the_patches_apart_and_numbers_them():
    image = torch.rand(3, 4, 6)
    fig = plots.cut_image(image, (2, 3), gap=1)
    canvas = pixels_of(fig.axes[0]).permute(2, 0, 1)  # (3, 5, 7)
    assert canvas.shape == (3, 5, 7)
    assert torch.equal(canvas[:, 3:, 4:], image[:, 2:, 3:])  # the last patch
    assert (canvas[:, 2] == 1).all() and (canvas[:, :, 3] == 1).all()  # white gaps
    assert [text.get_text() for text in fig.axes[0].texts] == ["0", "1", "2", "3"]
    assert not plots.cut_image(image, 2, numbers=False).axes[0].texts


def test_patch_sequence_draws_each_patch_in_its_order():
    image = torch.rand(3, 4, 9)
    fig = plots.patch_sequence(vt.patchify(image[None], (2, 3))[0], (2, 3), columns=4)
    assert len(fig.axes) == 6  # two lines of four, two of them empty
    assert torch.equal(pixels_of(fig.axes[5]).permute(2, 0, 1), image[:, 2:, 6:])
    assert fig.axes[5].get_title() == "5"


def test_flatten_orders_shows_what_patchify_does():
    place = torch.tensor([0, 1, 10, 11]).reshape(1, 1, 2, 2)
    image = place + 100 * torch.arange(3).reshape(1, 3, 1, 1)  # channel, row, column as digits
    fig = plots.flatten_orders()
    channels = [plt.matplotlib.colors.to_hex(colour).upper() for _, colour in module.CHANNELS]
    for axes, order in zip(fig.axes, ("cpp", "ppc"), strict=True):
        for number, cell, text in zip(
            vt.patchify(image, 2, order)[0, 0].tolist(), axes.patches, axes.texts, strict=True
        ):
            colour = plt.matplotlib.colors.to_hex(cell.get_facecolor()).upper()
            assert channels.index(colour) == number // 100
            assert text.get_text() == f"{number // 10 % 10},{number % 10}"


def test_seconds_gives_the_threads_back():
    threads = torch.get_num_threads()
    assert seconds(torch.sum, torch.ones(1000), at_least=0) > 0
    with pytest.raises(TypeError):
        seconds(torch.sum)
    assert torch.get_num_threads() == threads
