"""Trained weights for other pictures: other classes, another size, other colours. Chapter 12."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..arguments import require_type, whole
from ..data.pictures import sides
from ..vit.embedding import resize_positions
from ..vit.model import ViTConfig
from ..vit.patches import Size
from .layouts import State


def adapt(
    state: State,
    config: Any,
    num_classes: int | None = None,
    image_size: Size | None = None,
    rule: str = "google",
    in_channels: int | None = None,
) -> tuple[State, ViTConfig]:
    """Fit a state dict in our names to other classes, another image size, other channels.

    Returns (state, config). With ``num_classes`` the classifier is replaced by a zero one, as in
    the paper (section 3.2). The patch size stays, so a larger ``image_size`` has more patches, and
    the position table is resized by ``rule``. ``in_channels`` 1 adds the three channels of the
    projection up, so a grey picture gives what it gave three times over; 3 divides one channel.
    Raises ``ValueError`` if the image size is not divisible by the patch size, or for a relative
    bias on another grid.

    >>> from vit_teach import VisionTransformer
    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> state = VisionTransformer(config).state_dict()
    >>> state, config = adapt(state, config, num_classes=5, image_size=16)
    >>> state["pos_embed"].shape, state["head.weight"].shape, config.num_patches
    (torch.Size([1, 17, 12]), torch.Size([5, 12]), 16)
    """
    if not isinstance(config, ViTConfig):
        raise ValueError(f"config={type(config).__name__} must be a ViT's or a hybrid's")
    require_type("state", state, dict, "a state dict")
    state, new = dict(state), config
    if num_classes is not None:
        whole("num_classes", num_classes, 1, 10**6)
    if in_channels is not None:
        whole("in_channels", in_channels, 1, 10**4)
    if image_size is not None:
        sides(image_size, "image_size")
        new = replace(new, image_size=image_size)
        if config.offsets == "relative" and new.grid_size != config.grid_size:
            raise ValueError(
                f"image_size={image_size!r} changes the grid, and position={config.position!r} has "
                f"a table for the offsets of {config.grid_size} patches only"
            )
        if "pos_embed" in state:  # with "none" or "rotary" there is nothing to resize
            state["pos_embed"] = resize_positions(
                state["pos_embed"], config.grid_size, new.grid_size, rule, int(config.class_token)
            )
    if num_classes is not None:
        new = replace(new, num_classes=num_classes)
        kind = state["head.weight"].dtype if "head.weight" in state else torch.float32
        state["head.weight"] = torch.zeros(num_classes, new.embed_dim, dtype=kind)
        state["head.bias"] = torch.zeros(num_classes, dtype=kind)
    if in_channels not in (None, config.in_channels):
        new = replace(new, in_channels=in_channels)
        _change_channels(state, config.in_channels, in_channels)
    return state, new


def _change_channels(state: State, old: int, new: int) -> None:
    name = "patch_embed.proj.weight"
    if {old, new} != {1, 3} or name not in state or state[name].shape[1] != old:
        raise ValueError(
            f"in_channels={new} must be {old}, as the file has; 1 and 3 change into each other, in "
            "plain ViTs"
        )
    weight = state[name]
    state[name] = weight.sum(1, keepdim=True) if new == 1 else weight.repeat(1, 3, 1, 1) / 3
