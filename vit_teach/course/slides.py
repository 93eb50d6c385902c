"""Slides of a chapter, with notes for the speaker: book/slides/NN.md and the chapter's figures.

A slide is Markdown, and a line of ``---`` stands between two. What follows the line ``Notes:`` is
for the speaker. ``![](02-patchify-39)`` is the figure of the chapter's cell of that id, with its
alternative text; recorded numbers stand there by the book's roles, formulas between dollars, and
lines of Python are the chapter's own. A deck is a page that works without a network: reveal.js is
the copy beside this file, MathJax the site's.

For all chapters.
"""

import base64
import html
import importlib.util
import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from markdown_it import MarkdownIt

from ..paths import ROOT, written_whole
from ..site import numbers
from .source import Cell, Notebook

FOLDER = ROOT / "book" / "slides"
CACHES = (
    ROOT / "_build" / ".jupyter_cache"
)  # the outputs of the chapters that the site was built of
# The pages without a number that a chapter's lesson takes in.
MORE = {"09": ("muon", "augmentation"), "11": ("augmentation",), "15": ("descendants",)}
REVEAL = Path(__file__).parent / "reveal"
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
FIGURE = re.compile(r"^!\[\]\(([\w-]+)\)$", re.M)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.S)
ROLE = re.compile(r"\{(result|gap)\}`([^`]+)`")
PYTHON = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
SUFFIXES = {"image/png": "png", "image/svg+xml": "svg"}
WIDE = 1.45  # a figure that is not this many times as wide as high stands beside its text

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · slides</title>
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="reveal/deck.css">
</head>
<body>
<div class="reveal"><div class="slides">
{slides}
</div></div>
{mathjax}<script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>
<script src="reveal/deck.js"></script>
</body>
</html>
"""
MATHJAX = '<script src="mathjax/tex-chtml.js" id="mathjax"></script>\n'
MATHJAX_SETTINGS = """\
<script>
window.MathJax = { chtml: { matchFontHeight: false }, options: { enableMenu: false } };
</script>
"""


@dataclass
class Slide:
    """What the class sees and what the speaker reads, both Markdown.

    >>> Slide("## A question", "Wait for three answers.").notes
    'Wait for three answers.'
    """

    body: str
    notes: str


@dataclass
class Figure:
    """A picture that a cell of a chapter drew, and its text alternative.

    >>> Figure("a.svg", b"", "a drawing").alt
    'a drawing'
    """

    name: str
    data: bytes
    alt: str

    @property
    def wide(self) -> bool:
        """Whether it wants the whole width of a slide.

        >>> Figure("a.svg", b"", "a drawing").wide
        True
        """
        if not self.name.endswith("png"):
            return True
        width, height = struct.unpack(">II", self.data[16:24])
        return width > WIDE * height


def read(path: str | Path) -> list[Slide]:
    """The slides of a file. Raises ``ValueError`` for one without a heading or without notes.

    >>> read(FOLDER / "02.md")[0].body.splitlines()[0]
    '# 2. Patchify'
    """
    slides = []
    for number, text in enumerate(re.split(r"^---$", Path(path).read_text("utf-8"), flags=re.M), 1):
        body, _, notes = text.partition("\nNotes:\n")
        if not re.match(r"\s*##? \S", body) or not notes.strip():
            raise ValueError(f"{path}: slide {number} wants a heading first, and Notes: at its end")
        slides.append(Slide(body.strip(), notes.strip()))
    return slides


def chapters() -> list[str]:
    """The numbers of the chapters that have slides.

    >>> chapters()[:2]
    ['01', '02']
    """
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def chapter_of(number: str) -> Path:
    """The notebook of a chapter. Raises ``ValueError`` where there is none.

    >>> chapter_of("02").name
    '02_patchify.ipynb'
    """
    found = sorted((ROOT / "book").glob(f"{number}_*.ipynb"))
    if len(found) != 1 or not (FOLDER / f"{number}.md").exists():
        known = ", ".join(chapters())
        raise ValueError(f"there are no slides of chapter {number!r}; there are: {known}")
    return found[0]


def pages_of(number: str) -> list[Path]:
    """The chapter and the pages without a number that belong to its lesson.

    >>> [path.stem for path in pages_of("15")]
    ['15_strengths_limits', 'descendants']
    """
    return [chapter_of(number), *(ROOT / "book" / f"{name}.ipynb" for name in MORE.get(number, ()))]


def joined(notebooks: Sequence[Notebook]) -> Notebook:
    """The cells of several notebooks in one: what a deck may show.

    >>> joined([nbformat.v4.new_notebook(), nbformat.v4.new_notebook()]).cells
    []
    """
    cells = [cell for notebook in notebooks for cell in notebook.cells]
    return nbformat.v4.new_notebook(cells=cells)


def executed(path: str | Path, caches: str | Path = CACHES) -> Notebook | None:
    """A chapter with the outputs of the newest build that ran the same code; None if none did.

    >>> executed(ROOT / "book" / "02_patchify.ipynb", "nowhere") is None
    True
    """
    from jupyter_cache import get_cache

    notebook = nbformat.read(path, as_version=4)
    folders = (p for p in Path(caches).glob("*") if (p / "global.db").exists())
    for folder in sorted(folders, key=lambda p: p.stat().st_mtime, reverse=True):
        cache = get_cache(folder)
        try:
            kept = cache.get_cache_bundle(cache.match_cache_notebook(notebook).pk).nb
        except KeyError:
            continue
        given = [cell for cell in notebook.cells if cell.cell_type == "code"]
        ran = [cell for cell in kept.cells if cell.cell_type == "code"]
        for cell, old in zip(given, ran, strict=True):  # the ids and texts are those of now
            cell.outputs = old.outputs
        return notebook
    return None


def run(path: str | Path) -> Notebook:
    """Run a chapter in its folder, for its outputs.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.ipynb"
    ...     nbformat.write(nbformat.v4.new_notebook(), file)
    ...     run(file).cells
    []
    """
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(Path(path).parent)}}
    if notebook.cells:
        NotebookClient(notebook, timeout=600, resources=resources).execute()
    return notebook


def figure(notebook: Notebook, name: str) -> Figure:
    """The picture that the cell of this id drew. Raises ``ValueError`` if it did not, or lacks alt.

    >>> figure(nbformat.v4.new_notebook(), "02-patchify-39")
    Traceback (most recent call last):
    ValueError: the chapter has no cell '02-patchify-39'
    """
    cells = [cell for cell in notebook.cells if cell.id == name]
    if not cells:
        raise ValueError(f"the chapter has no cell {name!r}")
    alt = cells[0].metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    for output in cells[0].get("outputs", []):
        for kind, suffix in SUFFIXES.items():
            data = output.get("data", {}).get(kind)
            if data and alt:
                raw = base64.b64decode(data) if suffix == "png" else data.encode()
                return Figure(f"{name}.{suffix}", raw, alt)
    raise ValueError(f"the chapter's cell {name!r} draws no picture that has a text alternative")


def _check_code(body: str, cells: list[Cell]) -> None:
    """Refuse a line of Python that is not the chapter's; its comment may be left out."""
    lines = {line.strip() for cell in cells for line in cell.source.splitlines()}
    known = lines | {line.partition("  #")[0].rstrip() for line in lines}
    for block in PYTHON.findall(body):
        for line in block.splitlines():
            if line.strip() not in known:
                raise ValueError(f"the chapter has no line of code {line.strip()!r}")


