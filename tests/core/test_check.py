"""The check of a tree against a definition: what fits, and one report of all that does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import UserDict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from funcparams.core.check import resolve
from funcparams.core.declarations import Param
from funcparams.core.names import dotted, leaves
from funcparams.core.walk import skeleton
from tests.models import Block, Chain, Counter, Language, Linear, filled, nested, ones, twice
from tests.recipes import build, recipes

IDS = jnp.array([0, 1])


def problems(model: fp.Module, params: Any, state: Any = None) -> list[str]:
    """The lines of the report, the last one saying how to mend it."""
    with pytest.raises(fp.MismatchError) as caught:
        model.bind(params, state)
    assert isinstance(caught.value, ValueError)
    return str(caught.value).splitlines()


def changed(params: Any, name: str, value: Any) -> Any:
    """The tree with one place set."""
    first, _, rest = name.partition(".")
    inner = changed(params.get(first, {}), rest, value) if rest else value
    return {**params, first: inner}


def without(params: Any, name: str) -> Any:
    first, _, rest = name.partition(".")
    if not rest:
        return {key: value for key, value in params.items() if key != first}
    return {**params, first: without(params[first], rest)}


# What fits


@pytest.mark.parametrize("model", [Linear(2, 3), twice(), Language(), nested()])
def test_what_init_makes_fits(model: fp.Module) -> None:
    params = filled(model)
    assert jax.tree.structure(model.init(jax.random.key(0))) == jax.tree.structure(params)
    bound = model.bind(params)
    for (name, array), leaf in zip(
        bound.named_parameters(),
        (fp.flatten(params)[n] for n, _ in model.named_parameters()),
        strict=True,
    ):
        assert array is leaf, name


def test_numpy_arrays_and_numbers_fit() -> None:
    class Scale(fp.Module):
        def __init__(self) -> None:
            self.scale = fp.param((), ones)

        def __call__(self, x: Any) -> Any:
            assert isinstance(self.scale, jax.Array)
            return x * self.scale

    assert Scale().apply({"scale": 2.0}, 3.0) == 6
    assert Scale().apply({"scale": np.float32(2)}, 3.0) == 6


def test_other_floating_dtypes_fit() -> None:
    """A cast tree is one for the same definition: mixed precision needs no second one."""
    model = Linear(2, 3)
    y = model.apply(fp.cast(filled(model), jnp.bfloat16), jnp.ones(2, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "shared",
    [
        lambda tree: tree,
        lambda tree: without(tree, "2"),
        lambda tree: changed(tree, "2", None),
        lambda tree: changed(tree, "2", {}),
        lambda tree: changed(tree, "2", {"weight": None, "bias": None}),
        lambda tree: changed(tree, "2", {"weight": fp.Ref("..0.weight")}),
        lambda tree: changed(tree, "2", {"weight": fp.Ref("..0.weight"), "bias": None}),
        lambda tree: changed(tree, "2", {"w": None}),
    ],
)
def test_shared_places_may_be_absent_none_or_a_reference(shared: Any) -> None:
    model = twice()
    params = filled(model)
    y = model.apply(params, jnp.ones(2))
    assert np.array_equal(model.apply(shared(params), jnp.ones(2)), y)


def test_tools_that_drop_leafless_nodes_do_no_harm() -> None:
    for model in (Language(), nested()):
        params = filled(model)
        kept = fp.flatten(params)
        tree: dict[str, Any] = {}
        for name, value in kept.items():
            tree = changed(tree, name, value)
        assert fp.flatten(params).keys() == fp.flatten(tree).keys()
        bound = model.bind(tree)
        assert [n for n, _ in bound.named_parameters()] == [n for n, _ in model.named_parameters()]


def test_a_reference_may_take_the_long_way() -> None:
    model = nested()
    params = filled(model)
    params = changed(params, "1.head.weight", fp.Ref("..wte.weight"))  # itself a reference to 0
    params = changed(params, "2", {"wte": fp.Ref("..0.wte"), "body": fp.Ref("..1.gone")})
    assert problems(model, params)[1] == (
        "  2.body: expected a reference to 0.body, "
        "got 2.body is Ref('..1.gone'), but there is no 1.gone"
    )
    params = changed(params, "2.body", fp.Ref("..0.body"))
    params = changed(params, "2.head", {"weight": fp.Ref("...1.wte.weight")})
    assert len(list(model.bind(params).parameters())) == 5


def test_one_reference_may_stand_for_all_below_it() -> None:
    """Where every parameter below it is shared, one by one, it says the same."""
    layer = Linear(2, 2)
    other = Linear(2, 2).replace(weight=layer.weight, bias=layer.bias)
    model = Chain(layer, other)
    params = filled(model)
    assert params["1"] == {"weight": fp.Ref("..0.weight"), "bias": fp.Ref("..0.bias")}
    x = jnp.ones(2)
    assert np.array_equal(model.apply({**params, "1": fp.Ref(".0")}, x), model.apply(params, x))


def test_state_is_only_asked_for_where_there_are_buffers() -> None:
    model = Linear(1, 1)
    assert model.bind(filled(model), None) is not None
    assert model.bind(filled(model), {}) is not None
    assert problems(Counter(1), filled(Counter(1))) == [
        "state does not fit Counter: 2 problems",
        "  calls: missing, expected int32[]",
        "  mean: missing, expected float32[1]",
        "To mend: make a fitting tree with model.init_state().",
    ]
    assert problems(model, filled(model), {"n": 1})[:2] == [
        "state does not fit Linear: 1 problem",
        "  n: unexpected int 1",
    ]


# What does not fit


def test_all_problems_are_one_report() -> None:
    model = Chain(Linear(2, 3), Linear(3, 1), Linear(1, 1))
    params: Any = filled(model)
    params = changed(params, "0.weight", jnp.ones((2, 3)))
    params = without(params, "1.bias")
    params = changed(params, "1.wieght", params["1"]["weight"])
    params = changed(params, "2", 7)
    params = changed(params, "optimizer", {"count": 1, "mu": {}})
    before = jax.tree.map(lambda x: x, params)
    assert problems(model, params) == [
        "params do not fit Chain: 5 problems",
        "  0.weight: expected float32[3,2], got float32[2,3]",
        "  1.bias: missing, expected float32[1]",
        "  1.wieght: unexpected float32[1,3]; did you mean '1.weight'?",
        "  2: expected a dict with weight, bias, got int 7",
        "  optimizer: unexpected a dict with count",
        "To mend: give it the declared shape.",
        "To mend: make a fitting tree with model.init(key).",
        "To mend: leave out what the definition does not have.",
    ]
    assert jax.tree.structure(params) == jax.tree.structure(before)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (None, "params: expected a nested dict, got NoneType None"),
        ([1, 2], "params: expected a nested dict, got list [1, 2]"),
        (jnp.ones(3), "params: expected a nested dict, got float32[3]"),
        (Linear(1, 1), "params: expected a nested dict, got the module Linear"),
        (fp.Ref(".0"), "params: expected a nested dict, got the reference Ref('.0')"),
        ({"bias": jnp.ones(1)}, "weight: missing, expected float32[1,1]"),
        ({"weight": jnp.ones((1, 1)), "bias": None}, "bias: missing, expected float32[1]"),
        ({"weight": "text"}, "weight: expected float32[1,1], got str 'text'"),
        ({"weight": {"g": 1}}, "weight: expected float32[1,1], got a dict with g"),
        ({"weight": jnp.ones(1)}, "weight: expected float32[1,1], got float32[1]"),
        ({"weight": 1.0}, "weight: expected float32[1,1], got float 1.0"),
        (
            {"weight": fp.Ref(".bias")},
            "weight: expected float32[1,1], got the reference Ref('.bias')",
        ),
        (
            {"weight": jnp.ones((1, 1)), "bias": fp.Parametrization()},
            "bias: Parametrization.value() fails: Parametrization is a Parametrization without",
        ),
        ({1: 2.0}, "1: unexpected float 2.0; names are strings, and this is the int 1"),
    ],
)
def test_a_tree_of_another_form(tree: Any, line: str) -> None:
    assert any(line in found for found in problems(Linear(1, 1), tree))


def test_a_flat_dict_is_recognised() -> None:
    model = Chain(Linear(1, 1))
    found = problems(model, fp.flatten(filled(model)))
    assert (
        "  0.bias: unexpected float32[1]; names are nested dicts: "
        "fp.unflatten(model, flat) makes them of dotted names"
    ) in found


def test_an_array_where_a_reference_belongs() -> None:
    model = Language(5, 3)
    params = changed(filled(model), "head.weight", jnp.ones((5, 3)))
    assert problems(model, params) == [
        "params do not fit Language: 1 problem",
        "  head.weight: shared with wte.weight, which holds the array; got float32[5,3] here too",
        "To mend: fp.tie(model, params) turns equal copies into references.",
    ]
    copied = {"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    assert problems(twice(), changed(filled(twice()), "2", copied))[1:] == [
        "  2: shared with 0, which holds the array; got a dict with weight, bias here too",
        "To mend: fp.tie(model, params) turns equal copies into references.",
    ]


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("..body.weight", "expected a reference to wte.weight, got one to body.weight"),
        (
            "..wpe.weight",
            "expected a reference to wte.weight, "
            "got head.weight is Ref('..wpe.weight'), but there is no wpe.weight",
        ),
        (
            ".....wte",
            "expected a reference to wte.weight, "
            "got head.weight is Ref('.....wte'), which leads out of the tree",
        ),
        (
            ".weight",
            "expected a reference to wte.weight, "
            "got a circle of references: head.weight is Ref('.weight')",
        ),
    ],
)
def test_a_reference_to_another_owner_to_nothing_or_in_a_circle(reference: str, line: str) -> None:
    model = Language()
    params = changed(filled(model), "head.weight", fp.Ref(reference))
    assert problems(model, params)[:2] == [
        "params do not fit Language: 1 problem",
        f"  head.weight: {line}",
    ]


def test_a_wrong_reference_below_a_shared_module() -> None:
    params = changed(
        filled(twice()), "2", {"weight": fp.Ref("..0.bias"), "other": fp.Ref(".weight")}
    )
    assert problems(twice(), params)[1:] == [
        "  2.weight: expected a reference to 0.weight, got one to 0.bias",
        "  2.other: unexpected the reference Ref('.weight')",
        "To mend: write Ref('..0.weight') there.",
        "To mend: leave out what the definition does not have.",
    ]


def test_references_where_nothing_is_shared() -> None:
    model = Chain(Linear(2, 2), Linear(2, 2))
    params = changed(filled(model), "1", fp.Ref(".0"))
    mend = (
        "To mend: fp.untie(model, params, where) gives the place an array of its own, "
        "in definition and params."
    )
    assert problems(model, params)[1:] == [
        "  1: the reference Ref('.0'), where the definition has parameters that it does not share",
        mend,
    ]
    params = changed(filled(model), "1.weight", fp.Ref("..0.weight"))
    assert problems(model, params)[1:] == [
        "  1.weight: expected float32[2,2], got the reference Ref('..0.weight'), "
        "but the definition shares nothing here",
        mend,
    ]

    params = changed(filled(model), "1", fp.Ref(".gone"))
    assert problems(model, params)[1].startswith("  1: the reference Ref('.gone'), where the")
    params = changed(filled(model), "1", fp.Parametrization())
    assert problems(model, params)[1] == (
        "  1: expected a dict with weight, bias, got a Parametrization"
    )


def test_shapes_are_not_arrays() -> None:
    model = Linear(1, 1)
    with pytest.raises(fp.MismatchError, match=r"holds shapes, not arrays(.|\n)*jax\.eval_shape"):
        model.apply(model.abstract(), jnp.ones(1))
    assert jax.eval_shape(model.apply, model.abstract(), jnp.ones(1)).shape == (1,)


def test_the_report_is_quick_where_every_name_is_wrong() -> None:
    model = Chain(*(Linear(1, 1) for _ in range(500)))
    params = {f"module.{name}": value for name, value in fp.flatten(filled(model)).items()}
    start = time.perf_counter()
    found = problems(model, params)
    assert time.perf_counter() - start < 5  # a search for every name's nearest takes a minute
    assert len(found) == 1 + 2000 + 2


def test_under_manual_mesh_axes_only_ranks_are_checked() -> None:
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec()
    model = Linear(2, 3, bias=False)

    def ranks(weight: Any) -> Any:
        return model.apply({"weight": weight}, jnp.ones(weight.shape[1]))

    manual = jax.shard_map(ranks, mesh=mesh, in_specs=spec, out_specs=spec)
    assert manual(jnp.ones((4, 5))).shape == (4,)
    with pytest.raises(
        fp.MismatchError, match=r"weight: expected float32\[3,2\], got float32\[4\]"
    ):
        jax.shard_map(
            lambda w: model.apply({"weight": w}, 1.0), mesh=mesh, in_specs=spec, out_specs=spec
        )(jnp.ones(4))
    with pytest.raises(fp.MismatchError, match=r"expected float32\[3,2\], got float32\[4,5\]"):
        ranks(jnp.ones((4, 5)))


def test_on_two_devices_each_binds_its_shard() -> None:
    """A tied model under shard_map, rows of the table on two devices: as on one."""
    program = """
