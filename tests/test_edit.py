"""Surgery: tie, untie, subtree, reinit."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from funcparams.core import walk
from funcparams.core.declarations import Param
from tests.models import Chain, Counter, Language, Linear, filled, nested, same_arrays, twice
from tests.recipes import build, recipes

KEY = jax.random.key(0)
IDS = jnp.array([0, 2])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled(fp.Parametrization):
    base: Any
    factor: Any

    def value(self) -> jax.Array:
        return self.base * self.factor


def refused(edit: Any, params: Any, error: type[Exception], *texts: str) -> None:
    """The edit fails with these texts and leaves the tree as it was."""
    before = copy.deepcopy(jax.tree.map(np.array, params)) if isinstance(params, dict) else params
    with pytest.raises(error) as caught:
        edit(params)
    assert isinstance(caught.value, fp.FuncparamsError)
    for text in texts:
        assert text in str(caught.value)
    if isinstance(params, dict):
        assert same_arrays(before, params)


# tie


def test_tie_turns_equal_copies_into_references() -> None:
    model = Language()
    params = filled(model)
    weight = params["wte"]["weight"]
    for copied in (weight, weight.copy(), np.array(weight)):
        tied = fp.tie(model, {**params, "head": {"weight": copied}})
        assert tied["head"] == {"weight": fp.Ref("..wte.weight")}
        assert tied["wte"]["weight"] is weight
        assert same_arrays(tied, params)


def test_tie_moves_an_array_to_its_owner() -> None:
    model = Language()
    params = filled(model)
    weight = params["wte"]["weight"]
    for wte in ({}, {"weight": None}, {"weight": fp.Ref("..head.weight")}):
        other = {**params, "wte": wte, "head": {"weight": weight}}
        assert same_arrays(fp.tie(model, other), params)
    assert fp.tie(twice(), {"2": filled(twice())["0"]})["2"] == fp.Ref(".0")


def test_tie_takes_a_part_of_the_copies() -> None:
    model, params = nested(), filled(nested())
    copied = {**params, "2": {"body": {"bias": params["0"]["body"]["bias"]}}}
    assert same_arrays(fp.tie(model, copied), params)
    assert same_arrays(fp.tie(model, params), params)


def test_tie_compares_bits_as_numbers() -> None:
    model = twice()
    nan = {"weight": jnp.array([[jnp.nan, 0.0], [1.0, 2.0]]), "bias": jnp.zeros(2)}
    minus = {"weight": jnp.array([[jnp.nan, -0.0], [1.0, 2.0]]), "bias": jnp.zeros(2)}
    tied = fp.tie(model, {"0": nan, "2": jax.tree.map(jnp.copy, nan)})
    assert tied["2"] == fp.Ref(".0")
    assert fp.tie(model, {"0": nan, "2": minus})["2"] == fp.Ref(".0")
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), nan)
    assert fp.tie(model, {"0": half, "2": jax.tree.map(jnp.copy, half)})["2"] == fp.Ref(".0")


def test_tie_refuses_unequal_copies_and_names_all() -> None:
    model, params = twice(), filled(twice())
    other = {"weight": params["0"]["weight"].at[0, 0].add(2.5), "bias": jnp.ones(3)}
    refused(
        lambda p: fp.tie(model, p),
        {**params, "2": other},
        fp.SharingError,
        "tie: Chain shares these parameters, and their copies differ:",
        "  2.weight differs from 0.weight by up to 2.5 in 1 of 4 entries",
        "  2.bias differs from 0.bias in form: float32[3] against float32[2]",
        "To mend: make them equal, fp.update(params, {...}), or separate them, fp.untie.",
    )


def test_tie_does_not_look_into_parametrizations() -> None:
    model, params = Language(), filled(Language())
    node = Scaled(params["wte"]["weight"], jnp.ones(()))
    refused(
        lambda p: fp.tie(model, p),
        {**params, "head": {"weight": node}},
        fp.SharingError,
        "  head.weight differs from wte.weight in kind: one is a parametrization",
    )
    moved = fp.tie(model, {**params, "wte": {}, "head": {"weight": node}})
    assert moved["wte"]["weight"] is node


def test_tie_refuses_what_does_not_fit() -> None:
    model, params = Language(), filled(Language())
    refused(
        lambda p: fp.tie(model, p),
        {**params, "extra": {"w": jnp.ones(1)}, "body": {}},
        fp.MismatchError,
        "extra: unexpected a dict with w",
        "body.weight: missing, expected float32[3,3]",
    )


def test_tie_needs_numbers() -> None:
    model, params = twice(), filled(twice())

    def traced(params: Any) -> Any:
        return fp.tie(model, {**params, "2": jax.tree.map(jnp.copy, params["0"])})

    with pytest.raises(fp.SharingError, match=r"these are traced\. Call it outside of jax"):
        jax.jit(traced)(params)
    same = jax.jit(lambda p: fp.tie(model, {**p, "2": p["0"]}))(params)  # one array, plainly equal
    assert same["2"] == fp.Ref(".0")


# untie


def groups(model: fp.Module) -> set[frozenset[str]]:
    """The names that stand for one array, for every array."""
    return {frozenset(names) for names in walk.aliases(walk.skeleton(model, Param)).values()}


def test_untie_a_declaration() -> None:
    model, params = Language(), filled(Language())
    loose, free = fp.untie(model, params, "head.weight")
    assert free["head"]["weight"] is not params["wte"]["weight"]
    assert free["body"]["bias"] is params["body"]["bias"]
    assert np.array_equal(loose.apply(free, IDS), model.apply(params, IDS))
    assert jax.tree.structure(loose.abstract()) == jax.tree.structure(free)
    grads = jax.grad(lambda p: loose.apply(p, IDS).sum())(free)
    tied = jax.grad(lambda p: model.apply(p, IDS).sum())(params)
    total = grads["wte"]["weight"] + grads["head"]["weight"]
    np.testing.assert_allclose(total, tied["wte"]["weight"], rtol=1e-5)
    assert (model, params) == (Language(), params)


def test_untie_a_module_or_a_part_of_it() -> None:
    model, params = twice(), filled(twice())
    _, free = fp.untie(model, params, "2.*")
    assert sorted(fp.flatten(free)) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    part, free = fp.untie(model, params, "2.weight")
    assert free["2"] == {"weight": free["2"]["weight"], "bias": fp.Ref("..0.bias")}
    assert groups(part) == {
        frozenset(["0.weight"]),
        frozenset(["2.weight"]),
        frozenset(["0.bias", "2.bias"]),
    }


def test_untie_keeps_buffers_shared() -> None:
    counter = Counter()
    model = Chain(counter, counter)
    loose, free = fp.untie(model, model.init(KEY), "1.scale")
    state = model.init_state()
    assert state["1"] == fp.Ref(".0")  # still fits
    _, new = loose.apply_with_state(free, state, jnp.ones((2, 3)), training=True)
    assert new["0"]["calls"] == 2


def test_untie_one_place_of_a_module_that_is_tied_elsewhere_too() -> None:
    """Only the place asked for: the module's other place stays tied to the third."""
    table = Linear(2, 2)
    inner = Chain(Linear(2, 2).replace(weight=table.weight))
    model = Chain(table, inner, inner)
    assert frozenset(["0.weight", "1.0.weight", "2.0.weight"]) in groups(model)
    for chosen, others in (("1.0.weight", "2.0.weight"), ("2.0.weight", "1.0.weight")):
        loose, free = fp.untie(model, filled(model), chosen)
        assert frozenset([chosen]) in groups(loose)
        assert frozenset(["0.weight", others]) in groups(loose)
        assert frozenset(["1.0.bias", "2.0.bias"]) in groups(loose)
        assert np.array_equal(
            loose.apply(free, jnp.ones(2)), model.apply(filled(model), jnp.ones(2))
        )


