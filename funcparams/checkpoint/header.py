"""The header of a safetensors file: made, and read without trusting a byte of it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.errors import refuse, shown
from funcparams.checkpoint.foreign import refuse_foreign

ALIGNMENT = 64
"""Where the data of our files begins, and what XLA's own allocator aligns to."""

MAX_HEADER = 100_000_000
"""Bytes; the limit of every safetensors reader."""

_MAX_RANK = 32  # numpy's, before version 2
_MAX_SIZE = 2**63 - 1  # of a dimension, and of all together, zeros left out: numpy's and XLA's
_METADATA = "__metadata__"

_NAMES = {
    "BOOL": np.bool_,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
    "BF16": jnp.bfloat16,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
    "F8_E4M3FNUZ": jnp.float8_e4m3fnuz,
    "F8_E5M2FNUZ": jnp.float8_e5m2fnuz,
    "F8_E8M0": jnp.float8_e8m0fnu,
}
DTYPES: Mapping[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in _NAMES.items()}
"""The dtypes of the format that arrays of JAX have, by their names in the format."""

_CODES = {dtype: name for name, dtype in DTYPES.items()}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What a file says of a tensor, and where its bytes stand, counted from the file's start."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file holds, in the order of its header."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def make_header(
    order: Iterable[str], sizes: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]], metadata: Any
) -> bytes:
    """Write the beginning of a file, up to where its data begins, at a multiple of 64.

    Args:
        order: The names in the order of their bytes.
        sizes: Dtype and shape by name, in the order in which the header has them.
        metadata: Text by name.
    """
    places: dict[str, list[int]] = {}
    end = 0
    for name in order:
        dtype, shape = sizes[name]
        places[name] = [end, end := end + math.prod(shape) * dtype.itemsize]
    entries = {
        name: {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": places[name]}
        for name, (dtype, shape) in sizes.items()
    }
    header = {_METADATA: metadata, **entries} if metadata else entries
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def known(dtype: Any) -> bool:
    """Tell whether the format has a dtype."""
    return dtype in _CODES


def read_header(path: Path, file: BinaryIO) -> Header:
    """Read and check the header of an open file; nothing of the data is read.

    Raises:
        CheckpointError: If this is no safetensors file, or anything in the header is wrong.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    head = file.read(16)
    if head[8:9] != b"{":
        refuse_foreign(path, file, head)
    length = int.from_bytes(head[:8], "little")
    if length > MAX_HEADER:
        raise refuse(path, [f"a header of {length} bytes, and no reader takes over {MAX_HEADER}"])
    if length > size - 8:
        raise refuse(
            path,
            [f"cut off: its header has {length} bytes, and the whole file {size}"],
            "copy or download the file again",
        )
    file.seek(8)
    entries = load_json(path, file.read(length), "header")
    problems: list[str] = []
    metadata = _metadata(entries.pop(_METADATA, {}), problems)
    tensors: dict[str, Tensor] = {}
    for name, entry in entries.items():
        tensor = _tensor(name, entry, 8 + length)
        if isinstance(tensor, Tensor):
            tensors[name] = tensor
        else:
            problems.append(f"{shown(name)}: {tensor}")
    problems.extend([] if problems else _misplaced(tensors, 8 + length, size))
    if problems:
        raise refuse(path, problems)
    return Header(tensors, metadata)


def load_json(path: Path, raw: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object in which no name comes twice."""
    twice: dict[str, None] = {}

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice.update((name, None) for name, _ in pairs if name in seen or seen.add(name))
        return found

    try:
        found = json.loads(raw.decode(), object_pairs_hook=unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise refuse(path, [f"the {what} is no JSON: {str(error)[:200]}"]) from None
    if twice:
        raise refuse(path, [f"{shown(name)}: stands twice in the {what}" for name in twice])
    if not isinstance(found, dict):
        raise refuse(path, [f"the {what} is no JSON object, but {type(found).__name__}"])
    return cast("dict[str, Any]", found)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")  # but Python reads it


def text_by_name(value: Any) -> dict[str, str] | None:
    """Give a dict from text to text, or nothing where a value is none."""
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, Any]", value)
    return found if all(isinstance(each, str) for each in found.values()) else None


def _metadata(value: Any, problems: list[str]) -> dict[str, str]:
    found = text_by_name(value)
    if found is None:
        problems.append(f"{_METADATA}: expected text by name")
    return found or {}


def _tensor(name: str, entry: Any, begin: int) -> Tensor | str:
    """Check what a header says of one tensor; the problem where something is wrong."""
    if not encodes(name):
        return "the name is no Unicode text"
    if not isinstance(entry, dict):
        return f"expected dtype, shape and data_offsets, got {_brief(entry)}"
    fields = cast("dict[str, Any]", entry)
    missing = [key for key in ("dtype", "shape", "data_offsets") if key not in fields]
    if missing:
        return f"no {' and no '.join(missing)}"
    code, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        return f"unknown dtype {_brief(code)}; known are {', '.join(DTYPES)}"
    if not _counts(shape):
        return f"shape {_brief(shape)} is no list of sizes"
    if len(shape) > _MAX_RANK:
        return f"has {len(shape)} dimensions, and {_MAX_RANK} are the most"
    dtype = DTYPES[code]
    if math.prod(size or 1 for size in shape) * dtype.itemsize > _MAX_SIZE:
        return f"shape {_brief(shape)} is larger than any memory"
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        return f"data_offsets {_brief(offsets)} are not two numbers of bytes, in order"
    start, stop = offsets
    needed = math.prod(shape) * dtype.itemsize
    if needed != stop - start:
        kind = f"{dtype.name}[{','.join(map(str, shape))}]"
        return f"{kind} takes {needed} bytes, and its place has {stop - start}"
    return Tensor(dtype, tuple(shape), begin + start, begin + stop)


def encodes(name: str) -> bool:
    """Tell whether a name is Unicode: JSON can write halves of surrogate pairs."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _counts(value: Any) -> bool:
    """Tell whether a value is a list of integers from 0 on, none of them enormous."""
    return isinstance(value, list) and all(
        type(each) is int and 0 <= each <= _MAX_SIZE for each in cast("list[Any]", value)
    )


def _misplaced(tensors: Mapping[str, Tensor], begin: int, size: int) -> Iterator[str]:
    """Say which tensors lie over each other or out of the file, and which bytes are nobody's."""
    end, last = begin, ""
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        place = f"bytes {tensor.start} to {tensor.stop}"
        if tensor.stop > size:
            yield f"{shown(name)}: cut off: {place} of a file of {size}"
        elif tensor.start < end:
            yield f"{shown(name)}: {place} overlap those of {shown(last)}, which end at {end}"
        elif tensor.start > end:
            yield f"{shown(name)}: {place}, and those from {end} on belong to no tensor"
        if tensor.stop >= end:
            end, last = tensor.stop, name
    if end < size:
        yield f"{size - end} bytes after the last tensor"


def _brief(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
