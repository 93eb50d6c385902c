"""The X-ray as a reader meets it, in a page saved as a file: where am I, what went wrong."""

import base64
import io
import re
import shutil
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from model_tools import randomise
from page_tools import STICK_OUT, drawn
from PIL import Image
from test_widgets_saved import AXE, WCAG

import vit_teach as vt
from vit_teach.data.pictures import fit
from vit_teach.widgets import XRay
from vit_teach.widgets.xray import samples, weights_file

STATUS = "[role=status]"
KEEP_WORKERS = """window.workers = [];
window.Worker = class extends Worker {
  constructor(...given) { super(...given); workers.push(this); }
};"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return XRay().save_html(tmp_path_factory.mktemp("xray") / "x.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens the page, at a link if one is given; nothing on it is touched."""
    problems, pages = [], []

    def open_page(hash_="", width=1280, address=address):
        page = browser.new_page(viewport={"width": width, "height": 1000})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.add_init_script(KEEP_WORKERS)
        page.goto(address + hash_)
        page.wait_for_selector("figure[data-ready] .vt-live")
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert problems == []


@pytest.fixture
def page(opened):
    """The page with its model at work on the first sample."""
    page = opened()
    page.locator(".vt-sample").first.click()
    until(page, "one pass")
    return page


def until(page, text):
    place = f"document.querySelector('{STATUS}').textContent"
    page.wait_for_function(f"(text) => {place}.includes(text)", arg=text)
    return page.locator(STATUS).first.inner_text()


def give(page, label, name, data, kind="image/png"):
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.get_by_label(label, exact=True).set_input_files(file)


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (50, 40), colour).save(file, "PNG")
    return file.getvalue()


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def figures(page, stage):
    """Every number of a stage."""
    press(page, "Numbers")
    page.locator(".vt-view select").select_option(stage)


def answers(page):
    """{class: (probability, what stands in the last column)}, as shown."""
    rows = drawn(page).locator(".vt-answers tbody tr")
    text = "(all) => all.map((row) => [...row.cells].map((cell) => cell.innerText))"
    return {name: (now, last) for name, _, now, last in rows.evaluate_all(text)}


def share(text):
    return float(text.rstrip(" %")) / 100


def pixels(page, selector, nth=0):
    """The bytes (H, W, 4) of a canvas."""
    shape, data = (
        drawn(page)
        .locator(selector)
        .nth(nth)
        .evaluate(
            """(canvas) => [[canvas.height, canvas.width, 4], [...canvas.getContext("2d")
          .getImageData(0, 0, canvas.width, canvas.height).data]]"""
        )
    )
    return np.array(data, np.uint8).reshape(shape)


def patch_point(page, row, column):
    """Where a patch of the picture is on the screen, rows and columns from 0."""
    picture = page.locator(".vt-xray-picture")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    return box["x"] + box["width"] * (column + 0.5) / 8, box["y"] + box["height"] * (row + 0.5) / 8


# --- The page opens with an answer ----------


def test_the_markup_has_the_answer_and_is_small():
    html = XRay().static_html()
    assert len(html) < 40_000
    shown = html.partition("<script")[0]
    assert "airplane" in shown and "96.4%" in shown  # the best class, in words and in the bars
    assert shown.count("<img") == 2  # what the model reads, and where it looks


def test_an_answer_is_there_before_anything_loads(opened):
    page = opened()
    before = answers(page)
    assert list(before)[0] == "airplane" and before["airplane"][0] == "96.4 %"
    assert page.locator(".vt-tile").count() == 6 * 5  # heads and rollout
    assert pixels(page, ".vt-veil").shape == (8, 8, 4)
    maps = [pixels(page, ".vt-tile canvas", i) for i in (0, 9, 29)]
    press(page, "How the answer forms")  # the first touch
    forms = page.locator(".vt-forms tbody td").all_inner_texts()
    assert len(forms) % 7 == 0
    until(page, "one pass")
    assert answers(page) == before  # the model says the same
    assert drawn(page).locator(".vt-forms tbody td").all_inner_texts() == forms
    press(page, "Where it looks")
    for i, at in enumerate((0, 9, 29)):  # the page's maps are bytes
        now = pixels(page, ".vt-tile canvas", at).astype(int)
        assert abs(now - maps[i]).max() <= 2


