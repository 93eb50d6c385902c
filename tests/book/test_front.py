"""The landing page, what we measured, and the study note say what chapters and cards say."""

import re

import nbformat
import pages
import pytest

import vit_teach as vt

INDEX = nbformat.read(pages.ROOT / "book/index.ipynb", as_version=4)
MEASURED = nbformat.read(pages.ROOT / "book/measured.ipynb", as_version=4)


def mean(experiment, metric="test_accuracy", **labels):
    rows = vt.experiments.rows(vt.results.recorded(experiment), [metric])
    (found,) = [row["mean"] for row in rows if labels.items() <= row.items()]
    return found


def minutes(number):
    """The minutes of reading that the head of a chapter, or of a page between, states."""
    name = f"{number:02d}_*" if isinstance(number, int) else number
    (path,) = (pages.ROOT / "book").glob(f"{name}.ipynb")
    head = nbformat.read(path, as_version=4).cells[0].source
    return int(re.search(r"Reading (\d+) min", head)[1])


def routes():
    """The rows of the table of routes: (name, text, minutes)."""
    text = "\n".join(cell.source for cell in INDEX.cells)
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| (\d+) \|$", text, re.M)
    return [(name, body, int(stated)) for name, body, stated in rows]


def test_the_minutes_of_a_route_are_those_of_its_chapters():
    (_, short, first), (_, more, second), (_, rest, whole) = routes()
    chapters = [int(n) for n in re.findall(r"\[(\d+) ", short)]
    assert first == sum(map(minutes, chapters))
    chapters += [int(n) for n in re.findall(r"\[(\d+) ", more)]
    assert second == sum(map(minutes, chapters))
    between = re.findall(r"\]\((\w+)(?:\.ipynb)?\)", rest)
    assert between == ["muon", "evening", "augmentation", "descendants"]
    assert whole == sum(map(minutes, [*range(1, 16), *between]))


def test_the_landing_page_says_what_the_figures_show():
    cut = {m: mean("shuffle", model=m, permutation="patches") for m in ("vit", "hybrid", "cnn")}
    whole = {m: mean("shuffle", model=m, permutation="none") for m in cut}
    assert abs(whole["vit"] - cut["vit"]) < 0.01 < whole["cnn"] - cut["cnn"]
    for n in (500, 1_500, 5_000, 15_000, 45_000):
        order = [mean("data_size", model=m, images=n, augment="basic")
                 for m in ("vit", "hybrid", "cnn")]  # fmt: skip
        assert order == sorted(order)


def test_twelve_findings_each_with_a_figure_seeds_and_a_chapter():
    text = [c.source for c in MEASURED.cells if c.cell_type == "markdown"]
    heads = [t for t in text if re.match(r"## \d+\. ", t)]
    words = [t for t in text if re.search(r"^\*(Three seeds|One seed|One run)", t, re.M)]
    figures = [c for c in MEASURED.cells if c.id.endswith("-figure")]
    assert len(heads) == len(words) == len(figures) == 12
    for each in words:
        assert re.search(r"\[Chapter \d+\]", each), each
    for cell in MEASURED.cells:
        if cell.cell_type == "code":
            assert all(len(line) <= 84 for line in cell.source.splitlines()), cell.id


@pytest.mark.parametrize("name", ["shuffle", "data_size", "transfer", "resolution"])
def test_where_three_seeds_are_named_three_are_recorded(name):
    rows = vt.experiments.rows(vt.results.recorded(name), ["test_accuracy"])
    assert {row["n"] for row in rows} == {3}


def test_what_the_findings_say_is_what_the_cards_say():
    def gain(n):
        return mean("data_size", model="vit", images=n, augment="strong+mix") - mean(
            "data_size", model="vit", images=n, augment="basic"
        )

    assert gain(500) > 0.02 and gain(45_000) < -0.02
    for n in (5_000, 45_000):
        tables = [mean("positions", model=f"vit{kind}", images=n)
                  for kind in ("", "-sincos1d", "-sincos2d")]  # fmt: skip
        assert max(tables) - min(tables) < 0.01
        assert min(tables) - mean("positions", model="vit-no-positions", images=n) > 0.02
        assert mean("pooling", model="vit", images=n) > mean(
            "pooling", model="vit-class-token", images=n
        )
    dial = [mean("bias_dial", model=m, images=5_000) for m in ("overlap", "vit", "hybrid", "cnn")]
    assert dial == sorted(dial)
    for rule in ("google", "timm", "hf", "torchvision"):
        assert mean("resolution", rule=rule) > mean("resolution", rule="32px")


