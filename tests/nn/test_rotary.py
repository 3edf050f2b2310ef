"""Rotary positions against their definition, products of complex numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn
from tests.layer_cases import x64

X = np.random.RandomState(0).randn(2, 5, 3, 8)
POSITIONS = np.array([0, 1, 2, 7, 100])


def by_definition(x: Any, positions: Any, base: float, interleaved: bool) -> Any:
    """Multiply each pair, as a complex number, by a power of e."""
    size = x.shape[-1]
    frequencies = base ** (-np.arange(size // 2) * 2 / size)
    turn = np.exp(1j * np.asarray(positions)[..., None] * frequencies)[..., None, :]
    if interleaved:
        z = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([z.real, z.imag], -1).reshape(x.shape)
    z = (x[..., : size // 2] + 1j * x[..., size // 2 :]) * turn
    return np.concatenate([z.real, z.imag], -1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("base", [10000.0, 50.0])
@pytest.mark.parametrize("each", [False, True])
def test_numbers(interleaved: bool, base: float, each: bool) -> None:
    positions = np.stack([POSITIONS, POSITIONS[::-1]]) if each else POSITIONS
    wanted = by_definition(X, positions, base, interleaved)
    with x64():
        y = nn.rotary(X, positions, base, interleaved)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)
    y = nn.rotary(np.asarray(X, np.float32), positions, base, interleaved)
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-5)
    single = nn.rotary(np.asarray(X[0], np.float32), POSITIONS, base, interleaved)
    np.testing.assert_allclose(
        single, by_definition(X[0], POSITIONS, base, interleaved), rtol=2e-5, atol=2e-5
    )


def test_products_depend_on_the_distance_only() -> None:
    q, k = (jnp.asarray(X[i, :1], jnp.float32) for i in (0, 1))

    def product(p: int, r: int) -> Any:
        return jnp.sum(nn.rotary(q, jnp.array([p])) * nn.rotary(k, jnp.array([r])), -1)

    np.testing.assert_allclose(product(3, 1), product(42, 40), rtol=1e-4, atol=1e-4)
    assert np.any(np.abs(product(3, 1) - product(3, 2)) > 1e-2)


def test_half_types_turn_in_float32() -> None:
    x = jnp.asarray(X, jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        y = nn.rotary(x, jnp.asarray(POSITIONS + 1000))
    assert y.dtype == jnp.bfloat16
    wanted = nn.rotary(x.astype(jnp.float32), POSITIONS + 1000).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(y, np.float32), np.asarray(wanted, np.float32))


@pytest.mark.parametrize(
    ("x", "positions", "text"),
    [
        (
            X[..., :7],
            POSITIONS,
            "rotary: expected an x of shape (..., L, H, d) with an even d, got shape (2, 5, 3, 7).",
        ),
        (
            X[0, 0],
            POSITIONS,
            "rotary: expected an x of shape (..., L, H, d) with an even d, got shape (3, 8).",
        ),
        (
            X,
            POSITIONS[:4],
            "rotary: expected positions of shape (5,), or (2, 5), beside an x of shape "
            "(2, 5, 3, 8), got shape (4,).",
        ),
    ],
)
def test_shapes_that_are_refused(x: Any, positions: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        nn.rotary(x, positions)
    assert str(error.value) == text


def test_other_arguments_that_are_refused() -> None:
    with pytest.raises(nn.InputTypeError, match=r"^rotary: expected an x of floating-point numb"):
        nn.rotary(np.zeros((2, 1, 4), int), np.arange(2))
    with pytest.raises(nn.ArgumentError, match=r"^rotary\(base=0\): expected a number above 0\.$"):
        nn.rotary(np.zeros((2, 1, 4)), np.arange(2), base=0)
