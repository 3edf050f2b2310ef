"""Layers that change the shape only: `Flatten` and `Unflatten`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import ArgumentError, InputError, array, title, whole


class Flatten(Module):
    """Merge neighbouring axes into one.

    Args:
        start_dim: The first axis to merge.
        end_dim: The last axis to merge; negative numbers count from the end.

    Called with x of any shape and dtype, it returns x with the axes start_dim to end_dim merged.

    Raises:
        ArgumentError: If an argument is not an integer.
        InputError: If x has no such axes.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Flatten().apply({}, jnp.ones((5, 3, 4, 4))).shape
        (5, 48)

    References:
        [torch.nn.Flatten](https://docs.pytorch.org/docs/stable/generated/torch.nn.Flatten.html)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = whole(start_dim, "Flatten", "start_dim", None)
        self.end_dim = whole(end_dim, "Flatten", "end_dim", None)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Merge axes of x."""
        x = array(x)
        # A scalar counts as one axis, as in PyTorch.
        rank = max(x.ndim, 1)
        start, end = (d + rank if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < rank:
            raise InputError(
                f"{title(self)}: expected an input that has the axes start_dim={self.start_dim} to "
                f"end_dim={self.end_dim}, in this order; got shape {x.shape}."
            )
        merged = math.prod(x.shape[start : end + 1])
        return x.reshape(*x.shape[:start], merged, *x.shape[end + 1 :])


class Unflatten(Module):
    """Split one axis into several.

    Args:
        dim: The axis; negative numbers count from the end.
        unflattened_size: The sizes it is split into; one may be -1, for what the others leave.

    Called with x of any shape and dtype, it returns x with the axis split.

    Raises:
        ArgumentError: For sizes that cannot be meant.
        InputError: If x has no such axis, or the sizes do not multiply up to its own.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Unflatten(1, (3, -1)).apply({}, jnp.ones((5, 48))).shape
        (5, 3, 16)

    References:
        [torch.nn.Unflatten](https://docs.pytorch.org/docs/stable/generated/torch.nn.Unflatten.html)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim = whole(dim, "Unflatten", "dim", None)
        if not isinstance(unflattened_size, Sequence) or not unflattened_size:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"Unflatten(unflattened_size={unflattened_size!r}): expected a tuple of sizes."
            )
        sizes = tuple(whole(s, "Unflatten", "unflattened_size", -1) for s in unflattened_size)
        if sizes.count(-1) > 1:
            raise ArgumentError(
                f"Unflatten(unflattened_size={sizes}): expected at most one size of -1."
            )
        self.unflattened_size = sizes

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Split an axis of x."""
        x = array(x)
        axis = self.dim + x.ndim if self.dim < 0 else self.dim
        if not 0 <= axis < x.ndim:
            raise InputError(
                f"{title(self)}: expected an input that has the axis dim={self.dim}, got shape "
                f"{x.shape}."
            )
        sizes, whole_size = self.unflattened_size, x.shape[axis]
        known = math.prod(size for size in sizes if size >= 0)
        if -1 in sizes and known and whole_size % known == 0:
            sizes = tuple(whole_size // known if size < 0 else size for size in sizes)
        if -1 in sizes or math.prod(sizes) != whole_size:
            raise InputError(
                f"{title(self)}: unflattened_size={self.unflattened_size} does not multiply up to "
                f"{whole_size}, the size of axis {self.dim} of shape {x.shape}."
            )
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])
