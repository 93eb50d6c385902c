"""Each augmentation against what it claims to do: exactly where it can be, else by reference."""

import math

import pytest
import torch
import torchvision.transforms.functional as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from vit_teach import augment as A
from vit_teach.augment import mix, policy

quick = settings(max_examples=25, deadline=None)
sides = st.integers(1, 12)
seeds = st.integers(0, 2**31)
shapes = st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), sides, sides)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def bytes_of(shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng(seed))


def floats_of(shape, seed=0):
    return torch.rand(shape, generator=rng(seed))


# --- Crop and flip --------------------------------------------------------------------------------


@quick
@given(shape=shapes, padding=st.integers(0, 4), seed=seeds)
def test_random_crop_is_a_window_of_the_padded_image(shape, padding, seed):
    images = bytes_of(shape, seed)
    out = A.random_crop(images, padding, rng(seed))
    assert out.shape == images.shape and out.dtype == torch.uint8
    padded = torch.zeros(*shape[:2], shape[2] + 2 * padding, shape[3] + 2 * padding).byte()
    padded[:, :, padding : padding + shape[2], padding : padding + shape[3]] = images
    for image, whole in zip(out, padded, strict=True):
        windows = [
            whole[:, top : top + shape[2], left : left + shape[3]]
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        ]
        assert any(torch.equal(image, window) for window in windows)


def test_crop_cuts_each_image_at_its_own_place():
    images = bytes_of((3, 2, 7, 9))
    top, left = torch.tensor([0, 2, 4]), torch.tensor([5, 1, 0])
    out = A.crop(images, top, left, (3, 4))
    for i in range(3):
        expected = images[i, :, top[i] : top[i] + 3, left[i] : left[i] + 4]
        assert torch.equal(out[i], expected)


def test_random_crop_reaches_every_place_about_equally_often():
    size = 9
    images = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size)
    out = A.random_crop(images.expand(8100, -1, -1, -1), 4, rng())
    counts = out[:, 0, 4, 4].long().bincount(minlength=81)  # the middle pixel tells the place
    assert counts.min() > 60 and counts.max() < 140  # 100 expected, standard deviation 10


@quick
@given(shape=shapes, seed=seeds)
def test_flipping_twice_with_the_same_mask_changes_nothing(shape, seed):
    images = bytes_of(shape, seed)
    mask = torch.rand(shape[0], generator=rng(seed)) < 0.5
    once = A.flip(images, mask)
    assert torch.equal(A.flip(once, mask), images)
    for image, flipped, marked in zip(images, once, mask, strict=True):
        assert torch.equal(flipped, image.flip(2) if marked else image)


def test_random_flip_follows_its_probability():
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(4000, 1, 1, 2)
    for probability in (0.0, 0.25, 0.5, 1.0):
        share = A.random_flip(images, rng(), probability)[:, 0, 0, 0].float().mean()
        assert abs(share - probability) < 0.03


# --- Cutout and geometry --------------------------------------------------------------------------


@quick
@given(shape=shapes, size=st.integers(1, 8), seed=seeds)
def test_cutout_zeroes_exactly_one_square_cut_off_at_the_edge(shape, size, seed):
    images = floats_of(shape, seed) * 0.5 + 0.5  # nowhere zero
    out = A.cutout(images, size, rng(seed))
    for image, cut in zip(images, out, strict=True):
        hidden = (cut == 0).all(0)  # (H, W)
        assert torch.equal(cut[:, ~hidden], image[:, ~hidden])
        rows, columns = hidden.any(1).nonzero().flatten(), hidden.any(0).nonzero().flatten()
        block = hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert block.all() and block.sum() == hidden.sum()
        for found, side in ((rows, shape[2]), (columns, shape[3])):
            at_edge = found[0] == 0 or found[-1] == side - 1
            assert len(found) == size or (at_edge and len(found) < size)


def test_cutout_hides_the_given_area_where_no_edge_is_near():
    images = torch.ones(500, 1, 21, 31)
    hidden = (A.cutout(images, 4, rng()) == 0).sum((1, 2, 3))
    assert hidden.max() == 16 and (hidden == 16).float().mean() > 0.7
    assert (A.cutout(images, 4, rng(), fill=0.25) == 0.25).sum() == hidden.sum()


