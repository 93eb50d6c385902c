"""What the parameters alone show: position tables and filters. Chapters 3, 4, 10 and 14.

Source: ViT paper (arXiv 2010.11929), section 4.5 and Figure 7.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import require_tensor, require_type, whole_pair
from ..vit.model import VisionTransformer

# --- Tables and tokens ----------------------------------------------------------------------------


def position_table(model: VisionTransformer) -> Tensor:
    """The rows of a model's position table that belong to patches, (N, D).

    Raises ``ValueError`` if the model has no table.

    >>> from vit_teach import zoo
    >>> position_table(zoo.build(zoo.preset("CIFAR-ViT-Nano"))).shape
    torch.Size([16, 64])
    """
    require_type("model", model, VisionTransformer, "a ViT or a hybrid")
    if model.pos_embed is None:
        raise ValueError(f"model has position={model.config.position!r}: there is no table")
    return model.pos_embed[0, -model.config.num_patches :].detach()


def colour_filters(model: VisionTransformer) -> Tensor:
    """The filters that read the picture's own colours, (D, C, P, P): the patch projection.

    Raises ``ValueError`` for a hybrid whose projection reads a feature map.

    >>> from vit_teach import zoo
    >>> colour_filters(zoo.build(zoo.preset("CIFAR-ViT-Nano"))).shape
    torch.Size([64, 3, 8, 8])
    """
    require_type("model", model, VisionTransformer, "a ViT or a hybrid")
    backbone = getattr(model.patch_embed, "backbone", None)
    if backbone is not None and list(backbone.children()):
        raise ValueError("model's projection reads a feature map, not the picture's colours")
    return model.patch_embed.get_parameter("proj.weight").detach()


def cosine_similarity(table: Tensor) -> Tensor:
    """The cosine of the angle between each two rows of ``table`` (N, D); returns (N, N).

    1 means the same direction, 0 a right angle, -1 opposite directions.

    >>> cosine_similarity(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    require_tensor("table", table, "(N, D)")
    rows = F.normalize(table.detach().double(), dim=1)  # (N, D), each of length 1
    return (rows @ rows.T).float()  # (N, N)


def principal_filters(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The patterns a bank of filters is made of: its principal components.

    ``weight`` is (D, C, P, P), D filters. Returns ``(patterns, share)``: patterns
    (R, C, P, P) of norm 1, the most important first, and share (R,), the part of the bank's
    variance that each one carries (the sum is 1); R = min(D, C P P). A pattern's sign is
    arbitrary: it is chosen so that the entry of largest size is positive.

    >>> patterns, share = principal_filters(torch.randn(16, 3, 2, 2))
    >>> patterns.shape, share.shape
    (torch.Size([12, 3, 2, 2]), torch.Size([12]))
    """
    require_tensor("weight", weight, "(D, C, P, P)")
    if 0 in weight.shape or not weight.isfinite().all():
        raise ValueError(f"weight of shape {tuple(weight.shape)} must be finite, and not empty")
    bank = weight.detach().double().flatten(1)  # (D, C P P)
    bank = bank - bank.mean(dim=0)  # (D, C P P)
    _, size, patterns = torch.linalg.svd(bank, full_matrices=False)  # (R,), (R, C P P)
    largest = patterns.gather(1, patterns.abs().argmax(dim=1, keepdim=True))  # (R, 1)
    patterns = patterns * largest.sign()  # (R, C P P)
    share = size**2 / (size**2).sum()  # (R,)
    return patterns.float().reshape(-1, *weight.shape[1:]), share.float()


def tiles(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Lay out (N, N) as a grid of N pictures, each (gh, gw), with an empty line between.

    Tile (r, c) shows row r * gw + c of ``values``. Returns (gh * (gh + 1) - 1,
    gw * (gw + 1) - 1) with NaN in the gaps.

    >>> tiles(torch.ones(6, 6), (2, 3)).shape
    torch.Size([5, 11])
    """
    gh, gw = whole_pair("grid", grid)
    require_tensor("values", values, f"({gh * gw}, {gh * gw})")
    if values.shape != (gh * gw, gh * gw):
        raise ValueError(f"values of shape {tuple(values.shape)} must be {(gh * gw, gh * gw)}")
    boxes = values.reshape(gh, gw, gh, gw)
    boxes = F.pad(boxes, (0, 1, 0, 1), value=math.nan)  # (gh, gw, gh + 1, gw + 1)
    sheet = boxes.permute(0, 2, 1, 3).reshape(gh * (gh + 1), gw * (gw + 1))
    return sheet[:-1, :-1]
