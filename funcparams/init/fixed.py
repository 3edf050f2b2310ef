"""Initializers that draw nothing: constants, identities, and values given."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import operator
from typing import Any, NoReturn, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from funcparams.core.errors import DefinitionTypeError, InitializerError
from funcparams.core.trace import Tracer
from funcparams.drawing.draw import Fixed

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class constant(Fixed):
    """Fill with one value.

    Args:
        val: The value, a Python or NumPy number. Values other than whole numbers need a floating
            dtype.

    Raises:
        DefinitionTypeError: If `val` is not a number.
        InitializerError: When called for a dtype that cannot hold it.

    Example:
        >>> import jax.numpy as jnp
        >>> constant(0.25)(None, (2,))
        Array([0.25, 0.25], dtype=float32)
        >>> constant(3)(None, (), jnp.int32)
        Array(3, dtype=int32)

    References:
        [torch.nn.init.constant_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.constant_)
    """

    val: complex

    def __post_init__(self) -> None:
        value: Any = self.val
        if isinstance(value, np.generic):
            value = cast(Any, value.item())
        if not isinstance(value, bool | int | float | complex):
            raise DefinitionTypeError(
                f"constant(val): expected a number, got {value!r}, a {type(value).__name__}.\n"
                "  For an array of values use init.array(values)."
            )
        # One nan object, whose hash is that of its identity.
        object.__setattr__(self, "val", math.nan if value != value else value)

    def __eq__(self, other: object) -> bool:
        # A tuple compares by identity first, so nan equals nan; Python 3.13's own __eq__ does not.
        return isinstance(other, constant) and (self.val,) == (other.val,)

    def __hash__(self) -> int:
        return hash((self.val,))

    def __reduce__(self) -> tuple[Any, ...]:
        return (constant, (self.val,))

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse a value that the dtype would change beyond rounding."""
        value: Any = self.val
        if jnp.issubdtype(dtype, jnp.complexfloating):
            return
        fits = not isinstance(value, complex)
        if fits and dtype == np.bool_:
            fits = value in (0, 1)
        elif fits and jnp.issubdtype(dtype, jnp.integer):
            bounds = jnp.iinfo(dtype)
            fits = value == value and bounds.min <= value <= bounds.max and value == int(value)
        if not fits:
            raise InitializerError(f"{self!r} does not fit into dtype {dtype.name}")

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Fill."""
        return xp.full(shape, self.val, dtype)


@dataclasses.dataclass(frozen=True)
class zeros(Fixed):
    """Fill with zeros.

    Example:
        >>> zeros()(None, (2,))
        Array([0., 0.], dtype=float32)

    References:
        [torch.nn.init.zeros_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.zeros_)
    """

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Fill."""
        return xp.zeros(shape, dtype)


