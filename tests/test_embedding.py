"""Projection and positions: the same map three ways, and five ways to resize a table."""

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise
from PIL import Image
from scipy.ndimage import zoom

from vit_teach.vit.embedding import (
    RESIZE_RULES,
    PatchEmbedding,
    check_image_size,
    fixed_table,
    init_projection,
    resize_positions,
    sincos_1d,
    sincos_2d,
)
from vit_teach.vit.patches import patchify

# --- The projection ----------


def small_embedding():
    torch.manual_seed(0)
    return randomise(PatchEmbedding((8, 12), 4, 3, 7))


SMALL = st.integers(1, 4)


@few
@given(SMALL, SMALL, SMALL, SMALL, st.integers(1, 3))
def test_convolution_is_flatten_and_multiply(gh, gw, ph, pw, channels):
    size = (gh * ph, gw * pw)
    embed = randomise(PatchEmbedding(size, (ph, pw), channels, 7))
    images = pictures(2, channels, *size)
    matrix = embed.proj.weight.reshape(7, -1)  # (D, C PH PW), a plain reshape
    tokens = embed(images)
    assert tokens.shape == (2, gh * gw, 7)
    close(patchify(images, (ph, pw)) @ matrix.T + embed.proj.bias, tokens, 1e-5)
    columns = F.unfold(images, (ph, pw), stride=(ph, pw))  # (B, C PH PW, N)
    close((matrix @ columns).transpose(1, 2) + embed.proj.bias, tokens, 1e-5)


def test_the_other_order_needs_permuted_weights():
    embed = small_embedding()
    images = pictures(2, 3, 8, 12)
    patches = patchify(images, 4, order="ppc")
    permuted = embed.proj.weight.permute(0, 2, 3, 1).reshape(7, -1)  # (D, PH PW C)
    close(patches @ permuted.T + embed.proj.bias, embed(images), 1e-5)
    plain = patches @ embed.proj.weight.reshape(7, -1).T + embed.proj.bias
    assert (plain - embed(images)).abs().max() > 0.1


def test_a_circular_shift_by_a_patch_permutes_the_tokens():
    embed = small_embedding()
    images = pictures(2, 3, 8, 12)
    grid = embed(images).view(2, 2, 3, 7)
    down_right = embed(images.roll((4, 8), dims=(2, 3)))
    assert torch.equal(down_right, grid.roll((1, 2), dims=(1, 2)).flatten(1, 2))
    one_pixel = embed(images.roll(1, dims=3))
    distance = (one_pixel[:, :, None] - embed(images)[:, None]).abs().amax(dim=3)  # (B, N, N)
    assert distance.min() > 0.01  # no token of the shifted image is a token of the image


def test_a_kernel_spread_over_a_doubled_image_gives_the_old_tokens():
    small = small_embedding().double()
    large = PatchEmbedding((16, 24), 8, 3, 7).double()
    weight = small.proj.weight.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) / 4
    large.load_state_dict({"proj.weight": weight, "proj.bias": small.proj.bias})
    images = pictures(2, 3, 8, 12, dtype=torch.float64)
    doubled = F.interpolate(images, scale_factor=2, mode="nearest")
    close(large(doubled), small(images), 1e-12)


def test_the_projection_starts_with_variance_one_over_fan_in():
    conv = torch.nn.Conv2d(3, 256, 8)
    torch.manual_seed(0)
    init_projection(conv)
    assert abs(conv.weight.std() * math.sqrt(3 * 64) - 1) < 0.02
    assert not conv.bias.any()


# --- Fixed tables ----------


def test_sincos_1d_is_its_formula():
    table = sincos_1d(5, 6)
    for position in range(5):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert abs(table[position, i] - math.sin(angle)) < 1e-6
            assert abs(table[position, 3 + i] - math.cos(angle)) < 1e-6


