"""What layers lower to: the operations that hand-written JAX gives, and no more."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import funcparams as fp
from funcparams import nn
from funcparams.testing import assert_same_program, operation_counts

EPS = 1e-5


def normalise(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    centre = lax.stop_gradient(x.mean(axes, keepdims=True))
    shifted = x - centre
    square = lax.square(shifted).mean(axes, keepdims=True)
    rest = shifted.mean(axes, keepdims=True)
    variance = jnp.maximum(square - lax.square(rest), 0)
    return shifted - rest, variance, centre + rest


def column(a: Any) -> Any:
    return a[:, None, None]


def linear(p: Any, s: Any, x: Any) -> Any:
    y = lax.dot_general(x, p["weight"], (((1,), (1,)), ((), ())))  # x @ weight.T, untransposed
    return y + p["bias"]


def convolution(p: Any, s: Any, x: Any) -> Any:
    y = lax.conv_general_dilated(
        x, p["weight"], (1, 1), [(1, 1)] * 2, dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    return y + column(p["bias"])


def convolution_last(p: Any, s: Any, x: Any) -> Any:
    y = lax.conv_general_dilated(
        x, p["weight"], (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "OIHW", "NHWC")
    )
    return y + p["bias"]


def layer_norm(p: Any, s: Any, x: Any) -> Any:
    centred, variance, _ = normalise(x, (1,))
    return centred * (lax.rsqrt(variance + EPS) * p["weight"]) + p["bias"]


def rms_norm(p: Any, s: Any, x: Any) -> Any:
    square = lax.square(x).mean(1, keepdims=True)
    return x * lax.rsqrt(square + EPS) * p["weight"]


def group_norm(p: Any, s: Any, x: Any) -> Any:
    centred, variance, _ = normalise(x.reshape(2, 2, 2, 4, 4), (2, 3, 4))
    weight, bias = (p[name].reshape(2, 2, 1, 1) for name in ("weight", "bias"))
    return (centred * (lax.rsqrt(variance + EPS) * weight) + bias).reshape(x.shape)


def batch_norm(p: Any, s: Any, x: Any) -> Any:
    scale = lax.rsqrt(column(s["running_var"]) + EPS) * column(p["weight"])
    return (x - column(s["running_mean"])) * scale + column(p["bias"])


def batch_norm_training(p: Any, s: Any, x: Any) -> Any:
    centred, variance, mean = normalise(x, (0, 2, 3))
    y = centred * (lax.rsqrt(variance + EPS) * column(p["weight"])) + column(p["bias"])
    return y, {
        "running_mean": 0.9 * s["running_mean"] + 0.1 * lax.squeeze(mean, (0, 2, 3)),
        "running_var": 0.9 * s["running_var"] + 0.1 * lax.squeeze(variance * (32 / 31), (0, 2, 3)),
        "num_batches_tracked": s["num_batches_tracked"] + 1,
    }


def nothing(p: Any, s: Any, x: Any) -> Any:
    return x


PROGRAMS = [
    (nn.Linear(4, 3), (5, 4), linear, False),
    (nn.Conv2d(4, 3, 3, padding=1), (2, 4, 5, 5), convolution, False),
    (nn.Conv2d(4, 3, 3, padding=1, channels_last=True), (2, 5, 5, 4), convolution_last, False),
    (nn.LayerNorm(6), (3, 6), layer_norm, False),
    (nn.RMSNorm(6, EPS), (3, 6), rms_norm, False),
    (nn.GroupNorm(2, 4), (2, 4, 4, 4), group_norm, False),
    (nn.BatchNorm2d(4), (2, 4, 4, 4), batch_norm, False),
    (nn.BatchNorm2d(4), (2, 4, 4, 4), batch_norm_training, True),
    (nn.Dropout(), (4,), nothing, False),
    (nn.GELU(), (4,), lambda p, s, x: jax.nn.gelu(x, approximate=False), False),
    (nn.AdaptiveAvgPool2d(1), (2, 4, 5, 5), lambda p, s, x: x.mean((2, 3), keepdims=True), False),
    (nn.Flatten(), (2, 3, 4), lambda p, s, x: x.reshape(2, 12), False),
    (
        nn.MaxPool1d(2),
        (3, 4),
        lambda p, s, x: lax.max(*(lax.slice_in_dim(x, i, i + 3, 2, 1) for i in (0, 1))),
        False,
    ),
]


@pytest.mark.parametrize(
    ("model", "shape", "by_hand", "training"),
    PROGRAMS,
    ids=[f"{type(p[0]).__name__}-{p[2].__name__}" for p in PROGRAMS],
)
def test_operations_are_those_of_hand_written_jax(
    model: fp.Module, shape: tuple[int, ...], by_hand: Any, training: bool
) -> None:
    params, state, x = model.init(jax.random.key(0)), model.init_state(), jnp.ones(shape)

    def apply(params: Any, state: Any, x: Any) -> Any:
        if training:
            return model.apply_with_state(params, state, x, training=True)
        return model.apply(params, x, state=state)

    assert_same_program(apply, by_hand, params, state, x)


@pytest.mark.parametrize("model", [p[0] for p in PROGRAMS if p[2] is not linear], ids=repr)
def test_no_weight_is_transposed(model: fp.Module) -> None:
    shape = next(p[1] for p in PROGRAMS if p[0] is model)
    found = operation_counts(
        lambda p, s, x: model.apply(p, x, state=s),
        model.abstract(),
        model.abstract_state(),
        jax.ShapeDtypeStruct(shape, jnp.float32),
    )
    assert found["stablehlo.transpose"] == 0
    assert found["stablehlo.convert"] == 0
