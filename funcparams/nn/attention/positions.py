"""Rotary positions: a position turns each pair of numbers of a head by an angle."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, InputError, InputTypeError, array, widened


def rotary(
    x: ArrayLike, positions: ArrayLike, base: float = 10000.0, interleaved: bool = False
) -> jax.Array:
    r"""Turn the i-th pair of numbers of each head by the angle $p\, b^{-2 i / d}$.

    So the product of a query and a key depends on the distance of their positions p only. With d
    numbers to a head, the i-th pair are the numbers i and i + d / 2, as in Hugging Face's models,
    whose weights are ordered for that; or 2 i and 2 i + 1 with `interleaved`, as in the paper.

    Args:
        x: Queries or keys of shape (..., L, H, d), d even, of a real floating dtype.
        positions: Integers of shape (L,), or (..., L) with the leading axes of x.
        base: $b$.
        interleaved: Whether pairs stand next to each other.

    Returns:
        The turned array, of x's shape and dtype. Angles and products of the half types are computed
        in float32.

    Raises:
        ArgumentError: For a base that is not above 0.
        InputError: For an odd d, or positions of another length than x.
        InputTypeError: If x is not of real floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> x = jnp.array([1.0, 0.0]).reshape(1, 1, 2)
        >>> print(nn.rotary(x, jnp.array([1])).round(4))  # cos 1, sin 1
        [[[0.5403 0.8415]]]

    References:
        Su et al., [RoFormer](https://arxiv.org/abs/2104.09864), 2021
    """
    x, positions = array(x), array(positions)
    if base <= 0:
        raise ArgumentError(f"rotary(base={base}): expected a number above 0.")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputTypeError(
            f"rotary: expected an x of floating-point numbers, got {x.dtype}{list(x.shape)}."
        )
    if x.ndim < 3 or x.shape[-1] % 2:
        raise InputError(
            f"rotary: expected an x of shape (..., L, H, d) with an even d, got shape {x.shape}."
        )
    if positions.shape not in (x.shape[-3:-2], x.shape[:-2]):
        raise InputError(
            f"rotary: expected positions of shape {x.shape[-3:-2]}, or {x.shape[:-2]}, beside an x "
            f"of shape {x.shape}, got shape {positions.shape}."
        )
    wide, size = widened(x.dtype), x.shape[-1]
    # In float64 and rounded once: at position p an error of a frequency counts p times.
    frequencies = np.asarray(base ** (-np.arange(0, size, 2) / size), wide)
    angles = (positions.astype(wide)[..., None] * frequencies)[..., None, :]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if interleaved:
        pairs = x.astype(wide).reshape(*x.shape[:-1], size // 2, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        turned = jnp.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)
    else:
        a, b = jnp.split(x.astype(wide), 2, -1)
        turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
    return turned.astype(x.dtype)
