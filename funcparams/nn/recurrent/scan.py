"""Steps over time: one `lax.scan` for each layer and direction.

The gradient of the recurrent weight is a sum over the steps: of products of the state before each
with the gradient after it. The transpose of a scan adds these one by one, and so reads and writes
an array as large as the weight in every step. Here it is one product after the scan, of the
states, which the output holds anyhow, with the gradients of what the steps add.

A product with a weight as it stands, (gates, hidden), takes up to 1.7 times as long on CPU as with
its transpose, which the scan cannot make once for all steps. It is made before, and only forward
products take it: those of the gradient go the other way, and want the weight as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from funcparams.nn.recurrent.steps import State, Step, contract

# From how many steps on one transpose of the weight is worth its time.
_MANY = 8


class Weights(NamedTuple):
    """What the state is multiplied with in one layer and direction."""

    recurrent: jax.Array
    bias: jax.Array | None  # added to that product, where it cannot be added to the input
    projection: jax.Array | None


def _scan(
    step: Step,
    reverse: bool,
    gates: Sequence[jax.Array],
    keep: jax.Array | None,
    weights: Weights,
    state: State,
    shifts: Sequence[jax.Array],
) -> tuple[jax.Array, State]:
    turned = None
    if len(gates[0]) >= _MANY and gates[0].size > gates[0].shape[0] * gates[0].shape[-1]:
        turned = lax.transpose(weights.recurrent, (1, 0))

    def body(state: State, now: Any) -> tuple[State, jax.Array]:
        ours, keep, shifts = now
        z = _product(state[0], weights.recurrent, turned)
        theirs = step.split(z if weights.bias is None else z + weights.bias)
        if shifts:
            both = step.gates - step.apart
            theirs[both:] = [_shifted(*each) for each in zip(theirs[both:], shifts, strict=True)]
        new = step(ours, theirs, state)
        if weights.projection is not None:
            new = (contract(new[0], weights.projection), *new[1:])
        if keep is not None:
            new = tuple(jnp.where(keep, each, old) for each, old in zip(new, state, strict=True))
        return new, new[0]

    final, outputs = lax.scan(body, state, (gates, keep, shifts), reverse=reverse)
    return outputs, final


def over_time(
    step: Step,
    reverse: bool,
    gates: Sequence[jax.Array],
    keep: jax.Array | None,
    weights: Weights,
    state: State,
) -> tuple[jax.Array, State]:
    """Step through a sequence.

    Args:
        step: What is computed in each step.
        reverse: Whether the last place comes first.
        gates: What the input gives to each gate; the first axis is time. They are separate arrays,
            since XLA does not vectorise reading a part of a step's part of one.
        keep: At which places the state changes, or None for all; of a gate's rank, the last axis 1.
        weights: What the state is multiplied with.
        state: The state before the first step.

    Returns:
        The hidden state after each step, stacked, and the whole state after the last.
    """
    return _differentiable(step, reverse, gates, keep, weights, state, ())


_differentiable: Any = jax.custom_jvp(_scan, nondiff_argnums=(0, 1))


@_differentiable.defjvp
def _(step: Step, reverse: bool, primals: Any, tangents: Any) -> Any:
    gates, keep, weights, state, _ = primals
    dgates, _, dweights, dstate, _ = tangents

    def run(gates: Any, projection: Any, state: Any, shifts: Any) -> Any:
        held = weights._replace(projection=projection)
        return _scan(step, reverse, gates, keep, held, state, shifts)

    both = step.gates - step.apart
    shifts = [jnp.zeros_like(each) for each in gates[both:]]
    linear = cast(Any, jax.linearize)(run, gates, weights.projection, state, shifts)
    (outputs, final), push = linear
    start = lax.expand_dims(state[0], (0,))
    parts = (outputs[1:], start) if reverse else (start, outputs[:-1])
    change = contract(lax.concatenate(parts, 0), dweights.recurrent)
    changes = step.split(change if weights.bias is None else change + dweights.bias)
    # What is only added to the input's part shares its derivative.
    sums = [dx + da for dx, da in zip(dgates[:both], changes[:both], strict=True)]
    dgates = [*sums, *dgates[both:]]
    return (outputs, final), push(dgates, dweights.projection, dstate, changes[both:])


@jax.custom_jvp
def _product(x: jax.Array, weight: jax.Array, turned: jax.Array | None) -> jax.Array:
    """Return x @ weight.T; turned is weight.T, if there is one."""
    if turned is None:
        return contract(x, weight)
    return lax.dot_general(x, turned, (((x.ndim - 1,), (0,)), ((), ())))


def _differentiated_product(primals: Any, tangents: Any) -> Any:
    x, weight, turned = primals
    dx, dweight, _ = tangents
    y = _product(x, weight, turned)
    dy = jnp.zeros_like(y) if isinstance(dx, SymbolicZero) else contract(dx, weight)
    return y, dy if isinstance(dweight, SymbolicZero) else dy + contract(x, dweight)


_product.defjvp(_differentiated_product, symbolic_zeros=True)


@jax.custom_jvp
def _shifted(a: jax.Array, shift: jax.Array) -> jax.Array:
    """Return a: the shift is 0, and only its derivative counts."""
    return a


@_shifted.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return primals[0], tangents[0] + tangents[1]
