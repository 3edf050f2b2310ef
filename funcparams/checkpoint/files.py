"""`save` and `load`: params and state to safetensors files and back."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, overload

import jax
import numpy as np

from funcparams.checkpoint.arrays import host
from funcparams.checkpoint.drafts import SUFFIX
from funcparams.checkpoint.errors import CheckpointError
from funcparams.checkpoint.inward import loading
from funcparams.checkpoint.opening import DEFAULT, open_file
from funcparams.checkpoint.ours import make_ours
from funcparams.checkpoint.outward import state_dict
from funcparams.checkpoint.placement import Sharding, placing
from funcparams.checkpoint.places import places
from funcparams.checkpoint.reader import File, Handles
from funcparams.checkpoint.rename import Rename
from funcparams.checkpoint.task import Call, Loaded
from funcparams.checkpoint.writer import write
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError
from funcparams.select.where import Where

Path_: TypeAlias = "str | os.PathLike[str]"

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def save(
    path: Path_,
    model: Definition,
    params: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int | str | None = None,
) -> None:
    """Write params and state to a safetensors file, under PyTorch's names, shared arrays once.

    What was there is replaced at once and at the end: if the process is killed at any instant, or
    the disk is full, the old checkpoint or the new one is there, and whole. Arrays are written one
    by one, without a copy of them all.

    Args:
        path: A file name that ends with `.safetensors`, or a folder (there already, or with a
            slash at its end) for its `model.safetensors`. Folders that are missing are made.
        model: The definition.
        params: Its params.
        state: Its state; needed where the definition has buffers that are persistent.
        metadata: Text by name, kept in the file.
        max_shard_bytes: Write several files of at most so many bytes of arrays, and an index
            `NAME.safetensors.index.json` in place of the one file, as Hugging Face's tools do: a
            number, or text such as `"5GB"`.

    Raises:
        MismatchError: If params or state do not fit the definition.
        CheckpointError: If an array cannot be written: its dtype is not in the format, it was
            donated, it is spread over several processes.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(2, 3)
        >>> params = model.init(jax.random.key(0))
        >>> fp.save("linear.safetensors", model, params, metadata={"step": "1000"})
        >>> fp.load("linear.safetensors").metadata
        {'step': '1000'}

    References:
        [The format](https://huggingface.co/docs/safetensors/index#format)
    """
    arrays = {
        name: _native(host(name, value))
        for name, value in state_dict(model, params, state, ties="once").items()
    }
    ours = make_ours(metadata, _ties(model, arrays))
    write(_target(path), arrays, ours, _bytes(max_shard_bytes))


@overload
def load(path: Path_, model: None = None, *, copy: bool = False) -> File: ...


@overload
def load(
    path: Path_,
    model: Definition,
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
    sharding: Sharding | None = None,
    copy: bool = False,
) -> Loaded: ...


def load(
    path: Path_,
    model: Definition | None = None,
    *,
    rename: Rename | None = None,
    transform: Mapping[Any, Callable[[Any], Any]] | None = None,
    where: Where | None = None,
    params: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    missing: Literal["error", "init"] = "error",
    unexpected: Literal["error", "ignore"] = "error",
    key: jax.Array | None = None,
    dtype: Any = None,
    sharding: Sharding | None = None,
    copy: bool = False,
) -> File | Loaded:
    """Read a safetensors file by name, strictly; without a model, look into it.

    Names, shapes and dtypes are checked first; then tensors are read, cast and placed one by one,
    and only those that are asked for. On CPU the memory of a file that `save` wrote is used as it
    is, without a copy, also after the file is deleted or saved anew. Nothing is ever unpickled.

    Args:
        path: The file; the index of several; or a folder with a `model.safetensors` or its index.
        model: The definition. Without it, and then without the options for it, nothing is read
            but the header.
        rename: As for `load_state_dict`.
        transform: As for `load_state_dict`; the arrays are numpy's.
        where: As for `load_state_dict`.
        params: As for `load_state_dict`.
        state: As for `load_state_dict`.
        missing: As for `load_state_dict`.
        unexpected: As for `load_state_dict`.
        key: As for `load_state_dict`.
        dtype: As for `load_state_dict`.
        sharding: Where arrays are put: one sharding for all, one for each `where` (the
            first that means a name wins), or a tree of them like params.
        copy: Copy what could be used as it is. Give True where other programs may write into the
            very file while the arrays live; `save` and downloads never do.

    Returns:
        (params, state, report) as from `load_state_dict`; without a model, the tensors by name.

    Raises:
        CheckpointError: If the file is broken, no safetensors file, or missing.
        MismatchError: If it does not fit the definition; all that does not is in one error.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(2, 3)
        >>> fp.save("linear.safetensors", model, model.init(jax.random.key(0)))
        >>> params, state, report = fp.load("linear.safetensors", model, dtype="bfloat16")
        >>> params["bias"].dtype
        dtype(bfloat16)
        >>> fp.load("linear.safetensors").shapes
        {'weight': (3, 2), 'bias': (3,)}
    """
    options: dict[str, Any] = {
        "rename": rename, "transform": transform, "where": where, "params": params, "state": state,
        "missing": missing, "unexpected": unexpected, "key": key, "dtype": dtype,
    }  # fmt: skip
    defaults = cast("dict[str, Any]", load.__kwdefaults__)
    if model is None:
        given = [name for name in options if options[name] is not defaults[name]]
        if given or sharding is not None:
            raise DefinitionTypeError(
                f"load: {', '.join([*given, *['sharding'] * (sharding is not None)])} given "
                "without a model.\n  fp.load(path, model, ...) makes params; fp.load(path) gives "
                "the tensors of the file."
            )
        return open_file(Path(path), copy)
    put = placing(model, sharding)
    file = open_file(Path(path), copy)
    return loading(Call("load", f" in {file.path}", put), model, Handles(file), **options)


def _target(path: Path_) -> Path:
    target = Path(path)
    if target.is_dir() or os.fspath(path).endswith("/"):
        return target / DEFAULT
    if target.suffix != SUFFIX:
        raise CheckpointError(
            f"{target}: what save writes is a safetensors file\n"
            f"To mend: name it {target.with_suffix(SUFFIX) if target.name else DEFAULT}, or give "
            "a folder that exists or ends with a slash."
        )
    return target


def _bytes(limit: Any) -> int | None:
    """Read a number of bytes."""
    if limit is None:
        return None
    number = limit
    if isinstance(limit, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B\s*", limit)
        if found:
            count, unit, binary = found.groups()
            number = int(float(count) * (1024 if binary else 1000) ** _UNITS[unit])
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise DefinitionTypeError(
            f"save(max_shard_bytes={limit!r}): expected a number of bytes from 1 on, or text such "
            'as "500MB", "5GB" or "4GiB".'
        )
    return number


def _native(array: Any) -> Any:
    """Give an array in the byte order of the format, which is also that of every machine of JAX."""
    if isinstance(array, np.ndarray | np.generic) and array.dtype.byteorder == ">":
        return cast(Any, array).astype(array.dtype.newbyteorder("<"))
    return cast(Any, array)


def _ties(model: Definition, arrays: Mapping[str, Any]) -> dict[str, str]:
    """Give the owner's name for every further name of what is saved."""
    ties: dict[str, str] = {}
    for place in places(model):
        if place.name == place.owner or not place.persistent:
            continue
        # A parametrization stands there as several arrays, under longer names.
        fields = [n[len(place.owner) :] for n in arrays if n.startswith(f"{place.owner}.")]
        for field in [""] if place.owner in arrays else fields:
            ties[place.name + field] = place.owner + field
    return ties
