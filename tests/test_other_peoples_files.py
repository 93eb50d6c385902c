"""What people bring: weights of other libraries, odd pictures, folders, wrong settings.

Each is used rightly, or said in words that help; nothing is wrong in silence.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from model_tools import randomise
from PIL import Image
from torch import nn

import vit_teach as vt
from vit_teach.data import cifar
from vit_teach.data.pictures import read_picture
from vit_teach.experiments.lab.wrappers import Enlarged
from vit_teach.train.__main__ import load_sets
from vit_teach.train.__main__ import main as train_command
from vit_teach.weights import files, sizes

NANO = vt.PRESETS["CIFAR-ViT-Nano"]
TINY = vt.ViTConfig(
    image_size=32, patch_size=8, embed_dim=64, depth=1, num_heads=1, num_classes=3, mlp_ratio=2.0
)
IMAGES = vt.data.shapes(20, seed=0)
SETTINGS = vt.train.TrainConfig(steps=1, batch_size=4, threads=1, evaluations=1)


def model_of(config=TINY, seed=0):
    torch.manual_seed(seed)
    return randomise(vt.zoo.build(config)).eval()


def saved(path, content):
    torch.save(content, path)
    return path


def equal(one, other):
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


# --- Weights: heads, grids, pooling ----------


def test_heads_are_read_or_known_and_never_a_64th_of_the_width(tmp_path, capsys):
    assert vt.weights.load(files.WEIGHTS / "cifar-vit-20min.safetensors").config.num_heads == 4
    with torch.device("meta"):
        huge = vt.VisionTransformer(vt.PRESETS["ViT-H/14"]).state_dict()
    assert sizes.infer_config(huge).num_heads == 16
    wide = model_of(replace(TINY, embed_dim=320, num_heads=4))
    np.savez(tmp_path / "g.npz", **vt.weights.to_google(wide))
    assert vt.weights.load(tmp_path / "g.npz").config.num_heads == 4
    with pytest.raises(ValueError, match="num_heads=None must be given"):
        vt.weights.load(saved(tmp_path / "w.pth", wide.state_dict()))
    assert vt.weights.load(tmp_path / "w.pth", num_heads=5).config.num_heads == 5
    published = model_of(replace(TINY, embed_dim=192, depth=12, num_heads=3))
    vt.weights.load(saved(tmp_path / "p.pth", published.state_dict()))
    assert "assumed" in (said := capsys.readouterr().out) and "num_heads=3 (as published" in said


@pytest.mark.parametrize("size", [(28, 112), (28, 56), (14, 126)])
def test_a_table_that_is_not_square_comes_back_bit_for_bit(size, tmp_path):
    model = model_of(replace(TINY, image_size=size, patch_size=14))
    path = saved(tmp_path / "a.pth", model.state_dict())
    again = vt.weights.load(path, trained_size=size, num_heads=1)
    assert again.config == model.config and equal(model, again)
    try:  # the wanted size alone: never read as another grid
        assert equal(model, vt.weights.load(path, image_size=size, num_heads=1))
    except ValueError as error:
        assert "give trained_size=(height, width)" in str(error)


def test_what_pools_is_an_argument_and_what_was_assumed_is_printed(tmp_path, capsys):
    theirs = timm.create_model(
        "vit_tiny_patch16_224", global_pool="avg", fc_norm=False, depth=1, num_classes=5
    )
    path = saved(tmp_path / "a.pth", theirs.state_dict())
    assert vt.weights.load(path, num_heads=3).config.pool == "cls"
    assert "assumed" in (said := capsys.readouterr().out) and "pool='cls'" in said
    assert vt.weights.load(path, num_heads=3, pool="mean").config.pool == "mean"
    assert "pool=" not in capsys.readouterr().out


# --- Weights: prefixes, wrappers, parts ----------


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "backbone.", "encoder.",
                                    "module._orig_mod.", "model.backbone."])  # fmt: skip
def test_a_prefix_is_taken_off(prefix, tmp_path):
    model = model_of()
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    assert equal(model, vt.weights.load(saved(tmp_path / "a.pth", state), num_heads=1))


@pytest.mark.parametrize("key", ["teacher", "model_state_dict", "model_ema", "state_dict", "model"])
def test_a_wrapping_key_is_opened(key, tmp_path):
    model = model_of()
    content = {key: model.state_dict(), "epoch": 1, "args": argparse.Namespace(lr=0.1)}
    assert equal(model, vt.weights.load(saved(tmp_path / "a.pth", content), num_heads=1))


def test_our_own_checkpoint_says_what_it_holds(tmp_path):
    settings = replace(SETTINGS, average=0.9)
    best, _ = vt.train.train(model_of(NANO), IMAGES, IMAGES, settings, tmp_path, quiet=True)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(ValueError, match="several models: trainer.model, trainer.average.*key="):
        vt.weights.load(path, num_heads=4)
    assert equal(best, vt.weights.load(path, num_heads=4, key="average"))
    with pytest.raises(ValueError, match=r"names such as \['bar', 'foo'\]"):
        vt.weights.load(saved(tmp_path / "b.pth", {"foo": torch.zeros(1), "bar": torch.zeros(1)}))


PARTS = {
    "pooler": {"pooler.dense.weight": torch.zeros(64, 64), "pooler.dense.bias": torch.zeros(64)},
    "pre_logits": {"pre_logits.fc.weight": torch.zeros(64, 64)},
    "nothing": {},
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_behind_the_last_block_go_with_a_new_head(part, tmp_path):
    model = model_of()
    state = {n: t for n, t in model.state_dict().items() if not n.startswith("head")}
    path = saved(tmp_path / "a.pth", state | PARTS[part])
    with pytest.raises(ValueError, match="num_classes for a new head"):
        vt.weights.load(path, num_heads=1)
    new = vt.weights.load(path, num_heads=1, num_classes=5)
    picture = torch.ones(1, 3, 32, 32)
    assert new.head.out_features == 5 and torch.equal(
        new.features(picture), model.features(picture)
    )


# --- Weights: kinds of files ----------


@pytest.mark.parametrize("name", ["a.ckpt", "a.pth.tar", "a.PTH", "a.bin", "a"])
def test_the_content_says_what_a_file_is(name, tmp_path, monkeypatch):
    model = model_of()
    saved(tmp_path / name, model.state_dict())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert equal(model, vt.weights.load(f"~/{name}", num_heads=1))
    np.savez(tmp_path / "b.npz", **vt.weights.to_google(model))
    shutil.copy(tmp_path / "b.npz", tmp_path / name)
    assert equal(model, vt.weights.load(tmp_path / name))


def test_objects_in_a_file_are_named_and_no_advice_is_given_to_run_them(tmp_path):
    path = saved(tmp_path / "a.pth", {"model": model_of().state_dict(), "where": Path("x")})
    with pytest.raises(ValueError, match="holds Python objects .*never executed") as caught:
        vt.weights.load(path, num_heads=1)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    model = model_of()
    with torch.no_grad():
        model.head.bias[1] = value
    path = saved(tmp_path / "a.pth", model.state_dict())
    with pytest.raises(ValueError, match="not finite, in head.bias"):
        vt.weights.load(path, num_heads=1)


def test_one_flipped_bit_of_a_pytorch_file_is_seen(tmp_path):
    path = saved(tmp_path / "a.pth", model_of().state_dict())
    data, random = path.read_bytes(), np.random.RandomState(0)
    for place in random.randint(len(data) // 4, 3 * len(data) // 4, 40):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(ValueError, match="does not have its check sum|damaged"):
            vt.weights.load(path, num_heads=1)


# --- Weights: saving ----------


def test_save_unwraps_and_refuses_what_load_would_not_take(tmp_path):
    model = model_of(NANO)
    for wrapped in (torch.compile(model), nn.DataParallel(model)):
        path = vt.weights.save(wrapped, tmp_path / "a.safetensors")
        assert equal(model, vt.weights.load(path))
    with pytest.raises(ValueError, match=r"save\(model.model, ...\)"):
        vt.weights.save(Enlarged(model), path)
    with torch.no_grad():
        model.head.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="not finite, in head.weight: float16 ends at 65504"):
        vt.weights.save(model, path, half=True)
    vt.weights.save(model, path)


def test_equal_models_give_equal_files_with_the_users_permissions(tmp_path):
    contents = set()
    for number in range(4):
        model = model_of(NANO)
        vt.weights.remember(model, ((0.5,) * 3, (0.25,) * 3), [str(i) for i in range(10)])
        path = vt.weights.save(model, tmp_path / f"{number}.safetensors", accuracy=0.5, data="x")
        contents.add(path.read_bytes())
    assert len(contents) == 1
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert equal(model, vt.weights.load(path))


# --- What a model carries ----------


COLOURS = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_mean_deviation_classes_and_preset_travel_in_the_file(tmp_path):
    model = model_of(NANO)
    vt.weights.remember(model, COLOURS, IMAGES.classes, "CIFAR-ViT-Nano")
    path = vt.weights.save(model, tmp_path / "a.safetensors")
    header = vt.weights.read_metadata(path)
    assert header["mean"] == [0.5] * 3 and header["classes"] == list(IMAGES.classes)
    again = vt.weights.load(path)
    assert vt.weights.normalisation_of(again) == COLOURS and again.preset == "CIFAR-ViT-Nano"
    assert vt.weights.classes_of(again) == IMAGES.classes
    assert vt.weights.classes_of(vt.weights.load(path, num_classes=4)) is None
    assert vt.weights.normalisation_of(vt.weights.load(path, num_classes=4)) == COLOURS
    again.reset_head(10)  # other classes, perhaps
    assert vt.weights.classes_of(again) is None


def test_what_it_carries_is_used(tmp_path):
    model, other = model_of(NANO), model_of(NANO)
    vt.weights.remember(model, COLOURS)
    x = IMAGES.images[:1]
    by_hand = vt.probe.examine(model, vt.data.normalise(x, *COLOURS)).weights
    assert torch.equal(vt.probe.examine(model, x[0]).weights, by_hand)
    assert not torch.equal(vt.probe.examine(other, x[0]).weights, by_hand)
    explorer = vt.widgets.AttentionExplorer.from_model(model, x[0])
    assert torch.allclose(explorer.shown_weights(), by_hand[0].double(), atol=0.01)
    logits = model(vt.data.normalise(IMAGES.images, *COLOURS))
    loss = nn.functional.cross_entropy(logits, IMAGES.labels).item()
    assert vt.train.evaluate(model, IMAGES)[1] == pytest.approx(loss, rel=1e-5)
    assert vt.train.evaluate(other, IMAGES)[1] != pytest.approx(loss, rel=1e-3)
    trainer = vt.train.Trainer(model, IMAGES, IMAGES, SETTINGS)
    assert trainer.normalisation == COLOURS
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    trainer.step()
    assert seen[0].amax() <= 2 + 1e-5 and seen[0].amin() >= -2 - 1e-5
    best = trainer.finish()
    assert vt.weights.classes_of(best) == IMAGES.classes
    path = vt.weights.save(best, tmp_path / "a.safetensors")
    assert vt.weights.read_metadata(path)["std"] == [0.25] * 3


def test_the_command_writes_them_for_the_page_too(tmp_path):
    out = tmp_path / "x"
    line = f"--preset CIFAR-ViT-Nano --dataset shapes --steps 1 --batch-size 4 --out {out}"
    assert train_command(line.split() + ["--threads", "1"]) == 0
    header = vt.weights.read_metadata(out / "weights.safetensors")
    assert header["mean"] == list(vt.data.MEAN) and header["std"] == list(vt.data.STD)
    assert header["classes"] == list(IMAGES.classes) and header["preset"] == "CIFAR-ViT-Nano"
    assert header["config"].num_heads == 4


@pytest.mark.parametrize("change", [
    {"std": [0, 1, 1]}, {"mean": "blue"}, {"std": [0.5] * 2}, {"mean": [10**400] * 3},
])  # fmt: skip
def test_a_header_whose_colours_cannot_be_right_is_refused(change, tmp_path):
    path = vt.weights.save(model_of(NANO), tmp_path / "a.safetensors", **change)
    with pytest.raises(ValueError, match="damaged header: (mean|std)="):
        vt.weights.load(path)


def test_classes_in_another_order_are_refused():
    model = model_of(NANO)
    vt.weights.remember(model, classes=IMAGES.classes[::-1])
    with pytest.raises(ValueError, match="the same names in another order"):
        vt.train.evaluate(model, IMAGES)


@pytest.mark.parametrize("classes", [5, 1000])
@pytest.mark.parametrize("own", [True, False])
def test_model_and_images_of_different_numbers_of_classes(own, classes):
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3072, classes))
    model = model_of(replace(NANO, num_classes=classes)) if own else linear
    message = rf"{classes}.*must be.*10.*number of classes of the images"
    with pytest.raises(ValueError, match=message):
        vt.train.evaluate(model, IMAGES)
    with pytest.raises(ValueError, match=message):
        vt.train.train(model, IMAGES, IMAGES, replace(SETTINGS, optimizer="adamw"), quiet=True)


def test_numbers_for_normalising_that_cannot_be_right():
    with pytest.raises(ValueError, match=r"images=0..255 must lie in 0..1 as floats"):
        vt.data.normalise(IMAGES.images.float())
    with pytest.raises(ValueError, match="normalise only once"):
        vt.data.normalise(vt.data.normalise(IMAGES.images))
    for values in ((0, 0, 0), (0.5, 0.5), 0.5, (float("nan"),) * 3, "abc"):
        with pytest.raises(ValueError, match="std=.* must be positive numbers"):
            vt.data.normalise(IMAGES.images, std=values)
    assert vt.data.normalise(IMAGES.images / 255).shape == IMAGES.images.shape


# --- One channel ----------


def test_grey_models_and_coloured_pictures(tmp_path):
    grey = model_of(replace(NANO, in_channels=1))
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 40), "red").save(file)
    for use in (lambda: vt.probe.examine(grey, file), lambda: vt.train.evaluate(grey, IMAGES),
                lambda: vt.train.train(grey, IMAGES, IMAGES, SETTINGS, quiet=True)):  # fmt: skip
        with pytest.raises(ValueError, match=r"must be.*in_channels=3"):
            use()
    path = vt.weights.save(grey, tmp_path / "grey.safetensors")
    assert vt.weights.load(path, in_channels=3).config.in_channels == 3
    state = saved(tmp_path / "a.pth", model_of().state_dict())
    colour = vt.weights.load(state, num_heads=1)
    one = vt.weights.load(state, num_heads=1, in_channels=1)
    x = torch.rand(1, 1, 32, 32)
    assert torch.allclose(one(x), colour(x.expand(1, 3, 32, 32)), atol=1e-5)


def test_a_model_without_positions_can_be_resized():
    config = replace(NANO, position="none")
    state, larger = vt.weights.adapt(model_of(config).state_dict(), config, image_size=64)
    files.load_strict(vt.zoo.build(larger), state)


# --- Pictures ----------


def in_class(tmp_path, name, values):
    file = tmp_path / "mine" / "a" / name
    file.parent.mkdir(parents=True)
    Image.fromarray(values).save(file)
    return file


@pytest.mark.parametrize("name, values, expected", [
    ("f.tif", np.full((8, 8), 0.5, np.float32), 128),
    ("w.tif", np.full((8, 8), 1.0, np.float32), 255),
    ("i.png", np.full((8, 8), 40_000, np.uint16), 156),
    ("i.tif", np.full((8, 8), 65_535, np.uint16), 255),
    ("k.png", np.zeros((8, 8), np.uint16), 0),
    ("b.png", np.full((8, 8), True), 255),
])  # fmt: skip
def test_more_than_eight_bits_are_scaled_by_the_stated_rule(name, values, expected, tmp_path):
    file = in_class(tmp_path, name, values)
    assert vt.data.folder(tmp_path / "mine", 8).images.unique().tolist() == [expected]
    assert vt.probe.fit_picture(file, NANO).unique().tolist() == [expected]


@pytest.mark.parametrize("name, values, mode", [
    ("f.tif", np.full((8, 8), 40_000, np.float32), "F"),
    ("n.tif", np.full((8, 8), np.nan, np.float32), "F"),
    ("i.tif", np.full((8, 8), 200, np.int32), "I"),
    ("t.png", np.full((8, 8), 2048, np.uint16), "I;16"),
])  # fmt: skip
def test_pictures_of_unknown_brightness_are_named(name, values, mode, tmp_path):
    file = in_class(tmp_path, name, values)
    for use in (lambda: vt.data.folder(tmp_path / "mine", 8), lambda: read_picture(file, 8)):
        with pytest.raises(vt.data.DataError, match=rf"{name} \(mode {mode}.* with values"):
            use()


def picture(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(file, "PNG")


def test_what_is_passed_over_in_a_folder_is_said(tmp_path, capsys):
    for name in ("cat/1.png", "dog/1.png", "loose.png"):
        picture(tmp_path / name)
    (tmp_path / "cat" / "notes").mkdir()
    for name in ("IMG_1.HEIC", "a.pdf", "b.mpg", "c.eps", "notes/x.txt"):
        (tmp_path / "cat" / name).write_bytes(b"%!PS-Adobe")
    assert len(vt.data.folder(tmp_path, 8)) == 2
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "4 files that are no picture" in said
    for words in (".HEIC", ".pdf", ".mpg", ".eps", "1 folders without pictures (notes",
                  "1 pictures outside of the class folders (loose.png"):  # fmt: skip
        assert words in said
    shutil.rmtree(tmp_path / "dog")
    vt.data.folder(tmp_path, 8)
    assert "there is one class only, 'cat'" in capsys.readouterr().out


def test_a_folder_of_another_depth_is_refused(tmp_path):
    picture(tmp_path / "deep" / "cat" / "1.png")
    picture(tmp_path / "deep" / "cat" / "2024" / "2.png")
    with pytest.raises(vt.data.DataError, match="2024 holds pictures, but a class is one folder"):
        vt.data.folder(tmp_path / "deep", 8)
    for name in ("train/cat/1.png", "test/cat/1.png", "train/p.png", "test/p.png"):
        picture(tmp_path / "high" / name)
    with pytest.raises(vt.data.DataError, match="did you mean path='.*high/train'"):
        vt.data.folder(tmp_path / "high", 8)


def test_no_program_is_run_for_a_picture(tmp_path):
    picture(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "2.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(vt.data.DataError, match="2.png"):
        vt.data.folder(tmp_path, 8)


@pytest.mark.parametrize("each", [1, 2])
def test_one_or_two_pictures_a_class(each, tmp_path):
    for name in ("cat", "dog"):
        for number in range(each):
            picture(tmp_path / name / f"{number}.png")
    with pytest.raises(ValueError, match=rf"holds {2 * each} pictures: at least 6 are needed"):
        load_sets(str(tmp_path), 5000)
    for number in range(6):
        picture(tmp_path / "dog" / f"{number}.png")
    for rare in (1, 2, 3):
        shutil.rmtree(tmp_path / "cat")
        for number in range(rare):
            picture(tmp_path / "cat" / f"{number}.png")
        for seed in range(6):
            try:
                training, _, _ = load_sets(str(tmp_path), 5000, seed)
                assert training.labels.bincount(minlength=2).min() > 0
            except ValueError as error:
                assert "too few pictures of 'cat'" in str(error)


def test_a_data_set_by_a_wrong_name_or_of_one_class(tmp_path):
    with pytest.raises(ValueError, match="dataset='CIFAR10' must be cifar10, cifar100, shapes or"):
        load_sets("CIFAR10", 100)
    for number in range(9):
        picture(tmp_path / "cat" / f"{number}.png")
    with pytest.raises(ValueError, match="has one class: there is nothing to tell it from"):
        load_sets(str(tmp_path), 100)


# --- Where the data lie ----------


def test_a_wrong_variable_is_no_reason_to_draw_shapes(tmp_path, monkeypatch):
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere, which VIT_TEACH_DATA names, does not"):
        vt.data.load_or_shapes("cifar10")
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"VIT_TEACH_DATA names, as cifar-10-batches-py/,"):
        vt.data.load_or_shapes("cifar10")
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test-0.parquet").touch()
    for name in ("cifar10", "cifar10/cifar-10-batches-py"):
        inner = tmp_path / name
        inner.mkdir(exist_ok=True)
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path / "cifar10"))
    with pytest.raises(FileNotFoundError, match=f"lies in {tmp_path}: give that folder, not"):
        vt.data.load("cifar10", "train")


def test_a_root_is_a_path_or_text(tmp_path):
    nested = tmp_path / cifar.PUBLISHED["cifar10"].folder / cifar.PUBLISHED["cifar10"].folder
    nested.mkdir(parents=True)
    (nested / "test_batch").touch()
    for root in (tmp_path, str(tmp_path)):
        with pytest.raises(FileNotFoundError, match=f"one folder too deep: move {nested} to"):
            vt.data.load("cifar10", "test", root=root)
    for root in (5, b"x\0", "~nobody-of-this-name/x"):
        with pytest.raises(ValueError, match="root=.* must be a path"):
            vt.data.load("cifar10", "test", root=root)


def test_without_the_repository_the_recorded_things_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "WEIGHTS", tmp_path / "gone")
    with pytest.raises(ValueError, match="this package is installed without it"):
        vt.weights.recorded("cifar-vit-20min")
    from vit_teach.results import cards

    monkeypatch.setattr(cards, "RESULTS", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="this package is installed without it"):
        vt.results.recorded("train")


@pytest.mark.parametrize("name", ["meta", "xla", "tpu", [5]])
def test_devices_that_cannot_train_are_refused(name):
    with pytest.raises(ValueError, match="device=.* must be 'auto', 'cpu', 'cuda' or 'mps'"):
        vt.train.Trainer(model_of(NANO), IMAGES, IMAGES, replace(SETTINGS, device=name))
