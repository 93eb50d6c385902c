"""All of timm's ViTs by name, with random weights: right, or said, or refused. And the table."""

import argparse
import re
from collections import Counter, defaultdict
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import timm
import torch
import transformers
from model_tools import close, pictures, randomise
from safetensors.torch import save_file
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT

from vit_teach import ViTConfig, zoo
from vit_teach.weights import facts, files, fitting, layouts, settling

PAGE = Path(__file__).parent.parent / "book" / "appendix" / "released_models.md"
MODULES = (
    "vision_transformer", "deit", "vision_transformer_hybrid", "vision_transformer_relpos",
    "vision_transformer_sam", "beit", "eva",
)  # fmt: skip
SIZES = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
NOT_THE_MODEL = ("pretrained_cfg", "pretrained_filter_fn", "feature_cfg", "cache_dir")
ORIGINAL = timm.create_model


class Caught(Exception):
    """Carries what timm was about to build."""


def blueprint(name, module):
    """timm's class and settings for a name, without building anything."""

    def catch(model_class, variant, pretrained, **settings):
        raise Caught(model_class, settings)

    with mock.patch(f"timm.models.{module}.build_model_with_cfg", catch):
        try:
            ORIGINAL(name)
        except Caught as caught:
            return caught.args
    raise AssertionError(f"timm's {name} is built in another way")


def in_words(value):
    """A setting as text that does not depend on where it lies in memory."""
    if hasattr(value, "func"):
        return in_words(value.func) + str(
            sorted((k, in_words(v)) for k, v in value.keywords.items())
        )
    return getattr(value, "__name__", None) or repr(value)


@cache
def families():
    """Names that differ only in size, in one list: {settings: [(name, module), ...]}."""
    found = defaultdict(list)
    for module in MODULES:
        for name in timm.list_models(module=module):
            kind, settings = blueprint(name, module)
            plain = {k: v for k, v in settings.items() if k not in (*SIZES, *NOT_THE_MODEL)}
            key = (kind.__name__, *sorted((k, in_words(v)) for k, v in plain.items()))
            found[key].append((name, module))
    return found


def small(name, module):
    """The model of a name with its own structure, small, with random weights in float64."""
    _, settings = blueprint(name, module)
    hybrid = module == "vision_transformer_hybrid"
    size = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    size["img_size"] = 64 if hybrid else 4 * settings.get("patch_size", 16)
    if settings.get("num_classes", 1) and timm.get_pretrained_cfg_value(name, "num_classes"):
        size["num_classes"] = 7
    if "num_kv_heads" in settings:
        size["num_kv_heads"] = (3, 3)  # one number for each block
    if "mci" in name:
        del size["embed_dim"]  # its convolutions make the tokens' width
    torch.manual_seed(0)
    return randomise(ORIGINAL(name, pretrained=False, **size), size=0.05).double().eval()


def error_of(model, opened):
    """The largest difference of both models' answers to the same pictures, as a share.

    Answers are scores; without a classifier of that kind, the vectors that it would read.
    """
    opened.state, opened.config = fitting.adapt(
        opened.state, opened.config, None if "head.weight" in opened.state else 1
    )
    ours = zoo.build(opened.config).double().eval()
    files.load_strict(ours, opened.state)
    images = pictures(2, 3, *opened.config.image_size, dtype=torch.float64)
    with torch.no_grad():
        tokens = model.forward_features(images)
        if model.attn_pool is not None:
            expected, found = tokens, ours(images, intermediates=True)[1]["norm"]
        elif not hasattr(model.head, "weight"):
            expected, found = model.forward_head(tokens, True), ours.features(images)
        elif hasattr(model, "head_dist"):
            expected, found = model.head(tokens[:, 0]), ours(images)
        else:
            expected, found = model(images), ours(images)
    return ((expected - found).abs().max() / expected.abs().max()).item()


def opens(source, model, **more):
    """``open_source``, with a new head if the model has no classifier."""
    classes = None if hasattr(model.head, "weight") else 1
    return settling.open_source(source, num_classes=classes, **more)


@cache
def outcome(key):
    """What comes of a family by the library's model: "exactly", "note" or "refused", and why."""
    name, module = families()[key][0]
    model = small(name, module)
    with mock.patch.object(timm, "create_model", lambda name, pretrained: model):
        try:
            opened = opens(f"timm:{name}", model)
        except ValueError as error:
            return "refused", str(error)
    error = error_of(model, opened)
    if not opened.notes:
        assert error < 1e-10, (name, error)
        return "exactly", ""
    assert error < (2e-3 if "GELU" in str(opened.notes) else 1e-10), (name, error)
    return "note", "; ".join(opened.notes)


