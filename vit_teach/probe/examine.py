"""Attention of any model on your own pictures, beside its controls. Chapter 14.

Source of the measures: ViT paper (arXiv 2010.11929), section 4.5 and appendix D.7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import weights, zoo
from ..arguments import SEEDS, require_tensor, require_type, whole
from ..data.imageset import normalise
from ..data.pictures import fit, read_picture
from ..vit.model import VisionTransformer, ViTConfig
from ..vit.patches import to_pair
from ..weights import normalisation_of
from .attention import (
    attention_distance,
    collect,
    entropy,
    outlier_tokens,
    reader,
    readout_map,
    rollout,
    token_norms,
    uniform_distance,
)

# --- Models and pictures --------------------------------------------------------------------------


def untrained_twin(model: VisionTransformer, seed: int = 0) -> VisionTransformer:
    """The same model before training: its configuration with fresh weights drawn from ``seed``.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> untrained_twin(model).config == model.config
    True
    """
    require_type("model", model, VisionTransformer, "a ViT or a hybrid")
    whole("seed", seed, *SEEDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return zoo.build(model.config).eval()


def with_controls(
    name: str = "cifar-vit-20min", shuffled: str = "cifar-vit-shuffled-labels"
) -> dict[str, VisionTransformer]:
    """One of the book's trained models beside its two controls, by name, in evaluation mode.

    "trained" is the recorded model; "shuffled labels" had the same training with labels that were
    dealt out at random; "untrained" had none. Raises ``ValueError`` if a file is missing or the two
    trained models differ in their configuration.

    >>> list(with_controls(shuffled="cifar-vit-20min"))
    ['trained', 'shuffled labels', 'untrained']
    """
    trained, other = weights.recorded(name), weights.recorded(shuffled)
    if not isinstance(trained, VisionTransformer) or not isinstance(other, VisionTransformer):
        raise ValueError(f"name={name!r} and shuffled={shuffled!r} must be Vision Transformers")
    if other.config != trained.config:
        raise ValueError(f"shuffled={shuffled!r} must have the configuration of {name!r}")
    return {"trained": trained, "shuffled labels": other, "untrained": untrained_twin(trained)}


def fit_picture(source: str | Path | Tensor, config: ViTConfig) -> Tensor:
    """Any picture as a model of this configuration reads it: uint8 (3, H, W).

    ``source`` is a file, or a uint8 tensor (3, height, width). The largest centred piece of the
    model's shape is resized. Raises ``ValueError`` for a tensor of another kind.

    >>> fit_picture(torch.zeros(3, 50, 40, dtype=torch.uint8), zoo.preset("CIFAR-ViT-Nano")).shape
    torch.Size([3, 32, 32])
    """
    require_type("config", config, ViTConfig, "a ViT's configuration")
    if isinstance(source, (str, Path)):
        return read_picture(source, to_pair(config.image_size))
    if not isinstance(source, Tensor):
        raise ValueError(f"source={source!r} must be a file or a uint8 tensor (3, H, W)")
    if source.dtype != torch.uint8 or source.ndim != 3 or len(source) != 3:
        kind = f"{source.dtype} of shape {tuple(source.shape)}"
        raise ValueError(f"source is {kind}, it must be a file or a uint8 tensor (3, H, W)")
    from PIL import Image  # slow to import

    pixels = source.permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, 3)
    return fit(Image.fromarray(pixels), to_pair(config.image_size))


# --- All at once ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Findings:
    """What :func:`examine` measured, for B images, L blocks, H heads and T tokens.

    ``weights`` (B, L, H, T, T); ``distance`` (B, L, H) in pixels and ``uniform``, the same number
    for a uniform head; ``entropy`` (B, L, H), the mean over rows in nats, at
    most ``most_entropy`` = ln T; ``maps`` (B, L, H, gh, gw) and ``rollout`` (B, gh, gw), read by
    ``reads``; ``norms`` (L + 1, B, N) and ``outliers``, booleans of the same shape.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> examine(model, torch.zeros(1, 3, 32, 32)).reads
    'mean of all patches'
    """

    weights: Tensor
    distance: Tensor
    uniform: float
    entropy: Tensor
    most_entropy: float
    maps: Tensor
    rollout: Tensor
    reads: str
    norms: Tensor
    outliers: Tensor


def check_images(model: VisionTransformer, images: Tensor) -> None:
    """Raise ``ValueError`` unless ``images`` (B, C, H, W) are of the model's colours and size.

    >>> check_images(zoo.build(zoo.preset("CIFAR-ViT-Nano")), torch.zeros(1, 3, 32, 32))
    """
    config = model.config
    wanted = (config.in_channels, *to_pair(config.image_size))
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        more = ""
        if images.ndim == 4 and images.shape[1] != config.in_channels:
            more = f": vt.weights.load(..., in_channels={images.shape[1]}) changes the colours"
        raise ValueError(
            f"pictures of shape {tuple(images.shape)} must be (B, {', '.join(map(str, wanted))}) "
            f"for this model{more}"
        )


def examine(
    model: VisionTransformer,
    pictures: str | Path | Tensor,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Findings:
    """Every measure of this module on any ViT or hybrid, by one call; returns :class:`Findings`.

    ``pictures`` are images (B, C, H, W) as the model takes them (float), or a picture of yours, a
    file or a uint8 tensor (3, H, W), which is resized and normalised with ``mean`` and ``std``
    (None: as the model's own pictures were, :func:`vit_teach.weights.normalisation_of`). Keeps all
    weights: for many pictures take :func:`distances`. Raises ``ValueError`` for another kind of
    model, or pictures of other colours than it takes.

    >>> picture = torch.zeros(3, 50, 40, dtype=torch.uint8)
    >>> examine(zoo.build(zoo.preset("CIFAR-Hybrid-Nano")), picture).distance.shape
    torch.Size([1, 4, 4])
    """
    require_type("model", model, VisionTransformer, "a ViT or a hybrid")
    if isinstance(pictures, Tensor) and pictures.is_floating_point():
        images = pictures  # (B, C, H, W)
    else:
        if isinstance(pictures, Tensor):
            require_tensor("pictures", pictures, "(3, H, W)", torch.uint8)
        own = normalisation_of(model)
        images = normalise(
            fit_picture(pictures, model.config)[None],
            own[0] if mean is None else mean,
            own[1] if std is None else std,
        )
    check_images(model, images)
    weights, config = collect(model, images), model.config
    norms = token_norms(model, images)
    return Findings(
        weights=weights,
        distance=attention_distance(weights, config.grid_size, config.patch_size),
        uniform=uniform_distance(config.grid_size, config.patch_size),
        entropy=entropy(weights).mean(dim=-1),
        most_entropy=torch.tensor(float(weights.shape[-1])).log().item(),
        maps=readout_map(weights, config),
        rollout=readout_map(rollout(weights), config),
        reads=reader(config),
        norms=norms,
        outliers=outlier_tokens(norms),
    )
