"""The sizes of a model, read off the shapes of its weights; and where its position table ends.

Chapter 12.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import torch

from ..baselines.paper_hybrid import PaperHybridConfig
from ..vit.model import ViTConfig
from ..vit.patches import Size, to_pair
from . import facts as known
from .layouts import State


def infer_config(
    state: State, num_heads: int | None = None, image_size: Any = None, pool: str | None = None
) -> ViTConfig:
    """The configuration that a state dict in our names belongs to: a ViT's or a paper hybrid's.

    Sizes are read off the shapes. Three things are not in them: ``num_heads`` (None: as published
    for this width, depth and patch), ``image_size`` in pixels (None: a square) and ``pool`` (None:
    "cls" if there is a class token and no norm after the pooling). Without a classifier
    ``num_classes`` is 1. Raises ``ValueError`` for a state that is not a plain ViT's, or if one of
    the three must be given.

    >>> from vit_teach import PRESETS, VisionTransformer
    >>> with torch.device("meta"):
    ...     state = VisionTransformer(PRESETS["ViT-S/32"]).state_dict()
    >>> infer_config(state) == PRESETS["ViT-S/32"]
    True
    """
    check_shapes(state)
    dim, channels = state["patch_embed.proj.weight"].shape[:2]
    kind: type[ViTConfig] = ViTConfig
    units: dict[str, Any] = {}
    if "patch_embed.backbone.stem.conv.weight" in state:  # the paper's hybrid
        kind, units = PaperHybridConfig, {"units": _count_units(state)}
        channels = state["patch_embed.backbone.stem.conv.weight"].shape[1]
    image_size = with_positions(state, known.pair(image_size))[1]
    hidden, class_token = state["blocks.0.mlp.fc1.weight"].shape[0], "cls_token" in state
    ratio = hidden / dim
    if int(dim * ratio) != hidden:  # rounding: the width of the MLP must come out again
        ratio = math.nextafter(ratio, math.inf)
    fc_norm = "fc_norm.weight" in state
    config = kind(
        **units,
        image_size=image_size,
        patch_size=_patch(state),
        in_channels=channels,
        num_classes=state["head.weight"].shape[0] if "head.weight" in state else 1,
        embed_dim=dim,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        num_heads=num_heads or 1,
        mlp_ratio=ratio,
        pool=pool or ("mean" if fc_norm or not class_token else "cls"),
        class_token=class_token,
        fc_norm=fc_norm,
        registers=state["reg_token"].shape[1] if "reg_token" in state else 0,
    )
    return config if num_heads else replace(config, num_heads=published(config))


def check_shapes(state: State) -> None:
    """Raise ``ValueError`` unless the tensors that the sizes are read from have their axes.

    >>> check_shapes({})
    Traceback (most recent call last):
    ...
    ValueError: state has no 'patch_embed.proj.weight': not a plain ViT with positions
    """
    axes = {"patch_embed.proj.weight": 4, "pos_embed": 3, "blocks.0.mlp.fc1.weight": 2,
            "head.weight": 2}  # fmt: skip
    for name, count in axes.items():
        if name not in state and name != "head.weight":
            raise ValueError(f"state has no {name!r}: not a plain ViT with positions")
        if name in state and (state[name].ndim != count or 0 in state[name].shape):
            shape = tuple(state[name].shape)
            raise ValueError(f"{name} has shape {shape}; it must have {count} axes, none of them 0")

    gated = state.get("blocks.0.mlp.fc2.weight", state["blocks.0.mlp.fc1.weight"].T)
    if gated.shape[1] * 2 == state["blocks.0.mlp.fc1.weight"].shape[0]:
        raise ValueError(
            "state has an MLP with a gate (SwiGLU, both halves in fc1): our ViT does not"
        )


def published(config: ViTConfig) -> int:
    """The number of heads of the published models of this size.

    Raises ``ValueError`` if there is none, or more than one.

    >>> published(ViTConfig(embed_dim=1280, depth=32, patch_size=14, num_heads=1))
    16
    """
    dim, depth, patch = config.embed_dim, config.depth, to_pair(config.patch_size)[0]
    heads = known.published_heads(dim, depth, patch, config.class_token)
    if heads is None:
        raise ValueError(
            f"num_heads=None must be given: no published size has width {dim}, depth {depth}, "
            f"patch {patch} and one number of heads, and the weights' shapes do not say it"
        )
    return heads


def _patch(state: State) -> tuple[int, int]:
    """The patch size (PH, PW): the projection's, times the shrinking of a hybrid's ResNet."""
    ph, pw = state["patch_embed.proj.weight"].shape[2:]
    if "patch_embed.backbone.stem.conv.weight" not in state:
        return ph, pw
    stages = len(_count_units(state))
    if not stages or (ph, pw) != (1, 1):
        raise ValueError("state has a ResNet without stages, or patches of its map: not built here")
    return 4 * 2 ** (stages - 1), 4 * 2 ** (stages - 1)


def _count_units(state: State) -> tuple[int, ...]:
    """How many units each stage of a hybrid's ResNet has."""
    pattern = r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.weight"
    stages = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def with_positions(
    state: State, image_size: Size | None = None, wanted: tuple[int, int] | None = None
) -> tuple[State, tuple[int, int], list[str]]:
    """The state with a position table as our model has it: one row for the class token, N patches.

    Tables of other models have no row for the class token (a row of zeros is put there) or rows for
    registers (they are added to the registers). ``image_size`` is (height, width) in pixels of the
    table; None means a square grid, if exactly one square fits, or the ``wanted`` size if no square
    does. Returns (state, image size, what was assumed). Raises ``ValueError`` if the size does not
    follow.

    >>> from vit_teach import VisionTransformer
    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> with_positions(VisionTransformer(config).state_dict())[1]
    (8, 8)
    """
    state, patch = dict(state), _patch(state)
    table, first = state["pos_embed"], int("cls_token" in state)
    extra = state["reg_token"].shape[1] if "reg_token" in state else 0
    if table.shape[0] != 1:
        raise ValueError(f"pos_embed has shape {tuple(table.shape)}; it must be (1, rows, D)")
    grid, assumed = _grid(table.shape[1], {0, first, first + extra}, patch, image_size, wanted)
    rows = table.shape[1] - grid[0] * grid[1]  # how many tokens before the patches have one
    if rows == 0 and first:
        table = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
    elif rows > first:
        state["reg_token"] = state["reg_token"] + table[:, first:rows]
        table = torch.cat([table[:, :first], table[:, rows:]], dim=1)
    state["pos_embed"] = table
    size = (grid[0] * patch[0], grid[1] * patch[1])
    return state, size, assumed


