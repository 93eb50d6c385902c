"""Photographs that installed packages carry: natural pictures without a download. Chapter 14."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...data.imageset import ImageSet
from ...data.pictures import fit, read_picture

# Package, its name for pip, and files in it. Drawings, scans and pictures of instruments are left
# out; brick, grass and gravel are photographs of textures.
PHOTOGRAPHS = (
    ("matplotlib", "matplotlib", ("mpl-data/sample_data/grace_hopper.jpg",)),
    ("sklearn", "scikit-learn", ("datasets/images/china.jpg", "datasets/images/flower.jpg")),
    ("skimage", "scikit-image", (
        "data/astronaut.png", "data/brick.png", "data/camera.png", "data/chelsea.png",
        "data/coffee.png", "data/coins.png", "data/grass.png", "data/gravel.png", "data/moon.png",
        "data/motorcycle_left.png", "data/rocket.jpg",
    )),
    ("pywt", "PyWavelets", ("data/aero.npz", "data/ascent.npz")),
    ("gradio", "gradio", (
        "media_assets/images/cheetah.jpg", "media_assets/images/cheetah1.jpg",
        "media_assets/images/lion.jpg", "media_assets/images/tower.jpg", "test_data/cheetah2.jpg",
    )),
)  # fmt: skip
NAMES = tuple(f"{name}/{Path(file).name}" for _, name, files in PHOTOGRAPHS for file in files)


def photographs(size: int) -> ImageSet:
    """All of them as an ``ImageSet`` of one class: the largest centred square, at ``size`` pixels.

    The packages are not imported, so ``pip install --no-deps`` is enough for those that the book
    does not need. Raises ``ValueError`` that names a package which is missing or lacks a file.

    >>> len(NAMES), NAMES[0]
    (21, 'matplotlib/grace_hopper.jpg')
    """
    found = [_read(_place(package, name, file), size)
             for package, name, files in PHOTOGRAPHS for file in files]  # fmt: skip
    labels = torch.zeros(len(found), dtype=torch.int64)
    source = f"{len(found)} photographs that Python packages carry"
    return ImageSet(torch.stack(found), labels, ("photograph",), source, "photographs")


def _place(package: str, name: str, file: str) -> Path:
    """Where a package's file lies."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0]) / file if places else None
    if path is None or not path.is_file():
        raise ValueError(f"{file} of the package {name} is missing: pip install --no-deps {name}")
    return path


def _read(path: Path, size: int) -> Tensor:
    """One picture, uint8 (3, size, size); PyWavelets keeps grey ones as arrays."""
    if path.suffix != ".npz":
        return read_picture(path, (size, size))
    from PIL import Image  # slow to import

    grey = Image.fromarray(np.load(path)["data"].astype(np.uint8))
    return fit(grey.convert("RGB"), (size, size))
