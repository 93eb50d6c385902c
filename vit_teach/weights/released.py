"""Released models: open a file of any known layout, fit it to your images and classes.

``load`` does all of it; the functions below it are its steps. What a file does not fix is never
guessed in silence: it is looked up (:mod:`vit_teach.weights.facts`), asked for, or assumed and
said.
"""

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from .. import cost, zoo
from ..baselines.paper_hybrid import PaperHybridConfig
from ..vit.embedding import RESIZE_RULES, resize_positions
from ..vit.encoder import LAYER_NORM_EPS
from ..vit.model import ViTConfig
from . import facts as known
from . import files, parts
from .files import check_fit, load_strict
from .layouts import from_google, from_huggingface, from_timm, from_torchvision
from .opening import LIBRARIES, beside, find, layout, read

DAMAGE = (
    RuntimeError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, MemoryError
)  # fmt: skip
RENAME = {"torchvision": from_torchvision, "huggingface": from_huggingface, "timm": from_timm}


@dataclass
class Opened:
    """A source's weights in our names (``state``), their configuration, and what is to be said.

    ``notes`` are ways in which the model differs from the original, ``assumed`` what nothing told;
    ``normalisation`` is (mean, deviation) of its pictures, or None.

    >>> Opened({}, None, ["no pooler"], ["exact GELU"], ((0.5,), (0.5,))).line("a.pth")
    'a.pth: assumed exact GELU; note: no pooler; pictures of mean (0.5,) and deviation (0.5,)'
    """

    state: dict
    config: object
    notes: list = field(default_factory=list)
    assumed: list = field(default_factory=list)
    normalisation: tuple | None = None

    def line(self, name):
        """All of it in one line."""
        said = [f"assumed {', '.join(self.assumed)}"] if self.assumed else []
        said += [f"note: {note}" for note in self.notes]
        if self.normalisation is None:
            said.append("nothing says how its pictures were normalised")
        else:
            mean, deviation = self.normalisation
            said.append(f"pictures of mean {mean} and deviation {deviation}")
        return f"{name}: {'; '.join(said)}"


def load(
    source, num_classes=None, image_size=None, num_heads=None, rule="google", *, pool=None,
    trained_size=None, in_channels=None, key=None, architecture=None,
):  # fmt: skip
    """A trained model from a file, a folder or a library, in float32 and evaluation mode.

    ``source`` is a local file of any ending (one of ours, Google's or big_vision's ``.npz``,
    safetensors, PyTorch), a folder as Hugging Face and timm write it, or "timm:NAME",
    "torchvision:NAME" or "huggingface:NAME", which fetches the weights by that library.
    ``num_classes`` makes a new, zero head for so many classes (None keeps the file's);
    ``image_size`` (pixels) resizes the position table by ``rule``, one of ``RESIZE_RULES``;
    ``in_channels`` fits the projection to grey (1) or coloured (3) pictures.

    The other arguments answer what a file may leave open, if no header, no ``config.json`` beside
    it, no library's model and no published size does: ``num_heads``; ``pool``, "cls" or "mean";
    ``trained_size``, the image size in pixels that the file's position table is for; ``key``, the
    state dict that is meant; ``architecture``, timm's name for the model. What is assumed, and how
    the model differs from the original, is printed in one line. ``model.normalisation`` is the
    (mean, deviation) of the pictures it was trained on, or None where nothing says it.

    Raises ``ValueError`` for a file that cannot be read or does not hold a plain ViT, or for an
    argument that is needed or contradicts the file; ``RuntimeError`` that says what to fetch where
    a library or the network is missing.

    >>> load("no-such-file.npz")
    Traceback (most recent call last):
    ...
    ValueError: source='no-such-file.npz' must be an existing file or folder, or one of ...
    """
    if rule not in RESIZE_RULES:
        raise ValueError(f"rule={rule!r} must be one of {RESIZE_RULES}")
    given = {"num_heads": num_heads, "pool": pool, "trained_size": trained_size}
    ours = _ours(source)
    if ours is not None:
        opened = _open_ours(ours, given)
        if num_classes is image_size is in_channels is None:
            return opened
        fitted = adapt(
            opened.state_dict(), opened.config, num_classes, image_size, rule, in_channels
        )
        return _filled(*fitted, source, opened.normalisation)
    opened = open_source(
        source, num_classes, image_size, key=key, architecture=architecture, **given
    )
    state, config = adapt(opened.state, opened.config, num_classes, image_size, rule, in_channels)
    model = _filled(state, config, source, opened.normalisation)
    print(opened.line(Path(str(source)).name or source))
    return model