def _grid(
    rows: int,
    prefixes: set[int],
    patch: tuple[int, int],
    image_size: Size | None,
    wanted: tuple[int, int] | None,
) -> tuple[tuple[int, int], list[str]]:
    """The grid of patches (gh, gw) of a table with so many rows, and what was assumed."""
    if image_size is not None:
        try:
            grid = ViTConfig(image_size=image_size, patch_size=patch).grid_size
        except ValueError as error:
            raise ValueError(f"trained_size={image_size} does not fit: {error}") from error
        if rows - grid[0] * grid[1] not in prefixes:
            raise ValueError(
                f"trained_size={image_size} makes {grid[0]} x {grid[1]} patches; pos_embed has "
                f"{rows} rows, of which {' or '.join(map(str, sorted(prefixes)))} are no patches"
            )
        return grid, []
    counts = sorted({rows - p for p in prefixes if rows > p})
    squares = [n for n in counts if math.isqrt(n) ** 2 == n]
    asked = None
    if wanted is not None and wanted[0] % patch[0] == wanted[1] % patch[1] == 0:
        asked = (wanted[0] // patch[0], wanted[1] // patch[1])
    if asked is not None and asked[0] * asked[1] not in counts:
        asked = None
    if len(squares) == 1 and (asked is None or asked[0] == asked[1]):
        side = math.isqrt(squares[0])
        return (side, side), [f"a square grid of {side} x {side} patches"]
    if not squares and asked is not None:
        return asked, [f"a grid of {asked[0]} x {asked[1]} patches, as image_size has"]
    problem = f"pos_embed has {counts[0] if counts else 0} patches, " + (
        "which may be a square or not" if squares else "not a square"
    )
    raise ValueError(
        f"{problem}: give trained_size=(height, width), the image size in pixels of the model's "
        "training"
    )
