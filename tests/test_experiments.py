"""The recorded experiments: what they declare, how they run, what they report."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from vit_teach import cost, results, zoo
from vit_teach.data import cifar
from vit_teach.data.drawn import shapes
from vit_teach.experiments import EXPERIMENTS, Experiment, Permuted, cell, find
from vit_teach.experiments.__main__ import main
from vit_teach.experiments.lab import cells, images, rates, runner
from vit_teach.experiments.lab.measurement import Measurement
from vit_teach.experiments.lab.measures import moved, shuffle_and_shift, under_permutation
from vit_teach.experiments.lab.report import as_text, report
from vit_teach.train.config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
TINY = {"n": 100, "data": "corner", "tuned": False, "evaluations": 2, "batch_size": 16}
DEMO = Experiment(
    "demo", "Does it run?",
    lambda quick: [
        cell(name, 64, models=cells.QUICK_MODELS, seed=seed, **TINY)
        for seed in (0, 1)
        for name in ("cnn", "vit")
    ],
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


# --- What is declared ----------


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_cells_of_an_experiment_are_sound(name, quick):
    cells = find(name).cells(quick)
    names = [each.name for each in cells]
    assert len(set(names)) == len(names) > 1
    assert len({tuple(each.labels) for each in cells}) == 1  # one table can hold them
    for each in cells:
        assert each.settings()["labels"] == each.labels
        if isinstance(each, Measurement):
            assert each.work > 0 and each.n > 0
            continue
        assert each.config().num_classes == len(images.CLASSES.get(each.classes, range(10)))
        if not quick:
            assert each.data in ("cifar10", "corner") and each.seed in (0, 1, 2)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_first_seed_comes_first(name):
    seeds = [each.seed for each in find(name).cells(quick=False)]
    assert seeds == sorted(seeds) and seeds[0] == 0


@pytest.mark.parametrize("name", ["data_size", "shuffle"])
def test_the_main_experiments_have_three_seeds(name):
    groups = {}
    for each in find(name).cells(quick=False):
        groups.setdefault(tuple(each.labels.values()), set()).add(each.seed)
    assert all(seeds == {0, 1, 2} for seeds in groups.values())


def test_every_cell_of_data_size_sees_the_same_images():
    cells = find("data_size").cells(quick=False)
    assert {each.train.steps * each.train.batch_size for each in cells} == {449_920}
    assert 449_920 / 45_000 > 9.99  # ten epochs of the largest set
    assert {each.n for each in cells} == {500, 1_500, 5_000, 15_000, 45_000}
    assert {each.train.keep for each in cells} == {"best"}


def test_the_compared_models_need_the_same_work():
    names = ("vit", "overlap", "cct", "hybrid", "cnn")
    work = [cost.macs(cell(name, 128).config()) for name in names]
    assert max(work) / min(work) < 1.06


def test_subsets_of_a_seed_are_nested_and_the_validation_images_are_the_same():
    small = cell("cnn", 128, n=100, data="corner")
    large = cell("vit", 128, n=200, data="corner")
    few, held, _ = images.load_sets(small)
    many, held_too, _ = images.load_sets(large)
    assert torch.equal(many.images[:100], few.images)
    assert torch.equal(held.images, held_too.images)
    other, _, _ = images.load_sets(replace(small, train=replace(small.train, seed=1)))
    assert not torch.equal(other.images, few.images)


def test_a_quick_form_takes_shapes_where_there_is_no_cifar(monkeypatch, tmp_path):
    monkeypatch.delenv("VIT_TEACH_DATA", raising=False)
    monkeypatch.setattr(cifar, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    images.base_sets.cache_clear()
    train, _, _ = images.load_sets(cell("cnn", 128, data="any"))
    assert "shape pictures" in train.source
    with pytest.raises(FileNotFoundError, match="vit_teach.data"):
        images.load_sets(cell("cnn", 128))
    images.base_sets.cache_clear()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"permutation": "rows"}, "permutation='rows' must be one of"),
        ({"data": "mnist"}, "data='mnist' must be one of"),
    ],
)
def test_bad_cells_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        cell("vit", 128, **change)


def test_a_cell_needs_a_known_model_and_steps():
    with pytest.raises(ValueError, match="model='swin' must be one of"):
        cell("swin", 128)
    with pytest.raises(ValueError, match="length in steps"):
        cells.Cell({"model": "vit"}, "CIFAR-ViT-Nano", TrainConfig(epochs=1))
    with pytest.raises(ValueError, match="name='speed' must be one of"):
        find("speed")


# --- The permutations and the shifts ----------


def test_permuted_patches_keep_their_pixels_together():
    images = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    shuffled = Permuted(nn.Identity(), "patches", (8, 12), patch_size=4)(images)
    order = Permuted(nn.Identity(), "patches", (8, 12), patch_size=4).order.tolist()
    assert sorted(order) == list(range(6)) != order
    for place, source in enumerate(order):
        here = shuffled[:, :, 4 * (place // 3) :, 4 * (place % 3) :][:, :, :4, :4]
        there = images[:, :, 4 * (source // 3) :, 4 * (source % 3) :][:, :, :4, :4]
        assert torch.equal(here, there)


def test_permuted_pixels_keep_their_colours_together():
    images = torch.rand(2, 3, 6, 4)
    shuffled = Permuted(nn.Identity(), "pixels", (6, 4))(images)
    before = {tuple(colour) for colour in images[0].flatten(1).T.tolist()}
    assert {tuple(colour) for colour in shuffled[0].flatten(1).T.tolist()} == before
    assert not torch.equal(shuffled, images)


def test_every_run_has_the_same_permutation():
    first, second = (Permuted(nn.Identity(), "pixels").order for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="kind='none' must be one of"):
        Permuted(nn.Identity(), "none")


def test_a_vit_without_positions_does_not_see_a_permutation_of_patches():
    torch.manual_seed(0)
    model = zoo.build(cell("vit-no-positions", 128).config()).double().eval()
    nn.init.normal_(model.head.weight)
    images = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    plain, shuffled = model(images), Permuted(model, "patches")(images)
    torch.testing.assert_close(plain, shuffled, rtol=0, atol=1e-10)
    assert (plain - Permuted(model, "pixels")(images)).abs().max() > 1e-3


def test_moved_pictures():
    images = torch.arange(10, dtype=torch.uint8).view(1, 1, 1, 10)
    assert moved(images, 3).flatten().tolist() == [3, 2, 1, 0, 1, 2, 3, 4, 5, 6]
    assert torch.equal(moved(images, 0), images)
    with pytest.raises(ValueError, match="pixels=10 must be in 0..9"):
        moved(images, 10)


def test_the_measures_of_a_plain_model():
    torch.manual_seed(0)
    model = zoo.build(cell("vit-no-positions", 128).config())
    nn.init.normal_(model.head.weight)
    images = shapes(200, seed=0)
    found = shuffle_and_shift(model, cell("vit", 128), images)
    assert set(found) == {f"shift_{s}_accuracy" for s in range(9)} | {
        "tested_patches_accuracy", "tested_pixels_accuracy"
    }  # fmt: skip
    # It cannot see that patches moved.
    assert found["shift_0_accuracy"] == found["tested_patches_accuracy"]
    assert under_permutation(model, cell("vit", 128, permutation="pixels"), images) == {}


# --- Running ----------


def files_of(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def timeless(card):
    """What of a card does not depend on the clock."""
    curves = {k: v for k, v in card["curves"].items() if k != "seconds"}
    return card["config"], card["metrics"], curves, card["data"], card["seed"], card["selection"]


def test_a_cell_writes_its_card_and_clears_its_work(tmp_path):
    one = DEMO.cells(False)[0]
    code = runner.cell_in_process(DEMO, one, tmp_path / "cards", tmp_path / "work")
    assert code == 0
    assert files_of(tmp_path) == ["cards/demo/cnn-s0.json"]
    card = results.read_card(tmp_path / "cards/demo/cnn-s0.json")
    assert card["config"]["labels"] == {"model": "cnn"} and card["train"]["steps"] == 4
    assert card["train"]["command"] == "python -m vit_teach.experiments cell demo cnn-s0"
    assert {"val_accuracy", "test_accuracy", "train_accuracy"} <= set(card["metrics"])
    before = (tmp_path / "cards/demo/cnn-s0.json").stat().st_mtime_ns
    assert runner.cell_in_process(DEMO, one, tmp_path / "cards", tmp_path / "work") == 0
    assert (tmp_path / "cards/demo/cnn-s0.json").stat().st_mtime_ns == before  # not run again


def test_the_test_set_is_not_looked_at_when_a_rate_is_chosen():
    card = runner.run_cell(DEMO, replace(DEMO.cells(False)[0], test=False))
    assert "test_accuracy" not in card["metrics"] and "not looked at" in card["selection"]


def test_a_failed_cell_is_on_record_and_runs_again(tmp_path, monkeypatch, capsys):
    one = DEMO.cells(False)[0]
    with monkeypatch.context() as broken:
        broken.setattr(runner, "train", lambda *_, **__: 1 / 0)
        assert runner.cell_in_process(DEMO, one, tmp_path, tmp_path / "work") == 1
    card = results.read_card(tmp_path / "demo/cnn-s0.json")
    assert card["status"] == "failed" and "ZeroDivisionError" in card["note"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert one.name in [each.name for each in runner.waiting(DEMO, folder=tmp_path)]
    assert report(DEMO, folder=tmp_path)["failed"] == {"cnn-s0": card["note"]}
    assert runner.cell_in_process(DEMO, one, tmp_path, tmp_path / "work") == 0
    assert results.read_card(tmp_path / "demo/cnn-s0.json")["status"] == "complete"


def test_a_cell_is_never_run_twice_at_once(tmp_path):
    one = DEMO.cells(False)[0]
    (tmp_path / "work/demo/cnn-s0").mkdir(parents=True)
    with FileLock(tmp_path / "work/demo/cnn-s0/lock"):
        code = runner.cell_in_process(DEMO, one, tmp_path, tmp_path / "work")
    assert code == runner.ELSEWHERE and not (tmp_path / "demo").exists()


def test_a_process_that_dies_does_not_stop_the_rest(tmp_path, capsys):
    # No process of its own can find the experiment "demo", so each ends with exit code 2.
    assert runner.run(DEMO, jobs=2, folder=tmp_path, work=tmp_path / "work") == 4
    assert set(report(DEMO, folder=tmp_path)["failed"]) == {"cnn-s0", "vit-s0", "cnn-s1", "vit-s1"}
    assert "ended with code 2" in results.read_card(tmp_path / "demo/vit-s1.json")["note"]
    assert capsys.readouterr().out.count("failed (code 2)") == 4


def command(*arguments):
    return [sys.executable, "-m", "vit_teach.experiments", *map(str, arguments)]


def start(folder, jobs):
    arguments = ["run", "shift", "--quick", "--jobs", jobs, "--out", folder / "cards"]
    return subprocess.Popen(
        command(*arguments, "--work", folder / "work"), cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_killed_run_loses_nothing(tmp_path):
    whole = start(tmp_path / "whole", jobs=2)
    assert "[2/2]" in whole.communicate(timeout=300)[0] and whole.returncode == 0
    expected = {c["cell"]: c for c in results.read_cards(tmp_path / "whole/cards")}
    chance = random.Random(0)
    for _ in range(2):  # kill -9, at any moment
        killed = start(tmp_path / "killed", jobs=2)
        time.sleep(chance.uniform(2, 9))
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
        for path in (tmp_path / "killed").rglob("*.json"):
            assert results.read_card(path)["status"] == "complete"  # nothing half-written
    last = start(tmp_path / "killed", jobs=2)
    assert last.wait(timeout=300) == 0
    found = {c["cell"]: c for c in results.read_cards(tmp_path / "killed/cards")}
    assert set(found) == set(expected) == {"vit-corner-s0", "cnn-corner-s0"}
    for name in found:
        assert timeless(found[name]) == timeless(expected[name])


def test_the_quick_form_runs_here_and_keeps_its_cards(tmp_path):
    cards = runner.run_here(DEMO, tmp_path)
    assert [card["cell"] for card in cards] == ["cnn-s0", "vit-s0", "cnn-s1", "vit-s1"]
    kept = [results.read_card(tmp_path / f"demo/{card['cell']}.json") for card in cards]
    assert runner.run_here(DEMO, tmp_path) == kept


# --- Choosing a rate ----------


def rate_card(model, rate, accuracy, status="complete"):
    return {
        "status": status,
        "config": {"labels": {"model": model}, "train": {"learning_rate": rate}},
        "metrics": {"val_accuracy": accuracy},
    }


def test_the_rate_with_the_best_validation_accuracy_is_chosen(monkeypatch, tmp_path):
    cards = [
        rate_card("vit", 0.001, 0.5), rate_card("vit", 0.002, 0.6), rate_card("cnn", 0.004, 0.9),
        rate_card("vit", 0.008, 0.95, status="failed"),
    ]  # fmt: skip
    longer = [rate_card("hybrid", 0.004, 0.1), rate_card("vit", 0.016, 0.99, status="failed")]
    recorded = {"learning_rate": cards + [rate_card("hybrid", 0.001, 0.9)], "long_rate": longer}
    for sweep in recorded:
        (tmp_path / sweep).mkdir()
    monkeypatch.setattr(results, "read_cards", lambda folder: recorded[folder.name])
    assert rates.chosen_rate("vit", tmp_path) == 0.002
    assert rates.chosen_rate("hybrid", tmp_path) == 0.004  # longer runs decide where there are any
    chosen = rates.with_chosen_rate(cell("cnn", 128), tmp_path)
    assert chosen.train.learning_rate == 0.004
    chosen = rates.with_chosen_rate(cell("hybrid", 128, tuned="vit"), tmp_path)
    assert chosen.train.learning_rate == 0.002
    with pytest.raises(ValueError, match="model='cct' has no learning rate yet"):
        rates.chosen_rate("cct", tmp_path)


def test_the_lengths_chosen_are_the_best_on_validation_images():
    from vit_teach.experiments import run_length

    found = {}
    for card in results.recorded("run_length"):
        if card["seed"] == 0:
            labels = card["config"]["labels"]
            place = labels["augment"], labels["images"], labels["model"]
            found.setdefault(place, []).append((card["metrics"]["val_accuracy"], labels["seen"]))
    for (augment, n), lengths in run_length.CHOSEN.items():
        for name, seen in zip(run_length.NAMES, lengths, strict=True):
            tried = found[augment, n, name]
            assert {each for _, each in tried} == set(run_length.LENGTHS)
            assert max(tried)[1] == seen, (augment, n, name)


def test_a_folder_without_sweeps_takes_the_rates_on_record(tmp_path):
    assert rates.chosen_rate("vit", tmp_path) == rates.chosen_rate("vit")


# --- Reporting ----------


def test_the_report_counts_and_averages(tmp_path):
    for one in DEMO.cells(False)[:3]:
        card = runner.run_cell(DEMO, one)
        card["metrics"]["val_accuracy"] = 0.4 + 0.2 * one.seed
        results.write_card(card, runner.card_path(DEMO, one, tmp_path))
    found = report(DEMO, folder=tmp_path)
    assert (found["cells"], found["complete"], found["missing"]) == (4, 3, ["vit-s1"])
    rows = {(r["model"], r["metric"]): r for r in found["rows"]}
    cnn = rows["cnn", "val_accuracy"]
    assert (round(cnn["mean"], 9), round(cnn["std"], 9), cnn["n"]) == (0.5, 0.141421356, 2)
    assert rows["vit", "val_accuracy"]["std"] is None
    text = as_text(found)
    assert "50.0 ± 14.1 % (2 seeds)" in text and "missing: vit-s1" in text
    assert json.loads(json.dumps(found)) == found


def test_the_commands_speak(capsys, tmp_path):
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)
    assert main(["report", "shift", "--quick", "--json", "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == ["vit-corner-s0", "cnn-corner-s0"]
    assert main(["plan", "shift", "--quick", "--out", str(tmp_path)]) == 0
    assert "0 of 2 cells done" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--out", "--work"])
@pytest.mark.parametrize("words", [["run", "shift"], ["cell", "shift", "cnn-corner-s0"]])
def test_a_place_that_cannot_be_written_is_named_before_a_training(
    words, option, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(runner, "run_cell", lambda *_, **__: pytest.fail("a training was begun"))
    monkeypatch.setattr(runner, "_run_in_child", lambda *_: pytest.fail("a cell was begun"))
    (tmp_path / "file").write_text("not a folder")
    places = {"--out": str(tmp_path), "--work": str(tmp_path), option: str(tmp_path / "file")}
    assert main([*words, "--quick", *(x for place in places.items() for x in place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "file" in error and len(error.splitlines()) == 1


def test_the_time_left_is_that_of_the_jobs_together(tmp_path):
    """Four equal cells, two at a time, ten minutes each."""
    cells = [cell("cnn", 128, seed=seed, tuned=False) for seed in range(4)]
    progress = runner.Progress(cells, jobs=2)
    for minutes in ("15 min", "10 min", "5 min", "0 min"):
        line = progress.line(DEMO, cells.pop(), runner.ELSEWHERE, 600.0, tmp_path)
        assert line.endswith(f"runs elsewhere; {minutes} left")


def test_a_reader_who_has_enough_ends_it_without_a_word(tmp_path):
    command = [sys.executable, "-m", "vit_teach.experiments", "report", "shift", "--quick"]
    child = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child.stdout.close()  # before the first word: every later one finds the pipe closed
    assert child.stderr.read() == b"" and child.wait(timeout=60) == 141
    child.stderr.close()


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b"])
def test_bad_shards_are_refused(shard, capsys):
    with pytest.raises(SystemExit):
        main(["run", "shift", "--shard", shard])
    assert "must be I/N with 1 <= I <= N" in capsys.readouterr().err


def test_shards_share_the_cells(monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(runner, "_run_in_child", lambda e, c, *_: ran.append(c.name) or 75)
    for number in (1, 2):
        runner.run(DEMO, shard=(number, 2), folder=tmp_path, work=tmp_path)
    assert ran == ["cnn-s0", "cnn-s1", "vit-s0", "vit-s1"]


# --- What is recorded ----------


RECORDED = [
    path
    for path in sorted((ROOT / "data/results").glob("*/*.json"))
    if path.parent.name in EXPERIMENTS
]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recorded_card_is_of_a_declared_cell(path):
    card = results.read_card(path)
    declared = {c.name: c for c in find(path.parent.name).cells(quick=False)}[path.stem]
    assert card["status"] == "complete" and card["seed"] == declared.seed
    if isinstance(declared, Measurement):
        assert card["config"].pop("weights")["source"]
        assert card["config"] == json.loads(json.dumps(declared.settings()))
        assert card["data"]["n"] == declared.n and card["train"]["steps"] == 0
        return
    settings = rates.with_chosen_rate(declared).settings()
    assert card["config"] == json.loads(json.dumps(settings))
    assert card["train"]["steps"] == declared.train.steps
    assert card["cost"]["macs"] == cost.macs(declared.config())
