"""dm-haiku: hk.transform, jax.jit(transformed.init), a plain jitted step; layer_stack for scan."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

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

IMPORT = "import haiku"
VARIANTS = ("jit",)
SCAN = True
INIT = hk.initializers.RandomNormal(STD)


def norm(name: str) -> hk.LayerNorm:
    return hk.LayerNorm(axis=-1, create_scale=True, create_offset=True, eps=EPS, name=name)


class Block(hk.Module):
    def __init__(self, width: int, heads: int, name: str | None = None):
        super().__init__(name)
        self.width, self.heads = width, heads

    def __call__(self, x: Any) -> Any:
        linear = partial(hk.Linear, w_init=INIT)
        h = linear(3 * self.width, name="qkv")(norm("ln1")(x))
        x = x + linear(self.width, name="proj")(attention(h, self.heads))
        h = jax.nn.gelu(linear(4 * self.width, name="fc")(norm("ln2")(x)))
        return x + linear(self.width, name="out")(h)


class GPT(hk.Module):
    def __init__(self, cfg: Config):
        super().__init__("gpt")
        self.cfg = cfg

    def __call__(self, ids: Any) -> Any:
        cfg = self.cfg
        wte = hk.Embed(cfg.vocab, cfg.width, w_init=INIT, name="wte")
        wpe = hk.Embed(cfg.length, cfg.width, w_init=INIT, name="wpe")
        x = wte(ids) + wpe(jnp.arange(ids.shape[-1]))
        if cfg.scan:
            stack = hk.experimental.layer_stack(cfg.layers)
            x = stack(lambda x: Block(cfg.width, cfg.heads, name="block")(x))(x)
        else:
            for index in range(cfg.layers):
                x = Block(cfg.width, cfg.heads, name=f"blocks_{index}")(x)
        return norm("ln_f")(x) @ wte.embeddings.T


class MLP(hk.Module):
    def __init__(self, cfg: Config):
        super().__init__("mlp")
        self.cfg = cfg

    def __call__(self, x: Any) -> Any:
        for index in range(self.cfg.layers):
            x = hk.Linear(self.cfg.width, w_init=INIT, name=f"layers_{index}")(x)
            if index < self.cfg.layers - 1:
                x = jax.nn.relu(x)
        return x


class Conv(hk.Module):
    def __init__(self, cfg: Config):
        super().__init__("conv")
        self.cfg = cfg

    def __call__(self, x: Any, training: bool = False) -> Any:
        for index, channels in enumerate(self.cfg.channels):
            x = hk.Conv2D(channels, 3, w_init=INIT, name=f"convs_{index}")(x)
            decay = 1 - MOMENTUM
            layer = hk.BatchNorm(True, True, decay_rate=decay, eps=EPS, name=f"norms_{index}")
            x = jax.nn.relu(layer(x, training))
        return hk.Linear(self.cfg.classes, w_init=INIT, name="dense")(x.mean((1, 2)))


class Haiku(Contender):
    """The weights are (params, state)."""

    def __init__(self, cfg: Config, variant: str) -> None:
        self.cfg = cfg
        self._optimiser = optimiser()
        cls = {"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model]

        def run(x: Any, training: bool = False) -> Any:
            return cls(cfg)(x, training) if cfg.model == "conv" else cls(cfg)(x)

        self._pure = pure = hk.without_apply_rng(hk.transform_with_state(run))

        def step(train_state: Any, batch: Any) -> Any:
            params, state, opt = train_state

            def loss(params: Any) -> Any:
                y, new = pure.apply(params, state, batch[0], True)
                return loss_of(cfg, y, batch[1]), new

            (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params)
            updates, opt = self._optimiser.update(grads, opt, params)
            return (optax.apply_updates(params, updates), state, opt), value

        self.forward = jax.jit(lambda weights, x: pure.apply(*weights, x)[0])
        self.train_step = jax.jit(step)
        self.lower_forward, self.lower_step = self.forward.lower, self.train_step.lower

    def _init(self, key: Any, x: Any) -> Any:
        return self._pure.init(key, x, True)  # BatchNorm makes its state while training only

    def inits(self) -> dict[str, Any]:
        x, jitted = jnp.asarray(inputs(self.cfg)), jax.jit(self._init)
        return {"jit": lambda key: jitted(key, x), "eager": lambda key: self._init(key, x)}

    def abstract(self) -> Any:
        return jax.eval_shape(self._init, jax.random.key(0), inputs(self.cfg))

    def train_state(self, weights: Any) -> Any:
        return (*weights, self._optimiser.init(weights[0]))

    def eager(self, weights: Any) -> Any:
        return lambda x: self._pure.apply(*weights, x)[0]

    def count(self, weights: Any) -> int:
        return super().count(weights[0])

    def load(self, params: Any, state: Any) -> Any:
        root, flat, stats = self.cfg.model, {}, {}
        if self.cfg.scan:
            below = stacked(list(params["blocks"].values()))
            params = {**params, "__layer_stack_no_per_layer": {"block": below}}
            del params["blocks"]

        def visit(values: Any, name: str, key: str) -> None:
            if "weight" in values:
                flat[name] = _renamed(values, key)
                return
            for own, item in values.items():
                place = f"{name}_{own}" if own.isdigit() else f"{name}/{own}"
                visit(item, place, key if own.isdigit() else own)

        visit(params, root, root)
        for index, values in state.get("norms", {}).items():
            for new, old in (("mean_ema", "running_mean"), ("var_ema", "running_var")):
                value = values[old].reshape(1, 1, 1, -1)
                average = {"counter": np.int32(0), "hidden": 0 * value, "average": value}
                stats[f"{root}/norms_{index}/~/{new}"] = average
        return on_device((flat, stats))

    def save(self, folder: Path, weights: Any) -> None:
        names, leaves = _named(weights)
        np.savez(folder / f"{CHECKPOINT}.npz", **dict(zip(names, leaves, strict=True)))

    def restore(self, folder: Path) -> Any:
        abstract = self.abstract()
        names, _ = _named(abstract)
        with np.load(folder / f"{CHECKPOINT}.npz") as file:
            leaves = jax.device_put([file[name] for name in names])
        return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def _named(tree: Any) -> tuple[list[str], list[Any]]:
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path) for path, _ in pairs], [leaf for _, leaf in pairs]


def _renamed(values: Any, key: str) -> Any:
    """Give one module's canonical weights haiku's names and axes."""
    weight = values["weight"]
    if "bias" not in values:
        return {"embeddings": weight}
    bias = values["bias"]
    if weight.ndim == 4:
        return {"w": weight.transpose(2, 3, 1, 0), "b": bias}
    if key.startswith("ln"):
        return {"scale": weight, "offset": bias}
    if key == "norms":
        return {"scale": weight.reshape(1, 1, 1, -1), "offset": bias.reshape(1, 1, 1, -1)}
    return {"w": weight.swapaxes(-1, -2), "b": bias}


class Scale(hk.Module):
    def __call__(self, x: Any) -> Any:
        return x * hk.get_parameter("scale", (2,), init=jnp.ones)


def scales(count: int) -> tuple[Any, Any]:
    def run(x: Any) -> Any:
        for _ in range(count):
            x = Scale()(x)
        return x

    pure, x = hk.without_apply_rng(hk.transform(run)), jnp.ones(2)
    return partial(pure.apply, pure.init(jax.random.key(0), x)), x


def build(cfg: Config, variant: str) -> Contender:
    return Haiku(cfg, variant)
