"""Your own pictures and one photograph, read with pillow. Chapters 1 and 14."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .cifar import DataError
from .imageset import ImageSet

if TYPE_CHECKING:  # pillow is imported where it is used: it is slow to import
    from PIL import Image

# ---------------------------------------------------------------------------------------------
# Other pictures
# ---------------------------------------------------------------------------------------------


def folder(path: str | Path, size: int | tuple[int, int] = 32) -> ImageSet:
    """Your own pictures: a folder with one sub-folder per class, named as the class.

    Files in any format that pillow reads are taken, other files are passed over. Each picture is
    turned upright (EXIF), put on white where it is transparent, cut to the centre and resized
    with antialiased bicubic interpolation, to ``size`` in pixels (a side, or (height, width)). For
    a validation part use ``hold_out(0.2)``. Returns an :class:`ImageSet` with images
    (N, 3, height, width), classes in alphabetical order. Raises ``FileNotFoundError`` if there is
    no such folder, ``ValueError`` for a size below 1, and ``DataError`` if a class has no picture
    or a picture cannot be read (the files are named).

    >>> folder("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: path=no-such-folder is not a folder
    """
    path, size = Path(path).expanduser(), (size, size) if isinstance(size, int) else size
    if min(size) < 1:
        raise ValueError(f"size={size} must be at least 1")
    if not path.is_dir():
        raise FileNotFoundError(f"path={path} is not a folder")
    classes = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{path} has no sub-folders: make one per class and put pictures into it")
    pictures = [(label, file) for label, sub in enumerate(classes) for file in _pictures_in(sub)]
    images, unreadable = [], []
    for _, file in pictures:
        try:
            images.append(read_picture(file, size))
        except Exception as error:  # pillow raises nearly any exception on a damaged file
            unreadable.append(f"{file} ({error})")
    if unreadable:
        more = f" and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise DataError(f"cannot read {'; '.join(unreadable[:10])}{more}: repair or remove them")
    return ImageSet(
        torch.stack(images),
        torch.tensor([label for label, _ in pictures]),
        tuple(sub.name for sub in classes),
        f"folder {path.name}",
        "train",
    )


def _pictures_in(sub: Path) -> list[Path]:
    """The files in a folder that pillow may be able to read, by name, sorted."""
    from PIL import Image

    known = Image.registered_extensions()
    files = [f for f in sub.iterdir() if f.suffix.lower() in known and not f.name.startswith(".")]
    if not files:
        raise DataError(f"{sub} holds no picture: add some, or remove the folder")
    return sorted(files)


def read_picture(file: Path, size: tuple[int, int]) -> torch.Tensor:
    """One picture of any kind -> uint8 (3, height, width).

    Raises whatever pillow raises for a file that it cannot read.

    >>> from matplotlib.cbook import get_sample_data
    >>> file = get_sample_data("grace_hopper.jpg", asfileobj=False)
    >>> read_picture(Path(file), (20, 16)).shape
    torch.Size([3, 20, 16])
    """
    from PIL import Image, ImageOps

    with Image.open(file) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16-bit grey: keep the upper 8 bits
            picture = Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        return fit(picture.convert("RGB"), size)


def photograph(size: int | tuple[int, int] | None = None) -> torch.Tensor:
    """A real photograph, uint8 (3, H, W): Grace Hopper, the sample that matplotlib brings along.

    ``size`` in pixels is None for the file as it is (600 x 512), else a side or (height, width):
    the largest centred piece of that shape, resized.

    >>> photograph((48, 32)).shape
    torch.Size([3, 48, 32])
    """
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    file = str(get_sample_data("grace_hopper.jpg", asfileobj=False))
    with Image.open(file) as picture:
        picture = picture.convert("RGB")
    if size is None:
        size = (picture.height, picture.width)
    return fit(picture, (size, size) if isinstance(size, int) else size)


def fit(picture: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """The centre of an RGB picture, cut to the shape (height, width), resized: uint8 (3, H, W).

    >>> from PIL import Image
    >>> fit(Image.new("RGB", (60, 40)), (20, 16)).shape
    torch.Size([3, 20, 16])
    """
    from PIL import Image, ImageOps

    height, width = size
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # (3, H, W)
