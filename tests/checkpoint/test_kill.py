"""A save that is killed leaves a whole checkpoint; `kill` is the same for longer runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="savers are forked")
def test_a_kill_leaves_the_old_or_the_new() -> None:
    # In a process of its own: this one has threads of JAX's, and cannot be forked safely.
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.checkpoint.kill", "--kills", "8", "--steps"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("8 kills at random: ")
    assert sum("killed before each of" in line for line in lines) == 9
    assert lines[-1] == "every checkpoint was whole, and nothing is left over"
