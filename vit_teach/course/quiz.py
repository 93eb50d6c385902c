"""Read a chapter's quiz, and write it for Moodle (XML, GIFT) and Canvas (by text2qti).

A quiz is a list of questions in YAML: ``id``, ``ask``, and either ``choices`` (each with ``say``,
``why``, and ``right: true`` for a right one; ``many: true`` where several are right) or ``number``
with ``why`` and, if need be, ``tolerance``. Texts are Markdown; formulas stand between dollars.
"""

import html as escapes
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

from ..paths import ROOT

FOLDER = ROOT / "book" / "exercises" / "quiz"
FORMULA = re.compile(r"\$([^$]+)\$")
MARKDOWN = MarkdownIt("commonmark", {"html": False})
Question = dict[str, Any]


def read(path: str | Path) -> list[Question]:
    """The questions of a file. Raises ``ValueError`` that names the question and what is wrong.

    >>> [question["id"] for question in read(FOLDER / "02.yml")][0]
    'shape-only'
    """
    try:
        questions = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(questions, list) or not all(isinstance(one, dict) for one in questions):
        raise ValueError(f"{path}: a list of questions is wanted")
    seen: set[str] = set()
    for one in questions:
        problem = _problem(one)
        if one.get("id") in seen:
            problem = "its id is used twice"
        if problem:
            raise ValueError(f"{path}: question {one.get('id')!r}: {problem}")
        seen.add(one["id"])
    return questions


def _problem(one: Question) -> str | None:
    """What is wrong with a question, in words."""
    unknown = set(one) - {"id", "ask", "choices", "many", "number", "tolerance", "why"}
    if unknown:
        return f"unknown entries {sorted(unknown)}"
    if not re.fullmatch(r"[a-z0-9-]+", str(one.get("id"))) or not one.get("ask"):
        return "id (small letters, digits, -) and ask are wanted"
    if "number" in one:
        fits = isinstance(one["number"], (int, float)) and one.get("why") and "choices" not in one
        return None if fits else "a number takes why, and no choices"
    choices = one.get("choices")
    if not isinstance(choices, list) or len(choices) < 2:
        return "at least two choices, or a number, are wanted"
    for choice in choices:
        if set(choice) - {"say", "why", "right"} or not choice.get("say"):
            return "a choice has say, why and perhaps right"
        if not choice.get("why"):
            return f"the choice {choice['say']!r} has no why"
    right = sum(bool(choice.get("right")) for choice in choices)
    if one.get("many"):
        return None if 1 <= right < len(choices) else "many: some choices are right, not all"
    return None if right == 1 else f"{right} choices are right, one is wanted (or many: true)"


def to_html(text: object) -> str:
    r"""Markdown as HTML, formulas as \\( \\), which the MathJax filter of Moodle reads.

    >>> print(to_html("`a` and $x < y$"))
    <code>a</code> and \(x &lt; y\)
    """
    formulas = FORMULA.findall(str(text))
    numbers = iter(range(len(formulas)))
    marked = FORMULA.sub(lambda _: f"FORMULA{next(numbers)}ALUMROF", str(text))
    shown = MARKDOWN.renderInline(marked)
    return re.sub(r"FORMULA(\d+)ALUMROF",
                  lambda found: rf"\({escapes.escape(formulas[int(found[1])], quote=False)}\)",
                  shown)  # fmt: skip


def _shares(one: Question) -> tuple[float, float]:
    """Per cent of the mark for a right and for a wrong choice."""
    right = sum(bool(choice.get("right")) for choice in one["choices"])
    wrong = len(one["choices"]) - right
    return 100 / right, -100 / wrong if one.get("many") else 0.0


def _share(value: float) -> str:
    return f"{value:.5f}".rstrip("0").rstrip(".")


# --- Moodle ----------


