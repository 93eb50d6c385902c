"""PatchExplorer: cut an image into patches, and see the token that each becomes (chapter 2)."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from ..arguments import explained
from .shared.base import BookWidget, data_uri, require

if TYPE_CHECKING:
    from torch import Tensor

OWN = -1  # `shown` when the reader looks at a picture of their own
OWN_SIDE = 224  # to which such a picture is cut and resized
LARGEST_PNG = 16_000  # characters; above it a picture is sent as JPEG


def patch_sizes(height: int, width: int) -> list[int]:
    """The patch sizes that divide an image and give from 4 to 1024 patches.

    >>> patch_sizes(32, 32)
    [1, 2, 4, 8, 16]
    """
    both = math.gcd(height, width)
    return [p for p in range(1, both + 1) if both % p == 0 and 4 <= height * width // p**2 <= 1024]


def packed(name: str, image: Tensor) -> dict[str, Any]:
    """One image (3, H, W), uint8, as the script takes it: exact (PNG) if small, else JPEG.

    >>> import torch
    >>> packed("black", torch.zeros(3, 8, 12, dtype=torch.uint8))["exact"]
    True
    """
    shape = tuple(getattr(image, "shape", ()))
    rule = "must be a uint8 tensor (3, H, W)"
    require(len(shape) == 3 and shape[0] == 3, f"images[{name!r}] of shape", shape, rule)
    require("uint8" in str(image.dtype), f"images[{name!r}] of dtype", str(image.dtype), rule)
    height, width = shape[1:]
    require(max(height, width) <= 256, f"images[{name!r}] of size", (height, width), "is above 256")
    rule = "has no patch size that gives 4 to 1024 patches"
    require(patch_sizes(height, width), f"images[{name!r}] of size", (height, width), rule)
    pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, 3)
    source = data_uri(pixels)
    exact = len(source) <= LARGEST_PNG
    if not exact:
        source = data_uri(pixels, "JPEG", quality=85, subsampling=0)
    size = {"height": height, "width": width}
    return {"name": str(name), "source": source, "exact": exact, **size}


def _require_patch_size(patch_size: int, size: tuple[int, int]) -> None:
    """Raise ``ValueError`` unless an image of ``size`` (H, W) can be cut into such patches."""
    sizes = patch_sizes(*size)
    rule = f"must be one of {sizes} for an image of {size}"
    require(patch_size in sizes, "patch_size", patch_size, rule)


class PatchExplorer(BookWidget):
    """An image with its grid of patches beside the sequence of tokens.

    ``images`` is a dictionary of names and uint8 tensors (3, H, W), sides up to 256. The traits
    ``shown`` (which image, -1 for the reader's own), ``patch_size`` and ``selected`` (which patch)
    follow what the reader does. Raises ``ValueError`` for an image or a value that does not fit.

    >>> import torch
    >>> widget = PatchExplorer({"black": torch.zeros(3, 8, 12, dtype=torch.uint8)}, patch_size=4)
    >>> widget.counts()
    {'tokens': 6, 'numbers': 48, 'entries': 36, 'pixel_entries': 9216}
    """

    MODULE = "patch_explorer"
    images = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)
    patch_size = traitlets.Int(16).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)

    @explained
    def __init__(
        self, images: Mapping[str, Tensor], patch_size: int = 16, selected: int | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        require(isinstance(images, dict) and images, "images", images, "must be a dictionary")
        entries = [packed(name, image) for name, image in images.items()]
        self._first = next(iter(images.values()))
        size = entries[0]["height"], entries[0]["width"]
        _require_patch_size(patch_size, size)
        if selected is None:  # the patch in the middle
            height, width = (side // patch_size for side in size)
            selected = height // 2 * width + width // 2
        super().__init__(images=entries, patch_size=patch_size, selected=selected, **settings)

    def size(self) -> tuple[int, int]:
        """Height and width of the image that is shown, in pixels."""
        if self.shown == OWN:
            return OWN_SIDE, OWN_SIDE
        return self.images[self.shown]["height"], self.images[self.shown]["width"]

    def counts(self) -> dict[str, int]:
        """Tokens, numbers in each, and attention entries: with these patches, with pixels."""
        height, width = self.size()
        tokens = height * width // self.patch_size**2
        numbers = {"tokens": tokens, "numbers": 3 * self.patch_size**2}
        return {**numbers, "entries": tokens**2, "pixel_entries": (height * width) ** 2}

    @traitlets.validate("shown")
    def _check_shown(self, proposal: Any) -> Any:
        last = len(self.images) - 1
        rule = f"must be from -1 (the reader's own picture) to {last}"
        require(OWN <= proposal.value <= last, "shown", proposal.value, rule)
        return proposal.value

    @traitlets.validate("patch_size")
    def _check_patch_size(self, proposal: Any) -> Any:
        _require_patch_size(proposal.value, self.size())
        return proposal.value

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> Any:
        tokens = self.counts()["tokens"]
        rule = f"must be from 0 to {tokens - 1}"
        require(0 <= proposal.value < tokens, "selected", proposal.value, rule)
        return proposal.value

    @traitlets.observe("shown", "patch_size")
    def _keep_within(self, change: Any) -> None:
        """After another image or patch size, take the nearest size and patch that exist."""
        sizes = patch_sizes(*self.size())
        if self.patch_size not in sizes:
            self.patch_size = min(sizes, key=lambda size: abs(size - self.patch_size))
        self.selected = min(self.selected, self.counts()["tokens"] - 1)

    def describe(self) -> str:
        first, counts = self.images[0], self.counts()
        return (
            f"An image ({first['name']}) cut into {counts['tokens']:,} patches of "
            f"{self.patch_size} × {self.patch_size} pixels. Each patch becomes a token of "
            f"{counts['numbers']:,} numbers. Attention compares all pairs of tokens: "
            f"{counts['entries']:,} entries. With a token for each pixel it would be "
            f"{counts['pixel_entries']:,}. With scripts on, you can change the image and the patch "
            "size here and look into each patch."
        )

    def picture(self) -> str:
        patch = self.patch_size
        image = self._first.clone()
        image[:, :, patch::patch] = 255
        image[:, patch::patch] = 255
        pixels = image.permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, 3)
        source = data_uri(pixels, "JPEG", quality=50)
        alt = html.escape(f"{self.images[0]['name']}, cut into patches by white lines")
        return f'<img src="{source}" alt="{alt}" width="280">'
