"""What holds for every layer: each case of tests/layer_cases.py is put through all of it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn, testing
from tests.layer_cases import CASES, ONE_EACH, Case

GOLDEN = Path(__file__).with_name("golden.json")
KEY = jax.random.key(0)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

NOT_SO = {"Function": ["pickle"]}
"""What does not hold of a layer: a function that jax.numpy has jitted has no name for pickle."""


def calling(case: Case) -> Any:
    """Give the call of a case's layer, with what it is given beside the inputs."""

    def call(model: Any, params: Any, state: Any, *inputs: Any, training: bool = False) -> Any:
        key = KEY if training else None
        return model.apply_with_state(
            params, state, *inputs, key=key, training=training, **case.keywords
        )

    return call


def facts(case: Case) -> dict[str, Any]:
    """What must not change unnoticed: names, shapes and dtypes, in their order."""
    model = case.make()
    given = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in case.inputs()]
    y, _ = jax.eval_shape(
        lambda p, s, *x: calling(case)(model, p, s, *x),
        model.abstract(),
        model.abstract_state(),
        *given,
    )
    outputs = [[list(each.shape), str(each.dtype)] for each in jax.tree.leaves(y)]

    def written(declared: Any) -> list[Any]:
        return [[name, list(each.shape), str(each.dtype)] for name, each in declared]

    return {
        "params": written(model.named_parameters()),
        "state": written(model.named_buffers()),
        "output": outputs[0] if len(outputs) == 1 else outputs,
        "repr": repr(model),
    }


def test_every_layer_has_a_case() -> None:
    layers = {
        name
        for name in nn.__all__
        if inspect.isclass(getattr(nn, name)) and issubclass(getattr(nn, name), fp.Module)
    }
    assert layers == {case.layer for case in CASES}
    assert len({case.name for case in CASES}) == len(CASES)


def test_facts_are_the_golden_ones() -> None:
    """To accept new facts, delete the file, run this test once, and read the difference."""
    found = {case.name: facts(case) for case in CASES}
    if not GOLDEN.exists():  # pragma: no cover
        lines = [f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items()]
        GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        pytest.fail(f"{GOLDEN.name} was missing and has been written")
    assert found == json.loads(GOLDEN.read_text())


@every_case
def test_holds_what_holds_of_every_module(case: Case) -> None:
    """One of each layer is compiled and differentiated, too; the others are looked at only."""
    model = case.make()
    again = case.make()
    assert (model, hash(model)) == (again, hash(again))
    testing.check_module(
        model,
        *case.inputs(),
        params=case.arrays(model.abstract()),
        state=case.arrays(model.abstract_state()),
        training=case.modes,
        checks="all" if case in ONE_EACH else "abstract",
        skip=NOT_SO.get(case.layer, ()),
        **case.keywords,
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.random and True in case.modes], ids=lambda c: c.name
)
def test_draws_from_its_own_key(case: Case) -> None:
    model = case.make()
    (x,) = case.inputs()
    first = model.apply({}, x, key=jax.random.key(1), training=True)
    np.testing.assert_array_equal(first, model.apply({}, x, key=jax.random.key(1), training=True))
    assert any(
        np.any(first != model.apply({}, x, key=jax.random.key(seed), training=True))
        for seed in (2, 3, 4)
    )
    # The key is asked for at every rate, and in training only.
    with pytest.raises(fp.KeyRequiredError, match=f"{case.layer}.* draws random numbers"):
        model.apply({}, x, training=True)
    if case.layer != "RReLU":
        np.testing.assert_array_equal(model.apply({}, x), x)
        with pytest.raises(fp.KeyRequiredError):
            getattr(nn, case.layer)(0.0).apply({}, x, training=True)
