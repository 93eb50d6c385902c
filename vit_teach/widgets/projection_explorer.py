"""ProjectionExplorer: one number of a token, product by product (chapter 3)."""

import html
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from ..arguments import explained
from ..data.imageset import MEAN, STD
from .shared.base import BookWidget, data_uri, red_blue, require

LARGEST_SIDE = 64  # pixels of an image
LARGEST_PATCH = 8
LARGEST_LAYER = 50_000  # weights of one projection: a page has to carry them


def layer_of(name: str, projection: Any) -> tuple[Tensor, ...]:
    """Weights (D, 3, P, P) and biases (D,) of a projection, rounded to half precision.

    ``projection`` is a ``PatchEmbedding`` or the convolution in it. The book's files keep their
    weights in half precision, so those do not change. Raises ``ValueError`` for another layer.

    >>> from vit_teach import PatchEmbedding
    >>> weight, bias = layer_of("new", PatchEmbedding(32, 4, 3, 128))
    >>> tuple(weight.shape), tuple(bias.shape)
    ((128, 3, 4, 4), (128,))
    """
    layer = getattr(projection, "proj", projection)
    weight: Any
    bias: Any
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    shape = tuple(getattr(weight, "shape", ()))
    fits = len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] and bias is not None
    require(fits, f"weight of {name!r} of shape", shape, "must be (D, 3, P, P), with a bias")
    rule = f"must have a patch size from 2 to {LARGEST_PATCH}"
    require(2 <= shape[2] <= LARGEST_PATCH, f"weight of {name!r} of shape", shape, rule)
    rule = f"has more than {LARGEST_LAYER} numbers"
    require(weight.numel() <= LARGEST_LAYER, f"weight of {name!r} of shape", shape, rule)
    rounded = tuple(part.detach().cpu().half() for part in (weight, bias))
    finite = all(part.isfinite().all() for part in rounded)
    require(finite, "projection", name, "must have finite weights in half precision")
    return rounded


def _require_images(images: Mapping[str, Tensor], patch: int) -> None:
    """Raise ``ValueError`` unless all images are alike and can be cut into such patches."""
    require(isinstance(images, dict) and images, "images", images, "must be a dictionary")
    first = tuple(getattr(next(iter(images.values())), "shape", ()))
    for name, image in images.items():
        shape = tuple(getattr(image, "shape", ()))
        fits = len(shape) == 3 and shape[0] == 3 and "uint8" in str(image.dtype)
        require(fits, f"images[{name!r}] of shape", shape, "must be a uint8 tensor (3, H, W)")
        rule = f"must be as large as the first: {first}"
        require(shape == first, f"images[{name!r}] of shape", shape, rule)
    fits = max(first[1:]) <= LARGEST_SIDE and not any(side % patch for side in first[1:])
    rule = f"must be divisible by patch_size={patch} and at most {LARGEST_SIDE}"
    require(fits, "images of size", first[1:], rule)


def colours(values: Tensor, scale: float | None = None) -> Tensor:
    """Signed numbers (..., P, P) as pixels (..., P, P, 3), uint8: red above 0, blue below.

    The colours are full at ``scale``, else at the largest absolute value.

    >>> colours(torch.tensor([[2.0, 0.0]])).tolist()
    [[[178, 24, 43], [247, 247, 247]]]
    """
    scale = scale or values.abs().max().item() or 1.0
    return red_blue((values / scale).clamp(-1, 1).double())


