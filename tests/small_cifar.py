"""A CIFAR-10 of 50 + 20 smooth pictures, in every layout, and the facts "published" about it."""

import hashlib
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vit_teach.data import cifar

COUNTS = {"train": 50, "test": 20}


class SmallCifar:
    """The pictures, and writers for each layout."""

    def __init__(self):
        random = np.random.RandomState(0)
        self.images, self.labels = {}, {}
        for split, count in COUNTS.items():
            coarse = torch.from_numpy(random.rand(count, 3, 4, 4)) * 255
            smooth = torch.nn.functional.interpolate(coarse, 32, mode="bilinear")
            self.images[split] = smooth.to(torch.uint8).numpy()
            self.labels[split] = random.permutation(np.arange(count) % 10)

    def facts(self) -> cifar.Published:
        """What `cifar.PUBLISHED` says about the true CIFAR-10, for these pictures."""
        batches = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
        pixels = {}
        for split, images in self.images.items():
            mean, deviation = cifar.pixel_statistics(images)
            pixels[split] = (tuple(mean.round(4)), tuple(deviation.round(4)))
        return replace(
            cifar.PUBLISHED["cifar10"],
            counts=COUNTS,
            pixels=pixels,
            archive_md5=hashlib.md5(self.archive()).hexdigest(),
            files={
                split: {name: hashlib.md5(self.batch(name)).hexdigest() for name in names}
                for split, names in batches.items()
            },
        )

    def batch(self, name: str) -> bytes:
        """One official file: ten training pictures, or all test pictures."""
        if name == "test_batch":
            images, labels = self.images["test"], self.labels["test"]
        else:
            part = slice(10 * int(name[-1]) - 10, 10 * int(name[-1]))
            images, labels = self.images["train"][part], self.labels["train"][part]
        content = {b"data": images.reshape(len(images), -1), b"labels": labels.tolist()}
        # Protocol 2 and the old module name: as the official files, which Python 2 wrote.
        data = pickle.dumps(content, protocol=2)
        return data.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")

    def archive(self) -> bytes:
        """The official .tar.gz."""
        if not hasattr(self, "_archive"):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
                for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
                    data = self.batch(name)
                    member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            self._archive = buffer.getvalue()
        return self._archive

    def write_folder(self, root: Path) -> Path:
        folder = root / "cifar10" / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            (folder / name).write_bytes(self.batch(name))
        return folder

    def write_archive(self, root: Path) -> Path:
        file = root / "cifar10" / "cifar-10-python.tar.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.archive())
        return file

    def write_parquet(self, folder: Path, form="PNG", pieces=1, images=None, labels=None) -> Path:
        """Both splits as on the hub; `images` and `labels` replace the training ones."""
        folder.mkdir(parents=True, exist_ok=True)
        for split in COUNTS:
            x, y = self.images[split], self.labels[split]
            if split == "train":
                x = x if images is None else images
                y = y if labels is None else labels
            for piece in range(pieces):
                file = folder / f"{split}-{piece:05}-of-{pieces:05}.parquet"
                part = slice(piece * len(x) // pieces, (piece + 1) * len(x) // pieces)
                write_parquet_file(file, x[part], y[part], form)
        return folder


def write_parquet_file(file: Path, images, labels, form="PNG") -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = [{"bytes": encode(image, form), "path": f"{i}.png"} for i, image in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(rows, kind), "label": pa.array([int(i) for i in labels])})
    names = {"label": {"names": list(cifar.CIFAR10_CLASSES)}}
    about = json.dumps({"info": {"features": names}})
    pa.parquet.write_table(table.replace_schema_metadata({"huggingface": about}), file)


def encode(image, form: str) -> bytes:
    if isinstance(image, bytes):
        return image
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, form)
    return buffer.getvalue()