def _ours(source):
    """The path of a file that ``save`` wrote, or None."""
    if _library(source)[0]:
        return None
    paths = find(source)
    return paths[0] if len(paths) == 1 and files.is_ours(paths[0]) else None


def _library(source):
    library, colon, name = str(source).partition(":")
    return (library, name) if colon and library in LIBRARIES else (None, None)


def _open_ours(path, given):
    """One of our own models; an argument that contradicts its header is refused."""
    model = files.load(path)
    for name, value in given.items():
        own = getattr(model.config, {"trained_size": "image_size"}.get(name, name), None)
        if value is not None and known.pair(value) != known.pair(own):
            raise ValueError(f"{name}={value!r} must be {own!r}: the header of {path} says so")
    return model


def _filled(state, config, source, normalisation=None):
    """The model of ``config`` with the weights of ``state``, in evaluation mode."""
    if cost.parameters(config) != sum(tensor.numel() for tensor in state.values()):
        with torch.device("meta"):  # shapes without memory: a file can imply any size
            check_fit(zoo.build(config), state, source)
    model = zoo.build(config)
    load_strict(model, state, source)
    model.normalisation = normalisation
    return model.eval()


# --- By name --------------------------------------------------------------------------------------


def fetch(library, name):
    """A released model by its library's name for it: its state dict, and what is known of it.

    ``library`` is "timm", "torchvision" or "huggingface". Raises ``ValueError`` for a name that the
    library does not have or a model that is no plain ViT, and ``RuntimeError`` that says which file
    to fetch by hand where the library or the network is missing.

    >>> fetch("keras", "vit")
    Traceback (most recent call last):
    ...
    ValueError: library='keras' must be one of ('timm', 'torchvision', 'huggingface')
    """
    if library not in LIBRARIES:
        raise ValueError(f"library={library!r} must be one of {LIBRARIES}")
    maker = {"timm": _from_timm, "torchvision": _from_torchvision}.get(library, _from_hub)
    try:
        state, describe = maker(name)
    except ImportError as error:
        raise RuntimeError(
            f"{library}:{name} needs the package {error.name!r}: pip install {error.name}"
        ) from error
    except LookupError as error:
        raise ValueError(f"{library}:{name} is not a name that {library} knows") from error
    except Exception as error:  # each library has its own errors for "no network" and "no model"
        raise RuntimeError(
            f"{library}:{name} could not be fetched ({type(error).__name__}: {error}). On another "
            f"machine, fetch {_where(library, name)} and give its path"
        ) from error
    return state, describe()


def _where(library, name):
    """Where a model's file is to be had by hand."""
    if library == "torchvision":
        return getattr(_torchvision_weights(name), "url", f"the .pth file of {name}")
    return (
        f"https://huggingface.co/{'timm/' if library == 'timm' else ''}{name} "
        "(model.safetensors and config.json, into one folder)"
    )


def _from_timm(name):
    import timm

    if not name.startswith("hf") and not timm.is_model(name.partition(".")[0]):
        raise LookupError(name)
    model = timm.create_model(name, pretrained=True)
    return model.state_dict(), lambda: known.of_timm(model, f"timm's {name}")


def _torchvision_weights(name):
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name).DEFAULT
    except ValueError:
        return None


def _from_torchvision(name):
    from torchvision.models import get_model

    weights = _torchvision_weights(name)
    if weights is None:
        raise LookupError(name)
    state = weights.get_state_dict(progress=False)
    with torch.device("meta"):
        model = get_model(name, weights=None)
    return state, lambda: known.of_torchvision(model, weights.transforms(), f"torchvision's {name}")


def _from_hub(name):
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(name, "model.safetensors")
    for more in ("config.json", "preprocessor_config.json"):
        try:
            hf_hub_download(name, more)
        except Exception:  # not every model has both; without config.json the size must be known
            continue
    return load_file(path), lambda: _beside(path, None, whole=True)


# --- Making them ours -----------------------------------------------------------------------------


