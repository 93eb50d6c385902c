"""XRay: a trained ViT runs in the page on the reader's own picture, open at every step.

The page ViT X-ray.
"""

import base64
import io
from pathlib import Path
from typing import Any

import torch
import traitlets
from PIL import Image, ImageDraw
from torch import Tensor

from ..arguments import explained
from ..baselines.resnet import ResNetConfig
from ..cost import macs, parameters
from ..data.imageset import normalise
from ..data.pictures import fit, photograph
from ..paths import WEIGHTS
from ..probe.attention import rollout
from ..vit.model import VisionTransformer, ViTConfig
from ..vit.patches import to_pair
from ..weights import normalisation_of
from ..weights.files import load, read_metadata
from ..zoo import config_to_dict
from .attention_explorer import quantise
from .shared.base import FOLDER, BookWidget, data_uri, red_blue, require

LIMIT = 4_000_000  # bytes of weights that a page may load
SIDE = 96  # pixels of a sample
OPENS_WITH = (1, 1)  # block and head, from 0
Colour = tuple[int, int, int]
RUNS = ("ViTConfig", "HybridConfig", "ResNetConfig")  # the kinds of model that the engine runs
# The book's models that a reader may put side by side, and what to call them.
TITLES = {
    "cifar-vit-20min": "ViT, 20 minutes",
    "cifar-vit-90min": "ViT, 90 minutes",
    "cifar-hybrid": "Hybrid",
    "cifar-hybrid-evening": "Hybrid, one evening",
    "cifar-cnn": "CNN",
}
# The engine's parts, in this order.
ENGINE = (
    "files", "layers", "models", "arithmetic", "convolution", "offsets", "vit", "forward",
    "readings", "explain", "resize", "edit", "decode", "worker",
)  # fmt: skip


def engine_source() -> str:
    """The text of the engine, one ES module: its parts in their order.

    >>> "export function forward" in engine_source()
    True
    """
    return "\n".join((FOLDER / "engine" / f"{part}.js").read_text("utf-8") for part in ENGINE)


def weights_file(name: str) -> Path:
    """The path of one of the book's own trained models.

    Raises ``ValueError`` if there is none of this name, the page does not run models of its kind,
    or it is larger than 4 MB.

    >>> weights_file("cifar-vit-20min").suffix
    '.safetensors'
    """
    path = WEIGHTS / f"{name}.safetensors"
    known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
    require(path.stem in known, "name", name, f"must be one of {known}")
    size = path.stat().st_size
    require(size <= LIMIT, "name", name, f"has {size} bytes of weights, more than {LIMIT}")
    kind = type(read_metadata(path)["config"]).__name__
    require(kind in RUNS, "name", name, f"is a {kind}; the page runs {', '.join(RUNS)}")
    return path


def models() -> list[dict[str, str]]:
    """The book's models that the page offers side by side: those of whom there are weights.

    Returns dictionaries with the name of the file and what to call the model.

    >>> models()[0]
    {'name': 'cifar-vit-20min', 'title': 'ViT, 20 minutes'}
    """
    return [
        {"name": name, "title": title}
        for name, title in TITLES.items()
        if (WEIGHTS / f"{name}.safetensors").is_file()
    ]


def site_files() -> dict[str, str]:
    """What the site keeps beside its pages until a reader asks for it: the engine, the models.

    Returns texts by name; a model's file is in base64.

    >>> sorted(site_files())[-1]
    'vit_engine'
    """
    files = {"vit_engine": engine_source()}
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        try:
            weights_file(path.stem)
        except ValueError:
            continue  # too large, or the paper's hybrid: not for a page
        files[path.stem] = base64.b64encode(path.read_bytes()).decode()
    return files


