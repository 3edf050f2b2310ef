"""Sliding windows: the maxima and sums that pooling takes, axis by axis.

XLA has windows too (`lax.reduce_window`), and they would be shorter to write. But its CPU backend
differentiates a maximum 3 to 20 times slower than what stands here: a maximum over windows is one
over shifted slices, and of two axes it is the maximum of the maxima. The maximum of equal numbers
has its derivative at the first of them, as PyTorch has it, where `jnp.max` divides it among them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T", jax.Array, tuple[jax.Array, jax.Array])

SHORT = 8  # Up to here slices beat a reduction, and compile quickly.


@dataclasses.dataclass(frozen=True)
class Window:
    """The windows on one axis, whose input is padded already where that is needed."""

    kernel: int
    stride: int
    dilation: int
    count: int

    @property
    def extent(self) -> int:
        """How many places one window covers, those left out by the dilation too."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def disjoint(self) -> bool:
        """Whether no place is in two windows, and none is left out between two."""
        return self.count == 1 or (self.dilation == 1 and self.stride == self.kernel)


def maxima(x: jax.Array, axis: int, window: Window) -> jax.Array:
    """Return the maximum of each window on an axis; NaN where the window holds one."""
    if window.disjoint:
        return _block_max(_blocks(x, axis, window), axis, window.kernel)
    if window.kernel > 4 * window.stride:
        return doubled(larger, x, axis, window)
    return joined(larger, slices(x, axis, window))


def sums(x: jax.Array, axis: int, window: Window) -> jax.Array:
    """Return the sum of each window on an axis."""
    if window.count == 1 and window.kernel == x.shape[axis]:
        return x.sum(axis, keepdims=True)
    if window.kernel <= SHORT:
        return joined(lax.add, slices(x, axis, window))
    if window.disjoint:
        return _split(_blocks(x, axis, window), axis, window.kernel).sum(axis + 1)
    ones = [1] * x.ndim
    shape, strides, dilations = list(ones), list(ones), list(ones)
    shape[axis], strides[axis], dilations[axis] = window.kernel, window.stride, window.dilation
    x = lax.slice_in_dim(x, 0, (window.count - 1) * window.stride + window.extent, axis=axis)
    zero = np.zeros((), x.dtype)
    return lax.reduce_window(x, zero, lax.add, shape, strides, "VALID", None, dilations)


def totals(x: jax.Array, axes: Sequence[int], counts: Sequence[int]) -> jax.Array:
    """Return the sums of windows that cover axes evenly; axes summed whole in one reduction."""
    whole = tuple(axis for axis, count in zip(axes, counts, strict=True) if count == 1)
    x = x.sum(whole, keepdims=True) if whole else x
    for axis, count in zip(axes, counts, strict=True):
        x = x if axis in whole else uneven(sums, x, axis, count)
    return x


def uneven(function: Callable[[T, int, Window], T], x: T, axis: int, count: int) -> T:
    """Return `function` of `count` windows that cover an axis as evenly as PyTorch has it."""
    size = jax.tree.leaves(x)[0].shape[axis]
    if size % count == 0:
        width = size // count
        return function(x, axis, Window(width, width, 1, count))
    parts = [
        function(_sliced(x, axis, low, high), axis, Window(high - low, 1, 1, 1))
        for low, high in adaptive_bounds(size, count)
    ]
    return jax.tree.map(lambda *each: lax.concatenate(each, axis), *parts)


def adaptive_bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Return where each of `count` windows on `size` places starts and ends; they may overlap."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def slices(x: jax.Array, axis: int, window: Window) -> list[jax.Array]:
    """Return, for each place in a window, what all windows have there."""
    reach = (window.count - 1) * window.stride + 1
    starts = [place * window.dilation for place in range(window.kernel)]
    return [lax.slice_in_dim(x, low, low + reach, window.stride, axis) for low in starts]


def joined(join: Callable[[T, T], T], parts: list[T]) -> T:
    """Join neighbours until one is left: shallower than one after the other, in the same order."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [functools.reduce(join, pair) for pair in pairs]
    return parts[0]


def doubled(join: Callable[[T, T], T], x: T, axis: int, window: Window) -> T:
    """Join the places of wide windows in steps: 2 of them, 4, and so on, at every place."""
    places = jax.tree.leaves(x)[0].shape[axis] - window.extent + 1
    width = 1
    while width < window.kernel:
        # The last step may overlap: the same number twice does not change a maximum.
        shift = min(width, window.kernel - width)
        left = jax.tree.leaves(x)[0].shape[axis] - shift * window.dilation
        start = shift * window.dilation
        x = join(_sliced(x, axis, 0, left), _sliced(x, axis, start, start + left))
        width += shift
    last = (window.count - 1) * window.stride + 1
    return _sliced(x, axis, 0, min(last, places), window.stride)


def _sliced(x: T, axis: int, low: int, high: int, step: int = 1) -> T:
    def cut(each: jax.Array) -> jax.Array:
        return lax.slice_in_dim(each, low, high, step, axis)

    return jax.tree.map(cut, x)


def _first_derivative(function: F, *static: int) -> F:
    """Make a function one whose derivative is given by `function.defjvp`, with its type kept."""
    made: Any = jax.custom_jvp(function, nondiff_argnums=static)
    return made


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.max(a, b)


larger = _first_derivative(_larger)
"""The greater of two; where they are equal, the derivative is the first one's."""


@larger.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _larger_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    a, b = primals
    return lax.max(a, b), lax.select((b <= a) | (a != a), *tangents)


def _block_maximum(x: jax.Array, axis: int, size: int) -> jax.Array:
    if size > SHORT:
        return jnp.max(_split(x, axis, size), axis + 1)
    return joined(lax.max, slices(x, axis, Window(size, size, 1, x.shape[axis] // size)))


_block_max = _first_derivative(_block_maximum, 1, 2)
"""The maxima of consecutive blocks of one size."""


@_block_max.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _block_max_jvp(
    axis: int, size: int, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    blocks, tangent = (_split(each, axis, size) for each in (x, tangent))
    first = lax.expand_dims(lax.argmax(blocks, axis + 1, np.int32), (axis + 1,))
    chosen = lax.broadcasted_iota(np.int32, blocks.shape, axis + 1) == first
    return _block_maximum(x, axis, size), jnp.where(chosen, tangent, 0).sum(axis + 1)


def _blocks(x: jax.Array, axis: int, window: Window) -> jax.Array:
    """Return the part of an axis that disjoint windows cover, block after block."""
    stop = window.extent if window.count == 1 else window.count * window.kernel
    step = window.dilation if window.count == 1 else 1
    if step == 1 and stop == x.shape[axis]:
        return x
    return lax.slice_in_dim(x, 0, stop, step, axis)


def _split(x: jax.Array, axis: int, size: int) -> jax.Array:
    return x.reshape(*x.shape[:axis], x.shape[axis] // size, size, *x.shape[axis + 1 :])
