"""Mark submissions: each check in a process of its own, the verdict made here.

The grader's process never runs a student's code. For each test it forks a child that runs the
student's cells, computes what the check asks for, and sends the results back as plain data; they
are compared here. So an answer can be wrong, endless or destructive to itself, and no more. It
still runs with your rights on your machine: for students you do not trust, start the whole grader
in a container without network.

For the exercises of chapters 1 to 15.
"""

import ast
import builtins
import contextlib
import importlib
import io
import linecache
import mmap
import os
import symtable
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .. import check
from ..check import isolate
from ..check.isolate import Later, Wrong
from .collect import collect
from .source import Cell, Notebook, graded, is_answer, is_check, points, unmarked

Names = dict[str, Any]  # what cells define, by name

CELLS = 20  # seconds that a submission's cells may take together, before any check
BY_A_PERSON = "to be read by a person"


@dataclass
class Row:
    """The mark of one task; ``score`` is None where a person marks.

    >>> Row("patchify-check", 3, 3, "right").score
    3
    """

    task: str
    score: float | None
    most: float
    message: str
    answer: str = ""


@dataclass
class Graded:
    """All marks of one student, and notes on what was handed in.

    >>> Graded("Ada", [Row("a", 2, 3, "right"), Row("b", None, 2, BY_A_PERSON)]).total
    2
    """

    student: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        return sum(row.score or 0 for row in self.rows)

    @property
    def most(self) -> float:
        return sum(row.most for row in self.rows)


def grade(source: Notebook, submission: Notebook | None, student: str = "") -> Graded:
    """Mark one notebook against the exercise ``source``. Returns :class:`Graded`.

    ``submission`` None stands for a file that could not be read. Raises ``ValueError`` on a system
    without ``fork`` (Windows outside WSL), where nothing could be kept apart.

    >>> from vit_teach.course.source import read
    >>> grade(read("ex02_patchify"), read("ex02_patchify")).total
    11
    """
    if not isolate.can_fork():
        raise ValueError("grading needs Linux or macOS (on Windows: WSL): no process can be forked")
    if submission is None:
        rows = [Row(graded(c)["grade_id"], 0, points(c), "no notebook") for c in _marked(source)]
        return Graded(student, rows)
    clean, notes = collect(source, submission)
    cells = [c for c in clean.cells if c.cell_type == "code" and not is_check(c)]
    student_code = Code([(cell.id, cell.source) for cell in cells])
    notes += student_code.settle()
    given = _given(source)
    words = {graded(c)["grade_id"]: c.source for c in clean.cells if graded(c).get("grade")}
    rows = []
    for cell in _marked(source):
        name, worth = graded(cell)["grade_id"], points(cell)
        if is_answer(cell):
            rows.append(Row(name, None, worth, BY_A_PERSON, words.get(name, "")))
        else:
            message = _mark(unmarked(cell.source), student_code, given)
            rows.append(Row(name, worth if message is None else 0, worth, message or "right"))
    return Graded(student, rows, notes)


def prove(source: Notebook, name: str = "the exercise") -> None:
    """Mark the worked solution; raise ``ValueError`` unless it has every point that a check gives.

    >>> from vit_teach.course.source import read
    >>> prove(read("ex02_patchify"))
    """
    solved = grade(source, source)
    lost = [
        f"{row.task}: {row.message}" for row in solved.rows if row.score not in (None, row.most)
    ]
    if lost:
        raise ValueError(f"the worked solution of {name} fails here: " + "; ".join(lost))


def _marked(source: Notebook) -> list[Cell]:
    return [cell for cell in source.cells if graded(cell).get("grade")]


def _given(source: Notebook) -> Names:
    """What the exercise's own cells define: they are trusted, and run here."""
    space = {"__name__": "exercise"}
    for cell in source.cells:
        if cell.cell_type == "code" and not is_answer(cell) and not is_check(cell):
            exec(compile(cell.source, f"<{cell.id}>", "exec"), space)
    if any("torch.optim" in cell.source for cell in source.cells):
        importlib.import_module("torch._dynamo")  # with the first optimizer: here, in no child
    return {**space, "check": check}


