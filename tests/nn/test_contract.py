"""What holds for every layer: each case of tests/layer_cases.py is put through all of it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from tests.layer_cases import CASES, ONE_EACH, Case

GOLDEN = Path(__file__).with_name("golden.json")
KEY = jax.random.key(0)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
one_of_each = pytest.mark.parametrize("case", ONE_EACH, ids=lambda case: case.name)


def calling(case: Case) -> Any:
    """Give the call of a case's layer, with what it is given beside the inputs."""

    def call(model: Any, params: Any, state: Any, *inputs: Any, training: bool = False) -> Any:
        key = KEY if training else None
        return model.apply_with_state(
            params, state, *inputs, key=key, training=training, **case.keywords
        )

    return call


def floats(tree: Any) -> list[Any]:
    """Give the floating leaves of an output."""
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def facts(case: Case) -> dict[str, Any]:
    """What must not change unnoticed: names, shapes and dtypes, in their order."""
    model = case.make()
    given = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in case.inputs()]
    y, _ = jax.eval_shape(
        lambda p, s, *x: calling(case)(model, p, s, *x),
        model.abstract(),
        model.abstract_state(),
        *given,
    )
    outputs = [[list(each.shape), str(each.dtype)] for each in jax.tree.leaves(y)]

    def written(declared: Any) -> list[Any]:
        return [[name, list(each.shape), str(each.dtype)] for name, each in declared]

    return {
        "params": written(model.named_parameters()),
        "state": written(model.named_buffers()),
        "output": outputs[0] if len(outputs) == 1 else outputs,
        "repr": repr(model),
    }


def test_every_layer_has_a_case() -> None:
    layers = {
        name
        for name in nn.__all__
        if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), fp.Module)
    }
    assert layers == {case.layer for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)


def test_facts_are_the_golden_ones() -> None:
    """To accept new facts, delete the file, run this test once, and read the difference."""
    found = {case.name: facts(case) for case in CASES}
    if not GOLDEN.exists():  # pragma: no cover
        lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items()]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        pytest.fail(f"{GOLDEN.name} was missing and has been written")
    assert found == json.loads(GOLDEN.read_text())


@every_case
def test_keeps_the_dtype_under_strict_promotion(case: Case) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        model = case.make().astype(dtype)
        given = [
            jax.ShapeDtypeStruct(x.shape, jnp.int32 if integer else dtype)
            for x, integer in zip(case.inputs(), case.integers, strict=True)
        ]
        for training in case.modes:
            with jax.numpy_dtype_promotion("strict"):
                y, state = jax.eval_shape(
                    lambda p, s, *x: calling(case)(model, p, s, *x, training=training),  # noqa: B023
                    model.abstract(),
                    model.abstract_state(),
                    *given,
                )
            assert {leaf.dtype for leaf in floats(y)} == {dtype}
            assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
                lambda a: (a.shape, a.dtype), model.abstract_state()
            )


@one_of_each
def test_init_is_deterministic_and_as_abstract_says(case: Case) -> None:
    model = case.make()
    params, state = model.init(KEY), model.init_state()
    chex.assert_trees_all_equal(params, case.make().init(KEY))
    chex.assert_trees_all_equal_shapes_and_dtypes(params, model.abstract())
    chex.assert_trees_all_equal_shapes_and_dtypes(state, model.abstract_state())
    chex.assert_tree_all_finite(params)


@one_of_each
def test_flattens_and_comes_back(case: Case) -> None:
    model = case.make()
    params = case.arrays(model.abstract())
    flat = fp.flatten(params)
    assert set(flat) == {name for name, _ in model.named_parameters()}
    chex.assert_trees_all_equal(fp.unflatten(model, flat), params)


@one_of_each
def test_compiled_is_eager_and_traces_once(case: Case) -> None:
    model = case.make()
    params, state = case.arrays(model.abstract()), case.arrays(model.abstract_state())
    for training in case.modes:
        chex.clear_trace_counter()
        traced = chex.assert_max_traces(calling(case), n=1)
        compiled = jax.jit(traced, static_argnums=0, static_argnames="training")
        for _ in range(2):  # an equal definition built anew is the same one
            y = compiled(case.make(), params, state, *case.inputs(), training=training)
        eager = calling(case)(model, params, state, *case.inputs(), training=training)
        chex.assert_trees_all_close(y, eager, rtol=2e-5, atol=1e-6)


@one_of_each
def test_maps_over_params_and_has_finite_gradients(case: Case) -> None:
    model = case.make()
    state = case.arrays(model.abstract_state())
    params = case.arrays(model.abstract())
    training = case.modes[-1]

    def loss(params: Any, inputs: Any) -> Any:
        y, _ = calling(case)(model, params, state, *inputs, training=training)
        return sum(jnp.sum(jnp.square(leaf)) for leaf in floats(y)), y

    # By integers nothing is differentiated: their gradients are of no size.
    both = jax.value_and_grad(loss, (0, 1), has_aux=True, allow_int=True)
    stacked = jax.tree.map(lambda a: np.stack([a, 2 * a]), params)
    (_, ys), gradients = jax.jit(jax.vmap(both, (0, None), axis_size=2))(stacked, case.inputs())
    chex.assert_tree_all_finite(
        [g for g in jax.tree.leaves(gradients) if g.dtype != jax.dtypes.float0]
    )
    y, _ = jax.jit(calling(case), static_argnums=0, static_argnames="training")(
        model, jax.tree.map(lambda a: 2 * a, params), state, *case.inputs(), training=training
    )
    second = jax.tree.map(lambda a: a[1], ys)
    chex.assert_trees_all_close(second, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.random and True in case.modes], ids=lambda c: c.name
)
def test_draws_from_its_own_key(case: Case) -> None:
    model = case.make()
    (x,) = case.inputs()
    with jax.debug_key_reuse(True):
        first = model.apply({}, x, key=jax.random.key(1), training=True)
    np.testing.assert_array_equal(first, model.apply({}, x, key=jax.random.key(1), training=True))
    assert any(
        np.any(first != model.apply({}, x, key=jax.random.key(seed), training=True))
        for seed in (2, 3, 4)
    )
    # The key is asked for at every rate, and in training only.
    with pytest.raises(fp.KeyRequiredError, match=f"{case.layer}.* draws random numbers"):
        model.apply({}, x, training=True)
    if case.layer != "RReLU":
        np.testing.assert_array_equal(model.apply({}, x), x)
        with pytest.raises(fp.KeyRequiredError):
            getattr(nn, case.layer)(0.0).apply({}, x, training=True)
