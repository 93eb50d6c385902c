"""Shifts and receptive fields: the measures against cases whose answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt
from vit_teach import probe


def built(name, **changes):
    torch.manual_seed(0)
    return vt.zoo.build(vt.zoo.preset(name, **changes)).double().eval().requires_grad_(False)


def pictures(count=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("CIFAR-ViT-Nano", {}),
        ("CIFAR-ViT-Nano", {"pool": "cls", "class_token": True}),
        ("CIFAR-Hybrid-Nano", {}),
        ("CIFAR-ResNet-Nano", {}),
    ],
)
def test_the_last_map_averaged_is_what_the_head_reads(name, changes):
    model = built(name, **changes)
    map_ = probe.last_map(model, pictures())
    if changes:  # this one reads the class token, which the map leaves out
        _, out = model(pictures(), intermediates=True)
        assert torch.equal(map_.flatten(2).mT, out["norm"][:, 1:])
    else:
        torch.testing.assert_close(map_.mean(dim=(2, 3)), model.features(pictures()))


def test_maps_keep_the_grid_of_a_picture_that_is_not_square():
    config = vt.ViTConfig(image_size=(8, 24), patch_size=4, embed_dim=12, depth=2, num_heads=3)
    maps = probe.feature_maps(vt.VisionTransformer(config), torch.rand(2, 3, 8, 24))
    assert list(maps) == ["patch_embed", "blocks.0", "blocks.1", "norm"]
    assert {tuple(map_.shape) for map_ in maps.values()} == {(2, 12, 2, 6)}


def test_maps_of_another_model_are_refused():
    with pytest.raises(ValueError, match="model=Linear must be a VisionTransformer"):
        probe.feature_maps(torch.nn.Linear(2, 2), pictures())


@pytest.mark.parametrize(("down", "right"), [(0, 3), (2, -1), (-2, 5)])
def test_whole_shifts_are_rolls(down, right):
    x = torch.rand(2, 3, 5, 7)
    assert torch.equal(probe.shifted(x, down, right), torch.roll(x, (down, right), (2, 3)))


def test_a_part_of_a_cell_is_a_weighted_mean_also_to_the_left():
    x = torch.tensor([[[[0.0, 4.0, 8.0, 12.0]]]])
    assert probe.shifted(x, right=0.25).flatten().tolist() == [3.0, 3.0, 7.0, 11.0]
    assert probe.shifted(x, right=-0.25).flatten().tolist() == [1.0, 5.0, 9.0, 9.0]


def test_equivariance_of_a_vit_without_positions_holds_for_whole_patches_only():
    model = built("CIFAR-ViT-Nano", position="none")

    def error(down, right):
        return probe.equivariance_error(lambda x: probe.last_map(model, x), pictures(), down, right)

    assert error(0, 0) == 0
    assert error(8, 16) < 1e-13 and error(-8, 24) < 1e-13
    assert error(0, 1) > 0.1 and error(4, 8) > 0.1


def test_an_unrelated_map_differs_by_the_root_of_two():
    torch.manual_seed(0)
    noise = iter([torch.randn(4, 8, 16, 16), torch.randn(4, 8, 16, 16) + 0.0])
    error = probe.equivariance_error(lambda x: next(noise), torch.rand(4, 3, 32, 32), right=2)
    assert abs(error - math.sqrt(2)) < 0.05


def test_what_is_the_same_everywhere_does_not_make_the_error_small():
    def uneven(x):  # moves the wrong way
        return x.flip(3)

    small = probe.equivariance_error(uneven, pictures(), right=3)
    same = probe.equivariance_error(lambda x: uneven(x) + 1000, pictures(), right=3)
    assert small == pytest.approx(same) and small > 1


def test_errors_of_the_errors():
    with pytest.raises(ValueError, match=r"must be \(B, D, h, w\)"):
        probe.equivariance_error(lambda x: x.mean(dim=(2, 3)), pictures(), right=1)
    with pytest.raises(ValueError, match="the same everywhere"):
        probe.equivariance_error(torch.zeros_like, pictures(), right=1)
    with pytest.raises(ValueError, match=r"must be \(B, D\)"):
        probe.invariance_error(lambda x: x, pictures(), right=1)
    with pytest.raises(ValueError, match="at least two"):
        probe.invariance_error(lambda x: x.mean(dim=(2, 3)), pictures(1), right=1)


def test_invariance_of_a_mean_and_of_a_corner():
    x = pictures(4)
    assert probe.invariance_error(lambda x: x.mean(dim=(2, 3)), x, down=3, right=5) < 1e-12
    assert probe.invariance_error(lambda x: x[:, :, 0, 0], x, right=1) > 0.5


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1)],
        [(4, 4, 0)],
        [(3, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1)],
        [(7, 2, 3), (3, 2, 1), (1, 1, 0)],
        [(5, 1, 0), (2, 3, 0)],
    ],
)
def test_the_formula_is_what_a_gradient_finds(layers):
    size, stride, start = probe.receptive_field(layers)

    def stack(x):
        for kernel, step, padding in layers:
            x = F.conv2d(x, torch.ones(1, 1, kernel, kernel), stride=step, padding=padding)
        return x

    x = torch.rand(1, 1, 48, 64)
    for row, column in ((0, 0), (3, 4)):
        energy = probe.gradient_energy(stack, x, row, column)
        for axis, number, side in ((1, row, 48), (0, column, 64)):
            found = energy.sum(dim=axis).nonzero().flatten()
            first = start + number * stride
            expected = range(max(first, 0), min(first + size, side))
            assert found.tolist() == list(expected)


@pytest.mark.parametrize("layer", [(0, 1, 0), (3, 0, 1), (3, 1, -1)])
def test_layers_that_do_not_exist_are_refused(layer):
    with pytest.raises(ValueError, match="kernel >= 1"):
        probe.receptive_field([(3, 1, 1), layer])


def test_energy_is_the_squared_gradient_on_average():
    torch.manual_seed(0)
    matrix = torch.randn(5, 3, dtype=torch.float64)  # (D, C), the same map for every pixel
    images = torch.rand(4000, 3, 2, 3, dtype=torch.float64)
    energy = probe.gradient_energy(
        lambda x: torch.einsum("dc,bchw->bdhw", matrix, x), images, row=1, column=2
    )
    assert energy[1, 2].item() == pytest.approx(matrix.square().sum().item(), rel=0.1)
    assert (energy > 0).sum() == 1


def test_a_cell_outside_is_refused():
    with pytest.raises(ValueError, match=r"cell \(2, 0\) must lie in the grid \(2, 3\)"):
        probe.gradient_energy(lambda x: x, torch.rand(1, 3, 2, 3), 2, 0)


def test_distances():
    assert probe.mean_distance(torch.eye(1), (0, 0)) == 0
    energy = torch.zeros(5, 7)
    energy[4, 3] = 2.0
    assert probe.mean_distance(energy, (1, 7)) == 5.0
    for bad in (torch.zeros(2, 2), torch.tensor([[1.0, -1.0]])):
        with pytest.raises(ValueError, match="energy must not be negative, nor zero everywhere"):
            probe.mean_distance(bad, (0, 0))