def test_cutout_is_centred_on_a_pixel_of_the_picture():
    hidden = (A.cutout(torch.ones(500, 1, 3, 3), 3, rng()) == 0).float().mean((0, 1))
    assert hidden[1, 1] == 1  # wherever the centre is, a 3 x 3 square covers the middle
    corners = hidden[[0, 0, 2, 2], [0, 2, 0, 2]]
    assert ((corners - 4 / 9).abs() < 0.08).all()  # 4 of the 9 centres reach a corner


@quick
@given(shape=shapes, seed=seeds)
def test_affine_without_change_is_the_identity(shape, seed):
    images = floats_of(shape, seed)
    torch.testing.assert_close(A.affine(images), images, atol=2e-5, rtol=0)


@quick
@given(shape=shapes, right=st.integers(-3, 3), down=st.integers(-3, 3))
def test_affine_shift_by_whole_pixels_moves_the_picture(shape, right, down):
    images = floats_of(shape)
    out = A.affine(images, right=right, down=down, fill=0.25)
    height, width = shape[2:]
    for y in range(height):
        for x in range(width):
            inside = 0 <= y - down < height and 0 <= x - right < width
            expected = images[:, :, y - down, x - right] if inside else torch.tensor(0.25)
            torch.testing.assert_close(
                out[:, :, y, x], expected.expand(shape[:2]), atol=2e-5, rtol=0
            )


def test_affine_turns_clockwise_about_the_centre():
    square, wide = floats_of((1, 3, 7, 7)), floats_of((2, 3, 5, 8))
    close = dict(atol=2e-5, rtol=0)
    torch.testing.assert_close(A.affine(square, 90), torch.rot90(square, -1, (2, 3)), **close)
    torch.testing.assert_close(A.affine(wide, 180), wide.flip(2, 3), **close)


def test_affine_shears_row_by_row_and_column_by_column():
    images = floats_of((1, 1, 5, 5))
    across = A.affine(images, shear_x=1.0, fill=0.0)
    downward = A.affine(images, shear_y=1.0, fill=0.0)
    for i in range(5):  # a row i pixels below the centre moves i pixels to the right
        shifted = A.affine(images, right=i - 2, fill=0.0)[0, 0, i]
        torch.testing.assert_close(across[0, 0, i], shifted, atol=2e-5, rtol=0)
        shifted = A.affine(images, down=i - 2, fill=0.0)[0, 0, :, i]
        torch.testing.assert_close(downward[0, 0, :, i], shifted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(16, 16), (12, 21)])
def test_affine_equals_torchvision_on_square_and_wide_images(size):
    images = floats_of((3, 3, *size))
    degrees, right, down = [20.0, -35.0, 5.0], [1, -2, 0], [-3, 1, 4]
    scale = [0.8, 1.3, 1.0]
    ours = A.affine(
        images, torch.tensor(degrees), 0.0, 0.0,
        torch.tensor(right), torch.tensor(down), torch.tensor(scale), fill=0.0,
    )  # fmt: skip
    for i in range(3):
        theirs = reference.affine(
            images[i], degrees[i], [right[i], down[i]], scale[i], [0.0, 0.0],
            interpolation=reference.InterpolationMode.BILINEAR,
        )  # fmt: skip
        # torchvision shifts after turning, as we do, and blends its black border with a mask.
        inside = reference.affine(
            torch.ones(1, *size), degrees[i], [right[i], down[i]], scale[i], [0.0, 0.0],
            interpolation=reference.InterpolationMode.BILINEAR,
        )[0] > 0.999  # fmt: skip
        assert inside.sum() > 50
        torch.testing.assert_close(ours[i][:, inside], theirs[:, inside], atol=1e-4, rtol=0)


def test_affine_composes_shear_then_turn_then_shift():
    images = torch.zeros(1, 1, 41, 41)
    images[0, 0, 20 + 4, 20 + 6] = 1.0  # a point at (x, y) = (6, 4) from the centre
    out = A.affine(images, 90.0, 0.5, 0.0, 2.0, -3.0, fill=0.0)
    # sheared: (6 + 0.5 * 4, 4) = (8, 4); turned clockwise: (-4, 8); shifted: (-2, 5)
    assert divmod(int(out.argmax()), 41) == (20 + 5, 20 - 2)


