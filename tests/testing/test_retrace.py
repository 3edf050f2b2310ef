"""assert_no_retrace: a trace too many is an error that names what has changed."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from funcparams import nn
from funcparams.testing import assert_no_retrace


def refused(call: Any, *texts: str) -> None:
    with pytest.raises(AssertionError) as caught:
        call()
    for text in texts:
        assert text in str(caught.value)


def test_equal_shapes_are_one_trace() -> None:
    step = jax.jit(assert_no_retrace(lambda params, x: params["w"] * x))
    for value in (1.0, 2.0):
        assert step({"w": jnp.float32(2)}, jnp.full(3, value)).tolist() == [2 * value] * 3


def test_a_shape_and_a_dtype() -> None:
    @jax.jit
    @assert_no_retrace
    def step(params: Any, batch: Any, rate: Any = 1.0) -> Any:
        return params["layer"]["w"].sum() * batch["x"] * rate

    params = {"layer": {"w": jnp.ones(2)}}
    step(params, {"x": jnp.ones((3, 2))})
    with pytest.raises(AssertionError) as caught:
        step(params, {"x": jnp.ones((4, 2), jnp.bfloat16)})
    assert str(caught.value) == (
        "step is traced for the second time, and 1 is allowed. What changed:\n"
        "  batch['x']: bfloat16[4,2], before float32[3,2]\n"
        "Pad or convert what varies, and compare static arguments by value."
    )
    refused(
        lambda: step({"layer": {"w": 1.0}}, {"x": jnp.ones((3, 2))}, rate=2.0),
        "params['layer']['w']: float32[], weakly typed, before float32[2]",
        "rate: float32[], weakly typed, before nothing",
    )


def test_a_static_argument() -> None:
    step = jax.jit(
        assert_no_retrace(lambda x, *, training, width: x), static_argnames=("training", "width")
    )
    step(1.0, training=True, width=3)
    refused(
        lambda: step(1.0, training=False, width=3), "training: False (static), before True (static)"
    )


def test_structures() -> None:
    step = jax.jit(assert_no_retrace(lambda tree: jax.tree.leaves(tree)))
    step({"a": [1.0, 2.0]})
    refused(lambda: step({"a": [1.0]}), "tree['a'][1]: nothing any more")
    refused(lambda: step({"a": (1.0, 2.0)}), "tree, its structure: PyTreeDef({'a': (*, *)})")
    refused(lambda: step({"a": [1.0, 2.0], "b": 1.0}), "tree['b']: float32[], weakly typed")


@dataclasses.dataclass
class Mutable:
    width: int

    __hash__ = object.__hash__
    __eq__ = object.__eq__  # type: ignore[assignment]


def test_definitions() -> None:
    def step(model: Any, x: Any) -> Any:
        return model.apply({}, x)

    compiled = jax.jit(assert_no_retrace(step))
    net = partial(nn.Sequential, nn.Flatten())
    compiled(net(nn.LeakyReLU(0.1)), jnp.ones((2, 3)))
    compiled(net(nn.LeakyReLU(0.1)), jnp.ones((2, 3)))
    refused(
        lambda: compiled(net(nn.LeakyReLU(0.2)), jnp.ones((2, 3))),
        "model: (1): LeakyReLU(negative_slope=0.2), before (1): LeakyReLU(negative_slope=0.1)",
    )


def test_what_is_compared_by_identity() -> None:
    step = jax.jit(assert_no_retrace(lambda x, how: x), static_argnums=1)
    step(1.0, Mutable(3))
    refused(
        lambda: step(1.0, Mutable(3)),
        "how: Mutable(width=3) (static), before one of the same text that is not equal to it",
        "something in it is compared by identity",
    )


def test_what_has_no_equality() -> None:
    class Strange:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> Any:
            if other is self:
                return True
            raise ValueError("never")

    counted = assert_no_retrace(lambda x, how: x)
    jax.jit(lambda x: counted(x, Strange()))(1.0)
    refused(lambda: jax.jit(lambda x: counted(x, Strange()))(1.0), "how: ")


def test_a_function_that_is_jitted_anew() -> None:
    counted = assert_no_retrace(lambda x: x + 1)
    jax.jit(lambda x: counted(x))(1.0)
    refused(lambda: jax.jit(lambda x: counted(x))(1.0), "jax.jit was applied anew")


def test_more_traces_may_be_allowed_and_the_most_alike_is_shown() -> None:
    step = jax.jit(assert_no_retrace(lambda x, y: x, max_traces=2))
    step(jnp.ones(3), jnp.ones(3))
    step(jnp.ones(4), jnp.ones(4))
    with pytest.raises(AssertionError) as caught:
        step(jnp.ones(3), jnp.ones(5))
    assert str(caught.value).splitlines()[:2] == [
        "<lambda> is traced for the third time, and 2 are allowed. What changed:",
        "  y: float32[5], before float32[3]",
    ]


def test_eager_calls_are_not_traces() -> None:
    counted = assert_no_retrace(lambda x: x)
    for size in range(3):
        assert counted(jnp.ones(size)).shape == (size,)


def test_signatures_and_names_are_kept() -> None:
    def step(x: Any, n: int) -> Any:
        """Repeat."""
        return jnp.tile(x, n)

    counted = assert_no_retrace(step)
    assert counted.__name__ == "step"
    assert jax.jit(counted, static_argnames="n")(jnp.ones(2), n=3).shape == (6,)
    # What has no signature is described by position.
    assert jax.jit(assert_no_retrace(jnp.maximum.__call__))(1.0, 2.0) == 2


def test_what_is_jitted_already() -> None:
    with pytest.raises(TypeError, match=r"Wrap what is jitted: jax\.jit\(assert_no_retrace\(f\)\)"):
        assert_no_retrace(jax.jit(lambda x: x))


def test_no_trace_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match=r"assert_no_retrace\(max_traces=0\): expected 1 or more"):
        assert_no_retrace(lambda x: x, max_traces=0)
