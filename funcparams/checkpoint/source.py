"""One file of tensors: mapped, or read tensor by tensor."""

from __future__ import annotations

import mmap
import stat
import threading
import weakref
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from funcparams.checkpoint.errors import CheckpointError, refuse, shown
from funcparams.checkpoint.header import ALIGNMENT, Header, Tensor, read_header
from funcparams.checkpoint.ours import Ours, read_ours

Numbers: TypeAlias = np.ndarray[Any, Any]


class Source:
    """One open file of tensors.

    It stays readable when the file is deleted, or replaced by another save.

    Args:
        path: The file.
        copy: Read into memory of its own also what could be mapped.
    """

    def __init__(self, path: Path, copy: bool):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise refuse(path, ["not a file"])
        self.path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self.header: Header = read_header(path, self._file)
        self.ours: Ours = read_ours(path, self.header)
        # Other programs write their files in place, which tears a mapping apart; `save` never does.
        self._mapping = None if copy or not self.ours.library else self._mapped()
        if self._mapping is not None:
            self._file.close()  # the mapping has a handle of its own

    def _mapped(self) -> Numbers | None:
        """Map the file, privately: whoever writes into the memory does not write into the file."""
        try:
            pages = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError:  # a file system that cannot, or no room for the addresses
            return None
        return np.frombuffer(pages, np.uint8)

    def numbers(self, name: str, tensor: Tensor) -> Numbers:
        """Give the numbers of a tensor: a view of the mapping, or read into memory of its own."""
        if self._mapping is None:
            raw = self._read(tensor)
        else:
            raw = self._mapping[tensor.start : tensor.stop]
        if len(raw) < tensor.stop - tensor.start:
            raise self._shorter()
        if tensor.dtype == np.bool_ and raw.size and raw.max() > 1:
            raise refuse(self.path, [f"{shown(name)}: bytes that are neither true nor false"])
        array = raw.view(tensor.dtype).reshape(tensor.shape)
        array.flags.writeable = False  # JAX may use this very memory
        return array

    def _read(self, tensor: Tensor) -> Numbers:
        raw = empty(tensor.stop - tensor.start)
        view, done = memoryview(cast(Any, raw)), 0
        with self._lock:
            self._file.seek(tensor.start)
            while done < len(view):
                count = self._file.readinto(view[done:])
                if not count:
                    raise self._shorter()
                done += count
        return raw

    def _shorter(self) -> CheckpointError:
        return refuse(self.path, ["has become shorter since it was opened"])


def empty(size: int) -> Numbers:
    """Give bytes that JAX can use as they are on CPU: where a cache line begins."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size]


def duplicate(array: Numbers, dtype: Any) -> Numbers:
    """Copy an array into such bytes, cast and in row-major order."""
    wanted = np.dtype(dtype)
    copy = empty(array.size * wanted.itemsize).view(wanted).reshape(array.shape)
    np.copyto(copy, array, casting="unsafe")
    return copy


class Stored:
    """A tensor in a file: its shape and dtype are known, its numbers are read when asked for.

    Attributes:
        name: Its name in the file.
        shape: Its shape.
        dtype: Its dtype; another one than the file's after `astype`.
    """

    __slots__ = ("_source", "_tensor", "dtype", "name", "shape")

    def __init__(self, source: Source, name: str, tensor: Tensor, dtype: Any = None):
        self._source, self._tensor = source, tensor
        self.name, self.shape = name, tensor.shape
        self.dtype: np.dtype[Any] = tensor.dtype if dtype is None else np.dtype(dtype)

    @property
    def nbytes(self) -> int:
        """The bytes that it takes in the file."""
        return self._tensor.stop - self._tensor.start

    def astype(self, dtype: Any) -> Stored:
        """Give the same tensor, to be cast when it is read."""
        return Stored(self._source, self.name, self._tensor, dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Numbers:
        """Read it."""
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        array = self._source.numbers(self.name, self._tensor)
        return array if array.dtype == wanted and not copy else duplicate(array, wanted)
