"""Declarations: what one parameter or buffer is, before any array exists."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.core.errors import (
    DeclarationAttributeError,
    DeclarationUseError,
    DefinitionTypeError,
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
        return ("param", self.shape, self.dtype.name, self.axes, self.trainable)


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
        return ("buffer", self.shape, self.dtype.name, self.persistent)


def param(
    shape: Shape | None = None,
    init: Initializer | None = None,
    dtype: Any = None,
    *,
    axes: Sequence[str | None] | None = None,
    trainable: bool = True,
) -> jax.Array:
    """Declare a parameter: an array that `init` draws and that gradients may reach.

    Args:
        shape: The shape; an int stands for one axis. It may be left out where the initializer
            has a shape of its own (`init.array`).
        init: The initializer, any pure function `(key, shape, dtype) -> Array`.
        dtype: A floating or complex dtype; float32 where nothing is said, whatever
            `jax_enable_x64` is.
        axes: A name or None for each axis, for sharding rules.
        trainable: Whether gradients reach it. Without, `bind` puts a `stop_gradient` before it.

    Returns:
        A [`Param`][funcparams.Param]. It is typed as `jax.Array`, because that is what the
        attribute is where it is used: in `__call__`.

    Raises:
        DefinitionTypeError: For a shape, initializer or dtype that cannot be meant; integers are
            buffers.

    Example:
        >>> import funcparams as fp
        >>> from funcparams import init
        >>> class Scale(fp.Module):
        ...     def __init__(self, features: int):
        ...         self.scale = fp.param((features,), init.ones())
        ...     def __call__(self, x):
        ...         return x * self.scale
        >>> Scale(3)
        Scale()

    References:
        [torch.nn.parameter.Parameter](https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)
    """
    shape, init, dtype = _settle("param", shape, init, dtype)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise DefinitionTypeError(
            f"param(dtype={dtype.name}): a parameter is floating or complex, since only these "
            "have gradients.\n  Declare a buffer instead: fp.buffer(shape, init, dtype)."
        )
    if axes is not None and len(axes) != len(shape):
        raise DefinitionTypeError(
            f"param(axes={tuple(axes)!r}): expected {len(shape)} names, one for each axis of "
            f"shape {shape}, got {len(axes)}. Use None for an axis without a name."
        )
    named = None if axes is None else tuple(axes)
    return cast(jax.Array, Param(shape, init, dtype, named, bool(trainable)))


def buffer(
    shape: Shape | None = None,
    init: Initializer | None = None,
    dtype: Any = None,
    *,
    persistent: bool = True,
) -> jax.Array:
    """Declare a buffer: an array of any dtype that is state, not learnt.

    Args:
        shape: The shape; it may be left out where the initializer has one (`init.array`).
        init: The initializer, any pure function `(key, shape, dtype) -> Array`.
        dtype: Any dtype; float32 where nothing is said and the initializer has none.
        persistent: Whether `state_dict` contains it.

    Returns:
        A [`Buffer`][funcparams.Buffer], typed as `jax.Array`, as `param` is.

    Raises:
        DefinitionTypeError: For a shape, initializer or dtype that cannot be meant.

    Example:
        >>> import funcparams as fp, jax.numpy as jnp
        >>> from funcparams import init
        >>> class Counter(fp.Module):
        ...     def __init__(self):
        ...         self.calls = fp.buffer((), init.zeros(), jnp.int32)
        ...     def __call__(self, x):
        ...         self.calls = self.calls + 1
        ...         return x
        >>> model = Counter()
        >>> y, state = model.apply_with_state(model.init(None), model.init_state(), 2.0)
        >>> int(state["calls"])
        1

    References:
        [torch.nn.parameter.Buffer](https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html)
    """
    shape, init, dtype = _settle("buffer", shape, init, dtype)
    return cast(jax.Array, Buffer(shape, init, dtype, persistent))


def floating(dtype: Any) -> Any:
    """Check the dtype of a cast; parameters are floating, so integers are refused."""
    try:
        wanted = jnp.dtype(dtype)
    except TypeError as error:
        raise DefinitionTypeError(
            f"expected a dtype such as jnp.bfloat16, got {dtype!r}."
        ) from error
    if not jnp.issubdtype(wanted, jnp.floating):
        raise DefinitionTypeError(
            f"cannot cast to {wanted.name}: a cast changes floating arrays and takes a floating "
            "dtype.\n  Quantised parameters are a parametrization's work."
        )
    return wanted


def _settle(
    kind: str, shape: Shape | None, init: Initializer | None, dtype: Any
) -> tuple[tuple[int, ...], Initializer, np.dtype[Any]]:
    """Check the three arguments that both kinds have, and fill in what the initializer knows."""
    if init is None or isinstance(init, type) or not callable(init):
        hint = f": write {init.__name__}()" if isinstance(init, type) else ""
        came = "no initializer" if init is None else repr(init)
        raise DefinitionTypeError(
            f"{kind}(init=...): expected a function (key, shape, dtype) -> Array, "
            f"got {came}{hint}.\n"
            "  For instance init.zeros(), init.normal(std=0.02), or init.array(values)."
        )
    try:
        hash((init.func, init.args, *init.keywords.values()) if isinstance(init, partial) else init)
    except TypeError as error:
        raise DefinitionTypeError(
            f"{kind}(init=...): {init!r} is not hashable, and definitions are compared by value.\n"
            "  Use a frozen dataclass, tuples for lists, and init.array(values) for given values."
        ) from error
    if shape is None:
        shape = getattr(init, "shape", None)
    if dtype is None:
        dtype = getattr(init, "dtype", jnp.float32)
    try:
        sizes = (
            (operator.index(cast(Any, shape)),)
            if not isinstance(shape, Sequence)
            else tuple(operator.index(size) for size in shape)
        )
    except TypeError:
        sizes = (-1,)
    if min(sizes, default=0) < 0:
        raise DefinitionTypeError(
            f"{kind}(shape={shape!r}): expected a non-negative int or a tuple of them."
        )
    try:
        # canonicalize is not applied: what is declared does not depend on jax_enable_x64.
        checked = jnp.dtype(dtype)
    except TypeError as error:
        raise DefinitionTypeError(
            f"{kind}(dtype={dtype!r}): expected a dtype such as jnp.float32."
        ) from error
    return sizes, init, checked


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
