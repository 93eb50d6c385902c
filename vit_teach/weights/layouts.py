"""Other libraries' names and shapes for the same weights: each to ours, some back. Chapter 12.

Our parameters carry timm's names. A function here takes a state dict (names and arrays) and returns
one that :func:`vit_teach.weights.load_strict` accepts. For a plain ViT nothing is computed but
transpositions and one addition of zeros, so a way there and back gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import require_type

Array = np.ndarray[Any, np.dtype[Any]]
State = dict[str, Tensor]  # parameters by name
Arrays = Mapping[str, Any]  # the same, of Google's files: of numpy
Names = tuple[tuple[str, str], ...]  # patterns of a library's names, and ours

# --- timm, DINO, DeiT and DINOv2 ------------------------------------------------------------------

# Names of the public code of DINOv2 and DeiT-III, and timm's.
TIMM_NAMES = (
    (r"register_tokens", r"reg_token"),
    (r"(blocks\.\d+)\.gamma_([12])", r"\1.ls\2.gamma"),
)
UNUSED = ("mask_token",)  # stands in for hidden patches while training, and nowhere else


def _check_names(name: str, state: Any) -> None:
    if not isinstance(state, Mapping) or not all(isinstance(each, str) for each in state):
        raise ValueError(f"{name} of the class {type(state).__name__} must be a dictionary by name")


def from_timm(state: State) -> State:
    """A timm ViT's state dict in our names. For a plain ViT this is a plain copy.

    The public code of DINO, DeiT, DeiT-III and DINOv2 uses these names too. What our model has no
    place for is computed into what it has, exactly: LayerScale into the layer before it, missing
    biases of query, key and value as zeros. Load the result with :func:`load_strict`.

    >>> list(from_timm({"cls_token": torch.zeros(1, 1, 4)}))
    ['cls_token']
    """
    _check_names("state", state)
    renamed = {}
    for name, tensor in state.items():
        for theirs, ours in TIMM_NAMES:
            name = re.sub(f"^{theirs}$", ours, name)
        if name not in UNUSED:
            renamed[name] = tensor
    return _with_biases(fold_layer_scale(renamed))


def fold_layer_scale(state: State) -> State:
    """Multiply LayerScale into the layer before it: gamma (A x + b) = (gamma A) x + gamma b.

    LayerScale is a vector of D factors on what a branch adds (Touvron et al. 2021). ``ls1.gamma``
    goes into ``attn.proj``, ``ls2.gamma`` into ``mlp.fc2``; the products are formed in float64 and
    rounded once. Raises ``ValueError`` if the layer is missing or of another width.

    >>> layer = {"weight": torch.eye(2), "bias": torch.ones(2)}
    >>> state = {f"blocks.0.mlp.fc2.{part}": tensor for part, tensor in layer.items()}
    >>> state = fold_layer_scale({**state, "blocks.0.ls2.gamma": torch.tensor([2.0, 3.0])})
    >>> list(state), state["blocks.0.mlp.fc2.bias"]
    (['blocks.0.mlp.fc2.weight', 'blocks.0.mlp.fc2.bias'], tensor([2., 3.]))
    """
    folded = dict(state)
    for name, gamma in state.items():
        match = re.fullmatch(r"(blocks\.\d+)\.ls([12])\.gamma", name)
        if match is None:
            continue
        del folded[name]
        for part in ("weight", "bias"):
            layer = f"{match[1]}.{('attn.proj', 'mlp.fc2')[int(match[2]) - 1]}.{part}"
            tensor = state.get(layer)
            if tensor is None or gamma.ndim != 1 or tensor.shape[:1] != gamma.shape:
                raise ValueError(
                    f"state has {name!r} for a layer {layer!r} of another width or none"
                )
            scale = gamma.double().view(-1, *[1] * (tensor.ndim - 1))
            kind = torch.promote_types(tensor.dtype, torch.float32)
            folded[layer] = (tensor.double() * scale).to(kind)
    return folded


def _with_biases(state: State) -> State:
    """The state with zeros for the biases of query, key and value, if it has none at all."""
    weights = [name for name in state if re.fullmatch(r"blocks\.\d+\.attn\.qkv\.weight", name)]
    biases = [name.removesuffix("weight") + "bias" for name in weights]
    if any(name in state for name in biases):
        return state
    zeros = {b: torch.zeros_like(state[w][:, 0]) for w, b in zip(weights, biases, strict=True)}
    return {**state, **zeros}


def to_timm(model: nn.Module | State) -> State:
    """Our model's weights for timm: the way back from :func:`from_timm`, the same bits.

    ``model`` is a plain ViT, or its state dict. In one line, with timm's own model of equal size::

        timm.create_model("vit_tiny_patch16_224").load_state_dict(vt.weights.to_timm(model))

    With registers, timm's position table has rows for them (``reg_tokens=R``): they are zero.
    Raises ``ValueError`` for a model whose positions act in the attention.

    >>> list(to_timm({"cls_token": torch.zeros(1, 1, 4)}))
    ['cls_token']
    """
    _check_plain_positions(model)
    state = dict(_state_of(model))
    if "reg_token" in state and "pos_embed" in state:
        first, table = int("cls_token" in state), state["pos_embed"]
        rows = torch.zeros_like(state["reg_token"])
        state["pos_embed"] = torch.cat([table[:, :first], rows, table[:, first:]], dim=1)
    return state


def _check_plain_positions(model: nn.Module | State) -> None:
    """Other layouts know a table at the start; rotary positions leave no trace in the weights."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "offsets", None) is not None:
        raise ValueError(
            f"model has position={config.position!r}; the other layouts know a plain table only"
        )


