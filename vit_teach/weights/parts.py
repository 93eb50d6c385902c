"""Which of a file's names are the ViT, which stand beside it, and which our model cannot have.

Chapter 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .layouts import HUGGINGFACE_PREFIXES, without_prefix
from .opening import MARKS

# Parts between the last block and the scores, or beside the model. With a new head they are left
# out; without one the file's own classifier could not be right without them.
BEHIND = (
    (r"pooler\.", "a pooler"),
    (r"(heads\.)?pre_logits[./]", "a hidden layer before the head (pre_logits)"),
    (r"attn_pool\.|MAPHead_\d+/", "a pooling by attention"),
    (r"decoder", "a decoder"),
    (r"head\.(?!weight$|bias$)", "a head of several layers"),
    (r"neck\.", "a neck"),
)
# Parts inside the model that ours does not have, in our names; what they are.
FOREIGN = (
    (r"norm_pre\.|patch_embed\.norm\.", "a norm before the first block (as in CLIP)"),
    (r".*(relative_position|rel_pos|rope)", "relative or rotary positions"),
    (r"blocks\.\d+\.attn\.[qkv]_(bias|proj)", "query, key and value projected apart (BEiT, EVA)"),
    (r".*\.attn\.[qk]_norm", "norms of queries and keys"),
    (r".*\.mlp\.(fc1_[gx]|w\d+|weights_in|weights_out)\.", "an MLP with a gate (SwiGLU)"),
    (r".*\.attn\.(lambda|sub_norm)", "attention as a difference of two (diff)"),
    (r".*\.(attn|mlp)\.norm\.", "norms inside attention or MLP (as in BEiT-3)"),
    (r"blocks\.\d+\.(attns|ffns)\.|blocks\.\d+\.(in_proj|in_norm)", "branches side by side"),
    (r"patch_embed\.backbone\.(?!stem\.(conv|norm)\.|stages\.)", "a CNN that is not the paper's"),
    (r"patch_embed\.(conv|proj\.\d)", "a patch embedding of several layers"),
)  # fmt: skip


def inside(
    state: Mapping[str, Any], kind: str, key: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The model's own names without their prefix, and the names that stand beside the model.

    ``kind`` is the layout. Returns (state, names). A prefix is what stands before the projection's
    name: "module.", "model.", "teacher.backbone.". Raises ``ValueError`` if there are several
    and ``key`` is none of them.

    >>> inside({"model.conv_proj.weight": 0, "model.class_token": 1, "loss.bias": 2}, "torchvision")
    ({'conv_proj.weight': 0, 'class_token': 1}, ['loss.bias'])
    """
    if kind == "google":
        return without_prefix(state), []
    marks = [re.fullmatch(MARKS[kind], name) for name in state]
    prefixes = sorted({match[1] or "" for match in marks if match})
    if key is not None and len(prefixes) > 1:
        chosen = [p for p in prefixes if p.removesuffix(".") == key or p.startswith(f"{key}.")]
        prefixes = chosen if len(chosen) == 1 else prefixes
    if len(prefixes) > 1:
        names = ", ".join(repr(p) for p in prefixes)
        raise ValueError(f"key={key!r} must say which model is meant; their names begin {names}")
    prefix = outer = prefixes[0]
    if kind == "huggingface":  # their classifier stands outside of "vit."
        for end in HUGGINGFACE_PREFIXES:
            outer = prefix.removesuffix(end) if prefix.endswith(end) else outer
    own, others = {}, []
    for name, tensor in state.items():
        if name.startswith(prefix):
            own[name.removeprefix(prefix)] = tensor
        elif outer != prefix and name.startswith(outer):
            own[name.removeprefix(outer)] = tensor
        else:
            others.append(name)
    return own, [name for name in others if name.split(".")[-1] != "n_averaged"]


def without_behind(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The state without the parts behind the last block, and what those are, in words.

    >>> without_behind({"head.bias": 0, "pooler.dense.bias": 1})
    ({'head.bias': 0}, ['a pooler'])
    """
    kept: dict[str, Any] = {}
    found: list[str] = []
    for name, tensor in state.items():
        what = next((words for pattern, words in BEHIND if re.match(pattern, name)), None)
        if what is None:
            kept[name] = tensor
        elif what not in found:
            found.append(what)
    return kept, found


def refuse_foreign(state: Iterable[str]) -> None:
    """Raise ``ValueError`` that names a part which our model does not have, in our names.

    >>> refuse_foreign({"norm_pre.weight": 0})
    Traceback (most recent call last):
    ...
    ValueError: state has a norm before the first block (as in CLIP), 'norm_pre.weight': our ...
    """
    for name in state:
        for pattern, words in FOREIGN:
            if re.match(pattern, name):
                raise ValueError(f"state has {words}, {name!r}: our ViT does not")
    for name in state:
        bias = f"{name.removesuffix('weight')}bias"
        if re.fullmatch(r"(blocks\.\d+\.norm[12]|(fc_)?norm)\.weight", name) and bias not in state:
            raise ValueError(f"state has {name!r} without a bias, as RMSNorm: ours is LayerNorm")
    if "pos_embed" not in state:
        raise ValueError("state has no 'pos_embed': not a plain ViT with positions")
    for ends in (("norm.weight", "fc_norm.weight"), ("dist_token", "reg_token")):
        if all(name in state for name in ends):
            raise ValueError(f"state has both {ends[0]!r} and {ends[1]!r}: our ViT has one of them")
    if "norm.weight" not in state and "fc_norm.weight" not in state:
        raise ValueError("state has no 'norm.weight': our ViT has a norm after the last block")


def look_alike(state: Iterable[str]) -> str | None:
    """Why these names may belong to a model that computes something else, or None.

    Some models differ from a plain ViT in ways that leave no trace in the names.

    >>> look_alike({"blocks.0.ls1.gamma": 0, "blocks.0.attn.qkv.bias": 0}) is None
    True
    """
    if any(re.fullmatch(r"blocks\.\d+\.gamma_1", name) for name in state):
        return "DeiT-III and timm's ViTs with rotary positions (rope_ape) have the same names"
    bare = not any(re.search(r"attn\.qkv\.bias|attention\.|\.ls1\.", name) for name in state)
    if bare and "fc_norm.weight" in state and "cls_token" not in state:
        return "ViTs with norms before and after the branches (rpn) have the same names"
    return None
