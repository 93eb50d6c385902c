"""Cells that train nothing: frozen features and how they are read, attention as numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from vit_teach import data, probe, results, weights, zoo
from vit_teach.data.drawn import shapes
from vit_teach.experiments import Experiment, find
from vit_teach.experiments.__main__ import main
from vit_teach.experiments.lab import attention, frozen, linear, photographs, runner
from vit_teach.experiments.lab.measurement import Measured, Measurement, digest
from vit_teach.experiments.lab.report import report

NANO = zoo.preset("CIFAR-ViT-Nano")


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = zoo.build(NANO).eval()
    built.normalisation = (0.5,) * 3, (0.25,) * 3
    return built


# --- Features are computed once ----------


def test_features_are_those_of_the_model(model):
    images = shapes(30, seed=0).images
    with torch.no_grad():
        expected = model.features(data.normalise(images, *model.normalisation))
    found, seconds = frozen.features(model, images)
    torch.testing.assert_close(found, expected)
    assert seconds > 0


def test_pictures_are_enlarged_to_the_models_size():
    torch.manual_seed(0)
    larger = zoo.build(zoo.preset("CIFAR-ViT-Nano", image_size=48)).eval()
    larger.normalisation = (0.5,) * 3, (0.25,) * 3
    images = shapes(3, seed=0).images
    pictures = data.normalise(images, *larger.normalisation)
    with torch.no_grad():
        expected = larger.features(F.interpolate(pictures, size=(48, 48), mode="bicubic"))
    torch.testing.assert_close(frozen.features(larger, images)[0], expected)


def test_a_stopped_computation_goes_on_and_nothing_is_computed_twice(model, monkeypatch, tmp_path):
    monkeypatch.setattr(frozen, "CHUNK", 4)
    images, computed, compute = shapes(10, seed=0).images, [], frozen._compute

    def once(model, few, precision):
        computed.append(len(few))
        if len(computed) == 2:
            raise KeyboardInterrupt
        return compute(model, few, precision)

    monkeypatch.setattr(frozen, "_compute", once)
    with pytest.raises(KeyboardInterrupt):
        frozen.features(model, images, folder=tmp_path)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(list(folder.glob("*.safetensors"))) == 1  # the first four are kept
    found, _ = frozen.features(model, images, folder=tmp_path)
    assert computed == [4, 4, 4, 2]
    torch.testing.assert_close(found, compute(model, images, "float32"))
    other, _ = frozen.features(model, images[[7, 1]], folder=tmp_path)  # another set, same pictures
    torch.testing.assert_close(other, found[[7, 1]])
    assert len(computed) == 4
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert float(file.metadata()["seconds"]) > 0


def test_other_weights_and_another_precision_are_not_mistaken(model, tmp_path):
    images = shapes(2, seed=0).images
    first, _ = frozen.features(model, images, folder=tmp_path)
    frozen.features(model, images, "bfloat16", folder=tmp_path)
    with torch.no_grad():
        model.norm.weight.mul_(2)
    changed, _ = frozen.features(model, images, folder=tmp_path)
    assert not torch.allclose(first, changed)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_digest_names_all_numbers_but_the_head(model):
    before = digest(model)
    with torch.no_grad():
        model.head.weight.add_(1)
    assert digest(model) == before
    with torch.no_grad():
        model.pos_embed.view(-1)[0] += 1
    assert digest(model) != before


# --- Reading them ----------


def clouds(n=60, classes=3, width=5, seed=0):
    """Features (N, D) around a centre for each class, and their labels."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(9)) * 1.5
    return centres[labels] + torch.randn(n, width, generator=g), labels


@pytest.mark.parametrize("decay", [1.0, 0.01])
def test_the_linear_classifier_is_the_minimum_of_its_loss(decay):
    x, labels = clouds()
    x = x.double()
    found = linear.fit(x, labels, decay, 3).requires_grad_()
    loss = F.cross_entropy(linear.scores(found, x), labels)
    loss = loss + decay / 2 * found[:, :-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, found)
    assert gradient.abs().max() < 1e-5 and found.abs().max() > 0.01


def test_the_decay_is_the_one_that_is_best_on_held_out_features():
    x, labels = clouds(30)
    held, held_labels = clouds(90, seed=1)
    x, held = linear.standardised(x, held)
    chosen, decay = linear.fit_best(x, labels, held, held_labels, 3)
    rights = {}
    for each in linear.DECAYS:
        fit = linear.fit(x, labels, each, 3)
        rights[each] = linear.accuracy(linear.scores(fit, held), held_labels)
    assert rights[decay] == pytest.approx(max(rights.values()), abs=0.012)
    assert linear.accuracy(linear.scores(chosen, held), held_labels) >= max(rights.values()) - 0.012
    assert min(rights.values()) < max(rights.values())
    nothing = torch.zeros(9, 5).double()  # every decay is as good: the strongest
    assert linear.fit_best(x, labels, nothing, torch.zeros(9).long(), 3)[1] == linear.DECAYS[0]


