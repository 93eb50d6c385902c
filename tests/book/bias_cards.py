"""Made-up cards of the experiments on inductive bias, for chapter 10 and its lab."""

import chapters
import matplotlib.pyplot as plt
import pytest
from card_tools import made_up

import vit_teach as vt

HEIGHTS = {"vit": 0.6, "vit-no-positions": 0.5, "hybrid": 0.65, "cnn": 0.7}
LOSSES = {"none": 0.0, "patches": 0.1, "pixels": 0.2}


def card_of(experiment, cell):
    """Made up: the CNN loses 10 points by shuffled patches, the ViTs nothing; 1 point a pixel."""
    model, seed = cell.labels["model"], cell.seed / 1000
    if experiment == "shuffle":
        kind = cell.labels["permutation"]
        lost = 0.0 if kind == "patches" and model.startswith("vit") else LOSSES[kind]
        found = HEIGHTS[model] - lost + seed
        if kind != "none":
            return made_up(cell, experiment, found)
        jigsaw = found - (0.0 if model == "vit-no-positions" else 0.3)
        measured = {"tested_patches_accuracy": jigsaw, "tested_pixels_accuracy": 0.1}
        return made_up(cell, experiment, found, **measured, **moves(found, 0.01))
    if experiment == "shift":
        if cell.labels["world"] == "cifar10":
            return made_up(cell, experiment, 0.5, **moves(0.5, 0.02))
        corners = {f"corner_{key}_accuracy": 0.4 for key in ("tl", "tr", "bl", "br")}
        return made_up(cell, experiment, 0.4, **corners)
    return made_up(cell, experiment, 0.5 + seed)


def moves(height, each):
    return {f"shift_{pixels}_accuracy": height - each * pixels for pixels in range(9)}


def recorded_part(name, variables, keep, marks):
    """Run the cells that hold one of ``marks`` on recorded cards, drawings included.

    ``keep(cell)`` says which cells of the experiments are recorded. Returns the variables.
    """
    with pytest.MonkeyPatch.context() as patch:

        def so_far(experiment):
            cells = [cell for cell in vt.experiments.find(experiment).cells(False) if keep(cell)]
            return [card_of(experiment, cell) for cell in cells]

        patch.setattr(vt.experiments, "so_far", so_far)
        variables = dict(variables)
        for cell in chapters.code_cells(name):
            if cell.id.startswith("10-recorded-") or any(mark in cell.source for mark in marks):
                exec(compile(cell.source, f"{name}: {cell.id}", "exec"), variables)
    plt.close("all")
    return variables