def test_untie_copies_so_that_all_can_be_donated() -> None:
    _, free = fp.untie(twice(), filled(twice()), "**")
    jax.jit(lambda p: jax.tree.map(lambda leaf: leaf + 1, p), donate_argnums=0)(free)
    assert fp.untie(twice(), twice().abstract(), "**")[1]["2"]["bias"].shape == (2,)


def test_untie_moves_parametrizations() -> None:
    model = Language()
    params = filled(model)
    params["wte"] = {"weight": Scaled(params["wte"]["weight"], jnp.float32(2))}
    loose, free = fp.untie(model, params, "head.weight")
    assert isinstance(free["head"]["weight"], Scaled)
    assert free["wte"]["weight"] is params["wte"]["weight"]
    assert np.array_equal(loose.apply(free, IDS), model.apply(params, IDS))


@pytest.mark.parametrize(
    ("model", "where", "error", "texts"),
    [
        (Linear(1, 1), "**", KeyError, ("untie: Linear shares no parameters.",)),
        (Language(), "wte.weight", KeyError, ("selects nothing", "The names are head.weight.")),
        (Language(), "hed.weight", KeyError, ("did you mean 'head.weight'?",)),
        (Language(), Chain, KeyError, ("Chain selects nothing",)),
    ],
)
def test_untie_refuses(model: Any, where: Any, error: type[Exception], texts: Any) -> None:
    refused(lambda p: fp.untie(model, p, where), filled(model), error, *texts)


