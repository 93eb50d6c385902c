"""Read an exercise notebook, and make from it what each reader gets.

The cells say what they are by tags: task, hint, answer, check, solution, and points-2 on a check or
on an answer in words. nbgrader's metadata, which its panel in JupyterLab writes, does as well for
answers and checks. A group of cells is a task: its text, hints, an answer cell, a test cell, and
the reasoning, tagged solution. The answer stands between ``### BEGIN SOLUTION`` and
``### END SOLUTION``; further cases of a test between ``### BEGIN HIDDEN TESTS`` and its end.

For the exercises of chapters 1 to 15.
"""

import ast
import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import yaml

from ..paths import ROOT

Cell = Any  # a nbformat.NotebookNode: its fields are attributes, known at run time only
Notebook = Any
Config = dict[str, Any]  # what configuration() returns

EXERCISES = ROOT / "book" / "exercises"
CONFIG = ROOT / "course.yml"
STUB = "raise NotImplementedError  # your code here"
WORDS = "*Your answer here.*"
REGION = re.compile(r"^([ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION\n?", re.M | re.S)
HIDDEN = re.compile(
    r"^[ \t]*### BEGIN HIDDEN TESTS\n.*?^[ \t]*### END HIDDEN TESTS\n?", re.M | re.S
)
MARKS = re.compile(r"^[ \t]*### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\n?", re.M)
WORTH = re.compile(r"points-(\d+)")  # a tag
MINUTES = re.compile(r"(· \d+ min)")
HEAD = re.compile(
    r"## (?P<heading>Task \d+: (?P<title>.+))\n\n\*Level: (?P<level>\w+) · (?P<time>\d+)"
)
SHOWN = {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}


# --- What a cell is ----------


def tags(cell: Cell) -> list[str]:
    """The tags of a cell.

    >>> tags(nbformat.v4.new_markdown_cell("x", metadata={"tags": ["task"]}))
    ['task']
    """
    return cell.metadata.get("tags", [])


def graded(cell: Cell) -> dict[str, Any]:
    """nbgrader's metadata of a cell, or an empty dictionary.

    >>> graded(nbformat.v4.new_code_cell("x"))
    {}
    """
    return cell.metadata.get("nbgrader", {})


def is_answer(cell: Cell) -> bool:
    """Whether a student writes into this cell.

    >>> is_answer(nbformat.v4.new_code_cell("x"))
    False
    """
    return bool(graded(cell).get("solution"))


def is_check(cell: Cell) -> bool:
    """Whether the cell tests an answer.

    >>> is_check(nbformat.v4.new_code_cell("x"))
    False
    """
    return bool(graded(cell).get("grade")) and not is_answer(cell)


def points(cell: Cell) -> float:
    """What a cell is worth.

    >>> points(nbformat.v4.new_code_cell("x"))
    0
    """
    return graded(cell).get("points", 0) if graded(cell).get("grade") else 0