def keys():
    return sorted(families(), key=lambda key: families()[key][0])


@pytest.mark.parametrize("number", range(4))
def test_each_family_is_right_or_said_or_refused(number):
    for key in keys()[number::4]:
        result, reason = outcome(key)
        assert result in ("exactly", "note", "refused") and (result == "exactly") == (not reason)


@pytest.mark.parametrize("number", range(4))
def test_a_bare_file_is_right_or_refused(number, tmp_path):
    """Nothing but names and shapes, and the number of heads: then nothing may be wrong either."""
    loaded = 0
    for key in keys()[number::4]:
        name, module = families()[key][0]
        if module == "vision_transformer_hybrid":
            continue  # their shapes say as much as the library's model
        model = small(name, module)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        try:
            opened = opens(tmp_path / "model.safetensors", model, num_heads=3)
        except ValueError:
            continue
        loaded += 1
        error = error_of(model, opened)
        tanh = "GELU" in str(opened.assumed) and "gelu_tanh" in str(key)
        assert error < (2e-3 if tanh else 1e-10), (name, error)
    assert loaded > 3


def test_the_table_of_heads_is_right_or_silent():
    answers = Counter()
    for names in families().values():
        for name, module in names:
            kind, settings = blueprint(name, module)
            if not kind.__name__.startswith("VisionTransformer"):
                continue
            size = (settings.get("embed_dim", 768), settings.get("depth", 12))
            patch, token = settings.get("patch_size", 16), settings.get("class_token", True)
            found = facts.published_heads(*size, patch, token)
            assert found in (None, settings.get("num_heads", 12)), name
            answers[found is not None] += 1
    assert answers[True] > 80 and answers[False] > 30


# --- The table of the book ----------


def rows():
    """The page's table of timm's names: [(family, patterns, number, result), ...] of each row."""
    text = PAGE.read_text(encoding="utf-8").partition("## By timm's names")[2].partition("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and "`" in cells[1]:
            found.append((cells[0], re.findall(r"`([^`]+)`", cells[1]), int(cells[2]), cells[3]))
    return found


def test_the_pages_table_is_what_the_code_does():
    table, counted, results = rows(), Counter(), Counter()
    for key, names in families().items():
        for name, _ in names:
            row = next(r for r in table if any(fnmatch(name, pattern) for pattern in r[1]))
            result = outcome(key)[0].replace("note", "with a note")
            assert row[3] == result, (name, row, outcome(key))
            counted[row[0]] += 1
            results[result] += 1
    assert {row[0]: row[2] for row in table} == counted
    sums = "{exactly} load exactly, {with a note} with a note, {refused} are refused"
    for result, count in results.items():
        sums = sums.replace(f"{{{result}}}", str(count))
    assert f"Of {sum(results.values())} names {sums}" in PAGE.read_text(encoding="utf-8")


# --- Other libraries' files ----------

TINY = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
    "image_size": 32, "patch_size": 8, "num_labels": 7, "mlp_ratio": 2,
}  # fmt: skip
OURS = ViTConfig(
    image_size=32, patch_size=8, num_classes=7, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0
)
IMAGES = pictures(2, 3, 32, 32, dtype=torch.float64)


def hugging_face(kind, folder, **more):
    """A small model of transformers with random weights, saved as a folder."""
    torch.manual_seed(0)
    model_class = getattr(transformers, kind)
    model = randomise(model_class(model_class.config_class(**{**TINY, **more}))).double().eval()
    model.save_pretrained(folder)
    return folder, lambda: model(pixel_values=IMAGES)


def hidden(make):
    """The same, answering with the last hidden states."""

    def made(folder):
        source, answer = make(folder)
        return source, lambda: answer().last_hidden_state

    return made


def logits(make, name="logits"):
    def made(folder):
        source, answer = make(folder)
        return source, lambda: getattr(answer(), name)

    return made


def kind(name, **more):
    return lambda folder: hugging_face(name, folder, **more)


def from_torchvision_file(folder):
    torch.manual_seed(0)
    model = randomise(TorchvisionViT(32, 8, 2, 3, 24, 48, num_classes=7)).double().eval()
    torch.save(model.state_dict(), folder / "model.pth")
    return folder / "model.pth", lambda: model(IMAGES)


def our_model():
    torch.manual_seed(0)
    return randomise(zoo.build(OURS)).double().eval()


def google_file(folder):
    model = our_model()
    np.savez(folder / "model.npz", **layouts.to_google(model))
    return folder / "model.npz", lambda: model(IMAGES)


def dino_file(folder):
    """A training checkpoint: two networks, each with a head of its own, and the optimiser."""
    model = our_model()
    body = {f"module.backbone.{n}": t for n, t in model.state_dict().items() if "head" not in n}
    other = {name: tensor + 1 for name, tensor in body.items()}
    content = {"student": other, "teacher": body, "epoch": 3, "args": argparse.Namespace(lr=1)}
    torch.save(content, folder / "checkpoint.pth")
    return folder / "checkpoint.pth", lambda: model(IMAGES, intermediates=True)[1]["norm"]


def mae_file(folder):
    model = our_model()
    body = {name: t for name, t in model.state_dict().items() if "head" not in name}
    more = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 24)}
    torch.save({"model": {**body, **more}}, folder / "mae.pth")
    return folder / "mae.pth", lambda: model(IMAGES, intermediates=True)[1]["norm"]