def test_random_affine_with_no_room_to_draw_is_the_identity():
    images = floats_of((4, 3, 6, 9))
    out = A.random_affine(images, rng(), degrees=0, shear=0, shift=0, scale=0)
    torch.testing.assert_close(out, images, atol=2e-5, rtol=0)
    assert not torch.allclose(A.random_affine(images, rng()), images, atol=0.01)


# --- Colour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "sharpness"])
@pytest.mark.parametrize("channels", [3, 1])
def test_colour_equals_torchvision_and_factor_1_changes_nothing(name, channels):
    images = floats_of((4, channels, 9, 12))
    factors = torch.tensor([0.0, 0.4, 1.0, 1.9])
    ours, theirs = getattr(A, name), getattr(reference, f"adjust_{name}")
    torch.testing.assert_close(ours(images, 1.0), images)
    expected = torch.stack([theirs(x, float(f)) for x, f in zip(images, factors, strict=True)])
    torch.testing.assert_close(ours(images, factors), expected, atol=3e-4, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 3, 32, 32), (1, 1, 5, 7)])
def test_shade_operations_equal_torchvision_on_8_bit_images(shape, seed):
    images = (bytes_of(shape, seed).float() / (1 + seed) + 20 * seed).clamp(0, 255).byte()
    shades = images.float() / 255

    def eight_bit(x):
        return (x * 255).round().byte()

    assert torch.equal(eight_bit(A.equalize(shades)), reference.equalize(images))
    for bits in (1, 4, 8):
        expected = reference.posterize(images, bits)
        assert torch.equal(eight_bit(A.posterize(shades, bits)), expected)
    torch.testing.assert_close(A.autocontrast(shades), reference.autocontrast(shades))
    torch.testing.assert_close(A.solarize(shades, 0.3001), reference.solarize(shades, 0.3001))


def test_solarize_leaves_the_threshold_itself():
    assert A.solarize(torch.ones(1, 1, 1, 1), 1.0) == 1.0


def test_a_flat_picture_survives_stretching():
    flat = torch.full((2, 3, 4, 5), 0.3)
    assert torch.equal(A.autocontrast(flat), flat)
    torch.testing.assert_close(A.equalize(flat), torch.full_like(flat, round(0.3 * 255) / 255))


@pytest.mark.parametrize("name", policy.POLICIES)
def test_images_elsewhere_are_altered_there_and_nobody_waits_for_them(name):
    """The device "meta" has no numbers: whoever asks for one fails, as he would wait on a GPU."""
    images, labels = bytes_of((6, 3, 8, 8)), torch.tensor([0, 1, 2, 1, 0, 2])
    for seed in range(8):  # each operation, and both ways of mixing
        here, there = (A.Augment(name, seed=seed) for _ in range(2))
        plain, targets = here(images, labels, 3)
        out, moved = there(images.to("meta"), labels, 3)
        assert out.is_meta and moved.is_meta
        assert (out.shape, out.dtype) == (plain.shape, plain.dtype)
        assert moved.shape == targets.shape
        assert torch.equal(here.generator.get_state(), there.generator.get_state())


def test_random_colour_stays_in_its_bounds():
    images = torch.full((400, 3, 2, 2), 0.5)  # grey and flat: only brightness can show
    out = A.random_colour(images, rng(), strength=0.2)
    assert 0.4 - 1e-5 <= out.min() < 0.42 and 0.58 < out.max() <= 0.6 + 1e-5
    torch.testing.assert_close(A.random_colour(images, rng(), strength=0.0), images)


# --- RandAugment ----------------------------------------------------------------------------------


def test_rand_augment_has_the_fourteen_operations_of_the_paper():
    assert len(policy.RAND_OPERATIONS) == 14


@pytest.mark.parametrize("name", policy.RAND_OPERATIONS)
def test_each_operation_keeps_shape_range_and_batch_independence(name):
    images = floats_of((3, 3, 10, 14))
    strength = torch.tensor([-1.0, 0.3, 1.0])
    out = policy.RAND_OPERATIONS[name](images, strength)
    assert out.shape == images.shape and out.dtype == torch.float32
    assert out.min() >= -1e-5 and out.max() <= 1 + 1e-5
    alone = policy.RAND_OPERATIONS[name](images[1:2], strength[1:2])
    torch.testing.assert_close(out[1:2], alone, atol=1e-5, rtol=0)
    if name == "identity":
        assert torch.equal(out, images)
    else:
        assert not torch.allclose(out[2], images[2], atol=1e-3)
    if name not in ("autocontrast", "equalize"):  # these two have no strength
        still = policy.RAND_OPERATIONS[name](images, torch.zeros(3))
        tolerance = 0.5 / 255 + 1e-5 if name == "posterize" else 2e-5  # 8 bits round
        torch.testing.assert_close(still, images, atol=tolerance, rtol=0)


