"""Chapters 5 and 6: what they build by hand equals the package; what their exercises say."""

import chapters
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vit_teach as vt


def same(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def randomised(model, seed=0):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


@pytest.mark.parametrize(
    ("tokens", "dim", "heads"), [(7, 12, 3), (5, 20, 4), (1, 6, 1), (9, 14, 7)]
)
def test_attention_by_hand_is_the_package_and_pytorch(tokens, dim, heads):
    built = chapters.built("05_attention")
    package = randomised(vt.MultiHeadAttention(dim, heads))
    x = torch.randn(2, tokens, dim, dtype=torch.float64)
    for name in ("LoopAttention", "Attention"):
        by_hand = built[name](dim, heads).double()
        by_hand.load_state_dict(package.state_dict(), strict=True)
        same(by_hand(x), package(x))
    q, k, v = by_hand.split(x)
    mixed = F.scaled_dot_product_attention(q, k, v)
    same(by_hand.proj(mixed.transpose(1, 2).flatten(2)), package(x))


def test_the_trap_has_right_shapes_and_wrong_numbers():
    built = chapters.built("05_attention")
    package = randomised(vt.MultiHeadAttention(20, 4))
    wrong = built["WrongAttention"](20, 4).double()
    wrong.load_state_dict(package.state_dict())
    x = torch.randn(2, 7, 20, dtype=torch.float64)
    assert wrong(x).shape == package(x).shape
    assert (wrong(x) - package(x)).abs().max() > 0.01


def test_small_parts_by_hand_are_pytorch_and_the_package():
    built = chapters.built("06_encoder")
    x = 3 * torch.randn(2, 7, 12, dtype=torch.float64)
    same(built["gelu"](x), F.gelu(x))
    same(built["gelu_tanh"](x), F.gelu(x, approximate="tanh"))
    norm = randomised(torch.nn.LayerNorm(12, eps=1e-6))
    by_hand = built["LayerNorm"](12).double()
    by_hand.load_state_dict(norm.state_dict())
    same(by_hand(x), norm(x))
    mlp = randomised(vt.Mlp(12, 20))
    by_hand = built["Mlp"](12, 20).double()
    by_hand.load_state_dict(mlp.state_dict())
    same(by_hand(x), mlp(x))


def test_block_by_hand_is_the_package():
    package = randomised(vt.EncoderBlock(12, 3, mlp_dim=20))
    by_hand = chapters.built("06_encoder")["Block"](12, 3, 20).double()
    by_hand.load_state_dict(package.state_dict(), strict=True)
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    same(by_hand(x), package(x))
    post_norm = chapters.built("06_encoder")["PostNormBlock"](12, 3, 20).double()
    post_norm.load_state_dict(package.state_dict())
    assert (post_norm(x) - package(x)).abs().max() > 0.1


SIZES = {"image_size": (24, 40), "patch_size": 8, "in_channels": 3, "num_classes": 7,
         "embed_dim": 20, "depth": 2, "num_heads": 4, "mlp_ratio": 2.2}  # fmt: skip


def made_by_hand(package):
    model = chapters.built("06_encoder")["HandMadeViT"]((24, 40), 8, 3, 20, 2, 4, 44, 7).double()
    model.load_state_dict(package.state_dict(), strict=True)
    return model


def test_model_by_hand_is_the_package():
    package = randomised(vt.VisionTransformer(vt.ViTConfig(**SIZES)))
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)
    same(made_by_hand(package)(images), package(images), 1e-10)


def test_the_model_on_one_screen_is_the_package():
    """The listing to copy stands alone: nothing of the chapter and nothing of this book."""
    blocks = chapters.FENCE.findall(chapters.markdown("06_encoder"))
    listing = next(code for code in blocks if "class ViT" in code)
    variables = {}
    exec(compile(listing, "06_encoder: the listing", "exec"), variables)
    package = randomised(vt.VisionTransformer(vt.ViTConfig(**SIZES)))
    model = variables["ViT"]((24, 40), 8, 3, 20, 2, 4, 44, 7).double()
    model.load_state_dict(package.state_dict(), strict=True)
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)
    same(model(images), package(images), 1e-10)


def test_model_by_hand_is_timm():
    timm = pytest.importorskip("timm.models.vision_transformer", reason="timm is not installed")
    theirs = randomised(
        timm.VisionTransformer(
            img_size=(24, 40),
            patch_size=8,
            num_classes=7,
            embed_dim=20,
            depth=2,
            num_heads=4,
            mlp_ratio=2.2,
        )  # fmt: skip
    )
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)
    same(made_by_hand(theirs)(images), theirs(images), 1e-10)


def test_the_counts_of_the_chapter_cover_every_released_size():
    published = chapters.built("06_encoder")["published"]
    assert set(published) == {name for name in vt.PRESETS if name.startswith("ViT-")}


# --- What the exercises say ----------


def test_softmax_comes_within_a_millionth_of_the_identity():
    q = 10 * torch.eye(5)
    torch.testing.assert_close(vt.attention_weights(q, q), torch.eye(5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "side"), [("ViT-Ti/16", 544), ("ViT-B/16", 1088), ("ViT-H/14", 1232)]
)
def test_the_side_from_which_on_half_of_a_block_is_pairs(name, side):
    config = vt.PRESETS[name]
    patches = side // config.patch_size[0]
    assert (patches - 1) ** 2 + 1 < 6 * config.embed_dim <= patches**2 + 1


def test_a_loose_test_misses_two_details_and_no_structural_mistake():
    ours = randomised(vt.VisionTransformer(vt.ViTConfig(**SIZES)), seed=1)
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)

    def change(spoil):
        model = vt.VisionTransformer(ours.config).double().eval()
        model.load_state_dict(ours.state_dict())
        spoil(model)
        return (model(images) - ours(images)).abs().max().item()

    def other_eps(model):
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-5

    def with_tanh(model):
        for block in model.blocks:
            mlp = block.mlp
            mlp.forward = lambda x, mlp=mlp: mlp.fc2(F.gelu(mlp.fc1(x), approximate="tanh"))

    assert change(other_eps) < 1e-2 and change(with_tanh) < 1e-2
    assert change(lambda model: setattr(model, "norm", nn.Identity())) > 1e-2
    assert change(lambda model: nn.init.zeros_(model.pos_embed)) > 1e-2


def test_the_model_by_hand_without_a_class_token_is_the_packages():
    hand_made = chapters.built("06_encoder")["HandMadeViT"]

    class HandMadeMeanViT(hand_made):
        def __init__(self, *sizes, **more):
            super().__init__(*sizes, **more)
            self.cls_token = None
            self.pos_embed = nn.Parameter(self.pos_embed.data[:, 1:])  # (1, N, D)

        def forward(self, images):
            x = self.patch_embed(images) + self.pos_embed  # (B, N, D)
            return self.head(self.norm(self.blocks(x)).mean(dim=1))  # (B, K)

    config = vt.ViTConfig(**SIZES, pool="mean", class_token=False)
    package = randomised(vt.VisionTransformer(config))
    mine = HandMadeMeanViT((24, 40), 8, 3, 20, 2, 4, 44, 7).double()
    mine.load_state_dict(package.state_dict(), strict=True)
    images = torch.randn(3, 3, 24, 40, dtype=torch.float64)
    same(mine(images), package(images))