def to_html(text: str) -> str:
    r"""Markdown with recorded numbers and formulas as HTML.

    >>> to_html(r"$a < b$ and *c*").strip()
    '<p>\\(a &lt; b\\) and <em>c</em></p>'
    """
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        display, inline = found.groups()
        formula = rf"\[{display.strip()}\]" if display else rf"\({inline}\)"
        kept.append(html.escape(formula, quote=False))
        return f"\x02{len(kept) - 1}\x03"

    say = {"result": numbers.quote, "gap": numbers.gap}
    text = ROLE.sub(lambda found: say[found[1]](found[2]), text)
    out = MARKDOWN.render(FORMULA.sub(keep, text))
    return re.sub("\x02(\\d+)\x03", lambda found: kept[int(found[1])], out)


def _slide(slide: Slide, figures: list[Figure], book: str) -> str:
    """The section of one slide; its figure stands below its text, or beside it."""
    pictures = "".join(
        f'<div class="figure"><img src="figures/{one.name}" alt="{html.escape(one.alt)}"></div>'
        for one in figures
    )
    text = FIGURE.sub("", slide.body).strip()
    head, _, rest = text.partition("\n")
    kinds = ["title"] if head.startswith("# ") else [] if figures else ["words"]
    if len(figures) == 1 and rest.strip() and not figures[0].wide:
        kinds.append("beside")
    rest = f'<div class="text">{to_html(rest)}</div>' if rest.strip() else ""
    if "title" in kinds:
        rest += f'<p class="credit">{html.escape(book)} · CC BY 4.0</p>'
    main = f'<div class="main">{rest}{pictures}</div>'
    notes = f'<aside class="notes">{to_html(slide.notes)}</aside>'
    body = f'<div class="{" ".join(["slide", *kinds])}">{to_html(head)}{main}</div>'
    return f"<section>{body}{notes}</section>"


