"""The quizzes: complete, and read back by other people's programs as they were written."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from vit_teach.course import quiz

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(quiz.FOLDER.glob("*.yml"))
NAMES = [path.stem for path in FILES]


def needs(name):
    there = importlib.util.find_spec(name) is not None
    return pytest.mark.skipif(not there, reason=f"{name} is not installed (requirements-test.txt)")


@pytest.fixture(params=FILES, ids=NAMES)
def path(request):
    return request.param


def test_every_chapter_has_a_quiz():
    chapters = sorted(path.name[:2] for path in (ROOT / "book").glob("[01]*.ipynb"))
    assert NAMES == chapters and len(chapters) == 15


def test_a_quiz_has_six_questions_and_a_reason_for_every_choice(path):
    questions = quiz.read(path)
    assert len(questions) >= 6
    for one in questions:
        assert one["ask"].endswith((".", "?", ")")), one["id"]
        reasons = [choice["why"] for choice in one.get("choices", [])] or [one["why"]]
        assert all(len(why) > 8 and why.endswith((".", "!")) for why in reasons), one["id"]
        assert len(set(reasons)) == len(reasons)


def test_the_right_choice_is_not_always_in_the_same_place():
    places = [
        [bool(choice.get("right")) for choice in one["choices"]].index(True)
        for path in FILES for one in quiz.read(path) if "choices" in one and not one.get("many")
    ]  # fmt: skip
    assert max(places.count(place) for place in set(places)) < 0.75 * len(places)


WRONG = [
    ("a: 1", "a list of questions"),
    ("- {", "cannot be read"),
    ("- {id: a, ask: b}", "at least two choices, or a number"),
    ("- {id: A b, ask: b, number: 1, why: c}", "id .* and ask are wanted"),
    ("- {id: a, ask: b, number: 1}", "a number takes why"),
    ("- {id: a, ask: b, number: x, why: c}", "a number takes why"),
    ("- {id: a, ask: b, choices: [{say: c, why: d}, {say: e, why: f}]}", "0 choices are right"),
    ("- {id: a, ask: b, choices: [{say: c, why: d, right: true}, {say: e}]}", "'e' has no why"),
    ("- {id: a, ask: b, many: true, choices: [{say: c, why: d, right: true}, "
     "{say: e, why: f, right: true}]}", "some choices are right, not all"),
    ("- {id: a, ask: b, number: 1, why: c}\n- {id: a, ask: b, number: 1, why: c}", "used twice"),
    ("- {id: a, ask: b, number: 1, why: c, hint: d}", "unknown entries"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_wrong_quiz_is_refused(tmp_path, text, words):
    (tmp_path / "02.yml").write_text(text)
    with pytest.raises(ValueError, match=words):
        quiz.read(tmp_path / "02.yml")


# --- Read back ----------


def shares(one):
    """What each choice of a question is worth, in per cent."""
    right = sum(bool(choice.get("right")) for choice in one["choices"])
    wrong = len(one["choices"]) - right
    bad = -100 / wrong if one.get("many") else 0
    return [100 / right if choice.get("right") else bad for choice in one["choices"]]


@needs("moodle_xml_parser")
def test_a_parser_of_moodle_xml_reads_the_choices(path):
    from moodle_xml_parser import parser

    text = quiz.exports(path)[f"{path.stem}.moodle.xml"]
    found = {one.name: one for one in parser.parse_string(text)["multichoice"]}
    wanted = {one["id"]: one for one in quiz.read(path) if "choices" in one}
    assert list(found) == list(wanted)
    for name, one in wanted.items():
        assert found[name].single is not bool(one.get("many"))
        assert [float(option.score_fraction) for option in found[name].options] == pytest.approx(
            shares(one), abs=1e-4
        )
        assert all(option.feedback for option in found[name].options)


def test_moodle_xml_holds_every_text(path):
    root = ET.fromstring(quiz.exports(path)[f"{path.stem}.moodle.xml"].encode())
    questions = quiz.read(path)
    nodes = root.findall("question")
    assert [node.get("type") for node in nodes] == ["category"] + [
        "numerical" if "number" in one else "multichoice" for one in questions
    ]
    for node, one in zip(nodes[1:], questions, strict=True):
        answers = one.get("choices") or [{"say": one["number"], "why": one["why"]}]
        assert node.findtext("name/text") == one["id"]
        assert node.findtext("questiontext/text") == quiz.to_html(one["ask"])
        found = [(a.findtext("text"), a.findtext("feedback/text")) for a in node.findall("answer")]
        assert found == [(quiz.to_html(a["say"]), quiz.to_html(a["why"])) for a in answers]


PEG = "const {parse} = require('gift-pegjs'); const fs = require('fs');\
 console.log(JSON.stringify(parse(fs.readFileSync(0, 'utf8'))))"


@pytest.fixture(scope="module")
def peg():
    """parse(text): what the npm package gift-pegjs makes of a text in the GIFT format."""
    node = shutil.which("node")
    there = node and subprocess.run([node, "-e", "require('gift-pegjs')"], cwd=ROOT,
                                    capture_output=True).returncode == 0  # fmt: skip
    if not there:
        pytest.skip("gift-pegjs is not installed (npm ci)")

    def parse(text):
        run = subprocess.run([node, "-e", PEG], input=text, cwd=ROOT, capture_output=True,
                             text=True)  # fmt: skip
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    return parse


def test_gift_pegjs_reads_gift(path, peg):
    found = [
        one for one in peg(quiz.exports(path)[f"{path.stem}.gift.txt"]) if one["type"] != "Category"
    ]
    for parsed, one in zip(found, quiz.read(path), strict=True):
        assert parsed["title"] == one["id"]
        assert parsed["stem"]["text"] == quiz.to_html(one["ask"])
        if "number" in one:
            (answer,) = parsed["choices"]
            assert answer["text"]["number"] == one["number"]
            assert answer["feedback"]["text"] == quiz.to_html(one["why"])
            continue
        texts = [(c["text"]["text"], c["feedback"]["text"]) for c in parsed["choices"]]
        assert texts == [(quiz.to_html(c["say"]), quiz.to_html(c["why"])) for c in one["choices"]]
        if one.get("many"):
            assert [c["weight"] for c in parsed["choices"]] == pytest.approx(shares(one), abs=1e-4)
        else:
            right = [bool(choice.get("right")) for choice in one["choices"]]
            assert [c["isCorrect"] for c in parsed["choices"]] == right


@needs("text2qti")
def test_text2qti_makes_a_zip_for_canvas(path, tmp_path):
    (tmp_path / "quiz.txt").write_text(quiz.exports(path)[f"{path.stem}.text2qti.txt"])
    run = subprocess.run([sys.executable, "-m", "text2qti.cmdline", "quiz.txt"], cwd=tmp_path,
                         capture_output=True, text=True)  # fmt: skip
    if not (tmp_path / "quiz.zip").exists():  # the module has no __main__ guard in some versions
        program = Path(sys.executable).with_name("text2qti")
        run = subprocess.run([program, "quiz.txt"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    with zipfile.ZipFile(tmp_path / "quiz.zip") as archive:
        (name,) = [name for name in archive.namelist() if re.search(r"(\w+)/\1?.*\.xml$", name)
                   and "meta" not in name and "manifest" not in name]  # fmt: skip
        root = ET.fromstring(archive.read(name))
    items = [node for node in root.iter() if node.tag.endswith("}item")]
    assert [item.get("title") for item in items] == [one["id"] for one in quiz.read(path)]
