"""Which trace is current: asked without any operation of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcparams.core.trace import trace_state, under_trace

TRANSFORMS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    # A closure without arguments: nothing but the state tells that it is being traced.
    "jit": lambda f: jax.jit(f)(),
    "eval_shape": lambda f: jax.eval_shape(f),
    "vmap": lambda f: jax.vmap(lambda _: f())(jnp.arange(2)),
    "grad": lambda f: jax.grad(lambda x: (f(), x)[1])(1.0),
    "scan": lambda f: jax.lax.scan(lambda c, _: (c, f()), 0, length=2),
    "cond": lambda f: jax.lax.cond(True, f, f),
    "checkpoint": lambda f: jax.checkpoint(f)(),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_inside_a_transform(name: str) -> None:
    seen: list[bool] = []

    def look() -> jax.Array:
        seen.append(under_trace())
        return jnp.zeros(())

    TRANSFORMS[name](look)
    assert seen
    assert all(seen)
    assert not under_trace()


def test_outside_of_every_transform() -> None:
    assert not under_trace()
    with jax.named_scope("scope"), jax.disable_jit():
        assert not under_trace()


def test_in_another_thread() -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(under_trace()))
    thread.start()
    thread.join()
    assert seen == [False]


def test_the_state_tells_traces_apart() -> None:
    def inner(x: jax.Array) -> jax.Array:
        assert trace_state() != states[-1]
        return x

    def outer(x: jax.Array) -> jax.Array:
        states.append(trace_state())
        assert trace_state() == states[-1]
        return jax.vmap(inner)(x)

    states: list[object] = [trace_state()]
    jax.jit(outer)(jnp.arange(2))
    assert len(states) == 2
    assert states[0] != states[1]
