"""Augmentation: random changes that leave the label true, on whole batches of tensors.

No step loops over images. A random step draws one number per image from an explicit
`torch.Generator`, then hands the numbers to a plain function that does the work; the plain
functions can be used, and tested, on their own. One generator drives everything, so saving
`generator.get_state()` and restoring it repeats the stream exactly.

Draws are made on the generator's device (the processor, by default) and moved to the images,
so a seed means the same crops on every machine.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ("zeros", "reflect")
POLICIES = ("none", "basic")


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images has shape {tuple(images.shape)}; it must be (B, C, H, W), nothing empty"
        )


# --- Crop and flip: pixels move, none changes, so these work on uint8 as well -------------------


def crop(images: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one window from each image.

    images (B, C, H, W) of any dtype; top, left (B,) whole pixels; size (height, width) of the
    window. Returns (B, C, height, width).

    >>> images = torch.arange(16).view(1, 1, 4, 4)
    >>> crop(images, torch.tensor([1]), torch.tensor([2]), (2, 2)).tolist()
    [[[[6, 7], [10, 11]]]]
    """
    _check_images(images)
    height, width = size
    if not (0 < height <= images.shape[2] and 0 < width <= images.shape[3]):
        raise ValueError(f"size={size} must fit into images of {tuple(images.shape[2:])}")
    # unfold only makes a view: all windows, at every top and left, without copying a pixel.
    windows = images.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, height, width)
    each = torch.arange(len(images), device=images.device)  # (B,)
    return windows[each, :, top.to(images.device), left.to(images.device)]


def random_crop(
    images: Tensor, padding: int, generator: torch.Generator, mode: str = "zeros"
) -> Tensor:
    """Pad each side, then cut a window of the old size at a random place, one per image.

    images (B, C, H, W) of any dtype; padding in pixels; mode "zeros" pads with black, "reflect"
    mirrors the picture at its edge (then padding must be below H and W). Returns (B, C, H, W).
    CIFAR is usually given 4 pixels (He et al., 2016, section 4.2).

    >>> images = torch.ones(2, 3, 6, 8, dtype=torch.uint8)
    >>> random_crop(images, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    _check_images(images)
    batch, _, height, width = images.shape
    if mode not in PADDINGS:
        raise ValueError(f"mode={mode!r} must be one of {PADDINGS}")
    if padding < 0 or (mode == "reflect" and padding >= min(height, width)):
        raise ValueError(f"padding={padding} must be at least 0, and with mode='reflect' below "
                         f"both sides of the {height} x {width} images")
    padded = F.pad(images, (padding,) * 4, mode="constant" if mode == "zeros" else mode)
    places = torch.randint(
        0, 2 * padding + 1, (2, batch), generator=generator, device=generator.device
    )
    return crop(padded, places[0], places[1], (height, width))  # (B, C, H, W)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror, left to right, the images that mask marks.

    images (B, C, H, W) of any dtype; mask (B,) bool. Returns (B, C, H, W).

    >>> flip(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([True])).tolist()
    [[[[3, 2, 1]]]]
    """
    _check_images(images)
    return torch.where(mask.to(images.device)[:, None, None, None], images.flip(3), images)


def random_flip(images: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Mirror each image left to right with the given probability.

    images (B, C, H, W) of any dtype; probability in 0..1. Returns (B, C, H, W).

    >>> random_flip(torch.tensor([[[[1, 2, 3]]]]), torch.Generator(), probability=1.0).tolist()
    [[[[3, 2, 1]]]]
    """
    _check_images(images)
    _check_fraction("probability", probability)
    draws = torch.rand(len(images), generator=generator, device=generator.device)  # (B,)
    return flip(images, draws < probability)


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must lie in 0..1")


# --- A policy is a fixed chain of these steps ---------------------------------------------------


class Augment:
    """A policy with its own seeded generator: call it on each training batch.

    policy: one of POLICIES. "none" changes nothing; "basic" crops (4 pixels of black padding) and
    flips. seed: starts `augment.generator`, whose get_state and set_state save and restore the
    stream of draws exactly.

    Calling takes images (B, C, H, W) uint8, labels (B,) int64 and num_classes K. It returns
    images (B, C, H, W) float32 in 0..1, not normalised, and targets (B, K) float32 whose rows sum
    to 1. An unknown policy or a wrong shape, dtype or label gives a ValueError.

    >>> augment = Augment("basic", seed=0)
    >>> images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    >>> out, targets = augment(images, torch.tensor([2, 0]), num_classes=3)
    >>> out.shape, out.dtype, float(out.max())
    (torch.Size([2, 3, 8, 8]), torch.float32, 1.0)
    >>> targets.tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(self, policy: str = "basic", seed: int = 0):
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r} must be one of {POLICIES}")
        self.policy = policy
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        _check_images(images)
        if images.dtype != torch.uint8:
            raise ValueError(f"images has dtype {images.dtype}; it must be torch.uint8")
        targets = one_hot(labels, num_classes).to(images.device)  # (B, K)
        if len(targets) != len(images):
            raise ValueError(f"labels has {len(targets)} entries for {len(images)} images")
        if self.policy != "none":
            images = random_crop(images, 4, self.generator)  # still uint8: a quarter of the bytes
            images = random_flip(images, self.generator)
        return images.float() / 255, targets

    def __repr__(self) -> str:
        return f"Augment(policy={self.policy!r})"


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as rows of targets: 1 at the label, 0 elsewhere.

    labels (B,) int64 in 0..num_classes-1. Returns (B, K) float32.

    >>> one_hot(torch.tensor([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} and dtype {labels.dtype}; "
            "it must be (B,) torch.int64"
        )
    if len(labels) and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(
            f"labels range over {int(labels.min())}..{int(labels.max())}; "
            f"each must lie in 0..{num_classes - 1}"
        )
    return F.one_hot(labels, num_classes).float()  # (B, K)