def open_source(
    source, num_classes=None, image_size=None, num_heads=None, pool=None, trained_size=None,
    key=None, architecture=None,
):  # fmt: skip
    """What a foreign source holds, as :class:`Opened`; the arguments are those of :func:`load`.

    >>> open_source("no-such-file.npz")
    Traceback (most recent call last):
    ...
    ValueError: source='no-such-file.npz' must be an existing file or folder, or one of ...
    """
    library, name = _library(source)
    if library:
        state, facts = fetch(library, name)
    else:
        state, facts = read(source, key), None
    try:
        return _opened(
            source, state, facts, num_classes, image_size,
            {"num_heads": num_heads, "pool": pool, "trained_size": trained_size}, key, architecture,
        )  # fmt: skip
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{source} does not hold a plain ViT: {reason}") from error


def _opened(source, state, facts, num_classes, image_size, given, key, architecture):
    kind = layout(state)
    state, others = parts.inside(state, kind, key)
    state, behind = parts.without_behind(state)
    alike = parts.look_alike(state)
    if num_classes is None and (others or behind):
        what = ", ".join([*behind, *(repr(name) for name in others[:3])])
        raise ValueError(
            f"{source} holds parts beside the model ({what}). Give num_classes for a new head: "
            "they are then left out"
        )
    left = [f"left out: {', '.join([*behind, *others[:3]])}"] if others or behind else []
    if kind == "google":
        facts = known.of_google(state)
    ours = _renamed(state, kind, head=num_classes is None)
    parts.refuse_foreign(ours)
    width = ours["pos_embed"].shape[-1]
    if architecture is not None:
        facts = known.of_timm_config({"architecture": architecture}, "architecture")
    elif facts is None:
        facts = _beside(find(source)[0], width, whole=Path(str(source)).expanduser().is_dir())
    if facts is None and alike:
        raise ValueError(
            f"{source}: {alike}. Give architecture= with timm's name of the model, such as "
            "'deit3_small_patch16_224', or put its config.json beside the file"
        )
    facts = facts or known.Facts("the file")
    colours = (facts.mean, facts.std) if facts.mean and facts.std else None
    opened = Opened(ours, None, notes=left, normalisation=colours)
    if kind == "huggingface" and facts.eps is None:
        opened.assumed.append("LayerNorm epsilon 1e-6 (config.json would say)")
    _settle(opened, facts, given, num_classes, image_size, source)
    _note_differences(opened, facts)
    return opened


def _renamed(state, kind, head):
    """The names of a known layout, without prefix, as ours, with or without the classifier."""
    if kind == "google":
        return from_google(state, head=head)
    return {n: t for n, t in RENAME[kind](state).items() if head or not n.startswith("head")}


def to_ours(state, head=True, image_size=None):
    """A state dict of any known layout in our names, with or without the classifier.

    ``image_size`` (pixels) is the one that its position table is for; None: a square.

    >>> sorted(to_ours({"conv_proj.weight": torch.zeros(1), "heads.head.bias": torch.zeros(2)}))
    ['head.bias', 'patch_embed.proj.weight']
    """
    kind = layout(state)
    renamed = _renamed(parts.inside(state, kind)[0], kind, head)
    if "pos_embed" not in renamed or "blocks.0.mlp.fc1.weight" not in renamed:
        return renamed
    return with_positions(renamed, image_size)[0]


def _beside(path, width, whole):
    """The facts in the config.json beside a file, or None.

    In a folder of its own (``whole``) it must be about the model; beside a single file it may be
    about another one, which its width shows.
    """
    config = beside(path, "config.json")
    if config is None:
        return None
    size = config.get("hidden_size", config.get("num_features", width))
    about = "architecture" in config or "model_type" in config
    if not whole and (not about or size != width):
        return None
    return known.of_config(config, beside(path, "preprocessor_config.json"))


def _settle(opened, facts, given, num_classes, image_size, source):
    """Fix all that the shapes leave open: by argument, by facts, by the published table, or ask."""
    state = opened.state
    _check_shapes(state)
    _check_head(state, num_classes, source)
    size = _agreed("trained_size", given["trained_size"], facts.image_size, facts.origin)
    asked_size = None if image_size is None else known.pair(image_size)
    _one_prefix(opened)
    opened.state, size, assumed = with_positions(state, size, asked_size, said=True)
    opened.assumed += assumed
    config = infer_config(opened.state, num_heads=1, image_size=size, pool=None)
    heads = _agreed("num_heads", given["num_heads"], facts.num_heads, facts.origin)
    if heads is None:
        heads = _published(opened.state, config)
        opened.assumed.append(f"num_heads={heads} (as published for this size)")
    pool = _pool(opened, facts, given["pool"], num_classes, config)
    sizes = facts.sizes or {}
    for what, own in (("width", config.embed_dim), ("depth", config.depth)):
        if sizes.get(what) not in (None, own):
            raise ValueError(f"{facts.origin} is for {what} {sizes[what]}, {source} has {own}")
    opened.config = infer_config(opened.state, heads, size, pool)


