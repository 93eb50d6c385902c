"""ShapeTracer: its formulas are vt.cost's, its shapes the model's."""

import json
import random
import re
from dataclasses import replace

import pytest
import torch

import vit_teach as vt
from vit_teach.vit.model import POOLS
from vit_teach.widgets import ShapeTracer
from vit_teach.widgets.shape_tracer import LINES, MODEL, PARTS, code_lines, presets, sizes_of
from vit_teach.widgets.shared import base


@pytest.fixture(scope="module")
def tracer(run):
    """tracer(code, data): what the module's functions give for data."""
    return lambda code, data: run("shape_tracer", code, data)


def random_config(seed):
    pick = random.Random(seed)
    heads, width = pick.choice([1, 2, 3, 4, 6]), 4 * pick.randint(1, 8)
    ph, pw = pick.randint(1, 6), pick.randint(1, 6)
    cls = pick.random() < 0.5
    pool = pick.choice(POOLS) if cls else "mean"
    return vt.ViTConfig(
        image_size=(ph * pick.randint(1, 5), pw * pick.randint(1, 5)),
        patch_size=(ph, pw),
        in_channels=pick.randint(1, 5),
        num_classes=pick.randint(1, 30),
        embed_dim=heads * width,
        depth=pick.randint(1, 4),
        num_heads=heads,
        mlp_ratio=pick.choice([0.5, 1.0, 2.0, 2.2, 4.0]),
        position=pick.choice(["learned", "sincos1d", "sincos2d", "none"]) if width > 4 else "none",
        pool=pool,
        class_token=cls,
        fc_norm=pool == "mean" and pick.random() < 0.4,
    )


CONFIGS = [vt.zoo.preset(name) for name in presets()]
CONFIGS += [replace(c, image_size=384) for c in CONFIGS if c.patch_size in ((16, 16), (32, 32))]
CONFIGS += [random_config(seed) for seed in range(60)]


def traced_rows(trace, depth):
    """The tracer's steps as rows of the breakdown: part -> [params, macs]."""
    found = {}
    for part in trace["parts"]:
        blocks = range(depth) if part["key"] == "blocks" else [None]
        for i in blocks:
            for step in part["steps"]:
                name = part["key"] if i is None else f"blocks.{i}.{step['part']}"
                row = found.setdefault(name, [0, 0])
                row[0] += step["params"]
                row[1] += step["macs"]
    return found


def test_parameters_and_work_are_those_of_the_package(tracer):
    data = [sizes_of(config) for config in CONFIGS]
    traces = tracer("(m, d) => d.map(m.trace)", data)
    totals = tracer("(m, d) => d.map(m.totals)", data)
    for config, trace, total in zip(CONFIGS, traces, totals, strict=True):
        rows = {row["part"]: [row["params"], row["macs"]] for row in vt.cost.breakdown(config)}
        assert traced_rows(trace, config.depth) == rows, config
        assert list(traced_rows(trace, config.depth)) == list(rows)
        assert total["parameters"] == vt.cost.parameters(config)
        assert total["macs"] == vt.cost.macs(config)
        assert (total["patches"], total["tokens"]) == (config.num_patches, config.num_tokens)


def test_shapes_are_those_of_the_model(tracer):
    small = [c for c in CONFIGS if vt.cost.parameters(c) < 200_000]
    assert len(small) > 30
    traces = tracer("(m, d) => d.map(m.trace)", [sizes_of(config) for config in small])
    for config, trace in zip(small, traces, strict=True):
        model = vt.VisionTransformer(config)
        with torch.no_grad():
            images = torch.zeros(2, config.in_channels, *config.image_size)
            _, out = model(images, intermediates=True)
        checked = set()
        for part in trace["parts"]:
            for step in part["steps"]:
                name = step["seen"]
                if part["key"] == "blocks" and name:
                    name = "blocks.0" if name == "block" else f"blocks.0.{name}"
                if name:
                    assert [2, *(n for _, n in step["shape"])] == list(out[name].shape), name
                    checked.add(name)
        every = {n for n in out if not re.match(r"blocks\.[1-9]|blocks.0.attn.[kv]", n)}
        without = {"tokens"} if config.position == "none" else set()
        without |= {"norm"} if config.fc_norm else set()  # there the norm comes after pooling
        assert every - checked <= without | {"blocks.0.attn.v"}, config


