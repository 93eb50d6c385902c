"""Stop with a clear sentence when this Python is too old. Runs on any Python 3."""

import sys

OLDEST, NEWEST = (3, 10), (3, 13)

version = sys.version_info[:2]
if version < OLDEST:
    sys.exit(
        "The book needs Python 3.10 or newer, and this is Python %d.%d (%s).\n"
        "Install a newer one and name it: make book PYTHON=python3.12" % (version + (sys.executable,))
    )
if version > NEWEST:
    print(
        "Note: the book is tested with Python 3.10 to 3.13, and this is Python %d.%d.\n"
        "If the installation fails, name another one: make book PYTHON=python3.12" % version
    )
