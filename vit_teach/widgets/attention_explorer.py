"""AttentionExplorer: point at a patch and see where every head of each block looks (chapter 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from ..arguments import explained
from ..data.imageset import normalise
from ..probe.attention import attention_distance, collect, rollout, uniform_distance
from ..probe.examine import fit_picture
from ..vit.model import VisionTransformer
from ..vit.patches import Size
from ..weights import normalisation_of
from .shared.base import BookWidget, data_uri, require

ASKS = ("patch", "class", "mean")  # whose row is shown
VIEWS = ("head", "rollout")
PAGE_LIMIT = 150_000  # characters of state that a page may carry
COLOURS = [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)]


def quantise(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Attention weights (..., T, T) as bytes with a scale for each row: uint8, float32 (..., T).

    A weight becomes ``round(255 a / largest of its row)`` steps of ``largest / 255``. What
    :func:`restore` gives back is off by at most half a step: 1/510 (0.2 %) of the row's largest
    weight.

    >>> steps, scales = quantise(torch.tensor([[0.2, 0.8], [1.0, 0.0]]))
    >>> steps.tolist()
    [[64, 255], [255, 0]]
    """
    weights = weights.detach().double().cpu()
    scales = (weights.amax(dim=-1) / 255).float()  # (..., T)
    steps = (weights / scales.double()[..., None]).round().clamp(0, 255).to(torch.uint8)
    return steps, scales


