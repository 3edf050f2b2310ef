"""Noise in chunks: which programs run may change with size and number, the bits may not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import init
from funcparams.drawing import noise
from funcparams.drawing.draw import draw
from tests.initializers import Request

KEY = jax.random.key(11)
KINDS = [
    init.normal(0.1, 0.7),
    init.uniform(-0.2, 0.9),
    init.trunc_normal(),
    init.trunc_normal(a=3, b=5),
]
DTYPES = [np.dtype(np.float32), np.dtype(jnp.bfloat16), np.dtype(np.float16)]


# Sizes on both sides of every border: tails, one chunk, several, with a rest and without.
SMALL = [(3,), (1024,), (1025,), (5000,), (250, 250), (300, 300), (512, 512)]
LARGE = [(700, 601), (3, 512, 512)]
REQUESTS = {
    f"{number}.{shape}": Request(KINDS[number % 4], shape, DTYPES[number % 3])
    for number, shape in enumerate([*SMALL, *LARGE, *LARGE, *LARGE])
}


def bits(key: jax.Array = KEY, traced: bool = False) -> dict[str, bytes]:
    drawn = jax.jit(lambda key: draw(REQUESTS, key))(key) if traced else draw(REQUESTS, key)
    return {name: np.asarray(values).tobytes() for name, values in drawn.items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, bytes]:
    return bits()


@pytest.mark.parametrize("indexed", [noise._INDEXED, 1])
def test_arrays_drawn_in_place(
    indexed: int, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise._large_program.cache_clear()
    monkeypatch.setattr(noise, "_INDEXED", indexed)
    monkeypatch.setattr(noise, "_LARGE", 1)
    assert bits() == expected
    assert noise._large_program.cache_info().currsize == 3 * len(LARGE)
    noise._large_program.cache_clear()


def test_small_arrays_drawn_by_smaller_programs(
    expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, sizes = noise._row_program, set[int]()

    def noted(kind: noise.Kind, size: int, dtype: np.dtype[Any]) -> Any:
        sizes.add(size)
        return usual(kind, size, dtype)

    monkeypatch.setattr(noise, "_row_program", noted)
    assert bits() == expected
    assert sizes == {1 << 18}  # too few arrays for another program to pay
    monkeypatch.setattr(noise, "_MANY", 1)
    assert bits() == expected
    assert sizes == {1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18}


def test_a_smaller_program_pays_from_many_arrays_on() -> None:
    jobs = [
        noise.Job(noise.Recipe("normal", 1.0), shape, DTYPES[0], np.zeros(0, np.uint32))
        for shape in [(8,), (9,), (2000,), (1 << 18,)]
    ]
    assert noise._tail_sizes(jobs, KEY, 2) == {8: 1024, 9: 1024}
    assert noise._tail_sizes(jobs, KEY, 3) == {8: 4096, 9: 4096, 2000: 4096}
    assert noise._tail_sizes(jobs, KEY, 4) == {}
    assert noise._tail_sizes(jobs, jax.random.key(0, impl="rbg"), 1) == {}


def test_loops_of_few_rows_each(
    expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "_STACK", 2)
    assert bits(traced=True) == expected


def test_one_program_makes_the_noise_of_all_shapes() -> None:
    noise._row_program.cache_clear()
    draw({str(n): Request(init.normal(std=n), (n, n)) for n in range(1, 6)}, KEY)
    assert noise._row_program.cache_info().currsize == 1


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_the_numbers_are_the_prefix_of_the_chunk(kind: Any) -> None:
    long = draw({"a": Request(kind, (1 << 18,))}, KEY)["a"]
    short = jax.jit(lambda key: draw({"a": Request(kind, (1000,))}, key))(KEY)["a"]
    assert np.asarray(long[:1000]).tobytes() == np.asarray(short).tobytes()
