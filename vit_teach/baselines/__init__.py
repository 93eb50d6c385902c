"""The models that the ViT is compared with: hybrid, the paper's own hybrid, ResNet. Chapter 7."""

from .hybrid import HYBRID_PRESETS, STEMS, ConvStem, Hybrid, HybridConfig
from .paper_hybrid import PAPER_HYBRIDS, PaperHybrid, PaperHybridConfig
from .resnet import RESNET_PRESETS, BasicBlock, ResNet, ResNetConfig

__all__ = [
    "HYBRID_PRESETS", "PAPER_HYBRIDS", "RESNET_PRESETS", "STEMS", "BasicBlock", "ConvStem",
    "Hybrid", "HybridConfig", "PaperHybrid", "PaperHybridConfig", "ResNet", "ResNetConfig",
]  # fmt: skip
