"""The widgets live: in a real JupyterLab, with a kernel that sees what the reader does."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

PATIENCE = 240_000  # milliseconds: other work may share the machine
CELLS = [
    "import torch, vit_teach as vt\n"
    "a = vt.widgets.PatchExplorer({'photo': vt.data.photograph(224)})\na",
    "b = vt.widgets.PositionExplorer({'x': torch.randn(64, 16)}, (8, 8))\nb",
    "c = vt.widgets.AttentionByHand(torch.eye(2), torch.eye(2), torch.eye(2), ['one', 'two'])\nc",
    "print('seen', a.patch_size, b.row, b.rule, c.factor, c.k, c.names)",
    "a.patch_size = 32; b.rows = 12; c.q = [[0, 0], [0, 1]]",
    "photo = vt.data.photograph(32)\n"
    "d = vt.widgets.ProjectionExplorer({'x': photo}, {'new': vt.PatchEmbedding(32, 4, 3, 8)})\nd",
    "e = vt.widgets.ShapeTracer('ViT-B/16')\ne",
    "f = vt.widgets.GridExplorer(vt.results.recorded('train'))\nf",
    "torch.manual_seed(0); model = vt.zoo.build(vt.zoo.preset('CIFAR-ViT-Nano'))\n"
    "g = vt.widgets.AttentionExplorer.from_model(model, photo)\ng",
    "vt.widgets.XRay()",
    "print('then', d.dimension, e.preset, f.hidden, g.block)",
    "d.column = 3; e.preset = 'ViT-L/16'; f.hidden = []; g.block = 3",
    "lab = vt.widgets.TrainingLab(preset='CIFAR-ResNet-Nano', seconds=600)\nlab",
    "print('trains', lab.training, len(lab.runs))",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that has one notebook, on loopback."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(source, id=f"c-{n}") for n, source in enumerate(CELLS)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, folder / "widgets.ipynb")
    address = f"http://127.0.0.1:{(port := free_port())}/"
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    # Cells out of sight stay in the page, so that a test can count them.
    overrides = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
    (folder / "overrides.json").write_text(json.dumps(overrides))
    options += [f"--LabApp.app_settings_dir={folder}"]
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **own})
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(address + "api", timeout=5).close()
                    break
                except OSError:
                    assert server.poll() is None, (folder / "lab.log").read_text()
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def page(lab, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(lab + "lab/tree/widgets.ipynb")
    # A new notebook calls itself idle before it has a kernel, and Shift+Enter then opens a dialog.
    page.locator(".jp-Toolbar-kernelName", has_text="Python 3").wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()
    for number in range(3):
        run_cell(page, number)
        page.locator(".vt-live").nth(number).wait_for()
    yield page
    page.close()


def run_cell(page, number):
    """Run one cell. A notebook that has just opened may not listen yet: press until it does."""
    cell = page.locator(".jp-CodeCell").nth(number)
    for _ in range(20):
        assert (dialogs := page.locator(".jp-Dialog").all_inner_texts()) == [], dialogs
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(3000)
        if cell.locator(".jp-InputPrompt").inner_text().strip() != "[ ]:":
            return
    raise AssertionError(f"cell {number} does not run")


def test_python_sees_what_the_reader_does_and_the_reader_what_python_does(page):
    first, second, third = (page.locator(".vt-live").nth(n) for n in range(3))
    first.locator("input[type=range]").press("ArrowRight")
    second.locator(".vt-maps").press("ArrowDown")
    second.locator("input[type=range]").press("ArrowRight")
    second.locator("select").select_option(index=1)
    third.locator("input[type=range]").press("End")
    third.locator(".vt-steps input").first.fill("2.5")
    third.get_by_role("button", name="Token down").click()
    run_cell(page, 3)
    said = page.locator(".jp-OutputArea-output", has_text="seen").inner_text()
    expected = "seen 28 6 timm 8.0 [[0.0, 1.0], [2.5, 0.0]] ['two', 'one']"
    assert said.strip() == expected
    run_cell(page, 4)
    first.get_by_text("32 × 32").wait_for()
    second.get_by_text("12 × 12", exact=True).wait_for()
    third.get_by_text("Mean entropy of the rows 0.3").wait_for()


def test_the_tiles_of_numbers_stand_side_by_side(page):
    """JupyterLab has a look of its own for lists of terms."""
    tiles = page.locator(".vt-live").first.locator(".vt-counts > div")
    edges = "(all) => all.map((t) => [t, ...t.children].map((e) => e.getBoundingClientRect()))"
    assert tiles.count() > 2
    for tile, term, number in tiles.evaluate_all(edges):
        assert term["bottom"] <= number["top"] + 1 and number["bottom"] <= tile["bottom"]
        assert number["width"] > 0.8 * tile["width"]


def in_cell(page, number):
    """Run a cell that shows a widget; the widget."""
    run_cell(page, number)
    widget = page.locator(".jp-CodeCell").nth(number).locator(".vt-live")
    widget.wait_for()
    return widget


def test_the_other_widgets_too(page):
    projection, tracer, grid, maps = (in_cell(page, number) for number in range(5, 9))
    projection.locator("input[type=range]").first.press("ArrowRight")
    tracer.locator("select").first.select_option(label="ViT-Ti/16")
    grid.locator("input[type=checkbox]").first.uncheck()
    maps.locator("input[type=range]").first.press("ArrowRight")
    run_cell(page, 10)
    said = page.locator(".jp-OutputArea-output", has_text="then").inner_text()
    first = "cell=cifar-cnn"
    assert said.strip() == f"then 1 ViT-Ti/16 ['{first}'] 1"
    run_cell(page, 11)
    tracer.get_by_text("304,326,632").first.wait_for()
    assert grid.locator("input[type=checkbox]").first.is_checked()


def test_the_x_ray_runs_on_weights_from_the_kernel(page):
    widget = in_cell(page, 9)
    widget.locator(".vt-sample").nth(1).click()  # the first touch loads the model
    widget.get_by_text(re.compile("drawn ship: .* one pass")).wait_for()
    assert "ship" in widget.locator(".vt-title").first.inner_text()
    widget.get_by_role("combobox", name="Beside it").select_option(label="ViT, 90 minutes")
    widget.get_by_text(re.compile("Beside it: ViT, 90 minutes")).wait_for()
    assert widget.locator(".vt-columns thead th").count() == 3


def test_the_training_lab_trains_while_the_kernel_works_and_stops(page):
    run_cell(page, 12)
    cell = page.locator(".jp-CodeCell").nth(12)
    train, stop, again = (cell.get_by_role("button", name=n) for n in ("Train", "Stop", "Again"))
    train.click()
    curve = cell.locator("svg g[data-run='1'] path")
    curve.first.wait_for()
    length = "document.querySelector(\"svg g[data-run='1'] path\").getAttribute('d').length"
    before = page.evaluate(length)
    page.wait_for_function(f"(old) => {length} > old", arg=before)  # it grows
    assert train.is_disabled() and again.is_disabled()
    run_cell(page, 13)  # the kernel has time for other things
    said = page.locator(".jp-CodeCell").nth(13).locator(".jp-OutputArea-output").inner_text()
    assert said.strip() == "trains True 1"
    stop.click()
    cell.get_by_text(re.compile(r"Run 1 stopped after \d+ steps")).wait_for()
    assert cell.get_by_text("What the pictures are").is_visible()
    assert train.is_enabled() and again.is_enabled() and stop.is_disabled()


def test_arrow_keys_stay_in_the_widget(page):
    cell = page.locator(".jp-CodeCell").first
    stage = cell.locator(".vt-stage").first
    stage.focus()
    before = cell.locator(".vt-status").inner_text()
    stage.press("ArrowRight")
    page.wait_for_function(
        "(old) => document.querySelector('.vt-status').innerText !== old", arg=before
    )
    assert stage.evaluate("(node) => node === document.activeElement")


def test_the_dark_theme_of_jupyterlab_is_followed(page):
    colour = "() => getComputedStyle(document.querySelector('.vt-live')).backgroundColor"
    light = page.evaluate(colour)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    assert page.evaluate(colour) != light
