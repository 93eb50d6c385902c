"""Trained weights: the book's own files, and released models of other libraries. Chapters 6, 12.

:func:`load` opens any of them; :func:`recorded` one of the book's own by its name.
"""

from .files import load_strict, read_metadata, recorded, save
from .layouts import (
    from_google,
    from_huggingface,
    from_timm,
    from_torchvision,
    to_google,
    to_timm,
)
from .released import adapt, load

__all__ = [
    "adapt", "from_google", "from_huggingface", "from_timm", "from_torchvision", "load",
    "load_strict", "read_metadata", "recorded", "save", "to_google", "to_timm",
]  # fmt: skip
