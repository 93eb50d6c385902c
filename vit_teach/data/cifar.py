"""CIFAR-10 and CIFAR-100 on disk: found, read, checked and kept decoded. Chapter 8.

They are looked for under one folder, ``data_folder()``: the one the environment variable
VIT_TEACH_DATA names, else ``data/`` of the checkout, else ``data/`` of the current folder. There
they may lie as the official folder (``cifar-10-batches-py``), as the official ``.tar.gz`` or as the
parquet files of the Hugging Face hub. Every copy is checked before use (``_inspect``); a copy whose
pixels are not quite the published ones is used but named so. Nothing here downloads anything.

Readers use ``vit_teach.data.load``, which wraps ``read`` below.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..paths import ROOT, as_path, written_whole

Array = np.ndarray[Any, np.dtype[Any]]
Content = tuple[Array, Array, tuple[str, ...], str]  # images, labels, class names, source

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"  # how such files begin
LARGEST = 2**30  # bytes: no part of CIFAR is larger, whatever a file claims

CIFAR10_CLASSES = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
CIFAR100_CLASSES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
""".split()
)


class DataError(ValueError):
    """A copy of a data set is there but cannot be used. The message names the file."""


# ---------------------------------------------------------------------------------------------
# What is published about CIFAR
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Published:
    """Facts that every good copy of a data set agrees with.

    >>> PUBLISHED["cifar10"].counts["test"]
    10000
    """

    title: str
    classes: tuple[str, ...]
    counts: dict[str, int]  # images per split, the same number in each class
    pixels: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]  # split -> (mean, std)
    folder: str  # the official folder, also the folder inside the official archive
    archive: str
    archive_md5: str
    files: dict[str, dict[str, str]]  # split -> {official file: md5}
    label: str  # the name of the labels in the official files and in parquet
    label_parquet: str