def test_features_are_centred_and_scaled_by_the_training_part_alone():
    x, held = torch.randn(50, 4) * 3 + 2, torch.randn(9, 4)
    placed, other = linear.standardised(x, held)
    assert placed.mean(dim=0).abs().max() < 1e-6
    assert placed.square().mean().sqrt().item() == pytest.approx(1)
    scale = (x.double() - x.double().mean(dim=0)).square().mean().sqrt()
    torch.testing.assert_close(other, (held.double() - x.double().mean(dim=0)) / scale)


@pytest.mark.parametrize("k", [1, 5, 1000])
def test_the_neighbours_are_the_nearest_by_cosine(k):
    x, labels = clouds(40)
    queries, _ = clouds(7, seed=2)
    votes = linear.neighbour_votes(x, labels, queries, k, 3, batch=3)
    for query, row in zip(queries, votes, strict=True):
        cosine = F.cosine_similarity(query[None], x)
        nearest = cosine.argsort(descending=True)[:k]
        expected = torch.zeros(3)
        for i in nearest:
            expected[labels[i]] += math.exp((cosine[i].item() - 1) / linear.SHARPNESS)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-6)


# --- The experiment ----------


def test_the_parts_are_those_of_the_data_curve():
    declared = {(c.n, c.seed) for c in find("data_size").cells(quick=False)}
    cells = find("pretrained").cells(quick=False)
    shared = {(c.n, c.seed) for c in cells if c.n > 100}
    assert shared <= declared
    groups = {}
    for cell in cells:
        groups.setdefault(tuple(cell.labels.values()), []).append(cell.seed)
    assert groups.pop((112, 4500)) == [0]  # there is one draw of all
    assert all(seeds == [0, 1, 2] for seeds in groups.values())


def test_without_weights_nothing_runs_and_no_card_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv(frozen.VARIABLE, raising=False)
    for command in (
        ["run", "pretrained"],
        ["cell", "pretrained_attention", "pretrained-cifar-112-s0"],
    ):
        assert main([*command, "--out", str(tmp_path), "--work", str(tmp_path / "w")]) == 2
        assert "VIT_TEACH_PRETRAINED=None must name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_quick_forms_run_and_leave_valid_cards(monkeypatch, tmp_path):
    monkeypatch.delenv(frozen.VARIABLE, raising=False)
    monkeypatch.setattr(linear, "DECAYS", (1.0, 0.01))
    for name in ("pretrained", "pretrained_attention", "cifar_attention"):
        experiment = find(name)
        cell = experiment.cells(quick=True)[0]
        assert runner.cell_in_process(experiment, cell, tmp_path, tmp_path / "work") == 0
        card = results.read_card(runner.card_path(experiment, cell, tmp_path))
        assert card["status"] == "complete" and card["config"]["weights"]["source"]
        assert card["train"]["command"].endswith(f"cell {name} {cell.name}")
        assert "test_accuracy" not in card["metrics"]  # a quick form leaves the test set alone
    assert (tmp_path / "work" / "pretrained" / "features").is_dir()  # the other cells find them


def test_a_measurement_that_fails_says_why(tmp_path):
    def broken(cell, folder):
        raise ValueError("no such pictures")

    demo = Experiment("demo", "?", lambda quick: [])
    cell = Measurement({"model": "x"}, broken, "nothing", n=3)
    assert runner.cell_in_process(demo, cell, tmp_path, tmp_path / "work") == 1
    card = results.read_card(tmp_path / "demo" / "x-s0.json")
    assert card["status"] == "failed" and "no such pictures" in card["note"]


def test_bad_data_is_refused():
    with pytest.raises(ValueError, match="data='mnist' must be one of"):
        Measurement({"a": 1}, lambda cell, folder: None, "nothing", data="mnist")


def test_a_report_shows_the_fractions_that_its_experiment_names(model, tmp_path):
    images = shapes(4, seed=0)
    experiment = Experiment(
        "demo", "How near?", lambda quick: [cell], shown=("nearest_share",),
    )  # fmt: skip
    cell = Measurement(
        {"model": "x"}, lambda cell, folder: Measured(model, images, {"nearest_share": 0.25}),
        "nothing", n=4,
    )  # fmt: skip
    runner.cell_in_process(experiment, cell, tmp_path, tmp_path / "work")
    (row,) = report(experiment, folder=tmp_path)["rows"]
    assert (row["metric"], row["mean"], row["seeds"]) == ("nearest_share", 0.25, [0])