class ProjectionExplorer(BookWidget):
    """Patch, filter, their product and its sum; and the same filter slid over the whole image.

    ``images`` is a dictionary of names and uint8 tensors (3, H, W) of one size, at most 64 by 64.
    ``projections`` is a dictionary of names and ``PatchEmbedding`` layers of one shape, with
    patches of 2 to 8 pixels; their weights are rounded to half precision. The traits follow the
    reader: ``shown`` (which image), ``bank`` (which projection), ``dimension`` (which filter of
    it), ``row`` and ``column`` (of the filter's upper left pixel), ``stride`` (by how many pixels
    the filter moves: the patch size, or 1, which it becomes when you set a place between patches)
    and ``entry`` (which of the 3 P^2 products is spelled out). Raises ``ValueError`` for anything
    that does not fit.

    >>> from vit_teach import PatchEmbedding
    >>> black = torch.zeros(3, 8, 12, dtype=torch.uint8)
    >>> widget = ProjectionExplorer({"black": black}, {"new": PatchEmbedding((8, 12), 4, 3, 16)})
    >>> widget.row, widget.column, tuple(widget.everywhere().shape)
    (4, 4, (5, 9))
    """

    MODULE = "projection_explorer"
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.List(traitlets.Int()).tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)  # red, green, blue of each pixel, image after image
    mean = traitlets.List(traitlets.Float(), list(MEAN)).tag(sync=True)
    std = traitlets.List(traitlets.Float(), list(STD)).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)  # of each projection: its filters, then its biases
    dimensions = traitlets.Int(1).tag(sync=True)
    patch_size = traitlets.Int(4).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)
    bank = traitlets.Int(0).tag(sync=True)
    dimension = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)
    stride = traitlets.Int(4).tag(sync=True)
    entry = traitlets.Int(0).tag(sync=True)

    @explained
    def __init__(
        self, images: Mapping[str, Tensor], projections: Mapping[str, Any], row: int | None = None,
        column: int | None = None, stride: int | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        rule = "must be a dictionary"
        require(isinstance(projections, dict) and projections, "projections", projections, rule)
        self._layers = [layer_of(name, layer) for name, layer in projections.items()]
        shapes = {tuple(weight.shape) for weight, _ in self._layers}
        require(len(shapes) == 1, "shapes of the projections", shapes, "must be one shape")
        ((dimensions, _, patch, _),) = shapes
        _require_images(images, patch)
        self._images = list(images.values())
        height, width = self._images[0].shape[1:]
        rows = [image.permute(1, 2, 0).cpu().contiguous() for image in self._images]  # (H, W, 3)
        parts = [part.contiguous().numpy() for layer in self._layers for part in layer]
        middle = [side // patch // 2 * patch for side in (height, width)]
        row, column = middle[0] if row is None else row, middle[1] if column is None else column
        between = bool(row % patch or column % patch)
        stride = (1 if between else patch) if stride is None else stride
        rule = f"must be 1 for row={row}, column={column}"
        require(stride == 1 or not between, "stride", stride, rule)
        super().__init__(
            pictures=[str(name) for name in images],
            size=[height, width],
            pixels=b"".join(image.numpy().tobytes() for image in rows),
            names=[str(name) for name in projections],
            weights=b"".join(part.tobytes() for part in parts),
            dimensions=dimensions,
            patch_size=patch,
            row=row,
            column=column,
            stride=stride,
            **settings,
        )

    def products(
        self, row: int | None = None, column: int | None = None, dimension: int | None = None
    ) -> Tensor:
        """The filter's products at a place, (3, P, P): the traits', unless you say another."""
        row = self.row if row is None else row
        column = self.column if column is None else column
        dimension = self.dimension if dimension is None else dimension
        end = self.patch_size
        window = self._image()[:, row : row + end, column : column + end]  # (3, P, P)
        return window * self._layers[self.bank][0][dimension].double()

    def value(
        self, row: int | None = None, column: int | None = None, dimension: int | None = None
    ) -> float:
        """The number at a place: the sum of its products, and the bias. In double precision."""
        bias = self._layers[self.bank][1][self.dimension if dimension is None else dimension]
        return self.products(row, column, dimension).sum().item() + bias.item()

    def everywhere(self, stride: int = 1) -> Tensor:
        """The filter's answers at all places, as a convolution: (H - P + 1, W - P + 1)."""
        weight, bias = (part[self.dimension][None].double() for part in self._layers[self.bank])
        return F.conv2d(self._image()[None], weight, bias, stride=stride)[0, 0]

    def _image(self) -> Tensor:
        """The normalised image (3, H, W), in double precision."""
        image = self._images[self.shown].cpu().double() / 255
        constants = torch.tensor([self.mean, self.std], dtype=torch.float64)  # (2, 3)
        mean, std = constants.view(2, 3, 1, 1)
        return (image - mean) / std

    @traitlets.validate("shown", "bank", "dimension", "entry")
    def _check_choice(self, proposal: Any) -> Any:
        name = proposal.trait.name
        counts = {"shown": len(self.pictures), "bank": len(self.names)}
        counts |= {"dimension": self.dimensions, "entry": 3 * self.patch_size**2}
        rule = f"must be from 0 to {counts[name] - 1}"
        require(0 <= proposal.value < counts[name], name, proposal.value, rule)
        return proposal.value

    @traitlets.validate("stride")
    def _check_stride(self, proposal: Any) -> Any:
        rule = f"must be 1 or the patch size {self.patch_size}"
        require(proposal.value in (1, self.patch_size), "stride", proposal.value, rule)
        return proposal.value

    @traitlets.validate("row", "column")
    def _check_place(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        last = self.size[name == "column"] - self.patch_size
        require(0 <= value <= last, name, value, f"must be from 0 to {last}")
        return value

    @traitlets.observe("stride")
    def _stop_at_a_patch(self, change: Any) -> None:
        """After a larger stride, go back to the last place where it stops."""
        place = [side - side % self.stride for side in (self.row, self.column)]
        self.row, self.column = place

    @traitlets.observe("row", "column")
    def _leave_the_patches(self, change: Any) -> None:
        """At a place between patches the filter moves by one pixel."""
        if change.new % self.stride:
            self.stride = 1

    def describe(self) -> str:
        return (
            f"A filter of {self.patch_size} × {self.patch_size} pixels and three colours at row "
            f"{self.row}, column {self.column} of an image ({self.pictures[self.shown]}): "
            f"dimension {self.dimension} of the projection “{self.names[self.bank]}”. The "
            f"{3 * self.patch_size**2} products of pixel and weight and the bias sum to "
            f"{self.value():.4f}. With scripts on, you can move the filter here, choose another, "
            "and see every product."
        )

    def picture(self) -> str:
        row, column, end = self.row, self.column, self.patch_size
        image = self._images[self.shown].permute(1, 2, 0).cpu().contiguous().numpy()  # (H, W, 3)
        window = self._image()[:, row : row + end, column : column + end]  # (3, P, P)
        weight = self._layers[self.bank][0][self.dimension].double()
        parts = {"patch": window, "filter": weight, "product": window * weight}
        name = html.escape(self.pictures[self.shown])
        boxes = [_panel(data_uri(image), f"The image: {name}", name, 128)]
        for part, numbers in parts.items():
            strip = torch.cat(list(colours(numbers)), dim=1).contiguous().numpy()  # (P, 3 P, 3)
            alt = f"The {part}: its red, green and blue part side by side"
            boxes.append(_panel(data_uri(strip), alt, f"{part}: red, green, blue", 150))
        return "".join(boxes)


def _panel(source: str, alt: str, label: str, width: int) -> str:
    """HTML of a small picture with a line under it.

    >>> _panel("data:,", "a picture", "label", 9)[:23]
    '<span class="vt-panel">'
    """
    picture = f'<img src="{source}" alt="{alt}" width="{width}">'
    return f'<span class="vt-panel">{picture}<br>{label}</span>'