def test_untie_checks_params() -> None:
    refused(lambda p: fp.untie(twice(), p, "**"), {}, fp.MismatchError, "0.weight: missing")


@given(recipes(min_shared=1), st.data())
def test_untie_separates_what_was_asked_for_and_nothing_else(recipe: Any, data: Any) -> None:
    model = build(recipe)
    params = filled(model)
    places = [
        name for names in walk.aliases(walk.skeleton(model, Param)).values() for name in names[1:]
    ]
    if not places:
        return
    chosen = data.draw(st.sets(st.sampled_from(places), min_size=1))
    loose, free = fp.untie(model, params, tuple(chosen))
    kept = {group - chosen for group in groups(model)}
    assert groups(loose) == kept | {frozenset([name]) for name in chosen}
    bound, before = loose.bind(free, loose.init_state()), model.bind(params, model.init_state())
    for (name, one), (other, two) in zip(
        bound.named_parameters(remove_duplicate=False),
        before.named_parameters(remove_duplicate=False),
        strict=True,
    ):
        assert name == other
        assert np.array_equal(one, two)
    assert same_arrays(fp.tie(model, free), params)
    assert model == build(recipe)


# subtree


def test_subtree_is_complete() -> None:
    params = filled(nested())
    assert fp.subtree(params, "0") == params["0"]
    assert fp.subtree(params, "2") == params["0"]  # a name that is a reference
    assert fp.subtree(params, "2.body.bias") is params["0"]["body"]["bias"]
    second = fp.subtree(params, "1")
    assert second["head"]["weight"] is params["0"]["wte"]["weight"]
    assert second["wte"]["weight"] == fp.Ref("..head.weight")
    tied = fp.tie(Language(), second)
    assert Language().apply(tied, IDS).shape == (2, 5)
    assert tied["head"]["weight"] == fp.Ref("..wte.weight")


def test_subtree_fills_in_whole_modules() -> None:
    layer = Linear(2, 2)
    model = Chain(layer, Chain(layer, layer, Linear(2, 2).replace(bias=layer.bias)))
    params = filled(model)
    part = fp.subtree(params, "1")
    assert part["0"] == params["0"]
    assert part["1"] == fp.Ref(".0")
    assert part["2"]["bias"] == fp.Ref("..0.bias")
    inner = Chain(layer, layer, Linear(2, 2).replace(bias=layer.bias))
    assert len(list(inner.bind(part).parameters())) == 3


def test_subtree_moves_under_another_name() -> None:
    params = filled(nested())
    backbone = fp.subtree(params, "0")
    model = Chain(Linear(1, 1), [Language()])
    tree = {"0": filled(Linear(1, 1)), "1": {"0": backbone}}
    bound: Any = model.bind(tree)
    assert getattr(bound, "1")[0].head.weight is params["0"]["wte"]["weight"]