def test_in_other_corners_the_cnn_falls_least_and_not_by_nothing():
    falls = {}
    for card in vt.results.recorded("shift"):
        labels, metrics = card["config"]["labels"], card["metrics"]
        if labels["world"] == "corner" and card["seed"] == 0:
            others = [metrics[f"corner_{place}_accuracy"] for place in ("tr", "bl", "br")]
            falls[labels["model"]] = metrics["corner_tl_accuracy"] - sum(others) / 3
    assert 0.1 < falls["cnn"] < min(falls["hybrid"], falls["vit"])


def test_the_study_note_has_all_its_lines_and_both_open_questions_by_name():
    text = (pages.ROOT / "book/appendix/study_note.md").read_text(encoding="utf-8")
    lines = [row for row in text.splitlines() if row.startswith("| ") and "](../" in row]
    assert len(lines) == 17 and text.count("**Open question: ") == 2


QUESTIONS = {
    "positional encoding": "04_positions", "cls token": "04_positions", "GAP": "04_positions",
    "color": "02_patchify", "einops": "02_patchify", "normalization": "06_encoder",
    "multi-head": "05_attention", "fine-tuning": "12_transfer",
    "inductive bias": "10_inductive_bias", "registers": "14_attention_maps", "muon": "muon",
    "hybrid": "07_hybrid", "data augmentation": "augmentation", "patchify": "02_patchify",
    "attention distance": "14_attention_maps", "class token": "04_positions",
    "optimiser for matrices": "muon", "augmentation": "augmentation", "mixup": "augmentation",
    "DeiT": "descendants", "standard error": "statistics",
}  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_search_finds_the_page_that_teaches_it_first(question, page, site):
    page.goto((site / "search.html").as_uri() + "?q=" + question.replace(" ", "+"))
    page.wait_for_selector("#search-results li a")
    first = page.locator("#search-results li a").first.get_attribute("href")
    assert re.search(rf"/{QUESTIONS[question]}\.html", first), first


def test_the_list_of_references_names_authors_and_years(site):
    text = (site / "book/appendix/references.html").read_text(encoding="utf-8")
    labels = re.findall(r'class="fn-bracket">\[</span>(.*?)<span', text)
    assert len(labels) > 30 and len(set(labels)) == len(labels)
    assert all(re.fullmatch(r".+, \d{4}[a-z]?", label) for label in labels), labels
    names = [label.lower() for label in labels]
    assert "dosovitskiy et al., 2021" in names
    assert ">https://github.com/huggingface/pytorch-image-models<" in text  # not without its host


def test_the_words_of_a_figure_keep_nine_pixels_on_a_phone(page, site):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("index", "measured", "10_inductive_bias"):
        page.goto((site / f"book/{name}.html").as_uri())
        shares = page.locator("div.cell_output > img").evaluate_all(
            """(all) => all.map((i) => [i.checkVisibility(), i.getBoundingClientRect().width,
              Number(i.getAttribute('width'))])"""
        )
        seen = [shown / natural for visible, shown, natural in shares if visible and natural > 600]
        assert seen and min(seen) >= 0.5, (name, seen)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_phone_an_explorer_takes_the_place_of_a_crowded_figure(page, site):
    page.goto((site / "book/augmentation.html").as_uri())
    seen = {}
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for kind in ("on-desk", "on-phone"):
            cells = page.locator(f"div.cell.tag_{kind}")
            assert cells.count() == 2
            seen[width, kind] = cells.evaluate_all("all => all.map((c) => c.checkVisibility())")
    assert seen[1280, "on-desk"] == seen[390, "on-phone"] == [True, True]
    assert seen[390, "on-desk"] == seen[1280, "on-phone"] == [False, False]