def _state_of(model: nn.Module | State) -> State:
    """A model's state dict; a state dict is one already."""
    if isinstance(model, dict):
        return model
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model={type(model).__name__} must be a model or a state dict")
    return model.state_dict()


# --- torchvision and Hugging Face: the same numbers under other names -----------------------------

# Their names on the left, as patterns, and timm's (ours) on the right.
TORCHVISION_NAMES = (
    (r"class_token", r"cls_token"),
    (r"conv_proj\.(weight|bias)", r"patch_embed.proj.\1"),
    (r"encoder\.pos_embedding", r"pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(weight|bias)", r"blocks.\1.norm\2.\3"),
    (
        r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)",
        r"blocks.\1.attn.qkv.\2",
    ),
    (
        r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(weight|bias)",
        r"blocks.\1.attn.proj.\2",
    ),
    (
        r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(weight|bias)",
        r"blocks.\1.mlp.fc1.\2",
    ),
    (
        r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(weight|bias)",
        r"blocks.\1.mlp.fc2.\2",
    ),
    (r"encoder\.ln\.(weight|bias)", r"norm.\1"),
    (r"heads\.(?:head\.)?(weight|bias)", r"head.\1"),
)

# The files on the hub keep the names of transformers 4 (encoder.layer.0.attention.attention.query);
# transformers 5 writes shorter ones (layers.0.attention.q_proj). Query, key and value are apart.
# Dinov2 has timm's names for norms, and LayerScale.
_LAYER = r"(?:encoder\.layer|layers)\.(\d+)\."
HUGGINGFACE_NAMES = (
    (r"embeddings\.cls_token", r"cls_token"),
    (r"embeddings\.position_embeddings", r"pos_embed"),
    (r"embeddings\.register_tokens", r"reg_token"),
    (r"embeddings\.distillation_token", r"dist_token"),
    (r"embeddings\.mask_token", r"mask_token"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"patch_embed.proj.\1"),
    (_LAYER + r"(?:layernorm_before|norm1)\.(weight|bias)", r"blocks.\1.norm1.\2"),
    (_LAYER + r"(?:layernorm_after|norm2)\.(weight|bias)", r"blocks.\1.norm2.\2"),
    (_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
    (
        _LAYER + r"attention\.(?:attention\.(?:query)|q_proj)\.(weight|bias)",
        r"blocks.\1.attn.q.\2",
    ),
    (_LAYER + r"attention\.(?:attention\.(?:key)|k_proj)\.(weight|bias)", r"blocks.\1.attn.k.\2"),
    (
        _LAYER + r"attention\.(?:attention\.(?:value)|v_proj)\.(weight|bias)",
        r"blocks.\1.attn.v.\2",
    ),
    (
        _LAYER + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)",
        r"blocks.\1.attn.proj.\2",
    ),
    (_LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (_LAYER + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
    (r"(?:cls_)?classifier\.(weight|bias)", r"head.\1"),
    (r"distillation_classifier\.(weight|bias)", r"head_dist.\1"),
)
HUGGINGFACE_PREFIXES = ("vit.", "deit.", "dinov2.", "dinov2_with_registers.")


def _renamed(state: State, names: Names, library: str) -> State:
    """The state under our names; ``ValueError`` for a name that the table does not have."""
    _check_names("state", state)
    renamed = {}
    for name, tensor in state.items():
        for pattern, ours in names:
            match = re.fullmatch(pattern, name)
            if match:
                renamed[match.expand(ours)] = tensor
                break
        else:
            raise ValueError(f"state has {name!r}, which is not a name in {library}'s ViT")
    return renamed


def from_torchvision(state: State) -> State:
    """A torchvision ViT's state dict in our names. The numbers and their order stay the same.

    Raises ``ValueError`` for a name that torchvision's ViT does not have.

    >>> list(from_torchvision({"conv_proj.bias": torch.zeros(4)}))
    ['patch_embed.proj.bias']
    """
    return _renamed(state, TORCHVISION_NAMES, "torchvision")


def from_huggingface(state: State) -> State:
    """The state dict of one of Hugging Face's ViTs, DeiTs or DINOv2s in our names.

    The names of transformers 4 (which the files on the hub have) and 5 are both known. Query, key
    and value, three matrices there, become the rows of one; LayerScale is folded
    (:func:`fold_layer_scale`). The ViT's configuration there has a LayerNorm epsilon of 1e-12, ours
    is 1e-6: logits differ by about that much. Raises ``ValueError`` for a name that is not in
    these models.

    >>> list(from_huggingface({"vit.embeddings.cls_token": torch.zeros(1, 1, 4)}))
    ['cls_token']
    """
    _check_names("state", state)
    first = "|".join(re.escape(prefix) for prefix in HUGGINGFACE_PREFIXES)
    bare = {re.sub(f"^({first})", "", name): tensor for name, tensor in state.items()}
    renamed = _renamed(bare, HUGGINGFACE_NAMES, "Hugging Face")
    joined = {}
    for name, tensor in renamed.items():
        match = re.fullmatch(r"(blocks\.\d+\.attn)\.([qkv])\.(weight|bias)", name)
        if match is None:
            joined[name] = tensor
        elif match[2] == "q":
            names = [f"{match[1]}.{letter}.{match[3]}" for letter in "qkv"]
            parts = [renamed[each] for each in names if each in renamed]
            if len(parts) < 3:
                raise ValueError(f"state has {name!r}, but not all of query, key and value")
            joined[f"{match[1]}.qkv.{match[3]}"] = torch.cat(parts)
    return from_timm(joined)


# --- Google's .npz files --------------------------------------------------------------------------

PREFIXES = ("opt/target/", "params/img/", "params/")  # met in released files


def from_google(arrays: Arrays, head: bool = True) -> State:
    """The arrays of one of Google's ``.npz`` files, by name, as a state dict in our names.

    Known are the original layout (vision_transformer), with any of ``PREFIXES``, and big_vision's:
    the position table at the top and without a row for the class token, other numbers in the names
    of a block's parts, blocks perhaps stacked along their first axis. A hybrid's ResNet is known
    too. ``head=False`` leaves out the classifier, and with it the hidden layer ``pre_logits`` that
    the first release has before it.

    Raises ``ValueError`` for a missing or misshapen array, and for ``pre_logits`` with
    ``head=True``: our model has no such layer.

    >>> from_google({"embedding/kernel": np.zeros((4, 4, 3, 8))})
    Traceback (most recent call last):
    ...
    ValueError: arrays lacks 'embedding/bias'
    """
    _check_names("arrays", arrays)
    require_type("head", head, bool, "True or False")
    arrays = _unstacked(without_prefix(arrays))
    if head and any(name.startswith("pre_logits/") for name in arrays):
        raise ValueError(
            "arrays holds a hidden layer before the head ('pre_logits'), which our model does not "
            "have: train a new head (here head=False, in load num_classes=...)"
        )
    take = _Taker({n: a for n, a in arrays.items() if not n.startswith("pre_logits/")})
    state = {
        "patch_embed.proj.weight": take("embedding/kernel", 4).transpose(3, 2, 0, 1),  # (D,C,P,P)
        "patch_embed.proj.bias": take("embedding/bias", 1),
    }
    state |= _google_tokens(take)
    depth = len({name.split("/")[1] for name in arrays if name.startswith("Transformer/encoderb")})
    for i in range(depth):
        state |= _google_block(take, i)
    state |= _google_norm(take, "Transformer/encoder_norm", "norm")
    if head:
        state |= _google_dense(take, "head", "head")
    else:
        take.forget("head/")
    if "conv_root/kernel" in take:
        state |= _google_backbone(take)
    if take.left:
        raise ValueError(f"arrays has {sorted(take.left)[0]!r}, which is not in a ViT or hybrid")
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in state.items()}


class _Taker:
    """Hands out arrays by name, checks their axes and remembers what nobody asked for."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays, self.left = arrays, set(arrays)

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __call__(self, name: str, axes: int | None) -> Array:
        if name not in self.arrays:
            raise ValueError(f"arrays lacks {name!r}")
        array = np.asarray(self.arrays[name])
        if axes is not None and array.ndim != axes:
            raise ValueError(f"{name!r} has shape {array.shape}; it must have {axes} axes")
        self.left.discard(name)
        return array

    def forget(self, prefix: str) -> None:
        self.left = {name for name in self.left if not name.startswith(prefix)}


def without_prefix(arrays: Arrays) -> dict[str, Any]:
    """Google's arrays without what may stand before all their names, one of ``PREFIXES``.

    >>> without_prefix({"params/embedding/kernel": 0})
    {'embedding/kernel': 0}
    """
    for prefix in PREFIXES:
        inside = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        if "embedding/kernel" in inside:
            return inside
    return dict(arrays)


def _unstacked(arrays: Arrays) -> dict[str, Any]:
    """big_vision's "scan" layout keeps block i of all blocks at index i of the first axis."""
    stacked = "Transformer/encoderblock/"
    plain = {name: array for name, array in arrays.items() if not name.startswith(stacked)}
    for name, array in arrays.items():
        if name.startswith(stacked):
            for i, part in enumerate(array):
                plain[f"Transformer/encoderblock_{i}/{name.removeprefix(stacked)}"] = part
    return plain


def _google_tokens(take: _Taker) -> dict[str, Array]:
    """Class token and position table (1, T, D); a table without the class token's row gets one."""
    tokens = {"cls_token": take("cls", 3)} if "cls" in take else {}
    if "pos_embedding" not in take:
        return tokens | {"pos_embed": take("Transformer/posembed_input/pos_embedding", 3)}
    table = take("pos_embedding", 3)
    if tokens:  # positions are added before the class token is put in front: its row is zero
        table = np.concatenate([np.zeros_like(table[:, :1]), table], axis=1)
    return tokens | {"pos_embed": table}


def _google_norm(take: _Taker, theirs: str, ours: str) -> dict[str, Array]:
    return {f"{ours}.weight": take(f"{theirs}/scale", 1), f"{ours}.bias": take(f"{theirs}/bias", 1)}


def _google_dense(take: _Taker, theirs: str, ours: str) -> dict[str, Array]:
    return {
        f"{ours}.weight": take(f"{theirs}/kernel", 2).T,
        f"{ours}.bias": take(f"{theirs}/bias", 1),
    }


def _google_block(take: _Taker, i: int) -> dict[str, Array]:
    """One encoder block. Kernels are (in, out), and heads have axes of their own."""
    theirs, ours = f"Transformer/encoderblock_{i}", f"blocks.{i}"
    big_vision = f"{theirs}/LayerNorm_1/scale" in take
    second, attention, mlp = (1, 0, 0) if big_vision else (2, 1, 3)
    state = _google_norm(take, f"{theirs}/LayerNorm_0", f"{ours}.norm1")
    state |= _google_norm(take, f"{theirs}/LayerNorm_{second}", f"{ours}.norm2")
    msa = f"{theirs}/MultiHeadDotProductAttention_{attention}"
    kernels = [take(f"{msa}/{part}/kernel", 3) for part in ("query", "key", "value")]  # (D, H, h)
    biases = [take(f"{msa}/{part}/bias", 2) for part in ("query", "key", "value")]  # (H, h)
    dim = kernels[0].shape[0]
    state[f"{ours}.attn.qkv.weight"] = np.concatenate([k.reshape(dim, -1).T for k in kernels])
    state[f"{ours}.attn.qkv.bias"] = np.concatenate([b.reshape(-1) for b in biases])
    out = take(f"{msa}/out/kernel", 3)  # (H, h, D)
    state[f"{ours}.attn.proj.weight"] = out.reshape(-1, out.shape[-1]).T
    state[f"{ours}.attn.proj.bias"] = take(f"{msa}/out/bias", 1)
    for number in (0, 1):
        layer = f"{theirs}/MlpBlock_{mlp}/Dense_{number}"
        state |= _google_dense(take, layer, f"{ours}.mlp.fc{number + 1}")
    return state


def _google_backbone(take: _Taker) -> dict[str, Array]:
    """The ResNet of a hybrid: kernels are (h, w, in, out), norms carry axes of length 1."""

    def layer(theirs: str, theirs_norm: str, ours: str, ours_norm: str) -> None:
        for part, name in (("scale", "weight"), ("bias", "bias")):
            array = take(f"{theirs_norm}/{part}", None)
            state[f"{root}.{ours_norm}.{name}"] = array.reshape(-1)
        state[f"{root}.{ours}.weight"] = take(f"{theirs}/kernel", 4).transpose(3, 2, 0, 1)

    state: dict[str, Array] = {}
    root = "patch_embed.backbone"
    layer("conv_root", "gn_root", "stem.conv", "stem.norm")
    for theirs in sorted({m[0] for n in take.left if (m := re.match(r"block\d+/unit\d+", n))}):
        stage, unit = (int(number) - 1 for number in re.findall(r"\d+", theirs))
        ours = f"stages.{stage}.blocks.{unit}"
        for number in (1, 2, 3):
            layer(f"{theirs}/conv{number}", f"{theirs}/gn{number}",
                  f"{ours}.conv{number}", f"{ours}.norm{number}")  # fmt: skip
        if f"{theirs}/conv_proj/kernel" in take:
            layer(f"{theirs}/conv_proj", f"{theirs}/gn_proj",
                  f"{ours}.downsample.conv", f"{ours}.downsample.norm")  # fmt: skip
    return state


def to_google(model: nn.Module | State, num_heads: int | None = None) -> dict[str, Array]:
    """Our weights as arrays in Google's original layout: the way back from :func:`from_google`.

    ``model`` is a plain ViT, or its state dict and ``num_heads``, because their kernels have an
    axis for the heads. In one line, as a file that Google's and timm's code read::

        np.savez("model.npz", **vt.weights.to_google(model))

    Raises ``ValueError`` if ``num_heads`` is missing or does not divide the width, or if the model
    is not a plain ViT with positions, or averages its tokens beside a class token.

    >>> from vit_teach import ViTConfig, VisionTransformer
    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> arrays = to_google(VisionTransformer(config))
    >>> arrays["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"].shape
    (12, 3, 4)
    """
    _check_plain_positions(model)
    config: Any = getattr(model, "config", None)
    if getattr(config, "pool", None) == "mean" and config.class_token:
        raise ValueError("model must read its class token, if it has one: Google's layout does")
    if num_heads is None:
        num_heads = getattr(config, "num_heads", None)
    state = _state_of(model)
    if type(num_heads) is not int:
        raise ValueError(f"num_heads={num_heads!r} must be given with a state dict, as an integer")
    _check_names("model", state)
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError("model: its state must hold tensors only")
    left = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    if "norm.weight" not in left or "pos_embed" not in left:
        raise ValueError("model must be a plain ViT, with 'pos_embed' and 'norm.weight'")
    dim = left["pos_embed"].shape[-1]
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f"num_heads={num_heads} must divide the width {dim}")
    arrays = {
        "embedding/kernel": left.pop("patch_embed.proj.weight").transpose(2, 3, 1, 0),
        "embedding/bias": left.pop("patch_embed.proj.bias"),
        "Transformer/posembed_input/pos_embedding": left.pop("pos_embed"),
    }
    if "cls_token" in left:
        arrays["cls"] = left.pop("cls_token")
    places = {"norm": "Transformer/encoder_norm", "head": "head"}
    depth = sum(name.endswith(".attn.qkv.bias") for name in left)
    for i in range(depth):
        block = f"Transformer/encoderblock_{i}"
        arrays |= _attention_to_google(left, i, num_heads)
        places |= {f"blocks.{i}.norm1": f"{block}/LayerNorm_0"}
        places |= {f"blocks.{i}.norm2": f"{block}/LayerNorm_2"}
        places |= {f"blocks.{i}.mlp.fc{n + 1}": f"{block}/MlpBlock_3/Dense_{n}" for n in (0, 1)}
    for ours, theirs in places.items():
        weight = left.pop(f"{ours}.weight")
        arrays[f"{theirs}/{'kernel' if weight.ndim == 2 else 'scale'}"] = weight.T
        arrays[f"{theirs}/bias"] = left.pop(f"{ours}.bias")
    if left:
        raise ValueError(f"state has {sorted(left)[0]!r}, which Google's layout does not have")
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _attention_to_google(left: dict[str, Array], i: int, num_heads: int) -> dict[str, Array]:
    msa = f"Transformer/encoderblock_{i}/MultiHeadDotProductAttention_1"
    weights = np.split(left.pop(f"blocks.{i}.attn.qkv.weight"), 3)  # three of (D, D)
    biases = np.split(left.pop(f"blocks.{i}.attn.qkv.bias"), 3)
    arrays = {}
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        arrays[f"{msa}/{part}/kernel"] = weight.T.reshape(len(weight), num_heads, -1)  # (D, H, h)
        arrays[f"{msa}/{part}/bias"] = bias.reshape(num_heads, -1)  # (H, h)
    out = left.pop(f"blocks.{i}.attn.proj.weight").T  # (D, D)
    arrays[f"{msa}/out/kernel"] = out.reshape(num_heads, -1, out.shape[-1])  # (H, h, D)
    arrays[f"{msa}/out/bias"] = left.pop(f"blocks.{i}.attn.proj.bias")
    return arrays
