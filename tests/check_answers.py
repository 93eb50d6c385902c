"""Answers to the exercises as learners write them: wrong ones with the words they must hear, and
right ones written in different ways. One table a chapter; the checks themselves are not used."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

import vit_teach as vt


def cut(images, p, axes):
    b, c, h, w = images.shape
    x = images.reshape(b, c, h // p[0], p[0], w // p[1], p[1])
    return x.permute(*axes).reshape(b, (h // p[0]) * (w // p[1]), -1)


def cut_unfold(images, p):
    x = images.unfold(2, p[0], p[0]).unfold(3, p[1], p[1])
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def cut_loop(images, p):
    rows = []
    for strip in images.split(p[0], dim=2):
        rows += [piece.flatten(1) for piece in strip.split(p[1], dim=3)]
    return torch.stack(rows, dim=1)


def cut_einsum(images, p):
    b, c, h, w = images.shape
    x = images.view(b, c, h // p[0], p[0], w // p[1], p[1])
    return torch.einsum("bcyixj->byxcij", x).flatten(3).flatten(1, 2)


def spoils(images, p):
    result = cut_loop(images, p)
    images.zero_()
    return result


PATCHIFY = [
    (lambda i, p: i.view(len(i), -1, i.shape[1] * p[0] * p[1]), "single reshape moves no number"),
    (lambda i, p: i.unfold(2, p[0], p[0]).unfold(3, p[1], p[1]).reshape(
        len(i), -1, i.shape[1] * p[0] * p[1]), "channel axis stands in front"),
    (lambda i, p: cut(i, p, (0, 4, 2, 1, 3, 5)), "run down the columns"),
    (lambda i, p: cut(i, p, (0, 2, 4, 1, 5, 3)), "inside a patch are swapped"),
    (lambda i, p: cut(i, p, (0, 2, 4, 3, 5, 1)), 'order "ppc"'),
    (lambda i, p: cut_loop(i, p).flip(0), "batch are mixed up"),
    (lambda i, p: None, "Is there a `return`"),
    (lambda i, p: cut_loop(i, p).float(), "kind of numbers"),
    (lambda i, p: vt.patchify(i, p), "switched off"),
    (spoils, "changes what it is given"),
    (lambda i, p: cut_loop(i, p).transpose(1, 2), "shape: (2, 6, 12) is wanted"),
]  # fmt: skip
PATCHIFY_RIGHT = [cut_unfold, cut_loop, cut_einsum]


def square(function):
    return lambda images, p: function(images, (p, p))


def paste(patches, p, size, channels, axes=(0, 3, 1, 4, 2, 5), view="ghcyx"):
    sizes = {"g": size[0] // p[0], "h": size[1] // p[1], "c": channels, "y": p[0], "x": p[1]}
    x = patches.reshape(-1, *(sizes[axis] for axis in view))
    return x.permute(*axes).reshape(-1, channels, *size)


def paste_loop(patches, p, size, channels):
    images = torch.empty(len(patches), channels, *size, dtype=patches.dtype)
    across = size[1] // p[1]
    for n in range(patches.shape[1]):
        y, x = n // across * p[0], n % across * p[1]
        piece = patches[:, n].reshape(-1, channels, *p)
        images[:, :, y : y + p[0], x : x + p[1]] = piece
    return images


def paste_fold(patches, p, size, channels):
    folded = F.fold(patches.double().transpose(1, 2), size, kernel_size=p, stride=p)
    return folded.to(patches.dtype)


def paste_cat(patches, p, size, channels):
    pieces = patches.unflatten(2, (channels, *p)).unbind(1)
    across = size[1] // p[1]
    strips = [torch.cat(pieces[n : n + across], -1) for n in range(0, len(pieces), across)]
    return torch.cat(strips, -2)


UNPATCHIFY = [
    (lambda x, p, s, c: x.reshape(-1, c, *s), "single reshape moves no number"),
    (lambda x, p, s, c: paste(x, p, s, c, (0, 3, 4, 1, 5, 2)), "stand before the rows of the grid"),
    (lambda x, p, s, c: paste(x, p, s, c, (0, 3, 1, 2, 4, 5)), "not interleaved"),
    (lambda x, p, s, c: paste(x, p, s, c, (0, 3, 2, 4, 1, 5), "hgcyx"), "column by column"),
    (lambda x, p, s, c: paste(x, p, s, c, (0, 5, 1, 3, 2, 4), "ghyxc"), 'order "ppc"'),
    (lambda x, p, s, c: paste_loop(x.flip(1), p, s, c), "mirrored"),
    (lambda x, p, s, c: paste_loop(x, p, s, c).permute(0, 2, 3, 1), "shape: (2, 3, 4, 6)"),
    (lambda x, p, s, c: vt.unpatchify(x, p, s, c), "switched off"),
]  # fmt: skip
UNPATCHIFY_RIGHT = [paste_loop, paste_fold, paste_cat, paste]


def where_by_index(c, y, x, width, patch):
    line = torch.arange(width).view(-1, patch)
    column = int((line == x).any(1).nonzero())
    return [y // patch * len(line) + column, c * patch**2 + y % patch * patch + x % patch]


def where_divmod(c, y, x, width, patch):
    (row, inner_y), (column, inner_x) = divmod(y, patch), divmod(x, patch)
    return torch.tensor(row * (width // patch) + column), c * patch**2 + inner_y * patch + inner_x


def number(c, y, x, w, p):
    return y // p * (w // p) + x // p


def inside(c, y, x, w, p):
    return c * p * p + y % p * p + x % p


WHERE = [
    (lambda *q: (q[2] // q[4] * (q[3] // q[4]) + q[1] // q[4], inside(*q)), "swapped in the patch"),
    (lambda *q: (q[1] // q[4] * q[3] + q[2] // q[4], inside(*q)), "not the width"),
    (lambda *q: (number(*q), (q[0] * q[4] + q[2] % q[4]) * q[4] + q[1] % q[4]), "swapped inside"),
    (lambda *q: (number(*q), q[0] * q[4] + q[1] % q[4] * q[4] + q[2] % q[4]), "slowest axis"),
    (lambda *q: (number(*q), (q[1] % q[4] * q[4] + q[2] % q[4]) * 3 + q[0]), 'order "ppc"'),
    (lambda *q: (inside(*q), number(*q)), "place first and the patch's number second"),
    (lambda *q: (number(*q) + 1, inside(*q) + 1), "count from one"),
    (lambda *q: number(*q), "a tuple of 2 is wanted"),
]  # fmt: skip
WHERE_RIGHT = [where_by_index, where_divmod, lambda *q: (number(*q), inside(*q))]

# --- Chapter 3 ----------


def conv(images, weight, bias):
    """A strided convolution by hand: (B, D, gh, gw)."""
    x = images.unfold(2, weight.shape[2], weight.shape[2])
    x = x.unfold(3, weight.shape[3], weight.shape[3])  # (B, C, gh, gw, PH, PW)
    return torch.einsum("bcyxij,dcij->bdyx", x, weight) + bias[:, None, None]


def tokens_unfold(images, weight, bias):
    x = F.unfold(images, weight.shape[2:], stride=weight.shape[2:])  # (B, C PH PW, N)
    return F.linear(x.mT, weight.flatten(1), bias)


def tokens_linear(images, weight, bias):
    layer = nn.Linear(weight[0].numel(), len(weight)).double()
    with torch.no_grad():
        layer.weight.copy_(weight.flatten(1))
        layer.bias.copy_(bias)
    return layer(vt.patchify(images, tuple(weight.shape[2:])))


def tokens_conv(images, weight, bias):
    return conv(images, weight, bias).flatten(2).transpose(1, 2)


def ppc(images, weight, bias):
    return vt.patchify(images, tuple(weight.shape[2:]), "ppc") @ weight.flatten(1).mT + bias


PROJECTION = [
    (lambda i, w, b: tokens_conv(i, w, 0 * b), "bias is missing"),
    (ppc, 'order "ppc"'),
    (lambda i, w, b: conv(i, w, b).flatten(2), "width must come last"),
    (lambda i, w, b: conv(i, w, b).mT.flatten(2).mT, "down the columns"),
    (lambda i, w, b: conv(i, w, b).reshape(len(i), -1, len(w)), "mixes channels and places"),
    (lambda i, w, b: tokens_conv(i, w.flip(-1, -2), b), "mirrored"),
    (lambda i, w, b: vt.patchify(i, tuple(w.shape[2:])) @ w.reshape(-1, len(w)) + b, "transposed"),
    (lambda i, w, b: F.conv2d(i, w, b, stride=w.shape[2:]), "switched off"),
    (lambda i, w, b: nn.Conv2d(3, 4, 2)(i), "switched off"),
]  # fmt: skip
PROJECTION_RIGHT = [tokens_unfold, tokens_linear, tokens_conv]


def params(i, p, c, d):
    return c * p * p * d + d


def macs(i, p, c, d):
    return (i // p) ** 2 * c * p * p * d


COST = [
    (lambda *q: (params(*q) - q[3], macs(*q)), "lack the bias"),
    (lambda i, p, c, d: (c * p * d + d, (i // p) ** 2 * c * p * d), "not patch"),
    (lambda i, p, c, d: (params(i, p, 1, d), macs(i, p, 1, d)), "you count one"),
    (lambda i, p, c, d: (params(i, p, c, d), macs(p, p, c, d)), "single patch"),
    (lambda i, p, c, d: (params(i, p, c, d), macs(i, p, c, d) // (i // p)), "one row of patches"),
    (lambda i, p, c, d: (params(i, p, c, d), (i // p) ** 2 * params(i, p, c, d)), "no multiplic"),
    (lambda *q: (macs(*q), params(*q)), "MACs first"),
    (lambda i, p, c, d: ((i // p) ** 2 * params(i, p, c, d), macs(i, p, c, d)), "same matrix"),
    (lambda *q: (1.5, 2), "is wanted, yours is"),
]  # fmt: skip


def cost_by_layer(i, p, c, d):
    layer = nn.Conv2d(c, d, p, p)
    return sum(x.numel() for x in layer.parameters()), layer.weight.numel() * (i // p) ** 2


COST_RIGHT = [
    cost_by_layer,
    lambda *q: [params(*q), macs(*q)],
    lambda i, p, c, d: ((c * p**2 + 1) * d, c * i * i * d),
]
GOOGLE = [
    (lambda k: k.T if hasattr(k, "T") else k, "rows and columns"),
    (lambda k: k.reshape(k.shape[3], k.shape[2], *k.shape[:2]), "a reshape gives this shape too"),
    (lambda k: k.movedim(3, 0), "right after the filter"),
    (lambda k: k.permute(2, 3, 0, 1), "filter comes first"),
    (lambda k: k, "as it came"),
    (lambda k: k.permute(3, 2, 0, 1).flip((2, 3)), "mirrored"),
    (lambda k: k.permute(3, 2, 0, 1).float(), "kind of numbers"),
]
GOOGLE_RIGHT = [
    lambda k: torch.einsum("yxcd->dcyx", k),
    lambda k: k.movedim((3, 2), (0, 1)),
    lambda k: k.transpose(0, 3).transpose(1, 2).transpose(2, 3),
]


def double_kron(w):
    return torch.kron(w, torch.full((1, 1, 2, 2), 0.25, dtype=w.dtype))


TWICE = [
    (lambda w: 4 * double_kron(w), "must sum to the old one"),
    (lambda w: 2 * double_kron(w), "half of it"),
    (lambda w: torch.cat([torch.cat([w, w], 2)] * 2, 3) / 4, "laid beside itself"),
    (lambda w: F.interpolate(w, scale_factor=2.0, mode="bilinear") / 4, "mixture of neighbours"),
    (lambda w: double_kron(w).mT, "swapped"),
    (lambda w: w.repeat_interleave(2, -1) / 2, "only the columns"),
    (lambda w: w.repeat_interleave(2, -2) / 2, "only the rows"),
]
TWICE_RIGHT = [
    double_kron,
    lambda w: F.interpolate(w / 4, scale_factor=2, mode="nearest"),
    lambda w: (w / 4)[:, :, :, None, :, None].expand(*w.shape[:3], 2, w.shape[3], 2)
    .flatten(4).flatten(2, 3),
]  # fmt: skip

# --- Chapter 4 ----------


def line(n, d, base=10000.0, start=0, extra=0):
    i = torch.arange(d // 2)
    angle = torch.outer(torch.arange(n) + start, base ** (-2 * i / (d - extra)))
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


def line_loop(n, d):
    rows = []
    for place in range(n):
        angles = [place / 10000 ** (2 * i / d) for i in range(d // 2)]
        rows.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    return torch.tensor(rows)


def line_complex(n, d):
    omega = torch.exp(-math.log(10000.0) * torch.arange(0, d, 2).double() / d)
    turn = torch.polar(torch.ones(1).double(), torch.arange(n).double()[:, None] * omega)
    return torch.cat([turn.imag, turn.real], -1)


def interleaved(n, d):
    table = torch.empty(n, d)
    table[:, ::2], table[:, 1::2] = line(n, d).chunk(2, dim=1)
    return table


SINCOS = [
    (interleaved, "alternate"),
    (lambda n, d: torch.cat(line(n, d).chunk(2, 1)[::-1], 1), "cosines stand first"),
    (lambda n, d: line(n, d, base=100.0), "yours is i / dim"),
    (lambda n, d: line(n, d, extra=2), "by dim / 2, not by"),
    (lambda n, d: line(n, d, start=1), "numbered from 0"),
    (lambda n, d: line(n, d).T, "the table is turned"),
    (lambda n, d: line(n, d, base=1e-4), "must fall"),
    (lambda n, d: torch.zeros(n, d), "right shape, wrong content"),
    (lambda n, d: vt.sincos_1d(n, d), "switched off"),
]
SINCOS_RIGHT = [line, line_loop, line_complex]


def plane(grid, d, order="xXyY", divisor=None, start=0, turned=False):
    omega = 1 / 10000 ** (torch.arange(d // 4).double() / (divisor or d // 4 - 1))
    places = [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    if turned:
        places.sort(key=lambda place: place[::-1])
    y, x = (torch.tensor(places).double() + start).T[..., None] * omega
    parts = {"x": x.sin(), "X": x.cos(), "y": y.sin(), "Y": y.cos()}
    return torch.cat([parts[name] for name in order], dim=1)


def plane_expand(grid, d):
    omega = 10000 ** -torch.linspace(0, 1, d // 4, dtype=torch.float64)
    rows, columns = (torch.outer(torch.arange(n).double(), omega) for n in grid)
    rows = torch.cat([rows.sin(), rows.cos()], 1)[:, None].expand(-1, grid[1], -1)
    columns = torch.cat([columns.sin(), columns.cos()], 1)[None].expand(grid[0], -1, -1)
    return torch.cat([columns, rows], 2).flatten(0, 1)


def plane_loop(grid, d):
    rows = []
    omega = [10000 ** (-i / (d / 4 - 1)) for i in range(d // 4)]
    for y in range(grid[0]):
        for x in range(grid[1]):
            rows.append([f(place * w) for place in (x, y) for f in (math.sin, math.cos)
                         for w in omega])  # fmt: skip
    return torch.tensor(rows)


SINCOS_2D = [
    (lambda g, d: plane(g, d, "yYxX"), "rows and columns are swapped"),
    (lambda g, d: plane(g, d, turned=True), "run down the columns"),
    (lambda g, d: plane(g, d, "xyXY"), "quarters are sin x, sin y"),
    (lambda g, d: plane(g, d, "XxYy"), "cosines stand before"),
    (lambda g, d: plane(g, d, divisor=d // 4), "dim / 4 - 1"),
    (lambda g, d: plane(g, d, start=1), "numbered from 0"),
    (lambda g, d: line(g[0] * g[1], d), "table of a line"),
    (lambda g, d: vt.sincos_2d(g, d), "switched off"),
]
SINCOS_2D_RIGHT = [plane, plane_expand, plane_loop]


def prepend(patches, cls, table):
    return torch.cat([cls.repeat(len(patches), 1, 1), patches], 1) + table


def prepend_fill(patches, cls, table):
    b, n, d = patches.shape
    result = table.repeat(b, 1, 1)
    result[:, :1] += cls
    result[:, 1:] += patches
    return result


def in_place(patches, cls, table):
    patches += table[:, 1:]
    return torch.cat([(cls + table[:, :1]).expand(len(patches), -1, -1), patches], 1)


TOKENS = [
    (lambda x, c, t: torch.cat([x, c.expand(len(x), -1, -1)], 1) + t, "stands at the end"),
    (lambda x, c, t: torch.cat([c.expand(len(x), -1, -1), x + t[:, 1:]], 1), "gets no position"),
    (lambda x, c, t: torch.cat([c + t[:, -1:], x[:1] + t[:, :-1]], 1)
        if len(x) == 1 else torch.cat([(c + t[:, -1:]).expand(len(x), -1, -1), x + t[:, :-1]], 1),
        "right shape, wrong content"),
    (lambda x, c, t: torch.cat([c.expand(len(x), -1, -1), x], 1) + t.roll(-1, 1), "too far"),
    (lambda x, c, t: torch.cat([c.expand(len(x), -1, -1), x], 1), "table is missing"),
    (lambda x, c, t: torch.cat([c.expand(len(x), -1, -1), x], 1) * t, "not multiplied"),
    (lambda x, c, t: x + t[:, 1:], "must grow by one"),
    (lambda x, c, t: x + c + t[:, 1:], "added to every patch"),
    (lambda x, c, t: prepend(x, c, t[:, :1]), "same position"),
    (in_place, "changes what it is given"),
    (lambda x, c, t: torch.cat([c, x], 1) + t, "stops with RuntimeError"),
]  # fmt: skip
TOKENS_RIGHT = [
    prepend,
    prepend_fill,
    lambda x, c, t: torch.stack([torch.vstack([c[0], image]) + t[0] for image in x]),
]


def stretch(table, old, new, mode="bilinear", align=True):
    cls, rest = table[:, :1], table[:, 1:]
    picture = rest.unflatten(1, old).movedim(3, 1)
    picture = F.interpolate(picture, new, mode=mode, align_corners=align)
    return torch.cat([cls, picture.flatten(2).mT], 1)


def weights(old, new):
    """The matrix (new, old) of linear interpolation with aligned corners."""
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for n in range(new):
        place = n * (old - 1) / (new - 1) if new > 1 else 0.0
        low = min(int(place), old - 1)
        high = min(low + 1, old - 1)
        matrix[n, low] += 1 - (place - low)
        matrix[n, high] += place - low
    return matrix


def stretch_matrices(table, old, new):
    grid = table[0, 1:].reshape(*old, -1)
    mixed = torch.einsum("ya,xb,abd->yxd", weights(old[0], new[0]), weights(old[1], new[1]), grid)
    return torch.cat([table[0, :1], mixed.flatten(0, 1)])[None]


def stretch_upsample(table, old, new):
    grid = table[0, 1:].T.reshape(1, -1, *old)
    grid = nn.Upsample(new, mode="bilinear", align_corners=True)(grid)
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


def stretch_view(table, old, new):
    picture = table[:, 1:].reshape(1, table.shape[2], *old)
    picture = F.interpolate(picture, new, mode="bilinear", align_corners=True)
    return torch.cat([table[:, :1], picture.reshape(1, new[0] * new[1], -1)], 1)


def stretch_line(table, old, new):
    rest = F.interpolate(table[:, 1:].mT, new[0] * new[1], mode="linear", align_corners=True).mT
    return torch.cat([table[:, :1], rest], 1)


def stretch_all(table, old, new):
    moved = stretch(table.roll(1, 1), old, new)
    return torch.cat([moved[:, :1], moved[:, 1:]], 1)


RESIZE = [
    (lambda t, o, n: t if o[0] * o[1] == n[0] * n[1] else stretch(t, o, n), "compare the grids"),
    (lambda t, o, n: stretch(t, o, n, align=False), "corners are not aligned"),
    (lambda t, o, n: stretch(t, o, n, mode="bicubic"), "this is bicubic"),
    (stretch_view, "takes a permute"),
    (stretch_line, "along the sequence"),
    (lambda t, o, n: stretch(t, o[::-1], n[::-1]), "height and width"),
    (lambda t, o, n: stretch(t, o, n).roll(-1, 1), "stands at the end"),
    (lambda t, o, n: stretch(t, o, n)[:, 1:], "row is lost"),
    (lambda t, o, n: torch.cat([0 * t[:, :1], stretch(t, o, n)[:, 1:]], 1), "yours is zero"),
    (stretch_all, "set row 0 aside"),
    (lambda t, o, n: vt.resize_positions(t, o, n), "switched off"),
]
RESIZE_RIGHT = [stretch, stretch_matrices, stretch_upsample]

# --- Chapter 5 ----------


def mix(q, k, v, divide=None, dim=-1):
    scores = torch.einsum("...ic,...jc->...ij", q, k)
    scores = scores / (math.sqrt(q.size(-1)) if divide is None else divide)
    return torch.softmax(scores, dim) @ v


def mix_by_hand(q, k, v):
    weights = torch.exp(q @ k.mT / q.shape[-1] ** 0.5)
    return weights / weights.sum(-1, keepdim=True) @ v


def mix_in_pieces(q, k, v):
    largest = torch.full(q.shape[:-1] + (1,), -torch.inf, dtype=q.dtype)
    total, result = torch.zeros_like(largest), torch.zeros_like(v)
    for n in range(k.shape[-2]):
        score = (q * k[..., n : n + 1, :]).sum(-1, keepdim=True) / q.shape[-1] ** 0.5
        new = torch.maximum(largest, score)
        total = total * (largest - new).exp() + (score - new).exp()
        result = result * (largest - new).exp() + (score - new).exp() * v[..., n : n + 1, :]
        largest = new
    return result / total


ATTENTION = [
    (lambda q, k, v: mix(q, k, v, 1), "are not scaled"),
    (lambda q, k, v: mix(q, k, v, q.shape[-1]), "its square root is wanted"),
    (lambda q, k, v: mix(q, k, v, q.shape[-1] ** -0.5), "divide by it"),
    (lambda q, k, v: mix(q, k, v, dim=-2), "over the queries"),
    (lambda q, k, v: mix(k, q, v), "queries and keys are swapped"),
    (lambda q, k, v: q @ k.mT / q.shape[-1] ** 0.5 @ v, "no softmax"),
    (lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1), "applied to the values"),
    (lambda q, k, v: mix(q, k, v, q.shape[-2] ** 0.5), "number of tokens"),
    (lambda q, k, v: mix(q, k, k), "applied to the keys"),
    (lambda q, k, v: vt.attend(q, k, v), "switched off"),
    (lambda q, k, v: F.scaled_dot_product_attention(q, k, v), "switched off"),
]
ATTENTION_RIGHT = [mix, mix_by_hand, mix_in_pieces]


def rows_loop(q, k, v, width):
    parts = [mix(*one) for one in zip(*(x.split(width) for x in (q, k, v)), strict=True)]
    return torch.cat(parts)


def rows_batch(q, k, v, width):
    return mix(*(x.unflatten(0, (-1, width)) for x in (q, k, v))).flatten(0, 1)


def rows_mask(q, k, v, width, same="//"):
    i = torch.arange(len(q))
    group = i // width if same == "//" else i % width
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.where(group[:, None] == group, -torch.inf).softmax(-1) @ v


def rows_after(q, k, v, width):
    i = torch.arange(len(q)) // width
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) * (i[:, None] == i) @ v


def rows_zero(q, k, v, width):
    i = torch.arange(len(q)) // width
    return (q @ k.mT / q.shape[-1] ** 0.5).where(i[:, None] == i, 0.0).softmax(-1) @ v


def rows_others(q, k, v, width):
    i = torch.arange(len(q)) // width
    return (q @ k.mT / q.shape[-1] ** 0.5).where(i[:, None] != i, -torch.inf).softmax(-1) @ v


def rows_causal(q, k, v, width):
    i = torch.arange(len(q))
    return (q @ k.mT / q.shape[-1] ** 0.5).where(i[:, None] >= i, -torch.inf).softmax(-1) @ v


ROWS = [
    (lambda q, k, v, w: mix(q, k, v), "mask is missing"),
    (lambda q, k, v, w: rows_mask(q, k, v, w, "%"), "own column"),
    (lambda q, k, v, w: rows_loop(q, k, v, len(q) // w), "grid is turned"),
    (rows_after, "no longer sum to 1"),
    (rows_zero, "a score of 0 is no mask"),
    (rows_others, "all rows but their own"),
    (rows_causal, "causal mask"),
    (lambda q, k, v, w: rows_loop(q * q.shape[1] ** 0.5, k, v, w), "not scaled"),
    (lambda q, k, v, w: vt.attend(q, k, v), "switched off"),
]
ROWS_RIGHT = [rows_loop, rows_batch, rows_mask]


class Heads(nn.Module):
    """Right; its children change one thing each."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def split(self, x):
        """(B, T, 3D) to q, k, v of (B, H, T, h)."""
        b, t, _ = x.shape
        return x.view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)

    def mix(self, q, k, v):
        return mix(q, k, v)

    def join(self, x):
        return x.transpose(1, 2).flatten(2)

    def forward(self, x):
        return self.proj(self.join(self.mix(*self.split(self.qkv(x)))))


