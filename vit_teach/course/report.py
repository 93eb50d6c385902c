"""Write the marks of a class: a CSV of the tasks, one of the sums, and a page for each student.

For the exercises of chapters 1 to 15.
"""

import csv
import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..paths import written_whole
from .build import write
from .grade import Graded

COLUMNS = ("student", "task", "score", "max", "message")
PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 1rem/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }}
pre {{ white-space: pre-wrap; background: #f4f4f4; padding: .5rem }}
</style></head><body>
<h1>{title}</h1>
<p>{student}: <strong>{total:g}</strong> of {most:g} points{rest}.</p>
<table><thead><tr><th>Task</th><th>Points</th><th>What the check says</th></tr></thead><tbody>
{rows}
</tbody></table>
{notes}
</body></html>
"""


def safe_name(student: str) -> str:
    """A name as part of a file's name.

    >>> safe_name("../Ada Lovelace")
    'Ada_Lovelace'
    """
    return re.sub(r"[^\w.-]+", "_", student).strip("._") or "student"


def feedback(graded: Graded, title: str = "") -> str:
    """The page of one student, a whole HTML document without scripts.

    >>> from vit_teach.course.grade import Graded, Row
    >>> "3/3" in feedback(Graded("Ada", [Row("a", 3, 3, "right")]))
    True
    """
    rows, waiting = [], sum(row.most for row in graded.rows if row.score is None)
    for row in graded.rows:
        score = "?" if row.score is None else f"{row.score:g}"
        words = html.escape(row.message)
        if row.answer:
            words += f"<pre>{html.escape(row.answer)}</pre>"
        cells = html.escape(row.task), f"{score}/{row.most:g}", words
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in graded.notes)
    return PAGE.format(
        title=html.escape(title or "Feedback"),
        student=html.escape(graded.student),
        total=graded.total,
        most=graded.most,
        rest=f"; {waiting:g} more are for a person to give" if waiting else "",
        rows="\n".join(rows),
        notes=f"<h2>Notes on your file</h2><ul>{notes}</ul>" if notes else "",
    )


def table(everyone: Iterable[Graded]) -> list[list[Any]]:
    """The rows of the CSV, a student and task each.

    >>> from vit_teach.course.grade import Graded, Row
    >>> table([Graded("=Ada", [Row("a", 3, 3, "right")])])
    [["'=Ada", 'a', 3, 3, 'right']]
    """
    return [
        [_harmless(one.student), row.task, "" if row.score is None else row.score, row.most,
         _harmless(row.message)]
        for one in everyone
        for row in one.rows
    ]  # fmt: skip


def _harmless(text: str) -> str:
    """A spreadsheet must not read a name as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def write_totals(out: str | Path) -> int:
    """Write ``totals.csv``, a row a student, from ``marks.csv`` in the folder ``out``.

    To be written again when scores by a person have been filled in. ``open`` is what is not marked
    yet, in points. Returns the number of students. Raises ``ValueError`` for a score that is no
    number.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = "student,task,score,max,message\\nAda,a,2,3,x\\nAda,b,,2,y\\n"
    ...     _ = (Path(folder) / "marks.csv").write_text(text)
    ...     write_totals(folder), (Path(folder) / "totals.csv").read_text().split()
    (1, ['student,score,max,open', 'Ada,2,5,2'])
    """
    sums: dict[str, list[float]] = {}
    with open(Path(out) / "marks.csv", newline="", encoding="utf-8-sig") as file:
        semicolons = ";" in file.readline()  # as a spreadsheet saves it in many countries
        file.seek(0)
        for row in csv.DictReader(file, delimiter=";" if semicolons else ","):
            one = sums.setdefault(row["student"], [0, 0, 0])
            try:
                most = float(row["max"])
                one[0] += float(row["score"].replace(",", ".") or 0)
            except ValueError as error:
                raise ValueError(f"marks.csv: {row['student']}, {row['task']}: {error}") from error
            one[1] += most
            one[2] += 0 if row["score"] else most
    rows = [[student, *(f"{value:g}" for value in one)] for student, one in sums.items()]
    with written_whole(Path(out) / "totals.csv") as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("student", "score", "max", "open"), *rows])
    return len(rows)


def write_reports(everyone: Iterable[Graded], out: str | Path, title: str = "") -> None:
    """Write ``marks.csv``, ``totals.csv`` and ``feedback/NAME.html`` into the folder ``out``.

    >>> import tempfile
    >>> from vit_teach.course.grade import Graded, Row
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_reports([Graded("Ada", [Row("a", 3, 3, "right")])], folder)
    ...     sorted(str(file.relative_to(folder)) for file in Path(folder).rglob("*.*"))
    ['feedback/Ada.html', 'marks.csv', 'totals.csv']
    """
    out, used = Path(out), set()
    for one in everyone:
        name = safe_name(one.student)
        while name in used:
            name += "_"
        used.add(name)
        write(out / "feedback" / f"{name}.html", feedback(one, title))
    with written_whole(out / "marks.csv") as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *table(everyone)])
    write_totals(out)
