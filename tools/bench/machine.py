"""What a measured speed depends on: the processor, its units, the versions, the load."""

import importlib.metadata
import os
import platform
import re
from typing import Any

import torch

import vit_teach as vt
from vit_teach.results.cards import cpu_name

LIBRARIES = ("torch", "torchvision", "timm", "transformers", "vit-pytorch", "numpy")
PROBES = {"AVX-512 BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}


def describe(load: tuple[float, float, float] | None = None) -> dict[str, Any]:
    """This machine; ``load`` is the load average before the measurement began.

    Under "load" stand its means over 1, 5 and 15 minutes: on a quiet machine the first is well
    below 1, for the measurement itself had not begun.
    """
    units = [name for name, probe in PROBES.items() if getattr(torch.cpu, probe, bool)()]
    load = os.getloadavg() if load is None else load
    return {
        "processor": cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "matrix_units": units,  # of the processor, for bfloat16
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(value, 2) for value in load],
    }


def versions() -> dict[str, str]:
    """The versions of Python, of this package and of the libraries that are installed."""
    found = {"python": platform.python_version(), "vit_teach": vt.__version__}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def same_kind(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether speeds of two machines may be compared: same processor, cores, units and GPU."""
    keys = ("processor", "cores", "threads", "matrix_units", "gpu", "system")
    return all(one[key] == other[key] for key in keys)


def without_paths(line: str) -> str:
    """A command line with the folders of this machine left out."""
    return re.sub(r"(?<![\w.])/\S*/", "", line)