def test_rand_augment_is_one_operation_per_round_for_each_image(monkeypatch):
    add = {str(i): lambda x, s, i=i: x + 10.0**i for i in range(4)}
    monkeypatch.setattr(policy, "RAND_OPERATIONS", add)
    out = A.rand_augment(torch.zeros(200, 1, 2, 2), 3, 5, rng())
    assert (out == out[:, :, :1, :1]).all()
    digits = [[int(d) for d in f"{int(value):04d}"] for value in out[:, 0, 0, 0]]
    assert all(sum(image) == 3 for image in digits)  # three operations each
    assert any(3 in image for image in digits)  # with replacement
    assert len({tuple(image) for image in digits}) == 20  # every mixture of 3 out of 4 occurs


def test_rand_augment_passes_on_the_magnitude_with_either_sign(monkeypatch):
    monkeypatch.setattr(
        policy, "RAND_OPERATIONS", {"show": lambda x, s: x + s[:, None, None, None]}
    )
    out = A.rand_augment(torch.zeros(100, 1, 1, 1), 1, 7, rng()).flatten()
    assert {round(float(value), 6) for value in out} == {-0.7, 0.7}


def test_rand_augment_with_no_operation_changes_nothing():
    images = floats_of((3, 3, 6, 5))
    assert torch.equal(A.rand_augment(images, 0, 10, rng()), images)


# --- Mixup and cutmix -----------------------------------------------------------------------------


def numbered(shape):
    """Image i holds the value i everywhere, and its target is row i of the identity."""
    values = torch.arange(shape[0], dtype=torch.float32)
    return values[:, None, None, None].expand(shape).clone(), torch.eye(shape[0])


@quick
@given(shape=shapes, alpha=st.floats(0.05, 5), seed=seeds)
def test_mixup_is_the_same_convex_combination_of_images_and_targets(shape, alpha, seed):
    images, targets = floats_of(shape, seed), torch.eye(shape[0])
    mixed, soft = A.mixup(images, targets, alpha, rng(seed))
    torch.testing.assert_close(soft.sum(1), torch.ones(shape[0]))
    assert (soft >= 0).all() and ((soft > 0).sum(1) <= 2).all()
    expected = torch.einsum("bk,kchw->bchw", soft, images)  # targets say who is in the mixture
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)


@quick
@given(shape=shapes, alpha=st.floats(0.05, 5), seed=seeds)
def test_cutmix_targets_are_the_true_area_of_one_pasted_rectangle(shape, alpha, seed):
    images, targets = numbered(shape)
    mixed, soft = A.cutmix(images, targets, alpha, rng(seed))
    torch.testing.assert_close(soft.sum(1), torch.ones(shape[0]))
    for i in range(shape[0]):
        assert torch.equal(mixed[i], mixed[i, :1].expand(shape[1:]))  # channels stay together
        for k in range(shape[0]):  # the share of a target is the share of its pixels
            area = (mixed[i, 0] == k).float().mean()
            torch.testing.assert_close(soft[i, k], area, atol=1e-6, rtol=0)
        pasted = mixed[i, 0] != i
        if pasted.any():
            rows, columns = pasted.any(1).nonzero(), pasted.any(0).nonzero()
            block = pasted[rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[-1, 0] + 1]
            assert block.all()


def test_cutmix_pastes_as_often_at_one_edge_as_at_the_other():
    images, targets = numbered((2000, 1, 8, 8))
    mixed, _ = A.cutmix(images, targets, 1.0, rng())
    pasted = (mixed != images).float().mean((0, 1))  # (8, 8)
    torch.testing.assert_close(pasted, pasted.flip(0, 1), atol=0.12, rtol=0)  # half a pixel
    assert pasted[3:5, 3:5].min() > pasted[0].max()  # and most often in the middle


