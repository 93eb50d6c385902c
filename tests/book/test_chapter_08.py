"""Chapter 8: what it builds by hand equals PyTorch and the package."""

import re

import chapters
import pages
import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt
from vit_teach import train
from vit_teach.data import drawn
from vit_teach.train import optim

NAME = "08_training"


@pytest.fixture(scope="module")
def built():
    """The functions that the chapter defines, in a namespace with its set-up and small data."""
    code = [cell.source for cell in chapters.code_cells(NAME)]
    space = {}
    exec(code[0], space)
    full = drawn.shapes(120, seed=0)
    space["K"] = len(full.classes)
    space["train_set"], space["validation_set"] = full.hold_out(20)
    space["judges"] = space["validation_set"]
    for source in code[1:]:
        for function in re.findall(r"^def .*?(?=^\S|\Z)", source, re.MULTILINE | re.DOTALL):
            exec(function, space)
    return space


def test_adamw_by_hand_is_pytorchs(built):
    torch.manual_seed(0)
    theirs = torch.nn.Parameter(torch.randn(3, 5, dtype=torch.float64))
    mine, m, v = theirs.detach().clone(), 0.0, 0.0
    optimizer = torch.optim.AdamW([theirs], lr=0.03, betas=(0.8, 0.9), weight_decay=0.2)
    for t in range(1, 20):
        theirs.grad = torch.randn_like(theirs) * 10 ** torch.randn(1).item()
        optimizer.step()
        mine, m, v = built["adamw_step"](mine, theirs.grad, m, v, t, 0.03, 0.8, 0.9, 0.2)
    torch.testing.assert_close(mine, theirs.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (7, 7)])
def test_muon_by_hand_is_pytorchs_up_to_rounding(built, shape):
    torch.manual_seed(0)
    theirs = torch.nn.Parameter(torch.randn(shape))
    start, mine, mean = theirs.detach().clone(), theirs.detach().clone(), torch.zeros(shape)
    keep = {"weight_decay": 0.05, "adjust_lr_fn": "match_rms_adamw"}
    optimizer = torch.optim.Muon([theirs], lr=0.01, **keep)
    for _ in range(3):
        theirs.grad = torch.randn(shape)
        optimizer.step()
        mine, mean = built["muon_step"](mine, theirs.grad, mean, lr=0.01)
    assert (mine - theirs.detach()).norm() < 0.05 * (mine - start).norm()


def test_newton_schulz_brings_singular_values_near_one_and_keeps_the_vectors(built):
    torch.manual_seed(0)
    matrix = torch.randn(30, 12) * torch.logspace(0, -2, 12)
    update = built["newton_schulz"](matrix, dtype=torch.float32)
    sizes = torch.linalg.svdvals(update)
    assert 0.5 < sizes.min() and sizes.max() < 1.3
    U, _, Vt = torch.linalg.svd(matrix, full_matrices=False)
    inside = U.T @ update @ Vt.T
    assert (inside - inside.diag().diag()).abs().max() < 1e-3


def test_the_loud_weight_hardly_decays_in_adam_and_as_much_as_the_other_in_adamw():
    noise = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    noise = noise * torch.tensor([1.0, 100.0])
    for kind in (torch.optim.Adam, torch.optim.AdamW):
        ends = []
        for decay in (0.1, 0.0):
            w = torch.nn.Parameter(torch.ones(2))
            optimizer = kind([w], lr=1e-3, weight_decay=decay)
            for row in noise:
                w.grad = row.clone()
                optimizer.step()
            ends.append(w.detach())
        quiet, loud = (ends[0] - ends[1]).tolist()
        assert quiet / loud > 20 if kind is torch.optim.Adam else 0.5 < quiet / loud < 2


def test_smoothing_is_a_second_term():
    torch.manual_seed(0)
    logits, labels, eps = torch.randn(5, 7), torch.randint(7, (5,)), 0.1
    terms = F.cross_entropy(logits, labels), -logits.log_softmax(dim=1).mean()
    smoothed = F.cross_entropy(logits, labels, label_smoothing=eps)
    torch.testing.assert_close((1 - eps) * terms[0] + eps * terms[1], smoothed)


@pytest.mark.parametrize(("steps", "warmup"), [(400, 20), (37, 5), (3, 1)])
def test_the_schedule_by_hand_is_the_packages(built, steps, warmup):
    mine = [built["rate"](step, steps, warmup) for step in range(steps)]
    theirs = [optim.schedule(step, steps, warmup) for step in range(steps)]
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("top", "left", "mirrored"), [(0, 8, False), (3, 1, True), (8, 0, True)])
def test_crop_and_flip_by_hand_is_the_packages(built, top, left, mirrored):
    image = torch.randint(256, (3, 10, 14), dtype=torch.uint8)
    padded = F.pad(image[None], (4, 4, 4, 4))
    theirs = vt.augment.crop(padded, torch.tensor([top]), torch.tensor([left]), (10, 14))
    theirs = vt.augment.flip(theirs, torch.tensor([mirrored]))
    assert torch.equal(built["crop_and_flip"](image, top, left, mirrored), theirs[0])


