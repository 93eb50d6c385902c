"""Checks of chapter 14: a head that looks near, and two models with the same maps."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..probe.attention import collect
from ..vit.model import VisionTransformer, ViTConfig
from .chapter03 import draws
from .isolate import Wrong
from .judge import Case, examine

CONFIG = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=2, num_classes=5)


def _apart(grid: tuple[int, int], patch: int) -> Tensor:
    """The distances of all patches in pixels, (N, N)."""
    n = torch.arange(grid[0] * grid[1])
    centres = torch.stack([n // grid[1], n % grid[1]], dim=1).double() * patch
    return torch.cdist(centres, centres)


def _far(weights: Tensor, apart: Tensor) -> float:
    return (weights * apart).sum(dim=1).mean().item()


def _scale(grid: tuple[int, int], patch: int, goal: float | None = None) -> float:
    """The s at which the head looks ``goal`` pixels far, by default half of the even head."""
    apart = _apart(grid, patch)
    goal = apart.mean().item() / 2 if goal is None else goal
    low, high = 1e-3 * patch, 1e4 * patch
    for _ in range(100):
        middle = math.sqrt(low * high)
        near = _far((-apart / middle).softmax(dim=1), apart) < goal
        low, high = (middle, high) if near else (low, middle)
    return low


def _entropies(grid: tuple[int, int], patch: int) -> Tensor:
    weights = (-_apart(grid, patch) / _scale(grid, patch)).softmax(dim=1)
    return torch.special.entr(weights).sum(dim=1)  # (N,), in nats


def _pair(s: float, tokens: float) -> Tensor:
    return torch.tensor([s, tokens], dtype=torch.float64)


def _near(grid: tuple[int, int], patch: int) -> Tensor:
    return _pair(_scale(grid, patch), _entropies(grid, patch).mean().exp().item())


def _without_itself(grid: tuple[int, int], patch: int) -> Tensor:
    """With the line of a head that looks at all patches but its own."""
    apart = _apart(grid, patch)
    s = _scale(grid, patch, goal=apart.sum().item() / len(apart) / (len(apart) - 1) / 2)
    weights = (-apart / s).softmax(dim=1)
    return _pair(s, torch.special.entr(weights).sum(dim=1).mean().exp().item())


NEAR_FAULTS = {
    "these are nats: as many tokens as e to the power of the entropy share the weight.":
        lambda g, p: _pair(_scale(g, p), _entropies(g, p).mean().item()),
    "the entropy is in nats: take e to its power, not 2.":
        lambda g, p: _pair(_scale(g, p), 2 ** _entropies(g, p).mean().item()),
    "average the entropies first, then take e to the power of it.":
        lambda g, p: _pair(_scale(g, p), _entropies(g, p).exp().mean().item()),
    "s is in pixels; yours counts patches.":
        lambda g, p: _pair(_scale(g, p) / p, _near(g, p)[1].item()),
    "you return the tokens first and s second.": lambda g, p: _near(g, p).flip(0),
    "these are all tokens of the grid: the weights of this head are not equal.":
        lambda g, p: _pair(_scale(g, p), float(g[0] * g[1])),
    "a head that looks everywhere alike looks at its own patch too, at a distance of 0.":
        _without_itself,
}  # fmt: skip


def _call_near(answer: Callable[..., Any], grid: tuple[int, int], patch: int) -> Any:
    found = answer(grid, patch)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        return found
    return _pair(float(found[0]), float(found[1]))


def near_head(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``near_head(grid, patch)``: (s in pixels, tokens that share the weight).

    The head is softmax(-distance / s); at this s its mean distance is half of the even head's.
    Three digits are enough. Raises ``Wrong``.

    >>> near_head(lambda grid, patch: (1.0, 1.0))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0] ... is wanted, yours is 1. ...
    """
    whole, _ = draws(seed)
    questions = [((8, 8), 4), ((3, 6), 16), ((whole(4, 7), whole(3, 8)), whole(2, 20))]
    cases = [
        Case(("grid", "patch"), q, _near(*q), NEAR_FAULTS, _call_near, tolerance=2e-3)
        for q in questions
    ]
    examine("near_head", answer, cases)


# --- Two models with the same maps ----------


def _model(seed: int) -> VisionTransformer:
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # what the layers draw for themselves
        model = VisionTransformer(CONFIG)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=random)
    return model.double().eval()


def _seen(model: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """(all attention weights (B, L, H, T, T), logits (B, K))."""
    with torch.no_grad():
        return collect(model, images), model(images)


def _call_changed(answer: Callable[..., Any], images: Tensor, seed: int) -> Any:
    model = _model(seed)
    changed = answer(model)
    if not isinstance(changed, VisionTransformer):
        kind = type(changed).__name__
        raise Wrong(f"a model is wanted, your function returns a value of type {kind}.")
    maps, logits = _seen(changed.double().eval(), images)
    return maps, logits, _seen(model, images)[1]


def _verdict(images: Tensor, seed: int) -> Callable[[Any], str | None]:
    """What is wrong with (maps, logits, logits of the model that was given), in words."""
    maps, logits = _seen(_model(seed), images)

    def rule(got: tuple[Tensor, Tensor, Tensor]) -> str | None:
        if any(not isinstance(part, Tensor) for part in got) or got[0].shape != maps.shape:
            return "the maps have another shape: keep the model's sizes."
        if not torch.equal(got[2], logits):
            return "you changed the model that you were given: work on a copy."
        same = [bool(torch.equal(got[0][:, n], maps[:, n])) for n in range(CONFIG.depth)]
        if not all(same):
            first = same.index(False)
            return (f"the attention weights are others, from block {first} on (counted from 0): "
                    "change what comes behind the last weights.")  # fmt: skip
        if got[1].shape != logits.shape:
            return "the logits have another shape: the classes must stay."
        if got[1].isnan().any():
            return "the logits are no numbers (NaN)."
        if (got[1] - logits).abs().max() < 0.01:
            return "the answers are the same: the logits must change."
        return None

    return rule


def same_maps(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``other_answer(model)``: a changed copy of a ViT, equal in every attention weight.

    Its logits must be others, by 0.01 at least. Raises ``Wrong``.

    >>> same_maps(lambda model: model)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: the answers are the same: the logits must change. ...
    """
    whole, normal = draws(seed)
    cases = []
    for batch in (2, 3):
        inputs = normal(batch, 3, 8, 8), whole(0, 1000)
        kind = (*_seen(_model(inputs[1]), inputs[0]), torch.zeros(0))
        cases.append(Case(("images", "seed"), inputs, kind, {}, _call_changed,
                          rule=_verdict(*inputs), free=True))  # fmt: skip
    examine("same_maps", answer, cases)
