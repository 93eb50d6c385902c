"""The type hints of the package agree with its code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_mypy_finds_no_error():
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "vit_teach"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
