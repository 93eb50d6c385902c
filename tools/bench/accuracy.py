"""Accuracy after some minutes on CIFAR-10 from scratch: one process and one file for each run.

The validation split is held out of the training set with seed 0 and looked at once by each recipe,
at the end; the test set is not looked at. A run that is recorded is not made again.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

import vit_teach as vt
from vit_teach.data.imageset import ImageSet
from vit_teach.train import device as device_of

from . import models, record
from .loading import Pictures
from .recipes import NAMES, OURS, RECIPES, Recipe

BATCH = 128
Facts = dict[str, Any]


def sets(name: str) -> tuple[ImageSet, ImageSet]:
    """(training, validation): the 5,000 that the book's trainings hold out, too."""
    full = vt.data.stand_in("train") if name == "shapes" else vt.data.load(name, "train")
    return full.hold_out(min(5000, len(full) // 5), seed=0)


def run(name: str, seed: int, minutes: float, data: str) -> Facts:
    """One training of the recipe ``name``: its validation accuracy and what it took."""
    train_set, validation_set = sets(data)
    torch.manual_seed(seed)
    np.random.seed(seed)  # mixup and CutMix draw from it
    if name in OURS:
        accuracy, facts = by_the_book(name, seed, minutes, train_set, validation_set)
    else:
        accuracy, facts = by_hand(RECIPES[name], seed, minutes, train_set, validation_set)
    facts |= {"recipe": name, "seed": seed, "minutes": minutes, "data": train_set.source}
    return {
        "group": "accuracy", "name": name, "unit": "fraction", "value": accuracy, "spread": 0.0,
        "samples": [accuracy], "facts": facts,
    }  # fmt: skip


def by_the_book(
    name: str, seed: int, minutes: float, train_set: ImageSet, validation_set: ImageSet
) -> tuple[float, Facts]:
    """(accuracy, facts) of this package's training."""
    preset, settings = OURS[name]
    model = vt.zoo.build(vt.zoo.preset(preset))
    config = vt.train.TrainConfig(minutes=minutes, seed=seed, **settings)
    start = time.perf_counter()
    _, history = vt.train.train(model, train_set, validation_set, config, quiet=True)
    facts = {
        "wall_s": time.perf_counter() - start, "images": history.images,
        "precision": history.precision, "parameters": models.parameters(model),
    }  # fmt: skip
    return history.kept["val_accuracy"], facts


def by_hand(
    recipe: Recipe, seed: int, minutes: float, train_set: ImageSet, validation_set: ImageSet
) -> tuple[float, Facts]:
    """(accuracy, facts) of a plain loop: two workers load, the rate follows the clock.

    The look at the validation images comes after the time is up.
    """
    device = device_of.pick_device("auto")
    precision = "float32"
    if recipe.faster_numbers:
        precision = device_of.pick_precision("auto", device)
    model = recipe.model().to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    loader = DataLoader(
        Pictures(train_set, recipe.transform()), BATCH, shuffle=True, num_workers=2,
        persistent_workers=True, drop_last=True,
    )  # fmt: skip
    images_seen, start, batches = 0, time.perf_counter(), iter(loader)
    while (part := (time.perf_counter() - start) / (60 * minutes)) < 1:
        try:
            images, labels = next(batches)
        except StopIteration:
            batches = iter(loader)
            continue
        optimizer.param_groups[0]["lr"] = recipe.rate(part)
        images, targets = mixed(recipe, part, images, labels)
        optimizer.zero_grad()
        with device_of.autocast(device, precision):
            logits = model(images.to(device))
        smoothing = 0.0 if targets.ndim == 2 else recipe.label_smoothing  # the mixing smooths, too
        F.cross_entropy(logits.float(), targets.to(device), label_smoothing=smoothing).backward()
        optimizer.step()
        images_seen += len(images)
    facts = {
        "wall_s": time.perf_counter() - start, "images": images_seen, "precision": precision,
        "parameters": models.parameters(model),
    }  # fmt: skip
    return accuracy_of(model, recipe, validation_set, device), facts


def mixed(
    recipe: Recipe, part: float, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images, targets) after mixup or CutMix, in the part of the time that has them."""
    if part >= recipe.mixed_until:
        return images, labels
    from timm.data import Mixup

    mix = Mixup(
        mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, mode="batch",
        label_smoothing=recipe.label_smoothing, num_classes=10,
    )  # fmt: skip
    return mix(images, labels)


@torch.no_grad()
def accuracy_of(model: nn.Module, recipe: Recipe, images: ImageSet, device: Any) -> float:
    """The fraction of ``images`` that the model names rightly, normalised as it was trained."""
    from torchvision import transforms as T

    normalise = recipe.transform().transforms[-1]
    model.eval()
    loader = DataLoader(Pictures(images, T.Compose([T.ToTensor(), normalise])), 500)
    right = 0
    for pictures, labels in loader:
        right += (model(pictures.to(device)).argmax(1).cpu() == labels).sum().item()
    return right / len(images)


def measure(
    names: list[str], seeds: list[int], minutes: float, data: str, folder: Path, command: str
) -> list[Path]:
    """Make the runs that have no record of these minutes in ``folder`` yet; returns their files."""
    written = []
    context = multiprocessing.get_context("spawn")
    for seed in seeds:
        for name in names or NAMES:
            path = folder / f"{name}-seed{seed}.json"
            if path.exists():
                known = record.read(path)["measurements"][0]["facts"]
                if (known["minutes"], known["data"]) == (minutes, sets(data)[0].source):
                    print(f"{path.name}: recorded")
                    continue
            with record.Watch("accuracy", command, {"minutes": minutes}) as watch:
                with ProcessPoolExecutor(1, context) as pool:  # its process may have workers
                    found = pool.submit(run, name, seed, minutes, data).result()
                record.write(watch.finished([found], []), path)
            print(f"{path.name}: {found['value']:.1%} after {minutes:g} minutes", flush=True)
            written.append(path)
    return written