def defined(code: str) -> list[str]:
    """The names that a cell defines at its top level; none if it cannot be read.

    >>> defined("def f(x): return x\\na = b = 1")
    ['f', 'a', 'b']
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return re.findall(r"^(?:def|class) (\w+)", code, re.M)
    names = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        names += [part.id for target in targets for part in ast.walk(target)
                  if isinstance(part, ast.Name)]  # fmt: skip
    return names


def stubbed(code: str) -> str:
    """A cell's code with the stub in the place of its solution.

    >>> print(stubbed("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION"))
    def f():
        raise NotImplementedError  # your code here
    """
    return REGION.sub(lambda found: f"{found[1]}{STUB}\n", code + "\n").rstrip("\n")


def visible(code: str) -> str:
    """A test cell's code without its further cases.

    >>> visible("a\\n### BEGIN HIDDEN TESTS\\nb\\n### END HIDDEN TESTS")
    'a'
    """
    return HIDDEN.sub("", code + "\n").rstrip("\n")


def unmarked(code: str) -> str:
    """A cell's code, solution and further cases included, without the marks.

    >>> unmarked("a\\n### BEGIN HIDDEN TESTS\\nb\\n### END HIDDEN TESTS")
    'a\\nb'
    """
    return MARKS.sub("", code + "\n").rstrip("\n")


# --- Reading ----------


def configuration(path: str | Path = CONFIG) -> Config:
    """The course file: title, solutions, exercises by name. Raises ``ValueError`` if it is wrong.

    >>> configuration()["solutions"]
    'shown'
    """
    config = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    unknown = set(config) - {"title", "solutions", "exercises"}
    if unknown:
        raise ValueError(f"{path}: unknown entries {sorted(unknown)}")
    config.setdefault("solutions", "shown")
    if config["solutions"] not in ("shown", "hidden"):
        raise ValueError(f"{path}: solutions={config['solutions']!r} must be 'shown' or 'hidden'")
    if not isinstance(config.get("exercises"), dict) or not config["exercises"]:
        raise ValueError(f"{path}: exercises must name at least one notebook")
    for name, entry in config["exercises"].items():
        unknown = set(entry or {}) - {"due", "points"}
        if unknown:
            raise ValueError(f"{path}: {name}: unknown entries {sorted(unknown)}")
        config["exercises"][name] = entry or {}
    return config


def faults(notebook: Notebook) -> list[str]:
    """What an author has forgotten; nothing is built from a notebook with faults.

    >>> faults(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("### BEGIN SOLUTION")]))
    ['cell 1: a solution outside an answer cell: it would be handed out']
    """
    found = []
    ids = Counter(graded(cell).get("grade_id") for cell in notebook.cells if graded(cell))
    found += [f"the id {name!r} is used {n} times" for name, n in ids.items() if n > 1]
    for number, cell in enumerate(notebook.cells, 1):
        where, code = f"cell {number}", cell.cell_type == "code"
        if code and is_answer(cell) and not REGION.search(cell.source + "\n"):
            found.append(f"{where}: an answer cell without ### BEGIN SOLUTION, ### END SOLUTION")
        if "### BEGIN SOLUTION" in cell.source and not (code and is_answer(cell)):
            found.append(f"{where}: a solution outside an answer cell: it would be handed out")
        if "### BEGIN HIDDEN TESTS" in cell.source and not is_check(cell):
            found.append(f"{where}: a hidden test outside a test cell: it would be handed out")
        leftover = stubbed(cell.source) if is_answer(cell) else visible(cell.source)
        if is_answer(cell) | is_check(cell) and MARKS.search(leftover + "\n"):
            found.append(f"{where}: a mark ### BEGIN or ### END without its partner")
    for group in groups(notebook)[1:]:
        title = group[0].source.partition("\n")[0].lstrip("# ")
        answers = [cell for cell in group if is_answer(cell)]
        if not answers:
            found.append(f"{title!r}: no answer follows (is another task in between?)")
        elif any(_is_code(cell) for cell in answers) and not any(map(is_check, group)):
            found.append(f"{title!r}: no check follows its answer")
    return found


def marked_by_tags(notebook: Notebook) -> None:
    """Give cells with the tags answer or check nbgrader's metadata, in place, if they have none.

    Their names are those of the functions: ``grey`` and ``grey-check``. A check, and an answer in
    words, is worth one point if no tag says how many.

    >>> cells = [nbformat.v4.new_code_cell("def f(): pass", metadata={"tags": ["answer"]})]
    >>> marked_by_tags(notebook := nbformat.v4.new_notebook(cells=cells))
    >>> graded(notebook.cells[0])["grade_id"]
    'f'
    """
    for number, group in enumerate(groups(notebook)):
        name = f"task-{number}"
        for cell in group:
            answer, code = "answer" in tags(cell), cell.cell_type == "code"
            if graded(cell) or not (answer or "check" in tags(cell)):
                continue
            if answer and code:
                name = "".join(defined(cell.source)[:1]).replace("_", "-") or name
            end = "" if answer and code else "-words" if answer else "-check"
            found: dict[str, Any] = {
                "grade": bool(end), "grade_id": name + end, "locked": not answer,
                "schema_version": 3, "solution": answer, "task": False,
            }  # fmt: skip
            if end:
                worth = [WORTH.fullmatch(tag) for tag in tags(cell)]
                found["points"] = next((int(one[1]) for one in worth if one), 1)
            cell.metadata["nbgrader"] = found


def read(name: str | Path, config: Config | None = None) -> Notebook:
    """An exercise by its name or path, with the points of the course file.

    Raises ``ValueError`` for a notebook with faults.

    >>> sum(points(cell) for cell in read("ex02_patchify").cells)
    13
    """
    path = Path(name) if str(name).endswith(".ipynb") else EXERCISES / f"{name}.ipynb"
    if not path.exists():
        raise ValueError(f"there is no exercise {name!r}: no file {path}")
    return prepared(nbformat.read(path, as_version=4), path.stem, config)


def prepared(notebook: Notebook, name: str, config: Config | None = None) -> Notebook:
    """The notebook of the exercise ``name`` with what its tags and the course file say, in place.

    Raises ``ValueError`` for a notebook with faults.

    >>> prepared(nbformat.v4.new_notebook(), "ex02", {"exercises": {}}).cells
    []
    """
    marked_by_tags(notebook)
    problems = faults(notebook)
    entry = (config or {}).get("exercises", {}).get(name, {})
    cells = {graded(cell)["grade_id"]: cell for cell in notebook.cells if points(cell)}
    for grade_id, value in entry.get("points", {}).items():
        if grade_id not in cells:
            problems.append(f"points of {grade_id!r} are set, and no graded cell has this id")
        else:
            cells[grade_id].metadata["nbgrader"]["points"] = value
    if problems:
        raise ValueError(f"{name}.ipynb: " + "; ".join(problems))
    return notebook


def groups(notebook: Notebook) -> list[list[Cell]]:
    """The cells in groups: what stands in front of the first task, then task by task.

    >>> [len(group) for group in groups(read("ex02_patchify"))][:2]
    [2, 6]
    """
    found: list[list[Cell]] = [[]]
    for cell in notebook.cells:
        if "task" in tags(cell):
            found.append([])
        found[-1].append(cell)
    return found


def task_list(notebook: Notebook, file: str) -> list[str]:
    """A line of Markdown for each task: its title with a link into ``file``, level and minutes.

    >>> task_list(read("ex02_patchify"), "ex02.ipynb")[0]
    '- [write the cut](ex02.ipynb#task-1-write-the-cut) (medium, 15 min)'
    """
    lines = []
    for group in groups(notebook)[1:]:
        if head := HEAD.match(group[0].source):
            place = re.sub(r"[^\w\- ]", "", head["heading"].lower()).replace(" ", "-")
            about = f"({head['level']}, {head['time']} min)"
            lines.append(f"- [{head['title']}]({file}#{place}) {about}")
    return lines


def with_points(notebook: Notebook) -> Notebook:
    """A copy whose tasks say what they are worth, behind the minutes.

    >>> "15 min · 3 points" in with_points(read("ex02_patchify")).cells[2].source
    True
    """
    notebook = copy.deepcopy(notebook)
    for group in groups(notebook)[1:]:
        worth = sum(points(cell) for cell in group)
        words = f"{worth:g} point{'s' if worth != 1 else ''}"
        person = sum(points(cell) for cell in group if is_answer(cell))
        if person:
            words += f", {person:g} of them" if person < worth else ","
            words += " read by a person"
        group[0].source = MINUTES.sub(rf"\1 · {words}", group[0].source, count=1)
    return notebook


# --- The versions ----------


def _hints(group: list[Cell]) -> list[Cell]:
    return [cell for cell in group if "hint" in tags(cell)]


def _folded(title: str, text: str) -> str:
    """For Jupyter, Colab, VS Code and GitHub, which know no dropdown."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _fold_hints(notebook: Notebook) -> None:
    for group in groups(notebook)[1:]:
        for number, cell in enumerate(_hints(group), 1):
            cell.source = _folded(f"Hint {number}", cell.source)


