"""Opening a checkpoint: one safetensors file, or several with an index."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from funcparams.checkpoint.errors import CheckpointNotFoundError, refuse, shown
from funcparams.checkpoint.header import MAX_HEADER, load_json, text_by_name
from funcparams.checkpoint.ours import Ours, untrue
from funcparams.checkpoint.reader import File
from funcparams.checkpoint.source import Source, Stored
from funcparams.core.errors import nearest

DEFAULT = "model.safetensors"
_INDEX = ".index.json"
_TRIES = 3


def open_file(path: Path, copy: bool = False) -> File:
    """Open a checkpoint: a file, the index of several, or a folder with one of these.

    Raises:
        CheckpointNotFoundError: If there is none, or shards are missing.
        CheckpointError: If anything in it is wrong.
    """
    for _ in range(_TRIES - 1):
        try:
            return _open(locate(path), copy)
        except FileNotFoundError:
            # Perhaps another process has just replaced it: then the next look finds the new one.
            continue
    return _open(locate(path), copy)


def locate(path: Path) -> Path:
    """Find the file, or the index, that a path means; a single file goes before an index."""
    base = path / DEFAULT if path.is_dir() else path
    for found in (base, index_of(base)):
        if found.exists():
            return found
    if path.is_dir():
        raise CheckpointNotFoundError(f"{path}: no {DEFAULT} in it, and no {DEFAULT}{_INDEX}")
    folder = path.parent
    beside = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    raise CheckpointNotFoundError(f"{path}: no such file{nearest(path.name, beside)}")


def index_of(path: Path) -> Path:
    """Give the index of the shards that stand for a file."""
    return path.with_name(path.name + _INDEX)


def _open(path: Path, copy: bool) -> File:
    if path.name.endswith(_INDEX):
        return _open_index(path, copy)
    source = Source(path, copy)
    tensors = source.header.tensors
    stored = {name: Stored(source, name, tensor) for name, tensor in tensors.items()}
    return _file(path, stored, source.ours)


def _open_index(path: Path, copy: bool) -> File:
    where = read_index(path)
    shards = {name: path.parent / name for name in where.values()}
    missing = [f"{name}: missing" for name, shard in shards.items() if not shard.exists()]
    if missing:
        raise CheckpointNotFoundError(*refuse(path, missing).args)
    sources = {name: Source(shard, copy) for name, shard in shards.items()}
    stored: dict[str, Stored] = {}
    problems: list[str] = []
    for shard, source in sources.items():
        for name, tensor in source.header.tensors.items():
            if name not in where:
                problems.append(f"{shown(name)}: in {shard}, and not in the index")
            elif where[name] == shard:
                stored[name] = Stored(source, name, tensor)
            else:
                problems.append(f"{shown(name)}: in {shard}, and the index has it in {where[name]}")
    absent = [name for name in where if name not in stored]
    problems += [f"{shown(name)}: not in {where[name]}, where the index has it" for name in absent]
    ours = [source.ours for source in sources.values()] or [Ours()]
    problems += [
        f"{shard}: its metadata differ from those of {next(iter(sources))}: of another save"
        for shard, source in sources.items()
        if source.ours != ours[0] and (source.ours.library or ours[0].library)
    ]
    if problems:
        raise refuse(path, problems)
    return _file(path, {name: stored[name] for name in where}, ours[0])


def read_index(path: Path) -> dict[str, str]:
    """Give the shard's name for each tensor's; all of them lie beside the index.

    Raises:
        CheckpointError: If the index is none, or leads anywhere else.
    """
    if path.stat().st_size > MAX_HEADER:
        raise refuse(path, [f"an index of more than {MAX_HEADER} bytes"])
    index = load_json(path, path.read_bytes(), "index")
    where = text_by_name(index.get("weight_map"))
    if where is None:
        raise refuse(path, ["weight_map: expected the name of a file for the name of each tensor"])
    strange = [name for name in dict.fromkeys(where.values()) if not _plain(name)]
    if strange:
        told = "not the name of a file beside the index"
        raise refuse(path, [f"{shown(name)}: {told}" for name in strange])
    return where


def _plain(name: str) -> bool:
    """Tell whether a name is that of a file in the same folder, on every system."""
    if name in ("", ".."):
        return False
    paths = PurePosixPath(name), PureWindowsPath(name)
    return name.isprintable() and len(name.encode()) <= 255 and all(p.name == name for p in paths)


def _file(path: Path, stored: dict[str, Stored], ours: Ours) -> File:
    problems = untrue(ours.ties, stored)
    if problems:
        raise refuse(path, problems)
    return File(path, stored, ours)
