"""Run the chapters and build the site into _build/html; every warning is an error."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
COMMAND = ["-c", JUPYTER_BOOK, "build", ".", "-W", "-n", "--keep-going"]
PAGES_READ = ROOT / "_build" / ".doctrees" / "environment.pickle"
PASSED = ROOT / "_build" / ".passed"


def main() -> int:
    start = time.perf_counter()
    # After a failed or interrupted build every page must be read again, or its warnings are lost.
    if not PASSED.exists():
        PAGES_READ.unlink(missing_ok=True)
    PASSED.unlink(missing_ok=True)
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    code = subprocess.run([sys.executable, *COMMAND], cwd=ROOT, env=environment).returncode
    seconds = time.perf_counter() - start
    if code:
        print(f"\nThe build failed after {seconds:.0f} s: see the warnings above.")
        return code
    PASSED.touch()
    print(f"\nThe book is built ({seconds:.0f} s). Open it in a browser:")
    print(f"  {(ROOT / '_build' / 'html' / 'index.html').as_uri()}")
    print("or serve it on this machine with: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
