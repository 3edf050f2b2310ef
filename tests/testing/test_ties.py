"""assert_ties_kept: a reference stands wherever the definition shares."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcparams as fp
from funcparams.testing import assert_ties_kept
from tests.models import Language, Linear, filled, nested, twice


def problems(model: Any, params: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assert_ties_kept(model, params)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("model", [Language(), twice(), nested(), Linear(2, 3)], ids=repr)
def test_ties_of_params_are_kept_by_plain_jax(model: Any) -> None:
    params = filled(model)
    for tree in (
        params,
        model.abstract(),
        jax.tree.map(np.asarray, params),
        jax.jit(lambda tree: tree)(params),
        jax.vmap(lambda tree: tree)(jax.tree.map(lambda a: a[None], params)),
        optax.adam(1e-3).init(params)[0].mu,
        fp.unflatten(model, fp.flatten(params)),
    ):
        assert_ties_kept(model, tree)


def test_both_places_are_named() -> None:
    model, params = Language(), filled(Language())
    assert problems(model, {**params, "head": {"weight": jnp.ones((5, 3))}}) == [
        "Language shares 1 parameter that params do not:",
        "  head.weight: shared with wte.weight, and float32[5,3] stands there",
        "To mend: fp.tie(model, params) turns equal copies into references.",
    ]


def test_all_broken_ties_are_listed() -> None:
    model, params = nested(), filled(nested())
    broken = problems(model, {**params, "2": params["0"], "1": filled(Language())})
    assert broken[0] == "Chain shares 6 parameters that params do not:"
    assert [line.partition(":")[0].strip() for line in broken[1:-1]] == [
        "1.wte.weight",
        "1.head.weight",
        "2.wte.weight",
        "2.body.weight",
        "2.body.bias",
        "2.head.weight",
    ]
    assert "  2.body.bias: shared with 0.body.bias, and float32[3] stands there" in broken


@pytest.mark.parametrize("head", [{}, {"weight": None}, None])
def test_nothing_is_no_reference(head: Any) -> None:
    # bind would fill it in; but whoever asks for ties wants to see them.
    (line,) = problems(Language(), {**filled(Language()), "head": head})[1:-1]
    assert line == "  head.weight: shared with wte.weight, and nothing stands there"


def test_another_owner_and_circles() -> None:
    model, params = Language(), filled(Language())
    other = {**params, "head": {"weight": fp.Ref("..body.weight")}}
    assert "it refers to body.weight" in problems(model, other)[1]
    circle = {**params, "head": {"weight": fp.Ref(".weight")}}
    assert "a circle of references" in problems(model, circle)[1]


def test_a_module_may_be_referred_to_as_a_whole_or_leaf_by_leaf() -> None:
    model, params = twice(), filled(twice())
    assert params["2"] == fp.Ref(".0")
    leaf_by_leaf = {"weight": fp.Ref("..0.weight"), "bias": fp.Ref("..0.bias")}
    assert_ties_kept(model, {**params, "2": leaf_by_leaf})
