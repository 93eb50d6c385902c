"""XRay: a trained ViT runs in the page on the reader's own picture, open at every step.

The page ViT X-ray.
"""

import base64
from pathlib import Path
from typing import Any

import traitlets
from PIL import Image, ImageDraw

from ..arguments import explained
from ..data.pictures import photograph
from ..paths import WEIGHTS
from ..weights.files import read_metadata
from .shared.base import FOLDER, BookWidget, data_uri, require

LIMIT = 4_000_000  # bytes of weights that a page may load
SIDE = 96  # pixels of a sample
Colour = tuple[int, int, int]
ENGINE = ("files", "vit", "resize", "decode", "worker", "stages")  # each uses those before it


def engine_source() -> str:
    """The text of the engine, one ES module: its parts in their order.

    >>> "export function forward" in engine_source()
    True
    """
    return "\n".join((FOLDER / "engine" / f"{part}.js").read_text("utf-8") for part in ENGINE)


def weights_file(name: str) -> Path:
    """The path of one of the book's own trained models.

    Raises ``ValueError`` if there is none of this name, it is no plain ViT, or it is larger than
    4 MB.

    >>> weights_file("cifar-vit-20min").suffix
    '.safetensors'
    """
    path = WEIGHTS / f"{name}.safetensors"
    known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
    require(path.stem in known, "name", name, f"must be one of {known}")
    size = path.stat().st_size
    require(size <= LIMIT, "name", name, f"has {size} bytes of weights, more than {LIMIT}")
    kind = type(read_metadata(path)["config"]).__name__
    require(kind == "ViTConfig", "name", name, f"is a {kind}; the page runs plain ViTs")
    return path


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
            continue  # too large, or a hybrid: not for a page
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


class XRay(BookWidget):
    """The book's own ViT at work: from a picture to class probabilities, stage by stage.

    ``name`` is one of the book's trained models (data/weights). In Jupyter the weights come with
    the widget; on a page of the site they are fetched when the reader asks. Raises ``ValueError``
    for a model that does not exist or is too large.

    >>> XRay("cifar-vit-20min").size < 4_000_000
    True
    """

    MODULE = "xray"
    name = traitlets.Unicode().tag(sync=True)
    size = traitlets.Int().tag(sync=True)
    samples = traitlets.List(traitlets.Dict()).tag(sync=True)
    engine = traitlets.Unicode().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)

    @explained
    def __init__(self, name: str = "cifar-vit-20min", **settings: Any) -> None:
        path = weights_file(name)
        self._about = read_metadata(path)
        super().__init__(
            name=name,
            size=path.stat().st_size,
            samples=samples(),
            engine=engine_source(),
            weights=path.read_bytes(),
            **settings,
        )

    def static_state(self) -> dict[str, Any]:
        """What the page needs at once: engine and weights come later, from scripts of their own."""
        state = super().static_state()
        return {key: state[key] for key in ("name", "size", "samples")}

    def files(self) -> dict[str, str]:
        return {
            name: text for name, text in site_files().items() if name in ("vit_engine", self.name)
        }

    def describe(self) -> str:
        config = self._about["config"]
        return (
            f"A Vision Transformer with {config.depth} blocks and {config.num_heads} heads, "
            f"trained on CIFAR-10 ({self._about['test_accuracy']:.1%} of the test pictures right). "
            "With scripts on, it runs here on a picture of yours and shows patches, tokens, "
            "attention of each head and scores, down to single numbers."
        )

    def picture(self) -> str:
        images = (
            f'<img src="{sample["source"]}" alt="{sample["name"]}" width="96" height="96">'
            for sample in self.samples
        )
        return "<p>" + " ".join(images) + "</p>"
