"""The widgets' Python side, their modules' arithmetic against the package, and their size."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import vit_teach as vt
from vit_teach.widgets import AttentionByHand, PatchExplorer, PositionExplorer
from vit_teach.widgets.patch_explorer import packed, patch_sizes
from vit_teach.widgets.position_explorer import similarity_map
from vit_teach.widgets.shared import base

NAMES = ["ear", "fur", "grass"]
BLACK = torch.zeros(3, 8, 12, dtype=torch.uint8)


def vectors(count=3, seed=0):
    return torch.randn(3, count, 2, generator=torch.Generator().manual_seed(seed)).double()


def patches(**settings):
    images = {"photo": vt.data.photograph(224), "small": vt.data.photograph(32)}
    return PatchExplorer(images, **settings)


def positions(grid=(3, 4), **settings):
    torch.manual_seed(0)
    return PositionExplorer({"a": torch.randn(12, 8), "b": torch.randn(12, 6)}, grid, **settings)


def by_hand(**settings):
    return AttentionByHand(*vectors(), NAMES, **settings)


MAKERS = {"patch_explorer": patches, "position_explorer": positions, "attention_by_hand": by_hand}


# --- Light ----------


def test_the_package_does_not_load_widgets_before_they_are_used():
    code = "import sys, vit_teach; print({'anywidget', 'ipywidgets'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_every_module_is_small_and_asks_nobody():
    assert set(MAKERS) <= set(base.modules())
    for name in MAKERS:
        source = base.module_source(name)
        assert len(source.encode()) < 25_000
        assert not re.search(
            r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|XMLHttp|^import ", source, re.M
        )


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match="name='nothing' must be one of"):
        base.module_source("nothing")


def chapter_widgets():
    """The widgets as the chapters make them."""
    trained = vt.weights.recorded("cifar-vit-20min")
    table, grid = trained.pos_embed[0], trained.config.grid_size
    tables = {name: table for name in ("one", "two", "three", "four")}
    return [patches(), PositionExplorer(tables, grid, centred=True), by_hand()]


def test_a_widget_costs_a_page_less_than_60_kilobytes():
    for widget in chapter_widgets():
        assert len(widget.static_html().encode()) < 60_000, type(widget).__name__


# --- What goes into a page ----------


class Parts(HTMLParser):
    """The tags of a piece of HTML, and the text in its script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.state, self.inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "script":
            self.state += data

    def handle_endtag(self, tag):
        self.inside = ""


@pytest.mark.parametrize("name", MAKERS)
def test_the_bundle_is_a_widget_and_a_page(name):
    widget = MAKERS[name]()
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    parts = Parts(data["text/html"])
    assert parts.tags[0] == ("figure", {"class": "vt-widget", "data-vt-module": name})
    assert json.loads(parts.state) == widget.static_state()
    assert {tag for tag, _ in parts.tags} & {"img", "table"}
    assert all(len(attributes["alt"]) > 10 for tag, attributes in parts.tags if tag == "img")
    assert len(widget.describe()) > 100


def test_the_state_holds_the_widgets_own_traits_and_nothing_else():
    own = {"names", "q", "k", "v", "factor", "chosen"}
    assert set(by_hand().static_state()) == own


def test_a_name_cannot_leave_its_place_in_the_page():
    bad = "</script><b>&"
    widget = AttentionByHand(*vectors(), [bad, "b", "c"])
    parts = Parts(widget.static_html())
    assert json.loads(parts.state)["names"][0] == bad
    assert "b" not in [tag for tag, _ in parts.tags]


def test_small_pictures_are_exact_and_large_ones_are_close():
    small, large = torch.randint(0, 256, (3, 16, 24), dtype=torch.uint8), vt.data.photograph(224)
    for image, exact in ((small, True), (large, False)):
        entry = packed("x", image)
        code = base64.b64decode(entry["source"].split(",")[1])
        read = torch.from_numpy(np.array(Image.open(io.BytesIO(code)))).permute(2, 0, 1)
        assert entry["exact"] is exact
        assert (read.int() - image.int()).abs().float().mean() < (1e-9 if exact else 6)


# --- Traits ----------