def test_the_shapes_between_the_named_ones_are_the_layers(tracer):
    """norm1, qkv, fc1 and gelu have no name among the intermediates: ask the layers."""
    config = random_config(3)
    (trace,) = tracer("(m, d) => d.map(m.trace)", [sizes_of(config)])
    steps = {s["code"]: s for part in trace["parts"] for s in part["steps"]}
    block, seen = vt.VisionTransformer(config).blocks[0], {}
    layers = {"norm1": block.norm1, "qkv": block.attn.qkv, "proj": block.attn.proj}
    layers |= {"norm2": block.norm2, "fc1": block.mlp.fc1, "fc2": block.mlp.fc2}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _m, _i, y, name=name: seen.update({name: y.shape}))
    block(torch.zeros(2, config.num_tokens, config.embed_dim))
    for name, shape in seen.items():
        assert [2, *(n for _, n in steps[name]["shape"])] == list(shape), name
        expected = sum(p.numel() for p in layers[name].parameters())
        assert steps[name]["params"] == expected, name


def test_every_wrong_size_is_named_and_every_right_one_taken(tracer):
    sizes = [(224, 16, 10), (224, 15, 10), (224, 0, 10), (16, 32, 10), (5000, 16, 10)]
    sizes += [(512, 1, 10), (256, 1, 10), (32, 4, 0), (32, 4, 10**6), (32, 4, 10**6 + 1)]
    sizes += [(30, 7, 3), (1, 1, 1)]
    said = tracer("(m, d) => d.map((sizes) => m.problem(...sizes)?.text)", sizes)
    for (image, patch, classes), text in zip(sizes, said, strict=True):
        settings = {"image_size": image, "patch_size": patch, "num_classes": classes}
        if text:
            with pytest.raises(ValueError):
                ShapeTracer("ViT-Ti/16", **settings)
        else:
            assert ShapeTracer("ViT-Ti/16", **settings).config().num_classes == classes
    assert "14 × 15 = 210, and 14 are left over" in said[1]
    assert said[1].endswith("that fit: 1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 112, 224.")
    assert said[5] == "That would be 262,144 patches. The tracer stops at 65,536."
    fractions = tracer("(m) => [22.5, NaN].map((size) => m.problem(size, 1, 1).text)", None)
    assert all("must be a whole number from 1 to 4,096" in text for text in fractions)


# --- Python ----------


def test_every_preset_has_its_own_numbers():
    for name in presets():
        tracer, config = ShapeTracer(name), vt.zoo.preset(name)
        assert tracer.config() == config
        assert tracer.totals()["parameters"] == vt.cost.parameters(config)
        assert f"{vt.cost.macs(config):,}" in tracer.describe()
    assert {"ViT-B/16", "ViT-H/14", "CIFAR-ViT-Tiny"} <= set(presets())
    assert not any("Hybrid" in name or "ResNet" in name for name in presets())


def test_sizes_change_together():
    tracer = ShapeTracer("ViT-B/16", image_size=384)
    tracer.choose("ViT-H/14", num_classes=10)
    assert (tracer.image_size, tracer.patch_size, tracer.num_classes) == (224, 14, 10)
    with tracer.hold_trait_notifications():
        tracer.image_size, tracer.patch_size = 30, 10
    assert tracer.totals()["patches"] == 9


BAD = [
    (lambda: ShapeTracer("ViT-X"), "preset='ViT-X' must be one of"),
    (lambda: ShapeTracer(selected="all"), "selected='all' must be one of"),
    (lambda: ShapeTracer(patch_size=15), "image_size=224 must be divisible by patch_size=15"),
    (lambda: ShapeTracer(patch_size=0), "patch_size=0 must be from 1 to 224"),
    (lambda: ShapeTracer(image_size=4112), "image_size=4112 must be from 1 to 4096"),
    (lambda: ShapeTracer(image_size=512, patch_size=1), "more than 65,536 patches"),
    (lambda: ShapeTracer(num_classes=0), "num_classes=0 must be from 1"),
    (lambda: setattr(ShapeTracer(), "image_size", 225), "225 must be divisible"),
    (lambda: setattr(ShapeTracer(), "preset", "CIFAR-ResNet-Tiny"), "preset="),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_each_line_of_code_is_where_it_says(tracer):
    for step, place in code_lines().items():
        lines = (MODEL.parent / place["file"]).read_text("utf-8").splitlines()
        assert lines[place["line"] - 1].strip() == place["text"], step
        assert LINES[step][1] in place["text"]
    traces = tracer("(m, d) => d.map(m.trace)", [sizes_of(config) for config in CONFIGS])
    used = {s["code"] for t in traces for part in t["parts"] for s in part["steps"]}
    assert used == set(LINES)
    assert {part["key"] for t in traces for part in t["parts"]} == set(PARTS)


def test_the_bundle_is_small_and_has_a_table():
    tracer = ShapeTracer(selected="blocks")
    page = tracer.static_html()
    assert len(page.encode()) < 20_000
    state = re.search(r'<script type="application/json">(.*)</script>', page).group(1)
    assert json.loads(state) == tracer.static_state()
    assert page.count("<tr>") == 1 + 3 + 7 + 3  # head, embedding, one block, norm to head
    source = base.module_source("shape_tracer")
    assert len(source.encode()) < 25_000 and "fetch(" not in source
