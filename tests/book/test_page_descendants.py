"""The descendants: the changes do what they say, on other sizes too."""

import re

import chapters
import pytest
import torch
import torch.nn.functional as F

import vit_teach as vt

NAME = "descendants"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


def same(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def test_cells_that_show_a_change_are_short():
    """What a descendant changes fits in a dozen lines of a function."""
    named = ("with_distillation", "same_window", "masked_attention", "encode_visible",
             "dino_loss", "follow", "with_registers", "enlarge", "flexi")  # fmt: skip
    code = "\n\n\n".join(cell.source for cell in chapters.code_cells(NAME))
    for name in named:
        body = re.search(rf"^def {name}\(.*?(?=\n\S)", code + "\nend", re.M | re.S).group()
        assert len(body.rstrip().splitlines()) <= 12, name


@pytest.mark.parametrize(
    ("grid", "window", "shift"), [((8, 12), 4, 0), ((6, 10), 2, 1), ((9, 6), 3, 2), ((4, 8), 4, 2)]
)
def test_two_patches_share_a_window_if_no_border_lies_between_them(grid, window, shift):
    found = page()["same_window"](grid, window, shift)
    for i in range(grid[0] * grid[1]):
        for j in range(grid[0] * grid[1]):
            pairs = zip(divmod(i, grid[1]), divmod(j, grid[1]), strict=True)
            expected = all((a + shift) // window == (b + shift) // window for a, b in pairs)
            assert found[i, j] == expected


def test_a_mask_is_pytorchs():
    q, k, v = torch.randn(3, 60, 7, dtype=torch.float64)
    allowed = page()["same_window"]((6, 10), 2)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    same(page()["masked_attention"](q, k, v, allowed), expected)


def test_what_is_hidden_changes_nothing():
    """Only the visible patches reach the encoder: other pixels elsewhere give the same tokens."""
    model, encode = page()["trained"], page()["encode_visible"]
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    visible = torch.stack([torch.randperm(64)[:9], torch.randperm(64)[:9]])
    patches = vt.patchify(images, 4)
    kept = torch.zeros(2, 64, dtype=torch.bool).scatter(1, visible, True)
    other = torch.where(kept[..., None], patches, torch.rand_like(patches))
    changed = vt.unpatchify(other, 4, 32)
    assert not torch.equal(changed, images)
    same(encode(model, changed, visible), encode(model, images, visible))
    assert encode(model, images, visible).shape == (2, 9, 128)


def test_the_teacher_gets_no_gradient_and_centring_matters():
    loss = page()["dino_loss"]
    student = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    loss(student, teacher, teacher.mean(dim=0)).backward()
    assert student.grad.abs().max() > 0 and teacher.grad is None
    alike = torch.tensor([[3.0, 0, 0]]).expand(4, 3)
    assert loss(alike, alike, torch.zeros(1, 3)) < 1e-6
    assert loss(alike, alike, alike[:1]) > torch.tensor(3.0).log()


def test_the_running_mean():
    one, two = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    expected = 0.9 * one.weight.detach() + 0.1 * two.weight.detach()
    page()["follow"](one, two, memory=0.9)
    same(one.weight.detach(), expected, 1e-6)


@pytest.mark.parametrize("count", [1, 4])
def test_registers_are_thrown_away(count):
    built = page()
    model, registers = built["small_vit"](), torch.zeros(1, count, 20).double()
    with torch.no_grad():
        logits = built["with_registers"](model, registers, built["images"])
        # An extra copy of a patch token would be averaged away; a register must not be read.
        for block in model.blocks:
            block.attn.proj.weight.zero_()
        alone = built["with_registers"](model, registers + 3, built["images"])
        assert logits.shape == (2, 7)
        same(alone, built["with_registers"](model, registers, built["images"]))


@pytest.mark.parametrize(("old", "new"), [(4, 6), (4, 8), (3, 7), (5, 5)])
def test_the_resized_kernel_keeps_the_tokens(old, new):
    kernel = torch.randn(6, 3, old, old, dtype=torch.float64)
    patch = torch.randn(5, 3, old, old, dtype=torch.float64)
    larger = F.interpolate(patch, size=(new, new), mode="bilinear")
    resized = page()["flexi"](kernel, new)
    assert resized.shape == (6, 3, new, new)
    expected = torch.einsum("ncij,dcij->nd", patch, kernel)
    same(torch.einsum("ncij,dcij->nd", larger, resized), expected, 1e-10)
