"""Stopping a run and going on: the checkpoint file, and Ctrl-C. Chapter 8."""

import pickle
import signal
import threading
from dataclasses import asdict

import torch

from ..paths import written_whole
from .config import TrainConfig

# Settings that may change when a stopped run goes on: they move the work, not its outcome (but for
# rounding: sums are taken in another order).
WHERE_IT_RUNS = ("device", "threads", "compile")

SAVE_SECONDS = 30  # how often a run writes its checkpoint


class StopRequest:
    """Turns a first Ctrl-C into a request to stop after the step at hand; a second is immediate.

    >>> with StopRequest() as stop:
    ...     stop.requested
    False
    """

    def __enter__(self):
        self.requested = False
        self.handled = threading.current_thread() is threading.main_thread()
        if self.handled:
            self.previous = signal.signal(signal.SIGINT, self.request)
        return self

    def request(self, *_):
        """Remember the request, and let the next Ctrl-C through."""
        self.requested = True
        signal.signal(signal.SIGINT, self.previous)

    def __exit__(self, *_):
        if self.handled:
            signal.signal(signal.SIGINT, self.previous)


def write_checkpoint(path, trainer, fingerprint, config):
    """Save a run's state to ``path``; the file is complete or the old one stays.

    ``fingerprint`` is that of the training images, ``config`` the settings as they were given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "trainer": trainer.state_dict(),
        "config": asdict(config),
        "data": fingerprint,
    }
    with written_whole(path) as temporary:
        torch.save(state, temporary)


def read_checkpoint(path, fingerprint, config):
    """The state saved at ``path``, or None if there is no such file.

    Only tensors and plain values are read; a file with code in it is refused. Raises
    ``ValueError`` if the state belongs to a run with other settings or other data.

    >>> from pathlib import Path
    >>> read_checkpoint(Path("no-such-file.pt"), None, None)
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        settings = state["config"]
    except (RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
        message = f"{path} is damaged or not a checkpoint: delete it to start anew"
        raise ValueError(message) from error
    for name, value in asdict(config).items():
        if name not in WHERE_IT_RUNS and settings.get(name) != value:
            raise ValueError(
                f"{path} holds a run with {name}={settings.get(name)!r}, not {value!r}: "
                "use the same settings to go on, or another folder to start anew"
            )
    if state["data"] != fingerprint:
        raise ValueError(f"{path} holds a run on other training images: use another folder")
    return state


def _with_steps(config, steps):
    """The same settings with the length as a number of steps."""
    return TrainConfig(**{**asdict(config), "steps": steps, "epochs": None, "minutes": None})
