"""Rules that all JavaScript of the book keeps. Only the last of these tests needs Node."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from vit_teach.widgets.shared import base

ROOT = Path(__file__).resolve().parents[1]
WIDGETS = ROOT / "vit_teach" / "widgets"
SCRIPTS = sorted([*WIDGETS.rglob("*.js"), *(ROOT / "book" / "_ext" / "static").glob("*.js")])
ESLINT = ROOT / "node_modules" / "eslint" / "bin" / "eslint.js"
LONGEST_LINE = 110
LARGEST_MODULE = 25_000  # bytes
LARGEST_OF_A_PAGE = 85_000  # of the X-ray, which has a page of its own and parts of this kind
# A name that a file defines at its top level.
DEFINED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let) (\w+)", re.MULTILINE)


def ids(path):
    return str(path.relative_to(ROOT))


def long_lines(text):
    return [line for line in text.splitlines() if len(line) > LONGEST_LINE]


@pytest.mark.parametrize("path", SCRIPTS, ids=ids)
def test_no_line_is_long(path):
    assert long_lines(path.read_text("utf-8")) == []


def test_a_long_line_is_found():
    assert long_lines("a\n" + "b" * 111) == ["b" * 111] and long_lines("b" * 110) == []


@pytest.mark.parametrize("name", base.modules())
def test_every_module_is_small_as_a_page_gets_it(name):
    limit = LARGEST_OF_A_PAGE if name == "xray" else LARGEST_MODULE
    assert len(base.module_source(name).encode()) < limit


def test_a_module_is_the_shared_files_and_its_own_without_lines_of_comment():
    for name in base.modules():
        source = base.module_source(name)
        for part in (WIDGETS / "shared/common.js", WIDGETS / "shared/pictures.js"):
            assert all(f" {n}" in source for n in DEFINED.findall(part.read_text("utf-8")))
        assert not re.search(r"^\s*//", source, re.MULTILINE)
        kept = [
            line
            for path in (
                WIDGETS / "shared/common.js",
                WIDGETS / "shared/pictures.js",
                *sorted(WIDGETS.glob(f"{name}_*.js")),
                WIDGETS / f"{name}.js",
            )  # fmt: skip
            for line in path.read_text("utf-8").splitlines()
            if line.strip() and not line.lstrip().startswith("//")
        ]
        assert [line for line in source.splitlines() if line.strip()] == kept


@pytest.mark.parametrize("part", ["common", "pictures"])
def test_what_is_shared_is_used_by_two_widgets_or_by_what_is_shared(part):
    shared = (WIDGETS / "shared" / f"{part}.js").read_text("utf-8")
    widgets = [path.read_text("utf-8") for path in WIDGETS.glob("*.js")]
    names = DEFINED.findall(shared)
    assert len(names) > 5
    for name in names:
        word = re.compile(rf"\b{name}\b")
        used = sum(bool(word.search(text)) for text in widgets)
        assert used >= 2 or len(word.findall(shared)) >= 2, name


def test_the_tools_have_bounds_and_their_lock_names_no_host():
    tools = json.loads((ROOT / "package.json").read_text("utf-8"))
    assert all(re.match(r"\^\d", version) for version in tools["devDependencies"].values())
    packages = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    hosts = {package.get("resolved", "").split("/-/")[0][:26] for package in packages.values()}
    assert hosts <= {"", "https://registry.npmjs.org"}
    assert all("integrity" in package for path, package in packages.items() if path)


@pytest.mark.skipif(not ESLINT.exists(), reason="no ESLint here: npm ci")
def test_eslint_has_nothing_to_say():
    """Among its rules: a function has at most 50 lines, and no name is unknown or unused."""
    run = subprocess.run(["node", str(ESLINT), "."], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