_COUNTS = {"train": 50_000, "test": 10_000}
PUBLISHED = {
    "cifar10": Published(
        title="CIFAR-10",
        classes=CIFAR10_CLASSES,
        counts=_COUNTS,
        pixels={
            "train": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            "test": ((0.4942, 0.4851, 0.4504), (0.2467, 0.2429, 0.2616)),
        },
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_md5="c58f30108f718f92721af3b95e74349a",
        files={
            "train": {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            },
            "test": {"test_batch": "40351d587109b95175f43aff81a1287e"},
        },
        label="labels",
        label_parquet="label",
    ),
    "cifar100": Published(
        title="CIFAR-100",
        classes=CIFAR100_CLASSES,
        counts=_COUNTS,
        pixels={
            "train": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
            "test": ((0.5088, 0.4874, 0.4419), (0.2683, 0.2574, 0.2771)),
        },
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
        files={
            "train": {"train": "16019d7e3df5f24257cddd939b257f8d"},
            "test": {"test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        },
        label="fine_labels",
        label_parquet="fine_label",
    ),
}


def _published(name: str) -> Published:
    if not isinstance(name, str) or name not in PUBLISHED:
        raise ValueError(f"name={name!r} must be one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _inspect(images: Array, labels: Array, name: str, split: str) -> bool:
    """Compare a copy with what is published: True if pixels agree, False if they differ a little.

    Raises ``DataError`` if the number of images, their shape, the class balance or the pixels are
    wrong.
    """
    facts = _published(name)
    count, classes = facts.counts[split], len(facts.classes)
    if images.shape != (count, 3, 32, 32):
        raise DataError(f"it holds {len(images):,} images, {facts.title} {split} has {count:,}")
    if labels.shape != (count,) or not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"it has {labels.size:,} labels from {labels.min()} to {labels.max()}, "
            f"{facts.title} {split} has {count:,} from 0 to {classes - 1}"
        )
    per_class = np.bincount(labels, minlength=classes)
    if np.any(per_class != count // classes):
        raise DataError(
            f"its classes hold {per_class.min()} to {per_class.max()} images, "
            f"each should hold {count // classes}"
        )
    mean, std = pixel_statistics(images)
    published_mean, published_std = facts.pixels[split]
    difference = max(np.abs(mean - published_mean).max(), np.abs(std - published_std).max())
    if difference > 0.01:
        raise DataError(
            f"its pixel mean {np.round(mean, 4).tolist()} and deviation "
            f"{np.round(std, 4).tolist()} are not those published for {facts.title}, "
            f"{list(published_mean)} and {list(published_std)}"
        )
    return bool(difference < 1.5e-4)  # the published numbers are rounded to four digits


def pixel_statistics(images: Array) -> tuple[Array, np.ndarray]:
    """Mean and standard deviation per channel, as fractions of 255, of uint8 (N, 3, H, W).

    >>> mean, spread = pixel_statistics(np.full((2, 3, 4, 4), 255, np.uint8))
    >>> mean.tolist(), spread.tolist()
    ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    """
    channels = torch.from_numpy(images).unbind(1)  # 3 x (N, H, W)
    # A byte has only 256 values: count each one, then average over the counts.
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in channels])  # (3, 256)
    share = counts.double() / counts.sum(1, keepdim=True)
    value = torch.arange(256).double() / 255
    mean = share @ value  # (3,)
    deviation = (share @ value**2 - mean**2).sqrt()
    return mean.numpy(), deviation.numpy()


# ---------------------------------------------------------------------------------------------
# Finding a copy
# ---------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """The folder in which data sets are looked for (it may not exist).

    It is what VIT_TEACH_DATA names, else data/ of the checkout, else data/ of the current folder.

    >>> isinstance(data_folder(), Path)
    True
    """
    if os.environ.get("VIT_TEACH_DATA"):
        return as_path(os.environ["VIT_TEACH_DATA"], "VIT_TEACH_DATA")
    if (ROOT / "pyproject.toml").exists():
        return ROOT / "data"
    return Path.cwd() / "data"


def find(name: str = "cifar10", root: str | Path | None = None) -> Path | None:
    """Where a copy of a data set lies: its folder, or its official archive; None if there is none.

    ``name`` is "cifar10" or "cifar100", ``root`` the folder to look in (None: ``data_folder()``).
    Raises ``ValueError`` for an unknown name.

    >>> find("cifar10", root=Path("no-such-folder")) is None
    True
    """
    facts = _published(name)
    held = {
        place: sum(bool(_files(place, name, split)) for split in facts.counts)
        for place in _places(name, root)
    }
    best = max(held, key=lambda place: held[place])  # of equals the first
    return best if held[best] else None


def _root(root: str | Path | None) -> Path:
    return data_folder() if root is None else as_path(root, "root")


def _places(name: str, root: str | Path | None) -> list[Path]:
    """Every place where a copy may lie, the best first."""
    facts, root = _published(name), _root(root)
    official = [root / name / facts.folder, root / facts.folder]
    parquet = [root / name, root / name / "plain_text", root / name / name]
    return official + parquet + [root / name / facts.archive, root / facts.archive]


def _files(place: Path, name: str, split: str) -> list[Path]:
    """The files of one split of the copy at ``place``; empty if they are not there."""
    facts = _published(name)
    if place.name == facts.archive:
        return [place] if place.is_file() else []
    if place.name == facts.folder:
        files = [place / file for file in facts.files[split]]
        return files if all(file.is_file() for file in files) else []
    return sorted(place.glob(f"{split}-*.parquet"))


def _advice(name: str) -> str:
    return (
        f"Nothing was changed. Move it away, then `python -m vit_teach.data {name}` "
        f"fetches a new copy (data/README.md says how to place files by hand)."
    )


def _missing(name: str, split: str, root: str | Path | None) -> str:
    """Why there is nothing to load, and what to do about it."""
    facts, told = _published(name), root is None and os.environ.get("VIT_TEACH_DATA")
    root = _root(root).absolute()
    fetch = f"`python -m vit_teach.data {name}`"
    origin = ", which VIT_TEACH_DATA names," if told else ""
    if not root.is_dir():
        return (
            f"the data folder {root}{origin} does not exist. {fetch} makes it and fetches "
            f"{facts.title}."
        )
    if root.name in (name, facts.folder) and find(name, root.parent) is not None:
        return f"{facts.title} lies in {root.parent}: give that folder, not {root}{origin[:-1]}."
    for place in _places(name, root):
        if place.name == facts.folder and (place / facts.folder).is_dir():
            return (
                f"the files of {facts.title} seem to lie one folder too deep: move "
                f"{place / facts.folder} to where {place} is now."
            )
        lost = [file for file in facts.files[split] if not (place / file).is_file()]
        if place.name == facts.folder and place.is_dir():
            return f"{place} is incomplete: it lacks {', '.join(lost)}. {_advice(name)}"
    unfinished = sorted((root / name).glob("**/*.part"))
    if unfinished:
        return f"{facts.title} is half downloaded: {unfinished[0]}. {fetch} goes on from there."
    return (
        f"there is no {facts.title} ({split}) in {root}{origin} as {facts.folder}/, "
        f"{facts.archive} or {name}/{split}-*.parquet. {fetch} fetches it, or set VIT_TEACH_DATA "
        f"to the folder that holds {name}/."
    )


# ---------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------


def read(name: str, split: str, root: str | Path | None = None) -> Content:
    """One split, from the cache of decoded pictures or, the first time, from the copy itself.

    ``name`` is "cifar10" or "cifar100", ``split`` "train" or "test", ``root`` the folder to look in
    (None: ``data_folder()``). Returns (images uint8 (N, 3, 32, 32), labels int64 (N,), class names,
    source), arrays of numpy. Raises ``ValueError`` for an unknown name or split,
    ``FileNotFoundError`` if there is no copy (the message says how to get one), and ``DataError``
    if the copy is damaged (the message names the file).

    >>> read("cifar10", "holiday")
    Traceback (most recent call last):
    ValueError: split='holiday' must be one of train, test
    """
    facts = _published(name)
    if not isinstance(split, str) or split not in facts.counts:
        raise ValueError(f"split={split!r} must be one of {', '.join(facts.counts)}")
    place = find(name, root)
    files = _files(place, name, split) if place else []
    if place is None or not files:
        raise FileNotFoundError(_missing(name, split, root))
    stamp = json.dumps([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files])
    cache = _cache_file(place, name, split)
    content = _read_cache(cache, stamp, _published(name), split) if cache else None
    if content is None:
        content = read_files(files, name, split)
        if cache:
            _write_cache(cache, stamp, *content)
    return content


def read_files(files: list[Path], name: str, split: str) -> Content:
    """Read, decode and check the files of one split, without any cache.

    Returns (images uint8 (N, 3, 32, 32), labels int64 (N,), class names, source), arrays of numpy.
    Raises ``DataError`` if a file is damaged or is not what it should be.

    >>> read_files([Path("gone.parquet")], "cifar10", "test")
    Traceback (most recent call last):
    vit_teach.data.cifar.DataError: gone.parquet cannot be used: ...
    """
    title = _published(name).title
    try:
        if _is_parquet(files[0]):
            images, labels, classes, jpeg = _read_parquet(files, name)
            change = "JPEG re-encoding" if jpeg else "pixels differ from the published ones"
            good = _inspect(images, labels, name, split) and not jpeg
        else:
            images, labels, classes, genuine = _read_official(files, name, split)
            change = "files differ from the official ones"
            good = _inspect(images, labels, name, split) and genuine
    except DataError as error:
        where = files[0] if len(files) == 1 else f"{files[0].parent} ({split})"
        raise DataError(f"{where} cannot be used: {error}. {_advice(name)}") from error
    return images, labels, classes, title if good else f"{title}, {change}"


def _is_parquet(file: Path) -> bool:
    """By name; a file that is still being fetched has .part behind its name."""
    return ".parquet" in file.suffixes


def _read_parquet(files: list[Path], name: str) -> tuple[Array, Array, tuple[str, ...], bool]:
    """Parquet files of the Hugging Face hub: (images, labels, class names, any JPEG among them)."""
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"reading {files[0]} needs the package pyarrow: `pip install pyarrow`"
        ) from error
    facts = _published(name)
    encoded: list[bytes] = []
    labels, classes = [], facts.classes
    for file in files:
        try:
            _check_size(pyarrow.parquet.read_metadata(file))
            table = pyarrow.parquet.read_table(file, page_checksum_verification=True)
            image_column = "img" if "img" in table.column_names else "image"
            pictures = pyarrow.compute.struct_field(table[image_column], "bytes")
            column = table[facts.label_parquet]
            if pictures.null_count or column.null_count:
                raise ValueError("a picture or a label is missing")
            if not pyarrow.types.is_integer(column.type):
                raise ValueError(f"its labels are {column.type}, not integers")
            encoded += pictures.to_pylist()
            labels.append(column.to_numpy().astype(np.int64))
        except (OSError, LookupError, TypeError, ValueError, pyarrow.ArrowException) as error:
            raise DataError(f"{file.name} is truncated or not CIFAR parquet ({error})") from error
        classes = _classes_in(table.schema.metadata or {}, facts)
    if not all(isinstance(data, bytes) for data in encoded):
        raise DataError(f"{files[0].name} holds pictures that are no bytes")
    jpeg = any(data[:2] == JPEG for data in encoded)
    return decode(encoded), np.concatenate(labels), classes, jpeg


def _check_size(metadata: Any) -> None:
    """Raise ``ValueError`` for a parquet file that would unpack to far more than CIFAR holds."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > 10**6 or size > LARGEST:
        raise ValueError(f"it claims {metadata.num_rows:,} rows in {size:,} bytes")


def _classes_in(metadata: dict[bytes, bytes], facts: Published) -> tuple[str, ...]:
    """The class names that the hub writes into a parquet file, the usual ones where there are none.

    Raises ``DataError`` for other than one name for each class.
    """
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[facts.label_parquet]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return facts.classes
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not good or len(set(names)) != len(names) or len(names) != len(facts.classes):
        raise DataError(f"its class names are not {len(facts.classes)} different ones")
    return tuple(names)


def decode(encoded: list[bytes]) -> Array:
    """PNG or JPEG bytes of N pictures of 32 x 32 -> uint8 (N, 3, 32, 32).

    Raises ``DataError`` that names the first picture that cannot be decoded.

    >>> decode([]).shape
    (0, 3, 32, 32)
    """
    images = torch.empty(len(encoded), 3, 32, 32, dtype=torch.uint8)
    decode_one, threads = _decoder()

    def decode_range(numbers: range) -> None:
        for i in numbers:
            try:
                check_picture(encoded[i])
                image = decode_one(encoded[i])  # (3, 32, 32)
                if image.shape != images.shape[1:]:
                    raise ValueError(f"it is {tuple(image.shape)}, not (3, 32, 32)")
                images[i] = image
            except (RuntimeError, OSError, ValueError, TypeError, SyntaxError) as error:
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise DataError(f"picture {i} cannot be decoded ({reason})") from error

    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore", DeprecationWarning)  # torchvision 0.29 says it per picture
        list(pool.map(decode_range, [range(i, len(encoded), threads) for i in range(threads)]))
    return images.numpy()


def check_picture(data: bytes, size: int = 32) -> None:
    """Look at a PNG or JPEG picture of ``size`` x ``size`` before a decoder does.

    The fast decoder trusts its input: one damaged bit can end the process, or take any amount of
    memory. Raises ``ValueError`` for a PNG whose checksums are wrong, a file that says another
    size, or one of another kind.

    >>> check_picture(b"\\x89PNG\\r\\n\\x1a\\n" + b"too short")
    Traceback (most recent call last):
    ...
    ValueError: the PNG file is damaged
    """
    if data.startswith(PNG):
        sizes = check_png(data)
    elif data.startswith(JPEG):
        sizes = _jpeg_size(data)
    else:
        raise ValueError("it is neither PNG nor JPEG")
    if sizes != (size, size):
        raise ValueError(f"the picture is of size {sizes}, not {size} x {size}")


def check_png(data: bytes) -> tuple[int, ...]:
    """Compare the checksums in a PNG and return its (width, height).

    Raises ``ValueError`` if it is damaged or cut off.

    >>> check_png(PNG)
    Traceback (most recent call last):
    ...
    ValueError: the PNG file is damaged
    """
    position, kind = 8, b""
    sizes: tuple[int, ...] = ()
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length  # length, kind, content, checksum
        if end > len(data):
            raise ValueError("the PNG file is damaged")
        kind = data[position + 4 : position + 8]
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError("the PNG file is damaged")
        if (kind == b"IHDR") != (position == 8):  # the header comes first, and once
            raise ValueError("the PNG file is damaged")
        if kind == b"IHDR":
            sizes = struct.unpack(">II", data[position + 8 : position + 16])
        position = end
    return sizes


def _jpeg_size(data: bytes) -> tuple[int, ...]:
    """The (width, height) of a JPEG: all of its frames must say the same."""
    position, sizes = 2, set()
    while position + 9 <= len(data) and data[position] == 0xFF:
        kind, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a frame begins
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            sizes.add((width, height))
        if kind == 0xFF or kind == 0x01 or 0xD0 <= kind <= 0xD8:  # no length behind it
            position += 1 if kind == 0xFF else 2
        elif kind == 0xDA:  # the pixels begin
            break
        else:
            position += 2 + length
    if len(sizes) != 1:
        raise ValueError("the JPEG file is damaged")
    return sizes.pop()


def _decoder() -> tuple[Callable[[bytes], torch.Tensor], int]:
    """A function from PNG or JPEG bytes to uint8 (3, H, W), and how many threads suit it.

    torchvision decodes such small pictures more than twice as fast as pillow and gives the same
    pixels, so it is used where it is installed and still has a decoder. Threads of pillow only
    wait for each other here.
    """
    try:
        from torchvision.io import ImageReadMode, decode_image
    except ImportError:
        from PIL import Image

        def decode_one(data: bytes) -> torch.Tensor:
            with Image.open(io.BytesIO(data)) as picture:
                return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)

        return decode_one, 1
    else:

        def decode_one(data: bytes) -> torch.Tensor:
            encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            return decode_image(encoded, ImageReadMode.RGB)

        return decode_one, 2


