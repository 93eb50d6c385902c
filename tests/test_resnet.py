"""The convolutional network, against torchvision's blocks and the counts of its paper."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise
from torch import nn

from vit_teach import zoo
from vit_teach.baselines.resnet import (
    PADDINGS,
    RESNET_PRESETS,
    BasicBlock,
    ResNet,
    ResNetConfig,
)
from vit_teach.experiments import cell
from vit_teach.experiments.lab.measures import shift_or_corner

SMALL = ResNetConfig(image_size=(8, 12), width=4, depth=14, num_classes=5)


def make(config=SMALL):
    torch.manual_seed(0)
    return randomise(ResNet(config)).double().eval()


class Reference(nn.Module):
    """The same network put together from torchvision's parts."""

    def __init__(self, blocks):
        super().__init__()
        block = pytest.importorskip("torchvision.models.resnet").BasicBlock
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        for stage, (before, width, stride) in enumerate([(4, 4, 1), (4, 8, 2), (8, 16, 2)], 1):
            shortcut = None
            if stride > 1:
                conv = nn.Conv2d(before, width, 1, stride, bias=False)
                shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))
            layers = [block(before, width, stride, shortcut)]
            layers += [block(width, width) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize("training", [False, True])
def test_equals_torchvisions_parts(training):
    ours, theirs = make(), Reference(blocks=2).double()
    images = pictures(3, 3, 8, 12, dtype=torch.float64)
    ours.train()(images)  # moves the running statistics
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.train(training), theirs.train(training)
    logits = ours(images)
    assert logits.std() > 0.01
    close(logits, theirs(images), 1e-10)
    ours.load_state_dict(theirs.state_dict(), strict=True)


@pytest.mark.parametrize("depth", [8, 14, 20])
def test_depth_counts_the_layers_with_weights(depth):
    named = ResNet(ResNetConfig(width=2, depth=depth)).named_modules()
    layers = [n for n, m in named if isinstance(m, nn.Conv2d | nn.Linear) and "downsample" not in n]
    assert len(layers) == depth


def test_resnet_20_has_the_known_number_of_parameters():
    count = sum(p.numel() for p in ResNet(ResNetConfig(width=16, depth=20)).parameters())
    # He et al., Table 6: 0.27 million, with shortcuts that pad. Ours project: 2,752 more.
    assert count == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
def test_any_valid_size_runs(height, width, channels, classes):
    config = ResNetConfig((4 * height, 4 * width), channels, classes, width=2)
    model = make(config)
    images = pictures(2, channels, *config.image_size, dtype=torch.float64)
    assert model(images).shape == (2, classes) and model.features(images).shape == (2, 8)
    close(model.fc(model.features(images)), model(images), 1e-12)
    close(model(images), torch.cat([model(image[None]) for image in images]), 1e-10)


def test_a_block_with_silent_branch_is_its_shortcut():
    block = BasicBlock(4, 4, 1).double().eval()
    nn.init.zeros_(block.bn2.weight)
    x = pictures(2, 4, 6, 8, dtype=torch.float64)
    assert torch.equal(block(x), x.clamp(min=0))


def test_every_parameter_learns():
    model = make().train()
    logits = model(pictures(4, 3, 8, 12, dtype=torch.float64))
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    assert all(parameter.grad.abs().max() > 1e-9 for parameter in model.parameters())


def test_presets():
    assert {config.image_size for config in RESNET_PRESETS.values()} == {(32, 32)}
    assert RESNET_PRESETS["CIFAR-ResNet-Small"].blocks_per_stage == 2
    assert SMALL.stages == [(4, 1), (8, 2), (16, 2)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_size": 30}, r"image_size=\(30, 30\) must be divisible by 4"),
        ({"image_size": (32, 6)}, r"image_size=\(32, 6\) must be divisible by 4"),
        ({"image_size": -4}, r"image_size=-4 must be a positive integer"),
        ({"in_channels": 0}, r"in_channels=0 must be a positive integer"),
        ({"num_classes": 2.0}, r"num_classes=2.0 must be a positive integer"),
        ({"width": 0}, r"width=0 must be a positive integer"),
        ({"depth": 2}, r"depth=2 must be 6 n \+ 2 with n >= 1"),
        ({"depth": 18}, r"depth=18 must be 6 n \+ 2"),
        ({"depth": 8.0}, r"depth=8.0 must be 6 n \+ 2"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, C, 8, 12\)"):
        make()(torch.zeros(1, 3, 12, 8))


def test_with_circular_padding_no_place_is_special():
    """Exactly so for shifts by the total stride, in a circle; with zeros around it is not."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    apart = {}
    for padding in PADDINGS:
        torch.manual_seed(1)
        model = zoo.build(zoo.preset("CIFAR-ResNet-Nano", padding=padding)).double().eval()
        nn.init.normal_(model.fc.weight)
        moved = images.roll((4, -8), dims=(2, 3))
        apart[padding] = (model(moved) - model(images)).abs().max()
    assert apart["circular"] < 1e-12 and apart["zeros"] > 1e-3


def test_rolled_pictures_are_the_same_ones_elsewhere():
    torch.manual_seed(0)
    bound = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    free = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3, 10))
    accuracies = {}
    for name, model in (("bound", bound), ("free", free)):
        found = shift_or_corner(model, cell("cnn", 128, data="corner"), None)
        accuracies[name] = {key: value for key, value in found.items() if key[:6] == "rolled"}
        assert found["rolled_tl_accuracy"] == found["corner_tl_accuracy"]
        assert found["rolled_br_accuracy"] != found["corner_br_accuracy"]  # other pictures
    assert len(accuracies["free"]) == 4 and len(set(accuracies["bound"].values())) > 1
    assert max(accuracies["free"].values()) - min(accuracies["free"].values()) < 0.003  # rounding


def test_another_padding_is_refused():
    for call in (lambda: ResNetConfig(padding="mirror"), lambda: BasicBlock(2, 2, 1, "mirror")):
        with pytest.raises(ValueError, match="padding='mirror' must be one of"):
            call()
