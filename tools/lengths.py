"""How long each chapter is, against its budget: words, cells, lines of code, minutes.

    python tools/lengths.py            # every chapter, and the pages between and behind them
    python tools/lengths.py 02 05      # those whose name begins so

The main path is what a reader meets with all folds closed: not the sections of ``FOLDED``, no
dropdown, no cell tagged hide-cell, none that stands there for phones, and not the exercises.
"""

import json
import re
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1] / "book"
BUDGET = {"words": 2000, "cells": 20, "wide lines": 0}  # of the main path; wide lines: of all code
WIDER = {"10_inductive_bias": {"words": 2400}}  # what a single chapter may have instead
SCREENS, SCREEN = {"10_inductive_bias": 16}, (1280, 900)  # else 14, of so many pixels, folds closed
COLUMNS = 84  # characters of code that fit beside the table of contents at 1280 pixels
# Pages without a number: between the chapters, and those of the appendix that are read as such.
BETWEEN = ("muon", "evening", "augmentation", "descendants")
APPENDED = (
    "appendix/recipe_workshop", "appendix/bias_lab", "appendix/statistics", "appendix/cluster",
)  # fmt: skip
FOLDED = ("Going deeper", "Paper, measured, not checked")
EXERCISES = ("Exercises", "Try")

WORDS_A_MINUTE, SECONDS_A_LINE, MINUTES_A_WIDGET = 180, 5, 4
MEASURES = ("words", "cells", "wide lines", "longest line", "minutes", "says")

FENCE = re.compile(r"^([`:]{3,})(.*?)$(.*?)^\1[ \t]*$", re.M | re.S)
WORD = re.compile(r"\w")


def plain(text: str) -> str:
    """Markdown as a reader reads it: no code, no folds; a formula or a recorded number is one."""

    def block(found):
        opening, body = found[2].strip(), found[3]
        if opening.startswith("{") and not re.match(r"\{(dropdown|math|code)", opening):
            return re.sub(r"\{[a-z-]+\}", "", opening) + re.sub(r"^:\w+:.*$", "", body, flags=re.M)
        return ""

    text = FENCE.sub(block, text)
    text = re.sub(r"\$\$.*?\$\$|\$[^$]+\$", " x ", text, flags=re.S)
    text = re.sub(r"\{(?:result|gap|coverage)[^`]*`[^`]*`", " 1 ", text)
    text = re.sub(r"\{[a-z:]+\}`([^`<]*)[^`]*`", r"\1", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"<[^>]+>", " ", text)


def words(text: str) -> int:
    """Words of prose in a piece of Markdown."""
    return sum(bool(WORD.search(word)) for word in plain(text).split())


def main_path(cells: list[dict]) -> list[tuple[str, str, list[str]]]:
    """(kind, source, tags) of what stands on the main path, in order."""
    kept, open_ = [], True
    for cell in cells:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code":
            if open_ and not {"hide-cell", "on-phone"} & set(tags):
                kept.append(("code", source, tags))
            continue
        for part in re.split(r"^(?=## )", source, flags=re.M):
            if part.startswith("## "):
                open_ = part.splitlines()[0][3:].strip() not in FOLDED + EXERCISES
            if open_:
                kept.append(("prose", part, tags))
    return kept


def measured(path: Path) -> dict[str, int]:
    """The lengths of one chapter, by the names of ``MEASURES``."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    main = main_path(cells)
    prose = sum(words(source) for kind, source, _ in main if kind == "prose")
    code = [(source, tags) for kind, source, tags in main if kind == "code"]
    shown = [s for s, tags in code if not {"hide-input", "remove-input"} & set(tags)]
    lines = sum(bool(line.strip()) for source in shown for line in source.splitlines())
    widgets = sum(source.count("vt.widgets.") for source, _ in code)
    all_code = [
        line
        for cell in cells if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
    ]  # fmt: skip
    stated = re.search(r"Reading (\d+) min", "".join(cells[0]["source"]))
    minutes = prose / WORDS_A_MINUTE + lines * SECONDS_A_LINE / 60 + widgets * MINUTES_A_WIDGET
    return {
        "words": prose,
        "cells": len(code),
        "wide lines": sum(len(line) > COLUMNS for line in all_code),
        "longest line": max(map(len, all_code), default=0),
        "minutes": round(minutes),
        "says": int(stated[1]) if stated else 0,
    }


def budget(name: str) -> dict[str, int]:
    """What a chapter may have."""
    return {**BUDGET, **WIDER.get(name, {})}


def screens(name: str) -> int:
    """How many screens the main path of a chapter may have: a test looks at the built page."""
    return SCREENS.get(name, 14)


def over(name: str, lengths: dict[str, int]) -> list[str]:
    """The measures in which a chapter exceeds its budget."""
    return [measure for measure, most in budget(name).items() if lengths[measure] > most]


def chapters(beginnings=("",)) -> list[Path]:
    """The numbered chapters of the book, in order, then the pages without a number."""
    pages = sorted(BOOK.glob("[0-9]*.ipynb"))
    pages += [BOOK / f"{name}.ipynb" for name in BETWEEN + APPENDED]
    return [page for page in pages if page.stem.startswith(tuple(beginnings))]


def main(arguments: list[str]) -> None:
    """Print a line for each chapter."""
    print(f"{'chapter':22}" + "".join(f"{measure:>14}" for measure in MEASURES))
    for path in chapters(arguments or [""]):
        found = measured(path)
        print(f"{path.stem:22}" + "".join(f"{found[m]:14,}" for m in MEASURES), end="")
        late = over(path.stem, found)
        print(f"   over: {', '.join(late)}" if late else "")


if __name__ == "__main__":
    main(sys.argv[1:])
