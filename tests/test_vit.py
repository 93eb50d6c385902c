"""The whole model: equal to timm's and torchvision's, and what follows from how it is built."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise

from vit_teach.vit.embedding import sincos_1d, sincos_2d
from vit_teach.vit.model import PRESETS, VisionTransformer, ViTConfig
from vit_teach.weights import from_timm, from_torchvision, load_strict, to_timm

SMALL = ViTConfig(
    image_size=(8, 12),
    patch_size=4,
    num_classes=5,
    embed_dim=24,
    depth=2,
    num_heads=3,
    mlp_ratio=2.0,
)
MEAN = replace(SMALL, pool="mean")
BARE = replace(SMALL, pool="mean", class_token=False)
IMAGES = pictures(2, 3, 8, 12)


def make(config=SMALL, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return randomise(VisionTransformer(config).to(dtype), seed).eval()


# --- Equal to other libraries ----------

SHAPES = {
    "square": {},
    "wide image, wide patch": {"image_size": (12, 40), "patch_size": (3, 8), "depth": 3},
    "tall image, one channel": {"image_size": (20, 8), "in_channels": 1, "mlp_ratio": 4.0},
    "one head, odd classes": {"num_heads": 1, "num_classes": 7, "embed_dim": 20},
    "many heads, no token grid": {"num_heads": 12, "image_size": 4, "patch_size": 4},
}
POOLINGS = {
    "class token": {"pool": "cls"},
    "mean": {"pool": "mean"},
    "mean, norm after": {"pool": "mean", "fc_norm": True},
    "mean, no class token": {"pool": "mean", "class_token": False},
    "mean, no class token, norm after": {"pool": "mean", "class_token": False, "fc_norm": True},
    "no positions": {"position": "none"},
}
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


def timm_twin(config):
    """timm's model of the same shape."""
    timm = pytest.importorskip("timm.models.vision_transformer")
    return timm.VisionTransformer(
        img_size=config.image_size, patch_size=config.patch_size, in_chans=config.in_channels,
        num_classes=config.num_classes, embed_dim=config.embed_dim, depth=config.depth,
        num_heads=config.num_heads, mlp_ratio=config.mlp_ratio, class_token=config.class_token,
        global_pool="token" if config.pool == "cls" else "avg", fc_norm=config.fc_norm,
        pos_embed="none" if config.position == "none" else "learn",
    ).eval()  # fmt: skip


@pytest.mark.parametrize("dtype, tolerance", PRECISIONS)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_equal_timm(shape, pooling, dtype, tolerance):
    base = replace(SMALL, image_size=16)
    config = replace(base, **SHAPES[shape], **POOLINGS[pooling])
    ours, theirs = make(config, dtype), timm_twin(config).to(dtype)
    theirs.load_state_dict(to_timm(ours.state_dict()), strict=True)
    images = pictures(2, config.in_channels, *config.image_size, dtype=dtype)
    with torch.no_grad():
        logits = ours(images)
        assert logits.std() > 0.1  # not a comparison of zeros
        close(logits, theirs(images), tolerance)
        randomise(theirs, seed=1)  # and the other way
        load_strict(ours, from_timm(theirs.state_dict()))
        close(ours(images), theirs(images), tolerance)


@pytest.mark.parametrize("dtype, tolerance", PRECISIONS)
@pytest.mark.parametrize(
    "image, patch, heads, depth", [(16, 4, 3, 2), (24, 8, 1, 3), (10, 5, 12, 1)]
)
def test_logits_equal_torchvision(image, patch, heads, depth, dtype, tolerance):
    models = pytest.importorskip("torchvision.models.vision_transformer")
    config = replace(SMALL, image_size=image, patch_size=patch, num_heads=heads, depth=depth)
    theirs = models.VisionTransformer(image, patch, depth, heads, 24, 48, num_classes=5).to(dtype)
    randomise(theirs).eval()
    ours = make(config, dtype, seed=1)
    load_strict(ours, from_torchvision(theirs.state_dict()))
    images = pictures(2, 3, image, image, dtype=dtype)
    with torch.no_grad():
        logits = theirs(images)
        assert logits.std() > 0.1
        close(ours(images), logits, tolerance)


TIMM_NAMES = {
    "ViT-Ti/16": "vit_tiny_patch16_224", "ViT-S/32": "vit_small_patch32_224",
    "ViT-S/16": "vit_small_patch16_224", "ViT-B/32": "vit_base_patch32_224",
    "ViT-B/16": "vit_base_patch16_224", "ViT-B/8": "vit_base_patch8_224",
    "ViT-L/32": "vit_large_patch32_224", "ViT-L/16": "vit_large_patch16_224",
    "ViT-H/14": "vit_huge_patch14_224",
}  # fmt: skip
TORCHVISION_NAMES = {
    "ViT-B/16": "vit_b_16", "ViT-B/32": "vit_b_32", "ViT-L/16": "vit_l_16",
    "ViT-L/32": "vit_l_32", "ViT-H/14": "vit_h_14",
}  # fmt: skip


