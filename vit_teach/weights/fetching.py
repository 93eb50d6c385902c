"""Released models by the name that a library has for them: fetched, and asked about themselves.

Chapter 12.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from . import facts as known
from .facts import Facts
from .layouts import State
from .opening import LIBRARIES

# A state dict, and a function that tells what is known of the model.
Fetched = tuple[State, Callable[[], Facts | None]]


def library_of(source: str | Path) -> tuple[str, str]:
    """The library and the name in "timm:NAME" and the like; two empty strings for a path.

    >>> library_of("timm:vit_tiny_patch16_224"), library_of("model.pth")
    (('timm', 'vit_tiny_patch16_224'), ('', ''))
    """
    library, colon, name = str(source).partition(":")
    return (library, name) if colon and library in LIBRARIES else ("", "")


def fetch(library: str, name: str) -> tuple[State, Facts | None]:
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
    maker: Callable[[str], Fetched] = {
        "timm": _from_timm, "torchvision": _from_torchvision, "huggingface": _from_hub
    }[library]  # fmt: skip
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


def _where(library: str, name: str) -> str:
    """Where a model's file is to be had by hand."""
    if library == "torchvision":
        return getattr(_torchvision_weights(name), "url", f"the .pth file of {name}")
    return (
        f"https://huggingface.co/{'timm/' if library == 'timm' else ''}{name} "
        "(model.safetensors and config.json, into one folder)"
    )


def _from_timm(name: str) -> Fetched:
    import timm

    if not name.startswith("hf") and not timm.is_model(name.partition(".")[0]):
        raise LookupError(name)
    model = timm.create_model(name, pretrained=True)
    return model.state_dict(), lambda: known.of_timm(model, f"timm's {name}")


def _torchvision_weights(name: str) -> Any:
    """The weights that torchvision has for a model, or None."""
    from torchvision.models import get_model_weights

    try:
        return get_model_weights(name).DEFAULT
    except ValueError:
        return None


def _from_torchvision(name: str) -> Fetched:
    from torchvision.models import get_model

    weights = _torchvision_weights(name)
    if weights is None:
        raise LookupError(name)
    state = weights.get_state_dict(progress=False)
    with torch.device("meta"):
        model = get_model(name, weights=None)
    return state, lambda: known.of_torchvision(model, weights.transforms(), f"torchvision's {name}")


def _from_hub(name: str) -> Fetched:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(name, "model.safetensors")
    for more in ("config.json", "preprocessor_config.json"):
        try:
            hf_hub_download(name, more)
        except Exception:  # not every model has both; without config.json the size must be known
            continue
    return load_file(path), lambda: known.of_neighbour(path, None, whole=True)