HEADS = {"num_heads": 3}
NEW = {"num_classes": 1}
FILES = {
    "torchvision, `vit_b_16` and its like": (from_torchvision_file, HEADS),
    "Hugging Face, `ViTForImageClassification`": (logits(kind("ViTForImageClassification")), {}),
    "Hugging Face, `ViTModel`": (hidden(kind("ViTModel")), NEW),
    "Hugging Face, `DeiTForImageClassificationWithTeacher`": (
        logits(kind("DeiTForImageClassificationWithTeacher"), "cls_logits"), {}
    ),
    "Hugging Face, `Dinov2Model`": (hidden(kind("Dinov2Model")), NEW),
    "Hugging Face, `Dinov2WithRegistersModel`": (hidden(kind("Dinov2WithRegistersModel")), NEW),
    "Hugging Face, `Dinov2ForImageClassification`": (kind("Dinov2ForImageClassification"), {}),
    "Hugging Face, `Dinov2Model` of giant size": (kind("Dinov2Model", use_swiglu_ffn=True), NEW),
    "Hugging Face, CLIP's image encoder": (kind("CLIPVisionModel"), NEW),
    "Google and big_vision, `.npz`": (google_file, {}),
    "DINO, a checkpoint with `student` and `teacher`": (
        dino_file, {"key": "teacher", **HEADS, **NEW}
    ),
    "MAE, with its decoder": (mae_file, {**HEADS, **NEW}),
}  # fmt: skip


@cache
def page_of_files():
    text = (
        PAGE.read_text(encoding="utf-8").partition("## By other libraries")[2].partition("\n## ")[0]
    )
    cells = [[c.strip() for c in line.split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[1]: row[2] for row in cells[2:]}


@pytest.mark.parametrize("name", FILES)
def test_other_libraries_files(name, tmp_path):
    make, arguments = FILES[name]
    source, answer = make(tmp_path)
    try:
        opened = settling.open_source(source, **arguments)
    except ValueError:
        assert page_of_files()[name] == "refused"
        return
    assert page_of_files()[name] == ("with a note" if opened.notes else "exactly")
    state, config = fitting.adapt(opened.state, opened.config, arguments.get("num_classes"))
    ours = zoo.build(config).double().eval()
    files.load_strict(ours, state)
    with torch.no_grad():
        found, out = ours(IMAGES, intermediates=True)
        expected = answer()
    found = found if expected.ndim == 2 else out["norm"]
    # their epsilon cannot be ours; all other notes leave the numbers that are compared
    close(found, expected, 1e-3 if "epsilon" in str(opened.notes) else 1e-10)


def test_the_page_names_these_files_and_no_other():
    assert list(page_of_files()) == list(FILES)


@pytest.mark.parametrize("change", [{"depth": 2**31}, {"embed_dim": 10**9}, {"img_size": 1e300}])
def test_a_config_that_asks_for_any_size_is_refused_before_timm_builds_it(change):
    with pytest.raises(ValueError, match="is more than any ViT has"):
        facts.of_config({"architecture": "vit_tiny_patch16_224", "model_args": change})
