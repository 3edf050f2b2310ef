"""Batch normalisation: its running statistics, its modes, and what it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

X = np.array([[1.0], [2.0], [3.0], [6.0]], np.float32)


def trained(model: fp.Module, *batches: np.ndarray) -> dict[str, jax.Array]:
    state = model.init_state()
    for batch in batches:
        _, state = model.apply_with_state(model.init(None), state, batch, training=True)
    return state


def test_statistics_move_by_the_momentum() -> None:
    state = trained(nn.BatchNorm1d(1), X, X + 10)
    np.testing.assert_allclose(state["running_mean"], [0.9 * 0.3 + 0.1 * 13], rtol=1e-6)
    first = 0.9 + 0.1 * 14 / 3
    np.testing.assert_allclose(state["running_var"], [0.9 * first + 0.1 * 14 / 3], rtol=1e-6)
    assert state["num_batches_tracked"] == 2
    assert state["num_batches_tracked"].dtype == jnp.int32


def test_without_a_momentum_they_are_the_average() -> None:
    state = trained(nn.BatchNorm1d(1, momentum=None), X, X + 10, 2 * X)
    np.testing.assert_allclose(state["running_mean"], [(3 + 13 + 6) / 3], rtol=1e-6)
    np.testing.assert_allclose(state["running_var"], [14 / 3 * (1 + 1 + 4) / 3], rtol=1e-6)


def test_inference_uses_and_keeps_them() -> None:
    model = nn.BatchNorm1d(1, eps=0)
    state = {
        "running_mean": jnp.array([1.0]),
        "running_var": jnp.array([4.0]),
        "num_batches_tracked": jnp.array(7),
    }
    y, new = model.apply_with_state(model.init(None), state, X)
    np.testing.assert_allclose(y, (X - 1) / 2, rtol=1e-6)
    assert new is not state
    jax.tree.map(np.testing.assert_array_equal, new, state)
    np.testing.assert_allclose(model.apply(model.init(None), X, state=state), y)


def test_without_statistics_the_batch_is_used_in_both_modes() -> None:
    model = nn.BatchNorm1d(1, track_running_stats=False)
    assert model.init_state() == {}
    params = model.init(None)
    np.testing.assert_array_equal(model.apply(params, X), model.apply(params, X, training=True))


def test_no_gradient_reaches_the_buffers() -> None:
    model = nn.BatchNorm1d(1)

    def loss(x: jax.Array) -> jax.Array:
        _, state = model.apply_with_state(model.init(None), model.init_state(), x, training=True)
        return state["running_mean"].sum() + state["running_var"].sum()

    np.testing.assert_array_equal(jax.grad(loss)(jnp.asarray(X)), np.zeros_like(X))


def test_statistics_of_half_precision_keep_their_dtype() -> None:
    model = nn.BatchNorm1d(1).astype(jnp.bfloat16)
    state = trained(model, X.astype(jnp.bfloat16))
    assert state["running_mean"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(state["running_mean"], float), [0.3], rtol=1e-2)


def test_an_update_that_would_be_lost_is_an_error() -> None:
    model = nn.BatchNorm1d(1)
    with pytest.raises(fp.StateUpdateError, match="running_mean"):
        model.apply(model.init(None), X, state=model.init_state(), training=True)


def test_trains_inside_scan() -> None:
    model = nn.BatchNorm1d(1)
    params = model.init(None)

    def step(state: dict[str, jax.Array], x: jax.Array):
        y, state = model.apply_with_state(params, state, x, training=True)
        return state, y

    state, _ = jax.lax.scan(step, model.init_state(), jnp.stack([X, X + 10]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, trained(model, X, X + 10)
    )


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            nn.BatchNorm1d(3),
            (3,),
            "BatchNorm1d: expected an input of shape (N, C) or (N, C, L) with C = num_features=3, "
            "got shape (3,).",
        ),
        (
            nn.BatchNorm2d(3, channels_last=True),
            (1, 3, 4, 4),
            "BatchNorm2d: expected an input of shape (N, H, W, C) with C = num_features=3, got "
            "shape (1, 3, 4, 4).",
        ),
        (
            nn.BatchNorm3d(3),
            (1, 3, 4, 4),
            "BatchNorm3d: expected an input of shape (N, C, D, H, W) with C = num_features=3, got "
            "shape (1, 3, 4, 4).",
        ),
        (
            nn.BatchNorm1d(3),
            (1, 3),
            "BatchNorm1d: expected more than 1 value per channel when training, got an input of "
            "shape (1, 3): a single value has no variance.",
        ),
    ],
)
def test_inputs_that_are_refused(model, shape, text) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply_with_state(model.init(None), model.init_state(), jnp.ones(shape), training=True)
    assert str(error.value) == text


def test_one_value_is_fine_in_inference() -> None:
    model = nn.BatchNorm1d(3)
    assert model.apply(model.init(None), jnp.ones((1, 3)), state=model.init_state()).shape == (1, 3)


def test_arguments_that_are_refused() -> None:
    with pytest.raises(nn.ArgumentError, match=r"BatchNorm2d\(num_features=-1\)"):
        nn.BatchNorm2d(-1)
    with pytest.raises(nn.ArgumentError, match=r"BatchNorm2d\(momentum='a'\): expected a number"):
        nn.BatchNorm2d(1, momentum="a")
