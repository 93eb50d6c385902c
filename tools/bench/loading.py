"""Batches a second with the same changes to the pictures: this package, torchvision's loaders."""

import statistics
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import vit_teach as vt
from vit_teach.data.imageset import MEAN, STD, normalise
from vit_teach.train import batch_indices

from . import models
from .turns import Contender, Work, half_range, in_turns, ratio

IMAGES = 10_000
Facts = dict[str, Any]


def transforms() -> Any:
    """Crop after 4 pixels of padding, flip, numbers from 0 to 1, normalised: as is usual."""
    from torchvision import transforms as T

    return T.Compose(
        [
            T.RandomCrop(32, padding=4),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(MEAN, STD),
        ]
    )


class Pictures(Dataset[tuple[Tensor, int]]):
    """An ``ImageSet`` as torchvision's CIFAR10 gives it out: a PIL picture, then ``transform``."""

    def __init__(self, image_set: Any, transform: Any) -> None:
        self.pixels = image_set.images.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, C)
        self.labels = image_set.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def endless(loader: Any) -> Iterator[Any]:
    """The batches of one epoch after the other."""
    while True:
        yield from loader


def ours(images: int, batch: int) -> tuple[Work, Facts]:
    """What a step of this package's training does before the model sees the pictures."""
    image_set = vt.data.shapes(images, seed=0)
    augment = vt.augment.Augment("basic", seed=0)
    done = 0

    def work() -> float:
        nonlocal done
        index = batch_indices(done, batch, images, seed=0)
        changed, _ = augment(image_set.images[index], image_set.labels[index], 10)
        normalise(changed)
        done += 1
        return 1

    return work, {"workers": 0}


def torchvisions(workers: int, images: int, batch: int) -> tuple[Work, Facts]:
    """PyTorch's DataLoader with torchvision's transforms, picture by picture."""
    loader = DataLoader(
        Pictures(vt.data.shapes(images, seed=0), transforms()), batch_size=batch, shuffle=True,
        num_workers=workers, persistent_workers=workers > 0, drop_last=True,
    )  # fmt: skip
    batches = endless(loader)

    def work() -> float:
        next(batches)
        return 1

    return work, {"workers": workers}


def measure(rounds: int, seconds: float, batch: int) -> tuple[list[Facts], list[Facts]]:
    """(measurements, ratios): batches a second, in turns."""
    contenders = [
        Contender(models.BOOK, ours, IMAGES, batch),
        Contender("torchvision, 0 workers", torchvisions, 0, IMAGES, batch),
        Contender("torchvision, 2 workers", torchvisions, 2, IMAGES, batch),
    ]
    try:
        rates = in_turns(contenders, rounds, seconds)
    finally:
        for contender in contenders:
            contender.close()
    measurements = [
        {
            "group": "crop and flip", "name": contender.name, "unit": "batches/s",
            "value": statistics.median(rates[contender.name]),
            "spread": half_range(rates[contender.name]), "samples": rates[contender.name],
            "facts": contender.facts,
        }
        for contender in contenders
    ]  # fmt: skip
    ratios = []
    for contender in contenders[1:]:
        value, spread = ratio(rates[models.BOOK], rates[contender.name])
        name = contender.name
        ratios.append({"group": "crop and flip", "name": name, "ratio": value, "spread": spread})
    return measurements, ratios
