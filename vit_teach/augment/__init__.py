"""Augmentation: random changes of images that leave the label true, on whole batches. Chapter 9.

``geometry`` moves pixels, ``colour`` changes their colours, ``mix`` mixes two images, and
``policy`` puts them together.
"""

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
    affine,
    crop,
    cutout,
    flip,
    random_affine,
    random_crop,
    random_flip,
    rectangles,
)
from .mix import cutmix, mixup, one_hot
from .policy import POLICIES, Augment, rand_augment

__all__ = [
    "POLICIES", "Augment", "affine", "autocontrast", "brightness", "contrast", "crop", "cutmix",
    "cutout", "equalize", "flip", "mixup", "one_hot", "posterize", "rand_augment",
    "random_affine", "random_colour", "random_crop", "random_flip", "rectangles", "saturation",
    "sharpness", "solarize",
]  # fmt: skip
