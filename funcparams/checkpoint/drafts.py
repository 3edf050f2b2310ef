"""Files on their way: written under other names, put in place at once, cleaned up after a kill."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from funcparams.checkpoint.errors import CheckpointError
from funcparams.checkpoint.opening import index_of, read_index

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

locks: Any = fcntl

SUFFIX = ".safetensors"
_TOKEN = "[0-9a-f]{16}"


def token() -> str:
    """Give what makes a file's name different from all others."""
    return secrets.token_hex(8)


@contextlib.contextmanager
def drafting(folder: Path) -> Generator[Callable[[str], BinaryIO]]:
    """Give a function that opens new files in a folder; if anything fails, they are removed.

    Each is locked while it is open, so that others can tell it from what a kill has left.
    """
    files: list[BinaryIO] = []

    def new(name: str) -> BinaryIO:
        # Under the folder's lock, so that nobody meets the file between opening and locking.
        with _alone(folder):
            file = (folder / name).open("xb")
            files.append(file)
            if locks is not None:
                with contextlib.suppress(OSError):
                    locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
        return file

    try:
        yield new
    finally:
        for file in files:
            with contextlib.suppress(OSError):  # a full disk has been told of already
                file.close()
        # The last has left its name if it was put in place, even if this is a Ctrl-C just after.
        if files and os.path.exists(files[-1].name):
            for file in files:
                os.unlink(file.name)


def reserve(file: BinaryIO, size: int) -> None:
    """Have the room for a file set aside, where the system can: writing it takes half the time.

    os.posix_fallocate would write to every block where the file system cannot.

    Raises:
        OSError: If the disk has not so much room.
    """
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    c: Any = ctypes.CDLL(None, use_errno=True)
    if not hasattr(c, "fallocate"):
        return
    number = ctypes.c_int64
    failed = c.fallocate(file.fileno(), 0, number(0), number(size))
    if failed and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def sync(file: BinaryIO) -> None:
    """Have all of a file on the disk."""
    file.flush()
    os.fsync(file.fileno())
    if locks is None:
        file.close()  # Windows renames no file that is open


def put_in_place(draft: BinaryIO, target: Path, path: Path, shards: Sequence[str]) -> None:
    """Make a draft the checkpoint, and remove the one before and what killed saves have left.

    Args:
        draft: The whole checkpoint, or the index of its shards.
        target: Where it belongs.
        path: Where the checkpoint is if it is one file.
        shards: The names of its shards.
    """
    index = index_of(path)
    with _alone(path.parent) as alone:
        before = _shards(index)
        os.replace(draft.name, target)
        _sync_folder(path.parent)
        # Whichever goes first, what stays is whole: a single file is preferred to an index.
        (path if target == index else index).unlink(missing_ok=True)
        _remove_old(path, before, shards)
        if alone:
            _remove_abandoned(path, shards)


def _remove_old(path: Path, before: Sequence[str], shards: Sequence[str]) -> None:
    """Remove the shards of the index that was replaced."""
    shard = re.compile(rf"{_stem(path)}-({_TOKEN}-)?\d{{5}}-of-\d{{5}}\.safetensors")
    for name in before:
        # An index may name any file: only what looks like a shard of this one is removed.
        if name not in shards and shard.fullmatch(name):
            (path.parent / name).unlink(missing_ok=True)


def _remove_abandoned(path: Path, shards: Sequence[str]) -> None:
    """Remove what saves to this path have left whose process is gone."""
    drafts = rf"\.{re.escape(path.name)}(\.index\.json)?\.{_TOKEN}\.tmp"
    ours = re.compile(rf"{drafts}|{_stem(path)}-{_TOKEN}-\d{{5}}-of-\d{{5}}\.safetensors")
    for name in os.listdir(path.parent):
        if ours.fullmatch(name) and name not in shards:
            with contextlib.suppress(OSError), (path.parent / name).open("rb") as file:
                locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)  # fails while its writer lives
                os.unlink(file.name)


def _stem(path: Path) -> str:
    return re.escape(path.name.removesuffix(SUFFIX))


def _shards(index: Path) -> list[str]:
    """Give the names of the files in an index; none where there is no index, or a broken one."""
    with contextlib.suppress(OSError, CheckpointError):
        return list(dict.fromkeys(read_index(index).values()))
    return []


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[bool]:
    """Keep other savers out of a folder for a moment; give False where that cannot be done."""
    if locks is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        locked = True
        try:
            locks.flock(handle, locks.LOCK_EX)
        except OSError:  # some network file systems
            locked = False
        yield locked
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
