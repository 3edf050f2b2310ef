"""A user's file passes pyright (strict) and mypy (strict); both would notice if it did not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(__file__).with_name("sample.py")
CHECKERS = {
    "pyright": ["pyright", "-p", "pyproject.toml", "--pythonpath", sys.executable],
    "mypy": ["mypy", "--no-incremental", "--python-executable", sys.executable],
}


def check(checker: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *CHECKERS[checker], *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_users_file_passes(checker: str) -> None:
    result = check(checker, SAMPLE)
    assert result.returncode == 0, result.stdout + result.stderr
