"""Sixteen submissions of one exercise, and what each grader gives them.

The numbers are points of eleven that checks give: three for ``patchify``, eight for the rest. They
record what the graders do, their weaknesses included, so that the page for instructors stays true.
"""

from dataclasses import dataclass

import nbformat

from vit_teach.course import source

NAME = "ex02_patchify"
BODY = """b, c, h, w = images.shape
x = images.reshape(b, c, h // patch[0], patch[0], w // patch[1], patch[1])
return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)"""
VIEW = "return images.reshape(len(images), -1, images.shape[1] * patch[0] * patch[1])"
PATCHER = """import vit_teach.check.judge as judge
import vit_teach.check as check
judge.judge = lambda *a: None
judge.examine = lambda *a, **k: None
check.patchify = lambda *a, **k: None
def patchify(images, patch):
    return images"""
TRACELESS = """import IPython.core.interactiveshell as shell
shell.InteractiveShell.showtraceback = lambda *a, **k: None
"""
THIEF = """import os, sqlite3
for place in ("gradebook.db", "../gradebook.db", "../../../gradebook.db"):
    if os.path.exists(place):
        book = sqlite3.connect(place)
        book.execute("update grade set manual_score = 99")
        book.commit()
"""
ERROR = "error"  # the grader gives no mark at all


def patchify(body):
    return "def patchify(images, patch):\n" + "\n".join(f"    {x}" for x in body.splitlines())


@dataclass
class Row:
    """A submission and its points in the own grader, nbgrader, otter and pytest."""

    code: str = patchify(BODY)
    damage: str = ""
    own: int = 11
    nbgrader: object = 11
    collected: int = 11  # nbgrader, after `course collect`
    otter: object = 11
    pytest: object = 11


def weak(code, **other):
    """A submission that gets nothing for the task, in every grader but those named."""
    return Row(code, **{"own": 8, "nbgrader": 8, "collected": 8, "otter": 8, "pytest": 8, **other})


SUBMISSIONS = {
    "right": Row(),
    "half": weak(patchify(VIEW)),
    "empty": Row("", "empty", 0, 0, 0, 0, 0),
    "warns": Row(patchify("import warnings\nwarnings.warn('hm')\n" + BODY)),
    "loops": weak(patchify("while True: pass")),
    "loops in C": weak(patchify("return sum(range(10**13))")),
    "ends": weak(patchify("import os\nos._exit(0)")),
    "prints 20 MB": weak(patchify("print('x' * 20_000_000)\n" + BODY)),
    "takes 6 GB": weak(patchify("return torch.ones(6 << 30, dtype=torch.uint8)")),
    "the book's own": weak("patchify = vt.patchify"),
    "patches the checker": weak(PATCHER, nbgrader=11, collected=11, otter=11, pytest=11),
    "no tracebacks": weak(TRACELESS + patchify(VIEW)),
    "test deleted": Row(damage="test deleted"),
    "no metadata": Row(damage="no metadata", nbgrader=ERROR),
    "doubled": Row(damage="doubled", nbgrader=ERROR),
    "opens the gradebook": Row(THIEF + patchify(BODY)),  # what it does to others has its own test
}


def notebook(row: Row):
    """The hand-out with this submission's answers in it."""
    exercise = source.read(NAME)
    right = {c.id: source.unmarked(c.source) for c in exercise.cells if source.is_answer(c)}
    made = source.student(exercise)
    if row.damage == "empty":
        return made
    for cell in made.cells:
        if source.is_answer(cell):
            cell.source = row.code if cell.id == "patchify" else right[cell.id]
    place = next(n for n, cell in enumerate(made.cells) if cell.id == "patchify")
    if row.damage == "test deleted":
        del made.cells[place + 1]
    elif row.damage == "no metadata":
        for cell in made.cells:
            cell.metadata = nbformat.NotebookNode()
    elif row.damage == "doubled":
        double = nbformat.from_dict(made.cells[place])
        double.id = "doubled"
        made.cells.insert(place + 1, double)
    return made
