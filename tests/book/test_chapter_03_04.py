"""Chapters 3 and 4: what they build by hand equals the package; what their exercises say holds."""

import copy
import os

import chapters
import pytest
import torch

import vit_teach as vt

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="module")
def chapter_3():
    return chapters.built("03_linear_projection")


@pytest.fixture(scope="module")
def chapter_4():
    return chapters.built("04_positions")


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


# --- What the exercises say ----------


def test_a_shift_by_a_patch_moves_the_tokens_and_one_by_a_pixel_changes_them(chapter_3):
    images, P = chapter_3["images"].double(), chapter_3["P"]
    embed = copy.deepcopy(chapter_3["embed"]).double()  # cdist in 32 bits sees zeros as 1e-3
    before = embed(images)[0]  # (N, D)
    kept = []
    for shift in (P, 1):
        moved = embed(torch.roll(images, shift, dims=3))[0]
        kept.append(int((torch.cdist(moved, before).min(dim=1).values < 1e-4).sum()))
    assert kept[0] == len(before) and kept[1] < len(before) / 10


def test_rows_that_follow_their_patches_hide_a_shuffle(chapter_4):
    model, images, order = (chapter_4[name] for name in ("random_model", "images", "order"))
    model = model(position="learned")
    with torch.no_grad():
        before = model(images)
        rows = model.pos_embed[:, 1:]  # a view of the patches' rows
        rows.copy_(rows[:, order].clone())
        assert torch.allclose(before, model(chapter_4["shuffle"](images)), atol=1e-10)


def test_without_positions_a_shift_by_a_patch_is_not_noticed(chapter_4):
    model, images, P = chapter_4["random_model"](pool="mean"), chapter_4["images"], chapter_4["P"]
    with torch.no_grad():
        start, patch, pixel = (model(torch.roll(images, n, dims=3)) for n in (0, P, 1))
    assert torch.allclose(start, patch, atol=1e-10)
    assert not torch.allclose(start, pixel, atol=1e-3)


def test_the_class_tokens_row_can_be_folded_away(chapter_4):
    config = vt.ViTConfig(image_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=2)
    model = vt.VisionTransformer(config).double()
    torch.nn.init.normal_(model.cls_token)
    images = torch.randn(2, 3, 8, 8).double()
    with torch.no_grad():
        before = model.embed(images)
        model.cls_token += model.pos_embed[:, :1]
        model.pos_embed[:, :1] = 0
        assert torch.equal(before, model.embed(images))


@pytest.mark.parametrize("rule", vt.RESIZE_RULES)
def test_a_table_comes_back_exactly_where_the_old_places_are_among_the_new(rule):
    table = torch.randn(1, 64, 16, generator=torch.Generator().manual_seed(0))
    errors = []
    for larger in ((15, 15), (16, 16)):
        there = vt.resize_positions(table, (8, 8), larger, rule, 0)
        back = vt.resize_positions(there, larger, (8, 8), rule, 0)
        errors.append(((back - table).norm() / table.norm()).item())
    assert (errors[0] < 1e-5) is (rule in ("google", "torchvision")) and errors[1] > 1e-3


def test_the_share_of_the_table_in_vit_b_16():
    small, large = (vt.zoo.preset("ViT-B/16", image_size=side) for side in (224, 384))
    assert (small.num_tokens * 768, large.num_tokens * 768) == (151_296, 443_136)
    assert vt.cost.parameters(small) == 86_567_656
    assert vt.cost.parameters(large) == 86_567_656 + (577 - 197) * 768 == 86_859_496
