"""Check of chapter 12: the first step of a head of zeros."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .chapter03 import CLOSE, draws
from .judge import Case, examine


def _pushes(labels: Tensor, classes: int, share: float | None = None) -> Tensor:
    """p - t for each image and class, (B, K): p is one over K in a head of zeros."""
    targets = F.one_hot(labels, classes).double()
    return (1 / classes if share is None else share) - targets


def _step(
    features: Tensor, labels: Tensor, classes: int, rate: float, share: float | None = None
) -> Tensor:
    return -rate * _pushes(labels, classes, share).T @ features / len(labels)


HEAD_FAULTS = {
    "the sign is wrong: a step goes down the gradient.":
        lambda y, labels, k, rate: -_step(y, labels, k, rate),
    "the probabilities are missing: each row is pushed by p - t, with p = 1 / K.":
        lambda y, labels, k, rate: _step(y, labels, k, rate, share=0),
    "the targets are missing: each row is pushed by p - t.":
        lambda y, labels, k, rate: (-rate / k * y.mean(dim=0)).expand(k, -1),
    "the gradient is the mean over the images; yours is their sum.":
        lambda y, labels, k, rate: len(y) * _step(y, labels, k, rate),
    "this is the gradient; the step is minus the rate times it.":
        lambda y, labels, k, rate: _step(y, labels, k, -1),
    "the rate is missing.": lambda y, labels, k, rate: _step(y, labels, k, 1),
    "the matrix is turned: a row for each class is wanted.":
        lambda y, labels, k, rate: _step(y, labels, k, rate).T,
    "p is 1 / K, one over the number of classes, not of images.":
        lambda y, labels, k, rate: _step(y, labels, k, rate, share=1 / len(y)),
    "the mean of the gradient is over the images only, not over the classes too.":
        lambda y, labels, k, rate: _step(y, labels, k, rate) / k,
}  # fmt: skip


def head_step(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``head_step(features, labels, classes, rate)``: a zero head's weight after one step.

    ``features`` (B, D) come from the body, ``labels`` are (B,); right is (K, D) after a step of
    gradient descent on the cross-entropy. Raises ``Wrong``.

    >>> head_step(lambda features, labels, classes, rate: features)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (3, 4) is wanted, yours is (6, 4) ...
    """
    whole, normal = draws(seed)
    sizes = [(6, 4, 3), (7, 3, 5)] + [(whole(5, 9), whole(2, 4), whole(2, 4)) for _ in "1234"]
    cases = []
    for number, (batch, width, classes) in enumerate(sizes):
        labels = normal(batch, classes).argmax(dim=1)
        labels = labels * 0 if number == 1 else labels  # one class only: the others stay alike
        inputs = normal(batch, width), labels, classes, 0.1 * (number + 1)
        names, want = ("features", "labels", "classes", "rate"), _step(*inputs)
        cases.append(Case(names, inputs, want, HEAD_FAULTS, tolerance=CLOSE))
    examine("head_step", answer, cases)