class HeadsLoop(Heads):
    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        parts = (part.chunk(self.heads, dim=-1) for part in (q, k, v))
        return self.proj(torch.cat([mix(*one) for one in zip(*parts, strict=True)], -1))


class HeadsEinsum(Heads):
    def forward(self, x):
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, -1))
        scores = torch.einsum("bihc,bjhc->bhij", q, k) / q.shape[-1] ** 0.5
        return self.proj(torch.einsum("bhij,bjhc->bihc", scores.softmax(-1), v).flatten(2))


class OneHead(Heads):
    def split(self, x):
        return x.view(*x.shape[:2], 3, 1, -1).permute(2, 0, 3, 1, 4)


class ByHead(Heads):
    def split(self, x):
        return x.view(*x.shape[:2], self.heads, 3, -1).permute(3, 0, 2, 1, 4)


class FastHead(Heads):
    def split(self, x):
        return x.view(*x.shape[:2], 3, -1, self.heads).permute(2, 0, 4, 1, 3)


class KeysFirst(Heads):
    def split(self, x):
        return super().split(x)[[1, 0, 2]]


class ValuesFirst(Heads):
    def split(self, x):
        return super().split(x).flip(0)


class NoTranspose(Heads):
    def join(self, x):
        b, heads, t, h = x.shape
        return x.reshape(b, t, heads * h)


