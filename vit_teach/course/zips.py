"""One zip for a chapter: what a teacher needs for a first lesson, without a line of a solution.

For the exercises of all chapters.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..paths import written_whole

NOTE = """\
{title}

{name}.ipynb      the exercises for students, in Jupyter or Colab
{name}.py         the same as a plain file; test_{name}.py is for pytest
quiz/             the chapter's questions for Moodle (xml, gift) and Canvas (txt, by text2qti)
slides/{number}.html   the slides: open it in a browser. S opens the notes for the speaker; with
                  {number}.html?print-pdf in the address, printing gives a page for each slide.

Solutions are on the pages of the book and in its repository. Code: MIT licence. Texts and
figures: CC BY 4.0. The slides run on reveal.js (MIT, see slides/reveal/LICENSE.txt) and, where
they have formulas, on MathJax (Apache 2.0).
"""


def deck_files(slides: Path, number: str) -> Iterator[Path]:
    """The files of a chapter's deck in the folder that :func:`vit_teach.course.slides.write` wrote.

    >>> list(deck_files(Path("nowhere"), "02"))
    []
    """
    page = slides / f"{number}.html"
    if not page.exists():
        return
    text = page.read_text(encoding="utf-8")
    yield page
    for name in dict.fromkeys(re.findall(r'src="(figures/[^"]+)"', text)):
        yield slides / name
    for folder in ["reveal"] + ["mathjax"] * ("mathjax/" in text):
        yield from (file for file in sorted((slides / folder).rglob("*")) if file.is_file())


def write(course: Path, slides: Path, out: Path, name: str, title: str = "") -> Path:
    """Write ``out``/NN.zip for the exercise ``name`` from a built course and its slides.

    ``course`` is what :func:`vit_teach.course.build.build` wrote. Returns the path of the zip. The
    same files give the same zip, byte for byte.

    >>> import tempfile
    >>> from vit_teach.course import build
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = build.build(names=["ex02_patchify"], out=Path(folder) / "course")
    ...     path = write(Path(folder) / "course", Path("none"), Path(folder), "ex02_patchify")
    ...     zipfile.ZipFile(path).namelist()[:2]
    ['02/README.txt', '02/ex02_patchify.ipynb']
    """
    number = name[2:4]
    files = {f"{name}.ipynb": course / "student" / f"{name}.ipynb"}
    files |= {p: course / "plain" / p for p in (f"{name}.py", f"test_{name}.py", "conftest.py")}
    files |= {f"quiz/{p.name}": p for p in sorted((course / "quiz").glob(f"{number}.*"))}
    files |= {f"slides/{p.relative_to(slides)}": p for p in deck_files(slides, number)}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{number}.zip"
    note = NOTE.format(title=title, name=name, number=number)
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        _add(archive, f"{number}/README.txt", note.encode())
        for inside, file in files.items():
            _add(archive, f"{number}/{inside}", file.read_bytes())
    return path


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file of a fixed date; what is compressed already is stored as it is."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    packed = name.endswith((".png", ".woff"))
    entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)
