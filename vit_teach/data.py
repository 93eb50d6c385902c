"""Images for the book, held in memory: CIFAR-10, CIFAR-100, your own pictures, one photograph.

Everything is an `ImageSet`: a uint8 tensor of images, an int64 tensor of labels, and the names
that say what they are and where they come from. At 32 x 32 pixels the whole of CIFAR-10 is
184 MB, so a batch is an index into memory and no loader processes are needed.

Where CIFAR is looked for and how it is read stands in `vit_teach.cifar`;
`python -m vit_teach.download cifar10` fetches a copy. Nothing here downloads anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vit_teach.cifar import PUBLISHED, DataError, data_folder, find, read

__all__ = [
    "MEAN",
    "STD",
    "DataError",
    "ImageSet",
    "data_folder",
    "find",
    "folder",
    "load",
    "load_or_shapes",
    "normalise",
    "photograph",
]

# Pixel statistics of the CIFAR-10 training images, as fractions of 255, one number per channel
# (red, green, blue). They are the usual constants for 32 x 32 training from scratch.
MEAN, STD = PUBLISHED["cifar10"].pixels["train"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images and labels in memory.

    Attributes:
        images: uint8 tensor (N, 3, H, W), red, green, blue, 0 to 255.
        labels: int64 tensor (N,), each in 0 .. K-1.
        classes: the K class names; `classes[label]` is the name of a label.
        source: where the images come from, for example "CIFAR-10, JPEG re-encoding".
        split: which part this is: "train", "validation" or "test".

    Raises:
        ValueError: if a tensor has the wrong type or shape, or a label names no class.

    >>> pictures = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    >>> few = ImageSet(pictures, torch.tensor([0, 1, 0, 1]), ("cat", "dog"), "zeros", "train")
    >>> len(few), len(few.subset(2))
    (4, 2)
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    source: str
    split: str

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images={images.dtype} {tuple(images.shape)} must be uint8 (N, 3, H, W)"
            )
        if labels.dtype != torch.int64 or labels.shape != (len(images),):
            raise ValueError(
                f"labels={labels.dtype} {tuple(labels.shape)} must be int64 ({len(images)},)"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise ValueError(
                f"labels={int(labels.min())}..{int(labels.max())} must lie in "
                f"0..{len(self.classes) - 1}: there are {len(self.classes)} class names"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, _, height, width = self.images.shape
        return (
            f"ImageSet({self.source}, {self.split}: {n:,} images of {height} x {width}, "
            f"{len(self.classes)} classes)"
        )

    def take(self, index: torch.Tensor, split: str | None = None) -> ImageSet:
        """The images at the positions `index` (int64 (n,)), in that order, as a new ImageSet."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            split=self.split if split is None else split,
        )

    def subset(self, n: int, seed: int = 0) -> ImageSet:
        """n images, as many of each class as of any other (within one).

        The subsets of one seed are nested: `subset(500)` is the beginning of `subset(1500)`.
        So a curve of accuracy against n adds images and never swaps them. A class that has
        fewer images than its share gives all it has.

        Args:
            n: how many, 1 .. len(self).
            seed: which of the many possible subsets.

        Raises:
            ValueError: if n is out of range.
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"n={n} must be in 1..{len(self)}, the number of images in the set")
        return self.take(_class_order(self.labels, seed)[:n])

    def hold_out(self, validation: int | float = 5000, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Hold images back for validation, each class in proportion to its size.

        Split first and take subsets of the training part after: then no validation image is
        ever trained on. (The method cannot be called `split`: that is the name of the part.)

        Args:
            validation: how many images to hold back, or the fraction of them (0 < fraction < 1).
            seed: which images are held back.

        Returns:
            (train, validation), disjoint, together the whole set, each in the original order.

        Raises:
            ValueError: if either part would be empty.
        """
        n = round(validation * len(self)) if isinstance(validation, float) else validation
        if not 0 < n < len(self):
            raise ValueError(
                f"validation={validation} must hold back at least 1 and leave at least 1 of the "
                f"{len(self)} images"
            )
        order = _class_order(self.labels, seed, proportional=True)
        train, held = order[n:].sort().values, order[:n].sort().values
        return self.take(train, "train"), self.take(held, "validation")

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name the content: SHA-256 of sizes, pixels and labels."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]


def _class_order(labels: torch.Tensor, seed: int, proportional: bool = False) -> torch.Tensor:
    """A random order of all images in which every beginning holds the classes evenly.

    Image number r (in random order) of its class gets the key r, or, with `proportional`,
    (r + 1/2) / (size of the class); sorting by the key deals the classes out like cards.
    """
    # RandomState is the numpy generator whose stream is frozen for good: same seed, same subset.
    random = np.random.RandomState(seed)
    labels = labels.cpu().numpy()
    key = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        rank = np.arange(len(members))
        key[members] = (rank + 0.5) / len(members) if proportional else rank
    tie_break = random.permutation(labels.max(initial=0) + 1)[labels]  # which class comes first
    return torch.from_numpy(np.lexsort((tie_break, key)))


