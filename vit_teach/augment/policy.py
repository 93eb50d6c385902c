"""Policies: chains of random changes that leave the label true, on whole batches. Chapter 9.

No step loops over images. A random step draws one number per image from an explicit
``torch.Generator``, then hands the numbers to a plain function that does the work; the plain
functions can be used, and tested, on their own. One generator drives everything, so saving
``generator.get_state()`` and restoring it repeats the stream exactly.

Draws are made on the generator's device (the processor, by default) and moved to the images,
so a seed means the same crops on every machine. Images on a GPU are altered there, and the
processor does not wait for them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..arguments import SEEDS, finite, one_of, whole
from .batch import beside, check_images, draw, draw_whole
from .colour import (
    autocontrast,
    brightness,
    contrast,
    equalize,
    posterize,
    random_colour,
    saturation,
    sharpness,
    solarize,
)
from .geometry import (
    GREY,
    affine,
    cutout,
    random_affine,
    random_crop,
    random_flip,
)
from .mix import cutmix, mixup, one_hot

POLICIES = ("none", "basic", "medium", "strong", "strong+mix")


# --- RandAugment --------------------------------------------------------------------------------

# Each takes images (b, C, H, W) and strengths (b,) in -1..1, of which some use only the size. The
# largest changes are those of AutoAugment (Cubuk et al., 2019), from which RandAugment takes them.
RAND_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "identity": lambda x, s: x,
    "autocontrast": lambda x, s: autocontrast(x),
    "equalize": lambda x, s: equalize(x),
    "rotate": lambda x, s: affine(x, rotate=30 * s),
    "solarize": lambda x, s: solarize(x, 1 - s.abs()),
    "saturation": lambda x, s: saturation(x, 1 + 0.9 * s),
    "posterize": lambda x, s: posterize(x, 8 - (4 * s.abs()).round()),
    "contrast": lambda x, s: contrast(x, 1 + 0.9 * s),
    "brightness": lambda x, s: brightness(x, 1 + 0.9 * s),
    "sharpness": lambda x, s: sharpness(x, 1 + 0.9 * s),
    "shear-x": lambda x, s: affine(x, shear_x=0.3 * s),
    "shear-y": lambda x, s: affine(x, shear_y=0.3 * s),
    "translate-x": lambda x, s: affine(x, right=0.45 * x.shape[3] * s),
    "translate-y": lambda x, s: affine(x, down=0.45 * x.shape[2] * s),
}


def rand_augment(
    images: Tensor, num_ops: int, magnitude: float, generator: torch.Generator
) -> Tensor:
    """RandAugment: ``num_ops`` operations per image, drawn at random, all of one ``magnitude``.

    ``images`` is (B, C, H, W) float32 in 0..1, ``num_ops`` at least 0, ``magnitude`` in 0..10. Each
    image draws its own operations from the 14 of ``RAND_OPERATIONS``, with replacement. Returns
    (B, C, H, W).

    After Cubuk et al., 2020 (RandAugment), section 3. What differs from the authors' code: the
    direction of brightness, contrast, saturation and sharpness is drawn, as it is for geometry, so
    that magnitude 0 is no change (autocontrast and equalize have no magnitude and always act);
    geometry is bilinear, not nearest pixel; values are not rounded to 8 bits in between.

    >>> rand_augment(torch.rand(4, 3, 6, 8), 2, 5, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 6, 8])
    """
    check_images(images, torch.float32)
    whole("num_ops", num_ops)
    finite("magnitude", magnitude, 0, 10)
    for _ in range(num_ops):
        choice = draw_whole(generator, len(RAND_OPERATIONS), len(images))
        signs = 2 * draw_whole(generator, 2, len(images)) - 1  # (B,) -1 or 1
        changed = images.clone()
        # The images that drew the same operation go through it together.
        for index, operation in enumerate(RAND_OPERATIONS.values()):
            chosen = (choice == index).nonzero().flatten()  # (b,)
            if len(chosen):
                place = beside(chosen, images)
                changed[place] = operation(images[place], signs[chosen] * magnitude / 10)
        images = changed
    return images


# --- A policy is a fixed chain of these steps ---------------------------------------------------


class Augment:
    """A policy with its own seeded generator: call it on each training batch.

    ``policy`` is one of ``POLICIES``. With S for the shorter side of the images (32 for CIFAR):

    - "none" changes nothing;
    - "basic" crops, after S/8 pixels of black padding, and flips;
    - "medium" adds ``random_affine``, ``random_colour``, and ``cutout`` of a square of side S/4;
    - "strong" is "basic", then ``rand_augment`` (2 operations, magnitude 5), ``cutout`` (S/2);
    - "strong+mix" adds, for one batch in two by chance, mixup (alpha 0.8), else CutMix (alpha 1).

    ``seed`` starts ``augment.generator``, whose ``get_state`` and ``set_state`` save and restore
    the stream of draws exactly.

    Calling takes images (B, C, H, W) uint8, labels (B,) int64 and ``num_classes`` K. It returns
    images (B, C, H, W) float32 in 0..1, not normalised, and targets (B, K) float32 whose rows sum
    to 1. Raises ``ValueError`` for an unknown policy or a wrong shape, dtype or label.

    >>> augment = Augment("basic", seed=0)
    >>> images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    >>> out, targets = augment(images, torch.tensor([2, 0]), num_classes=3)
    >>> out.shape, out.dtype, float(out.max())
    (torch.Size([2, 3, 8, 8]), torch.float32, 1.0)
    >>> targets.tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(self, policy: str = "basic", seed: int = 0) -> None:
        self.policy = one_of("policy", policy, POLICIES)
        self.generator = torch.Generator().manual_seed(whole("seed", seed, *SEEDS))

    def __call__(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        check_images(images, torch.uint8)
        if len(labels) != len(images):
            raise ValueError(f"labels has {len(labels)} entries for {len(images)} images")
        targets = beside(one_hot(labels, num_classes), images)  # (B, K)
        if self.policy == "none":
            return images.float() / 255, targets
        side = min(images.shape[2:])
        images = random_crop(images, max(1, side // 8), self.generator)  # uint8: a quarter of
        images = random_flip(images, self.generator).float() / 255  # the bytes to move
        if self.policy == "medium":
            images = random_colour(random_affine(images, self.generator), self.generator)
            images = cutout(images, max(1, side // 4), self.generator, fill=GREY)
        elif self.policy != "basic":
            images = rand_augment(images, 2, 5, self.generator)
            images = cutout(images, max(1, side // 2), self.generator, fill=GREY)
        if self.policy == "strong+mix":
            first = float(draw(self.generator, 1)) < 0.5
            mix, alpha = (mixup, 0.8) if first else (cutmix, 1.0)
            images, targets = mix(images, targets, alpha, self.generator)
        return images.clamp(0, 1), targets  # bilinear sampling rounds, now and then just past 1

    def __repr__(self) -> str:
        return f"Augment(policy={self.policy!r})"