def test_sincos_2d_is_its_formula():
    table = sincos_2d((3, 5), 12)
    for row in range(3):
        for column in range(5):
            expected = []
            for value, wave in ((column, np.sin), (column, np.cos), (row, np.sin), (row, np.cos)):
                expected += [wave(value / 10000 ** (i / 2)) for i in range(3)]
            np.testing.assert_allclose(table[5 * row + column], expected, atol=1e-6)


@few
@given(st.integers(2, 9), st.integers(1, 8).map(lambda n: 2 * n))
def test_sincos_1d_knows_only_the_offset(length, dim):
    table = sincos_1d(length, dim).double()
    products = table @ table.T
    for offset in range(length):
        assert products.diagonal(offset).std(unbiased=False) < 1e-5
    close(products.diagonal(), torch.full((length,), dim / 2, dtype=torch.float64), 1e-5)


@few
@given(st.integers(1, 5), st.integers(1, 5), st.integers(2, 6).map(lambda n: 4 * n))
def test_sincos_2d_knows_only_the_offset_of_each_axis(gh, gw, dim):
    table = sincos_2d((gh, gw), dim).double()
    products = (table @ table.T).view(gh, gw, gh, gw)
    for r, c, s, d in np.ndindex(gh, gw, gh, gw):
        assert abs(products[r, c, s, d] - products[0, 0, abs(s - r), abs(d - c)]) < 1e-5


def test_sincos_tables_tell_all_places_apart():
    for table in (sincos_1d(64, 8), sincos_2d((8, 8), 8)):
        assert torch.pdist(table).min() > 1e-2


def test_the_class_token_has_no_place():
    table = fixed_table("sincos2d", (2, 3), 8, 1)
    assert not table[:, 0].any()
    assert torch.equal(table[0, 1:], sincos_2d((2, 3), 8))
    assert torch.equal(fixed_table("sincos1d", (2, 3), 8, 0)[0], sincos_1d(6, 8))


# --- Resizing: each rule against a reference that is not ours ----------

GRIDS = [((4, 4), (7, 7)), ((7, 7), (4, 4)), ((3, 5), (6, 4)), ((2, 8), (4, 4)), ((4, 4), (2, 8))]


def random_table(grid, prefix=1, dim=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, prefix + grid[0] * grid[1], dim, generator=generator, dtype=torch.float64)


def planes(table, grid, prefix=1):
    """The grid part as numpy arrays (D, gh, gw)."""
    return table[0, prefix:].T.reshape(-1, *grid).numpy()


def by_axis(arrays, new, matrix):
    """Resize (D, gh, gw) by a matrix (new, old) for each axis."""
    rows, columns = matrix(arrays.shape[1], new[0]), matrix(arrays.shape[2], new[1])
    return np.einsum("ij,djk,lk->dil", rows, arrays, columns)


def half_pixel(old, new):
    return (np.arange(new) + 0.5) * old / new - 0.5


def aligned(old, new):
    return np.linspace(0, old - 1, new)


def bilinear_matrix(old, new):
    """Half-pixel centres, clamped at the border, no anti-aliasing."""
    matrix = np.zeros((new, old))
    for i, x in enumerate(np.clip(half_pixel(old, new), 0, old - 1)):
        low = min(int(x), old - 1)
        matrix[i, low] += 1 - (x - low)
        matrix[i, min(low + 1, old - 1)] += x - low
    return matrix


def bicubic_matrix(old, new, places, a=-0.75):
    """Keys' cubic convolution, clamped at the border, no anti-aliasing."""
    matrix = np.zeros((new, old))
    for i, x in enumerate(places(old, new)):
        low = math.floor(x)
        for tap in range(low - 1, low + 3):
            d = abs(x - tap)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            matrix[i, min(max(tap, 0), old - 1)] += near if d <= 1 else far if d < 2 else 0
    return matrix


def by_google(arrays, new):
    factors = (1, new[0] / arrays.shape[1], new[1] / arrays.shape[2])
    return zoom(arrays, factors, order=1)