def shapes_of(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("ViT-")])
def test_released_models_have_the_same_parameters_elsewhere(name):
    timm = pytest.importorskip("timm")
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):  # shapes without memory
        ours = shapes_of(VisionTransformer(PRESETS[name]).state_dict())
        theirs = timm.create_model(TIMM_NAMES[name], pretrained=False, num_classes=1000)
        assert shapes_of(theirs.state_dict()) == ours
        if name in TORCHVISION_NAMES:
            theirs = models.get_model(TORCHVISION_NAMES[name], weights=None)
            assert shapes_of(from_torchvision(theirs.state_dict())) == ours


def test_parameter_names_are_timms():
    state = VisionTransformer(PRESETS["CIFAR-ViT-Nano"]).state_dict()
    assert set(state) & {"cls_token", "fc_norm.weight"} == set()
    with torch.device("meta"):
        state = VisionTransformer(PRESETS["ViT-B/16"]).state_dict()
    assert len(state) == 152
    assert tuple(state["pos_embed"].shape) == (1, 197, 768)
    assert tuple(state["blocks.11.attn.qkv.weight"].shape) == (2304, 768)
    assert tuple(state["patch_embed.proj.weight"].shape) == (768, 3, 16, 16)


# --- Intermediates ----------


@pytest.mark.parametrize("config", [SMALL, MEAN, BARE, replace(BARE, fc_norm=True)])
def test_intermediates_are_complete_and_consistent(config):
    model = make(config, torch.float64)
    images = IMAGES.double()
    logits, out = model(images, intermediates=True)
    batch, n, t, d = 2, 6, config.num_tokens, 24
    expected = {"patch_embed": (batch, n, d), "tokens": (batch, t, d)}
    for i in range(2):
        expected |= {f"blocks.{i}.attn.{part}": (batch, 3, t, 8) for part in "qkv"}
        expected |= {f"blocks.{i}.attn.weights": (batch, 3, t, t)}
        expected |= {f"blocks.{i}{end}": (batch, t, d) for end in (".attn", ".mlp", "")}
    expected |= {"norm": (batch, t, d), "pooled": (batch, d), "logits": (batch, 5)}
    assert {name: tuple(value.shape) for name, value in out.items()} == expected
    assert list(out) == list(expected)  # in the order of computation

    close(logits, model(images), 1e-12)
    assert out["logits"] is logits
    close(out["pooled"], model.features(images), 1e-12)
    close(model.head(out["pooled"]), logits, 1e-12)
    patches = out["tokens"][:, int(config.class_token) :]
    close(out["patch_embed"] + model.pos_embed[:, int(config.class_token) :], patches, 1e-12)
    stream = out["tokens"]
    for i in range(2):
        stream = stream + out[f"blocks.{i}.attn"] + out[f"blocks.{i}.mlp"]
        close(stream, out[f"blocks.{i}"], 1e-12)
    close(out["norm"], model.norm(stream), 1e-12)


def test_the_class_token_comes_first_and_has_a_position():
    model = make()
    tokens = model.embed(IMAGES)
    expected = (model.cls_token + model.pos_embed[:, :1]).expand(2, 1, 24)
    assert torch.equal(tokens[:, :1], expected)


def test_pooling_reads_what_it_says():
    x = pictures(2, 7, 24)
    assert torch.equal(make(SMALL).pool(x), x[:, 0])
    close(make(MEAN).pool(x), x[:, 1:].mean(1), 1e-6)
    close(make(BARE).pool(x[:, 1:]), x[:, 1:].mean(1), 1e-6)


# --- Order and position ----------

ORDER = torch.tensor([4, 2, 0, 5, 1, 3])


def cut_and_shuffle(images, order):
    """Rearrange the 4 x 4 patches of 8 x 12 images."""
    columns = F.unfold(images, 4, stride=4)[:, :, order]
    return F.fold(columns, (8, 12), 4, stride=4)


@pytest.mark.parametrize("config", [SMALL, MEAN, BARE])
def test_without_positions_a_picture_is_a_bag_of_patches(config):
    model = make(replace(config, position="none"))
    logits, out = model(IMAGES, intermediates=True)
    mixed, mixed_out = model(cut_and_shuffle(IMAGES, ORDER), intermediates=True)
    close(mixed, logits, 1e-5)
    prefix = int(config.class_token)
    order = torch.cat([torch.arange(prefix), ORDER + prefix])
    close(mixed_out["norm"], out["norm"][:, order], 1e-5)