def _head(notebook: Notebook, title: str, due: str) -> None:
    line = " · ".join([f"*{title}*"] * bool(title) + [f"due {due}"] * bool(due))
    if line and notebook.cells:
        first, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f"{first}\n\n{line}\n{rest}"


def student(source: Notebook, title: str = "", due: str = "") -> Notebook:
    """The hand-out: stubs for solutions, hints folded, no reasoning, no further test cases.

    >>> any("BEGIN SOLUTION" in cell.source for cell in student(read("ex02_patchify")).cells)
    False
    """
    notebook = with_points(source)
    _fold_hints(notebook)
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
    for cell in notebook.cells:
        if is_answer(cell):
            cell.source = stubbed(cell.source) if cell.cell_type == "code" else WORDS
        elif is_check(cell):
            cell.source = visible(cell.source)
    _head(notebook, title, due)
    return notebook


def instructor(source: Notebook, title: str = "", due: str = "") -> Notebook:
    """Everything, with a table of points in front.

    >>> print(instructor(read("ex02_patchify")).cells[1].source.splitlines()[0])
    **Instructor's version: it holds the solutions.**
    """
    notebook = with_points(source)
    _fold_hints(notebook)
    rows = [
        (graded(cell)["grade_id"], points(cell), "a person" if is_answer(cell) else "its check")
        for cell in notebook.cells
        if graded(cell).get("grade")
    ]
    table = ["| what | points | marked by |", "|---|---:|---|"]
    table += [f"| `{name}` | {worth:g} | {who} |" for name, worth, who in rows]
    table += [f"| together | {sum(worth for _, worth, _ in rows):g} | |"]
    text = "**Instructor's version: it holds the solutions.**\n\n" + "\n".join(table)
    for cell in notebook.cells:
        if "solution" in tags(cell):
            cell.source = "**Why.** " + cell.source
    _head(notebook, title, due)
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(text, id="points"))
    return notebook