@dataclasses.dataclass(frozen=True)
class ones(Fixed):
    """Fill with ones.

    Example:
        >>> ones()(None, (2,))
        Array([1., 1.], dtype=float32)

    References:
        [torch.nn.init.ones_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.ones_)
    """

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Fill."""
        return xp.ones(shape, dtype)


@dataclasses.dataclass(frozen=True)
class eye(Fixed):
    """Make the identity matrix; where the shape is not square, what fits of it.

    Raises:
        InitializerError: When called for a shape that has not two axes.

    Example:
        >>> eye()(None, (2, 3))
        Array([[1., 0., 0.],
               [0., 1., 0.]], dtype=float32)

    References:
        [torch.nn.init.eye_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.eye_)
    """

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse anything but a matrix."""
        if len(shape) != 2:
            raise InitializerError(
                f"{self!r}: Only arrays with 2 dimensions are supported, got shape {shape}"
            )

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Make the identity."""
        return xp.eye(*shape, dtype=dtype)


@dataclasses.dataclass(frozen=True)
class dirac(Fixed):
    """Make a convolution's weight that passes its inputs on, as many as there are outputs for.

    Entry (g * n + d, d, centre) is 1 in each of the groups g, where n is the outputs of a group
    and the centre is at size // 2 of each spatial axis. All others are 0.

    Args:
        groups: The convolution's groups.

    Raises:
        InitializerError: When called for a shape that has not 3, 4 or 5 axes, or whose outputs
            the groups do not divide.

    Example:
        >>> weight = dirac(groups=2)(None, (4, 2, 3))
        >>> [tuple(map(int, index)) for index in zip(*weight.nonzero())]
        [(0, 0, 1), (1, 1, 1), (2, 0, 1), (3, 1, 1)]

    References:
        [torch.nn.init.dirac_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.dirac_)
    """

    groups: int = 1

    def __post_init__(self) -> None:
        try:
            groups = operator.index(self.groups)
        except TypeError:
            raise DefinitionTypeError(
                f"dirac(groups): expected an int, got {self.groups!r}"
            ) from None
        if groups < 1:
            raise InitializerError(f"dirac(groups): expected an int >= 1, got {groups}")
        object.__setattr__(self, "groups", groups)

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse what is no convolution's weight."""
        if len(shape) not in (3, 4, 5):
            raise InitializerError(
                f"{self!r}: Only arrays with 3, 4, or 5 dimensions are supported, got shape {shape}"
            )
        if shape[0] % self.groups:
            raise InitializerError(
                f"{self!r}: dim 0 must be divisible by groups, got shape {shape}"
            )

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Put the ones in."""
        values = np.zeros(shape, dtype)
        outputs = shape[0] // self.groups
        if values.size:
            inputs = np.arange(min(outputs, shape[1]))
            centre = tuple(size // 2 for size in shape[2:])
            for group in range(self.groups):
                values[(group * outputs + inputs, inputs, *centre)] = 1
        return xp.asarray(values)


class array(Fixed):
    """Give values that are known: a constant matrix, a table of positions, pretrained weights.

    The values are copied, so nothing that happens to the original later changes a definition. Two
    are equal if shape, dtype and every bit of the values are.

    Args:
        values: An array, or numbers in nested lists. Lists of Python numbers become float32,
            int32, bool or complex64; arrays keep their dtype.
        dtype: The dtype, if it is to be another one.

    Raises:
        DefinitionTypeError: If the values are traced, or not numbers.
        InitializerError: When called for another shape, or for a dtype of a lesser kind (floating
            values as integers).

    Example:
        >>> table = array([[1.0, 2.0], [3.0, 4.0]])
        >>> table.shape, table.dtype.name, table
        ((2, 2), 'float32', array([[1.0, 2.0], [3.0, 4.0]], dtype='float32'))
        >>> table(None, (2, 2))
        Array([[1., 2.],
               [3., 4.]], dtype=float32)

    References:
        [torch.nn.parameter.Parameter](https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)
    """

    _values: NDArray[Any]

    def __init__(self, values: Any, dtype: Any = None) -> None:
        if isinstance(values, Tracer):
            raise DefinitionTypeError(
                f"array(values): expected known values, got the traced {values}.\n"
                "  Make the definition outside of the transform, or pass the values to the call."
            )
        python = not hasattr(values, "dtype")
        try:
            held = np.array(values, copy=True)
            if dtype is not None:
                held = held.astype(dtype)
            elif python:
                held = _as_jax_does(held)
            numeric = held.dtype == np.bool_ or jnp.issubdtype(held.dtype, jnp.number)
        except (TypeError, ValueError) as error:
            raise DefinitionTypeError(f"array(values): expected numbers: {error}") from None
        if not numeric:
            raise DefinitionTypeError(f"array(values): expected numbers, got dtype {held.dtype}")
        held.setflags(write=False)
        object.__setattr__(self, "_values", held)

    @property
    def shape(self) -> Shape:
        """The shape of the values."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self._values.dtype

    @functools.cached_property
    def _digest(self) -> bytes:
        return hashlib.blake2b(self._values.tobytes(), digest_size=16).digest()

    def _content(self) -> tuple[Any, ...]:
        return (self.shape, self.dtype.name, self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, array) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        if self._values.size > 16:
            digest = self._digest.hex()[:8]
            return f"array(<{self.dtype.name} {self.shape}, blake2b {digest}>)"
        return f"array({self._values.tolist()}, dtype={self.dtype.name!r})"

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to {name!r} of an initializer")

    def __reduce__(self) -> tuple[Any, ...]:
        return (array, (self._values,))

    def __deepcopy__(self, memo: dict[int, Any]) -> array:
        return self

    def __call__(self, key: jax.Array | None, shape: Any, dtype: Any = None) -> jax.Array:
        """Make the array; the key is not used, and may be None."""
        return super().__call__(key, shape, self.dtype if dtype is None else dtype)

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse another shape, and a dtype that would lose more than digits."""
        if shape != self.shape:
            raise InitializerError(
                f"{self!r} holds values of shape {self.shape}, expected {shape}: "
                "declare that shape, or leave it out"
            )
        if _rank(self.dtype) > _rank(dtype):
            raise InitializerError(
                f"{self!r} holds {self.dtype.name} values, expected {dtype.name}: "
                f"give init.array(values, dtype=jnp.{dtype.name}) to convert them"
            )

    def make(self, shape: Shape, dtype: np.dtype[Any], xp: Any) -> Any:
        """Give the values."""
        return xp.asarray(self._values.astype(dtype))


def _as_jax_does(values: NDArray[Any]) -> NDArray[Any]:
    """Give numbers that had no dtype the one that JAX gives them."""
    if values.dtype == np.int64:
        small = values.astype(np.int32)
        if not np.array_equal(small, values):
            raise ValueError("an integer does not fit into int32: give a dtype")
        return small
    shorter = {"float64": np.float32, "complex128": np.complex64}
    return values.astype(shorter.get(values.dtype.name, values.dtype))


def _rank(dtype: np.dtype[Any]) -> int:
    kinds = (np.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next(rank for rank, kind in enumerate(kinds) if jnp.issubdtype(dtype, cast(Any, kind)))