@pytest.mark.parametrize("position", ["learned", "sincos1d", "sincos2d"])
def test_with_positions_order_counts(position):
    model = make(replace(SMALL, position=position))
    before, shuffled = model(IMAGES), cut_and_shuffle(IMAGES, ORDER)
    assert (model(shuffled) - before).abs().max() > 1e-3
    with torch.no_grad():  # rearrange the table as well: nothing has changed
        model.pos_embed[:, 1:] = model.pos_embed[:, 1 + ORDER]
    close(model(shuffled), before, 1e-5)


def test_a_shift_by_a_whole_patch_permutes_tokens_a_pixel_does_not():
    model = make(replace(BARE, position="none"))
    before = model(IMAGES)
    close(model(IMAGES.roll((4, 8), dims=(2, 3))), before, 1e-5)
    assert (model(IMAGES.roll(1, dims=3)) - before).abs().max() > 1e-3
    placed = make(BARE)
    assert (placed(IMAGES.roll(4, dims=3)) - placed(IMAGES)).abs().max() > 1e-3


def test_fixed_tables_are_constants_saved_with_the_model():
    for position, table in (("sincos1d", sincos_1d(6, 24)), ("sincos2d", sincos_2d((2, 3), 24))):
        model = VisionTransformer(replace(SMALL, position=position))
        assert torch.equal(model.state_dict()["pos_embed"][0, 1:], table)
        assert not model.state_dict()["pos_embed"][0, 0].any()
        assert "pos_embed" not in dict(model.named_parameters())
    assert "pos_embed" not in VisionTransformer(replace(SMALL, position="none")).state_dict()
    assert "pos_embed" in dict(VisionTransformer(SMALL).named_parameters())


# --- The zero head, gradients, start ----------


@pytest.mark.parametrize("config", [SMALL, MEAN, BARE])
def test_an_untrained_model_knows_nothing(config):
    logits = VisionTransformer(config)(IMAGES)
    assert torch.equal(logits, torch.zeros(2, 5))
    assert abs(F.cross_entropy(logits, torch.tensor([1, 3])).item() - math.log(5)) < 1e-6


def backbone_gradients(model):
    loss = F.cross_entropy(model(IMAGES), torch.tensor([1, 3]))
    model.zero_grad()
    loss.backward()
    named = model.named_parameters()
    return {name: p.grad.abs().max().item() for name, p in named if not name.startswith("head")}


def test_a_zero_head_stops_the_gradient_for_one_step():
    torch.manual_seed(0)
    model = VisionTransformer(SMALL)
    assert set(backbone_gradients(model).values()) == {0.0}
    assert model.head.weight.grad.abs().max() > 0
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert min(backbone_gradients(model).values()) > 0


@pytest.mark.parametrize("config", [SMALL, MEAN, BARE, replace(MEAN, fc_norm=True)])
def test_every_parameter_learns_but_the_key_bias(config):
    model = make(config, torch.float64)
    F.cross_entropy(model(IMAGES.double()), torch.tensor([1, 3])).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if name.endswith("qkv.bias"):
            q, k, v = gradient.chunk(3)
            assert k.abs().max() < 1e-12 < 1e-6 < min(q.abs().max(), v.abs().max())
        elif name == "cls_token" or name == "pos_embed":
            assert gradient.abs().sum(-1).min() > 1e-6  # every row of it
        else:
            assert gradient.abs().max() > 1e-6, name


def test_weights_start_as_in_googles_code():
    torch.manual_seed(0)
    model = VisionTransformer(replace(PRESETS["ViT-Ti/16"], depth=1))
    assert not model.cls_token.any()
    assert abs(model.pos_embed.std() - 0.02) < 5e-4
    assert abs(model.patch_embed.proj.weight.std() * math.sqrt(768) - 1) < 0.02
    assert not model.head.weight.any() and not model.head.bias.any()
    assert model.norm.eps == 1e-6


def test_reset_head():
    model = make()
    body = model.features(IMAGES)
    model.reset_head(9)
    assert torch.equal(model(IMAGES), torch.zeros(2, 9))
    assert torch.equal(model.features(IMAGES), body)
    assert model.config == replace(SMALL, num_classes=9)  # so that it can be saved and loaded
    with pytest.raises(ValueError, match="num_classes=0 must be a positive integer"):
        model.reset_head(0)
    half = VisionTransformer(SMALL).double()
    half.reset_head(3)
    assert half.head.weight.dtype == torch.float64


# --- The same every time ----------


