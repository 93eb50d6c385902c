"""Chapters 3 and 4: what they build by hand equals the package, and every solution runs."""

import os

import chapters
import pytest
import torch

import vit_teach as vt

os.environ.setdefault("MPLBACKEND", "Agg")

CHAPTERS = ("03_linear_projection", "04_positions")


@pytest.fixture(scope="module")
def chapter_3():
    return chapters.built("03_linear_projection")


@pytest.fixture(scope="module")
def chapter_4():
    return chapters.built("04_positions")


SOLUTIONS = [(name, i) for name in CHAPTERS for i in range(len(chapters.exercises(name)))]


@pytest.mark.parametrize(("name", "number"), SOLUTIONS)
def test_the_solution_runs(name, number, chapter_3, chapter_4):
    code = compile(chapters.solution(name, number), f"{name}: solution {number + 1}", "exec")
    exec(code, dict(chapter_3 if name == CHAPTERS[0] else chapter_4))


@pytest.mark.parametrize("image, patch, channels", [((8, 15), (2, 3), 5), ((12, 4), (3, 4), 1)])
def test_the_linear_embedding_of_chapter_3_is_the_package_s(chapter_3, image, patch, channels):
    torch.manual_seed(0)
    theirs = chapter_3["LinearPatchEmbedding"](patch, channels, 7).double()
    ours = vt.PatchEmbedding(image, patch, channels, 7).double()
    ours.proj.weight.data = theirs.proj.weight.data.view_as(ours.proj.weight)
    ours.proj.bias.data = theirs.proj.bias.data
    x = torch.randn(2, channels, *image).double()
    assert torch.allclose(ours(x), theirs(x), atol=1e-12)


def test_equation_1_of_chapter_4_is_the_package_s(chapter_4):
    config = vt.ViTConfig(image_size=(8, 12), patch_size=(2, 3), in_channels=5, embed_dim=14,
                          depth=1, num_heads=2, num_classes=3)  # fmt: skip
    torch.manual_seed(0)
    model = vt.VisionTransformer(config).double()
    torch.nn.init.normal_(model.cls_token)  # zero at first: an error with it would not show
    theirs = chapter_4["TokenEmbedding"]((8, 12), (2, 3), 5, 14).double()
    theirs.load_state_dict({name: model.state_dict()[name] for name in theirs.state_dict()})
    x = torch.randn(2, 5, 8, 12).double()
    assert torch.equal(theirs(x), model.embed(x))


def test_the_hand_written_resize_of_chapter_4_is_google_s_rule(chapter_4):
    torch.manual_seed(0)
    line = torch.randn(5, 6).double()  # (n, D): a grid of one column
    by_hand = chapter_4["resize_line"](line, 9)
    package = vt.resize_positions(line[None], (5, 1), (9, 1), "google", prefix_tokens=0)[0]
    assert torch.allclose(by_hand, package, atol=1e-12)


def test_a_bright_patch_lies_where_its_label_says(chapter_4):
    made = chapter_4["bright_patch"](40, seed=3)
    for image, label in zip(made.images, made.labels, strict=True):
        quarters = vt.patchify(image[None].float(), 8)[0].mean(dim=1)  # (4,), in reading order
        assert quarters.argmax() == label
