"""The optimiser Muon: PyTorch's, and as fast where a processor has no units for bfloat16.

Chapter 8 builds it; the page "Muon" after chapter 9 asks what it is worth.

Muon replaces the gradient of a matrix by the nearest one whose singular values are about 1, through
five rounds of matrix products. PyTorch takes them in bfloat16, one matrix after the other. A
processor that has to imitate bfloat16 spends up to two thirds of a small model's training step on
them, and one that multiplies it has too little to do in a single small product.

Source: Jordan et al. 2024; the size of a step: "Muon is scalable for LLM training", arXiv
2502.16982.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..arguments import finite
from .device import pick_precision


def orthogonalise(
    matrices: Tensor,
    coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    rounds: int = 5,
    eps: float = 1e-7,
) -> Tensor:
    """Pull the singular values of matrices (n, A, B) towards 1 and keep their singular vectors.

    Returns (n, A, B) in the same number type: singular values of about 0.7 to 1.2 where they were
    not tiny. A round maps each singular value s to a s + b s^3 + c s^5, for the ``coefficients``
    (a, b, c). Raises ``ValueError`` unless there are three axes.

    >>> small = 0.1 * torch.eye(2, 3)[None]
    >>> [round(s, 1) for s in torch.linalg.svdvals(orthogonalise(small))[0].tolist()]
    [1.1, 1.1]
    """
    if matrices.ndim != 3:
        raise ValueError(f"matrices of shape {tuple(matrices.shape)} must have 3 axes: (n, A, B)")
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # (n, short, long): the products are cheaper
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)  # no singular value is above 1 now
    for _ in range(rounds):
        square = x @ x.mT  # (n, short, short), singular values squared
        factor = torch.baddbmm(square, square, square, beta=b, alpha=c)  # (n, short, short)
        x = torch.baddbmm(x, factor, x, beta=a)  # (n, short, long)
    return x.mT if tall else x


def check_settings(weights: Sequence[Tensor], axes: int, lr: float, weight_decay: float) -> None:
    """Raise ``ValueError`` unless Muon can be made for ``weights`` of so many ``axes``.

    >>> check_settings([torch.zeros(2)], 2, 0.1, 0.0)
    Traceback (most recent call last):
    ...
    ValueError: weights must be a list of tensors with 2 axes
    """
    good = isinstance(weights, (list, tuple)) and len(weights) > 0
    if not good or any(not isinstance(w, Tensor) or w.ndim != axes for w in weights):
        raise ValueError(f"weights must be a list of tensors with {axes} axes")
    finite("lr", lr, 0)
    finite("weight_decay", weight_decay, 0)


class Muon(torch.optim.Muon):
    """``torch.optim.Muon`` for ``weights``, each (A, B), with steps of AdamW's size.

    The five rounds run on all matrices of one shape together: in bfloat16, as PyTorch's do, where
    the hardware multiplies it, elsewhere in float32. It is PyTorch's step up to the rounding of
    bfloat16, and faster. ``lr`` is the rate per step, ``weight_decay`` the pull towards zero per
    unit of it. Raises ``ValueError`` for a weight that is not a matrix.

    >>> weight = torch.nn.Parameter(torch.zeros(4, 3))
    >>> weight.grad = torch.eye(4, 3)
    >>> Muon([weight], lr=0.1, weight_decay=0.0).step()
    >>> weight.shape, bool((weight.diagonal() < -0.02).all())
    (torch.Size([4, 3]), True)
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        check_settings(weights, 2, lr, weight_decay)
        super().__init__(weights, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @property
    def products(self) -> torch.dtype:
        """The number type of the rounds' matrix products."""
        precision = pick_precision("auto", self.param_groups[0]["params"][0].device)
        return torch.bfloat16 if precision == "bfloat16" else torch.float32

    @torch.no_grad()
    def step(  # type: ignore[override]  # PyTorch writes two overloads for these two cases
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """One step; ``closure``, as everywhere in PyTorch, recomputes the loss and returns it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(weight.shape, []).append(weight)
            for weights in by_shape.values():
                self.move(weights, group)
        return loss

    def move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Move ``weights``, all of one shape, by one step with the settings of their ``group``."""
        momentum, lr = group["momentum"], group["lr"]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        means = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, means, momentum)  # Nesterov: the new one twice
        # To the type of the products before they are stacked: fewer bytes to copy.
        matrices = torch.stack([mean.to(self.products) for mean in ahead]).flatten(2)  # (n, A, B)
        steps = orthogonalise(matrices, group["ns_coefficients"], group["ns_steps"], group["eps"])
        torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
        size = 0.2 * max(matrices.shape[1:]) ** 0.5  # entries of about 0.2, as AdamW's steps have
        steps = steps.reshape(len(weights), *weights[0].shape)
        torch._foreach_add_(weights, list(steps), alpha=-lr * size)


class FilterMuon(Muon):
    """:class:`Muon` for the filters of convolutions, each weight (out, in, k, k).

    A weight counts as the matrix (out, in k k): a row for each filter. PyTorch's optimiser takes no
    weight of four axes, so the rounds are always ours, in float32. ``lr`` and ``weight_decay`` are
    as in :class:`Muon`.

    >>> weight = torch.nn.Parameter(torch.zeros(4, 2, 3, 3))
    >>> weight.grad = torch.rand(4, 2, 3, 3)
    >>> FilterMuon([weight], lr=0.1, weight_decay=0.0).step()
    >>> round(torch.linalg.svdvals(weight.detach().flatten(1)).max().item(), 1)
    0.1
    """

    def __init__(self, weights: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        check_settings(weights, 4, lr, weight_decay)
        # Muon's settings, but not its check that a weight has two axes.
        settings = Muon([torch.nn.Parameter(torch.zeros(1, 1))], lr, weight_decay).defaults
        torch.optim.Optimizer.__init__(self, weights, settings)

    @property
    def products(self) -> torch.dtype:
        """The number type of the rounds' matrix products."""
        return torch.float32
