"""What every loss does: convert and check what it is given, and reduce its entries at the end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    InputTypeError,
    array,
    choice,
    number,
    widened,
)

REDUCTIONS = ("none", "mean", "sum")


# Arguments


def reduction_of(reduction: Any, loss: str, known: tuple[str, ...] = REDUCTIONS) -> str:
    """Return one of the known reductions."""
    return choice(reduction, known, loss, "reduction")


def above_zero(value: Any, loss: str, name: str, or_zero: bool = False) -> float:
    """Return a number above 0, or from 0 on."""
    checked = number(value, loss, name)
    if checked < 0 or (checked == 0 and not or_zero):
        bound = ">= 0" if or_zero else "> 0"
        raise ArgumentError(f"{loss}({name}={value!r}): expected a number {bound}.")
    # A scalar of NumPy would promote what it meets.
    return float(checked)


# Inputs


def described(x: jax.Array) -> str:
    """Write dtype and shape of an array: `float32[3, 2]`."""
    return f"{x.dtype}{list(x.shape)}"


def floats(loss: str, **given: ArrayLike) -> list[jax.Array]:
    """Return inputs as arrays, all of the first one's floating-point dtype."""
    arrays = {name: array(x) for name, x in given.items()}
    (first, leading), *_ = arrays.items()
    for name, x in arrays.items():
        if not jnp.issubdtype(x.dtype, jnp.floating):
            dtype = "jnp.float32" if x is leading else leading.dtype
            raise InputTypeError(
                f"{loss}: expected {name} of floating-point numbers, got {described(x)}.\n"
                f"  Convert it first: {name}.astype({dtype})."
            )
        if x.dtype != leading.dtype:
            raise InputTypeError(
                f"{loss}: the {first} is {described(leading)}, and the {name} is {described(x)}; "
                "losses promote nothing silently.\n"
                f"  Convert one of them: {name}.astype({leading.dtype})."
            )
    return list(arrays.values())


def alike(loss: str, **given: ArrayLike) -> list[jax.Array]:
    """Return inputs as arrays of one floating-point dtype and one shape."""
    arrays = floats(loss, **given)
    one_shape(loss, **dict(zip(given, arrays, strict=True)))
    return arrays


def one_shape(loss: str, **arrays: jax.Array) -> None:
    """Refuse arrays of several shapes, where PyTorch broadcasts with or without a warning."""
    (first, leading), *others = arrays.items()
    for name, x in others:
        if x.shape != leading.shape:
            raise InputError(
                f"{loss}: expected {first} and {name} of one shape, got {leading.shape} and "
                f"{x.shape}.\n"
                f"  Losses broadcast nothing: reshape one of them, or broadcast it yourself, "
                f"jnp.broadcast_to({name}, {first}.shape)."
            )


def numbers_like(loss: str, name: str, given: ArrayLike, x: jax.Array) -> jax.Array:
    """Return signs, counts or labels in the dtype that the loss of x is computed in."""
    y = array(given)
    # Integers are no promotion here: they are what such a target is made of.
    if not jnp.issubdtype(y.dtype, jnp.integer) and y.dtype != x.dtype:
        raise InputTypeError(
            f"{loss}: expected a {name} of integers or of {x.dtype} as the input, got "
            f"{described(y)}.\n"
            f"  Convert it: {name}.astype({x.dtype})."
        )
    return y.astype(widened(x.dtype))


def integers(loss: str, name: str, given: ArrayLike) -> jax.Array:
    """Return integers as an array of a signed type, which holds what is no index too."""
    x = array(given)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise InputTypeError(f"{loss}: expected {name} of integers, got {described(x)}.")
    return x.astype(jnp.int64 if x.dtype.itemsize == 8 else jnp.int32)


def weights_like(
    loss: str, weight: ArrayLike | None, x: jax.Array, name: str = "weight", exact: bool = False
) -> jax.Array | None:
    """Return weights of the entries of x; of its very shape, or of one that broadcasts to it."""
    if weight is None:
        return None
    _, weights = floats(loss, input=x, **{name: weight})
    if exact:
        one_shape(loss, input=x, **{name: weights})
        return wide(weights)
    try:
        fits = np.broadcast_shapes(weights.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"{loss}: expected a {name} of a shape that broadcasts to the input's, {x.shape}, got "
            f"{weights.shape}."
        )
    return wide(weights)


def wide(x: jax.Array) -> jax.Array:
    """Return an array in the dtype that sums are taken in: half types in float32."""
    return x.astype(widened(x.dtype))


# Results


def reduced(losses: jax.Array, reduction: str, dtype: Any) -> jax.Array:
    """Reduce the entries of a loss, and return the dtype of its input."""
    if reduction == "mean":
        losses = jnp.mean(losses)
    elif reduction == "sum":
        losses = jnp.sum(losses)
    return losses.astype(dtype)


def weighed(losses: jax.Array, weights: jax.Array | None, reduction: str, dtype: Any) -> jax.Array:
    """Reduce entries with weights; a mean is divided by the sum of the weights."""
    if weights is None:
        return reduced(losses, reduction, dtype)
    losses = losses * weights
    if reduction == "mean":
        return (jnp.sum(losses) / jnp.sum(weights)).astype(dtype)
    return reduced(losses, reduction, dtype)


# Pieces of several losses


def above(x: jax.Array) -> jax.Array:
    """Return max(x, 0), with derivative 1 at 0 as PyTorch's clamp_min has it."""
    # Written so that NaN stays NaN.
    return jnp.where(x < 0, 0, x)


def magnitude(x: jax.Array) -> jax.Array:
    """Return the absolute value, with derivative 0 at 0, where that of jnp.abs is 1."""
    return x * jnp.sign(x)
