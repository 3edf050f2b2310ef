"""Activations far out, at NaN, on integers where that makes sense, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn
from tests.layer_cases import ACTIVATION

ELEMENTWISE = list(
    {
        case.layer: case.make()
        for case in ACTIVATION
        if case.layer not in ("PReLU", "GLU")
        and "max" not in case.layer
        and "min" not in case.layer
    }.values()
)


@pytest.mark.parametrize("model", ELEMENTWISE, ids=repr)
def test_far_out_and_at_nan(model: Any) -> None:
    x = jnp.array([-1e4, -100.0, 0.0, 100.0, 1e4])
    y, pull = jax.vjp(lambda x: model.apply({}, x), x)
    assert np.isfinite(y).all()
    assert np.isfinite(pull(jnp.ones_like(x))[0]).all()
    assert np.isnan(model.apply({}, jnp.array([np.nan]))).all()


def test_parameterless_activations_take_python_numbers() -> None:
    assert nn.Tanh().apply({}, 0.0) == 0
    assert nn.ReLU().apply({}, -1) == 0
    assert nn.ReLU6().apply({}, 9) == 6


def test_slopes_of_rrelu_lie_between_its_bounds() -> None:
    model = nn.RReLU(0.1, 0.4)
    x = -jnp.ones(2000)
    y = -model.apply({}, x, key=jax.random.key(0), training=True)
    assert 0.1 <= y.min() < 0.11
    assert 0.39 < y.max() <= 0.4
    assert float(y.mean()) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(model.apply({}, x), 0.25 * x, rtol=1e-6)
    both = model.apply({}, -x, key=jax.random.key(0), training=True)
    np.testing.assert_array_equal(both, -x)


def test_prelu_starts_where_it_is_told_to() -> None:
    np.testing.assert_array_equal(nn.PReLU(3, init=0.5).init(None)["weight"], [0.5] * 3)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.GELU("tahn"),
            "GELU(approximate='tahn'): expected one of 'none', 'tanh'; did you mean 'tanh'?.",
        ),
        (
            lambda: nn.Hardtanh(1.0, -1.0),
            "Hardtanh(min_val=1.0, max_val=-1.0): max_val must be greater than min_val.",
        ),
        (
            lambda: nn.RReLU(0.5, 0.1),
            "RReLU(lower=0.5, upper=0.1): lower must not be greater than upper.",
        ),
        (lambda: nn.CELU(0), "CELU(alpha=0): alpha cannot be 0, since x is divided by it."),
        (lambda: nn.Softplus(0.0), "Softplus(beta=0): beta cannot be 0, since it divides."),
        (lambda: nn.Softshrink(-1), "Softshrink(lambd=-1): expected a number >= 0."),
        (lambda: nn.LeakyReLU("a"), "LeakyReLU(negative_slope='a'): expected a number."),
        (lambda: nn.Softmax(1.0), "Softmax(dim=1.0): expected an integer."),
        (lambda: nn.PReLU(0), "PReLU(num_parameters=0): expected an integer >= 1."),
        (lambda: nn.PReLU(1, init=None), "PReLU(init=None): expected a number."),
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
            nn.Softmax(2),
            (3, 4),
            "Softmax: expected an input that has the axis dim=2, got shape (3, 4).",
        ),
        (
            nn.LogSoftmax(-1),
            (),
            "LogSoftmax: expected an input that has the axis dim=-1, got shape ().",
        ),
        (
            nn.GLU(0),
            (3, 4),
            "GLU: expected an even size of the axis dim=0, to halve it, got shape (3, 4).",
        ),
        (nn.Softmax2d(), (3, 4), "Softmax2d: expected an input of 3 or 4 axes, got shape (3, 4)."),
        (
            nn.PReLU(3),
            (3,),
            "PReLU: expected an input with num_parameters=3 channels on axis 1, got shape (3,).",
        ),
        (
            nn.PReLU(3, channels_last=True),
            (3, 4),
            "PReLU: expected an input with num_parameters=3 channels on the last axis, got shape "
            "(3, 4).",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(None), jnp.ones(shape))
    assert str(error.value) == text


def test_a_softmax_without_an_axis_is_refused_where_pytorch_guesses() -> None:
    with pytest.raises(TypeError, match="dim"):
        nn.Softmax()  # pyright: ignore


def test_integers_are_refused_where_the_result_is_none() -> None:
    with pytest.raises(nn.InputTypeError, match=r"Sigmoid: expected an input of floating-point"):
        nn.Sigmoid().apply({}, jnp.ones(2, jnp.int32))
