"""Time and memory of a training step beside the formulas of ``vt.cost``, one size at a time."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import vit_teach as vt
from vit_teach.train.device import keep_memory

from .turns import half_range

Facts = dict[str, Any]
BASE = {"tokens": 64, "width": 192, "depth": 6, "batch": 32}
AXES = {
    "tokens": (16, 64, 144, 256),  # pictures of 16, 32, 48 and 64 pixels, patches of 4
    "width": (96, 192, 288, 384),
    "depth": (2, 4, 6, 8),
    "batch": (8, 16, 32, 64, 128),
}


def config_of(tokens: int, width: int, depth: int) -> vt.ViTConfig:
    """A ViT of that size; heads are 64 wide as far as that goes."""
    return vt.ViTConfig(
        image_size=4 * round(tokens**0.5), patch_size=4, num_classes=10, embed_dim=width,
        depth=depth, num_heads=max(1, width // 64), mlp_ratio=2.0, pool="mean", class_token=False,
    )  # fmt: skip


def step_of(config: vt.ViTConfig, batch: int) -> Callable[[], Tensor]:
    """Forward and backward of one batch, in float32; returns the loss."""
    torch.manual_seed(0)
    model = vt.VisionTransformer(config)
    height, width = config.image_size
    images, labels = torch.randn(batch, 3, height, width), torch.arange(batch) % 10

    def step() -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    return step


def kept_bytes(step: Callable[[], Tensor]) -> int:
    """Bytes that the forward pass keeps for the backward pass, each piece of memory once.

    The weights are among them.
    """
    pieces: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        pieces[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    return sum(pieces.values())


def measure(rounds: int) -> tuple[list[Facts], list[Facts]]:
    """(measurements, no ratios): each axis of ``AXES`` varied, the others as in ``BASE``."""
    keep_memory()
    points = [(axis, size) for axis, sizes in AXES.items() for size in sizes]
    steps, facts = {}, {}
    for axis, size in points:
        sizes = {**BASE, axis: size}
        batch = sizes.pop("batch")
        config = config_of(**sizes)
        steps[axis, size] = step_of(config, batch)
        facts[axis, size] = {
            "size": size, "macs": vt.cost.macs(config) * batch,
            "parameters": vt.cost.parameters(config),
            "attention_share": vt.cost.attention_share(config),
            "kept_bytes": kept_bytes(steps[axis, size]),
        }  # fmt: skip
    times = in_rounds(steps, rounds)
    return [
        {
            "group": axis, "name": f"{axis} {size}", "unit": "s",
            "value": statistics.median(times[axis, size]),
            "spread": half_range(times[axis, size]), "samples": times[axis, size],
            "facts": facts[axis, size],
        }
        for axis, size in points
    ], []  # fmt: skip


def in_rounds(steps: dict[Any, Callable[[], Tensor]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each step by its name, in turns, the first round left out."""
    times: dict[Any, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number:
                times[name].append(time.perf_counter() - start)
    return times
