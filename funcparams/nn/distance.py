"""How far vectors are from each other: `CosineSimilarity` and `PairwiseDistance`."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import (
    InputError,
    InputTypeError,
    floating,
    number,
    title,
    whole,
    widened,
)


class CosineSimilarity(Module):
    r"""Take the cosine between vectors: $y = x_1 \cdot x_2 / (|x_1|_\epsilon |x_2|_\epsilon)$.

    $|x|_\epsilon$ is the Euclidean norm, or $\epsilon$ where that is smaller.

    Args:
        dim: The axis that is summed over; negative numbers count from the end.
        eps: $\epsilon$, the smallest norm that is divided by.

    Called with x1 and x2 of one floating dtype, whose shapes broadcast against each other, it
    returns an array of the broadcast shape without the axis `dim`, of that dtype. The half types
    are computed in float32.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the shapes do not broadcast, or have no axis `dim`.
        InputTypeError: If the inputs are of integers, or of two dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> x1, x2 = jnp.array([[1.0, 0.0], [3.0, 4.0]]), jnp.array([[0.0, 2.0], [3.0, 4.0]])
        >>> nn.CosineSimilarity().apply({}, x1, x2).round(3).tolist()
        [0.0, 1.0]

    References:
        [torch.nn.CosineSimilarity](https://docs.pytorch.org/docs/stable/generated/torch.nn.CosineSimilarity.html)
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = whole(dim, "CosineSimilarity", "dim", None)
        self.eps = number(eps, "CosineSimilarity", "eps")

    def __call__(self, x1: ArrayLike, x2: ArrayLike) -> jax.Array:
        """Take the cosines of x1 and x2 along the axis `dim`."""
        first, second, shape = _pair(self, x1, x2)
        if not -len(shape) <= self.dim < len(shape):
            raise InputError(
                f"{title(self)}: expected inputs with an axis dim={self.dim}, got shapes "
                f"{first.shape} and {second.shape}."
            )
        axis = self.dim % len(shape)
        wide = widened(first.dtype)
        ranked = (_ranked(each, shape, axis).astype(wide) for each in (first, second))
        one, other = (self._unit(each, axis) for each in ranked)
        return jnp.sum(one * other, axis).astype(first.dtype)

    def _unit(self, x: jax.Array, axis: int) -> jax.Array:
        """Divide by the norm; where that is less than eps, by eps, with the norm's derivative."""
        norm = _norm(x, 2, axis)
        least = lax.stop_gradient(jnp.maximum(norm, self.eps) - norm)
        return x * (1 / (norm + least))

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


class PairwiseDistance(Module):
    r"""Take the distance between vectors: $y = |x_1 - x_2 + \epsilon|_p$.

    Args:
        p: The p of the p-norm, any number; 0 counts what differs, and infinity takes the largest
            difference.
        eps: $\epsilon$, added to every difference.
        keepdim: Whether the last axis stays, of size 1.

    Called with x1 of shape (N, D) or (D,) and x2 likewise, of one floating dtype, or of any shapes
    that broadcast against each other, it returns an array of the broadcast shape without the last
    axis, of that dtype. The half types are computed in float32. Where a distance is 0, its
    gradient is 0.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the shapes do not broadcast, or have no axis.
        InputTypeError: If the inputs are of integers, or of two dtypes.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> x1, x2 = jnp.array([[0.0, 0.0], [1.0, 1.0]]), jnp.array([[3.0, 4.0], [1.0, 2.0]])
        >>> nn.PairwiseDistance(eps=0).apply({}, x1, x2).tolist()
        [5.0, 1.0]

    References:
        [torch.nn.PairwiseDistance](https://docs.pytorch.org/docs/stable/generated/torch.nn.PairwiseDistance.html)
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm = number(p, "PairwiseDistance", "p")
        self.eps = number(eps, "PairwiseDistance", "eps")
        self.keepdim = bool(keepdim)

    def __call__(self, x1: ArrayLike, x2: ArrayLike) -> jax.Array:
        """Take the distances of x1 and x2 along the last axis."""
        first, second, shape = _pair(self, x1, x2)
        if not shape:
            raise InputError(f"{title(self)}: expected inputs of one axis or more, got scalars.")
        wide, axis = widened(first.dtype), len(shape) - 1
        distance = _norm(first.astype(wide) - second.astype(wide) + self.eps, self.norm, axis)
        return (distance if self.keepdim else lax.squeeze(distance, (axis,))).astype(first.dtype)

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


def _pair(
    module: Module, x1: ArrayLike, x2: ArrayLike
) -> tuple[jax.Array, jax.Array, tuple[int, ...]]:
    """Return two inputs of one floating dtype, and the shape that they broadcast to."""
    first, second = (floating(module, x, jnp.floating) for x in (x1, x2))
    if first.dtype != second.dtype:
        raise InputTypeError(
            f"{title(module)}: the inputs are {first.dtype}{list(first.shape)} and "
            f"{second.dtype}{list(second.shape)}; layers promote nothing silently.\n"
            f"  Convert one of them: x2.astype({first.dtype})."
        )
    try:
        return first, second, jnp.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise InputError(
            f"{title(module)}: expected two inputs whose shapes broadcast against each other, got "
            f"{first.shape} and {second.shape}."
        ) from None


def _ranked(x: jax.Array, shape: tuple[int, ...], axis: int) -> jax.Array:
    """Give an input the rank of a shape, and its size on one axis, over which it is summed."""
    x = lax.expand_dims(x, range(len(shape) - x.ndim))
    if x.shape[axis] == shape[axis]:
        return x
    return jnp.broadcast_to(x, (*x.shape[:axis], shape[axis], *x.shape[axis + 1 :]))


def _norm(x: jax.Array, p: float, axis: int) -> jax.Array:
    """Return the p-norm over an axis, kept; its derivative at 0 is 0, unlike that of a root."""
    if p == 2:
        total = jnp.sum(lax.square(x), axis, keepdims=True)
        zero = total == 0
        return jnp.where(zero, 0, lax.sqrt(jnp.where(zero, 1, total)))
    size = x * lax.sign(x)  # unlike that of lax.abs, this derivative is 0 at 0
    if p == 0:
        return jnp.sum(size != 0, axis, keepdims=True).astype(x.dtype)
    if math.isinf(p):
        return (jnp.max if p > 0 else jnp.min)(size, axis, keepdims=True)
    if p == 1:
        return jnp.sum(size, axis, keepdims=True)
    none = size == 0
    powers = jnp.where(none, 0 if p > 0 else jnp.inf, jnp.where(none, 1, size) ** p)
    total = jnp.sum(powers, axis, keepdims=True)
    zero = total == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, total) ** (1 / p))
