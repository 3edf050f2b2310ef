"""What changes in the course of a call: buffers and keys; the mode; and the guards around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams.core import keys
from tests.models import Block, Chain, Counter, Drop, Linear, filled, ones, zeros

KEY = jax.random.key(0)
X = jnp.arange(6.0).reshape(2, 3)


class Probe(fp.Module):
    """Runs a function of its bound self; has one of everything."""

    def __init__(self, run: Callable[..., Any] | None = None):
        self.run = run
        self.weight = fp.param((3,), ones)
        self.total = fp.buffer((3,), zeros)
        self.calls = fp.buffer((), zeros, jnp.int32)
        self.child = Linear(3, 3)

    def __call__(self, x: Any) -> Any:
        return self.run(self, x)  # pyright: ignore


def probe(run: Callable[..., Any], **options: Any) -> tuple[Any, Any]:
    """Run a function inside a bound call."""
    model = Probe(run)
    return model.apply_with_state(filled(model), model.init_state(), X, **options)


# Buffers


def test_apply_with_state_returns_updated_buffers() -> None:
    model = Counter()
    params, state = model.init(KEY), model.init_state()
    y, new = model.apply_with_state(params, state, X, training=True)
    assert new["calls"] == 1
    assert np.allclose(new["mean"], 0.1 * X.mean(0))
    assert np.allclose(y, X - 0.1 * X.mean(0))
    assert state["calls"] == 0  # the old tree is untouched
    _, same = model.apply_with_state(params, new, X)
    assert same["calls"] is new["calls"]


def test_apply_refuses_to_lose_an_update() -> None:
    model = Chain(Linear(3, 3), Counter())
    params, state = filled(model), model.init_state()
    with pytest.raises(ValueError, match="lost") as caught:
        model.apply(params, X, state=state, training=True)
    assert isinstance(caught.value, fp.StateUpdateError)
    assert str(caught.value) == (
        "Chain.apply updated 1.calls, 1.mean, and returns no state: the update would be lost.\n"
        "  Use y, state = model.apply_with_state(params, state, x, training=True)."
    )
    assert model.apply(params, X, state=state).shape == (2, 3)


def test_an_update_shows_at_once_and_everywhere() -> None:
    counter: Any = Counter()
    twin: Any = Counter().replace(calls=counter.calls)

    class Both(fp.Module):
        def __init__(self) -> None:
            self.one, self.two = counter, [twin, counter]

        def __call__(self, x: Any) -> Any:
            self.one.calls = 7
            assert self.two[0].calls == 7
            assert self.two[1].calls == 7
            self.two[0].calls = self.two[0].calls + 1
            assert self.one.calls == 8
            assert dict(self.named_buffers())["one.calls"] == 8
            return x

    model = Both()
    _, state = model.apply_with_state(filled(model), model.init_state(), X)
    assert state["one"]["calls"] == 8
    assert state["two"]["0"]["calls"] == fp.Ref("...one.calls")
    assert state["two"]["1"] == fp.Ref("..one")


@pytest.mark.parametrize(
    ("name", "value", "came"),
    [
        ("total", jnp.ones(2), "float32[2]"),
        ("total", 1.0, "float32[]"),
        ("total", jnp.ones(3, jnp.bfloat16), "bfloat16[3]"),
        ("total", np.ones(3), "float64[3]"),
        ("total", jnp.ones(3, jnp.int32), "int32[3]"),
        ("calls", 1.5, "float32[]"),
        ("calls", 1j, "complex64[]"),
        ("calls", jnp.float32(1), "float32[]"),
        ("total", None, "NoneType None"),
        ("total", {"a": 1}, "a dict with a"),
    ],
)
def test_an_update_keeps_shape_and_dtype(name: str, value: Any, came: str) -> None:
    def run(self: Any, x: Any) -> Any:
        before = getattr(self, name)
        try:
            setattr(self, name, value)
        finally:
            assert getattr(self, name) is before
            assert fp.state_of(self)[name] is before

    with pytest.raises(fp.StateUpdateError) as caught:
        probe(run)
    dtype = "int32" if name == "calls" else "float32"
    shape = "" if name == "calls" else "3"
    assert str(caught.value) == (
        f"{name}: the buffer is {dtype}[{shape}], got {came}.\n"
        f"  An update keeps shape and dtype: write value.astype({dtype}) if that is meant."
    )


@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_numbers_take_the_buffers_dtype(promotion: str) -> None:
    class Wide(fp.Module):
        def __init__(self) -> None:
            for dtype in ("float32", "bfloat16", "float16", "int32", "int8", "complex64"):
                setattr(self, dtype, fp.buffer((), ones, dtype))
            self.flag = fp.buffer((), zeros, bool)

        def __call__(self, x: Any) -> Any:
            self.bfloat16 = 0.5
            self.float16 = self.float16 * 2.0
            self.float32 = 3
            self.int8 = 4
            self.int32 = jnp.asarray(5)
            self.complex64 = 6.0
            self.flag = True
            return x

    model = Wide()
    with jax.numpy_dtype_promotion(promotion):
        _, state = model.apply_with_state({}, model.init_state(), 0.0)
    assert {name: complex(value) for name, value in state.items()} == {
        "float32": 3,
        "bfloat16": 0.5,
        "float16": 2,
        "int32": 5,
        "int8": 4,
        "complex64": 6,
        "flag": 1,
    }
    assert all(value.dtype == name for name, value in state.items() if name != "flag")
    assert not any(value.weak_type for value in state.values())


def test_only_buffers_can_be_assigned() -> None:
    def run(self: Any, x: Any) -> Any:
        self.totl = x[0]

    with pytest.raises(fp.SealedError) as caught:
        probe(run)
    assert str(caught.value).splitlines()[0] == (
        "totl: only buffers can be assigned on a bound view, and Probe (Probe) has total, calls; "
        "did you mean 'total'?"
    )
    assert "fp.buffer(shape, init)" in str(caught.value)

    def inside(self: Any, x: Any) -> Any:
        self.child.cache = x

    with pytest.raises(fp.SealedError, match=r"child\.cache: only buffers .* \(Linear\) has none"):
        probe(inside)


def test_no_gradient_flows_through_an_update() -> None:
    model = Counter()
    params, state = model.init(KEY), model.init_state()

    def loss(x: Any) -> Any:
        _, new = model.apply_with_state(params, state, x, training=True)
        return new["mean"].sum()

    assert not jax.grad(loss)(X).any()


def test_the_new_state_has_the_structure_of_the_given_one() -> None:
    block = Block(3)
    model = Chain(block, block)
    params, state = filled(model), model.init_state()
    assert state["1"] == fp.Ref(".0")
    for given in (state, {"0": state["0"]}, {**state, "1": None}, {**state, "1": {"norm": {}}}):

        def step(carry: Any, x: Any) -> Any:
            y, carry = model.apply_with_state(params, carry, x, training=True, key=KEY)
            return carry, y

        carried, _ = jax.eval_shape(functools.partial(jax.lax.scan, step), given, X[None])
        assert jax.tree.structure(carried) == jax.tree.structure(given)
    _, new = model.apply_with_state(params, state, X, training=True, key=KEY)
    assert new["0"]["norm"]["calls"] == 2


def test_state_of_a_part() -> None:
    model = Chain(Linear(3, 3), Counter())
    view: Any = model.bind(filled(model), model.init_state(), training=True)
    view(X)
    assert fp.state_of(view)["1"]["calls"] == 1
    assert fp.state_of(getattr(view, "1"))["calls"] == 1
    assert fp.state_of(getattr(view, "0")) == {}


# Keys


def test_every_draw_has_a_key_of_its_own() -> None:
    seen: list[Any] = []

    class Draws(fp.Module):
        def __init__(self, times: int):
            self.times = times

        def __call__(self, x: Any) -> Any:
            seen.extend(self.next_key() for _ in range(self.times))
            return x

    shared = Draws(2)
    model = Chain(Draws(2), shared, Chain(Draws(1), shared))
    model.apply({}, X, key=KEY)
    data = [tuple(np.ravel(jax.random.key_data(key)).tolist()) for key in seen]
    assert len(data) == len(set(data)) == 7
    seen.clear()
    model.apply({}, X, key=KEY)
    assert [tuple(np.ravel(jax.random.key_data(key)).tolist()) for key in seen] == data
    seen.clear()
    # The others are gone, and the shared one draws what it drew at its first place.
    Chain(Linear(3, 3), shared).apply({"0": filled(Linear(3, 3))}, X, key=KEY)
    assert [tuple(np.ravel(jax.random.key_data(key)).tolist()) for key in seen] == data[2:4]


def test_a_key_is_derived_from_the_name_and_the_count() -> None:
    def run(self: Any, x: Any) -> Any:
        return self.next_key(), self.next_key(), self.child

    (first, second, child), _ = probe(run, key=KEY)
    root = keys.derive(KEY, keys.call_words(""))
    assert first == jax.random.fold_in(root, 0)
    assert second == jax.random.fold_in(root, 1)
    assert child.next_key() == jax.random.fold_in(keys.derive(KEY, keys.call_words("child")), 0)


def test_a_child_named_like_the_root_class_counts_for_itself() -> None:
    class Same(fp.Module):
        def __init__(self, inner: Any = None):
            self.Same = inner

        def __call__(self, x: Any) -> Any:
            return self.next_key() if self.Same is None else (self.next_key(), self.Same(x))

    one, two = Same(Same()).apply({}, X, key=KEY)
    assert two == jax.random.fold_in(keys.derive(KEY, keys.call_words("Same")), 0)
    assert one != two


def test_legacy_keys_and_key_reuse_checks() -> None:
    model = Chain(Drop(), Drop())
    old = model.apply({}, X, key=jax.random.PRNGKey(0), training=True)
    assert np.array_equal(old, model.apply({}, X, key=KEY, training=True))
    with jax.debug_key_reuse(True):
        model.apply({}, X, key=KEY, training=True)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_missing_key_names_the_module(rate: float) -> None:
    model = Chain(Linear(3, 3), Chain(Drop(rate)))
    params = filled(model)
    assert model.apply(params, X).shape == (2, 3)  # in eval mode nothing draws
    with pytest.raises(ValueError, match="no key") as caught:
        model.apply(params, X, training=True)
    assert isinstance(caught.value, fp.KeyRequiredError)
    assert str(caught.value) == (
        "1.0 (Drop) draws random numbers, and no key was given.\n"
        "  Pass one: model.apply_with_state(params, state, x, key=key, training=True), or "
        "model.apply(params, x, key=key, ...)."
    )


@pytest.mark.parametrize("key", [0, "key", jnp.ones(2), jax.random.split(KEY, 3)])
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(fp.KeyArgumentError, match="expected one PRNG key"):
        Drop().apply({}, X, key=key, training=True)


# The mode


def test_training_is_a_static_bool() -> None:
    modes: list[Any] = []

    class Mode(fp.Module):
        def __call__(self, x: Any) -> Any:
            modes.append(self.training)
            return x

    model = Chain(Mode())
    step = jax.jit(model.apply, static_argnames="training")
    for training in (True, False, True, False, True):
        step({}, X, training=training)
    assert modes == [True, False]
    modes.clear()
    model.apply({}, X)
    assert modes == [False]
    with pytest.raises(
        fp.DefinitionTypeError, match=r'is not a bool(.|\n)*static_argnames="training"'
    ):
        jax.jit(model.apply)({}, X, training=True)
    assert modes == [False]


# Transforms begun after bind

INSIDE: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "scan": lambda f: jax.lax.scan(lambda c, x: (c, f(x)), 0.0, X),
    "map": lambda f: jax.lax.map(f, X),
    "vmap": lambda f: jax.vmap(f)(X),
    "cond": lambda f: jax.lax.cond(True, f, lambda x: x, X[0]),
    "while": lambda f: jax.lax.while_loop(lambda x: x.sum() < 0, f, X[0]),
    "fori": lambda f: jax.lax.fori_loop(0, 1, lambda i, x: f(x), X[0]),
    "grad": lambda f: jax.grad(lambda x: f(x).sum())(X[0]),
    "jvp": lambda f: jax.jvp(f, (X[0],), (X[0],)),
    "checkpoint": lambda f: jax.checkpoint(f)(X[0]),
    "jit": lambda f: jax.jit(f)(X[0]),
    "eval_shape": lambda f: jax.eval_shape(f, X[0]),
}


@pytest.mark.parametrize("name", INSIDE)
def test_an_update_cannot_leak_out_of_a_transform(name: str) -> None:
    def run(self: Any, x: Any) -> Any:
        before = dict(vars(self))

        def inner(x: Any) -> Any:
            self.calls = self.calls + 1
            return x

        try:
            INSIDE[name](inner)
        finally:
            assert vars(self) == before
            assert fp.state_of(self)["calls"] is before["calls"]

    with pytest.raises(fp.StateUpdateError) as caught:
        probe(run)
    text = str(caught.value)
    assert text.startswith("the update of calls happens inside a jax transform (scan, vmap, cond, ")
    assert "that began after bind" in text
    assert "fp.remat(child)(x)" in text
    assert "f, params, state = fp.pure(child)" in text


@pytest.mark.parametrize("name", INSIDE)
def test_a_key_cannot_be_drawn_inside_a_transform(name: str) -> None:
    model = Probe(lambda self, x: INSIDE[name](lambda x: x + jax.random.uniform(self.next_key())))
    with pytest.raises(fp.KeyRequiredError, match=r"^Probe: drawing a key happens inside a jax"):
        model.apply(filled(model), X, state=model.init_state(), key=KEY)


@pytest.mark.parametrize("name", INSIDE)
def test_reading_is_allowed_inside_a_transform(name: str) -> None:
    probe(lambda self, x: INSIDE[name](lambda x: self.child(x) + self.weight + self.total))


@pytest.mark.parametrize("name", ["scan", "vmap", "checkpoint", "jit"])
def test_bind_inside_the_transform_is_the_way(name: str) -> None:
    model = Block(3)
    params, state = filled(model), model.init_state()

    def run(x: Any) -> Any:
        y, _ = model.apply_with_state(params, state, x, key=KEY, training=True)
        return y

    INSIDE[name](run)


def test_state_of_an_outer_view_inside_a_transform() -> None:
    with pytest.raises(fp.StateUpdateError, match="reading the state of Probe happens inside"):
        probe(lambda self, x: jax.jit(lambda x: fp.state_of(self))(x))