# --- Attention as numbers ----------


def test_the_numbers_of_heads_are_those_of_the_probes():
    trained = weights.recorded("cifar-vit-20min")
    pictures = data.normalise(shapes(6, seed=0).images)
    metrics, curves = attention.of_heads(trained, pictures, batch=4)
    found = probe.examine(trained, pictures)
    card = {"curves": curves}
    mean = found.distance.mean(dim=0)
    torch.testing.assert_close(attention.heads(card), mean, rtol=1e-3, atol=0)
    error = found.distance.std(dim=0) / 6**0.5
    torch.testing.assert_close(attention.heads(card, "distance_error"), error, rtol=1e-3, atol=0)
    entropy = found.entropy.mean(dim=0)
    torch.testing.assert_close(attention.heads(card, "entropy"), entropy, rtol=1e-3, atol=0)
    assert metrics["nearest_share"] == pytest.approx((mean.min() / found.uniform).item())
    assert metrics["farthest_share"] == pytest.approx((mean.max() / found.uniform).item())
    assert curves["outliers"] == found.outliers.sum(dim=(1, 2)).tolist()
    assert len(curves["block"]) == metrics["heads"] == 24 and curves["layer"] == list(range(7))
    shares = found.rollout.flatten(1).sort(dim=1, descending=True).values[:, :16].sum(dim=1)
    assert metrics["rollout_top_quarter"] == pytest.approx(shares.mean().item())


def test_near_heads_and_mixed_blocks_are_counted(monkeypatch):
    model = zoo.build(NANO)
    line = probe.uniform_distance(NANO.grid_size, NANO.patch_size)
    shares = torch.tensor([[0.4, 0.9, 1.0, 1.0], [0.4, 0.7, 0.7, 0.7], [0.6] * 4, [1.0] * 4])
    distance = (shares * line)[None]  # (B, L, H)
    few = distance, distance, torch.tensor([0.3]), torch.rand(5, 1, 16)
    monkeypatch.setattr(attention, "_few", lambda model, pictures: few)
    metrics, _ = attention.of_heads(model, torch.zeros(1, 3, 32, 32))
    assert (metrics["near_heads"], metrics["mixed_blocks"]) == (2, 1)


def test_the_covering_test_covers_what_it_says(monkeypatch):
    """A model that answers by the first patch alone, and maps that point at it."""

    class First(torch.nn.Module):
        config = NANO

        def forward(self, pictures):
            bright = pictures[:, :, :8, :8].mean(dim=(1, 2, 3))
            return torch.stack([torch.full_like(bright, 0.1), bright], dim=1)

    pictures = torch.rand(8, 3, 32, 32) + 1
    pointing = torch.zeros(8, 16).index_fill(1, torch.tensor([0]), 1.0)
    monkeypatch.setattr(attention, "_maps", lambda model, x: (pointing, 1 - pointing))
    found = attention.covered(First(), pictures)
    assert found["stays_brightest_rollout"] == 0 and found["stays_darkest_last_block"] == 0
    assert found["stays_darkest_rollout"] == 1 and found["stays_brightest_last_block"] == 1
    assert 0 < found["stays_random"] < 1


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(
        photographs, "PHOTOGRAPHS", (("no_such_package", "no-such-package", ("a.png",)),)
    )
    with pytest.raises(ValueError, match="pip install --no-deps no-such-package"):
        photographs.photographs(32)


def test_photographs_are_read_from_pictures_and_from_arrays(monkeypatch, tmp_path):
    import numpy as np

    package = tmp_path / "carrier"
    package.mkdir()
    grey = np.arange(64, dtype=np.float64).reshape(8, 8)
    np.savez(package / "grey.npz", data=grey)
    monkeypatch.syspath_prepend(tmp_path)
    listed = (
        ("matplotlib", "matplotlib", ("mpl-data/sample_data/grace_hopper.jpg",)),
        ("carrier", "carrier", ("grey.npz",)),
    )
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", listed)
    found = photographs.photographs(8)
    assert torch.equal(found.images[0], data.photograph(8)) and len(found) == 2
    assert torch.equal(found.images[1, 0], torch.arange(64, dtype=torch.uint8).view(8, 8))
    assert len(set(photographs.NAMES)) == len(photographs.NAMES) >= 20
