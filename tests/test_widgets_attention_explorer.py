"""AttentionExplorer: its rounding to bytes, its Python side, and its script against the package."""

import base64
import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vit_teach as vt
from vit_teach import probe
from vit_teach.widgets import AttentionExplorer
from vit_teach.widgets.attention_explorer import ASKS, VIEWS, colours, quantise, restore
from vit_teach.widgets.shared import base


def random_weights(*shape, tokens, sharpness=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(*shape, tokens, tokens, generator=generator, dtype=torch.float64)
    return (sharpness * scores).softmax(dim=-1)


def explorer(blocks=3, heads=2, grid=(3, 5), patch=(4, 6), prefix=1, **choice):
    """An explorer of random weights on a grid that is not square, with a class token."""
    weights = random_weights(blocks, heads, tokens=grid[0] * grid[1] + prefix)
    size = (grid[0] * patch[0], grid[1] * patch[1])
    picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    return AttentionExplorer(weights, picture, patch, **choice)


@pytest.fixture(scope="module")
def book_model():
    return vt.weights.recorded("cifar-vit-20min")


# --- Rounding ----------


@settings(deadline=None, max_examples=40)
@given(tokens=st.integers(1, 40), sharpness=st.floats(0, 60), seed=st.integers(0, 99))
def test_no_weight_is_off_by_more_than_half_a_step(tokens, sharpness, seed):
    weights = random_weights(2, tokens=tokens, sharpness=sharpness, seed=seed)
    steps, scales = quantise(weights)
    assert steps.dtype == torch.uint8 and steps.amax(dim=-1).eq(255).all()
    error = (restore(steps, scales) - weights).abs()
    assert (error <= weights.amax(dim=-1, keepdim=True) / 510 * (1 + 1e-4)).all()


def test_what_the_rounding_does_to_the_books_model(book_model):
    """The numbers a reader sees, from bytes and from exact weights."""
    photo = vt.data.photograph()
    widget = AttentionExplorer.from_model(book_model, photo)
    exact = probe.examine(book_model, photo)
    assert (widget.shown_weights() - exact.weights[0]).abs().max() <= exact.weights.max() / 500
    assert (widget.distances() - exact.distance[0]).abs().max() < 0.05  # pixels
    widget.view, widget.block, widget.asks = "rollout", book_model.config.depth - 1, "mean"
    assert (widget.shown_map() - exact.rollout[0]).abs().max() < 1e-3
    assert widget.uniform() == pytest.approx(exact.uniform)


# --- A page ----------


def test_a_page_with_the_books_model_carries_less_than_150_kilobytes(book_model):
    widget = AttentionExplorer.from_model(book_model, vt.data.photograph())
    state = json.dumps(widget.static_state(), separators=(",", ":"))
    assert widget.fits_a_page() and len(state) < 150_000
    assert len(widget.static_html()) < 165_000  # with the pictures for print


def test_a_model_too_large_for_a_page_leaves_its_maps_and_no_data():
    even = torch.full((4, 4, 145, 145), 1 / 145)
    widget = AttentionExplorer(even, torch.zeros(3, 96, 96, dtype=torch.uint8), 8)
    html = widget.static_html()
    assert not widget.fits_a_page() and len(html) < 30_000
    assert "<script" not in html and "<img" in html and "In Jupyter, you can" in html
    assert len(widget.weights) == 4 * 4 * 145 * 145  # Jupyter has them


def test_what_stands_in_says_what_the_numbers_are():
    widget = explorer(grid=(2, 3), patch=(4, 4))
    far = probe.attention_distance(widget.shown_weights(), (2, 3), 4)
    assert f"from {far.min():.1f} to {far.max():.1f} pixels" in widget.describe()
    assert f"gives {probe.uniform_distance((2, 3), 4):.2f}" in widget.describe()
    assert widget.static_html().count('alt="') == 2


def test_the_module_is_small_and_asks_nobody():
    source = base.module_source("attention_explorer")
    assert len(source.encode()) < 25_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|^import ", source, re.M)


# --- Any model, any picture ----------


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("CIFAR-ViT-Nano", {}),
        ("CIFAR-ViT-Nano", {"pool": "cls", "class_token": True}),
        ("CIFAR-ViT-Nano", {"image_size": (24, 40)}),
        ("CIFAR-Hybrid-Nano", {}),
    ],
)
def test_any_model_on_any_picture(name, changes, tmp_path):
    torch.manual_seed(0)
    model = vt.zoo.build(vt.zoo.preset(name, **changes))
    Image.new("RGB", (60, 50), "red").save(tmp_path / "mine.png")
    widget = AttentionExplorer.from_model(model, tmp_path / "mine.png")
    assert tuple(widget.grid) == model.config.grid_size
    assert widget.shape == [4, 4, model.config.num_tokens]
    exact = probe.examine(model, tmp_path / "mine.png").distance[0]
    assert (widget.distances() - exact).abs().max() < 0.05


# --- Traits ----------