def moodle(name: str, questions: list[Question]) -> str:
    """Moodle XML, in a category of this name.

    >>> print(moodle("2", [{"id": "a", "ask": "1 + 1?", "number": 2, "why": "So."}])[-8:])
    </quiz>
    """
    root = ET.Element("quiz")
    category = ET.SubElement(root, "question", type="category")
    _put(category, "category", f"$course$/top/Vision Transformers/{name}")
    for one in questions:
        kind = "numerical" if "number" in one else "multichoice"
        node = ET.SubElement(root, "question", type=kind)
        _put(node, "name", one["id"])
        _put(node, "questiontext", to_html(one["ask"]), format="html")
        _put(node, "generalfeedback", "", format="html")
        ET.SubElement(node, "defaultgrade").text = "1"
        if kind == "numerical":
            answer = _put(node, "answer", str(one["number"]), fraction="100")
            ET.SubElement(answer, "tolerance").text = str(one.get("tolerance", 0))
            _put(answer, "feedback", to_html(one["why"]), format="html")
            continue
        settings = {"single": "false" if one.get("many") else "true",
                    "shuffleanswers": "true", "answernumbering": "abc"}  # fmt: skip
        for tag, value in settings.items():
            ET.SubElement(node, tag).text = value
        good, bad = _shares(one)
        for choice in one["choices"]:
            share = _share(good if choice.get("right") else bad)
            answer = _put(node, "answer", to_html(choice["say"]), fraction=share, format="html")
            _put(answer, "feedback", to_html(choice["why"]), format="html")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _put(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    node = ET.SubElement(parent, tag, attributes)
    ET.SubElement(node, "text").text = text
    return node


def gift(name: str, questions: list[Question]) -> str:
    """The GIFT format, which Moodle and some others read.

    >>> print(gift("2", [{"id": "a", "ask": "1 + 1?", "number": 2, "why": "So."}]).splitlines()[2])
    ::a::[html]1 + 1? {#
    """
    lines = [f"$CATEGORY: $course$/top/Vision Transformers/{name}", ""]
    for one in questions:
        head = f"::{_safe(one['id'])}::[html]{_safe(to_html(one['ask']))} {{"
        if "number" in one:  # feedback on a number takes this long form
            why = _safe(to_html(one["why"]))
            lines += [f"{head}#", f"  ={one['number']}:{one.get('tolerance', 0)}#{why}", "}", ""]
            continue
        good, bad = _shares(one)
        lines.append(head)
        for choice in one["choices"]:
            mark = "=" if choice.get("right") else "~"
            if one.get("many"):
                mark = f"~%{_share(good if choice.get('right') else bad)}%"
            say, why = (_safe(to_html(choice[part])) for part in ("say", "why"))
            lines.append(f"  {mark}{say}#{why}")
        lines += ["}", ""]
    return "\n".join(lines)


def _safe(text: str) -> str:
    return re.sub(r"([~=#{}:\\])", r"\\\1", text).replace("\n", " ")


# --- Canvas ----------


def text2qti(name: str, questions: list[Question]) -> str:
    """What the program text2qti makes a QTI zip for Canvas of.

    >>> question = {"id": "a", "ask": "1 + 1?", "number": 2, "why": "So."}
    >>> print(text2qti("2", [question]).splitlines()[-1])
    =   2 +- 0
    """
    lines = [f"Quiz title: {name}", "Shuffle answers: true", ""]
    for number, one in enumerate(questions, 1):
        lines += [f"Title: {one['id']}", "Points: 1", _block(f"{number}.  ", one["ask"])]
        if "number" in one:
            value, slack = one["number"], one.get("tolerance", 0)
            lines += [_block("... ", one["why"]), f"=   {value} +- {slack}", ""]
            continue
        if one.get("many"):  # text2qti knows no feedback on one of several choices
            whys = " ".join(f"{choice['say']}: {choice['why']}" for choice in one["choices"])
            lines.append(_block("... ", whys))
        for letter, choice in zip("abcdefgh", one["choices"], strict=False):
            mark = ("*" if choice.get("right") else "") + f"{letter}) "
            if one.get("many"):
                mark = "[*] " if choice.get("right") else "[ ] "
            lines.append(_block(mark, choice["say"]))
            if not one.get("many"):
                lines.append(_block("... ", choice["why"]))
        lines.append("")
    return "\n".join(lines)


def _block(mark: str, text: object) -> str:
    return mark + " ".join(str(text).split())


EXPORTS: dict[str, Callable[[str, list[Question]], str]] = {
    "moodle.xml": moodle,
    "gift.txt": gift,
    "text2qti.txt": text2qti,
}


def exports(path: Path, title: str = "") -> dict[str, str]:
    """File name -> text of all exports of one quiz.

    >>> sorted(exports(FOLDER / "02.yml"))
    ['02.gift.txt', '02.moodle.xml', '02.text2qti.txt']
    """
    questions, title = read(path), title or f"Chapter {int(path.stem)}"
    return {f"{path.stem}.{end}": write(title, questions) for end, write in EXPORTS.items()}
