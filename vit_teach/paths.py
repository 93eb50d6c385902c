"""Where things lie, and the one way in which the package writes a file. For all chapters."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # the repository, where the package lies in one
RESULTS = ROOT / "data" / "results"  # the recorded cards
WEIGHTS = ROOT / "data" / "weights"  # the book's own trained models
RUNS = ROOT / "runs"  # checkpoints and logs of what is under way, never on record


def as_path(value: str | Path, name: str) -> Path:
    """A path given as text or as a Path; "~" is the home folder. ``name`` is the argument's.

    Raises ``ValueError`` for anything else, and where there is no such home folder.

    >>> as_path(5, "root")
    Traceback (most recent call last):
    ...
    ValueError: root=5 must be a path: ...
    """
    try:
        path = Path(value).expanduser()
        path.exists()  # a name may be one that no system takes
        if "\0" in str(path):
            raise ValueError("it holds a zero byte")
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"{name}={value!r} must be a path: {error}") from error
    return path


def writable(folder: Path) -> Path:
    """``folder``, made and tried out now, so that no work is lost at its end.

    Raises ``OSError`` for a place that cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writable(Path(folder) / "a" / "b").name
    'b'
    """
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "can-this-be-written") as trial:
        trial.touch()
    (folder / "can-this-be-written").unlink(missing_ok=True)
    return folder


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary name to write to; at the end the file gets its own name, in one step.

    So a reader of ``path`` sees the old file or the new one, never a half. What was written is on
    the disk before it gets its name, with the permissions that a new file of the user has; nothing
    is left behind if an error ends the block.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_whole(Path(folder) / "note.txt") as temporary:
    ...         _ = temporary.write_text("done")
    ...     [file.name for file in Path(folder).iterdir()]
    ['note.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        permissions = temporary.stat().st_mode & 0o777
        yield temporary
        # Some writers put a file that only its owner reads in its place: a web server could not
        # show it.
        temporary.chmod(permissions)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
