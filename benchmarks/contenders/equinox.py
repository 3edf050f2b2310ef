"""Equinox: the model is a pytree; filter_jit and filter_value_and_grad; vmap over the batch.

Variants: filter_jit, the usual way; jit, partitioned once outside, under plain jax.jit.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.models import EPS, MOMENTUM, Config, attention, loss_of, optimiser

IMPORT = "import equinox"
VARIANTS = ("filter_jit", "jit")
SCAN = True


class Block(eqx.Module):
    ln1: eqx.nn.LayerNorm
    qkv: eqx.nn.Linear
    proj: eqx.nn.Linear
    ln2: eqx.nn.LayerNorm
    fc: eqx.nn.Linear
    out: eqx.nn.Linear
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, key: Any):
        k = jax.random.split(key, 4)
        self.heads = heads
        self.ln1, self.ln2 = eqx.nn.LayerNorm(width, eps=EPS), eqx.nn.LayerNorm(width, eps=EPS)
        self.qkv = eqx.nn.Linear(width, 3 * width, key=k[0])
        self.proj = eqx.nn.Linear(width, width, key=k[1])
        self.fc = eqx.nn.Linear(width, 4 * width, key=k[2])
        self.out = eqx.nn.Linear(4 * width, width, key=k[3])

    def __call__(self, x: Any) -> Any:  # (S, width)
        v = jax.vmap
        x = x + v(self.proj)(attention(v(self.qkv)(v(self.ln1)(x)), self.heads))
        return x + v(self.out)(jax.nn.gelu(v(self.fc)(v(self.ln2)(x))))


class GPT(eqx.Module):
    wte: eqx.nn.Embedding
    wpe: eqx.nn.Embedding
    blocks: Any
    ln_f: eqx.nn.LayerNorm
    scan: bool = eqx.field(static=True)

    def __init__(self, cfg: Config, key: Any):
        table, places, rest = jax.random.split(key, 3)
        self.wte = eqx.nn.Embedding(cfg.vocab, cfg.width, key=table)
        self.wpe = eqx.nn.Embedding(cfg.length, cfg.width, key=places)
        keys = jax.random.split(rest, cfg.layers)
        make = partial(Block, cfg.width, cfg.heads)
        self.blocks = eqx.filter_vmap(make)(keys) if cfg.scan else [make(key) for key in keys]
        self.ln_f = eqx.nn.LayerNorm(cfg.width, eps=EPS)
        self.scan = cfg.scan

    def __call__(self, ids: Any) -> Any:  # (S,)
        x = jax.vmap(self.wte)(ids) + jax.vmap(self.wpe)(jnp.arange(ids.shape[0]))
        if self.scan:
            arrays, rest = eqx.partition(self.blocks, eqx.is_array)
            x, _ = jax.lax.scan(lambda x, one: (eqx.combine(one, rest)(x), None), x, arrays)
        else:
            for block in self.blocks:
                x = block(x)
        return jax.vmap(self.ln_f)(x) @ self.wte.weight.T


class MLP(eqx.Module):
    layers: list

    def __init__(self, cfg: Config, key: Any):
        keys = jax.random.split(key, cfg.layers)
        self.layers = [eqx.nn.Linear(cfg.width, cfg.width, key=k) for k in keys]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class Conv(eqx.Module):
    convs: list
    norms: list
    dense: eqx.nn.Linear

    def __init__(self, cfg: Config, key: Any):
        keys = jax.random.split(key, len(cfg.channels) + 1)
        sizes = (3, *cfg.channels)
        self.convs = [
            eqx.nn.Conv2d(i, o, 3, padding="SAME", key=k)
            for i, o, k in zip(sizes, sizes[1:], keys, strict=False)
        ]
        norm = partial(eqx.nn.BatchNorm, axis_name="batch", eps=EPS, mode="batch")
        self.norms = [norm(o, momentum=1 - MOMENTUM) for o in cfg.channels]
        self.dense = eqx.nn.Linear(sizes[-1], cfg.classes, key=keys[-1])

    def __call__(self, x: Any, state: Any) -> Any:  # (C, H, W)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x, state = norm(conv(x), state)
            x = jax.nn.relu(x)
        return self.dense(x.mean((1, 2))), state


class Equinox(Contender):
    """The weights are (model, state)."""

    def __init__(self, cfg: Config, variant: str) -> None:
        self.cfg, self.variant = cfg, variant
        self._optimiser = optimiser()
        self.cls = {"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model]
        over = {"axis_name": "batch", "in_axes": (0, None), "out_axes": (0, None)}

        def forward(weights: Any, x: Any) -> Any:
            model, state = weights
            if cfg.model == "conv":
                model, x = eqx.nn.inference_mode(model), x.transpose(0, 3, 1, 2)
                return jax.vmap(model, **over)(x, state)[0]
            return jax.vmap(model)(x)

        def loss(model: Any, state: Any, x: Any, target: Any) -> Any:
            if cfg.model == "conv":
                y, state = jax.vmap(model, **over)(x.transpose(0, 3, 1, 2), state)
                return loss_of(cfg, y, target), state
            return loss_of(cfg, jax.vmap(model)(x), target), state

        def step(train_state: Any, batch: Any) -> Any:
            model, state, opt = train_state
            gradient = eqx.filter_value_and_grad(loss, has_aux=True)
            (value, state), grads = gradient(model, state, *batch)
            arrays = eqx.filter(model, eqx.is_array)
            updates, opt = self._optimiser.update(grads, opt, arrays)
            return (eqx.apply_updates(model, updates), state, opt), value

        self._forward = forward
        if variant == "filter_jit":
            self.forward, self.train_step = eqx.filter_jit(forward), eqx.filter_jit(step)
            self.lower_forward = lambda *args: self.forward.lower(*args).lowered
            self.lower_step = lambda *args: self.train_step.lower(*args).lowered
            return
        self._static: dict[str, Any] = {}

        @jax.jit
        def plain_step(arrays: Any, batch: Any) -> Any:
            new, value = step(eqx.combine(arrays, self._static["step"]), batch)
            return eqx.filter(new, eqx.is_array), value

        @jax.jit
        def plain_forward(arrays: Any, x: Any) -> Any:
            return forward(eqx.combine(arrays, self._static["forward"]), x)

        self.forward, self.train_step = plain_forward, plain_step
        self.lower_forward, self.lower_step = plain_forward.lower, plain_step.lower

    def _parted(self, tree: Any, name: str) -> Any:
        if self.variant == "filter_jit":
            return tree
        arrays, self._static[name] = eqx.partition(tree, eqx.is_array)
        return arrays

    def _make(self, key: Any) -> Any:
        if self.cfg.model == "conv":
            return eqx.nn.make_with_state(self.cls)(self.cfg, key)
        return self.cls(self.cfg, key), None

    def inits(self) -> dict[str, Any]:
        return {"eager": self._make, "filter_jit": eqx.filter_jit(self._make)}

    def abstract(self) -> Any:
        return eqx.filter_eval_shape(self._make, jax.random.key(0))

    def zeros(self) -> Any:
        def zero(leaf: Any) -> Any:
            if isinstance(leaf, jax.ShapeDtypeStruct):
                return jax.device_put(np.zeros(leaf.shape, leaf.dtype))
            return leaf

        return jax.tree.map(zero, self.abstract())

    def bind(self, weights: Any) -> Any:
        return self._parted(weights, "forward")

    def train_state(self, weights: Any) -> Any:
        model, state = weights
        opt = self._optimiser.init(eqx.filter(model, eqx.is_array))
        return self._parted((model, state, opt), "step")

    def eager(self, weights: Any) -> Any:
        return partial(self._forward, weights)

    def ready(self, tree: Any) -> Any:
        jax.block_until_ready(eqx.filter(tree, eqx.is_array))
        return tree

    def count(self, weights: Any) -> int:
        arrays = [leaf for leaf in jax.tree.leaves(weights[0]) if hasattr(leaf, "shape")]
        return super().count(arrays)  # shapes alone count, too

    def load(self, params: Any, state: Any) -> Any:
        model, _ = self.zeros()
        if self.cfg.scan:
            flat = dataclasses.replace(self.cfg, scan=False)
            blocks = Equinox(flat, self.variant).load(params, state)[0].blocks
            model = eqx.tree_at(
                lambda m: m.blocks, model, jax.tree.map(lambda *a: jnp.stack(a), *blocks)
            )
            params = {name: below for name, below in params.items() if name != "blocks"}
        _, fresh = self._make(jax.random.key(0)) if state else (None, None)
        return _filled(model, params), fresh

    def save(self, folder: Path, weights: Any) -> None:
        eqx.tree_serialise_leaves(folder / f"{CHECKPOINT}.eqx", weights)

    def restore(self, folder: Path) -> Any:
        return eqx.tree_deserialise_leaves(folder / f"{CHECKPOINT}.eqx", self.abstract())


def _filled(module: Any, values: dict[str, Any]) -> Any:
    """Put canonical weights into a module, whose names are PyTorch's too."""
    if "weight" in values:
        names = list(values)
        arrays = [
            # a convolution's bias has its spatial axes
            jnp.asarray(values[name]).reshape(getattr(module, name).shape)
            for name in names
        ]
        return eqx.tree_at(lambda m: [getattr(m, name) for name in names], module, arrays)
    if isinstance(module, list):
        return [_filled(item, values[str(index)]) for index, item in enumerate(module)]
    names = list(values)
    new = [_filled(getattr(module, name), values[name]) for name in names]
    return eqx.tree_at(lambda m: [getattr(m, name) for name in names], module, new)


