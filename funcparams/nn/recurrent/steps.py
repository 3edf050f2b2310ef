"""What recurrent layers compute in one step: plain functions of arrays.

Each takes the gates before their nonlinearities, one array each, and the state. The derivatives
are written out for what has more than one gate: with the factors that the gradient needs computed
at once, a sequence keeps 6 arrays for an LSTM where automatic differentiation keeps 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

State: TypeAlias = tuple[jax.Array, ...]


class Step(NamedTuple):
    """One kind of recurrent network.

    Args:
        gates: How many gates each of the two products, of the input and of the state, holds.
        states: What the parts of the state are called, the hidden one first.
        run: Takes the gates and the state; returns the state after.
        apart: How many of the gates, the last ones, `run` takes in two parts, first what the input
            gives and then what the state gives; it takes the sum of the others.
    """

    gates: int
    states: tuple[str, ...]
    run: Callable[..., State]
    apart: int = 0

    def split(self, z: jax.Array) -> list[jax.Array]:
        """Give the gates of a product, which stand one after the other on its last axis."""
        axis = z.ndim - 1
        return [*lax.split(z, (z.shape[axis] // self.gates,) * self.gates, axis=axis)]

    def __call__(
        self, ours: Sequence[jax.Array], theirs: Sequence[jax.Array], state: State
    ) -> State:
        """Step, given what the input and what the state give to the gates."""
        both = self.gates - self.apart
        sums = (x + a for x, a in zip(ours[:both], theirs[:both], strict=True))
        return self.run(*sums, *ours[both:], *theirs[both:], *state)


def contract(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Return x @ weight.T, without the transpose."""
    return lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))


def _tanh(z: jax.Array, h: jax.Array) -> State:
    return (jnp.tanh(z),)


def _relu(z: jax.Array, h: jax.Array) -> State:
    return (jax.nn.relu(z),)


@jax.custom_jvp
def _lstm(
    i: jax.Array, f: jax.Array, g: jax.Array, o: jax.Array, h: jax.Array, c: jax.Array
) -> State:
    c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
    return lax.logistic(o) * jnp.tanh(c), c


@_lstm.defjvp
def _(primals: Any, tangents: Any) -> Any:
    i, f, g, o, _, before = primals
    di, df, dg, do, _, dc = tangents
    i, f, g, o = lax.logistic(i), lax.logistic(f), jnp.tanh(g), lax.logistic(o)
    c = f * before + i * g
    u = jnp.tanh(c)
    dc = f * dc + before * f * (1 - f) * df + g * i * (1 - i) * di + i * (1 - g * g) * dg
    dh = u * o * (1 - o) * do + o * (1 - u * u) * dc
    return (o * u, c), (dh, dc)


@jax.custom_jvp
def _gru(r: jax.Array, z: jax.Array, x: jax.Array, a: jax.Array, h: jax.Array) -> State:
    n = jnp.tanh(x + lax.logistic(r) * a)
    return (n + lax.logistic(z) * (h - n),)  # (1 - z) n + z h


@_gru.defjvp
def _(primals: Any, tangents: Any) -> Any:
    r, z, x, a, h = primals
    dr, dz, dx, da, dh = tangents
    r, z = lax.logistic(r), lax.logistic(z)
    n = jnp.tanh(x + r * a)
    slope = (1 - z) * (1 - n * n)
    dn = slope * dx + slope * r * da + slope * a * r * (1 - r) * dr
    return (n + z * (h - n),), (dn + z * dh + (h - n) * z * (1 - z) * dz,)


ELMAN = {"tanh": Step(1, ("h",), _tanh), "relu": Step(1, ("h",), _relu)}
LSTM = Step(4, ("h", "c"), _lstm)
GRU = Step(3, ("h",), _gru, apart=1)
