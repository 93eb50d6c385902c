"""What the shapes of a model's weights leave open: heads, pooling, GELU, epsilon, colours.

Two models with equal shapes can compute different things. What is the case stands in a
``config.json`` or in the library's own model; the number of heads also follows, for sizes that were
published with one number of heads only, from :data:`HEADS`.

Chapter 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..vit.encoder import LAYER_NORM_EPS
from .opening import beside

# (width, depth): heads, of the published plain ViTs that have a class token. Sources: ViT paper,
# table 1; "Scaling vision transformers", table 2; DeiT; DeiT-III; DINOv2; timm's size names.
HEADS = {
    (192, 12): 3, (384, 12): 6, (512, 12): 8, (768, 12): 12, (896, 12): 14, (1024, 24): 16,
    (1152, 27): 16, (1280, 32): 16, (1408, 40): 16, (1664, 48): 16,
}  # fmt: skip
PATCHES = (8, 14, 16, 32)  # the patch sizes of those models
MODEL_TYPES = ("vit", "deit", "dinov2", "dinov2_with_registers", "vit_mae", "vit_msn")
LARGEST = {"depth": 200}  # of what a config.json may ask for; 100,000 of anything else
TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")


@dataclass(frozen=True)
class Facts:
    """What a source says beyond the weights; None stands for "it does not say".

    ``image_size`` is (height, width) in pixels, of the position table. ``gelu`` is "erf" or "tanh".
    ``mean`` and ``std`` are those of the pictures the model was trained on, in 0 to 1.

    >>> Facts("config.json", num_heads=6).pool is None
    True
    """

    origin: str
    num_heads: int | None = None
    pool: str | None = None
    image_size: tuple[int, int] | None = None
    gelu: str | None = None
    eps: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sizes: dict[str, Any] | None = (
        None  # width, depth: what the weights must have if this is about them
    )


def published_heads(dim: int, depth: int, patch: int, class_token: bool = True) -> int | None:
    """The number of heads of the published models of this size, or None.

    Without a class token the table says nothing: timm's ``vit_base_patch16_gap_224`` has 16 heads
    and ``vit_base_patch16_siglip_gap_224`` has 12, at the same width, depth and patch.

    >>> published_heads(1280, 32, 14), published_heads(768, 12, 16, class_token=False)
    (16, None)
    """
    return HEADS.get((dim, depth)) if class_token and patch in PATCHES else None


def pair(size: Any) -> Any:
    """A size as (height, width): a single number stands for both.

    >>> pair(224), pair([28, 112])
    ((224, 224), (28, 112))
    """
    if isinstance(size, str):
        return size
    return (size, size) if isinstance(size, int) else tuple(size) if size is not None else None


def _numbers(values: Iterable[Any] | None) -> tuple[float, ...] | None:
    return tuple(float(v) for v in values) if values is not None else None


def of_config(
    config: Mapping[str, Any],
    colours: Mapping[str, Any] | None = None,
    origin: str = "config.json",
) -> Facts:
    """What a ``config.json`` says: one of Hugging Face's ViTs, or timm's (needs timm).

    ``colours`` is the content of ``preprocessor_config.json``, or None. Raises ``ValueError`` for
    another kind of model.

    >>> of_config({"model_type": "vit", "num_attention_heads": 16, "hidden_act": "gelu"}).num_heads
    16
    """
    if "architecture" in config:
        return of_timm_config(config, origin)
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(f"{origin}: model_type={kind!r} must be one of {MODEL_TYPES}: a plain ViT")
    act, heads = config.get("hidden_act", "gelu"), config.get("num_attention_heads")
    if act != "gelu" and act not in TANH:
        raise ValueError(f"{origin}: hidden_act={act!r} must be 'gelu': our MLP has no other")
    if config.get("use_swiglu_ffn"):
        raise ValueError(f"{origin}: use_swiglu_ffn must be false: our MLP has no gate (SwiGLU)")
    if heads is not None and (type(heads) is not int or heads < 1):
        raise ValueError(f"{origin}: num_attention_heads={heads!r} must be a positive integer")
    colours = colours or {}
    default = 1e-6 if kind.startswith("dinov2") else 1e-12
    try:
        return Facts(
            origin, heads, "cls", pair(config.get("image_size")),
            "erf" if act == "gelu" else "tanh",
            float(config.get("layer_norm_eps", default)),
            _numbers(colours.get("image_mean")), _numbers(colours.get("image_std")),
            {"width": config.get("hidden_size"), "depth": config.get("num_hidden_layers")},
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin} does not describe a ViT: {error}") from error


def of_timm_config(config: Mapping[str, Any], origin: str = "config.json") -> Facts:
    """What timm's ``config.json`` says, by the model of its name, without weights.

    Raises ``ValueError`` if timm is missing or does not know the name.

    >>> of_timm_config({"architecture": "vit_nonsense"})
    Traceback (most recent call last):
    ...
    ValueError: config.json: timm cannot build architecture='vit_nonsense': ...
    """
    name = config["architecture"]
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            f"{origin}: architecture={name!r} is read by timm: pip install timm"
        ) from (error)
    arguments = config.get("model_args") or {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"{origin}: architecture and model_args must be a name and an object")
    settings = dict(arguments)
    settings |= {k: config[k] for k in ("num_classes", "global_pool") if k in config}
    for key, value in settings.items():  # timm would build any number of blocks
        if isinstance(value, (int, float)) and not -1 <= value <= LARGEST.get(key, 100_000):
            raise ValueError(f"{origin}: {key}={value} is more than any ViT has")
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, **settings)
    except Exception as error:  # timm has many ways to say no
        raise ValueError(f"{origin}: timm cannot build architecture={name!r}: {error}") from error
    facts = of_timm(model, f"timm's {name}")
    colours = config.get("pretrained_cfg") or {}
    if not isinstance(colours, dict) or "mean" not in colours:
        return facts
    return replace(facts, mean=_numbers(colours["mean"]), std=_numbers(colours.get("std")))


def of_timm(model: Any, origin: str = "timm's model") -> Facts:
    """What a timm model says about itself.

    Raises ``ValueError``, with the reason, for one that computes what our ViT does not.

    >>> of_timm(torch.nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    ValueError: timm's model is of the class Linear, not a plain VisionTransformer
    """
    kind = type(model).__name__
    if kind not in ("VisionTransformer", "VisionTransformerDistilled"):
        raise ValueError(f"{origin} is of the class {kind}, not a plain VisionTransformer")
    block = model.blocks[0]
    if type(block).__name__ != "Block":
        raise ValueError(
            f"{origin} has blocks of the class {type(block).__name__}: other equations"
        )
    if type(block.attn).__name__ != "Attention":
        raise ValueError(f"{origin} has {type(block.attn).__name__} in place of plain attention")
    if not isinstance(block.norm1, torch.nn.LayerNorm):
        raise ValueError(f"{origin} has {type(block.norm1).__name__} in place of LayerNorm")
    if type(block.mlp).__name__ != "Mlp":
        raise ValueError(f"{origin} has {type(block.mlp).__name__} as its MLP, perhaps with a gate")
    act = type(block.mlp.act).__name__
    tanh = act == "GELUTanh" or getattr(block.mlp.act, "approximate", None) == "tanh"
    if act not in ("GELU", "GELUTanh"):
        raise ValueError(f"{origin} has the activation {act}, not GELU")
    pool = {"token": "cls", "avg": "mean"}.get(model.global_pool, model.global_pool)
    if pool == "mean" and model.pool_include_prefix and model.num_prefix_tokens:
        pool = "average with class token"
    colours = getattr(model, "pretrained_cfg", None) or {}
    return Facts(
        origin, block.attn.num_heads, pool, pair(model.patch_embed.img_size),
        "tanh" if tanh else "erf", block.norm1.eps,
        _numbers(colours.get("mean")), _numbers(colours.get("std")),
        {"width": model.embed_dim, "depth": len(model.blocks)},
    )  # fmt: skip


def of_torchvision(
    model: Any, colours: object = None, origin: str = "torchvision's model"
) -> Facts:
    """What a torchvision ViT says about itself; ``colours`` are its weights' transforms.

    Raises ``ValueError`` for another model.

    >>> of_torchvision(torch.nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    ValueError: torchvision's model is of the class Linear, not VisionTransformer
    """
    if type(model).__name__ != "VisionTransformer":
        raise ValueError(f"{origin} is of the class {type(model).__name__}, not VisionTransformer")
    return Facts(
        origin, model.encoder.layers[0].num_heads, "cls", pair(model.image_size), "erf",
        model.encoder.ln.eps, _numbers(getattr(colours, "mean", None)),
        _numbers(getattr(colours, "std", None)),
    )  # fmt: skip


def of_google(arrays: Mapping[str, Any]) -> Facts:
    """What Google's arrays say: their kernels have an axis for the heads; the code uses tanh.

    >>> import numpy as np
    >>> kernel = np.zeros((320, 4, 80))
    >>> name = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
    >>> of_google({name: kernel}).num_heads
    4
    """
    kernels = [a for n, a in arrays.items() if n.endswith("/query/kernel") and "MAPHead" not in n]
    heads = kernels[0].shape[-2] if kernels and kernels[0].ndim in (3, 4) else None
    pool = "cls" if any(n.split("/")[-1] == "cls" for n in arrays) else "mean"
    return Facts("the file", heads, pool, gelu="tanh", eps=LAYER_NORM_EPS)


def of_neighbour(path: str | Path, width: int | None, whole: bool) -> Facts | None:
    """The facts in the config.json beside a file, or None.

    In a folder of its own (``whole``) it must be about the model; beside a single file it may be
    about another one, which its width shows.

    >>> of_neighbour("no-such-folder/model.safetensors", 192, whole=False) is None
    True
    """
    config = beside(path, "config.json")
    if config is None:
        return None
    size = config.get("hidden_size", config.get("num_features", width))
    about = "architecture" in config or "model_type" in config
    if not whole and (not about or size != width):
        return None
    return of_config(config, beside(path, "preprocessor_config.json"))