def _empty_array(_kind: object, _shape: object, _dtype: object) -> Array:
    """What a pickle fills with an array's bytes: of no size, whatever size it asks for."""
    return np.empty(0, np.uint8)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays, bytes and plain containers; refuses to call anything else.

    A pickle is a program: ``pickle.load`` runs whatever its author wrote. The official CIFAR
    files need four names, and this class knows no others. An array's memory is taken only for
    bytes that the file has.
    """

    allowed = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise DataError(f"it asks to run {module}.{name}, which was not done")
        if name == "_reconstruct":
            return _empty_array
        return None if name == "ndarray" else super().find_class(module, name)


def _unpickle(data: bytes, file: str) -> dict[bytes, Any]:
    """The content of an official file; ``file`` is its name, for the error."""
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly any exception
        raise DataError(f"{file} is truncated or not a CIFAR file ({error})") from error


def _read_official(
    files: list[Path], name: str, split: str
) -> tuple[Array, Array, tuple[str, ...], bool]:
    """The official folder or archive: (images, labels, class names, md5 as published)."""
    facts = _published(name)
    contents = _members(files, facts, split)
    images, labels = [], []
    for file, data in contents.items():
        batch = _unpickle(data, file)
        try:
            pixels, numbers = batch[b"data"], np.asarray(batch[facts.label.encode()])
            if pixels.dtype != np.uint8 or numbers.dtype.kind != "i":
                raise ValueError(f"pixels are {pixels.dtype}, labels {numbers.dtype}")
            images.append(pixels.reshape(-1, 3, 32, 32))
            labels.append(numbers.astype(np.int64))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"{file} is not a CIFAR file ({error})") from error
    genuine = all(
        hashlib.md5(data, usedforsecurity=False).hexdigest() == facts.files[split][file]
        for file, data in contents.items()
    )
    return np.concatenate(images), np.concatenate(labels), facts.classes, genuine


def _members(files: list[Path], facts: Published, split: str) -> dict[str, bytes]:
    """{official file name: its bytes}, from the folder or straight out of the archive."""
    try:
        if not files[0].name.startswith(facts.archive):
            return {file.name: file.read_bytes() for file in files}
        with gzip.open(files[0]) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            contents = {}
            for file in facts.files[split]:
                entry = archive.getmember(f"{facts.folder}/{file}")
                member = archive.extractfile(entry) if entry.isreg() else None
                if member is None or entry.size > LARGEST:
                    raise ValueError(f"{file} is not a file, or too large")
                contents[file] = member.read()
            while stream.read(2**20):  # to the end: there lies gzip's checksum
                if stream.tell() > LARGEST:
                    raise ValueError("it unpacks to far more than CIFAR")
            return contents
    except (OSError, EOFError, LookupError, TypeError, AttributeError, RecursionError,
            tarfile.TarError, zlib.error, ValueError, OverflowError) as error:  # fmt: skip
        raise DataError(f"it is truncated or cannot be read ({error})") from error


# ---------------------------------------------------------------------------------------------
# The cache of decoded pictures
# ---------------------------------------------------------------------------------------------


def _cache_file(place: Path, name: str, split: str) -> Path | None:
    """Where the decoded pictures are kept: beside the copy, else in the user's cache folder.

    None where the user has no home folder.
    """
    folder = place if place.is_dir() else place.parent
    # A folder without any write permission is meant to stay as it is, even for the superuser.
    if folder.stat().st_mode & 0o222 and os.access(folder, os.W_OK):
        return folder / "decoded" / f"{name}-{split}.npz"
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    return base / "vit_teach" / f"{name}-{split}-{key}.npz"


def _read_cache(cache: Path, stamp: str, facts: Published, split: str) -> Content | None:
    """What ``_write_cache`` wrote, or None if it is absent, damaged or of other source files."""
    count, classes = facts.counts[split], len(facts.classes)
    try:
        with zipfile.ZipFile(cache) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
                return None
        with np.load(cache, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about["stamp"] != stamp:
                return None
            # The zip format keeps a checksum of each array, so damage raises BadZipFile here.
            images, labels = stored["images"], stored["labels"]
            names, source = tuple(about["classes"]), str(about["source"])
    except Exception:  # numpy's reader raises nearly any exception on damage
        return None
    sound = isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)
    sound = sound and images.dtype == np.uint8 and images.shape == (count, 3, 32, 32)
    sound = sound and labels.dtype == np.int64 and labels.shape == (count,)
    sound = sound and len(names) == classes and all(isinstance(name, str) for name in names)
    sound = sound and bool(np.all((labels >= 0) & (labels < classes)))
    balanced = sound and np.all(np.bincount(labels, minlength=classes) == count // classes)
    return (images, labels, names, source) if balanced else None


def _write_cache(
    cache: Path, stamp: str, images: Array, labels: Array, classes: tuple[str, ...], source: str
) -> None:
    """Keep decoded pictures. A cache that cannot be written costs time, nothing else."""
    about = json.dumps({"stamp": stamp, "classes": classes, "source": source})
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(cache) as temporary, open(temporary, "wb") as file:
            np.savez(file, images=images, labels=labels, about=np.array(about))
