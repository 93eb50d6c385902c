"""Rules that the whole package keeps: examples everywhere, light to import, one door, one name."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import vit_teach

FOLDER = Path(vit_teach.__file__).parent
ROOT = FOLDER.parent
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(FOLDER)], "vit_teach."))

# Public parts whose docstring holds no example, and why. Their tests show them at work.
NO_EXAMPLE = {
    "experiments.lab.cluster.Turn": "takes over the signals of the process that it is made in",
    "experiments.lab.cluster.submit": "trains, in processes of its own",
    "experiments.lab.frozen.load_frozen": "needs weights that are not in the repository",
    "experiments.lab.measures.under_shift": "needs a trained model",
    "experiments.lab.measures.under_permutation": "needs a trained model",
    "experiments.lab.measures.shuffle_and_shift": "needs a trained model",
    "experiments.lab.measures.shift_or_corner": "needs a trained model",
    "experiments.lab.attention.covered": "needs a trained model",
    "experiments.lab.attention.of_heads": "needs a trained model",
    "experiments.lab.frozen.features": "needs a trained model",
    "experiments.lab.measurement.card_of": "measures a model",
    "experiments.lab.pretrained.start_weights": "trains a model",
    "experiments.lab.runner.cell_in_process": "trains a model, in a process of its own",
    "experiments.lab.runner.end_with_runner": "ends the process it is called in",
    "experiments.lab.runner.plan": "trains some steps of each model to time them",
    "experiments.lab.runner.run": "trains, in processes of its own",
    "experiments.lab.runner.run_here": "trains all models of a question",
    "experiments.lab.same_training.shared_card": "reads and writes the cards on record",
    "experiments.resolution.measure": "needs a trained model",
    "train.resume.read_checkpoint": "needs a training that was stopped",
    "train.resume.write_checkpoint": "needs a training under way",
    "train.resume.mark_diverged": "needs a training that went wrong",
    "train.__main__.record": "needs a training that has ended",
    "train.loop.resumed": "needs a training that was stopped",
}


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
        full = f"{name}.{part}".removeprefix("vit_teach.")
        if ">>> " not in value.__doc__ and full not in NO_EXAMPLE:
            bare.append(part)
    assert not bare, f"{name} has parts without an example: {bare}"


@pytest.mark.parametrize("full", NO_EXAMPLE)
def test_what_needs_no_example_exists(full):
    module, _, part = full.rpartition(".")
    assert part in dict(public_parts(f"vit_teach.{module}"))


def test_an_example_that_only_says_a_name_is_none():
    for path in FOLDER.rglob("*.py"):
        empty = re.findall(r"^ *>>> (\w+)\.__name__$", path.read_text("utf-8"), re.M)
        excused = {full.rpartition(".")[2] for full in NO_EXAMPLE}  # named in the list instead
        assert set(empty) <= excused, f"{path.name} shows only the name of {empty}"


def test_functions_of_tensors_name_their_shapes():
    files = [name for name in MODULES if re.match(r"vit_teach\.(vit|baselines)\.", name)]
    assert len(files) == 9
    for name in files:
        for part, value in public_parts(name):
            takes = set(inspect.signature(value).parameters)
            if takes & {"images", "patches", "x", "table", "q"} or hasattr(value, "forward"):
                assert re.search(r"\((B|1|\.\.\.), ", value.__doc__), (
                    f"{name}.{part} names no shape"
                )


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


def test_importing_loads_the_vit_and_nothing_else():
    code = """
import sys, torch
before = set(sys.modules)
import vit_teach
print(*sorted(set(sys.modules) - before))
"""
    parts = ("", ".arguments", ".vit", ".vit.attention", ".vit.embedding", ".vit.encoder",
             ".vit.model", ".vit.offsets", ".vit.patches")  # fmt: skip
    assert run(code) == [f"vit_teach{part}" for part in parts]


# --- One door, one name ----------

FACE = {"__init__.py", "arguments.py", "paths.py", "py.typed"}


def test_what_stands_at_the_top_is_what_a_reader_types():
    entries = {path.name for path in FOLDER.iterdir()} - {"__pycache__"}
    assert {name.removesuffix(".py") for name in entries - FACE} == set(vit_teach.DOORS)
    assert entries >= FACE


def test_each_door_opens_first():
    """As in a fresh process: whatever else of the package was loaded before is forgotten."""
    code = f"""
import sys
for door in {vit_teach.DOORS}:
    for name in [name for name in sys.modules if name.split(".")[0] == "vit_teach"]:
        del sys.modules[name]
    import vit_teach as vt
    print(getattr(vt, door).__name__)
"""
    assert run(code) == [f"vit_teach.{door}" for door in vit_teach.DOORS]


def test_an_old_name_tells_the_new_one():
    """In a fresh process: here, other tests may have loaded what the old name would find."""
    code = f"""
import vit_teach as vt
for old in {list(vit_teach.MOVED)}:
    try:
        getattr(vt, old)
    except AttributeError as error:
        print(str(error).replace(" ", "_"))
"""
    told = [f"vt.{old}_is_vt.{new}_now" for old, new in vit_teach.MOVED.items()]
    assert run(code) == told


@pytest.mark.parametrize("new", sorted(set(vit_teach.MOVED.values())))
def test_a_new_place_exists(new):
    assert importlib.import_module(f"vit_teach.{new}").__name__ == f"vit_teach.{new}"


@pytest.mark.parametrize("door", ["data", "experiments", "train"])
def test_a_command_loads_each_module_once(door):
    """The file that runs as the command is not loaded a second time under its name."""
    command = [sys.executable, "-X", "importtime", "-m", f"vit_teach.{door}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"\| +(vit_teach\S*)$", result.stderr, re.M))
    assert f"vit_teach.{door}" in loaded and f"vit_teach.{door}.__main__" not in loaded


# --- Floors ----------


def lint(folder):
    """What lint-imports says of the package in this folder, by the contracts of pyproject.toml."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    command += ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_imports_keep_the_contracts():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


VIOLATIONS = [
    ("Floors", "vit/patches.py", "from .. import zoo"),
    ("Floors", "data/drawn.py", "def f():\n    from ..vit.model import ViTConfig"),
    ("Floors", "train/loop.py", "from .. import plots"),
    ("The ViT", "vit/attention.py", "from .embedding import PatchEmbedding"),
    ("No circle", "augment/batch.py", "from .policy import Augment"),
    ("The package knows nothing", "results/tables.py", "from docutils import nodes"),
]


@pytest.mark.parametrize("contract, file, line", VIOLATIONS)
def test_a_wrong_import_breaks_its_contract(contract, file, line, tmp_path):
    shutil.copytree(FOLDER, tmp_path / "vit_teach", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "vit_teach" / file, "a", encoding="utf-8") as text:
        text.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(rf"^{contract}.* BROKEN", result.stdout, re.M), result.stdout


@pytest.mark.parametrize("room", ["vit", "baselines"])
def test_models_need_torch_and_nothing_else_from_outside(room):
    graph = grimp.build_graph("vit_teach", include_external_packages=True, cache_dir=None)
    for name in {f"vit_teach.{room}", *graph.find_descendants(f"vit_teach.{room}")}:
        imported = graph.find_modules_directly_imported_by(name)
        outside = {other for other in imported if not other.startswith("vit_teach")}
        assert outside <= {"collections", "dataclasses", "math", "torch", "typing"}, (
            f"{name} imports {outside}"
        )


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
