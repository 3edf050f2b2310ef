"""Upsample: known numbers, derivatives, layouts, and what it refuses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn
from funcparams.nn.shape import resample
from funcparams.testing import operation_counts

X = np.random.RandomState(0).randn(2, 3, 4, 5).astype(np.float32)

GEOMETRIES = [
    {"scale_factor": 2, "mode": "nearest"},
    {"scale_factor": 1.6, "mode": "nearest"},
    {"scale_factor": 3, "mode": "bilinear"},
    {"size": (7, 3), "mode": "bilinear"},
    {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
    {"scale_factor": 1.5, "mode": "bicubic"},
]


def test_a_line_stays_a_line() -> None:
    x = jnp.arange(5.0)[None, None]
    y = nn.Upsample(9, mode="linear", align_corners=True).apply({}, x)
    np.testing.assert_allclose(y[0, 0], np.arange(9) / 2, rtol=1e-6)
    y = nn.Upsample(scale_factor=3, mode="linear").apply({}, x)
    np.testing.assert_allclose(y[0, 0, 1:-1], np.arange(13) / 3, rtol=1e-5, atol=1e-6)
    assert y[0, 0, 0] == 0
    assert y[0, 0, -1] == 4


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_the_derivative_is_that_of_the_function(options: Any) -> None:
    model = nn.Upsample(**options)
    y, pull = jax.vjp(lambda x: model.apply({}, x), X)
    tangent = np.random.RandomState(1).randn(*X.shape).astype(np.float32)
    cotangent = np.random.RandomState(2).randn(*y.shape).astype(np.float32)
    # It is linear: its tangent is itself, and its adjoint has the same products.
    wanted = model.apply({}, tangent)
    pushed = jax.jvp(lambda x: model.apply({}, x), (X,), (tangent,))[1]
    np.testing.assert_allclose(pushed, wanted, rtol=1e-4, atol=1e-5)
    left, right = (cotangent * wanted).sum(), (pull(cotangent)[0] * tangent).sum()
    np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


def test_wide_axes_have_the_same_derivative_without_a_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gradient() -> Any:
        model = nn.Upsample(size=(7, 6), mode="bicubic")
        return jax.grad(lambda x: (model.apply({}, x) ** 2).sum())(X)

    by_matrix = gradient()
    monkeypatch.setattr(resample, "_WIDEST", 0)
    np.testing.assert_allclose(gradient(), by_matrix, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_channels_last_is_the_same_function_of_moved_data(options: Any) -> None:
    y = nn.Upsample(**options).apply({}, X)
    last = nn.Upsample(**options, channels_last=True).apply({}, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(last, -1, 1), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_infinity_reaches_its_neighbours_only(options: Any) -> None:
    x = X.copy()
    x[:, :, 0, 0] = np.inf
    y = np.asarray(nn.Upsample(**options).apply({}, x))
    assert np.isfinite(y[:, :, -1, -1]).all()
    assert not np.isfinite(y[:, :, 0, 0]).any()


def test_whole_factors_take_no_gather() -> None:
    x = jax.ShapeDtypeStruct(X.shape, X.dtype)
    for mode in ("nearest", "bilinear"):
        counts = operation_counts(nn.Upsample(scale_factor=2, mode=mode).apply, {}, x)
        assert counts["stablehlo.gather"] == 0
        assert counts["stablehlo.dot_general"] == 0
    same = operation_counts(nn.Upsample(scale_factor=1, mode="bilinear").apply, {}, x)
    assert not same


def test_half_types_are_interpolated_in_float32() -> None:
    x = jnp.asarray(X, jnp.bfloat16)
    model = nn.Upsample(scale_factor=1.5, mode="bilinear")
    y = model.apply({}, x)
    assert y.dtype == jnp.bfloat16
    exact = model.apply({}, x.astype(jnp.float32)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(y.astype(jnp.float32), exact.astype(jnp.float32))


def test_integers_are_repeated_and_not_interpolated() -> None:
    x = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 4)
    y = nn.Upsample(scale_factor=1.5).apply({}, x)
    assert y.dtype == jnp.int8
    np.testing.assert_array_equal(y[0, 0], [0, 0, 1, 2, 2, 3])
    with pytest.raises(nn.InputTypeError, match=r"floating-point numbers, got int8\[1, 1, 4\]"):
        nn.Upsample(scale_factor=2, mode="linear").apply({}, x)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.Upsample(),
            "Upsample(size=None, scale_factor=None): expected one of size and scale_factor.",
        ),
        (
            lambda: nn.UpsamplingNearest2d(2, 2),
            "UpsamplingNearest2d(size=2, scale_factor=2): expected one of size and scale_factor.",
        ),
        (lambda: nn.Upsample(0), "Upsample(size=0): expected an integer >= 1."),
        (
            lambda: nn.Upsample(scale_factor=(2, -1)),
            "Upsample(scale_factor=-1): expected a number above zero.",
        ),
        (
            lambda: nn.Upsample(2, mode="bilnear"),
            "Upsample(mode='bilnear'): expected one of 'nearest', 'nearest-exact', 'linear', "
            "'bilinear', 'bicubic', 'trilinear'; did you mean 'bilinear'?.",
        ),
        (
            lambda: nn.Upsample(2, align_corners=False),
            "Upsample(mode='nearest', align_corners=False): align_corners is for the modes "
            "'linear', 'bilinear', 'bicubic' and 'trilinear' only.",
        ),
        (
            lambda: nn.Upsample(2, recompute_scale_factor=True),
            "Upsample(size=2, recompute_scale_factor=True): there is no scale_factor to compute "
            "again.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.Upsample(2, mode="bilinear"),
            (1, 2, 3),
            "Upsample: expected an input of shape (N, C, H, W) for mode='bilinear', got shape "
            "(1, 2, 3).",
        ),
        (
            nn.Upsample(2, channels_last=True),
            (1, 2),
            "Upsample: expected an input of shape (N, L, C) or (N, H, W, C) or (N, D, H, W, C) for "
            "mode='nearest', got shape (1, 2).",
        ),
        (
            nn.Upsample(scale_factor=(2, 2)),
            (1, 2, 3),
            "Upsample: expected 1 numbers as scale_factor, one for each axis beside batch and "
            "channels of shape (1, 2, 3), got (2.0, 2.0).",
        ),
        (
            nn.Upsample(scale_factor=0.2),
            (1, 2, 3),
            "Upsample: expected sizes greater than zero, got an input of shape (1, 2, 3) for an "
            "output of size (0,).",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, shape: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text
