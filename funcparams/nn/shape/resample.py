"""Resampling of one axis: where each new place comes from, with which weights, and how fast.

Gathers are exact and quick, but XLA's CPU backend differentiates them one place after the other.
So a whole factor takes no gather at all, and the others take their derivative, which is linear, as
a product with a matrix: 64 x 64 to 128 x 128 that is 15 to 25 times faster than the gather's own.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax import lax
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

_WIDEST = 512  # Up to here the matrix of an axis costs less than a gather's derivative.
_CUBIC = -0.75  # The parameter of the cubic kernel, as PyTorch and OpenCV have it.


@dataclasses.dataclass(frozen=True, eq=False)
class Taps:
    """For each new place of an axis, the old ones that it takes and their weights: (taps, new)."""

    size: int
    places: NDArray[np.int32]
    weights: NDArray[Any]

    def matrix(self) -> NDArray[Any]:
        """Return the same as a matrix, (new, old)."""
        made = np.zeros((self.places.shape[1], self.size), self.weights.dtype)
        for places, weights in zip(self.places, self.weights, strict=True):
            np.add.at(made, (np.arange(len(places)), places), weights)
        return made


def nearest(
    x: jax.Array, axis: int, count: int, factor: float | None, exact: bool, image: bool
) -> jax.Array:
    """Give an axis another size by repeating and leaving out places."""
    size, real = x.shape[axis], _counting(x)
    step = real(size) / real(count) if factor is None else real(1 / factor)
    source = (np.arange(count, dtype=real) + real(0.5 if exact else 0)) * step
    # PyTorch rounds down in float32, here and below, and for images it counts otherwise where the
    # size stays or doubles. (Its derivative always does so, and is not that of its own function.)
    places = np.minimum(np.floor(source.astype(np.float32)), size - 1).astype(np.int32)
    if image and not exact and count in (size, 2 * size):
        places = np.arange(count, dtype=np.int32) * size // count
    times = count // size
    if count % size == 0 and (places == np.arange(count) // times).all():
        return _repeated(x, axis, times) if times > 1 else x
    return _blended(x, axis, Taps(size, places[None], np.ones((1, count), real)))


def linear(x: jax.Array, axis: int, count: int, factor: float | None, corners: bool) -> jax.Array:
    """Give an axis another size by interpolation between two places."""
    size = x.shape[axis]
    if count == size:
        return x
    whole = count % size == 0 and (factor is None or factor * size == count)
    if whole and not corners:
        return _multiplied(x, axis, count // size)
    source = np.maximum(_sources(x, size, count, factor, corners), 0)
    low = np.minimum(np.floor(source.astype(np.float32)), size - 1).astype(np.int32)
    share = np.clip(source - low.astype(source.dtype), 0, 1)
    places = np.stack([low, np.minimum(low + 1, size - 1)])
    return _blended(x, axis, Taps(size, places, np.stack([1 - share, share])))


def cubic(x: jax.Array, axis: int, count: int, factor: float | None, corners: bool) -> jax.Array:
    """Give an axis another size by cubic convolution over four places."""
    size = x.shape[axis]
    source = _sources(x, size, count, factor, corners)
    low = np.minimum(np.floor(source.astype(np.float32)), size - 1).astype(np.int32)
    share = np.clip(source - low.astype(source.dtype), 0, 1)
    weights = [_far(share + 1), _near(share), _near(1 - share), _far(2 - share)]
    places = np.stack([np.clip(low + shift, 0, size - 1) for shift in (-1, 0, 1, 2)])
    return _blended(x, axis, Taps(size, places, np.stack(weights)))


def _near(t: NDArray[Any]) -> NDArray[Any]:
    """Return the kernel at distances from 0 to 1."""
    return ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1


def _far(t: NDArray[Any]) -> NDArray[Any]:
    """Return the kernel at distances from 1 to 2."""
    return ((_CUBIC * t - 5 * _CUBIC) * t + 8 * _CUBIC) * t - 4 * _CUBIC


def _counting(x: jax.Array) -> Any:
    """Return the dtype that PyTorch computes places and weights of x in."""
    return np.float64 if x.dtype == np.float64 else np.float32


def _sources(
    x: jax.Array, size: int, count: int, factor: float | None, corners: bool
) -> NDArray[Any]:
    """Return where on the old axis the new places stand."""
    real = _counting(x)
    wanted = np.arange(count, dtype=real)
    if corners:
        return wanted * (real(size - 1) / real(count - 1) if count > 1 else real(0))
    step = real(size) / real(count) if factor is None else real(1 / factor)
    return step * (wanted + real(0.5)) - real(0.5)


def _repeated(x: jax.Array, axis: int, times: int) -> jax.Array:
    shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    kept = [i for i in range(len(shape)) if i != axis + 1]
    return lax.broadcast_in_dim(x, shape, kept).reshape(_resized(x, axis, x.shape[axis] * times))


def _multiplied(x: jax.Array, axis: int, times: int) -> jax.Array:
    """Interpolate a whole number of new places for each old one: shifted copies, no gather."""
    size = x.shape[axis]
    first, last = (lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
    before = lax.concatenate([first, lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = lax.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
    phases: list[jax.Array] = []
    for phase in range(times):
        away = (phase + 0.5) / times - 0.5
        other = before if away < 0 else after
        share = np.asarray(abs(away), x.dtype)
        mixed = x * (1 - share) + other * share if away else x
        phases.append(lax.expand_dims(mixed, (axis + 1,)))
    return lax.concatenate(phases, axis + 1).reshape(_resized(x, axis, size * times))


def _resized(x: jax.Array, axis: int, count: int) -> tuple[int, ...]:
    return (*x.shape[:axis], count, *x.shape[axis + 1 :])


def _first_derivative(function: F) -> F:
    """Make a function one whose derivative is given by `function.defjvp`, with its type kept."""
    made: Any = jax.custom_jvp(function, nondiff_argnums=(1, 2))
    return made


def _blended(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    """Return the weighted sums of the places that the taps name."""
    return (_blend_by_matrix if taps.size <= _WIDEST else _blend)(x, axis, taps)


def _blend(x: jax.Array, axis: int, taps: Taps) -> jax.Array:
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(i for i in range(x.ndim) if i != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
    )
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    parts: list[jax.Array] = []
    for places, weights in zip(taps.places, taps.weights, strict=True):
        part = lax.gather(
            x,
            places[:, None],
            numbers,
            _resized(x, axis, 1),
            indices_are_sorted=True,
            mode="promise_in_bounds",
        )
        scaled = len(taps.places) > 1  # one place alone has the weight 1
        parts.append(part * weights.astype(x.dtype).reshape(shape) if scaled else part)
    return functools.reduce(lax.add, parts)


_blend_by_matrix = _first_derivative(_blend)


@_blend_by_matrix.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _blend_jvp(axis: int, taps: Taps, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    # The numbers themselves do not go through the matrix: 0 * inf would spread NaN over the axis.
    matrix = taps.matrix().astype(tangent.dtype)
    last = x.ndim - 1
    turned = lax.dot_general(tangent, matrix, (((axis,), (1,)), ((), ())), precision="highest")
    order = [*range(axis), last, *range(axis, last)]
    return _blend(x, axis, taps), lax.transpose(turned, order)
