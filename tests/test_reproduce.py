"""The table of all recorded numbers: every card, every page, and no number without its spread."""

import json

import pytest

from vit_teach.site import reproduce


def card(experiment, cell, seed=0, status="complete", labels=None, **metrics):
    return {
        "experiment": experiment, "cell": cell, "status": status, "seed": seed,
        "config": {"labels": labels} if labels else {},
        "data": {"source": "CIFAR-10", "n": 45000},
        "train": {"wall_s": 1800.0, "threads": 2, "command": f"python -m make {cell}"},
        "env": {"cpu": "a <fast> one"},
        "metrics": metrics,
    }  # fmt: skip


@pytest.fixture
def found():
    vit, cnn = {"model": "vit", "images": 500}, {"model": "cnn", "images": 500}
    return {
        "train": [card("train", "long-run", val_accuracy=0.7, test_accuracy=0.69)],
        "data_size": [
            card("data_size", "vit-500-s0", 0, labels=vit, val_accuracy=0.4, test_accuracy=0.41),
            card("data_size", "vit-500-s1", 1, labels=vit, val_accuracy=0.42, test_accuracy=0.43),
            card("data_size", "cnn-500-s0", 0, labels=cnn, val_accuracy=0.5),
            card("data_size", "cnn-500-s1", 1, "failed", cnn),
        ],
    }


@pytest.fixture
def book(tmp_path):
    cells = {
        "a.ipynb": ["# Page A", 'vt.weights.recorded("long-run")'],
        "b.ipynb": ["# Page B", "cards = vt.results.recorded('train')"],
        "c.ipynb": ["# Page C", 'recorded_table("data_size", "model")'],
        "f.ipynb": ["# Page F", 'cards = vt.experiments.so_far("data_size")'],
        "e.ipynb": ["# Page E", 'print("train", "data_size")'],
    }
    for name, sources in cells.items():
        notebook = {"cells": [{"source": source.splitlines(True)} for source in sources]}
        (tmp_path / name).write_text(json.dumps(notebook))
    (tmp_path / "d.md").write_text("# Page D\n\n{result}`data_size test_accuracy model=vit`\n")
    return tmp_path


def test_pages_are_found_by_experiment_by_cell_and_by_role(found, book):
    assert reproduce.pages_using("train", found["train"], book) == ["Page A", "Page B"]
    assert reproduce.pages_using("data_size", found["data_size"], book) == [
        "Page C",
        "Page D",
        "Page F",
    ]
    assert reproduce.pages_using("data", [], book) == []


def test_the_overview_counts_complete_cells_and_their_time(found, book):
    table = reproduce.overview(found, book)
    rows = dict(table.rows)
    assert rows["train"] == ["1", "0", "1.0 h", "CIFAR-10", "a <fast> one", "Page A; Page B"]
    assert rows["data_size"][:3] == ["3 of 90", "0, 1", "3.0 h"]


def test_a_shared_training_is_counted_once(found, book):
    found["data_size"][0]["same_training_as"] = "train/long-run"
    assert dict(reproduce.overview(found, book).rows)["data_size"][2] == "2.0 h"
    (_, _, _, _, cells) = reproduce.Details(found).parts[1]
    assert "as train/long-run" in dict(cells.rows)["vit-500-s0"]


def test_every_card_is_there_and_every_mean_has_its_spread(found):
    details = reproduce.Details(found)
    for shown in (str(details), details._repr_html_()):
        for cards in found.values():
            for one in cards:
                assert one["cell"] in shown and one["train"]["command"] in shown
        assert "model vit, images 500" in shown
        assert "42.0 ± 1.4 % (2 seeds)" in shown  # test accuracy of the two ViTs
        assert "50.0 % (one run, seed 0)" in shown and "not looked at" in shown
        assert "failed" in shown
        assert "python -m vit_teach.experiments run data_size" in shown
    assert "a &lt;fast&gt; one" in details._repr_html_()


def test_a_failed_card_is_in_no_mean(found):
    (_, _, _, means, cells) = reproduce.Details(found).parts[1]
    assert dict(means.rows)["model cnn, images 500"] == [
        "50.0 % (one run, seed 0)",
        "not looked at",
    ]
    assert len(cells.rows) == 4


def test_html_folds_the_tables_and_lets_the_keyboard_scroll(found):
    shown = reproduce.Details(found)._repr_html_()
    assert shown.count("<details>") == shown.count('tabindex="0"') == 4


def test_the_books_own_cards_are_all_there():
    found = reproduce.recorded_by_experiment()
    shown = reproduce.Details(found)._repr_html_()
    files = sorted((reproduce.ROOT / "data" / "results").rglob("*.json"))
    assert files and sum(map(len, found.values())) == len(files)
    for file in files:
        assert json.loads(file.read_text())["cell"] in shown
