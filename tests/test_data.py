"""vit_teach.data and vit_teach.cifar: image sets, CIFAR in every layout, damage, cache, folders."""

import builtins
import contextlib
import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_cifar import SmallCifar, encode, write_parquet_file

from vit_teach import data
from vit_teach.data import cifar

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def numbered(labels, classes=10):
    """An ImageSet in which the first pixel tells which image it is."""
    labels = torch.as_tensor(labels)
    images = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(len(labels)) // 256
    images[:, 0, 0, 1] = torch.arange(len(labels)) % 256
    return data.ImageSet(images, labels, tuple(map(str, range(classes))), "test", "train")


def numbers(image_set):
    return (image_set.images[:, 0, 0, 0].long() * 256 + image_set.images[:, 0, 0, 1]).tolist()


# --- ImageSet -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), "images=torch.float32"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2).long(), "(2, 1, 4, 4)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(3).long(), "labels="),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2), "int64"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 5]), "0..1"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, -1]), "labels=-1"),
    ],
)
def test_image_set_refuses_wrong_tensors(images, labels, message):
    with pytest.raises(ValueError) as error:
        data.ImageSet(images, labels, ("a", "b"), "test", "train")
    assert message in str(error.value)


@settings(max_examples=40, deadline=None)
@given(
    per_class=st.integers(1, 30),
    classes=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_subsets_are_nested_balanced_and_repeatable(per_class, classes, seed, share):
    images = numbered(np.arange(per_class * classes) % classes, classes)
    small, large = sorted(1 + int(s * (len(images) - 1)) for s in share)
    first, second = images.subset(small, seed), images.subset(large, seed)
    assert numbers(first) == numbers(second)[:small]
    assert len(set(numbers(second))) == large
    counts = second.labels.bincount(minlength=classes)
    assert counts.max() - counts.min() <= 1
    assert [int(images.labels[i]) for i in numbers(second)] == second.labels.tolist()
    assert second.fingerprint() == images.subset(large, seed).fingerprint()


def test_subset_differs_by_seed_and_uses_up_small_classes():
    images = numbered([0] * 50 + [1] * 50 + [2] * 3, 3)
    assert numbers(images.subset(30, 0)) != numbers(images.subset(30, 1))
    assert images.subset(53, 0).labels.bincount().tolist() == [25, 25, 3]
    for n in (0, 104):
        with pytest.raises(ValueError, match=f"n={n} must be in 1..103"):
            images.subset(n)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(2, 40), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_hold_out_is_disjoint_complete_and_in_proportion(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = numbered(np.random.RandomState(seed).permutation(labels), len(sizes))
    train, held = images.hold_out(0.5, seed)
    assert sorted(numbers(train) + numbers(held)) == list(range(len(images)))
    assert (train.split, held.split) == ("train", "validation")
    assert numbers(train) == sorted(numbers(train))
    for size, kept in zip(sizes, held.labels.bincount(minlength=len(sizes)), strict=True):
        assert abs(kept - size / 2) <= 1


def test_hold_out_of_a_balanced_set_is_balanced():
    train, held = numbered(np.arange(200) % 10).hold_out(30, seed=5)
    assert train.labels.bincount().tolist() == [17] * 10
    assert held.labels.bincount().tolist() == [3] * 10


@pytest.mark.parametrize("validation", [0, 20, -1, 0.0, 1.0])
def test_hold_out_refuses_an_empty_part(validation):
    with pytest.raises(ValueError, match=f"validation={validation}"):
        numbered(np.arange(20) % 10).hold_out(validation)


def test_fingerprint_tells_content_apart():
    one, two = numbered([0, 1, 2]), numbered([0, 1, 2])
    assert one.fingerprint() == two.fingerprint() and len(one.fingerprint()) == 16
    two.images[2, 0, 1, 1] = 1
    assert one.fingerprint() != two.fingerprint()
    assert one.fingerprint() != numbered([0, 1, 1]).fingerprint()


def test_normalise_is_the_formula():
    images = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    expected = images.numpy().astype(np.float64) / 255
    for channel in range(3):
        expected[:, channel] = (expected[:, channel] - data.MEAN[channel]) / data.STD[channel]
    result = data.normalise(images)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)
    torch.testing.assert_close(data.normalise(images[0]), result[0])
    torch.testing.assert_close(data.normalise(images.float() / 255), result)
    for wrong in (images[:, :2], images[0, 0]):
        with pytest.raises(ValueError, match="must be"):
            data.normalise(wrong)


# --- CIFAR in every layout ------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A small CIFAR-10 under `small.root`, for which the published facts are replaced."""
    small = SmallCifar()
    small.root = tmp_path / "data"
    monkeypatch.setitem(cifar.PUBLISHED, "cifar10", small.facts())
    monkeypatch.setenv("VIT_TEACH_DATA", str(small.root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return small


WRITERS = {
    "folder": lambda s: s.write_folder(s.root),
    "archive": lambda s: s.write_archive(s.root),
    "parquet": lambda s: s.write_parquet(s.root / "cifar10"),
    "parquet as on the hub": lambda s: s.write_parquet(s.root / "cifar10" / "plain_text"),
    "parquet in pieces": lambda s: s.write_parquet(s.root / "cifar10", pieces=2),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_images(small, layout):
    WRITERS[layout](small)
    for split in ("train", "test"):
        images = data.load("cifar10", split)
        np.testing.assert_array_equal(images.images, small.images[split])
        np.testing.assert_array_equal(images.labels, small.labels[split])
        assert images.source == "CIFAR-10"
        assert (images.split, images.classes) == (split, cifar.CIFAR10_CLASSES)


@pytest.mark.parametrize("layout", ["parquet", "folder"])
def test_cifar100_fine_labels(small, monkeypatch, layout):
    import pyarrow as pa
    import pyarrow.parquet

    images, labels = np.repeat(small.images["test"], 5, 0), np.arange(100) * 7 % 100
    mean, deviation = cifar.pixel_statistics(images)
    facts = cifar.PUBLISHED["cifar100"]
    facts = replace(facts, counts={"train": 100}, pixels={"train": (mean, deviation)})
    file = small.root / "cifar100" / "cifar100" / "train-00000-of-00001.parquet"
    if layout == "folder":
        file = small.root / "cifar100" / "cifar-100-python" / "train"
    file.parent.mkdir(parents=True)
    if layout == "folder":
        content = {b"data": images.reshape(100, -1), b"fine_labels": labels.tolist()}
        file.write_bytes(pickle.dumps({**content, b"coarse_labels": [0] * 100}, protocol=2))
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        facts = replace(facts, files={"train": {"train": md5}})
    else:
        rows = [{"bytes": encode(image, "PNG")} for image in images]
        table = pa.table({"img": rows, "fine_label": labels, "coarse_label": [0] * 100})
        pa.parquet.write_table(table, file)  # no class names inside: the usual ones count
    monkeypatch.setitem(cifar.PUBLISHED, "cifar100", facts)
    loaded = data.load("cifar100")
    assert (loaded.images.numpy() == images).all() and (loaded.labels.numpy() == labels).all()
    assert loaded.source == "CIFAR-100" and loaded.classes[labels[3]] == "chimpanzee"


def test_both_decoders_give_the_same_pixels(small, monkeypatch):
    encoded = [encode(image, form) for image in small.images["test"] for form in ("PNG", "JPEG")]
    with_torchvision = cifar.decode(encoded)
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    np.testing.assert_array_equal(cifar.decode(encoded), with_torchvision)


def test_a_complete_copy_is_preferred_to_a_partial_one(small):
    folder = small.write_folder(small.root)
    (folder / "data_batch_3").unlink()
    archive = small.write_archive(small.root)
    assert cifar.find("cifar10") == archive
    assert len(data.load("cifar10", "train")) == 50


def test_unknown_names(small):
    with pytest.raises(ValueError, match="name='mnist' must be one of cifar10, cifar100"):
        data.load("mnist")
    with pytest.raises(ValueError, match="split='val' must be one of train, test"):
        data.load("cifar10", "val")


# --- copies that differ a little ------------------------------------------------------------


def test_jpeg_copy_is_used_and_named(small):
    small.write_parquet(small.root / "cifar10", form="JPEG")
    assert data.load("cifar10").source == "CIFAR-10, JPEG re-encoding"


def test_slightly_different_pixels_are_named(small):
    brighter = small.images["train"] + (small.images["train"] < 255).astype(np.uint8)
    small.write_parquet(small.root / "cifar10", images=brighter)
    assert data.load("cifar10").source == "CIFAR-10, pixels differ from the published ones"
    assert data.load("cifar10", "test").source == "CIFAR-10"


def test_official_file_with_another_md5_is_named(small):
    file = small.write_folder(small.root) / "data_batch_1"
    content = pickle.loads(file.read_bytes(), encoding="bytes")
    file.write_bytes(pickle.dumps(content, protocol=4))
    assert data.load("cifar10").source == "CIFAR-10, files differ from the official ones"


# --- copies that cannot be used -------------------------------------------------------------


def refused(small, file, *words):
    """Loading fails, names the file, says what to do, and leaves every file as it was."""
    before = {f: f.read_bytes() for f in small.root.rglob("*") if f.is_file()}
    with pytest.raises(cifar.DataError) as error:
        data.load("cifar10", "train")
    message = str(error.value)
    assert str(file) in message and "python -m vit_teach.data cifar10" in message
    for word in words:
        assert word in message
    assert {f: f.read_bytes() for f in small.root.rglob("*") if f.is_file()} == before


def test_truncated_parquet(small):
    file = small.write_parquet(small.root / "cifar10") / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-1000])
    refused(small, file, "truncated")


def test_missing_piece_of_parquet(small):
    folder = small.write_parquet(small.root / "cifar10", pieces=2)
    (folder / "train-00001-of-00002.parquet").unlink()
    refused(small, folder, "25 images", "has 50")


def test_parquet_of_something_else(small):
    import pyarrow as pa
    import pyarrow.parquet

    file = small.write_parquet(small.root / "cifar10") / "train-00000-of-00001.parquet"
    pa.parquet.write_table(pa.table({"text": ["a"]}), file)
    refused(small, file, "not CIFAR parquet")


def test_wrong_count(small):
    images, labels = small.images["train"][:40], small.labels["train"][:40]
    folder = small.write_parquet(small.root / "cifar10", images=images, labels=labels)
    refused(small, folder / "train-00000-of-00001.parquet", "40 images", "has 50")


@pytest.mark.parametrize("label", [3, 11])
def test_unbalanced_classes(small, label):
    labels = small.labels["train"].copy()
    labels[labels == 4] = label
    folder = small.write_parquet(small.root / "cifar10", labels=labels)
    refused(
        small,
        folder / "train-00000-of-00001.parquet",
        *(["0 to", "each should hold 5"] if label == 3 else ["labels from 0 to 11"]),
    )


def test_negative_label(small):
    labels = small.labels["train"].copy()
    labels[0] = -1
    folder = small.write_parquet(small.root / "cifar10", labels=labels)
    refused(small, folder / "train-00000-of-00001.parquet", "labels from -1")


def test_wrong_pixels(small):
    folder = small.write_parquet(small.root / "cifar10", images=255 - small.images["train"] // 2)
    refused(small, folder / "train-00000-of-00001.parquet", "pixel mean")


@pytest.mark.parametrize("broken", [b"", b"no picture at all", "cut", "large"])
def test_undecodable_picture(small, broken):
    images = [encode(image, "PNG") for image in small.images["train"]]
    if broken == "cut":
        broken = images[7][:100]
    elif broken == "large":
        broken = encode(np.zeros((3, 40, 40), np.uint8), "PNG")
    images[7] = broken
    folder = small.write_parquet(small.root / "cifar10", images=images)
    refused(small, folder / "train-00000-of-00001.parquet", "picture 7 cannot be decoded")


def test_truncated_archive(small):
    file = small.write_archive(small.root)
    file.write_bytes(file.read_bytes()[:-3000])
    refused(small, file, "truncated")


def test_archive_that_is_none(small):
    file = small.write_archive(small.root)
    file.write_text("<html>Service Unavailable</html>")
    refused(small, file, "cannot be read")


def test_truncated_official_file(small):
    file = small.write_folder(small.root) / "data_batch_2"
    file.write_bytes(file.read_bytes()[:500])
    refused(small, file.parent, "data_batch_2")


def test_official_file_of_another_kind(small):
    file = small.write_folder(small.root) / "data_batch_2"
    file.write_bytes(pickle.dumps({b"data": [1, 2, 3]}))
    refused(small, file.parent, "data_batch_2")


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


def test_a_pickle_that_would_run_something_is_not_run(small, tmp_path):
    target = str(tmp_path / "made by the pickle")
    file = small.write_folder(small.root) / "data_batch_2"
    file.write_bytes(pickle.dumps({b"data": Evil(target)}))
    refused(small, file.parent, "data_batch_2", "asks to run", "open")
    assert not os.path.exists(target)
    pickle.loads(file.read_bytes())[b"data"].close()  # an ordinary unpickler does run it
    assert os.path.exists(target)


@pytest.mark.parametrize("module, name", [("builtins", "eval"), ("numpy", "load"), ("os", "open")])
def test_the_unpickler_knows_few_names(module, name):
    with pytest.raises(cifar.DataError, match=name):
        cifar._unpickle(f"c{module}\n{name}\n.".encode(), "data_batch_1")


@pytest.mark.parametrize("change, words", [
    ({b"data": np.zeros((10, 3072), np.int16)}, "pixels are int16"),
    ({b"labels": [0.5] * 10}, "labels float64"),
    ({b"labels": ["cat"] * 10}, "labels <U3"),
    ({b"labels": [2**40] * 10}, "labels from 0 to 1099511627776"),
    ({b"labels": [2**70] * 10}, "labels object"),
    ({b"data": b"no array"}, "'bytes' object has no attribute"),
])  # fmt: skip
def test_official_files_with_other_numbers(small, change, words):
    file = small.write_folder(small.root) / "data_batch_2"
    content = cifar._unpickle(file.read_bytes(), file.name)
    file.write_bytes(pickle.dumps({**content, **change}, protocol=2))
    refused(small, file.parent, words)


def test_a_pickle_takes_no_more_memory_than_it_has_bytes():
    text = b"cnumpy\nndarray\n(I1073741824\ntR."  # ndarray(2**30)
    with pytest.raises(cifar.DataError, match="data_batch_1 is truncated or not a CIFAR file"):
        cifar._unpickle(text, "data_batch_1")
    shape = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1073741824\ntS'b'\ntR."
    assert cifar._unpickle(shape, "data_batch_1").nbytes == 0


def archive_with(small, kind):
    """The official archive with something else in the place of its last file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in [f"data_batch_{i}" for i in range(1, 6)]:
            content = small.batch(name)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        last = tarfile.TarInfo("cifar-10-batches-py/data_batch_5")
        last.type, last.linkname = kind, last.name
        tar.addfile(last)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE,
                                  tarfile.CHRTYPE, tarfile.LNKTYPE])  # fmt: skip
def test_an_archive_with_something_else_than_a_file(small, kind):
    file = small.write_archive(small.root)
    file.write_bytes(archive_with(small, kind))
    refused(small, file, "data_batch_5 is not a file")


def test_one_flipped_bit_of_an_archive_or_of_a_png_is_seen(small):
    file = small.write_archive(small.root)
    good, random = file.read_bytes(), np.random.RandomState(0)
    for place in random.randint(20, len(good), 30):
        file.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        with pytest.raises(cifar.DataError):
            cifar.read_files([file], "cifar10", "train")
    picture = encode(small.images["train"][0], "PNG")
    for place in random.randint(8, len(picture), 200):
        with pytest.raises(cifar.DataError, match="picture 0 cannot be decoded"):
            cifar.decode([picture[:place] + bytes([picture[place] ^ 1]) + picture[place + 1 :]])


@pytest.mark.parametrize("names, words", [
    (list("aabcdefghi"), "not 10 different ones"), (list("abc"), "not 10 different ones"),
    ([1] * 10, "not 10 different ones"), ("abcdefghij", "not 10 different ones"),
])  # fmt: skip
def test_class_names_of_a_parquet_file(small, names, words):
    import pyarrow.parquet

    file = small.write_parquet(small.root / "cifar10") / "train-00000-of-00001.parquet"
    table = pyarrow.parquet.read_table(file)
    about = json.dumps({"info": {"features": {"label": {"names": names}}}})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": about}), file)
    refused(small, file, words)
    deep = "[" * 100_000  # no names at all: the usual ones
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": deep}), file)
    assert data.load("cifar10").classes == cifar.CIFAR10_CLASSES


@pytest.mark.parametrize("column", ["label", "img", "text", "fraction"])
def test_columns_of_a_parquet_file(small, column):
    import pyarrow as pa
    import pyarrow.parquet

    file = small.write_parquet(small.root / "cifar10") / "train-00000-of-00001.parquet"
    table = pa.parquet.read_table(file)
    values = table["img" if column == "img" else "label"].to_pylist()
    if column in ("text", "fraction"):
        values = [str(v) if column == "text" else v + 0.5 for v in values]
    else:
        values[0] = None
    name = "img" if column == "img" else "label"
    kind = table[name].type if column in ("label", "img") else None
    place = table.column_names.index(name)
    pa.parquet.write_table(table.set_column(place, name, pa.array(values, kind)), file)
    refused(small, file, "missing" if column in ("label", "img") else "not integers")


def test_a_jpeg_that_says_it_is_huge_is_not_decoded(small):
    picture = bytearray(encode(small.images["train"][0], "JPEG"))
    assert cifar.decode([bytes(picture)]).shape == (1, 3, 32, 32)
    frame = picture.index(b"\xff\xc0")
    picture[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    with pytest.raises(cifar.DataError, match=r"of size \(65500, 65500\), not 32 x 32"):
        cifar.decode([bytes(picture)])
    with pytest.raises(cifar.DataError, match="neither PNG nor JPEG"):
        cifar.decode([encode(small.images["train"][0], "GIF")])


# --- no copy --------------------------------------------------------------------------------


def test_no_copy(small):
    assert cifar.find("cifar10") is None
    with pytest.raises(FileNotFoundError, match="does not exist.*vit_teach.data cifar10"):
        data.load("cifar10")
    small.root.mkdir()
    with pytest.raises(FileNotFoundError, match="no CIFAR-10.*or set VIT_TEACH_DATA"):
        data.load("cifar10")


def test_one_split_only(small):
    (small.write_parquet(small.root / "cifar10") / "test-00000-of-00001.parquet").unlink()
    assert len(data.load("cifar10", "train")) == 50
    with pytest.raises(FileNotFoundError, match=r"no CIFAR-10 \(test\)"):
        data.load("cifar10", "test")


def test_half_downloaded(small):
    part = small.root / "cifar10" / "cifar-10-python.tar.gz.12ab.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"1234")
    with pytest.raises(FileNotFoundError, match="half downloaded.*goes on from there") as error:
        data.load("cifar10")
    assert str(part) in str(error.value) and part.read_bytes() == b"1234"


def test_incomplete_official_folder(small):
    folder = small.write_folder(small.root)
    (folder / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="incomplete: it lacks data_batch_3"):
        data.load("cifar10")
    assert len(data.load("cifar10", "test")) == 20


def test_pyarrow_is_asked_for_by_name(small, monkeypatch):
    small.write_parquet(small.root / "cifar10")
    true_import = builtins.__import__

    def no_pyarrow(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return true_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_pyarrow)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        data.load("cifar10")


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """with elsewhere(): no copy of CIFAR is to be found."""

    @contextlib.contextmanager
    def nowhere():
        with monkeypatch.context() as patch:
            patch.delenv("VIT_TEACH_DATA")
            patch.setattr(cifar, "ROOT", tmp_path / "site-packages")
            (tmp_path / "empty").mkdir()
            patch.chdir(tmp_path / "empty")
            yield

    return nowhere


def test_load_or_shapes_says_which(small, capsys, elsewhere):
    with elsewhere():
        stand_in = data.load_or_shapes("cifar10", "test")
    line = capsys.readouterr().out
    assert line.count("\n") == 2 and "built-in shape" in line and "no CIFAR-10" in line
    assert stand_in.split == "test" and len(stand_in) == 2000
    file = small.write_archive(small.root)
    assert data.load_or_shapes("cifar10", "test").source == "CIFAR-10"
    assert capsys.readouterr().out == "Data: CIFAR-10, test, 20 images.\n"
    file.write_bytes(b"damaged")
    with pytest.raises(cifar.DataError):
        data.load_or_shapes("cifar10", "test")


def test_load_or_digits_says_which(small, capsys, elsewhere):
    with elsewhere():
        digits = data.load_or_digits("cifar10", "test")
    line = capsys.readouterr().out
    assert "handwritten digits" in line and "no CIFAR-10" in line
    assert digits.split == "test" and len(digits) == 297
    small.write_archive(small.root)
    assert data.load_or_digits("cifar10", "test").source == "CIFAR-10"


def test_the_digits_are_those_of_scikit_learn_grown_to_32_pixels():
    from sklearn.datasets import load_digits

    parts = [data.digits("train"), data.load("digits", "test")]
    assert [len(part) for part in parts] == [1500, 297]
    grey = torch.cat([part.images for part in parts])  # (1797, 3, 32, 32)
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    # Each 4 x 4 block averages to about its old pixel; sorted, since the split changes the order.
    small = torch.nn.functional.avg_pool2d(grey[:, 0].float(), 4).flatten(1).mean(dim=1)  # (N,)
    old = torch.from_numpy(load_digits().images).flatten(1).mean(dim=1) * 255 / 16
    torch.testing.assert_close(small.sort().values, old.sort().values.float(), rtol=0, atol=4)
    labels = torch.cat([part.labels for part in parts])
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert parts[1].labels.bincount().min() >= 28  # each digit in proportion
    again = data.digits("train")
    assert again.fingerprint() == parts[0].fingerprint() == "1347ddcfff83f0ce"


def test_no_digit_is_in_both_parts():
    keys = [{image.numpy().tobytes() for image in data.digits(s).images} for s in ("train", "test")]
    assert not keys[0] & keys[1]


def test_digits_refuse_another_split():
    with pytest.raises(ValueError, match="split='holiday' must be one of train, test"):
        data.digits("holiday")


def test_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path))
    assert data.data_folder() == tmp_path
    monkeypatch.delenv("VIT_TEACH_DATA")
    assert str(data.data_folder()) == os.path.join(ROOT, "data")  # this is a checkout
    monkeypatch.setattr(cifar, "ROOT", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert data.data_folder() == tmp_path / "data"


# --- the cache ------------------------------------------------------------------------------


@pytest.fixture
def cached(small, monkeypatch):
    """A copy that has been loaded once; `small.reads` counts the readings of the source."""
    small.write_parquet(small.root / "cifar10")
    small.reads, read_files = 0, cifar.read_files

    def counting(*arguments):
        small.reads += 1
        return read_files(*arguments)

    monkeypatch.setattr(cifar, "read_files", counting)
    data.load("cifar10")
    small.cache = small.root / "cifar10" / "decoded" / "cifar10-train.npz"
    return small


def test_the_second_load_reads_only_the_cache(cached):
    images = data.load("cifar10")
    np.testing.assert_array_equal(images.images, cached.images["train"])
    assert cached.reads == 1 and images.source == "CIFAR-10"
    assert os.listdir(cached.cache.parent) == [cached.cache.name]  # nothing temporary is left
    images.images[0] = 0  # a reader may write on the copy in memory
    np.testing.assert_array_equal(data.load("cifar10").images, cached.images["train"])


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text"])
def test_a_damaged_cache_is_rebuilt(cached, damage):
    good = cached.cache.read_bytes()
    middle = len(good) // 2
    cached.cache.write_bytes(
        {
            "flip": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
            "cut": good[:middle],
            "empty": b"",
            "text": b"no cache",
        }[damage]
    )
    np.testing.assert_array_equal(data.load("cifar10").images, cached.images["train"])
    assert cached.reads == 2
    data.load("cifar10")
    assert cached.reads == 2


@pytest.mark.parametrize("change", [
    {"labels": np.arange(50) % 10 + 99}, {"labels": np.zeros(50, np.int64)},
    {"labels": np.arange(20) % 10}, {"images": np.zeros((5, 3, 32, 32), np.uint8)},
    {"images": np.zeros((50, 3, 32, 32), np.float32)}, {"about": np.array("[]")},
    {"about": np.array("null")}, {"about": np.array("[" * 100_000)}, {"about": None},
])  # fmt: skip
def test_a_well_formed_cache_of_something_else_is_rebuilt(cached, change):
    with np.load(cached.cache) as stored:
        content = {**stored, **change}
    with open(cached.cache, "wb") as file:
        np.savez(file, **{name: array for name, array in content.items() if array is not None})
    again = data.load("cifar10")
    np.testing.assert_array_equal(again.images, cached.images["train"])
    np.testing.assert_array_equal(again.labels, cached.labels["train"])
    assert cached.reads == 2


def test_a_user_without_a_home_has_no_cache(small, monkeypatch):
    small.write_parquet(small.root / "cifar10").chmod(0o555)
    monkeypatch.delenv("XDG_CACHE_HOME")

    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cifar.Path, "home", no_home)
    try:
        assert len(data.load("cifar10")) == 50
    finally:
        (small.root / "cifar10").chmod(0o755)


def test_a_changed_source_is_read_again(cached):
    file = cached.root / "cifar10" / "train-00000-of-00001.parquet"
    write_parquet_file(file, cached.images["train"][::-1], cached.labels["train"][::-1])
    os.utime(file, (1, 1))
    images = data.load("cifar10")
    np.testing.assert_array_equal(images.images, cached.images["train"][::-1])
    assert cached.reads == 2


def test_a_read_only_copy_is_cached_in_the_home_of_the_user(small, tmp_path):
    folder = small.write_parquet(small.root / "cifar10")
    folder.chmod(0o555)
    try:
        data.load("cifar10")
        assert sorted(os.listdir(folder)) == [
            "test-00000-of-00001.parquet",
            "train-00000-of-00001.parquet",
        ]
        (cache,) = (tmp_path / "user-cache" / "vit_teach").iterdir()
        assert cache.name.startswith("cifar10-train-")
    finally:
        folder.chmod(0o755)


def test_no_place_for_a_cache_is_no_error(small, tmp_path, monkeypatch):
    small.write_parquet(small.root / "cifar10").chmod(0o555)
    (tmp_path / "user-cache").write_text("a file where the folder should be")
    try:
        assert len(data.load("cifar10")) == 50
    finally:
        (small.root / "cifar10").chmod(0o755)


# --- the true CIFAR-10 ----------------------------------------------------------------------


@pytest.mark.cifar10
def test_real_cifar10():
    train, test = data.load("cifar10", "train"), data.load("cifar10", "test")
    assert train.images.shape == (50_000, 3, 32, 32) and test.images.shape == (10_000, 3, 32, 32)
    assert train.source.startswith("CIFAR-10") and train.classes[3] == "cat"
    rest, held = train.hold_out(5000)
    assert held.labels.bincount().tolist() == [500] * 10 and len(rest) == 45_000
    assert rest.subset(500).labels.bincount().tolist() == [50] * 10
    colours = data.normalise(test.images[:2000])
    assert colours.mean().abs() < 0.1 and abs(colours.std() - 1) < 0.1


@pytest.mark.cifar10
def test_real_cifar10_from_the_cache_is_quick():
    data.load("cifar10", "train"), data.load("cifar10", "test")
    seconds = []
    for _ in range(3):
        start = time.process_time()
        data.load("cifar10", "train"), data.load("cifar10", "test")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


# --- your own pictures ----------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """Two classes, "blue" and "red", of two-coloured pictures in several formats."""
    root = tmp_path / "mine"
    for name in ("red", "blue"):
        (root / name).mkdir(parents=True)
        Image.new("RGB", (60, 40), name).save(root / name / "a.png")
    return root


def test_folder_reads_classes_in_order(own):
    (own / "red" / "notes.txt").write_text("not a picture")
    (own / "red" / ".hidden.png").write_text("neither")
    (own / ".git").mkdir()
    for number, suffix in enumerate(["jpg", "bmp", "gif", "webp", "tiff"]):
        Image.new("RGB", (9 + number, 30), "red").save(own / "red" / f"{number}.{suffix}")
    images = data.folder(own, size=(16, 24))
    assert images.classes == ("blue", "red") and images.source == "folder mine"
    assert images.images.shape == (7, 3, 16, 24)
    assert images.labels.tolist() == [0, 1, 1, 1, 1, 1, 1]
    red = images.images[1:].float()
    assert (red[:, 0] > 245).all() and (red[:, 1:] < 10).all()


def test_folder_kinds_of_pictures(own):
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))  # see-through: white
    half.paste((0, 0, 255, 255), (0, 0, 4, 8))
    half.save(own / "blue" / "rgba.png")
    half.convert("P").save(own / "blue" / "palette.png")
    Image.new("L", (8, 8), 100).save(own / "blue" / "grey.png")
    Image.fromarray(np.full((8, 8), 100 * 256 + 7, np.uint16)).save(own / "blue" / "grey16.png")
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(own / "blue" / "cmyk.jpg")
    images = data.folder(own, size=8).images
    by_name = dict(zip(["a", "cmyk", "grey", "grey16", "palette", "rgba"], images, strict=False))
    assert by_name["cmyk"].min() > 250
    assert (by_name["grey"] == 100).all() and (by_name["grey16"] == 100).all()
    assert by_name["rgba"][:, 0, 0].tolist() == [0, 0, 255]
    assert by_name["rgba"][:, 0, 7].tolist() == [255, 255, 255]
    assert by_name["palette"].shape == (3, 8, 8)


def test_folder_turns_and_crops(own):
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (0, 0, 40, 10))  # upper half blue
    exif = picture.getexif()
    exif[0x0112] = 3  # the camera was held upside down
    picture.save(own / "blue" / "turned.png", exif=exif)
    image = data.folder(own, size=10).images[1]
    assert image[:, 1, 5].tolist() == [255, 0, 0] and image[:, 8, 5].tolist() == [0, 0, 255]
    stripes = Image.new("RGB", (90, 30), "white")
    stripes.paste("black", (30, 0, 60, 30))
    stripes.save(own / "blue" / "centre.png")
    assert data.folder(own, size=10).images[1].max() < 30  # only the black centre is left


def test_folder_resizes_without_aliasing(own):
    fine = np.indices((256, 256)).sum(0) % 2 * 255
    Image.fromarray(fine.astype(np.uint8)).save(own / "blue" / "fine.png")
    image = data.folder(own, size=16).images[1].float()
    assert (image - 127.5).abs().max() < 8


def test_folder_names_what_is_wrong(own, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        data.folder(tmp_path / "nowhere")
    with pytest.raises(data.DataError, match="has no sub-folders"):
        data.folder(own / "red")
    with pytest.raises(ValueError, match="size=.0, 0. must be at least 1"):
        data.folder(own, size=0)
    cut = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(cut, "PNG")
    (own / "red" / "cut.png").write_bytes(cut.getvalue()[:300])
    (own / "red" / "text.jpg").write_text("no picture")
    with pytest.raises(data.DataError, match="cut.png.*text.jpg.*repair or remove"):
        data.folder(own)
    (own / "empty").mkdir()
    with pytest.raises(data.DataError, match="empty holds no picture"):
        data.folder(own)


# --- the photograph, and what an import costs -----------------------------------------------


@settings(max_examples=5, deadline=None)
@given(height=st.integers(8, 64), width=st.integers(8, 64))
def test_photograph(height, width):
    image = data.photograph((height, width))
    assert image.dtype == torch.uint8 and image.shape == (3, height, width)
    assert image.float().std() > 20


def test_photograph_as_it_is():
    assert data.photograph().shape == (3, 600, 512)
    assert data.photograph(32).shape == (3, 32, 32)


def test_import_is_light():
    code = (
        "import sys, vit_teach.data; "
        "print([m for m in ('pyarrow', 'PIL', 'matplotlib', 'torchvision') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


# --- damaged pictures -------------------------------------------------------------------------


def test_one_flipped_bit_of_a_png_is_an_error_and_never_a_crash(small):
    """The fast decoder ends the process on some of these; so checksums are compared before it."""
    pixels = small.images["train"][0].transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    whole = file.getvalue()
    assert np.array_equal(cifar.decode([whole])[0], small.images["train"][0])
    drawn = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[drawn.randrange(len(damaged))] ^= 1 << drawn.randrange(8)
        with pytest.raises(cifar.DataError, match="picture 0 cannot be decoded"):
            cifar.decode([bytes(damaged)])


def test_a_png_with_two_headers_or_none_in_front_is_damaged():
    """Each part has its right checksum, but the parts are not those of one picture."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    start, header, rest = file.getvalue()[:8], file.getvalue()[8:33], file.getvalue()[33:]
    assert cifar.check_png(start + header + rest) == (32, 32)
    for parts in (start + header + header + rest, start + rest):
        with pytest.raises(ValueError, match="the PNG file is damaged"):
            cifar.check_png(parts)


def test_a_png_of_another_size_or_cut_off_is_named():
    file = io.BytesIO()
    Image.new("RGB", (48, 32)).save(file, "PNG")
    for picture, reason in ((file.getvalue(), "of size"), (file.getvalue()[:60], "damaged")):
        with pytest.raises(cifar.DataError, match=reason):
            cifar.decode([picture])
