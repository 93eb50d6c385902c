"""The appendix: each row of the paper map leads somewhere, each item of the list has its place."""

import functools
import importlib
import re

import nbformat
import pages
import pytest

from vit_teach import experiments
from vit_teach.site import reproduce

APPENDIX = pages.ROOT / "book" / "appendix"
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
OBJECT = re.compile(r"`((?:vt|vit_teach)(?:\.\w+)+)`")
NUMBERED = (
    [f"Eq. {i}" for i in range(1, 9)]
    + [f"Fig. {i}" for i in range(1, 15)]
    + [f"Table {i}" for i in range(1, 10)]
)


def map_rows():
    """The rows of the paper map's tables as lists of columns."""
    text = (APPENDIX / "paper_map.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] and not set(row[0]) <= {"-", ":"}]


def numbered_rows():
    return [row for row in map_rows() if row[0].startswith(("Eq.", "Fig.", "Table"))]


@functools.cache
def text_of(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def slug(heading):
    """The anchor that the book's parser gives a heading (as GitHub does)."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def target(link, page):
    """The file that a link leads to, and the headings it offers."""
    name, _, anchor = link.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.suffix:
        path = next((p for p in (path.with_suffix(".ipynb"), path.with_suffix(".md"))
                     if p.exists()), path)  # fmt: skip
    return path, anchor


def check_link(link, page):
    path, anchor = target(link, page)
    assert path.exists(), f"{page.name}: {link} leads nowhere"
    if anchor:
        headings = re.findall(r"^#{1,3} (.+)$", text_of(path), flags=re.M)
        assert anchor in {slug(heading) for heading in headings}, f"{page.name}: {link}"


def glossary():
    """The terms of each entry of the glossary: the term, then its synonyms."""
    text = (APPENDIX / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r"```\{glossary\}\n(.*?)^```", text, re.M | re.S)[1]
    entries = [entry.splitlines() for entry in body.strip().split("\n\n")]
    return [[line for line in lines if not line.startswith(" ")] for lines in entries]


def test_the_glossary_has_each_term_once_and_in_order():
    terms = [term.lower() for entry in glossary() for term in entry]
    first = [entry[0].lower() for entry in glossary()]
    assert len(first) > 60 and len(set(terms)) == len(terms)
    assert first == sorted(first)


@pytest.mark.parametrize(
    "word",
    ["learning rate", "gradient", "loss", "cross-entropy", "multi-head attention", "RoPE", "color",
     "patch projection", "positional encoding", "layer scale", "register", "codebook", "einops",
     "rotary position embedding", "CLS token", "GAP", "layer normalization", "optimizer", "cell"],
)  # fmt: skip
def test_the_glossary_has_the_words_that_readers_search(word):
    assert word in [term for entry in glossary() for term in entry]


def exists(dotted):
    """Whether an object of the package has this name; a field of a dataclass counts."""
    parts = re.sub(r"^vt\b", "vit_teach", dotted).split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def test_the_map_has_every_numbered_thing_once_but_figure_7_in_three_parts():
    names = [row[0].split(",")[0] for row in numbered_rows()]
    assert [name for i, name in enumerate(names) if name not in names[:i]] == NUMBERED
    assert names.count("Fig. 7") == 3 and len(names) == len(NUMBERED) + 2


@pytest.mark.parametrize("row", numbered_rows(), ids=lambda row: row[0])
def test_a_row_names_a_chapter_or_says_not_attempted(row):
    built = row[2]
    objects = [name for column in row for name in OBJECT.findall(column)]
    assert all(exists(name) for name in objects), objects
    if re.search(r"\bNot (attempted|trained)", built):
        assert re.search(r"Not (attempted|trained)[^.|]*, because ", built), built
    else:
        assert LINK.findall(built) or objects, built
    if row[0].startswith("Eq."):
        assert objects and LINK.findall(built)


def test_an_object_that_is_not_there_is_noticed():
    assert exists("vt.VisionTransformer.embed") and exists("vit_teach.cost.exaflops")
    assert not exists("vt.VisionTransformer.embedding") and not exists("vit_teach.costs")


def test_declared_experiments_are_declared():
    text = (APPENDIX / "paper_map.md").read_text(encoding="utf-8")
    named = re.findall(r"\{coverage\}`(\w+)`", text)
    assert named and all(name in experiments.EXPERIMENTS for name in named)


@pytest.mark.parametrize(
    "page",
    [APPENDIX / "paper_map.md", APPENDIX / "check_list.ipynb", APPENDIX / "reproduce.ipynb",
     pages.ROOT / "book" / "15_strengths_limits.ipynb"],
    ids=lambda page: page.stem,
)  # fmt: skip
def test_links_lead_to_pages_and_sections(page):
    links = [link for link in LINK.findall(text_of(page)) if not link.startswith("http")]
    for link in links:
        check_link(link, page)


def test_a_link_to_a_missing_section_is_noticed():
    page = APPENDIX / "check_list.ipynb"
    with pytest.raises(AssertionError):
        check_link("../05_attention.ipynb#no-such-section", page)
    with pytest.raises(AssertionError):
        check_link("../99_nothing", page)


def test_fifteen_items_each_with_its_place():
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$",
                      text_of(APPENDIX / "check_list.ipynb"), flags=re.M)  # fmt: skip
    assert [int(number) for number, *_ in rows] == list(range(1, 16))
    for number, wrong, right, place in rows:
        assert wrong.strip() and right.strip() and LINK.findall(place), number
        assert any("#" in link for link in LINK.findall(place)), number


@pytest.mark.parametrize("name", ["check_list", "reproduce"])
def test_the_cells_run(name, capsys):
    variables = {}
    for cell in nbformat.read(APPENDIX / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}: {cell.id}", "exec"), variables)
    said = capsys.readouterr().out
    if name == "check_list":
        assert variables["flops"] == pytest.approx(2 * variables["macs"], rel=1e-3)
    else:
        missing = set(experiments.EXPERIMENTS) - set(variables["found"])
        assert all(experiment in said for experiment in missing)


def test_all_cards_appear_in_the_table_of_the_page():
    shown = reproduce.Details(reproduce.recorded_by_experiment())._repr_html_()
    files = list((pages.ROOT / "data" / "results").rglob("*.json"))
    assert files and all(f">{file.stem}<" in shown for file in files)
