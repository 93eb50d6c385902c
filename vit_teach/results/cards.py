"""Result cards: one JSON file per recorded run, which pages, plots and prose read.

Chapters 7 to 15. A card says what was run, on what data, at what cost, and what came out;
card.schema.json beside this file lists its keys. A number in the book is never typed by hand: it is
read from a card.
"""

from __future__ import annotations

import copy
import json
import math
import platform
import re
import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..arguments import explained, require_type
from ..paths import RESULTS, ROOT, as_path, written_whole

if TYPE_CHECKING:
    from ..data.imageset import ImageSet


SCHEMA = json.loads(Path(__file__).with_name("card.schema.json").read_text(encoding="utf-8"))

# A path that starts at the root, a home folder or a drive means nothing on another machine.
_MACHINE_PATH = re.compile(r"""(^|[\s=:,"'(\[])(/\w|~/|[A-Za-z]:[\\/]|\\\\\w)|file:/""")


# --- Making a card --------------------------------------------------------------------------------


@explained
def new_card(
    experiment: str,
    cell: str,
    *,
    seed: int,
    selection: str,
    config: dict[str, Any],
    data: dict[str, Any],
    train: dict[str, Any],
    cost: dict[str, Any],
    metrics: dict[str, Any],
    curves: dict[str, Any] | None = None,
    status: str = "complete",
    note: str | None = None,
) -> dict[str, Any]:
    """Put a card together, with this machine under "env", and check it.

    The arguments are the card's keys (SCHEMA describes each one). Raises ValueError for a card
    that does not follow the schema.

    >>> card = new_card(
    ...     "demo", "tiny", seed=0, selection="last step; test set unused", config={"depth": 2},
    ...     data={"source": "shapes", "split": "train", "n": 100, "fingerprint": "ab12"},
    ...     train={"steps": 10, "epochs": 1.0, "wall_s": 2.5, "precision": "float32", "threads": 1,
    ...            "command": portable_command("vit_teach.train", ["--seed", "0"])},
    ...     cost={"params": 500, "macs": 4000, "train_flops": 2.4e6},
    ...     metrics={"val_accuracy": 0.5},
    ... )
    >>> card["train"]["command"], sorted(card["env"])
    ('python -m vit_teach.train --seed 0', [...'torch'])
    """
    card = {
        "experiment": experiment,
        "cell": cell,
        "status": status,
        "selection": selection,
        "config": config,
        "seed": seed,
        "data": data,
        "train": train,
        "cost": cost,
        "env": environment(),
        "curves": curves or {},
        "metrics": metrics,
    }
    if note is not None:
        card["note"] = note
    card = _lists_for_tuples(card)
    validate(card)
    return card


@explained
def data_entry(image_set: ImageSet) -> dict[str, Any]:
    """The "data" part of a card for the ImageSet that was trained on.

    >>> from vit_teach.data import ImageSet
    >>> images, labels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])
    >>> entry = data_entry(ImageSet(images, labels, ("cat", "dog"), "two blank images", "train"))
    >>> entry["source"], entry["split"], entry["n"], len(entry["fingerprint"]) > 0
    ('two blank images', 'train', 2, True)
    """
    return {
        "source": image_set.source,
        "split": image_set.split,
        "n": len(image_set),
        "fingerprint": image_set.fingerprint(),
    }


