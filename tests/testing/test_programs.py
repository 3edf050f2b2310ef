"""operation_counts and assert_same_program: what a program consists of."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcparams import nn
from funcparams.testing import assert_same_program, operation_counts

X = jax.ShapeDtypeStruct((3, 4), jnp.float32)


def test_operations_are_counted() -> None:
    assert operation_counts(lambda x: jnp.sin(x) + jnp.sin(2 * x), X) == {
        "stablehlo.sine": 2,
        "stablehlo.constant": 1,
        "stablehlo.broadcast_in_dim": 1,
        "stablehlo.multiply": 1,
        "stablehlo.add": 1,
    }


def test_what_frames_operations_is_not_counted() -> None:
    assert operation_counts(lambda x: x, X) == {}


def test_reductions_are_told_apart() -> None:
    total, most = operation_counts(jnp.sum, X), operation_counts(jnp.max, X)
    assert total["stablehlo.reduce stablehlo.add"] == 1
    assert most["stablehlo.reduce stablehlo.maximum"] == 1


def test_called_functions_loops_and_branches_are_counted() -> None:
    def run(x: Any) -> Any:
        x = jax.nn.relu(x)
        x = jax.lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), x)
        return jax.lax.cond(x[0, 0] > 0, jnp.cos, jnp.tan, x)

    found = operation_counts(run, X)
    assert found["call"] >= 1
    assert found["stablehlo.sine"] == 1
    assert found["stablehlo.while"] == 1
    assert found["stablehlo.case"] == 1
    assert found["stablehlo.cosine"] == 1


def test_operations_in_quotes_and_calls_out_of_the_program_are_counted() -> None:
    found = operation_counts(lambda x, i: x[i], X, jnp.array([0, 2]))
    assert found["stablehlo.gather"] == 1
    found = operation_counts(lambda x: jnp.linalg.eigh(x @ x.T), X)
    assert any(kind.startswith("stablehlo.custom_call @") for kind in found), found


def test_jitted_and_lowered_functions_are_taken_as_they_are() -> None:
    @jax.jit
    def tiled(x: Any) -> Any:
        return jnp.tile(x, 2)

    assert operation_counts(tiled, X) == operation_counts(tiled.lower(X))
    static = jax.jit(lambda x, n: jnp.tile(x, n), static_argnums=1)
    assert operation_counts(static, X, 2) == operation_counts(tiled, X)


def test_equal_programs_are_the_same() -> None:
    model = nn.Linear(4, 2)

    def by_hand(params: Any, x: Any) -> Any:
        return jax.lax.dot_general(x, params["weight"], (((1,), (1,)), ((), ()))) + params["bias"]

    assert_same_program(model.apply, by_hand, model.abstract(), X)
    assert_same_program(jax.jit(model.apply), jax.jit(by_hand), params_of(model), X)


def params_of(model: Any) -> Any:
    return model.init(jax.random.key(0))


def test_differing_kinds_are_named() -> None:
    model = nn.Linear(4, 2)

    def transposed(params: Any, x: Any) -> Any:
        return x @ params["weight"].T + params["bias"]

    with pytest.raises(AssertionError) as caught:
        assert_same_program(transposed, model.apply, model.abstract(), X)
    name = "test_differing_kinds_are_named.<locals>.transposed"
    lines = str(caught.value).splitlines()
    other = lines[0].partition(" and ")[2].partition(" lower")[0]
    assert lines[0] == f"{name} and {other} lower to different programs:"
    assert f"  stablehlo.transpose: 1 in {name}, 0 in {other}" in lines
    assert lines[-2].startswith("  in all: ")
    assert lines[-1] == "To see where: print(jax.jit(f).lower(*args).as_text()) for both."


def test_functions_of_one_name_are_told_apart() -> None:
    with pytest.raises(AssertionError, match=r"<lambda> \(the second\)"):
        assert_same_program(lambda x: x, lambda x: -x, X)