def _agreed(name, value, fact, origin):
    """What an argument and a source agree on; ``ValueError`` if they differ."""
    value = known.pair(value) if name == "trained_size" and value is not None else value
    if value is not None and fact is not None and value != fact:
        raise ValueError(f"{name}={value!r} must be {fact!r}: {origin} says so")
    return fact if value is None else value


def _one_prefix(opened):
    """DeiT's distillation token becomes a register: it is there, and no pool reads it."""
    state = opened.state
    if "dist_token" not in state:
        return
    state["reg_token"] = state.pop("dist_token")
    for name in ("head_dist.weight", "head_dist.bias"):
        state.pop(name, None)
    opened.notes.append(
        "distilled: scores are the class token's; DeiT averages them with those of a second head"
    )


def _pool(opened, facts, value, num_classes, config):
    """The pooling: an argument for a new head, what is known, or what the parts suggest."""
    if value is not None and value not in ("cls", "mean"):
        raise ValueError(f"pool={value!r} must be 'cls' or 'mean'")
    if num_classes is None:
        pool = _agreed("pool", value, facts.pool, facts.origin)
        if pool not in (None, "cls", "mean"):
            raise ValueError(
                f"{facts.origin} pools its tokens by {pool!r}: our ViT does not. Give num_classes "
                "for a new head"
            )
    else:  # a new head may read what it likes
        pool = value or (facts.pool if facts.pool in ("cls", "mean") else None)
    if pool is None:
        pool = config.pool
        opened.assumed.append(f"pool={pool!r}")
    if pool == "cls" and config.fc_norm:  # for one token, a norm before is a norm after the pooling
        for end in ("weight", "bias"):
            opened.state[f"norm.{end}"] = opened.state.pop(f"fc_norm.{end}")
    return pool


def _note_differences(opened, facts):
    if facts.gelu == "tanh":
        opened.notes.append(
            f"{facts.origin} has GELU by tanh, this model by erf: up to 0.0005 in each activation"
        )
    if facts.gelu is None:
        opened.assumed.append("blocks as in the paper with the exact GELU")
    if facts.eps not in (None, LAYER_NORM_EPS):
        opened.notes.append(f"LayerNorm epsilon {facts.eps:g} there, {LAYER_NORM_EPS:g} here")


def _check_shapes(state):
    """Raise ``ValueError`` unless the tensors that the sizes are read from have their axes."""
    axes = {"patch_embed.proj.weight": 4, "pos_embed": 3, "blocks.0.mlp.fc1.weight": 2,
            "head.weight": 2}  # fmt: skip
    for name, count in axes.items():
        if name not in state and name != "head.weight":
            raise ValueError(f"state has no {name!r}: not a plain ViT with positions")
        if name in state and (state[name].ndim != count or 0 in state[name].shape):
            shape = tuple(state[name].shape)
            raise ValueError(f"{name} has shape {shape}; it must have {count} axes, none of them 0")

    gated = state.get("blocks.0.mlp.fc2.weight", state["blocks.0.mlp.fc1.weight"].T)
    if gated.shape[1] * 2 == state["blocks.0.mlp.fc1.weight"].shape[0]:
        raise ValueError(
            "state has an MLP with a gate (SwiGLU, both halves in fc1): our ViT does not"
        )


def _check_head(state, num_classes, source):
    """Raise ``ValueError`` if a classifier is wanted and there is none that ours can be."""
    if num_classes is not None:
        return
    if "head.weight" not in state:
        raise ValueError(f"{source} has no classifier: give num_classes for a new head")
    reads, width = state["head.weight"].shape[1], state["pos_embed"].shape[-1]
    if reads != width:
        raise ValueError(
            f"{source} has a classifier of {reads} numbers, ours reads {width} (DINOv2's reads "
            "class token and average together): give num_classes for a new head"
        )
    if "head.bias" not in state:
        state["head.bias"] = torch.zeros_like(state["head.weight"][:, 0])


