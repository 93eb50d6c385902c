"""Chapter 7: what it builds by hand equals the package, its counts are right, its solutions run."""

import functools

import chapters
import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F
from card_tools import made_up_cards

import vit_teach as vt
from vit_teach import probe
from vit_teach.baselines.hybrid import ConvStem, HybridConfig

NAME = "07_hybrid"


@functools.cache
def chapter():
    """The variables of the chapter after its cells, without figures and without training."""
    variables = {}
    for cell in chapters.cells(NAME):
        live = "live-run" in cell.metadata.get("tags", [])
        if cell.cell_type == "code" and not live and "vt.plots." not in cell.source:
            exec(compile(cell.source, f"07_hybrid: {cell.id}", "exec"), variables)
    torch.set_printoptions(profile="default")
    return variables


def same(first, second, tolerance=1e-12):
    torch.testing.assert_close(first, second, rtol=0, atol=tolerance)


def scattered(stem, seed=0):
    """The stem in 64-bit numbers, every weight and running average off its plain start."""
    generator = torch.Generator().manual_seed(seed)
    stem = stem.double()
    for tensor in stem.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1, generator=generator).sub_(0.3 * (tensor.ndim == 4))
    return stem


@pytest.mark.parametrize("number", range(len(chapters.exercises(NAME))))
def test_the_solution_runs(number):
    code = compile(chapters.solution(NAME, number), f"solution {number + 1}", "exec")
    exec(code, dict(chapter()))


