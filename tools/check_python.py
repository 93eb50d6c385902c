"""Stop with a clear sentence when this Python is too old. Runs on Python 3.6 and newer."""

import sys

OLDEST, NEWEST = (3, 10), (3, 13)
HINT = "make book PYTHON=python3.12"

version = sys.version_info[:2]
name = f"Python {version[0]}.{version[1]} ({sys.executable})"
if version < OLDEST:
    sys.exit(
        f"The book needs Python 3.10 or newer, and this is {name}.\n"
        f"Install a newer one and name it: {HINT}"
    )
if version > NEWEST:
    print(
        f"Note: the book is tested with Python 3.10 to 3.13, and this is {name}.\n"
        f"If the installation fails, name another one: {HINT}"
    )
