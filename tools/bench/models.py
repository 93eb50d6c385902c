"""One small ViT in six libraries: 192 wide, 6 blocks, patches of 4, pictures of 32 pixels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import vit_teach as vt

WIDTH, DEPTH, HEADS, HIDDEN = 192, 6, 3, 384
CONFIG = vt.zoo.preset("CIFAR-ViT-Small", pool="cls", class_token=True)
BOOK = "this book"


def ours() -> nn.Module:
    return vt.zoo.build(CONFIG)


def of_timm(fused: bool = True) -> nn.Module:
    from timm.layers import set_fused_attn
    from timm.models import VisionTransformer

    set_fused_attn(fused)
    return VisionTransformer(
        img_size=32, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2,
        num_classes=10,
    )  # fmt: skip


def of_timm_unfused() -> nn.Module:
    return of_timm(fused=False)


def of_vit_pytorch() -> nn.Module:
    from vit_pytorch import ViT

    return ViT(
        image_size=32, patch_size=4, num_classes=10, dim=WIDTH, depth=DEPTH, heads=HEADS,
        mlp_dim=HIDDEN,
    )  # fmt: skip


def of_simple_vit() -> nn.Module:
    from vit_pytorch import SimpleViT

    return SimpleViT(
        image_size=32, patch_size=4, num_classes=10, dim=WIDTH, depth=DEPTH, heads=HEADS,
        mlp_dim=HIDDEN,
    )  # fmt: skip


class Logits(nn.Module):
    """A Hugging Face model that returns its scores alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).logits


def of_hugging_face() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
        intermediate_size=HIDDEN, image_size=32, patch_size=4, num_labels=10,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return Logits(ViTForImageClassification(config))


def of_torchvision() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 4, DEPTH, HEADS, WIDTH, HIDDEN, num_classes=10)


MODELS: dict[str, Callable[[], nn.Module]] = {
    BOOK: ours,
    "timm": of_timm,
    "vit-pytorch ViT": of_vit_pytorch,
    "vit-pytorch SimpleViT": of_simple_vit,
    "Hugging Face": of_hugging_face,
    "torchvision": of_torchvision,
    "timm, plain attention": of_timm_unfused,
}
# Same layers, so as many numbers to the last one. The two of vit-pytorch have no biases in q, k, v,
# and norms around the projection; SimpleViT has no class token and a fixed position table.
EQUAL = (BOOK, "timm", "Hugging Face", "torchvision", "timm, plain attention")
NEAR = 0.01  # as a fraction: how far the others' number of parameters may be from ours


def parameters(model: nn.Module) -> int:
    """The number of trained parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def build(name: str) -> nn.Module:
    """The model of the library called ``name``, held to the size of ours.

    Raises ``ValueError`` if it is another model than the one that is compared.
    """
    torch.manual_seed(0)
    model = MODELS[name]()
    check_size(name, parameters(model))
    return model


def check_size(name: str, count: int) -> None:
    """Raise ``ValueError`` unless ``count`` parameters are what the contender must have."""
    wanted = vt.cost.parameters(CONFIG)
    allowed = 0 if name in EQUAL else NEAR * wanted
    if abs(count - wanted) > allowed:
        raise ValueError(f"{name} has {count:,} parameters; the same model has {wanted:,}")


def batch(size: int, device: Any) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, 32, 32) of noise and their labels (B,): speed does not look at them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (size,), generator=generator)
    return images.to(device), labels.to(device)