class WholeWidth(Heads):
    def mix(self, q, k, v):
        return mix(q, k, v, (self.heads * q.shape[-1]) ** 0.5)


class NoScale(Heads):
    def mix(self, q, k, v):
        return mix(q, k, v, 1)


class NoProjection(Heads):
    def forward(self, x):
        return self.join(self.mix(*self.split(self.qkv(x))))


class NoBias(Heads):
    def __init__(self, dim, heads):
        super().__init__(dim, heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)


class NoForward(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)


MULTI_HEAD = [
    (OneHead, "one head over the whole width"),
    (ByHead, "read head by head"),
    (FastHead, "neighbouring channels"),
    (KeysFirst, "roles are mixed up"),
    (ValuesFirst, "values and queries are swapped"),
    (NoTranspose, "without a transpose"),
    (WholeWidth, "root of the whole width"),
    (NoScale, "not scaled"),
    (NoProjection, "last projection is missing"),
    (NoBias, "the layer's parts: qkv.bias"),
    (NoForward, "forward"),
    (lambda dim, heads: vt.MultiHeadAttention(dim, heads), "switched off"),
]
MULTI_HEAD_RIGHT = [Heads, HeadsLoop, HeadsEinsum]


def repack_loop(rows, heads):
    h = len(rows) // (3 * heads)
    order = [(head * 3 + role) * h + c for role in range(3) for head in range(heads)
             for c in range(h)]  # fmt: skip
    return rows[order]


def repack_slices(rows, heads):
    blocks = rows.chunk(3 * heads)
    return torch.cat([block for role in range(3) for block in blocks[role::3]])


def repack_view(rows, heads):
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


REPACK = [
    (lambda r, h: r, "as they came"),
    (lambda r, h: r.unflatten(0, (3, h, -1)).transpose(0, 1).flatten(0, 2), "way back"),
    (lambda r, h: r.unflatten(0, (-1, h, 3)).transpose(0, 2).flatten(0, 2), "slowest axis"),
    (lambda r, h: r.unflatten(0, (h, 3, -1)).movedim(0, 2).flatten(0, 2), "in front of the heads"),
    (lambda r, h: r.unflatten(0, (h, -1, 3)).movedim(2, 0).flatten(0, 2), "fastest axis"),
    (lambda r, h: torch.cat(repack_view(r, h).chunk(3)[::-1]), "v, k, q"),
    (lambda r, h: repack_view(r, h).unflatten(0, (3, h, -1)).flip(1).flatten(0, 2), "reverse"),
    (lambda r, h: r.unflatten(0, (h, 3, -1)).transpose(0, 1), "shape"),
]
REPACK_RIGHT = [repack_loop, repack_slices, repack_view]

# --- Chapter 6 ----------


def norm(x, w, b, eps=1e-6, correction=0, dim=-1):
    variance, mean = torch.var_mean(x, dim, correction=correction, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + eps) * w + b


def norm_moments(x, w, b):
    mean = x.mean(-1)[..., None]
    centred = x - mean
    return b + w * centred / (centred.pow(2).mean(-1)[..., None] + 1e-6) ** 0.5


def norm_group(x, w, b):
    flat = x.reshape(-1, x.shape[-1])
    return F.group_norm(flat, 1, w, b, eps=1e-6).reshape(x.shape)


