"""Rules that the whole package keeps: examples everywhere, light to import, clear layers."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vit_teach
from vit_teach import zoo

FOLDER = Path(vit_teach.__file__).parent
ROOT = FOLDER.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(FOLDER)], "vit_teach."))


def public_parts(name):
    """The public functions and classes that a module defines itself."""
    for part, value in vars(importlib.import_module(name)).items():
        own = getattr(value, "__module__", None) == name and not part.startswith("_")
        if own and inspect.isclass(value) and issubclass(value, Exception):
            continue  # an error's name and message are its whole use
        if own and (inspect.isfunction(value) or inspect.isclass(value)):
            yield part, value


@pytest.mark.parametrize("name", MODULES)
def test_every_public_part_has_an_explained_example(name):
    module = importlib.import_module(name)
    assert module.__doc__ and len(module.__doc__.strip()) > 20, f"{name} does not say what it is"
    bare = []
    for part, value in public_parts(name):
        assert value.__doc__ and len(value.__doc__.split()) > 3, f"{name}.{part} has no docstring"
        if ">>> " not in value.__doc__:
            bare.append(part)
    assert not bare, f"{name} has parts without an example: {bare}"


def test_functions_of_tensors_name_their_shapes():
    for name in ("patches", "embedding", "attention", "encoder", "vit", "hybrid", "resnet"):
        for part, value in public_parts(f"vit_teach.{name}"):
            takes = set(inspect.signature(value).parameters)
            if takes & {"images", "patches", "x", "table", "q"} or hasattr(value, "forward"):
                assert re.search(r"\((B|1|\.\.\.), ", value.__doc__), (
                    f"{name}.{part} names no shape"
                )


def test_every_preset_is_built_and_counted():
    from test_zoo import GOLDEN

    assert set(GOLDEN) == set(zoo.names())


def test_names_promised_are_there():
    assert len(set(vit_teach.__all__)) == len(vit_teach.__all__)
    for name in vit_teach.__all__:
        assert getattr(vit_teach, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        vit_teach.nothing  # noqa: B018


def run(code):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_importing_is_light():
    heavy = ["pyarrow", "matplotlib", "plotly", "torchvision", "timm", "scipy", "PIL", "tqdm"]
    code = f"""
import sys, torch
before, torch_only = set(sys.modules), __import__("time").process_time()
import vit_teach
print(__import__("time").process_time() - torch_only)
new = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new & set({heavy})))
"""
    seconds, *loaded = run(code)
    assert loaded == []
    assert float(seconds) < 0.3


# --- Layers ----------

LAYERS = {
    "patches": set(),
    "embedding": {"patches"},
    "attention": set(),
    "encoder": {"attention"},
    "vit": {"embedding", "encoder", "patches"},
    "hybrid": {"embedding", "resnet", "vit"},
    "resnet": {"embedding", "patches"},
}
STANDARD = {"math", "dataclasses", "torch"}


@pytest.mark.parametrize("name", LAYERS)
def test_model_files_need_only_torch_and_the_parts_below(name):
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= STANDARD
        elif isinstance(node, ast.ImportFrom):
            allowed = LAYERS[name] if node.level else STANDARD
            assert node.module.split(".")[0] in allowed, f"{name} imports {node.module}"


TEXTS = [
    path
    for pattern in ("*.md", "*.toml", "*.yml", "*.txt", "Makefile",
                    "vit_teach/**/*", "tests/**/*.py",
                    "tools/**/*", "book/**/*", "binder/**/*", "data/**/*.json", ".github/**/*",
                    ".devcontainer/**/*")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".ipynb", ".bib", ".json",
                       ".js", ".css", ""}
    and path.is_file() and not {"__pycache__", "_build"} & set(path.parts)
]  # fmt: skip
# Folders of one machine: homes, mounts, a workspace. (Ada is a made-up user of the tests.)
MACHINE_PATHS = re.compile(r"(?<![\w.:/<-])/(?:work|home(?!/ada/)|root|mnt|Users)/[\w.]")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_names_a_place_on_one_machine(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line.strip()[:120] for line in lines if MACHINE_PATHS.search(line)]
    assert not found, found


def test_the_search_for_such_places_finds_them():
    slash = "/"
    for line in (f"open('{slash}home/me/x')", f"see {slash}work/x", f"cd {slash}root/.cache"):
        assert MACHINE_PATHS.search(line)
    for line in ("https://example.org/home/me", "a/work/b", "../shared", "/usr/bin/env python3"):
        assert not MACHINE_PATHS.search(line)


def test_functions_fit_on_a_screen():
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                start = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
                length = node.end_lineno - start
                assert length <= 50, f"{path.name}: {node.name} has {length} lines"