def _sky(pen: Any, low: Colour, high: Colour) -> None:
    for y in range(SIDE):
        share = y / SIDE
        colour = tuple(round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
        pen.line([(0, y), (SIDE, y)], fill=colour)


def _aeroplane(pen: Any) -> None:
    _sky(pen, (96, 150, 214), (190, 215, 236))
    pen.polygon([(10, 44), (22, 38), (78, 42), (88, 48), (78, 54), (22, 52)], fill=(238, 240, 243))
    pen.polygon([(44, 47), (30, 76), (40, 76), (62, 48)], fill=(176, 184, 194))
    pen.polygon([(46, 43), (38, 24), (46, 24), (60, 43)], fill=(205, 211, 219))
    pen.polygon([(14, 42), (8, 26), (16, 26), (28, 41)], fill=(196, 60, 50))


def _ship(pen: Any) -> None:
    _sky(pen, (160, 200, 232), (222, 234, 240))
    pen.rectangle([(0, 58), (SIDE, SIDE)], fill=(34, 84, 128))
    pen.polygon([(12, 50), (86, 50), (76, 70), (22, 70)], fill=(150, 40, 36))
    pen.rectangle([(34, 34), (64, 50)], fill=(240, 240, 236))
    pen.rectangle([(46, 18), (54, 34)], fill=(60, 60, 66))
    for x in range(0, SIDE, 12):
        pen.line([(x, 80), (x + 6, 78), (x + 12, 80)], fill=(96, 146, 186))


def _truck(pen: Any) -> None:
    _sky(pen, (205, 214, 220), (228, 228, 224))
    pen.rectangle([(0, 66), (SIDE, SIDE)], fill=(104, 104, 106))
    pen.rectangle([(10, 28), (60, 66)], fill=(196, 48, 40))
    pen.polygon([(62, 40), (76, 40), (86, 52), (86, 66), (62, 66)], fill=(236, 190, 60))
    pen.polygon([(66, 44), (75, 44), (81, 52), (66, 52)], fill=(120, 160, 190))
    for x in (20, 44, 70):
        pen.ellipse([(x - 7, 60), (x + 7, 74)], fill=(26, 26, 28))
        pen.ellipse([(x - 3, 64), (x + 3, 70)], fill=(180, 180, 184))


def samples() -> list[dict[str, str]]:
    """Small pictures to begin with: three drawn here, and matplotlib's photograph.

    Returns dictionaries with a name and the picture as text.

    >>> [sample["name"] for sample in samples()]
    ['drawn aeroplane', 'drawn ship', 'drawn truck', 'photograph']
    """
    drawings = {"aeroplane": _aeroplane, "ship": _ship, "truck": _truck}
    found = []
    for name, draw in drawings.items():
        picture = Image.new("RGB", (SIDE, SIDE))
        draw(ImageDraw.Draw(picture))
        found.append({"name": f"drawn {name}", "source": _packed(picture)})
    pixels = photograph((SIDE, SIDE)).permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
    return [*found, {"name": "photograph", "source": data_uri(pixels, "JPEG", quality=85)}]


def _packed(picture: Any) -> str:
    import numpy as np

    return data_uri(np.asarray(picture))


def _sizes(config: ViTConfig) -> dict[str, Any]:
    """A configuration as the engine tells it: with the sizes that follow from it."""
    sizes = ("grid_size", "num_patches", "num_tokens", "head_dim", "mlp_dim")
    return {**config_to_dict(config), **{name: getattr(config, name) for name in sizes}}


def _lens(model: VisionTransformer, out: dict[str, Tensor]) -> Tensor:
    """The classifier applied before the first block and after each: (L + 1, K)."""
    levels = [out["tokens"], *(out[f"blocks.{i}"] for i in range(model.config.depth))]
    return torch.cat([model.head(model.fc_norm(model.pool(model.norm(x)))) for x in levels])


def _maps(weights: Tensor, token: int) -> Tensor:
    """Where one token looks: weights (L, H, T, T) to (L, H + 1, T), rollout after the heads."""
    rolled = [rollout(weights[: block + 1])[token] for block in range(len(weights))]
    return torch.cat([weights[:, :, token], torch.stack(rolled)[:, None]], dim=1)


def _lengths(config: ViTConfig, out: dict[str, Tensor], token: int) -> dict[str, Any]:
    """The lengths of the vectors on a token's way, as the map draws them, of one picture's run.

    ``agree`` is how much of the tokens' length is left after averaging; 1 for a class token.
    """

    def length(name: str, row: int = token) -> float:
        return round(float(out[name][0, row].norm()), 4)

    vector = out["patch_embed"][0, token - config.prefix_tokens]  # (D,)
    tokens = out["norm"][0, config.prefix_tokens :]  # (N, D)
    agree = 1.0 if config.pool == "cls" else tokens.mean(0).norm() / tokens.norm(dim=1).mean()
    blocks = [f"blocks.{i}" for i in range(config.depth)]
    return {
        "patch": round(float(vector.norm()), 4),
        "position": round(float((out["tokens"][0, token] - vector).norm()), 4),
        "stream": [length("tokens"), *map(length, blocks)],
        "attn": [length(f"{name}.attn") for name in blocks],
        "mlp": [length(f"{name}.mlp") for name in blocks],
        "agree": round(float(agree), 4),
    }


def answer(path: Path, source: str, block: int, head: int) -> dict[str, Any]:
    """What a model says of a picture, as a page can carry it: about 10 kB for JSON.

    ``path`` is a weight file, ``source`` a picture as text (:func:`samples`); ``block`` and
    ``head`` (from 0) are those that the page opens with. Returns what the script needs to draw
    picture, scores, lens, and of the patch in the middle its attention and its way.

    >>> path = weights_file("cifar-vit-20min")
    >>> found = answer(path, samples()[0]["source"], block=0, head=0)
    >>> found["about"]["classes"][max(range(10), key=found["logits"].__getitem__)]
    'airplane'
    """
    model = load(path).eval()
    assert isinstance(model, VisionTransformer)  # the X-ray opens with no other
    config, metadata = model.config, read_metadata(path)
    mean, std = normalisation_of(model)
    picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB")
    pixels = fit(picture, to_pair(config.image_size, "image_size"))  # (3, H, W)
    with torch.no_grad():
        logits, out = model(normalise(pixels[None], mean, std), intermediates=True)
        lens = _lens(model, out)
    weights = torch.cat([out[f"blocks.{i}.attn.weights"] for i in range(config.depth)])
    rows, columns = config.grid_size
    token = config.prefix_tokens + rows // 2 * columns + columns // 2
    steps, scales = quantise(_maps(weights, token).flatten(0, 1))
    return {
        "about": {
            "config": _sizes(config), "classes": metadata["classes"], "mean": mean, "std": std,
            "parameters": parameters(config), "macs": macs(config),
            "metadata": {"test_accuracy": metadata["test_accuracy"]},
        },
        "bytes": base64.b64encode(pixels.numpy().tobytes()).decode(),
        "logits": [round(score, 5) for score in logits[0].tolist()],
        "lens": [[round(score, 4) for score in level] for level in lens.tolist()],
        "token": token, "block": block, "head": head,
        "steps": base64.b64encode(steps.numpy().tobytes()).decode(),
        "scales": [round(scale, 9) for scale in scales.tolist()],
        "flow": _lengths(config, out, token),
    }  # fmt: skip


class XRay(BookWidget):
    """The book's own ViT at work: from a picture to class probabilities, stage by stage.

    ``name`` is one of the book's trained models (data/weights), a ViT or a hybrid. The widget opens
    with the model's answer for the first sample, worked out here. In Jupyter the weights come with
    the widget; on a page of the site they are fetched at the first touch. Another of the book's
    models (:func:`models`) can stand beside it: its weights come when the reader chooses it. Raises
    ``ValueError`` for a model that does not exist, is too large or is a CNN.

    >>> XRay("cifar-vit-20min").size < 4_000_000
    True
    """

    MODULE = "xray"
    name = traitlets.Unicode().tag(sync=True)
    size = traitlets.Int().tag(sync=True)
    samples = traitlets.List(traitlets.Dict()).tag(sync=True)
    models = traitlets.List(traitlets.Dict()).tag(sync=True)
    opening = traitlets.Dict().tag(sync=True)
    engine = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)

    @explained
    def __init__(self, name: str = "cifar-vit-20min", **settings: Any) -> None:
        path = weights_file(name)
        self._about = read_metadata(path)
        is_cnn = isinstance(self._about["config"], ResNetConfig)
        require(not is_cnn, "name", name, "is a CNN: it has no attention to open with")
        pictures = samples()
        super().__init__(
            name=name,
            size=path.stat().st_size,
            samples=pictures,
            models=models(),
            opening=answer(path, pictures[0]["source"], *OPENS_WITH),
            engine=engine_source(),
            weights=path.read_bytes(),
            **settings,
        )
        self.on_msg(self._give_weights)

    def _give_weights(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Answer the script's question for another model's weights."""
        name = message.get("weights") if isinstance(message, dict) else None
        if isinstance(name, str) and name in [model["name"] for model in self.models]:
            self.send({"weights": name}, [weights_file(name).read_bytes()])

    def static_state(self) -> dict[str, Any]:
        """What the page needs at once: engine and weights come later, from scripts of their own."""
        state = super().static_state()
        return {key: state[key] for key in ("name", "size", "samples", "models", "opening")}

    def files(self) -> dict[str, str]:
        wanted = {"vit_engine", self.name, *(model["name"] for model in self.models)}
        return {name: text for name, text in site_files().items() if name in wanted}

    def _shown(self) -> tuple[Tensor, Tensor]:
        """The picture (3, H, W), uint8, and the maps (L, H + 1, N) that the page opens with."""
        opening, config = self.opening, self._about["config"]
        pixels = torch.frombuffer(bytearray(base64.b64decode(opening["bytes"])), dtype=torch.uint8)
        steps = torch.frombuffer(bytearray(base64.b64decode(opening["steps"])), dtype=torch.uint8)
        maps = steps.view(config.depth, config.num_heads + 1, config.num_tokens)
        return pixels.view(3, *config.image_size), maps[:, :, config.prefix_tokens :]

    def _shares(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, the best first."""
        shares = torch.tensor(self.opening["logits"]).softmax(dim=0).tolist()
        pairs = zip(self._about["classes"], shares, strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])

    def describe(self) -> str:
        config, (best, share) = self._about["config"], self._shares()[0]
        row, column = (n // 2 + 1 for n in config.grid_size)
        return (
            f"A Vision Transformer with {config.depth} blocks and {config.num_heads} heads, "
            f"trained on CIFAR-10 ({self._about['test_accuracy']:.1%} of the test pictures right), "
            f"and what it says of the {self.samples[0]['name']}: {best}, {share:.1%}. The maps "
            f"show where the patch in row {row}, column {column} looks: red where it looks most, "
            "a row for each block, a column for each head, and rollout last. With scripts on, the "
            "model runs here on a picture of yours, shows every step down to single numbers, and "
            "answers while you change the picture."
        )

    def picture(self) -> str:
        config = self._about["config"]
        pixels, maps = self._shown()  # (3, H, W), (L, H + 1, N)
        (rows, columns), (blocks, heads) = config.grid_size, maps.shape[:2]
        sheet = torch.full((blocks, rows + 1, heads, columns + 1, 3), 255, dtype=torch.uint8)
        colours = red_blue(maps.float() / maps.amax(dim=2, keepdim=True).clamp(min=1))
        grid = colours.view(blocks, heads, rows, columns, 3).transpose(1, 2)
        sheet[:, :rows, :, :columns] = grid  # a white line after each map
        images = [
            (pixels.permute(1, 2, 0), "The picture as the model reads it", 160),
            (sheet.flatten(2, 3).flatten(0, 1), "Attention of one patch in all heads", 200),
        ]
        panels = [
            f'<span class="vt-panel"><img src="{data_uri(image.contiguous().numpy())}" '
            f'alt="{alt}" width="{width}"></span>'
            for image, alt, width in images
        ]
        lines = [
            f'<tr><th scope="row">{name}</th><td><span class="vt-bar" '
            f'style="width:{round(120 * share)}px"></span></td><td>{share:.1%}</td></tr>'
            for name, share in self._shares()[:5]
        ]
        return "".join(panels) + f"<table><tbody>{''.join(lines)}</tbody></table>"