NORM = [
    (lambda x, w, b: norm(x, w, b, correction=1), "divided by D - 1"),
    (lambda x, w, b: norm(x, w, b, 1e-5), "eps is 1e-5"),
    (lambda x, w, b: (x - x.mean(-1, keepdim=True))
        / (x.std(-1, keepdim=True, correction=0) + 1e-6) * w + b, "outside the root"),
    (lambda x, w, b: norm(x, w, b, 0), "eps is missing"),
    (lambda x, w, b: norm(x, 1, 0), "weight and bias are missing"),
    (lambda x, w, b: norm(x, w, 0), "the bias is missing"),
    (lambda x, w, b: norm(x, w, b, dim=1), "over the tokens"),
    (lambda x, w, b: norm(x, w, b, dim=(1, 2)), "tokens and width"),
    (lambda x, w, b: x / (x.square().mean(-1, True) + 1e-6).sqrt() * w + b, "RMSNorm"),
    (lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-6), "switched off"),
]  # fmt: skip
NORM_RIGHT = [norm, norm_moments, norm_group]


def two_layers(x, w1, b1, w2, b2, act=F.gelu):
    return F.linear(act(F.linear(x, w1, b1)), w2, b2)


def gelu_erf(x):
    return x / 2 * (1 + torch.erf(x / math.sqrt(2)))


MLP = [
    (lambda *q: two_layers(*q, lambda x: F.gelu(x, approximate="tanh")), "tanh form"),
    (lambda *q: two_layers(*q, lambda x: x * (1.702 * x).sigmoid()), "sigmoid form"),
    (lambda *q: two_layers(*q, torch.relu), "this is ReLU"),
    (lambda *q: two_layers(*q, lambda x: x), "one linear map"),
    (lambda *q: gelu_erf(two_layers(*q)), "second GELU"),
    (lambda x, w, a, v, b: two_layers(x, w, None, v, b), "first bias"),
    (lambda x, w, a, v, b: two_layers(x, w, a, v, None), "second bias"),
    (lambda x, *q: x + two_layers(x, *q), "residual"),
    (lambda x, w, a, v, b: gelu_erf(x @ w.T + a), "second layer is missing"),
    (lambda *q: vt.vit.Mlp(4, 7)(q[0]), "switched off"),
]
MLP_RIGHT = [
    two_layers,
    lambda *q: two_layers(*q, gelu_erf),
    lambda x, w, a, v, b: torch.einsum("btm,dm->btd", nn.GELU()(x @ w.mT + a), v) + b,
]


class Block(nn.Module):
    """Right; its children change ``forward``, or the norms' eps."""

    eps = 1e-6

    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=self.eps) for _ in range(2))
        self.attn, self.mlp = vt.MultiHeadAttention(dim, heads), vt.Mlp(dim, hidden)

    def forward(self, x):
        return self.run(x, self.norm1, self.attn, self.norm2, self.mlp)

    @staticmethod
    def run(x, n, a, m, f):
        x = x + a(n(x))
        return x + f(m(x))


def block(run, eps=1e-6):
    return type("Mine", (Block,), {"run": staticmethod(run), "eps": eps})


def branches(x, n, a, m, f):
    for normalise, branch in ((n, a), (m, f)):
        x = torch.add(branch(normalise(x)), x)
    return x


ENCODER = [
    (block(lambda x, n, a, m, f: m(n(x + a(x)) + f(n(x + a(x))))), "post-norm"),
    (block(lambda x, n, a, m, f: a(n(x)) + f(m(a(n(x))))), "first residual"),
    (block(lambda x, n, a, m, f: f(m(x + a(n(x))))), "second residual"),
    (block(lambda x, n, a, m, f: m(n(x) + a(n(x))) + f(m(n(x) + a(n(x))))), "round the norm"),
    (block(lambda x, n, a, m, f: x + a(n(x)) + f(m(x))), "both branches"),
    (block(lambda x, n, a, m, f: x + a(n(x)) + f(n(x + a(n(x))))), "norm1 serves twice"),
    (block(Block.run, eps=1e-5), "eps 1e-5"),
    (block(lambda x, n, a, m, f: x + a(n(x)) + f(x + a(n(x)))), "MLP's input"),
    (block(lambda x, n, a, m, f: x + a(x) + f(m(x + a(x)))), "attention's input"),
    (block(lambda x, n, a, m, f: x + f(m(x)) + a(n(x + f(m(x))))), "MLP stands before"),
    (lambda *sizes: vt.EncoderBlock(*sizes), "switched off"),
    (lambda *sizes: nn.Identity(), "the layer's parts"),
]
ENCODER_RIGHT = [Block, block(branches), block(lambda x, n, a, m, f: (y := x + a(n(x))) + f(m(y)))]

JOIN = [
    (lambda *k: torch.cat([one.flatten(1) for one in k]), "not transposed"),
    (lambda *k: torch.cat([one.flatten(1) for one in k], 1), "side by side"),
    (lambda q, k, v: torch.cat([one.flatten(1).T for one in (k, q, v)]), "order is wrong"),
    (lambda *k: torch.cat([one.flatten(1).T for one in k[::-1]]), "turned round"),
    (lambda *k: torch.cat([one.mT.flatten(1).T for one in k]), "head and channel"),
    (lambda *k: torch.stack(k).permute(2, 0, 3, 1).flatten(0, 2), "by head first"),
    (lambda *k: torch.stack([one.flatten(1).T for one in k]), "shape"),
]
JOIN_RIGHT = [
    lambda *k: torch.cat([one.permute(1, 2, 0).flatten(0, 1) for one in k]),
    lambda *k: torch.stack(k).permute(0, 2, 3, 1).flatten(0, 2),
    lambda *k: torch.cat(k, dim=1).permute(1, 2, 0).reshape(-1, len(k[0])),
]

# --- Chapter 7 ----------


def walk(layers, own=False, plus=1, pad=True):
    size, jump, start = 1, 1, 0
    for k, s, p in layers:
        jump_here = jump * s if own else jump
        size, start = size + (k - plus) * jump_here, start - p * jump_here
        jump *= s
    return size, jump, start


def walk_back(layers):
    low, high, jump = 0, 0, 1
    for k, s, p in reversed(layers):
        low, high, jump = low * s - p, high * s - p + k - 1, jump * s
    return [high - low + 1, jump, low]


def walk_sums(layers):
    jumps = [math.prod(s for _, s, _ in layers[:n]) for n in range(len(layers) + 1)]
    size = 1 + sum((k - 1) * j for (k, _, _), j in zip(layers, jumps, strict=False))
    return size, jumps[-1], -sum(p * j for (_, _, p), j in zip(layers, jumps, strict=False))


WINDOW = [
    (lambda x: walk(x, own=True), "only for the layers after it"),
    (lambda x: walk(x, plus=0), "adds 2 steps"),
    (lambda x: (sum(k for k, _, _ in x) - len(x) + 1, *walk(x)[1:]), "left out of the size"),
    (lambda x: (walk(x)[0], sum(s for _, s, _ in x), walk(x)[2]), "strides multiply"),
    (lambda x: (*walk(x)[:2], -sum(p for *_, p in x)), "in steps of that layer"),
    (lambda x: (*walk(x)[:2], abs(walk(x)[2])), "it is negative"),
    (lambda x: (*walk(x)[:2], 0), "window of unit 0 begins"),
    (lambda x: tuple(reversed(walk(x))), "the order is size"),
    (lambda x: vt.probe.receptive_field(x), "switched off"),
]
WINDOW_RIGHT = [walk, walk_back, walk_sums]


def folding(w, g, c, m, v, eps):
    factor = g / torch.sqrt(v + eps)
    return torch.einsum("dckl,d->dckl", w, factor), c - factor * m


def folding_layer(w, g, c, m, v, eps):
    conv, norm = nn.Conv2d(*w.shape[1::-1], w.shape[2], bias=False), nn.BatchNorm2d(len(w), eps)
    conv.weight.data, norm.weight.data, norm.bias.data = w, g, c
    norm.running_mean, norm.running_var = m, v
    fused = nn.utils.fusion.fuse_conv_bn_eval(conv.eval().double(), norm.eval().double())
    return [fused.weight, fused.bias]


def folding_loop(w, g, c, m, v, eps):
    filters = [w[n] * g[n] * (v[n] + eps) ** -0.5 for n in range(len(w))]
    return torch.stack(filters), torch.stack(
        [c[n] - m[n] * g[n] * (v[n] + eps) ** -0.5 for n in range(len(w))])  # fmt: skip


FOLD = [
    (lambda w, g, c, m, v, eps: folding(w, g, c, m, v, 0), "eps is missing"),
    (lambda w, g, c, m, v, eps: (w * (g / (v.sqrt() + eps)).view(-1, 1, 1, 1),
                                 c - m * g / (v.sqrt() + eps)), "outside the root"),
    (lambda w, g, c, m, v, eps: (w * (g / (v + eps)).view(-1, 1, 1, 1), c - m * g / (v + eps)),
     "its root is wanted"),
    (lambda w, g, c, m, v, eps: folding(w, g * 0 + 1, c, m, v, eps), "gain is missing"),
    (lambda w, g, c, m, v, eps: folding(w, g, c, -m, v, eps), "wrong sign"),
    (lambda w, g, c, m, v, eps: (folding(w, g, c, m, v, eps)[0], c - m), "same factor"),
    (lambda w, g, c, m, v, eps: (folding(w, g, c, m, v, eps)[0], c), "mean is missing"),
    (lambda w, g, c, m, v, eps: folding(w, g, 0 * c, m, v, eps), "shift is missing"),
    (lambda w, g, c, m, v, eps: folding(w, g, c, m, v, eps)[0], "a tuple of 2"),
    (lambda w, g, c, m, v, eps: folding(w[:1], g[:1], c, m, v[:1], eps), "part 0: shape"),
    (lambda w, g, c, m, v, eps: (3, c), "part 0: a tensor is wanted"),
]  # fmt: skip
FOLD_RIGHT = [folding, folding_layer, folding_loop]


def around(kernel, left, right):
    return F.pad(kernel, (left, right, left, right))


