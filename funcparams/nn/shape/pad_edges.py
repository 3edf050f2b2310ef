"""Padding with what x itself holds: `ReflectionPad1d` to `CircularPad3d`."""

from __future__ import annotations

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from funcparams.nn.checks import array, spatial_axes
from funcparams.nn.shape.pad import Pad, Padding


class _EdgePad(Pad):
    """What the layers share that fill places from others: everything but from which."""

    def __init__(self, padding: Padding, *, channels_last: bool = False) -> None:
        self.keep(padding, channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Pad x."""
        x = array(x)
        for axis, low, high in self.sides(spatial_axes(self, x, self.spatial, self.channels_last)):
            if low or high:
                x = _taken(x, axis, self._places(x, axis, low, high))
        return x

    def _places(self, x: jax.Array, axis: int, low: int, high: int) -> NDArray[np.int64]:
        """Return from which place of an axis each one of the padded axis comes."""
        raise NotImplementedError

    def _wanted(self, x: jax.Array, axis: int, low: int, high: int) -> NDArray[np.int64]:
        """Return the places of the padded axis, counted from the first one of the axis."""
        size = x.shape[axis]
        if not size or size + low + high < 1:
            raise self.too_small(x, axis, "leaves no place")
        return np.arange(-low, size + high)


class _ReflectionPad(_EdgePad):
    """What the layers share that add mirror images."""

    def _places(self, x: jax.Array, axis: int, low: int, high: int) -> NDArray[np.int64]:
        last = x.shape[axis] - 1
        if max(low, high) > last:
            raise self.too_small(x, axis, "must be less than the size of an axis")
        return last - np.abs(last - np.abs(self._wanted(x, axis, low, high)))


class _ReplicationPad(_EdgePad):
    """What the layers share that add copies of the first and last places."""

    def _places(self, x: jax.Array, axis: int, low: int, high: int) -> NDArray[np.int64]:
        return np.clip(self._wanted(x, axis, low, high), 0, x.shape[axis] - 1)


class _CircularPad(_EdgePad):
    """What the layers share that go round."""

    def _places(self, x: jax.Array, axis: int, low: int, high: int) -> NDArray[np.int64]:
        wanted = self._wanted(x, axis, low, high)
        # Where one side takes places away, the other goes round what is left.
        first = max(-low, 0)
        left = x.shape[axis] - first - max(-high, 0)
        if max(low, high) > left:
            raise self.too_small(x, axis, "goes round more than once")
        return first + (wanted - first) % left


def _taken(x: jax.Array, axis: int, places: NDArray[np.int64]) -> jax.Array:
    """Take places along an axis: in runs, which are faster than single ones, backwards too."""
    parts: list[jax.Array] = []
    start = 0
    while start < len(places):
        step = int(places[start + 1] - places[start]) if start + 1 < len(places) else 1
        step = step if step in (-1, 0, 1) else 1
        breaks = np.flatnonzero(np.diff(places[start:]) != step)
        count = int(breaks[0]) + 1 if breaks.size else len(places) - start
        first, last = sorted((int(places[start]), int(places[start + count - 1])))
        part = lax.slice_in_dim(x, first, last + 1, axis=axis)
        if step == 0:
            shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
            part = lax.broadcast_in_dim(part, shape, range(x.ndim))
        parts.append(lax.rev(part, (axis,)) if step < 0 else part)
        start += count
    return lax.concatenate(parts, axis) if len(parts) > 1 else parts[0]


class ReflectionPad1d(_ReflectionPad):
    """Add a mirror image around one axis: the first and last places stand in it once.

    Args:
        padding: How many places are added: one number for both ends, or
            (left, right); less than the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and any dtype, it returns an array of the same rank
    and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReflectionPad1d(2).apply({}, jnp.array([[0, 1, 2, 3]])).tolist()
        [[2, 1, 0, 1, 2, 3, 2, 1]]

    References:
        [torch.nn.ReflectionPad1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html)
    """

    spatial = 1


class ReflectionPad2d(_ReflectionPad):
    """Add a mirror image around two axes: the first and last places stand in it once.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom); less than the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of the same
    rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReflectionPad2d((1, 0, 0, 1)).apply({}, jnp.array([[[0, 1], [2, 3]]])).tolist()
        [[[1, 0, 1], [3, 2, 3], [1, 0, 1]]]

    References:
        [torch.nn.ReflectionPad2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad2d.html)
    """

    spatial = 2


class ReflectionPad3d(_ReflectionPad):
    """Add a mirror image around three axes: the first and last places stand in it once.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom, front, back); less than the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and any dtype, it returns an array of the
    same rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReflectionPad3d(1).apply({}, jnp.ones((1, 2, 3, 4))).shape
        (1, 4, 5, 6)

    References:
        [torch.nn.ReflectionPad3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad3d.html)
    """

    spatial = 3


class ReplicationPad1d(_ReplicationPad):
    """Add copies of the first and last places around one axis.

    Args:
        padding: How many places are added: one number for both ends, or
            (left, right).
            A negative number takes places away.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and any dtype, it returns an array of the same rank
    and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReplicationPad1d(2).apply({}, jnp.array([[0, 1, 2]])).tolist()
        [[0, 0, 0, 1, 2, 2, 2]]

    References:
        [torch.nn.ReplicationPad1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html)
    """

    spatial = 1


class ReplicationPad2d(_ReplicationPad):
    """Add copies of the first and last places around two axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom).
            A negative number takes places away.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of the same
    rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReplicationPad2d((1, 0, 0, 1)).apply({}, jnp.array([[[0, 1], [2, 3]]])).tolist()
        [[[0, 0, 1], [2, 2, 3], [2, 2, 3]]]

    References:
        [torch.nn.ReplicationPad2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html)
    """

    spatial = 2


class ReplicationPad3d(_ReplicationPad):
    """Add copies of the first and last places around three axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom, front, back).
            A negative number takes places away.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and any dtype, it returns an array of the
    same rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReplicationPad3d(1).apply({}, jnp.ones((1, 2, 3, 4))).shape
        (1, 4, 5, 6)

    References:
        [torch.nn.ReplicationPad3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad3d.html)
    """

    spatial = 3


class CircularPad1d(_CircularPad):
    """Add what stands at the other end around one axis, as if it were a ring.

    Args:
        padding: How many places are added: one number for both ends, or
            (left, right); at most the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and any dtype, it returns an array of the same rank
    and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.CircularPad1d((2, 1)).apply({}, jnp.array([[0, 1, 2]])).tolist()
        [[1, 2, 0, 1, 2, 0]]

    References:
        [torch.nn.CircularPad1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html)
    """

    spatial = 1


class CircularPad2d(_CircularPad):
    """Add what stands at the other end around two axes, as if they were rings.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom); at most the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of the same
    rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.CircularPad2d((1, 0, 0, 1)).apply({}, jnp.array([[[0, 1], [2, 3]]])).tolist()
        [[[1, 0, 1], [3, 2, 3], [1, 0, 1]]]

    References:
        [torch.nn.CircularPad2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html)
    """

    spatial = 2


class CircularPad3d(_CircularPad):
    """Add what stands at the other end around three axes, as if they were rings.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom, front, back); at most the axis' own size.
            A negative number takes places away.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and any dtype, it returns an array of the
    same rank and dtype. Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.CircularPad3d(1).apply({}, jnp.ones((1, 2, 3, 4))).shape
        (1, 4, 5, 6)

    References:
        [torch.nn.CircularPad3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad3d.html)
    """

    spatial = 3
