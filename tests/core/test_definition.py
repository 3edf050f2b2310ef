"""Definitions: sealed, copied, pickled, static; and the read-only mapping that they hold."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import funcparams as fp
from tests.models import Block, Chain, Counter, Language, Linear, filled, nested, twice

MODELS = [Linear(2, 3), Linear(2, 3, bias=False), Block(), Language(), twice(), nested(), Chain()]


# Copies


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_equal_and_sealed(model: fp.Module, duplicate: Any) -> None:
    hash(model)
    other = duplicate(model)
    assert other is not model
    assert type(other) is type(model)
    assert other == model
    assert hash(other) == hash(model)
    assert repr(other) == repr(model)
    assert other.abstract() == model.abstract()
    with pytest.raises(fp.SealedError):
        other.fresh = 1


def test_copy_shares_and_deepcopy_does_not() -> None:
    model: Any = Language()
    assert copy.copy(model).wte is model.wte
    deep = copy.deepcopy(model)
    assert deep.wte is not model.wte
    assert deep.wte.weight is not model.wte.weight
    assert deep.head.weight is deep.wte.weight  # ties inside stay


def test_deepcopy_is_the_way_to_a_layer_of_its_own() -> None:
    layer = Linear(2, 2)
    tied, untied = Chain(layer, layer), Chain(layer, copy.deepcopy(layer))
    assert len(list(tied.parameters())) == 2
    assert len(list(untied.parameters())) == 4
    assert tied != untied


def test_one_deepcopy_of_two_keeps_their_tie() -> None:
    model: Any = Language()
    head, wte = copy.deepcopy((model.head, model.wte))
    assert head.weight is wte.weight
    assert head.weight is not model.head.weight


def test_deepcopy_keeps_hyperparameters_by_identity() -> None:
    marker = object()
    model: Any = Chain(marker, [marker, Linear(1, 1)])
    other = copy.deepcopy(model)
    assert getattr(other, "0") is marker
    assert getattr(other, "1")[0] is marker


def test_the_cache_is_not_pickled() -> None:
    model = Linear(2, 3)
    before = pickle.dumps(model)
    hash(model)
    model.abstract()
    assert model.apply is not None
    assert pickle.dumps(model) == before


# Static pytrees


def test_a_definition_is_a_leafless_pytree() -> None:
    model = Block()
    assert jax.tree.leaves(model) == []
    leaves, structure = jax.tree.flatten({"model": model, "x": 1})
    assert leaves == [1]
    assert jax.tree.unflatten(structure, [2]) == {"model": model, "x": 2}
    assert jax.tree.structure(model) == jax.tree.structure(Block())
    assert jax.tree.structure(model) != jax.tree.structure(Block(4))


def test_an_equal_definition_built_anew_does_not_retrace() -> None:
    traces: list[str] = []
    params = filled(Linear(2, 3))

    def by_argument(model: Any, x: Any) -> Any:
        traces.append("argument")
        return model.apply(params, x)

    def by_static(x: Any, model: Any) -> Any:
        traces.append("static")
        return model.apply(params, x)

    argument = jax.jit(by_argument)
    static = jax.jit(by_static, static_argnames="model")
    for _ in range(3):
        argument(Linear(2, 3), jnp.ones(2))
        static(jnp.ones(2), model=Linear(2, 3))
    assert traces == ["argument", "static"]
    with pytest.raises(fp.MismatchError):
        argument(Linear(3, 3), jnp.ones(2))  # another definition is traced anew


def test_a_definition_may_be_returned_from_jit() -> None:
    model, x = jax.jit(lambda model, x: (model, x + 1))(Block(), 1)
    assert model == Block()
    assert x == 2


def test_sealing_survives_jit_and_tree_map() -> None:
    model = jax.tree.map(lambda x: x, Counter())
    with pytest.raises(fp.SealedError):
        model.calls = 1


# Two thousand modules


def test_large_definitions() -> None:
    def deep(levels: int) -> fp.Module:
        return Linear(1, 1) if levels == 0 else Chain(deep(levels - 1), deep(levels - 1))

    model = deep(10)
    modules = list(model.modules())
    assert len(modules) == 2047
    assert model == deep(10)
    assert len({hash(model), hash(deep(10))}) == 1
    assert sum(parameter.size for parameter in model.parameters()) == 2048
    assert copy.deepcopy(model) == model
    bound = model.bind(filled(model))
    assert len(list(bound.modules())) == 2047
    params = model.abstract()
    params["0"]["1"] = {}
    with pytest.raises(fp.MismatchError, match="512 problems"):
        model.bind(params)


def test_deeply_nested_definitions() -> None:
    model: Any = Linear(1, 1)
    for _ in range(100):
        model = Chain(model)
    assert pickle.loads(pickle.dumps(model)) == model
    assert model.apply(filled(model), jnp.ones(1)).shape == (1,)


# The read-only mapping


def test_frozen_dict_is_a_mapping_by_value() -> None:
    one = fp.FrozenDict({"a": 1, "b": (2,)})
    assert one == {"b": (2,), "a": 1}
    assert one == fp.FrozenDict({"b": (2,), "a": 1})
    assert hash(one) == hash(fp.FrozenDict({"b": (2,), "a": 1}))
    assert dict(one) == {"a": 1, "b": (2,)}
    assert list(one) == ["a", "b"]
    assert len(one) == 2
    assert one.get("c", 3) == 3
    assert repr(one) == "{'a': 1, 'b': (2,)}"
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one
    with pytest.raises(TypeError):
        one["a"] = 2  # pyright: ignore
