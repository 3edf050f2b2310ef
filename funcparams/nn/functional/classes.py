"""Where classes stand, which class a target means, and the cross entropy that follows from it."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import InputError, array
from funcparams.nn.functional.reduction import described, floats, integers, reduced, wide


class Terms(NamedTuple):
    """The entries of a loss, and what their mean is divided by the sum of; None is 1 for each."""

    losses: jax.Array
    shares: jax.Array | None

    def reduced(self, reduction: str, dtype: Any) -> jax.Array:
        """Reduce them, and return the dtype of the input."""
        if reduction != "mean" or self.shares is None:
            return reduced(self.losses, reduction, dtype)
        total = jnp.sum(self.losses)
        return (total / jnp.sum(self.shares).astype(total.dtype)).astype(dtype)


# Inputs


def class_axis(loss: str, x: jax.Array, channels_last: bool) -> int:
    """Return the axis of the classes."""
    if not x.ndim:
        layout = "(N, ..., C)" if channels_last else "(N, C, ...)"
        raise InputError(f"{loss}: expected an input of shape (C,) or {layout}, got shape ().")
    return x.ndim - 1 if channels_last or x.ndim == 1 else 1


def target_classes(loss: str, target: ArrayLike, shape: tuple[int, ...], axis: int) -> jax.Array:
    """Return classes, one for each position of an input of this shape."""
    y = integers(loss, "target", target)
    positions = (*shape[:axis], *shape[axis + 1 :])
    if y.shape != positions:
        raise InputError(
            f"{loss}: expected a target of shape {positions}, classes for an input of shape "
            f"{shape}, got {described(y)}."
        )
    return y


def target_probabilities(
    loss: str, y: jax.Array, x: jax.Array, shape: tuple[int, ...], axis: int
) -> jax.Array:
    """Return probabilities of classes, in the dtype of x and of a given shape."""
    if y.shape != shape:
        positions = (*shape[:axis], *shape[axis + 1 :])
        raise InputError(
            f"{loss}: expected a target of shape {shape}, probabilities for an input of that "
            f"shape, got {described(y)}; classes are integers of shape {positions}."
        )
    floats(loss, input=x, target=y)
    return y


def is_floating(x: jax.Array) -> bool:
    """Whether a target is one of probabilities."""
    return jnp.issubdtype(x.dtype, jnp.floating)


def target_of(
    loss: str, target: ArrayLike, x: jax.Array, shape: tuple[int, ...], axis: int
) -> jax.Array:
    """Return classes or probabilities, whichever the dtype says."""
    y = array(target)
    if is_floating(y):
        return target_probabilities(loss, y, x, shape, axis)
    return target_classes(loss, y, shape, axis)


def class_weights(
    loss: str, weight: ArrayLike | None, x: jax.Array, classes: int
) -> jax.Array | None:
    """Return a weight for each class, or none."""
    if weight is None:
        return None
    _, weights = floats(loss, input=x, weight=weight)
    if weights.shape != (classes,):
        raise InputError(
            f"{loss}: expected a weight of shape ({classes},), one for each class, got shape "
            f"{weights.shape}."
        )
    return wide(weights)


# Formulas


def of_classes(
    losses: jax.Array, index: jax.Array, kept: jax.Array, weights: jax.Array | None
) -> Terms:
    """Weigh what positions give by their class, and leave ignored ones out."""
    if weights is None:
        return Terms(jnp.where(kept, losses, 0), kept)
    each = per_class(weights, index)
    return Terms(jnp.where(kept, each * losses, 0), jnp.where(kept, each, 0))


def entropies(
    x: jax.Array,
    y: jax.Array,
    weights: jax.Array | None,
    ignore_index: int,
    smoothing: float,
    axis: int,
) -> Terms:
    """Return the cross entropy at each position, of classes or probabilities y."""
    # Less their maximum, logits that are all large lose no digits.
    x = wide(x)
    top = lax.stop_gradient(jnp.max(x, axis))
    shifted = x - lax.expand_dims(top, (axis,))
    normalizer = jnp.log(jnp.sum(jnp.exp(shifted), axis))
    along = None if weights is None else _along(weights, axis, x.ndim)
    if is_floating(y):
        t = wide(y)
        t = t * (1 - smoothing) + smoothing / x.shape[axis] if smoothing else t
        t = t if along is None else t * along
        return Terms(normalizer * jnp.sum(t, axis) - jnp.sum(t * shifted, axis), None)
    index, kept = chosen(y, ignore_index)
    terms = of_classes(normalizer - (pick(x, index, axis) - top), index, kept, weights)
    if not smoothing:
        return terms
    if weights is None or along is None:
        spread = x.shape[axis] * normalizer - jnp.sum(shifted, axis)
    else:
        spread = jnp.sum(weights) * normalizer - jnp.sum(along * shifted, axis)
    spread = jnp.where(kept, spread, 0) * (smoothing / x.shape[axis])
    return Terms(terms.losses * (1 - smoothing) + spread, terms.shares)


def chosen(y: jax.Array, ignore_index: int) -> tuple[jax.Array, jax.Array]:
    """Return the class of each position, and whether it is kept; 0 stands for ignored ones."""
    kept = y != ignore_index
    return jnp.where(kept, y, 0), kept


def pick(x: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    """Return the entry of each position at an index of one axis; NaN for what is no index."""
    return cast(Any, _picked)(x, index, axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _picked(x: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    others = tuple(other for other in range(x.ndim) if other != axis)
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        operand_batching_dims=others,
        start_indices_batching_dims=tuple(range(index.ndim)),
    )
    return lax.gather(
        x,
        lax.expand_dims(index, (index.ndim,)),
        numbers,
        (1,) * x.ndim,
        mode=lax.GatherScatterMode.FILL_OR_DROP,
    )


@_picked.defjvp
def _(
    axis: int, primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, Any]
) -> tuple[jax.Array, jax.Array]:
    # The transpose of this select joins the derivative of what else is made of x in one loop,
    # where that of a gather is a scatter into zeros, which are then added.
    (x, index), (dx, _) = primals, tangents
    here = lax.broadcasted_iota(index.dtype, x.shape, axis) == lax.expand_dims(index, (axis,))
    return pick(x, index, axis), jnp.sum(jnp.where(here, dx, 0), axis)


def per_class(table: jax.Array, index: jax.Array) -> jax.Array:
    """Return the entry of a table of one axis at each index; NaN for what is no index."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    where = lax.expand_dims(index, (index.ndim,))
    return lax.gather(table, where, numbers, (1,), mode=lax.GatherScatterMode.FILL_OR_DROP)


def _along(weights: jax.Array, axis: int, ndim: int) -> jax.Array:
    """Put weights of classes on the axis of the classes."""
    return lax.expand_dims(weights, tuple(other for other in range(ndim) if other != axis))
