"""Fixtures shared by all tests: real CIFAR-10, the built site, a browser."""

import os

# Workers of a parallel run share the cores: each takes one thread. Must precede the torch import.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@functools.cache
def cifar10_folder() -> Path | None:
    from vit_teach import data

    return data.find("cifar10")


def require_cifar10() -> Path:
    """The folder of the real CIFAR-10; skips the calling test where there is none."""
    folder = cifar10_folder()
    if folder is None:
        reason = "no CIFAR-10 here: run `make data` or set VIT_TEACH_DATA"
        if os.environ.get("VIT_TEACH_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def pytest_runtest_setup(item):
    if item.get_closest_marker("cifar10"):
        require_cifar10()


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """The folder of the real CIFAR-10."""
    return require_cifar10()


@pytest.fixture
def one_thread():
    """PyTorch on one thread, as in a run that is to give the same bits again."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the built site, built once per test run by the command of `make book`."""
    from filelock import FileLock

    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent  # shared by the workers of this run
    log = run / "site-build.log"
    with FileLock(run / "site-build.lock"):
        if not log.exists():
            command = [sys.executable, str(ROOT / "tools" / "build.py")]
            environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            build = subprocess.run(command, env=environment, **pipes)
            log.write_text(f"{build.returncode}\n{build.stdout}")
    code, _, output = log.read_text().partition("\n")
    if code != "0":
        pytest.fail("the site does not build:\n" + output[-6000:], pytrace=False)
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def site_url(site, tmp_path_factory) -> str:
    """The address of the site on loopback, below a folder as on GitHub Pages."""
    from serve import server

    home = tmp_path_factory.mktemp("www")
    (home / "REPO").symlink_to(site, target_is_directory=True)
    with server(home) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}/REPO/"
        service.shutdown()


def wait_until(page, expression, *, arg=None, timeout=180_000):
    """Wait until an expression is true on the page.

    In place of Playwright's own waiting, which evaluates text in the page: the pages' security
    policy forbids that.
    """
    end = time.monotonic() + timeout / 1000
    while not page.evaluate(expression, arg):
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {timeout / 1000:.0f} s: {expression}")
        page.wait_for_timeout(50)


@pytest.fixture(scope="session")
def browser():
    """This machine's Chromium under Playwright; nothing is downloaded."""
    import chromium
    from playwright.sync_api import Page, sync_playwright

    Page.wait_for_function = wait_until
    path = chromium.find()
    if path is None:
        pytest.fail(chromium.advice(), pytrace=False)
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield program
        program.close()


# What a function of a widget's module gives for data.
CALL = """async ([source, code, data]) => {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const module = await import(address);
  return eval(code)(module, data);
}"""


@pytest.fixture(scope="module")
def run(browser):
    """run(module, code, data): what a function of a widget's module gives for data."""
    from vit_teach.widgets.shared import base

    page = browser.new_page()

    def call(name, code, data):
        return page.evaluate(CALL, [base.module_source(name), code, data])

    yield call
    page.close()
