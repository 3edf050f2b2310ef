"""Normalisations by neighbouring channels, against their formulas written as loops."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

X = np.random.RandomState(0).randn(2, 9, 2, 3).astype(np.float32)


def by_loops(x: Any, size: int, before: int, after: int, keeps_first: bool) -> Any:
    """Divide by (1 + 0.5 * mean of neighbours' squares) ** 0.75, one channel after the other."""
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        low = max(0, c - before)
        near = list(range(low, min(x.shape[1], c + after + 1)))
        near += [0] if keeps_first and low > 0 else []
        total = sum(np.asarray(x[:, j], np.float64) ** 2 for j in near)
        y[:, c] = x[:, c] / (1 + 0.5 * total / size) ** 0.75
    return y


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11, 20])
def test_local_response_norm_is_its_formula(size: int) -> None:
    wanted = by_loops(X, size, size // 2, (size - 1) // 2, keeps_first=False)
    y = nn.LocalResponseNorm(size, 0.5).apply({}, X)
    np.testing.assert_allclose(y, wanted, rtol=2e-6)
    last = nn.LocalResponseNorm(size, 0.5, channels_last=True).apply({}, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), wanted, rtol=2e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11, 20])
def test_cross_map_norm_keeps_channel_0_in_all_windows(size: int) -> None:
    reach = (size - 1) // 2
    wanted = by_loops(X, size, reach, reach, keeps_first=True)
    np.testing.assert_allclose(nn.CrossMapLRN2d(size, 0.5).apply({}, X), wanted, rtol=2e-6)
    last = nn.CrossMapLRN2d(size, 0.5, channels_last=True).apply({}, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), wanted, rtol=2e-6)


@pytest.mark.parametrize(
    "model", [nn.LocalResponseNorm(3, 0.5), nn.CrossMapLRN2d(3, 0.5)], ids=repr
)
def test_gradients_are_those_of_the_formula(model: Any) -> None:
    first = isinstance(model, nn.CrossMapLRN2d)

    def total(x: Any) -> Any:
        return by_loops(x, 3, 1, 1, keeps_first=first).sum()

    x = np.asarray(X[:1, :5, :1, :1], np.float64)
    ours = jax.grad(lambda x: model.apply({}, x).sum())(jnp.asarray(x, jnp.float32))
    step = 1e-5
    for c in range(5):
        moved = np.zeros_like(x)
        moved[:, c] = step
        wanted = (total(x + moved) - total(x - moved)) / (2 * step)
        assert float(ours[0, c, 0, 0]) == pytest.approx(wanted, abs=1e-5)


def test_half_types_are_computed_in_float32() -> None:
    x = jnp.asarray(X, jnp.bfloat16)
    y = nn.LocalResponseNorm(3).apply({}, x)
    assert y.dtype == jnp.bfloat16
    wanted = nn.LocalResponseNorm(3).apply({}, x.astype(jnp.float32))
    np.testing.assert_array_equal(y, wanted.astype(jnp.bfloat16))


def test_no_numbers_give_none() -> None:
    assert nn.LocalResponseNorm(3).apply({}, jnp.ones((0, 3, 2))).shape == (0, 3, 2)
    assert nn.LocalResponseNorm(3).apply({}, jnp.ones((2, 0, 2))).shape == (2, 0, 2)


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.LocalResponseNorm(2),
            (2, 3),
            "LocalResponseNorm: expected an input of shape (N, C, ...) with three axes or more, "
            "got shape (2, 3).",
        ),
        (
            nn.LocalResponseNorm(2, channels_last=True),
            (3,),
            "LocalResponseNorm: expected an input of shape (N, ..., C) with three axes or more, "
            "got shape (3,).",
        ),
        (
            nn.CrossMapLRN2d(2),
            (2, 3, 4),
            "CrossMapLRN2d: expected an input of shape (N, C, H, W), got shape (2, 3, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text


def test_arguments_and_dtypes_that_are_refused() -> None:
    with pytest.raises(nn.ArgumentError, match=r"^LocalResponseNorm\(size=0\): expected an integ"):
        nn.LocalResponseNorm(0)
    with pytest.raises(nn.ArgumentError, match=r"^CrossMapLRN2d\(beta='a'\): expected a number\.$"):
        nn.CrossMapLRN2d(2, beta="a")
    with pytest.raises(nn.InputTypeError, match="expected an input of floating-point numbers"):
        nn.LocalResponseNorm(2).apply({}, jnp.ones((2, 3, 4), int))