def normalise(images: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    """Images (B, 3, H, W) or (3, H, W) -> float32 of the same shape, (x - mean) / std.

    Takes uint8 (0..255, divided by 255 first) or float (0..1 already). The constants are those of
    CIFAR-10 unless you pass others. Any constants near the data's own do; what matters is to use
    the same ones in training and afterwards.

    >>> normalise(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), (0.5,) * 3, (0.5,) * 3).max()
    tensor(1.)
    """
    if images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(f"images of shape {tuple(images.shape)} must be (B, 3, H, W) or (3, H, W)")
    if images.dtype == torch.uint8:
        images = images.float() / 255
    elif not images.is_floating_point():
        raise ValueError(f"images of type {images.dtype} must be uint8 or float")
    mean = torch.tensor(mean, device=images.device).view(3, 1, 1)
    std = torch.tensor(std, device=images.device).view(3, 1, 1)
    return (images - mean) / std  # (B, 3, H, W)


# ---------------------------------------------------------------------------------------------
# CIFAR, or something in its place
# ---------------------------------------------------------------------------------------------


def load(name: str = "cifar10", split: str = "train", root: Path | None = None) -> ImageSet:
    """Read one split of CIFAR-10 or CIFAR-100 into memory.

    The first time the pictures are decoded (a few seconds) and kept beside the copy, or in the
    user's cache folder if that place cannot be written; after that it takes a fraction of one.

    Args:
        name: "cifar10" or "cifar100".
        split: "train" (50,000 images) or "test" (10,000).
        root: the folder to look in; `data_folder()` unless given.

    Returns:
        An ImageSet with images (N, 3, 32, 32).

    Raises:
        ValueError: if name or split is unknown.
        FileNotFoundError: if there is no copy; the message says how to get one.
        DataError: if the copy is damaged; the message names the file.

    >>> load("cifar10", split="holiday")
    Traceback (most recent call last):
    ...
    ValueError: split='holiday' ...
    """
    images, labels, classes, source = read(name, split, root)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels), classes, source, split)


def load_or_shapes(name: str = "cifar10", split: str = "train") -> ImageSet:
    """CIFAR where a copy is present, else the built-in shapes; prints one line that says which.

    A copy that is there but damaged is an error, not a reason to use something else.

    Args:
        name: "cifar10" or "cifar100".
        split: "train" or "test".

    >>> images = load_or_shapes("cifar10", "test")
    Data: ...
    >>> len(images.classes)
    10
    """
    if find(name) is not None:
        images = load(name, split)
        print(f"Data: {images.source}, {split}, {len(images):,} images.")
        return images
    from vit_teach.shapes import stand_in

    images = stand_in(split)
    title = PUBLISHED[name].title
    print(
        f"Data: {images.source}, {split}, {len(images):,} images, because there is no {title} "
        f"here (`python -m vit_teach.download {name}` fetches it)."
    )
    return images


# ---------------------------------------------------------------------------------------------
# Other pictures
# ---------------------------------------------------------------------------------------------


def folder(path: str | Path, size: int | tuple[int, int] = 32) -> ImageSet:
    """Your own pictures: a folder with one sub-folder per class, named as the class.

    Files in any format that pillow reads are taken, other files are passed over. Each picture is
    turned upright (EXIF), put on white where it is transparent, cut to the centre and resized
    with antialiased bicubic interpolation. For a validation part use `hold_out(0.2)`.

    Args:
        path: the folder.
        size: side of the result in pixels, or (height, width).

    Returns:
        An ImageSet with images (N, 3, height, width), classes in alphabetical order.

    Raises:
        FileNotFoundError: if there is no such folder.
        DataError: if a class has no picture, or a picture cannot be read; the files are named.

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
            images.append(_read_picture(file, size))
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


def _read_picture(file: Path, size: tuple[int, int]) -> torch.Tensor:
    """One picture of any kind -> uint8 (3, height, width)."""
    from PIL import Image, ImageOps

    with Image.open(file) as picture:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16-bit grey: keep the upper 8 bits
            picture = Image.fromarray((np.asarray(picture) // 256).clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        return _fit(picture.convert("RGB"), size)


def photograph(size: int | tuple[int, int] | None = None) -> torch.Tensor:
    """A real photograph, uint8 (3, H, W): Grace Hopper, the sample that matplotlib brings along.

    Args:
        size: None for the file as it is (600 x 512), else an int or (height, width): the
            largest centred piece of that shape, resized.

    >>> photograph((48, 32)).shape
    torch.Size([3, 48, 32])
    """
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    with get_sample_data("grace_hopper.jpg") as file, Image.open(file) as picture:
        picture = picture.convert("RGB")
    if size is None:
        size = (picture.height, picture.width)
    return _fit(picture, (size, size) if isinstance(size, int) else size)


def _fit(picture, size: tuple[int, int]) -> torch.Tensor:
    """The centre of an RGB picture, cut to the shape (height, width), resized: uint8 (3, H, W)."""
    from PIL import Image, ImageOps

    height, width = size
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # (3, H, W)
