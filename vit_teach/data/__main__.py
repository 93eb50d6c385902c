"""The command line of :mod:`vit_teach.data`: fetch CIFAR-10 or CIFAR-100 and check it.

Chapter 8.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import cifar, download


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code.

    >>> main(["--help"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    parser = argparse.ArgumentParser(
        prog="python -m vit_teach.data",
        description="Fetch CIFAR-10 or CIFAR-100 (about 170 MB each), check it, and keep it.",
    )
    parser.add_argument("name", nargs="?", default="cifar10", choices=list(download.SOURCES))
    parser.add_argument(
        "--folder",
        type=Path,
        help="the data folder (default: what VIT_TEACH_DATA names, else data/)",
    )
    parser.add_argument(
        "--mirror",
        action="append",
        metavar="URL",
        help="fetch from here instead (an official .tar.gz, or a folder of parquet files); "
        "may be given several times; default: VIT_TEACH_MIRROR if set",
    )
    options = parser.parse_args(arguments)
    mirrors = options.mirror or os.environ.get("VIT_TEACH_MIRROR", "").split()
    try:
        place = download.download(options.name, options.folder, mirrors)
        for split in cifar.PUBLISHED[options.name].counts:  # also fills the cache
            *_, source = cifar.read(options.name, split, options.folder)
    except KeyboardInterrupt:
        print("\nStopped. What has arrived is kept; the same command goes on from there.")
        return 130
    except (ValueError, download.DownloadError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{source} is ready: {place}")
    folder = (options.folder or cifar.data_folder()).resolve()
    if folder != cifar.data_folder().resolve():
        print(f"To use it, set VIT_TEACH_DATA={folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
