"""The command line of :mod:`vit_teach.course`: build and prove hand-outs, collect, grade.

For the exercises of chapters 1 to 15.
"""

import argparse
import sys
import time
from pathlib import Path

from . import build, others, report, slides, source
from .collect import collect, submissions
from .grade import grade, prove


def make_parser() -> argparse.ArgumentParser:
    """The options of the commands.

    >>> make_parser().parse_args(["build", "ex02_patchify"]).names
    ['ex02_patchify']
    """
    parser = argparse.ArgumentParser(prog="python -m vit_teach.course", description=__doc__)
    parser.add_argument("--config", type=Path, default=source.CONFIG, help="the course file")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("build", help="write hand-outs and instructor's versions")
    one.add_argument("names", nargs="*", help="exercises (default: all of the course file)")
    one.add_argument("--out", type=Path, default=build.OUT, help="folder, emptied first")
    one = commands.add_parser("prove", help="mark worked solutions and untouched hand-outs")
    one.add_argument("names", nargs="*", help="exercises (default: all of the course file)")
    one = commands.add_parser("quiz", help="write the quizzes for Moodle and Canvas")
    one.add_argument("--out", type=Path, default=build.OUT / "quiz", help="folder")
    one = commands.add_parser("slides", help="write the slides; a chapter without outputs is run")
    one.add_argument("chapters", nargs="*", help="numbers as 02 (default: all)")
    one.add_argument("--out", type=Path, default=build.OUT / "slides", help="folder")
    for name, words in (
        ("collect", "put the answers into clean copies of the hand-out"),
        ("grade", "mark submissions: marks.csv and a page of feedback for each student"),
    ):
        one = commands.add_parser(name, help=words)
        one.add_argument("exercise", help="name of an exercise, or a path to its source notebook")
        one.add_argument("submissions", type=Path, help="a folder, or a platform's zip")
        one.add_argument("--out", type=Path, default=Path("graded"), help="folder for the results")
    total = commands.add_parser("total", help="add up marks.csv again, with the scores by a person")
    total.add_argument("out", type=Path, nargs="?", default=Path("graded"), help="its folder")
    one.add_argument("--json", type=Path, help="for one submission: Gradescope's results.json")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code.

    >>> main(["--help"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    options = make_parser().parse_args(arguments)
    commands = {"build": run_build, "prove": run_prove, "quiz": run_quiz, "slides": run_slides,
                "collect": run_collect, "grade": run_grade, "total": run_total}  # fmt: skip
    try:
        commands[options.command](options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run_build(options: argparse.Namespace) -> None:
    """Write the course.

    >>> run_build(make_parser().parse_args(["build", "ex99"]))
    Traceback (most recent call last):
    ValueError: there is no exercise 'ex99': ...
    """
    start = time.perf_counter()
    config = source.configuration(options.config)
    names = build.build(config, options.names or None, options.out)
    chapters = [name[2:4] for name in names if name[2:4] in slides.chapters()]
    missing = slides.build(chapters, options.out / "slides", config.get("title", ""))
    if missing:
        print("no slides yet of", *missing, "(make book runs these chapters, or:")
        print("  python -m vit_teach.course slides)")
    print(f"{len(names)} exercises in {options.out} ({time.perf_counter() - start:.0f} s)")


def run_prove(options: argparse.Namespace) -> None:
    """Mark the worked solution of each exercise, and its hand-out, as if students had sent them.

    Raises ``ValueError`` for a solution that misses a point, or a hand-out that has one.

    >>> run_prove(make_parser().parse_args(["prove", "ex99"]))
    Traceback (most recent call last):
    ValueError: there is no exercise 'ex99': ...
    """
    config = source.configuration(options.config)
    for name in options.names or config["exercises"]:
        exercise = source.read(name, config)
        prove(exercise, name)
        empty = grade(exercise, source.student(exercise))
        if empty.total:
            found = ", ".join(row.task for row in empty.rows if row.score)
            raise ValueError(f"{name}: an untouched hand-out gets points for {found}")
        print(f"{name}: the solutions pass, an untouched hand-out gets nothing")


def run_quiz(options: argparse.Namespace) -> None:
    """Write all quizzes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out:
    ...     run_quiz(make_parser().parse_args(["quiz", "--out", out]))  # doctest: +ELLIPSIS
    15 quizzes in ...
    """
    print(f"{build.write_quizzes(options.out)} quizzes in {options.out}")


def run_slides(options: argparse.Namespace) -> None:
    """Write the slides of all chapters, or of some.

    >>> run_slides(make_parser().parse_args(["slides", "99"]))
    Traceback (most recent call last):
    ValueError: there are no slides of chapter '99'; ...
    """
    book = source.configuration(options.config).get("title", "")
    chapters = options.chapters or slides.chapters()
    slides.build(chapters, options.out, book, run_them=True)
    print("slides of", *chapters, "in", options.out)


def run_collect(options: argparse.Namespace) -> None:
    """Write a clean copy for every student.

    >>> run_collect(make_parser().parse_args(["collect", "ex02_patchify", "nowhere"]))
    Traceback (most recent call last):
    ValueError: nowhere is neither a folder nor a zip file
    """
    exercise = source.read(options.exercise, source.configuration(options.config))
    for one in submissions(options.submissions):
        notes = list(one.notes)
        if one.notebook is not None:
            clean, more = collect(exercise, one.notebook)
            notes += more
            build.write_notebook(options.out / f"{report.safe_name(one.student)}.ipynb", clean)
        print(f"{one.student}: " + ("; ".join(notes) or "complete"))


def run_grade(options: argparse.Namespace) -> None:
    """Prove the worked solution, then mark everyone.

    >>> run_grade(make_parser().parse_args(["grade", "ex02_patchify", "nowhere"]))
    Traceback (most recent call last):
    ValueError: nowhere is neither a folder nor a zip file
    """
    exercise = source.read(options.exercise, source.configuration(options.config))
    handed_in = submissions(options.submissions)
    prove(exercise, options.exercise)
    everyone = []
    for one in handed_in:
        marks = grade(exercise, one.notebook, one.student)
        marks.notes[:0] = one.notes
        everyone.append(marks)
        print(f"{one.student}: {marks.total:g} of {marks.most:g}", *marks.notes, sep="\n    ")
    report.write_reports(everyone, options.out, Path(options.exercise).stem)
    if options.json:
        if len(everyone) != 1:
            raise ValueError(f"--json takes one submission, here are {len(everyone)}")
        build.write(options.json, others.gradescope_report(everyone[0]))
    print(f"{len(everyone)} students: {options.out / 'marks.csv'}, and their sums in totals.csv")


def run_total(options: argparse.Namespace) -> None:
    """Write the sums of the marks once more.

    >>> run_total(make_parser().parse_args(["total", "nowhere"]))
    Traceback (most recent call last):
    FileNotFoundError: ...
    """
    print(f"{report.write_totals(options.out)} students: {options.out / 'totals.csv'}")


if __name__ == "__main__":
    sys.exit(main())