def test_subtree_fills_in_fields_of_parametrizations() -> None:
    table = jnp.ones((4, 2))
    params = {"0": {"weight": table}, "1": {"weight": Scaled(fp.Ref("..0.weight"), 2.0)}}
    assert fp.subtree(params, "1")["weight"].base is table
    inside = fp.subtree({"a": params}, "a")
    assert inside["1"]["weight"].base == fp.Ref("..0.weight")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hed", "subtree: nothing is named 'hed'; did you mean 'head'?"),
        ("head.bias", "subtree: nothing is named 'head.bias'"),
        ("", "subtree: nothing is named ''"),
        ("head.weight.x", "subtree: nothing is named 'head.weight.x'; did you mean 'head.weight'?"),
    ],
)
def test_subtree_of_nothing(name: str, text: str) -> None:
    refused(lambda p: fp.subtree(p, name), filled(Language()), KeyError, text)


def test_subtree_with_a_broken_reference() -> None:
    params = {"a": {"w": fp.Ref("..gone.w")}, "b": fp.Ref(".b")}
    refused(lambda p: fp.subtree(p, "a"), params, fp.SharingError, "but there is no gone.w")
    refused(lambda p: fp.subtree(p, "b"), params, fp.SharingError, "a circle of references")


@given(recipes(min_shared=1), st.randoms(use_true_random=False))
def test_any_part_taken_out_binds_alone(recipe: Any, random: Any) -> None:
    model = build(recipe)
    params, state = filled(model), model.init_state()
    parts = [(n, m) for n, m in model.named_modules(remove_duplicate=False) if n and m.abstract()]
    if not parts:
        return
    name, part = random.choice(parts)
    tree = fp.tie(part, fp.subtree(params, name))
    whole: Any = model.bind(params, state)
    view = dict(whole.named_modules(remove_duplicate=False))[name]
    alone = part.bind(tree, part.init_state())
    for one, two in zip(alone.named_parameters(), view.named_parameters(), strict=True):
        assert one[0] == two[0]
        assert one[1] is two[1]


# reinit


def test_reinit_draws_what_init_draws() -> None:
    model = Chain(Linear(2, 2), Linear(2, 1))
    params = model.init(KEY)
    again = fp.reinit(model, params, jax.random.key(1), "1.*")
    fresh = model.init(jax.random.key(1))
    assert same_arrays(again["1"], fresh["1"])
    assert again["0"]["weight"] is params["0"]["weight"]
    assert same_arrays(fp.reinit(model, params, jax.random.key(1), Linear), fresh)
    assert same_arrays(params, model.init(KEY))


def test_reinit_of_a_shared_parameter_draws_once() -> None:
    model = nested()
    params = filled(model)
    again = fp.reinit(model, params, KEY, "1.head.weight")
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert same_arrays(again["0"]["wte"], model.init(KEY)["0"]["wte"])
    assert again["0"]["body"]["weight"] is params["0"]["body"]["weight"]


def test_reinit_keeps_the_dtype_and_nodes() -> None:
    model = Chain(Linear(2, 2), Linear(2, 2))
    params: Any = fp.cast(filled(model), jnp.bfloat16)
    params["0"]["weight"] = Scaled(params["0"]["weight"], jnp.ones(()))
    again = fp.reinit(model, params, KEY, "1.weight")
    assert again["1"]["weight"].dtype == jnp.bfloat16
    assert again["0"]["weight"] is params["0"]["weight"]
    refused(
        lambda p: fp.reinit(model, p, KEY, "**"),
        params,
        fp.MismatchError,
        "reinit: 0.weight: holds a parametrization",
    )


def test_reinit_refuses() -> None:
    model, params = Linear(2, 2), filled(Linear(2, 2))
    refused(lambda p: fp.reinit(model, p, KEY, "w"), params, KeyError, "'w' selects nothing")
    refused(lambda p: fp.reinit(model, p, 3, "weight"), params, TypeError, "jax.random.key(3)")  # pyright: ignore
    refused(lambda p: fp.reinit(model, p, KEY, "*"), {}, fp.MismatchError, "weight: missing")
