"""The hybrid: four stems, each written out by hand, in front of the same encoder."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise

from vit_teach.baselines.hybrid import HYBRID_PRESETS, STEMS, ConvStem, Hybrid, HybridConfig
from vit_teach.vit.embedding import PatchEmbedding
from vit_teach.vit.model import VisionTransformer, ViTConfig

SMALL = HybridConfig(
    image_size=(8, 12), patch_size=4, num_classes=5, embed_dim=24, depth=2, num_heads=3
)
CCT = replace(SMALL, stem="cct")
OVERLAP = replace(SMALL, stem="overlap")
RESIDUAL = replace(SMALL, stem="residual")
IMAGES = pictures(2, 3, 8, 12)


def make(config=SMALL, kind=Hybrid):
    torch.manual_seed(0)
    model = randomise(kind(config))
    for name, buffer in model.named_buffers():  # BatchNorm's statistics, off their plain start
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(torch.rand(buffer.shape))
    return model.eval()


@few
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from(STEMS), st.booleans()
)
def test_the_grid_is_the_plain_models(gh, gw, halvings, stem, class_token):
    patch = 2**halvings
    config = replace(
        SMALL, image_size=(gh * patch, gw * patch), patch_size=patch, stem=stem, depth=1,
        pool="mean", class_token=class_token,
    )  # fmt: skip
    logits, out = make(config)(pictures(2, 3, *config.image_size), intermediates=True)
    assert out["patch_embed"].shape == (2, gh * gw, 24)
    assert out["tokens"].shape == (2, gh * gw + class_token, 24) and logits.shape == (2, 5)


def normalise(x, norm):
    """BatchNorm in evaluation, from its definition."""
    shape = (1, -1, 1, 1)
    scaled = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def test_conv_stem_step_by_step():
    stem = make(kind=ConvStem)
    conv1, norm1, _, conv2, norm2, _, conv3, norm3, _ = stem.backbone
    x = F.conv2d(IMAGES, conv1.weight, padding=1)  # (B, 6, 8, 12)
    x = normalise(x, norm1).clamp(min=0)
    x = normalise(F.conv2d(x, conv2.weight, stride=2, padding=1), norm2).clamp(min=0)
    x = normalise(F.conv2d(x, conv3.weight, stride=2, padding=1), norm3).clamp(min=0)
    tokens = x.flatten(2).transpose(1, 2) @ stem.proj.weight.view(24, 24).T + stem.proj.bias
    close(stem(IMAGES), tokens, 1e-5)
    assert [c.out_channels for c in (conv1, conv2, conv3)] == [6, 12, 24]


def test_cct_stem_step_by_step():
    stem = make(CCT, ConvStem)
    x = IMAGES
    for conv in (stem.backbone[0], stem.backbone[3]):
        x = F.conv2d(x, conv.weight, padding=1).clamp(min=0)
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=float("-inf")), 3, stride=2)
    close(stem(IMAGES), x.flatten(2).transpose(1, 2), 1e-5)


def test_residual_stem_step_by_step():
    stem = make(RESIDUAL, ConvStem)
    conv, norm, _, _, *blocks = stem.backbone
    x = normalise(F.conv2d(IMAGES, conv.weight, padding=1), norm).clamp(min=0)  # (B, 6, 8, 12)
    x = x.unflatten(3, (6, 2)).unflatten(2, (4, 2)).amax(dim=(3, 5))  # (B, 6, 4, 6)
    for block, stride in zip(blocks, (1, 2), strict=True):
        y = F.conv2d(x, block.conv1.weight, stride=stride, padding=1)
        y = normalise(y, block.bn1).clamp(min=0)
        y = normalise(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
        shortcut, shortcut_norm = block.downsample
        x = x[:, :, ::stride, ::stride]  # a kernel of 1 sees every second place
        x = (y + normalise(F.conv2d(x, shortcut.weight), shortcut_norm)).clamp(min=0)
    tokens = x.flatten(2).transpose(1, 2) @ stem.proj.weight.view(24, 24).T + stem.proj.bias
    close(stem(IMAGES), tokens, 1e-5)


def test_overlap_stem_holds_the_plain_projection():
    stem = make(OVERLAP, ConvStem)
    plain = randomise(PatchEmbedding((8, 12), 4, 3, 24))
    with torch.no_grad():  # silence what lies outside the patch
        stem.proj.weight.zero_()
        stem.proj.weight[:, :, 2:6, 2:6] = plain.proj.weight
        stem.proj.bias.copy_(plain.proj.bias)
    close(stem(IMAGES), plain(IMAGES), 1e-5)


def test_overlap_stem_is_one_convolution_of_a_zero_padded_picture():
    stem = make(OVERLAP, ConvStem)
    padded = F.pad(IMAGES, (2, 2, 2, 2))  # (B, 3, 12, 16)
    columns = F.unfold(padded, 8, stride=4).transpose(1, 2)  # (B, N, 3 * 8 * 8)
    tokens = columns @ stem.proj.weight.reshape(24, -1).T + stem.proj.bias
    close(stem(IMAGES), tokens, 1e-5)


@pytest.mark.parametrize("config", [SMALL, CCT, OVERLAP, RESIDUAL])
def test_neighbouring_tokens_share_pixels(config):
    def seen(token):
        images = IMAGES.double().requires_grad_()
        stem(images)[0, token].sum().backward()
        return images.grad[0].abs().amax(dim=0) > 0  # (H, W)

    stem = make(config, ConvStem).double()
    assert (seen(0) & seen(1)).any()
    stem = PatchEmbedding((8, 12), 4, 3, 24).double()
    assert not (seen(0) & seen(1)).any()


def test_batchnorm_forgets_the_scale_of_the_convolution_before_it():
    stem = make(kind=ConvStem).double().train()
    before = stem(IMAGES.double())
    with torch.no_grad():
        stem.backbone[0].weight.mul_(7)
    assert (stem(IMAGES.double()) - before).abs().max() < 1e-3


@pytest.mark.parametrize("config", [SMALL, CCT, OVERLAP, RESIDUAL])
def test_every_parameter_learns_but_the_key_bias(config):
    model = make(config).double()
    F.cross_entropy(model(IMAGES.double()), torch.tensor([1, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 1e-8, name


@pytest.mark.parametrize("config", [SMALL, CCT, OVERLAP, RESIDUAL])
def test_starts_with_a_zero_head_and_evaluates_image_by_image(config):
    assert torch.equal(Hybrid(config)(IMAGES), torch.zeros(2, 5))
    model = make(config)
    close(model(IMAGES), torch.cat([model(image[None]) for image in IMAGES]), 1e-5)


def test_behind_the_stem_it_is_the_plain_model():
    hybrid = make()
    plain = VisionTransformer(
        ViTConfig((8, 12), 4, num_classes=5, embed_dim=24, depth=2, num_heads=3)
    )
    rest = {k: v for k, v in hybrid.state_dict().items() if not k.startswith("patch_embed.")}
    own = {k for k in plain.state_dict() if not k.startswith("patch_embed.")}
    assert set(rest) == own
    plain.load_state_dict(rest, strict=False)
    plain.patch_embed = hybrid.patch_embed
    assert torch.equal(plain.eval()(IMAGES), hybrid(IMAGES))


def test_default_widths_follow_the_other_settings():
    assert SMALL.stem_widths == (6, 12, 24)
    assert CCT.stem_widths == (12, 24) and OVERLAP.stem_widths == ()
    assert replace(SMALL, embed_dim=48).stem_widths == (12, 24, 48)
    assert replace(SMALL, stem_channels=[1, 2, 3]).stem_widths == (1, 2, 3)
    for name, config in HYBRID_PRESETS.items():
        assert config.num_patches == (16 if name.endswith("Nano") else 64)
        assert config.image_size == (32, 32)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"stem": "resnet"}, r"stem='resnet' must be one of conv, overlap, cct, "),
        ({"patch_size": (2, 4)}, r"patch_size=\(2, 4\) must be square and a power of 2"),
        ({"patch_size": 3, "image_size": 9}, r"patch_size=\(3, 3\) must be square"),
        ({"patch_size": 1}, r"patch_size=\(1, 1\) must be square and a power of 2, at least 2"),
        ({"stem_channels": (8, 16)}, r"stem_channels=\(8, 16\) must have 3 numbers"),
        ({"stem_channels": (8,), "stem": "overlap"}, r"stem_channels=\(8,\) must have 0 numbers"),
        ({"stem_channels": (8, 0, 16)}, r"stem_channels=\(8, 0, 16\) must be positive integers"),
        ({"stem_channels": (8, 1.5, 16)}, r"stem_channels=.* must be positive integers"),
        ({"stem_channels": (8, 16), "stem": "cct"}, r"\(8, 16\) must end in embed_dim=24"),
        ({"embed_dim": 3}, r"stem_channels=\(0, 1, 3\) must be positive integers"),
        ({"depth": 0}, r"depth=0 must be a positive integer"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"must be \(B, C, 8, 12\)"):
        make()(torch.zeros(1, 3, 16, 12))
