"""Declaring parameters and buffers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.core.declarations import Buffer, Initializer, Param
from funcparams.core.errors import DefinitionTypeError

Shape: TypeAlias = int | Sequence[int]


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
        hash(_parts(init))
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


def _parts(init: Any) -> Any:
    """Take a partial apart: it is hashed by identity itself."""
    if isinstance(init, partial):
        held = cast("partial[Any]", init)
        return (held.func, held.args, *held.keywords.values())
    return init