@pytest.mark.parametrize("mixing", [A.mixup, A.cutmix])
def test_each_image_has_a_share_of_its_own(mixing):
    images, targets = numbered((64, 1, 32, 32))
    _, soft = mixing(images, targets, 1.0, rng())
    assert len(soft.diagonal().unique()) > 30


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_shares_have_the_moments_of_the_beta_distribution(alpha):
    images, targets = numbered((3000, 1, 1, 1))
    targets = torch.arange(3000).float()[:, None]  # soft = share * i + (1 - share) * partner
    generator = rng()
    shares, partners = mix.draw_shares(images, alpha, generator)
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1 / (4 * (2 * alpha + 1))) < 0.012
    assert partners.sort().values.equal(torch.arange(3000))
    _, soft = A.mixup(images, targets, alpha, rng())  # the same stream gives the same shares
    expected = shares * targets[:, 0] + (1 - shares) * targets[partners, 0]
    torch.testing.assert_close(soft[:, 0], expected, atol=1e-2, rtol=1e-5)


def test_a_tiny_alpha_gives_no_nan():
    images, targets = numbered((50, 1, 4, 4))
    for mixing in (A.mixup, A.cutmix):
        mixed, soft = mixing(images, targets, 1e-4, rng())
        assert mixed.isfinite().all() and soft.isfinite().all()


# --- Policies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", A.POLICIES)
@quick
@given(shape=shapes, seed=seeds)
def test_every_policy_keeps_shapes_range_and_target_sums(policy, shape, seed):
    images = bytes_of(shape, seed)
    labels = torch.randint(0, 7, shape[:1], generator=rng(seed))
    before = images.clone()
    out, targets = A.Augment(policy, seed)(images, labels, 7)
    assert out.shape == images.shape and out.dtype == torch.float32
    assert out.min() >= 0 and out.max() <= 1
    assert targets.shape == (shape[0], 7) and targets.dtype == torch.float32
    torch.testing.assert_close(targets.sum(1), torch.ones(shape[0]))
    assert torch.equal(images, before)  # the data set is not written to
    absent = [k for k in range(7) if k not in labels]
    assert (targets[:, absent] == 0).all()
    if policy != "strong+mix":
        assert torch.equal(targets, A.one_hot(labels, 7))


@pytest.mark.parametrize("policy", A.POLICIES)
def test_a_seed_fixes_everything_and_a_saved_state_goes_on_exactly(policy):
    images, labels = bytes_of((6, 3, 16, 24)), torch.arange(6)

    def run(augment, batches=3):
        return [augment(images, labels, 6) for _ in range(batches)]

    first, again = run(A.Augment(policy, 3)), run(A.Augment(policy, 3))
    for (x, t), (y, u) in zip(first, again, strict=True):
        assert torch.equal(x, y) and torch.equal(t, u)
    augment = A.Augment(policy, 3)
    run(augment, 1)
    restored = A.Augment(policy, 99)
    restored.generator.set_state(augment.generator.get_state())
    torch.rand(5)  # the global generator plays no part
    for (x, t), (y, u) in zip(run(restored, 2), first[1:], strict=True):
        assert torch.equal(x, y) and torch.equal(t, u)
    if policy != "none":
        assert not torch.equal(first[0][0], first[1][0])
        assert not torch.equal(first[0][0], run(A.Augment(policy, 4))[0][0])


@pytest.mark.parametrize("policy", A.POLICIES[1:])
def test_images_of_a_batch_are_drawn_apart(policy):
    same = bytes_of((1, 3, 16, 16)).expand(16, -1, -1, -1)
    out, _ = A.Augment(policy, 0)(same, torch.zeros(16, dtype=torch.int64), 2)
    assert len({tuple(image.flatten().tolist()) for image in out}) > 10


@pytest.mark.parametrize("policy", A.POLICIES)
def test_targets_depend_on_labels_alone(policy):
    # cutmix draws no pixel-dependent number, so other pictures give the same targets
    labels = torch.tensor([4, 0, 2, 2])
    bright, dark = bytes_of((4, 3, 8, 12), 1), torch.zeros(4, 3, 8, 12, dtype=torch.uint8)
    _, targets = A.Augment(policy, 5)(bright, labels, 5)
    _, others = A.Augment(policy, 5)(dark, labels, 5)
    assert torch.equal(targets, others)


