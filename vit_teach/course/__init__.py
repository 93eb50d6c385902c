"""A course from the book's exercises: hand-outs, solutions, and a small grader.

One notebook of ``book/exercises`` is the source of all: the page on the site, the student's and the
instructor's notebook, a plain file with tests, and what the grader compares with.

    python -m vit_teach.course build
    python -m vit_teach.course prove ex02_patchify
    python -m vit_teach.course grade ex02_patchify submissions.zip

``source`` reads an exercise and makes its versions, ``build`` writes them, ``collect`` puts a
submission's answers into a clean copy, ``grade`` marks it, ``report`` writes marks and feedback,
``others`` writes what otter-grader and Gradescope want, ``quiz`` the questions for Moodle and
Canvas, ``slides`` a deck for each chapter, ``zips`` a chapter as one file.

For the exercises of chapters 1 to 15.
"""

from . import build, collect, grade, others, quiz, report, slides, source, zips

__all__ = ["build", "collect", "grade", "others", "quiz", "report", "slides", "source", "zips"]
