"""ProjectionExplorer: its numbers are the package's, in Python and in its module."""

import json
import re

import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt
from vit_teach.widgets import ProjectionExplorer
from vit_teach.widgets.projection_explorer import colours, layer_of
from vit_teach.widgets.shared import base

SIZE = (12, 20)


def images(count=2, size=SIZE, seed=0):
    random = torch.Generator().manual_seed(seed)
    made = torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=random)
    return {f"image {n}": image for n, image in enumerate(made)}


def layers(patch=4, dimensions=7, size=SIZE, names=("trained", "untrained")):
    torch.manual_seed(0)
    made = {name: vt.PatchEmbedding(size, patch, 3, dimensions) for name in names}
    for layer in made.values():  # biases start at zero: that would hide a mistake
        torch.nn.init.normal_(layer.proj.bias)
    return made


def explorer(**settings):
    return ProjectionExplorer(images(), layers(), **settings)


def double(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# --- Python ----------


def test_at_a_patch_the_value_is_the_projection_of_the_patch():
    pictures, made = images(), layers()
    widget = ProjectionExplorer(pictures, made, shown=1, bank=1)
    layer = made["untrained"].half().double()
    tokens = layer(vt.data.normalise(pictures["image 1"].double() / 255)[None])[0]  # (N, D)
    for patch, dimension in ((0, 0), (7, 3), (14, 6)):
        row, column = 4 * (patch // 5), 4 * (patch % 5)
        expected = tokens[patch, dimension].item()
        assert widget.value(row, column, dimension) == pytest.approx(expected, abs=1e-6)


def test_everywhere_is_the_value_at_each_place():
    widget = explorer(dimension=5, stride=1)
    answers = widget.everywhere()
    assert answers.shape == (9, 17)
    for row, column in ((0, 0), (3, 11), (8, 16)):
        widget.row, widget.column = row, column
        assert widget.value() == pytest.approx(answers[row, column].item(), abs=1e-12)
    torch.testing.assert_close(widget.everywhere(stride=4), answers[::4, ::4])


def test_the_books_own_weights_lose_nothing():
    model = vt.weights.recorded("cifar-vit-20min")
    weight, bias = layer_of("trained", model.patch_embed)
    assert torch.equal(weight.float(), model.patch_embed.proj.weight)
    assert torch.equal(bias.float(), model.patch_embed.proj.bias)


def test_a_larger_stride_goes_back_to_a_patch():
    widget = explorer(stride=1, row=6, column=15)
    widget.stride = 4
    assert (widget.row, widget.column) == (4, 12)


def test_a_place_between_patches_makes_the_filter_move_by_pixels():
    widget = explorer()
    assert (widget.row, widget.column, widget.stride) == (4, 8, 4)
    widget.column = 7
    assert (widget.row, widget.column, widget.stride) == (4, 7, 1)
    assert explorer(row=3).stride == 1


def test_the_bundle_is_small_and_has_a_picture():
    trained = vt.weights.recorded("cifar-vit-20min").patch_embed
    pictures = {"a": vt.data.photograph(32), "b": vt.data.photograph(32)}
    widget = ProjectionExplorer(pictures, {"one": trained, "two": trained})
    page = widget.static_html()
    assert len(page.encode()) < 60_000
    assert page.count("<img ") == 4 and page.count('alt="The ') == 4
    assert f"sum to {widget.value():.4f}" in widget.describe()
    state = re.search(r'<script type="application/json">(.*)</script>', page).group(1)
    assert json.loads(state) == widget.static_state()


def test_the_module_is_small_and_asks_nobody():
    source = base.module_source("projection_explorer")
    assert len(source.encode()) < 25_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|XMLHttp", source)


def test_colours_are_signed_and_scaled():
    found = colours(torch.tensor([[2.0, 0.0], [-1.0, -4.0]]), scale=2.0)
    assert found[0].tolist() == [[178, 24, 43], [247, 247, 247]]
    assert found[1, 1].tolist() == [33, 102, 172] and found[1, 0, 0] > 33


NO_BIAS = torch.nn.Conv2d(3, 7, 4, bias=False)
BAD = [
    (lambda: ProjectionExplorer({}, layers()), "images={} must be a dictionary"),
    (lambda: ProjectionExplorer(images(), {}), "projections={} must be a dictionary"),
    (lambda: ProjectionExplorer({"x": torch.zeros(3, 8, 8)}, layers()), "must be a uint8 tensor"),
    (lambda: ProjectionExplorer(images(size=(12, 18)), layers()), "divisible by patch_size=4"),
    (lambda: ProjectionExplorer(images(size=(8, 68)), layers()), "and at most 64"),
    (lambda: ProjectionExplorer(images() | images(1, (8, 8)), layers()), "as large as the first"),
    (lambda: ProjectionExplorer(images(), {"x": NO_BIAS}), "with a bias"),
    (lambda: ProjectionExplorer(images(), {"x": torch.nn.Linear(48, 7)}), r"\(D, 3, P, P\)"),
    (
        lambda: ProjectionExplorer(images(), layers() | layers(dimensions=8, names=["x"])),
        "must be one shape",
    ),
    (lambda: layer_of("x", torch.nn.Conv2d(3, 2, 16)), "patch size from 2 to 8"),
    (lambda: layer_of("x", torch.nn.Conv2d(3, 1100, 4)), "has more than 50000 numbers"),
    (lambda: explorer(row=2, stride=4), "stride=4 must be 1 for row=2, column=8"),
    (lambda: setattr(explorer(), "row", 9), "row=9 must be from 0 to 8"),
    (lambda: explorer(stride=1, column=17), "column=17 must be from 0 to 16"),
    (lambda: explorer(stride=2), "stride=2 must be 1 or the patch size 4"),
    (lambda: explorer(dimension=7), "dimension=7 must be from 0 to 6"),
    (lambda: setattr(explorer(), "entry", 48), "entry=48 must be from 0 to 47"),
    (lambda: setattr(explorer(), "bank", 2), "bank=2 must be from 0 to 1"),
    (lambda: setattr(explorer(), "shown", -1), "shown=-1 must be from 0 to 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- The module's arithmetic, in Chromium ----------

NUMBERS = """(m, data) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return data.map(([pixels, size, mean, std, weights, dims, patch, d]) => {
    const image = m.normalise(bytes(pixels), size, mean, std);
    const { filters, biases } = m.unpack(bytes(weights), 1, dims, 3 * patch * patch)[0];
    const numbers = [m.convolve, m.project].map((f) => [...f(image, filters[d], biases[d], patch)]);
    return [...numbers, m.cut(image, patch, 0, patch), [...filters[d]]];
  });
}"""


def test_the_modules_numbers_are_the_packages(run):
    cases, data = [], []
    for seed, (size, patch, d) in enumerate([((12, 20), 4, 2), ((9, 6), 3, 0), ((16, 8), 8, 6)]):
        pictures = images(1, size, seed)
        widget = ProjectionExplorer(pictures, layers(patch, size=size, names=["x"]), dimension=d)
        state = widget.static_state()
        code = [state[name]["base64"] for name in ("pixels", "weights")]
        data.append([code[0], size, widget.mean, widget.std, code[1], 7, patch, d])
        cases.append((widget, vt.data.normalise(pictures["image 0"].double() / 255), patch, d))
    results = run("projection_explorer", NUMBERS, data)
    for (widget, image, patch, d), (slid, projected, cut, filter_) in zip(
        cases, results, strict=True
    ):
        everywhere = widget.everywhere()
        assert (double(slid) - everywhere.flatten()).abs().max() < 1e-9
        kept = everywhere[::patch, ::patch].flatten()
        assert (double(projected) - kept).abs().max() < 1e-9
        flat = vt.patchify(image[None], patch)[0, widget.size[1] // patch]
        assert (double(cut) - flat).abs().max() < 1e-6
        weight = widget._layers[0][0][d].double().flatten()
        assert torch.equal(double(filter_), weight)
        direct = F.conv2d(widget._image()[None], weight.view(1, 3, patch, patch))
        assert direct.numel() == len(slid)


def test_half_precision_is_read_exactly(run):
    numbers = torch.tensor(
        [0.0, 1.0, -1.5, 65504.0, 6.1e-5, 5.96e-8, -3.3e-6, 0.1], dtype=torch.float16
    )
    bits = [int(b) & 0xFFFF for b in numbers.view(torch.int16)]
    found = run("projection_explorer", "(m, bits) => bits.map(m.half)", bits)
    assert found == numbers.double().tolist()