@pytest.mark.parametrize(
    ("size", "patch", "widths", "dim"),
    [((24, 40), 4, (5, 6, 7), 20), ((16, 48), 8, (3, 5, 4, 6), 12), ((6, 10), 2, (4, 3), 8)],
)
def test_the_stem_by_hand_is_the_package(size, patch, widths, dim):
    config = HybridConfig(
        image_size=size, patch_size=patch, embed_dim=dim, num_heads=2, stem_channels=widths
    )
    package = scattered(ConvStem(config))
    by_hand = chapter()["Stem"](widths, dim).double()
    by_hand.load_state_dict(package.state_dict(), strict=True)
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    for training in (True, False):
        same(by_hand.train(training)(images), package.train(training)(images))
    assert package(images).shape == (2, size[0] * size[1] // patch**2, dim)


def test_the_stem_by_hand_is_its_formula_in_training():
    """With the chapter's own batch normalisation, layer by layer."""
    built = chapter()
    stem = scattered(built["Stem"]((5, 6, 7), 20)).train()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    x = images
    for i, stride in enumerate((1, 2, 2)):
        conv, norm = stem.backbone[3 * i], stem.backbone[3 * i + 1]
        x = F.conv2d(x, conv.weight, stride=stride, padding=1)
        x = built["batch_norm"](x, norm.weight, norm.bias).clamp(min=0)
    tokens = x.flatten(2).transpose(1, 2) @ stem.proj.weight.view(20, 7).T + stem.proj.bias
    same(stem(images), tokens)


@pytest.mark.parametrize("units", [(3, 4, 6, 3), (2, 2, 2, 2), (3, 4, 9)])
def test_the_count_of_a_resnet_is_torchvisions(units):
    models = pytest.importorskip("torchvision.models.resnet", reason="torchvision is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    params, macs, channels, side = chapter()["resnet50"](units)
    with torch.device("meta"):
        # torchvision's ResNet always has four stages: a last one of a single unit is cut off.
        network = models.ResNet(models.Bottleneck, [*units, 1][:4]).eval()
        stages = [network.conv1, network.bn1, network.relu, network.maxpool]
        stages += [getattr(network, f"layer{i + 1}") for i in range(len(units))]
        backbone = torch.nn.Sequential(*stages)
        with FlopCounterMode(display=False) as counter:
            out = backbone(torch.zeros(1, 3, 224, 224))
    assert params == sum(p.numel() for p in backbone.parameters())
    assert 2 * macs == counter.get_total_flops()
    assert out.shape == (1, channels, side, side)


def test_the_papers_costs_are_counted_but_for_one():
    built = chapter()
    far = []
    for name, epochs, *_, printed in built["table6"]:
        if abs(built["hybrid_cost"]("ViT-" + name, epochs)[1] - printed) > 2:
            far.append((name, epochs, printed))
    assert far == [("L/16", 7, 859)]
    plain = {("ViT-" + name, epochs, cost) for name, epochs, _, cost, *_ in built["table6"]}
    assert plain == {row for row in vt.cost.PAPER_TABLE6 if row[0] != "ViT-H/14"}


@pytest.mark.parametrize("name", ["linear", "overlap", "conv", "cct"])
def test_the_listed_layers_are_those_of_the_stem(name):
    """(kernel, stride, padding) as the modules themselves have them."""
    found = []
    for module in chapter()["make_stem"](name, (24, 40)).modules():
        if isinstance(module, torch.nn.Conv2d):
            found.append((module.kernel_size[0], module.stride[0], module.padding[0]))
        elif isinstance(module, torch.nn.MaxPool2d):
            found.append((module.kernel_size, module.stride, module.padding))
    assert found == chapter()["layers"][name]


@pytest.mark.parametrize("name", ["linear", "overlap", "conv", "cct"])
def test_the_window_is_measured_on_every_token_of_a_row(name):
    built = chapter()
    size, stride, start = built["window"](built["layers"][name])
    assert (size, stride, start) == probe.receptive_field(built["layers"][name])
    stem = built["make_stem"](name, (16, 24))
    noise = torch.randn(64, 3, 16, 24, generator=torch.Generator().manual_seed(1)).double()
    for column in range(6):
        reached = (built["strength"](stem, noise, 6 + column) > 0).any(dim=0)  # (W,), in row 1
        expected = torch.zeros(24, dtype=torch.bool)
        first = start + stride * column
        expected[max(0, first) : first + size] = True
        assert torch.equal(reached, expected)


def test_tokens_follow_whole_strides_only():
    changes = {}
    for name in ("linear", "overlap", "conv", "cct"):
        stem = chapter()["make_stem"](name, (48, 64))
        changes[name] = [chapter()["change"](stem, shift) for shift in (0, 2, 4, 7, 8)]
    for exact, off, stride, between, twice in changes.values():
        assert max(exact, stride, twice) < 1e-12 and min(off, between) > 0.1


def test_the_quick_run_of_the_chapter_is_small_and_of_three_models():
    quick = vt.experiments.find("bias_dial").cells(quick=True)
    assert [cell.labels["model"] for cell in quick] == ["vit", "hybrid", "cnn"]
    assert len({cell.images for cell in quick}) == 1 and quick[0].images <= 16_000
    macs = [vt.cost.macs(cell.config()) for cell in quick]
    assert max(macs) < 3e6 and max(macs) / min(macs) < 1.1


# --- The recorded section, on made-up cards ----------

HEIGHTS = {"vit": 0.5, "overlap": 0.52, "cct": 0.54, "hybrid": 0.56, "cnn": 0.6}


def recorded_part(keep):
    """Run the cells of the recorded section, drawings included; return their variables."""
    with pytest.MonkeyPatch.context() as patch:
        cards = made_up_cards("bias_dial", lambda labels, seed: HEIGHTS[labels["model"]], keep=keep)
        patch.setattr(vt.experiments, "so_far", lambda name: cards)
        variables = {"vt": vt}
        for cell in chapters.cells(NAME):
            if cell.cell_type == "code" and cell.id.startswith("07-recorded-"):
                exec(compile(cell.source, f"07_hybrid: {cell.id}", "exec"), variables)
    plt.close("all")
    return variables


def test_the_recorded_section_shows_what_there_is(capsys):
    assert recorded_part(lambda cell: False)["found"] == []
    assert capsys.readouterr().out == ""
    recorded_part(lambda cell: cell.seed == 0 and cell.labels["model"] != "cnn")
    assert capsys.readouterr().out == (
        " 5,000 images: hybrid minus vit +6.0 points (1 seed)\n"
        "45,000 images: hybrid minus vit +6.0 points (1 seed)\n"
    )
    recorded_part(lambda cell: True)
    assert " 5,000 images: hybrid minus cnn -4.0 points (2 seeds)" in capsys.readouterr().out


def test_what_the_text_says_came_out_is_what_the_cards_say():
    rows = vt.experiments.rows(vt.results.recorded("bias_dial"), ["test_accuracy"])
    test = {(r["model"], r["images"]): r["mean"] for r in rows}
    few, many = (test["hybrid", n] - test["vit", n] for n in (5_000, 45_000))
    assert 0 < many < 0.01 and many < few < 0.03
    assert test["cnn", 5_000] > test["hybrid", 5_000] + 0.03
    assert test["cnn", 45_000] > test["hybrid", 45_000]


def test_what_the_text_says_of_a_longer_run_is_what_the_cards_say():
    """Same models and recipe at two, five, ten and thirty passes; the CNN is unsteady till late."""
    cards = {c["cell"]: c for c in vt.results.recorded("augmentation")}
    five = {c["cell"]: c for c in vt.results.recorded("bias_dial")}
    test = {}
    for model in ("vit", "hybrid", "cnn"):
        run = {n: cards[f"{model}-basic-{n}-s0"] for n in (2, 10, 30)}
        run[5] = five[f"{model}-45000-s0"]
        for passes, card in run.items():
            assert abs(card["train"]["epochs"] - passes) < 0.01
            assert card["config"]["model"] == run[30]["config"]["model"]
            changed = {"evaluations"}
            for key in set(card["config"]["train"]) - changed:
                assert card["config"]["train"][key] == run[30]["config"]["train"][key], key
            test[model, passes] = card["metrics"]["test_accuracy"]
    for passes in (2, 5, 10):
        assert 0 < test["hybrid", passes] - test["vit", passes] < 0.02
        assert test["hybrid", passes] < test["cnn", passes]
    assert test["hybrid", 30] > test["vit", 30] + 0.03
    assert test["hybrid", 30] > test["cnn", 30] + 0.01
    gain = {model: test[model, 30] - test[model, 2] for model in ("vit", "hybrid", "cnn")}
    assert max(gain, key=gain.get) == "hybrid"
    looks = cards["cnn-basic-30-s0"]["curves"]["val_accuracy"]
    assert max(a - b for a, b in zip(looks[20:], looks[21:], strict=False)) > 0.05
    control = cards["cnn-half-basic-30-s0"]
    rates = [c["config"]["train"]["learning_rate"] for c in (control, cards["cnn-basic-30-s0"])]
    assert rates[0] == rates[1] / 2
    assert abs(control["metrics"]["test_accuracy"] - test["cnn", 30]) < 0.005
