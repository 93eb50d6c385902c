"""The result card of a finished training, for the command line and for experiments. Chapter 8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import cost, results

if TYPE_CHECKING:
    from ..data.imageset import ImageSet
    from ..train.config import History
    from ..zoo import Config


def card_of_run(
    experiment: str,
    cell: str,
    *,
    seed: int,
    selection: str,
    config: dict[str, Any],
    model_config: Config,
    train_set: ImageSet,
    history: History,
    command: str,
    metrics: dict[str, float],
) -> dict[str, Any]:
    """The card of a run, checked against the schema.

    ``config`` is what goes on record of its settings, ``model_config`` the model's configuration,
    ``train_set`` the ``ImageSet`` it learned from, ``history`` the :class:`History` of the run,
    ``command`` what to type to run it again. Raises ``ValueError`` for what is not plain JSON.

    >>> import vit_teach as vt
    >>> images, model_config = vt.data.shapes(40, seed=0), vt.zoo.preset("CIFAR-ViT-Nano")
    >>> settings = vt.train.TrainConfig(steps=2, batch_size=8, evaluations=1)
    >>> model = vt.zoo.build(model_config)
    >>> _, history = vt.train.train(model, images, images, settings, quiet=True)
    >>> card = card_of_run("demo", "tiny", seed=0, selection="last step; no test set", config={},
    ...                    model_config=model_config, train_set=images, history=history,
    ...                    command="python demo.py", metrics={})
    >>> card["train"]["steps"], card["cost"]["params"]
    (2, 148042)
    """
    return results.new_card(
        experiment,
        cell,
        seed=seed,
        selection=selection,
        config=config,
        data=results.data_entry(train_set),
        train={
            "steps": history.steps,
            "kept_step": history.kept_step,
            "epochs": history.images / len(train_set),
            "wall_s": history.seconds,
            "images_per_second": history.images_per_second,
            "precision": history.precision,
            "threads": history.threads,
            "command": command,
        },
        cost={
            "params": cost.parameters(model_config),
            "macs": cost.macs(model_config),
            "train_flops": cost.training_flops(model_config, history.images),
        },
        curves={key: [row[key] for row in history.curve] for key in history.curve[0]},
        metrics=metrics,
        note=history.note or None,
    )
