"""What a model costs, from formulas: parameters, multiply-adds (MACs), training FLOPs.

A MAC is one multiplication and one addition, so it is two FLOPs. Only matrix products and
convolutions are counted; norms, softmax and GELU are below one hundredth of the work.
"""

import time
from math import prod

import torch

from .baselines.hybrid import HybridConfig
from .baselines.paper_hybrid import ROOT_WIDTH, PaperHybridConfig
from .baselines.resnet import ResNetConfig

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


def breakdown(config):
    """A model part by part: a list of rows ``{"part", "shape", "params", "macs"}``.

    ``shape`` is the part's output for one image, without the batch axis. ``macs`` are for one
    image. Rows follow the model from the picture to the logits; their sums are
    :func:`parameters` and :func:`macs`.

    >>> from vit_teach import PRESETS
    >>> [row["part"] for row in breakdown(PRESETS["ViT-Ti/16"])][:3]
    ['patch_embed', 'cls_token', 'pos_embed']
    """
    if isinstance(config, ResNetConfig):
        return _resnet_rows(config)
    return _transformer_rows(config)


def parameters(config):
    """The number of trained parameters.

    >>> from vit_teach import PRESETS
    >>> parameters(PRESETS["ViT-B/16"])
    86567656
    """
    return sum(row["params"] for row in breakdown(config))


def macs(config):
    """Multiply-adds of one forward pass of one image.

    >>> from vit_teach import PRESETS
    >>> round(macs(PRESETS["ViT-B/16"]) / 1e9, 2)
    17.56
    """
    return sum(row["macs"] for row in breakdown(config))


def training_flops(config, images):
    """FLOPs of training on ``images`` images (with repeats): 6 for each MAC.

    Two FLOPs for a MAC, and the backward pass does twice the work of the forward pass: gradients
    for the inputs and for the weights.

    >>> from vit_teach import PRESETS
    >>> round(training_flops(PRESETS["ViT-B/16"], 1000) / 1e15, 3)
    0.105
    """
    return 6 * macs(config) * images


def exaflops(config, epochs, images=JFT_IMAGES):
    """ExaFLOPs (10^18) of ``epochs`` passes over ``images`` images, to set beside Table 6.

    The classifier is left out: the paper does not say how it counted it. With JFT's 18,000 classes
    it would add 0.4 % for ViT-B/32 and less for the others.

    >>> from vit_teach import PRESETS
    >>> round(exaflops(PRESETS["ViT-B/16"], epochs=7))
    224
    """
    backbone = sum(row["macs"] for row in breakdown(config) if row["part"] != "head")
    return 6 * backbone * images * epochs / 1e18


def attention_share(config):
    """The part of a block's MACs that grows with T^2: q k^T and the weighted sum of values.

    >>> from vit_teach import PRESETS
    >>> round(attention_share(PRESETS["ViT-B/16"]), 3)
    0.041
    """
    tokens, dim, hidden = config.num_tokens, config.embed_dim, config.mlp_dim
    pairs = 2 * tokens**2 * dim
    return pairs / (pairs + 4 * tokens * dim**2 + 2 * tokens * dim * hidden)


def _row(part, shape, params, macs=0):
    return {"part": part, "shape": tuple(shape), "params": params, "macs": macs}


def _linear(part, tokens, inputs, outputs):
    """A linear layer with bias on each of ``tokens`` vectors."""
    shape = (tokens, outputs) if tokens > 1 else (outputs,)
    return _row(part, shape, inputs * outputs + outputs, tokens * inputs * outputs)


def _conv(part, before, width, kernel, side, bias=False):
    """A convolution that ends in a map of ``side`` = (height, width)."""
    weights = before * width * prod(kernel)
    return _row(part, (width, *side), weights + bias * width, weights * prod(side))


def _transformer_rows(config):
    tokens, dim = config.num_tokens, config.embed_dim
    if isinstance(config, PaperHybridConfig):
        rows = _paper_stem_rows(config)
    else:
        rows = _stem_rows(config) if isinstance(config, HybridConfig) else [_patch_row(config)]
    if config.class_token:
        rows.append(_row("cls_token", (tokens - config.registers, dim), dim))
    placed = (tokens - config.registers, dim)  # registers have no row in the table
    if config.position != "none":
        learned = config.position == "learned"
        rows.append(_row("pos_embed", placed, prod(placed) if learned else 0))
    if config.registers:
        rows.append(_row("reg_token", (tokens, dim), config.registers * dim))
    for i in range(config.depth):
        rows += _block_rows(f"blocks.{i}", config)
    norm = _row("norm", (tokens, dim), 2 * dim)
    pool = _row("pool", (dim,), 0)
    rows += [pool, _row("fc_norm", (dim,), 2 * dim)] if config.fc_norm else [norm, pool]
    return [*rows, _linear("head", 1, dim, config.num_classes)]


def _patch_row(config):
    """The projection E: N patches of P^2 C numbers to D numbers each."""
    inputs = config.in_channels * prod(config.patch_size)
    return _linear("patch_embed", config.num_patches, inputs, config.embed_dim)


def _block_rows(name, config):
    tokens, dim, hidden = config.num_tokens, config.embed_dim, config.mlp_dim
    pairs = 2 * tokens**2 * dim  # q k^T, then the weights times v
    return [
        _row(f"{name}.norm1", (tokens, dim), 2 * dim),
        _linear(f"{name}.attn.qkv", tokens, dim, 3 * dim),
        _row(f"{name}.attn.weights", (config.num_heads, tokens, tokens), 0, pairs),
        _linear(f"{name}.attn.proj", tokens, dim, dim),
        _row(f"{name}.norm2", (tokens, dim), 2 * dim),
        _linear(f"{name}.mlp.fc1", tokens, dim, hidden),
        _linear(f"{name}.mlp.fc2", tokens, hidden, dim),
    ]


