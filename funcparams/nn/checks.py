"""What layers check: the arguments of their constructors, and the shapes and dtypes of inputs."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.core.definition import Bound, record
from funcparams.core.errors import FuncparamsError, nearest
from funcparams.module import Module

C = TypeVar("C", bound=str)


class ArgumentError(FuncparamsError, ValueError):
    """A constructor was given a value that its layer cannot have.

    Example:
        >>> from funcparams import nn
        >>> try:
        ...     nn.Dropout(1.5)
        ... except nn.ArgumentError as error:
        ...     print(error)
        Dropout(p=1.5): expected a probability, a number from 0 to 1.
    """


class InputError(FuncparamsError, ValueError):
    """A layer was called with an array of a shape that it cannot take."""


class InputTypeError(FuncparamsError, TypeError):
    """A layer was called with an array of a dtype that it cannot take."""


# Constructor arguments


def whole(value: Any, layer: str, name: str, least: int | None = 0) -> int:
    """Return an integer that is at least `least`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        bound = "" if least is None else f" >= {least}"
        raise ArgumentError(f"{layer}({name}={value!r}): expected an integer{bound}.")
    return number


def wholes(value: Any, count: int, layer: str, name: str, least: int = 0) -> tuple[int, ...]:
    """Return one integer for each of `count` axes; one integer alone stands for all of them."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (whole(value, layer, name, least),) * count
    sizes: tuple[Any, ...] = tuple(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if len(sizes) != count:
        raise ArgumentError(
            f"{layer}({name}={sizes!r}): expected one integer, or one for each of {count} axes."
        )
    return tuple(whole(size, layer, name, least) for size in sizes)


def number(value: Any, layer: str, name: str) -> float:
    """Return a real number as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or math.isnan(value):
        raise ArgumentError(f"{layer}({name}={value!r}): expected a number.")
    return value  # pyright: ignore[reportReturnType]  # an int stays one, for repr


def probability(value: Any, layer: str, name: str = "p") -> float:
    """Return a number from 0 to 1 as it is."""
    if type(value) is bool or not (isinstance(value, numbers.Real) and 0 <= float(value) <= 1):
        raise ArgumentError(
            f"{layer}({name}={value!r}): expected a probability, a number from 0 to 1."
        )
    return value  # pyright: ignore[reportReturnType]


def choice(value: Any, known: Iterable[C], layer: str, name: str) -> C:
    """Return one of the known words."""
    words = list(known)
    for word in words:
        if value == word:
            return word
    raise ArgumentError(
        f"{layer}({name}={value!r}): expected one of {', '.join(map(repr, words))}"
        f"{nearest(str(value), words)}."
    )


# Inputs


def widened(dtype: Any) -> Any:
    """Return the dtype that sums are taken in: float32 for the half types, else the same."""
    # promote_types would refuse under strict promotion.
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype


def title(module: Module) -> str:
    """Name a bound module as errors do: by its dotted name and class, or its class at the root."""
    known, layer = record(module), type(module).__name__
    if not isinstance(known, Bound) or not known.path:
        return layer
    return f"{known.name} ({layer})"


def array(x: ArrayLike) -> jax.Array:
    """Return an input as an array of JAX; a tracer is one."""
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def floating(module: Module, x: ArrayLike, kind: Any = jnp.inexact) -> jax.Array:
    """Return an input as an array of floating-point numbers, real only where `kind` says so."""
    x = array(x)
    if not jnp.issubdtype(x.dtype, kind):
        raise InputTypeError(
            f"{title(module)}: expected an input of floating-point numbers, got "
            f"{x.dtype}{list(x.shape)}.\n"
            "  Convert it first: x.astype(jnp.float32)."
        )
    return x


def matching(module: Module, x: ArrayLike, weight: jax.Array, name: str = "input") -> jax.Array:
    """Return an input as an array that has the dtype of the parameters."""
    x = array(x)
    if x.dtype != weight.dtype:
        raise InputTypeError(
            f"{title(module)}: the {name} is {x.dtype}{list(x.shape)}, and the parameters are "
            f"{weight.dtype}; layers promote nothing silently.\n"
            f"  Convert the {name}, x.astype({weight.dtype}), or the parameters: "
            f"model.astype(dtype) for new ones, fp.cast(params, dtype) for these."
        )
    return x


def layout(features: str, channels_last: bool, axes: Sequence[str], batched: bool = True) -> str:
    """Write a data layout for error texts: `(N, C, H, W)`."""
    inner = [*axes, features] if channels_last else [features, *axes]
    return f"({', '.join(['N', *inner] if batched else inner)})"


AXES = {0: (), 1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}
"""How PyTorch's documentation calls the spatial axes, by their number."""


def spatial_axes(module: Module, x: jax.Array, count: int, channels_last: bool) -> tuple[int, ...]:
    """Return the spatial axes of an input with or without a batch axis; refuse other ranks."""
    if x.ndim not in (count + 1, count + 2):
        batched = layout("C", channels_last, AXES[count])
        single = layout("C", channels_last, AXES[count], batched=False)
        raise InputError(
            f"{title(module)}: expected an input of shape {batched}, or {single} without a batch "
            f"axis, got shape {x.shape}."
        )
    last = x.ndim - (1 if channels_last else 0)
    return tuple(range(last - count, last))


def channel_axis(x: jax.Array, count: int, channels_last: bool) -> int:
    """Return the axis of the channels, where `count` spatial axes follow or precede it."""
    return x.ndim - 1 if channels_last else x.ndim - count - 1