def by_timm(arrays, new):  # Pillow's bicubic is anti-aliased, as timm's is
    new_size = (new[1], new[0])
    images = [Image.fromarray(a.astype(np.float32)) for a in arrays]
    return np.stack([np.asarray(i.resize(new_size, Image.Resampling.BICUBIC)) for i in images])


def by_timm_npz(arrays, new):
    return by_axis(arrays, new, bilinear_matrix)


def by_torchvision(arrays, new):
    return by_axis(arrays, new, partial(bicubic_matrix, places=aligned))


def by_hf(arrays, new):
    return by_axis(arrays, new, partial(bicubic_matrix, places=half_pixel))


REFERENCES = {
    "google": by_google,
    "timm": by_timm,
    "timm-npz": by_timm_npz,
    "torchvision": by_torchvision,
    "hf": by_hf,
}


def test_every_rule_has_a_reference():
    assert tuple(REFERENCES) == RESIZE_RULES


@pytest.mark.parametrize("old, new", GRIDS)
@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_rule_equals_its_reference(rule, old, new):
    table = random_table(old)
    ours = planes(resize_positions(table, old, new, rule), new)
    np.testing.assert_allclose(ours, REFERENCES[rule](planes(table, old), new), atol=1e-6)


def test_the_rules_differ_from_each_other():
    results = [
        resize_positions(random_table((4, 4)), (4, 4), (6, 7), rule) for rule in RESIZE_RULES
    ]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert (one - other).abs().max() > 0.01


@pytest.mark.parametrize("old, new", GRIDS)
def test_timm_rules_equal_timm(old, new):
    timm_layers = pytest.importorskip("timm.layers")
    table = random_table(old).float()
    theirs = timm_layers.resample_abs_pos_embed(table, list(new), list(old), num_prefix_tokens=1)
    close(resize_positions(table, old, new, "timm"), theirs, 1e-6)
    theirs = timm_layers.resample_abs_pos_embed(
        table, list(new), list(old), num_prefix_tokens=1, interpolation="bilinear", antialias=False
    )
    close(resize_positions(table, old, new, "timm-npz"), theirs, 1e-6)


def test_torchvision_rule_equals_torchvision():
    vit = pytest.importorskip("torchvision.models.vision_transformer")
    table = random_table((4, 4)).float()
    state = {"encoder.pos_embedding": table}
    theirs = vit.interpolate_embeddings(7 * 16, 16, dict(state))["encoder.pos_embedding"]
    close(resize_positions(table, (4, 4), (7, 7), "torchvision"), theirs, 1e-6)


def test_hf_rule_is_the_call_of_its_code():
    table = random_table((4, 4)).float()
    plane = table[:, 1:].reshape(1, 4, 4, 6).permute(0, 3, 1, 2)
    plane = F.interpolate(plane, size=(3, 7), mode="bicubic", align_corners=False)
    theirs = torch.cat([table[:, :1], plane.permute(0, 2, 3, 1).view(1, -1, 6)], dim=1)
    close(resize_positions(table, (4, 4), (3, 7), "hf"), theirs, 1e-7)


# --- Resizing: properties of all rules ----------

RULES = st.sampled_from(RESIZE_RULES)
SIDE = st.integers(2, 6)


@few
@given(RULES, SIDE, SIDE, SIDE, SIDE, st.integers(0, 2))
def test_prefix_untouched_and_shape_right(rule, gh, gw, nh, nw, prefix):
    table = random_table((gh, gw), prefix)
    resized = resize_positions(table, (gh, gw), (nh, nw), rule, prefix)
    assert resized.shape == (1, prefix + nh * nw, 6) and resized.dtype == table.dtype
    assert torch.equal(resized[:, :prefix], table[:, :prefix])


@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_equal_grid_gives_the_table_itself(rule):
    table = random_table((2, 8))
    assert resize_positions(table, (2, 8), (2, 8), rule) is table


@pytest.mark.parametrize("old, new", [((2, 8), (4, 4)), ((4, 4), (2, 8)), ((2, 8), (8, 2))])
@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_as_many_patches_in_another_grid_change(rule, old, new):
    table = random_table(old)
    assert (resize_positions(table, old, new, rule) - table).abs().max() > 0.1


