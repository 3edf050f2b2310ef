"""Declarations: what one parameter or buffer is, before any array exists."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import jax
import numpy as np

from funcparams.core.errors import (
    DeclarationAttributeError,
    DeclarationUseError,
)

Initializer: TypeAlias = Callable[..., jax.Array]
"""A pure function `(key, shape, dtype) -> Array`, the signature of jax.nn.initializers."""

Shape: TypeAlias = int | Sequence[int]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Declaration:
    """What one array of a module is: its shape, dtype and initializer. It holds no numbers.

    Declarations are compared by identity where sharing is concerned: the same declaration in two
    places is one shared array, two equal ones are two arrays.
    """

    shape: tuple[int, ...]
    init: Initializer
    dtype: np.dtype[Any]
    # Where it was first registered, `LinearModel.weight`; for error texts only.
    label: list[str] = dataclasses.field(default_factory=list[str], init=False)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes of the array."""
        return self.size * self.dtype.itemsize

    def traits(self) -> tuple[Any, ...]:
        """Give what makes two declarations equal, apart from sharing and the initializer."""
        raise AssertionError("a Declaration is a Param or a Buffer")  # pragma: no cover

    def copy(self, **changes: Any) -> Declaration:
        """Give another declaration, shared with nothing, with some traits changed."""
        return dataclasses.replace(self, **changes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Declaration:
        return self.copy()

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({self.shape}, {self.init!r}, {self.dtype.name})"

    def _refusal(self, use: str) -> str:
        name = self.label[0] if self.label else "this declaration"
        return (
            f"{name} is declared as {self!r} and holds no numbers: {use} needs an array.\n"
            "  Compute with it in __call__, where `self.<name>` is an array, or use a "
            "parametrization;\n  a value known now belongs into the initializer: "
            "init.constant(...) or init.array(...)."
        )

    @property
    def __jax_array__(self) -> NoReturn:
        # A property: jax asks `hasattr` first, and would go on to an error of its own.
        raise DeclarationUseError(self._refusal("a jax function"))

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(jax.Array, name):
            raise DeclarationAttributeError(self._refusal(f"`.{name}`"))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Param(Declaration):
    """The declaration of a parameter; made by [`param`][funcparams.param].

    Example:
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> weight = nn.Linear(4, 3).weight
        >>> isinstance(weight, fp.Param), weight.shape, weight.size
        (True, (3, 4), 12)
    """

    axes: tuple[str | None, ...] | None = None
    trainable: bool = True

    def traits(self) -> tuple[Any, ...]:
        """Give what makes two parameters equal, apart from sharing and the initializer."""
        return ("param", self.shape, self.dtype, self.axes, self.trainable)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Buffer(Declaration):
    """The declaration of a buffer; made by [`buffer`][funcparams.buffer].

    Example:
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> mean = nn.BatchNorm1d(4).running_mean
        >>> isinstance(mean, fp.Buffer), mean.shape, mean.persistent
        (True, (4,), True)
    """

    persistent: bool = True

    def traits(self) -> tuple[Any, ...]:
        """Give what makes two buffers equal, apart from sharing and the initializer."""
        return ("buffer", self.shape, self.dtype, self.persistent)


def _refuse(operation: str) -> Callable[..., NoReturn]:
    def refuse(self: Declaration, *_: Any, **__: Any) -> NoReturn:
        raise DeclarationUseError(self._refusal(f"`{operation}`"))  # pyright: ignore[reportPrivateUsage]

    return refuse


# Python looks operators up on the type, so __getattr__ never sees them.
_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
_OTHER = (
    "neg pos abs invert bool int float complex index trunc len iter getitem setitem "
    "contains round lt le gt ge array"
).split()
for _name in [*_BINARY, *(f"r{name}" for name in _BINARY), *_OTHER]:
    setattr(Declaration, f"__{_name}__", _refuse(f"__{_name}__"))
