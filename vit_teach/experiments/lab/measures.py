"""What is measured on a trained model besides its accuracy, on validation images. Chapter 10.

Each function takes (model, cell, validation_set) and returns numbers by name, for the card.
"""

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from ...data.drawn import shapes
from ...data.imageset import ImageSet
from ...train.evaluation import evaluate
from ...vit.patches import to_pair
from .cells import Cell
from .wrappers import PERMUTATIONS, Permuted

SHIFTS = tuple(range(9))  # pixels


def moved(images: Tensor, pixels: int) -> Tensor:
    """Pictures (B, C, H, W) moved to the right; what comes in at the left is a mirror image.

    Raises ``ValueError`` unless ``pixels`` is from 0 to the width - 1.

    >>> import torch
    >>> moved(torch.tensor([[[[1, 2, 3, 4]]]], dtype=torch.uint8), 1)
    tensor([[[[2, 1, 2, 3]]]], dtype=torch.uint8)
    """
    width = images.shape[3]
    if not 0 <= pixels < width:
        raise ValueError(f"pixels={pixels} must be in 0..{width - 1}, less than the width")
    padded = F.pad(images.float(), (pixels, 0, 0, 0), mode="reflect")
    return padded[..., :width].to(images.dtype)  # (B, C, H, W)


def under_shift(model: nn.Module, cell: Cell, validation_set: ImageSet) -> dict[str, float]:
    """Accuracy on pictures moved by 0 to 8 pixels: ``shift_0_accuracy`` and so on."""
    found = {}
    for pixels in SHIFTS:
        pictures = replace(validation_set, images=moved(validation_set.images, pixels))
        found[f"shift_{pixels}_accuracy"] = evaluate(model, pictures)[0]
    return found


def under_permutation(model: nn.Module, cell: Cell, validation_set: ImageSet) -> dict[str, float]:
    """Accuracy of a plainly trained model on permuted pictures: ``tested_patches_accuracy``, ...

    A model that was trained on permuted pictures is not measured again: the result is empty.
    """
    if cell.permutation != "none":
        return {}
    size = to_pair(tuple(validation_set.images.shape[2:]))
    return {
        f"tested_{kind}_accuracy": evaluate(Permuted(model, kind, size), validation_set)[0]
        for kind in PERMUTATIONS[1:]
    }


def shuffle_and_shift(model: nn.Module, cell: Cell, validation_set: ImageSet) -> dict[str, float]:
    """Both :func:`under_permutation` and :func:`under_shift`, for a plainly trained model.

    A quick form leaves them out, to be quick.
    """
    if cell.permutation != "none" or cell.data == "any":
        return {}
    return {
        **under_permutation(model, cell, validation_set),
        **under_shift(model, cell, validation_set),
    }


CORNERS = {"tl": (0, 0), "tr": (0, 16), "bl": (16, 0), "br": (16, 16)}  # pixels down and right


def shift_or_corner(model: nn.Module, cell: Cell, validation_set: ImageSet) -> dict[str, float]:
    """For a model of the corner world its accuracy in the other corners, else under shift.

    ``corner_tr_accuracy`` and its like are on new pictures; ``rolled_tr_accuracy`` on the pictures
    of the trained corner, moved there in a circle: the same pictures at another place.
    """
    if cell.data != "corner":
        return under_shift(model, cell, validation_set)
    found = {}
    trained = shapes(1_000, seed=0, split="validation", corner="tl")
    for corner, move in CORNERS.items():
        pictures = shapes(1_000, seed=0, split="validation", corner=corner)
        found[f"corner_{corner}_accuracy"] = evaluate(model, pictures)[0]
        rolled = replace(trained, images=trained.images.roll(move, dims=(2, 3)))
        found[f"rolled_{corner}_accuracy"] = evaluate(model, rolled)[0]
    return found
