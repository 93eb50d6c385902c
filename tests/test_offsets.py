"""Positions in the attention: scores depend on offsets, exactly, and as independent code has it."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from timm.layers import RelPosBias, apply_rot_embed

from vit_teach import VisionTransformer, ViTConfig, attention_weights, cost, weights, zoo
from vit_teach.train.optim import split_parameters
from vit_teach.vit.embedding import POSITIONS
from vit_teach.vit.offsets import RelativeBias, Rotary, build_offsets, rotary_angles, rotate

GRID, HEADS, WIDTH = (3, 5), 2, 8
N = GRID[0] * GRID[1]
SMALL = ViTConfig(
    image_size=(12, 20), patch_size=4, num_classes=5, embed_dim=16, depth=2, num_heads=2,
    mlp_ratio=2.0,
)  # fmt: skip
WITH_OFFSETS = [position for position in POSITIONS if position.split("+")[-1][0] == "r"]


def built(**changes):
    torch.manual_seed(0)
    model = VisionTransformer(replace(SMALL, **changes)).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("offset_bias", "head.weight")):
                parameter.normal_()
            elif name.endswith("qkv.weight"):
                parameter.mul_(10)  # sharper attention: more to see
    return model


def picture(batch=2):
    return torch.randn(batch, 3, 12, 20, generator=torch.Generator().manual_seed(1)).double()


def test_there_are_four_kinds_with_offsets():
    assert WITH_OFFSETS == ["rotary", "relative", "learned+rotary", "learned+relative"]


def test_a_rotary_score_depends_on_the_offset_alone():
    torch.manual_seed(0)
    q, k = torch.randn(2, WIDTH).double()  # one query and one key, put at every place
    angles = rotary_angles(GRID, WIDTH)
    scores = rotate(q.expand(N, -1), angles) @ rotate(k.expand(N, -1), angles).T  # (N, N)
    by_offset = {}
    for i, j in product(range(N), repeat=2):
        (y, x), (v, u) = divmod(i, GRID[1]), divmod(j, GRID[1])
        by_offset.setdefault((y - v, x - u), []).append(scores[i, j])
    assert len(by_offset) == 5 * 9
    for same in by_offset.values():
        assert max(same) - min(same) < 1e-13
    means = torch.stack([torch.stack(same).mean() for same in by_offset.values()])
    assert means.std() > 0.1  # and it does depend on it
    assert abs(by_offset[0, 0][0] - q @ k) < 1e-13


def test_turning_is_multiplying_complex_numbers():
    torch.manual_seed(0)
    x = torch.randn(2, 3, N, WIDTH).double()
    rows, columns = torch.arange(N).double() // GRID[1], torch.arange(N).double() % GRID[1]
    phases = torch.ones(N, WIDTH // 2, dtype=torch.complex128)
    for i in range(WIDTH // 4):
        frequency = 100 ** (-4 * i / WIDTH)
        phases[:, i] = torch.exp(1j * rows * frequency)
        phases[:, WIDTH // 4 + i] = torch.exp(1j * columns * frequency)
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * phases)
    torch.testing.assert_close(
        rotate(x, rotary_angles(GRID, WIDTH)), expected.flatten(-2), rtol=0, atol=1e-13
    )


def test_turning_is_timms():
    torch.manual_seed(0)
    x, angles = torch.randn(2, HEADS, N, WIDTH).double(), rotary_angles(GRID, WIDTH)
    twice = angles.repeat_interleave(2, dim=1)  # (N, h), as timm keeps them
    theirs = apply_rot_embed(x, twice.sin(), twice.cos())
    torch.testing.assert_close(rotate(x, angles), theirs, rtol=0, atol=1e-13)


def test_the_relative_bias_is_timms():
    ours, theirs = RelativeBias(GRID, HEADS), RelPosBias(GRID, HEADS)
    with torch.no_grad():
        ours.offset_bias.normal_()
        theirs.relative_position_bias_table.copy_(ours.offset_bias.flatten(1).T)
        q = torch.zeros(1, HEADS, N, WIDTH)
        torch.testing.assert_close(ours(q, q)[2], theirs.get_bias()[0], rtol=0, atol=0)


def test_the_bias_of_a_pair_is_that_of_its_offset():
    bias = RelativeBias(GRID, HEADS, prefix_tokens=2)
    with torch.no_grad():
        bias.offset_bias.copy_(torch.arange(HEADS * 45.0).view(HEADS, 5, 9) + 1)
    q = torch.zeros(1, HEADS, N + 2, WIDTH)
    found = bias(q, q)[2]
    assert not found[:, :2].any() and not found[:, :, :2].any()
    # Patch (2, 1) asks patch (0, 4): two below it and three to its left.
    assert found[1, 2 + 2 * 5 + 1, 2 + 4] == bias.offset_bias[1, 2 + 2, -3 + 4]


@pytest.mark.parametrize("position", WITH_OFFSETS)
def test_every_path_gives_the_same(position):
    model, x = built(position=position, registers=1), picture()
    logits, out = model(x, intermediates=True)
    for fused in (True, False):
        for block in model.blocks:
            block.attn.fused = fused
        torch.testing.assert_close(model(x), logits, rtol=0, atol=1e-12)
    bias = None
    if position.endswith("relative"):
        bias = model.blocks[1].attn.offsets(*torch.zeros(2, 1, 2, 17, 8).double())[2]
    again = attention_weights(out["blocks.1.attn.q"], out["blocks.1.attn.k"], bias)
    torch.testing.assert_close(out["blocks.1.attn.weights"], again, rtol=0, atol=1e-14)


def test_tokens_without_a_place_are_not_turned():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, HEADS, N + 3, WIDTH)
    turned = Rotary(GRID, WIDTH, prefix_tokens=3)(q, k)
    assert torch.equal(turned[0][:, :, :3], q[:, :, :3])
    assert torch.equal(turned[1][:, :, 3], k[:, :, 3])  # the first patch: angle zero
    assert not torch.equal(turned[1][:, :, 4], k[:, :, 4])


def test_a_bias_of_zeros_is_no_bias():
    torch.manual_seed(0)
    plain = VisionTransformer(replace(SMALL, position="none")).double()
    torch.manual_seed(0)
    relative = VisionTransformer(replace(SMALL, position="relative")).double()
    relative.load_state_dict(plain.state_dict(), strict=False)
    assert all(
        torch.equal(p, relative.state_dict()[name]) for name, p in plain.state_dict().items()
    )
    relative.head.weight.data.normal_()
    plain.head.weight.data.copy_(relative.head.weight)
    torch.testing.assert_close(relative(picture()), plain(picture()), rtol=0, atol=1e-13)


@pytest.mark.parametrize("position", WITH_OFFSETS)
def test_a_shuffled_picture_is_another_picture(position):
    model, x = built(position=position, pool="mean"), picture()
    mirrored = x.flip(3)
    assert (model(mirrored) - model(x)).abs().max() > 1e-3
    sets = built(position="none", pool="mean")
    pieces = x.unflatten(3, (5, 4)).flip(3).flatten(3)  # the columns of patches in reverse
    torch.testing.assert_close(sets(pieces), sets(x), rtol=0, atol=1e-12)
    assert (model(pieces) - model(x)).abs().max() > 1e-3


def test_rotary_fits_a_wider_grid_as_it_is():
    narrow, wide = built(position="rotary"), replace(SMALL, position="rotary", image_size=(12, 28))
    model = VisionTransformer(wide).double().eval()
    model.load_state_dict(narrow.state_dict())
    x = picture()
    wider = torch.cat([x, picture().flip(3)[..., :8]], dim=3)
    q, k = [], []
    for net, images in ((narrow, x), (model, wider)):
        _, out = net(images, intermediates=True)
        grid = net.config.grid_size
        for found, letter in ((q, "q"), (k, "k")):
            patches = out[f"blocks.0.attn.{letter}"][:, :, 1:].unflatten(2, grid)
            found.append(patches[:, :, :, :5].flatten(2, 3))
    scores = [a @ b.transpose(-2, -1) for a, b in zip(q, k, strict=True)]
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)  # angles in 32 bits
    state, config = weights.adapt(narrow.state_dict(), narrow.config, image_size=(12, 28))
    assert config == wide and all(torch.equal(state[n], t) for n, t in model.state_dict().items())


def test_a_relative_bias_is_not_stretched_in_silence():
    model = built(position="relative")
    with pytest.raises(ValueError, match=r"image_size=24 changes the grid.*offsets of \(3, 5\)"):
        weights.adapt(model.state_dict(), model.config, image_size=24)


@pytest.mark.parametrize("position", WITH_OFFSETS)
def test_other_layouts_refuse(position):
    model = built(position=position)
    for export in (weights.to_timm, weights.to_google):
        with pytest.raises(ValueError, match="the other layouts know a plain table only"):
            export(model)


@pytest.mark.parametrize("position", WITH_OFFSETS)
def test_files_and_costs(position, tmp_path):
    model = built(position=position).float()
    weights.save(model, tmp_path / "model.safetensors")
    again = weights.load(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert torch.equal(again(picture().float()), model(picture().float()))
    assert cost.parameters(model.config) == sum(p.numel() for p in model.parameters())
    config = zoo.config_from_dict(zoo.config_to_dict(model.config))
    assert config == model.config and (config.table == "learned") == ("learned" in position)


def test_the_bias_learns_without_decay():
    model = VisionTransformer(replace(SMALL, position="relative", pool="mean"))
    matrices, decayed, plain = split_parameters(model)
    tables = [block.attn.offsets.offset_bias for block in model.blocks]
    assert all(any(table is p for p in plain) for table in tables)
    assert not any(table is p for table in tables for p in matrices + decayed)
    model.head.weight.data.normal_()
    model(picture().float()).square().sum().backward()
    assert all(table.grad.abs().max() > 0 for table in tables)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rotary_angles(GRID, 6), "head_dim=6 must be a multiple of 4"),
        (lambda: rotary_angles(GRID, 8, base=1.0), "base=1.0 must be above 1"),
        (lambda: rotate(torch.zeros(4, 8), torch.zeros(4, 8)), r"angles of shape \(4, 8\)"),
        (lambda: build_offsets("learned", GRID, 2, 8, 0), "kind='learned' must be None or one of"),
        (lambda: replace(SMALL, position="rotary", num_heads=8), "make 2"),
        (lambda: replace(SMALL, position="sincos"), "position='sincos' must be one of"),
        (lambda: attention_weights(*torch.zeros(2, 5, 8), torch.zeros(1, 4, 5)), "bias of shape"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
