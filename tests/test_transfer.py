"""Cells that start from other cells' weights: transfer, and fine-tuning at a higher resolution."""

import json
from dataclasses import replace

import pytest
import torch

from vit_teach import cost, results, zoo
from vit_teach.experiments import Experiment, cell, find, resolution
from vit_teach.experiments.lab import cells, images, pretrained, rates, runner, wrappers
from vit_teach.train.optim import split_parameters
from vit_teach.vit.embedding import RESIZE_RULES, resize_positions

DEMO = Experiment("demo", "Does it run?", lambda quick: [])
TINY = {"models": cells.QUICK_MODELS, "data": "corner", "tuned": False, "evaluations": 1,
        "batch_size": 16}  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def first(name="vit", **changes):
    return cell(name, 32, test=False, **{**TINY, "n": 100, **changes})


def follow(start, name="vit", **changes):
    return cell(name, 32, n=50, start=start, seed=1, **{**TINY, **changes})


# --- The classes ----------


def test_source_and_target_share_no_class_and_no_image():
    source, target = images.CLASSES["source"], images.CLASSES["target"]
    assert sorted(source + target) == list(range(10))
    one, two = (images.load_sets(first(classes=name, n=None)) for name in images.CLASSES)
    for ours, theirs in zip(one, two, strict=True):  # training, validation, test
        assert len(ours.classes) == 5 and not set(ours.classes) & set(theirs.classes)
        assert set(ours.labels.tolist()) == set(range(5))
    seen = {picture.numpy().tobytes() for picture in one[0].images}
    for pictures in two:
        assert not any(picture.numpy().tobytes() in seen for picture in pictures.images)


def test_labels_are_numbered_anew_and_keep_their_names():
    full = images.load_sets(first(n=None))[0]
    part = images.of_classes(full, (1, 4, 7))
    old = full.labels[torch.isin(full.labels, torch.tensor([1, 4, 7]))]
    names = [part.classes[label] for label in part.labels.tolist()]
    assert names == [full.classes[label] for label in old.tolist()]


def test_subsets_hold_as_many_images_of_each_target_class():
    few = images.load_sets(first(classes="target", n=50))[0]
    assert few.labels.bincount().tolist() == [10] * 5


@pytest.mark.parametrize("change", [{"classes": "animals"}, {"rule": "nearest"}])
def test_bad_values_are_refused(change):
    with pytest.raises(ValueError, match="must be"):
        first(**change)


# --- What the experiments declare ----------


def test_pre_training_never_sees_a_target_class_or_the_test_set():
    for each in find("transfer").cells(quick=False):
        assert each.classes == "target" and each.test and each.train.keep == "best"
        assert each.images == 38_400 and each.n in (50, 250, 1250, 5000)
        if each.labels["start"] == "scratch":
            assert each.start is None
        else:
            assert each.start.classes == "source" and not each.start.test
            assert each.start.seed == each.seed and each.start.preset == each.preset


def test_both_starts_get_the_same_rates_and_seeds():
    groups = {}
    for each in find("transfer").cells(quick=False):
        key = (each.labels["model"], each.labels["start"])
        groups.setdefault(key, set()).add((each.n, each.rate_factor, each.seed))
    assert len({frozenset(group) for group in groups.values()}) == 1
    assert {len(group) for group in groups.values()} == {4 * 2 * 3}


def test_every_rule_and_the_control_start_from_the_same_weights():
    cells = [each for each in find("resolution").cells(quick=False) if each.seed == 2]
    assert len({json.dumps(each.start.settings()) for each in cells}) == 1
    assert {each.labels["rule"] for each in cells} == {*RESIZE_RULES, resolution.CONTROL}
    sizes = {each.labels["rule"]: each.config().image_size for each in cells}
    assert sizes.pop(resolution.CONTROL) == (32, 32) and set(sizes.values()) == {(48, 48)}


def test_the_card_of_a_plain_cell_says_what_it_always_said():
    plain = cell("vit", 128).settings()
    assert set(plain) == {"labels", "preset", "model", "train", "permutation", "init"}
    later = follow(first(classes="source"), classes="target").settings()
    assert later["classes"] == [1, 3, 5, 7, 9] and later["start"]["classes"] == [0, 2, 4, 6, 8]
    assert later["start"]["steps"] == 2 and later["model"]["num_classes"] == 5


def test_the_rate_is_chosen_for_the_start_too_and_multiplied(monkeypatch):
    found = {"vit": 0.002, "cnn": 0.008}
    monkeypatch.setattr(rates, "chosen_rate", lambda name, folder: found[name])
    chosen = rates.with_chosen_rate(cell("cnn", 128, rate_factor=0.25, start=cell("vit", 128)))
    assert chosen.train.learning_rate == 0.002 == chosen.start.train.learning_rate
    assert "times 0.25" in runner.selection(chosen)


# --- The weights ----------


