"""`load_state_dict`: what fits is loaded, and what does not is one error with every line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcparams as fp
from funcparams import nn
from tests.models import Language, filled, nested, same_arrays, twice

KEY = jax.random.key(0)


def numbers(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.arange(1, np.prod(shape) + 1, dtype=dtype).reshape(shape)


def net() -> fp.Module:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def flat(model: fp.Module) -> dict[str, Any]:
    return fp.state_dict(model, filled(model), model.init_state())


def refusal(model: fp.Module, mapping: Any, **options: Any) -> str:
    with pytest.raises(fp.MismatchError) as caught:
        fp.load_state_dict(model, mapping, **options)
    return str(caught.value)


# What fits


def test_what_fits_is_the_same_object() -> None:
    model = nn.Linear(2, 3)
    given = flat(model)
    params, state, report = fp.load_state_dict(model, given)
    assert params["weight"] is given["weight"]
    assert state == {}
    assert report.names("loaded") == ["weight", "bias"]


def test_numpy_becomes_jax() -> None:
    params, _, _ = fp.load_state_dict(nn.Linear(2, 1, bias=False), {"weight": numbers(1, 2)})
    assert isinstance(params["weight"], jax.Array)


def test_parameters_and_buffers_are_told_apart() -> None:
    model = net()
    params, state, _ = fp.load_state_dict(model, flat(model))
    assert same_arrays(params, filled(model))
    assert set(fp.flatten(state)) == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }


def test_floats_are_cast_to_what_is_declared_and_the_report_says_so() -> None:
    given = {"weight": numbers(1, 2, dtype=np.float64), "bias": numbers(1, dtype=np.float16)}
    params, _, report = fp.load_state_dict(nn.Linear(2, 1), given)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert str(report) == (
        "Linear: 2 cast\n"
        "name    what  from\n"
        "weight  cast  weight  float64 to float32\n"
        "bias    cast  bias    float16 to float32"
    )


def test_another_dtype_can_be_asked_for() -> None:
    model = net()
    params, state, _ = fp.load_state_dict(model, flat(model), dtype=jnp.bfloat16)
    assert params["0"]["weight"].dtype == jnp.bfloat16
    assert state["1"]["running_mean"].dtype == jnp.bfloat16
    assert state["1"]["num_batches_tracked"].dtype == jnp.int32


def test_integers_fit_where_their_numbers_do() -> None:
    model = net()
    given = {**flat(model), "1.num_batches_tracked": np.array(7, np.int64)}
    _, state, _ = fp.load_state_dict(model, given)
    assert state["1"]["num_batches_tracked"].dtype == jnp.int32
    given["1.num_batches_tracked"] = np.array(2**40)
    assert "1.num_batches_tracked: expected int32[], got int64[] with numbers that do not fit" in (
        refusal(model, given)
    )


# Ties


def test_a_shared_array_comes_under_any_of_its_names() -> None:
    model = Language()
    given = flat(model)
    for left_out in ("head.weight", "wte.weight"):
        some = {name: value for name, value in given.items() if name != left_out}
        params, _, report = fp.load_state_dict(model, some)
        assert same_arrays(params, filled(model))
        assert report.names("tied") == []
    _, _, report = fp.load_state_dict(model, given)
    assert report.names("tied") == ["head.weight"]


def test_copies_that_differ_are_refused_with_their_difference() -> None:
    model = Language()
    given = {**flat(model)}
    given["head.weight"] = given["head.weight"] + np.float32(0.25)
    text = refusal(model, given)
    assert text == (
        "load_state_dict: 1 problem with Language\n"
        "  head.weight: shared with wte.weight, and the two differ by up to 0.25 in 15 of 15 "
        "entries\n"
        "To mend: a shared array has one value: leave one of the names out, or load into a "
        "definition that does not share."
    )


def test_copies_with_nan_are_equal() -> None:
    model = twice()
    given = {name: np.full(value.shape, np.nan, np.float32) for name, value in flat(model).items()}
    assert fp.load_state_dict(model, given).report.names("tied") == ["2.weight", "2.bias"]


# Names


def test_everything_wrong_is_in_one_error() -> None:
    given = {"0.wieght": numbers(3, 2), "0.bias": numbers(4), **flat(net())}
    del given["0.weight"]
    given["0.bias"] = numbers(4)
    given["1.num_batches_tracked"] = np.array(1.5, np.float32)
    assert refusal(net(), given) == (
        "load_state_dict: 4 problems with Sequential\n"
        "  0.bias: expected float32[3], got float32[4]\n"
        "  1.num_batches_tracked: expected int32[], got float32[], another kind of numbers\n"
        "  0.weight: missing, expected float32[3,2]; did you mean '0.wieght'?\n"
        "  0.wieght: unexpected float32[3,2]; did you mean '0.weight'?\n"
        "To mend: load into a definition of these shapes, or transform={...}.\n"
        "To mend: convert the array first, with transform={...}.\n"
        'To mend: rename={...} for other names, or missing="init" with a key draws what is '
        "missing.\n"
        'To mend: rename={...} for other names, or unexpected="ignore" passes over them.'
    )


def test_rules_rename_in_order() -> None:
    given = {"model.first.w": numbers(3, 2), "model.first.b": numbers(3)}
    model = nn.Sequential(nn.Linear(2, 3))
    rules = {r"^model\.": "", r"^first\.": "0.", r"w$": "weight", r"b$": "bias"}
    params, _, report = fp.load_state_dict(model, given, rename=rules)
    assert params["0"]["bias"].tolist() == [1, 2, 3]
    assert [(entry.name, entry.source) for entry in report.entries] == [
        ("0.weight", "model.first.w"),
        ("0.bias", "model.first.b"),
    ]


def test_a_function_renames_and_leaves_out() -> None:
    given = {"WEIGHT": numbers(3, 2), "optimizer": numbers(1)}
    rename = {"WEIGHT": "weight"}.get
    params, _, _ = fp.load_state_dict(nn.Linear(2, 3, bias=False), given, rename=rename)
    assert params["weight"].shape == (3, 2)


def test_a_rule_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(fp.SelectionError) as caught:
        fp.load_state_dict(nn.Linear(2, 3), flat(nn.Linear(2, 3)), rename={"^module[.]": ""})
    assert str(caught.value) == (
        "rename: the rule '^module[.]' matches no name\n  The names are weight, bias."
    )


def test_two_names_that_become_one_are_an_error() -> None:
    with pytest.raises(fp.MismatchError, match="b and a both become weight"):
        fp.load_state_dict(
            nn.Linear(2, 3), {"a": numbers(3, 2), "b": numbers(3, 2)}, rename={".*": "weight"}
        )


def test_names_are_strings_and_values_arrays() -> None:
    with pytest.raises(fp.DefinitionTypeError, match="names are strings, and one is the int 0"):
        fp.load_state_dict(nn.Linear(2, 3), {0: numbers(3)})  # pyright: ignore
    with pytest.raises(fp.DefinitionTypeError, match="weight: expected an array of numpy, JAX or"):
        fp.load_state_dict(nn.Linear(2, 3), {"weight": "text", "bias": numbers(3)})
    with pytest.raises(fp.DefinitionTypeError, match="expected a flat dict of arrays by name"):
        fp.load_state_dict(nn.Linear(2, 3), [numbers(3)])  # pyright: ignore


def test_a_nested_dict_is_told_to_be_flattened() -> None:
    model = nn.Sequential(nn.Linear(2, 3))
    text = refusal(model, filled(model))
    assert "0: a nested dict (a dict with bias, weight), where names are dotted" in text
    assert "To mend: fp.flatten(tree) makes a flat dict." in text


def test_unexpected_names_can_be_passed_over() -> None:
    given = {**flat(nn.Linear(2, 3)), "extra": numbers(1)}
    report = fp.load_state_dict(nn.Linear(2, 3), given, unexpected="ignore").report
    assert report.names("ignored") == ["extra"]


@pytest.mark.parametrize("option", [{"missing": "skip"}, {"unexpected": "eror"}])
def test_other_words_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(fp.DefinitionTypeError, match="expected one of 'error', 'i"):
        fp.load_state_dict(nn.Linear(2, 3), {}, **option)


# Transforms


def test_a_transform_makes_foreign_layouts_ours() -> None:
    given = {"weight": numbers(2, 3), "bias": numbers(3)}
    params, _, _ = fp.load_state_dict(nn.Linear(2, 3), given, transform={"weight": np.transpose})
    assert params["weight"].tolist() == numbers(2, 3).T.tolist()
    with pytest.raises(fp.SelectionError, match="selects nothing"):
        fp.load_state_dict(nn.Linear(2, 3), given, transform={"wieght": np.transpose})


def test_a_transform_that_makes_another_shape_is_refused() -> None:
    given = {"weight": numbers(2, 3), "bias": numbers(3)}
    text = refusal(nn.Linear(2, 3), given, transform={"weight": np.ravel})
    assert "weight: expected float32[3,2], got float32[6]" in text


# In part


def test_missing_ones_are_drawn_as_init_would() -> None:
    model = net()
    whole = flat(model)
    some = {name: value for name, value in whole.items() if not name.startswith("0.weight")}
    params, _, report = fp.load_state_dict(model, some, missing="init", key=KEY)
    np.testing.assert_array_equal(params["0"]["weight"], model.init(KEY)["0"]["weight"])
    assert report.names("drawn") == ["0.weight"]
    with pytest.raises(fp.KeyRequiredError):
        fp.load_state_dict(model, some, missing="init")


def test_a_part_is_loaded_into_given_params() -> None:
    model = net()
    params, state = model.init(KEY), model.init_state()
    got = fp.load_state_dict(
        model,
        {"0.bias": numbers(3), "0.weight": numbers(3, 2)},
        where="0.bias",
        params=params,
        state=state,
    )
    assert got.params["0"]["bias"].tolist() == [1, 2, 3]
    assert got.params["0"]["weight"] is params["0"]["weight"]
    assert got.report.names("ignored") == ["0.weight"]
    assert "0.weight" in got.report.names("kept")


def test_a_part_without_the_rest_is_an_error() -> None:
    text = refusal(nn.Linear(2, 3), {"bias": numbers(3)}, where="bias")
    assert "weight: not meant by where, and no value was given" in text
    assert 'To mend: give params=... (and state=...), or missing="init" with a key.' in text


def test_a_failed_load_changes_nothing() -> None:
    model = net()
    given, params = flat(model), model.init(KEY)
    before = {name: np.array(value) for name, value in given.items()}
    refusal(model, {**given, "2.weight": numbers(2)}, params=params)
    for name, value in before.items():
        np.testing.assert_array_equal(given[name], value)


# Parametrizations


def normed() -> tuple[fp.Module, Any]:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    weight_norm = fp.parametrizations.weight_norm()
    return model, fp.parametrize(model, model.init(KEY), "0.weight", weight_norm)


def test_parametrizations_that_are_there_are_filled() -> None:
    model, params = normed()
    given = {name: 2 * value for name, value in fp.state_dict(model, params).items()}
    assert "0.parametrizations.weight.original0" in given
    loaded = fp.load_state_dict(model, given, params=params)
    assert same_arrays(loaded.params, jax.tree.map(lambda a: 2 * a, params))
    assert loaded.report.entries[0].detail == "into a WeightNorm"


def test_parametrizations_that_are_not_there_are_asked_for() -> None:
    model, params = normed()
    text = refusal(model, fp.state_dict(model, params))
    assert "0.parametrizations.weight.original1: unexpected float32[3,2]" in text
    assert "To mend: names do not tell what a parametrization is: give params=fp.p" in text


def test_arrays_of_a_parametrization_are_checked() -> None:
    model, params = normed()
    given = {**fp.state_dict(model, params), "0.parametrizations.weight.original0": numbers(3)}
    del given["0.parametrizations.weight.original1"]
    text = refusal(model, given, params=params)
    assert "0.parametrizations.weight.original0: expected float32[3,1], got float32[3]" in text
    assert "0.parametrizations.weight.original1: missing, expected float32[3,2]" in text


def test_an_array_takes_the_place_of_a_parametrization() -> None:
    model, params = normed()
    loaded = fp.load_state_dict(model, flat(model), params=params)
    assert loaded.params["0"]["weight"].shape == (3, 2)


# Every tree


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_order_does_not_matter_and_every_gap_is_named(order: list[int], gaps: set[int]) -> None:
    model = nested()
    whole = list(flat(model).items())
    order = [index for index in order if index < len(whole)]
    some = dict(whole[index] for index in order if index not in gaps)
    owners = {id(value): name for name, value in reversed(whole)}
    missing = set(owners) - {id(value) for value in some.values()}
    if missing:
        text = refusal(model, some)
        assert all(f"  {owners[one]}: missing" in text for one in missing)
        assert text.count(": missing") == len(missing)
    else:
        assert same_arrays(fp.load_state_dict(model, some).params, filled(model))
