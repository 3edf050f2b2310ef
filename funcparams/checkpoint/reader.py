"""`File`: the tensors of a checkpoint by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from funcparams.checkpoint.errors import shown
from funcparams.checkpoint.ours import Ours
from funcparams.checkpoint.report import aligned
from funcparams.checkpoint.source import Numbers, Stored
from funcparams.core.errors import SelectionError, nearest


class File(Mapping[str, Numbers]):
    """The tensors of a checkpoint by name; they are read when asked for.

    Shared tensors have all their names. `print` shows a table.

    Attributes:
        path: The file, or the index of its shards.
        metadata: What was saved with it: text by name.
        ties: The owner's name for every further name of a shared tensor.
        library: What wrote it, `funcparams 0.1.0`; empty for the files of others.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(2, 3)
        >>> fp.save("linear.safetensors", model, model.init(jax.random.key(0)))
        >>> file = fp.load("linear.safetensors")
        >>> file["bias"].shape
        (3,)
        >>> print(file)
        linear.safetensors: 2 tensors, 36 bytes, by funcparams 0.1.0
        name    shape   dtype    bytes
        weight  (3, 2)  float32  24
        bias    (3,)    float32  12
    """

    def __init__(self, path: Path, stored: dict[str, Stored], ours: Ours):
        self.path = path
        self.metadata, self.ties, self.library = ours.metadata, ours.ties, ours.library
        self._stored = stored | {alias: stored[owner] for alias, owner in ours.ties.items()}

    def __getitem__(self, name: str) -> Numbers:
        return np.asarray(self.stored(name))

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def stored(self, name: str) -> Stored:
        """Give a tensor without reading its numbers.

        Args:
            name: Its name.

        Returns:
            What has the tensor's `shape` and `dtype`, and is read by `np.asarray`.
        """
        if name not in self._stored:
            raise SelectionError(f"{self.path}: no tensor {name!r}{nearest(name, self._stored)}")
        return self._stored[name]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes by name."""
        return {name: stored.shape for name, stored in self._stored.items()}

    @property
    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """The dtypes by name."""
        return {name: stored.dtype for name, stored in self._stored.items()}

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors together, shared ones once."""
        return sum(self._stored[name].nbytes for name in self._stored if name not in self.ties)

    def __str__(self) -> str:
        count = len(self) - len(self.ties)
        by = f", by {self.library}" if self.library else ""
        head = f"{self.path}: {count} tensor{'' if count == 1 else 's'}, {self.nbytes:,} bytes{by}"
        lines = [head, *(f"{shown(key)}: {shown(text)}" for key, text in self.metadata.items())]
        rows = [("name", "shape", "dtype", "bytes", "shared with" if self.ties else "")]
        for name, stored in self._stored.items():
            owner = self.ties.get(name)
            size = f"{stored.nbytes:,}" if owner is None else ""
            tie = "" if owner is None else f"= {shown(owner)}"
            rows.append((shown(name), str(stored.shape), stored.dtype.name, size, tie))
        return "\n".join([*lines, *(aligned(rows) if self._stored else [])])

    __repr__ = __str__


class Handles(Mapping[str, Stored]):
    """The tensors of a file by name, none of them read."""

    def __init__(self, file: File):
        self._file = file

    def __getitem__(self, name: str) -> Stored:
        return self._file.stored(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __len__(self) -> int:
        return len(self._file)
