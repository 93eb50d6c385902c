"""An image as patches: nothing lost, nothing mixed, everything in its place."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import few, pictures

from vit_teach.vit.patches import grid_size, patchify, to_pair, unpatchify

SIDES = st.integers(1, 5)
ORDERS = st.sampled_from(["cpp", "ppc"])


@few
@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 4), st.integers(0, 3), ORDERS)
def test_there_and_back_is_exact(gh, gw, ph, pw, channels, batch, order):
    images = pictures(batch, channels, gh * ph, gw * pw)
    patches = patchify(images, (ph, pw), order)
    assert patches.shape == (batch, gh * gw, channels * ph * pw)
    if batch:
        back = unpatchify(patches, (ph, pw), (gh * ph, gw * pw), channels, order)
        assert torch.equal(back, images)


@pytest.mark.parametrize("order", ["cpp", "ppc"])
def test_patch_r_c_holds_its_pixels(order):
    images = torch.arange(2 * 3 * 6 * 20).reshape(2, 3, 6, 20)  # every number once
    patches = patchify(images, (2, 5), order)  # a grid of 3 rows and 4 columns
    for r in range(3):
        for c in range(4):
            pixels = images[:, :, 2 * r : 2 * r + 2, 5 * c : 5 * c + 5]  # (B, C, PH, PW)
            pixels = pixels if order == "cpp" else pixels.permute(0, 2, 3, 1)
            assert torch.equal(patches[:, 4 * r + c], pixels.flatten(1))


def test_equals_unfold():
    images = pictures(2, 3, 6, 20)
    expected = F.unfold(images, (2, 5), stride=(2, 5)).transpose(1, 2)
    assert torch.equal(patchify(images, (2, 5)), expected)


def test_the_two_orders_hold_the_same_numbers_in_other_places():
    images = pictures(2, 3, 8, 12)
    cpp, ppc = patchify(images, 4, "cpp"), patchify(images, 4, "ppc")
    assert not torch.equal(cpp, ppc)
    assert torch.equal(cpp.view(2, 6, 3, 16).transpose(2, 3).reshape(2, 6, 48), ppc)


def test_one_channel_and_one_pixel_patches():
    images = pictures(1, 1, 2, 3)
    assert torch.equal(patchify(images, 1), images.reshape(1, 6, 1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.bfloat16])
def test_the_number_type_stays(dtype):
    images = torch.arange(48).reshape(1, 3, 4, 4).to(dtype)
    assert patchify(images, 2).dtype == dtype
    assert torch.equal(unpatchify(patchify(images, 2), 2, 4), images)


def test_gradients_pass():
    images = pictures(1, 3, 4, 6).requires_grad_()
    (patchify(images, 2) * 2).sum().backward()
    assert torch.equal(images.grad, torch.full_like(images, 2))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4", None, (4,), (4, 4, 4), (4, 0), (4, 2.0)])
def test_bad_sizes_are_named(size):
    with pytest.raises(ValueError, match=r"patch=.* must be a positive integer or a pair"):
        to_pair(size, "patch")


def test_sizes_as_one_number_or_two():
    assert to_pair(4) == (4, 4) and to_pair([2, 3]) == (2, 3)
    assert grid_size((8, 12), (4, 2)) == (2, 6)


IMAGES = torch.zeros(2, 3, 8, 12)
PATCHES = torch.zeros(2, 6, 48)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: grid_size(30, 4), r"image_size=30 must be divisible by patch_size=4"),
        (lambda: grid_size((32, 30), 4), r"image_size=\(32, 30\) must be divisible"),
        (lambda: grid_size((30, 32), 4), r"image_size=\(30, 32\) must be divisible"),
        (lambda: patchify(IMAGES, 5), r"image_size=\(8, 12\) must be divisible by patch_size="),
        (lambda: patchify(IMAGES, 0), r"patch_size=0 must be"),
        (lambda: patchify(IMAGES[0], 4), r"images of shape \(3, 8, 12\) must be \(B, C, H, W\)"),
        (lambda: patchify(IMAGES, 4, "pcp"), r"order='pcp' must be one of"),
        (lambda: unpatchify(PATCHES, 4, (8, 12), order="x"), r"order='x' must be one of"),
        (lambda: unpatchify(PATCHES, 4, (8, 8)), r"patches of shape .* must be \(B, 4, 48\)"),
        (lambda: unpatchify(PATCHES, 4, (8, 12), channels=1), r"must be \(B, 6, 16\)"),
        (lambda: unpatchify(PATCHES[0], 4, (8, 12)), r"patches of shape \(6, 48\) must be"),
        (lambda: unpatchify(PATCHES, 5, (8, 12)), r"must be divisible by patch_size=\(5, 5\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
