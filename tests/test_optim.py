"""Which parameter gets which optimiser and decay, and how the learning rate moves."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_tools import few

from vit_teach import zoo
from vit_teach.train.muon import FilterMuon, Muon
from vit_teach.train.optim import (
    OPTIMIZERS,
    make_optimizers,
    schedule,
    set_learning_rate,
    split_parameters,
)

VIT = zoo.preset("CIFAR-ViT-Nano", depth=2, class_token=True)
HYBRID = zoo.preset("CIFAR-Hybrid-Micro", depth=1)
RESNET = zoo.preset("CIFAR-ResNet-Micro")


def names_of(model, parameters):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


def test_groups_of_a_vit_by_name():
    model = zoo.build(VIT)
    matrices, decayed, plain = (names_of(model, group) for group in split_parameters(model))
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert matrices == {f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers}
    assert decayed == {"patch_embed.proj.weight", "head.weight"}
    assert {"pos_embed", "cls_token", "norm.weight", "norm.bias", "head.bias"} <= plain
    assert all("norm" in n or n.endswith("bias") or n in ("pos_embed", "cls_token") for n in plain)


@pytest.mark.parametrize("config", [VIT, HYBRID, RESNET])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_parameter_once_and_decay_where_it_belongs(config, name):
    model = zoo.build(config)
    optimizers = make_optimizers(model, name, 1e-3, 0.07)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    seen = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(seen) == len(set(seen)) == len(list(model.parameters()))
    for group in groups:
        for parameter in names_of(model, group["params"]):
            tensor = model.get_parameter(parameter)
            free = tensor.ndim < 2 or parameter in ("pos_embed", "cls_token")
            assert group["weight_decay"] == (0 if free else 0.07), parameter


def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest():
    model = zoo.build(VIT)
    adamw, muon = make_optimizers(model, "muon", 1e-3, 0.05)
    assert (type(adamw), type(muon)) == (torch.optim.AdamW, Muon)
    names = names_of(model, [p for group in muon.param_groups for p in group["params"]])
    assert names == names_of(model, split_parameters(model)[0]) and len(names) == 8
    assert len(make_optimizers(model, "adamw", 1e-3, 0.05)) == 1
    only_convolutions = make_optimizers(zoo.build(RESNET), "muon", 1e-3, 0.05)
    assert [type(optimizer) for optimizer in only_convolutions] == [torch.optim.AdamW]


def test_muon_conv_has_the_filters_too_and_adamw_the_projections():
    model = zoo.build(zoo.preset("CIFAR-Hybrid-Residual", depth=1))
    adamw, muon, filters = make_optimizers(model, "muon-conv", 1e-3, 0.05)
    assert (type(muon), type(filters)) == (Muon, FilterMuon)
    owned = names_of(model, [p for group in filters.param_groups for p in group["params"]])
    blocks = [f"patch_embed.backbone.{i}" for i in (4, 5)]
    layers = ("conv1", "conv2", "downsample.0")
    expected = {f"{block}.{layer}.weight" for block in blocks for layer in layers}
    assert owned == expected | {"patch_embed.backbone.0.weight"}
    left = names_of(model, adamw.param_groups[0]["params"])
    assert left == {"patch_embed.proj.weight", "head.weight"}
    without = make_optimizers(zoo.build(VIT), "muon-conv", 1e-3, 0.05)
    assert [type(optimizer) for optimizer in without] == [torch.optim.AdamW, Muon]
    cnn = make_optimizers(zoo.build(RESNET), "muon-conv", 1e-3, 0.05)
    assert [type(optimizer) for optimizer in cnn] == [torch.optim.AdamW, FilterMuon]


def test_a_model_inside_another_is_split_as_it_is_alone():
    model = zoo.build(VIT)
    alone = split_parameters(model)
    inside = split_parameters(torch.nn.ModuleDict({"model": model}))
    assert [[id(p) for p in group] for group in inside] == [
        [id(p) for p in group] for group in alone
    ]


def test_frozen_parameters_are_left_out():
    model = zoo.build(VIT)
    model.patch_embed.requires_grad_(False)
    groups = split_parameters(model)
    assert "patch_embed.proj.weight" not in names_of(model, sum(groups, []))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_gradient_only_decay_moves_a_weight(name):
    model = zoo.build(VIT)
    torch.nn.init.ones_(model.cls_token), torch.nn.init.ones_(model.head.weight)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in make_optimizers(model, name, 0.1, 0.5):
        optimizer.step()
    for n, parameter in model.named_parameters():
        free = parameter.ndim < 2 or n in ("pos_embed", "cls_token")
        expected = before[n] * (1 if free else 1 - 0.1 * 0.5)
        torch.testing.assert_close(parameter.detach(), expected)


@few
@given(st.integers(2, 500), st.floats(0, 0.9))
def test_the_rate_rises_in_a_line_then_falls_along_a_cosine(steps, share):
    warmup = max(1, round(share * steps))
    rates = [schedule(step, steps, warmup) for step in range(steps)]
    for step in range(min(warmup, steps)):
        assert abs(rates[step] - (step + 1) / warmup) < 1e-12
    for step in range(warmup, steps):
        angle = math.pi * (step - warmup) / (steps - warmup)
        assert abs(rates[step] - (1 + math.cos(angle)) / 2) < 1e-12
    assert all(0 < rate <= 1 for rate in rates)
    falling = rates[warmup:]
    assert all(a > b for a, b in zip(falling, falling[1:], strict=False))


def test_all_steps_in_warmup():
    assert [schedule(step, 4, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1]


def test_every_group_follows_the_schedule():
    optimizers = make_optimizers(zoo.build(VIT), "muon", 2e-3, 0.05)
    for fraction in (0.5, 0.1, 1.0):  # a fraction of the peak, not of the last rate
        set_learning_rate(optimizers, fraction)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        assert len(groups) == 3 and {group["lr"] for group in groups} == {2e-3 * fraction}


def test_bad_arguments():
    with pytest.raises(ValueError, match="name='sgd' must be one of muon, "):
        make_optimizers(torch.nn.Linear(2, 2), "sgd", 1e-3, 0)
