"""The errors about files: one for each file, with a line for each thing that is wrong in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from funcparams.core.errors import FuncparamsError

_SHOWN = 20  # a hostile file can have a million faults
_LONG = 120


class CheckpointError(FuncparamsError, ValueError):
    """A file that is no checkpoint, or one that is broken or cannot be written.

    Example:
        >>> import funcparams as fp, pathlib
        >>> size = pathlib.Path("notes.safetensors").write_text("no tensors in here")
        >>> try:
        ...     fp.load("notes.safetensors")
        ... except fp.CheckpointError as error:
        ...     print(str(error).splitlines()[0])
        notes.safetensors: not a safetensors file: it begins with b'no tensors in he'
    """


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint at a path."""


def shown(name: str) -> str:
    """Write a name from a file so that it can be read, and printed anywhere."""
    text = name if name and name.isprintable() else ascii(name)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def refuse(path: Path, problems: Sequence[str], advice: str = "") -> CheckpointError:
    """Make one error of all that is wrong with a file."""
    count = len(problems)
    head = f"{path}: {problems[0]}" if count == 1 else f"{path}: {count} problems"
    lines = list(problems[:_SHOWN]) if count > 1 else []
    if count > _SHOWN:
        lines.append(f"and {count - _SHOWN} more")
    mend = f"\nTo mend: {advice}." if advice else ""
    return CheckpointError("\n  ".join([head, *lines]) + mend)