def _stem_rows(config):
    """A hybrid's convolutions; a BatchNorm's two numbers a channel are counted with its layer."""
    if config.stem == "residual":
        return _residual_stem_rows(config)
    rows, before, side = [], config.in_channels, config.image_size
    normed = config.stem == "conv"
    for i, width in enumerate(config.stem_widths):
        if normed and i > 0:
            side = tuple(n // 2 for n in side)
        row = _conv(f"patch_embed.conv{i + 1}", before, width, (3, 3), side)
        row["params"] += 2 * width * normed
        if config.stem == "cct":  # the convolution runs before the pooling halves its map
            side = tuple(n // 2 for n in side)
            row["shape"] = (width, *side)
        rows.append(row)
        before = width
    if config.stem == "cct":
        return rows
    kernel = 2 * config.patch_size[0] if config.stem == "overlap" else 1
    grid = config.grid_size
    last = _conv("patch_embed.proj", before, config.embed_dim, (kernel, kernel), grid, bias=True)
    return [*rows, last]


def _residual_stem_rows(config):
    side, before = config.image_size, config.stem_widths[0]
    rows = [_normed("patch_embed.conv", config.in_channels, before, (3, 3), side)]
    for i, width in enumerate(config.stem_widths[1:], start=1):
        side = tuple(n // 2 for n in side)
        stride = 1 if i == 1 else 2  # the max-pooling has halved the first block's map
        rows += _residual_rows(f"patch_embed.block{i}", before, width, stride, side)
        before = width
    proj = _conv("patch_embed.proj", before, config.embed_dim, (1, 1), config.grid_size, bias=True)
    return [*rows, proj]


def _normed(part, before, width, kernel, side):
    """A convolution and its BatchNorm, which has two numbers a channel."""
    row = _conv(part, before, width, kernel, side)
    row["params"] += 2 * width
    return row


def _residual_rows(name, before, width, stride, side):
    """A residual block of two convolutions whose output map is ``side``."""
    rows = [
        _normed(f"{name}.conv1", before, width, (3, 3), side),
        _normed(f"{name}.conv2", width, width, (3, 3), side),
    ]
    if stride != 1 or before != width:
        rows.append(_normed(f"{name}.downsample", before, width, (1, 1), side))
    return rows


def _paper_stem_rows(config):
    """The paper's ResNet; a group norm's two numbers a channel are counted with its layer."""
    side = _shrunk(config.image_size, 2)
    rows = [_conv("patch_embed.root", config.in_channels, ROOT_WIDTH, (7, 7), side)]
    side, before = _shrunk(side, 2), ROOT_WIDTH
    for number, (middle, after, first_stride, units) in enumerate(config.stages):
        for i in range(units):
            stride, large = (first_stride if i == 0 else 1), side
            side, name = _shrunk(side, stride), f"patch_embed.stages.{number}.{i}"
            rows += [
                _conv(f"{name}.conv1", before, middle, (1, 1), large),
                _conv(f"{name}.conv2", middle, middle, (3, 3), side),
                _conv(f"{name}.conv3", middle, after, (1, 1), side),
            ]
            if stride != 1 or before != after:
                rows.append(_conv(f"{name}.downsample", before, after, (1, 1), side))
            before = after
    for row in rows:
        row["params"] += 2 * row["shape"][0]
    last = _conv("patch_embed.proj", before, config.embed_dim, (1, 1), config.grid_size, bias=True)
    return [*rows, last]


def _shrunk(side, stride):
    return tuple(-(-n // stride) for n in side)  # rounded up, as the padding does


def _resnet_rows(config):
    side, before = config.image_size, config.width
    rows = [_normed("conv1", config.in_channels, config.width, (3, 3), side)]
    for number, (width, first_stride) in enumerate(config.stages, start=1):
        for i in range(config.blocks_per_stage):
            stride = first_stride if i == 0 else 1
            side = tuple(n // stride for n in side)
            rows += _residual_rows(f"layer{number}.{i}", before, width, stride, side)
            before = width
    return [*rows, _row("pool", (before,), 0), _linear("fc", 1, before, config.num_classes)]


# --- Measured, beside the formulas --------------------------------------------------------------


def samples(function, *inputs, at_least=0.15):
    """Processor time of each of several calls of ``function(*inputs)``: a list of seconds.

    One thread; the call is repeated at least three times, and until it has used ``at_least``
    seconds. The clock counts only what this thread computes, so other programs on the machine
    disturb it little. Only for work on a CPU: a GPU computes beside the processor.

    >>> len(samples(torch.add, torch.zeros(8), 1.0, at_least=0))
    3
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        function(*inputs)  # the first call also pays for preparations
        times = []
        while len(times) < 3 or sum(times) < at_least:
            start = time.thread_time()
            function(*inputs)
            times.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return times


def seconds(function, *inputs, at_least=0.15):
    """Processor time of ``function(*inputs)`` in seconds: the fastest of :func:`samples`.

    >>> 0 < seconds(torch.add, torch.zeros(8), 1.0, at_least=0) < 1
    True
    """
    return min(samples(function, *inputs, at_least=at_least))