@few
@given(RULES, SIDE, SIDE, SIDE, SIDE)
def test_a_constant_stays_constant(rule, gh, gw, nh, nw):
    table = torch.full((1, 1 + gh * gw, 2), 0.7, dtype=torch.float64)
    resized = resize_positions(table, (gh, gw), (nh, nw), rule)
    close(resized, torch.full((1, 1 + nh * nw, 2), 0.7, dtype=torch.float64), 1e-6)


@pytest.mark.parametrize("rule, border", [("google", 0), ("timm-npz", 3), ("timm", 4)])
def test_a_ramp_stays_a_ramp_inside(rule, border):
    # The bicubic of "torchvision" and "hf" (a = -0.75) bends even a straight line: not among these.
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    ramp = (2 * rows + 3 * columns).double().reshape(1, -1, 1)
    resized = resize_positions(ramp, (8, 10), (12, 15), rule, prefix_tokens=0).view(12, 15)
    inside = resized[border : 12 - border, border : 15 - border]
    for axis, (slope, old, new) in enumerate([(2, 8, 12), (3, 10, 15)]):
        scale = (old - 1) / (new - 1) if rule == "google" else old / new
        steps = inside.diff(dim=axis)
        close(steps, torch.full_like(steps, slope * scale), 1e-6)


def test_up_and_down_again():
    table = random_table((4, 5))
    up = resize_positions(table, (4, 5), (7, 9), "google")
    close(resize_positions(up, (7, 9), (4, 5), "google"), table, 1e-12)  # corners and halves meet
    smooth = fixed_table("sincos2d", (6, 6), 16, 1)
    for rule in RESIZE_RULES:
        up = resize_positions(smooth, (6, 6), (12, 12), rule)
        assert (resize_positions(up, (12, 12), (6, 6), rule) - smooth).abs().mean() < 0.05


# --- Bad arguments ----------

TABLE = torch.zeros(1, 5, 8)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: PatchEmbedding(30, 4, 3, 8), r"image_size=30 must be divisible by patch_size=4"),
        (lambda: PatchEmbedding(0, 4, 3, 8), r"image_size=0 must be a positive integer"),
        (lambda: PatchEmbedding(8, 4, 3, 8)(torch.zeros(1, 3, 8, 12)), r"must be \(B, C, 8, 8\)"),
        (lambda: PatchEmbedding(8, 4, 3, 8)(torch.zeros(3, 8, 8)), r"images of shape \(3, 8, 8\)"),
        (lambda: check_image_size(torch.zeros(1, 3, 4, 4), (4, 8)), r"must be \(B, C, 4, 8\)"),
        (lambda: sincos_1d(4, 7), r"dim=7 must be even"),
        (lambda: sincos_1d(4, 0), r"dim=0 must be even"),
        (lambda: sincos_2d((2, 2), 10), r"dim=10 must be a multiple of 4"),
        (lambda: sincos_2d((2, 2), 4), r"dim=4 must be a multiple of 4, at least 8"),
        (lambda: sincos_2d((2, 0), 8), r"grid=\(2, 0\) must be"),
        (lambda: resize_positions(TABLE, (2, 2), (3, 3), "mine"), r"rule='mine' must be one of"),
        (lambda: resize_positions(TABLE, (2, 3), (3, 3)), r"\(1, 5, 8\) must be \(1, 7, D\)"),
        (lambda: resize_positions(TABLE, (2, 2), (3, 3), prefix_tokens=0), r"must be \(1, 4, D\)"),
        (lambda: resize_positions(TABLE[0], (2, 2), (3, 3)), r"table of shape \(5, 8\) must be"),
        (lambda: resize_positions(TABLE, (2, 2), (3, 0)), r"new_grid=\(3, 0\) must be"),
        (lambda: resize_positions(TABLE, (2, 2.0), (3, 3)), r"old_grid=\(2, 2.0\) must be"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
