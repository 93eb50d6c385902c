"""What all widgets share: one script for Jupyter and for the page, and something to see without it.

A widget is a Python class and an ES module of the same name in the folder above. Jupyter runs the
module through anywidget. A page of the book has no Python behind it: there the module gets the
widget's state from the page itself, from the HTML that :meth:`BookWidget.static_html` returns.

For all chapters.
"""

from __future__ import annotations

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from ...paths import written_whole

if TYPE_CHECKING:
    from torch import Tensor

SHARED = Path(__file__).parent
FOLDER = SHARED.parent  # of the widgets
STYLE = "widgets.css"
HOST = "host.js"  # runs the widgets of a page that has no Python behind it
COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)
_INHERITED = set(anywidget.AnyWidget.class_trait_names())  # layout, tooltip, ...: not ours


def modules() -> list[str]:
    """The names of the widgets: each is a Python file and an ES module.

    >>> "patch_explorer" in modules()
    True
    """
    return sorted(f.stem for f in FOLDER.glob("*.js") if f.with_suffix(".py").exists())


def module_source(name: str) -> str:
    """The ES module of one widget as text: the lines that all widgets share, then its own.

    A large widget has parts, ``NAME_*.js``, which stand before ``NAME.js``. Lines that are only a
    comment stay behind: they are for the reader of the files. Raises ``ValueError`` if there is no
    such module.

    >>> "export default" in module_source("patch_explorer")
    True
    """
    if name not in modules():
        raise ValueError(f"name={name!r} must be one of {modules()}")
    shared = [SHARED / "common.js", SHARED / "pictures.js"]
    files = [*shared, *sorted(FOLDER.glob(f"{name}_*.js")), FOLDER / f"{name}.js"]
    return COMMENT.sub("", "\n".join(file.read_text("utf-8") for file in files))


def call_script(function: str, name: str, text: str) -> str:
    r"""A line of JavaScript that tells the host a module ("define") or a large text ("give").

    >>> print(call_script("give", "weights", "a < b"), end="")
    VitWidgets.give("weights", "a \u003c b");
    """
    # "<" as a code: a "</script>" in the text would end the script element it stands in.
    arguments = f"{json.dumps(name)}, {json.dumps(text)}".replace("<", "\\u003c")
    return f"VitWidgets.{function}({arguments});\n"


def encode(value: object) -> object:
    """A trait's value as JSON can hold it: bytes become base64, the rest stays.

    >>> encode(b"abc")
    {'base64': 'YWJj'}
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return value


def require(condition: object, name: str, value: object, rule: str) -> None:
    """Raise ``ValueError`` with the argument's name, its value and the rule, unless it holds.

    >>> require(False, "patch_size", 5, "must divide 32")
    Traceback (most recent call last):
    ...
    ValueError: patch_size=5 must divide 32
    """
    if not condition:
        raise ValueError(f"{name}={value!r} {rule}")


def data_uri(pixels: Any, kind: str = "PNG", **settings: Any) -> str:
    """An array of pixels (H, W, 3), uint8, as text that a page can show as a picture.

    >>> import numpy as np
    >>> data_uri(np.zeros((2, 2, 3), np.uint8))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image  # slow to import

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, optimize=True, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def red_blue(shares: Tensor) -> Tensor:
    """Shares (...) from -1 to 1 as pixels (..., 3), uint8: red above 0, blue below, white at 0.

    The scale of ``redBlue`` in pictures.js.

    >>> import torch
    >>> red_blue(torch.tensor([1.0, 0.0, -1.0])).tolist()
    [[178, 24, 43], [247, 247, 247], [33, 102, 172]]
    """
    import torch

    shares = shares[..., None]
    ends = torch.where(shares > 0, torch.tensor([178, 24, 43]), torch.tensor([33, 102, 172]))
    return (247 + shares.abs() * (ends - 247)).round().to(torch.uint8)


class BookWidget(anywidget.AnyWidget):
    """A widget that runs in Jupyter and, without Python, on a page of the book.

    A subclass names its ES module in ``MODULE``, tags its traits with ``sync=True`` and says in
    :meth:`describe` and :meth:`picture` what is seen where no script runs.

    >>> class Empty(BookWidget):
    ...     MODULE = "patch_explorer"
    ...     def describe(self) -> str:
    ...         return "Nothing."
    >>> Empty().static_html()[:58]
    '<figure class="vt-widget" data-vt-module="patch_explorer">'
    """

    MODULE = ""

    def __init__(self, **settings: Any) -> None:
        for name in settings:
            require(self.has_trait(name), "setting", name, f"must be one of {self.trait_names()}")
        try:
            super().__init__(**settings)
        except traitlets.TraitError as error:  # a value of another type
            raise ValueError(str(error)) from error

    def __init_subclass__(cls, **settings: Any) -> None:
        # anywidget makes hidden subclasses of its own, which inherit all this.
        if "MODULE" in cls.__dict__:
            cls._esm = module_source(cls.MODULE)
            cls._css = (SHARED / STYLE).read_text("utf-8")
        super().__init_subclass__(**settings)

    def describe(self) -> str:
        """Say in one or two sentences what the widget shows."""
        raise NotImplementedError(f"{type(self).__name__} must say what it shows")

    def picture(self) -> str:
        """HTML of a picture or a table that stands in for the widget in print."""
        return ""

    def static_state(self) -> dict[str, Any]:
        """The traits that the script needs, as a dictionary for JSON."""
        names = set(self.trait_names(sync=True)) - _INHERITED
        return {n: encode(getattr(self, n)) for n in sorted(names) if not n.startswith("_")}

    def static_html(self) -> str:
        """The widget for a page without Python: description, picture and state."""
        # "<" may not stand inside a script element: a "</script>" in a name would end it.
        state = json.dumps(self.static_state(), separators=(",", ":")).replace("<", "\\u003c")
        return (
            f'<figure class="vt-widget" data-vt-module="{self.MODULE}">'
            f'<div class="vt-fallback">{self.picture()}<p>{html.escape(self.describe())}</p></div>'
            f'<script type="application/json">{state}</script></figure>'
        )

    def files(self) -> dict[str, str]:
        """Large texts that the script asks for while it runs, by name: an engine, weights."""
        return {}

    def save_html(self, path: str | Path, title: str = "Vision Transformers, Step by Step") -> Path:
        """Write the widget as one file that runs in any browser and asks nobody for anything.

        Put it on your course page as it is, or in a frame of one. Returns the path. The file is
        written whole or not at all. Raises ``FileNotFoundError`` if its folder does not exist.

        >>> from vit_teach.widgets import AttentionByHand
        >>> vectors = [[1.0, 0.0], [0.0, 1.0]]
        >>> widget = AttentionByHand(vectors, vectors, vectors, ["cat", "mat"])
        >>> widget.save_html("no/such/folder/attention.html")
        Traceback (most recent call last):
        ...
        FileNotFoundError: path='no/such/folder/attention.html' must be in a folder that exists
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"path={str(path)!r} must be in a folder that exists")
        scripts = [
            (SHARED / HOST).read_text("utf-8"),
            call_script("define", self.MODULE, module_source(self.MODULE)),
            *(call_script("give", name, text) for name, text in self.files().items()),
        ]
        text = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(title)}</title>"
            f"<style>{(SHARED / STYLE).read_text('utf-8')}</style>"
            + "".join(f"<script>{script}</script>" for script in scripts)
            + f"</head><body><main>{self.static_html()}</main></body></html>"
        )
        with written_whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def _repr_mimebundle_(self, **settings: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**settings) or {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "text/html": self.static_html()}, metadata
