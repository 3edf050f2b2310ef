"""Drawing: the promise on bits, keys that depend on names alone, and every error's text."""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcparams import init
from funcparams.core.keys import derive, words
from funcparams.drawing.draw import draw
from tests.initializers import FIXED, FOREIGN, NOISY, SHAPED, STRUCTURED, Request

KEY = jax.random.key(3)
HALF = (np.dtype(jnp.bfloat16), np.dtype(np.float16))


def every_case() -> dict[str, Request]:
    """Every initializer, alone and twice the same, in sizes under, at and over one chunk."""
    requests: dict[str, Request] = {}
    for number, each in enumerate([*NOISY, *STRUCTURED, *FIXED, *FOREIGN]):
        requests[f"a.{number}"] = Request(each, (33, 29))
        if number < 2 or each not in NOISY:
            requests[f"b.{number}"] = Request(each, (33, 29))
        if number % 3 == 1:
            requests[f"half.{number}"] = Request(each, (7, 9), HALF[number % 2])
    for number, (each, shape) in enumerate(SHAPED.items()):
        requests[f"shaped.{number}"] = Request(each, shape)
    for number, each in enumerate([*NOISY[:3], NOISY[4], FOREIGN[2]]):
        requests[f"chunk.{number}"] = Request(each, (1024, 256))
        requests[f"chunks.{number}"] = Request(each, (601, 700))
    requests["big_half"] = Request(NOISY[1], (601, 700), HALF[0])
    requests["vector"] = Request(NOISY[0], (5,))
    requests["scalar"] = Request(NOISY[1], ())
    requests["empty"] = Request(NOISY[7], (0, 4))
    return requests


CASES = every_case()


