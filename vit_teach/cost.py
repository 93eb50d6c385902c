"""What a model costs: parameters, multiply-adds (MACs), training FLOPs. Chapters 5, 6, 7 and 13.

The formulas are checked against the paper's own numbers: ViT paper (arXiv 2010.11929), Table 1 and
appendix D.5, and Table 6 for the pre-training compute.

A MAC is one multiplication and one addition, so it is two FLOPs. Only matrix products and
convolutions are counted; norms, softmax, GELU and turning by rotary positions are below one
hundredth of the work.
"""

import time
from collections.abc import Callable
from math import prod
from typing import Any

import torch

from .arguments import explained, finite, one_of, require_type, whole
from .baselines.hybrid import HybridConfig
from .baselines.paper_hybrid import ROOT_WIDTH, PaperHybridConfig
from .baselines.resnet import ResNetConfig
from .vit.model import ViTConfig
from .vit.patches import to_pair

Config = ViTConfig | ResNetConfig  # the hybrids' configurations are ViTConfigs too
Row = dict[str, Any]  # a part of a model: its "part", "shape", "params" and "macs"
Side = tuple[int, int]  # the height and width of a map

# ViT paper, Table 6: (preset, epochs on JFT-300M, exaFLOPs of pre-training as printed).
PAPER_TABLE6 = (
    ("ViT-B/32", 7, 55),
    ("ViT-B/16", 7, 224),
    ("ViT-L/32", 7, 196),
    ("ViT-L/16", 7, 783),
    ("ViT-L/16", 14, 1567),
    ("ViT-H/14", 14, 4262),
)
JFT_IMAGES = 303_000_000  # ViT paper, section 4.1


def breakdown(config: Config) -> list[Row]:
    """A model part by part: a list of rows ``{"part", "shape", "params", "macs"}``.

    ``shape`` is the part's output for one image, without the batch axis. ``macs`` are for one
    image. Rows follow the model from the picture to the logits; their sums are
    :func:`parameters` and :func:`macs`.

    >>> from vit_teach import PRESETS
    >>> [row["part"] for row in breakdown(PRESETS["ViT-Ti/16"])][:3]
    ['patch_embed', 'cls_token', 'pos_embed']
    """
    require_type("config", config, (ViTConfig, ResNetConfig), "one of the book's configurations")
    if isinstance(config, ResNetConfig):
        return _resnet_rows(config)
    return _transformer_rows(config)


def parameters(config: Config) -> int:
    """The number of trained parameters.

    >>> from vit_teach import PRESETS
    >>> parameters(PRESETS["ViT-B/16"])
    86567656
    """
    return sum(row["params"] for row in breakdown(config))


def macs(config: Config) -> int:
    """Multiply-adds of one forward pass of one image.

    >>> from vit_teach import PRESETS
    >>> round(macs(PRESETS["ViT-B/16"]) / 1e9, 2)
    17.56
    """
    return sum(row["macs"] for row in breakdown(config))


def training_flops(config: Config, images: int) -> int:
    """FLOPs of training on ``images`` images (with repeats): 6 for each MAC.

    Two FLOPs for a MAC, and the backward pass does twice the work of the forward pass: gradients
    for the inputs and for the weights.

    >>> from vit_teach import PRESETS
    >>> round(training_flops(PRESETS["ViT-B/16"], 1000) / 1e15, 3)
    0.105
    """
    return 6 * macs(config) * whole("images", images, 0, 2**62)


def exaflops(config: Config, epochs: float, images: int = JFT_IMAGES) -> float:
    """ExaFLOPs (10^18) of ``epochs`` passes over ``images`` images, to set beside Table 6.

    The classifier is left out: the paper does not say how it counted it. With JFT's 18,000 classes
    it would add 0.4 % for ViT-B/32 and less for the others.

    >>> from vit_teach import PRESETS
    >>> round(exaflops(PRESETS["ViT-B/16"], epochs=7))
    224
    """
    finite("epochs", epochs, 0)
    whole("images", images, 0, 2**62)
    backbone = sum(row["macs"] for row in breakdown(config) if row["part"] != "head")
    return 6 * backbone * images * epochs / 1e18