LONG = torch.zeros(3, 257, 257, dtype=torch.uint8)
BAD = [
    (lambda: PatchExplorer({}), "images={} must be a dictionary"),
    (lambda: PatchExplorer({"x": BLACK.float()}), r"images\['x'\] of dtype='torch.float32'"),
    (lambda: PatchExplorer({"x": BLACK[0]}), r"of shape=\(8, 12\) must be a uint8 tensor"),
    (lambda: PatchExplorer({"x": LONG}), r"of size=\(257, 257\) is above 256"),
    (lambda: PatchExplorer({"x": BLACK[:, :7]}), r"patch_size=16 must be one of \[1\]"),
    (lambda: PatchExplorer({"x": BLACK}), r"patch_size=16 must be one of \[1, 2, 4\]"),
    (lambda: setattr(patches(), "patch_size", 5), "patch_size=5 must be one of"),
    (lambda: setattr(patches(), "shown", 2), r"shown=2 must be from -1 .* to 1"),
    (lambda: setattr(patches(), "selected", 196), "selected=196 must be from 0 to 195"),
    (lambda: PositionExplorer({}, (3, 4)), "tables={} must be a dictionary"),
    (lambda: PositionExplorer({"x": torch.zeros(11, 8)}, (3, 4)), r"shape=\(11, 8\) must be \(12,"),
    (lambda: positions(grid=(1, 12)), r"grid=\(1, 12\) must be two sides from 2 to 16"),
    (lambda: positions(row=3), "row=3 must be from 0 to 2"),
    (lambda: setattr(positions(), "column", 4), "column=4 must be from 0 to 3"),
    (lambda: setattr(positions(), "rows", 13), "rows=13 must be .* no more columns"),
    (lambda: setattr(positions(), "rule", "nearest"), "rule='nearest' must be one of"),
    (lambda: AttentionByHand(*vectors(4), NAMES), "number of vectors in .=4 must be 3"),
    (lambda: AttentionByHand(*vectors(1), ["a"]), "must be 2 to 6 words"),
    (lambda: AttentionByHand(*vectors(), ["a", "b", "a"]), "names=.* must all differ"),
    (lambda: setattr(by_hand(), "k", [[1, 2, 3]] * 3), "k=.* must be vectors of two numbers"),
    (lambda: setattr(by_hand(), "v", [[1, float("nan")]] * 3), "v=.* must be finite numbers"),
    (lambda: setattr(by_hand(), "factor", 9), "factor=9.0 must be from 0 to 8"),
    (lambda: setattr(by_hand(), "chosen", 3), "chosen=3 must be from 0 to 2"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_another_image_keeps_the_nearest_patch_size():
    widget = patches(patch_size=28, selected=60)
    widget.shown = 1
    assert (widget.patch_size, widget.selected) == (16, 3)
    widget.shown = -1
    assert widget.size() == (224, 224) and widget.counts()["tokens"] == 196


def test_a_smaller_grid_keeps_the_nearest_place():
    widget = positions(rows=12, row=11, column=15)
    widget.rows = 3
    assert (widget.new_grid(), widget.row, widget.column) == ((3, 4), 2, 3)


def test_the_outputs_follow_the_traits():
    widget = by_hand()
    q, k, v = vectors()
    torch.testing.assert_close(widget.outputs(), vt.attend(q, k, v))
    widget.factor, widget.v = 2.5, (2 * v).tolist()
    torch.testing.assert_close(widget.weights(), vt.attention_weights(2.5 * q, k))
    torch.testing.assert_close(widget.outputs(), vt.attend(2.5 * q, k, 2 * v))


# --- The modules' arithmetic, in Chromium ----------


def test_attention_is_the_packages(run):
    cases = [(count, factor) for count in (2, 4, 5, 6) for factor in (0.0, 0.5, 1.0, 8.0)]
    data, expected = [], []
    for seed, (count, factor) in enumerate(cases):
        q, k, v = 3 * vectors(count, seed)
        data.append([q.tolist(), k.tolist(), v.tolist(), factor])
        expected.append((vt.attention_weights(factor * q, k), vt.attend(factor * q, k, v)))
    found = run("attention_by_hand", "(m, d) => d.map((x) => m.attention(...x))", data)
    for (weights, outputs), result in zip(expected, found, strict=True):
        assert (torch.tensor(result["weights"]).double() - weights).abs().max() < 1e-5
        assert (torch.tensor(result["outputs"]).double() - outputs).abs().max() < 1e-5


GRIDS = [
    ((8, 8), 12),
    ((8, 8), 5),
    ((3, 4), 9),
    ((5, 3), 3),
    ((4, 6), 2),
    ((8, 8), 8),
    ((8, 8), 16),
]


@pytest.mark.parametrize("rule", vt.RESIZE_RULES)
def test_resized_similarities_are_the_packages(run, rule):
    for grid, rows in GRIDS:
        torch.manual_seed(rows)
        table = torch.randn(grid[0] * grid[1], 24) + 0.5
        widget = PositionExplorer({"x": table}, grid, rows=rows, row=0, column=0)
        new = widget.new_grid()
        state = base64.b64encode(widget.products).decode()
        code = """(m, [bytes, grid, rows, rule]) => {
          const list = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
          const [square] = m.unpack(list, 1, grid[0] * grid[1]), next = m.newGrid(grid, rows);
          const made = m.resizeProducts(square, grid, next, rule);
          return [next, ...[false, true].map((c) => m.cosines(made, c).map((l) => [...l]))];
        }"""
        next_grid, plain, centred = run("position_explorer", code, [state, grid, rows, rule])
        assert tuple(next_grid) == new
        resized = vt.resize_positions(table[None].double(), grid, new, rule, 0)[0]
        for found, rows_ in ((plain, resized), (centred, resized - resized.mean(dim=0))):
            expected = vt.plots.cosine_similarity(rows_)
            assert (torch.tensor(found) - expected).abs().max() < 1e-4, (grid, new)


def test_flattened_patches_are_the_packages(run):
    image = torch.randint(0, 256, (3, 12, 18), dtype=torch.uint8)
    rgba = torch.cat([image, torch.full((1, 12, 18), 255, dtype=torch.uint8)]).permute(1, 2, 0)
    for patch in (2, 3, 6):
        expected = vt.patchify(image[None], patch)[0].tolist()
        code = "(m, [p, w, s, n]) => Array.from({ length: n }, (_, i) => m.flatten(p, w, s, i))"
        data = [rgba.flatten().tolist(), 18, patch, len(expected)]
        assert run("patch_explorer", code, data) == expected


def test_patch_sizes_are_the_same_in_both_languages(run):
    sizes = [(h, w) for h in (8, 24, 30, 32, 48, 224) for w in (8, 32, 36, 96, 224)]
    found = run("patch_explorer", "(m, d) => d.map(([h, w]) => m.patchSizes(h, w))", sizes)
    assert found == [patch_sizes(*size) for size in sizes]


def test_the_picture_for_print_shows_the_similarities():
    table = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [1.0, 1.0]])
    pixels = similarity_map(table, (2, 2), (0, 0)).reshape(4, 3)
    assert pixels[0].tolist() == [178, 24, 43] and pixels[2].tolist() == [33, 102, 172]
    assert pixels[1].tolist() == [247, 247, 247] and pixels[3][0] > pixels[3][2]
