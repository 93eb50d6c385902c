"""The command line of :mod:`vit_teach.train`: train one model, write its card and its weights.

Chapter 8.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch
from torch import nn

from .. import cost, data, results, weights, zoo
from ..data.drawn import stand_in
from ..paths import writable
from . import parallel
from .card import card_of_run
from .config import History, TrainConfig
from .evaluation import evaluate
from .loop import train

if TYPE_CHECKING:
    from ..data.imageset import ImageSet
    from ..zoo import Config


KEPT = {
    "last": "no choice by accuracy: the weights are those of the last step",
    "best": "the weights are those of the evaluation with the best validation accuracy",
}
SELECTION = (
    "{kept}; validation images are held out of the training set; the test set is looked at once, "
    "at the end"
)
LENGTHS = ("minutes", "epochs", "steps")


def make_parser() -> argparse.ArgumentParser:
    """The command's options, each with what it means.

    >>> line = "--preset CIFAR-ViT-Tiny --minutes 20 --out runs/x"
    >>> make_parser().parse_args(line.split()).minutes
    20.0
    """
    parser = argparse.ArgumentParser(
        prog="python -m vit_teach.train",
        description="Train a model from scratch on small images and write what came out: "
        "OUT/card.json (settings, curves, accuracies), OUT/weights.safetensors (the trained model) "
        "and, on the way, OUT/checkpoint.pt (so that the same command goes on after a stop).",
        epilog="Example: python -m vit_teach.train --preset CIFAR-ViT-Tiny --dataset cifar10 "
        "--minutes 20 --weight-decay 0.2 --out runs/cifar-vit-20min",
    )
    add = parser.add_argument
    small = [name for name in zoo.names() if name.startswith("CIFAR-")]
    add("--preset", required=True, metavar="NAME", help="which model: " + ", ".join(small))
    add(
        "--dataset",
        default="cifar10",
        metavar="NAME",
        help="cifar10, cifar100 ('make data' fetches them), shapes (built in, drawn by code) or "
        "the path of a folder with one sub-folder of pictures for each class (default: cifar10)",
    )
    add("--out", required=True, type=Path, metavar="FOLDER", help="where to write the results")
    add(
        "--validation",
        type=int,
        default=5000,
        help="training images held out to watch progress (default: %(default)s)",
    )
    add(
        "--shuffle-labels",
        action="store_true",
        help="a control: the labels of the training images change places at random, so that there "
        "is nothing to learn but the images one by one",
    )
    add_settings(parser)
    return parser  # fmt: skip


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` one option for each field of :class:`TrainConfig`, its default included.

    >>> parser = argparse.ArgumentParser()
    >>> add_settings(parser)
    >>> parser.parse_args(["--steps", "9", "--clip", "2"]).clip
    2.0
    """
    length = parser.add_mutually_exclusive_group(required=True)
    hints = get_type_hints(TrainConfig)
    for each in fields(TrainConfig):
        kind = hints[each.name]
        if isinstance(kind, UnionType):  # "int | None": what is given is an int
            kind = get_args(kind)[0]
        meaning, choices = each.metadata["meaning"], each.metadata["choices"]
        group = length if each.name in LENGTHS else parser
        option = "--" + each.name.replace("_", "-")
        if kind is bool:
            group.add_argument(option, action="store_true", help=meaning)
            continue
        told = meaning if each.default is None else f"{meaning} (default: %(default)s)"
        group.add_argument(option, type=kind, default=each.default, choices=choices, help=told)


