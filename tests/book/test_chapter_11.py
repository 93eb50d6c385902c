"""Chapter 11: its parts are fair, its formulas hold, its solutions run, its records are shown."""

import functools

import chapters
import pytest
import torch

import vit_teach as vt

NAME = "11_data_size"


def accuracy(labels, seed):
    """Made up: the CNN has at n images what the ViT has at ten times as many."""
    if "per_class" in labels:  # frozen features
        return 0.8
    tens = torch.tensor(float(labels["images"])).log10().item()
    shift = {"cnn": 1.0, "hybrid": 0.5, "vit": 0.0}[labels["model"]]
    return 0.1 + 0.12 * (tens + shift) + 0.001 * seed


@functools.cache
def chapter():
    """The variables of the chapter after its cells: live runs made up, nothing recorded."""
    variables = chapters.run_on_made_up_cards(NAME, accuracy)
    torch.set_printoptions(profile="default")
    return variables


@pytest.mark.parametrize("sizes", [(40, 40, 40), (7, 30, 19)])
def test_dealt_beginnings_are_balanced_and_depend_on_the_seed(sizes):
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    orders = [chapter()["dealt"](labels, seed) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    for order in orders:
        assert order.sort().values.tolist() == list(range(len(labels)))
        for n in range(1, 3 * min(sizes) + 1):
            counts = labels[order[:n]].bincount(minlength=3)
            assert counts.max() - counts.min() <= 1


def test_the_table_of_the_paper_says_what_the_text_says_of_it():
    table = chapter()["table5"]
    for large, base in (("L/32", "B/32"), ("L/16", "B/16")):
        assert table[large][0] < table[base][0] and table[large][2] > table[base][2]
        assert abs(table[base][2] - table[base][1]) < 1 < table[large][2] - table[large][1]
    assert max(column[2] for column in table.values()) == table["L/16"][2]


def test_the_chapter_says_what_is_recorded_whether_it_is_nothing_or_all(capsys):
    run = functools.partial(chapters.run_on_made_up_cards, NAME, accuracy)
    chapter()
    capsys.readouterr()
    nothing = run(dict(chapter()), start="def gaps")
    printed = capsys.readouterr().out
    assert nothing["found"] == [] and "ViT" not in printed
    run(dict(chapter()), start='so_far("data_size")', recorded=True)
    printed = capsys.readouterr().out
    assert "basic       5,000 images: CNN minus ViT +12.0 points, ± 0.0, clear" in printed
    assert "CNN,    500 images: 54.5%; the ViT needs 10.0 times as many" in printed
    assert "CNN, 15,000 images: 72.2%; the ViT needs more than 3 times as many" in printed


def test_a_gap_is_of_pairs_and_needs_three_of_them_for_an_error():
    def card(model, seed, test):
        labels = {"model": model, "augment": "basic", "images": 500}
        return {"config": {"labels": labels}, "seed": seed, "metrics": {"test_accuracy": test}}

    cards = [card("cnn", 0, 0.6), card("cnn", 1, 0.7), card("vit", 0, 0.5), card("hybrid", 1, 0.4)]
    assert list(chapter()["gaps"](cards)) == [("basic", 500, pytest.approx(10), None)]
    cards += [card("vit", 1, 0.59), card("vit", 2, 0.4), card("cnn", 2, 0.52)]
    ((_, _, gap, error),) = chapter()["gaps"](cards)
    assert gap == pytest.approx(11) and error == pytest.approx(1 / 3**0.5)  # of 10, 11 and 12


def test_the_clear_limit_is_students():
    """The 97.5 % point of t with 2 degrees of freedom, by playing three pairs."""
    torch.manual_seed(0)
    apart = torch.randn(400_000, 3, dtype=torch.float64)
    error = apart.std(dim=1) / 3**0.5
    assert ((apart.mean(dim=1) / error).abs() > 4.3).double().mean() == pytest.approx(
        0.05, abs=0.003
    )


def test_what_the_text_says_came_out_is_what_the_cards_say():
    cards = [c for c in vt.results.recorded("data_size") if c["status"] == "complete"]
    light = [c for c in cards if c["config"]["labels"]["augment"] == "basic"]
    test = {(c["config"]["labels"]["model"], c["config"]["labels"]["images"], c["seed"]):
            c["metrics"]["test_accuracy"] for c in light}  # fmt: skip
    models, sizes, seeds = ("vit", "hybrid", "cnn"), (500, 1_500, 5_000, 15_000, 45_000), (0, 1, 2)
    assert set(test) == {(m, n, s) for m in models for n in sizes for s in seeds}
    leads = []  # of the hybrid over the ViT
    for seed in seeds:
        gap = [test["cnn", n, seed] - test["vit", n, seed] for n in sizes]
        assert min(gap) > 0.03
        gain = {m: test[m, 45_000, seed] - test[m, 15_000, seed] for m in models}
        assert min(gain, key=gain.get) == "cnn"
        assert all(test["hybrid", n, seed] < test["cnn", n, seed] for n in sizes)
        leads += [(test["hybrid", n, seed] - test["vit", n, seed], n, seed) for n in sizes]
    (behind,) = [lead for lead in leads if lead[0] <= 0]
    assert behind[1:] == (5_000, 1) and behind[0] > -0.003

    rows = vt.experiments.rows(light, ["test_accuracy"])
    mean = {(row["model"], row["images"]): row["mean"] for row in rows}
    gap = [mean["cnn", n] - mean["vit", n] for n in sizes]
    assert gap[1] > gap[2] > gap[3] > gap[4]
    larger = {test["cnn", 500, s] - test["vit", 500, s] > test["cnn", 1_500, s]
              - test["vit", 1_500, s] for s in seeds}  # fmt: skip
    assert larger == {True, False}  # the seeds disagree
    for n in sizes:
        assert mean["vit", n] < mean["hybrid", n] < mean["cnn", n]
        assert mean["hybrid", n] - mean["vit", n] < mean["cnn", n] - mean["hybrid", n]
    clear = {(a, n): points > 4.3 * error for a, n, points, error in chapter()["gaps"](cards)}
    assert [place for place, found in clear.items() if not found] == [("strong+mix", 45_000)]
    for seed in seeds:  # two to three times as many images, and more than three at 15,000
        curve = {n: test["vit", n, seed] for n in sizes}
        for n in sizes[:3]:
            assert 2 < chapter()["images_needed"](curve, test["cnn", n, seed]) / n < 3
        assert max(curve.values()) < test["cnn", 15_000, seed]
    spread = {n: sum(row["std"] for row in rows if row["images"] == n) for n in sizes}
    assert min(spread[500], spread[1_500]) > max(spread[n] for n in sizes[2:])


def test_what_thirty_passes_bring_is_what_the_text_says():
    longer = {c["cell"]: c["metrics"]["test_accuracy"] for c in vt.results.recorded("augmentation")}
    models = ("vit", "hybrid", "cnn")
    thirty, ten = ({m: longer[f"{m}-basic-{n}-s0"] for m in models} for n in (30, 10))
    assert thirty["cnn"] - ten["cnn"] < min(thirty[m] - ten[m] for m in ("vit", "hybrid"))
    assert thirty["hybrid"] > thirty["cnn"] + 0.01


def test_which_evaluation_was_kept_is_what_the_text_says():
    kept = {}  # which of the ten evaluations
    for card in vt.results.recorded("data_size"):
        number = round(10 * card["train"]["kept_step"] / card["train"]["steps"])
        kept.setdefault(tuple(card["config"]["labels"].values()), []).append(number)
    kept = {(m, n, a): sorted(found) for (a, n, m), found in kept.items()}
    assert kept["vit", 500, "basic"] == [1, 1, 1] and kept["vit", 1_500, "basic"] == [1, 2, 2]
    assert kept["hybrid", 500, "basic"][:2] == [1, 1] and 4 <= min(kept["vit", 5_000, "basic"])
    assert all(found == [10, 10, 10] for (m, *_), found in kept.items() if m == "cnn")
    assert min(min(found) for (_, n, _), found in kept.items() if n >= 15_000) == 8


def means(experiment, *labels, metric="test_accuracy"):
    """Means over seeds, by the values of these labels."""
    found = vt.experiments.rows(vt.results.recorded(experiment), [metric])
    return {tuple(row[label] for label in labels): row["mean"] for row in found}


def test_what_the_frozen_model_brings_is_what_the_text_says():
    frozen = means("pretrained", "size", "per_class")
    scratch = means("data_size", "model", "images", "augment")
    cnn = {n: scratch["cnn", n, "basic"] for n in (500, 1_500, 5_000)}
    assert abs(frozen[112, 10] - cnn[500]) < 0.03  # "about what the CNN has with 500"
    leads = [frozen[112, per_class] - cnn[10 * per_class] for per_class in (50, 150, 500)]
    assert leads == sorted(leads, reverse=True) and leads[0] > 0.1
    assert leads[-1] > 0.01 > frozen[112, 1_500] - scratch["cnn", 15_000, "basic"]  # gone
    assert -0.04 < frozen[224, 50] - frozen[112, 50] < 0.01  # more pixels bring nothing
    rise = frozen[112, 500] - frozen[112, 50]
    assert rise < min(scratch[m, 5_000, "basic"] - scratch[m, 500, "basic"]
                      for m in ("vit", "hybrid", "cnn"))  # fmt: skip
    nearest = means("pretrained", "size", "per_class", metric="nearest_test_accuracy")
    assert all(nearest[place] < frozen[place] for place in frozen)


def test_what_differs_is_what_the_text_says():
    cards = vt.results.recorded("pretrained")
    for card in cards:
        assert "saliency" in card["config"]["weights"]["source"]
        assert round(card["cost"]["params"] / 1e6) == 22
        assert card["metrics"]["val_pictures"] == 2_000
        whole = card["config"]["labels"]["size"] == 112
        assert card["metrics"]["test_pictures"] == (10_000 if whole else 2_000)
        if card["train"]["precision"] != "float32":  # 500 pictures in both
            assert card["metrics"]["float32_same_answer"] > 0.95
            assert card["metrics"]["float32_difference"] < 0.03
    small = next(c for c in vt.results.recorded("data_size") if c["cell"] == "vit-500-basic-s0")
    large = next(c for c in cards if c["config"]["labels"]["size"] == 112)
    assert 100 < large["cost"]["macs"] / small["cost"]["macs"] < 150  # "a hundred times"


def test_what_whole_schedules_say_of_the_left_end_is_what_the_text_says():
    best, early = {}, {}
    for kept, name in ((best, "run_length"), (early, "data_size")):
        for card in vt.results.recorded(name):
            labels = card["config"]["labels"]
            if labels["augment"] == "basic" and card["seed"] == 0:
                place = labels["model"], labels["images"]
                other = kept.setdefault(place, card)
                if card["metrics"]["val_accuracy"] > other["metrics"]["val_accuracy"]:
                    kept[place] = card
    assert len(best) == 9
    for (model, n), card in best.items():
        stopped = early[model, n]["metrics"]["test_accuracy"]
        change = 100 * (card["metrics"]["test_accuracy"] - stopped)
        if model == "vit":
            assert -3 < change < -0.9, (n, change)
        else:
            assert abs(change) < 1, (model, n, change)
