"""Nothing stands between the user and XLA: the program is the one that hand-written JAX gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from examples import digits
from funcparams import nn
from funcparams.nn.norm.moments import moments, scaled
from funcparams.testing import assert_same_program
from tests.models import GPT, ConvNet, halve

KEY = jax.random.key(0)
IDS = jnp.array([[1, 2, 3, 0], [4, 5, 6, 10]])
IMAGES = jnp.linspace(0, 1, 3 * 64).reshape(3, 1, 8, 8)


# The same functions by hand: plain nested dicts and plain functions of them


def linear(p: Any, x: jax.Array) -> jax.Array:
    y = lax.dot_general(x, p["weight"], (((x.ndim - 1,), (1,)), ((), ())))
    return y + p["bias"] if "bias" in p else y


def layer_norm(p: Any, x: jax.Array) -> jax.Array:
    centred, variance, _ = moments(x, (2,))
    return scaled(centred, lax.rsqrt(variance + 1e-5), p["weight"], p["bias"], x.dtype)


def look_up(table: jax.Array, ids: jax.Array) -> jax.Array:
    rows = lax.GatherDimensionNumbers((ids.ndim,), (0,), (0,))
    mode = lax.GatherScatterMode.FILL_OR_DROP
    return lax.gather(table, ids[..., None], rows, (1, table.shape[1]), mode=mode)


def gpt(p: Any, ids: jax.Array) -> jax.Array:
    x = look_up(p["wte"]["weight"], ids) + look_up(p["wpe"]["weight"], jnp.arange(ids.shape[1]))
    for index in range(len(p["blocks"])):
        block = p["blocks"][str(index)]
        y = layer_norm(block["ln_1"], x)
        y = linear(block["attn"]["qkv"], y).reshape(*x.shape[:2], 2, -1)
        q, k, v = jnp.split(y, 3, axis=-1)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + linear(block["attn"]["proj"], y)
        y = linear(block["mlp"]["0"], layer_norm(block["ln_2"], x))
        x = x + linear(block["mlp"]["2"], jax.nn.gelu(y))
    return linear({"weight": p["wte"]["weight"]}, layer_norm(p["ln_f"], x))


def conv(p: Any, x: jax.Array) -> jax.Array:
    layout = ("NCHW", "OIHW", "NCHW")
    y = lax.conv_general_dilated(x, p["weight"], (1, 1), [(1, 1)] * 2, dimension_numbers=layout)
    return y + p["bias"][:, None, None]


def batch_norm(p: Any, s: Any, x: jax.Array, training: bool) -> tuple[jax.Array, Any]:
    if training:
        axes, count = (0, 2, 3), x.size // x.shape[1]
        centred, variance, mean = moments(x, axes)
        unbiased = variance * (count / (count - 1))
        s = {
            "running_mean": 0.9 * s["running_mean"] + 0.1 * lax.squeeze(mean, axes),
            "running_var": 0.9 * s["running_var"] + 0.1 * lax.squeeze(unbiased, axes),
            "num_batches_tracked": s["num_batches_tracked"] + 1,
        }
    else:
        variance = s["running_var"][:, None, None]
        centred = x - s["running_mean"][:, None, None]
    weight, bias = p["weight"][:, None, None], p["bias"][:, None, None]
    return scaled(centred, lax.rsqrt(variance + 1e-5), weight, bias, x.dtype), s


def conv_net(p: Any, state: Any, x: jax.Array, training: bool) -> tuple[jax.Array, Any]:
    new = {}
    for index in (0, 4):
        x = conv(p["conv"][str(index)], x)
        norm = str(index + 1)
        x, new[norm] = batch_norm(p["conv"][norm], state["conv"][norm], x, training)
        x = halve(jax.nn.relu(x))
    x = jax.nn.relu(linear(p["fc"]["0"], x.reshape(x.shape[0], -1)))
    return linear(p["fc"]["2"], x), {"conv": new}


# The comparisons


@pytest.mark.parametrize("layers", [1, 2])
def test_gpt(layers: int) -> None:
    model = GPT(layers=layers)
    params = model.init(KEY)
    np.testing.assert_allclose(model.apply(params, IDS), gpt(params, IDS), rtol=1e-5)
    assert_same_program(model.apply, gpt, params, IDS)


def test_gradients_of_gpt() -> None:
    model = GPT()
    params = model.init(KEY)

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.value_and_grad(lambda p, ids: (function(p, ids) ** 2).mean())

    assert_same_program(step(model.apply), step(gpt), params, IDS)


@pytest.mark.parametrize("training", [True, False])
def test_conv_net(training: bool) -> None:
    model = ConvNet()
    params, state = model.init(KEY), model.init_state()

    def ours(params: Any, state: Any, x: Any) -> Any:
        return model.apply_with_state(params, state, x, training=training)

    def by_hand(params: Any, state: Any, x: Any) -> Any:
        return conv_net(params, state, x, training)

    for one, two in zip(
        jax.tree.leaves(ours(params, state, IMAGES)),
        jax.tree.leaves(by_hand(params, state, IMAGES)),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    assert_same_program(ours, by_hand, params, state, IMAGES)


def test_apply_is_inference_of_the_same_program() -> None:
    model = ConvNet()
    params, state = model.init(KEY), model.init_state()

    def ours(params: Any, state: Any, x: Any) -> Any:
        return model.apply(params, x, state=state)

    def by_hand(params: Any, state: Any, x: Any) -> Any:
        return conv_net(params, state, x, False)[0]

    assert_same_program(ours, by_hand, params, state, IMAGES)


def test_gradients_of_conv_net() -> None:
    model = ConvNet()
    params, state = model.init(KEY), model.init_state()

    def ours(params: Any, state: Any, x: Any) -> Any:
        y, new = model.apply_with_state(params, state, x, training=True)
        return (y**2).mean(), new

    def by_hand(params: Any, state: Any, x: Any) -> Any:
        y, new = conv_net(params, state, x, True)
        return (y**2).mean(), lax.stop_gradient(new)

    one, two = (jax.value_and_grad(f, has_aux=True) for f in (ours, by_hand))
    assert_same_program(one, two, params, state, IMAGES)


# The network of the main job


def digits_net(p: Any, state: Any, x: jax.Array, training: bool) -> tuple[jax.Array, Any]:
    shared, pool = p["body"]["0"]["conv"], nn.MaxPool2d(2)

    def residual(x: jax.Array) -> jax.Array:
        return x + jax.nn.relu(convolution(shared, x, 1))

    new: Any = {"stem": {}, "body": {}}
    x = convolution(p["stem"]["0"], x, 2)
    x, new["stem"]["1"] = batch_norm(p["stem"]["1"], state["stem"]["1"], x, training)
    x = residual(jax.nn.relu(x))
    x, new["body"]["1"] = batch_norm(p["body"]["1"], state["body"]["1"], x, training)
    x = residual(pool.apply({}, x))
    x, new["body"]["4"] = batch_norm(p["body"]["4"], state["body"]["4"], x, training)
    x = jax.nn.relu(linear(p["head"]["1"], x.reshape(x.shape[0], -1)))
    return linear(p["head"]["4"], x), new


def convolution(p: Any, x: jax.Array, padding: int) -> jax.Array:
    y = lax.conv_general_dilated(x, p["weight"], (1, 1), [(padding, padding)] * 2)
    return y + p["bias"][:, None, None] if "bias" in p else y


@pytest.mark.parametrize("training", [True, False])
def test_digits_net(training: bool) -> None:
    # Dropout is compared in tests/nn/test_programs.py: its keys come from its name.
    model = digits.LeNet(channels=4).replace({"head.3": nn.Identity()})
    params, state = model.init(KEY), model.init_state()

    def ours(params: Any, state: Any, x: Any) -> Any:
        return model.apply_with_state(params, state, x, training=training)

    def by_hand(params: Any, state: Any, x: Any) -> Any:
        return digits_net(params, state, x, training)

    for one, two in zip(
        jax.tree.leaves(ours(params, state, IMAGES)),
        jax.tree.leaves(by_hand(params, state, IMAGES)),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert_same_program(ours, by_hand, params, state, IMAGES)
