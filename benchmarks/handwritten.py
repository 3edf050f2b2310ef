"""Layers written by hand, functions of (params, x): what formulas.py and tests compare with."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import funcparams as fp
from funcparams import nn

EPS = 1e-5


def contract(x: Any, weight: Any) -> Any:
    """Return x @ weight.T, without the transpose."""
    return lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return contract(x, weight) + bias


# Attention


class SelfAttention(fp.Module):
    """Causal attention of a sequence to itself: PyTorch's layer, called so that it is fast."""

    def __init__(self, width: int, heads: int):
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def __call__(self, x: Any) -> Any:
        return self.attention(x, x, x, need_weights=False, is_causal=True)[0]


def _qkv(p: Any, x: Any, heads: int = 4) -> Any:
    together = linear(x, p["in_proj_weight"], p["in_proj_bias"])
    return [part.reshape(*x.shape[:-1], heads, -1) for part in jnp.split(together, 3, -1)]


def attention(p: Any, x: Any) -> Any:
    """Write causal attention of a sequence to itself by hand, (N, L, E)."""
    p = p["attention"]
    q, k, v = _qkv(p, x)
    row, column = jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[1])
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (1 / math.sqrt(q.shape[-1]))
    weights = jax.nn.softmax(jnp.where(column > row, -jnp.inf, scores))
    y = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape)
    return linear(y, p["out_proj"]["weight"], p["out_proj"]["bias"])


def library_attention(p: Any, x: Any) -> Any:
    """The same by JAX's own function."""
    p = p["attention"]
    y = jax.nn.dot_product_attention(*_qkv(p, x), is_causal=True).reshape(x.shape)
    return linear(y, p["out_proj"]["weight"], p["out_proj"]["bias"])


# Convolution and normalisation


def conv(p: Any, x: Any) -> Any:
    numbers = ("NHWC", "OIHW", "NHWC")
    y = lax.conv_general_dilated(x, p["weight"], (1, 1), [(1, 1)] * 2, dimension_numbers=numbers)
    return y + p["bias"]


def batch_norm(p: Any, x: Any) -> Any:
    """Write training's formula by hand: one pass over shifted numbers."""
    axes = tuple(range(x.ndim - 1))
    shifted = x - lax.stop_gradient(jnp.mean(x, axes, keepdims=True))
    square = jnp.mean(lax.square(shifted), axes, keepdims=True)
    rest = jnp.mean(shifted, axes, keepdims=True)
    variance = jnp.maximum(square - lax.square(rest), 0)
    return (shifted - rest) * (lax.rsqrt(variance + EPS) * p["weight"]) + p["bias"]


def two_pass_batch_norm(p: Any, x: Any) -> Any:
    axes = tuple(range(x.ndim - 1))
    centred = x - jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axes, keepdims=True)
    return centred * lax.rsqrt(variance + EPS) * p["weight"] + p["bias"]


# An LSTM: functions of (params, x) to (outputs, (h, c)), as the layer


def cell(i: Any, f: Any, g: Any, o: Any, c: Any) -> Any:
    c = lax.logistic(f) * c + lax.logistic(i) * jnp.tanh(g)
    return lax.logistic(o) * jnp.tanh(c), c


lean_cell = jax.custom_jvp(cell)


@lean_cell.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """Differentiate with few factors to keep."""
    i, f, g, o, old = primals
    di, df, dg, do, dc = tangents
    i, f, g, o = lax.logistic(i), lax.logistic(f), jnp.tanh(g), lax.logistic(o)
    c = f * old + i * g
    u = jnp.tanh(c)
    dc = f * dc + old * f * (1 - f) * df + g * i * (1 - i) * di + i * (1 - g * g) * dg
    return (o * u, c), (u * o * (1 - o) * do + o * (1 - u * u) * dc, dc)


def split(z: Any) -> list[Any]:
    return list(lax.split(z, (z.shape[-1] // 4,) * 4, axis=z.ndim - 1))


def product(x: Any, weight: Any, turned: Any) -> Any:
    return lax.dot_general(x, turned, (((x.ndim - 1,), (0,)), ((), ())))


lean_product = jax.custom_jvp(product)
# The weight is not differentiated in the scan.
lean_product.defjvp(
    lambda primals, tangents: (lean_product(*primals), contract(tangents[0], primals[1])),
    symbolic_zeros=True,
)


def scanned(
    gates: Any, weight: Any, h: Any, c: Any, cell: Any = cell, product: Any = product
) -> Any:
    turned = lax.transpose(weight, (1, 0))

    def body(state: Any, now: Any) -> Any:
        h, c = state
        changes = split(product(h, weight, turned))
        h, c = cell(*(x + a for x, a in zip(now, changes, strict=True)), c)
        return (h, c), h

    return lax.scan(body, (h, c), gates)


@jax.custom_jvp
def lean_scanned(gates: Any, weight: Any, h: Any, c: Any) -> Any:
    return scanned(gates, weight, h, c, lean_cell, lean_product)


@lean_scanned.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """Differentiate with one product for the gradient of the weight."""
    (gates, weight, h, c), (dgates, dweight, dh, dc) = primals, tangents
    (final, y), push = jax.linearize(
        lambda gates, h, c: scanned(gates, weight, h, c, lean_cell, lean_product), gates, h, c
    )
    before = lax.concatenate([lax.expand_dims(h, (0,)), y[:-1]], 0)
    changes = split(contract(before, dweight))
    return (final, y), push([x + a for x, a in zip(dgates, changes, strict=True)], dh, dc)


def lstm(p: Any, x: Any, scan: Any = scanned) -> Any:
    size = p["weight_hh_l0"].shape[1]
    z = contract(x, p["weight_ih_l0"]) + (p["bias_ih_l0"] + p["bias_hh_l0"])
    zeros = [jnp.zeros((x.shape[1], size)) for _ in range(2)]
    (h, c), y = scan(split(z), p["weight_hh_l0"], *zeros)
    return y, (jnp.stack([h]), jnp.stack([c]))


def lean_lstm(p: Any, x: Any) -> Any:
    """The same, with a derivative that keeps and moves less: that of the layer."""
    return lstm(p, x, lean_scanned)


def textbook_lstm(p: Any, x: Any) -> Any:
    """Everything inside the scan."""

    def body(state: Any, x: Any) -> Any:
        h, c = state
        z = linear(x, p["weight_ih_l0"], p["bias_ih_l0"])
        h, c = cell(*split(z + linear(h, p["weight_hh_l0"], p["bias_hh_l0"])), c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], p["weight_hh_l0"].shape[1]))
    (h, c), y = lax.scan(body, (zeros, zeros), x)
    return y, (h[None], c[None])