BLACK = torch.zeros(3, 8, 12, dtype=torch.uint8)
BAD = [
    (lambda: AttentionExplorer(torch.ones(2, 6, 6), BLACK, 4), r"must be \(L, H, T, T\)"),
    (lambda: AttentionExplorer(torch.ones(1, 1, 6, 5), BLACK, 4), r"must be \(L, H, T, T\)"),
    (lambda: AttentionExplorer(torch.ones(1, 1, 5, 5), BLACK, 4), "must have at least 6 tokens"),
    (lambda: AttentionExplorer(torch.ones(1, 1, 6, 6), BLACK, 5), r"patch_size=\(5, 5\) must div"),
    (lambda: AttentionExplorer(torch.ones(1, 1, 6, 6), BLACK.float(), 4), "must be a uint8 tensor"),
    (lambda: explorer(block=3), "block=3 must be from 0 to 2"),
    (lambda: setattr(explorer(), "head", -1), "head=-1 must be from 0 to 1"),
    (lambda: setattr(explorer(), "query", 15), "query=15 must be from 0 to 14"),
    (lambda: setattr(explorer(), "asks", "me"), "asks='me' must be one of"),
    (lambda: explorer(prefix=0, asks="class"), r"asks='class' must be one of \['patch', 'mean'\]"),
    (lambda: setattr(explorer(), "view", "all"), "view='all' must be one of"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=range(len(BAD)))
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- The script's arithmetic, in Chromium ----------

RUN = """async ([source, code, data]) => {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const module = await import(address);
  return eval(code)(module, data);
}"""
UNPACK = """const list = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const bytes = (text) => new DataView(list(text).buffer);
  const weights = m.restore(bytes(s.weights.base64), bytes(s.scales.base64), s.shape);
  const [L, H, T] = s.shape, N = s.grid[0] * s.grid[1];"""


@pytest.fixture(scope="module")
def run(browser):
    """run(code, data): what the module's functions give for data."""
    page = browser.new_page()
    yield lambda code, data: page.evaluate(
        RUN, [base.module_source("attention_explorer"), code, data]
    )
    page.close()


@pytest.mark.parametrize("prefix", [0, 1])
def test_weights_distances_and_rollout_are_pythons(run, prefix):
    widget = explorer(prefix=prefix)
    code = f"""(m, s) => {{ {UNPACK}
      return [weights.map((b) => b.map((w) => [...w])),
        weights.map((b) => b.map((w) => m.meanDistance(w, T, s.grid, s.patch))),
        m.meanDistance(null, N, s.grid, s.patch), m.rollout(weights, T).map((r) => [...r])]; }}"""
    found, far, even, rolled = run(code, widget.static_state())
    weights, tokens = widget.shown_weights(), widget.shape[2]
    assert (torch.tensor(found).view(3, 2, tokens, tokens) - weights).abs().max() < 1e-7
    assert (torch.tensor(far) - widget.distances()).abs().max() < 1e-4
    assert even == pytest.approx(widget.uniform())
    for block, result in enumerate(rolled):
        expected = probe.rollout(weights[: block + 1])
        assert (torch.tensor(result).view(tokens, tokens) - expected).abs().max() < 1e-6


def test_every_row_that_can_be_asked_for_is_pythons(run):
    widget = explorer()
    code = f"""(m, s) => {{ {UNPACK}
      return [...m.rowOf(weights[s.block][s.head], T, N, s.asks, s.query)]; }}"""
    for asks in ASKS:
        for block, head, query in ((0, 0, 0), (1, 1, 7), (2, 0, 14)):
            widget.block, widget.head, widget.query, widget.asks = block, head, query, asks
            row = torch.tensor(run(code, widget.static_state()))
            assert (row[1:].view(3, 5) - widget.shown_map()).abs().max() < 1e-7
    assert VIEWS == ("head", "rollout")


def test_distances_of_each_query_are_pythons(run):
    widget = explorer()
    code = f"""(m, s) => {{ {UNPACK} return Array.from({{ length: N }}, (_, q) =>
      m.distanceOf(m.rowOf(weights[1][0], T, N, "patch", q), q, s.grid, s.patch)); }}"""
    found = torch.tensor(run(code, widget.static_state()))
    expected = probe.query_distances(widget.shown_weights()[1, 0], (3, 5), (4, 6))
    assert (found - expected).abs().max() < 1e-4


def test_colours_are_the_same_in_both_languages(run):
    values = torch.linspace(0, 2, 41)
    found = run("(m, [all, top]) => all.map((v) => m.colour(v, top))", [values.tolist(), 2])
    expected = torch.from_numpy(colours(values[None])[0]).int()
    assert (torch.tensor(found) - expected).abs().max() <= 1
    assert run("(m) => m.colour(0, 0)", None) == colours(torch.zeros(1, 1))[0, 0].tolist()


def test_the_state_is_what_the_script_reads():
    state = explorer().static_state()
    source = base.module_source("attention_explorer")
    assert all(f'"{name}"' in source for name in state)
    assert len(base64.b64decode(state["weights"]["base64"])) == 3 * 2 * 16 * 16
