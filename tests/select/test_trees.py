"""What selection is for: masks, labels, partitions, updates, casts, flat dicts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from tests.models import Block, Chain, Language, Linear, filled, nested, ones, same_arrays, twice
from tests.recipes import build, recipes

KEY = jax.random.key(0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled(fp.Parametrization):
    base: Any
    factor: Any

    def value(self) -> jax.Array:
        return self.base * self.factor


def refused(edit: Any, tree: Any, error: type[Exception], *texts: str) -> None:
    before = jax.tree.map(lambda leaf: leaf, tree)
    with pytest.raises(error) as caught:
        edit(tree)
    assert isinstance(caught.value, fp.FuncparamsError)
    for text in texts:
        assert text in str(caught.value)
    assert jax.tree.structure(tree) == jax.tree.structure(before)
    assert all(a is b for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(before), strict=True))


# mask and label


def test_mask() -> None:
    assert fp.mask(filled(Language()), "**.weight") == {
        "wte": {"weight": True},
        "body": {"weight": True, "bias": False},
        "head": {"weight": fp.Ref("..wte.weight")},
    }


def test_label() -> None:
    params = filled(twice())
    labels = fp.label(params, {"**.bias": "slow", "**": "fast"})
    assert labels == {"0": {"weight": "fast", "bias": "slow"}, "2": fp.Ref(".0")}
    assert fp.label(params, {"2.bias": 1}, default=0)["0"] == {"weight": 0, "bias": 1}
    assert fp.label(params, {"0.*": "first", "**": "second"})["0"]["bias"] == "first"


def test_every_leaf_of_a_parametrization_gets_the_same() -> None:
    params = {"w": Scaled(jnp.ones(2), jnp.ones(())), "b": jnp.ones(2)}
    assert fp.mask(params, "w") == {"w": Scaled(True, True), "b": False}
    assert fp.label(params, {"w": 1}, default=2) == {"w": Scaled(1, 1), "b": 2}
    meant, rest = fp.partition(params, "w")
    assert meant == {"w": params["w"], "b": None}
    assert fp.combine(meant, rest)["w"] is params["w"]


def test_label_needs_a_label_for_all() -> None:
    refused(
        lambda p: fp.label(p, {"**.bias": "slow"}),
        filled(twice()),
        fp.MismatchError,
        "label: no rule means 0.weight.",
        'Give default=..., or a last rule "**".',
    )
    refused(
        lambda p: fp.label(p, {"x": 1, "**": 2}), filled(twice()), KeyError, "'x' selects nothing"
    )


# partition and combine


def test_partition_and_combine() -> None:
    params = filled(Language())
    meant, rest = fp.partition(params, "body.*")
    assert meant["wte"]["weight"] is None
    assert rest["body"] == {"weight": None, "bias": None}
    assert meant["head"] == rest["head"] == params["head"]
    whole = fp.combine(meant, rest)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: a is b, whole, params)))
    assert same_arrays(fp.combine(rest, meant), params)


def test_gradients_of_a_part() -> None:
    model = Language()
    params = filled(model)
    tuned, frozen = fp.partition(params, "head.weight")  # by the name that is a reference

    def loss(tuned: Any) -> Any:
        return model.apply(fp.combine(tuned, frozen), jnp.array([1])).sum()

    grads = jax.jit(jax.grad(loss))(tuned)
    full = jax.grad(lambda p: model.apply(p, jnp.array([1])).sum())(params)
    assert grads["body"] == {"weight": None, "bias": None}
    np.testing.assert_allclose(grads["wte"]["weight"], full["wte"]["weight"], rtol=1e-6)


def test_partition_in_three() -> None:
    params = filled(nested())
    one, rest = fp.partition(params, "0.**")
    two, three = fp.partition(rest, "**.bias")
    assert same_arrays(fp.combine(one, two, three), params)


@pytest.mark.parametrize(
    ("trees", "line"),
    [
        (({"a": 1}, {"a": 2}), "a: filled in 2 trees"),
        (({"a": None}, {"a": None}), "a: a hole in every tree"),
        (({"a": 1}, {"a": None, "b": 2}), "b: absent in tree 0"),
        (({"a": fp.Ref(".b"), "b": 1}, {"a": fp.Ref(".c"), "b": None}), "a: filled in 2 trees"),
        (({"a": {"c": 1}}, {"a": None}), "a.c: absent in tree 1"),
    ],
)
def test_combine_refuses(trees: Any, line: str) -> None:
    with pytest.raises(fp.MismatchError) as caught:
        fp.combine(*trees)
    text = str(caught.value)
    assert text.startswith("combine: the trees do not complete each other\n")
    assert f"  {line}" in text
    assert text.endswith("To mend: give the trees that one fp.partition returned.")


# update


def test_update() -> None:
    params = filled(Chain(Linear(2, 2), Linear(2, 2)))
    new = fp.update(
        params,
        {
            "0.weight": jnp.ones((2, 2)),
            "1.weight": np.zeros((2, 2), np.float32),
            "*.bias": lambda b: b + 1,
        },
    )
    assert new["0"]["weight"].tolist() == [[1, 1], [1, 1]]
    assert new["1"]["weight"].tolist() == [[0, 0], [0, 0]]
    assert (new["1"]["bias"] == params["1"]["bias"] + 1).all()
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(new))
    assert fp.update(params, {"0.bias": 3})["0"]["bias"].tolist() == [3, 3]
    assert fp.update(params, {"0.bias": 3})["1"] is not params["1"]
    assert same_arrays(params, filled(Chain(Linear(2, 2), Linear(2, 2))))


def test_update_by_either_name_of_a_shared_parameter() -> None:
    params = filled(twice())
    for name in ("0.weight", "2.weight"):
        new = fp.update(params, {name: lambda w: w.at[0, 0].set(100)})
        assert new["0"]["weight"][0, 0] == 100
        assert new["2"] == fp.Ref(".0")


def test_update_keeps_the_dtype() -> None:
    params = fp.cast(filled(Linear(2, 2)), jnp.bfloat16)
    for value in (1, 2.5, np.float64(3), jnp.float32(4)):
        full = jnp.full((2,), value) if hasattr(value, "dtype") else value
        assert fp.update(params, {"bias": full})["bias"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"weight": jnp.ones(2)}, ["weight: expected float32[3,2], got float32[2]"]),
        ({"weight": jnp.float32(1)}, ["weight: expected float32[3,2], got float32[]"]),
        ({"bias": "text"}, ["bias: expected float32[3], got str 'text'"]),
        ({"bias": [1, 2, 3]}, ["bias: expected float32[3], got list [1, 2, 3]"]),
        (
            {"bias": jnp.ones(3, complex)},
            ["bias: expected float32[3], got complex64[3]; cast it first"],
        ),
        ({"bias": 1j}, ["bias: expected float32[3], got complex64[3]; cast it first"]),
        (
            {"weight": lambda w: w[0], "bias": lambda b: None},
            [
                "weight: expected float32[3,2], got float32[2]",
                "bias: expected float32[3], got NoneType",
            ],
        ),
    ],
)
def test_update_refuses(changes: Any, lines: list[str]) -> None:
    refused(
        lambda p: fp.update(p, changes),
        filled(Linear(2, 3)),
        fp.MismatchError,
        "update: values do not fit\n",
        *lines,
    )


def test_update_of_nothing() -> None:
    refused(
        lambda p: fp.update(p, {"biass": 1}), filled(Linear(1, 1)), KeyError, "did you mean 'bias'?"
    )
    node = {"weight": Scaled(jnp.ones((1, 1)), 2.0), "bias": jnp.ones(1)}
    text = "weight: holds a Scaled, which computes its array; change its fields"
    refused(lambda p: fp.update(p, {"weight": 1.0}), node, fp.MismatchError, text)


# cast


def test_cast_changes_floating_arrays_only() -> None:
    params, state = filled(Block(2)), Block(2).init_state()
    half = fp.cast(params, jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    assert fp.cast(state, jnp.float16)["norm"]["calls"].dtype == jnp.int32
    assert fp.cast(state, jnp.float16)["norm"]["mean"].dtype == jnp.float16
    part = fp.cast(params, jnp.float16, "layer.*")
    assert part["layer"]["bias"].dtype == jnp.float16
    assert part["norm"]["scale"].dtype == jnp.float32
    assert params["layer"]["bias"].dtype == jnp.float32


def test_cast_keeps_ties_and_takes_shapes_and_nodes() -> None:
    params = fp.cast(filled(nested()), jnp.float16)
    assert jax.tree.structure(params) == jax.tree.structure(filled(nested()))
    assert fp.cast(Language().abstract(), jnp.float16)["wte"]["weight"].dtype == jnp.float16
    assert fp.cast(Language().abstract(), jnp.float16) == Language().astype(jnp.float16).abstract()
    node = {"w": Scaled(jnp.ones(2), jnp.int8(3)), "key": KEY}
    assert fp.cast(node, jnp.float16)["w"].base.dtype == jnp.float16
    assert fp.cast(node, jnp.float16)["w"].factor.dtype == jnp.int8
    assert fp.cast(node, jnp.float16)["key"] is KEY


def test_cast_refuses() -> None:
    params = filled(Linear(1, 1))
    for dtype in (jnp.int32, bool, jnp.complex64):
        text = f"cannot cast to {jnp.dtype(dtype).name}: a cast changes floating arrays"
        refused(lambda p, d=dtype: fp.cast(p, d), params, TypeError, text)
    refused(
        lambda p: fp.cast(p, "floaty"), params, TypeError, "expected a dtype such as jnp.bfloat16"
    )
    refused(lambda p: fp.cast(p, jnp.float16, "x"), params, KeyError, "'x' selects nothing")


# flatten and unflatten


def test_flatten_sorts_naturally_and_leaves_references_out() -> None:
    layers = [Linear(1, 1) for _ in range(11)]
    model = Chain(*layers, layers[0])
    names = list(fp.flatten(filled(model)))
    assert names[:6] == ["0.bias", "0.weight", "1.bias", "1.weight", "2.bias", "2.weight"]
    assert names[-2:] == ["10.bias", "10.weight"]
    assert jax.tree.structure(fp.unflatten(model, fp.flatten(filled(model)))) == jax.tree.structure(
        filled(model)
    )


def test_flatten_extends_names_by_the_fields_of_nodes() -> None:
    params = {"w": Scaled(jnp.ones(2), 3.0), "b": None, "r": fp.Ref(".w")}
    assert list(fp.flatten(params)) == ["w.base", "w.factor"]


def test_unflatten_state() -> None:
    block = Block(2)
    model = Chain(block, block)
    state = model.init_state()
    assert same_arrays(fp.unflatten(model, fp.flatten(state), "state"), state)
    assert fp.unflatten(Linear(1, 1), {}, "state") == {}


def test_unflatten_reports_everything() -> None:
    flat = fp.flatten(filled(Language()))
    refused(
        lambda f: fp.unflatten(Language(), f),
        {**flat, "head.weight": flat["wte.weight"], "boddy.bias": 1},
        fp.MismatchError,
        "unflatten: Language has no such params",
        "  head.weight: unexpected float32[5,3]",
        "  boddy.bias: unexpected int 1; did you mean 'body.bias'?",
        "To mend: a shared array goes under its owner's name, each name once.",
    )
    del flat["body.bias"]
    flat["wte.weight"] = jnp.ones(1)
    refused(
        lambda f: fp.unflatten(Language(), f),
        flat,
        fp.MismatchError,
        "wte.weight: expected float32[5,3], got float32[1]",
        "body.bias: missing, expected float32[3]",
    )


def test_trainable_names() -> None:
    class Mixed(fp.Module):
        def __init__(self) -> None:
            self.layer = Linear(1, 1)
            self.fixed = fp.param((), ones, trainable=False)

    assert fp.trainable(Mixed()) == ("layer.weight", "layer.bias")
    params = {"layer": filled(Linear(1, 1)), "fixed": jnp.ones(())}
    assert fp.mask(params, fp.trainable(Mixed()))["fixed"] is False
    tuned, frozen = fp.partition(params, fp.trainable(Mixed()))
    assert tuned["fixed"] is None
    assert frozen["fixed"] is params["fixed"]


# For any definition


@given(recipes())
def test_flatten_and_unflatten_are_inverse(recipe: Any) -> None:
    model = build(recipe)
    params, state = filled(model), model.init_state()
    for tree, kind in ((params, "params"), (state, "state")):
        flat = fp.flatten(tree)
        again = fp.unflatten(model, dict(reversed(flat.items())), kind)  # pyright: ignore
        assert same_arrays(again, tree)
        assert all(
            a is b for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(tree), strict=True)
        )
    assert set(fp.flatten(params)) == {name for name, _ in model.named_parameters()}


@given(recipes(), st.data())
def test_partition_and_combine_are_inverse(recipe: Any, data: Any) -> None:
    model = build(recipe)
    params = filled(model)
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    chosen = (
        fp.Names(model.names(tuple(data.draw(st.sets(st.sampled_from(every), min_size=1)))))
        if every
        else fp.Names()
    )
    meant, rest = fp.partition(params, chosen)
    counts = [len(jax.tree.leaves(tree)) for tree in (meant, rest, params)]
    assert counts[0] + counts[1] == counts[2]
    assert counts[0] == len(chosen)
    whole = fp.combine(meant, rest)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    assert all(a is b for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(params), strict=True))


@given(recipes())
def test_everything_keeps_the_structure(recipe: Any) -> None:
    model = build(recipe)
    params = filled(model)
    structure = jax.tree.structure(params)
    trees = [fp.cast(params, jnp.float16)]
    if params:
        trees += [
            fp.mask(params, "**"),
            fp.label(params, {"**": "x"}),
            fp.update(params, {"**": 1.0}),
        ]
    else:
        trees += [fp.mask(params, fp.Names()), fp.label(params, {}, default=1)]
    assert all(jax.tree.structure(tree) == structure for tree in trees)
