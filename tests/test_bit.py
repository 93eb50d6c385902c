"""The paper's hybrid: timm's outputs, exact sizes, weights that are standardised."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise

from vit_teach import cost, zoo
from vit_teach.baselines.paper_hybrid import (
    PAPER_HYBRIDS,
    Bottleneck,
    PaperHybrid,
    PaperHybridConfig,
    StdConv,
    pad_same,
    standardise,
)
from vit_teach.weights import layouts, sizes
from vit_teach.weights.files import load, load_strict, save

NAMES = {"R26+ViT-S/32": "vit_small_r26_s32_224", "R50+ViT-B/16": "vit_base_r50_s16_224"}
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5}
TINY = PaperHybridConfig(image_size=32, patch_size=8, units=(1, 2), **SMALL)


@pytest.mark.parametrize(
    "name, count",
    [("R50+ViT-B/16", 98_659_112), ("R26+ViT-S/32", 36_431_912), ("R50+ViT-L/32", 328_994_856)],
)
def test_number_of_parameters(name, count):
    with torch.device("meta"):
        model = zoo.build(zoo.preset(name))
    assert sum(p.numel() for p in model.parameters()) == count == cost.parameters(model.config)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", NAMES)
def test_timm(name, dtype, tolerance):
    # float32 needs a wider tolerance than a plain ViT: twenty and more norms divide by small
    # standard deviations, and each division enlarges the rounding of the one before.
    size = 64 if name.startswith("R26") else (48, 64)
    torch.manual_seed(0)
    theirs = timm.create_model(NAMES[name], pretrained=False, img_size=size, **SMALL)
    theirs = randomise(theirs, size=0.05).to(dtype).eval()
    state = theirs.state_dict()
    config = sizes.infer_config(state, num_heads=3, image_size=size)
    assert config == replace(PAPER_HYBRIDS[name], image_size=size, **SMALL)
    ours = PaperHybrid(config).to(dtype).eval()
    load_strict(ours, state)
    images = pictures(2, 3, *config.image_size, dtype=dtype)
    close(ours(images), theirs(images), tolerance)


def test_the_multiply_adds_are_counted_right():
    model = zoo.build(TINY).eval()
    counted = []

    def count(module, inputs, output):
        counted.append(output[0, 0].numel() * module.weight.numel())

    for module in model.patch_embed.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    model(pictures(1, 3, 32, 32))
    rows = [r for r in cost.breakdown(TINY) if r["part"].startswith("patch_embed")]
    assert sum(row["macs"] for row in rows) == sum(counted)


@pytest.mark.parametrize("name, printed", [("R50+ViT-B/16", 274), ("R50+ViT-L/32", 246)])
def test_the_papers_exaflops(name, printed):
    assert abs(cost.exaflops(zoo.preset(name), epochs=7) / printed - 1) < 0.02


@given(
    scale=st.floats(0.1, 10), shift=st.floats(-3, 3), height=st.integers(5, 12),
    stride=st.sampled_from([1, 2]),
)  # fmt: skip
@few
def test_the_output_does_not_depend_on_scale_and_shift_of_the_weights(scale, shift, height, stride):
    torch.manual_seed(0)
    layer = StdConv(3, 4, 3, stride).double()
    x = pictures(2, 3, height, 7, dtype=torch.float64)
    before = layer(x)
    with torch.no_grad():
        layer.weight.mul_(scale).add_(shift)
    close(layer(x), before, 1e-4)  # not exact: the small number under the root stays the same
    assert before.shape == (2, 4, -(-height // stride), -(-7 // stride))


def test_standardised_weights():
    weight = standardise(pictures(6, 3, 5, 4, dtype=torch.float64) * 7 + 2)
    close(weight.mean(dim=(1, 2, 3)), torch.zeros(6, dtype=torch.float64), 1e-12)
    close(weight.var(dim=(1, 2, 3), correction=0), torch.ones(6, dtype=torch.float64), 1e-8)


@given(length=st.integers(4, 40), kernel=st.sampled_from([1, 3, 7]), stride=st.sampled_from([1, 2]))
@few
def test_same_padding(length, kernel, stride):
    x = torch.ones(1, 1, length, length)
    padded = pad_same(x, kernel, stride)
    places = F.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=stride).shape[2]
    assert places == -(-length // stride)
    before = int(padded[0, 0, :, padded.shape[3] // 2].argmax())
    after = padded.shape[2] - length - before
    assert 0 <= after - before <= 1  # the odd pixel goes to the bottom


def test_a_new_unit_is_its_shortcut():
    x = pictures(1, 128, 6, 6).relu()
    assert torch.equal(Bottleneck(128, 32, 128, 1)(x), x)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"units": (3, 4)}, r"patch_size=\(16, 16\) must be 8"),
        ({"units": ()}, r"units=\(\) must be positive integers"),
        ({"units": (3, 0, 9)}, "must be positive integers"),
        ({"image_size": 100}, "divisible"),
    ],
)
def test_bad_configurations(change, message):
    with pytest.raises(ValueError, match=message):
        PaperHybridConfig(**change)


def test_round_trip_through_a_file(tmp_path):
    model = randomise(zoo.build(TINY)).eval()
    again = load(save(model, tmp_path / "hybrid.safetensors"))
    images = pictures(2, 3, 32, 32)
    assert again.config == TINY and torch.equal(again(images), model(images))


def test_googles_layout():
    torch.manual_seed(0)
    model = randomise(zoo.build(TINY)).eval()
    state = model.state_dict()
    plain = {n: t for n, t in state.items() if not n.startswith("patch_embed.backbone")}
    arrays = layouts.to_google(plain, num_heads=3)
    for name, tensor in state.items():
        if name.startswith("patch_embed.backbone."):
            arrays |= google_name(name.removeprefix("patch_embed.backbone."), tensor.numpy())
    again = layouts.from_google(arrays)
    assert set(again) == set(state)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    assert sizes.infer_config(again, num_heads=3) == TINY


def google_name(name, array):
    """One parameter of the ResNet in Google's layout, from its description."""
    parts = name.split(".")
    norm = "norm" in parts[-2]
    if parts[0] == "stem":
        place = "gn_root" if norm else "conv_root"
    else:
        layer = parts[4]
        number = "_proj" if layer == "downsample" else layer[-1]
        unit = f"block{int(parts[1]) + 1}/unit{int(parts[3]) + 1}"
        place = f"{unit}/{'gn' if norm else 'conv'}{number}"
    if norm:
        end = "scale" if parts[-1] == "weight" else "bias"
        return {f"{place}/{end}": array.reshape(1, 1, 1, -1)}
    return {f"{place}/kernel": np.ascontiguousarray(array.transpose(2, 3, 1, 0))}
