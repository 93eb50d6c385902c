"""Recorded numbers as words, and the tables behind the plots."""

import pytest

from vit_teach import results
from vit_teach.results.tables import Table, result_table
from vit_teach.site import numbers


def card(model, n, seed, accuracy):
    return {
        "experiment": "demo", "cell": f"{model}-{n}-s{seed}", "status": "complete", "seed": seed,
        "config": {"labels": {"model": model, "images": n}},
        "metrics": {"test_accuracy": accuracy},
    }  # fmt: skip


@pytest.fixture(autouse=True)
def cards(monkeypatch):
    made = [
        card("vit", 500, 0, 0.40), card("vit", 500, 1, 0.44), card("cnn", 500, 0, 0.553),
        card("vit", 5000, 0, 0.6),
    ]  # fmt: skip
    monkeypatch.setattr(results, "recorded", lambda name: [c for c in made if name == "demo"])


def test_a_result_comes_with_its_spread():
    assert numbers.quote("demo test_accuracy model=vit images=500") == "42.0 ± 2.8 % (2 seeds)"
    assert numbers.quote("demo test_accuracy cell=vit-5000-s0") == "60.0 % (one run, seed 0)"


def test_a_gap_has_a_sign_and_counts_the_shared_seeds():
    ahead = numbers.gap("demo test_accuracy model=cnn images=500 ; model=vit images=500")
    assert ahead == "15.3 points"  # both with seed 0
    assert numbers.gap("demo test_accuracy model=vit images=500; model=cnn images=500") == (
        "\N{MINUS SIGN}15.3 points"
    )
    more = numbers.gap("demo test_accuracy model=vit images=5000 ; model=vit images=500")
    assert more == "20.0 points"


def test_a_gap_without_a_shared_seed_takes_all(monkeypatch):
    made = [card("vit", 500, 0, 0.4), card("vit", 500, 2, 0.5), card("cnn", 500, 1, 0.5)]
    monkeypatch.setattr(results, "recorded", lambda name: made)
    assert numbers.gap("demo test_accuracy model=cnn ; model=vit") == "5.0 points"


def test_a_gap_that_rounds_to_nothing_has_no_sign(monkeypatch):
    made = [card("vit", 500, 0, 0.4), card("cnn", 500, 0, 0.4002)]
    monkeypatch.setattr(results, "recorded", lambda name: made)
    for pair in ("model=vit ; model=cnn", "model=cnn ; model=vit"):
        assert numbers.gap(f"demo test_accuracy {pair}") == "0.0 points"


@pytest.mark.parametrize(
    "text",
    [
        "demo test_accuracy model=vit",  # two groups
        "demo test_accuracy model=mlp images=500",  # none
        "other test_accuracy model=vit images=500",
        "demo val_accuracy model=vit images=500",  # not measured
    ],
)
def test_what_is_not_recorded_is_an_error(text):
    with pytest.raises(ValueError, match="groups of recorded cards; it must fit one"):
        numbers.quote(text)


def test_nonsense_is_an_error():
    with pytest.raises(ValueError, match="experiment metric label=value"):
        numbers.quote("demo test_accuracy vit")
    with pytest.raises(ValueError, match="semicolon"):
        numbers.gap("demo test_accuracy model=vit images=500")


def test_a_result_table_has_a_place_for_every_pair():
    from vit_teach.experiments import rows

    table = result_table(
        rows(results.recorded("demo"), ["test_accuracy"]), "model", "images", "Test accuracy"
    )
    assert table.columns == ["500", "5,000"]
    assert dict(table.rows)["cnn"] == ["55.3 %", "not recorded"]
    assert table.caption.startswith("Test accuracy (") and "seed" in table.caption
    with pytest.raises(ValueError, match="more than one result"):
        result_table(rows(results.recorded("demo"), ["test_accuracy"]), "model", "metric", "x")


def test_the_html_is_escaped_and_has_headings():
    page = Table("a<b", ["x&y"], [("<i>", ["1"])], caption="c>d")._repr_html_()
    assert page.count('scope="col"') == 2 and page.count('scope="row"') == 1
    assert "<i>" not in page and "a&lt;b" in page and "x&amp;y" in page and "c&gt;d" in page
    with pytest.raises(ValueError, match="row 'r' has 2 values; there are 1 columns"):
        Table("a", ["b"], [("r", ["1", "2"])], caption="c")
