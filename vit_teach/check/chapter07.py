"""Checks of chapter 7: windows of a stem, a norm folded away, a kernel in a larger one, reach."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import SEEDS, whole
from ..probe import reach as own
from .chapter03 import CLOSE, draws
from .judge import Case, examine

Layer = tuple[int, int, int]  # kernel, stride, padding


def _window(layers: list[Layer]) -> tuple[int, int, int]:
    size, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        size += (kernel - 1) * jump
        start -= padding * jump
        jump *= stride
    return size, jump, start


def _walk(layers: list[Layer], late: bool = False, whole: bool = False) -> tuple[int, int, int]:
    """A mistaken walk: the layer's own stride too early, or its whole kernel added."""
    size, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        step = jump * stride if late else jump
        size += (kernel if whole else kernel - 1) * step
        start -= padding * step
        jump *= stride
    return size, jump, start


def _padding_once(layers: list[Layer]) -> tuple[int, int, int]:
    return *_window(layers)[:2], -sum(padding for _, _, padding in layers)


WINDOW_FAULTS = {
    "a layer's own stride counts only for the layers after it.":
        lambda layers: _walk(layers, late=True),
    "a kernel of 3 adds 2 steps to the window, not 3.": lambda layers: _walk(layers, whole=True),
    "the strides are left out of the size: behind a stride of 2, neighbours are 2 pixels apart.":
        lambda layers: (1 + sum(kernel - 1 for kernel, _, _ in layers), *_window(layers)[1:]),
    "strides multiply, yours are added.":
        lambda layers: (_window(layers)[0], sum(stride for _, stride, _ in layers),
                        _window(layers)[2]),
    "the padding of a later layer counts in steps of that layer, not in pixels.": _padding_once,
    "padding moves the start to the left: it is negative.":
        lambda layers: (*_window(layers)[:2], -_window(layers)[2]),
    "the start is where the window of unit 0 begins; without padding that would be pixel 0.":
        lambda layers: (*_window(layers)[:2], 0),
    "the order is size, stride, start.": lambda layers: _window(layers)[::-1],
}  # fmt: skip


