"""What attention weights say: every measure against cases whose answer is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vit_teach as vt
from vit_teach import probe
from vit_teach.baselines import paper_hybrid

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
PATCHES = st.one_of(st.integers(1, 16), st.tuples(st.integers(1, 9), st.integers(1, 9)))


def random_weights(*shape, tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(*shape, tokens, tokens, generator=generator, dtype=torch.float64)
    return scores.softmax(dim=-1)


def small(**changes):
    """A small ViT with a class token for pictures that are not square."""
    torch.manual_seed(0)
    values = {"image_size": (8, 24), "patch_size": (4, 8), "num_classes": 5, "embed_dim": 24}
    values |= {"depth": 2, "num_heads": 3, **changes}
    return vt.VisionTransformer(vt.ViTConfig(**values)).double().eval()


def pictures(model, count=2):
    generator = torch.Generator().manual_seed(3)
    size = model.config.image_size
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


# --- Distance ----------


def by_loops(weights, grid, patch):
    """The mean distance as one would write it without any tensor operation."""
    gh, gw = grid
    places = [(r * patch[0], c * patch[1]) for r in range(gh) for c in range(gw)]
    count, total = len(places), 0.0
    kept = weights[-count:, -count:]
    for i, (y, x) in enumerate(places):
        row = kept[i] / kept[i].sum()
        total += sum(row[j].item() * math.hypot(v - y, u - x) for j, (v, u) in enumerate(places))
    return total / count


@settings(deadline=None, max_examples=25)
@given(grid=SIZES, patch=PATCHES, prefix=st.integers(0, 3), seed=st.integers(0, 99))
def test_the_distance_is_the_one_by_loops(grid, patch, prefix, seed):
    weights = random_weights(tokens=grid[0] * grid[1] + prefix, seed=seed)
    pair = (patch, patch) if isinstance(patch, int) else patch
    found = probe.attention_distance(weights, grid, patch).item()
    assert found == pytest.approx(by_loops(weights, grid, pair), abs=1e-9)
    assert 0 <= found <= math.hypot((grid[0] - 1) * pair[0], (grid[1] - 1) * pair[1]) + 1e-9


@pytest.mark.parametrize("grid", [(8, 8), (3, 5), (1, 7)])
def test_looking_at_oneself_is_no_distance(grid):
    eye = torch.eye(grid[0] * grid[1])
    assert probe.attention_distance(eye, grid, 4) == 0


@pytest.mark.parametrize(
    ("grid", "patch", "pixels"),
    [((8, 8), 4, 16.55), ((14, 14), 16, 116.5), ((7, 7), 32, 115.5)],
)
def test_looking_everywhere_has_the_known_distance(grid, patch, pixels):
    count = grid[0] * grid[1]
    even = torch.full((2, count, count), 1 / count, dtype=torch.float64)
    found = probe.attention_distance(even, grid, patch)
    assert found[0].item() == pytest.approx(probe.uniform_distance(grid, patch))
    assert found[0].item() == pytest.approx(pixels, abs=0.05)


def test_looking_everywhere_on_a_line_has_a_formula():
    for n in range(1, 12):  # the mean of |i - j| over all pairs is (n^2 - 1) / (3 n)
        assert probe.uniform_distance((1, n), 5) == pytest.approx(5 * (n * n - 1) / 3 / n)


@pytest.mark.parametrize(("down", "right"), [(0, 1), (1, 0), (2, 3), (-1, 2)])
def test_a_shift_has_its_own_length(down, right):
    gh, gw, patch = 6, 9, (4, 7)
    weights = torch.zeros(gh * gw, gh * gw)
    inside = []
    for r in range(gh):
        for c in range(gw):
            fits = 0 <= r + down < gh and 0 <= c + right < gw
            inside += [fits]
            key = (r + down) * gw + c + right if fits else r * gw + c
            weights[r * gw + c, key] = 1
    per_query = probe.query_distances(weights, (gh, gw), patch)
    length = math.hypot(down * patch[0], right * patch[1])
    expected = torch.tensor([length if fits else 0.0 for fits in inside])
    torch.testing.assert_close(per_query, expected)


def test_distance_grows_with_the_patch():
    weights = random_weights(4, tokens=15)
    once = probe.attention_distance(weights, (3, 5), 4)
    torch.testing.assert_close(probe.attention_distance(weights, (3, 5), 12), 3 * once)


def test_the_class_token_has_no_part_in_it():
    weights = random_weights(tokens=12)
    with_token = torch.zeros(13, 13, dtype=torch.float64)
    with_token[0] = 1 / 13
    with_token[1:, 0] = 0.7
    with_token[1:, 1:] = 0.3 * weights
    found = probe.query_distances(with_token, (3, 4), 4)
    torch.testing.assert_close(found, probe.query_distances(weights, (3, 4), 4))


def test_a_row_that_gives_all_to_the_class_token_is_zero_and_no_nan():
    weights = torch.zeros(5, 5)
    weights[:, 0] = 1
    assert probe.attention_distance(weights, (2, 2), 4) == 0


@pytest.mark.parametrize("shape", [(4, 4), (6, 5), (6,)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be \(\.\.\., T, T\) with T >= 6"):
        probe.patches_only(torch.ones(shape), (2, 3))


def test_batches_give_the_distances_of_all_at_once():
    model = small()
    x = pictures(model, 5)
    config = model.config
    whole = probe.collect(model, x)
    assert whole.shape == (5, 2, 3, 7, 7)
    expected = probe.attention_distance(whole, config.grid_size, config.patch_size)
    torch.testing.assert_close(probe.distances(model, x, batch_size=2), expected)


# --- Offsets ----------


def test_offsets_by_loops():
    gh, gw = 3, 4
    weights = random_weights(2, tokens=gh * gw)
    found = probe.offset_map(weights, (gh, gw))
    assert found.shape == (2, 5, 7)
    for down in range(-2, 3):
        for right in range(-3, 4):
            pairs = [
                weights[1, r * gw + c, (r + down) * gw + c + right].item()
                for r in range(gh)
                for c in range(gw)
                if 0 <= r + down < gh and 0 <= c + right < gw
            ]
            expected = sum(pairs) / len(pairs)
            assert found[1, down + 2, right + 3].item() == pytest.approx(expected)


# --- Entropy ----------


def test_entropy_has_its_ends():
    assert probe.entropy(torch.eye(6)).max() == 0
    even = torch.full((3, 7, 7), 1 / 7)
    torch.testing.assert_close(probe.entropy(even), torch.full((3, 7), math.log(7)))
    rows = probe.entropy(random_weights(9, tokens=7))
    assert 0 < rows.min() and rows.max() < math.log(7)


# --- Maps and rollout ----------


def test_the_map_is_the_row_that_the_classifier_reads():
    weights = random_weights(2, tokens=7)
    cls = vt.ViTConfig(image_size=(8, 24), patch_size=(4, 8), embed_dim=24, num_heads=3)
    found = probe.readout_map(weights, cls)
    assert found.shape == (2, 2, 3)
    expected = weights[:, 0, 1:] / weights[:, 0, 1:].sum(dim=1, keepdim=True)
    torch.testing.assert_close(found.flatten(1), expected)
    mean = vt.ViTConfig(
        image_size=(8, 24), patch_size=(4, 8), embed_dim=24, num_heads=3, pool="mean"
    )
    patches = weights[:, 1:, 1:].sum(dim=1)  # a class token that nobody reads
    found = probe.readout_map(weights, mean).flatten(1)
    torch.testing.assert_close(found, patches / patches.sum(dim=1, keepdim=True))


def test_rollout_has_its_known_cases():
    eye, even = torch.eye(5).expand(3, 2, 5, 5), torch.full((3, 2, 5, 5), 0.2)
    torch.testing.assert_close(probe.rollout(eye), torch.eye(5))
    torch.testing.assert_close(probe.rollout(even, residual=False), even[0, 0])
    # (I + J) / 2 three times, J the even matrix: 1/8 of the identity is left.
    expected = torch.eye(5) / 8 + 7 / 8 * even[0, 0]
    torch.testing.assert_close(probe.rollout(even), expected)


def test_rollout_by_loops_and_in_this_order():
    weights = random_weights(2, 3, 4, tokens=6)  # B, L, H
    found = probe.rollout(weights)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 6, dtype=torch.float64))
    product = torch.eye(6, dtype=torch.float64)
    for block in weights[1]:
        mean = sum(head for head in block) / 4
        product = (0.5 * mean + 0.5 * torch.eye(6)) @ product
    torch.testing.assert_close(found[1], product)


# --- Any model ----------

MODELS = {
    "class token": lambda: small(),
    "mean": lambda: small(pool="mean", class_token=False, fc_norm=True, position="none"),
    "mean beside a class token": lambda: small(pool="mean"),
    "hybrid": lambda: vt.zoo.build(vt.zoo.preset("CIFAR-Hybrid-Nano")),
    "paper hybrid": lambda: paper_hybrid.PaperHybrid(
        paper_hybrid.PaperHybridConfig(
            image_size=32, patch_size=8, units=(1, 1), embed_dim=16, depth=2, num_heads=2
        )
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_one_call_examines_any_model(name):
    model = MODELS[name]()
    config, x = model.config, pictures(model)
    found = probe.examine(model, x)
    blocks, heads, tokens = config.depth, config.num_heads, config.num_tokens
    assert found.weights.shape == (2, blocks, heads, tokens, tokens)
    assert found.distance.shape == found.entropy.shape == (2, blocks, heads)
    assert found.maps.shape == (2, blocks, heads, *config.grid_size)
    assert found.rollout.shape == (2, *config.grid_size)
    assert found.norms.shape == found.outliers.shape == (blocks + 1, 2, config.num_patches)
    assert found.most_entropy == pytest.approx(math.log(tokens))
    assert found.entropy.max() <= found.most_entropy + 1e-6
    reads_token = name in ("class token", "paper hybrid")
    assert found.reads == ("class token" if reads_token else "mean of all patches")
    for map_ in (found.maps, found.rollout):
        total = map_.sum(dim=(-2, -1))
        torch.testing.assert_close(total, torch.ones_like(total))


def test_a_model_with_even_attention_is_on_the_line():
    model = small()
    for block in model.blocks:
        torch.nn.init.zeros_(block.attn.qkv.weight)  # all queries and keys alike
    found = probe.examine(model, pictures(model))
    torch.testing.assert_close(found.distance, torch.full_like(found.distance, found.uniform))
    assert found.entropy.min().item() == pytest.approx(found.most_entropy)


def test_a_model_in_training_stays_so_and_is_measured_without_dropout():
    model = small(dropout=0.5).train()
    x = pictures(model)
    assert torch.equal(probe.collect(model, x), probe.collect(model, x))
    assert model.training and model.blocks[0].training


@pytest.mark.parametrize("kind", [torch.nn.Linear(2, 2), "CIFAR-ResNet-Nano"])
def test_another_model_is_refused(kind):
    model = vt.zoo.build(vt.zoo.preset(kind)) if isinstance(kind, str) else kind
    with pytest.raises(ValueError, match="must be a VisionTransformer or a hybrid"):
        probe.collect(model, torch.zeros(1, 3, 32, 32))


def test_the_readers_own_picture_as_a_file_and_as_pixels(tmp_path):
    model = small()
    pixels = torch.randint(0, 256, (3, 8, 24), dtype=torch.uint8)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "mine.png")
    by_hand = probe.examine(model, vt.data.normalise(pixels[None]))
    for source in (tmp_path / "mine.png", str(tmp_path / "mine.png"), pixels):
        found = probe.examine(model, source)
        torch.testing.assert_close(found.weights, by_hand.weights)
    half = (0.5,) * 3
    other = probe.examine(model, pixels, mean=half, std=half)
    assert (other.weights - by_hand.weights).abs().max() > 1e-6


@pytest.mark.parametrize("source", [torch.zeros(1, 8, 8).byte(), torch.zeros(8, 8).byte()])
def test_pixels_of_another_kind_are_refused(source):
    with pytest.raises(ValueError, match=r"must be a file or a uint8 tensor \(3, H, W\)"):
        probe.fit_picture(source, small().config)


# --- Controls ----------


def test_the_untrained_twin_is_repeatable_and_leaves_the_seed_alone():
    model = small()
    torch.manual_seed(5)
    twin = probe.untrained_twin(model, seed=1)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(twin.pos_embed, probe.untrained_twin(model, seed=1).pos_embed)
    assert not torch.equal(twin.pos_embed, probe.untrained_twin(model).pos_embed)


def test_controls_of_another_shape_are_refused(monkeypatch):
    models = {
        "tiny": vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Tiny"]),
        "nano": vt.VisionTransformer(vt.PRESETS["CIFAR-ViT-Nano"]),
    }
    monkeypatch.setattr(vt.weights, "recorded", models.__getitem__)
    with pytest.raises(ValueError, match="shuffled='nano' must have the configuration of 'tiny'"):
        probe.with_controls("tiny", shuffled="nano")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="name='no-such-model' must be one of cifar-"):
        probe.with_controls(shuffled="no-such-model")


# --- Tables and tokens ----------


def test_the_table_leaves_the_class_token_out():
    model = small()
    assert torch.equal(probe.position_table(model), model.pos_embed[0, 1:])
    with pytest.raises(ValueError, match="there is no table"):
        probe.position_table(small(position="none"))


def test_filters_are_those_that_read_colours():
    model = small()
    assert torch.equal(probe.colour_filters(model), model.patch_embed.proj.weight)
    overlap = vt.zoo.build(vt.zoo.preset("CIFAR-Hybrid-Nano", stem="overlap", stem_channels=()))
    assert probe.colour_filters(overlap).shape == (64, 3, 16, 16)
    for model in (MODELS["hybrid"](), MODELS["paper hybrid"]()):
        with pytest.raises(ValueError, match="reads a feature map"):
            probe.colour_filters(model)


def test_norms_are_those_of_the_patch_tokens():
    model = small()
    x = pictures(model)
    _, out = model(x, intermediates=True)
    norms = probe.token_norms(model, x)
    assert norms.shape == (3, 2, 6)
    torch.testing.assert_close(norms[0], out["tokens"][:, 1:].norm(dim=2))
    torch.testing.assert_close(norms[2], out["blocks.1"][:, 1:].norm(dim=2))


def test_a_planted_outlier_is_found_and_nothing_else():
    torch.manual_seed(0)
    norms = 5 + torch.randn(4, 8, 64)  # L + 1, B, N
    assert not probe.outlier_tokens(norms).any()
    norms[2, 3, 17] = 50
    found = probe.outlier_tokens(norms)
    assert found.nonzero().tolist() == [[2, 3, 17]]
    assert probe.outlier_tokens(norms, k=1).sum() > 100


def test_tokens_all_alike_hold_no_outlier():
    assert not probe.outlier_tokens(torch.ones(2, 3, 5)).any()


def test_planted_in_a_model_it_is_found_from_its_block_on():
    model = small(position="learned")
    model.pos_embed.data[0, 3] *= 1000  # the third token of seven is the second patch
    found = probe.examine(model, pictures(model)).outliers  # (L + 1, B, N)
    assert found[0].any(dim=0).nonzero().flatten().tolist() == [2]
