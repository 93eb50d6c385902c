"""ShapeTracer: the model as a diagram, with the shape, the parameters and the work of each part.

Chapter 6.
"""

import functools
import html
from pathlib import Path
from typing import Any

import traitlets

from .. import cost, zoo
from ..arguments import explained, require_type
from ..vit.model import ViTConfig
from ..vit.patches import to_pair
from .shared.base import BookWidget, require

MODEL = Path(__file__).resolve().parents[1] / "vit"  # the folder of the model's files
LARGEST_IMAGE = 4096
LARGEST_GRID = 65_536  # patches: the counts stay exact in a page's numbers
LARGEST_HEAD = 1_000_000
PARTS = ("patch_embed", "cls_token", "pos_embed", "blocks", "norm", "pool", "fc_norm", "head")

# Where the package does each step: the file in vit/, and what only this line of it contains.
LINES = {
    "project": ("embedding", "x = self.proj(images)"),
    "flatten": ("embedding", "return x.flatten(2).transpose(1, 2)"),
    "class token": ("model", "x = torch.cat([self.cls_token.expand"),
    "positions": ("model", "x = x + self.pos_embed"),
    "norm1": ("encoder", "attn = self.attn(self.norm1(x)"),
    "qkv": ("attention", "qkv = self.qkv(x)"),
    "heads": ("attention", "q, k, v = qkv.permute"),
    "scores": ("attention", "scores = (q *"),
    "softmax": ("attention", "return scores.softmax"),
    "weighted sum": ("attention", "x = weights @ v"),
    "join": ("attention", "x = x.transpose(1, 2).reshape("),
    "proj": ("attention", "self.dropout(self.proj(x))"),
    "add attention": ("encoder", "x = x + attn"),
    "norm2": ("encoder", "mlp = self.mlp(self.norm2(x))"),
    "fc1": ("encoder", "F.gelu(self.fc1(x))"),
    "gelu": ("encoder", "F.gelu(self.fc1(x))"),
    "fc2": ("encoder", "self.dropout(self.fc2(x))"),
    "add mlp": ("encoder", "x = x + mlp"),
    "norm": ("model", "x = self.norm(x)"),
    "pool cls": ("model", "return x[:, 0]"),
    "pool mean": ("model", "].mean(dim=1)"),
    "fc_norm": ("model", "pooled = self.fc_norm(self.pool(x))"),
    "head": ("model", "logits = self.head(self.features("),
}


@functools.cache
def code_lines() -> dict[str, dict[str, Any]]:
    """The package's line for each step: a dictionary of ``{"file", "line", "text"}``.

    They are looked up in the package's own files, so they cannot grow old. Raises ``ValueError``
    if a step's line is not there exactly once.

    >>> code_lines()["qkv"]["text"][:19]
    'qkv = self.qkv(x)  '
    """
    found = {}
    for step, (module, mark) in LINES.items():
        lines = (MODEL / f"{module}.py").read_text("utf-8").splitlines()
        places = [number for number, line in enumerate(lines) if mark in line]
        require(len(places) == 1, "places of", mark, f"must be one in {module}.py, not {places}")
        text = lines[places[0]].strip()
        found[step] = {"file": f"vit/{module}.py", "line": places[0] + 1, "text": text}
    return found


def sizes_of(config: ViTConfig) -> dict[str, Any]:
    """What the script needs to know of a ``ViTConfig``, as plain values.

    >>> sizes_of(zoo.preset("ViT-B/16"))["mlp"]
    3072
    """
    return {
        "image": list(to_pair(config.image_size)),
        "patch": list(to_pair(config.patch_size)),
        "channels": config.in_channels,
        "classes": config.num_classes,
        "dim": config.embed_dim,
        "depth": config.depth,
        "heads": config.num_heads,
        "mlp": config.mlp_dim,
        "position": config.position,
        "pool": config.pool,
        "cls": config.class_token,
        "fc_norm": config.fc_norm,
    }


def presets() -> dict[str, dict[str, Any]]:
    """The book's plain ViTs by name: a dictionary of :func:`sizes_of`.

    >>> presets()["CIFAR-ViT-Nano"]["patch"]
    [8, 8]
    """
    configs = {name: zoo.preset(name) for name in zoo.names()}
    return {name: sizes_of(c) for name, c in configs.items() if type(c) is ViTConfig}


