"""Flax NNX: eager constructor, nnx.jit over (model, optimizer, batch), updates in place.

Variants: jit, the usual way; split, the "functional training loop" of its performance guide.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.models import EPS, MOMENTUM, STD, Config, attention, loss_of, optimiser, stacked

IMPORT = "from flax import nnx"
VARIANTS = ("jit", "split")
SCAN = True
INIT = nnx.initializers.normal(STD)


def linear(i: int, o: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(i, o, kernel_init=INIT, rngs=rngs)


class Block(nnx.Module):
    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.ln1, self.ln2 = (nnx.LayerNorm(width, epsilon=EPS, rngs=rngs) for _ in range(2))
        self.qkv, self.proj = linear(width, 3 * width, rngs), linear(width, width, rngs)
        self.fc, self.out = linear(width, 4 * width, rngs), linear(4 * width, width, rngs)

    def __call__(self, x: Any) -> Any:
        x = x + self.proj(attention(self.qkv(self.ln1(x)), self.heads))
        return x + self.out(nnx.gelu(self.fc(self.ln2(x))))


class GPT(nnx.Module):
    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.wte = nnx.Embed(cfg.vocab, cfg.width, embedding_init=INIT, rngs=rngs)
        self.wpe = nnx.Embed(cfg.length, cfg.width, embedding_init=INIT, rngs=rngs)
        make = partial(Block, cfg.width, cfg.heads)
        if cfg.scan:
            draw = nnx.vmap(lambda r: make(rngs=r), in_axes=0, out_axes=0)
            self.blocks = draw(rngs.fork(split=cfg.layers))
        else:
            self.blocks = nnx.List([make(rngs=rngs) for _ in range(cfg.layers)])
        self.ln_f = nnx.LayerNorm(cfg.width, epsilon=EPS, rngs=rngs)
        self.scan = cfg.scan

    def __call__(self, ids: Any) -> Any:
        x = self.wte(ids) + self.wpe(jnp.arange(ids.shape[-1]))
        if self.scan:
            run = nnx.scan(lambda b, x: b(x), in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
            x = run(self.blocks, x)
        else:
            for block in self.blocks:
                x = block(x)
        return self.wte.attend(self.ln_f(x))


class MLP(nnx.Module):
    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.layers = nnx.List([linear(cfg.width, cfg.width, rngs) for _ in range(cfg.layers)])

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class Conv(nnx.Module):
    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        sizes = (3, *cfg.channels)
        self.convs = nnx.List(
            nnx.Conv(i, o, (3, 3), kernel_init=INIT, rngs=rngs) for i, o in pairwise(sizes)
        )
        self.norms = nnx.List(
            nnx.BatchNorm(o, momentum=1 - MOMENTUM, epsilon=EPS, rngs=rngs) for o in cfg.channels
        )
        self.dense = linear(sizes[-1], cfg.classes, rngs)

    def __call__(self, x: Any, training: bool = False) -> Any:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nnx.relu(norm(conv(x), use_running_average=not training))
        return self.dense(x.mean((1, 2)))


class NNX(Contender):
    """The weights are the model object."""

    def __init__(self, cfg: Config, variant: str) -> None:
        self.cfg, self.variant = cfg, variant
        self.cls = {"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model]
        training = {"training": True} if cfg.model == "conv" else {}

        def step(model: Any, optimizer: Any, batch: Any) -> Any:
            def loss(model: Any) -> Any:
                return loss_of(cfg, model(batch[0], **training), batch[1])

            value, grads = nnx.value_and_grad(loss)(model)
            optimizer.update(model, grads)
            return value

        if variant == "split":

            @jax.jit
            def train_step(state: Any, batch: Any) -> Any:
                graph, leaves = state
                model, optimizer = nnx.merge(graph, leaves)
                value = step(model, optimizer, batch)
                return (graph, nnx.state((model, optimizer))), value

            @jax.jit
            def forward(handle: Any, x: Any) -> Any:
                return nnx.merge(*handle)(x)

            self.forward, self.train_step = forward, train_step
            self.lower_forward, self.lower_step = forward.lower, train_step.lower
            return
        self.forward = nnx.jit(lambda model, x: model(x))
        jitted = nnx.jit(step)
        self.train_step = lambda state, batch: (state, jitted(*state, batch))
        self.lower_forward = lambda model, x: self.forward.lower(model, x).lowered
        self.lower_step = lambda state, batch: jitted.lower(*state, batch).lowered

    def _make(self, key: Any) -> Any:
        return self.cls(self.cfg, rngs=nnx.Rngs(key))

    def inits(self) -> dict[str, Any]:
        return {"eager": self._make, "nnx.jit": nnx.jit(lambda key: self._make(key))}

    def abstract(self) -> Any:
        return nnx.eval_shape(self._make, jax.random.key(0))

    def zeros(self) -> Any:
        def zero(struct: Any) -> Any:
            if jax.dtypes.issubdtype(struct.dtype, jax.dtypes.prng_key):
                return jax.random.key(0)
            return jax.device_put(np.zeros(struct.shape, struct.dtype))

        graph, leaves = nnx.split(self.abstract())
        return nnx.merge(graph, jax.tree.map(zero, leaves))

    def bind(self, weights: Any) -> Any:
        return nnx.split(weights) if self.variant == "split" else weights

    def train_state(self, weights: Any) -> Any:
        state = (weights, nnx.Optimizer(weights, optimiser(), wrt=nnx.Param))
        return nnx.split(state) if self.variant == "split" else state

    def eager(self, weights: Any) -> Any:
        return weights

    def ready(self, tree: Any) -> Any:
        jax.block_until_ready(nnx.state(tree) if isinstance(tree, nnx.Module) else tree)
        return tree

    def count(self, weights: Any) -> int:
        return super().count(nnx.state(weights, nnx.Param))

    def load(self, params: Any, state: Any) -> Any:
        model = self.zeros()

        def fill(module: Any, values: Any) -> None:
            if isinstance(module, nnx.Embed):
                module.embedding[...] = jnp.asarray(values["weight"])
                return
            if isinstance(module, nnx.Linear | nnx.Conv):
                # the last two axes the other way round, under a scan's axis or a kernel's first
                flip = (2, 3, 1, 0) if isinstance(module, nnx.Conv) else None
                weight = values["weight"]
                turned = weight.transpose(flip) if flip else np.swapaxes(weight, -1, -2)
                module.kernel[...] = jnp.asarray(turned)
            else:
                module.scale[...] = jnp.asarray(values["weight"])
            module.bias[...] = jnp.asarray(values["bias"])

        def fill_all(module: Any, values: dict[str, Any]) -> None:
            if not isinstance(next(iter(values.values())), dict):
                fill(module, values)
                return
            for name, below in values.items():
                fill_all(module[int(name)] if name.isdigit() else getattr(module, name), below)

        if self.cfg.scan:
            params = {**params, "blocks": stacked(list(params["blocks"].values()))}
        fill_all(model, params)
        for index, values in state.get("norms", {}).items():
            norm = model.norms[int(index)]
            norm.mean[...] = jnp.asarray(values["running_mean"])
            norm.var[...] = jnp.asarray(values["running_var"])
        return model

    def save(self, folder: Path, weights: Any) -> None:
        import orbax.checkpoint as ocp

        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(folder.absolute() / CHECKPOINT, nnx.state(weights))

    def restore(self, folder: Path) -> Any:
        import orbax.checkpoint as ocp

        model = self.abstract()
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore(folder.absolute() / CHECKPOINT, nnx.state(model))
        nnx.update(model, state)
        return model


class Scale(nnx.Module):
    def __init__(self):
        self.scale = nnx.Param(jnp.ones(2))

    def __call__(self, x: Any) -> Any:
        return x * self.scale[...]


class Scales(nnx.Module):
    def __init__(self, count: int):
        self.scales = nnx.List(Scale() for _ in range(count))

    def __call__(self, x: Any) -> Any:
        for scale in self.scales:
            x = scale(x)
        return x


def scales(count: int) -> tuple[Any, Any]:
    return Scales(count), jnp.ones(2)


class Pair(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.a, self.b = nnx.Linear(2, 2, rngs=rngs), nnx.Linear(2, 2, rngs=rngs)


class Many(nnx.Module):
    def __init__(self, count: int, rngs: nnx.Rngs):
        self.pairs = nnx.List(Pair(rngs) for _ in range(count))


def many(modules: int) -> Any:
    """Make a model of tiny arrays; its graphdef is what NNX has for a definition.

    nnx.eval_shape of the same takes 30 times as long.
    """
    return Many((modules - 1) // 3, nnx.Rngs(0))


def uses(model: Any) -> dict[str, Any]:
    graph, state = nnx.split(model)
    other = nnx.graphdef(model)
    return {
        "bind": lambda: nnx.merge(graph, state),
        "==": lambda: graph == other,
        "hash": lambda: hash(graph),
    }


def build(cfg: Config, variant: str) -> Contender:
    return NNX(cfg, variant)
