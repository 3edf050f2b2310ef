"""Places of maxima, unpooling, power pools and fractional ones: known numbers and refusals."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

X = np.random.RandomState(0).randn(2, 3, 7, 8).astype(np.float32)
KEY = jax.random.key(0)

PLACED = [
    (nn.MaxPool2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
    (nn.MaxPool2d, {"kernel_size": 2, "dilation": 2, "ceil_mode": True}),
    (nn.MaxPool2d, {"kernel_size": (7, 8)}),
    (nn.MaxPool2d, {"kernel_size": (2, 9), "padding": (0, 4), "stride": 1}),
    (nn.AdaptiveMaxPool2d, {"output_size": (3, 5)}),
    (nn.AdaptiveMaxPool2d, {"output_size": 1}),
    (nn.FractionalMaxPool2d, {"kernel_size": 2, "output_size": 4}),
]


@pytest.mark.parametrize(("layer", "options"), PLACED, ids=str)
def test_places_are_where_the_maxima_stand_in_both_layouts(layer: Any, options: Any) -> None:
    y, places = layer(**options, return_indices=True).apply({}, X, key=KEY)
    assert places.dtype == jnp.int32
    np.testing.assert_array_equal(y, layer(**options).apply({}, X, key=KEY))
    flat = X.reshape(2, 3, -1)
    taken = np.take_along_axis(flat, np.asarray(places).reshape(2, 3, -1), 2)
    np.testing.assert_array_equal(taken.reshape(y.shape), y)
    last = layer(**options, return_indices=True, channels_last=True)
    for moved, first in zip(
        last.apply({}, np.moveaxis(X, 1, -1), key=KEY), (y, places), strict=True
    ):
        np.testing.assert_array_equal(np.moveaxis(moved, -1, 1), first)
    if layer is not nn.FractionalMaxPool2d:
        for single, first in zip(
            layer(**options, return_indices=True).apply({}, X[1]), (y, places), strict=True
        ):
            np.testing.assert_array_equal(single, first[1])


def test_the_first_of_equal_maxima_has_the_place_and_padding_never() -> None:
    pool = nn.MaxPool2d(3, 2, 1, return_indices=True)
    for value in (0.0, -math.inf):
        y, places = pool.apply({}, jnp.full((1, 4, 4), value))
        assert (y == value).all()
        np.testing.assert_array_equal(places, [[[0, 1], [4, 5]]])
    y, places = pool.apply({}, jnp.full((1, 4, 4), np.iinfo(np.int8).min, jnp.int8))
    np.testing.assert_array_equal(places, [[[0, 1], [4, 5]]])


def test_a_nan_has_the_place() -> None:
    x = jnp.array([[1.0, jnp.nan, 3.0, 4.0]])
    y, places = nn.MaxPool1d(2, return_indices=True).apply({}, x)
    np.testing.assert_array_equal(y, [[np.nan, 4]])
    np.testing.assert_array_equal(places, [[1, 3]])


@pytest.mark.parametrize("layer", ["MaxPool2d", "AdaptiveMaxPool2d"])
def test_the_derivative_is_the_same_with_places(layer: str) -> None:
    x = np.random.RandomState(1).randint(-2, 3, X.shape).astype(np.float32)

    def gradient(**options: Any) -> Any:
        model = getattr(nn, layer)(2, **options)

        def loss(x: Any) -> Any:
            y = model.apply({}, x)
            return (jnp.sin(y[0] if options else y) * np.arange(2)[:, None, None, None]).sum()

        return jax.jit(jax.grad(loss))(x)

    np.testing.assert_allclose(gradient(return_indices=True), gradient(), rtol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_pooling_what_was_unpooled_gives_it_back(channels_last: bool) -> None:
    x = np.abs(np.moveaxis(X, 1, -1) if channels_last else X)
    pool = nn.MaxPool2d(2, return_indices=True, channels_last=channels_last)
    unpool = nn.MaxUnpool2d(2, channels_last=channels_last)
    y, places = pool.apply({}, x)
    whole = unpool.apply({}, y, places, output_size=x.shape)
    assert whole.shape == x.shape
    assert ((whole == x) | (whole == 0)).all()
    assert (whole != 0).sum() == y.size
    for mine, wanted in zip(pool.apply({}, whole), (y, places), strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_overlapping_windows_have_one_maximum_and_each_the_whole_derivative() -> None:
    unpool = nn.MaxUnpool1d(3, 1)
    y, places = jnp.array([[5.0, 5.0]]), jnp.array([[2, 2]])
    whole, pull = jax.vjp(lambda y: unpool.apply({}, y, places), y)
    np.testing.assert_array_equal(whole, [[0, 0, 5, 0]])
    np.testing.assert_array_equal(pull(jnp.array([[1.0, 2, 3, 4]]))[0], [[3, 3]])


def test_an_index_outside_is_left_out() -> None:
    y, places = jnp.array([[5.0, 6.0, 7.0]]), jnp.array([[-1, 1, 6]])
    whole = nn.MaxUnpool1d(2).apply({}, y, places)
    np.testing.assert_array_equal(whole, [[0, 6, 0, 0, 0, 0]])


def test_power_pools_are_norms() -> None:
    for p in (1, 2, 3.5, math.inf):
        y = nn.LPPool2d(p, (7, 8)).apply({}, np.abs(X))
        wanted = np.linalg.norm(X.reshape(2, 3, -1), p, axis=-1)
        np.testing.assert_allclose(y[..., 0, 0], wanted, rtol=1e-5)


def test_the_derivative_of_no_power_at_all_is_zero() -> None:
    for p in (2, 3, 1.5):
        model = nn.LPPool1d(p, 2)
        gradient = jax.grad(lambda x: model.apply({}, x).sum())(jnp.zeros((1, 4)))  # noqa: B023
        np.testing.assert_array_equal(gradient, np.zeros((1, 4)))


def test_powers_of_half_types_are_summed_in_float32() -> None:
    y = nn.LPPool2d(1, 64).apply({}, jnp.full((1, 64, 64), 1 / 3, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert float(y[0, 0, 0]) == pytest.approx(4096 / 3, rel=1e-2)


@pytest.mark.parametrize("training", [False, True])
def test_fractional_windows_are_random_in_both_modes_and_cover_the_axis(training: bool) -> None:
    model = nn.FractionalMaxPool2d(2, output_size=(4, 5))
    assert model.init_state() == {}
    apply = jax.jit(lambda x, key: model.apply({}, x, key=key, training=training))
    x = jnp.broadcast_to(jnp.arange(56.0).reshape(7, 8), (30, 2, 7, 8))
    with jax.debug_key_reuse(True):
        y = model.apply({}, x, key=KEY, training=training)
    np.testing.assert_array_equal(y, apply(x, KEY))
    assert (y != apply(x, jax.random.key(1))).any()
    assert (y[0] != y[1:]).any()
    assert (y[:, 0] != y[:, 1]).any()
    # The maxima grow to the right and downwards, up to the last number of all.
    assert (jnp.diff(y, axis=2) > 0).all()
    assert (jnp.diff(y, axis=3) > 0).all()
    assert (y[..., -1, -1] == 55).all()
    with pytest.raises(fp.KeyRequiredError, match="FractionalMaxPool2d"):
        model.apply({}, x, training=training)


def test_given_samples_are_a_buffer_and_need_no_key() -> None:
    samples = np.full((2, 3, 2), 0.5, np.float32)
    model = nn.FractionalMaxPool2d(2, output_ratio=0.5, _random_samples=samples)
    assert [name for name, _ in model.named_buffers()] == ["_random_samples"]
    y = model.apply({}, X, state=model.init_state())
    assert y.shape == (2, 3, 3, 4)
    # As many examples as there are samples for, or fewer.
    np.testing.assert_array_equal(model.apply({}, X[:1], state=model.init_state()), y[:1])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.LPPool1d(0, 2), "LPPool1d(norm_type=0): there is no root of order 0."),
        (lambda: nn.LPPool1d("2", 2), "LPPool1d(norm_type='2'): expected a number."),
        (lambda: nn.LPPool2d(2, 0), "LPPool2d(kernel_size=0): expected an integer >= 1."),
        (
            lambda: nn.MaxUnpool2d((2, 2, 2)),
            "MaxUnpool2d(kernel_size=(2, 2, 2)): expected one integer, or one for each of 2 axes.",
        ),
        (
            lambda: nn.FractionalMaxPool2d(2),
            "FractionalMaxPool2d(output_size=None, output_ratio=None): expected one of output_size "
            "and output_ratio.",
        ),
        (
            lambda: nn.FractionalMaxPool3d(2, 3, 0.5),
            "FractionalMaxPool3d(output_size=3, output_ratio=0.5): expected one of output_size and "
            "output_ratio.",
        ),
        (
            lambda: nn.FractionalMaxPool2d(2, output_ratio=(0.5, 1)),
            "FractionalMaxPool2d(output_ratio=(0.5, 1)): expected a number between 0 and 1, or one "
            "for each of 2 axes.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


INDICES = jnp.zeros((1, 3), jnp.int32)


@pytest.mark.parametrize(
    ("model", "inputs", "options", "text"),
    [
        (
            nn.MaxUnpool1d(2),
            (jnp.ones((1, 4)), INDICES),
            {},
            "MaxUnpool1d: expected an index for each number of an input of shape (1, 4), got "
            "indices of shape (1, 3).",
        ),
        (
            nn.MaxUnpool1d(2),
            (jnp.ones((1, 3)), INDICES),
            {"output_size": (8,)},
            "MaxUnpool1d: expected an output_size that is less than stride=(2,) away from (6,) for "
            "an input of shape (1, 3), got (8,).",
        ),
        (
            nn.MaxUnpool1d(2),
            (jnp.ones((1, 3)), INDICES),
            {"output_size": (1, 6)},
            "MaxUnpool1d: expected an output_size of 1 or 3 numbers, got (1, 6).",
        ),
        (
            nn.MaxUnpool1d(1, 1, 2),
            (jnp.ones((1, 3)), INDICES),
            {},
            "MaxUnpool1d: the output of an input of shape (1, 3) would have the negative size "
            "(-1,).",
        ),
        (
            nn.FractionalMaxPool2d(3, 4),
            (jnp.ones((1, 6, 5)),),
            {},
            "FractionalMaxPool2d: expected at least one window, and room for all of them: "
            "output_size + kernel_size - 1 = 4 + 3 - 1 places, got 5 on axis 2 of shape "
            "(1, 6, 5).",
        ),
        (
            nn.LPPool1d(2, 5),
            (jnp.ones((1, 4)),),
            {},
            "LPPool1d: expected an input that is no smaller than the kernel, got 4 places with "
            "padding on axis 1 of shape (1, 4), where the kernel covers 5.",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, inputs: Any, options: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply({}, *inputs, **options)
    assert str(error.value) == text


def test_dtypes_that_are_refused() -> None:
    with pytest.raises(nn.InputTypeError) as error:
        nn.MaxUnpool1d(2).apply({}, jnp.ones((1, 3)), jnp.ones((1, 3)))
    assert str(error.value) == (
        "MaxUnpool1d: expected indices of integers, as a pool with return_indices=True gives them, "
        "got float32[1, 3]."
    )
    model = nn.FractionalMaxPool2d(2, 2, _random_samples=np.zeros((1, 2, 2), np.float32))
    state = model.init_state()
    with pytest.raises(nn.InputTypeError, match="the input is bfloat16"):
        model.apply({}, jnp.ones((1, 2, 4, 4), jnp.bfloat16), state=state)
    with pytest.raises(nn.InputError) as refused:
        model.apply({}, jnp.ones((2, 2, 4, 4)), state=state)
    assert str(refused.value) == (
        "FractionalMaxPool2d: expected _random_samples of shape (2, 2, 2) for an input of shape "
        "(2, 2, 4, 4), got (1, 2, 2)."
    )
    with pytest.raises(nn.InputTypeError, match="floating-point numbers, got int32"):
        nn.LPPool1d(2, 2).apply({}, jnp.ones((1, 4), jnp.int32))
