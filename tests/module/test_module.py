"""What a definition gives: params, state, shapes; pure calls; gradients of shared parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import funcparams as fp
from funcparams import init
from funcparams.core.names import dotted, leaves
from tests.models import Block, Chain, Counter, Language, Linear, filled, nested, same_arrays, twice
from tests.recipes import build, recipes

KEY = jax.random.key(0)
X = jnp.arange(6.0).reshape(2, 3)


# From definition to arrays


@pytest.mark.parametrize("model", [Linear(2, 3), Block(), Language(), nested(), twice(), Chain()])
def test_init_has_the_form_that_abstract_says(model: fp.Module) -> None:
    params, state = model.init(KEY), model.init_state()
    for tree, abstract in ((params, model.abstract()), (state, model.abstract_state())):
        assert jax.tree.structure(tree) == jax.tree.structure(abstract)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
        assert shapes == abstract
        assert not any(leaf.weak_type for leaf in jax.tree.leaves(tree))
    assert jax.tree.structure(model.init(KEY)) == jax.tree.structure(
        jax.eval_shape(model.init, KEY)
    )


def test_init_is_the_same_each_time_and_under_jit() -> None:
    model = nested()
    params = model.init(KEY)
    assert same_arrays(params, model.init(KEY))
    assert same_arrays(params, jax.jit(model.init)(KEY))
    assert not same_arrays(params, model.init(jax.random.key(1)))
    params["0"]["wte"] = None  # a caller's change to its own tree reaches no later one
    assert model.init(KEY)["0"]["wte"] is not None


def test_a_parameter_depends_on_its_own_name_only() -> None:
    class Net(fp.Module):
        def __init__(self, names: str):
            for name in names:
                setattr(self, name, Linear(2, 3))

    whole = Net("abc").init(KEY)
    for names in ("c", "ca", "cba"):
        part = Net(names).init(KEY)
        assert all(same_arrays(part[name], whole[name]) for name in names)
    assert not (whole["a"]["weight"] == whole["b"]["weight"]).any()


def test_a_shared_parameter_is_drawn_once_under_its_owners_name() -> None:
    tied, untied = Language(), Chain(Linear(3, 3))
    params = tied.init(KEY)
    assert params["head"] == {"weight": fp.Ref("..wte.weight")}
    assert len(jax.tree.leaves(params)) == 3
    assert len(jax.tree.leaves(untied.init(KEY))) == 2


def test_none_will_do_where_nothing_is_random() -> None:
    assert Counter().init(None)["scale"].tolist() == [1, 1, 1]  # pyright: ignore
    with pytest.raises(fp.KeyRequiredError, match="weight"):
        Linear(1, 1).init(None)  # pyright: ignore
    with pytest.raises(fp.KeyArgumentError, match=r"jax\.random\.key\(0\)"):
        Linear(1, 1).init(0)  # pyright: ignore


def test_init_maps_over_keys() -> None:
    model = Chain(Linear(2, 2))
    stacked = jax.vmap(model.init)(jax.random.split(KEY, 3))
    one = jax.tree.map(lambda leaf: leaf[1], stacked)
    assert same_arrays(one, model.init(jax.random.split(KEY, 3)[1]))


def test_an_initializer_that_returns_something_else() -> None:
    def wrong(key: Any, shape: Any, dtype: Any) -> Any:
        return jnp.ones((7,), dtype)

    class Wrong(fp.Module):
        def __init__(self) -> None:
            self.child = Linear(1, 1).replace(bias=fp.param((1,), wrong))

    with pytest.raises(fp.InitializerError, match=r"child\.bias(.|\n)*\(7,\)"):
        Wrong().init(KEY)


def test_nothing_is_allocated_for_what_is_only_described() -> None:
    model = Linear(1_000_000, 1_000_000)
    assert model.abstract()["weight"].shape == (1_000_000, 1_000_000)
    assert sum(p.nbytes for p in model.parameters()) == 4 * (10**12 + 10**6)


@settings(max_examples=25)
@given(recipes(max_depth=2), recipes(max_depth=2))
def test_init_of_a_part_does_not_depend_on_the_rest(one: Any, two: Any) -> None:
    """Keys go by full names: what is added elsewhere changes nothing."""
    alone = Chain([build(one)])
    beside = Chain([build(one)], build(two))
    assert same_arrays(alone.init(KEY).get("0", {}), beside.init(KEY).get("0", {}))


@given(recipes())
def test_places_of_params_are_the_names_of_the_definition(recipe: Any) -> None:
    model = build(recipe)
    names = [name for name, _ in model.named_parameters()]
    tree = model.abstract()
    owners = [dotted(path) for path, value in leaves(tree) if not isinstance(value, fp.Ref)]
    assert owners == names


# Calls


def test_apply_is_pure_and_differentiable() -> None:
    model = Chain(Linear(3, 4), jnp.tanh, Linear(4, 1))
    params = filled(model)
    y = model.apply(params, X)
    assert y.shape == (2, 1)
    assert np.array_equal(y, model.apply(params, X))
    grads = jax.grad(lambda p: model.apply(p, X).sum())(params)
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)


def test_gradients_of_shared_uses_add() -> None:
    layer = Linear(1, 1, bias=False)
    params = {"0": {"weight": jnp.array([[3.0]])}}
    for uses, y, slope in ((1, 3, 1), (2, 9, 6), (3, 27, 27)):
        model = Chain(*[layer] * uses)
        tree = {**params, **{str(i): fp.Ref(".0") for i in range(1, uses)}}
        value, grads = jax.value_and_grad(lambda p, m=model: m.apply(p, jnp.ones(1)).sum())(tree)
        assert (value, grads["0"]["weight"].item()) == (y, slope)
        assert all(grads[str(i)] == fp.Ref(".0") for i in range(1, uses))


def test_gradients_add_at_every_level_of_sharing() -> None:
    """Module-level, declaration-level and nested ties: as with untied weights, summed by hand."""
    model = nested()
    params = filled(model)
    ids = jnp.array([1, 2])

    def loss(model: Any, params: Any) -> Any:
        logits = [part(ids) for part in (getattr(model.bind(params), str(i)) for i in range(3))]
        return sum((index + 1) * (y**2).mean() for index, y in enumerate(logits))

    grads = jax.grad(lambda p: loss(model, p))(params)
    untied, loose = fp.untie(model, params, "**")
    assert len(jax.tree.leaves(loose)) == 12
    apart = jax.grad(lambda p: loss(untied, p))(loose)
    shared = fp.flatten(grads)
    sums: dict[str, Any] = dict.fromkeys(shared, 0)
    owner = {n: n for n in shared} | {
        "0.head.weight": "0.wte.weight",
        "1.wte.weight": "0.wte.weight",
        "1.head.weight": "0.wte.weight",
        "2.wte.weight": "0.wte.weight",
        "2.head.weight": "0.wte.weight",
        "2.body.weight": "0.body.weight",
        "2.body.bias": "0.body.bias",
    }
    for name, grad in fp.flatten(apart).items():
        sums[owner[name]] = sums[owner[name]] + grad
    assert len(fp.flatten(apart)) == len(owner)
    for name, total in sums.items():
        np.testing.assert_allclose(shared[name], total, rtol=1e-5)


def test_apply_takes_state_and_key_by_name() -> None:
    model = Block(3)
    params, state = filled(model), model.init_state()
    y = model.apply(params, X, state=state)
    assert np.array_equal(y, jax.jit(model.apply)(params, X, state=state))
    one, _ = model.apply_with_state(params, state, X, key=KEY, training=True)
    two, _ = model.apply_with_state(params, state, X, key=jax.random.key(1), training=True)
    assert not np.array_equal(one, two)


def test_params_are_positional_only() -> None:
    class Odd(fp.Module):
        def __call__(self, params: Any) -> Any:
            return params

    assert Odd().apply({}, 3) == 3
    assert Odd().apply({}, params=3) == 3
    assert Odd().apply_with_state({}, {}, params=3) == (3, {})


def test_typed_arrays_of_any_dtype() -> None:
    model = Linear(3, 2).astype(jnp.bfloat16)
    assert model.init(KEY)["weight"].dtype == jnp.bfloat16
    assert model.apply(model.init(KEY), X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert Linear(3, 2).init(KEY)["weight"].dtype == np.float32
        double = Linear(3, 2).astype(jnp.float64)
        assert double.init(KEY)["weight"].dtype == np.float64


def test_given_values() -> None:
    class Fixed(fp.Module):
        def __init__(self) -> None:
            self.weight = fp.param(init=init.array([[1.0, 2.0]]))
            self.table = fp.buffer(init=init.array([0, 1, 2]))

    assert Fixed().init(None)["weight"].tolist() == [[1.0, 2.0]]  # pyright: ignore
    assert Fixed().init_state()["table"].tolist() == [0, 1, 2]
    assert Fixed() == Fixed()
