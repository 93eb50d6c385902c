"""The figures of chapters 3 and 4, and the numbers they draw."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

import vit_teach as vt  # noqa: E402
from vit_teach.plots import projection  # noqa: E402

GRID = (3, 5)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def tables():
    torch.manual_seed(0)
    return {"noise": torch.randn(15, 8), "1-D": vt.sincos_1d(15, 8), "2-D": vt.sincos_2d(GRID, 8)}


def test_cosine_similarity_is_torch_s(tables):
    table = tables["noise"]
    expected = torch.nn.functional.cosine_similarity(table[:, None], table[None], dim=2)
    assert torch.allclose(vt.plots.cosine_similarity(table), expected, atol=1e-6)


def test_a_tile_is_the_map_of_its_own_place():
    values = torch.arange(225.0).view(15, 15)  # each entry another number
    sheet = vt.probe.tiles(values, GRID)
    for r in range(3):
        for c in range(5):
            tile = sheet[4 * r : 4 * r + 3, 6 * c : 6 * c + 5]
            assert torch.equal(tile, values[5 * r + c].view(GRID))
    assert sheet[3].isnan().all() and sheet[:, 5].isnan().all()
    assert sheet.isnan().sum() == sheet.numel() - 225


def test_similarity_tiles_has_a_panel_for_each_table(tables):
    opened = vt.plots.similarity_tiles(tables, GRID)
    assert [ax.get_title() for ax in opened.axes[:3]] == list(tables)


@pytest.mark.parametrize(
    "call",
    [
        lambda: vt.plots.similarity_tiles({"bad": torch.randn(14, 8)}, GRID),
        lambda: vt.plots.offset_similarity(torch.randn(15, 8), torch.randn(1, 15, 8), GRID),
        lambda: vt.plots.cosine_similarity(torch.randn(1, 15, 8)),
        lambda: vt.plots.principal_filters(torch.randn(8, 48)),
    ],
)
def test_a_table_of_another_shape_is_refused(call):
    with pytest.raises(ValueError, match="of shape .* must be"):
        call()


def test_resized_slice_draws_each_rule_and_the_old_values():
    torch.manual_seed(0)
    table = torch.randn(1, 16, 8)
    (ax,) = vt.plots.resized_slice(table, GRID, (6, 9), column=2, prefix_tokens=1).axes
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == [*vt.RESIZE_RULES, "old table"]
    assert lines["old table"].get_ydata().tolist() == table[0, 1:6, 2].tolist()
    for rule in vt.RESIZE_RULES:
        expected = vt.resize_positions(table, GRID, (6, 9), rule)[0, 1:10, 2]
        assert torch.allclose(torch.as_tensor(lines[rule].get_ydata()), expected)
    assert lines["google"].get_xdata()[0] == pytest.approx(0.5 / 9)


def test_principal_filters_find_a_planted_pattern():
    torch.manual_seed(0)
    planted = torch.randn(3, 2, 4)
    planted = planted / planted.norm()
    bank = 5 * torch.randn(40, 1, 1, 1) * planted + 0.01 * torch.randn(40, 3, 2, 4) + 1
    patterns, share = projection.principal_filters(bank)
    assert patterns.shape == (24, 3, 2, 4)
    assert abs((patterns[0] * planted).sum()) > 0.999 and share[0] > 0.99
    assert share.sum() == pytest.approx(1) and (share.diff() <= 0).all()
    assert torch.allclose(patterns.flatten(1) @ patterns.flatten(1).T, torch.eye(24), atol=1e-5)
    assert (patterns.flatten(1).gather(1, patterns.flatten(1).abs().argmax(1, True)) > 0).all()


def test_the_kept_numbers_are_every_pth():
    dense = torch.arange(45.0).view(5, 9)
    opened = vt.plots.sliding_filter(torch.rand(3, 8, 12), dense, 4)
    kept = opened.axes[2].images[0].get_array()
    assert kept.tolist() == [[0, 4, 8], [36, 40, 44]]


def test_filter_figures_have_a_row_or_a_line_for_each_bank():
    banks = {"before": torch.randn(16, 3, 2, 2), "after": torch.randn(16, 3, 2, 2)}
    assert len(vt.plots.filter_bank(banks, count=5).axes) == 10
    (ax,) = vt.plots.filter_shares(banks).axes
    assert [line.get_label() for line in ax.lines] == list(banks)
    assert all(line.get_ydata()[-1] == pytest.approx(100) for line in ax.lines)


def test_table_image_is_symmetric_around_zero(tables):
    picture = vt.plots.table_image(tables["noise"]).axes[0].images[0]
    low, high = picture.get_clim()
    assert low == -high and picture.get_array().shape == (15, 8)
