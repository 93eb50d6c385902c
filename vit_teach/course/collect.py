"""From what students hand in to a clean copy of the hand-out with their answers in it.

Cells that were deleted, doubled, moved, or stripped of their metadata by some editor cost nobody a
point: an answer is found by its nbgrader id, else by its cell's id, else by the name it defines.

For the exercises of chapters 1 to 15.
"""

import ast
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from .source import STUB, WORDS, Cell, Notebook, defined, graded, is_answer, is_check, student

LARGEST = 20 << 20  # bytes of one file that is read
# "Ada Lovelace_123_assignsubmission_file_/x.ipynb" and "lovelaceada_LATE_123_456_x.ipynb"
MOODLE = re.compile(r"^(?P<student>.+?)_\d+_assignsubmission_file_?$")
CANVAS = re.compile(r"^(?P<student>[^_]+?)(?:_LATE)?_\d+_\d+_.+$")


@dataclass
class Submission:
    """What one student handed in: ``notebook`` is None where none could be read.

    >>> Submission("Ada").notes
    []
    """

    student: str
    notebook: Notebook | None = None
    notes: list[str] = field(default_factory=list)


def owner(path: str) -> str:
    """The student's name in a path of a platform's zip, or of a folder.

    >>> owner("Ada Lovelace_1234_assignsubmission_file_/ex02_patchify.ipynb")
    'Ada Lovelace'
    >>> owner("lovelaceada_LATE_1234_56789_ex02_patchify-1.ipynb")
    'lovelaceada'
    >>> owner("ada/ex02_patchify.ipynb"), owner("ada_ex02_patchify.ipynb"), owner("ada.py")
    ('ada', 'ada', 'ada')
    """
    *folders, file = (part for part in Path(path).parts if part not in ("..", "/"))
    for part in folders:
        if found := MOODLE.match(part):
            return found["student"]
    stem = Path(file).stem
    if found := CANVAS.match(stem):
        return found["student"]
    if folders:
        return folders[-1]
    return re.sub(r"_ex\d\d_.*$", "", stem)


def submissions(path: str | Path) -> list[Submission]:
    """The submissions of a folder or of a zip, one a student, in order of their names.

    A student with several files is taken with the last by name; other files are passed over.
    Raises ``ValueError`` for a path that is neither.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "ada.py").write_text("def f(): return 1")
    ...     [one.student for one in submissions(folder)]
    ['ada']
    """
    found = {}
    for name, data in sorted(_files(Path(path))):
        who = owner(name)
        one = Submission(who)
        if who in found:
            one.notes.append(f"several files: {Path(name).name} counts")
        try:
            one.notebook = parse(data, Path(name).suffix)
        except ValueError as error:
            one.notes.append(f"{Path(name).name} cannot be read: {error}")
        found[who] = one
    return list(found.values())


def _files(path: Path) -> list[tuple[str, bytes]]:
    """(name, bytes) of every notebook or plain file below a folder or in a zip."""
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
        files = ((file.relative_to(path).as_posix(), file) for file in found)
        return [(name, file.read_bytes()[:LARGEST]) for name, file in files if _wanted(name)]
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is neither a folder nor a zip file")
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        return [(n, archive.open(n).read(LARGEST)) for n in names if _wanted(n)]


def _wanted(name: str) -> bool:
    parts = Path(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)
    return name.endswith((".ipynb", ".py")) and not hidden


def parse(data: bytes, suffix: str) -> Notebook:
    """A notebook from the bytes of an .ipynb, or of a .py (a cell for each statement).

    Raises ``ValueError`` if it is neither.

    >>> len(parse(b"import math\\ndef f(): return 1", ".py").cells)
    2
    """
    text = data.decode("utf-8", "replace")
    if suffix == ".py":
        return nbformat.v4.new_notebook(cells=[_cell(code) for code in _statements(text)])
    try:
        notebook = nbformat.read(io.StringIO(text), as_version=4)
        for cell in notebook.cells:
            cell.source, cell.metadata, cell.cell_type  # noqa: B018
    except Exception as error:  # a file from outside may be wrong in any way
        raise ValueError(f"no notebook ({type(error).__name__})") from error
    return notebook


def _cell(code: str) -> Cell:
    return nbformat.v4.new_code_cell(code)


def _statements(text: str) -> list[str]:
    """The top-level statements of a file, or the whole text if it has a syntax error."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return [text]
    return [ast.get_source_segment(text, node) or "" for node in body]


def collect(source: Notebook, submission: Notebook) -> tuple[Notebook, list[str]]:
    """(clean, notes): the hand-out with the answers of ``submission`` and the cells it added.

    ``notes`` say what was found in another place than its own. Every cell that the student added or
    changed and that is no answer stands, tagged "extra", before the answer that followed it.

    >>> from vit_teach.course.source import read
    >>> clean, notes = collect(read("ex02_patchify"), student(read("ex02_patchify")))
    >>> notes
    []
    """
    clean, taken = student(source), {}
    notes: list[str] = []
    ours = {cell.source.strip() for cell in clean.cells}
    for cell in clean.cells:
        if is_answer(cell):
            found = _find(cell, submission.cells, notes)
            if found is not None:
                taken[id(found)] = cell
                cell.source = found.source
    answers = [cell for cell in clean.cells if is_answer(cell)]
    doubled = {name for cell in answers for name in defined(cell.source)}
    waiting: list[Cell] = []
    for cell in submission.cells:
        if id(cell) in taken:
            place = clean.cells.index(taken[id(cell)])
            clean.cells[place:place] = waiting
            waiting = []
        elif _is_extra(cell, ours, doubled):
            waiting.append(nbformat.v4.new_code_cell(cell.source, metadata={"tags": ["extra"]}))
    for number, cell in enumerate(c for c in clean.cells if "extra" in c.metadata.get("tags", [])):
        cell.id = f"extra-{number}"
    return clean, notes


def _is_extra(cell: Cell, ours: set[str], doubled: set[str]) -> bool:
    """Whether a cell is a student's own code: no copy of ours, no earlier answer, no test."""
    if cell.cell_type != "code" or cell.source.strip() in ours or is_check(cell):
        return False
    if cell.get("id") == "set-up":  # fetches the book where it is missing; stamped by the site
        return False
    names = defined(cell.source)
    tests = re.fullmatch(r"(\s*check\.\w+\(.*\)\s*|\s*#.*|\s*)*", cell.source)
    return not tests and not (names and set(names) <= doubled)


def _find(cell: Cell, cells: list[Cell], notes: list[str]) -> Cell | None:
    """The cell of a submission that answers ``cell``, the last if there are several."""
    grade_id = graded(cell)["grade_id"]
    names = defined(cell.source)
    ways: dict[str, Callable[[Cell], Any]] = {
        "": lambda c: is_answer(c) and graded(c).get("grade_id") == grade_id,
        "found by its cell": lambda c: c.get("id") == cell.id,
        "found by its name": lambda c: set(names) & set(defined(c.source)),
    }
    for how, fits in ways.items():
        found = [c for c in cells if c.cell_type == cell.cell_type and fits(c)]
        written = [c for c in found if STUB not in c.source and c.source.strip() != WORDS]
        if found:
            notes += [f"{grade_id}: {how}"] * bool(how)
            if len(written) > 1:
                notes.append(f"{grade_id}: {len(written)} answers, the last one counts")
            return (written or found)[-1]
    notes.append(f"{grade_id}: no answer found")
    return None