def test_weights_are_made_once_and_made_again_when_they_are_gone(tmp_path, monkeypatch):
    start, calls = first(), []
    real = pretrained.train
    monkeypatch.setattr(pretrained, "train", lambda *a, **k: calls.append(1) or real(*a, **k))
    weights, facts = pretrained.start_weights(start, tmp_path)
    again, same_facts = pretrained.start_weights(start, tmp_path)
    assert len(calls) == 1 and facts == same_facts and 0 <= facts["start_val_accuracy"] <= 1
    path = next(tmp_path.glob("*.safetensors"))
    path.unlink()
    once_more, _ = pretrained.start_weights(start, tmp_path)
    assert len(calls) == 2
    for name, tensor in weights.items():
        assert torch.equal(tensor, again[name]) and torch.equal(tensor, once_more[name])
    pretrained.start_weights(replace(start, train=replace(start.train, seed=5)), tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2  # other settings, another file


def test_without_a_folder_they_are_kept_in_memory(monkeypatch):
    monkeypatch.setattr(pretrained, "_MADE", {})
    one, _ = pretrained.start_weights(first())
    two, _ = pretrained.start_weights(first())
    assert one is two


@pytest.mark.parametrize("name, head", [("vit", "head.weight"), ("cnn", "fc.weight")])
def test_a_start_on_other_classes_gives_all_but_the_classifier(name, head):
    start = first(name, classes="source")
    later = follow(start, name, classes="target")
    model = wrappers.build_model(later, 5)
    fresh = model.state_dict()[head].clone()
    found = pretrained.begin(model, later, None)
    weights, _ = pretrained.start_weights(start)
    assert set(found) == {"start_val_accuracy", "start_seconds"}
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh if key == head else weights[key]) or "bias" in key
    assert not torch.equal(weights[head], fresh)


@pytest.mark.parametrize("rule", ["google", "hf"])
def test_a_start_at_another_resolution_resizes_the_table_by_its_rule(rule):
    start = first()
    later = follow(start, changes={"image_size": 48}, rule=rule)
    model = wrappers.build_model(later)
    validation = images.load_sets(later)[1].subset(100)
    found = pretrained.begin(model, later, validation)
    weights, _ = pretrained.start_weights(start)
    table = resize_positions(weights["pos_embed"], (4, 4), (6, 6), rule, 0)
    assert torch.equal(model.model.pos_embed, table)
    assert torch.equal(model.model.head.weight, weights["head.weight"])  # the same classes
    assert found["before_row_norm"] == pytest.approx(table[0].norm(dim=1).mean().item())
    assert found["start_row_norm"] == pretrained.row_norm(weights["pos_embed"])
    assert 0 <= found["before_val_accuracy"] <= 1


def test_a_start_that_does_not_fit_is_refused():
    start = first("vit-no-positions")
    model = wrappers.build_model(follow(start))
    with pytest.raises(ValueError, match="does not fit"):
        pretrained.begin(model, follow(start), None)


def test_an_enlarged_model_is_trained_like_the_model_inside():
    model = wrappers.build_model(follow(first(), changes={"image_size": 48}))
    assert isinstance(model, wrappers.Enlarged)
    alone = zoo.build(model.model.config)
    sizes = [[len(group) for group in split_parameters(m)] for m in (model, alone)]
    assert sizes[0] == sizes[1]
    torch.nn.init.normal_(model.model.head.weight)
    images = torch.rand(2, 3, 32, 32)
    larger = torch.nn.functional.interpolate(images, size=48, mode="bicubic")
    assert torch.equal(model(images), model.model(larger))


# --- The cards ----------


def test_a_cell_with_a_start_writes_a_sound_card(tmp_path):
    later = follow(first(classes="source"), classes="target")
    assert runner.cell_in_process(DEMO, later, tmp_path / "cards", tmp_path / "work") == 0
    card = results.read_card(tmp_path / "cards/demo/vit-s1.json")
    assert card["config"]["start"]["classes"] == [0, 2, 4, 6, 8]
    assert {"start_val_accuracy", "start_seconds", "test_accuracy"} <= set(card["metrics"])
    assert card["cost"]["macs"] == cost.macs(later.config()) and card["data"]["n"] == 50
    kept = [path.name for path in (tmp_path / "work/demo/start").glob("*.safetensors")]
    assert len(kept) == 1 and kept[0].startswith("vit-s0-")


def test_a_cell_at_48_pixels_writes_a_sound_card():
    experiment = replace(DEMO, measure=resolution.measure)
    later = follow(first(), changes={"image_size": 48}, rule="timm")
    card = runner.run_cell(experiment, later)
    assert {"before_val_accuracy", "start_row_norm", "before_row_norm", "row_norm"} <= set(
        card["metrics"]
    )
    assert card["config"]["start"]["rule"] == "timm"
    assert card["cost"]["macs"] == cost.macs(zoo.preset("CIFAR-ViT-Nano", image_size=48))
