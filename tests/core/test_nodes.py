"""References and parametrizations: the nodes that stand in params beside arrays."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from funcparams.core.names import Path, place
from funcparams.core.nodes import absolute, follow, relative
from tests.models import Chain, Language, Linear, Table, filled

paths = st.lists(st.sampled_from("ab01"), min_size=1, max_size=4).map(tuple)


# References


def apart(one: Path, two: Path) -> bool:
    """Whether two places can both stand in a tree."""
    return one[: len(two)] != two and two[: len(one)] != one


@given(paths, paths)
def test_relative_and_absolute_are_inverse(owner: Path, place: Path) -> None:
    if apart(owner, place):
        assert absolute(relative(owner, place), place) == owner


@given(paths, paths, paths)
def test_a_reference_inside_a_part_survives_its_move(owner: Path, place: Path, to: Path) -> None:
    if apart(owner, place):
        inside = relative(("part", *owner), ("part", *place))
        assert inside == relative(owner, place)
        assert absolute(inside, (*to, *place)) == (*to, *owner)


def test_dots_count_as_in_relative_imports() -> None:
    assert relative(("0",), ("2",)) == fp.Ref(".0")
    assert relative(("wte", "weight"), ("head", "weight")) == fp.Ref("..wte.weight")
    assert relative(("a", "b", "w"), ("a", "c", "w")) == fp.Ref("..b.w")
    assert relative(("w",), ("a", "b", "w")) == fp.Ref("...w")


@pytest.mark.parametrize("target", ["", ".", "..", "w", ".a..b", "...w"])
def test_a_reference_that_cannot_be_one_names_nothing(target: str) -> None:
    assert absolute(fp.Ref(target), ("a", "b")) is None


def test_a_reference_is_a_leafless_value() -> None:
    one, two = fp.Ref(".0"), fp.Ref(".0")
    assert one == two
    assert hash(one) == hash(two)
    assert one != fp.Ref(".1")
    assert jax.tree.leaves({"a": one}) == []
    assert jax.tree.map(lambda x: x + 1, {"a": one, "b": 1}) == {"a": one, "b": 2}
    assert jax.tree.structure({"a": one}) != jax.tree.structure({"a": fp.Ref(".1")})
    assert repr(one) == "Ref('.0')"
    assert pickle.loads(pickle.dumps(one)) == one
    assert copy.deepcopy(one) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.target = ".1"  # pyright: ignore


def test_follow_goes_through_references_on_the_way() -> None:
    tree = {
        "a": {"w": 1},
        "b": fp.Ref(".a"),
        "c": {"w": fp.Ref("..b.w")},
        "d": fp.Ref(".c.w"),
    }
    assert follow(tree, ("d",), tree["d"]) == (("a", "w"), 1)
    assert follow(tree, ("b",), tree["b"]) == (("a",), {"w": 1})


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"a": fp.Ref(".b")}, "a is Ref('.b'), but there is no b"),
        ({"a": fp.Ref(".b"), "b": fp.Ref(".c.d")}, "b is Ref('.c.d'), but there is no c.d"),
        ({"a": fp.Ref("..b")}, "a is Ref('..b'), which leads out of the tree"),
        ({"a": fp.Ref(".b.c"), "b": fp.Ref("..b")}, "a is Ref('.b.c'), but there is no b.c"),
        ({"a": fp.Ref(".a")}, "a circle of references: a is Ref('.a')"),
        (
            {"a": fp.Ref(".b"), "b": fp.Ref(".a")},
            "a circle of references: a is Ref('.b'), and b is Ref('.a')",
        ),
        ({"a": fp.Ref(".a.b")}, "a circle of references: a is Ref('.a.b'), and a is Ref('.a.b.b')"),
    ],
)
def test_follow_says_where_a_reference_breaks(tree: dict[str, Any], text: str) -> None:
    with pytest.raises(fp.SharingError) as caught:
        follow(tree, ("a",), tree["a"])
    assert str(caught.value).startswith(text)


@given(st.lists(paths, min_size=2, max_size=6, unique=True))
def test_a_chain_of_references_resolves_to_its_owner(chain: list[Path]) -> None:
    if not all(apart(a, b) for a in chain for b in chain if a is not b):
        return
    tree: dict[str, Any] = {}
    place(tree, chain[0], "array")
    for target, here in itertools.pairwise(chain):
        place(tree, here, relative(target, here))
    assert follow(tree, chain[-1], relative(chain[-2], chain[-1])) == (chain[0], "array")


# Parametrizations


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled(fp.Parametrization):
    base: Any
    factor: Any

    def value(self) -> jax.Array:
        return self.base * self.factor


def test_a_parametrization_computes_the_parameter() -> None:
    model = Linear(2, 3)
    params = filled(model)
    node = Scaled(params["weight"], jnp.float32(2))
    x = jnp.ones((1, 2))
    y = model.apply({**params, "weight": node}, x)
    assert np.array_equal(y, model.apply({**params, "weight": 2 * params["weight"]}, x))


def test_gradients_reach_the_fields_of_a_parametrization() -> None:
    model = Linear(2, 1, bias=False)
    params = {"weight": Scaled(jnp.array([[3.0, 4.0]]), jnp.float32(2))}
    grads = jax.grad(lambda p: model.apply(p, jnp.ones(2)).sum())(params)
    assert isinstance(grads["weight"], Scaled)
    assert grads["weight"].base.tolist() == [[2.0, 2.0]]
    assert grads["weight"].factor == 7


def test_a_field_may_be_a_reference() -> None:
    """A scaled copy of the embedding as the head: the embedding is stored once, and untouched."""
    model = Chain(Table(4, 2), Linear(2, 4, bias=False))
    table = jnp.arange(8.0).reshape(4, 2)
    params = {"0": {"weight": table}, "1": {"weight": Scaled(fp.Ref("..0.weight"), jnp.float32(3))}}
    ids = jnp.array([1])
    assert np.array_equal(model.apply(params, ids), table[1:2] @ (3 * table).T)
    assert len(jax.tree.leaves(params)) == 2
    grads = jax.grad(lambda p: model.apply(p, ids).sum())(params)
    assert grads["1"]["weight"].base == fp.Ref("..0.weight")
    # Used as a table (row 1 times the head) and, through the reference, as the head.
    assert (
        grads["0"]["weight"].tolist()
        == (3 * table[1:2] + jnp.zeros((4, 2)).at[1].set(3 * table.sum(0))).tolist()
    )


def test_the_owner_of_a_tie_may_be_a_parametrization() -> None:
    model = Language()
    params = filled(model)
    params["wte"] = {"weight": Scaled(params["wte"]["weight"], jnp.float32(2))}
    plain = filled(model)
    plain["wte"] = {"weight": 2 * plain["wte"]["weight"]}
    ids = jnp.array([0, 2])
    assert np.array_equal(model.apply(params, ids), model.apply(plain, ids))


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (Scaled(jnp.ones((3, 2)), jnp.ones(4)), "weight: Scaled.value() fails: "),
        (Scaled(fp.Ref("..gone"), 1.0), "weight: Scaled.value() fails: weight is Ref('..gone')"),
        (Scaled(jnp.ones((2, 3)), 1.0), "weight: expected float32[3,2], got float32[2,3]"),
        (fp.Parametrization(), "Parametrization without value(): define a method value(self)"),
    ],
)
def test_a_parametrization_that_does_not_fit(node: Any, text: str) -> None:
    model = Linear(2, 3, bias=False)
    with pytest.raises(fp.MismatchError) as caught:
        model.apply({"weight": node}, jnp.ones(2))
    assert text in str(caught.value)


def test_nodes_never_check_their_fields() -> None:
    node = Scaled(jnp.ones(2), jnp.ones(2))
    assert jax.tree.map(lambda _: None, node) == Scaled(None, None)
    assert jax.tree.map(lambda _: "x", node).base == "x"
