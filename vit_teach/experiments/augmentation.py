"""Does a ViT need augmentation? None, little and much of it, at three budgets."""

from .lab.cells import MODELS, QUICK_MODELS, Experiment, cell

NAMES = ("vit", "cnn", "hybrid")
POLICIES = ("none", "basic", "strong+mix")
# Passes over the 45,000 images, and the seeds that the budget allows.
BUDGETS = {2: (0, 1), 10: (0, 1), 30: (0,)}


def cells(quick):
    """Models x policies x epochs on all images; which look to keep is chosen by validation.

    Ten epochs with and without strong augmentation are trainings of the experiment data_size too.
    The last cells of seed 0 are controls: the CNN's longest run, unsteady at its rate, at half of
    it; and the CNN and the hybrid with Muon for their filters too. In its long run the CNN has a
    quarter of the rate that the short sweep chose: at that rate ten epochs were unsteady.

    >>> cells(quick=False)[0].name, len(cells(quick=False))
    ('vit-none-2-s0', 50)
    """
    if quick:
        return [
            cell(name, 500 * epochs, models=QUICK_MODELS, n=500, augment=policy, data="any",
                 labels={"augment": policy, "epochs": epochs}, tuned=False)
            for epochs in (2, 12)
            for policy in ("none", "strong+mix")
            for name in ("vit", "cnn")
        ]  # fmt: skip
    grid = [
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
    ]  # fmt: skip
    return sorted([*grid, *controls], key=lambda cell: cell.seed)


def _control(name, model, epochs, **options):
    """A run with crop and flip that differs from the grid's run of ``model`` in ``options``."""
    return cell(
        name, 45_000 * epochs, models={name: MODELS[model]}, n=45_000, keep="best",
        labels={"augment": "basic", "epochs": epochs}, **options,
    )  # fmt: skip


EXPERIMENT = Experiment("augmentation", "Does the best augmentation change with the budget?", cells)
