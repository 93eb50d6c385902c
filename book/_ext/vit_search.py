"""What a reader types into the search, and the page that teaches it: entries of the index.

Sphinx puts a page whose index entry equals the question above all that merely hold its words. The
entries stand here rather than in the chapters, where a reader of the notebook would meet them. Of
equal answers the glossary's comes second: static/vt-search.js.
"""

from pathlib import Path

from sphinx import addnodes
from sphinx.transforms import SphinxTransform

KEYWORDS = {
    "book/02_patchify": (
        "einops", "patchify", "unpatchify", "patch embedding", "color", "colour channels",
    ),
    "book/03_linear_projection": ("linear projection", "patch projection", "convolution"),
    "book/04_positions": (
        "positional encoding", "position embedding", "positional embedding", "class token",
        "cls token", "CLS", "GAP", "global average pooling", "sin-cos", "RoPE",
    ),
    "book/05_attention": (
        "multi-head", "multi-head attention", "self-attention", "softmax", "QKV",
    ),
    "book/06_encoder": (
        "normalization", "normalisation", "layer norm", "LayerNorm", "MLP", "GELU", "residual",
        "skip connection", "encoder",
    ),
    "book/07_hybrid": ("hybrid", "convolutional stem", "receptive field"),
    "book/08_training": ("training", "learning rate", "warm-up", "AdamW", "weight decay"),
    "book/09_recipe": ("recipe", "hyperparameters"),
    "book/muon": ("Muon", "singular values", "optimiser for matrices"),
    "book/evening": ("laptop", "budget", "how long does training take"),
    "book/10_inductive_bias": ("inductive bias", "locality", "translation equivariance"),
    "book/11_data_size": ("data size", "how much data"),
    "book/augmentation": (
        "augmentation", "data augmentation", "mixup", "cutmix", "RandAugment", "cutout",
    ),
    "book/12_transfer": ("fine-tuning", "finetuning", "transfer learning", "pre-training"),
    "book/13_scale": ("scaling", "FLOPs", "MACs", "compute"),
    "book/14_attention_maps": (
        "attention map", "attention distance", "attention rollout", "visualization", "registers",
    ),
    "book/15_strengths_limits": ("limitations", "strengths"),
    "book/descendants": (
        "DeiT", "distillation", "Swin", "MAE", "masked autoencoder", "DINO", "FlexiViT",
    ),
    "book/appendix/recipe_workshop": ("label smoothing", "initialisation", "Xavier"),
    "book/appendix/bias_lab": ("bias dial",),
    "book/appendix/statistics": ("standard deviation", "standard error", "seeds", "significance"),
    "book/appendix/cluster": ("Slurm", "torchrun", "GPU", "distributed training", "job array"),
    "book/appendix/released_models": ("timm", "pretrained weights", "checkpoint", "DINOv2"),
}  # fmt: skip


class Keywords(SphinxTransform):
    """Give the first heading of a page its index entries, before the index is collected."""

    default_priority = 700

    def apply(self, **kwargs) -> None:
        words = KEYWORDS.get(self.env.docname, ())
        heading = next(iter(self.document.children), None)
        if words and heading is not None and heading["ids"]:
            entries = [("single", word, heading["ids"][0], "main", None) for word in words]
            heading.insert(1, addnodes.index(entries=entries))


def read_all(app, env, added: set, changed: set, removed: set) -> list[str]:
    """Every page, where one has changed: Sphinx keeps no index entries of pages it does not read.

    >>> read_all(None, None, set(), set(), set())
    []
    """
    return sorted(env.found_docs) if added or changed or removed else []


def configure(app, config) -> None:
    """Give Sphinx's search the order of answers that are alike."""
    config.html_search_scorer = str(Path(__file__).parent / "static" / "vt-search.js")


def setup(app) -> dict:
    """Register the transform and the order."""
    app.add_transform(Keywords)
    app.connect("config-inited", configure)
    app.connect("env-get-outdated", read_all)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
