"""Dropout: rates, scales, shapes of masks, and gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn

KEY = jax.random.key(0)


def drop(model: Any, x: Any, seed: int = 0) -> np.ndarray:
    return np.asarray(model.apply({}, jnp.asarray(x), key=jax.random.key(seed), training=True))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_drops_at_its_rate_and_scales_the_rest(p: float) -> None:
    y = drop(nn.Dropout(p), np.ones(20_000, np.float32))
    assert (y == 0).mean() == pytest.approx(p, abs=0.015)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)


@pytest.mark.parametrize("layer", [nn.Dropout, nn.AlphaDropout])
def test_the_ends_of_the_rate(layer: type) -> None:
    x = np.array([1.0, np.inf, -2.0], np.float32)
    np.testing.assert_array_equal(drop(layer(0), x), x)
    np.testing.assert_array_equal(drop(layer(1), x), np.zeros(3))


@pytest.mark.parametrize("layer", [nn.Dropout, nn.AlphaDropout])
def test_gradients_are_the_mask(layer: type) -> None:
    model = layer(0.5)

    def loss(x: jax.Array) -> jax.Array:
        return model.apply({}, x, key=KEY, training=True).sum()

    x = jnp.arange(1.0, 9.0)
    kept = np.asarray(jax.grad(loss)(x)) != 0
    y, changed = drop(model, x), drop(model, 2 * x)
    np.testing.assert_array_equal(kept, y != changed)


@pytest.mark.parametrize(
    ("model", "shape", "axes"),
    [
        (nn.Dropout1d(), (4, 5, 6), (2,)),
        (nn.Dropout1d(channels_last=True), (4, 6, 5), (1,)),
        (nn.Dropout1d(), (9, 6), (1,)),
        (nn.Dropout2d(), (4, 5, 2, 3), (2, 3)),
        (nn.Dropout2d(channels_last=True), (4, 2, 3, 5), (1, 2)),
        (nn.Dropout2d(), (9, 2, 3), (1, 2)),
        (nn.Dropout3d(), (4, 5, 2, 2, 2), (2, 3, 4)),
        (nn.FeatureAlphaDropout(), (4, 5, 3, 2), (2, 3)),
        (nn.FeatureAlphaDropout(channels_last=True), (4, 3, 2, 5), (1, 2)),
    ],
    ids=str,
)
def test_whole_channels_are_dropped_and_each_for_itself(model, shape, axes) -> None:
    y = drop(model, np.ones(shape, np.float32))
    assert (y == y.min(axes, keepdims=True)).all()
    each = y.min(axes)
    assert len(np.unique(each)) == 2
    if each.ndim == 2:  # neither all examples nor all channels share a mask
        assert (each != each[:1]).any()
        assert (each != each[:, :1]).any()


@pytest.mark.parametrize("model", [nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)], ids=repr)
def test_alpha_dropout_keeps_mean_and_variance(model) -> None:
    x = np.random.RandomState(0).randn(200, 200).astype(np.float32)
    y = drop(model, x)
    assert y.mean() == pytest.approx(0, abs=0.03)
    assert y.var() == pytest.approx(1, abs=0.03)


def test_half_precision_stays_and_the_scale_is_rounded_once() -> None:
    y = drop(nn.Dropout(0.5), np.ones(9, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert set(y.astype(float)) == {0.0, 2.0}


@pytest.mark.parametrize("p", [-0.1, 1.5, "0.5", True, float("nan"), None])
def test_what_is_no_probability_is_refused(p: Any) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        nn.Dropout2d(p)
    assert str(error.value) == (
        f"Dropout2d(p={p!r}): expected a probability, a number from 0 to 1."
    )


@pytest.mark.parametrize("training", [False, True])
def test_inputs_that_are_refused_in_both_modes(training: bool) -> None:
    options = {"key": KEY, "training": training}
    with pytest.raises(nn.InputError, match=r"Dropout1d: expected .*\(N, C, L\), or \(C, L\)"):
        nn.Dropout1d().apply({}, jnp.ones(3), **options)
    with pytest.raises(nn.InputError, match=r"a batch and a channel axis, got shape \(3,\)"):
        nn.FeatureAlphaDropout().apply({}, jnp.ones(3), **options)
    with pytest.raises(nn.InputTypeError, match=r"floating-point numbers, got int32\[2\]"):
        nn.Dropout().apply({}, jnp.ones(2, jnp.int32), **options)
