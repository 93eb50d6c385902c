"""Pages of exercises, made from their notebooks while the site is built.

A page shows stub, hints, folded solution and check; nothing of it is kept in a file. What the
download button and Colab get is the student's version, without a line of a solution.
"""

import re
from pathlib import Path

import nbformat

from vit_teach.course import build, source

FOLDER = "book/exercises/"
# A chapter's list of its tasks, a line each: - [title](exercises/ex02_patchify.ipynb#...) (...)
LISTED = re.compile(r"(?:^- \[.*\]\((exercises/(ex\d\d_\w+)\.ipynb)#.*\) \(.*\)$\n?)+", re.M)


def page_of(notebook, name):
    """The page of the exercise ``name``, with the points and solutions of the course file."""
    config = source.configuration()
    notebook = source.prepared(notebook, name, config)
    return source.page(notebook, config["solutions"], quiz=name[2:4])


def read(path: Path):
    """What is run for a page: the notebook itself, or the page of an exercise."""
    notebook = nbformat.read(path, as_version=4)
    return page_of(notebook, path.stem) if path.parent == source.EXERCISES else notebook


def relisted(text: str) -> str:
    """A chapter's text with the tasks that its exercise has now: an edition may have others."""

    def lines(found):
        path = source.EXERCISES / f"{found[2]}.ipynb"
        if not path.exists():
            return found[0]
        end = "\n" if found[0].endswith("\n") else ""
        return "\n".join(source.task_list(source.read(path), found[1])) + end

    return LISTED.sub(lines, text)


def make_page(app, docname, text) -> None:
    """Give the reader of notebooks the page in the place of the exercise, or a chapter its list."""
    if docname.startswith(FOLDER):
        app.env.note_dependency(str(source.CONFIG))
        app.env.note_dependency(source.__file__)
        notebook = nbformat.reads(text[0], as_version=4)
        text[0] = nbformat.writes(page_of(notebook, docname.removeprefix(FOLDER)))
    elif "(exercises/ex" in text[0]:
        app.env.note_dependency(str(source.EXERCISES))
        notebook = nbformat.reads(text[0], as_version=4)
        for cell in notebook.cells:
            cell.source = relisted(cell.source)
        text[0] = nbformat.writes(notebook)


def hand_out(app, exception) -> None:
    """Replace the copy of each exercise's source that the site would offer for download."""
    config = source.configuration()
    folder = Path(app.outdir) / "_sources" / FOLDER
    for path in folder.glob("*.ipynb") if exception is None else ():
        exercise = source.read(Path(app.srcdir) / FOLDER / path.name, config)
        build.write_notebook(path, source.student(exercise))


def setup(app) -> dict:
    """Register the extension."""
    app.connect("source-read", make_page)
    app.connect("build-finished", hand_out, priority=100)  # before the set-up cell is stamped
    return {"parallel_read_safe": True, "parallel_write_safe": True}
