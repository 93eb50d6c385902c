"""What a chapter is told about an experiment whose cards are not all there."""

from card_tools import made_up_cards

from vit_teach import experiments, results
from vit_teach.experiments import find
from vit_teach.experiments.lab import runner
from vit_teach.widgets import GridExplorer


def write(cards, folder):
    for card in cards:
        results.write_card(card, folder / card["experiment"] / f"{card['cell']}.json")


OF_ALL = len(find("recipe").cells(False))


def test_nothing_a_part_and_all(tmp_path, capsys):
    assert experiments.so_far("recipe", tmp_path) == []
    said = capsys.readouterr().out
    assert f"recipe: none of its {OF_ALL} trainings is recorded yet" in said
    assert "python -m vit_teach.experiments run recipe" in said

    cards = made_up_cards("recipe", lambda labels, seed: 0.5)
    cell = find("recipe").cells(False)[0]
    assert runner.card_path(find("recipe"), cell, tmp_path).parent == tmp_path / "recipe"
    failed = {**cards[1], "status": "failed", "note": "out of memory", "metrics": {}}
    write([cards[0], failed], tmp_path)
    assert [card["cell"] for card in experiments.so_far("recipe", tmp_path)] == [cell.name]
    said = capsys.readouterr().out
    assert f"1 of its {len(cards)} trainings are recorded (seeds 0; 0.1 hours of one core)" in said
    assert "To record the rest" in said

    write(cards, tmp_path)
    found = experiments.so_far("recipe", tmp_path)
    assert len(found) == len(GridExplorer(found).cells) == len(cards)
    said = capsys.readouterr().out
    assert (
        f"all its {len(cards)} trainings are recorded (seeds 0, 1; {len(cards) / 10:.1f} hours"
        in said
    )
    assert "the rest" not in said

    write([{**cards[0], "same_training_as": "shuffle/vit-none-s0"}], tmp_path)
    experiments.so_far("recipe", tmp_path)
    assert "2.6 hours of one core,\n1 shared with other experiments)" in capsys.readouterr().out


def test_a_card_of_no_declared_cell_is_not_counted(tmp_path, capsys):
    card = made_up_cards("recipe", lambda labels, seed: 0.5)[0]
    write([{**card, "cell": "another-s0"}], tmp_path)
    assert experiments.so_far("recipe", tmp_path) == []
    assert f"none of its {OF_ALL}" in capsys.readouterr().out
