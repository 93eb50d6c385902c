"""A foreign file as one of our models: names, sizes, and what the shapes leave open. Chapter 12.

What a file does not fix is never guessed in silence: it is looked up (``facts``), asked for, or
assumed and said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..vit.encoder import LAYER_NORM_EPS
from ..vit.model import ViTConfig
from ..vit.patches import Size
from . import facts as known
from . import parts
from .carried import Normalisation
from .facts import Facts
from .fetching import fetch, library_of
from .layouts import State, from_google, from_huggingface, from_timm, from_torchvision
from .opening import find, layout, read
from .sizes import check_shapes, infer_config, published, with_positions

DAMAGE = (
    RuntimeError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, MemoryError
)  # fmt: skip
RENAME = {"torchvision": from_torchvision, "huggingface": from_huggingface, "timm": from_timm}


@dataclass
class Opened:
    """A source's weights in our names (``state``), their configuration, and what is to be said.

    ``notes`` are ways in which the model differs from the original, ``assumed`` what nothing told;
    ``normalisation`` is (mean, deviation) of its pictures, or None.

    >>> Opened({}, ViTConfig(), ["no pooler"], ["exact GELU"], ((0.5,), (0.5,))).line("a.pth")
    'a.pth: assumed exact GELU; note: no pooler; pictures of mean (0.5,) and deviation (0.5,)'
    """

    state: State
    config: ViTConfig
    notes: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    normalisation: Normalisation | None = None

    def line(self, name: str) -> str:
        """All of it in one line."""
        said = [f"assumed {', '.join(self.assumed)}"] if self.assumed else []
        said += [f"note: {note}" for note in self.notes]
        if self.normalisation is None:
            said.append("nothing says how its pictures were normalised")
        else:
            mean, deviation = self.normalisation
            said.append(f"pictures of mean {mean} and deviation {deviation}")
        return f"{name}: {'; '.join(said)}"


@dataclass(frozen=True)
class Wish:
    """What the caller of ``load`` gave: each argument means what it means there.

    >>> Wish(num_heads=6).pool is None
    True
    """

    num_classes: int | None = None
    image_size: Size | None = None
    num_heads: int | None = None
    pool: str | None = None
    trained_size: Size | None = None
    key: str | None = None
    architecture: str | None = None


def open_source(source: str | Path, **wish: Any) -> Opened:
    """What a foreign source holds; ``wish`` are arguments of ``load``, as :class:`Wish` has them.

    >>> open_source("no-such-file.npz")
    Traceback (most recent call last):
    ...
    ValueError: source='no-such-file.npz' must be an existing file or folder, or one of ...
    """
    asked = Wish(**wish)
    library, name = library_of(source)
    state: dict[str, Any]
    facts: Facts | None = None
    if library:
        state, facts = fetch(library, name)
    else:
        state = read(source, asked.key)
    try:
        return _opened(source, state, facts, asked)
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{source} does not hold a plain ViT: {reason}") from error


def _opened(source: str | Path, state: dict[str, Any], facts: Facts | None, asked: Wish) -> Opened:
    kind = layout(state)
    state, others = parts.inside(state, kind, asked.key)
    state, behind = parts.without_behind(state)
    alike = parts.look_alike(state)
    if asked.num_classes is None and (others or behind):
        what = ", ".join([*behind, *(repr(name) for name in others[:3])])
        raise ValueError(
            f"{source} holds parts beside the model ({what}). Give num_classes for a new head: "
            "they are then left out"
        )
    left = [f"left out: {', '.join([*behind, *others[:3]])}"] if others or behind else []
    if kind == "google":
        facts = known.of_google(state)
    ours = _renamed(state, kind, head=asked.num_classes is None)
    parts.refuse_foreign(ours)
    width = ours["pos_embed"].shape[-1]
    if asked.architecture is not None:
        facts = known.of_timm_config({"architecture": asked.architecture}, "architecture")
    elif facts is None:
        whole = Path(source).expanduser().is_dir()
        facts = known.of_neighbour(find(source)[0], width, whole)
    if facts is None and alike:
        raise ValueError(
            f"{source}: {alike}. Give architecture= with timm's name of the model, such as "
            "'deit3_small_patch16_224', or put its config.json beside the file"
        )
    facts = facts or Facts("the file")
    colours = (facts.mean, facts.std) if facts.mean and facts.std else None
    opened = Opened(ours, ViTConfig(), notes=left, normalisation=colours)
    if kind == "huggingface" and facts.eps is None:
        opened.assumed.append("LayerNorm epsilon 1e-6 (config.json would say)")
    _settle(opened, facts, asked, source)
    _note_differences(opened, facts)
    return opened


def _renamed(state: State, kind: str, head: bool) -> State:
    """The names of a known layout, without prefix, as ours, with or without the classifier."""
    if kind == "google":
        return from_google(state, head=head)
    return {n: t for n, t in RENAME[kind](state).items() if head or not n.startswith("head")}


def to_ours(state: State, head: bool = True, image_size: Size | None = None) -> State:
    """A state dict of any known layout in our names, with or without the classifier.

    ``image_size`` (pixels) is the one that its position table is for; None: a square.

    >>> sorted(to_ours({"conv_proj.weight": torch.zeros(1), "heads.head.bias": torch.zeros(2)}))
    ['head.bias', 'patch_embed.proj.weight']
    """
    kind = layout(state)
    renamed = _renamed(parts.inside(state, kind)[0], kind, head)
    if "pos_embed" not in renamed or "blocks.0.mlp.fc1.weight" not in renamed:
        return renamed
    return with_positions(renamed, image_size)[0]


def _settle(opened: Opened, facts: Facts, asked: Wish, source: str | Path) -> None:
    """Fix all that the shapes leave open: by argument, by facts, by the published table, or ask."""
    state = opened.state
    check_shapes(state)
    _check_head(state, asked.num_classes, source)
    size = _agreed("trained_size", asked.trained_size, facts.image_size, facts.origin)
    wanted = known.pair(asked.image_size)
    _one_prefix(opened)
    opened.state, size, assumed = with_positions(state, size, wanted)
    opened.assumed += assumed
    config = infer_config(opened.state, num_heads=1, image_size=size, pool=None)
    heads = _agreed("num_heads", asked.num_heads, facts.num_heads, facts.origin)
    if heads is None:
        heads = published(config)
        opened.assumed.append(f"num_heads={heads} (as published for this size)")
    pool = _pool(opened, facts, asked, config)
    sizes = facts.sizes or {}
    for what, own in (("width", config.embed_dim), ("depth", config.depth)):
        if sizes.get(what) not in (None, own):
            raise ValueError(f"{facts.origin} is for {what} {sizes[what]}, {source} has {own}")
    opened.config = infer_config(opened.state, heads, size, pool)


def _agreed(name: str, value: Any, fact: Any, origin: str) -> Any:
    """What an argument and a source agree on; ``ValueError`` if they differ."""
    value = known.pair(value) if name == "trained_size" and value is not None else value
    if value is not None and fact is not None and value != fact:
        raise ValueError(f"{name}={value!r} must be {fact!r}: {origin} says so")
    return fact if value is None else value


def _one_prefix(opened: Opened) -> None:
    """DeiT's distillation token becomes a register: it is there, and no pool reads it."""
    state = opened.state
    if "dist_token" not in state:
        return
    state["reg_token"] = state.pop("dist_token")
    for name in ("head_dist.weight", "head_dist.bias"):
        state.pop(name, None)
    opened.notes.append(
        "distilled: scores are the class token's; DeiT averages them with those of a second head"
    )