import jax, jax.numpy as jnp, numpy as np
import funcparams as fp
from jax.sharding import PartitionSpec as P
from tests.models import Language, filled
model, ids = Language(6, 4), jnp.array([0, 1, 2])
params = filled(model)
mesh = jax.make_mesh((2,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
specs = fp.label(params, {"wte.weight": P("rows"), "**": P()})

def logits(params, ids):
    view = model.bind(params)
    assert view.wte.weight.shape == view.head.weight.shape == (3, 4)
    return view.head(view.body(jnp.ones((len(ids), 4))))

options = dict(mesh=mesh, in_specs=(specs, P()), out_specs=P(None, "rows"))
got = jax.shard_map(logits, **options)(params, ids)
view = model.bind(params)
np.testing.assert_allclose(got, view.head(view.body(jnp.ones((3, 4)))), rtol=1e-6)
print(len(jax.devices()), got.shape)
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert result.stdout == "2 (3, 6)\n", result.stderr


def test_moved_parts_bind_under_their_new_name() -> None:
    part = nested()
    params = filled(part)
    whole = Chain(Linear(1, 1), part)
    tree = {"0": filled(Linear(1, 1)), "1": params}
    assert jax.tree.structure(filled(whole)) == jax.tree.structure(tree)
    assert len(list(whole.bind(tree).parameters())) == 2 + len(list(part.parameters()))


@given(recipes())
def test_any_part_binds_where_it_is_moved(recipe: Any) -> None:
    part = build(recipe)
    params, state = filled(part), part.init_state()
    alone = part.bind(params, state)
    moved = Chain(Linear(1, 1), [part])
    tree: dict[str, Any] = {"0": filled(Linear(1, 1)), "1": {"0": params}}
    bound: Any = moved.bind(
        tree if params else {"0": tree["0"]}, {"1": {"0": state}} if state else {}
    )
    inner = getattr(bound, "1")[0]
    for one, two in zip(alone.named_parameters(), inner.named_parameters(), strict=True):
        assert one[0] == two[0]
        assert one[1] is two[1]
    assert fp.state_of(bound) == ({"1": {"0": state}} if state else {})


@given(recipes(min_shared=1), st.randoms(use_true_random=False))
def test_any_one_fault_is_found(recipe: Any, random: Any) -> None:
    model = build(recipe)
    params = filled(model)
    places = list(leaves(params))
    if not places:
        return
    path, value = random.choice(places)
    wrong = fp.Ref(".nowhere") if isinstance(value, fp.Ref) else jnp.ones((7, 7, 7))
    with pytest.raises(fp.MismatchError) as caught:
        model.bind(changed(params, dotted(path), wrong), model.init_state())
    assert f"  {dotted(path)}: expected " in str(caught.value)


def test_block_state_and_params_are_separate_trees() -> None:
    model = Block(2)
    params, state = filled(model), model.init_state()
    assert problems(model, {**params, **state}, state)[1:] != []
    assert list(state) == ["norm"]


@given(recipes())
def test_a_regular_tree_and_any_other_mapping_are_read_alike(recipe: Any) -> None:
    model = build(recipe)
    params, expected = filled(model), skeleton(model, Param)
    quick = resolve("Model", "params", expected, params)
    thorough = resolve("Model", "params", expected, UserDict(params))  # no dict, so read in full
    assert quick.keys() == thorough.keys()
    assert all(quick[owner] is thorough[owner] for owner in quick)
