"""Made-up result cards of declared cells, for tests of what the chapters show of them."""

from vit_teach import results
from vit_teach.experiments import find


def made_up(cell, experiment, accuracy, **measured):
    """A complete card of a declared cell with this test accuracy, and with what was measured."""
    return results.new_card(
        experiment,
        cell.name,
        seed=cell.seed,
        selection="made up for a test",
        config=cell.settings(),
        data={
            "source": "made up", "split": "train", "n": cell.n or 45_000, "fingerprint": "0000",
        },
        train={
            "steps": cell.train.steps if hasattr(cell, "train") else 0,  # a measurement has none
            "epochs": 2.0, "wall_s": 360.0, "precision": "float32",
            "threads": 1, "command": f"python -m vit_teach.experiments cell {experiment} x",
        },
        cost={"params": 1, "macs": 1, "train_flops": 1.0},
        curves={"epoch": [1.0, 2.0], "val_accuracy": [accuracy / 2, accuracy]},
        metrics={
            "val_accuracy": accuracy, "val_loss": 1.0, "train_accuracy": accuracy,
            "test_accuracy": accuracy, "test_loss": 1.0, **measured,
        },
    )  # fmt: skip


def made_up_cards(name, accuracy, quick=False, keep=lambda cell: True):
    """Cards of an experiment's cells; ``accuracy(labels, seed)`` gives each its number."""
    cells = [cell for cell in find(name).cells(quick) if keep(cell)]
    return [made_up(cell, name, accuracy(cell.labels, cell.seed)) for cell in cells]
