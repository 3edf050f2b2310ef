"""Hand-written JAX: functions over nested dicts, with the formulas of funcparams.nn.

It is the baseline of every ratio, and what the compiled programs of funcparams are compared with,
operation by operation. Variants:

- dict: one jit, nothing donated.
- donate: the same, with the train state donated.
- onepass: layer norm by E[x^2] - E[x]^2, flax's formula, which loses digits far from zero.
- twopass: layer norm by the mean of squared deviations, the textbook's formula.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.models import (
    EPS,
    MOMENTUM,
    STD,
    Config,
    attention,
    loss_of,
    on_device,
    optimiser,
    stacked,
)

IMPORT = "import jax.numpy, optax"
VARIANTS = ("dict", "donate", "onepass", "twopass")
SCAN = True


def linear(p: Any, x: Any) -> Any:
    return lax.dot_general(x, p["weight"], (((x.ndim - 1,), (1,)), ((), ()))) + p["bias"]


def moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    centre = lax.stop_gradient(jnp.mean(x, axes, keepdims=True))
    shifted = x - centre
    square = jnp.mean(lax.square(shifted), axes, keepdims=True)
    rest = jnp.mean(shifted, axes, keepdims=True)
    return shifted - rest, jnp.maximum(square - lax.square(rest), 0), centre + rest


def layer_norm(p: Any, x: Any) -> Any:
    centred, variance, _ = moments(x, (x.ndim - 1,))
    return centred * (lax.rsqrt(variance + EPS) * p["weight"]) + p["bias"]


def one_pass(p: Any, x: Any) -> Any:
    square = lax.square(x)
    mean = x.mean(-1, keepdims=True)
    variance = jnp.maximum(0.0, square.mean(-1, keepdims=True) - lax.square(mean))
    return (x - mean) * (lax.rsqrt(variance + EPS) * p["weight"]) + p["bias"]


def two_pass(p: Any, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + EPS) * p["weight"] + p["bias"]


NORMS = {"onepass": one_pass, "twopass": two_pass}


def rows(table: Any, ids: Any) -> Any:
    """Look rows up; what is no row gives NaN."""
    numbers = lax.GatherDimensionNumbers((ids.ndim,), (0,), (0,))
    where = lax.expand_dims(ids, (ids.ndim,))
    mode = lax.GatherScatterMode.FILL_OR_DROP
    return lax.gather(table, where, numbers, (1, table.shape[1]), mode=mode)


def block(p: Any, x: Any, heads: int, norm: Any = layer_norm) -> Any:
    x = x + linear(p["proj"], attention(linear(p["qkv"], norm(p["ln1"], x)), heads))
    return x + linear(p["out"], jax.nn.gelu(linear(p["fc"], norm(p["ln2"], x))))


def gpt(cfg: Config, p: Any, ids: Any, norm: Any = layer_norm) -> Any:
    x = rows(p["wte"]["weight"], ids) + rows(p["wpe"]["weight"], jnp.arange(ids.shape[-1]))
    if cfg.scan:
        x, _ = lax.scan(lambda x, one: (block(one, x, cfg.heads, norm), None), x, p["blocks"])
    else:
        for index in range(cfg.layers):
            x = block(p["blocks"][str(index)], x, cfg.heads, norm)
    x = norm(p["ln_f"], x)
    return lax.dot_general(x, p["wte"]["weight"], (((x.ndim - 1,), (1,)), ((), ())))


def mlp(cfg: Config, p: Any, x: Any) -> Any:
    for index in range(cfg.layers):
        x = linear(p["layers"][str(index)], x)
        if index < cfg.layers - 1:
            x = jax.nn.relu(x)
    return x


def batch_norm(p: Any, s: Any, x: Any, training: bool) -> tuple[Any, Any]:
    if training:
        axes = tuple(range(x.ndim - 1))
        centred, variance, mean = moments(x, axes)
        count = x.size // x.shape[-1]
        s = {
            "running_mean": (1 - MOMENTUM) * s["running_mean"] + MOMENTUM * lax.squeeze(mean, axes),
            "running_var": (1 - MOMENTUM) * s["running_var"]
            + MOMENTUM * lax.squeeze(variance * (count / (count - 1)), axes),
            "num_batches_tracked": s["num_batches_tracked"] + 1,
        }
        s = lax.stop_gradient(s)
    else:
        centred, variance = x - s["running_mean"], s["running_var"]
    return centred * (lax.rsqrt(variance + EPS) * p["weight"]) + p["bias"], s


def conv(cfg: Config, p: Any, s: Any, x: Any, training: bool) -> tuple[Any, Any]:
    new = {}
    for index in map(str, range(len(cfg.channels))):
        kernel, numbers = p["convs"][index]["weight"], ("NHWC", "OIHW", "NHWC")
        x = lax.conv_general_dilated(x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=numbers)
        x = x + p["convs"][index]["bias"]
        x, new[index] = batch_norm(p["norms"][index], s["norms"][index], x, training)
        x = jax.nn.relu(x)
    return linear(p["dense"], x.mean((1, 2))), {"norms": new}


def init(cfg: Config, key: jax.Array) -> tuple[Any, Any]:
    """Draw the weights as one writes it by hand: a key split for every module."""

    def draw_linear(key: jax.Array, i: int, o: int) -> Any:
        return {"weight": STD * jax.random.normal(key, (o, i)), "bias": jnp.zeros(o)}

    def norm(size: int) -> Any:
        return {"weight": jnp.ones(size), "bias": jnp.zeros(size)}

    d = cfg.width
    if cfg.model == "gpt":
        table, places, rest = jax.random.split(key, 3)

        def draw_block(key: jax.Array) -> Any:
            k = jax.random.split(key, 4)
            return {
                "ln1": norm(d),
                "qkv": draw_linear(k[0], d, 3 * d),
                "proj": draw_linear(k[1], d, d),
                "ln2": norm(d),
                "fc": draw_linear(k[2], d, 4 * d),
                "out": draw_linear(k[3], 4 * d, d),
            }

        keys = jax.random.split(rest, cfg.layers)
        return {
            "wte": {"weight": STD * jax.random.normal(table, (cfg.vocab, d))},
            "wpe": {"weight": STD * jax.random.normal(places, (cfg.length, d))},
            "blocks": jax.vmap(draw_block)(keys)
            if cfg.scan
            else {str(index): draw_block(key) for index, key in enumerate(keys)},
            "ln_f": norm(d),
        }, {}
    if cfg.model == "mlp":
        keys = jax.random.split(key, cfg.layers)
        return {"layers": {str(i): draw_linear(k, d, d) for i, k in enumerate(keys)}}, {}
    keys = jax.random.split(key, len(cfg.channels) + 1)
    convs, norms, stats, size = {}, {}, {}, 3
    for index, channels in enumerate(cfg.channels):
        kernel = STD * jax.random.normal(keys[index], (channels, size, 3, 3))
        convs[str(index)] = {"weight": kernel, "bias": jnp.zeros(channels)}
        norms[str(index)] = norm(channels)
        stats[str(index)] = {
            "running_mean": jnp.zeros(channels),
            "running_var": jnp.ones(channels),
            "num_batches_tracked": jnp.zeros((), jnp.int32),
        }
        size = channels
    dense = draw_linear(keys[-1], size, cfg.classes)
    return {"convs": convs, "norms": norms, "dense": dense}, {"norms": stats}


def stack_blocks(cfg: Config, params: Any) -> Any:
    """Give canonical weights in the layout of a scan."""
    if cfg.scan:
        params = {**params, "blocks": stacked(list(params["blocks"].values()))}
    return params


class Plain(Contender):
    """A model as functions of (params, state); funcparams' contender is one, too.

    A subclass defines `_apply(params, state, x) -> y` and `_train(params, state, x) -> (y, state)`.
    """

    _apply: Any
    _train: Any

    def __init__(self, cfg: Config, donate: bool = False) -> None:
        self.cfg = cfg
        self._optimiser = optimiser()
        self.train_step = jax.jit(self._step, donate_argnums=0 if donate else ())
        self.lower_step = self.train_step.lower

    def _jit_forward(self, function: Any) -> None:
        """Jit (weights, x) -> y."""
        self.forward = jax.jit(function)
        self.lower_forward = self.forward.lower

    def _step(self, train_state: Any, batch: Any) -> tuple[Any, Any]:
        params, state, opt = train_state
        x, target = batch

        def loss(params: Any) -> tuple[Any, Any]:
            y, new = self._train(params, state, x)
            return loss_of(self.cfg, y, target), new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt = self._optimiser.update(grads, opt, params)
        return (optax.apply_updates(params, updates), new, opt), value

    def train_state(self, weights: Any) -> Any:
        params, state = jax.tree.map(jnp.copy, weights)  # donation would take them
        return params, state, self._optimiser.init(params)

    def count(self, weights: Any) -> int:
        return super().count(weights[0])

    def load(self, params: Any, state: Any) -> Any:
        return on_device((stack_blocks(self.cfg, params), state))


class Hand(Plain):
    """The model as plain functions."""

    def __init__(self, cfg: Config, variant: str) -> None:
        super().__init__(cfg, donate=variant == "donate")
        norm = NORMS.get(variant, layer_norm)
        function = partial(gpt, norm=norm) if cfg.model == "gpt" else mlp

        def apply(params: Any, state: Any, x: Any) -> Any:
            if cfg.model == "conv":
                return conv(cfg, params, state, x, False)[0]
            return function(cfg, params, x)

        def train(params: Any, state: Any, x: Any) -> Any:
            if cfg.model == "conv":
                return conv(cfg, params, state, x, True)
            return function(cfg, params, x), state

        self._apply, self._train = apply, train
        self._jit_forward(lambda weights, x: apply(*weights, x))

    def inits(self) -> dict[str, Any]:
        return {"jit": jax.jit(partial(init, self.cfg)), "eager": partial(init, self.cfg)}

    def abstract(self) -> Any:
        return jax.eval_shape(partial(init, self.cfg), jax.random.key(0))

    def eager(self, weights: Any) -> Any:
        return partial(self._apply, *weights)

    def save(self, folder: Path, weights: Any) -> None:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(weights)]
        np.savez(folder / f"{CHECKPOINT}.npz", *leaves)

    def restore(self, folder: Path) -> Any:
        with np.load(folder / f"{CHECKPOINT}.npz") as file:
            leaves = [jax.device_put(file[name]) for name in file.files]
        return jax.tree.unflatten(jax.tree.structure(self.abstract()), leaves)


def scales(count: int) -> tuple[Any, Any]:
    """Give (function, x): `count` multiplications, the least that `count` modules do."""
    params = [jnp.ones(2)] * count

    def run(x: Any) -> Any:
        for scale in params:
            x = x * scale
        return x

    return run, jnp.ones(2)


def build(cfg: Config, variant: str) -> Contender:
    return Hand(cfg, variant)