def test_none_only_converts_and_basic_only_moves_pixels():
    images, labels = bytes_of((5, 3, 32, 32)), torch.arange(5)
    out, targets = A.Augment("none", 0)(images, labels, 5)
    assert torch.equal(out, images.float() / 255) and torch.equal(targets, torch.eye(5))
    out, _ = A.Augment("basic", 0)(images, labels, 5)
    expected = A.random_flip(A.random_crop(images, 4, generator := rng(0)), generator)
    assert torch.equal(out, expected.float() / 255)


def test_strong_mix_takes_mixup_or_cutmix_by_chance(monkeypatch):
    kinds = []
    for kind in ("mixup", "cutmix"):
        monkeypatch.setattr(
            policy, kind, lambda x, t, *rest, kind=kind: (kinds.append(kind), (x, t))[1]
        )
    augment = A.Augment("strong+mix", 0)
    for _ in range(60):
        augment(bytes_of((2, 3, 8, 8)), torch.tensor([0, 1]), 2)
    assert 15 < kinds.count("mixup") < 45 and len(kinds) == 60


def test_one_hot_rows():
    assert A.one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_repr_names_the_policy():
    assert repr(A.Augment("strong", 1)) == "Augment(policy='strong')"


# --- Bad input ------------------------------------------------------------------------------------

IMAGES = torch.rand(2, 3, 6, 8)
BYTES = bytes_of((2, 3, 6, 8))
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: A.Augment("wild"), "policy='wild' must be one of"),
        (lambda: A.Augment()(IMAGES, LABELS, 2), "images has dtype torch.float32"),
        (lambda: A.Augment()(BYTES[0], LABELS, 2), r"images has shape \(3, 6, 8\)"),
        (lambda: A.Augment()(BYTES[:0], LABELS[:0], 2), "nothing empty"),
        (lambda: A.Augment()(BYTES, LABELS[:1], 2), "labels has 1 entries for 2 images"),
        (lambda: A.Augment()(BYTES, LABELS, 1), r"labels range over 0\.\.1; each must lie in 0"),
        (lambda: A.Augment()(BYTES, -LABELS, 2), r"labels range over -1\.\.0"),
        (lambda: A.Augment()(BYTES, LABELS.float(), 2), "dtype torch.float32"),
        (lambda: A.crop(BYTES, LABELS, LABELS, (7, 2)), r"size=\(7, 2\) must fit"),
        (lambda: A.random_crop(BYTES, -1, rng()), "padding=-1 must be 0 or a positive"),
        (lambda: A.random_flip(BYTES, rng(), 1.5), r"probability=1.5 must lie in 0\.\.1"),
        (lambda: A.cutout(IMAGES, 0, rng()), "size=0 must be a positive integer"),
        (lambda: A.cutout(BYTES, 1, rng()), "images has dtype torch.uint8"),
        (lambda: A.affine(IMAGES, torch.zeros(3)), "3 values for 2 images"),
        (lambda: A.random_colour(IMAGES, rng(), 2.0), r"strength=2.0 must lie in 0\.\.1"),
        (lambda: A.rand_augment(IMAGES, -1, 5, rng()), "num_ops=-1 must be 0 or a positive"),
        (lambda: A.rand_augment(IMAGES, 1, 11, rng()), "magnitude=11 must be .* from 0 to 10"),
        (lambda: A.mixup(IMAGES, torch.eye(3), 1.0, rng()), r"targets has shape \(3, 3\)"),
        (lambda: A.cutmix(IMAGES, torch.eye(2), 0.0, rng()), "alpha=0.0 must be above 0"),
        (
            lambda: A.mixup(IMAGES, torch.eye(2), math.nan, rng()),
            "alpha=nan must be a finite number",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- Speed, counted so that a busy machine does not matter ----------------------------------------


class CountOperations(TorchDispatchMode):
    """Counts the calls that reach torch's kernels."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("policy", "limit"),
    [("none", 20), ("basic", 60), ("medium", 250), ("strong", 1600), ("strong+mix", 1650)],
)
def test_the_number_of_calls_does_not_grow_with_the_batch(policy, limit):
    images = bytes_of((512, 3, 8, 8))
    with CountOperations() as counter:
        A.Augment(policy, 0)(images, torch.zeros(512, dtype=torch.int64), 10)
    assert counter.count < limit
