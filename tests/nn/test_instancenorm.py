"""Instance normalisation: its running statistics, its modes, its accuracy, and what it refuses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcparams import nn
from funcparams.testing import assert_same_program
from tests.nn.test_programs import normalise

# Two examples of one channel, with means 3 and 12 and variances (of n - 1) 14 / 3 and 2 / 3 * 4.
X = np.array([[[1.0, 2.0, 3.0, 6.0]], [[10.0, 12.0, 12.0, 14.0]]], np.float32)
TRACKED = nn.InstanceNorm1d(1, track_running_stats=True)


def trained(model: Any, *batches: Any) -> Any:
    state = model.init_state()
    for batch in batches:
        _, state = model.apply_with_state(model.init(None), state, batch, training=True)
    return state


def test_each_channel_of_each_example_is_normalised_by_itself() -> None:
    y = nn.InstanceNorm1d(1, eps=0.0).apply({}, X)
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(2), 1, rtol=1e-5)
    np.testing.assert_array_equal(nn.InstanceNorm1d(1, eps=0.0).apply({}, X[1]), y[1])


def test_statistics_move_by_the_average_over_the_batch_and_batches_are_not_counted() -> None:
    state = trained(TRACKED, X)
    np.testing.assert_allclose(state["running_mean"], [0.1 * (3 + 12) / 2], rtol=1e-6)
    variance = (14 / 3 + 8 / 3) / 2
    np.testing.assert_allclose(state["running_var"], [0.9 + 0.1 * variance], rtol=1e-6)
    assert state["num_batches_tracked"] == 0
    np.testing.assert_allclose(trained(TRACKED, X[0])["running_mean"], [0.3], rtol=1e-6)


def test_without_a_momentum_statistics_never_move() -> None:
    model = nn.InstanceNorm1d(1, momentum=None, track_running_stats=True)
    jax.tree.map(np.testing.assert_array_equal, trained(model, X), model.init_state())
    assert model.apply({}, X, state=model.init_state(), training=True).shape == X.shape


def test_inference_uses_running_statistics_where_there_are_any() -> None:
    state = {
        "running_mean": jnp.array([1.0]),
        "running_var": jnp.array([4.0]),
        "num_batches_tracked": jnp.array(0),
    }
    model = nn.InstanceNorm1d(1, eps=0, track_running_stats=True)
    np.testing.assert_allclose(model.apply({}, X, state=state), (X - 1) / 2, rtol=1e-6)
    plain = nn.InstanceNorm1d(1)
    np.testing.assert_array_equal(plain.apply({}, X), plain.apply({}, X, training=True))


def test_parameters_are_as_many_as_channels_only_where_asked_for() -> None:
    assert nn.InstanceNorm2d(3).init(None) == {}
    assert nn.InstanceNorm2d(3).init_state() == {}
    params = nn.InstanceNorm2d(3, affine=True).init(None)
    np.testing.assert_array_equal(params["weight"], np.ones(3))
    np.testing.assert_array_equal(params["bias"], np.zeros(3))


def test_operations_are_those_of_hand_written_jax() -> None:
    model = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)

    def by_hand(p: Any, s: Any, x: Any) -> Any:
        centred, variance, mean = normalise(x, (2, 3))
        weight, bias = (p[name][:, None, None] for name in ("weight", "bias"))

        def moved(old: Any, new: Any) -> Any:
            return 0.9 * old + 0.1 * jax.lax.squeeze(new.mean(0, keepdims=True), (0, 2, 3))

        return centred * (jax.lax.rsqrt(variance + 1e-5) * weight) + bias, {
            "running_mean": moved(s["running_mean"], mean),
            "running_var": moved(s["running_var"], variance * (20 / 19)),
            "num_batches_tracked": s["num_batches_tracked"],
        }

    def train(p: Any, s: Any, x: Any) -> Any:
        return model.apply_with_state(p, s, x, training=True)

    arguments = (model.init(None), model.init_state(), jnp.ones((2, 3, 4, 5)))
    assert_same_program(train, by_hand, *arguments)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_float32_keeps_its_digits_far_from_zero(offset: float) -> None:
    x = np.asarray(np.random.RandomState(0).randn(4, 8, 64) + offset, np.float32)
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean(2, keepdims=True)) / np.sqrt(exact.var(2, keepdims=True) + 1e-5)
    y = nn.InstanceNorm1d(8).apply({}, x)
    assert np.abs(y - exact).max() <= 2e-6 * np.abs(exact).max()


def test_half_types_are_computed_in_float32() -> None:
    x = np.asarray(X + 300, np.float16)
    y, state = TRACKED.apply_with_state({}, TRACKED.init_state(), x, training=True)
    assert y.dtype == jnp.float16
    assert state["running_mean"].dtype == jnp.float32
    wanted = nn.InstanceNorm1d(1).apply({}, x.astype(np.float32))
    np.testing.assert_array_equal(y, np.asarray(wanted).astype(np.float16))


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.InstanceNorm1d(3),
            (3,),
            "InstanceNorm1d: expected an input of shape (N, C, L), or (C, L) without a batch axis, "
            "with C = num_features=3, got shape (3,).",
        ),
        (
            nn.InstanceNorm2d(3, channels_last=True),
            (1, 3, 4, 4),
            "InstanceNorm2d: expected an input of shape (N, H, W, C), or (H, W, C) without a batch "
            "axis, with C = num_features=3, got shape (1, 3, 4, 4).",
        ),
        (
            nn.InstanceNorm3d(3),
            (1, 2, 4, 4, 4),
            "InstanceNorm3d: expected an input of shape (N, C, D, H, W), or (C, D, H, W) without a "
            "batch axis, with C = num_features=3, got shape (1, 2, 4, 4, 4).",
        ),
        (
            nn.InstanceNorm1d(3),
            (2, 3, 1),
            "InstanceNorm1d: expected more than 1 place per channel, got an input of shape "
            "(2, 3, 1): a single value has no variance.",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    for training in (False, True):
        with pytest.raises(nn.InputError) as error:
            model.apply({}, jnp.ones(shape), training=training)
        assert str(error.value) == text


def test_one_place_is_fine_beside_running_statistics() -> None:
    x = jnp.ones((2, 1, 1))
    assert TRACKED.apply({}, x, state=TRACKED.init_state()).shape == (2, 1, 1)
    with pytest.raises(nn.InputError, match="more than 1 place"):
        TRACKED.apply_with_state({}, TRACKED.init_state(), x, training=True)


def test_arguments_that_are_refused() -> None:
    with pytest.raises(nn.ArgumentError, match=r"InstanceNorm2d\(num_features=-1\)"):
        nn.InstanceNorm2d(-1)
    with pytest.raises(nn.ArgumentError, match=r"InstanceNorm1d\(eps='a'\): expected a number"):
        nn.InstanceNorm1d(1, eps="a")
