"""Other libraries' weights: equal outputs, the same bits there and back, nothing executed."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_tools import close, few, pictures, randomise
from safetensors.torch import save_file
from scipy import special
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT
from transformers import ViTConfig as HuggingFaceConfig
from transformers import ViTForImageClassification

from vit_teach import VisionTransformer, ViTConfig
from vit_teach.weights import fetching, fitting, layouts, opening, released, settling, sizes
from vit_teach.weights.files import load_strict

CONFIG = ViTConfig(
    image_size=16, patch_size=4, num_classes=7, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0
)
TOLERANCES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]


def ours(config=CONFIG, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return randomise(VisionTransformer(config)).to(dtype).eval()


# --- Libraries ----------


def timm_model(pool, dtype):
    torch.manual_seed(1)
    model = TimmViT(
        img_size=16, patch_size=4, num_classes=7, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2.0,
        global_pool="token" if pool == "cls" else "avg", class_token=pool != "no token",
    )  # fmt: skip
    return randomise(model).to(dtype).eval()


@pytest.mark.parametrize("dtype, tolerance", TOLERANCES)
@pytest.mark.parametrize("pool", ["cls", "mean", "no token"])
def test_timm(pool, dtype, tolerance, tmp_path):
    theirs = timm_model(pool, dtype)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    state = settling.to_ours(opening.read(tmp_path / "model.pth"))
    config = sizes.infer_config(state, num_heads=3)
    assert config.fc_norm == (pool != "cls") and config.class_token == (pool != "no token")
    model = VisionTransformer(config).to(dtype).eval()
    load_strict(model, state)
    images = pictures(3, 3, 16, 16, dtype=dtype)
    close(model(images), theirs(images), tolerance)
    assert all(
        torch.equal(tensor, theirs.state_dict()[name])
        for name, tensor in layouts.to_timm(model.state_dict()).items()
    )


@pytest.mark.parametrize("dtype, tolerance", TOLERANCES)
def test_torchvision(dtype, tolerance, tmp_path):
    torch.manual_seed(1)
    theirs = randomise(TorchvisionViT(16, 4, 2, 3, 24, 48, num_classes=7)).to(dtype).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    state = settling.to_ours(opening.read(tmp_path / "model.safetensors"))
    model = VisionTransformer(sizes.infer_config(state, num_heads=3)).to(dtype).eval()
    load_strict(model, state)
    images = pictures(3, 3, 16, 16, dtype=dtype)
    close(model(images), theirs(images), tolerance)


def huggingface_model(eps=1e-6):
    torch.manual_seed(1)
    config = HuggingFaceConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=16, patch_size=4, num_labels=7, layer_norm_eps=eps,
    )  # fmt: skip
    return randomise(ViTForImageClassification(config)).eval()


# What transformers 5 calls a part of a layer, and what the files on the hub call it.
OLD_NAMES = {
    "attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["transformers 5", "files on the hub"])
@pytest.mark.parametrize("dtype, tolerance", TOLERANCES)
def test_huggingface(dtype, tolerance, old):
    theirs = huggingface_model().to(dtype)
    state = theirs.state_dict()
    if old:
        for new_name, old_name in OLD_NAMES.items():
            state = {name.replace(new_name, old_name): t for name, t in state.items()}
        state = {name.replace("vit.layers.", "vit.encoder.layer."): t for name, t in state.items()}
    mine = settling.to_ours(state)
    model = VisionTransformer(sizes.infer_config(mine, num_heads=3)).to(dtype).eval()
    load_strict(model, mine)
    images = pictures(3, 3, 16, 16, dtype=dtype)
    close(model(images), theirs(pixel_values=images).logits, tolerance)


def test_huggingfaces_own_epsilon_changes_little():
    theirs = huggingface_model(eps=1e-12).double()
    mine = settling.to_ours(theirs.state_dict())
    model = VisionTransformer(sizes.infer_config(mine, num_heads=3)).double().eval()
    load_strict(model, mine)
    images = pictures(3, 3, 16, 16, dtype=torch.float64)
    difference = (model(images) - theirs(pixel_values=images).logits).abs().max()
    assert 1e-9 < difference < 1e-3  # there, and small


def test_a_part_of_query_key_value_is_not_enough():
    state = huggingface_model().state_dict()
    del state["vit.layers.1.attention.k_proj.bias"]
    with pytest.raises(ValueError, match="not all of query, key and value"):
        layouts.from_huggingface(state)
    with pytest.raises(ValueError, match="'pooler.dense.bias', which is not a name in Hugging"):
        layouts.from_huggingface({"vit.pooler.dense.bias": torch.zeros(1)})


# --- Google's arrays ----------


def google_forward(arrays, images, erf=True):
    """The original model written down once more, in numpy, straight from the arrays' layout."""
    a = {name: np.asarray(array, np.float64) for name, array in arrays.items()}

    def norm(x, name):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-6) * a[f"{name}/scale"] + a[f"{name}/bias"]

    kernel = a["embedding/kernel"]  # (P, P, C, D)
    P = kernel.shape[0]
    B, H, W, C = images.shape
    cut = images.reshape(B, H // P, P, W // P, P, C)
    x = np.einsum("bypxqc,pqcd->byxd", cut, kernel) + a["embedding/bias"]
    x = x.reshape(B, -1, x.shape[-1])
    x = np.concatenate([np.repeat(a["cls"], B, axis=0), x], axis=1)
    x = x + a["Transformer/posembed_input/pos_embedding"]
    depth = len({n.split("/")[1] for n in a if n.startswith("Transformer/encoderblock")})
    for i in range(depth):
        block = f"Transformer/encoderblock_{i}"
        y, msa = norm(x, f"{block}/LayerNorm_0"), f"{block}/MultiHeadDotProductAttention_1"
        q, k, v = (
            np.einsum("btd,dhe->bhte", y, a[f"{msa}/{part}/kernel"])
            + a[f"{msa}/{part}/bias"][None, :, None]
            for part in ("query", "key", "value")
        )
        weights = special.softmax(np.einsum("bhte,bhse->bhts", q, k) / q.shape[-1] ** 0.5, axis=-1)
        mixed = np.einsum("bhts,bhse->bthe", weights, v)
        x = x + np.einsum("bthe,hed->btd", mixed, a[f"{msa}/out/kernel"]) + a[f"{msa}/out/bias"]
        y, mlp = norm(x, f"{block}/LayerNorm_2"), f"{block}/MlpBlock_3"
        y = y @ a[f"{mlp}/Dense_0/kernel"] + a[f"{mlp}/Dense_0/bias"]
        y = y * 0.5 * (1 + special.erf(y / 2**0.5))
        x = x + y @ a[f"{mlp}/Dense_1/kernel"] + a[f"{mlp}/Dense_1/bias"]
    x = norm(x, "Transformer/encoder_norm")[:, 0]
    return x @ a["head/kernel"] + a["head/bias"]


def google_arrays(seed=0, D=24, H=3, M=48, P=4, T=17, K=7, depth=2):
    """Random arrays in Google's layout, made without our code."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) * 0.3

    arrays = {
        "embedding/kernel": draw(P, P, 3, D), "embedding/bias": draw(D), "cls": draw(1, 1, D),
        "Transformer/posembed_input/pos_embedding": draw(1, T, D),
        "Transformer/encoder_norm/scale": draw(D), "Transformer/encoder_norm/bias": draw(D),
        "head/kernel": draw(D, K), "head/bias": draw(K),
    }  # fmt: skip
    for i in range(depth):
        block = f"Transformer/encoderblock_{i}"
        for number in (0, 2):
            arrays[f"{block}/LayerNorm_{number}/scale"] = 1 + draw(D)
            arrays[f"{block}/LayerNorm_{number}/bias"] = draw(D)
        for part in ("query", "key", "value"):
            name = f"{block}/MultiHeadDotProductAttention_1/{part}"
            arrays |= {f"{name}/kernel": draw(D, H, D // H), f"{name}/bias": draw(H, D // H)}
        name = f"{block}/MultiHeadDotProductAttention_1/out"
        arrays |= {f"{name}/kernel": draw(H, D // H, D), f"{name}/bias": draw(D)}
        arrays |= {f"{block}/MlpBlock_3/Dense_0/kernel": draw(D, M)}
        arrays |= {f"{block}/MlpBlock_3/Dense_0/bias": draw(M)}
        arrays |= {f"{block}/MlpBlock_3/Dense_1/kernel": draw(M, D)}
        arrays |= {f"{block}/MlpBlock_3/Dense_1/bias": draw(D)}
    return arrays


def our_logits(arrays, images, dtype=torch.float64):
    state = layouts.from_google(arrays)
    model = VisionTransformer(sizes.infer_config(state, num_heads=3)).to(dtype).eval()
    load_strict(model, state)
    return model(torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype))


IMAGES = np.random.default_rng(5).normal(size=(3, 16, 16, 3))


@pytest.mark.parametrize("prefix", ["", *layouts.PREFIXES])
@pytest.mark.parametrize("dtype, tolerance", TOLERANCES)
def test_google(prefix, dtype, tolerance, tmp_path):
    arrays = google_arrays()
    np.savez(tmp_path / "model.npz", **{prefix + name: array for name, array in arrays.items()})
    expected = torch.from_numpy(google_forward(arrays, IMAGES)).to(dtype)
    close(our_logits(opening.read(tmp_path / "model.npz"), IMAGES, dtype), expected, tolerance)


def as_big_vision(arrays, stacked):
    """The same weights in big_vision's layout: the class token's position is part of the token."""
    renamed = {}
    for name, array in arrays.items():
        for old, new in (("LayerNorm_2", "LayerNorm_1"), ("Attention_1", "Attention_0")):
            name = name.replace(old, new)
        name = name.replace("MlpBlock_3", "MlpBlock_0")
        renamed[name] = array
    table = renamed.pop("Transformer/posembed_input/pos_embedding")
    renamed["cls"] = renamed["cls"] + table[:, :1]
    renamed["pos_embedding"] = table[:, 1:]
    if stacked:
        ends = [n.split("/", 2)[2] for n in renamed if n.startswith("Transformer/encoderblock_0/")]
        for end in ends:
            parts = [renamed.pop(f"Transformer/encoderblock_{i}/{end}") for i in (0, 1)]
            renamed[f"Transformer/encoderblock/{end}"] = np.stack(parts)
    return renamed


@pytest.mark.parametrize("stacked", [False, True])
def test_big_vision(stacked):
    arrays = google_arrays()
    expected = torch.from_numpy(google_forward(arrays, IMAGES))
    close(our_logits(as_big_vision(arrays, stacked), IMAGES), expected, 1e-10)


def test_to_google_and_back_is_bit_exact():
    model = ours()
    arrays = layouts.to_google(model.state_dict(), num_heads=3)
    expected = {name: array.shape for name, array in google_arrays().items()}
    assert {name: array.shape for name, array in arrays.items()} == expected
    again = layouts.from_google(arrays)
    assert set(again) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(again[name], tensor), name
    images = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    close(model(images), torch.from_numpy(google_forward(arrays, IMAGES)), 1e-10)


@pytest.mark.parametrize(
    "heads, change, message",
    [
        (5, {}, "num_heads=5 must divide the width 24"),
        (3, {"fc_norm.weight": torch.zeros(24)}, "has 'fc_norm.weight', which Google's layout"),
        (3, {"pos_embed": None}, "plain ViT, with 'pos_embed'"),
    ],
)
def test_what_googles_layout_cannot_hold(heads, change, message):
    state = {**ours().state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        layouts.to_google(state, heads)


def test_the_hidden_layer_of_the_first_release():
    hidden = {"pre_logits/kernel": np.zeros((24, 24)), "pre_logits/bias": np.zeros(24)}
    arrays = {**google_arrays(), **hidden}
    with pytest.raises(ValueError, match="pre_logits.*train a new head"):
        layouts.from_google(arrays)
    state = layouts.from_google(arrays, head=False)
    assert not any(name.startswith("head") for name in state) and "norm.weight" in state


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cls": np.zeros(24)}, r"'cls' has shape \(24,\); it must have 3 axes"),
        ({"head/kernel": None}, "arrays lacks 'head/kernel'"),
        ({"MAPHead_0/probe": np.zeros((1, 1, 24))}, "'MAPHead_0/probe', which is not in a ViT"),
    ],
)
def test_missing_and_misshapen_arrays(change, message):
    arrays = {**google_arrays(), **change}
    with pytest.raises(ValueError, match=message):
        layouts.from_google({n: a for n, a in arrays.items() if a is not None})


# --- Other classes, another resolution ----------


def test_a_new_head_is_zero_and_the_features_stay(tmp_path):
    model = ours(dtype=torch.float32)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    again = released.load(tmp_path / "model.pth", num_classes=3, num_heads=3)
    images = pictures(2, 3, 16, 16)
    assert torch.equal(again(images), torch.zeros(2, 3)) and not again.training
    assert torch.equal(again.features(images), model.features(images))
    same = released.load(tmp_path / "model.pth", num_heads=3)
    assert torch.equal(same(images), model(images))


@given(side=st.integers(2, 6), rule=st.sampled_from(["google", "timm", "hf"]))
@few
def test_another_resolution_changes_nothing_but_the_positions(side, rule):
    state = ours().state_dict()
    resized, config = fitting.adapt(state, CONFIG, image_size=4 * side, rule=rule)
    assert config.image_size == (4 * side, 4 * side) and config.num_classes == 7
    assert resized["pos_embed"].shape == (1, 1 + side * side, 24)
    assert torch.equal(resized["pos_embed"][:, 0], state["pos_embed"][:, 0])
    model = VisionTransformer(config).double()
    load_strict(model, resized)
    assert model(pictures(1, 3, 4 * side, 4 * side, dtype=torch.float64)).shape == (1, 7)
    for name, tensor in state.items():
        assert name == "pos_embed" or resized[name] is tensor


def test_sizes_are_read_off_the_shapes():
    wide = ViTConfig(
        image_size=(8, 24), patch_size=(4, 8), in_channels=1, num_classes=3, embed_dim=128, depth=3,
        num_heads=2, mlp_ratio=1.5,
    )  # fmt: skip
    state = VisionTransformer(wide).state_dict()
    assert sizes.infer_config(state, num_heads=2, image_size=(8, 24)) == wide
    with pytest.raises(ValueError, match="6 patches, not a square: give trained_size"):
        sizes.infer_config(state)


# --- Files that are wrong, damaged or hostile ----------


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def npy(array_header, data=b""):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, array_header)
    return file.getvalue() + data


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)


def pickled(path):
    path.write_bytes(pickle.dumps({"patch_embed.proj.weight": Bomb()}))


def wrapped_object(path):
    torch.save({"model": Bomb()}, path)


def object_array(path):
    np.savez(path, cls=np.array([Bomb()], dtype=object))


def false_shape(path):
    zipped(path, cls=npy({"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}))


def short_member(path):
    zipped(path, cls=npy({"descr": "<f4", "fortran_order": False, "shape": (2,)}, b"\0" * 20))


def not_an_array(path):
    zipped(path, cls=b"hello, this is no array")


def truncated(path):
    np.savez(path, **google_arrays())
    path.write_bytes(path.read_bytes()[:2000])


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("<html>404</html>")


def list_file(path):
    torch.save([torch.zeros(1)], path)


@pytest.mark.parametrize(
    "make, name",
    [
        (pickled, "a.pth"), (pickled, "a.bin"), (pickled, "a.npz"), (pickled, "a.safetensors"),
        (wrapped_object, "a.pth"), (object_array, "a.npz"), (false_shape, "a.npz"),
        (short_member, "a.npz"), (not_an_array, "a.npz"), (truncated, "a.npz"), (empty, "a.npz"),
        (empty, "a.pth"), (empty, "a.safetensors"), (text, "a.npz"), (text, "a.pth"),
        (text, "a.safetensors"), (list_file, "a.pth"), (text, "a.onnx"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_and_never_executed(make, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    make(path)
    with pytest.raises(ValueError, match=path.name):
        released.load(path)
    assert not Path("exploded").exists()


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LIMIT", 1e6)
    path = tmp_path / "bomb.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (500_000,)}
    zipped(path, cls=npy(header, b"\0" * 2_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="would unpack to"):
        released.load(path)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="no layout known for names such as"):
        settling.to_ours({"conv1.weight": torch.zeros(1)})
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    with pytest.raises(ValueError, match="no 'pos_embed': not a plain ViT"):
        sizes.infer_config(settling.to_ours(swin.state_dict()))


# --- By name ----------


@pytest.mark.parametrize("library", opening.LIBRARIES)
def test_without_a_network_it_says_what_to_fetch(library, monkeypatch):
    def offline(name):
        raise OSError("no network")

    for maker in ("_from_timm", "_from_torchvision", "_from_hub"):
        monkeypatch.setattr(fetching, maker, offline)
    message = f"{library}:vit could not be fetched .*no network.*give its path"
    with pytest.raises(RuntimeError, match=message):
        released.load(f"{library}:vit")


def test_a_missing_library_is_named(monkeypatch):
    def missing(name):
        raise ImportError("No module named 'timm'", name="timm")

    monkeypatch.setattr(fetching, "_from_timm", missing)
    with pytest.raises(RuntimeError, match="needs the package 'timm': pip install timm"):
        released.load("timm:vit_base_patch16_224")


def test_a_name_gives_the_librarys_own_weights(monkeypatch, capsys):
    theirs = timm_model("cls", torch.float32)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: theirs)
    model = released.load("timm:vit_tiny_patch16_224")
    assert model.config.num_heads == 3 and "assumed" not in capsys.readouterr().out
    images = pictures(2, 3, 16, 16)
    close(model(images), theirs(images), 1e-5)
