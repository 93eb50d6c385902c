"""One process that reads damaged files, number after number, and says what came of each.

Number N of a seed is always the same file: ``python tests/fuzz/worker.py --seed S --only N``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import mutate
import targets

MEMORY = 2_000_000_000  # bytes that a process may come to hold
# What a reader of files has no business with, by Python's names for such events.
FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
    "subprocess.Popen", "socket.connect", "ctypes.dlopen",
)  # fmt: skip
PLACES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate")
UNPICKLED = (("numpy", "dtype"), ("_codecs", "encode"))


class Guard:
    """Watches what the process does; what it must not do is remembered."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found, self.on = str(folder), [], False
        sys.addaudithook(self.look)

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by Python for each event."""
        if not self.on:
            return
        if event == "ctypes.dlopen" and arguments == (None,):
            return  # the process itself: its memory is kept for the next step of training
        if event in FORBIDDEN or (event == "pickle.find_class" and arguments not in UNPICKLED):
            self.found.append(f"execution: {event} {arguments}"[:300])
            raise PermissionError("not while reading a file")
        written = event in PLACES
        if event == "open":
            path, mode, flags = arguments
            written = any(letter in (mode or "") for letter in "wax+") or bool(
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
        if written and not isinstance(arguments[0], int):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if not path.startswith((self.folder, "/dev/", "/proc/self")):
                self.found.append(f"a write outside: {event} {path}"[:300])


class Page:
    """The page's reader, in Node."""

    def __init__(self, folder: Path) -> None:
        from vit_teach.widgets.xray import engine_source

        engine = folder / "engine.mjs"
        engine.write_text(engine_source(), encoding="utf-8")
        self.command = ["node", str(Path(__file__).with_name("reader.mjs")), engine.as_uri()]
        self.start()

    def start(self) -> None:
        """A new process of Node."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(self.command, **pipes)

    def read(self, path: Path) -> str:
        """Like a target's ``feed``."""
        print(path, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemError("Node has died")
        answer = json.loads(line)
        if answer.get("ok"):
            return "read"
        if answer["clear"] and answer["message"]:
            raise ValueError(answer["message"])
        raise SystemError(f"{answer['name']}: {answer['message']}")


class Worker:
    """Files by number, and what came of each."""

    def __init__(self, seed: int, folder: Path, names: list[str] | None) -> None:
        self.seed, self.folder = seed, folder.resolve()
        self.targets = targets.all_targets(self.folder / "corpus")
        if shutil.which("node"):
            self.targets["X-ray"].feed = Page(self.folder).read
        else:
            del self.targets["X-ray"]
        self.names = [name for name in self.targets if names is None or name in names]
        self.work = self.folder / "work"
        self.normal: dict[tuple[str, str], str] = {}  # what each undamaged file is read as
        self.guard = Guard(self.folder)
        os.chdir(self.folder)

    def warm(self) -> None:
        """Read every undamaged file: it must be readable, and what is imported is imported."""
        for target_name in self.names:
            target = self.targets[target_name]
            for name, data in target.seeds.items():
                self.normal[target_name, name] = target.feed(self.place(name, data))

    def place(self, name: str, data: bytes) -> Path:
        """A fresh folder with nothing but this file."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        (self.work / name).write_bytes(data)
        return self.work / name

    def file(self, number: int) -> tuple[str, str, bytes, bool]:
        """(target, file name, content, whether only bytes were changed) of a number."""
        chance = random.Random(f"{self.seed} {number}")
        target_name = self.names[number % len(self.names)]
        target = self.targets[target_name]
        turn = number // len(self.names)
        if turn < len(target.odd):
            return target_name, *target.odd[turn], False
        name = chance.choice(sorted(target.seeds))
        other = target.seeds[chance.choice(sorted(target.seeds))]
        if target.inside and chance.random() < 0.4:
            return target_name, name, target.inside(target.seeds[name], chance, other), False
        return target_name, name, mutate.damage(target.seeds[name], chance, other), True

    def take(self, number: int) -> dict[str, Any]:
        """Read the file of a number; {"kind": "read", "clear" or a fault, "target", "detail"}."""
        target_name, name, data, bytes_only = self.file(number)
        path, target = self.place(name, data), self.targets[target_name]
        self.guard.found, self.guard.on = [], target_name != "X-ray"
        kind, detail = "read", ""
        try:
            found = target.feed(path)
            # Bytes of another undamaged file may have replaced this one: then it is that one.
            whole = {value for (of, _), value in self.normal.items() if of == target_name}
            if target.checksum and bytes_only and found not in whole:
                kind, detail = "damage read in spite of its checksum", f"{name} is read as {found}"
        except ValueError as error:
            kind = "clear" if str(error).strip() else "an error without words"
            detail = str(error)[:300]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = "another exception"
            detail = f"{type(error).__name__}: {error}"[:300] + f" ({last.filename}:{last.lineno})"
        self.guard.on = False
        if self.guard.found:
            kind, detail = self.guard.found[0].partition(":")[0], self.guard.found[0]
        if (self.folder / "exploded").exists() or (self.work / "exploded").exists():
            kind, detail = "execution", "a file was made by what a file holds"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
        if peak > MEMORY and kind in ("read", "clear"):
            kind, detail = "memory", f"{peak / 1e9:.1f} GB"
        return {"number": number, "target": target_name, "kind": kind, "detail": detail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, default=Path("fuzz-files"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--only", type=int, help="one number: its file is left in FOLDER/work")
    parser.add_argument("--target", action="append", help="only this one (may be given again)")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    worker = Worker(options.seed, options.folder, options.target)
    worker.warm()
    print("ready", flush=True)
    if options.only is not None:
        print(json.dumps(worker.take(options.only), indent=1))
        return
    number = options.first
    while True:
        print(number, flush=True)
        result = worker.take(number)
        print(json.dumps(result), flush=True)
        if result["kind"] == "memory":
            return
        number += options.step


if __name__ == "__main__":
    main()