def window(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``window(layers)``: (size, stride, start) in pixels, of (kernel, stride, padding).

    Unit i sees ``size`` pixels from ``start + i * stride`` on. Raises ``Wrong``.

    >>> window(lambda layers: (1, 1, 0))
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: (11, 4, -7) is wanted, yours is (1, 1, 0). ...
    """
    whole, _ = draws(seed)
    stacks = [[(3, 1, 2), (5, 2, 1), (3, 2, 2)]]
    for _ in range(8):
        stacks.append([(whole(2, 5), whole(2, 3), whole(1, 3)) for _ in range(whole(2, 5))])
    cases = [Case(("layers",), (stack,), _window(stack), WINDOW_FAULTS) for stack in stacks]
    examine("window", answer, cases, (own.receptive_field,))


def _fold(weight: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float
          ) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _folded(weight, gain / (variance + eps).sqrt(), shift, mean)


def _folded(weight: Tensor, factor: Tensor, shift: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    return weight * factor[:, None, None, None], shift - mean * factor


FOLD_FAULTS = {
    "eps is missing: it is added to the variance.":
        lambda w, g, c, m, v, eps: _folded(w, g / v.sqrt(), c, m),
    "eps stands outside the root.":
        lambda w, g, c, m, v, eps: _folded(w, g / (v.sqrt() + eps), c, m),
    "you divide by the variance; its root is wanted.":
        lambda w, g, c, m, v, eps: _folded(w, g / (v + eps), c, m),
    "the gain is missing: the norm multiplies each channel by it.":
        lambda w, g, c, m, v, eps: _folded(w, (v + eps).rsqrt(), c, m),
    "the mean has the wrong sign.": lambda w, g, c, m, v, eps: _fold(w, g, c, -m, v, eps),
    "the mean goes through the same factor as the weights.":
        lambda w, g, c, m, v, eps: (_fold(w, g, c, m, v, eps)[0], c - m),
    "the mean is missing in the bias.":
        lambda w, g, c, m, v, eps: (_fold(w, g, c, m, v, eps)[0], c),
    "the shift is missing in the bias.":
        lambda w, g, c, m, v, eps: _fold(w, g, 0 * c, m, v, eps),
    "the factor belongs to the filters, the first axis; yours multiplies the channels it reads.":
        lambda w, g, c, m, v, eps: (
            w * (g / (v + eps).sqrt())[None, :, None, None] if w.shape[0] == w.shape[1] else w,
            _fold(w, g, c, m, v, eps)[1]),
}  # fmt: skip


def fold(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``fold(weight, gain, shift, mean, variance, eps)``: (weight, bias) of one layer.

    ``weight`` is a convolution's without bias, (D, C, K, K); the other tensors are (D,), those of a
    batch normalisation in evaluation. Raises ``Wrong``.

    >>> fold(lambda weight, gain, shift, mean, variance, eps: weight)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: a tuple of 2 is wanted, yours is a value of type Tensor ...
    """
    whole, normal = draws(seed)
    shapes = [(4, 3, 3), (3, 3, 2)] + [(whole(2, 5), whole(2, 5), whole(1, 3)) for _ in range(4)]
    cases = []
    for d, c, k in shapes:
        variance = normal(d).abs() + 0.01
        inputs = normal(d, c, k, k), normal(d), normal(d), normal(d), variance, 0.1
        names = ("weight", "gain", "shift", "mean", "variance", "eps")
        cases.append(Case(names, inputs, _fold(*inputs), FOLD_FAULTS, tolerance=CLOSE))
    examine("fold", answer, cases)


def _surround(kernel: Tensor, above: float = 0.5) -> Tensor:
    """The kernel inside one of twice its sides; ``above`` is the share of the zeros in front."""
    d, c, side, _ = kernel.shape
    larger = kernel.new_zeros(d, c, 2 * side, 2 * side)
    at = int(side * above)
    larger[:, :, at : at + side, at : at + side] = kernel
    return larger


SURROUND_FAULTS = {
    "the patch lies in the middle of the larger window, yours begins at its corner.":
        lambda kernel: _surround(kernel, 0.0),
    "the patch lies in the middle of the larger window, yours ends at its corner.":
        lambda kernel: _surround(kernel, 1.0),
    "the kernel is repeated: pixels outside the patch must meet zeros.":
        lambda kernel: kernel.repeat(1, 1, 2, 2),
    "the kernel is stretched: each number must stay one pixel wide.":
        lambda kernel: kernel.repeat_interleave(2, 2).repeat_interleave(2, 3),
    "rows and columns of the kernel are swapped.":
        lambda kernel: _surround(kernel.transpose(2, 3)),
    "the kernel is divided: every pixel of the patch is there once, so its weight stays.":
        lambda kernel: _surround(kernel) / 4,
    "the kernel is mirrored.": lambda kernel: _surround(kernel.flip(2, 3)),
}  # fmt: skip


def surround(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``surround(kernel)``: (D, C, P, P), P even, to the same map as (D, C, 2P, 2P).

    The larger convolution has the stride P and the padding P / 2. Raises ``Wrong``.

    >>> surround(lambda kernel: kernel)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (5, 3, 8, 8) is wanted, yours is (5, 3, 4, 4) ...
    """
    whole, normal = draws(seed)
    shapes = [(5, 3, 4), (2, 1, 2)] + [(whole(1, 4), whole(1, 4), 2 * whole(1, 3)) for _ in "1234"]
    cases = []
    for d, c, side in shapes:
        kernel = normal(d, c, side, side)
        case = Case(("kernel",), (kernel,), _surround(kernel), SURROUND_FAULTS, tolerance=CLOSE)
        cases.append(case)
    examine("surround", answer, cases)


# --- Whom a token listens to ----------


def stem(training: bool, seed: int) -> nn.Module:
    """A small stem with a batch normalisation: images (B, 2, H, W) to tokens (B, N, 5).

    >>> stem(False, 0)(torch.zeros(2, 2, 8, 12, dtype=torch.float64)).shape
    torch.Size([2, 6, 5])
    """
    with torch.random.fork_rng(devices=[]):  # the learner's own random numbers go on undisturbed
        torch.manual_seed(whole("seed", seed, *SEEDS))
        layers = nn.Sequential(
            nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.Tanh(),
            nn.Conv2d(4, 5, 3, 2, 1), nn.Flatten(2), _Turn(),
        )  # fmt: skip
    return layers.double().train(training)


class _Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def _gradient(training: bool, seed: int, images: Tensor, token: int, picture: int = 0) -> Tensor:
    images = images.clone().requires_grad_()
    tokens = stem(training, seed)(images)
    (tokens[picture, token] * torch.arange(1.0, 6.0)).sum().backward()
    assert images.grad is not None
    return images.grad  # (B, 2, H, W)


def _counts(moved: Tensor) -> tuple[int, ...]:
    return tuple(moved.sum(dim=(1, 2)).tolist())


def _reached(training: bool, seed: int, images: Tensor, token: int) -> tuple[int, ...]:
    return _counts(_gradient(training, seed, images, token).abs().amax(dim=1) > 0)


REACHED_FAULTS = {
    "you count channels: a pixel with two channels is one pixel.":
        lambda t, s, x, n: _counts((_gradient(t, s, x, n) != 0).sum(dim=1)),
    "you count only where the gradient is positive.":
        lambda t, s, x, n: _counts(_gradient(t, s, x, n).amax(dim=1) > 0),
    "the token is that of picture 1; picture 0 is asked for.":
        lambda t, s, x, n: _counts(_gradient(t, s, x, n, picture=1).abs().amax(dim=1) > 0),
    "you return shares; the number of pixels is wanted.":
        lambda t, s, x, n: tuple(
            count / x[0, 0].numel() for count in _reached(t, s, x, n)),
    "all pictures are counted together; one number for each is wanted.":
        lambda t, s, x, n: (sum(_reached(t, s, x, n)),) * len(x),
    "only picture 0 is counted.":
        lambda t, s, x, n: (_reached(t, s, x, n)[0], *(0,) * (len(x) - 1)),
    "the numbers are those of evaluation: leave the stem in the mode that it comes in.":
        lambda t, s, x, n: _reached(False, s, x, n),
}  # fmt: skip


def _call_reached(answer: Any, training: bool, seed: int, images: Tensor, token: int) -> Any:
    return answer(stem(training, seed), images, token)


def reached(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``reached(stem, images, token)``: pixels that move this token of picture 0.

    The images are (B, C, H, W); right is a tuple or list of B whole numbers. Raises ``Wrong``.

    >>> reached(lambda stem, images, token: [0, 0])
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: (49, 0) is wanted, yours is (0, 0). ...
    """
    _, normal = draws(seed)
    cases = []
    for number, (training, batch) in enumerate([(False, 2), (True, 2), (True, 3), (False, 3)]):
        inputs = training, seed + number, normal(batch, 2, 12, 16), 5
        names = ("training", "seed", "images", "token")
        want = _reached(*inputs)
        cases.append(Case(names, inputs, want, REACHED_FAULTS, _call_reached))
    examine("reached", answer, cases)