def attention_share(config: ViTConfig) -> float:
    """The part of a block's MACs that grows with T^2: q k^T and the weighted sum of values.

    >>> from vit_teach import PRESETS
    >>> round(attention_share(PRESETS["ViT-B/16"]), 3)
    0.041
    """
    require_type("config", config, ViTConfig, "a ViT's configuration")
    tokens, dim, hidden = config.num_tokens, config.embed_dim, config.mlp_dim
    pairs = 2 * tokens**2 * dim
    return pairs / (pairs + 4 * tokens * dim**2 + 2 * tokens * dim * hidden)


GROUPS = {
    "patch_embed": "embedding",
    "cls_token": "embedding",
    "pos_embed": "embedding",
    "qkv": "attention: q, k, v, out",
    "proj": "attention: q, k, v, out",
    "weights": "attention: q kᵀ and A v",
    "offset_bias": "embedding",  # positions too, though they act in the attention
    "fc1": "MLP",
    "fc2": "MLP",
    "head": "head",
}


@explained
def grouped(rows: list[Row], quantity: str) -> dict[str, int]:
    """Sum the rows of :func:`breakdown` into a few groups: a dictionary of names and numbers.

    ``quantity`` is "params" or "macs". Raises ``ValueError`` for another one.

    >>> from vit_teach import PRESETS
    >>> grouped(breakdown(PRESETS["ViT-B/16"]), "params")["head"]
    769000
    """
    one_of("quantity", quantity, ("params", "macs"))
    sums = dict.fromkeys([*GROUPS.values(), "norms"], 0)
    for row in rows:
        sums[GROUPS.get(row["part"].split(".")[-1], "norms")] += row[quantity]
    return sums


def _row(part: str, shape: tuple[int, ...], params: int, macs: int = 0) -> Row:
    return {"part": part, "shape": tuple(shape), "params": params, "macs": macs}


def _linear(part: str, tokens: int, inputs: int, outputs: int) -> Row:
    """A linear layer with bias on each of ``tokens`` vectors."""
    shape = (tokens, outputs) if tokens > 1 else (outputs,)
    return _row(part, shape, inputs * outputs + outputs, tokens * inputs * outputs)


def _conv(
    part: str,
    in_channels: int,
    out_channels: int,
    kernel: tuple[int, int],
    side: Side,
    bias: bool = False,
) -> Row:
    """A convolution that ends in a map of ``side`` = (height, width)."""
    weights = in_channels * out_channels * prod(kernel)
    return _row(part, (out_channels, *side), weights + bias * out_channels, weights * prod(side))


def _transformer_rows(config: ViTConfig) -> list[Row]:
    tokens, dim = config.num_tokens, config.embed_dim
    if isinstance(config, PaperHybridConfig):
        rows = _paper_stem_rows(config)
    elif isinstance(config, HybridConfig):
        rows = STEM_ROWS[config.stem](config)
    else:
        rows = [_patch_row(config)]
    if config.class_token:
        rows.append(_row("cls_token", (tokens - config.registers, dim), dim))
    placed = (tokens - config.registers, dim)  # registers have no row in the table
    if config.table is not None:
        learned = config.table == "learned"
        rows.append(_row("pos_embed", placed, prod(placed) if learned else 0))
    if config.registers:
        rows.append(_row("reg_token", (tokens, dim), config.registers * dim))
    for i in range(config.depth):
        rows += _block_rows(f"blocks.{i}", config)
    norm = _row("norm", (tokens, dim), 2 * dim)
    pool = _row("pool", (dim,), 0)
    rows += [pool, _row("fc_norm", (dim,), 2 * dim)] if config.fc_norm else [norm, pool]
    return [*rows, _linear("head", 1, dim, config.num_classes)]


