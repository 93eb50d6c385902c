"""What other graders want: test files for otter-grader, a zip and a report for Gradescope.

For the exercises of chapters 1 to 15.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator

import nbformat

from .grade import Graded
from .source import MARKS, Notebook, graded, is_check, points, visible

BETWEEN = re.compile(r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS", re.M | re.S)

SETUP = """\
#!/usr/bin/env bash
# Put the address of the book's repository here.
BOOK="git+https://example.org/book.git"
set -e
apt-get update && apt-get install -y python3-pip git
pip3 install --break-system-packages torch --index-url https://download.pytorch.org/whl/cpu
pip3 install --break-system-packages nbformat pyyaml "vit-teach @ $BOOK"
"""

RUN = """\
#!/usr/bin/env bash
cd /autograder
python3 -m vit_teach.course --config source/course.yml grade source/{name}.ipynb submission \\
  --out graded --json results/results.json
"""

CONFIG = "exercises:\n  {name}: {{}}\n"


def otter_tests(source: Notebook) -> Iterator[tuple[str, str]]:
    """(file name, text) of a test file of otter-grader for each test cell.

    The visible case is worth nothing where there are further cases, which are hidden.

    >>> from vit_teach.course.source import read
    >>> [name for name, text in otter_tests(read("ex02_patchify"))][0]
    'patchify_check.py'
    """
    for cell in filter(is_check, source.cells):
        name, worth = graded(cell)["grade_id"], points(cell)
        hidden = "\n".join(BETWEEN.findall(cell.source + "\n"))
        cases = [(visible(cell.source), False, 0 if hidden else worth)]
        cases += [(MARKS.sub("", hidden), True, worth)] if hidden else []
        lines = ["from otter.test_files import test_case", "from vit_teach import check", "",
                 "OK_FORMAT = False", f"name = {name!r}", "points = None"]  # fmt: skip
        for number, (code, secret, value) in enumerate(cases):
            lines += ["", "", f"@test_case(points={value}, hidden={secret})"]
            lines += [f"def test_{number}(env):", f"    exec({code!r}, {{**env, 'check': check}})"]
        yield f"{name.replace('-', '_')}.py", "\n".join(lines) + "\n"


def gradescope_zip(source: Notebook, name: str) -> bytes:
    """A Gradescope autograder that runs this book's grader: the bytes of a zip.

    >>> from vit_teach.course.source import read
    >>> data = gradescope_zip(read("ex02_patchify"), "ex02_patchify")
    >>> zipfile.ZipFile(io.BytesIO(data)).namelist()[:2]
    ['setup.sh', 'run_autograder']
    """
    data = io.BytesIO()
    files = {
        "setup.sh": SETUP,
        "run_autograder": RUN.format(name=name),
        "source/course.yml": CONFIG.format(name=name),
        f"source/{name}.ipynb": nbformat.writes(source) + "\n",
    }
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)  # of a fixed date: the same exercise, the same zip
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
    return data.getvalue()


def gradescope_report(marks: Graded) -> str:
    """The text of ``results.json``. What a person marks has no place in it.

    >>> from vit_teach.course.grade import Row
    >>> json.loads(gradescope_report(Graded("Ada", [Row("a", 3, 3, "right")])))["tests"][0]["score"]
    3
    """
    tests = [
        {"name": row.task, "score": row.score, "max_score": row.most, "output": row.message,
         "status": "passed" if row.score == row.most else "failed"}
        for row in marks.rows if row.score is not None
    ]  # fmt: skip
    return json.dumps({"output": "\n".join(marks.notes), "tests": tests}, indent=1) + "\n"
