"""The benchmark: turns, ratios, the rule of comparison, the records; no time is asserted here."""

import json
import os
import sqlite3
import statistics

import fastjsonschema
import matplotlib.pyplot as plt
import pytest
import torch
from bench import __main__ as command
from bench import accuracy, costs, loading, machine, models, recipes, record, speed, startup, turns

import vit_teach as vt
from vit_teach.data.imageset import normalise
from vit_teach.paths import ROOT
from vit_teach.site import speed as page

RECORDS = sorted(record.FOLDER.rglob("*.json"))


# --- Turns and ratios ---------------------------------------------------------------------------


class Runner:
    """A contender without a process: it writes down when its turn was."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def turn(self, seconds):
        self.log.append((self.name, seconds))
        return len(self.log)


def test_turns_go_round_and_the_first_rounds_do_not_count():
    log = []
    rates = turns.in_turns([Runner(name, log) for name in "ABC"], 2, seconds=0.5, dropped=1)
    assert [name for name, _ in log] == list("ABCABCABC") and {s for _, s in log} == {0.5}
    assert rates == {"A": [4, 7], "B": [5, 8], "C": [6, 9]}


def counting(amount):
    return lambda: amount, {"amount": amount}


def failing():
    raise ValueError("no such model")


def test_a_contender_lives_in_its_own_process_and_takes_other_work():
    contender = turns.Contender("one", counting, 3.0)
    try:
        assert contender.facts == {"amount": 3.0}
        assert contender.turn(0.001) > 0
        contender.prepare(counting, 5.0)
        assert contender.facts == {"amount": 5.0}
        with pytest.raises(RuntimeError, match="one failed: ValueError: no such model"):
            contender.prepare(failing)
        assert contender.process.is_alive()
    finally:
        contender.close()
    assert not contender.process.is_alive()


def test_a_rate_counts_at_least_two_calls():
    calls = []
    assert turns.rate(lambda: calls.append(1) or 7.0, seconds=0) > 0
    assert len(calls) == 2


def test_a_ratio_is_the_median_over_rounds_with_half_the_range():
    value, spread = turns.ratio([10, 30, 40], [10, 10, 20])  # 1, 3, 2
    assert (value, spread) == (2, 1)
    with pytest.raises(ValueError):
        turns.ratio([1.0], [1.0, 2.0])


# --- The rule of comparison ----------------------------------------------------------------------


def made(ratio, spread=0.1, **machine_changes):
    kind = {"processor": "x", "cores": 2, "threads": 2, "matrix_units": [], "gpu": None,
            "system": "Linux", "load": [0.1, 0.1, 0.1]}  # fmt: skip
    sample = {"group": "g", "name": "n", "unit": "s", "value": 1.0, "spread": 0.0, "samples": [1.0],
              "facts": {}}  # fmt: skip
    return {
        "schema": 1, "part": "step", "date": "2026-01-01T00:00:00Z",
        "command": "python -m tools.bench --only step", "machine": {**kind, **machine_changes},
        "versions": {"python": "3", "vit_teach": "0", "torch": "2"}, "settings": {},
        "measurements": [sample],
        "ratios": [{"group": "float32", "name": "timm", "ratio": ratio, "spread": spread}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("new", "falls"),
    [
        (made(1.5), False),
        (made(0.95), False),  # within the recorded spread
        (made(0.85), True),
        (made(0.85, spread=0.2), False),  # within its own
        (made(0.1, processor="y"), False),
        (made(0.1, matrix_units=["AMX"]), False),
        ({**made(0.1), "settings": {"batch": 16}}, False),
        (made(0.1, load=[9.0, 9.0, 9.0]), True),  # the load is no part of the kind
    ],
)
def test_a_ratio_falls_if_it_is_below_the_record_by_more_than_the_spread(new, falls):
    found = record.fallen(new, made(1.0))
    assert len(found) == falls
    assert all("step, float32, against timm" in sentence for sentence in found)


def test_a_contender_that_is_gone_is_not_compared():
    assert record.fallen({**made(1.0), "ratios": []}, made(1.0)) == []


@pytest.mark.parametrize(("ratio", "code"), [(1.0, 0), (0.5, 1)])
def test_the_command_fails_for_what_fell_and_keeps_the_record(ratio, code, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RUNS", tmp_path / "runs")
    measured = [(made(r)["measurements"], made(r)["ratios"]) for r in (1.0, ratio, ratio)]
    monkeypatch.setitem(command.PARTS, "step", lambda *_: measured.pop(0))
    line = ["--only", "step", "--folder", str(tmp_path)]
    assert command.main(line) == 0  # nothing recorded yet: this is the record
    assert command.main(line) == code
    assert record.read(tmp_path / "step.json")["ratios"][0]["ratio"] == 1.0
    assert record.read(tmp_path / "runs" / "bench" / "step.json")["ratios"][0]["ratio"] == ratio
    assert command.main([*line, "--record"]) == 0
    assert record.read(tmp_path / "step.json")["ratios"][0]["ratio"] == ratio


def test_the_command_refuses_what_measures_nothing(capsys):
    assert command.main(["--rounds", "0"]) == 2
    assert "must be positive" in capsys.readouterr().err


# --- Records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_what_is_committed_follows_the_schema_and_its_own_samples(path):
    found = record.read(path)
    named = "accuracy" if path.parent != record.FOLDER else path.stem
    assert found["part"] == named and f"--only {named}" in found["command"]
    for row in found["measurements"]:
        assert row["value"] == pytest.approx(statistics.median(row["samples"]), rel=1e-3)
        assert row["spread"] == pytest.approx(turns.half_range(row["samples"]), rel=1e-3, abs=1e-9)
    samples = {(row["group"], row["name"]): row["samples"] for row in found["measurements"]}
    for row in found["ratios"]:
        ours, theirs = samples.get((row["group"], models.BOOK)), samples[row["group"], row["name"]]
        if ours is None:  # seconds: the other one's come first, so that above 1 is faster
            ours, theirs = theirs, samples[row["group"], "vit_teach"]
        value, spread = turns.ratio(ours, theirs)
        assert (row["ratio"], row["spread"]) == (
            pytest.approx(value, rel=1e-2), pytest.approx(spread, rel=1e-2, abs=1e-3)
        )  # fmt: skip


@pytest.mark.parametrize("part", command.SHORT)
def test_a_table_has_a_row_for_each_measurement_and_none_where_nothing_is_recorded(part, tmp_path):
    found = page.recorded(part)
    rows = sum(len(make(found).rows) for make in command.TABLES[part])
    assert rows == len(found["measurements"])
    assert all(make(page.recorded(part, tmp_path)).rows == [] for make in command.TABLES[part])
    assert len(page.measured_on([found, page.recorded(part, tmp_path)]).rows) <= 1


def test_the_cells_of_the_page_run():
    cells = json.loads((ROOT / "book/appendix/speed.ipynb").read_text(encoding="utf-8"))["cells"]
    variables = {}
    plt.close("all")
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], cell["id"], "exec"), variables)
    assert all(variables[part]["measurements"] for part in command.SHORT)
    assert len(plt.get_fignums()) == len(command.SHORT)
    plt.close("all")


def test_what_the_page_says_of_the_races_is_what_is_recorded():
    """In words: ahead of all as used; at equal types only of those with the fused attention."""
    slow = ("timm", "Hugging Face", "torchvision")
    for row in page.recorded("step")["ratios"]:
        lowest = row["ratio"] - row["spread"]
        if row["group"] == "as used":
            assert row["ratio"] > 1.5 and lowest > 1
        elif row["group"] == "bfloat16" and row["name"] in slow:
            assert lowest > 1
        else:
            assert lowest < 1.005


def test_accuracies_are_means_over_seeds_best_first():
    facts = {"minutes": 1.0, "images": 100, "parameters": 10, "precision": "float32"}
    runs = [
        {"measurements": [{"name": name, "value": value, "facts": facts}]}
        for name, value in (("tutorial", 0.3), ("book", 0.5), ("book", 0.7), ("tutorial", 0.3))
    ]
    first, last = page.accuracy_rows(runs)
    assert (first["value"], first["samples"]) == (pytest.approx(0.6), [0.5, 0.7])
    assert page.accuracy_table(runs).rows[0][1][:2] == ["60.0 ± 14.1 %", "2"]
    assert last["spread"] == 0 and page.accuracy_table([]).rows == []


def test_the_parts_of_the_schema_are_those_of_the_command():
    assert set(record.SCHEMA["properties"]["part"]["enum"]) == {*command.PARTS, "accuracy"}
    assert set(command.SHORT) < set(command.PARTS)


def test_a_record_is_written_whole_or_not_at_all(tmp_path):
    path = record.write(made(1.0), tmp_path / "new" / "step.json")
    assert record.read(path) == made(1.0)
    with pytest.raises(fastjsonschema.JsonSchemaException):
        record.write({**made(2.0), "date": "today"}, path)
    assert record.read(path) == made(1.0) and len(list(path.parent.iterdir())) == 1


def test_a_finished_record_says_what_it_depends_on():
    with record.Watch(
        "step", "python -m tools.bench --folder /disk/records/x", {"rounds": 1}
    ) as watch:
        found = watch.finished([{**made(1.0)["measurements"][0], "value": 1.23456789}], [])
    record.check(found)
    assert found["measurements"][0]["value"] == 1.2346
    assert found["command"] == "python -m tools.bench --folder x"
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert len(found["machine"]["load"]) == 3
    assert machine.same_kind(found["machine"], machine.describe())


# --- Contenders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.MODELS)
def test_contenders_have_as_many_parameters_and_give_ten_scores(name):
    if name.startswith("vit-pytorch"):
        pytest.importorskip("vit_pytorch")
    model = models.build(name).eval()
    if name in models.EQUAL:
        assert models.parameters(model) == vt.cost.parameters(models.CONFIG)
    with torch.no_grad():
        assert model(models.batch(2, "cpu")[0]).shape == (2, 10)


@pytest.mark.parametrize(("name", "more"), [("timm", 1), ("vit-pytorch ViT", 20_000)])
def test_another_model_is_refused(name, more):
    count = vt.cost.parameters(models.CONFIG)
    models.check_size(name, count)
    with pytest.raises(ValueError, match=f"{name} has .* parameters; the same model has"):
        models.check_size(name, count + more)


@pytest.mark.parametrize(
    "made_by",
    [
        lambda: speed.plain_step("this book", "float32", False, 2),
        lambda: speed.plain_step("this book", "bfloat16", True, 2),
        lambda: speed.inference("this book", "bfloat16", True, 2),
        lambda: speed.our_step(2),
    ],
)
def test_the_work_of_a_turn_counts_its_images(made_by):
    work, facts = made_by()
    assert work() == 2 and facts["parameters"] == vt.cost.parameters(models.CONFIG)


def test_both_loaders_give_the_same_numbers():
    from torchvision import transforms as T

    images = vt.data.shapes(3, seed=0)
    still = T.Compose(loading.transforms().transforms[2:])  # without the random ones
    theirs = torch.stack([picture for picture, _ in loading.Pictures(images, still)])
    torch.testing.assert_close(theirs, normalise(images.images), rtol=0, atol=1e-5)
    for work, _ in (loading.ours(200, 32), loading.torchvisions(0, 200, 32)):
        assert work() == 1


# --- Recipes, start, cost ------------------------------------------------------------------------


def test_a_rate_rises_stays_or_falls():
    falling, level = recipes.RECIPES["cct"], recipes.RECIPES["tutorial"]
    assert falling.rate(falling.warmup) == pytest.approx(5.5e-4)
    assert falling.rate(falling.warmup / 2) == pytest.approx(2.75e-4)
    assert falling.rate(1.0) == pytest.approx(1e-5)
    assert level.rate(0.0) == level.rate(1.0) == 3e-4


@pytest.mark.parametrize(("name", "published"), [("vit-lite", 3.717e6), ("cct", 3.760e6)])
def test_rebuilt_models_have_the_published_size(name, published):
    pytest.importorskip("vit_pytorch")
    count = models.parameters(recipes.RECIPES[name].model())
    assert count == pytest.approx(published, abs=500)


def test_mixing_ends_when_it_should():
    images, labels = models.batch(4, "cpu")
    recipe = recipes.RECIPES["cct"]
    _, targets = accuracy.mixed(recipe, 0.1, images.clone(), labels)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    assert accuracy.mixed(recipe, 0.9, images, labels)[1] is labels


def test_a_run_on_record_is_not_made_again(tmp_path, monkeypatch):
    source = vt.data.stand_in("train").source
    found = {**made(1.0), "part": "accuracy", "ratios": []}
    found["measurements"] = [
        {**found["measurements"][0], "facts": {"minutes": 1.0, "data": source, "seed": 0}}
    ]
    record.write(found, tmp_path / "book-seed0.json")
    monkeypatch.setattr(accuracy, "run", None)  # would fail
    assert accuracy.measure(["book"], [0], 1.0, "shapes", tmp_path, "python") == []


def test_chapter_times_are_those_of_the_newest_build(tmp_path):
    for age, seconds in (("old", 9.0), ("new", 4.5)):
        (tmp_path / age).mkdir()
        with sqlite3.connect(tmp_path / age / "global.db") as database:
            database.execute("create table nbcache (uri text, data text)")
            rows = [(f"/x/book/{name}.ipynb", json.dumps({"execution_seconds": seconds}))
                    for name in ("02_patchify", "exercises/ex02")]  # fmt: skip
            database.executemany("insert into nbcache values (?, ?)", rows)

    os.utime(tmp_path / "old", (1, 1))
    assert startup.chapter_times(tmp_path) == {"02_patchify": 4.5}


def test_memory_kept_grows_with_the_batch_and_holds_the_weights():
    config = costs.config_of(tokens=16, width=32, depth=1)
    assert config.num_tokens == 16
    small, large = (costs.kept_bytes(costs.step_of(config, batch)) for batch in (2, 4))
    assert 4 * vt.cost.parameters(config) / 2 < small < large < 2 * small


def test_the_other_libraries_are_in_a_file_of_their_own():
    text = (ROOT / "requirements-bench.txt").read_text()
    assert "vit-pytorch" in text and "-r requirements.txt" in text
