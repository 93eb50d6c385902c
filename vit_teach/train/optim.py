"""Optimisers and the learning-rate schedule. Chapters 8 and 9.

Sources: AdamW, Loshchilov and Hutter 2019; Muon, Jordan et al. 2024; cosine, Loshchilov and
Hutter 2017. AdamW is PyTorch's own; Muon is too, but for the number type of its inner products.
"""

import math

import torch
from torch import nn

from ..arguments import finite, one_of, require_type
from .muon import FilterMuon, Muon

OPTIMIZERS = ("muon", "muon-conv", "adamw")
SCHEDULES = ("cosine", "trapezoid", "constant")
NO_DECAY = ("pos_embed", "offset_bias", "cls_token", "reg_token")


def split_parameters(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Sort a model's parameters into three lists: (the blocks' matrices, other decayed, the rest).

    Muon is for the matrices inside the encoder blocks. Weight decay is for every other weight with
    two axes or more except the tables of positions and offsets and the class token; biases and
    norms have none.

    >>> from vit_teach import ViTConfig, VisionTransformer
    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=2)
    >>> model = VisionTransformer(config)
    >>> [len(group) for group in split_parameters(model)]
    [4, 2, 14]
    """
    require_type("model", model, nn.Module, "a torch module")
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        path = name.split(".")  # a model inside another, such as Permuted, has a longer path
        if "blocks" in path and parameter.ndim == 2:
            matrices.append(parameter)
        elif parameter.ndim >= 2 and path[-1] not in NO_DECAY:
            decayed.append(parameter)
        else:
            plain.append(parameter)
    return matrices, decayed, plain


def filters_of(model: nn.Module, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those of ``parameters`` that are filters of convolutions (out, in, k, k), in their order.

    A layer called ``proj`` makes tokens: it is no filter here, whatever its shape.

    >>> from vit_teach import zoo
    >>> [len(filters_of(model, list(model.parameters())))
    ...  for model in (zoo.build(zoo.preset(f"CIFAR-{kind}-Mini")) for kind in ("ViT", "Hybrid"))]
    [0, 3]
    """
    projections = {
        id(parameter)
        for name, parameter in model.named_parameters()
        if name.split(".")[-2:-1] == ["proj"]
    }
    return [p for p in parameters if p.ndim == 4 and id(p) not in projections]


def make_optimizers(
    model: nn.Module, name: str, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """The optimisers for ``model``: a list of one (AdamW) to three (AdamW, Muon, Muon for filters).

    "muon" takes the blocks' matrices, "muon-conv" the filters of the convolutions too; a projection
    to tokens stays with AdamW, as in the plain ViT. ``learning_rate`` is the peak rate, per step. A
    step of Muon has AdamW's size, so that all take one number. Raises ``ValueError`` for another
    name.

    >>> model = torch.nn.Linear(2, 2)
    >>> [type(optimizer).__name__ for optimizer in make_optimizers(model, "adamw", 1e-3, 0.05)]
    ['AdamW']
    """
    one_of("name", name, OPTIMIZERS)
    finite("learning_rate", learning_rate, 0)
    finite("weight_decay", weight_decay, 0)
    matrices, decayed, plain = split_parameters(model)
    by_muon = [] if name == "adamw" else matrices
    filters = filters_of(model, decayed) if name == "muon-conv" else []
    taken = {id(parameter) for parameter in by_muon + filters}
    groups = [
        {
            "params": [p for p in decayed + matrices if id(p) not in taken],
            "weight_decay": weight_decay,
        },
        {"params": plain, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)
    optimizers: list[torch.optim.Optimizer] = [adamw]
    if by_muon:
        optimizers.append(Muon(by_muon, learning_rate, weight_decay))
    if filters:
        optimizers.append(FilterMuon(filters, learning_rate, weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = learning_rate
    return optimizers


def schedule(step: int, steps: int, warmup: float, shape: str = "cosine") -> float:
    """The fraction of the peak rate at ``step`` of ``steps``: a straight rise, then ``shape``.

    ``warmup`` is the length of the rise, in steps. After it a "cosine" falls along half a wave; a
    "trapezoid" stays at the peak and falls straight over the last three tenths; "constant" stays.
    The first step has rate 1 / warmup; a falling shape ends just above zero. Raises ``ValueError``
    for another shape, or a step outside the run.

    >>> [round(schedule(step, 10, 2), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    >>> [round(schedule(step, 10, 2, "trapezoid"), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.33]
    """
    if not isinstance(shape, str) or shape not in SCHEDULES:
        raise ValueError(f"shape={shape!r} must be one of {SCHEDULES}")
    finite("step", step)
    finite("steps", steps)
    finite("warmup", warmup, 0)
    if not 0 <= step < steps:
        raise ValueError(f"step={step} must lie in 0..{steps - 1}, the steps of the run")
    if step < warmup:
        return (step + 1) / warmup
    if shape == "constant":
        return 1.0
    if shape == "trapezoid":
        return min(1.0, (steps - step) / (0.3 * steps))
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizers: list[torch.optim.Optimizer], fraction: float) -> None:
    """Set every group's rate to ``fraction`` of its peak.

    >>> optimizers = make_optimizers(torch.nn.Linear(2, 2), "adamw", 1e-3, 0.05)
    >>> set_learning_rate(optimizers, 0.5)
    >>> optimizers[0].param_groups[0]["lr"]
    0.0005
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * fraction