class ShapeTracer(BookWidget):
    """A ViT from picture to logits: shapes between its parts, parameters and MACs of each.

    The traits follow the reader: ``preset`` (a plain ViT of the book), ``image_size`` and
    ``patch_size`` (pixels, square), ``num_classes``, and ``selected`` (the part that is open: one
    of ``PARTS``, or "" for none). :meth:`choose` sets several at once; :meth:`config` gives the
    model. Raises ``ValueError`` for sizes that do not fit.

    >>> tracer = ShapeTracer("ViT-B/16", image_size=384)
    >>> tracer.config().num_tokens, tracer.totals()["parameters"]
    (577, 86859496)
    """

    MODULE = "shape_tracer"
    presets = traitlets.Dict().tag(sync=True)
    code = traitlets.Dict().tag(sync=True)
    preset = traitlets.Unicode("ViT-B/16").tag(sync=True)
    image_size = traitlets.Int(224).tag(sync=True)
    patch_size = traitlets.Int(16).tag(sync=True)
    num_classes = traitlets.Int(1000).tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)

    @explained
    def __init__(self, preset: str = "ViT-B/16", selected: str = "", **sizes: int) -> None:
        known = presets()
        super().__init__(presets=known, code=code_lines(), selected=selected)
        self.choose(preset, **sizes)

    def choose(
        self, preset: str, image_size: int | None = None, patch_size: int | None = None,
        num_classes: int | None = None,
    ) -> None:  # fmt: skip
        """Take a preset, with its own sizes unless others are given."""
        require(preset in self.presets, "preset", preset, f"must be one of {list(self.presets)}")
        own = self.presets[preset]
        sizes = {"image_size": image_size, "patch_size": patch_size, "num_classes": num_classes}
        for name, size in sizes.items():
            if size is not None:
                require_type(name, size, int, "an integer")
        with self.hold_trait_notifications():  # checked when all of them are there
            self.preset = preset
            self.image_size = own["image"][0] if image_size is None else image_size
            self.patch_size = own["patch"][0] if patch_size is None else patch_size
            self.num_classes = own["classes"] if num_classes is None else num_classes

    def config(self) -> ViTConfig:
        """The present model's ``ViTConfig``."""
        sizes = {name: getattr(self, name) for name in ("image_size", "patch_size", "num_classes")}
        config = zoo.preset(self.preset, **sizes)
        assert isinstance(config, ViTConfig)  # presets() has no others
        return config

    def totals(self) -> dict[str, int]:
        """Patches, tokens, parameters and MACs of the present model."""
        config = self.config()
        tokens = {"patches": config.num_patches, "tokens": config.num_tokens}
        return {**tokens, "parameters": cost.parameters(config), "macs": cost.macs(config)}

    @traitlets.validate("preset", "selected")
    def _check_name(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        known = list(self.presets) if name == "preset" else ["", *PARTS]
        require(value in known, name, value, f"must be one of {known}")
        return value

    @traitlets.validate("image_size", "patch_size")
    def _check_sizes(self, proposal: Any) -> Any:
        name = proposal.trait.name
        sizes = {"image_size": self.image_size, "patch_size": self.patch_size}
        image, patch = (sizes | {name: proposal.value}).values()
        most = LARGEST_IMAGE if name == "image_size" else image
        rule = f"must be from 1 to {most}"
        require(1 <= proposal.value <= most, name, proposal.value, rule)
        require(image % patch == 0, "image_size", image, f"must be divisible by patch_size={patch}")
        rule = f"gives more than {LARGEST_GRID:,} patches with patch_size={patch}"
        require((image // patch) ** 2 <= LARGEST_GRID, "image_size", image, rule)
        return proposal.value

    @traitlets.validate("num_classes")
    def _check_classes(self, proposal: Any) -> Any:
        rule = f"must be from 1 to {LARGEST_HEAD}"
        require(1 <= proposal.value <= LARGEST_HEAD, "num_classes", proposal.value, rule)
        return proposal.value

    def describe(self) -> str:
        config, totals = self.config(), self.totals()
        return (
            f"{self.preset} for images of {self.image_size} pixels and patches of "
            f"{self.patch_size}: {totals['patches']:,} patches, {totals['tokens']:,} tokens of "
            f"{config.embed_dim} numbers, {config.depth} encoder blocks, {self.num_classes:,} "
            f"classes. {totals['parameters']:,} parameters, {totals['macs']:,} multiply-adds for "
            "an image. With scripts on, you can choose other sizes here and open each part."
        )

    def picture(self) -> str:
        lines = []
        for row in cost.breakdown(self.config()):
            part = row["part"]
            if part.startswith("blocks.") and not part.startswith("blocks.0."):
                continue  # all blocks are alike
            part = part.replace("blocks.0.", f"each of {self.config().depth} blocks: ")
            shape = " × ".join(f"{size:,}" for size in row["shape"])
            numbers = "".join(f"<td>{row[name]:,}</td>" for name in ("params", "macs"))
            name = f'<th scope="row">{html.escape(part)}</th>'
            lines.append(f"<tr>{name}<td>{shape}</td>{numbers}</tr>")
        heads = ("part", "shape of its output", "parameters", "MACs")
        head = "".join(f'<th scope="col">{text}</th>' for text in heads)
        body = "".join(lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
