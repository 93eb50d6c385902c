"""Training step and inference of one small ViT in six libraries, in turns."""

import statistics
from typing import Any

import torch
import torch.nn.functional as F

import vit_teach as vt
from vit_teach.train import device as device_of

from . import models
from .turns import Contender, Work, half_range, in_turns, ratio

FLOPS = {"step": 6 * vt.cost.macs(models.CONFIG), "inference": 2 * vt.cost.macs(models.CONFIG)}
OTHERS = [name for name in models.MODELS if name not in (models.BOOK, "timm, plain attention")]
# What is in one race. "as used": each library's documented way, and this package's own. The others:
# one loop, one optimiser, one number type and one memory setting for all.
LINE_UPS = {
    "as used": [models.BOOK, *OTHERS],
    "float32": [models.BOOK, *OTHERS],
    "bfloat16": [models.BOOK, *OTHERS, "timm, plain attention"],
}
Facts = dict[str, Any]


def matrix_product(precision: str, size: int = 2048) -> tuple[Work, Facts]:
    """Work of 2 x size^3 operations: the largest rate at which this machine multiplies matrices."""
    device = device_of.pick_device("auto")
    a = torch.randn(size, size, device=device, dtype=getattr(torch, precision))
    b = a.clone()

    def work() -> float:
        torch.mm(a, b)
        return 2.0 * size**3

    return work, {}


def our_step(batch_size: int) -> tuple[Work, Facts]:
    """A step of the package's own training, with everything that it does: augmentation, average.

    Only the optimiser is not its default: AdamW, as in the other loops.
    """
    images = vt.data.shapes(10 * batch_size, seed=0)
    config = vt.train.TrainConfig(steps=10**6, batch_size=batch_size, optimizer="adamw")
    trainer = vt.train.Trainer(models.build(models.BOOK), images, images, config)

    def work() -> float:
        trainer.step()
        return batch_size

    facts = {"precision": trainer.precision, "parameters": models.parameters(trainer.model)}
    return work, facts


def plain_step(name: str, precision: str, alike: bool, batch_size: int) -> tuple[Work, Facts]:
    """A step of the loop that a library's documentation shows: forward, loss, backward, AdamW.

    ``alike`` gives everybody this package's memory setting and the fused AdamW.
    """
    device = device_of.pick_device("auto")
    if alike:
        device_of.keep_memory()
    model = models.build(name).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True if alike else None)
    images, labels = models.batch(batch_size, device)

    def work() -> float:
        optimizer.zero_grad()
        with device_of.autocast(device, precision):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        return batch_size

    return work, {"precision": precision, "parameters": models.parameters(model)}


def inference(name: str, precision: str, alike: bool, batch_size: int) -> tuple[Work, Facts]:
    """A forward pass without gradients; ``alike`` as in :func:`plain_step`."""
    device = device_of.pick_device("auto")
    if alike:
        device_of.keep_memory()
    model = models.build(name).to(device).eval()
    images, _ = models.batch(batch_size, device)

    def work() -> float:
        with torch.inference_mode(), device_of.autocast(device, precision):
            model(images)
        return batch_size

    return work, {"precision": precision, "parameters": models.parameters(model)}


def task(part: str, line_up: str, name: str, batch_size: int) -> tuple[Any, ...]:
    """(what makes the work, its arguments) of one contender in one race."""
    if line_up != "as used":
        make = plain_step if part == "step" else inference
        return make, name, line_up, True, batch_size
    if name != models.BOOK:
        make = plain_step if part == "step" else inference
        return make, name, "float32", False, batch_size
    if part == "step":
        return our_step, batch_size
    return inference, name, automatic(), False, batch_size


def automatic() -> str:
    """The number type that this package computes in on this machine."""
    return device_of.pick_precision("auto", device_of.pick_device("auto"))


def measure(
    part: str, rounds: int, seconds: float, batch_size: int
) -> tuple[list[Facts], list[Facts]]:
    """(measurements, ratios) of the part "step" or "inference": one race after the other.

    A library has one process for all races; "as used" comes first, before any memory is set. The
    race in bfloat16 is left out where the machine has no units for it.
    """
    measurements: list[Facts] = []
    ratios: list[Facts] = []
    pool: dict[str, Contender] = {}
    try:
        for line_up in LINE_UPS:
            if line_up == "bfloat16" and automatic() != "bfloat16":
                continue
            for name in LINE_UPS[line_up]:
                make, *arguments = task(part, line_up, name, batch_size)
                if name in pool:
                    pool[name].prepare(make, *arguments)
                else:
                    pool[name] = Contender(name, make, *arguments)
            found, quotients = race(part, line_up, pool, rounds, seconds)
            measurements += found
            ratios += quotients
    finally:
        for contender in pool.values():
            contender.close()
    return measurements, ratios


def race(
    part: str, line_up: str, pool: dict[str, Contender], rounds: int, seconds: float
) -> tuple[list[Facts], list[Facts]]:
    """One line-up in turns, the machine's matrix product in the same number types among them."""
    contenders = [pool[name] for name in LINE_UPS[line_up]]
    precisions = sorted({contender.facts["precision"] for contender in contenders})
    peaks = {kind: f"matrix product, {kind}" for kind in precisions}
    for kind, name in peaks.items():
        if name not in pool:
            pool[name] = Contender(name, matrix_product, kind)
        contenders.append(pool[name])
    rates = in_turns(contenders, rounds, seconds)
    measurements = []
    for contender in contenders:
        values = rates[contender.name]
        row = {
            "group": line_up, "name": contender.name, "unit": "images/s",
            "value": statistics.median(values), "spread": half_range(values), "samples": values,
            "facts": contender.facts,
        }  # fmt: skip
        if contender.name in peaks.values():
            row["unit"] = "operations/s"
        else:
            peak = statistics.median(rates[peaks[contender.facts["precision"]]])
            share = FLOPS[part] * statistics.median(values) / peak
            row["facts"] = {**contender.facts, "share_of_peak": share}
        measurements.append(row)
    ratios = []
    for name in LINE_UPS[line_up][1:]:
        value, spread = ratio(rates[models.BOOK], rates[name])
        ratios.append({"group": line_up, "name": name, "ratio": value, "spread": spread})
    return measurements, ratios