def _patch_row(config: ViTConfig) -> Row:
    """The projection E: N patches of P^2 C numbers to D numbers each."""
    inputs = config.in_channels * prod(to_pair(config.patch_size))
    return _linear("patch_embed", config.num_patches, inputs, config.embed_dim)


def _block_rows(name: str, config: ViTConfig) -> list[Row]:
    tokens, dim, hidden = config.num_tokens, config.embed_dim, config.mlp_dim
    pairs = 2 * tokens**2 * dim  # q k^T, then the weights times v
    scores = (config.num_heads, tokens, tokens)
    offsets = []
    if config.offsets == "relative":
        gh, gw = config.grid_size
        table = config.num_heads * (2 * gh - 1) * (2 * gw - 1)
        offsets = [_row(f"{name}.attn.offset_bias", scores, table)]
    return [
        _row(f"{name}.norm1", (tokens, dim), 2 * dim),
        _linear(f"{name}.attn.qkv", tokens, dim, 3 * dim),
        *offsets,
        _row(f"{name}.attn.weights", scores, 0, pairs),
        _linear(f"{name}.attn.proj", tokens, dim, dim),
        _row(f"{name}.norm2", (tokens, dim), 2 * dim),
        _linear(f"{name}.mlp.fc1", tokens, dim, hidden),
        _linear(f"{name}.mlp.fc2", tokens, hidden, dim),
    ]


def _conv_stem_rows(config: HybridConfig) -> list[Row]:
    rows, in_channels, side = [], config.in_channels, to_pair(config.image_size)
    for i, out_channels in enumerate(config.stem_widths):
        side = _halved(side) if i > 0 else side
        rows.append(_normed(f"patch_embed.conv{i + 1}", in_channels, out_channels, (3, 3), side))
        in_channels = out_channels
    return [*rows, _stem_projection(config, in_channels)]


def _overlap_stem_rows(config: HybridConfig) -> list[Row]:
    return [_stem_projection(config, config.in_channels, 2 * to_pair(config.patch_size)[0])]


def _pooled_stem_rows(config: HybridConfig) -> list[Row]:
    rows, in_channels, side = [], config.in_channels, to_pair(config.image_size)
    for i, out_channels in enumerate(config.stem_widths):
        row = _conv(f"patch_embed.conv{i + 1}", in_channels, out_channels, (3, 3), side)
        side = _halved(side)  # the convolution runs before the pooling halves its map
        rows.append({**row, "shape": (out_channels, *side)})
        in_channels = out_channels
    return rows


def _residual_stem_rows(config: HybridConfig) -> list[Row]:
    side, in_channels = to_pair(config.image_size), config.stem_widths[0]
    rows = [_normed("patch_embed.conv", config.in_channels, in_channels, (3, 3), side)]
    for i, out_channels in enumerate(config.stem_widths[1:], start=1):
        side = _halved(side)
        stride = 1 if i == 1 else 2  # the max-pooling has halved the first block's map
        rows += _residual_rows(f"patch_embed.block{i}", in_channels, out_channels, stride, side)
        in_channels = out_channels
    return [*rows, _stem_projection(config, in_channels)]


# A hybrid's convolutions, by its stem; a BatchNorm's two numbers a channel count with its layer.
STEM_ROWS: dict[str, Callable[[HybridConfig], list[Row]]] = {
    "conv": _conv_stem_rows,
    "overlap": _overlap_stem_rows,
    "cct": _pooled_stem_rows,
    "residual": _residual_stem_rows,
}


def _stem_projection(config: ViTConfig, in_channels: int, kernel: int = 1) -> Row:
    """The convolution that gives each token its D numbers."""
    return _conv(
        "patch_embed.proj", in_channels, config.embed_dim, (kernel, kernel), config.grid_size, True
    )


def _halved(side: Side) -> Side:
    return side[0] // 2, side[1] // 2


def _normed(
    part: str, in_channels: int, out_channels: int, kernel: tuple[int, int], side: Side
) -> Row:
    """A convolution and its BatchNorm, which has two numbers a channel."""
    row = _conv(part, in_channels, out_channels, kernel, side)
    row["params"] += 2 * out_channels
    return row


