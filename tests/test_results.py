"""Result cards: what is refused, what is written, what comes back, and how it is summed up."""

import copy
import json
import math
import statistics

import fastjsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_teach import results
from vit_teach.results import cards


def make_card(cell="a", seed=0, value=0.5, **changes):
    arguments = dict(
        seed=seed,
        selection="last step; the test set was looked at once",
        config={"preset": "CIFAR-ViT-Tiny", "image_size": (32, 32), "augment": {"policy": "basic"}},
        data={"source": "stand-in", "split": "train", "n": 100, "fingerprint": "12ab"},
        train={
            "steps": 3, "epochs": 0.5, "wall_s": 1.25, "precision": "float32", "threads": 1,
            "command": "python -m vit_teach.train --preset CIFAR-ViT-Tiny --out runs/a",
        },
        cost={"params": 10, "macs": 20, "train_flops": 6000.0},
        curves={"step": [1, 2, 3], "loss": [2.0, None, 1.0], "val_accuracy": [0.1, 0.2, 0.5]},
        metrics={"val_accuracy": value, "test_accuracy": None, "val_loss": 1.5},
    )  # fmt: skip
    return results.new_card("demo", cell, **{**arguments, **changes})


def changed(path, value, card=None):
    """A copy of a good card with one value set, or with one key taken out (value is ...)."""
    card = copy.deepcopy(card or make_card())
    *folders, last = path.split(".")
    part = card
    for key in folders:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return card


# --- The schema and the check ---------------------------------------------------------------------


def test_schema_is_itself_valid_and_every_key_required_is_described():
    fastjsonschema.compile(cards.SCHEMA)  # raises where the schema itself is wrong
    assert set(cards.SCHEMA["required"]) <= set(cards.SCHEMA["properties"])
    for part in ("data", "train", "cost", "env"):
        schema = cards.SCHEMA["properties"][part]
        assert set(schema["required"]) <= set(schema["properties"])


@pytest.mark.parametrize(
    "path",
    [
        *cards.SCHEMA["required"],
        *(
            f"{part}.{key}"
            for part in ("data", "train", "cost", "env")
            for key in cards.SCHEMA["properties"][part]["required"]
        ),
    ],
)
def test_a_missing_key_is_named(path):
    with pytest.raises(ValueError, match=rf"must contain \['{path.split('.')[-1]}'\] properties"):
        results.validate(changed(path, ...))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "metrics.val_accuracy",
            81.2,
            "metrics.val_accuracy: 81.2 must be smaller than",
        ),
        (
            "metrics.test_accuracy",
            -0.1,
            "metrics.test_accuracy: -0.1 must be bigger than",
        ),
        ("metrics.val_accuracy", "high", "metrics.val_accuracy: 'high' must be number or null"),
        ("curves.val_accuracy", [0.5, 50.0], r"curves.val_accuracy\[1\]: 50.0 must be smaller"),
        ("curves.loss", 3.0, "curves.loss: 3.0 must be array"),
        ("curves.loss", [1.0, math.nan], r"curves.loss\[1\]: nan must be a finite number"),
        ("metrics.val_loss", math.inf, "metrics.val_loss: inf must be a finite number"),
        ("config.lr", torch.tensor(0.1), "config.lr: .* is a Tensor; it must be plain JSON"),
        ("config", {3: "x"}, "config: key 3 must be a string"),
        ("status", "finished", "status: 'finished' must be one of"),
        ("seed", 0.5, "seed: 0.5 must be integer"),
        ("data.n", -1, "data.n: -1 must be bigger than or equal to 0"),
        ("train.threads", 0, "train.threads: 0 must be bigger than or equal to 1"),
        ("selection", "", "selection: '' must be longer than or equal to 1 characters"),
        ("accuracy", 0.5, "card: must not contain {'accuracy'} properties"),
    ],
)
def test_a_wrong_value_is_named(path, value, message):
    with pytest.raises(ValueError, match=message):
        results.validate(changed(path, value))


@pytest.mark.parametrize(
    "text",
    [
        "/home/ada/data",
        "python -m vit_teach.train --out=/tmp/x",
        "read from '/data/cifar'",
        "~/runs/x",
        r"C:\Users\ada",
        "D:/data",
        "file:///x",
        r"\\server\share",
    ],
)
def test_a_machine_path_is_refused_anywhere(text):
    for path in ("train.command", "config.deep", "data.source", "note"):
        with pytest.raises(ValueError, match=f"{path}: .* must not hold a path"):
            results.validate(changed(path, text))
    with pytest.raises(ValueError, match=r"config.all\[1\]: .* must not hold a path"):
        results.validate(changed("config.all", ["x", text]))


