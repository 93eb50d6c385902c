"""Trained weights: the book's own files, and released models of other libraries. Chapters 6, 12.

:func:`load` opens any of them; :func:`recorded` one of the book's own by its name.
"""

from .carried import classes_of, normalisation_of, remember
from .files import load_strict, read_metadata, recorded, save
from .fitting import adapt
from .layouts import (
    from_google,
    from_huggingface,
    from_timm,
    from_torchvision,
    to_google,
    to_timm,
)
from .released import load

__all__ = [
    "adapt", "classes_of", "from_google", "from_huggingface", "from_timm", "from_torchvision",
    "load", "load_strict", "normalisation_of", "read_metadata", "recorded", "remember", "save",
    "to_google", "to_timm",
]  # fmt: skip