def _residual_rows(
    name: str, in_channels: int, out_channels: int, stride: int, side: Side
) -> list[Row]:
    """A residual block of two convolutions whose output map is ``side``."""
    rows = [
        _normed(f"{name}.conv1", in_channels, out_channels, (3, 3), side),
        _normed(f"{name}.conv2", out_channels, out_channels, (3, 3), side),
    ]
    if stride != 1 or in_channels != out_channels:
        rows.append(_normed(f"{name}.downsample", in_channels, out_channels, (1, 1), side))
    return rows


def _paper_stem_rows(config: PaperHybridConfig) -> list[Row]:
    """The paper's ResNet; a group norm's two numbers a channel are counted with its layer."""
    side = _shrunk(to_pair(config.image_size), 2)
    rows = [_conv("patch_embed.root", config.in_channels, ROOT_WIDTH, (7, 7), side)]
    side, in_channels = _shrunk(side, 2), ROOT_WIDTH
    for number, (mid_channels, out_channels, first_stride, units) in enumerate(config.stages):
        for i in range(units):
            stride, large = (first_stride if i == 0 else 1), side
            side, name = _shrunk(side, stride), f"patch_embed.stages.{number}.{i}"
            rows += [
                _conv(f"{name}.conv1", in_channels, mid_channels, (1, 1), large),
                _conv(f"{name}.conv2", mid_channels, mid_channels, (3, 3), side),
                _conv(f"{name}.conv3", mid_channels, out_channels, (1, 1), side),
            ]
            if stride != 1 or in_channels != out_channels:
                rows.append(_conv(f"{name}.downsample", in_channels, out_channels, (1, 1), side))
            in_channels = out_channels
    for row in rows:
        row["params"] += 2 * row["shape"][0]
    return [*rows, _stem_projection(config, in_channels)]


def _shrunk(side: Side, stride: int) -> Side:
    return -(-side[0] // stride), -(-side[1] // stride)  # rounded up, as the padding does


def _resnet_rows(config: ResNetConfig) -> list[Row]:
    side, in_channels = to_pair(config.image_size), config.width
    rows = [_normed("conv1", config.in_channels, config.width, (3, 3), side)]
    for number, (out_channels, first_stride) in enumerate(config.stages, start=1):
        for i in range(config.blocks_per_stage):
            stride = first_stride if i == 0 else 1
            side = side[0] // stride, side[1] // stride
            rows += _residual_rows(f"layer{number}.{i}", in_channels, out_channels, stride, side)
            in_channels = out_channels
    return [
        *rows,
        _row("pool", (in_channels,), 0),
        _linear("fc", 1, in_channels, config.num_classes),
    ]


# --- Measured, beside the formulas --------------------------------------------------------------


def samples(function: Callable[..., object], *inputs: Any, at_least: float = 0.15) -> list[float]:
    """Processor time of each of several calls of ``function(*inputs)``: a list of seconds.

    One thread; the call is repeated at least three times, and until it has used ``at_least``
    seconds. The clock counts only what this thread computes, so other programs on the machine
    disturb it little. Only for work on a CPU: a GPU computes beside the processor.

    >>> len(samples(torch.add, torch.zeros(8), 1.0, at_least=0))
    3
    """
    if not callable(function):
        raise ValueError(f"function={function!r} must be a function")
    finite("at_least", at_least, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        function(*inputs)  # the first call also pays for preparations
        times: list[float] = []
        while len(times) < 3 or sum(times) < at_least:
            start = time.thread_time()
            function(*inputs)
            times.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return times


def seconds(function: Callable[..., object], *inputs: Any, at_least: float = 0.15) -> float:
    """Processor time of ``function(*inputs)`` in seconds: the fastest of :func:`samples`.

    >>> 0 < seconds(torch.add, torch.zeros(8), 1.0, at_least=0) < 1
    True
    """
    return min(samples(function, *inputs, at_least=at_least))
