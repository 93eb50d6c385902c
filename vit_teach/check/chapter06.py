"""Checks of chapter 6: norm, MLP, encoder block, Google's attention kernels, a whole model."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..vit import encoder as own
from ..vit.embedding import PatchEmbedding
from .chapter03 import CLOSE, draws
from .chapter05 import State, _heads, load
from .judge import Case, examine

Part = Callable[[Tensor], Tensor]  # tokens to tokens


def _norm(
    x: Tensor,
    weight: Tensor | float,
    bias: Tensor | float,
    eps: float = 1e-6,
    dim: int | tuple[int, int] = -1,
    correction: int = 0,
    centre: bool = True,
    outside: bool = False,
) -> Tensor:
    mean = x.mean(dim, keepdim=True) if centre else 0
    spread = ((x - mean) ** 2).sum(dim, keepdim=True)
    count = x.shape[dim] if isinstance(dim, int) else x[0].numel()
    variance = spread / (count - correction)
    root = variance.sqrt() + eps if outside else (variance + eps).sqrt()
    return (x - mean) / root * weight + bias


NORM_FAULTS = {
    "the variance is divided by D - 1; LayerNorm divides by D.":
        lambda x, w, b: _norm(x, w, b, correction=1),
    "your eps is 1e-5; here it is 1e-6, as in Google's code.":
        lambda x, w, b: _norm(x, w, b, eps=1e-5),
    "eps stands outside the root; it is added to the variance.":
        lambda x, w, b: _norm(x, w, b, outside=True),
    "eps is missing.": lambda x, w, b: _norm(x, w, b, eps=0.0),
    "weight and bias are missing.": lambda x, w, b: _norm(x, 1, 0),
    "the bias is missing.": lambda x, w, b: _norm(x, w, 0),
    "the mean is taken over the tokens; each token is normalised alone, over its width.":
        lambda x, w, b: _norm(x, w, b, dim=1),
    "the mean is taken over tokens and width; each token is normalised alone.":
        lambda x, w, b: _norm(x, w, b, dim=(1, 2)),
    "the mean is not subtracted: that is RMSNorm.": lambda x, w, b: _norm(x, w, b, centre=False),
    "you divide by the variance; its root is wanted.":
        lambda x, w, b: (x - x.mean(-1, keepdim=True))
        / (x.var(-1, keepdim=True, correction=0) + 1e-6) * w + b,
}  # fmt: skip


def layer_norm(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``layer_norm(x, weight, bias)``: tokens (B, T, D), eps 1e-6. Raises ``Wrong``.

    >>> layer_norm(lambda x, weight, bias: x[0])
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 3, 5) is wanted, yours is (3, 5) ...
    """
    whole, normal = draws(seed)
    shapes = [(2, 3, 5)] + [(whole(1, 3), whole(2, 5), whole(3, 9)) for _ in range(5)]
    cases = []
    for shape in shapes:
        x = normal(*shape) + 0.5
        x[:, -1] *= 1e-3  # a token of little spread, where eps is seen
        inputs = x, normal(shape[-1]), normal(shape[-1])
        names = ("x", "weight", "bias")
        cases.append(Case(names, inputs, _norm(*inputs), NORM_FAULTS, tolerance=CLOSE))
    examine("layer_norm", answer, cases, (nn.LayerNorm, (F, "layer_norm"), (torch, "layer_norm")))


def _mlp(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | float,
    w2: Tensor,
    b2: Tensor | float,
    act: Callable[[Tensor], Tensor] = F.gelu,
) -> Tensor:
    return act(x @ w1.T + b1) @ w2.T + b2


def _mlp_with(act: Callable[[Tensor], Tensor], *parts: Any) -> Tensor:
    w1, b1, w2, b2 = parts[1:]
    return _mlp(parts[0], w1, b1, w2, b2, act)


