"""What drawing refuses: missing and wrong keys, and initializers that do not fit."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import init
from funcparams.core.errors import InitializerError, KeyArgumentError, KeyRequiredError
from funcparams.drawing.draw import draw
from tests.initializers import FIXED, Request, scaled

KEY = jax.random.key(3)


# --- keys that are missing or wrong --------------------------------------------------------------


def test_no_key_is_needed_where_nothing_is_random() -> None:
    requests = {str(i): Request(each, (2, 2)) for i, each in enumerate(FIXED)}
    requests["theirs"] = Request(jax.nn.initializers.ones, (2,))
    drawn = draw(requests, None)
    assert drawn["theirs"].tolist() == [1, 1]
    jitted = jax.jit(lambda: draw(requests, None))()
    for name, values in drawn.items():
        np.testing.assert_array_equal(jitted[name], values)


def test_a_missing_key_names_what_draws() -> None:
    requests = {
        "norm.running_mean": Request(init.zeros(), (3,)),
        "vq.codebook": Request(init.normal(), (3,)),
        "vq.noise": Request(scaled, (3,)),
    }
    with pytest.raises(KeyRequiredError) as caught:
        draw(requests, None, "buffer")
    lines = str(caught.value).splitlines()
    assert lines[:2] == [
        "no key was given, but these buffers draw random numbers:",
        "  vq.codebook by normal(mean=0.0, std=1.0)",
    ]
    assert lines[2].startswith("  vq.noise by <function scaled")
    assert lines[3] == "  Give one, for instance key=jax.random.key(0)."


def test_a_wrong_key_is_refused_even_where_none_is_needed() -> None:
    for key in (0, jax.random.split(KEY, 2)):
        with pytest.raises(KeyArgumentError, match="expected one PRNG key"):
            draw({"a": Request(init.zeros(), (2,))}, key)  # type: ignore[arg-type]


# --- initializers that do not fit ----------------------------------------------------------------


@pytest.mark.parametrize("traced", [False, True])
def test_all_misfits_are_told_in_one_error(traced: bool) -> None:
    def transposed(key: Any, shape: Any, dtype: Any) -> jax.Array:
        return jnp.zeros(shape[::-1], dtype)

    def single(key: Any, shape: Any, dtype: Any) -> jax.Array:
        return jnp.zeros(shape, jnp.float32)

    def several(key: Any, shape: Any, dtype: Any) -> Any:
        return (jnp.zeros(shape, dtype),)

    requests = {
        "good": Request(init.normal(), (2, 3)),
        "a.weight": Request(transposed, (2, 3)),
        "b.weight": Request(single, (2, 3), np.dtype(np.float16)),
        "c.weight": Request(several, (2, 3)),
        "d.bias": Request(init.xavier_uniform(), (3,)),
        "e.count": Request(init.normal(), (3,), np.dtype(np.int32)),
        "f.double": Request(init.zeros(), (3,), np.dtype(np.float64)),
        "g.wave": Request(init.uniform(), (3,), np.dtype(np.complex64)),
    }
    with pytest.raises(InitializerError) as caught:
        (jax.jit(lambda key: draw(requests, key)) if traced else functools.partial(draw, requests))(
            KEY
        )
    text = str(caught.value)
    assert text.startswith("cannot initialise 7 parameters:\n  a.weight: expected an array of ")
    for part in (
        "a.weight: expected an array of shape (2, 3) and dtype float32, got one of shape (3, 2) "
        "and dtype float32 from <function ",
        "an initializer returns the `shape` and `dtype` that it is called with",
        "b.weight: expected an array of shape (2, 3) and dtype float16, got one of shape (2, 3) "
        "and dtype float32 from <function ",
        "c.weight: expected an array of shape (2, 3) and dtype float32, got a tuple from <func",
        "d.bias: Fan in and fan out can not be computed for an array with fewer than 2 dimensions, "
        "got shape (3,): use init.uniform or init.normal with the bound or std itself",
        "e.count: normal(mean=0.0, std=1.0) draws floating-point numbers, not int32: declare a "
        "floating dtype, or use init.constant or init.array",
        "f.double: float64 needs jax.config.update('jax_enable_x64', True); without, JAX makes "
        "float32 of it: declare dtype=jnp.float32, or enable it",
        "g.wave: uniform(a=0.0, b=1.0) draws real numbers, not complex64: use a normal one",
    ):
        assert part in text
    assert "good" not in text


def test_one_misfit_is_one_buffer() -> None:
    with pytest.raises(InitializerError, match=r"^cannot initialise 1 buffer:\n  a: eye\(\): Only"):
        draw({"a": Request(init.eye(), (3,))}, None, "buffer")


@pytest.mark.parametrize("traced", [False, True])
def test_an_exception_of_an_initializer_says_where(traced: bool) -> None:
    def broken(key: Any, shape: Any, dtype: Any) -> Any:
        raise ZeroDivisionError("mine")

    requests = {"head.weight": Request(broken, (2, 3))}
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        (jax.jit(lambda key: draw(requests, key)) if traced else functools.partial(draw, requests))(
            KEY
        )
    (note,) = (note for note in caught.value.__notes__ if "head.weight" in note)
    assert note.startswith(
        "while drawing parameter 'head.weight' of shape (2, 3) and dtype float32 by <function "
    )
