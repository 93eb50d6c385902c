"""Attention of any model on your own pictures, beside its controls. Chapter 14."""

from dataclasses import dataclass
from pathlib import Path

import torch

from .. import weights, zoo
from ..data.imageset import MEAN, STD, normalise
from ..data.pictures import fit, read_picture
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


def untrained_twin(model, seed=0):
    """The same model before training: its configuration with fresh weights drawn from ``seed``.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> untrained_twin(model).config == model.config
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return zoo.build(model.config).eval()


def with_controls(name="cifar-vit-20min", shuffled="cifar-vit-shuffled-labels"):
    """One of the book's trained models beside its two controls, by name, in evaluation mode.

    "trained" is the recorded model; "shuffled labels" had the same training with labels that were
    dealt out at random; "untrained" had none. Raises ``ValueError`` if a file is missing or the two
    trained models differ in their configuration.

    >>> list(with_controls(shuffled="cifar-vit-20min"))
    ['trained', 'shuffled labels', 'untrained']
    """
    trained, other = weights.recorded(name), weights.recorded(shuffled)
    if other.config != trained.config:
        raise ValueError(f"shuffled={shuffled!r} must have the configuration of {name!r}")
    return {"trained": trained, "shuffled labels": other, "untrained": untrained_twin(trained)}


def fit_picture(source, config):
    """Any picture as a model of this configuration reads it: uint8 (3, H, W).

    ``source`` is a file, or a uint8 tensor (3, height, width). The largest centred piece of the
    model's shape is resized. Raises ``ValueError`` for a tensor of another kind.

    >>> fit_picture(torch.zeros(3, 50, 40, dtype=torch.uint8), zoo.preset("CIFAR-ViT-Nano")).shape
    torch.Size([3, 32, 32])
    """
    if isinstance(source, (str, Path)):
        return read_picture(Path(source), config.image_size)
    if source.dtype != torch.uint8 or source.ndim != 3 or len(source) != 3:
        kind = f"{source.dtype} of shape {tuple(source.shape)}"
        raise ValueError(f"source is {kind}, it must be a file or a uint8 tensor (3, H, W)")
    from PIL import Image  # slow to import

    pixels = source.permute(1, 2, 0).contiguous().cpu().numpy()  # (H, W, 3)
    return fit(Image.fromarray(pixels), config.image_size)


# --- All at once ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Findings:
    """What :func:`examine` measured, for B images, L blocks, H heads and T tokens.

    ``weights`` (B, L, H, T, T); ``distance`` (B, L, H) in pixels and ``uniform``, the same number
    for a head that looks everywhere alike; ``entropy`` (B, L, H), the mean over rows in nats, at
    most ``most_entropy`` = ln T; ``maps`` (B, L, H, gh, gw) and ``rollout`` (B, gh, gw), read by
    ``reads``; ``norms`` (L + 1, B, N) and ``outliers``, booleans alike.

    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> examine(model, torch.zeros(1, 3, 32, 32)).reads
    'mean of all patches'
    """

    weights: torch.Tensor
    distance: torch.Tensor
    uniform: float
    entropy: torch.Tensor
    most_entropy: float
    maps: torch.Tensor
    rollout: torch.Tensor
    reads: str
    norms: torch.Tensor
    outliers: torch.Tensor


def examine(model, pictures, mean=MEAN, std=STD):
    """Every measure of this module on any ViT or hybrid, by one call; returns :class:`Findings`.

    ``pictures`` are images (B, C, H, W) as the model takes them (float), or a picture of yours, a
    file or a uint8 tensor (3, H, W), which is resized and normalised with ``mean`` and ``std``
    (CIFAR's for the book's models; (0.5, 0.5, 0.5) twice for Google's weights). Keeps all weights:
    for many pictures take :func:`distances`. Raises ``ValueError`` for another kind of model.

    >>> picture = torch.zeros(3, 50, 40, dtype=torch.uint8)
    >>> examine(zoo.build(zoo.preset("CIFAR-Hybrid-Nano")), picture).distance.shape
    torch.Size([1, 4, 4])
    """
    if not torch.is_tensor(pictures) or not pictures.is_floating_point():
        pictures = normalise(fit_picture(pictures, model.config)[None], mean, std)
    weights, config = collect(model, pictures), model.config
    norms = token_norms(model, pictures)
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