def _pool(opened: Opened, facts: Facts, asked: Wish, config: ViTConfig) -> str:
    """The pooling: an argument for a new head, what is known, or what the parts suggest."""
    value = asked.pool
    if value is not None and value not in ("cls", "mean"):
        raise ValueError(f"pool={value!r} must be 'cls' or 'mean'")
    if asked.num_classes is None:
        pool: Any = _agreed("pool", value, facts.pool, facts.origin)
        if pool not in (None, "cls", "mean"):
            raise ValueError(
                f"{facts.origin} pools its tokens by {pool!r}: our ViT does not. Give num_classes "
                "for a new head"
            )
    else:  # a new head may read what it likes
        pool = value or (facts.pool if facts.pool in ("cls", "mean") else None)
    if pool is None:
        pool = config.pool
        opened.assumed.append(f"pool={pool!r}")
    if pool == "cls" and config.fc_norm:  # for one token, a norm before is a norm after the pooling
        for end in ("weight", "bias"):
            opened.state[f"norm.{end}"] = opened.state.pop(f"fc_norm.{end}")
    return pool


def _note_differences(opened: Opened, facts: Facts) -> None:
    if facts.gelu == "tanh":
        opened.notes.append(
            f"{facts.origin} has GELU by tanh, this model by erf: up to 0.0005 in each activation"
        )
    if facts.gelu is None:
        opened.assumed.append("blocks as in the paper with the exact GELU")
    if facts.eps not in (None, LAYER_NORM_EPS):
        opened.notes.append(f"LayerNorm epsilon {facts.eps:g} there, {LAYER_NORM_EPS:g} here")


def _check_head(state: State, num_classes: int | None, source: str | Path) -> None:
    """Raise ``ValueError`` if a classifier is wanted and there is none that ours can be."""
    if num_classes is not None:
        return
    if "head.weight" not in state:
        raise ValueError(f"{source} has no classifier: give num_classes for a new head")
    reads, width = state["head.weight"].shape[1], state["pos_embed"].shape[-1]
    if reads != width:
        raise ValueError(
            f"{source} has a classifier of {reads} numbers, ours reads {width} (DINOv2's reads "
            "class token and average together): give num_classes for a new head"
        )
    if "head.bias" not in state:
        state["head.bias"] = torch.zeros_like(state["head.weight"][:, 0])