def _mark(code: str, student_code: "Code", given: Names) -> str | None:
    """Run one test cell here, with the student's functions at work elsewhere. None if it passes."""
    tree = ast.parse(code)
    names = wanted(code) - {*given, *vars(builtins)}
    try:
        answers = {name: student_code.get(name) for name in sorted(names)}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tree, "<test>", "exec"), {**given, **answers})
    except Wrong as error:
        return str(error)
    except AssertionError as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno or 1
        return f"this does not hold: {code.splitlines()[line - 1].strip()}"
    except Exception as error:
        return f"the test stops with {type(error).__name__}: {error}"
    return None


def wanted(code: str) -> set[str]:
    """The names that a piece of code takes from outside.

    >>> sorted(wanted("y = 1\\ndef f(x): return x + y + z\\nassert all(g(n) for n in (y, 2))"))
    ['all', 'g', 'z']
    """
    tables = [symtable.symtable(code, "<test>", "exec")]
    own = {one.get_name() for one in tables[0].get_symbols() if one.is_assigned()}
    used = {one.get_name() for one in tables[0].get_symbols() if one.is_referenced()}
    for table in tables:
        tables += table.get_children()
        used |= {one.get_name() for one in table.get_symbols() if one.is_global()}
    return used - own


class Code:
    """A submission's cells, (id, source) each, that only ever run in a child process.

    >>> code = Code([("a", "x = 3"), ("b", "def f(y): return x + y")])
    >>> code.settle(), code.get("x"), code.get("f")(1)
    ([], 3, 4)
    """

    def __init__(self, cells: Iterable[tuple[str, str]]) -> None:
        self.cells, self.seconds = list(cells), 1.0
        self.errors: dict[str, str] = {}
        self.values: Names = {}

    def settle(self) -> list[str]:
        """Find the cells that end the program or never end, and drop them. Returns notes."""
        notes, place = [], mmap.mmap(-1, 8)  # shared with the child: the cell it is at
        for _ in range(len(self.cells) + 1):
            start = time.monotonic()
            try:
                seen = isolate.results([lambda f: f()], Later(lambda: lambda: self._look(place)),
                                       seconds=CELLS)[0][0]  # fmt: skip
            except Wrong as error:
                number = int.from_bytes(place[:], "big")
                if number >= len(self.cells):
                    notes.append(f"the cells cannot be run: {error}")
                    break
                name, words = self.cells[number][0], str(error).replace("your function", "the cell")
                notes.append(f"{name}: {words}")
                self.errors[name] = words
                self.cells[number] = (name, "")
                continue
            self.seconds = 1 + 2 * (time.monotonic() - start)
            self.errors.update(seen["errors"])
            self.values = seen["values"]
            notes += [f"{name}: {words}" for name, words in seen["errors"].items()]
            break
        return notes

    def get(self, name: str) -> Any:
        """The value of a name, or a function that works in a child. Raises ``Wrong`` if missing."""
        if name not in self.values:
            reasons = "; ".join(self.errors.values())
            raise Wrong(f"{name} is missing." + f" ({reasons})" * bool(reasons))
        callable_, value = self.values[name]
        return Later(lambda: self._run()[0][name], self.seconds) if callable_ else value

    def _look(self, place: mmap.mmap) -> Names:
        space, errors = self._run(place)
        place[:] = (1 << 40).to_bytes(8, "big")
        values = {
            name: (callable(value), None if callable(value) else value)
            for name, value in space.items()
            if not name.startswith("__")
        }
        return {"errors": errors, "values": values}

    def _run(self, place: mmap.mmap | None = None) -> tuple[Names, dict[str, str]]:
        """In a child: (what the cells define, what stopped them); a cell that fails is left."""
        space, errors = {"__name__": "__main__", "display": lambda *what: None}, {}
        with open(os.devnull, "w") as null:
            for number, (name, code) in enumerate(self.cells):
                if place is not None:
                    place[:] = number.to_bytes(8, "big")
                file = f"<{name}>"
                code = "\n".join("" if line[:1] in "%!" else line for line in code.split("\n"))
                linecache.cache[file] = (len(code), None, code.splitlines(True), file)
                try:
                    with contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
                        exec(compile(code, file, "exec"), space)
                except BaseException as error:  # a cell that calls exit() is passed over too
                    errors[name] = f"the cell stops with {type(error).__name__}: {error}"
        return space, errors
