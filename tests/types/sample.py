"""A user's own file: pyright (strict) and mypy (strict) accept it, and agree on every type.

It is never run: tests/types/test_types.py gives it to both checkers. Each `# type: ignore` is a
claim as well: where the error that it names is gone, both checkers complain.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, assert_type

import jax
import jax.numpy as jnp

import funcparams as fp
from funcparams import init, nn


class LinearModel(fp.Module):
    """Linear regression."""

    def __init__(self, features: int) -> None:
        self.features = features
        self.weight = fp.param((features, 1), init.normal(std=1.0))
        self.bias = fp.param((1,), init.zeros())
        self.calls = fp.buffer((), init.zeros(), jnp.int32)

    def __call__(self, x: jax.Array, scale: float = 1.0) -> jax.Array:
        assert_type(self.weight, jax.Array)
        assert_type(self.calls, jax.Array)
        assert_type(self.features, int)
        assert_type(self.training, bool)
        if self.training:
            self.calls = self.calls + 1
        return x @ self.weight * scale + self.bias

    def loss(self, x: jax.Array, y: jax.Array) -> tuple[jax.Array, float]:
        """Give the mean squared error, and a number that is none of an array."""
        return jnp.mean(jnp.square(self(x) - y)), 0.5


class Tied(fp.Module):
    """An auto-encoder whose decoder is its encoder's weight."""

    def __init__(self, inner: LinearModel, head: nn.Linear | None = None) -> None:
        self.inner = inner
        self.head = head
        self.blocks = [nn.Linear(4, 4) for _ in range(2)]

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        assert_type(self.inner(x), jax.Array)
        hidden = self.inner(x) @ self.inner.weight.T
        for block in self.blocks:
            assert_type(block, nn.Linear)
            hidden = block(hidden)
        return {"hidden": hidden, "noise": init.normal()(self.next_key(), (3,), jnp.float32)}


def parameters(model: LinearModel, tied: Tied, key: jax.Array) -> None:
    """A definition gives its trees."""
    assert_type(model.init(key), dict[str, Any])
    assert_type(model.init_state(), dict[str, Any])
    assert_type(model.abstract(), dict[str, Any])
    assert_type(tied.inner, LinearModel)
    assert_type(tied.head, nn.Linear | None)
    model.init("key")  # type: ignore[arg-type]


def application(model: LinearModel, tied: Tied, x: jax.Array, key: jax.Array) -> None:
    """`apply` has the type of the model's own `__call__`; `bind` has the model's own class."""
    params, state = model.init(key), model.init_state()
    assert_type(model.apply(params, x), jax.Array)
    assert_type(model.apply(params, x, 2.0), jax.Array)
    assert_type(model.apply(params, x, scale=2.0), jax.Array)
    assert_type(model.apply(params, x, state=state, key=key, training=True), jax.Array)
    assert_type(tied.apply(params, x), dict[str, jax.Array])
    assert_type(
        model.apply_with_state(params, state, x, training=True), tuple[jax.Array, dict[str, Any]]
    )
    assert_type(
        tied.apply_with_state(params, state, x), tuple[dict[str, jax.Array], dict[str, Any]]
    )
    assert_type(model.bind(params), LinearModel)
    assert_type(
        model.bind(params, state, key=key, training=True).loss(x, x), tuple[jax.Array, float]
    )
    model.bind(params).encode(x)  # type: ignore[attr-defined]
    LinearModel("four")  # type: ignore[arg-type]


def transforms(model: LinearModel, x: jax.Array, y: jax.Array, key: jax.Array) -> Any:
    """Plain transforms of plain functions of params."""

    def loss(params: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(model.apply(params, x) - y))

    params = model.init(key)
    return jax.grad(loss)(params, x, y)  # pyright: ignore


def containers(key: jax.Array, x: jax.Array) -> None:
    """A Sequential takes layers and plain functions."""
    net = nn.Sequential(nn.Linear(4, 8), jax.nn.relu, nn.Dropout(0.5), nn.Linear(8, 1))
    params = net.init(key)
    net.apply(params, x, key=key, training=True)
    assert_type(len(net), int)
    assert_type(net.replace({"0.bias": None}), nn.Sequential)


def selection(model: LinearModel, params: dict[str, Any]) -> None:
    """Selectors of every kind are accepted, and nothing else."""
    fp.mask(params, "**.weight")
    fp.label(params, {"weight": "decay", "**": "rest"})
    left, right = fp.partition(params, ("weight", lambda name, leaf: name.startswith("b")))
    assert_type(fp.combine(left, right), dict[str, Any])
    assert_type(fp.update(params, {"bias": jnp.negative}), dict[str, Any])
    assert_type(fp.flatten(params), dict[str, Any])
    assert_type(model.with_init({"weight": init.ones()}), LinearModel)
    fp.mask(params, 3)  # type: ignore[arg-type]
