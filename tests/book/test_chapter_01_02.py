"""Chapters 1 and 2: what they build by hand equals the package."""

import matplotlib.pyplot as plt
import nbformat
import pages
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vit_teach as vt

CHAPTERS = ("01_why_patches", "02_patchify")


def cells(name):
    return nbformat.read(pages.ROOT / "book" / f"{name}.ipynb", as_version=4).cells


@pytest.fixture(scope="module")
def chapter():
    """name of a chapter -> the names its cells have defined, after all of them ran."""
    ran = {}

    def run(name):
        if name not in ran:
            ran[name] = {}
            for cell in cells(name):
                if cell.cell_type == "code":
                    exec(compile(cell.source, f"{name}:{cell.id}", "exec"), ran[name])
                    plt.close("all")
        return ran[name]

    return run


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_figure_has_a_text_alternative(name):
    for cell in cells(name):
        if cell.cell_type == "code" and "vt.plots." in cell.source:
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 60, cell.id
            assert cell.source.rstrip().endswith(";"), f"{cell.id} would show its figure twice"


sizes = st.tuples(*(st.integers(1, 5) for _ in range(6)))


@settings(max_examples=60, deadline=None)
@given(size=sizes, order=st.sampled_from(["cpp", "ppc"]))
def test_patchify_of_chapter_2_is_the_packages(chapter, size, order):
    built = chapter("02_patchify")
    batch, channels, gh, gw, ph, pw = size
    images = torch.arange(batch * channels * gh * ph * gw * pw).reshape(
        batch, channels, gh * ph, -1
    )
    patches = built["patchify"](images, (ph, pw), order)
    assert torch.equal(patches, vt.patchify(images, (ph, pw), order))
    back = built["unpatchify"](patches, (ph, pw), (gh * ph, gw * pw), channels, order)
    assert torch.equal(back, images)
    assert torch.equal(back, vt.unpatchify(patches, (ph, pw), (gh * ph, gw * pw), channels, order))
    if order == "cpp":
        assert torch.equal(patches, built["patchify_by_slicing"](images, (ph, pw)))


@pytest.mark.parametrize("tokens", [1, 7, 196])
def test_attention_of_chapter_1_is_the_packages(chapter, tokens):
    x = torch.randn(tokens, 12, dtype=torch.float64)
    assert torch.allclose(chapter("01_why_patches")["attention"](x), vt.attend(x, x, x), atol=1e-12)


def test_attention_grows_about_as_the_square(chapter):
    measured = chapter("01_why_patches")["measured"]
    assert 8 < measured[4096] / measured[1024] < 64  # 16 would be the square


@pytest.mark.parametrize("k", [1, 3, 8])
def test_kmeans_of_chapter_1(chapter, k):
    kmeans = chapter("01_why_patches")["kmeans"]
    centres = torch.eye(8)[:k, :3] * 10 + torch.arange(k)[:, None] * 40.0  # far apart
    pixels = centres.repeat(20, 1) + torch.rand(20 * k, 3)
    palette, nearest = kmeans(pixels, k)
    assert palette.shape == (k, 3) and nearest.shape == (20 * k,)
    distance = torch.cdist(pixels, palette)
    assert torch.equal(nearest, distance.argmin(dim=1))
    again, _ = kmeans(pixels, k)
    assert torch.equal(palette, again)  # the same seed, the same palette


def test_the_two_wrong_cuts_have_the_right_shape_and_the_wrong_content(chapter):
    built = chapter("02_patchify")
    images = torch.randn(2, 3, 8, 12)
    right = vt.patchify(images, 4)
    for name in ("only_reshape", "unfold_then_reshape"):
        wrong = built[name](images, 4)
        assert wrong.shape == right.shape and not torch.equal(wrong, right)
        assert torch.equal(wrong.flatten().sort().values, right.flatten().sort().values)


def test_a_grid_of_512_colours_errs_twice_as_much_as_the_palette(chapter):
    built = chapter("01_why_patches")
    coarse = ((built["image"] * 8).floor().clamp(max=7) + 0.5) / 8
    assert len(coarse.flatten(1).T.unique(dim=0)) <= 512
    error = (coarse - built["image"]).square().mean().sqrt().item()
    assert 2 * built["error"][512] < error < 0.05


def test_a_fused_kernel_gives_the_same_attention(chapter):
    x = torch.randn(50, 12)
    fused = torch.nn.functional.scaled_dot_product_attention(*[x[None, None]] * 3)[0, 0]
    assert torch.allclose(fused, chapter("01_why_patches")["attention"](x), atol=1e-5)
