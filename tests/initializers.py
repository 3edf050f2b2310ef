"""One table of initializers, for the tests that put every one of them through the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcparams import init

FLOAT32 = np.dtype(np.float32)


@dataclasses.dataclass(frozen=True)
class Request:
    """What `draw` is asked for, without a module around it."""

    init: Any
    shape: tuple[int, ...]
    dtype: Any = FLOAT32


def scaled(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Another library's: the constants 3 and 1 invite XLA to compute otherwise when it is fused."""
    return jax.random.normal(key, shape, dtype) * jnp.asarray(3, dtype) + jnp.asarray(1, dtype)


def halved(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The initializer of behaviour.md's row 9, built on one of ours."""
    values = init.uniform(-10, 10)(key, shape, dtype)
    return jnp.where(jnp.abs(values) >= 5, values, 0)


NOISY = [
    init.uniform(-0.1, 0.3),
    init.normal(0.3, 0.7),
    init.normal(std=0.02),
    init.trunc_normal(0.1, 0.5, -0.3, 1.0),
    init.trunc_normal(a=2, b=3),
    init.xavier_uniform(),
    init.xavier_normal(5 / 3),
    init.kaiming_uniform(5**0.5),
    init.kaiming_normal(mode="fan_out", nonlinearity="relu"),
    init.variance_scaling(1.0, "fan_geo_avg", "normal"),
    init.lecun_uniform(),
    init.lecun_normal(),
    init.glorot_uniform(),
    init.glorot_normal(),
    init.he_uniform(),
    init.he_normal(),
]
STRUCTURED = [init.orthogonal(1.3), init.sparse(0.1)]
FIXED = [init.zeros(), init.ones(), init.constant(0.3), init.eye()]
FOREIGN = [jax.nn.initializers.he_normal(), jax.nn.initializers.zeros, scaled, halved]

# Those that want other shapes than the rest, with one that they take.
SHAPED = {
    init.dirac(2): (4, 2, 3),
    init.delta_orthogonal(): (4, 3, 3),
    init.array([[1.0, 2.0], [3.0, 4.0]]): (2, 2),
}
OURS = [*NOISY, *STRUCTURED, *FIXED, *SHAPED]