class Scale(eqx.Module):
    scale: jax.Array

    def __init__(self):
        self.scale = jnp.ones(2)

    def __call__(self, x: Any) -> Any:
        return x * self.scale


class Scales(eqx.Module):
    scales: list

    def __init__(self, count: int):
        self.scales = [Scale() for _ in range(count)]

    def __call__(self, x: Any) -> Any:
        for scale in self.scales:
            x = scale(x)
        return x


def scales(count: int) -> tuple[Any, Any]:
    return Scales(count), jnp.ones(2)


class Pair(eqx.Module):
    a: eqx.nn.Linear
    b: eqx.nn.Linear

    def __init__(self, key: Any):
        self.a, self.b = eqx.nn.Linear(2, 2, key=key), eqx.nn.Linear(2, 2, key=key)


class Many(eqx.Module):
    pairs: list

    def __init__(self, count: int, key: Any):
        self.pairs = [Pair(key) for _ in range(count)]


def many(modules: int) -> Any:
    """Make an abstract model: its treedef is what Equinox has for a definition."""
    return eqx.filter_eval_shape(lambda: Many((modules - 1) // 3, jax.random.key(0)))


def uses(model: Any) -> dict[str, Any]:
    leaves, structure = jax.tree.flatten(model)
    other = jax.tree.structure(model)
    return {
        "bind": lambda: jax.tree.unflatten(structure, leaves),
        "==": lambda: structure == other,
        "hash": lambda: hash(structure),
    }


def build(cfg: Config, variant: str) -> Contender:
    return Equinox(cfg, variant)
