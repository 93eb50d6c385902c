"""Does a ViT need augmentation? None, little and much of it, at three budgets.

``python -m vit_teach.experiments run augmentation`` takes about 6.5 core hours for the first 32 of
its cells. The page "Does a ViT need augmentation?" reads it.
"""

from typing import Any

from .lab.cells import MODELS, QUICK_MODELS, Cell, Experiment, cell

NAMES = ("vit", "cnn", "hybrid")
POLICIES = ("none", "basic", "strong+mix")
# Passes over the 45,000 images, and the seeds that the budget allows.
BUDGETS = {2: (0, 1), 10: (0, 1), 30: (0,)}


def cells(quick: bool) -> list[Cell]:
    """Models x policies x epochs on all images; validation chooses which evaluation to keep.

    Ten epochs with and without strong augmentation are trainings of the experiment data_size too.
    The last cells of seed 0 are controls. At its rate the CNN's longest run was unsteady, so one
    control repeats it at half of that rate. The others train the filters of the CNN and of the
    hybrid with Muon as well; there the CNN's long run has a quarter of the rate that the short
    sweep chose, because ten epochs at the whole rate were unsteady.

    >>> cells(quick=False)[0].name
    'vit-none-2-s0'
    """
    if quick:
        return [
            cell(name, 500 * epochs, models=QUICK_MODELS, n=500, augment=policy, data="any",
                 labels={"augment": policy, "epochs": epochs}, tuned=False)
            for epochs in (2, 12)
            for policy in ("none", "strong+mix")
            for name in ("vit", "cnn")
        ]  # fmt: skip
    varied = [
        cell(name, 45_000 * epochs, models=MODELS, augment=policy, seed=seed, n=45_000, keep="best",
             labels={"augment": policy, "epochs": epochs})
        for seed in (0, 1)
        for epochs, seeds in BUDGETS.items()
        if seed in seeds
        for policy in POLICIES
        for name in NAMES
    ]  # fmt: skip
    controls = [
        _control("cnn-half", "cnn", 30, tuned="cnn", rate_factor=0.5, optimizer="adamw"),
        _control("cnn-muon", "cnn", 10, optimizer="muon-conv"),
        _control("hybrid-muon", "hybrid", 10, optimizer="muon-conv"),
        _control("cnn-muon-quarter", "cnn", 30, tuned="cnn-muon", rate_factor=0.25,
                 optimizer="muon-conv"),
        _control("hybrid-muon", "hybrid", 30, optimizer="muon-conv"),
        _control("cnn-filters", "cnn", 10, tuned="cnn-filters", optimizer="muon-conv"),
    ]  # fmt: skip
    return sorted([*varied, *controls], key=lambda cell: cell.seed)


def _control(name: str, model: str, epochs: int, **options: Any) -> Cell:
    """A run with crop and flip that differs from the run of ``model`` above in ``options``."""
    return cell(
        name, 45_000 * epochs, models={name: MODELS[model]}, n=45_000, keep="best",
        labels={"augment": "basic", "epochs": epochs}, **options,
    )  # fmt: skip


EXPERIMENT = Experiment("augmentation", "Does the best augmentation change with the budget?", cells)
