"""Checks of chapter 8: label smoothing as a second term, and what Adam does to weight decay."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .chapter03 import CLOSE, draws
from .judge import Case, examine


def _terms(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """The ordinary cross-entropy, and the mean of -log p over all classes and images."""
    spread = -logits.log_softmax(dim=1)  # (B, K)
    return spread[range(len(labels)), labels].mean().item(), spread.mean().item()


def _smoothed(logits: Tensor, labels: Tensor, eps: float) -> float:
    plain, spread = _terms(logits, labels)
    return (1 - eps) * plain + eps * spread


def _others_only(logits: Tensor, labels: Tensor, eps: float) -> float:
    """The share goes to all classes but the right one."""
    classes = logits.shape[1]
    plain, spread = _terms(logits, labels)
    others = (classes * spread - plain) / (classes - 1)
    return (1 - eps) * plain + eps * others


SMOOTHED_FAULTS = {
    "the second term is missing: this is the ordinary cross-entropy.":
        lambda logits, labels, eps: _terms(logits, labels)[0],
    "the first term is weighted by 1 - eps, not by 1.":
        lambda logits, labels, eps: _terms(logits, labels)[0] + eps * _terms(logits, labels)[1],
    "eps and 1 - eps are swapped.": lambda logits, labels, eps: _smoothed(logits, labels, 1 - eps),
    "the second term is the mean over the classes; yours is the sum.":
        lambda logits, labels, eps: (1 - eps) * _terms(logits, labels)[0]
        + eps * logits.shape[1] * _terms(logits, labels)[1],
    "all classes get their share of eps, the right one too.": _others_only,
    "the images are added up; the mean over the batch is wanted.":
        lambda logits, labels, eps: len(labels) * _smoothed(logits, labels, eps),
    "the sign is wrong: a loss is the mean of minus log p.":
        lambda logits, labels, eps: -_smoothed(logits, labels, eps),
    "neither term is weighted: 1 - eps belongs to the first, eps to the second.":
        lambda logits, labels, eps: sum(_terms(logits, labels)),
    "the second term is the mean of -log p, not of -p log p.":
        lambda logits, labels, eps: (1 - eps) * _terms(logits, labels)[0]
        - eps * (logits.softmax(1) * logits.log_softmax(1)).sum(dim=1).mean().item(),
}  # fmt: skip


def smoothed_loss(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``smoothed(logits, labels, eps)``: cross-entropy with label smoothing, by two terms.

    ``logits`` are (B, K), ``labels`` (B,); PyTorch's own loss is switched off. Raises ``Wrong``.

    >>> smoothed_loss(lambda logits, labels, eps: 0.0)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: ... is wanted, yours is 0.0. (logits (5, 7), ..., eps=0.1)
    """
    whole, normal = draws(seed)
    cases = []
    for batch, classes, eps in ((5, 7, 0.1), *((whole(2, 8), whole(3, 9), e) for e in (0.2, 0.4))):
        inputs = 2 * normal(batch, classes), normal(batch, classes).argmax(dim=1), eps
        names, want = ("logits", "labels", "eps"), _smoothed(*inputs)
        cases.append(Case(names, inputs, want, SMOOTHED_FAULTS, tolerance=CLOSE))
    forbidden = (nn.CrossEntropyLoss, F.cross_entropy)
    examine("smoothed_loss", answer, cases, forbidden)


def _end(kind: str, gradients: Tensor, start: float = 1.0, **how: float) -> Tensor:
    """The weights (n,) after one step for each row of the gradients (steps, n)."""
    w = nn.Parameter(torch.full_like(gradients[0], start))
    optimizer = getattr(torch.optim, kind)([w], lr=1e-3, **how)
    for row in gradients:
        w.grad = row.clone()
        optimizer.step()
    return w.detach()


def _moved(kind: str, gradients: Tensor, decay: float, start: float = 1.0) -> Tensor:
    without = _end(kind, gradients, start, weight_decay=0)
    return _end(kind, gradients, start, weight_decay=decay) - without


OTHER = {"Adam": "AdamW", "AdamW": "Adam"}
MOVED_FAULTS = {
    "these are the weights at the end; subtract a run without decay and with the same gradients.":
        lambda kind, gradients, decay: _end(kind, gradients, weight_decay=decay),
    "this is the run without decay; subtract it from the run with decay.":
        lambda kind, gradients, decay: _end(kind, gradients, weight_decay=0),
    "the difference is the wrong way round: with decay minus without.":
        lambda kind, gradients, decay: -_moved(kind, gradients, decay),
    "the weights start at 1; at 0 there is nothing to decay.":
        lambda kind, gradients, decay: _moved(kind, gradients, decay, start=0.0),
    "the other run has a decay too: weight_decay=0 must be said, AdamW takes 0.01 else.":
        lambda kind, gradients, decay: _end(kind, gradients, weight_decay=decay)
        - _end(kind, gradients),
    "that is what the other of the two optimisers does: use `kind`.":
        lambda kind, gradients, decay: _moved(OTHER[kind], gradients, decay),
    "one step is taken; there is one for each row of the gradients.":
        lambda kind, gradients, decay: _moved(kind, gradients[:1], decay),
    "the gradients come in the order of their rows, the first one first.":
        lambda kind, gradients, decay: _moved(kind, gradients.flip(0), decay),
}  # fmt: skip


def _call_moved(answer: Callable[..., Any], kind: str, gradients: Tensor, decay: float) -> Any:
    return answer(getattr(torch.optim, kind), gradients, decay)


def decay_alone(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``decay_alone(kind, gradients, decay)``: how far the decay alone moves weights of 1.

    ``kind`` is ``torch.optim.Adam`` or ``AdamW``, with a rate of 0.001; ``gradients`` are
    (steps, n), right is (n,). Raises ``Wrong``.

    >>> decay_alone(lambda kind, gradients, decay: gradients[0])
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0] ... (kind=Adam, ...
    """
    _, normal = draws(seed)
    cases = []
    for kind, steps, decay in (("Adam", 200, 0.1), ("AdamW", 200, 0.1), ("AdamW", 100, 0.3)):
        gradients = normal(steps, 3) * torch.tensor([1.0, 100.0, 0.1], dtype=torch.float64)
        inputs = kind, gradients, decay
        names, want = ("kind", "gradients", "decay"), _moved(*inputs)
        cases.append(Case(names, inputs, want, MOVED_FAULTS, _call_moved, tolerance=1e-8))
    examine("decay_alone", answer, cases)