def test_the_opening_is_what_the_model_says():
    opening = XRay().opening
    model = vt.weights.recorded("cifar-vit-20min").eval()
    pixels = np.frombuffer(base64.b64decode(opening["bytes"]), np.uint8).reshape(1, 3, 32, 32)
    with torch.no_grad():
        logits, out = model(vt.data.normalise(torch.tensor(pixels)), intermediates=True)
        middle = model.head(model.norm(out["blocks.2"]).mean(dim=1))[0]
    torch.testing.assert_close(torch.tensor(opening["logits"]), logits[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.tensor(opening["lens"][3]), middle, rtol=0, atol=1e-4)
    steps = np.frombuffer(base64.b64decode(opening["steps"]), np.uint8).reshape(6, 5, 64)
    scales = torch.tensor(opening["scales"]).view(6, 5, 1)
    shown = torch.tensor(steps.copy()) * scales
    expected = out["blocks.4.attn.weights"][0, 1, opening["token"]]
    torch.testing.assert_close(shown[4, 1], expected, rtol=0, atol=expected.max().item() / 400)


TOUCHES = {
    "pointing": lambda page: page.mouse.move(*patch_point(page, 1, 1)),
    "the Tab key": lambda page: page.keyboard.press("Tab"),
    "scrolling to it": lambda page: page.mouse.wheel(0, 40),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_the_model_comes_at_the_first_touch(touch, opened):
    page = opened()
    page.wait_for_timeout(400)
    assert page.evaluate("workers.length") == 0
    TOUCHES[touch](page)
    until(page, "one pass")
    assert page.evaluate("workers.length") == 1


# --- Where it looks ----------


def test_pointing_previews_and_pressing_chooses(page):
    words = page.locator(".vt-view [aria-live]")
    page.mouse.move(*patch_point(page, 2, 6))
    drawn(page)
    assert "the patch in row 3, column 7 looks" in words.inner_text()
    page.mouse.move(5, 5)
    drawn(page)
    assert "the patch in row 5, column 5 looks" in words.inner_text()  # the chosen one again
    page.mouse.click(*patch_point(page, 0, 7))
    page.mouse.move(5, 5)
    drawn(page)
    assert "the patch in row 1, column 8 looks" in words.inner_text()
    page.get_by_role("application").press("ArrowLeft")
    assert "the patch in row 1, column 7 looks" in words.inner_text()


def test_a_small_map_chooses_block_and_head(page):
    before = pixels(page, ".vt-veil")
    press(page, "block 5, head 3")
    tile = page.locator(".vt-tile[aria-pressed=true]")
    assert tile.count() == 1 and tile.get_attribute("aria-label") == "block 5, head 3"
    assert page.locator(".vt-caption").inner_text().endswith("block 5, head 3")
    assert (pixels(page, ".vt-veil") != before).any()
    tile.press("ArrowDown")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "block 6, head 3"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "In rollout up to block 6," in page.locator(".vt-view [aria-live]").inner_text()
    assert page.locator(".vt-tile[tabindex='0']").count() == 1  # one stop of the Tab key


def test_the_picture_is_bright_where_the_head_looks(page):
    press(page, "block 4, head 2")
    veil = pixels(page, ".vt-veil")[..., 3].astype(int)
    _, out = torch_run(sample(0))
    row = out["blocks.3.attn.weights"][0, 1, 36].view(8, 8)
    expected = (195 * (1 - row / row.max())).round().int().numpy()
    assert abs(veil - expected).max() <= 1
    page.get_by_role("checkbox").uncheck()
    assert not page.locator(".vt-veil").is_visible()


def sample(n):
    """The pixels (3, 32, 32) that the model reads of a sample."""
    data = base64.b64decode(samples()[n]["source"].partition(",")[2])
    return fit(Image.open(io.BytesIO(data)).convert("RGB"), (32, 32))


def torch_run(picture):
    model = vt.weights.recorded("cifar-vit-20min").eval()
    with torch.no_grad():
        return model(vt.data.normalise(torch.as_tensor(picture)[None]), intermediates=True)


# --- How the answer forms ----------


def test_the_lens_shows_each_blocks_answer(page):
    press(page, "How the answer forms")
    model = vt.weights.recorded("cifar-vit-20min").eval()
    _, out = torch_run(sample(0))
    row = page.locator(".vt-forms tbody tr", has_text="bird").locator("td").all_inner_texts()
    levels = [out["tokens"], *(out[f"blocks.{i}"] for i in range(6))]
    with torch.no_grad():
        logits = [model.head(model.norm(x))[0] for x in levels]  # (T, K)
    birds = [round(100 * x.mean(dim=0).softmax(0)[2].item()) for x in logits]
    assert [int(text) for text in row] == birds
    press(page, "bird")
    label = page.locator(".vt-level canvas").nth(3).get_attribute("aria-label")
    alone = logits[3].softmax(dim=1)[:, 2]
    ends = f"from {100 * alone.min():.1f} % to {100 * alone.max():.1f} %"
    assert label == f"block 3: bird in single patches, {ends}"
    assert page.evaluate("document.activeElement.textContent") == "bird"  # the focus stays
    assert "What this is not" in page.locator(".vt-view").inner_text()


# --- The guide and links ----------


def test_the_guide_leads_through_eight_steps(opened):
    page = opened()
    press(page, "Start the guide")
    seen = []
    for step in range(1, 9):
        words = page.locator(".vt-guide-words").inner_text()
        assert words.startswith(f"{step} of 8 · ") and words.count(".") + words.count(":") >= 2
        assert page.url.endswith(f"#xray=1&step={step}")
        pressed = page.locator(".vt-live [aria-pressed=true]").evaluate_all(
            "(all) => all.map((b) => b.getAttribute('aria-label') || b.textContent)"
        )
        seen.append(tuple(pressed))
        page.keyboard.press("ArrowRight")
    assert len(set(seen)) == 8  # each shows something else
    page.keyboard.press("ArrowLeft")
    assert page.locator(".vt-guide-words").inner_text().startswith("7 of 8")
    press(page, "← Back")
    assert page.locator(".vt-guide-words").inner_text().startswith("6 of 8")
    until(page, "one pass")


def test_a_link_opens_the_state_that_it_was_copied_from(page, opened):
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    page.mouse.click(*patch_point(page, 5, 2))
    press(page, "block 3, head 4")
    page.get_by_role("slider", name="Shift right").fill("-3")
    press(page, "Turn")
    press(page, "Cover patches")
    page.mouse.click(*patch_point(page, 5, 2))
    until(page, "is changed")
    assert "#" not in page.url  # nobody asked for a link
    press(page, "Copy link")
    hash_ = "#" + page.url.partition("#")[2]
    assert hash_ == ("#xray=2&view=heads&block=3&head=4&token=42&turn=1&right=-3&cover=42")
    other = opened(hash_)
    until(other, "is changed")
    assert answers(other) == answers(page)
    other.mouse.move(5, 5)
    page.mouse.move(5, 5)
    words = [drawn(p).locator(".vt-view [aria-live]").inner_text() for p in (page, other)]
    assert words[0] == words[1] and "block 3, head 4, the patch in row 6, column 3" in words[0]


def test_a_link_to_a_step_and_one_followed_in_the_page(opened):
    page = opened("#xray=3&step=7")
    until(page, "drawn truck: 96")
    assert page.locator(".vt-guide-words").inner_text().startswith("7 of 8")
    assert page.locator(".vt-view select").input_value() == "logits"
    page.evaluate("location.hash = '#xray=1&view=lens&block=4&class=bird'")
    until(page, "drawn aeroplane: 96")
    drawn(page)
    assert page.locator(".vt-view [aria-live]").inner_text().startswith("After block 4: bird")


@pytest.mark.parametrize(
    "hash_",
    [
        "#xray=99&block=0&head=-1&token=1e9&view=constructor&stage=__proto__&class=none",
        "#xray=&cover=64.-1.x..&turn=4&noise=101&shuffle=1e3&right=17&down=-17&step=9",
    ],
)
def test_what_a_link_cannot_mean_is_left_out(hash_, opened):
    page = opened(hash_)
    until(page, "drawn aeroplane: 96")
    drawn(page)
    assert page.locator(".vt-tile[aria-pressed=true]").count() == 1
    assert page.get_by_role("button", name="As it came").is_disabled()


# --- Change the picture ----------


def test_the_answer_follows_a_change_and_undo_takes_it_back(page):
    first = answers(page)
    press(page, "Turn")
    until(page, "is changed")
    turned = np.rot90(sample(0).numpy(), -1, (1, 2)).copy()
    expected = torch_run(turned)[0].softmax(1)[0].tolist()
    classes = vt.weights.read_metadata(weights_file("cifar-vit-20min"))["classes"]
    for name, (now, before) in answers(page).items():
        assert abs(share(now) - expected[classes.index(name)]) < 6e-4
        assert before == first[name][0]
    assert page.locator(".vt-then").count() == 10  # bars from before
    assert (pixels(page, ".vt-xray-picture canvas")[..., :3] == turned.transpose(1, 2, 0)).all()
    slider = page.get_by_role("slider", name="Noise")
    for value in ("10", "20", "30"):
        slider.fill(value)
    press(page, "Undo")  # the noise, in one step
    assert slider.input_value() == "0"
    assert not page.get_by_role("button", name="Undo").is_disabled()
    press(page, "Undo")  # the turn
    until(page, "is as it came")
    assert answers(page) == first
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert page.locator(".vt-then").count() == 0


def test_the_brush_covers_what_it_is_drawn_over(page):
    press(page, "Cover patches")
    page.mouse.move(*patch_point(page, 3, 2))
    page.mouse.down()
    page.mouse.move(*patch_point(page, 3, 3))
    page.mouse.move(*patch_point(page, 3, 4))
    page.mouse.up()
    page.mouse.move(*patch_point(page, 6, 6))  # no longer pressed
    assert "3 patches are covered" in page.locator(".vt-edit").inner_text()
    grey = [round(255 * m) for m in vt.data.MEAN]
    until(page, "is changed")
    page.wait_for_timeout(300)
    shown = pixels(page, ".vt-xray-picture canvas")[..., :3]
    assert (shown[12:16, 8:20] == grey).all() and (shown[12:16, 20:24] != grey).any()
    page.get_by_role("application").press("ArrowRight")
    page.keyboard.press("Enter")
    assert "4 patches are covered" in page.locator(".vt-edit").inner_text()
    page.keyboard.press("Enter")
    assert "3 patches are covered" in page.locator(".vt-edit").inner_text()


def test_a_change_made_before_the_model_is_here_is_kept(opened):
    page = opened()
    press(page, "Shuffle patches")
    until(page, "is changed")
    assert page.locator(".vt-then").count() == 10


def test_another_picture_comes_unchanged(page):
    press(page, "Turn")
    until(page, "is changed")
    page.locator(".vt-sample").nth(1).click()
    assert "drawn ship: " in until(page, "one pass")
    assert page.get_by_role("button", name="Undo").is_disabled()
    assert page.locator(".vt-then").count() == 0


def test_a_slider_that_is_dragged_does_not_pile_up_runs(page):
    """Thirty steps in a row: few passes, and the last one is what is shown."""
    page.evaluate(
        """() => {
          window.passes = 0;
          const worker = workers.at(-1);
          const post = worker.postMessage.bind(worker);
          worker.postMessage = (...given) => { passes += 1; post(...given); };
          const slider = document.querySelector(".vt-edit input");
          for (let i = -15; i <= 14; i++) {
            slider.value = i;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
          }
        }"""
    )
    until(page, "is changed")
    page.wait_for_timeout(500)
    assert page.evaluate("passes") <= 2
    shifted = np.roll(sample(0).numpy(), 14, 2).transpose(1, 2, 0)
    assert (pixels(page, ".vt-xray-picture canvas")[..., :3] == shifted).all()


def test_a_change_is_answered_within_a_tenth_of_a_second(page):
    """The best of several: other work may share the machine."""
    times = []
    for _ in range(12):
        press(page, "Shuffle patches")
        page.wait_for_timeout(150)
        said = until(page, "answered in")
        times.append(int(re.search(r"answered in (\d+) ms", said)[1]))
    assert min(times) < 100, times


# --- Down to one number ----------

SUMS = [
    "patch_embed", "tokens", *(f"blocks.2{part}" for part in
    (".attn.q", ".attn.k", ".attn.v", ".attn.weights", ".attn", ".mlp", "")),
    "norm", "pooled", "logits",
]  # fmt: skip


def cells(page, selector):
    """What stands in the rows of a table."""
    rows = drawn(page).locator(f"{selector} tbody tr")
    return rows.evaluate_all("(all) => all.map((r) => [...r.cells].map((c) => c.innerText.trim()))")


@pytest.mark.parametrize("stage", SUMS)
def test_the_arithmetic_of_a_number_adds_up(stage, page):
    _, out = torch_run(sample(0))
    figures(page, stage)
    page.get_by_role("slider", name="Number").fill("4")
    page.wait_for_timeout(100)
    last = [float(row[-1]) for row in cells(page, ".vt-sums")]
    assert len(last) in (2, 3, 4, 6, 7, 8)
    assert abs(sum(last[:-1]) - last[-1]) < 2e-3
    tensor = out[stage][0]
    tensor = tensor[1] if tensor.ndim == 3 else tensor  # head 2 is chosen
    expected = tensor[36, 4] if tensor.ndim == 2 else tensor[4]
    if stage.endswith("weights"):
        q, k = (out[f"blocks.2.attn.{letter}"][0, 1] for letter in "qk")
        assert "Divided by √32" in told(page, ".vt-sums")
        expected = q[36] @ k[4]
    assert abs(last[-1] - expected.item()) < 2e-3
    marked = page.locator(".vt-numbers mark").inner_text().split()[-1]
    assert abs(float(marked) - tensor.flatten()[4 if tensor.ndim == 1 else
               36 * tensor.shape[1] + 4].item()) < 2e-3  # fmt: skip


def test_a_pixel_is_explained(page):
    figures(page, "picture")
    page.get_by_role("slider", name="Number").fill("21")  # green, row 2, column 2 of the patch
    said = told(page, ".vt-sums")
    byte = sample(0)[1, 17, 17].item()
    assert said.startswith(f"The green of a pixel: ({byte} ÷ 255 − 0.4822) ÷ ")
    spread = float(said.rpartition(" ÷ ")[2])
    shown = float(page.locator(".vt-numbers mark").inner_text())
    assert abs((byte / 255 - 0.4822) / spread - shown) < 1e-3


def test_it_is_always_said_which_block_head_and_token(page):
    figures(page, "blocks.2.attn.q")
    title = page.locator(".vt-view > .vt-title").first
    assert title.inner_text() == "Block 3 · Queries › head 2 › row 5, column 5 › number 1"
    rows = drawn(page).locator(".vt-rows")
    box = rows.bounding_box()
    rows.click(position={"x": box["width"] * 20.5 / 32, "y": box["height"] * 10.5 / 64})
    assert drawn(page).locator(".vt-rows .vt-ring").nth(1).get_attribute("x") == "20"
    assert title.inner_text() == "Block 3 · Queries › head 2 › row 2, column 3 › number 21"
    figures(page, "blocks.2.attn.weights")
    assert title.inner_text().endswith("› head 2 › row 2, column 3 › looks at row 3, column 5")
    figures(page, "logits")
    assert title.inner_text() == "Scores of the classes › number 10"  # there are no more


@pytest.mark.parametrize("still", [True, False])
def test_zooming_moves_only_for_readers_who_want_motion(still, page):
    page.emulate_media(reduced_motion="reduce" if still else "no-preference")
    page.evaluate(
        """() => { window.moves = 0; const animate = Element.prototype.animate;
          Element.prototype.animate = function (...given) {
            window.moves += 1; return animate.apply(this, given); }; }"""
    )
    page.get_by_role("group", name="The way through the model").get_by_role(
        "button", name="Tokens"
    ).click()
    drawn(page).locator(".vt-rows").click(position={"x": 30, "y": 30})
    assert page.evaluate("moves") == (0 if still else 2)


def test_a_link_leads_to_one_number(opened):
    page = opened("#xray=2&view=numbers&stage=blocks.1.mlp&token=9&number=7")
    until(page, "drawn ship: 96")
    title = drawn(page).locator(".vt-view > .vt-title").first
    assert title.inner_text().endswith("› row 2, column 2 › number 7")
    press(page, "Copy link")
    until(page, "The link to what you see")
    assert "stage=blocks.1.mlp&number=7" in page.url


# --- Two models, two pictures, and the temperature ----------

UNTRAINED = {"cifar-hybrid": "CIFAR-Hybrid-Nano", "cifar-cnn": "CIFAR-ResNet-Nano"}
CLASSES = vt.weights.read_metadata(weights_file("cifar-vit-20min"))["classes"]


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """A folder of weights, the book's ViT and an untrained hybrid and CNN, and a page of them."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(weights_file("cifar-vit-20min"), folder)
    for name, preset in UNTRAINED.items():
        torch.manual_seed(0)
        model = randomise(vt.zoo.build(vt.zoo.preset(preset)), size=0.1)
        vt.weights.save(model, folder / f"{name}.safetensors", half=True, classes=CLASSES,
                        test_accuracy=0.1)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vt.widgets.xray, "WEIGHTS", folder)
        XRay().save_html(folder / "x.html")
    return folder


@pytest.fixture
def open_trio(opened, trio):
    return lambda hash_="", width=1280: opened(hash_, width, (trio / "x.html").as_uri())


def beside(page, title):
    """Choose the model that stands beside the first, and wait for its answer."""
    page.get_by_role("combobox", name="Beside it").select_option(label=title)
    return until(page, f"Beside it: {title}")


def told(page, selector):
    return drawn(page).locator(selector).first.inner_text()


def columns(page):
    """{title of a column: {class: what its cell says}}, as shown."""
    table = drawn(page).locator(".vt-columns")
    titles = [text.strip() for text in table.locator("thead th").all_inner_texts()][1:]
    rows = table.locator("tbody tr").evaluate_all(
        "(all) => all.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    )
    return {title: {row[0]: row[i] for row in rows} for i, title in enumerate(titles, start=1)}


def theirs(model, picture, temperature=1):
    """{class: probability} that PyTorch gives for a uint8 picture (3, H, W)."""
    with torch.no_grad():
        logits = model.eval()(vt.data.normalise(torch.as_tensor(picture.copy())[None]))[0]
    return dict(zip(CLASSES, (logits / temperature).softmax(0).tolist(), strict=True))


def shown_picture(page):
    return pixels(page, ".vt-xray-picture canvas")[..., :3].transpose(2, 0, 1)


def same(shown, expected):
    assert len(shown) == 10
    for name, text in shown.items():
        assert abs(share(text) - expected[name]) < 6e-4, name


def test_only_models_that_are_there_are_offered(opened, open_trio):
    titles = "(all) => all.map((option) => [option.textContent, option.disabled])"
    page = open_trio()
    found = page.locator(".vt-compare option").evaluate_all(titles)
    assert found == [["no other model", False], ["ViT, 20 minutes", True],
                     ["Hybrid", False], ["CNN", False]]  # fmt: skip
    real = [model["title"] for model in vt.widgets.xray.models()]
    assert "ViT, 90 minutes" in real
    found = opened().locator(".vt-compare option").evaluate_all(titles)
    assert [title for title, _ in found] == ["no other model", *real]


def test_two_models_answer_on_one_picture_and_both_follow(open_trio, trio):
    page = open_trio()
    first = vt.weights.recorded("cifar-vit-20min")
    for name, title in (("cifar-cnn", "CNN"), ("cifar-hybrid", "Hybrid")):
        second = vt.weights.load(trio / f"{name}.safetensors")
        beside(page, title)
        found = columns(page)
        assert list(found) == ["ViT, 20 minutes", title]
        same(found["ViT, 20 minutes"], theirs(first, sample(0).numpy()))
        same(found[title], theirs(second, sample(0).numpy()))
        press(page, "Turn")
        until(page, "is changed")
        turned = shown_picture(page)
        assert (turned == np.rot90(sample(0).numpy(), -1, (1, 2))).all()
        found = columns(page)
        same(found["ViT, 20 minutes"], theirs(first, turned))
        same(found[title], theirs(second, turned))
        assert page.locator(".vt-then").count() == 20  # both have bars from before
        press(page, "Undo")
        until(page, "is as it came")
        same(columns(page)[title], theirs(second, sample(0).numpy()))
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    same(columns(page)["Hybrid"], theirs(second, sample(1).numpy()))
    page.get_by_role("combobox", name="Beside it").select_option(label="no other model")
    drawn(page)
    assert page.locator(".vt-columns").count() == 0
    assert page.evaluate("workers.length") == 3


def test_a_cover_that_is_drawn_reaches_both_models(open_trio, trio):
    page = open_trio()
    beside(page, "CNN")
    press(page, "Cover patches")
    page.mouse.move(*patch_point(page, 3, 2))
    page.mouse.down()
    for column in range(3, 7):
        page.mouse.move(*patch_point(page, 3, column))
    page.mouse.up()
    until(page, "is changed")
    page.wait_for_timeout(400)
    covered = shown_picture(page)
    assert (covered[:, 12:16, 8:28] == np.round(255 * np.array(vt.data.MEAN))[:, None, None]).all()
    found = columns(page)
    same(found["ViT, 20 minutes"], theirs(vt.weights.recorded("cifar-vit-20min"), covered))
    same(found["CNN"], theirs(vt.weights.load(trio / "cifar-cnn.safetensors"), covered))


def test_the_difference_is_said_in_a_sentence(open_trio, trio):
    page = open_trio()
    beside(page, "CNN")
    one = theirs(vt.weights.recorded("cifar-vit-20min"), sample(0).numpy())
    other = theirs(vt.weights.load(trio / "cifar-cnn.safetensors"), sample(0).numpy())
    best, rival = max(one, key=one.get), max(other, key=other.get)
    assert best != rival
    apart = sum(abs(one[name] - other[name]) for name in CLASSES) / 2
    assert told(page, ".vt-difference") == (
        f"They disagree: ViT, 20 minutes says {best} ({100 * one[best]:.1f} %); CNN says {rival} "
        f"({100 * other[rival]:.1f} %) and gives {best} {100 * other[best]:.1f} %: of 100 points "
        f"of probability, {100 * apart:.1f} lie elsewhere."
    )
    verdict = page.locator(".vt-board .vt-title").first.inner_text()
    assert f"CNN says: {rival}" in verdict and f"ViT, 20 minutes says: {best}" in verdict
    note = page.locator(".vt-compare .vt-note").first.inner_text()
    assert "A CNN has no attention" in note and "maps are those of ViT, 20 minutes" in note
    beside(page, "Hybrid")
    assert "no attention" not in page.locator(".vt-compare .vt-note").first.inner_text()


def test_an_answer_is_kept_beside_those_that_come(page):
    first = {name: now for name, (now, _) in answers(page).items()}
    press(page, "Keep this answer")
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    found = columns(page)
    assert list(found) == ["ViT, 20 minutes", "kept answer (drawn aeroplane)"]
    assert found["kept answer (drawn aeroplane)"] == first
    assert max(
        found["ViT, 20 minutes"], key=lambda name: share(found["ViT, 20 minutes"][name])
    ) == ("ship")
    thumbs = [pixels(page, ".vt-thumb", i)[..., :3].transpose(2, 0, 1) for i in (0, 1)]
    assert (thumbs[0] == sample(1).numpy()).all() and (thumbs[1] == sample(0).numpy()).all()
    assert told(page, ".vt-difference").startswith("They disagree: ViT, 20 minutes says ship")
    press(page, "Let it go")
    assert drawn(page).locator(".vt-columns, .vt-thumb").count() == 0
    assert not page.get_by_role("button", name="Let it go").is_visible()


def test_the_temperature_changes_the_bars_and_nothing_else(page):
    model = vt.weights.recorded("cifar-vit-20min")
    before = answers(page)
    slider = page.get_by_role("slider", name="Temperature")
    low, high = (int(slider.get_attribute(name)) for name in ("min", "max"))
    assert int(slider.input_value()) == (low + high) / 2  # 1 is in the middle
    for value, temperature in ((low, 0.25), (high, 4.0), (4, 2.0)):
        slider.fill(str(value))
        found = answers(page)
        same({name: now for name, (now, _) in found.items()},
             theirs(model, sample(0).numpy(), temperature))  # fmt: skip
        assert [last for _, last in found.values()] == [last for _, last in before.values()]
        assert slider.get_attribute("aria-valuetext") == f"{temperature:.2f}"
    press(page, "Back to 1")
    assert answers(page) == before
    assert page.get_by_role("button", name="Back to 1").is_disabled()


def test_a_link_carries_the_second_model_and_the_temperature(open_trio):
    page = open_trio("#xray=2&turn=1")
    until(page, "is changed")
    beside(page, "Hybrid")
    page.get_by_role("slider", name="Temperature").fill("-4")
    press(page, "Keep this answer")
    press(page, "Copy link")
    assert "The kept answer is not in it." in until(page, "The link to what you see")
    link = urlparse(page.url).fragment
    assert "&temperature=0.50&beside=cifar-hybrid" in link
    press(page, "Let it go")
    other = open_trio(f"#{link}")
    until(other, "Beside it: Hybrid")
    assert columns(other) == columns(page)
    other.evaluate("location.hash = '#xray=2&temperature=1e9&beside=constructor'")
    until(other, "drawn ship: 96")
    drawn(other)
    assert other.get_by_role("slider", name="Temperature").input_value() == "0"
    assert other.locator(".vt-columns").count() == 0


def test_a_cnn_of_the_readers_has_bars_and_changes_but_no_attention(open_trio, trio):
    page = open_trio()
    data = (trio / "cifar-cnn.safetensors").read_bytes()
    give(page, "Your own model", "mine.safetensors", data)
    until(page, "mine.safetensors: ")
    until(page, "one pass")
    press(page, "Turn")
    until(page, "is changed")
    model = vt.weights.load(trio / "cifar-cnn.safetensors")
    found = {name: now for name, (now, _) in answers(page).items()}
    same(found, theirs(model, shown_picture(page)))
    for view in ("Where it looks", "How the answer forms"):
        press(page, view)
        assert told(page, ".vt-view").startswith("A CNN has no attention to show")
    assert not page.get_by_role("button", name="Start the guide").is_visible()
    assert not page.get_by_role("checkbox").is_visible()  # nothing to lay over the picture
    way = page.get_by_role("group", name="The way through the model")
    assert way.get_by_role("button").all_inner_texts() == ["Picture", "Pooled", "Scores"]
    for part in ("Scores", "Pooled", "Picture"):
        way.get_by_role("button", name=part).click()
        assert len(told(page, ".vt-numbers")) > 30
    page.evaluate("location.hash = '#xray=2&step=2'")  # its tokens, which a CNN has not
    until(page, "drawn ship: 96")
    beside(page, "ViT, 20 minutes")
    assert list(columns(page)) == ["mine.safetensors", "ViT, 20 minutes"]


def test_a_hybrid_of_the_readers_is_open_at_every_step(open_trio, trio):
    page = open_trio()
    data = (trio / "cifar-hybrid.safetensors").read_bytes()
    give(page, "Your own model", "mine.safetensors", data)
    until(page, "mine.safetensors: ")
    until(page, "one pass")
    assert drawn(page).locator(".vt-tile").count() == 4 * 5
    press(page, "How the answer forms")
    assert "exact" in told(page, ".vt-view")
    figures(page, "patch_embed")
    assert "what the convolutions give" in told(
        page, ".vt-view select option:checked, .vt-view > p"
    )


def test_models_that_have_no_answers_in_common_are_not_compared(open_trio, tmp_path):
    page = open_trio()
    beside(page, "CNN")
    press(page, "Keep this answer")
    config = vt.zoo.preset("CIFAR-ViT-Nano", depth=1, num_classes=3)
    path = vt.weights.save(
        vt.zoo.build(config), tmp_path / "m.safetensors", classes=["a", "b", "c"]
    )
    give(page, "Your own model", "m.safetensors", path.read_bytes())
    until(page, "m.safetensors: ")
    until(page, "one pass")
    assert drawn(page).locator(".vt-columns").count() == 0  # neither the second nor the kept
    page.get_by_role("combobox", name="Beside it").select_option(label="Hybrid")
    assert "Hybrid: the two know different classes." in until(page, "That did not work")
    assert page.get_by_role("combobox", name="Beside it").input_value() == "0"
    config = vt.zoo.preset("CIFAR-ViT-Nano", depth=1, image_size=64)
    path = vt.weights.save(vt.zoo.build(config), tmp_path / "l.safetensors", classes=CLASSES)
    give(page, "Your own model", "l.safetensors", path.read_bytes())
    until(page, "l.safetensors: ")
    until(page, "one pass")
    page.get_by_role("combobox", name="Beside it").select_option(label="CNN")
    said = until(page, "That did not work")
    assert "it reads 32 × 32 pixels, the model beside it 64 × 64" in said


def test_a_second_worker_that_died_is_replaced(open_trio):
    page = open_trio()
    beside(page, "CNN")
    before = columns(page)
    page.evaluate("workers.at(-1).onerror()")
    press(page, "Turn")
    until(page, "is changed")
    assert page.evaluate("workers.length") == 3
    press(page, "Undo")
    until(page, "is as it came")
    assert columns(page) == before


def test_two_answers_come_within_a_fifth_of_a_second(open_trio):
    """The best of several: other work may share the machine."""
    page = open_trio()
    beside(page, "CNN")
    times = []
    for _ in range(12):
        press(page, "Shuffle patches")
        page.wait_for_timeout(150)
        said = until(page, "answered in")
        times.append(int(re.search(r"answered in (\d+) ms", said)[1]))
    assert min(times) < 200, times


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_three_columns_fit_and_read_well(theme, width, open_trio):
    page = open_trio(width=width)
    beside(page, "CNN")
    press(page, "Keep this answer")
    press(page, "Turn")
    until(page, "is changed")
    page.evaluate("(t) => { document.documentElement.dataset.theme = t; }", theme)
    page.evaluate(
        """() => { document.body.style.background =
          getComputedStyle(document.querySelector(".vt-live")).backgroundColor; }"""
    )
    assert len(columns(page)) == 3
    page.evaluate(AXE)
    found = page.evaluate(
        "(options) => axe.run('.vt-live', options)", {"runOnly": WCAG, "preload": False}
    )
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == []
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(STICK_OUT) == []
    box = page.locator(".vt-columns").bounding_box()
    around = page.locator(".vt-live").bounding_box()
    assert box["x"] + box["width"] <= around["x"] + around["width"]  # nothing to scroll for


def test_python_gives_the_weights_that_the_script_asks_for(monkeypatch):
    widget, sent = XRay(), []
    monkeypatch.setattr(widget, "send", lambda *given: sent.append(given))
    for name in ("cifar-vit-90min", "cifar-vit-shuffled-labels", "../x", 3):  # only one is offered
        widget._handle_custom_msg({"weights": name}, [])
    widget._handle_custom_msg("x", [])
    file = weights_file("cifar-vit-90min").read_bytes()
    assert sent == [({"weights": "cifar-vit-90min"}, [file])]


def test_a_cnn_is_nothing_to_open_with(trio, monkeypatch):
    monkeypatch.setattr(vt.widgets.xray, "WEIGHTS", trio)
    with pytest.raises(ValueError, match="name='cifar-cnn' is a CNN: it has no attention"):
        XRay("cifar-cnn")
    opening = XRay("cifar-hybrid").opening
    assert opening["about"]["config"]["kind"] == "hybrid"


# --- Every number, and what went wrong ----------


def test_the_block_is_named_in_the_choice_and_above_the_view(page):
    figures(page, "blocks.4.attn.weights")
    chosen = page.locator(".vt-view select option:checked").inner_text()
    assert chosen == "Block 5 · Attention: who looks where"
    title = drawn(page).locator(".vt-view > .vt-title").first
    assert title.inner_text().startswith("Block 5 · ")


def test_a_strip_of_blocks_leads_to_the_same_stage_of_another(page):
    figures(page, "tokens")
    strip = page.get_by_role("group", name="Blocks")
    assert strip.get_by_role("button").count() == 6
    strip.get_by_role("button", name="Block 3").click()  # from outside the blocks: the attention
    assert page.locator(".vt-view select").input_value() == "blocks.2.attn.weights"
    figures(page, "blocks.2.mlp")
    strip.get_by_role("button", name="Block 6").click()
    assert page.locator(".vt-view select").input_value() == "blocks.5.mlp"
    pressed = strip.get_by_role("button", pressed=True)
    assert pressed.count() == 1 and pressed.get_attribute("aria-label") == "Block 6"


def test_the_way_through_the_model_opens_its_parts(page):
    way = page.get_by_role("group", name="The way through the model")
    way.get_by_role("button", name="Block 4").click()  # stays in the view
    assert page.locator(".vt-tile[aria-pressed=true]").get_attribute("aria-label") == (
        "block 4, head 2"
    )
    parts = {"Picture": "picture", "Patches": "patch_embed", "Tokens": "tokens",
             "Pooled": "pooled", "Scores": "logits"}  # fmt: skip
    for name, stage in parts.items():
        way.get_by_role("button", name=name).click()
        assert page.locator(".vt-view select").input_value() == stage
        pressed = way.get_by_role("button", pressed=True)
        assert pressed.count() == 1 and pressed.inner_text() == name


# --- The map: thick where much flows ----------


def thickness(part, kind):
    """How thick a band of a part of the map is at its end, in the map's units."""
    path = part.locator(f"path.{kind}").first.get_attribute("d")
    found = []
    for one in path.split("Z")[:-1]:  # a piece is "M x,y C ... x,y L x,y C ... x,y"
        upper, lower = (re.findall(r"[\d.e-]+,(-?[\d.e-]+)", side) for side in one.split("L"))
        found.append(float(lower[0]) - float(upper[-1]))
    return max(found)


def lengths_of(model, picture, token):
    """The lengths of a token's vectors: before and after each block, what attention and MLP add."""
    with torch.no_grad():
        pixels = vt.data.normalise(torch.as_tensor(picture.copy())[None])
        _, out = model.eval()(pixels, intermediates=True)
    blocks = range(model.config.depth)
    names = ["tokens", *(f"blocks.{i}" for i in blocks)]
    parts = [[f"blocks.{i}.{part}" for i in blocks] for part in ("attn", "mlp")]
    return [[float(out[name][0, token].norm()) for name in row] for row in (names, *parts)]


def test_the_map_is_thick_where_much_flows(page):
    model = vt.weights.load(weights_file("cifar-vit-20min"))
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    page.locator(".vt-xray-picture").focus()
    for key in ("Home", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    (before, *stream), attn, mlp = lengths_of(model, shown_picture(drawn(page)), token=9)
    drawn_as = 44 / max(before, *stream)
    strip = page.get_by_role("group", name="Blocks", exact=True)
    for block, part in enumerate(strip.get_by_role("button").all()):
        for kind, length in (("stream", stream), ("attn", attn), ("mlp", mlp)):
            found = thickness(part, f"vt-{kind}")
            assert found == pytest.approx(length[block] * drawn_as, rel=1e-2, abs=0.02)
    words = told(page, ".vt-flow > .vt-note")
    assert f"row 2, column 2 has length {before:.1f} before the blocks, {stream[-1]:.1f}" in words
    assert f"attention adds (most in block {np.argmax(attn) + 1}, {max(attn):.1f})" in words
    assert f"MLP adds (most in block {np.argmax(mlp) + 1}, {max(mlp):.1f})" in words


def test_the_map_follows_the_pointer_and_opens_with_what_came_with_the_page(opened):
    page = opened()
    opening = told(page, ".vt-flow > .vt-note")
    page.locator(".vt-sample").first.click()
    until(page, "one pass")
    page.mouse.move(0, 0)
    assert told(page, ".vt-flow > .vt-note") == opening  # Python's numbers are the engine's
    page.mouse.move(*patch_point(page, 0, 0))
    pointed = told(page, ".vt-flow > .vt-note")
    assert "row 1, column 1 has length" in pointed and pointed != opening


def test_the_scores_of_the_map_are_the_classes_shares(page):
    way = page.get_by_role("group", name="The way through the model")
    scores = way.get_by_role("button", name="Scores")
    best = max(share(now) for now, _ in answers(page).values())
    assert scores.locator("path").count() == 3
    assert thickness(scores, "vt-attn") == pytest.approx(44 * best, abs=0.1)


def test_the_maps_picture_is_the_models_and_changes_with_it(page):
    way = page.get_by_role("group", name="The way through the model")

    def picture(name):
        return pixels(page, f".vt-part:has-text('{name}') canvas").tobytes()

    whole = picture("Picture")
    assert whole == picture("Patches") == pixels(page, ".vt-xray-picture canvas").tobytes()
    press(page, "Turn")
    until(page, "is changed")
    assert picture("Picture") != whole
    assert way.get_by_role("button", name="Patches").is_visible()


def test_a_row_of_numbers_can_be_chosen_and_is_marked(page):
    figures(page, "blocks.0")
    rows = drawn(page).locator(".vt-rows")
    rows.click(position={"x": 50, "y": rows.bounding_box()["height"] * 40.5 / 64})
    assert drawn(page).locator(".vt-rows .vt-ring").first.get_attribute("y") == "40"
    assert page.get_by_role("slider", name="Token").input_value() == "40"
    assert re.match(r"−\d.*\s\+\d", page.locator(".vt-view .vt-legend").inner_text())


def test_a_worker_that_died_is_replaced(page):
    first = page.locator(".vt-answers td").all_inner_texts()
    page.evaluate("workers.at(-1).onerror()")
    give(page, "Your own picture", "blue.png", png("blue"))
    assert "50 × 40 pixels" in until(page, "blue.png: 50")
    page.locator(".vt-sample").first.click()
    until(page, "drawn aeroplane: 96")
    assert page.evaluate("workers.length") == 2
    assert drawn(page).locator(".vt-answers td").all_inner_texts() == first


def test_a_refused_file_is_named_and_what_stays_is_said(page):
    give(page, "Your own model", "photo.safetensors", png("red"))
    said = until(page, "That did not work")
    assert said == (
        "That did not work: photo.safetensors: this is a PNG picture, no safetensors file. "
        "Below is still drawn aeroplane in cifar-vit-20min."
    )


def test_reading_a_large_picture_is_not_told_as_the_models_time(page):
    file = io.BytesIO()
    Image.effect_noise((3000, 2500), 50).convert("RGB").save(file, "JPEG")
    give(page, "Your own picture", "large.jpg", file.getvalue(), "image/jpeg")
    said = until(page, "large.jpg: 3000")
    found = re.search(r"read and resized in (\d+) ms, one pass (\d+) ms", said)
    assert int(found[1]) > int(found[2])


def test_a_picture_is_decoded_beside_the_page(page):
    page.evaluate(
        """() => {
          const decode = window.createImageBitmap;
          window.decoded = 0;
          window.createImageBitmap = (...given) => (window.decoded++, decode(...given));
        }"""
    )
    give(page, "Your own picture", "blue.png", png("blue"))
    assert "50 × 40 pixels" in until(page, "blue.png: 50")
    assert page.evaluate("decoded") == 0


def test_a_phone_shows_the_picture_and_the_maps_at_once(opened):
    page = opened(width=390)
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".vt-xray-picture").evaluate("(box) => box.scrollIntoView()")
    until(page, "one pass")
    before = [pixels(page, map_) for map_ in (".vt-veil", ".vt-tile canvas")]
    page.mouse.click(*patch_point(page, 0, 7))
    now = [pixels(page, map_) for map_ in (".vt-veil", ".vt-tile canvas")]
    picture = page.locator(".vt-xray-picture").bounding_box()
    tile = page.locator(".vt-tile").first.bounding_box()
    assert picture["y"] >= 0 and tile["y"] + tile["height"] < 844
    assert all((new != old).any() for new, old in zip(now, before, strict=True))


def test_a_long_run_says_how_far_it_is(page):
    page.evaluate(
        """() => {
          window.told = [];
          const status = document.querySelector("[role=status]");
          new MutationObserver(() => told.push(status.textContent)).observe(status,
            { childList: true, characterData: true, subtree: true });
          let ahead = 0; // a clock that runs a second ahead at every question
          const now = performance.now.bind(performance);
          performance.now = () => now() + 1000 * ahead++;
        }"""
    )
    page.locator(".vt-sample").nth(1).click()
    until(page, "drawn ship: 96")
    assert [t for t in page.evaluate("told") if "block 3 of 6 is done" in t]
