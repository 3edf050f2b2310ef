"""Initializers whose values depend on each other: orthogonal and sparse matrices."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcparams.core.errors import InitializerError
from funcparams.drawing.draw import Random
from funcparams.init.fan import number, settle
from funcparams.init.noise import normal

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class orthogonal(Random):
    r"""Draw a matrix with orthonormal rows or columns, whichever are fewer, times the gain.

    Axes after the first are flattened to one, as in PyTorch; jax.nn.initializers flattens those
    before the last. The distribution is uniform (Haar): Q of the QR decomposition of a normal
    matrix, with signs that make the diagonal of R positive. For a complex dtype it is unitary.

    Args:
        gain: A factor.

    Raises:
        InitializerError: When called for a shape of fewer than two axes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> weight = orthogonal()(jax.random.key(0), (3, 5))
        >>> bool(jnp.allclose(weight @ weight.T, jnp.eye(3), atol=1e-5))
        True

    References:
        Saxe et al., [Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks](https://arxiv.org/abs/1312.6120), 2013;
        [torch.nn.init.orthogonal_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.orthogonal_)
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, gain=number(self.gain, "orthogonal(gain)"))

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse what has no rows and columns."""
        if len(shape) < 2:
            raise InitializerError(
                f"{self!r}: Only arrays with 2 or more dimensions are supported, got shape {shape}"
            )

    def sample(self, key: jax.Array, shape: Shape, dtype: np.dtype[Any]) -> jax.Array:
        """Decompose a normal matrix."""
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        rows, columns = shape[0], math.prod(shape[1:])
        wide = _compute_dtype(dtype)
        tall = (max(rows, columns), min(rows, columns))
        q, r = jnp.linalg.qr(lax.optimization_barrier(normal().sample(key, tall, wide)))
        diagonal = cast(jax.Array, jnp.diagonal(r))
        size = jnp.abs(diagonal)
        one = jnp.ones((), wide)
        # Without this Q would not be uniform. A zero on the diagonal keeps its column.
        sign = jnp.where(size > 0, diagonal / jnp.where(size > 0, size, 1).astype(wide), one)
        q = q * sign[None, :]
        if rows < columns:
            q = q.T
        return (q.reshape(shape) * np.asarray(self.gain, wide)).astype(dtype)


@dataclasses.dataclass(frozen=True)
class delta_orthogonal(Random):
    r"""Draw a convolution's weight that is orthogonal at the kernel's centre and 0 elsewhere.

    The centre is at size // 2 of each spatial axis. The shape is (outputs, inputs, ...), where
    jax.nn.initializers has (..., inputs, outputs).

    Args:
        gain: A factor.

    Raises:
        InitializerError: When called for a shape that has not 3, 4 or 5 axes, or has more inputs
            than outputs: no such matrix keeps the norm.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> weight = delta_orthogonal()(jax.random.key(0), (4, 3, 5))
        >>> bool(jnp.allclose(weight[:, :, 2].T @ weight[:, :, 2], jnp.eye(3), atol=1e-5))
        True

    References:
        Xiao et al., [Dynamical isometry and a mean field theory of CNNs](
        https://arxiv.org/abs/1806.05393), 2018;
        [jax.nn.initializers.delta_orthogonal](https://docs.jax.dev/en/latest/_autosummary/jax.nn.initializers.delta_orthogonal.html)
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        settle(self, gain=number(self.gain, "delta_orthogonal(gain)"))

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse what is no convolution's weight, or narrows."""
        if len(shape) not in (3, 4, 5):
            raise InitializerError(
                f"{self!r}: Only arrays with 3, 4, or 5 dimensions are supported, got shape {shape}"
            )
        if shape[1] > shape[0]:
            raise InitializerError(
                f"{self!r}: there may not be more inputs (axis 1) than outputs (axis 0), "
                f"got shape {shape}"
            )

    def sample(self, key: jax.Array, shape: Shape, dtype: np.dtype[Any]) -> jax.Array:
        """Put an orthogonal matrix into the centre."""
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        centre = tuple(size // 2 for size in shape[2:])
        matrix = orthogonal(self.gain).sample(key, shape[:2], dtype)
        return jnp.zeros(shape, dtype).at[(slice(None), slice(None), *centre)].set(matrix)


@dataclasses.dataclass(frozen=True)
class sparse(Random):
    r"""Draw a matrix from $\mathcal N(0, std^2)$ with the same number of zeros in each column.

    Of n rows, $\lceil sparsity \cdot n \rceil$ are zero in each column, chosen anew for each.

    Args:
        sparsity: The share of zeros in a column, from 0 to 1.
        std: The standard deviation of the others.

    Raises:
        InitializerError: For a sparsity outside [0, 1], a negative std, or when called for a shape
            that has not two axes.

    Example:
        >>> import jax
        >>> weight = sparse(sparsity=0.1)(jax.random.key(0), (100, 50))
        >>> {int(zeros) for zeros in (weight == 0).sum(axis=0)}
        {10}

    References:
        Martens, Deep learning via Hessian-free optimization, 2010;
        [torch.nn.init.sparse_](https://docs.pytorch.org/docs/stable/nn.init.html#torch.nn.init.sparse_)
    """

    sparsity: float
    std: float = 0.01

    def __post_init__(self) -> None:
        settle(
            self,
            sparsity=number(self.sparsity, "sparse(sparsity)"),
            std=number(self.std, "sparse(std)", least=0),
        )
        if not 0 <= self.sparsity <= 1:
            raise InitializerError(
                f"sparse(sparsity): expected a share in [0, 1], got {self.sparsity:g}"
            )

    def check(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        """Refuse anything but a matrix."""
        if len(shape) != 2:
            raise InitializerError(
                f"{self!r}: Only arrays with 2 dimensions are supported, got shape {shape}"
            )

    def sample(self, key: jax.Array, shape: Shape, dtype: np.dtype[Any]) -> jax.Array:
        """Draw, and set the first rows of each column's own order to zero."""
        if 0 in shape:
            return jnp.zeros(shape, dtype)
        rows, columns = shape
        value_key, order_key = jax.random.split(key)
        values = normal(std=self.std).sample(value_key, shape, dtype)
        order = jnp.argsort(jax.random.bits(order_key, shape, jnp.uint32), axis=0)
        chosen = order[: math.ceil(self.sparsity * rows)]
        return values.at[chosen, jnp.arange(columns)].set(0)


def _compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the dtype to compute in: matrices in half precision are not decomposed."""
    return np.dtype(np.float32) if jnp.finfo(dtype).bits < 32 else dtype
