"""Training: the settings, the one loop, evaluation, and the command line. Chapters 8 and 9.

``python -m vit_teach.train --help`` trains a model from the command line.
"""

from .config import KEEP, History, TrainConfig
from .device import PRECISIONS, pick_device, pick_precision
from .evaluation import evaluate
from .loop import Trainer, batch_indices, train
from .muon import FilterMuon, Muon
from .optim import OPTIMIZERS, SCHEDULES, make_optimizers, schedule, split_parameters
from .resume import StopRequest

__all__ = [
    "KEEP", "OPTIMIZERS", "PRECISIONS", "SCHEDULES", "FilterMuon", "History", "Muon",
    "StopRequest", "TrainConfig", "Trainer", "batch_indices", "evaluate", "make_optimizers",
    "pick_device", "pick_precision", "schedule", "split_parameters", "train",
]  # fmt: skip