def same_bits(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    differing = [
        f"{name}: {CASES.get(name)}"
        for name in one
        if np.asarray(one[name]).tobytes() != np.asarray(other[name]).tobytes()
    ]
    assert set(one) == set(other)
    assert not differing


@pytest.fixture(scope="module")
def eager() -> dict[str, jax.Array]:
    return draw(CASES, KEY)


def test_shapes_and_dtypes_are_those_asked_for(eager: dict[str, jax.Array]) -> None:
    assert list(eager) == list(CASES)
    for name, request in CASES.items():
        assert eager[name].shape == request.shape, name
        assert eager[name].dtype == request.dtype, name
        assert not eager[name].weak_type, name
        assert isinstance(eager[name], jax.Array)


def test_bits_under_jit(eager: dict[str, jax.Array]) -> None:
    same_bits(eager, jax.jit(lambda key: draw(CASES, key))(KEY))


def test_bits_under_jit_with_a_key_that_is_a_constant(eager: dict[str, jax.Array]) -> None:
    same_bits(eager, jax.jit(lambda: draw(CASES, KEY))())


def test_bits_mapped_over_keys(eager: dict[str, jax.Array]) -> None:
    keys = jnp.stack([jax.random.key(7), KEY])
    mapped = jax.jit(jax.vmap(lambda key: draw(CASES, key)))(keys)
    same_bits(eager, {name: values[1] for name, values in mapped.items()})


def test_bits_mapped_over_keys_without_jit() -> None:
    some = {name: CASES[name] for name in ("a.0", "b.0", "a.16", "chunk.1", "half.1", "a.24")}
    mapped = jax.vmap(lambda key: draw(some, key))(jnp.stack([jax.random.key(7), KEY]))
    same_bits(draw(some, KEY), {name: values[1] for name, values in mapped.items()})


def test_bits_of_a_raw_key(eager: dict[str, jax.Array]) -> None:
    some = {name: CASES[name] for name in ("a.0", "a.3", "a.16", "a.24", "chunks.1")}
    drawn = draw(some, jax.random.PRNGKey(3))
    same_bits(drawn, {name: eager[name] for name in some})


def test_bits_of_the_initializer_itself(eager: dict[str, jax.Array]) -> None:
    for name in ("a.0", "a.3", "a.16", "chunks.1", "shaped.1", "scalar"):
        request = CASES[name]
        key = derive(KEY, words(f"param/{name}"))
        same_bits({name: eager[name]}, {name: request.init(key, request.shape, request.dtype)})


def test_bits_inside_other_transforms(eager: dict[str, jax.Array]) -> None:
    some = {name: CASES[name] for name in ("a.1", "b.1", "a.17")}

    def loss(x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return x, draw(some, KEY)

    for drawn in (
        jax.grad(loss, has_aux=True)(1.0)[1],
        jax.lax.scan(lambda carry, _: loss(carry), jnp.ones(()), length=1)[1],
    ):
        same_bits(
            {name: eager[name] for name in some},
            {name: values.reshape(some[name].shape) for name, values in drawn.items()},
        )


def test_without_jit_the_same_up_to_rounding(eager: dict[str, jax.Array]) -> None:
    some = {name: CASES[name] for name in ("a.0", "a.1", "a.3", "a.4", "a.16", "a.17", "a.25")}
    with jax.disable_jit():
        drawn = draw(some, KEY)
    for name in some:
        np.testing.assert_allclose(drawn[name], eager[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.complex128, np.float32])
def test_bits_in_double_precision(dtype: Any) -> None:
    with jax.enable_x64(True):
        real = np.dtype(dtype).kind == "f"
        listed = [NOISY[1], NOISY[6], init.orthogonal(), *([NOISY[0], NOISY[4]] if real else [])]
        requests = {
            str(i): Request(each, (31, 9), np.dtype(dtype)) for i, each in enumerate(listed)
        }
        drawn = draw(requests, KEY)
        same_bits(drawn, jax.jit(lambda key: draw(requests, key))(KEY))
        assert {values.dtype for values in drawn.values()} == {np.dtype(dtype)}


def test_float32_does_not_depend_on_x64(eager: dict[str, jax.Array]) -> None:
    some = {name: CASES[name] for name in ("a.0", "a.1", "a.3", "a.16", "a.17", "chunks.1")}
    with jax.enable_x64(True):
        same_bits(draw(some, KEY), {name: eager[name] for name in some})


def test_half_precision_is_float32_rounded() -> None:
    for dtype in HALF:
        exact = draw({"w": Request(NOISY[1], (50, 20))}, KEY)["w"]
        half = draw({"w": Request(NOISY[1], (50, 20), dtype)}, KEY)["w"]
        assert (half == exact.astype(dtype)).all()


def test_other_kinds_of_key_draw_alike_under_jit() -> None:
    requests = {"a": CASES["a.1"], "b": CASES["b.1"], "c": CASES["chunks.1"], "d": CASES["a.17"]}
    rbg = jax.random.key(0, impl="rbg")
    jitted = jax.jit(lambda key: draw(requests, key))(rbg)
    for name, values in draw(requests, rbg).items():
        np.testing.assert_allclose(jitted[name], values, rtol=1e-6)
    if not hasattr(jax, "threefry_partitionable"):
        return
    with jax.threefry_partitionable(False):
        same_bits(draw(requests, KEY), jax.jit(lambda key: draw(requests, key))(KEY))


# --- what the values depend on -------------------------------------------------------------------

SMALL = {name: Request(NOISY[i % 3], (2, 3)) for i, name in enumerate("a b c.d c.e f".split())}


@settings(max_examples=15, deadline=None)
@given(st.sets(st.sampled_from(sorted(SMALL)), min_size=1), st.randoms(use_true_random=False))
def test_neither_order_nor_the_others_matter(names: set[str], order: random.Random) -> None:
    listed = sorted(names)
    order.shuffle(listed)
    drawn, all_of_them = draw({name: SMALL[name] for name in listed}, KEY), draw(SMALL, KEY)
    assert list(drawn) == listed
    for name in names:
        np.testing.assert_array_equal(drawn[name], all_of_them[name])


def test_name_kind_and_key_matter() -> None:
    request = Request(NOISY[1], (4, 4))
    drawn = [
        draw({"a": request}, KEY)["a"],
        draw({"b": request}, KEY)["b"],
        draw({"a": request}, KEY, "buffer")["a"],
        draw({"a": request}, jax.random.key(4))["a"],
    ]
    assert len({np.asarray(values).tobytes() for values in drawn}) == 4


def test_chunks_are_not_alike() -> None:
    values = np.asarray(draw({"a": Request(init.normal(), (2, 1 << 18))}, KEY)["a"])
    assert abs(np.corrcoef(values)[0, 1]) < 0.01


# --- how it behaves among JAX's switches ---------------------------------------------------------


@pytest.mark.parametrize("traced", [False, True])
def test_no_key_is_used_twice(traced: bool) -> None:
    some = {name: CASES[name] for name in ("a.0", "b.0", "chunks.1", "a.16", "a.17", "a.24")}
    with jax.debug_key_reuse(True):
        key = jax.random.key(5)
        (jax.jit(lambda key: draw(some, key)) if traced else functools.partial(draw, some))(key)
        jax.random.normal(key)  # still unused


def test_strict_promotion() -> None:
    few = {name: CASES[name] for name in ("a.0", "a.4", "half.1", "a.16", "a.17", "a.25")}
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        jax.eval_shape(lambda key: draw(CASES, key), KEY)
        draw(few, KEY)


def test_nothing_leaks_and_no_nan_comes_up() -> None:
    some = {"a": CASES["a.1"], "b": CASES["a.4"], "c": CASES["a.16"]}
    with jax.checking_leaks(), jax.debug_nans(True):
        jax.jit(lambda key: draw(some, key))(KEY)


def test_every_array_is_its_own_and_can_be_donated() -> None:
    table = init.array([1.0, 2.0])
    requests = {
        "a": Request(init.zeros(), (64,)),
        "b": Request(init.zeros(), (64,)),
        "c": Request(table, (2,)),
        "d": Request(NOISY[1], (8,)),
    }
    drawn = draw(requests, KEY)
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    moved = step(drawn)
    assert all(values.is_deleted() for values in drawn.values())
    assert moved["b"].sum() == 64
    np.testing.assert_array_equal(draw(requests, KEY)["c"], [1.0, 2.0])


def test_abstract_evaluation_computes_nothing() -> None:
    shapes = jax.eval_shape(lambda: draw({"a": Request(NOISY[1], (1 << 20, 1 << 12))}, KEY))
    assert shapes["a"].shape == (1 << 20, 1 << 12)


def test_equal_requests_are_drawn_by_one_loop() -> None:
    def loops(requests: Mapping[str, Request]) -> int:
        text = jax.jit(lambda key: draw(requests, key)).lower(KEY).as_text()
        return text.count("stablehlo.while")

    for each in (NOISY[1], init.sparse(0.5), FOREIGN[2]):
        few = {str(number): Request(each, (8, 4)) for number in range(2)}
        many = {str(number): Request(each, (8, 4)) for number in range(9)}
        assert loops(few) == loops(many)


# --- initializers that are not ours --------------------------------------------------------------


def counting(key: jax.Array, shape: tuple[int, ...], dtype: Any, *, by: Any = 1) -> jax.Array:
    traces.append(by)
    return jax.random.normal(key, shape, dtype) * by


traces: list[Any] = []


def test_equal_partials_share_one_program() -> None:
    traces.clear()
    requests = {
        str(number): Request(functools.partial(counting, by=2), (3,)) for number in range(5)
    }
    draw(requests, KEY)
    once = len(traces)
    draw(requests, KEY)
    assert len(traces) == once <= 2  # one to see what it returns, one to compile it


def test_partials_of_values_that_python_calls_equal_are_kept_apart() -> None:
    traces.clear()
    for by in (1, 1.0, True):
        draw({"a": Request(functools.partial(counting, by=by), (3,))}, KEY)
    assert {type(each) for each in traces} == {int, float, bool}


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: float) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return True

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jnp.full(shape, self.value, dtype)


def test_what_cannot_be_hashed_is_itself_alone() -> None:
    one, other = Unhashable(1), Unhashable(2)
    requests = {
        "a": Request(one, (2,)),
        "b": Request(other, (2,)),
        "c": Request(functools.partial(one), (2,)),
        "d": Request(functools.partial(scaled_by, values=np.ones(2)), (2,)),
    }
    for drawn in (draw(requests, KEY), jax.jit(lambda key: draw(requests, key))(KEY)):
        assert [float(values[0]) for values in drawn.values()] == [1, 2, 1, 3]


def scaled_by(key: Any, shape: Any, dtype: Any, *, values: Any) -> jax.Array:
    return jnp.asarray(3 * values, dtype)