@pytest.mark.parametrize(
    "text",
    ["ViT-B/16", "uoft-cs/cifar10, parquet", "https://example.org/a", "and/or", "1 / 2", "runs/x",
     "AMD EPYC / 2 GHz", "note: a ratio", "a:b"],
)  # fmt: skip
def test_other_slashes_are_no_machine_path(text):
    results.validate(changed("note", text))


# --- Making a card --------------------------------------------------------------------------------


def test_new_card_fills_in_this_machine_and_reads_tuples_as_lists():
    card = make_card(note="one thread was shared")
    assert card["env"] == results.environment()
    assert card["env"]["torch"] == torch.__version__
    assert card["config"]["image_size"] == [32, 32]
    assert card["note"] == "one thread was shared" and "note" not in make_card()
    assert card["status"] == "complete"


def test_new_card_refuses_a_bad_one():
    with pytest.raises(ValueError, match="metrics.val_accuracy"):
        make_card(value=50)


def test_cpu_name_is_read_or_falls_back(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast Chip 3000 @ 2GHz\n\nprocessor\t: 1\n")
    assert cards.cpu_name(str(info)) == "Fast Chip 3000 @ 2GHz"
    info.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")  # an ARM machine names no model
    assert cards.cpu_name(str(info))
    assert cards.cpu_name(str(tmp_path / "absent"))


def test_portable_command_keeps_no_machine_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--out", str(tmp_path / "runs" / "x"), f"--data={tmp_path.parent / 'my data'}",
        "--preset", "ViT-B/16", "--lr=1e-3", "~/weights.safetensors",
    ]  # fmt: skip
    command = results.portable_command("vit_teach.train", arguments)
    assert command == (
        "python -m vit_teach.train --out runs/x '--data=my data' --preset ViT-B/16 --lr=1e-3 "
        "weights.safetensors"
    )
    results.validate(changed("train.command", command))


# --- Writing and reading --------------------------------------------------------------------------


def test_a_card_comes_back_as_it_was_written(tmp_path):
    card = make_card()
    path = results.write_card(card, tmp_path / "demo" / "a.json")
    assert path == tmp_path / "demo" / "a.json"
    assert results.read_cards(tmp_path) == [card]
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]  # no temporary file stays


finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.none() | st.integers(-(2**53), 2**53) | finite
words = st.text(st.characters(exclude_characters="/\\~:", exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    numbers | st.booleans() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=20, deadline=None)
@given(config=st.dictionaries(words, values, max_size=4), curve=st.lists(numbers, max_size=5))
def test_any_plain_configuration_survives(tmp_path_factory, config, curve):
    card = make_card(config=config, curves={"loss": curve})
    path = results.write_card(card, tmp_path_factory.mktemp("cards") / "a.json")
    assert results.read_cards(path.parent) == [card]


def test_the_same_card_gives_the_same_bytes_in_the_order_of_the_schema(tmp_path):
    card = make_card()
    backwards = {key: card[key] for key in reversed(card)}
    backwards["config"] = {key: card["config"][key] for key in reversed(card["config"])}
    backwards["train"] = {key: card["train"][key] for key in reversed(card["train"])}
    first = results.write_card(card, tmp_path / "a.json").read_bytes()
    assert results.write_card(backwards, tmp_path / "b.json").read_bytes() == first
    again = json.loads(first)
    schema = cards.SCHEMA["properties"]
    assert list(again) == [key for key in schema if key in again]
    assert list(again["train"]) == list(schema["train"]["properties"])
    assert list(again["config"]) == sorted(again["config"])
    assert '"step": [1, 2, 3],' in first.decode()  # a curve stays on its line


def test_a_refused_or_interrupted_write_leaves_the_old_card(tmp_path, monkeypatch):
    path = results.write_card(make_card(value=0.25), tmp_path / "a.json")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="smaller than or equal to 1"):
        results.write_card(changed("metrics.val_accuracy", 25), path)

    def full_disk(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("vit_teach.paths.os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        results.write_card(make_card(value=0.75), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_cards_are_read_from_all_folders_in_order_or_by_experiment(tmp_path):
    for name, cell in (("two", "b"), ("one", "b"), ("one", "a")):
        card = changed("experiment", name, make_card(cell))
        results.write_card(card, tmp_path / name / f"{cell}.json")
    found = [(card["experiment"], card["cell"]) for card in results.read_cards(tmp_path)]
    assert found == [("one", "a"), ("one", "b"), ("two", "b")]
    assert [card["cell"] for card in results.read_cards(tmp_path, "one")] == ["a", "b"]
    assert results.read_cards(tmp_path, "three") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ('{"experiment": "demo", ', "Expecting property name"),
        ("[1, 2]", "a list must be an object"),
        ('{"experiment": "demo"}', "card: must contain"),
        ('{"experiment": NaN}', "experiment: nan must be a finite number"),
        (b"\xff\xfe{}", "can't decode"),
    ],
)
def test_an_invalid_file_is_named(tmp_path, text, message):
    results.write_card(make_card(), tmp_path / "good.json")
    bad = tmp_path / "bad.json"
    bad.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"bad.json is not a valid result card: .*{message}"):
        results.read_cards(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        results.read_cards(tmp_path / "nowhere")


def test_every_committed_card_is_valid():
    from pathlib import Path

    folder = Path(results.__file__).parents[1] / "data" / "results"
    if not folder.is_dir():
        pytest.skip("the package is installed without the repository's data/results")
    for card in results.read_cards(folder):
        assert card["status"] == "complete"


# --- Summing up -----------------------------------------------------------------------------------


def test_summary_gives_mean_spread_number_and_seeds_of_each_group():
    scores = {("basic", 2): 0.5, ("basic", 0): 0.6, ("basic", 1): 0.8, ("strong", 4): 0.9}
    cards = [
        make_card(f"{policy}-{seed}", seed, value, config={"augment": {"policy": policy}})
        for (policy, seed), value in scores.items()
    ]
    basic, strong = results.summarise(cards, by=("config.augment.policy", "data.n"))
    assert basic == {
        "config.augment.policy": "basic", "data.n": 100, "metric": "val_accuracy",
        "mean": pytest.approx(1.9 / 3), "std": pytest.approx(statistics.stdev([0.5, 0.6, 0.8])),
        "n": 3, "seeds": [0, 1, 2],
    }  # fmt: skip
    assert strong["mean"] == 0.9 and strong["std"] is None and strong["seeds"] == [4]
    assert results.percent(strong) == "90.0 % (one run, seed 4)"
    assert results.percent(basic) == "63.3 ± 15.3 % (3 seeds)"


@settings(max_examples=25, deadline=None)
@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_summary_does_not_depend_on_the_order_of_cards(scores):
    cards = [
        {"cell": "x", "status": "complete", "seed": seed, "metrics": {"val_accuracy": score}}
        for seed, score in enumerate(scores)
    ]
    (row,) = results.summarise(cards)
    assert results.summarise(cards[::-1]) == [row]
    tensor = torch.tensor(scores, dtype=torch.float64)
    assert row["mean"] == pytest.approx(float(tensor.mean()))
    assert row["std"] == pytest.approx(float(tensor.std()), abs=1e-12)


def test_summary_leaves_out_what_did_not_run_to_its_end():
    cards = [make_card("a", 0, 0.5), make_card("a", 1, 0.1, status="stopped")]
    (row,) = results.summarise(cards, by="cell")
    assert row["n"] == 1 and row["mean"] == 0.5
    assert results.summarise(cards[1:]) == [] and results.summarise([]) == []


def test_summary_refuses_what_it_cannot_sum_up():
    twice = [make_card("a", 0), make_card("b", 0)]
    with pytest.raises(ValueError, match="each seed once"):
        results.summarise(twice, by=("experiment",))
    with pytest.raises(ValueError, match="'config.depth' is not in the card of cell 'a'"):
        results.summarise(twice, by=("config.depth",))
    with pytest.raises(ValueError, match="'metrics.f1' is not in the card of cell 'a'"):
        results.summarise(twice, metric="f1")
    with pytest.raises(ValueError, match="metric='test_accuracy' was not measured in cell 'a'"):
        results.summarise(twice, metric="test_accuracy")


def test_a_card_under_another_name_is_not_taken_for_it(tmp_path):
    path = results.write_card(make_card("a"), tmp_path / "demo" / "b.json")
    with pytest.raises(ValueError, match="b.json holds the card of demo/a, not of demo/b"):
        results.read_named_card(path, "demo", "b")


@pytest.mark.parametrize("text", [
    "cannot read '/data/x/train.parquet'", "see C:\\Users\\me\\x.txt", "at ~/runs/a.pt",
    "no such file: file:///tmp/a/b.png", "/a/b/c",
])  # fmt: skip
def test_the_reason_of_a_failure_can_always_be_put_on_a_card(text):
    card = make_card(note=cards.without_machine_paths(text), status="failed")
    assert card["note"] and len(card["note"]) < len(text)
