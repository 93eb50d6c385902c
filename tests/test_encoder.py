"""One encoder block: equations 2 and 3 written out, and timm's block."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from model_tools import close, pictures, randomise
from torch import nn

from vit_teach.vit.encoder import EncoderBlock, Mlp, init_linear
from vit_teach.vit.model import VisionTransformer, ViTConfig


def make(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return randomise(EncoderBlock(12, 3, 20, **options).to(dtype), size=0.4)


X = pictures(2, 5, 12, dtype=torch.float64)


def normalised(x, weight, bias, eps=1e-6):
    """LayerNorm from its definition."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


@pytest.mark.parametrize("scale", [1, 1e-3])  # at a small scale the epsilon shows
def test_is_equations_2_and_3(scale):
    block, x = make(), scale * X
    after = block.attn(normalised(x, block.norm1.weight, block.norm1.bias)) + x
    expected = block.mlp(normalised(after, block.norm2.weight, block.norm2.bias)) + after
    close(block(x), expected, 1e-10)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equals_timm_block(dtype, tolerance):
    vision_transformer = pytest.importorskip("timm.models.vision_transformer")
    norm = partial(nn.LayerNorm, eps=1e-6)
    theirs = vision_transformer.Block(12, 3, mlp_ratio=20 / 12, qkv_bias=True, norm_layer=norm)
    ours = make(dtype)
    theirs.to(dtype).load_state_dict(ours.state_dict(), strict=True)
    x = X.to(dtype)
    close(ours(x), theirs(x), tolerance)
    ours.load_state_dict(theirs.state_dict(), strict=True)


def test_gelu_is_the_exact_one():
    mlp = randomise(Mlp(12, 20).double())
    hidden = X @ mlp.fc1.weight.T + mlp.fc1.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    close(mlp(X), hidden @ mlp.fc2.weight.T + mlp.fc2.bias, 1e-12)


def test_mlp_treats_each_token_alone():
    mlp = randomise(Mlp(12, 20).double())
    changed = X.clone()
    changed[:, 2] += 1
    same = (mlp(X) == mlp(changed)).all(dim=2)
    assert same[:, [0, 1, 3, 4]].all() and not same[:, 2].any()


def test_with_silent_branches_a_block_is_the_identity():
    block = make()
    for layer in (block.attn.proj, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert torch.equal(block(X), X)


def test_what_each_branch_added_adds_up():
    block, out = make(), {}
    result = block(X, out, "here")
    assert torch.equal(X + out["here.attn"] + out["here.mlp"], result)
    assert torch.equal(out["here"], result)
    close(block(X), result, 1e-12)
    assert out["here.attn.weights"].shape == (2, 3, 5, 5)
    assert len(out) == 7


def test_dropout_follows_each_layer_but_qkv():
    torch.manual_seed(0)
    block, zeros = make(dropout=0.5).train(), {}
    for name, module in block.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(
                lambda m, i, o, name=name: zeros.setdefault(name, []).append(
                    (o == 0).double().mean()
                )
            )
    x = pictures(2, 200, 12, dtype=torch.float64)
    block(x)
    assert {name: len(rates) for name, rates in zeros.items()} == {
        "attn.dropout": 1,
        "mlp.dropout": 2,
    }
    assert all(abs(rate - 0.5) < 0.05 for rates in zeros.values() for rate in rates)
    block.eval()
    assert torch.equal(block(x), block(x))


def test_weights_start_normal_with_deviation_002():
    torch.manual_seed(0)
    block = EncoderBlock(128, 4, 512)
    init_linear(block)
    for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
        assert abs(layer.weight.std() / 0.02 - 1) < 0.02
        assert abs(layer.weight.mean()) < 0.0005
        # normal, not uniform: of 65,536 draws some are beyond 3 deviations (uniform ends at 1.73)
        assert 3 * 0.02 < layer.weight.abs().max() < 6 * 0.02
    check_biases_and_norms(block)


def test_weights_start_as_in_googles_code_if_asked():
    torch.manual_seed(0)
    block = EncoderBlock(128, 4, 512)
    init_linear(block, "xavier")
    q, k, v = block.attn.qkv.weight.chunk(3)
    for weight, fans in ((q, 256), (k, 256), (v, 256), (block.attn.proj.weight, 256),
                         (block.mlp.fc1.weight, 640), (block.mlp.fc2.weight, 640)):  # fmt: skip
        bound = math.sqrt(6 / fans)  # Glorot and Bengio, equation 16
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 0.02
    check_biases_and_norms(block)


def check_biases_and_norms(block):
    for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
        assert not layer.bias.any()
    for norm in (block.norm1, block.norm2):
        assert (norm.weight == 1).all() and not norm.bias.any() and norm.eps == 1e-6


def test_a_model_starts_with_the_normal_scheme():
    torch.manual_seed(0)
    model = VisionTransformer(ViTConfig(image_size=8, patch_size=4, embed_dim=96, depth=2,
                                        num_heads=3))  # fmt: skip
    assert abs(model.blocks[1].mlp.fc1.weight.std() / 0.02 - 1) < 0.02


def test_gelu_differs_from_its_approximation_by_more_than_the_tolerance():
    x = torch.linspace(-4, 4, 1001, dtype=torch.float64)
    distance = (F.gelu(x) - F.gelu(x, approximate="tanh")).abs().max()
    assert 1e-4 < distance < 1e-3


def test_bad_arguments():
    with pytest.raises(ValueError, match="scheme='he' must be one of"):
        init_linear(EncoderBlock(12, 4, 24), "he")
    with pytest.raises(ValueError, match="dim=12 must be divisible by num_heads=5"):
        EncoderBlock(12, 5, 24)
