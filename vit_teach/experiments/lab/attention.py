"""What the heads of a model do with pictures, as numbers for a card. Chapter 14."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import probe
from ...arguments import explained
from ...vit.model import VisionTransformer
from ...vit.patches import patchify, unpatchify

NEAR = 0.5  # of the uniform line: a head below looks near
FAR = 0.8  # ... and one above looks far; chapter 14 set both before measuring


def of_heads(
    model: VisionTransformer, pictures: Tensor, batch: int = 10
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """(metrics, curves) of the attention of ``model`` for normalised pictures (B, C, H, W).

    The curves are columns of two tables: for each head of each block its mean distance in pixels,
    the standard error of that over pictures (None for one picture), and its entropy in nats; for
    each layer (0 is what enters the first block) the number of outlier tokens and the longest token
    over the median. The metrics sum them up; distances are shares of the uniform line,
    ``rollout_top_quarter`` the share of a picture's rollout that its brightest quarter of patches
    has (an even map: 0.25).

    >>> from vit_teach import zoo
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> metrics, curves = of_heads(model, torch.zeros(2, 3, 32, 32))
    >>> metrics["heads"], len(curves["distance"]), curves["layer"]
    (16, 16, [0, 1, 2, 3, 4])
    """
    parts = [_few(model, x) for x in pictures.split(batch)]
    distance, entropy, quarter = (torch.cat([part[i] for part in parts]) for i in range(3))
    norms = torch.cat([part[3] for part in parts], dim=1)  # (L + 1, B, N)
    config = model.config
    uniform = probe.uniform_distance(config.grid_size, config.patch_size)
    mean = distance.mean(dim=0)  # (L, H)
    count = len(distance)
    error = torch.full_like(mean, math.nan)  # (L, H)
    if count > 1:
        error = distance.std(dim=0) / count**0.5
    outliers = probe.outlier_tokens(norms).sum(dim=(1, 2))  # (L + 1,)
    longest = norms.amax(dim=(1, 2)) / norms.flatten(1).median(dim=1).values  # (L + 1,)
    blocks, heads = mean.shape
    share = mean / uniform
    metrics = {
        "pictures": count, "uniform_distance": uniform,
        "most_entropy": math.log(config.num_tokens),
        "nearest_share": share.min().item(), "mean_share": share.mean().item(),
        "farthest_share": share.max().item(), "near_heads": int((share < NEAR).sum()),
        "heads": blocks * heads,
        "mixed_blocks": int(((share.amin(dim=1) < NEAR) & (share.amax(dim=1) > FAR)).sum()),
        "outlier_share": outliers[1:].max().item() / norms[0].numel(),
        "longest_token": longest[1:].max().item(),
        "rollout_top_quarter": quarter.mean().item(),
    }  # fmt: skip
    curves: dict[str, list[Any]] = {
        "block": [block + 1 for block in range(blocks) for _ in range(heads)],
        "head": [head + 1 for _ in range(blocks) for head in range(heads)],
        "distance": _digits(mean), "distance_error": _digits(error),
        "entropy": _digits(entropy.mean(dim=0)),
        "layer": list(range(blocks + 1)),
        "outliers": outliers.tolist(), "longest": _digits(longest),
    }  # fmt: skip
    return metrics, curves


def _digits(table: Tensor) -> list[float | None]:
    """A table as a flat list with four digits, more would be noise; None for what is no number."""
    return [float(f"{x:.4g}") if math.isfinite(x) else None for x in table.flatten().tolist()]


def _few(model: VisionTransformer, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance and entropy (B, L, H), the rollout's brightest quarter (B,), norms (L + 1, B, N)."""
    found = probe.examine(model, pictures)
    shares = found.rollout.flatten(1)  # (B, N)
    quarter = shares.topk(shares.shape[1] // 4, dim=1).values.sum(dim=1)  # (B,)
    return found.distance, found.entropy, quarter, found.norms


@explained
def heads(card: Mapping[str, Any], column: str = "distance") -> Tensor:
    """A column of a card's heads as a tensor (L, H).

    >>> curves = {"block": [1, 1, 2, 2], "head": [1, 2, 1, 2], "distance": [4.0, 5.0, 6.0, 7.0]}
    >>> heads({"curves": curves})
    tensor([[4., 5.],
            [6., 7.]])
    """
    curves = card["curves"]
    return torch.tensor(curves[column]).view(-1, max(curves["head"]))


# --- The covering test ----------------------------------------------------------------------------


def covered(model: VisionTransformer, pictures: Tensor, seed: int = 0) -> dict[str, float]:
    """How often the answer stays when a quarter of the patches is covered: {"stays_...": share}.

    Covered is, by the mean colour, the brightest or darkest quarter by rollout or by the last
    block's read-out (mean of its heads), or a random one. ``pictures`` are normalised, so that
    the mean colour is 0.

    >>> from vit_teach import zoo
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> covered(model, torch.zeros(2, 3, 32, 32))["stays_random"]  # the mean colour already
    1.0
    """
    parts = [_maps(model, x) for x in pictures.split(25)]
    rolled, last = (torch.cat(part) for part in zip(*parts, strict=True))  # (B, N) each
    generator = torch.Generator().manual_seed(seed)
    orders = {
        "brightest_rollout": -rolled, "darkest_rollout": rolled,
        "brightest_last_block": -last, "darkest_last_block": last,
        "random": torch.rand(last.shape, generator=generator),
    }  # fmt: skip
    with torch.no_grad():
        before = model(pictures).argmax(dim=1)  # (B,)
        return {
            f"stays_{name}": (model(_cover(model, pictures, score.argsort(dim=1))).argmax(dim=1)
                              == before).double().mean().item()
            for name, score in orders.items()
        }  # fmt: skip


def _maps(model: VisionTransformer, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What the classifier looks at by rollout and in the last block, (B, N) each."""
    weights, config = probe.collect(model, pictures), model.config
    rolled = probe.readout_map(probe.rollout(weights), config)
    return rolled.flatten(1), probe.readout_map(weights[:, -1].mean(dim=1), config).flatten(1)


def _cover(model: VisionTransformer, pictures: Tensor, order: Tensor) -> Tensor:
    """Pictures whose first quarter of patches, in this order (B, N), is the mean colour."""
    size = model.config.patch_size
    patches = patchify(pictures, size)  # (B, N, C P P)
    patches[torch.arange(len(pictures))[:, None], order[:, : order.shape[1] // 4]] = 0
    return unpatchify(patches, size, pictures.shape[2:], pictures.shape[1])


def enlarged(pictures: Tensor, size: int) -> Tensor:
    """Normalised pictures (B, C, H, W) at ``size`` pixels a side, bicubic; unchanged if they fit.

    >>> enlarged(torch.zeros(1, 3, 32, 32), 112).shape
    torch.Size([1, 3, 112, 112])
    """
    if pictures.shape[2:] == (size, size):
        return pictures
    return F.interpolate(pictures, size=(size, size), mode="bicubic")
