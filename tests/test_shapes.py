"""vit_teach.shapes: repeatable, balanced, in its corner, and not to be told by colour or place."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_teach.data.drawn import CLASS_COLOURS, CLASSES, CORNERS, OUTLINES, shapes, stand_in

KINDS = list(CLASSES)


@settings(max_examples=10, deadline=None)
@given(n=st.integers(1, 620), seed=st.integers(0, 2**32), kind=st.sampled_from(KINDS))
def test_equal_arguments_equal_pictures_and_balanced_classes(n, seed, kind):
    images = shapes(n, seed, kind=kind)
    assert images.fingerprint() == shapes(n, seed, kind=kind).fingerprint()
    counts = images.labels.bincount(minlength=10)
    assert counts.max() - counts.min() <= 1
    assert images.images.shape == (n, 3, 32, 32) and images.classes == CLASSES[kind]


def test_fewer_pictures_are_the_first_of_more():
    few, many = shapes(70, seed=3), shapes(530, seed=3)
    assert torch.equal(few.images, many.images[:70]) and torch.equal(few.labels, many.labels[:70])


def test_splits_and_seeds_differ():
    names = {shapes(20, s, split).fingerprint() for s in (0, 1) for split in ("train", "test")}
    assert len(names) == 4
    assert shapes(20, 0, "test").split == "test"


def test_the_source_says_what_was_drawn():
    assert shapes(1, 7).source == "built-in shape pictures (seed 7)"
    source = shapes(1, 7, kind="texture", corner="br").source
    assert source == "built-in texture pictures (seed 7, corner br)"


@pytest.mark.parametrize("size", [16, 32, 48])
@pytest.mark.parametrize("kind", ["shape", "texture"])
def test_objects_stay_in_their_corner(size, kind):
    """The backgrounds are the same for each corner, so only the corners may differ."""
    drawn = {c: shapes(200, 1, image_size=size, corner=c, kind=kind).images for c in CORNERS}
    half = size // 2
    for one in CORNERS:
        other = "tl" if one != "tl" else "br"
        differs = (drawn[one] != drawn[other]).any(1)  # (n, S, S)
        for corner in (one, other):
            down, along = (k * half for k in CORNERS[corner])
            changed = differs[:, down : down + half, along : along + half].sum((1, 2))
            assert (changed > 3).float().mean() > 0.95
            differs[:, down : down + half, along : along + half] = False
        assert not differs.any(), one


@pytest.mark.parametrize("label", range(10))
def test_outlines_fit_into_the_unit_disc(label):
    v, u = np.meshgrid(*[np.linspace(-1.5, 1.5, 301, dtype=np.float32)] * 2, indexing="ij")
    inside = OUTLINES[label](u, v) < 0
    assert np.hypot(u, v)[inside].max() < 1.02
    assert 0.1 < inside.mean() * 9 / np.pi <= 1.0  # the share of the disc


@pytest.mark.parametrize("label", range(10))
def test_outlines_are_distances_near_the_edge(label):
    """Soft edges need a slope of one where the outline is crossed."""
    v, u = np.meshgrid(*[np.linspace(-1.2, 1.2, 481, dtype=np.float32)] * 2, indexing="ij")
    distance = OUTLINES[label](u, v)
    slope = np.hypot(*np.gradient(distance, 0.005))
    assert abs(np.median(slope[np.abs(distance) < 0.02]) - 1) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_mean_colours_do_not_tell_the_class(kind):
    """The best linear guess from the mean colour of a picture is hardly better than chance."""
    train, test = shapes(1500, 5, kind=kind), shapes(1000, 5, "test", kind=kind)

    def features(images):
        mean = images.images.float().mean((2, 3)) / 255
        return torch.cat([mean, mean**2, torch.ones(len(mean), 1)], 1)

    truth = torch.nn.functional.one_hot(train.labels, 10).float()
    weights = torch.linalg.lstsq(features(train), truth).solution
    accuracy = ((features(test) @ weights).argmax(1) == test.labels).float().mean()
    assert accuracy < 0.2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n": 0}, "n=0 must be at least 1"),
        ({"split": "val"}, "split='val' must be one of"),
        ({"image_size": 8}, "image_size=8 must be at least 16"),
        ({"kind": "colour"}, "kind='colour' must be one of"),
        ({"corner": "middle"}, "corner='middle' must be None or one of"),
        ({"kind": "relation", "corner": "tl"}, "corner='tl' must be None for kind='relation'"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        shapes(**{"n": 5, **arguments})
    assert message in str(error.value)


def test_a_colour_hint_moves_the_background_only_towards_the_class():
    plain, hinted = shapes(200, seed=3), shapes(200, seed=3, colour_hint=1.0)
    assert torch.equal(plain.labels, hinted.labels)
    corner = hinted.images[:, :, 0, 0].float() / 255  # (N, 3): background, but for litter
    wanted = torch.from_numpy(CLASS_COLOURS)[hinted.labels]
    near = (corner - wanted).abs().amax(dim=1) < 0.45  # the slope and the grain stay
    assert near.float().mean() > 0.9
    assert ((plain.images[:, :, 0, 0].float() / 255 - wanted).abs().amax(dim=1) < 0.45).sum() < 80


def test_the_stand_in_hints_a_little():
    assert len(stand_in("train")) == 10_000
    assert "colour hint 0.3" in stand_in("test").source