def _published(state, config):
    heads = known.published_heads(
        config.embed_dim, config.depth, config.patch_size[0], config.class_token
    )
    if heads is None:
        raise ValueError(
            f"num_heads=None must be given: no published size has width {config.embed_dim}, depth "
            f"{config.depth}, patch {config.patch_size[0]} and one number of heads, and the "
            "weights' shapes do not say it"
        )
    return heads


# --- Positions ------------------------------------------------------------------------------------


def with_positions(state, image_size=None, wanted=None, said=False):
    """The state with a position table as our model has it: one row for the class token, N patches.

    Tables of other models have no row for the class token (a row of zeros is put there) or rows for
    registers (they are added to the registers). ``image_size`` is (height, width) in pixels of the
    table; None means a square grid, if exactly one square fits, or the ``wanted`` size if no square
    does. Returns (state, image size), with ``said`` also a list of what was assumed. Raises
    ``ValueError`` if the size does not follow.

    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> with_positions(zoo.build(config).state_dict())[1]
    (8, 8)
    """
    state, patch = dict(state), _patch(state)
    table, first = state["pos_embed"], int("cls_token" in state)
    extra = state["reg_token"].shape[1] if "reg_token" in state else 0
    if table.shape[0] != 1:
        raise ValueError(f"pos_embed has shape {tuple(table.shape)}; it must be (1, rows, D)")
    grid, assumed = _grid(table.shape[1], {0, first, first + extra}, patch, image_size, wanted)
    rows = table.shape[1] - grid[0] * grid[1]  # how many tokens before the patches have one
    if rows == 0 and first:
        table = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
    elif rows > first:
        state["reg_token"] = state["reg_token"] + table[:, first:rows]
        table = torch.cat([table[:, :first], table[:, rows:]], dim=1)
    state["pos_embed"] = table
    size = (grid[0] * patch[0], grid[1] * patch[1])
    return (state, size, assumed) if said else (state, size)


