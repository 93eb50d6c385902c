"""GridExplorer: the means it draws are those of the package, on cards of any experiment."""

import json

import pytest
import torch

from vit_teach import paths, results
from vit_teach.experiments import rows
from vit_teach.plots import style
from vit_teach.widgets import GridExplorer
from vit_teach.widgets.grid_explorer import SEEN


def card(model, images, seed, value, status="complete", experiment="data_size"):
    """A card with what the widget reads of one."""
    return {
        "experiment": experiment, "cell": f"{model}-{images}-s{seed}", "status": status,
        "seed": seed, "config": {"labels": {"model": model, "images": images}},
        "data": {"n": images},
        "curves": {"epoch": [1.0, 2.0], "val_accuracy": [value / 2, value - 0.01]},
        "metrics": {"val_accuracy": value - 0.01, "test_accuracy": value, "val_loss": 2.0},
    }  # fmt: skip


def grid(models=("vit", "cnn"), sizes=(500, 5000, 45000), seeds=(0, 1, 2)):
    """Cards with accuracies that no two share."""
    draws = torch.Generator().manual_seed(0)
    return [
        card(m, n, s, round(0.3 + 0.5 * torch.rand((), generator=draws).item(), 4))
        for s in seeds for m in models for n in sizes
    ]  # fmt: skip


def state_of(widget):
    return json.loads(json.dumps(widget.static_state()))


def test_it_chooses_the_number_as_axis_and_the_test_set_as_metric():
    widget = GridExplorer(grid())
    assert (widget.title, widget.x, widget.metric) == ("data_size", "images", "test_accuracy")
    assert widget.metrics == ["val_accuracy", "test_accuracy"]
    assert len(widget.cells) == 18 and widget.cells[0]["curve"][0][0] == 500


def test_the_rows_are_those_of_the_report():
    cards = grid()
    widget = GridExplorer(cards)
    assert widget.rows() == rows(cards, ["test_accuracy"])
    widget.hidden, widget.seed, widget.metric = ["model=cnn"], 1, "val_accuracy"
    found = widget.rows()
    assert [row["images"] for row in found] == [500, 5000, 45000]
    assert all(row["model"] == "vit" and row["seeds"] == [1] for row in found)


def test_failed_cells_are_left_out_and_single_trainings_need_no_labels():
    cards = [*grid(seeds=(0,)), card("vit", 500, 1, 0.5, status="failed")]
    assert len(GridExplorer(cards).cells) == 6
    widget = GridExplorer(results.recorded("train"))
    assert widget.labels == ["cell"] and widget.x == "cell"


BAD = [
    (lambda: GridExplorer([]), r"cards=\[\] must hold at least one complete card"),
    (lambda: GridExplorer([*grid(), card("vit", 1, 9, 0.5, experiment="shuffle")]),
     "must be of one experiment"),
    (lambda: GridExplorer(grid(), metric="loss"), "metric='loss' must be one of"),
    (lambda: GridExplorer(grid(), x="rate"), "x='rate' must be one of"),
    (lambda: setattr(GridExplorer(grid()), "hidden", ["model=bit"]), "hidden='model=bit' must be"),
    (lambda: setattr(GridExplorer(grid()), "seed", 7), r"seed=7 must be one of \[-1, 0, 1, 2\]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_a_script_there_is_a_table_of_every_group():
    text = GridExplorer(grid()).static_html()
    assert text.count('<th scope="row">') == 6
    assert "18 trainings in 6 groups, 3 seeds" in text


def test_ninety_cells_cost_a_page_less_than_60_kilobytes():
    sizes = (500, 1500, 5000, 15000, 45000)
    cells = [
        c for model in ("vit", "cnn", "hybrid") for c in grid((model + " basic", model), sizes)
    ]
    for c in cells:
        c["curves"] = {"epoch": [k / 3 for k in range(10)], "val_accuracy": [0.1234] * 10}
    widget = GridExplorer(cells)
    assert len(widget.cells) == 90 and len(widget.static_html().encode()) < 60_000


# --- In Chromium: the module's arithmetic ----------


@pytest.mark.parametrize("seed", [-1, 2])
@pytest.mark.parametrize("hidden", [[], ["images=500"], ["model=vit"]])
@pytest.mark.parametrize("metric", ["test_accuracy", "val_accuracy"])
def test_means_and_spread_are_the_packages(run, seed, hidden, metric):
    widget = GridExplorer(grid(), metric=metric, seed=seed, hidden=hidden)
    expected = {(row["model"], row["images"]): row for row in widget.rows()}
    for x in widget.labels:
        widget.x = x
        found = run("grid_explorer", "(m, state) => m.lines(state)", state_of(widget))
        seen = 0
        for line in found:
            for point in line["points"]:
                at = tuple(point["x"] if value is None else value for value in line["at"])
                row = expected[at]
                assert point["mean"] == pytest.approx(row["mean"], abs=1e-9)
                assert point["n"] == row["n"]
                if row["std"] is None:
                    assert point["std"] is None
                else:
                    assert point["std"] == pytest.approx(row["std"], abs=1e-9)
                seen += 1
        assert seen == len(expected)


def test_curves_are_over_images_seen(run):
    cards = grid(seeds=(0, 1))
    widget = GridExplorer(cards, x=SEEN)
    found = run("grid_explorer", "(m, state) => m.lines(state)", state_of(widget))
    assert len(found) == 6
    line = next(line for line in found if line["at"] == ["vit", 500])
    values = [c["curves"]["val_accuracy"][0] for c in cards
              if c["config"]["labels"] == {"model": "vit", "images": 500}]  # fmt: skip
    assert [point["x"] for point in line["points"]] == [500, 1000]
    assert line["points"][0]["mean"] == pytest.approx(sum(values) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.31, 0.79), (0.5, 0.52), (500, 45000), (0.3, 0.3)]
)
def test_ticks_are_round_and_few(run, low, high):
    ticks = run("grid_explorer", "(m, [low, high]) => m.ticks(low, high)", [low, high])
    if low == high:
        return
    steps = {round(b - a, 9) for a, b in zip(ticks, ticks[1:], strict=False)}
    assert 3 <= len(ticks) <= 9 and len(steps) == 1
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    first = f"{steps.pop():.0e}"[0]
    assert first in "125"