def test_evaluation_is_deterministic_and_training_drops():
    model = randomise(VisionTransformer(replace(SMALL, dropout=0.3)))
    torch.manual_seed(0)
    assert not torch.equal(model.train()(IMAGES), model(IMAGES))
    assert torch.equal(model.eval()(IMAGES), model(IMAGES))


@few
@given(st.integers(1, 5))
def test_an_image_does_not_depend_on_its_batch(batch):
    model = make(dtype=torch.float64)
    images = pictures(batch, 3, 8, 12, dtype=torch.float64)
    alone = torch.cat([model(image[None]) for image in images])
    close(model(images), alone, 1e-10)


def test_one_seed_one_model():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(VisionTransformer(SMALL).state_dict())
    same = [torch.equal(states[0][name], states[1][name]) for name in states[0]]
    other = torch.equal(states[0]["pos_embed"], states[2]["pos_embed"])
    assert all(same) and not other


# --- The configuration ----------


SIDE = st.integers(1, 4)
TOKENS = st.sampled_from([(True, "cls"), (True, "mean"), (False, "mean")])


@few
@given(SIDE, SIDE, SIDE, SIDE, st.integers(1, 3), st.integers(1, 4), TOKENS)
def test_any_valid_size_runs(gh, gw, ph, pw, heads, head_dim, tokens):
    class_token, pool = tokens
    config = ViTConfig(
        image_size=(gh * ph, gw * pw), patch_size=(ph, pw), num_classes=3, mlp_ratio=1.5, depth=1,
        embed_dim=heads * head_dim, num_heads=heads, class_token=class_token, pool=pool,
    )  # fmt: skip
    assert config.grid_size == (gh, gw) and config.num_patches == gh * gw
    assert config.num_tokens == gh * gw + class_token and config.head_dim == head_dim
    logits, out = make(config)(pictures(2, 3, *config.image_size), intermediates=True)
    assert logits.shape == (2, 3) and logits.isfinite().all()
    assert out["tokens"].shape == (2, config.num_tokens, config.embed_dim)


def test_defaults_are_vit_b_16():
    assert ViTConfig() == PRESETS["ViT-B/16"]
    assert PRESETS["ViT-H/14"].head_dim == 80  # "always 64" is false
    assert all(PRESETS[n].head_dim == 64 for n in TIMM_NAMES if n != "ViT-H/14")
    assert PRESETS["ViT-H/14"].num_patches == 256


def test_configurations_are_fixed_values():
    with pytest.raises(FrozenInstanceError):
        SMALL.depth = 3
    assert hash(ViTConfig(image_size=[32, 32])) == hash(ViTConfig(image_size=32))
    assert ViTConfig(image_size=32) == ViTConfig(image_size=(32, 32))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"image_size": 30}, r"image_size=\(30, 30\) must be divisible by patch_size=\(16, 16\)"),
        ({"image_size": 0}, r"image_size=0 must be a positive integer"),
        ({"patch_size": "16"}, r"patch_size='16' must be a positive integer"),
        ({"in_channels": 0}, r"in_channels=0 must be a positive integer"),
        ({"num_classes": 1.5}, r"num_classes=1.5 must be a positive integer"),
        ({"embed_dim": -8}, r"embed_dim=-8 must be a positive integer"),
        ({"depth": 0}, r"depth=0 must be a positive integer"),
        ({"depth": True}, r"depth=True must be a positive integer"),
        ({"num_heads": 0}, r"num_heads=0 must be a positive integer"),
        ({"num_heads": 7}, r"embed_dim=768 must be divisible by num_heads=7"),
        ({"position": "2d"}, r"position='2d' must be one of \('learned', 'sincos1d'"),
        ({"pool": "max"}, r"pool='max' must be one of \('cls', 'mean'\)"),
        ({"class_token": False}, r"class_token=False needs pool='mean'"),
        ({"fc_norm": True}, r"fc_norm=True needs pool='mean'"),
        ({"mlp_ratio": 0}, r"mlp_ratio=0 must make"),
        ({"mlp_ratio": float("nan")}, r"mlp_ratio=nan must make"),
        ({"mlp_ratio": float("inf")}, r"mlp_ratio=inf must make"),
        ({"mlp_ratio": 1e-4}, r"mlp_ratio=0.0001 must make"),
        ({"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0.1 must be in \[0, 1\)"),
        (
            {"position": "sincos2d", "embed_dim": 6, "num_heads": 1},
            r"dim=6 must be a multiple of 4",
        ),
        ({"position": "sincos1d", "embed_dim": 7, "num_heads": 1}, r"dim=7 must be even"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        ViTConfig(**changes)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 12, 8), (3, 8, 12)])
def test_images_of_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"images of shape .* must be \(B, C, 8, 12\)"):
        make()(torch.zeros(shape))
