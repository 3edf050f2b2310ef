"""Pools: their windows against plain loops, their derivatives, and what they refuse."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcparams as fp
from funcparams import nn
from funcparams.nn.pooling.windows import Window, maxima, sums

X = np.random.RandomState(0).randn(2, 3, 6, 8).astype(np.float32)


def windows_of(x: Any, window: Window) -> list[Any]:
    """The places of each window, cut out one by one."""
    starts = [i * window.stride for i in range(window.count)]
    return [x[:, low : low + window.extent : window.dilation] for low in starts]


@settings(deadline=None, max_examples=25)
@given(
    kernel=st.integers(1, 12),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    count=st.integers(1, 4),
    spare=st.integers(0, 2),
)
def test_windows_of_every_geometry(
    kernel: int, stride: int, dilation: int, count: int, spare: int
) -> None:
    window = Window(kernel, stride, dilation, count)
    size = (count - 1) * stride + window.extent + spare
    x = np.random.RandomState(kernel).randint(-3, 4, (2, size)).astype(np.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def derivative(x: Any) -> Any:
        greatest = maxima(x, 1, window)
        return (greatest * np.arange(1, count + 1)).sum(), (greatest, sums(x, 1, window))

    gradient, (greatest, total) = derivative(x)
    cut = windows_of(x, window)
    np.testing.assert_array_equal(greatest, np.stack([part.max(1) for part in cut], 1))
    np.testing.assert_array_equal(total, np.stack([part.sum(1) for part in cut], 1))
    # The derivative of each maximum stands at the first of equal numbers.
    wanted = np.zeros_like(x)
    for index, row in itertools.product(range(count), range(2)):
        first = int(cut[index][row].argmax())
        wanted[row, index * stride + first * dilation] += index + 1
    np.testing.assert_array_equal(gradient, wanted)


@pytest.mark.parametrize("kernel", [2, 3, 9])
@pytest.mark.parametrize("stride", [1, 2, None])
def test_nan_is_passed_on_by_the_windows_that_hold_it(kernel: int, stride: int | None) -> None:
    for place in range(9):
        x = np.zeros((1, 12), np.float32)
        x[0, place] = np.nan
        y = nn.MaxPool1d(kernel, stride).apply({}, x)
        step = stride or kernel
        held = [i * step <= place < i * step + kernel for i in range(y.shape[1])]
        np.testing.assert_array_equal(np.isnan(y[0]), held)


def test_layouts_and_batch_axes_are_the_same_function() -> None:
    for layer, options in (
        (nn.MaxPool2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
        (nn.AvgPool2d, {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        (nn.AdaptiveAvgPool2d, {"output_size": (2, 3)}),
        (nn.AdaptiveMaxPool2d, {"output_size": (4, 3)}),
    ):
        first = jax.jit(layer(**options).apply)
        last = jax.jit(layer(**options, channels_last=True).apply)
        y = first({}, X)
        moved = np.moveaxis(last({}, np.moveaxis(X, 1, -1)), -1, 1)
        np.testing.assert_allclose(moved, y, rtol=1e-6)
        np.testing.assert_allclose(first({}, X[1]), y[1], rtol=1e-6)


def test_integers_have_maxima_too() -> None:
    x = np.array([[-5, -7, -9, -8]], np.int8)
    y = nn.MaxPool1d(3, 1, padding=1).apply({}, x)
    assert y.dtype == jnp.int8
    np.testing.assert_array_equal(y, [[-5, -5, -7, -8]])


def test_half_types_are_summed_in_float32() -> None:
    x = np.full((1, 64, 64), 1 / 3, jnp.bfloat16)
    for model in (nn.AvgPool2d(64), nn.AdaptiveAvgPool2d(1), nn.AvgPool2d(16, 8)):
        y = model.apply({}, x)
        assert y.dtype == jnp.bfloat16
        assert (y == x[0, 0, 0]).all()


def test_maxima_have_forward_and_second_derivatives() -> None:
    model = nn.MaxPool2d(2)

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(model.apply({}, x) ** 3)

    x = jnp.asarray(X[0, 0:1, :2, :2])
    _, tangent = jax.jit(lambda x: jax.jvp(loss, (x,), (jnp.ones_like(x),)))(x)
    np.testing.assert_allclose(tangent, jax.jit(jax.grad(loss))(x).sum(), rtol=1e-6)
    curvature = jax.jit(jax.hessian(loss))(x).reshape(4, 4)
    np.testing.assert_allclose(np.diag(curvature).sum(), 6 * x.max(), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.MaxPool2d(2, padding=2),
            "MaxPool2d(kernel_size=2, padding=2): padding should be at most half of the effective "
            "kernel size, or windows would hold nothing else.",
        ),
        (lambda: nn.AvgPool1d(0), "AvgPool1d(kernel_size=0): expected an integer >= 1."),
        (
            lambda: nn.AvgPool2d((2, 2, 2)),
            "AvgPool2d(kernel_size=(2, 2, 2)): expected one integer, or one for each of 2 axes.",
        ),
        (
            lambda: nn.AvgPool2d(2, divisor_override=0),
            "AvgPool2d(divisor_override=0): the divisor must not be zero.",
        ),
        (
            lambda: nn.AdaptiveAvgPool2d((2, 2, 2)),
            "AdaptiveAvgPool2d(output_size=(2, 2, 2)): expected one size, or one for each of 2 "
            "axes.",
        ),
        (
            lambda: nn.AdaptiveAvgPool2d((2, 0)),
            "AdaptiveAvgPool2d(output_size=0): expected an integer >= 1.",
        ),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.MaxPool2d(5),
            (1, 4, 4),
            "MaxPool2d: expected an input that is no smaller than the kernel, got 4 places with "
            "padding on axis 1 of shape (1, 4, 4), where the kernel covers 5.",
        ),
        (
            nn.AvgPool1d(2),
            (4,),
            "AvgPool1d: expected an input of shape (N, C, L), or (C, L) without a batch axis, got "
            "shape (4,).",
        ),
        (
            nn.AdaptiveAvgPool3d(2, channels_last=True),
            (4, 4),
            "AdaptiveAvgPool3d: expected an input of shape (N, D, H, W, C), or (D, H, W, C) "
            "without a batch axis, got shape (4, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model: fp.Module, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, jnp.ones(shape))
    assert str(error.value) == text


def test_means_of_integers_are_refused() -> None:
    for model in (nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(2)):
        with pytest.raises(nn.InputTypeError, match=r"floating-point numbers, got int32\[1, 4\]"):
            model.apply({}, jnp.ones((1, 4), jnp.int32))