MLP_FAULTS = {
    "this is GELU in its tanh form; the exact one, with erf, is wanted.":
        lambda *parts: _mlp_with(lambda x: F.gelu(x, approximate="tanh"), *parts),
    "this is the sigmoid form of GELU; the exact one, with erf, is wanted.":
        lambda *parts: _mlp_with(lambda x: x * torch.sigmoid(1.702 * x), *parts),
    "this is ReLU; GELU is wanted.": lambda *parts: _mlp_with(F.relu, *parts),
    "there is nothing between the two layers: they are one linear map.":
        lambda *parts: _mlp_with(lambda x: x, *parts),
    "a second GELU stands at the end.": lambda *parts: F.gelu(_mlp(*parts)),
    "the first bias is missing.": lambda x, w1, b1, w2, b2: _mlp(x, w1, 0, w2, b2),
    "the second bias is missing.": lambda x, w1, b1, w2, b2: _mlp(x, w1, b1, w2, 0),
    "the residual does not belong to the MLP; the block adds it.":
        lambda x, *parts: x + _mlp(x, *parts),
    "the second layer is missing: the width must come back to D.":
        lambda x, w1, b1, w2, b2: F.gelu(x @ w1.T + b1),
}  # fmt: skip


def mlp(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``mlp(x, w1, b1, w2, b2)``: tokens (B, T, D) to (B, T, D), hidden width M.

    ``w1`` is (M, D), ``w2`` (D, M): outputs first, as ``nn.Linear`` keeps them. Raises ``Wrong``.

    >>> mlp(lambda x, w1, b1, w2, b2: 0 * x)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: right shape, wrong content: at [0, 0, 0] ...
    """
    whole, normal = draws(seed)
    shapes = [(2, 3, 4, 7)] + [tuple(whole(2, 6) for _ in range(4)) for _ in range(5)]
    cases = []
    for b, t, d, m in shapes:
        inputs = normal(b, t, d), normal(m, d), normal(m), normal(d, m), normal(d)
        names = ("x", "w1", "b1", "w2", "b2")
        cases.append(Case(names, inputs, _mlp(*inputs), MLP_FAULTS, tolerance=CLOSE))
    examine("mlp", answer, cases, (own.Mlp,))


# --- The block ----------


def _parts(
    state: State, heads: int, eps: float = 1e-6, second: str = "norm2"
) -> tuple[Part, Part, Part, Part]:
    """norm1, attention, norm2, MLP as functions of tokens."""
    inner = {name.removeprefix("attn."): value for name, value in state.items()}

    def norm(name: str) -> Part:
        return lambda x: _norm(x, state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def perceptron(x: Tensor) -> Tensor:
        w1, b1, w2, b2 = (state[f"mlp.{name}"] for name in _MLP)
        return _mlp(x, w1, b1, w2, b2)

    return norm("norm1"), lambda x: _heads(x, inner, heads), norm(second), perceptron


_MLP = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")


def _block(x: Tensor, state: State, dim: int, heads: int, hidden: int, **how: Any) -> Tensor:
    norm1, attention, norm2, perceptron = _parts(state, heads, **how)
    x = x + attention(norm1(x))
    return x + perceptron(norm2(x))


def _wrong_block(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def block(x: Tensor, state: State, dim: int, heads: int, hidden: int) -> Tensor:
        return build(x, *_parts(state, heads))

    return block


def _after(x: Tensor, norm1: Part, attention: Part, norm2: Part, perceptron: Part) -> Tensor:
    x = norm1(x + attention(x))
    return norm2(x + perceptron(x))


def _from_the_norm(
    x: Tensor, norm1: Part, attention: Part, norm2: Part, perceptron: Part
) -> Tensor:
    x = norm1(x)
    x = x + attention(x)
    x = norm2(x)
    return x + perceptron(x)


BLOCK_FAULTS = {
    "this is post-norm: ViT normalises in front of each branch, not after the sum.":
        _wrong_block(_after),
    "the first residual is missing: x + attention(norm(x)).":
        _wrong_block(lambda x, n1, a, n2, m: a(n1(x)) + m(n2(a(n1(x))))),
    "the second residual is missing: x + mlp(norm(x)).":
        _wrong_block(lambda x, n1, a, n2, m: m(n2(x + a(n1(x))))),
    "the normalised tokens are added back; the residual goes round the norm.":
        _wrong_block(_from_the_norm),
    "both branches read the block's input: the MLP comes after the attention's sum.":
        _wrong_block(lambda x, n1, a, n2, m: x + a(n1(x)) + m(n2(x))),
    "the second norm is not used: norm1 serves twice.":
        lambda *inputs: _block(*inputs, second="norm1"),
    "your LayerNorms have eps 1e-5, PyTorch's default; here it is 1e-6.":
        lambda *inputs: _block(*inputs, eps=1e-5),
    "the MLP's input is not normalised.":
        _wrong_block(lambda x, n1, a, n2, m: x + a(n1(x)) + m(x + a(n1(x)))),
    "the attention's input is not normalised.":
        _wrong_block(lambda x, n1, a, n2, m: x + a(x) + m(n2(x + a(x)))),
    "the MLP stands before the attention.":
        _wrong_block(lambda x, n1, a, n2, m: x + m(n2(x)) + a(n1(x + m(n2(x))))),
}  # fmt: skip


def _call_block(
    answer: Callable[..., Any], x: Tensor, state: State, dim: int, heads: int, hidden: int
) -> Tensor:
    with torch.no_grad():
        return load(answer(dim, heads, hidden), state)(x)


def _draw_state(normal: Callable[..., Tensor], dim: int, hidden: int) -> State:
    shapes = {
        "norm1.weight": (dim,), "norm1.bias": (dim,), "norm2.weight": (dim,), "norm2.bias": (dim,),
        "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
        "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,),
        "mlp.fc1.weight": (hidden, dim), "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (dim, hidden), "mlp.fc2.bias": (dim,),
    }  # fmt: skip
    return {name: normal(*shape) for name, shape in shapes.items()}


def encoder_block(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check a class ``Block(dim, heads, hidden)`` with ``norm1``, ``attn``, ``norm2`` and ``mlp``.

    The parts are ``nn.LayerNorm`` (eps 1e-6), ``vt.MultiHeadAttention`` and ``vt.Mlp``; the block
    maps tokens (B, T, D) to (B, T, D). Raises ``Wrong``.

    >>> encoder_block(lambda dim, heads, hidden: None)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: a torch.nn.Module is wanted, yours gives NoneType.
    """
    whole, normal = draws(seed)
    sizes = [(2, 4, 2, 3, 7)] + [tuple(whole(2, 4) for _ in range(5)) for _ in range(4)]
    cases = []
    for b, t, heads, h, hidden in sizes:
        dim = heads * h
        x = normal(b, t, dim)
        x[:, -1] *= 1e-3  # a token of little spread, where eps is seen
        inputs = x, _draw_state(normal, dim, hidden), dim, heads, hidden
        names, want = ("x", "state", "dim", "heads", "hidden"), _block(*inputs)
        cases.append(Case(names, inputs, want, BLOCK_FAULTS, _call_block, tolerance=CLOSE))
    examine("encoder_block", answer, cases, (own.EncoderBlock,))


def _joined(*kernels: Tensor) -> Tensor:
    return torch.cat([kernel.flatten(1).T for kernel in kernels])


JOIN_FAULTS = {
    "the kernels are not transposed: nn.Linear keeps (outputs, inputs).":
        lambda q, k, v: torch.cat([kernel.flatten(1) for kernel in (q, k, v)]),
    "the kernels lie side by side, (D, 3D); nn.Linear keeps (outputs, inputs).":
        lambda q, k, v: _joined(q, k, v).T,
    "the order is wrong: query, key, value.": lambda q, k, v: _joined(k, q, v),
    "the order is turned round: query, key, value.": lambda q, k, v: _joined(v, k, q),
    "head and channel are swapped: the head is the slower axis of a row.":
        lambda q, k, v: _joined(*(kernel.transpose(1, 2) for kernel in (q, k, v))),
    "the rows are ordered by head first; wanted is all of q, then k, then v.":
        lambda q, k, v: torch.stack([q, k, v], 2).permute(1, 2, 3, 0).reshape(-1, len(q)),
}  # fmt: skip


def join_kernels(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``join_kernels(query, key, value)``: three (D, H, h) to one ``qkv.weight`` (3D, D).

    Raises ``Wrong``.

    >>> join_kernels(lambda query, key, value: query)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (18, 6) is wanted, yours is (6, 2, 3) ...
    """
    whole, normal = draws(seed)
    sizes = [(2, 3)] + [(whole(2, 5), whole(2, 5)) for _ in range(5)]
    cases = []
    for heads, h in sizes:
        inputs = tuple(normal(heads * h, heads, h) for _ in range(3))
        names, want = ("query", "key", "value"), _joined(*inputs)
        cases.append(Case(names, inputs, want, JOIN_FAULTS, tolerance=CLOSE))
    examine("join_kernels", answer, cases)


# --- A whole model ----------

Parts = tuple[nn.Module, Tensor, nn.ModuleList, nn.Module, nn.Module]
DIM, CLASSES = 6, 5


def _built(seed: int, depth: int) -> Parts:
    """Embedding of pictures (2, 4, 9), table, blocks, norm and head, in 64-bit numbers."""
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # what the layers draw for themselves
        embed = PatchEmbedding((4, 9), (2, 3), 2, DIM)
        blocks = nn.ModuleList(own.EncoderBlock(DIM, 2, 10) for _ in range(depth))
        norm, head = nn.LayerNorm(DIM, eps=1e-6), nn.Linear(DIM, CLASSES)
    for module in (embed, blocks, norm, head):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.7, generator=random)
        module.double().eval().requires_grad_(False)
    table = torch.randn(1, 6, DIM, dtype=torch.float64, generator=random)
    return embed, table, blocks, norm, head


def _made(
    forward: Callable[[Tensor, Tensor, nn.ModuleList, nn.Module, nn.Module], Tensor],
) -> Callable[..., Tensor]:
    """A mistaken model: ``forward`` gets the tokens and all parts behind the embedding."""

    def logits(images: Tensor, seed: int, depth: int) -> Tensor:
        embed, table, blocks, norm, head = _built(seed, depth)
        return forward(embed(images), table, blocks, norm, head)

    return logits


def _through(x: Tensor, blocks: Any) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


_mean = _made(lambda x, table, blocks, norm, head: head(
    norm(_through(x + table, blocks)).mean(dim=1)))  # fmt: skip
MEAN_FAULTS = {
    "the average is taken before the norm; each token is normalised first.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(_through(x + table, blocks).mean(dim=1)))),
    "the positions are missing.":
        _made(lambda x, table, blocks, norm, head: head(norm(_through(x, blocks)).mean(dim=1))),
    "you read the first token: that is a patch here, there is no class token.":
        _made(lambda x, table, blocks, norm, head: head(norm(_through(x + table, blocks))[:, 0])),
    "the last norm is missing.":
        _made(lambda x, table, blocks, norm, head: head(_through(x + table, blocks).mean(dim=1))),
    "only one block is used: the tokens go through all of them, one after the other.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(_through(x + table, blocks[:1])).mean(dim=1))),
    "each block reads the model's first tokens, and only the last one counts.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(blocks[-1](x + table)).mean(dim=1))),
    "the positions are added behind the blocks; they come before.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(_through(x, blocks) + table).mean(dim=1))),
    "the tokens are summed; their mean is wanted.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(_through(x + table, blocks)).sum(dim=1))),
    "the blocks run from the last to the first.":
        _made(lambda x, table, blocks, norm, head: head(
            norm(_through(x + table, list(blocks)[::-1])).mean(dim=1))),
    "these are the logits of each token: average over the tokens, axis 1.":
        _made(lambda x, table, blocks, norm, head: head(norm(_through(x + table, blocks)))),
}  # fmt: skip


def _call_mean(answer: Callable[..., Any], images: Tensor, seed: int, depth: int) -> Any:
    return answer(images, *_built(seed, depth))


def mean_vit(answer: Callable[..., Any], seed: int = 0) -> None:
    """Check ``logits(images, patch_embed, table, blocks, norm, head)``: a ViT without class token.

    Images (B, C, H, W) to logits (B, K): the mean of all tokens, behind the last norm, goes to the
    head. Raises ``Wrong``.

    >>> mean_vit(lambda images, patch_embed, table, blocks, norm, head: images)
    Traceback (most recent call last):
    vit_teach.check.isolate.Wrong: shape: (2, 5) is wanted, yours is (2, 2, 4, 9) ...
    """
    whole, normal = draws(seed)
    cases = []
    for batch, depth in ((2, 2), (3, 3), (whole(1, 4), 2), (whole(1, 4), 4)):
        inputs = normal(batch, 2, 4, 9), whole(0, 1000), depth
        names, want = ("images", "seed", "depth"), _mean(*inputs)
        cases.append(Case(names, inputs, want, MEAN_FAULTS, _call_mean, tolerance=CLOSE))
    examine("mean_vit", answer, cases)
