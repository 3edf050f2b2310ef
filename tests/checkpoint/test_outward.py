"""`state_dict`: names, order, ties, buffers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import funcparams as fp
from funcparams import init, nn
from tests.models import Chain, Language, filled, nested, same_arrays, twice


class Buffered(fp.Module):
    """A parameter after a child, and buffers of both kinds between."""

    def __init__(self) -> None:
        self.child = nn.Linear(2, 2)
        self.kept = fp.buffer((2,), init.zeros())
        self.scratch = fp.buffer((3,), init.zeros(), persistent=False)
        self.scale = fp.param((), init.ones())


def test_names_come_in_pytorchs_order() -> None:
    model = Buffered()
    flat = fp.state_dict(model, model.init(jax.random.key(0)), model.init_state())
    assert list(flat) == ["scale", "kept", "child.weight", "child.bias"]


def test_values_are_the_same_objects() -> None:
    model = nn.Linear(2, 3)
    params = filled(model)
    assert fp.state_dict(model, params)["weight"] is params["weight"]


def test_ties_stand_under_every_name_or_once() -> None:
    model = Language()
    params = filled(model)
    flat = fp.state_dict(model, params)
    assert flat["head.weight"] is flat["wte.weight"]
    assert "head.weight" not in fp.state_dict(model, params, ties="once")
    assert set(fp.state_dict(model, params, ties="once")) == set(fp.flatten(params))


def test_a_shared_module_stands_at_each_place() -> None:
    model = twice()
    flat = fp.state_dict(model, filled(model))
    assert list(flat) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert flat["2.bias"] is flat["0.bias"]


def test_ties_within_and_across_parts() -> None:
    model = nested()
    flat = fp.state_dict(model, filled(model))
    same = [name for name, value in flat.items() if value is flat["0.wte.weight"]]
    assert same == [f"{part}.{name}.weight" for part in (0, 1, 2) for name in ("wte", "head")]


def test_abstract_trees_have_state_dicts_too() -> None:
    model = nn.Linear(2, 3)
    assert fp.state_dict(model, model.abstract())["bias"].shape == (3,)


def test_a_model_with_buffers_needs_its_state() -> None:
    model = Buffered()
    params = filled(model)
    with pytest.raises(fp.MismatchError) as caught:
        fp.state_dict(model, params)
    assert str(caught.value) == (
        "state_dict: Buffered has buffers, and no state was given: kept\n"
        "To mend: give the state that apply_with_state returned, or model.init_state(); "
        "fp.flatten(params) gives parameters alone."
    )


def test_trees_that_do_not_fit_are_refused() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(fp.MismatchError, match="bias: missing, expected float32"):
        fp.state_dict(model, {"weight": jnp.ones((3, 2))})
    with pytest.raises(fp.MismatchError, match="state does not fit Linear"):
        fp.state_dict(model, filled(model), {"running": jnp.ones(2)})


def test_another_word_for_ties_is_refused() -> None:
    model = nn.Linear(2, 3)
    with pytest.raises(fp.DefinitionTypeError, match="expected 'all' or 'once'"):
        fp.state_dict(model, filled(model), ties="on")  # pyright: ignore


def test_out_and_in_again() -> None:
    for model in (Buffered(), Language(), twice(), nested(), Chain()):
        params, state = filled(model), model.init_state()
        back = fp.load_state_dict(model, fp.state_dict(model, params, state))
        assert jax.tree.structure(back.params) == jax.tree.structure(params)
        assert same_arrays(back.params, params)
        assert same_arrays(back.state, state)
