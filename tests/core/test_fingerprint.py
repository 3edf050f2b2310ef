"""Equality and hash: by value, with typed values and the sharing structure."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from funcparams import init
from funcparams.core.fingerprint import fingerprint
from tests.models import Chain, Language, Linear, Table, filled, ones, zeros
from tests.recipes import build, recipes, untied_recipe


class Holder(fp.Module):
    """One hyperparameter."""

    def __init__(self, value: Any):
        self.value = value


@dataclasses.dataclass(frozen=True)
class Config:
    rate: Any
    note: str = dataclasses.field(default="", compare=False)


def power(x: Any, exponent: Any) -> Any:
    return x**exponent


DIFFERENT: list[Any] = [
    *(0, 0.0, -0.0, False, None, 1, True, 1.0, 1 + 0j, "1", b"1", math.nan, math.inf),
    *(complex(0.0, -0.0), complex(0.0, 0.0), 0.1, 0.1 + 1e-17 + 1e-16, jnp.float32, jnp.bfloat16),
    *((), (1,), (True,), (1.0,), ((1,),), (1, ()), ((1,), ()), (0.0,), (-0.0,)),
    *({}, {"a": 1}, {"a": True}, {1: "a"}, {True: "a"}, {1.0: "a"}, {"a": ()}, {"a": {}}),
    *(frozenset([1]), frozenset([True]), frozenset([1.0])),
    *(Config(1), Config(1.0), Config(True), Config((1,)), Config((1.0,)), Config(Config(1))),
    *(power, functools.partial(power), functools.partial(power, 1), functools.partial(power, 1.0)),
    *(functools.partial(power, x=1), functools.partial(power, exponent=1)),
    *(functools.partial(power, (1,)), (power, (), {})),
    *((functools.partial(power), power, (), {}), (power, (), {}, functools.partial(power))),
    *(init.constant(1), init.constant(1.0), init.constant(0.0), init.constant(-0.0)),
]


@pytest.mark.parametrize("index", range(len(DIFFERENT)))
def test_typed_values_differ(index: int) -> None:
    value = DIFFERENT[index]
    assert Holder(value) == Holder(copy.deepcopy(value))
    assert hash(Holder(value)) == hash(Holder(copy.deepcopy(value)))
    equal = [i for i, other in enumerate(DIFFERENT) if Holder(other) == Holder(value)]
    assert equal == [index]


def test_what_a_dataclass_does_not_compare_does_not_count() -> None:
    assert Holder(Config(1, "one")) == Holder(Config(1, "two"))


def test_initializers_count_by_their_parts() -> None:
    def model(initializer: Any) -> fp.Module:
        return Holder([fp.param((2,), initializer)])

    assert model(functools.partial(zeros)) == model(functools.partial(zeros))
    assert model(functools.partial(ones, dtype=jnp.float32)) != model(functools.partial(ones))
    assert model(init.normal(std=0.5)) == model(init.normal(std=0.5))
    assert model(init.normal(std=0.5)) != model(init.normal(std=0.25))
    assert model(init.array([1.0, 2.0])) == model(init.array([1.0, 2.0]))
    assert model(init.array([1.0, 2.0])) != model(init.array([1.0, 3.0]))
    assert model(init.constant(0.0)) != model(init.constant(-0.0))


def test_every_trait_of_a_declaration_counts() -> None:
    def model(declared: Any) -> fp.Module:
        return Holder([declared])

    param, buffer = fp.param, fp.buffer
    listed = [
        *(
            param((2,), ones),
            param((2, 1), ones),
            param((2,), zeros),
            param((2,), ones, jnp.bfloat16),
        ),
        *(param((2,), ones, axes=("a",)), param((2,), ones, axes=(None,))),
        *(param((2,), ones, trainable=False), buffer((2,), ones), buffer((2,), ones, jnp.int32)),
        buffer((2,), ones, persistent=False),
    ]
    models = [model(declared) for declared in listed]
    for index, one in enumerate(models):
        assert [one == other for other in models] == [i == index for i in range(len(models))]
        assert one == copy.deepcopy(one)


def test_class_and_field_names_count() -> None:
    class Other(Holder):
        pass

    assert Holder(1) != Other(1)
    assert Other(1) != Holder(1)
    assert Holder(1) != 1
    assert (Holder(1) == "text") is False

    class Ab(fp.Module):
        def __init__(self, names: str):
            for name in names:
                setattr(self, name, 1)

    assert Ab("ab") == Ab("ab")
    assert Ab("ab") != Ab("ba")  # their parameters would be listed in another order
    assert Ab("ab") != Ab("a")


def test_sharing_counts() -> None:
    layer = Linear(2, 2)
    shared, copies = Chain(layer, layer), Chain(layer, copy.deepcopy(layer))
    assert shared != copies
    assert shared == Chain(*[Linear(2, 2)] * 2)
    tied = Language()
    untied, _ = fp.untie(tied, filled(tied), "head.weight")
    assert tied != untied
    assert tied == Language()
    three = [Linear(2, 2), Linear(2, 2)]
    patterns = [(0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 0, 0)]
    models = [Chain(*(three[i] for i in pattern)) for pattern in patterns]
    assert len(set(models)) == 4


def test_declaration_and_module_sharing_differ() -> None:
    table = Table(2, 2)
    same_module = Chain(table, table)
    same_weight = Chain(table, Table(2, 2).replace(weight=table.weight))
    assert same_module != same_weight


def test_views_compare_and_hash_by_identity() -> None:
    model = Linear(1, 1)
    params = {"weight": jnp.ones((1, 1)), "bias": jnp.ones(1)}
    one, two = model.bind(params), model.bind(params)
    assert one == one
    assert one != two
    assert one != model
    assert model != one
    assert len({one, two, model}) == 3


@given(st.tuples(recipes(), recipes()))
def test_equal_if_and_only_if_built_alike(pair: tuple[Any, Any]) -> None:
    one, two = pair
    assert build(one) == build(one)
    assert hash(build(one)) == hash(build(one))
    assert (build(one) == build(two)) == (repr(one) == repr(two))


@given(recipes(min_shared=1), st.randoms(use_true_random=False))
def test_untying_any_place_makes_it_unequal(recipe: Any, random: Any) -> None:
    other = untied_recipe(recipe, random)
    assert repr(other) != repr(recipe)
    assert build(other) != build(recipe)
    assert copy.deepcopy(build(recipe)) == build(recipe)


def test_equal_definitions_are_compared_in_full_only_once() -> None:
    one, two, other = Language(), Language(), Language(n=6)
    assert one == two
    assert fingerprint(one) is fingerprint(two)
    assert one != other
    assert fingerprint(one) is not fingerprint(other)
