"""Writing checkpoints so that a kill at any instant leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import jax
import numpy as np

from funcparams.checkpoint.drafts import SUFFIX, drafting, put_in_place, reserve, sync, token
from funcparams.checkpoint.errors import refuse, shown
from funcparams.checkpoint.header import ALIGNMENT, MAX_HEADER, encodes, known, make_header
from funcparams.checkpoint.opening import index_of
from funcparams.core.trace import Tracer

_New = Callable[[str], BinaryIO]


def write(
    path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str], limit: int | None
) -> None:
    """Write arrays as one file, or as shards with an index, in place of what `path` holds.

    Args:
        path: Where one file is put; the index is named after it.
        arrays: Arrays of numpy or JAX by name.
        metadata: What every file says besides.
        limit: How many bytes of arrays a shard may hold; None writes one file.
    """
    problems = {name: _unwritable(name, array) for name, array in arrays.items()}
    if any(problems.values()):
        raise refuse(path, [f"{shown(name)}: {text}" for name, text in problems.items() if text])
    groups = [list(arrays)] if limit is None else _grouped(arrays, limit)
    path.parent.mkdir(parents=True, exist_ok=True)
    with drafting(path.parent) as new:
        if len(groups) == 1:
            target, shards = path, []
            draft = new(f".{target.name}.{token()}.tmp")
            _write_tensors(path, draft, arrays, metadata)
        else:
            target, shards = index_of(path), _write_shards(path, arrays, metadata, groups, new)
            draft = new(f".{target.name}.{token()}.tmp")
            draft.write(_index(arrays, shards, groups))
        sync(draft)
        put_in_place(draft, target, path, shards)


def _unwritable(name: str, array: Any) -> str:
    """Say why an array cannot be written, if so; all are asked before a byte is written."""
    if name == "__metadata__" or not encodes(name):
        return "the format cannot hold this name"
    if isinstance(array, Tracer):
        return "traced: save outside of jax.jit"
    if not known(array.dtype):
        return f"the format has no dtype {array.dtype}"
    if isinstance(array, jax.Array):
        if array.is_deleted():
            return "deleted, or donated to a step: save what the step returned"
        if not array.is_fully_addressable:
            return "spread over several processes; Orbax writes such arrays"
    return ""


def _grouped(arrays: Mapping[str, Any], limit: int) -> list[list[str]]:
    """Deal the names out in order; an array larger than the limit has a shard to itself."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, array in arrays.items():
        size = _size(array)
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _write_shards(
    path: Path,
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str],
    groups: Sequence[Sequence[str]],
    new: _New,
) -> list[str]:
    """Write the shards under names that no other save has: nothing knows them before the index."""
    stem, save, count = path.name.removesuffix(SUFFIX), token(), len(groups)
    shards = [f"{stem}-{save}-{i:05}-of-{count:05}{SUFFIX}" for i in range(1, count + 1)]
    for shard, group in zip(shards, groups, strict=True):
        file = new(shard)
        _write_tensors(path, file, {name: arrays[name] for name in group}, metadata)
        sync(file)
    return shards


def _index(
    arrays: Mapping[str, Any], shards: Sequence[str], groups: Sequence[Sequence[str]]
) -> bytes:
    """Write the index as Hugging Face's tools do."""
    where = {name: shard for shard, group in zip(shards, groups, strict=True) for name in group}
    total = sum(_size(array) for array in arrays.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    return json.dumps(index, indent=2, ensure_ascii=False).encode()


def _write_tensors(
    path: Path, file: BinaryIO, arrays: Mapping[str, Any], metadata: Mapping[str, str]
) -> None:
    """Write a header and the arrays, one by one."""
    # The larger the power of two that divides a size, the earlier: so every tensor begins at a
    # multiple of its own, most of them of 64, and there are no holes, which readers refuse.
    order = sorted(arrays, key=lambda name: -math.gcd(_size(arrays[name]), ALIGNMENT))
    sizes = {name: (np.dtype(array.dtype), array.shape) for name, array in arrays.items()}
    header = make_header(order, sizes, metadata)
    if len(header) - 8 > MAX_HEADER:
        raise refuse(
            path,
            [f"a header of {len(header) - 8} bytes, and no reader takes over {MAX_HEADER}"],
            "max_shard_bytes=... writes several files",
        )
    reserve(file, len(header) + sum(map(_size, arrays.values())))
    file.write(header)
    for name in order:
        file.write(_bytes(arrays[name]))


def _bytes(array: Any) -> memoryview:
    """Give an array's bytes in row-major order, without a copy where they lie so in memory."""
    numbers = np.ascontiguousarray(_host(array) if isinstance(array, jax.Array) else array)
    return memoryview(cast(Any, numbers.reshape(-1).view(np.uint8)))


def _host(array: jax.Array) -> Any:
    """Give an array of JAX to numpy.

    numpy's copy of one that lies elsewhere would be kept with it for as long as it lives: after
    the last, that would be all of the params. So it is a copy of a copy that is made.
    """
    first, *others = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    if not others:
        return np.asarray(_on_cpu(first.data))
    whole = np.empty(array.shape, array.dtype)
    for shard in (first, *others):
        whole[shard.index] = np.asarray(_on_cpu(shard.data))
    return whole


def _on_cpu(array: jax.Array) -> jax.Array:
    """Copy an array of one device to the CPU, if JAX was not told to do without one."""
    if all(device.platform == "cpu" for device in array.devices()):
        return array
    with contextlib.suppress(RuntimeError):
        cpu = cast(Any, jax.local_devices(backend="cpu"))
        return jax.device_put(array, cpu[0])
    return array


def _size(array: Any) -> int:
    return math.prod(array.shape) * np.dtype(array.dtype).itemsize