def _grid(rows, prefixes, patch, image_size, wanted):
    """The grid of patches (gh, gw) of a table with so many rows, and what was assumed."""
    if image_size is not None:
        try:
            grid = ViTConfig(image_size=image_size, patch_size=patch).grid_size
        except ValueError as error:
            raise ValueError(f"trained_size={image_size} does not fit: {error}") from error
        if rows - grid[0] * grid[1] not in prefixes:
            raise ValueError(
                f"trained_size={image_size} makes {grid[0]} x {grid[1]} patches; pos_embed has "
                f"{rows} rows, of which {' or '.join(map(str, sorted(prefixes)))} are no patches"
            )
        return grid, []
    counts = sorted({rows - p for p in prefixes if rows > p})
    squares = [n for n in counts if math.isqrt(n) ** 2 == n]
    asked = None
    if wanted is not None and wanted[0] % patch[0] == wanted[1] % patch[1] == 0:
        asked = (wanted[0] // patch[0], wanted[1] // patch[1])
    fits = asked is not None and asked[0] * asked[1] in counts
    if len(squares) == 1 and not (fits and asked[0] != asked[1]):
        side = math.isqrt(squares[0])
        return (side, side), [f"a square grid of {side} x {side} patches"]
    if not squares and fits:
        return asked, [f"a grid of {asked[0]} x {asked[1]} patches, as image_size has"]
    problem = f"pos_embed has {counts[0] if counts else 0} patches, " + (
        "which may be a square or not" if squares else "not a square"
    )
    raise ValueError(
        f"{problem}: give trained_size=(height, width), the image size in pixels of the model's "
        "training"
    )


def _patch(state):
    """The patch size (PH, PW): the projection's, times the shrinking of a hybrid's ResNet."""
    ph, pw = state["patch_embed.proj.weight"].shape[2:]
    if "patch_embed.backbone.stem.conv.weight" not in state:
        return ph, pw
    stages = len(_count_units(state))
    if not stages or (ph, pw) != (1, 1):
        raise ValueError("state has a ResNet without stages, or patches of its map: not built here")
    return 4 * 2 ** (stages - 1), 4 * 2 ** (stages - 1)


def infer_config(state, num_heads=None, image_size=None, pool=None):
    """The configuration that a state dict in our names belongs to: a ViT's or a paper hybrid's.

    Sizes are read off the shapes. Three things are not in them: ``num_heads`` (None: as published
    for this width, depth and patch), ``image_size`` in pixels (None: a square) and ``pool`` (None:
    "cls" if there is a class token and no norm after the pooling). Without a classifier
    ``num_classes`` is 1. Raises ``ValueError`` for a state that is not a plain ViT's, or if one of
    the three must be given.

    >>> from vit_teach import PRESETS, VisionTransformer
    >>> with torch.device("meta"):
    ...     state = VisionTransformer(PRESETS["ViT-S/32"]).state_dict()
    >>> infer_config(state) == PRESETS["ViT-S/32"]
    True
    """
    _check_shapes(state)
    dim, channels = state["patch_embed.proj.weight"].shape[:2]
    kind, units = ViTConfig, {}
    if "patch_embed.backbone.stem.conv.weight" in state:  # the paper's hybrid
        kind, units = PaperHybridConfig, {"units": _count_units(state)}
        channels = state["patch_embed.backbone.stem.conv.weight"].shape[1]
    image_size = with_positions(state, known.pair(image_size))[1]
    hidden, class_token = state["blocks.0.mlp.fc1.weight"].shape[0], "cls_token" in state
    ratio = hidden / dim
    if int(dim * ratio) != hidden:  # rounding: the width of the MLP must come out again
        ratio = math.nextafter(ratio, math.inf)
    fc_norm = "fc_norm.weight" in state
    config = kind(
        **units,
        image_size=image_size,
        patch_size=_patch(state),
        in_channels=channels,
        num_classes=state["head.weight"].shape[0] if "head.weight" in state else 1,
        embed_dim=dim,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        num_heads=num_heads or 1,
        mlp_ratio=ratio,
        pool=pool or ("mean" if fc_norm or not class_token else "cls"),
        class_token=class_token,
        fc_norm=fc_norm,
        registers=state["reg_token"].shape[1] if "reg_token" in state else 0,
    )
    return config if num_heads else replace(config, num_heads=_published(state, config))


def _count_units(state):
    """How many units each stage of a hybrid's ResNet has."""
    pattern = r"patch_embed\.backbone\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.weight"
    stages = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    return tuple(stages.count(stage) for stage in sorted(set(stages)))


def adapt(state, config, num_classes=None, image_size=None, rule="google", in_channels=None):
    """Fit a state dict in our names to other classes, another image size, other channels.

    Returns (state, config). With ``num_classes`` the classifier is replaced by a zero one, as in
    the paper (section 3.2). The patch size stays, so a larger ``image_size`` has more patches, and
    the position table is resized by ``rule``. ``in_channels`` 1 adds the three channels of the
    projection up, so a grey picture gives what it gave three times over; 3 divides one channel.
    Raises ``ValueError`` if the image size is not divisible by the patch size.

    >>> config = ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=3)
    >>> state = zoo.build(config).state_dict()
    >>> state, config = adapt(state, config, num_classes=5, image_size=16)
    >>> state["pos_embed"].shape, state["head.weight"].shape, config.num_patches
    (torch.Size([1, 17, 12]), torch.Size([5, 12]), 16)
    """
    if not isinstance(config, ViTConfig):
        raise ValueError(f"config={type(config).__name__} must be a ViT's or a hybrid's")
    state, new = dict(state), config
    if image_size is not None:
        new = replace(new, image_size=image_size)
        if "pos_embed" in state:  # with position "none" there is nothing to resize
            state["pos_embed"] = resize_positions(
                state["pos_embed"], config.grid_size, new.grid_size, rule, int(config.class_token)
            )
    if num_classes is not None:
        new = replace(new, num_classes=num_classes)
        kind = state["head.weight"].dtype if "head.weight" in state else torch.float32
        state["head.weight"] = torch.zeros(num_classes, new.embed_dim, dtype=kind)
        state["head.bias"] = torch.zeros(num_classes, dtype=kind)
    if in_channels not in (None, config.in_channels):
        new = replace(new, in_channels=in_channels)
        _change_channels(state, config.in_channels, in_channels)
    return state, new


def _change_channels(state, old, new):
    name = "patch_embed.proj.weight"
    if {old, new} != {1, 3} or name not in state or state[name].shape[1] != old:
        raise ValueError(
            f"in_channels={new} must be {old}, as the file has; 1 and 3 change into each other, in "
            "plain ViTs"
        )
    weight = state[name]
    state[name] = weight.sum(1, keepdim=True) if new == 1 else weight.repeat(1, 3, 1, 1) / 3
