"""Which learning rate suits each model? Asked first, so that no model is handicapped later."""

from .grid import Experiment, cell

MODELS = ("vit", "cnn", "hybrid", "overlap", "cct", "vit-class-token")
RATES = (0.002, 0.004, 0.008, 0.016)
# By AdamW, and with a norm after each convolution, the CNN bears more: its best must not be at the
# end of the list.
MORE_RATES = {"cnn": (0.032, 0.064, 0.128)}


def cells(quick):
    """Every model at every rate, on 5,000 images, judged on the validation images alone.

    >>> cells(quick=False)[0].name, len(cells(quick=False))
    ('vit-0.002-s0', 27)
    """
    models, images = (MODELS, 102_400) if not quick else (("vit", "cnn"), 6_400)
    return [
        cell(model, images, labels={"rate": rate}, n=5000, learning_rate=rate,
             data="any" if quick else "cifar10", tuned=False, test=False, evaluations=10)
        for model in models
        for rate in RATES + MORE_RATES.get(model, ())
    ]  # fmt: skip


EXPERIMENT = Experiment("learning_rate", "Which learning rate suits each model?", cells)
