"""Answers to the exercises as learners write them: wrong ones with the words they must hear, and
right ones written in different ways. One table a chapter; the checks themselves are not used."""

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


# check -> (wrong answers with words of their message, right answers)
ANSWERS = {
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