def page(source: Notebook, solutions: str = "shown", quiz: str = "") -> Notebook:
    """The page of the site. Per task: text, stub, hints, folded solution, check, reasoning.

    With ``solutions="hidden"`` the page has neither solution nor reasoning, and its checks are
    text that does not run. ``quiz`` names the chapter whose questions end the page.

    >>> [cell.id for cell in page(read("ex02_patchify")).cells[2:5]]
    ['patchify-task', 'patchify-stub', 'patchify-hint-1']
    """
    notebook = with_points(source)
    head, *tasks = groups(notebook)
    notebook.cells = list(head)
    for group in tasks:
        notebook.cells += _page_task(group, shown=solutions == "shown")
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
    if quiz:
        text = f"## Check yourself\n\n```{{quiz}} {quiz}\n```"
        notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="check-yourself"))
    return notebook


def _page_task(group: list[Cell], shown: bool) -> list[Cell]:
    """The cells of one task on the page."""
    answers = [cell for cell in group if is_answer(cell)]
    stubs = [_static(cell, stubbed(cell.source), "stub") for cell in answers if _is_code(cell)]
    for number, cell in enumerate(_hints(group), 1):
        cell.source = _dropdown(f"Hint {number}", cell.source)
    first = [cell for cell in group if "task" in tags(cell)]
    rest = []
    for cell in group:
        if "task" in tags(cell) or "hint" in tags(cell):
            continue
        if not shown:
            rest += [_static(cell, visible(cell.source), "test")] if is_check(cell) else []
            continue
        if is_answer(cell) and _is_code(cell):
            cell.source = unmarked(cell.source)
            cell.metadata.update(tags=["hide-input"], mystnb=dict(SHOWN))
        elif is_answer(cell):
            cell.source = _dropdown("A good answer", cell.source)
        elif is_check(cell):
            cell.source = visible(cell.source)
        elif "solution" in tags(cell):
            cell.source = _dropdown("Why this is right", cell.source)
        rest.append(cell)
    return [*first, *stubs, *_hints(group), *rest]


def _is_code(cell: Cell) -> bool:
    return cell.cell_type == "code"


def _static(cell: Cell, code: str, what: str) -> Cell:
    name = cell.id if what == "test" else f"{cell.id}-{what}"
    return nbformat.v4.new_markdown_cell(f"```python\n{code}\n```", id=name)


def _dropdown(title: str, text: str) -> str:
    return f"````{{dropdown}} {title}\n{text}\n````"
