"""Maxima over windows together with their places, which `MaxUnpool` and its kin ask for.

A place is the number of an entry, counted row by row over the spatial axes. Every number travels
with its place through the comparisons; places added by padding have none, which is -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import jax
import numpy as np
from jax import lax

from funcparams.nn.pooling.windows import SHORT, Window, doubled, joined, slices

Placed: TypeAlias = tuple[jax.Array, jax.Array]


def placed(x: jax.Array, axes: Sequence[int]) -> Placed:
    """Return x with the place of each of its numbers on the spatial axes."""
    sizes = [x.shape[axis] for axis in axes]
    numbers = lax.iota(np.int32, int(np.prod(sizes))).reshape(sizes)
    return x, lax.broadcast_in_dim(numbers, x.shape, axes)


def first_maxima(pair: Placed, axis: int, window: Window) -> Placed:
    """Return the maximum of each window on an axis with its place: of equal ones the first."""
    if window.kernel > SHORT:
        return doubled(_first, pair, axis, window)
    values, places = (slices(each, axis, window) for each in pair)
    return joined(_first, list(zip(values, places, strict=True)))


def _first(left: Placed, right: Placed) -> Placed:
    """Return the greater of two neighbours with its place, where they are equal the first one's.

    As PyTorch has it, a NaN is greater than all before it, and what is added by padding less than
    -infinity. A derivative goes to the number that is taken.
    """
    (a, first), (b, second) = left, right
    later = (b > a) | (b != b) | (first < 0)
    return lax.select(later, b, a), lax.select(later, second, first)
