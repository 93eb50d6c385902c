"""Every model by name: its exact size, and its configuration there and back."""

import json

import pytest
import torch

from vit_teach import cost, zoo
from vit_teach.baselines.hybrid import HYBRID_PRESETS, Hybrid
from vit_teach.baselines.paper_hybrid import PAPER_HYBRIDS
from vit_teach.baselines.resnet import RESNET_PRESETS, ResNet
from vit_teach.vit.model import PRESETS, VisionTransformer, ViTConfig

# With 1000 classes: the counts of Google's own test of its released models.
RELEASED = {
    "ViT-Ti/16": 5_717_416,
    "ViT-S/16": 22_050_664,
    "ViT-S/32": 22_878_952,
    "ViT-B/32": 88_224_232,
    "ViT-B/16": 86_567_656,
    "ViT-B/8": 86_576_872,
    "ViT-L/32": 306_535_400,
    "ViT-L/16": 304_326_632,
    "ViT-H/14": 632_045_800,
    "R50+ViT-B/16": 98_659_112,
    "R50+ViT-L/32": 328_994_856,
    "R26+ViT-S/32": 36_431_912,
}
# The book's own sizes, with 10 classes.
OURS = {
    "CIFAR-ViT-Nano": 148_042,
    "CIFAR-ViT-Mini": 141_898,
    "CIFAR-ViT-Micro": 311_146,
    "CIFAR-ViT-Tiny": 810_890,
    "CIFAR-ViT-Small": 1_806_154,
    "CIFAR-ViT-Base": 3_194_634,
    "CIFAR-Hybrid-Nano": 144_078,
    "CIFAR-Hybrid-Mini": 133_146,
    "CIFAR-Hybrid-Micro": 368_578,
    "CIFAR-Hybrid-Tiny": 914_602,
    "CIFAR-Hybrid-Small": 2_043_130,
    "CIFAR-Hybrid-Residual": 1_456_394,
    "CIFAR-ResNet-Nano": 15_375,
    "CIFAR-ResNet-Mini": 68_695,
    "CIFAR-ResNet-Micro": 78_042,
    "CIFAR-ResNet-Tiny": 308_650,
    "CIFAR-ResNet-Small": 696_618,
}
GOLDEN = RELEASED | OURS


def count(name):
    with torch.device("meta"):  # shapes without memory
        model = zoo.build(zoo.preset(name))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", GOLDEN)
def test_number_of_parameters(name):
    assert count(name) == GOLDEN[name]
    assert cost.parameters(zoo.preset(name)) == GOLDEN[name]


def test_every_preset_is_in_the_table():
    assert set(GOLDEN) == set(zoo.names())
    plain = {name for name in PRESETS if name.startswith("ViT-")}
    assert set(RELEASED) == plain | set(PAPER_HYBRIDS)
    tables = (PRESETS, PAPER_HYBRIDS, HYBRID_PRESETS, RESNET_PRESETS)
    assert set(zoo.names()) == set().union(*tables)
    assert len(zoo.names()) == sum(map(len, tables))


def test_without_the_classifier():
    for name, backbone in [("B/16", 85_798_656), ("L/16", 303_301_632), ("H/14", 630_764_800)]:
        dim = PRESETS[f"ViT-{name}"].embed_dim
        assert GOLDEN[f"ViT-{name}"] - 1000 * (dim + 1) == backbone


@pytest.mark.parametrize("name", OURS)
def test_the_books_models_run(name):
    model = zoo.build(zoo.preset(name)).eval()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert model.config == zoo.preset(name)


def test_kinds():
    for presets, kind, model in (
        (PRESETS, "vit", VisionTransformer),
        (HYBRID_PRESETS, "hybrid", Hybrid),
        (RESNET_PRESETS, "resnet", ResNet),
    ):
        for name, config in presets.items():
            assert zoo.kind(config) == kind and zoo.preset(name) == config
        with torch.device("meta"):
            assert type(zoo.build(config)) is model


def test_presets_can_be_changed():
    config = zoo.preset("ViT-B/16", image_size=384, num_classes=10)
    assert (config.num_patches, config.num_classes, config.embed_dim) == (576, 10, 768)
    assert PRESETS["ViT-B/16"].num_classes == 1000
    for stem in ("overlap", "cct"):
        assert zoo.preset("CIFAR-Hybrid-Tiny", stem=stem).stem == stem


@pytest.mark.parametrize("name", zoo.names())
def test_dictionary_there_and_back(name):
    config = zoo.preset(name)
    through_json = json.loads(json.dumps(zoo.config_to_dict(config)))
    assert zoo.config_from_dict(through_json) == config
    assert type(zoo.config_from_dict(through_json)) is type(config)
    assert through_json["kind"] == zoo.kind(config)


def test_reading_a_dictionary_leaves_it_as_it_was():
    values = zoo.config_to_dict(PRESETS["ViT-B/16"])
    before = dict(values)
    zoo.config_from_dict(values)
    assert values == before


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: zoo.preset("ViT-X/3"), r"name='ViT-X/3' must be one of ViT-Ti/16, "),
        (lambda: zoo.preset("ViT-B/16", colour=1), r"'colour' is not a field of ViTConfig"),
        (lambda: zoo.preset("CIFAR-ResNet-Tiny", patch_size=4), r"'patch_size' is not a field"),
        (lambda: zoo.preset("ViT-B/16", depth=0), r"depth=0 must be a positive integer"),
        (lambda: zoo.kind("ViT-B/16"), r"config='ViT-B/16' must be one of the package"),
        (lambda: zoo.build(None), r"config=None must be"),
        (lambda: zoo.config_from_dict({}), r"kind=None must be one of \('vit', 'hybrid'"),
        (lambda: zoo.config_from_dict({"kind": "cnn"}), r"kind='cnn' must be one of"),
        (lambda: zoo.config_from_dict({"kind": "vit", "x": 1}), r"'x' is not a field of ViTConfig"),
        (lambda: zoo.config_from_dict({"kind": "vit", "depth": -1}), r"depth=-1 must be"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_defaults_fill_a_short_dictionary():
    assert zoo.config_from_dict({"kind": "vit"}) == ViTConfig()
