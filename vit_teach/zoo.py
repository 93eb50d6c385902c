"""Every model of the book by name, and every model from its configuration: chapter 6.

The released sizes are Table 1 of the ViT paper (arXiv 2010.11929); the CIFAR ones are the book's.

>>> build(preset("CIFAR-ViT-Nano", num_classes=5)).head.out_features
5
"""

from dataclasses import asdict, fields, replace
from typing import Any, overload

from .baselines.hybrid import HYBRID_PRESETS, Hybrid, HybridConfig
from .baselines.paper_hybrid import PAPER_HYBRIDS, PaperHybrid, PaperHybridConfig
from .baselines.resnet import RESNET_PRESETS, ResNet, ResNetConfig
from .vit.model import PRESETS, VisionTransformer, ViTConfig

Config = ViTConfig | ResNetConfig  # the hybrids' configurations are ViTConfigs too
Model = VisionTransformer | ResNet  # the hybrids are VisionTransformers too

KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "vit": (ViTConfig, VisionTransformer),
    "hybrid": (HybridConfig, Hybrid),
    "paper-hybrid": (PaperHybridConfig, PaperHybrid),
    "resnet": (ResNetConfig, ResNet),
}
ALL_PRESETS: dict[str, Config] = {**PRESETS, **PAPER_HYBRIDS, **HYBRID_PRESETS, **RESNET_PRESETS}


def names() -> tuple[str, ...]:
    """The names of all presets.

    >>> "ViT-B/16" in names(), "CIFAR-Hybrid-Tiny" in names()
    (True, True)
    """
    return tuple(ALL_PRESETS)


def preset(name: str, **changes: Any) -> Config:
    """The configuration called ``name``, with some of its fields changed.

    Raises ``ValueError`` for a name or a field that does not exist.

    >>> preset("ViT-B/16", image_size=384).num_patches
    576
    """
    if not isinstance(name, str) or name not in ALL_PRESETS:
        raise ValueError(f"name={name!r} must be one of {', '.join(names())}")
    config = ALL_PRESETS[name]
    _check_fields(type(config), changes)
    return replace(config, **changes)


def kind(config: Config) -> str:
    """What a configuration makes: "vit", "hybrid", "paper-hybrid" or "resnet".

    >>> kind(preset("CIFAR-ResNet-Tiny"))
    'resnet'
    """
    for name, (config_class, _) in KINDS.items():
        if type(config) is config_class:
            return name
    raise ValueError(f"config={config!r} must be one of the package's configurations")


@overload
def build(config: ViTConfig) -> VisionTransformer: ...
@overload
def build(config: ResNetConfig) -> ResNet: ...


def build(config: Config) -> Model:
    """A new model with fresh weights from its configuration.

    >>> type(build(preset("CIFAR-Hybrid-Tiny"))).__name__
    'Hybrid'
    """
    return KINDS[kind(config)][1](config)


def config_to_dict(config: Config) -> dict[str, Any]:
    """A configuration as plain values, with its ``kind``: what cards and weight files hold.

    ``registers`` and ``padding`` are written only where they are not the plain ones, so files of
    other models stay as they always were.

    >>> config_to_dict(preset("CIFAR-ResNet-Tiny"))["kind"]
    'resnet'
    """
    values = {"kind": kind(config), **asdict(config)}
    for name, plain in (("registers", 0), ("padding", "zeros")):
        if values.get(name) == plain:
            del values[name]
    return values


def config_from_dict(values: dict[str, Any]) -> Config:
    """The configuration that :func:`config_to_dict` wrote down.

    Raises ``ValueError`` if it is not one.

    >>> config_from_dict(config_to_dict(preset("ViT-B/16"))) == preset("ViT-B/16")
    True
    """
    if not isinstance(values, dict):
        raise ValueError(f"values={type(values).__name__} must be a dictionary")
    values = dict(values)
    name = values.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"kind={name!r} must be one of {tuple(KINDS)}")
    config_class = KINDS[name][0]
    _check_fields(config_class, values)
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        config: Config = config_class(**values)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"values do not describe a {config_class.__name__}: {error}") from error
    return config


def _check_fields(config_class: type[Any], values: dict[str, Any]) -> None:
    known = [field.name for field in fields(config_class)]
    for name in values:
        if name not in known:
            raise ValueError(
                f"{name!r} is not a field of {config_class.__name__}: {', '.join(known)}"
            )
