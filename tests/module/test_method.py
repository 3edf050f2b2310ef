"""Sealing constructors, and methods that `jax.jit` can keep."""

from __future__ import annotations

import gc
import inspect
import pickle
import weakref
from typing import Any

import chex
import jax
import jax.numpy as jnp
import pytest

import funcparams as fp
from tests.models import Block, Chain, Linear, filled, ones

KEY = jax.random.key(0)


class Traced(fp.Module):
    """Counts how often it is traced."""

    traces = 0

    def __init__(self, width: int):
        self.weight = fp.param((width,), ones)

    def __call__(self, x: Any) -> Any:
        Traced.traces += 1
        return x * self.weight


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Traced.traces = 0
    chex.clear_trace_counter()


def test_the_outermost_constructor_seals() -> None:
    class Base(fp.Module):
        def __init__(self) -> None:
            self.base = 1

    class Derived(Base):
        def __init__(self) -> None:
            super().__init__()
            self.derived = 2  # the base's constructor has not sealed it

    with pytest.raises(fp.SealedError):
        Derived().more = 3


def test_new_may_return_another_module() -> None:
    known = Linear(1, 1)

    class Same(fp.Module):
        def __new__(cls) -> Any:
            return known

    assert Same() is known


def test_an_unknown_argument_is_pythons_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'biass'"):
        Linear(1, 1, biass=True)  # pyright: ignore

    class Bare(fp.Module):
        pass

    with pytest.raises(TypeError, match="takes no arguments"):
        Bare(3)  # pyright: ignore


def test_methods_are_one_callable_a_definition() -> None:
    model = Linear(2, 3)
    for name in ("apply", "apply_with_state", "init", "init_state", "abstract", "abstract_state"):
        method = getattr(model, name)
        assert getattr(model, name) is method
        assert method == getattr(Linear(2, 3), name)
        assert hash(method) == hash(getattr(Linear(2, 3), name))
        assert method != getattr(Linear(2, 4), name)
        assert method != model.bind
        assert repr(method) == f"<Linear.{name}>"
        assert method.__name__ == name
        assert method.__doc__ == getattr(fp.Module, name).__doc__
    assert model.apply != model.apply_with_state


def test_signatures_leave_self_out() -> None:
    signature = inspect.signature(Linear(1, 1).apply)
    assert list(signature.parameters) == ["params", "args", "state", "key", "training", "kwargs"]
    assert list(inspect.signature(Linear(1, 1).init).parameters) == ["key"]


def test_a_method_can_be_pickled() -> None:
    model = Linear(1, 1)
    assert pickle.loads(pickle.dumps(model.apply)) == model.apply


def test_a_method_keeps_nothing_alive() -> None:
    model = Linear(1, 1)
    assert model.apply is not None
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_jit_inline_in_a_loop_traces_once() -> None:
    model = Chain(Traced(2))
    params = filled(model)
    for _ in range(5):
        jax.jit(model.apply)(params, jnp.ones(2))
        jax.jit(Chain(Traced(2)).apply)(params, jnp.ones(2))
    assert Traced.traces == 1
    for _ in range(3):
        jax.jit(model.apply, static_argnames="training")(params, jnp.ones(2), training=True)
    assert Traced.traces == 2
    for _ in range(3):
        jax.jit(model.init)(KEY)
    jax.vmap(model.apply, in_axes=(None, 0))(params, jnp.ones((3, 2)))
    assert Traced.traces == 3


@chex.assert_max_traces(n=1)
def step(model: fp.Module, params: Any, state: Any, x: Any) -> Any:
    def loss(params: Any) -> Any:
        y, new = model.apply_with_state(params, state, x, key=KEY, training=True)
        return (y**2).mean(), new

    grads, new = jax.grad(loss, has_aux=True)(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads), new


def test_two_thousand_steps_trace_once() -> None:
    model = Block(2)
    params, state = filled(model), model.init_state()
    jitted = jax.jit(step)
    for index in range(2000):
        again = model if index % 100 else Block(2)  # built anew, and equal
        params, state = jitted(again, params, state, jnp.ones((1, 2)))
    assert state["norm"]["calls"] == 2000


def test_the_mode_compiles_twice_and_never_a_third_time() -> None:
    model = Traced(2)
    params = filled(model)
    apply = jax.jit(model.apply, static_argnames="training")
    for _ in range(3):
        apply(params, jnp.ones(2), training=True)
        apply(params, jnp.ones(2), training=False)
    assert Traced.traces == 2


def test_methods_of_a_module_under_construction() -> None:
    class Early(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(1, 1)
            self.layer.abstract()  # the child is finished
            self.abstract()

    with pytest.raises(
        fp.BoundError, match="abstract belongs to the finished definition, and Early is under"
    ):
        Early()


def test_an_overridden_method_may_call_its_base() -> None:
    class Doubled(Linear):
        def apply(self, params: Any, /, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().apply(params, *args, **kwargs)

    model = Doubled(2, 2)
    params = filled(model)
    plain = Linear(2, 2).apply(params, jnp.ones(2))
    assert (jax.jit(model.apply)(params, jnp.ones(2)) == 2 * plain).all()
