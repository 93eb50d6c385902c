"""Run the chapters: where their outputs are cached, and several chapters at a time."""

import hashlib
import importlib.metadata
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import vit_exercises
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
LOG = logging.getLogger(__name__)
LIBRARIES = ("torch", "numpy", "matplotlib", "plotly")
KEPT_CACHES = 3
# A kernel warns at its start that it talks to us without encryption. It does so on this machine
# alone, and a reader can do nothing about it. (What a cell warns of is not touched by this.)
QUIET_KERNEL = ["--log-level=ERROR"]
PLOTLY = "application/vnd.plotly.v1+json"  # for Jupyter; a page shows the HTML beside it


def sources() -> list[Path]:
    """Every file a chapter's output depends on, besides the chapter itself."""
    # Scripts and styles run on the page; no output of a cell depends on them.
    files = [f for f in (ROOT / "vit_teach").rglob("*") if f.suffix not in (".js", ".css")]
    for folder in ("results", "weights", "bench"):
        files += (ROOT / "data" / folder).rglob("*")
    return sorted(f for f in files if f.is_file() and "__pycache__" not in f.parts)


def cache_key() -> str:
    """A hash of the package, the recorded results, the libraries and the data sets at hand."""
    digest = hashlib.sha256(sys.version.encode())
    for name in LIBRARIES:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    for file in sources():
        digest.update(str(file.relative_to(ROOT)).encode())
        digest.update(file.read_bytes())
    # A chapter shows CIFAR where it is present: fetching it changes the page.
    for folder in (ROOT / "data", Path(os.environ.get("VIT_TEACH_DATA") or ROOT / "data")):
        digest.update(" ".join(sorted(p.name for p in folder.glob("cifar*"))).encode())
    return digest.hexdigest()[:16]


def choose_cache(app, config) -> None:
    """Point the build at the cache that belongs to this state of the package and data."""
    home = Path(app.outdir).parent / ".jupyter_cache"
    cache = home / cache_key()
    cache.mkdir(parents=True, exist_ok=True)
    os.utime(cache)
    newest_first = sorted(home.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in newest_first[KEPT_CACHES:]:
        shutil.rmtree(old, ignore_errors=True)
    config.nb_execution_cache_path = str(cache)


def run_uncached(app, env, docnames) -> None:
    """Run the chapters that have no cached outputs, as many at a time as there are cores.

    A chapter that fails gives a warning (which fails the build) and a page without outputs.
    """
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    waiting = []
    for name in sorted(docnames, reverse=True):  # late chapters train models: start them first
        path = Path(env.doc2path(name))
        if path.suffix == ".ipynb":
            notebook = vit_exercises.read(path)
            try:
                cache.match_cache_notebook(notebook)
            except KeyError:
                waiting.append((path, notebook))
    if not waiting:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(len(waiting), cores or 1)
    LOG.info("running %d chapters, %d at a time", len(waiting), workers)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(max(1, (cores or 1) // workers))  # the kernels inherit it
    try:
        with ThreadPoolExecutor(workers) as pool:
            for path, result in pool.map(lambda job: run(*job, app.config), waiting):
                store(cache, path, result, env)
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def run(path: Path, notebook, config):
    """Execute one notebook in its own folder."""
    settings = {"timeout": config.nb_execution_timeout, "extra_arguments": QUIET_KERNEL}
    result = single_nb_execution(notebook, str(path.parent), allow_errors=False, **settings)
    LOG.info("  %s: %.0f s%s", path.name, result.time, " (failed)" if result.err else "")
    return path, result


def store(cache, path: Path, result, env) -> None:
    """Put the outputs of a chapter that ran into the cache; report one that failed."""
    if result.err is None:
        drop_what_only_jupyter_shows(result.nb)
        bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        return
    LOG.warning("%s failed:\n%s", path.relative_to(ROOT), result.err)
    # myst-nb would run it a second time.
    settings = env.mystnb_config
    failed = [*settings.execution_excludepatterns, path.as_posix()]
    env.mystnb_config = settings.copy(execution_excludepatterns=failed)


def drop_what_only_jupyter_shows(notebook) -> None:
    """Take plotly's own form out of outputs that have HTML too: a page could not show it."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data.pop(PLOTLY, None)
