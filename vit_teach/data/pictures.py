"""Your own pictures and one photograph, read with pillow. Chapters 1 and 14."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..paths import as_path
from .cifar import PNG, Array, DataError, check_png
from .imageset import ImageSet

if TYPE_CHECKING:  # pillow is imported where it is used: it is slow to import
    from PIL import Image

# Not opened, whatever a file is called: Ghostscript would be run on the first, and of the others
# pillow knows the name and not the content.
UNREAD = ("EPS", "MPEG", "BUFR", "GRIB", "HDF5", "WMF")
LARGEST_SIDE = 10_000  # pixels
DARK = 2**14  # of 65,536: where a picture in 16 bits has nothing brighter, it holds fewer bits

# ---------------------------------------------------------------------------------------------
# Other pictures
# ---------------------------------------------------------------------------------------------


def folder(path: str | Path, size: int | tuple[int, int] = 32) -> ImageSet:
    """Your own pictures: a folder with one sub-folder per class, named as the class.

    Files in any format that pillow reads are taken, hidden ones are not looked at. What else is
    passed over is printed in one line: files of other kinds, sub-folders without pictures, pictures
    outside of the class folders. Each picture is turned upright (EXIF), put on white where it is
    transparent, cut to the centre and resized with antialiased bicubic interpolation, to ``size``
    in pixels (a side, or (height, width)); :func:`read_picture` says how more than 8 bits are
    read. For a validation part use ``hold_out(0.2)``.

    Returns an :class:`ImageSet` with images (N, 3, height, width), classes in alphabetical order.
    Raises ``FileNotFoundError`` if there is no such folder, ``ValueError`` for a size below 1, and
    ``DataError`` if a class has no picture, or pictures in a folder of its own, or if a picture
    cannot be read (the files are named).

    >>> folder("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: path=no-such-folder is not a folder
    """
    path, size = as_path(path, "path"), sides(size)
    if not path.is_dir():
        raise FileNotFoundError(f"path={path} is not a folder")
    classes = sorted(p for p in path.iterdir() if p.is_dir() and not _hidden(p))
    if not classes:
        raise DataError(f"{path} has no sub-folders: make one per class and put pictures into it")
    passed = [file for file in path.iterdir() if file.is_file() and not _hidden(file)]
    pictures = [(n, file) for n, sub in enumerate(classes) for file in _pictures_in(sub, passed)]
    images, unreadable = [], []
    for _, file in pictures:
        try:
            images.append(read_picture(file, size))
        except (DataError, OSError) as error:
            unreadable.append(str(error))
    if unreadable:
        more = f" and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise DataError(f"{'; '.join(unreadable[:10])}{more}: repair or remove them")
    if passed or len(classes) == 1:
        print(_remark(path, passed, classes))
    return ImageSet(
        torch.stack(images),
        torch.tensor([label for label, _ in pictures]),
        tuple(sub.name for sub in classes),
        f"folder {path.name}",
        "train",
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _formats() -> list[str]:
    """The kinds of files that are read as pictures, by pillow's names."""
    from PIL import Image

    Image.init()
    return [name for name in Image.OPEN if name not in UNREAD]


def _is_picture(file: Path) -> bool:
    """By name: whether pillow may be able to read it."""
    from PIL import Image

    formats = _formats()
    return Image.EXTENSION.get(file.suffix.lower()) in formats and file.is_file()


def _pictures_in(sub: Path, passed: list[Path]) -> list[Path]:
    """The pictures in the folder of a class, sorted; what is passed over is added to ``passed``."""
    files = []
    for entry in sorted(sub.iterdir()):
        if _hidden(entry):
            continue
        if _is_picture(entry):
            files.append(entry)
            continue
        if entry.is_dir() and any(_is_picture(file) for file in entry.rglob("*")):
            train = sub.parent / "train"
            meant = train if train.is_dir() else sub
            raise DataError(
                f"{entry} holds pictures, but a class is one folder: move them up into {sub}. If "
                f"{entry.name!r} is a class itself, did you mean path={str(meant)!r}?"
            )
        passed.append(entry)
    if not files:
        raise DataError(f"{sub} holds no picture: add some, or remove the folder")
    return files


def _remark(path: Path, passed: list[Path], classes: list[Path]) -> str:
    """What a reader of a folder should know: what was left aside, and why."""
    said = []
    loose = [p for p in passed if p.parent == path and _is_picture(p)]
    folders = [p for p in passed if p.is_dir()]
    others = [p for p in passed if p not in loose and p not in folders]
    if loose:
        said.append(f"{len(loose)} pictures outside of the class folders ({loose[0].name}, ...)")
    if folders:
        said.append(f"{len(folders)} folders without pictures ({folders[0].name}, ...)")
    if others:
        kinds = ", ".join(sorted({p.suffix or p.name for p in others})[:6])
        said.append(f"{len(others)} files that are no picture pillow reads ({kinds})")
    lines = [f"passed over: {'; '.join(said)}"] if said else []
    if len(classes) == 1:
        lines.append(f"there is one class only, {classes[0].name!r}: nothing to tell it from")
    return f"folder {path.name}: {'. '.join(lines)}"


def sides(size: int | Sequence[int], name: str = "size") -> tuple[int, int]:
    """A size in pixels as (height, width): a side alone stands for both.

    Raises ``ValueError`` for anything but positive integers.

    >>> sides(32), sides((16, 24))
    ((32, 32), (16, 24))
    """
    pair = (size, size) if isinstance(size, int) else size
    good = isinstance(pair, (tuple, list)) and len(pair) == 2
    if not good or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in pair):
        raise ValueError(
            f"{name}={pair!r} must be at least 1 and at most {LARGEST_SIDE:,}: a side, or "
            "(height, width), in pixels"
        )
    return pair[0], pair[1]


