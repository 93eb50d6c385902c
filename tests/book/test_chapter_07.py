"""Chapter 7: what it builds by hand equals the package, its counts are right, its solutions run."""

import re

import chapters
import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt
from vit_teach import probe
from vit_teach.baselines.hybrid import ConvStem, HybridConfig

NAME = "07_hybrid"


def chapter():
    """The variables of the chapter after its cells."""
    return chapters.built(NAME)


def same(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def scattered(stem, seed=0):
    """The stem in 64-bit numbers, every weight and running average off its plain start."""
    generator = torch.Generator().manual_seed(seed)
    stem = stem.double()
    for tensor in stem.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1, generator=generator).sub_(0.3 * (tensor.ndim == 4))
    return stem


@pytest.mark.parametrize(
    ("size", "patch", "widths", "dim"),
    [((24, 40), 4, (5, 6, 7), 20), ((16, 48), 8, (3, 5, 4, 6), 12), ((6, 10), 2, (4, 3), 8)],
)
def test_the_stem_by_hand_is_the_package(size, patch, widths, dim):
    config = HybridConfig(
        image_size=size, patch_size=patch, embed_dim=dim, num_heads=2, stem_channels=widths
    )
    package = scattered(ConvStem(config))
    by_hand = chapter()["Stem"](widths, dim).double()
    by_hand.load_state_dict(package.state_dict(), strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    for training in (True, False):
        same(by_hand.train(training)(images), package.train(training)(images))
    assert package(images).shape == (2, size[0] * size[1] // patch**2, dim)


def test_the_stem_by_hand_is_its_formula_in_training():
    """With the chapter's own batch normalisation, layer by layer."""
    built = chapter()
    stem = scattered(built["Stem"]((5, 6, 7), 20)).train()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    x = images
    for i, stride in enumerate((1, 2, 2)):
        conv, norm = stem.backbone[3 * i], stem.backbone[3 * i + 1]
        x = F.conv2d(x, conv.weight, stride=stride, padding=1)
        x = built["batch_norm"](x, norm.weight, norm.bias).clamp(min=0)
    tokens = x.flatten(2).transpose(1, 2) @ stem.proj.weight.view(20, 7).T + stem.proj.bias
    same(stem(images), tokens)


@pytest.mark.parametrize("units", [(3, 4, 6, 3), (2, 2, 2, 2), (3, 4, 9)])
def test_the_count_of_a_resnet_is_torchvisions(units):
    models = pytest.importorskip("torchvision.models.resnet", reason="torchvision is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    params, macs, channels, side = chapter()["resnet50"](units)
    with torch.device("meta"):
        # torchvision's ResNet always has four stages: a last one of a single unit is cut off.
        network = models.ResNet(models.Bottleneck, [*units, 1][:4]).eval()
        stages = [network.conv1, network.bn1, network.relu, network.maxpool]
        stages += [getattr(network, f"layer{i + 1}") for i in range(len(units))]
        backbone = torch.nn.Sequential(*stages)
        with FlopCounterMode(display=False) as counter:
            out = backbone(torch.zeros(1, 3, 224, 224))
    assert params == sum(p.numel() for p in backbone.parameters())
    assert 2 * macs == counter.get_total_flops()
    assert out.shape == (1, channels, side, side)


def test_the_papers_costs_are_counted_but_for_one():
    built = chapter()
    far = []
    for name, epochs, *_, printed in built["table6"]:
        if abs(built["hybrid_cost"]("ViT-" + name, epochs)[1] - printed) > 2:
            far.append((name, epochs, printed))
    assert far == [("L/16", 7, 859)]
    plain = {("ViT-" + name, epochs, cost) for name, epochs, _, cost, *_ in built["table6"]}
    assert plain == {row for row in vt.cost.PAPER_TABLE6 if row[0] != "ViT-H/14"}


@pytest.mark.parametrize("name", ["linear", "overlap", "conv", "cct"])
def test_the_listed_layers_are_those_of_the_stem(name):
    """(kernel, stride, padding) as the modules themselves have them."""
    found = []
    for module in chapter()["make_stem"](name, (24, 40)).modules():
        if isinstance(module, torch.nn.Conv2d):
            found.append((module.kernel_size[0], module.stride[0], module.padding[0]))
        elif isinstance(module, torch.nn.MaxPool2d):
            found.append((module.kernel_size, module.stride, module.padding))
    assert found == chapter()["layers"][name]


@pytest.mark.parametrize("name", ["linear", "overlap", "conv", "cct"])
def test_the_window_is_measured_on_every_token_of_a_row(name):
    built = chapter()
    size, stride, start = built["window"](built["layers"][name])
    assert (size, stride, start) == probe.receptive_field(built["layers"][name])
    stem = built["make_stem"](name, (16, 24))
    noise = torch.randn(64, 3, 16, 24, generator=torch.Generator().manual_seed(1)).double()
    for column in range(6):
        reached = (built["strength"](stem, noise, 6 + column) > 0).any(dim=0)  # (W,), in row 1
        expected = torch.zeros(24, dtype=torch.bool)
        first = start + stride * column
        expected[max(0, first) : first + size] = True
        assert torch.equal(reached, expected)


def test_tokens_follow_whole_strides_only():
    changes = {}
    for name in ("linear", "overlap", "conv", "cct"):
        stem = chapter()["make_stem"](name, (48, 64))
        changes[name] = [chapter()["change"](stem, shift) for shift in (0, 2, 4, 7, 8)]
    for exact, off, stride, between, twice in changes.values():
        assert max(exact, stride, twice) < 1e-12 and min(off, between) > 0.1


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_the_table_of_stages_is_the_count_of_the_resnet(stage):
    """Places, channels and tokens that the text states for each stage from 224 pixels on."""
    rows = re.findall(r"^\| (\d) \| (\d+) × \d+ \| ([\d,]+) \| 1/(\d+) \| ([\d,]+) \|$",
                      chapters.markdown(NAME), re.M)  # fmt: skip
    stated = [int(number.replace(",", "")) for number in rows[stage - 1]]
    _, _, channels, side = chapter()["resnet50"]((3, 4, 6, 3)[:stage])
    assert stated == [stage, side, channels, 224 // side, side**2]


def test_a_hybrids_number_is_that_of_the_plain_models_tokens():
    assert vt.PRESETS["ViT-B/32"].num_patches == 49 and vt.PRESETS["ViT-B/16"].num_patches == 196


def test_what_it_reads_needs_no_training():
    """Rates, optimisers and recorded runs come after chapter 8."""
    assert not any("vt.experiments" in cell.source for cell in chapters.code_cells(NAME))
    assert "{result}" not in chapters.markdown(NAME) and "Muon" not in chapters.markdown(NAME)
