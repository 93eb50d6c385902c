"""Damage for valid files: of their bytes, and of what stands in them under right checksums."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
from typing import Any

MAGIC = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1]
DEEP: Any = 0
for _ in range(3000):
    DEEP = [DEEP]
ODD = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "nan", "\0", "../../x", "/etc/passwd", "x" * 10_000, [], {}, [0], [None],
    [[]], {"a": 1}, ["a"] * 1000, DEEP,
]  # fmt: skip


def damage(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Some bytes changed, at one to three places; most often a single bit."""
    if not data:
        return other[:50]
    if chance.random() < 0.5:
        return flip(data, chance)
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(WAYS)(data, chance, other) or b"\0"
    return data


def flip(data: bytes, chance: random.Random, _other: bytes = b"") -> bytes:
    """One bit changed."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + 2 ** chance.randint(0, 10))


def _cut(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def _remove(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _noise(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _repeat(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    start, end = _span(data, chance)
    return data[:end] + data[start:end] * chance.choice([1, 1, 50]) + data[end:]


def _magic(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    size = chance.choice([1, 2, 4, 8])
    value = chance.choice(MAGIC) % 256**size
    place = chance.randrange(len(data))
    number = value.to_bytes(size, chance.choice(["little", "big"]))
    return data[:place] + number + data[place + size :]


def _graft(data: bytes, chance: random.Random, other: bytes) -> bytes:
    start, end = _span(other or data, chance)
    place = chance.randrange(len(data))
    return data[:place] + (other or data)[start:end] + data[place + end - start :]


def _digit(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    places = [i for i in range(min(len(data), 4000)) if 48 <= data[i] <= 57]
    if not places:
        return flip(data, chance)
    place = chance.choice(places)
    text = chance.choice([b"9", b"0", b"-1", b"99999999999", b"1e400", b"null"])
    return data[:place] + text + data[place + 1 :]


WAYS = [flip, _cut, _remove, _noise, _repeat, _magic, _graft, _digit]


def odd_tree(value: Any, chance: random.Random) -> Any:
    """A JSON value with one part replaced, removed or added."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {k: v for k, v in value.items() if k != name}
        if chance.random() < 0.1:
            return {**value, chance.choice(["x", "", "kind", "format"]): chance.choice(ODD)}
        return {**value, name: odd_tree(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.6:
        place = chance.randrange(len(value))
        return [*value[:place], odd_tree(value[place], chance), *value[place + 1 :]]
    return chance.choice(ODD)


def as_json(value: Any) -> str:
    """JSON text of any value, also of one that is too deep for the library."""
    try:
        return json.dumps(value)
    except RecursionError:
        return "[" * 100_000 + "]" * 100_000


def inside_json(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    """A JSON file with an odd value in it."""
    return as_json(odd_tree(json.loads(data), chance)).encode()


def inside_safetensors(data: bytes, chance: random.Random, _other: bytes) -> bytes:
    """A safetensors file with an odd value in its header, of the right length."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if chance.random() < 0.6 and "config" in header.get("__metadata__", {}):
        name = chance.choice(["config", "metadata"])
        text = as_json(odd_tree(json.loads(header["__metadata__"][name]), chance))
        header["__metadata__"][name] = text
    else:
        header = odd_tree(header, chance)
    text = as_json(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def inside_zip(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """A zip archive in which a member is damaged, renamed, lost or doubled; its checksums fit."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        names = old.namelist()
        chosen, what = chance.choice(names), chance.choice("dddddrl2")
        for name in names:
            content = old.read(name)
            if name == chosen:
                if what == "l":
                    continue
                if what == "d":
                    content = damage(content, chance, other)
                elif what == "r":
                    name = chance.choice(["x", "../x", "/x", name + "y", "data.pkl"])
            new.writestr(name, content)
            if name == chosen and what == "2":
                new.writestr(name, damage(content, chance, other))
    return result.getvalue()


def inside_tar(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """A .tar.gz in which a member is damaged, lost or of another type; its checksums fit."""
    result = io.BytesIO()
    plain = io.BytesIO(gzip.decompress(data))
    with tarfile.open(fileobj=plain) as old, tarfile.open(fileobj=result, mode="w:gz") as new:
        members = old.getmembers()
        chosen, what = chance.choice(members), chance.choice("ddddtl")
        for member in members:
            content = old.extractfile(member).read()
            if member is chosen and what == "l":
                continue
            if member is chosen and what == "d":
                content = damage(content, chance, other)
            if member is chosen and what == "t":
                member.type = chance.choice([b"1", b"2", b"3", b"5", b"6", b"K", b"x"])
                member.linkname = chance.choice([member.name, "../../x", "/etc/passwd"])
            member.size = len(content) if member.isreg() else 0
            new.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return result.getvalue()