@pytest.mark.parametrize("policy", ["none", "basic"])
def test_the_loop_by_hand_is_the_packages_loop(built, policy):
    images = built["train_set"]
    built["policy"] = policy
    mine, average = built["train_by_hand"](
        built["fresh"](seed=3), images.images, images.labels, steps=5, B=12, lr=1e-3, seed=3
    )
    config = train.TrainConfig(
        steps=5, batch_size=12, learning_rate=1e-3, seed=3, evaluations=5,
        precision="float32", device="cpu", optimizer="adamw", augment=policy,
    )  # fmt: skip
    start = built["fresh"](seed=3)
    best, history = train.train(start, images, built["validation_set"], config, quiet=True)
    torch.testing.assert_close(mine, [row["train_loss"] for row in history.curve])
    torch.testing.assert_close(average, [p.detach() for p in best.parameters()])


def test_the_recorded_runs_are_there_and_complete():
    folder = pages.ROOT / "data" / "results" / "train"
    assert "cifar-vit-20min" in {path.stem for path in folder.glob("*.json")}
    for card in vt.results.recorded("train"):
        weights = pages.ROOT / "data" / "weights" / f"{card['cell']}.safetensors"
        said = vt.weights.read_metadata(weights)
        assert said["test_accuracy"] == card["metrics"]["test_accuracy"]
        assert said["steps"] == card["train"]["steps"] and said["seed"] == card["seed"]
        assert card["status"] == "complete" and card["data"]["source"].startswith("CIFAR-10")
        assert "test_n" in card["metrics"] and "val_accuracy" in card["curves"]


def test_without_cifar_the_page_trains_on_digits_as_they_are(monkeypatch):
    monkeypatch.delenv("VIT_TEACH_DATA", raising=False)
    monkeypatch.setattr(vt.data, "find", lambda name: None)
    cells = [cell.source for cell in chapters.code_cells(NAME)]
    space = {"vt": vt}
    exec(next(source for source in cells if "load_or_digits" in source), space)
    line = next(re.search(r"^policy = .*$", s, re.M)[0] for s in cells if "policy = " in s)
    exec(line, space)
    assert "digits" in space["full"].source and space["policy"] == "none"
    space["full"] = space["full"].__class__(**{**vars(space["full"]), "source": "CIFAR-10"})
    exec(line, space)
    assert space["policy"] == "basic"


def test_what_the_text_says_of_the_recorded_runs_is_what_their_cards_say():
    cards = {card["cell"]: card for card in vt.results.recorded("train")}
    short, long = (cards[f"cifar-vit-{minutes}min"] for minutes in (20, 90))
    assert sum(name.startswith("cifar-vit") for name in cards) == 2
    gaps = []
    for card in (short, long):
        curve = card["curves"]
        gaps.append(curve["train_accuracy"][-1] - curve["val_accuracy"][-1])
        assert card["seed"] == 0 and card["config"]["train"]["average"] == 0.998
        assert card["config"]["train"]["optimizer"] == "muon"
    assert 0.065 < gaps[0] < 0.075 and -0.05 < gaps[1] < -0.04
    assert [card["config"]["train"]["augment"] for card in (short, long)] == ["basic", "strong"]
    assert [card["config"]["train"]["weight_decay"] for card in (short, long)] == [0.2, 0.05]
    assert [round(card["train"]["epochs"]) for card in (short, long)] == [13, 52]
    looks = [card["curves"]["val_accuracy"][-3:] for card in (short, long)]
    assert max(looks[0]) - min(looks[0]) < 0.005 and looks[1] == sorted(looks[1])
    assert short["metrics"]["test_accuracy"] > 0.8 and round(short["train"]["wall_s"] / 60) == 22


def test_the_numbers_of_the_recipe_are_those_of_the_package():
    text, config = chapters.markdown(NAME), train.TrainConfig(steps=1)
    assert (config.batch_size, config.label_smoothing, config.learning_rate) == (128, 0.1, 3e-3)
    assert (config.weight_decay, config.warmup, config.clip, config.average) == (
        0.05,
        0.05,
        1,
        0.998,
    )
    assert abs(1 / (config.learning_rate * config.weight_decay) - 6_700) < 50
    assert round(1 / (1 - config.average)) == 500 and round(500 * 128 / 45_000, 1) == 1.4
    for n, points in ((500, "1.8"), (5_000, "0.6"), (10_000, "0.4")):
        assert f"{100 * (0.16 / n) ** 0.5:.1f}" == points and points in text
    assert "1.4 epochs" in text and "162" in text
