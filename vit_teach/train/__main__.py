"""The command line of :mod:`vit_teach.train`: train one model, write its card and its weights."""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from .. import cost, data, results, weights, zoo
from ..augment.policy import POLICIES
from ..data.drawn import stand_in
from .config import TrainConfig
from .device import PRECISIONS
from .evaluation import evaluate
from .loop import train
from .optim import OPTIMIZERS, SCHEDULES

SELECTION = (
    "no choice by accuracy: the weights are those of the last step; validation images are held out "
    "of the training set; the test set is looked at once, at the end"
)


def make_parser():
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
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument(
        "--minutes", type=float, help="train for about this long; the speed is measured first"
    )
    length.add_argument("--epochs", type=float, help="train for so many passes over the images")
    length.add_argument("--steps", type=int, help="train for so many steps (exactly repeatable)")
    add("--out", required=True, type=Path, metavar="FOLDER", help="where to write the results")
    add("--batch-size", type=int, default=128, help="images in one step (default: %(default)s)")
    add("--optimizer", choices=OPTIMIZERS, default="muon", help="(default: %(default)s)")
    add("--learning-rate", type=float, default=3e-3, help="at its peak (default: %(default)s)")
    add("--weight-decay", type=float, default=0.05, help="(default: %(default)s)")
    add(
        "--warmup",
        type=float,
        default=0.05,
        help="part of the steps in which the rate rises (default: %(default)s)",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        default="cosine",
        help="how the rate goes after the warm-up: along a cosine to zero, level and then straight "
        "to zero, or level to the end (default: %(default)s)",
    )
    add("--label-smoothing", type=float, default=0.1, help="(default: %(default)s)")
    add(
        "--average",
        type=float,
        default=0.998,
        help="how slowly the averaged weights follow, 0 for no averaging (default: %(default)s)",
    )
    add(
        "--augment",
        choices=POLICIES,
        default="basic",
        help="how training images are altered; basic is crop and flip (default: %(default)s)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of matrix products; auto takes bfloat16 where the processor has it (default: auto)",
    )
    add(
        "--compile",
        action="store_true",
        help="let PyTorch compile the model: a wait, then some faster; needs a C++ compiler",
    )
    add("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add("--threads", type=int, help="CPU threads (default: all cores)")
    add(
        "--validation",
        type=int,
        default=5000,
        help="training images held out to watch progress (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="starts every random choice (default: %(default)s)")
    add(
        "--shuffle-labels",
        action="store_true",
        help="a control: the labels of the training images change places at random, so that there "
        "is nothing to learn but the images one by one",
    )
    return parser  # fmt: skip


def load_sets(name, validation, seed=0):
    """The (training, validation, test) ``ImageSet`` of a data set by name, or of a folder.

    Raises ``ValueError`` if there is no such data set.

    >>> [len(images) for images in load_sets("shapes", 1000)]
    [9000, 1000, 2000]
    """
    if name == "shapes":
        full, test = stand_in("train"), stand_in("test")
    elif name in ("cifar10", "cifar100"):
        full, test = data.load(name, "train"), data.load(name, "test")
    else:
        everything = data.folder(name)
        full, test = everything.hold_out(max(1, len(everything) // 5), seed=seed)
    return (*full.hold_out(min(validation, len(full) // 5), seed=seed), test)


def with_shuffled_labels(image_set, seed=0):
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


def main(arguments=None):
    """Run the command; returns the exit code: 0 done, 2 bad input, 130 stopped by Ctrl-C.

    >>> main(["--preset", "no such model", "--steps", "1", "--out", "runs/x"])
    2
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = make_parser().parse_args(arguments)
    try:
        return run(options, arguments)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        again = results.portable_command("vit_teach.train", arguments)
        message = f"\n{stopped or 'stopped'}. To go on, run the same command again:\n  {again}"
        print(message, file=sys.stderr)
        return 130


def run(options, arguments):
    """Train as ``options`` say and write the card and the weights. Returns 0.

    >>> run(make_parser().parse_args(["--preset", "x", "--steps", "1", "--out", "runs/x"]), [])
    Traceback (most recent call last):
    ...
    ValueError: name='x' must be one of ...
    """
    config = TrainConfig(
        steps=options.steps, epochs=options.epochs, minutes=options.minutes,
        batch_size=options.batch_size, optimizer=options.optimizer,
        learning_rate=options.learning_rate, weight_decay=options.weight_decay,
        schedule=options.schedule, warmup=options.warmup,
        label_smoothing=options.label_smoothing, average=options.average,
        augment=options.augment, precision=options.precision, compile=options.compile,
        device=options.device, threads=options.threads, seed=options.seed,
    )  # fmt: skip
    zoo.preset(options.preset)  # a wrong name is an error before the data are read
    train_set, validation_set, test_set = load_sets(options.dataset, options.validation)
    if options.shuffle_labels:
        train_set = with_shuffled_labels(train_set, options.seed)
    model_config = zoo.preset(options.preset, num_classes=len(train_set.classes))
    torch.manual_seed(options.seed)
    model = zoo.build(model_config)
    print(
        f"{options.preset}: {cost.parameters(model_config):,} parameters, "
        f"{cost.macs(model_config) / 1e6:.0f} million MACs per image\n"
        f"{train_set.source}: {len(train_set):,} training, {len(validation_set):,} validation, "
        f"{len(test_set):,} test images",
        flush=True,
    )
    best, history = train(model, train_set, validation_set, config, folder=options.out)
    val_accuracy, val_loss = history.kept["val_accuracy"], history.kept["val_loss"]
    test_accuracy, test_loss = evaluate(best, test_set, precision=history.precision)
    metrics = {
        "val_accuracy": val_accuracy, "val_loss": val_loss,
        "test_accuracy": test_accuracy, "test_loss": test_loss, "test_n": len(test_set),
    }  # fmt: skip
    card = make_card(options, arguments, model_config, config, history, train_set, metrics)
    results.write_card(card, options.out / "card.json")
    weights.save(
        best, options.out / "weights.safetensors", half=True, preset=options.preset,
        data=train_set.source, classes=list(train_set.classes), mean=data.MEAN, std=data.STD,
        test_accuracy=test_accuracy, steps=history.steps, seed=options.seed,
    )  # fmt: skip
    print(
        f"validation accuracy {val_accuracy:.2%}, test accuracy {test_accuracy:.2%} after "
        f"{history.steps:,} steps in {history.seconds / 60:.1f} minutes\n"
        f"written: {options.out}/card.json, {options.out}/weights.safetensors"
    )
    return 0


def make_card(options, arguments, model_config, config, history, train_set, metrics):
    """The result card of a finished run, checked against the schema.

    >>> make_card.__name__
    'make_card'
    """
    settings = {k: v for k, v in asdict(config).items() if k not in ("seed", "evaluations")}
    curves = {key: [row[key] for row in history.curve] for key in history.curve[0]}
    return results.new_card(
        "control" if options.shuffle_labels else "train",
        options.out.name,
        seed=options.seed,
        selection=SELECTION,
        config={
            "preset": options.preset,
            "model": zoo.config_to_dict(model_config),
            "train": settings,
        },
        data=results.data_entry(train_set),
        train={
            "steps": history.steps,
            "epochs": history.images / len(train_set),
            "wall_s": history.seconds,
            "images_per_second": history.images_per_second,
            "precision": history.precision,
            "threads": history.threads,
            "command": results.portable_command("vit_teach.train", arguments),
        },
        cost={
            "params": cost.parameters(model_config),
            "macs": cost.macs(model_config),
            "train_flops": cost.training_flops(model_config, history.images),
        },
        curves=curves,
        metrics=metrics,
    )