def restore(steps: Tensor, scales: Tensor) -> Tensor:
    """The weights that the script shows: float64 (..., T, T) from what :func:`quantise` gave.

    >>> restore(*quantise(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))).sum(dim=1)
    tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    return steps.double() * scales.double()[..., None]


def colours(map_: Tensor) -> Any:
    """A map (h, w) as pixels (h, w, 3), uint8: dark for 0, yellow for its largest number.

    >>> colours(torch.tensor([[0.0, 2.0]])).tolist()
    [[[68, 1, 84], [253, 231, 37]]]
    """
    top = map_.max().item() or 1.0
    place = (map_.double() / top).clamp(0, 1) * (len(COLOURS) - 1)  # (h, w)
    below = place.long().clamp(max=len(COLOURS) - 2)
    ends, part = torch.tensor(COLOURS).double(), (place - below)[..., None]
    mixed = ends[below] * (1 - part) + ends[below + 1] * part  # (h, w, 3)
    return mixed.round().to(torch.uint8).numpy()


class AttentionExplorer(BookWidget):
    """Where each head of each block looks from a patch that the reader points at.

    ``weights`` are the attention weights (L, H, T, T) of one picture, ``picture`` its pixels, uint8
    (3, H, W), at most 256 a side. :meth:`from_model` makes both.
    The traits follow the reader: ``block`` and ``head`` (from 0), ``query`` (a patch), ``asks``
    ("patch", "class" or "mean": whose row is shown), ``view`` ("head" or "rollout") and ``common``
    (one colour scale for all heads).

    The weights travel as bytes (:func:`quantise`): each is off by at most 0.2 % of its row's
    largest. A page takes one picture of a small model; where the state would exceed 150 kB
    the page shows the description and the static maps alone, while Jupyter shows all. Raises
    ``ValueError`` for weights or values that do not fit.

    >>> even = torch.full((2, 3, 4, 4), 0.25)
    >>> widget = AttentionExplorer(even, torch.zeros(3, 8, 8, dtype=torch.uint8), patch_size=4)
    >>> widget.distances()[0].tolist() == [widget.uniform()] * 3
    True
    """

    MODULE = "attention_explorer"
    picture_source = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    scales = traitlets.Bytes().tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # L, H, T
    grid: Any = traitlets.List(traitlets.Int()).tag(sync=True)
    patch = traitlets.List(traitlets.Int()).tag(sync=True)
    block = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    asks = traitlets.Unicode("patch").tag(sync=True)
    view = traitlets.Unicode("head").tag(sync=True)
    common = traitlets.Bool(False).tag(sync=True)

    @explained
    def __init__(
        self, weights: Tensor, picture: Tensor, patch_size: Size, query: int | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        shape = tuple(weights.shape)
        fits = len(shape) == 4 and shape[2] == shape[3] and min(shape) > 0
        require(fits, "weights of shape", shape, "must be (L, H, T, T)")
        sides = tuple(picture.shape)
        fits = len(sides) == 3 and sides[0] == 3 and picture.dtype == torch.uint8
        require(fits, "picture of shape", sides, "must be a uint8 tensor (3, H, W)")
        require(max(sides) <= 256, "picture of shape", sides, "is above 256 pixels")
        ph, pw = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        fits = sides[1] % ph == 0 and sides[2] % pw == 0
        require(fits, "patch_size", (ph, pw), f"must divide {sides[1:]}")
        gh, gw = sides[1] // ph, sides[2] // pw
        rule = f"must have at least {gh * gw} tokens for a grid of {gh} x {gw}"
        require(shape[2] >= gh * gw, "weights of shape", shape, rule)
        self._steps, self._scales = quantise(weights)
        self._pixels = picture.permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, 3)
        small = gh * ph < 100
        source = data_uri(self._pixels, *([] if small else ["JPEG"]))
        super().__init__(
            picture_source=source,
            weights=self._steps.numpy().tobytes(),
            scales=self._scales.numpy().tobytes(),
            shape=list(shape[:3]),
            grid=[gh, gw],
            patch=[ph, pw],
            query=gh // 2 * gw + gw // 2 if query is None else query,
            **settings,
        )

    @classmethod
    def from_model(
        cls, model: VisionTransformer, picture: Any, mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None, **settings: Any,
    ) -> AttentionExplorer:  # fmt: skip
        """The explorer of any ViT or hybrid of the package, looking at any picture.

        ``picture`` is a file or a uint8 tensor (3, H, W): it is cut and resized to the model's
        size, and normalised with ``mean`` and ``std`` (None: as the model's own pictures were).

        >>> from vit_teach import data, zoo
        >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
        >>> AttentionExplorer.from_model(model, data.photograph()).shape
        [4, 4, 16]
        """
        pixels = fit_picture(picture, model.config)  # (3, H, W)
        own = normalisation_of(model)
        mean, std = own[0] if mean is None else mean, own[1] if std is None else std
        weights = collect(model, normalise(pixels[None], mean, std))[0]  # (L, H, T, T)
        return cls(weights, pixels, model.config.patch_size, **settings)

    def shown_weights(self) -> Tensor:
        """The weights (L, H, T, T) as the script has them, after rounding to bytes."""
        return restore(self._steps, self._scales)

    def distances(self) -> Tensor:
        """The mean attention distance of each head on this picture, in pixels: (L, H)."""
        return attention_distance(self.shown_weights(), self.grid, tuple(self.patch))

    def uniform(self) -> float:
        """The distance of a head that looks everywhere alike, in pixels."""
        return uniform_distance(self.grid, tuple(self.patch))

    def shown_map(self) -> Tensor:
        """The large map as it stands now, (gh, gw): the weights that fall on patches."""
        weights = self.shown_weights()[: self.block + 1]  # (block + 1, H, T, T)
        chosen = rollout(weights) if self.view == "rollout" else weights[-1, self.head]
        count = self.grid[0] * self.grid[1]
        rows = {"patch": chosen[-count + self.query], "class": chosen[0]}
        line = rows.get(self.asks, chosen[-count:].mean(dim=0))  # (T,)
        return line[-count:].view(*self.grid)

    @traitlets.validate("block", "head", "query")
    def _check_place(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        ends = {"block": self.shape[0], "head": self.shape[1], "query": self.grid[0] * self.grid[1]}
        require(0 <= value < ends[name], name, value, f"must be from 0 to {ends[name] - 1}")
        return value

    @traitlets.validate("asks")
    def _check_asks(self, proposal: Any) -> Any:
        token = self.shape[2] > self.grid[0] * self.grid[1]
        known = [name for name in ASKS if token or name != "class"]
        require(proposal.value in known, "asks", proposal.value, f"must be one of {known}")
        return proposal.value

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> Any:
        require(proposal.value in VIEWS, "view", proposal.value, f"must be one of {VIEWS}")
        return proposal.value

    def fits_a_page(self) -> bool:
        """Whether the state is at most 150 kB, so that a page without Python carries it."""
        data = 4 * (len(self.weights) + len(self.scales)) // 3  # base64
        return data + len(self.picture_source) + 1000 <= PAGE_LIMIT

    def static_html(self) -> str:
        """As of every widget; without its data if that is too large for a page."""
        if self.fits_a_page():
            return super().static_html()
        return f'<div class="vt-fallback">{self.picture()}<p>{self.describe()}</p></div>'

    def describe(self) -> str:
        (blocks, heads, _), (gh, gw) = self.shape, self.grid
        far = self.distances()
        return (
            f"Where {heads} heads in each of {blocks} blocks look, on one picture of {gh} × {gw} "
            "patches. The small maps show all heads, a row for each block, seen from the patch in "
            f"row {gh // 2}, column {gw // 2}: yellow where a head looks most. The mean attention "
            f"distances of the heads go from {far.min():.1f} to {far.max():.1f} pixels; looking "
            f"everywhere alike gives {self.uniform():.2f}. "
            + ("With scripts on" if self.fits_a_page() else "In Jupyter")
            + ", you can point at any patch here, choose block and head, and follow attention "
            "through the blocks by rollout."
        )

    def picture(self) -> str:
        (gh, gw), (blocks, heads, _) = self.grid, self.shape
        row = self.shown_weights()[:, :, -gh * gw + gh // 2 * gw + gw // 2, -gh * gw :]
        maps = torch.tensor([[colours(m.view(gh, gw)).tolist() for m in b] for b in row])
        sheet = torch.full((blocks, gh + 1, heads, gw + 1, 3), 255, dtype=torch.uint8)
        sheet[:, :gh, :, :gw] = maps.permute(0, 2, 1, 3, 4)  # a white line after each map
        rows, columns = blocks * (gh + 1), heads * (gw + 1)
        wide = round(min(260, 320 * columns / rows))  # pixels, not too tall
        panels = [
            (self.picture_source, "The picture", 150),
            (
                data_uri(sheet.reshape(rows, columns, 3).numpy()),
                "Attention maps of all heads, a row for each block",
                wide,
            ),
        ]
        return "".join(
            f'<span class="vt-panel"><img src="{source}" alt="{alt}" width="{width}"></span>'
            for source, alt, width in panels
        )
