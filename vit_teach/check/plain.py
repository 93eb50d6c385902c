"""Results as plain text, so that one process can hand them to another without trusting it.

Numbers, strings, lists, dictionaries and tensors pass; anything else arrives as its type's name.
Nothing is unpickled: a forged message can be a wrong result, never a program.

For the exercises of chapters 1 to 15.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

import torch

LARGEST = 1_000_000  # numbers in one tensor; of a larger one only the shape is sent
DTYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Other:
    """Something that is no plain value; ``name`` says what it was.

    >>> Other("ndarray")
    Other(name='ndarray')
    """

    name: str


def pack(value: object) -> str:
    """A value as a line of text.

    >>> pack((1, None))
    '{"tuple": [1, null]}'
    """
    return json.dumps(_encode(value))


def unpack(text: str) -> Any:
    """The value of a line that :func:`pack` wrote. Raises ``ValueError`` for any other text.

    >>> unpack(pack({"table": torch.ones(2, 1)}))["table"].shape
    torch.Size([2, 1])
    """
    try:
        return _decode(json.loads(text))
    except (KeyError, TypeError, RuntimeError, RecursionError, AttributeError) as error:
        raise ValueError("the text is no packed value") from error


def _encode(value: object) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value)
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, list):
        return {"list": [_encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    return {"other": type(value).__name__}


def _encode_tensor(value: torch.Tensor) -> dict[str, Any]:
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES or value.layout != torch.strided:
        return {"other": f"Tensor of {name}"}
    packed = {"tensor": name, "shape": list(value.shape)}
    if value.numel() > LARGEST or value.is_meta:
        return {**packed, "data": None}
    flat = value.detach().cpu().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return {**packed, "data": base64.b64encode(data).decode()}


def _decode(packed: Any) -> Any:
    if not isinstance(packed, dict):
        return packed
    if "tensor" in packed:
        return _decode_tensor(packed)
    if "tuple" in packed:
        return tuple(_decode(item) for item in packed["tuple"])
    if "list" in packed:
        return [_decode(item) for item in packed["list"]]
    if "dict" in packed:
        return {_decode(key): _decode(item) for key, item in packed["dict"]}
    return Other(str(packed["other"]))


def _decode_tensor(packed: dict[str, Any]) -> torch.Tensor:
    kind, shape = DTYPES[packed["tensor"]], packed["shape"]
    if packed["data"] is None:
        return torch.empty(shape, dtype=kind, device="meta")
    data = bytearray(base64.b64decode(packed["data"]))
    flat = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
    return flat.reshape(shape)