def load_sets(name: str, validation: int, seed: int = 0) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The (training, validation, test) ``ImageSet`` of a data set by name, or of a folder.

    Raises ``ValueError`` if there is no such data set, or too few pictures in a folder.

    >>> [len(images) for images in load_sets("shapes", 1000)]
    [9000, 1000, 2000]
    """
    if name == "shapes":
        full, test = stand_in("train"), stand_in("test")
    elif name in ("cifar10", "cifar100"):
        full, test = data.load(name, "train"), data.load(name, "test")
    elif not Path(name).expanduser().is_dir():
        raise ValueError(
            f"dataset={name!r} must be cifar10, cifar100, shapes or the path of a folder"
        )
    else:
        return _split_folder(data.folder(name), name, validation, seed)
    return (*full.hold_out(min(validation, len(full) // 5), seed=seed), test)


def _split_folder(
    everything: ImageSet, name: str, validation: int, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Own pictures as (training, validation, test) sets: a fifth each to the last two, or less."""
    if len(everything.classes) < 2:
        raise ValueError(f"dataset={name!r} has one class: there is nothing to tell it from")
    if len(everything) < 6:
        raise ValueError(
            f"dataset={name!r} holds {len(everything)} pictures: at least 6 are needed, for some "
            "are held out for validation and some for the test"
        )
    full, test = everything.hold_out(max(1, len(everything) // 5), seed=seed)
    training, held = full.hold_out(min(validation, len(full) // 5), seed=seed)
    counts = training.labels.bincount(minlength=len(training.classes))
    if counts.min() == 0:
        lost = training.classes[int(counts.argmin())]
        raise ValueError(f"dataset={name!r} has too few pictures of {lost!r} to train on: add some")
    return training, held, test


def with_shuffled_labels(image_set: ImageSet, seed: int = 0) -> ImageSet:
    """The same ``ImageSet`` with its labels in a random order: as many of each class as before.

    >>> _, images, _ = load_sets("shapes", 1000)
    >>> shuffled = with_shuffled_labels(images)
    >>> torch.equal(shuffled.labels.bincount(), images.labels.bincount())
    True
    >>> round((shuffled.labels == images.labels).float().mean().item(), 1)
    0.1
    """
    order = torch.randperm(len(image_set), generator=torch.Generator().manual_seed(seed))
    return replace(image_set, labels=image_set.labels[order])


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C.

    >>> main(["--preset", "no such model", "--steps", "1", "--out", "runs/x"])
    2
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(arguments)
    with parallel.group(options.device):
        return run_or_explain(options, arguments)


def run_or_explain(options: argparse.Namespace, arguments: list[str]) -> int:
    """:func:`run`, with errors and a stop as one line for the reader; returns the exit code.

    >>> options = make_parser().parse_args(["--preset", "x", "--steps", "1", "--out", "runs/x"])
    >>> run_or_explain(options, [])
    2
    """
    try:
        return run(options, arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        again = command_of(arguments)
        message = f"\n{str(stopped) or 'stopped'}. To go on, run the same command again:\n  {again}"
        if parallel.rank() == 0:
            print(message, file=sys.stderr)
        return 130


def command_of(arguments: list[str]) -> str:
    """What to type to run this again.

    >>> command_of(["--steps", "5"])
    'python -m vit_teach.train --steps 5'
    """
    return parallel.command(results.portable_command("vit_teach.train", arguments))


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Train as ``options`` say and write the card and the weights. Returns 0.

    >>> run(make_parser().parse_args(["--preset", "x", "--steps", "1", "--out", "runs/x"]), [])
    Traceback (most recent call last):
    ...
    ValueError: name='x' must be one of ...
    """
    config = TrainConfig(**{each.name: getattr(options, each.name) for each in fields(TrainConfig)})
    zoo.preset(options.preset)  # a wrong name is an error before the data are read
    first = parallel.rank() == 0  # of several processes one writes and prints
    options.out = checked_folder(options.out) if first else options.out
    train_set, validation_set, test_set = load_sets(options.dataset, options.validation)
    if options.shuffle_labels:
        train_set = with_shuffled_labels(train_set, options.seed)
    model_config = zoo.preset(options.preset, num_classes=len(train_set.classes))
    torch.manual_seed(options.seed)
    model = zoo.build(model_config)
    if first:
        print(
            f"{options.preset}: {cost.parameters(model_config):,} parameters, "
            f"{cost.macs(model_config) / 1e6:.0f} million MACs per image\n"
            f"{train_set.source}: {len(train_set):,} training, {len(validation_set):,} "
            f"validation, {len(test_set):,} test images",
            flush=True,
        )
    best, history = train(
        model, train_set, validation_set, config, folder=options.out, quiet=not first
    )
    if first:
        record(options, command_of(arguments), config, best, history, train_set, test_set)
    return 0


def record(
    options: argparse.Namespace,
    command: str,
    config: TrainConfig,
    best: nn.Module,
    history: History,
    train_set: ImageSet,
    test_set: ImageSet,
) -> None:
    """Look at the test images once; write the weights, then the card."""
    val_accuracy, val_loss = history.kept["val_accuracy"], history.kept["val_loss"]
    test_accuracy, test_loss = evaluate(best, test_set, precision=history.precision)
    model_config = zoo.preset(options.preset, num_classes=len(train_set.classes))
    card = card_of_run(
        "control" if options.shuffle_labels else "train",
        options.out.name,
        seed=config.seed,
        selection=SELECTION.format(kept=KEPT[config.keep]),
        config=recorded_settings(options.preset, model_config, config),
        model_config=model_config,
        train_set=train_set,
        history=history,
        command=command,
        metrics={
            "val_accuracy": val_accuracy, "val_loss": val_loss,
            "test_accuracy": test_accuracy, "test_loss": test_loss, "test_n": len(test_set),
        },
    )  # fmt: skip
    weights.save(
        best, options.out / "weights.safetensors", half=True, preset=options.preset,
        data=train_set.source, test_accuracy=test_accuracy, steps=history.steps, seed=options.seed,
    )  # fmt: skip
    results.write_card(card, options.out / "card.json")  # last: a card says that all is there
    print(
        f"validation accuracy {val_accuracy:.2%}, test accuracy {test_accuracy:.2%} after "
        f"{history.steps:,} steps in {history.seconds / 60:.1f} minutes\n"
        f"written: {options.out}/card.json, {options.out}/weights.safetensors"
    )


def checked_folder(path: Path) -> Path:
    """The folder for the results, made and tried out now, so that no training is lost at its end.

    Raises ``ValueError`` for a name that a card cannot hold, and ``OSError`` for a place that
    cannot be written.

    >>> checked_folder(Path("~/runs/x"))
    Traceback (most recent call last):
    ...
    ValueError: out='~/runs/x' must name a folder without '~', ':' or spaces at its ends
    """
    odd = str(path).startswith("~") or ":" in path.name or path.name != path.name.strip()
    if odd:
        raise ValueError(
            f"out={str(path)!r} must name a folder without '~', ':' or spaces at its ends"
        )
    return writable(path.resolve() if path.name in ("", "..") else path)


def recorded_settings(preset: str, model_config: Config, config: TrainConfig) -> dict[str, Any]:
    """What the card of a run holds under "config".

    >>> settings = recorded_settings("tiny", zoo.preset("CIFAR-ViT-Nano"), TrainConfig(steps=5))
    >>> settings["train"]["steps"], settings["model"]["embed_dim"]
    (5, 64)
    """
    left_out = ("seed", "evaluations")
    return {
        "preset": preset,
        "model": zoo.config_to_dict(model_config),
        "train": {name: value for name, value in asdict(config).items() if name not in left_out},
    }


if __name__ == "__main__":
    sys.exit(main())
