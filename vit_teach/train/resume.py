"""Stopping a run and going on: the checkpoint file, and Ctrl-C. Chapter 8."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from ..paths import written_whole
from .config import TrainConfig

if TYPE_CHECKING:
    from .loop import Trainer

# Settings that may change when a stopped run goes on: they move the work, not its outcome (but for
# rounding: sums are taken in another order).
WHERE_IT_RUNS = ("device", "threads", "compile")

CHECKPOINT = "checkpoint.pt"
SAVE_SECONDS = 30  # how often a run writes its checkpoint


class Diverged(ValueError):
    """A loss or a weight that is no longer a finite number: the run cannot recover.

    >>> str(Diverged(7, 0.5, "the loss is nan")).splitlines()[0]
    'the run diverged at step 7, at a learning rate of 0.5: the loss is nan.'
    """

    def __init__(self, step: int, rate: float, what: str) -> None:
        super().__init__(
            f"the run diverged at step {step}, at a learning rate of {rate:.3g}: {what}.\n"
            "Try a third of learning_rate, a longer warmup, or precision='float32'."
        )
        self.step = step


class StopRequest:
    """Turns a first Ctrl-C, or a request to end, into a stop after the step at hand.

    A second Ctrl-C is immediate. A request to end is SIGTERM, which ``kill`` sends, or SIGHUP, when
    the terminal closes; where that is ignored, as ``nohup`` asks, it stays so.

    >>> with StopRequest() as stop:
    ...     stop.requested
    False
    """

    SIGNALS = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
    )  # Windows has no SIGHUP

    def __enter__(self) -> StopRequest:
        self.requested = False
        self.handled = threading.current_thread() is threading.main_thread()
        if self.handled:
            self.previous = {
                each: signal.signal(each, self.request)
                for each in self.SIGNALS
                if each.name != "SIGHUP" or signal.getsignal(each) is not signal.SIG_IGN
            }  # nohup's wish stays
        return self

    def request(self, *_: object) -> None:
        """Remember the request, and let the next one through."""
        self.requested = True
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        if self.handled:
            for each, handler in self.previous.items():
                signal.signal(each, handler)


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep a second run out of ``folder`` (made if need be), and clear what a killed run left.

    Raises ``ValueError`` if another run is using the folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder) / "run"):
    ...     pass
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"folder={str(folder)!r} is in use by another run") from error
    try:
        for left in folder.glob(f".{CHECKPOINT}.*.tmp"):  # of a run that was killed while saving
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()
        (folder / ".lock").unlink(missing_ok=True)


def write_checkpoint(path: Path, trainer: Trainer, fingerprint: str, config: TrainConfig) -> None:
    """Save a run's state to ``path``; the file is complete or the old one stays.

    ``fingerprint`` is that of the images, ``config`` the settings as they were given. Raises
    :class:`Diverged` if a weight is not finite: the old file is worth more than such a state.
    """
    for name, weight in trainer.model.state_dict().items():
        if not weight.isfinite().all():
            raise Diverged(trainer.done, trainer.rate, f"{name} holds a number that is not finite")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "trainer": trainer.state_dict(),
        "model": described(trainer.model),
        "config": asdict(config),
        "data": fingerprint,
    }
    with written_whole(path) as temporary:
        torch.save(state, temporary)
        seal(temporary)


def seal(path: Path) -> None:
    """Write the SHA-256 of a zip file into its comment, the only part that may hold anything.

    The zip's own checksums cover its contents, but not the headers and the gaps between them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "x.pt"
    ...     torch.save({"x": 1}, path)
    ...     seal(path)
    ...     is_whole(path.read_bytes()), is_whole(path.read_bytes().replace(b"PK", b"PL"))
    (True, False)
    """
    with open(path, "r+b") as file:
        digest = hashlib.sha256(file.read()[:-2]).hexdigest().encode()
        file.seek(-2, os.SEEK_END)  # there stands the length of the comment: 0
        file.write(len(digest).to_bytes(2, "little") + digest)


def is_whole(content: bytes) -> bool:
    """Whether a sealed file is as it was sealed; a file without a seal counts as whole.

    >>> is_whole(b"a zip file of an earlier version" + bytes(2))
    True
    """
    if content[-2:] == bytes(2):
        return True
    body, length, digest = content[:-66], content[-66:-64], content[-64:]
    return length == b"\x40\x00" and hashlib.sha256(body).hexdigest().encode() == digest


def mark_diverged(path: Path, step: int) -> None:
    """Note in the checkpoint at ``path``, if there is one, that the run diverged after it.

    Such a run may go on with a lower learning rate.
    """
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        with written_whole(path) as temporary:
            torch.save({**state, "diverged": step}, temporary)
            seal(temporary)


def described(model: nn.Module) -> str:
    """What must be the same for a model to take another's state: its configuration, as text.

    >>> import vit_teach as vt
    >>> described(vt.zoo.build(vt.zoo.preset("CIFAR-ViT-Nano")))[:22]
    'ViTConfig(image_size=('
    """
    inner = getattr(model, "model", model)  # inside the part that shuffles or enlarges the images
    return repr(getattr(inner, "config", type(inner).__name__))


def read_checkpoint(
    path: Path, fingerprint: str, config: TrainConfig, model: nn.Module | None = None
) -> dict[str, Any] | None:
    """The state saved at ``path``, or None if there is no such file.

    Only tensors and plain values are read; a file with code in it is refused, and so is one that is
    damaged: its checksums are compared first, for PyTorch does not. A run that diverged may go on
    with a lower learning rate. Raises ``ValueError`` if the state belongs to a run with other
    settings, other images or another model.

    >>> read_checkpoint(Path("no-such-file.pt"), None, None)
    """
    if not path.exists():
        return None
    state = _load_checked(path)
    try:
        settings, diverged = dict(state["config"]), state.get("diverged")
        done, steps = state["trainer"]["done"], state["trainer"]["steps"]
        sound = type(done) is type(steps) is int and 0 <= done <= steps
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(_damaged(path)) from error
    if not sound:
        raise ValueError(_damaged(path))
    if diverged and config.learning_rate < settings["learning_rate"]:
        old = settings.pop("learning_rate")
        state["note"] = (
            f"the first {done} steps ran with learning_rate={old:g}, which diverged at step "
            f"{diverged}; the rest with {config.learning_rate:g}"
        )
        settings["learning_rate"] = config.learning_rate
        state["rate_factor"] = config.learning_rate / old
    for name, value in asdict(config).items():
        if name not in WHERE_IT_RUNS and settings.get(name) != value:
            raise ValueError(
                f"{path} holds a run with {name}={settings.get(name)!r}, not {value!r}: "
                "use the same settings to go on, or another folder to start anew"
            )
    if state.get("data") != fingerprint:
        raise ValueError(f"{path} holds a run on other images: use another folder")
    if model is not None and state.get("model", described(model)) != described(model):
        raise ValueError(f"{path} holds a run of another model: {state['model']}")
    return state


def _load_checked(path: Path) -> dict[str, Any]:
    """What PyTorch reads at ``path``, after a look at the checksums of its parts and its whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None or not is_whole(path.read_bytes()):
                raise ValueError(_damaged(path))
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the readers fail in many ways
        raise ValueError(_damaged(path)) from error


def _damaged(path: Path) -> str:
    return f"{path} is damaged or not a checkpoint: delete it to start anew"


def _with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The same settings with the length as a number of steps."""
    return TrainConfig(**{**asdict(config), "steps": steps, "epochs": None, "minutes": None})