@pytest.mark.parametrize(
    "low, high, digits", [(0.1, 0.9, 0), (0.4, 0.44, 0), (0.7, 0.725, 1), (0.7, 0.702, 2)]
)
def test_no_two_ticks_look_the_same(run, low, high, digits):
    ticks = run("grid_explorer", "(m, [low, high]) => m.ticks(low, high)", [low, high])
    assert run("grid_explorer", "(m, [ticks]) => m.decimals(ticks)", [ticks]) == digits
    assert len({f"{100 * tick:.{digits}f}" for tick in ticks}) == len(ticks)


RECORDED = sorted(folder.name for folder in paths.RESULTS.iterdir() if folder.is_dir())
MAPS = "pretrained_attention"  # heads were measured there, no accuracy


def test_cards_without_an_accuracy_are_refused():
    with pytest.raises(ValueError, match="must hold an accuracy"):
        GridExplorer(results.recorded(MAPS))


def test_cards_that_trained_nothing_have_no_curve_to_draw():
    widget = GridExplorer(results.recorded("pretrained"))
    assert SEEN not in widget.axes() and widget.metric == "test_accuracy"
    with pytest.raises(ValueError, match="x='images seen' must be one of"):
        widget.x = SEEN


@pytest.mark.parametrize("name", [name for name in RECORDED if name != MAPS])
def test_no_two_lines_look_alike(run, name):
    cards = results.recorded(name)
    widget = GridExplorer(cards)
    for x in widget.axes():
        widget.x = x
        call = """(m, state) => {
          const values = state.labels.map((_, i) => [...new Set(state.cells.map((c) => c.at[i]))]);
          return [...m.looks({ ...state, values }, m.lines(state)).values()];
        }"""
        found = run("grid_explorer", call, state_of(widget))
        shown = ["colour", "shape", "kind"]  # along a row of words no line is drawn, only marks
        if x == SEEN or all(isinstance(c["at"][widget.labels.index(x)], (int, float))
                            for c in widget.cells):  # fmt: skip
            shown.append("dash")
        marks = [tuple(look[part] for part in shown) for look in found]
        assert found and len(set(marks)) == len(marks), x


def test_a_model_has_one_colour(run):
    widget = GridExplorer(results.recorded("data_size"))
    values = [sorted({str(cell["at"][i]) for cell in widget.cells}) for i in range(3)]
    call = """(m, [state, values]) => {
      const lines = m.lines(state), looks = m.looks({ ...state, values }, lines);
      return lines.map((line) => [line.at, looks.get(line.key).colour]);
    }"""
    model = widget.labels.index("model")
    found = {(at[model], colour) for at, colour in run("grid_explorer", call,
             [state_of(widget), values])}  # fmt: skip
    assert len(found) == len({colour for _, colour in found}) == 3


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0005, 0.256, [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2]),
     (500, 45000, [500, 1000, 2000, 5000, 10000, 20000]), (1, 1e6, [10**k for k in range(7)])],
)  # fmt: skip
def test_a_wide_axis_has_numbers_all_along(run, low, high, ticks):
    assert run("grid_explorer", "(m, [low, high]) => m.decades(low, high)", [low, high]) == ticks


def test_names_and_colours_of_models_are_those_of_the_figures(run):
    found = run("grid_explorer", "(m) => m.MODELS", None)
    assert {key: tuple(value) for key, value in found.items()} == style.MODELS


@pytest.mark.parametrize("name", ["learning_rate", "data_size", "augmentation"])
def test_a_kind_of_model_has_its_colour_in_every_experiment(run, name):
    state = state_of(GridExplorer(results.recorded(name)))
    call = """(m, state) => {
      const values = state.labels.map((_, i) => [...new Set(state.cells.map((c) => c.at[i]))]);
      const lines = m.lines(state), looks = m.looks({ ...state, values }, lines);
      const i = state.labels.indexOf("model");
      return lines.map((line) => [line.at[i], looks.get(line.key).colour]);
    }"""
    pairs = run("grid_explorer", call, state)
    known = {model: colour for model, (_, colour) in style.MODELS.items()}
    seen = [(known.get(model, known.get(model.split("-")[0])), colour) for model, colour in pairs]
    assert len(seen) > 2 and all(own in (None, colour) for own, colour in seen)


def test_models_along_the_axis_keep_their_colours_and_plain_names(browser, tmp_path):
    file = GridExplorer(results.recorded("scale"), x="model").save_html(tmp_path / "w.html")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(file.as_uri())
    page.wait_for_selector(".vt-mark")
    marks = page.locator(".vt-chart .vt-mark")
    shades = marks.evaluate_all("(all) => all.map((mark) => getComputedStyle(mark).fill)")
    names = page.locator(".vt-chart text[text-anchor=end]").all_text_contents()
    kinds = {kind: {s for s, n in zip(shades, names, strict=True) if n.startswith(kind)}
             for kind in ("CNN-", "ViT-", "hybrid-")}  # fmt: skip
    assert len(names) == 24 and [len(kind) for kind in kinds.values()] == [1, 1, 1]
    assert len(set.union(*kinds.values())) == 3
    assert not page.locator(".vt-lines").is_visible()  # one line needs no name
    page.close()