SURROUND = [
    (lambda k: around(k, 0, len(k[0, 0])), "begins at its corner"),
    (lambda k: around(k, len(k[0, 0]), 0), "ends at its corner"),
    (lambda k: torch.cat([torch.cat([k, k], 2)] * 2, 3), "is repeated"),
    (lambda k: F.interpolate(k, scale_factor=2, mode="nearest"), "stretched"),
    (lambda k: around(k.mT, len(k[0, 0]) // 2, len(k[0, 0]) // 2), "swapped"),
    (lambda k: around(k / 4, len(k[0, 0]) // 2, len(k[0, 0]) // 2), "divided"),
    (lambda k: around(k.flip((-1, -2)), len(k[0, 0]) // 2, len(k[0, 0]) // 2), "mirrored"),
    (lambda k: k, "shape: (5, 3, 8, 8)"),
]


def surround_cat(kernel):
    d, c, p, _ = kernel.shape
    rows = torch.cat([kernel.new_zeros(d, c, p // 2, p), kernel, kernel.new_zeros(d, c, p // 2, p)],
                     dim=2)  # fmt: skip
    return F.pad(rows, (p // 2, p // 2))


def surround_index(kernel):
    p = kernel.shape[2]
    larger = torch.zeros(*kernel.shape[:2], 2 * p, 2 * p, dtype=kernel.dtype)
    larger[..., p // 2 : -(p // 2), p // 2 : -(p // 2)] = kernel
    return larger


SURROUND_RIGHT = [
    surround_cat,
    surround_index,
    lambda k: around(k, len(k[0, 0]) // 2, len(k[0, 0]) // 2),
]


def felt(stem, images, token, picture=0):
    images = images.clone().requires_grad_()
    tokens = stem(images)[picture, token]
    weights = torch.arange(1, len(tokens) + 1)  # as for the mistakes that the check knows
    return torch.autograd.grad((tokens * weights).sum(), images)[0]


def count(moved):
    return [int(one.sum()) for one in moved]


def felt_jacobian(stem, images, token):
    rows = torch.autograd.functional.jacobian(
        lambda x: stem(x)[0, token], images
    )  # (D, B, C, H, W)
    return count(rows.abs().amax(dim=(0, 2)) > 0)


def felt_by_channel(stem, images, token):
    moved = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    x = images.clone().requires_grad_()
    for value in stem(x)[0, token]:
        moved |= (torch.autograd.grad(value, x, retain_graph=True)[0] != 0).any(dim=1)
    return tuple(count(moved))


REACHED = [
    (lambda s, x, n: count(felt(s, x, n) != 0), "one pixel"),
    (lambda s, x, n: count(felt(s, x, n).amax(1) > 0), "positive"),
    (lambda s, x, n: count(felt(s, x, n, 1).abs().amax(1) > 0), "picture 1"),
    (lambda s, x, n: [one / 192 for one in count(felt(s, x, n).abs().amax(1) > 0)], "shares"),
    (lambda s, x, n: [sum(count(felt(s, x, n).abs().amax(1) > 0))] * len(x), "counted together"),
    (lambda s, x, n: [count(felt(s, x, n).abs().amax(1) > 0)[0], 0, 0][: len(x)], "only picture 0"),
    (lambda s, x, n: count(felt(s.eval(), x, n).abs().amax(1) > 0), "those of evaluation"),
    (lambda s, x, n: count(felt(s, x, n).abs().amax(1) > 0)[0], "a tuple of 2"),
]
REACHED_RIGHT = [
    felt_jacobian,
    felt_by_channel,
    lambda s, x, n: count(felt(s, x, n).abs().amax(1) > 0),
]

# --- Chapter 1 ----------


def sized(change):
    """A cost (tokens, numbers, entries) that a learner gets by changing the three numbers."""

    def cost(height, width, channels, patch):
        rows, columns = height // patch, width // patch
        return change(rows, columns, channels, patch)

    return cost


SEQUENCE = [
    (sized(lambda r, s, c, p: (r, c * p * p, r * r)), "along one side only"),
    (sized(lambda r, s, c, p: (r * r, c * p * p, r**4)), "take the image for a square"),
    (lambda h, w, c, p: (h * w, c * p * p, (h * w) ** 2), "tokens of single pixels"),
    (sized(lambda r, s, c, p: (r * s, p * p, (r * s) ** 2)), "several channels"),
    (sized(lambda r, s, c, p: (r * s, c * p, (r * s) ** 2)), "patch * patch pixels, not patch"),
    (sized(lambda r, s, c, p: (r * s, c * p * p, r * s * (r * s - 1))), "itself too"),
    (sized(lambda r, s, c, p: (r * s, c * p * p, r * s * (r * s - 1) // 2)), "stands twice"),
    (sized(lambda r, s, c, p: (r * s + 1, c * p * p, (r * s + 1) ** 2)), "class token"),
    (sized(lambda r, s, c, p: r * s), "a tuple of 3 is wanted"),
    (sized(lambda r, s, c, p: print(r)), "Is there a `return`"),
]
SEQUENCE_RIGHT = [
    sized(lambda r, s, c, p: (r * s, c * p * p, (r * s) ** 2)),
    sized(lambda r, s, c, p: [r * s, p**2 * c, r**2 * s**2]),
    lambda h, w, c, p: (*vt.patchify(torch.zeros(1, c, h, w), p).shape[1:],
                        vt.patchify(torch.zeros(1, 1, h, w), p).shape[1] ** 2),
]  # fmt: skip


def piece(image, row, column, p):
    return image[:, row * p : row * p + p, column * p : column * p + p]


TOKEN = [
    (lambda i, m, r, c, p: m @ piece(i, c, r, p).flatten(), "row and column are swapped"),
    (lambda i, m, r, c, p: m @ i[:, r : r + p, c : c + p].reshape(-1), "count patches, not pixels"),
    (lambda i, m, r, c, p: m @ piece(i, r, c, p).movedim(0, 2).flatten(), "colour stands last"),
    (lambda i, m, r, c, p: m @ piece(i, r, c, p).mT.flatten(), "inside the patch are swapped"),
    (lambda i, m, r, c, p: piece(i, r, c, p).flatten(), "this is the patch itself"),
    (lambda i, m, r, c, p: piece(i, r, c, p).reshape(1, -1) @ m.T, "yours has two"),
    (lambda i, m, r, c, p: m @ piece(i, r - 1, c - 1, p).flatten(), "counted from 0"),
    (
        lambda i, m, r, c, p: m @ vt.patchify(i[None], p)[0, r * (i.shape[2] // p) + c],
        "switched off",
    ),
]
TOKEN_RIGHT = [
    lambda i, m, r, c, p: m @ piece(i, r, c, p).reshape(-1),
    lambda i, m, r, c, p: (piece(i, r, c, p).flatten() * m).sum(dim=1),
    lambda i, m, r, c, p: torch.einsum("dn,n->d", m, i.split(p, 1)[r].split(p, 2)[c].flatten()),
    lambda i, m, r, c, p: (m @ i.unfold(1, p, p).unfold(2, p, p)[:, r, c].reshape(-1, 1))[:, 0],
]


def gaps(pixels, palette):
    return pixels.double()[:, None] - palette.double()


PALETTE = [
    (lambda x, k: ((x[:, None] - k) ** 2).sum(2).argmin(1), "the numbers wrap round"),
    (lambda x, k: (gaps(x, k).abs().byte() ** 2).sum(2).argmin(1), "the numbers wrap round"),
    (lambda x, k: gaps(x, k).norm(dim=2).argmax(1), "the farthest colours"),
    (
        lambda x, k: (x.double().mean(1)[:, None] - k.double().mean(1)).abs().argmin(1),
        "brightness only",
    ),
    (lambda x, k: gaps(x, k).mean(2).argmin(1), "either sign cancel"),
    (lambda x, k: k[gaps(x, k).norm(dim=2).argmin(1)], "the number of the colour"),
    (lambda x, k: gaps(x, k).norm(dim=2).argmin(0), "a pixel for each colour"),
    (lambda x, k: gaps(x, k).square().sum(2).amin(1).long(), "you return the distance"),
]
PALETTE_RIGHT = [
    lambda x, k: torch.cdist(x.double(), k.double()).argmin(1),
    lambda x, k: (gaps(x, k) ** 2).sum(2).min(1).indices,
    lambda x, k: torch.stack([((k.int() - one.int()) ** 2).sum(1).argmin() for one in x]),
]


def side(gigabytes, number=4, root=0.25):
    return (gigabytes * 10**9 / number) ** root


def side_by_trying(gigabytes):
    s = 0
    while 4 * (s + 1) ** 4 <= gigabytes * 10**9:
        s += 1
    return s


SIDE = [
    (lambda g: int(side(g, root=0.5)), "that is the number of tokens"),
    (lambda g: int(side(g, 1)), "you count one"),
    (lambda g: int(side(g, 32)), "do not divide bytes by 32"),
    (lambda g: int(side(g, 2)), "those of 16 bits"),
    (lambda g: int((g * 2**30 / 4) ** 0.25), "not 2**30"),
    (lambda g: int((g * 1e6 / 4) ** 0.25), "not 10**6"),
    (lambda g: math.ceil(side(g)), "larger than the memory"),
    (side, "whole pixels are wanted"),
]
SIDE_RIGHT = [
    side_by_trying,
    lambda g: math.isqrt(math.isqrt(g * 10**9 // 4)),
    lambda g: torch.tensor(side(g)).floor(),
]


def buckets(image, n=8):
    return torch.bucketize(image, torch.arange(1, n).to(image) / n, right=True).to(image)


BITS = [
    (lambda x: buckets(x) / 8, "not its lower end"),
    (lambda x: (x * 8).round() / 8, "nine values"),
    (lambda x: (x * 7).round() / 7, "seven equal steps"),
    (lambda x: (x * 8).floor() / 8 + 1 / 16, "the upper end of the last step"),
    (lambda x: (buckets(x, 3) + 0.5) / 3, "not 3"),
    (buckets, "the numbers of the steps"),
    (lambda x: (buckets(x) + 1) / 8, "step s ends at"),
    (lambda x: ((buckets(x.mean(0)) + 0.5) / 8).expand(x.shape), "a grey picture"),
    (lambda x: x.mul_(8).floor_().clamp_(max=7).add_(0.5).div_(8), "changes what it is given"),
]
BITS_RIGHT = [
    lambda x: (buckets(x) + 0.5) / 8,
    lambda x: ((x * 8).long().clamp(max=7) * 2 + 1).double() / 16,
    lambda x: (x * 8 - 1e-9).clamp(min=0).floor() / 8 + 0.0625,
]

# --- Chapter 2, the judge ----------


def pictures(*shape):
    return torch.arange(math.prod(shape)).reshape(shape)


def judging(*shape, by=torch.equal, p=2):
    """A judge that compares a cut of these pictures with slices."""

    def judge(cut):
        images = pictures(*shape)
        right = cut_loop(images, (p, p))
        got = cut(images, p)
        return by(got, right)

    return judge


def judge_by_place(cut):
    images = pictures(2, 3, 4, 6)
    patches = cut(images, 2)
    if patches.shape != (2, 6, 12):
        return False
    for b in range(2):
        for n in range(6):
            y, x = n // 3 * 2, n % 3 * 2
            if patches[b, n].tolist() != images[b, :, y : y + 2, x : x + 2].flatten().tolist():
                return False
    return True


def judge_by_fold(cut):
    images = torch.randn(3, 2, 6, 4)
    patches = cut(images, 2)
    return len(patches[0]) == 6 and torch.equal(
        F.fold(patches.transpose(1, 2), (6, 4), kernel_size=2, stride=2), images
    )


JUDGE = [
    (lambda cut: True, "your judge accepts"),
    (lambda cut: False, "refuses the right cut"),
    (judging(2, 3, 4, 6, by=lambda a, b: a.shape == b.shape), "accepts "),
    (judging(2, 1, 4, 6), "with the channel axis in front"),
    (judging(2, 3, 4, 2), "column by column"),
    (judging(1, 3, 4, 6), "mixes up the images of a batch"),
    (judging(2, 3, 4, 6, by=lambda a, b: torch.equal(a[:, :1], b[:, :1])), "first patch only"),
    (lambda cut: judging(2, 3, 4, 6)(cut) or cut(pictures(1, 3, 2, 2), 2)[0, 0, 1] == 4, '"ppc"'),
    (lambda cut: judging(2, 3, 4, 6)(cut) or cut(pictures(1, 1, 2, 2), 2)[0, 0, 1] == 2,
     "whose rows and columns are swapped"),
    (lambda cut: torch.equal(cut(pictures(2, 3, 4, 6), 2), vt.patchify(pictures(2, 3, 4, 6), 2)),
     "switched off"),
    (lambda cut: "yes", "a value of type bool is wanted"),
]  # fmt: skip
JUDGE_RIGHT = [judge_by_place, judge_by_fold, judging(2, 3, 4, 6), judging(3, 2, 9, 6, p=3)]

# --- Chapter 3, a picture that moves ----------


def gone(embed, image, moved):
    return torch.cdist(embed(moved), embed(image))


def right(image, shift, axis=2):
    return torch.roll(image, shift, axis)


def survive_loop(embed, image, shift):
    old = embed(image)
    new = embed(torch.cat([image[..., image.shape[2] - shift :], image[..., :-shift]], dim=2))
    return sum(any(torch.allclose(a, b) for b in old) for a in new)


def survive_set(embed, image, shift):
    old = {tuple(round(x, 6) for x in token) for token in embed(image).tolist()}
    new = embed(image.roll(shift, -1)).tolist()
    return len([token for token in new if tuple(round(x, 6) for x in token) in old])


SURVIVORS = [
    (lambda e, x, s: int((gone(e, x, right(x, s)).diagonal() < 1e-6).sum()), "in its own place"),
    (lambda e, x, s: int((gone(e, x, right(x, s, 1)).amin(1) < 1e-6).sum()), "moved down"),
    (lambda e, x, s: int((gone(e, x, F.pad(x, (s, 0))[..., :-s]).amin(1) < 1e-6).sum()),
     "no zeros"),
    (lambda e, x, s: int((gone(e, x, right(x, s)) < 1e-6).sum()), "counts once"),
    (lambda e, x, s: int((gone(e, x, right(x, s)).amin(1) > 1e-6).sum()), "wanted are those"),
    (lambda e, x, s: survive_set(e, x, s) / len(e(x)), "not the share"),
    (lambda e, x, s: survive_loop(e, x, s * 4), "in pixels, not in patches"),
    (lambda e, x, s: None, "Is there a `return`"),
]  # fmt: skip
SURVIVORS_RIGHT = [
    survive_loop,
    survive_set,
    lambda e, x, s: (gone(e, x, right(x, s)).amin(1) < 1e-4).sum(),
]

# --- Chapter 4, a shuffle ----------


def follow_loop(table, order):
    rows = [table[0, 0]] + [table[0, 1 + int(n)] for n in order]
    return torch.stack(rows)[None]


def shuffles_itself(table, order):
    table[:, 1:] = table[:, 1:][:, order]
    return table


SHUFFLED = [
    (lambda t, o: follow_loop(t, o.argsort()), "the inverse order"),
    (lambda t, o: t.clone(), "as it was"),
    (lambda t, o: torch.cat([t[:, :1], t[:, o]], 1), "patch i has row i + 1"),
    (lambda t, o: torch.cat([t[:, o], t[:, -1:]], 1), "stays where it is"),
    (lambda t, o: t[:, o + 1], "is lost"),
    (lambda t, o: torch.cat([t[:, o + 1], t[:, :1]], 1), "stands at the end"),
    (lambda t, o: torch.cat([0 * t[:, :1], t[:, o + 1]], 1), "yours is zero"),
    (shuffles_itself, "changes what it is given"),
]
SHUFFLED_RIGHT = [
    follow_loop,
    lambda t, o: t[:, torch.cat([torch.zeros(1).long(), o + 1])],
    lambda t, o: torch.cat([t[:, :1], t[:, 1:].index_select(1, o)], dim=1),
]

# --- Chapter 5, piece by piece ----------


def piecewise(q, k, v, size, total=True, mixed=True, scale=None):
    scale = q.shape[1] ** -0.5 if scale is None else scale
    top, sums, out = torch.full((len(q),), -math.inf).to(q), 0, 0
    for n in range(0, len(k), size):
        s = q @ k[n : n + size].T * scale
        new = torch.maximum(top, s.amax(1))
        old, now = (top - new).exp(), (s - new[:, None]).exp()
        sums = sums * (old if total else 1) + now.sum(1)
        out = out * (old[:, None] if mixed else 1) + now @ v[n : n + size]
        top = new
    return out / sums[:, None]


def two_passes(q, k, v, size):
    scores = [q @ part.T / math.sqrt(q.shape[1]) for part in k.split(size)]
    top = torch.stack([s.max(dim=1).values for s in scores]).amax(0)[:, None]
    weights = [torch.exp(s - top) for s in scores]
    total = sum(w.sum(dim=1, keepdim=True) for w in weights)
    return sum((w / total) @ part for w, part in zip(weights, v.split(size), strict=True))


def by_logsumexp(q, k, v, size):
    out, norm = torch.zeros_like(q), torch.full((len(q), 1), -math.inf).to(q)
    for a, b in zip(k.split(size), v.split(size), strict=True):
        s = q @ a.mT / q.shape[1] ** 0.5
        more = torch.logaddexp(norm, s.logsumexp(1, keepdim=True))
        out, norm = out * (norm - more).exp() + (s - more).exp() @ b, more
    return out


def no_maximum(q, k, v, size):
    sums, out = 0, 0
    for a, b in zip(k.split(size), v.split(size), strict=True):
        e = (q @ a.T / q.shape[1] ** 0.5).exp()
        sums, out = sums + e.sum(1, keepdim=True), out + e @ b
    return out / sums


def pieces(q, k, v, size):
    return [F.softmax(q @ a.T / q.shape[1] ** 0.5, 1) @ b
            for a, b in zip(k.split(size), v.split(size), strict=True)]  # fmt: skip


PIECES = [
    (lambda q, k, v, n: sum(pieces(q, k, v, n)) / len(k.split(n)), "a softmax of its own"),
    (lambda q, k, v, n: sum(pieces(q, k, v, n)), "are added up"),
    (lambda q, k, v, n: pieces(q, k, v, n)[-1], "only the last piece"),
    (lambda q, k, v, n: piecewise(q, k[: len(k) // n * n], v[: len(k) // n * n], n), "left out"),
    (lambda q, k, v, n: piecewise(q, k, v, n, total=False, mixed=False), "yours shrink not"),
    (lambda q, k, v, n: piecewise(q, k, v, n, total=False), "the sum must shrink as well"),
    (lambda q, k, v, n: piecewise(q, k, v, n, mixed=False), "the result must shrink as well"),
    (lambda q, k, v, n: piecewise(q, k, v, n, scale=1.0), "not scaled"),
    (no_maximum, "is infinite"),
    (lambda q, k, v, n: (q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v, "numbers at once"),
    (lambda q, k, v, n: vt.attend(q, k, v), "switched off"),
    (lambda q, k, v, n: F.scaled_dot_product_attention(q, k, v), "switched off"),
]
PIECES_RIGHT = [piecewise, two_passes, by_logsumexp]

# --- Chapter 6, a whole model ----------


def model(pool="mean", position="before", blocks=lambda all: all, norm=True):
    """A forward pass as a learner writes it, with a mistake if asked."""

    def logits(images, patch_embed, table, all_blocks, last_norm, head):
        x = patch_embed(images)
        x = x + table if position == "before" else x
        for block in blocks(list(all_blocks)):
            x = block(x)
        x = x + table if position == "behind" else x
        if pool == "early":
            return head(last_norm(x.mean(1)))
        x = last_norm(x) if norm else x
        x = {"mean": x.mean(1), "sum": x.sum(1), "first": x[:, 0], "all": x}[pool]
        return head(x)

    return logits


def model_sequential(images, patch_embed, table, blocks, norm, head):
    x = torch.nn.Sequential(*blocks, norm)(patch_embed(images) + table)
    return head(torch.einsum("btd->bd", x) / x.shape[1])


def model_head_first(images, patch_embed, table, blocks, norm, head):
    x = patch_embed(images) + table
    for n in range(len(blocks)):
        x = blocks[n](x)
    return head(norm(x)).mean(dim=1)  # the mean of the logits: the head is linear


MEAN_VIT = [
    (model("early"), "before the norm"),
    (model(position=""), "the positions are missing"),
    (model("first"), "there is no class token"),
    (model(norm=False), "the last norm is missing"),
    (model(blocks=lambda all: all[:1]), "only one block"),
    (model(blocks=lambda all: all[-1:]), "only the last one counts"),
    (model(position="behind"), "behind the blocks"),
    (model("sum"), "the tokens are summed"),
    (model(blocks=lambda all: all[::-1]), "from the last to the first"),
    (model("all"), "the logits of each token"),
]
MEAN_VIT_RIGHT = [model(), model_sequential, model_head_first]

# --- Chapter 8 ----------


def logs(logits):
    return logits - logits.logsumexp(1, keepdim=True)


def terms(logits, labels):
    rows = logs(logits)
    return -rows.gather(1, labels[:, None]).mean(), -rows.mean()


def weighed(change):
    """A smoothed loss made of the two terms by ``change(plain, spread, eps, B, K)``."""
    return lambda logits, labels, eps: change(*terms(logits, labels), eps, *logits.shape)


def soft_targets(logits, labels, eps):
    targets = torch.full_like(logits, eps / logits.shape[1])
    targets[range(len(labels)), labels] += 1 - eps
    return -(targets * logs(logits)).sum(dim=1).mean()


def by_image(logits, labels, eps):
    losses = []
    for row, label in zip(logits, labels, strict=True):
        minus = -torch.log(row.exp() / row.exp().sum())
        losses.append((1 - eps) * minus[label] + eps * sum(minus) / len(minus))
    return float(sum(losses) / len(losses))


def entropies(logits, labels, eps):
    p = logits.softmax(1)
    return (1 - eps) * terms(logits, labels)[0] - eps * (p * p.log()).sum(1).mean()


SMOOTHED = [
    (weighed(lambda a, b, e, n, k: a), "the second term is missing"),
    (weighed(lambda a, b, e, n, k: a + e * b), "weighted by 1 - eps"),
    (weighed(lambda a, b, e, n, k: e * a + (1 - e) * b), "are swapped"),
    (weighed(lambda a, b, e, n, k: (1 - e) * a + e * k * b), "yours is the sum"),
    (weighed(lambda a, b, e, n, k: (1 - e) * a + e * (k * b - a) / (k - 1)), "the right one too"),
    (weighed(lambda a, b, e, n, k: n * ((1 - e) * a + e * b)), "the images are added up"),
    (weighed(lambda a, b, e, n, k: -(1 - e) * a - e * b), "the sign is wrong"),
    (weighed(lambda a, b, e, n, k: a + b), "neither term is weighted"),
    (entropies, "not of -p log p"),
    (lambda x, y, e: F.cross_entropy(x, y, label_smoothing=e), "switched off"),
]
SMOOTHED_RIGHT = [
    weighed(lambda a, b, e, n, k: (1 - e) * a + e * b),
    soft_targets,
    by_image,
]


def run(kind, gradients, start=1.0, **how):
    w = torch.nn.Parameter(start * torch.ones(gradients.shape[1]).double())
    steps = kind([w], lr=0.001, **how)
    for gradient in gradients:
        steps.zero_grad()
        w.grad = gradient.clone()
        steps.step()
    return w.detach()


def together(kind, gradients, decay):
    """Both runs in one optimiser with two groups."""
    one, two = (torch.ones(gradients.shape[1]).double().requires_grad_() for _ in "12")
    groups = [{"params": [one], "weight_decay": decay}, {"params": [two], "weight_decay": 0}]
    optimizer = kind(groups, lr=1e-3)
    for row in gradients:
        one.grad, two.grad = row.clone(), row.clone()
        optimizer.step()
    return (one - two).detach()


def adam_by_hand(kind, gradients, decay):
    def end(decay):
        w, m, v = torch.ones(gradients.shape[1]).double(), 0, 0
        for t, g in enumerate(gradients, 1):
            if kind is torch.optim.AdamW:
                w = w * (1 - 1e-3 * decay)
            else:
                g = g + decay * w
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w - 1e-3 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        return w

    return end(decay) - end(0)


def swapped(kind):
    return torch.optim.Adam if kind is torch.optim.AdamW else torch.optim.AdamW


def apart(kind, g, decay, **how):
    return run(kind, g, weight_decay=decay, **how) - run(kind, g, weight_decay=0, **how)


DECAY = [
    (lambda kind, g, d: run(kind, g, weight_decay=d), "subtract a run without decay"),
    (lambda kind, g, d: run(kind, g, weight_decay=0), "this is the run without decay"),
    (lambda kind, g, d: -apart(kind, g, d), "the wrong way round"),
    (lambda kind, g, d: apart(kind, g, d, start=0.0), "at 0 there is nothing"),
    (lambda kind, g, d: apart(swapped(kind), g, d), "use `kind`"),
    (lambda kind, g, d: apart(kind, g[:1], d), "one step is taken"),
    (lambda kind, g, d: apart(kind, g.flip(0), d), "in the order of their rows"),
    (lambda kind, g, d: run(kind, g, weight_decay=d) - run(kind, g), "must be said"),
]
DECAY_RIGHT = [apart, together, adam_by_hand]

# --- Chapter 10 ----------


def shifts(patch):
    return [(down, right) for down in range(patch) for right in range(patch)]


def mean_over(pairs):
    """The mean of the features over the shifts ``pairs(patch)``."""

    def forced(features, images, patch):
        moved = [features(torch.roll(images, pair, (2, 3))) for pair in pairs(patch)]
        return torch.stack(moved).mean(0)

    return forced


def forced_in_one_call(features, images, patch):
    moved = [images.roll(down, 2).roll(right, 3) for down, right in shifts(patch)]
    return features(torch.cat(moved)).unflatten(0, (patch**2, len(images))).mean(dim=0)


def forced_running(features, images, patch):
    total = 0
    for _ in range(patch):
        for _ in range(patch):
            total = total + features(images)
            images = images.roll(1, 3)
        images = images.roll(1, 2)
    return total / patch**2


def blurred(features, images, patch):
    return features(sum(torch.roll(images, pair, (2, 3)) for pair in shifts(patch)) / patch**2)


def with_zeros(features, images, patch):
    h, w = images.shape[2:]
    return sum(features(F.pad(images, (right, 0, down, 0))[..., :h, :w])
               for down, right in shifts(patch)) / patch**2  # fmt: skip


FORCED = [
    (lambda f, x, p: f(x), "nothing is averaged"),
    (mean_over(lambda p: [(0, n) for n in range(p)]), "a shift down matters"),
    (mean_over(lambda p: [(n, 0) for n in range(p)]), "a shift to the right matters"),
    (mean_over(lambda p: [(n, n) for n in range(p)]), "all pairs are needed"),
    (lambda f, x, p: forced_running(f, x, p) * p * p, "the vectors are added up"),
    (lambda f, x, p: torch.stack([f(torch.roll(x, s, (2, 3))) for s in shifts(p)]).amax(0),
     "the mean is wanted"),
    (blurred, "a blurred picture"),
    (with_zeros, "no zeros"),
    (mean_over(lambda p: shifts(2 * p)), "whole patches are free"),
]  # fmt: skip
FORCED_RIGHT = [mean_over(shifts), forced_in_one_call, forced_running]


def halves(kernel, table, grid, dim=3, axis=2, share=0.5, rows=None):
    kernel = share * (kernel + kernel.flip(dim))
    places = table.reshape(1, *(rows or grid), -1)
    return kernel, (share * (places + places.flip(axis))).reshape(table.shape)


def tied_loop(kernel, table, grid):
    kernel, table, side = kernel.clone(), table.clone(), kernel.shape[3]
    for n in range(side // 2 + 1):
        mean = (kernel[..., n] + kernel[..., side - 1 - n]) / 2
        kernel[..., n] = kernel[..., side - 1 - n] = mean
    for row in range(grid[0]):
        for c in range(grid[1] // 2 + 1):
            one, two = row * grid[1] + c, row * grid[1] + grid[1] - 1 - c
            mean = (table[:, one] + table[:, two]) / 2
            table[:, one] = table[:, two] = mean
    return [kernel, table]


def tied_index(kernel, table, grid):
    n = torch.arange(grid[0] * grid[1])
    mirror = n // grid[1] * grid[1] + grid[1] - 1 - n % grid[1]
    return torch.lerp(kernel, kernel.flip(-1), 0.5), (table + table[:, mirror]) / 2


def mirrored(kernel, table, grid):
    return kernel.flip(3), table.unflatten(1, grid).flip(2).flatten(1, 2)


TIED = [
    (lambda k, t, g: (halves(k, t, g)[0], t), "the patches change places too"),
    (lambda k, t, g: (k, halves(k, t, g)[1]), "mirrored inside too"),
    (lambda k, t, g: halves(k, t, g, dim=2), "upside down"),
    (lambda k, t, g: halves(k, t, g, axis=1), "from top to bottom"),
    (lambda k, t, g: (halves(k, t, g)[0], (t + t.flip(1)) / 2), "turned round as a whole"),
    (mirrored, "these are the mirror images"),
    (lambda k, t, g: halves(k, t, g, share=1), "divide by 2"),
    (lambda k, t, g: halves(k, t, g, rows=g[::-1]), "it is (rows, columns)"),
    (lambda k, t, g: halves(k, t, g)[0], "a tuple of 2 is wanted"),
]
TIED_RIGHT = [halves, tied_loop, tied_index]

# --- Chapter 12 ----------


def graded_step(y, labels, classes, rate, sign=-1):
    head = torch.nn.Linear(y.shape[1], classes).double()
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    F.cross_entropy(head(y), labels).backward()
    return sign * rate * head.weight.grad


def optimised_step(y, labels, classes, rate):
    weight = torch.zeros(classes, y.shape[1], dtype=y.dtype, requires_grad=True)
    F.cross_entropy(y @ weight.T, labels).backward()
    torch.optim.SGD([weight], lr=rate).step()
    return weight.detach()


def step_loop(y, labels, classes, rate, p=None):
    rows = torch.zeros(classes, y.shape[1]).to(y)
    for vector, label in zip(y, labels, strict=True):
        for k in range(classes):
            push = (1 / classes if p is None else p) - (1.0 if k == label else 0.0)
            rows[k] -= rate * push * vector / len(y)
    return rows


HEAD_STEP = [
    (lambda y, t, k, r: graded_step(y, t, k, r, sign=1), "goes down the gradient"),
    (lambda y, t, k, r: step_loop(y, t, k, r, p=0), "the probabilities are missing"),
    (lambda y, t, k, r: -r * y.mean(0).repeat(k, 1) / k, "the targets are missing"),
    (lambda y, t, k, r: len(y) * step_loop(y, t, k, r), "yours is their sum"),
    (lambda y, t, k, r: -graded_step(y, t, k, 1), "this is the gradient"),
    (lambda y, t, k, r: graded_step(y, t, k, 1), "the rate is missing"),
    (lambda y, t, k, r: step_loop(y, t, k, r).T, "the matrix is turned"),
    (lambda y, t, k, r: step_loop(y, t, k, r, p=1 / len(y)), "not of images"),
    (lambda y, t, k, r: step_loop(y, t, k, r) / k, "not over the classes"),
    (lambda y, t, k, r: step_loop(y, t, k, r)[:, 0], "shape: (3, 4) is wanted"),
]
HEAD_STEP_RIGHT = [graded_step, optimised_step, step_loop]

# --- Chapter 13 ----------


def years(e, r):
    return e * 1e18 / r / 86_400 / 365


def tera(e, d):
    return e * 1e6 / (d * 86_400)


TIME = [
    (lambda e, r, d: (years(e / 1e3, r), tera(e / 1e3, d)), "a petaFLOP"),
    (lambda e, r, d: (e * 1e18 / r / 86_400, tera(e, d)), "these are days"),
    (lambda e, r, d: (e * 1e18 / r, tera(e, d)), "these are seconds"),
    (lambda e, r, d: (years(e, r), e * 1e6 / d / 3600), "86,400 seconds"),
    (lambda e, r, d: (years(e, r), e * 1e6 / d), "operations a day"),
    (lambda e, r, d: (years(e, r), 1000 * tera(e, d)), "these are gigaFLOPs"),
    (lambda e, r, d: (years(2 * e, r), tera(2 * e, d)), "do not double them"),
    (lambda e, r, d: (3 * years(e, r), 3 * tera(e, d)), "three times"),
    (lambda e, r, d: (tera(e, d), years(e, r)), "the speed first"),
    (lambda e, r, d: years(e, r), "a tuple of 2 is wanted"),
]
TIME_RIGHT = [
    lambda e, r, d: (years(e, r), tera(e, d)),
    lambda e, r, d: [e / (r * 60 * 60 * 24 * 365 / 10**18), e / d / 86.4e3 * 10**6],
    lambda e, r, d: tuple((torch.tensor([e]).double() * torch.tensor(
        [1e18 / r / 31_536_000, 1e6 / d / 86_400]).double()).tolist()),
]  # fmt: skip

# --- Chapter 14 ----------


def between(grid, patch):
    y, x = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    y, x = y.flatten() * float(patch), x.flatten() * float(patch)
    return ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).sqrt().double()


def shares(s, d):
    return (-d / s).softmax(1)


def bisected(grid, patch, goal=None):
    """s and the weights, by halving an interval."""
    d = between(grid, patch)
    goal = d.mean() / 2 if goal is None else goal
    low, high = 0.01, 5000.0
    for _ in range(80):
        s = (low + high) / 2
        low, high = (s, high) if (shares(s, d) * d).sum(1).mean() < goal else (low, s)
    return s, shares(s, d)


def nats(weights):
    return -(weights * weights.clamp(min=1e-300).log()).sum(1)


def near_bisect(grid, patch):
    s, weights = bisected(grid, patch)
    return s, nats(weights).mean().exp()


def near_newton(grid, patch):
    """Steps of the secant rule on the logarithm of s."""
    d = between(grid, patch)

    def off(u):
        return float((shares(math.exp(u), d) * d).sum(1).mean() - d.mean() / 2)

    a, b = math.log(patch), math.log(2 * patch)
    for _ in range(60):
        if abs(off(b) - off(a)) < 1e-14:
            break
        a, b = b, b - off(b) * (b - a) / (off(b) - off(a))
    return [math.exp(b), float(math.exp(nats(shares(math.exp(b), d)).mean()))]


def near_table(grid, patch):
    d = between(grid, patch)
    sizes = patch * torch.logspace(-1, 2, 3000).double()
    far = torch.stack([(shares(s, d) * d).sum(1).mean() for s in sizes])
    s = sizes[(far - d.mean() / 2).abs().argmin()]
    return s, torch.special.entr(shares(s, d)).sum(1).mean().exp()


def changed_near(change):
    """An answer made of s, the weights, the grid and the patch."""
    return lambda grid, patch: change(*bisected(grid, patch), grid, patch)


NEAR = [
    (changed_near(lambda s, w, g, p: (s, nats(w).mean())), "these are nats"),
    (changed_near(lambda s, w, g, p: (s, 2 ** nats(w).mean())), "not 2"),
    (changed_near(lambda s, w, g, p: (s, nats(w).exp().mean())), "average the entropies first"),
    (changed_near(lambda s, w, g, p: (s / p, nats(w).mean().exp())), "yours counts patches"),
    (changed_near(lambda s, w, g, p: (nats(w).mean().exp(), s)), "the tokens first"),
    (changed_near(lambda s, w, g, p: (s, len(w))), "are not equal"),
    (lambda g, p: (lambda s, w: (s, nats(w).mean().exp()))(
        *bisected(g, p, goal=between(g, p).sum() / len(between(g, p)) / (len(between(g, p)) - 1)
                  / 2)), "at its own patch too"),
    (changed_near(lambda s, w, g, p: s), "a tensor is wanted"),
]  # fmt: skip
NEAR_RIGHT = [near_bisect, near_newton, near_table]


def changed(part, scale=-3.0, which=-1, copied=True):
    """A model with the weights of a part of a block multiplied."""

    def answer(model):
        model = copy.deepcopy(model) if copied else model
        with torch.no_grad():
            model.blocks[which].get_submodule(part).weight.mul_(scale)
        return model

    return answer


def new_head(classes):
    def answer(model):
        model = copy.deepcopy(model)
        model.head = nn.Linear(12, classes).double()
        return model

    return answer


def values_only(model):
    model = copy.deepcopy(model)
    model.blocks[2].attn.qkv.weight.data[24:] *= 5  # the rows of v
    return model


def from_its_state(model):
    other = vt.VisionTransformer(model.config).double()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["blocks.2.mlp.fc2.bias"] += 2 * torch.arange(12)
    other.load_state_dict(state)
    return other


def broken(model):
    model = copy.deepcopy(model)
    model.head.bias.data.fill_(float("nan"))
    return model


MAPS = [
    (lambda model: model, "the answers are the same"),
    (copy.deepcopy, "the answers are the same"),
    (changed("attn.proj", copied=False), "work on a copy"),
    (changed("mlp.fc1", which=0), "from block 1 on"),
    (changed("attn.qkv"), "from block 2 on"),
    (new_head(7), "the classes must stay"),
    (broken, "no numbers"),
    (lambda model: model.state_dict(), "a model is wanted"),
    (lambda model: None, "a value of type NoneType"),
]
MAPS_RIGHT = [changed("attn.proj"), changed("mlp.fc2", 0.5), values_only, from_its_state,
              new_head(5)]  # fmt: skip


# check -> (wrong answers with words of their message, right answers)
ANSWERS = {
    "largest_side": (SIDE, SIDE_RIGHT),
    "three_bits": (BITS, BITS_RIGHT),
    "cut_judge": (JUDGE, JUDGE_RIGHT),
    "survivors": (SURVIVORS, SURVIVORS_RIGHT),
    "shuffled_table": (SHUFFLED, SHUFFLED_RIGHT),
    "attention_in_pieces": (PIECES, PIECES_RIGHT),
    "mean_vit": (MEAN_VIT, MEAN_VIT_RIGHT),
    "smoothed_loss": (SMOOTHED, SMOOTHED_RIGHT),
    "decay_alone": (DECAY, DECAY_RIGHT),
    "forced_invariance": (FORCED, FORCED_RIGHT),
    "left_right_tied": (TIED, TIED_RIGHT),
    "head_step": (HEAD_STEP, HEAD_STEP_RIGHT),
    "time_needed": (TIME, TIME_RIGHT),
    "near_head": (NEAR, NEAR_RIGHT),
    "same_maps": (MAPS, MAPS_RIGHT),
    "sequence_cost": (SEQUENCE, SEQUENCE_RIGHT),
    "one_token": (TOKEN, TOKEN_RIGHT),
    "nearest_colour": (PALETTE, PALETTE_RIGHT),
    "patchify": (PATCHIFY, PATCHIFY_RIGHT),
    "repaired": (
        [(square(function), words) for function, words in PATCHIFY],
        [square(function) for function in PATCHIFY_RIGHT],
    ),
    "unpatchify": (UNPATCHIFY, UNPATCHIFY_RIGHT),
    "where": (WHERE, WHERE_RIGHT),
    "projection": (PROJECTION, PROJECTION_RIGHT),
    "projection_cost": (COST, COST_RIGHT),
    "from_google": (GOOGLE, GOOGLE_RIGHT),
    "twice_kernel": (TWICE, TWICE_RIGHT),
    "sincos": (SINCOS, SINCOS_RIGHT),
    "sincos_2d": (SINCOS_2D, SINCOS_2D_RIGHT),
    "tokens": (TOKENS, TOKENS_RIGHT),
    "resize_positions": (RESIZE, RESIZE_RIGHT),
    "attention": (ATTENTION, ATTENTION_RIGHT),
    "row_attention": (ROWS, ROWS_RIGHT),
    "multi_head": (MULTI_HEAD, MULTI_HEAD_RIGHT),
    "repack": (REPACK, REPACK_RIGHT),
    "layer_norm": (NORM, NORM_RIGHT),
    "mlp": (MLP, MLP_RIGHT),
    "encoder_block": (ENCODER, ENCODER_RIGHT),
    "join_kernels": (JOIN, JOIN_RIGHT),
    "window": (WINDOW, WINDOW_RIGHT),
    "fold": (FOLD, FOLD_RIGHT),
    "surround": (SURROUND, SURROUND_RIGHT),
    "reached": (REACHED, REACHED_RIGHT),
}