def deck(number: str, notebook: Notebook, book: str) -> tuple[str, list[Figure]]:
    """The page of a chapter's deck and the figures that it shows.

    ``notebook`` is the executed chapter, ``book`` the name that stands on the first slide. Raises
    ``ValueError`` that names the slide if the chapter no longer has what the slide wants.

    >>> deck("02", nbformat.v4.new_notebook(), "My book")
    Traceback (most recent call last):
    ValueError: book/slides/02.md, slide 2: the chapter has no cell '02-patchify-39'
    """
    slides = read(FOLDER / f"{number}.md")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown: list[Figure] = []
    sections = []
    for place, slide in enumerate(slides, 1):
        try:
            _check_code(slide.body, cells)
            figures = [figure(notebook, name) for name in FIGURE.findall(slide.body)]
            sections.append(_slide(slide, figures, book))
        except ValueError as error:
            raise ValueError(f"book/slides/{number}.md, slide {place}: {error}") from error
        shown += figures
    body = "\n".join(sections)
    mathjax = MATHJAX_SETTINGS + MATHJAX if r"\(" in body or r"\[" in body else ""
    title = html.escape(slides[0].body.splitlines()[0].lstrip("# "))
    return PAGE.format(title=title, slides=body, mathjax=mathjax), shown


def write(number: str, notebook: Notebook, out: Path, book: str = "") -> Path:
    """Write a deck with all that it needs into a folder. Returns the path of its page.

    >>> write("02", nbformat.v4.new_notebook(), Path("nowhere"))
    Traceback (most recent call last):
    ValueError: book/slides/02.md, slide 2: the chapter has no cell '02-patchify-39'
    """
    page, figures = deck(number, notebook, book)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for one in figures:
        with written_whole(out / "figures" / one.name) as temporary:
            temporary.write_bytes(one.data)
    shutil.copytree(REVEAL, out / "reveal", dirs_exist_ok=True)
    if MATHJAX in page:
        copy_mathjax(out / "mathjax")
    path = out / f"{number}.html"
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def copy_mathjax(out: Path) -> None:
    """Copy MathJax and its fonts from the package from which the site has them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     copy_mathjax(Path(folder) / "mathjax")
    ...     sorted(file.name for file in (Path(folder) / "mathjax").iterdir())
    ['output', 'tex-chtml.js']
    """
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("formulas want MathJax: pip install sphinx-mathjax-offline")
    home = Path(spec.submodule_search_locations[0]) / "static" / "mathjax"
    fonts = "output/chtml/fonts/woff-v2"
    shutil.copytree(home / fonts, out / fonts, dirs_exist_ok=True)
    shutil.copy(home / "tex-chtml.js", out / "tex-chtml.js")


def build(
    which: list[str],
    out: Path,
    book: str = "",
    run_them: bool = False,
    caches: str | Path = CACHES,
) -> list[str]:
    """Write the decks of chapters ("02"). Returns those that have no outputs yet, and no deck.

    With ``run_them`` a chapter without outputs is run, and every chapter has its deck.

    >>> build([], Path("nowhere"))
    []
    """
    missing = []
    for number in which:
        notebooks: list[Any] = [executed(path, caches) for path in pages_of(number)]
        if run_them:
            pairs = zip(notebooks, pages_of(number), strict=True)
            notebooks = [run(path) if notebook is None else notebook for notebook, path in pairs]
        if None in notebooks:
            missing.append(number)
        else:
            write(number, joined(notebooks), out, book)
    return missing
