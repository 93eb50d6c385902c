"""The figures of chapters 5 and 6 show what they say."""

import matplotlib.pyplot as plt
import pytest
import torch

import vit_teach as vt
from vit_teach import cost, plots
from vit_teach.plots.attention import _row_meaning


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def words(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_matrices_write_every_number():
    q, weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    figure = plots.matrices({"q": q, "A": weights}, ["a", "b"])
    assert words(figure) == ["1", "2", "3", "4", "0.25", "0.75", "1.00", "0.00"]
    assert [ax.get_title() for ax in figure.axes[:2]] == ["q   2 × 2", "A   2 × 2"]


def test_matrices_refuse_another_number_of_rows():
    with pytest.raises(ValueError, match=r"'q' of shape \(3, 3\) must be \(2, \.\.\.\)"):
        plots.matrices({"q": torch.eye(3)}, ["a", "b"])


@pytest.mark.parametrize(("dim", "heads"), [(20, 4), (12, 3), (6, 1)])
def test_packing_says_what_the_two_views_read(dim, heads):
    rows = torch.arange(3 * dim)
    right = rows.view(3, heads, dim // heads)
    wrong = rows.view(heads, 3, dim // heads)
    for row in rows.tolist():
        role, head, _ = (right == row).nonzero()[0].tolist()
        assert _row_meaning(row, dim, heads, by_head=False) == ("qkv"[role], head)
        head, role, _ = (wrong == row).nonzero()[0].tolist()
        assert _row_meaning(row, dim, heads, by_head=True) == ("qkv"[role], head)
    assert len(words(plots.packing(dim, heads))) == 6 * heads


def test_packing_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="dim=10 must be divisible by num_heads=3"):
        plots.packing(10, 3)


def test_score_scale_draws_both_quantities():
    figure = plots.score_scale([2, 4], [(0.5, 0.2), (0.9, 0.1)], [(0.3, 0.2), (0.3, 0.25)])
    lines = [[list(line.get_ydata()) for line in ax.lines] for ax in figure.axes]
    assert lines == [[[0.5, 0.9], [0.3, 0.3]], [[0.2, 0.1], [0.2, 0.25]]]


def test_attention_on_image_shows_the_row_of_the_query():
    weights = torch.rand(6, 6)
    figure = plots.attention_on_image(torch.rand(3, 8, 12), weights, 4, [(1, 2), (0, 1)])
    shown = torch.tensor(figure.axes[1].images[0].get_array().data)
    torch.testing.assert_close(shown, weights[5].view(2, 3))
    assert len(figure.axes) == 3 and len(figure.axes[0].patches) == 2


def test_attention_on_image_refuses_other_weights():
    with pytest.raises(ValueError, match=r"weights of shape \(7, 7\) must be \(N, N\)"):
        plots.attention_on_image(torch.rand(3, 8, 12), torch.eye(7), 4, [(0, 0)])


def test_cost_share_is_the_formula():
    ax = plots.cost_share(768, {197: "224 px", 4608: "T = 6D"}).axes[0]
    top = ax.collections[1].get_paths()[0].vertices  # the upper edge of MLP and projections
    edge = {round(x): y for x, y in top if abs(x - 4608) < 90}
    assert edge and all(abs(y - 50) < 1 for y in edge.values() if y > 40)
    assert words(ax.figure) == ["224 px", "T = 6D"]


def test_timings_draw_milliseconds():
    ax = plots.timings([64, 128], {"MLP": [0.001, 0.002]}).axes[0]
    assert list(ax.lines[0].get_ydata()) == [1.0, 2.0]


def test_gelu_forms_show_the_difference():
    difference = plots.gelu_forms().axes[1].lines[0].get_ydata()
    assert 4.5 < max(abs(difference)) < 5.0  # times 10^-4


def test_by_depth_has_a_panel_for_each_quantity():
    figure = plots.by_depth({"a": {"x": [1.0, 2.0]}, "b": {"x": [3.0, 4.0], "y": [5.0, 6.0]}})
    assert [len(ax.lines) for ax in figure.axes] == [1, 2]


def test_shape_walk_names_each_step_and_its_shape():
    sizes = {"image_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3}
    config = vt.ViTConfig(**sizes, num_classes=5)
    image = torch.rand(3, 8, 8)
    _, out = vt.VisionTransformer(config)(image[None], intermediates=True)
    titles = [ax.get_title() for ax in plots.shape_walk(image, out).axes]
    assert titles[0] == "image\n3 × 8 × 8"
    assert "blocks.0.attn.weights\n3 × 5 × 5" in titles and titles[-1] == "logits\n5"


@pytest.mark.parametrize("name", ["ViT-B/16", "ViT-H/14", "CIFAR-ViT-Nano"])
def test_groups_lose_nothing(name):
    config = vt.PRESETS[name]
    rows = cost.breakdown(config)
    assert sum(cost.grouped(rows, "params").values()) == cost.parameters(config)
    assert sum(cost.grouped(rows, "macs").values()) == cost.macs(config)
    norms = cost.grouped(rows, "params")["norms"]
    assert norms == (2 * config.depth + 1) * 2 * config.embed_dim


def test_grouped_refuses_another_quantity():
    with pytest.raises(ValueError, match="quantity='flops' must be one of params, macs"):
        cost.grouped([], "flops")


def test_where_it_sits_adds_up_and_switches():
    names = ("ViT-B/16", "ViT-B/32")
    figure = plots.where_it_sits({name: cost.breakdown(vt.PRESETS[name]) for name in names})
    half = len(figure.data) // 2
    for traces in (figure.data[:half], figure.data[half:]):
        for model in range(2):
            assert sum(trace.x[model] for trace in traces) == pytest.approx(100)
    for button, shown in zip(figure.layout.updatemenus[0].buttons, (True, False), strict=True):
        visible = button.args[0]["visible"]
        assert visible == [shown] * half + [not shown] * half
    assert len(figure.layout.meta["alt"]) > 100


def test_small_run_draws_the_line_of_guessing():
    ax = plots.small_run([2.0, 0.5], chance=2.08).axes[0]
    assert list(ax.lines[1].get_ydata()) == [2.08, 2.08]
