"""Normalisations: their accuracy where it is hard, their derivatives, and what they refuse."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn
from funcparams.nn.norm.moments import moments

KEY = jax.random.key(0)
X = np.random.RandomState(0).randn(16, 8, 32)


def outlier(value: float) -> Any:
    """Put a number far out where a formula that takes the first number for the rest looks."""
    x = X.copy()
    x[:, :, 0] = value
    x[0] = value
    return x


HARD = {
    "offset 0": X,
    "offset 1e3": X + 1e3,
    "offset 1e5": X + 1e5,
    "a small spread": X * 1e-3 + 10,
    "an outlier": outlier(1e4),
    "a large outlier": outlier(1e6),
}
LAYERS = {
    "LayerNorm": (nn.LayerNorm(32), (2,)),
    "GroupNorm": (nn.GroupNorm(2, 8), (2, 3)),
    "BatchNorm1d": (nn.BatchNorm1d(8), (0, 2)),
}


def exact(layer: str, x: Any) -> Any:
    """Normalise by the definition, in float64."""
    x = np.asarray(x, np.float64)
    split = x.reshape(16, 2, 4, 32) if layer == "GroupNorm" else x
    axes = LAYERS[layer][1]
    mean, variance = split.mean(axes, keepdims=True), split.var(axes, keepdims=True)
    return ((split - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("layer", LAYERS)
def test_float32_keeps_its_digits(layer: str, case: str) -> None:
    model = LAYERS[layer][0]
    x = np.asarray(HARD[case], np.float32)
    y, _ = model.apply_with_state(model.init(None), model.init_state(), x, training=True)
    wanted = exact(layer, x)
    assert np.abs(y - wanted).max() <= 2e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("value", [0.0, 3.0, 1e6, -3e12])
def test_constant_inputs_give_the_bias(layer: str, value: float) -> None:
    model = LAYERS[layer][0]
    x = np.full(X.shape, value, np.float32)
    y, _ = model.apply_with_state(model.init(None), model.init_state(), x, training=True)
    np.testing.assert_array_equal(y, np.zeros(X.shape))


def test_all_derivatives_are_those_of_the_definition() -> None:
    """The mean that the numbers are shifted by passes no derivative, and none is lost."""

    def ours(x: Any) -> Any:
        centred, variance, mean = moments(x, (0,))
        return jnp.sum(jnp.sin(centred) * variance**2 + mean**3)

    def plain(x: Any) -> Any:
        mean = x.mean(0, keepdims=True)
        variance = jnp.square(x - mean).mean(0, keepdims=True)
        return jnp.sum(jnp.sin(x - mean) * variance**2 + mean**3)

    x, direction = jnp.asarray(X[0, 0, :5], jnp.float32), jnp.asarray(X[0, 1, :5], jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(f: Any, x: Any, direction: Any) -> Any:
        return jax.grad(f)(x), jax.jvp(f, (x,), (direction,)), jax.hessian(f)(x)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        derivatives(ours, x, direction),
        derivatives(plain, x, direction),
    )


@pytest.mark.parametrize("model", [nn.LayerNorm(4), nn.RMSNorm(4), nn.GroupNorm(2, 4)], ids=repr)
def test_half_types_are_computed_in_float32(model: fp.Module) -> None:
    x = np.asarray(X[:4, :4, 0] + 300, np.float16)
    params = model.init(None)
    y = model.apply(params, x)  # float32 parameters beside it are fine
    assert y.dtype == jnp.float16
    halved = model.astype(jnp.float16).init(None)
    np.testing.assert_array_equal(y, model.astype(jnp.float16).apply(halved, x))
    wanted = model.apply(params, x.astype(np.float32))
    np.testing.assert_array_equal(y, np.asarray(wanted).astype(np.float16))


def test_parameters_of_another_dtype_are_refused() -> None:
    model = nn.LayerNorm(4).astype(jnp.float16)
    with pytest.raises(nn.InputTypeError) as error:
        model.apply(model.init(None), jnp.ones(4, jnp.bfloat16))
    assert str(error.value) == (
        "LayerNorm: the input is bfloat16[4], and the parameters are float16; expected bfloat16 or "
        "float32 parameters.\n"
        "  Convert the input, x.astype(float16), or the parameters: model.astype(dtype) for new "
        "ones, fp.cast(params, dtype) for these."
    )
    with pytest.raises(nn.InputTypeError, match="expected an input of floating-point numbers"):
        nn.LayerNorm(4).apply(nn.LayerNorm(4).init(None), jnp.ones(4, int))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.GroupNorm(3, 4),
            "GroupNorm(num_groups=3, num_channels=4): num_channels must be divisible by "
            "num_groups.",
        ),
        (lambda: nn.GroupNorm(0, 4), "GroupNorm(num_groups=0): expected an integer >= 1."),
        (lambda: nn.LayerNorm(()), "LayerNorm(normalized_shape=()): expected one size or more."),
        (lambda: nn.LayerNorm(4, eps="1"), "LayerNorm(eps='1'): expected a number."),
        (lambda: nn.RMSNorm((4, -1)), "RMSNorm(normalized_shape=-1): expected an integer >= 0."),
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
            nn.LayerNorm((3, 4)),
            (2, 4, 3),
            "LayerNorm: expected an input of shape (..., 3, 4), got shape (2, 4, 3).",
        ),
        (nn.RMSNorm(4), (), "RMSNorm: expected an input of shape (..., 4), got shape ()."),
        (
            nn.GroupNorm(2, 4),
            (4,),
            "GroupNorm: expected an input of shape (N, C, ...) with C = num_channels=4, got shape "
            "(4,).",
        ),
        (
            nn.GroupNorm(2, 4, channels_last=True),
            (1, 4, 3),
            "GroupNorm: expected an input of shape (N, ..., C) with C = num_channels=4, got shape "
            "(1, 4, 3).",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(None), jnp.ones(shape))
    assert str(error.value) == text