def read_picture(file: str | Path, size: int | tuple[int, int]) -> torch.Tensor:
    """One picture of any kind -> uint8 (3, height, width).

    More than 8 bits: in 16 bits of grey white is 65,535, and floats lie in 0 to 1. A picture that
    keeps to neither (also one in 16 bits that uses less than a quarter of them) could be of any
    brightness. Raises ``DataError`` that names the file and its mode for such a picture, or for a
    file that cannot be read, and ``FileNotFoundError`` if there is none.

    >>> from matplotlib.cbook import get_sample_data
    >>> file = get_sample_data("grace_hopper.jpg", asfileobj=False)
    >>> read_picture(Path(file), (20, 16)).shape
    torch.Size([3, 20, 16])
    """
    from PIL import Image

    file, size = as_path(file, "file"), sides(size)
    if not file.exists():
        raise FileNotFoundError(f"file={str(file)!r} must be an existing picture")
    try:
        data = file.read_bytes()
        if data.startswith(PNG):  # pillow does not compare all of its checksums
            check_png(data)
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            return fit(_in_colour(picture), size)
    except Exception as error:  # pillow raises nearly any exception on a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "cannot identify" in reason:  # followed by where pillow read it
            reason = "pillow does not know what it is"
        raise DataError(f"cannot read {file} ({reason})") from error


def _in_colour(picture: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, upright, on white where it is transparent."""
    from PIL import Image, ImageOps

    kind = picture.format
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = Image.fromarray(_in_bytes(np.asarray(picture), picture.mode, kind))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def _in_bytes(values: Array, mode: str, kind: str | None) -> Array:
    """Grey values of more than 8 bits as bytes; ``DataError`` if what is white is not known."""
    low, high = values.min(), values.max()
    if mode == "F":
        if 0 <= low <= high <= 1:
            return np.asarray((values * 255).round(), np.uint8)
        rule = "floats must lie in 0..1"
    elif mode == "I" and kind not in ("PNG", "PPM"):  # where it stands for 16 bits
        rule = "32 bits have no known white: save it with 8 or 16 bits"
    elif 0 < high < DARK or low < 0:
        rule = "in 16 bits white is 65,535: multiply its values, or save it with 8 bits"
    else:
        return np.asarray((values // 256).clip(0, 255), np.uint8)
    raise DataError(f"mode {mode} with values from {low:g} to {high:g}: {rule}")


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
    return fit(picture, (picture.height, picture.width) if size is None else sides(size))


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
