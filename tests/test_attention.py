"""Self-attention: by hand, fused, and PyTorch's own module all say the same."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise
from torch import nn

from vit_teach.vit.attention import MultiHeadAttention, attend, attention_weights, prefers_fused


def make(dim=12, heads=3, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return randomise(MultiHeadAttention(dim, heads, **options).to(dtype), size=0.3)


def tokens(batch=2, length=5, dim=12, dtype=torch.float64, seed=0):
    return pictures(batch, length, dim, dtype=dtype, seed=seed)


def qkv(seed=0, length=5, width=4):
    return (pictures(2, 3, length, width, seed=seed + i, dtype=torch.float64) for i in range(3))


@few
@given(st.integers(1, 9), st.integers(1, 8), st.floats(0.1, 30))
def test_rows_are_shares(length, width, scale):
    q, k, _ = qkv(length=length, width=width)
    weights = attention_weights(scale * q, k)
    assert weights.shape == (2, 3, length, length)
    assert (weights >= 0).all()
    close(weights.sum(dim=-1), torch.ones(2, 3, length, dtype=torch.float64), 1e-12)


def test_one_number_at_a_time():
    q, k, v = (part[0, 0] for part in qkv())
    for i in range(5):
        scores = [math.exp(sum(q[i] * k[j]).item() / math.sqrt(4)) for j in range(5)]
        mixed = sum(score / sum(scores) * v[j] for j, score in enumerate(scores))
        close(attend(q, k, v)[i], mixed, 1e-12)


def test_by_hand_equals_the_kernel():
    q, k, v = qkv()
    close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v), 1e-12)
    q, k, v = q.float(), k.float(), v.float()
    close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v), 1e-6)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("dim, heads", [(12, 3), (12, 1), (12, 12), (40, 2)])
def test_equals_torch_module(dim, heads, dtype, tolerance):
    ours = make(dim, heads, dtype)
    theirs = nn.MultiheadAttention(dim, heads, batch_first=True, dtype=dtype)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight, "out_proj.bias": ours.proj.bias,
        }
    )  # fmt: skip
    x, out = tokens(dim=dim, dtype=dtype), {}
    expected, weights = theirs(x, x, x, average_attn_weights=False)
    close(ours(x, out), expected, tolerance)
    close(out["attn.weights"], weights, tolerance)
    for fused in (None, True, False):
        ours.fused = fused
        close(ours(x), expected, tolerance)


def test_gradients_by_hand_equal_the_kernels():
    gradients = []
    for fused in (True, False):
        attention, x = make(fused=fused), tokens().requires_grad_()
        attention(x).pow(2).sum().backward()
        gradients.append([x.grad, *(p.grad for p in attention.parameters())])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-10)


@pytest.mark.parametrize("fused", [None, True, False])
def test_bfloat16_is_close(fused):
    attention, x = make(dtype=torch.float32, fused=fused), tokens(dtype=torch.float32)
    expected = attention(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low, out = attention(x), {}
        seen = attention(x, out)
    assert low.dtype == torch.bfloat16
    for result in (low, seen):
        assert (result.float() - expected).abs().max() < 0.03 * expected.abs().max()
    close(out["attn.weights"].float().sum(-1), torch.ones(2, 3, 5), 1e-2)


def test_which_path_is_taken(monkeypatch):
    calls = []
    kernel = F.scaled_dot_product_attention

    def counted(*arguments, **more):
        calls.append(1)
        return kernel(*arguments, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    x = tokens(dtype=torch.float32)
    attention = make(dtype=torch.float32)
    attention(x)
    assert len(calls) == 1
    attention(x, {})  # who asks for the weights gets the path that has them
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not prefers_fused(x)
        attention(x)
    assert len(calls) == 1
    assert prefers_fused(torch.empty(1, device="meta"))


def test_the_parts_by_name():
    attention, x, out = make(), tokens(), {"before": 1}
    result = attention(x, out, "here")
    assert list(out) == ["before", "here.q", "here.k", "here.v", "here.weights"]
    assert all(out[f"here.{part}"].shape == (2, 3, 5, 4) for part in "qkv")
    assert out["here.weights"].shape == (2, 3, 5, 5)
    mixed = out["here.weights"] @ out["here.v"]
    close(attention.proj(mixed.transpose(1, 2).flatten(2)), result, 1e-12)
    close(attention(x), result, 1e-12)


def test_rows_of_qkv_are_q_then_k_then_v_and_by_head_inside():
    attention, x, out = make(), tokens(), {}
    attention(x, out)
    for part, name in enumerate("qkv"):
        for head in range(3):
            rows = slice(12 * part + 4 * head, 12 * part + 4 * head + 4)
            expected = x @ attention.qkv.weight[rows].T + attention.qkv.bias[rows]
            close(out[f"attn.{name}"][:, head], expected, 1e-12)


def test_without_positions_order_is_carried_along():
    attention, x = make(), tokens()
    order = torch.tensor([3, 0, 4, 1, 2])
    close(attention(x[:, order]), attention(x)[:, order], 1e-12)


@few
@given(st.integers(1, 12))
def test_equal_tokens_share_evenly(length):
    out, x = {}, tokens(length=1).expand(2, length, 12)
    make()(x, out)
    close(
        out["attn.weights"],
        torch.full((2, 3, length, length), 1 / length, dtype=torch.float64),
        1e-12,
    )


def test_larger_scores_make_sharper_weights():
    def entropy(scale):
        weights = attention_weights(scale * q, k)
        return -(weights * weights.log()).sum(-1)

    q, k, _ = qkv()
    levels = [entropy(scale) for scale in (0, 0.5, 1, 2, 4)]
    close(levels[0], torch.full((2, 3, 5), math.log(5), dtype=torch.float64), 1e-12)
    for flat, sharp in zip(levels, levels[1:], strict=False):
        assert (sharp < flat).all()


def test_the_key_bias_does_nothing():
    attention, x = make(), tokens()
    before = attention(x)
    before.pow(2).sum().backward()
    gradient = attention.qkv.bias.grad.view(3, 12).norm(dim=1)  # of q, k and v
    assert gradient[1] < 1e-12 and gradient[0] > 0.1 and gradient[2] > 0.1
    for part, changes in enumerate([True, False, True]):
        changed = make()
        with torch.no_grad():
            changed.qkv.bias[12 * part : 12 * part + 12] += torch.linspace(-3, 3, 12)
        assert ((changed(x) - before).abs().max() > 0.01) == changes


def test_without_bias():
    assert MultiHeadAttention(12, 3, qkv_bias=False).qkv.bias is None
    assert MultiHeadAttention(12, 3, qkv_bias=False).proj.bias is not None


def test_dropout_is_after_the_projection_and_not_on_the_weights():
    torch.manual_seed(0)
    attention, x, out = make(dropout=0.5).train(), tokens(length=50), {}
    result = attention(x, out)
    close(out["attn.weights"].sum(-1), torch.ones(2, 3, 50).double(), 1e-12)
    assert 0.4 < (result == 0).double().mean() < 0.6
    assert not (attention.eval()(x) == 0).any()


@pytest.mark.parametrize("dim, heads", [(12, 5), (12, 0), (12, -3), (8, 16)])
def test_bad_arguments(dim, heads):
    with pytest.raises(ValueError, match=rf"num_heads={heads}"):
        MultiHeadAttention(dim, heads)
