"""Flax Linen: jax.jit(model.init), TrainState, jax.jit over the step, Embed.attend for the tie."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import serialization
from flax.training import train_state

from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.models import (
    EPS,
    MOMENTUM,
    STD,
    Config,
    attention,
    inputs,
    loss_of,
    on_device,
    optimiser,
    stacked,
)

IMPORT = "import flax.linen"
VARIANTS = ("trainstate",)
SCAN = True
INIT = nn.initializers.normal(STD)


class Block(nn.Module):
    width: int
    heads: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        dense = partial(nn.Dense, kernel_init=INIT)
        h = nn.LayerNorm(epsilon=EPS, name="ln1")(x)
        h = attention(dense(3 * self.width, name="qkv")(h), self.heads)
        x = x + dense(self.width, name="proj")(h)
        h = nn.LayerNorm(epsilon=EPS, name="ln2")(x)
        h = nn.gelu(dense(4 * self.width, name="fc")(h))
        return x + dense(self.width, name="out")(h)


class ScanBlock(nn.Module):
    width: int
    heads: int

    @nn.compact
    def __call__(self, x: Any, _: Any) -> Any:
        return Block(self.width, self.heads, name="block")(x), None


class GPT(nn.Module):
    cfg: Config

    @nn.compact
    def __call__(self, ids: Any) -> Any:
        cfg = self.cfg
        wte = nn.Embed(cfg.vocab, cfg.width, embedding_init=INIT, name="wte")
        wpe = nn.Embed(cfg.length, cfg.width, embedding_init=INIT, name="wpe")
        x = wte(ids) + wpe(jnp.arange(ids.shape[-1]))
        if cfg.scan:
            axes, split = {"params": 0}, {"params": True}
            layers = nn.scan(ScanBlock, variable_axes=axes, split_rngs=split, length=cfg.layers)
            x, _ = layers(cfg.width, cfg.heads, name="blocks")(x, None)
        else:
            for index in range(cfg.layers):
                x = Block(cfg.width, cfg.heads, name=f"blocks_{index}")(x)
        return wte.attend(nn.LayerNorm(epsilon=EPS, name="ln_f")(x))


class MLP(nn.Module):
    cfg: Config

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for index in range(self.cfg.layers):
            x = nn.Dense(self.cfg.width, kernel_init=INIT, name=f"layers_{index}")(x)
            if index < self.cfg.layers - 1:
                x = nn.relu(x)
        return x


class Conv(nn.Module):
    cfg: Config

    @nn.compact
    def __call__(self, x: Any, training: bool = False) -> Any:
        for index, channels in enumerate(self.cfg.channels):
            x = nn.Conv(channels, (3, 3), kernel_init=INIT, name=f"convs_{index}")(x)
            norm = partial(nn.BatchNorm, momentum=1 - MOMENTUM, epsilon=EPS)
            x = nn.relu(norm(use_running_average=not training, name=f"norms_{index}")(x))
        return nn.Dense(self.cfg.classes, kernel_init=INIT, name="dense")(x.mean((1, 2)))


class TrainState(train_state.TrainState):
    batch_stats: Any = None


class Linen(Contender):
    """The weights are the variables."""

    def __init__(self, cfg: Config, variant: str) -> None:
        self.cfg = cfg
        self.model = model = {"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model](cfg)

        def loss(params: Any, stats: Any, x: Any, target: Any) -> Any:
            if cfg.model == "conv":
                variables = {"params": params, "batch_stats": stats}
                y, new = model.apply(variables, x, training=True, mutable=["batch_stats"])
                return loss_of(cfg, y, target), new["batch_stats"]
            return loss_of(cfg, model.apply({"params": params}, x), target), None

        def step(state: TrainState, batch: Any) -> Any:
            gradient = jax.value_and_grad(loss, has_aux=True)
            (value, stats), grads = gradient(state.params, state.batch_stats, *batch)
            return state.apply_gradients(grads=grads, batch_stats=stats), value

        self.forward, self.train_step = jax.jit(model.apply), jax.jit(step)
        self.lower_forward, self.lower_step = self.forward.lower, self.train_step.lower

    def inits(self) -> dict[str, Any]:
        x = jnp.asarray(inputs(self.cfg))
        jitted = jax.jit(self.model.init)
        return {"jit": lambda key: jitted(key, x), "eager": lambda key: self.model.init(key, x)}

    def abstract(self) -> Any:
        return jax.eval_shape(self.model.init, jax.random.key(0), inputs(self.cfg))

    def train_state(self, weights: Any) -> Any:
        return TrainState.create(
            apply_fn=self.model.apply,
            params=weights["params"],
            tx=optimiser(),
            batch_stats=weights.get("batch_stats"),
        )

    def eager(self, weights: Any) -> Any:
        return partial(self.model.apply, weights)

    def count(self, weights: Any) -> int:
        return super().count(weights["params"])

    def load(self, params: Any, state: Any) -> Any:
        if self.cfg.scan:
            params = {**params, "blocks": {"block": stacked(list(params["blocks"].values()))}}
        tree = {"params": _renamed(params)}
        if state:
            norms = state["norms"].items()
            names = {"mean": "running_mean", "var": "running_var"}
            tree["batch_stats"] = {
                f"norms_{i}": {new: values[old] for new, old in names.items()}
                for i, values in norms
            }
        return on_device(tree)

    def save(self, folder: Path, weights: Any) -> None:
        (folder / CHECKPOINT).write_bytes(serialization.to_bytes(weights))

    def restore(self, folder: Path) -> Any:
        return jax.device_put(serialization.msgpack_restore((folder / CHECKPOINT).read_bytes()))


def _renamed(values: Any, name: str = "") -> Any:
    """Give canonical weights Linen's names and axes; `blocks.0` is `blocks_0`."""
    if "weight" not in values:
        flat: dict[str, Any] = {}
        for key, below in values.items():
            if "0" in below:
                flat |= {f"{key}_{index}": _renamed(item, key) for index, item in below.items()}
            else:
                flat[key] = _renamed(below, key)
        return flat
    weight = values["weight"]
    if "bias" not in values:
        return {"embedding": weight}
    if weight.ndim == 4:
        return {"kernel": weight.transpose(2, 3, 1, 0), "bias": values["bias"]}
    if name.startswith(("ln", "norms")):
        return {"scale": weight, "bias": values["bias"]}
    return {"kernel": weight.swapaxes(-1, -2), "bias": values["bias"]}


class Scale(nn.Module):
    @nn.compact
    def __call__(self, x: Any) -> Any:
        return x * self.param("scale", nn.initializers.ones, (2,))


class Scales(nn.Module):
    count: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for _ in range(self.count):
            x = Scale()(x)
        return x


def scales(count: int) -> tuple[Any, Any]:
    model, x = Scales(count), jnp.ones(2)
    return partial(model.apply, model.init(jax.random.key(0), x)), x


def build(cfg: Config, variant: str) -> Contender:
    return Linen(cfg, variant)