def environment() -> dict[str, Any]:
    """What a number may depend on: torch, processor, Python, threads, and the code that ran.

    >>> sorted(set(environment()) - {"commit", "changed"})  # those two only in a checkout
    ['cpu', 'package', 'python', 'threads', 'torch']
    """
    return {
        "torch": str(torch.__version__),
        "cpu": cpu_name(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "package": package_version(),
        **code_version(),
    }


def package_version() -> str:
    """The version of this package.

    >>> package_version().count(".")
    2
    """
    from .. import __version__

    return __version__


@cache
def code_version() -> dict[str, Any]:
    """The commit of the checkout that the package lies in, and whether its code was changed since.

    Empty where there is no checkout or no git.

    >>> set(code_version()) <= {"commit", "changed"}
    True
    """
    if not (ROOT / ".git").exists():
        return {}
    asked = ["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "vit_teach"]
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit.stdout.strip(), "changed": bool(changes.stdout.strip())}


def cpu_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The processor's model name; where the system does not say, its architecture.

    >>> len(cpu_name()) > 0
    True
    """
    try:
        text = Path(cpuinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    found = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    if found:
        return found.group(1).strip()
    return platform.processor() or platform.machine() or "unknown"


def without_machine_paths(text: str) -> str:
    """A message in which the paths of this machine keep their last part only.

    >>> without_machine_paths("cannot read '/data/cifar/train.parquet': damaged")
    "cannot read 'train.parquet': damaged"
    """
    text = text.replace(str(ROOT), "the repository")
    return re.sub(r"(file:/+|~/|/|[A-Za-z]:[\\/]|\\\\)[^\s'\":,]*[\\/](?=[^\s\\/])", "", text)


def portable_command(module: str, arguments: list[str]) -> str:
    """The command line to record: what to type from the root of the repository.

    module such as "vit_teach.train"; arguments as in sys.argv[1:]. A path under the current folder
    becomes relative to it; any other absolute path keeps only its last part.

    >>> portable_command("vit_teach.train", ["--preset", "CIFAR-ViT-Tiny", "--out=/tmp/runs/x"])
    'python -m vit_teach.train --preset CIFAR-ViT-Tiny --out=x'
    """
    require_type("module", module, str, "the name of a module")
    if not isinstance(arguments, list) or not all(isinstance(a, str) for a in arguments):
        raise ValueError(f"arguments={arguments!r} must be a list of texts")
    return shlex.join(["python", "-m", module, *map(_without_machine_path, arguments)])


def _without_machine_path(argument: str) -> str:
    name, equals, value = argument.rpartition("=")
    path = Path(value).expanduser()
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    short = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name
    return f"{name}{equals}{short}"


# --- Checking, writing, reading -------------------------------------------------------------------


def validate(card: dict[str, Any]) -> None:
    """Check a card against SCHEMA; also no NaN, no infinity and no machine path anywhere.

    Raises ValueError that names the key and what is wrong with it.

    >>> validate({"experiment": "demo"})
    Traceback (most recent call last):
    ValueError: card: must contain ['cell', ...] properties
    """
    _check_values(card, "")
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator()(card)
    except JsonSchemaValueException as error:
        name = error.name or ""
        where = name.partition(".")[2] or "card"  # the checker calls the card "data"
        value = "" if isinstance(error.value, dict) else f"{error.value!r} "
        wrong = error.message.removeprefix(name).strip()
        raise ValueError(f"{where}: {value}{wrong}") from None


@cache
def _validator() -> Callable[[dict[str, Any]], object]:
    # Imported here: reading a schema is needed only by those who write or read cards.
    import fastjsonschema

    return fastjsonschema.compile(SCHEMA, use_default=False)


def _check_values(value: Any, where: str) -> None:
    """Walk through a card and refuse what JSON cannot hold or another machine cannot use."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where or 'card'}: key {key!r} must be a string")
            _check_values(item, f"{where}.{key}" if where else key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_values(item, f"{where}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} must be a finite number, or None if unknown")
    elif isinstance(value, str):
        if _MACHINE_PATH.search(value):
            raise ValueError(f"{where}: {value!r} must not hold a path of this machine")
    elif not (value is None or isinstance(value, (bool, int))):
        raise ValueError(f"{where}: {value!r} is a {type(value).__name__}; it must be plain JSON")


def write_card(card: dict[str, Any], path: str | Path) -> Path:
    """Check a card and write it, whole or not at all; an old card at path is replaced.

    The same card gives the same bytes: the schema's keys stand in the schema's order, all others
    sorted. Missing folders are made. Returns the path. Raises ValueError for an invalid card, and
    then writes nothing.

    >>> write_card({"experiment": "demo", "cell": "a", "loss": float("nan")}, "demo.json")
    Traceback (most recent call last):
    ValueError: loss: nan must be a finite number, or None if unknown
    """
    path = as_path(path, "path")
    card = _in_order(_lists_for_tuples(card), SCHEMA)
    validate(card)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        temporary.write_text(_dump(card) + "\n", encoding="utf-8")
    return path


def _lists_for_tuples(value: Any) -> Any:
    """The card as JSON will give it back."""
    if isinstance(value, dict):
        return {key: _lists_for_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists_for_tuples(item) for item in value]
    return value


def _in_order(value: Any, schema: dict[str, Any]) -> Any:
    """Dictionaries with the schema's keys first, in its order, then the others sorted."""
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    keys = [key for key in known if key in value]
    keys += sorted((key for key in value if key not in known), key=str)
    return {key: _in_order(value[key], known.get(key, {})) for key in keys}


def _dump(value: Any, indent: str = "") -> str:
    """JSON with a line per key, and each list on one line: curves stay short to scroll past."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, allow_nan=False, ensure_ascii=False)
    deeper = indent + "  "
    lines = (f"{deeper}{json.dumps(key)}: {_dump(item, deeper)}" for key, item in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def read_cards(folder: str | Path, experiment: str | None = None) -> list[dict[str, Any]]:
    """Every card under a folder, in order of file name; experiment keeps only that one's.

    Raises FileNotFoundError for a missing folder, and ValueError that names the file for one that
    is not a valid card.

    >>> read_cards("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: folder='no/such/folder' does not exist, so it holds no cards
    """
    folder = as_path(folder, "folder")
    if not folder.is_dir():
        raise FileNotFoundError(f"folder={str(folder)!r} does not exist, so it holds no cards")
    cards = [read_card(path) for path in sorted(folder.rglob("*.json"))]
    return [card for card in cards if experiment in (None, card["experiment"])]


def recorded(experiment: str) -> list[dict[str, Any]]:
    """The book's own cards of an experiment: those under data/results of the repository.

    Raises FileNotFoundError where the package does not lie in its repository, or the experiment
    has no cards, and ValueError for a card that lies under another's name.

    >>> {card["experiment"] for card in recorded("train")}
    {'train'}
    """
    require_type("experiment", experiment, str, "a name")
    if not re.fullmatch(r"[\w.+-]+", experiment):
        raise ValueError(f"experiment={experiment!r} must be the name of an experiment")
    if not RESULTS.is_dir():
        raise FileNotFoundError(
            f"no recorded cards in {RESULTS}: they lie in the book's repository, and this package "
            "is installed without it"
        )
    read_cards(RESULTS / experiment)  # names what is missing or not valid
    paths = sorted((RESULTS / experiment).rglob("*.json"))
    return [read_named_card(path, experiment, path.stem) for path in paths]


def read_named_card(path: str | Path, experiment: str, cell: str) -> dict[str, Any]:
    """The card of a cell. Raises ValueError if another cell's card lies under its name.

    >>> read_named_card(RESULTS / "train" / "cifar-vit-20min.json", "train", "x")
    Traceback (most recent call last):
    ValueError: ...cifar-vit-20min.json holds the card of train/cifar-vit-20min, not of train/x
    """
    card = read_card(path)
    if (card["experiment"], card["cell"]) != (experiment, cell):
        found = f"{card['experiment']}/{card['cell']}"
        raise ValueError(f"{path} holds the card of {found}, not of {experiment}/{cell}")
    return card


def read_card(path: str | Path) -> dict[str, Any]:
    """One card. Raises ValueError that names the file if it is not a valid card.

    >>> read_card("no/such/card.json")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no/such/card.json'
    """
    path = as_path(path, "path")
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} must be a file, not a folder")
    about = path.stat()
    # Pages read the same cards many times: each file is read and checked once, until it changes.
    return copy.deepcopy(_checked(str(path), about.st_mtime_ns, about.st_size))


@cache
def _checked(path: str, *_stamp: int) -> dict[str, Any]:
    try:
        card = json.loads(Path(path).read_text(encoding="utf-8"))  # broken JSON is a ValueError too
        if not isinstance(card, dict):
            raise ValueError(f"card: a {type(card).__name__} must be an object")
        validate(card)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a valid result card: {error}") from error
    return card
