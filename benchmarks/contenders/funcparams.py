"""funcparams: `jax.jit(model.apply)` and plain jax transforms over nested dicts.

Variants: default; donate, with the train state donated. With `+scan` one block is a definition of
its own, its parameters drawn by `jax.vmap(block.init)` and scanned over.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import funcparams as fp
from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.contenders.hand import Plain, stack_blocks
from benchmarks.models import STD, Config, attention, on_device
from funcparams import init, nn

IMPORT = "import funcparams"
VARIANTS = ("default", "donate")
SCAN = True


class Block(fp.Module):
    def __init__(self, width: int, heads: int):
        self.heads = heads
        self.ln1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.ln2 = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def __call__(self, x: Any) -> Any:
        x = x + self.proj(attention(self.qkv(self.ln1(x)), self.heads))
        return x + self.out(jax.nn.gelu(self.fc(self.ln2(x))))


class GPT(fp.Module):
    def __init__(self, cfg: Config):
        self.wte = nn.Embedding(cfg.vocab, cfg.width)
        self.wpe = nn.Embedding(cfg.length, cfg.width)
        self.blocks = [Block(cfg.width, cfg.heads) for _ in range(cfg.layers)]
        self.ln_f = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False).replace(weight=self.wte.weight)

    def __call__(self, ids: Any) -> Any:
        x = self.wte(ids) + self.wpe(jnp.arange(ids.shape[-1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


class MLP(fp.Module):
    def __init__(self, cfg: Config):
        self.layers = [nn.Linear(cfg.width, cfg.width) for _ in range(cfg.layers)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class Conv(fp.Module):
    def __init__(self, cfg: Config):
        sizes = (3, *cfg.channels)
        self.convs = [nn.Conv2d(i, o, 3, padding=1, channels_last=True) for i, o in pairwise(sizes)]
        self.norms = [nn.BatchNorm2d(o, channels_last=True) for o in cfg.channels]
        self.dense = nn.Linear(sizes[-1], cfg.classes)

    def __call__(self, x: Any) -> Any:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = jax.nn.relu(norm(conv(x)))
        return self.dense(x.mean((1, 2)))


def _drawn(model: fp.Module) -> fp.Module:
    """Draw matrices and kernels as all contenders do; biases start at zero."""
    kernels = lambda name, parameter: parameter.ndim > 1  # noqa: E731
    return model.with_init({"**.bias": init.zeros(), kernels: init.normal(std=STD)})


class Funcparams(Plain):
    """A definition, and its params and state as plain trees."""

    def __init__(self, cfg: Config, variant: str) -> None:
        super().__init__(cfg, donate=variant == "donate")
        self.model = _drawn({"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model](cfg))
        apply = self.model.apply

        def train(params: Any, state: Any, x: Any) -> Any:
            if state:
                return self.model.apply_with_state(params, state, x, training=True)
            return apply(params, x), state

        self._apply = lambda params, state, x: apply(params, x, state=state)
        self._train = train
        if cfg.model == "conv":
            self.forward = jax.jit(lambda weights, x: apply(weights[0], x, state=weights[1]))
        else:
            self.forward = jax.jit(apply)
        self.lower_forward = self.forward.lower

    def bind(self, weights: Any) -> Any:
        return weights if self.cfg.model == "conv" else weights[0]

    def inits(self) -> dict[str, Any]:
        model = self.model

        def init(key: Any) -> Any:
            return model.init(key), model.init_state()

        jitted = jax.jit(model.init)
        return {"eager": init, "jit(model.init)": lambda key: (jitted(key), model.init_state())}

    def abstract(self) -> Any:
        return self.model.abstract(), self.model.abstract_state()

    def load(self, params: Any, state: Any) -> Any:
        return fp.unflatten(self.model, fp.flatten(on_device(params))), on_device(state)

    def eager(self, weights: Any) -> Any:
        params, state = weights
        return lambda x: self.model.apply(params, x, state=state)

    def save(self, folder: Path, weights: Any) -> None:
        fp.save(folder / f"{CHECKPOINT}.safetensors", self.model, *weights)

    def restore(self, folder: Path) -> Any:
        loaded = fp.load(folder / f"{CHECKPOINT}.safetensors", self.model)
        return loaded.params, loaded.state


class Scanned(Funcparams):
    """The GPT with its blocks stacked: what surrounds them is a definition without layers."""

    def __init__(self, cfg: Config, variant: str) -> None:
        super().__init__(cfg, variant)
        outer = _drawn(GPT(Config(**{**vars(cfg), "layers": 0})))
        inner = _drawn(Block(cfg.width, cfg.heads))
        self.outer, self.inner = outer, inner

        def apply(params: Any, state: Any, x: Any) -> Any:
            blocks = params["blocks"]
            around = outer.bind({k: v for k, v in params.items() if k != "blocks"})
            h = around.wte(x) + around.wpe(jnp.arange(x.shape[-1]))
            h, _ = lax.scan(lambda h, one: (inner.apply(one, h), None), h, blocks)
            return around.head(around.ln_f(h))

        self._apply, self._train = apply, lambda *args: (apply(*args), {})
        self._jit_forward(lambda params, x: apply(params, {}, x))

    def inits(self) -> dict[str, Any]:
        def init(key: Any) -> Any:
            rest, blocks = jax.random.split(key)
            keys = jax.random.split(blocks, self.cfg.layers)
            return {**self.outer.init(rest), "blocks": jax.vmap(self.inner.init)(keys)}, {}

        return {"eager": init}

    def abstract(self) -> Any:
        layers = self.cfg.layers
        blocks = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct((layers, *s.shape), s.dtype), self.inner.abstract()
        )
        return {**self.outer.abstract(), "blocks": blocks}, {}

    def load(self, params: Any, state: Any) -> Any:
        head = self.outer.abstract()["head"]  # a reference, no array
        return {**on_device(stack_blocks(self.cfg, params)), "head": head}, {}


class Scale(fp.Module):
    def __init__(self):
        self.scale = fp.param((2,), init.ones())

    def __call__(self, x: Any) -> Any:
        return x * self.scale


class Scales(fp.Module):
    def __init__(self, count: int):
        self.scales = [Scale() for _ in range(count)]

    def __call__(self, x: Any) -> Any:
        for scale in self.scales:
            x = scale(x)
        return x


def scales(count: int) -> tuple[Any, Any]:
    """Give (eager model of `count` modules, x)."""
    model = Scales(count)
    return partial(model.apply, model.init(None)), jnp.ones(2)


def bound_scales(count: int) -> tuple[Any, Any]:
    """Give the same, bound once: what Equinox's model is."""
    model = Scales(count)
    return model.bind(model.init(None)), jnp.ones(2)


class Pair(fp.Module):
    def __init__(self):
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)


class Many(fp.Module):
    def __init__(self, count: int):
        self.pairs = [Pair() for _ in range(count)]


def many(modules: int) -> Many:
    """Make a definition of so many modules."""
    return Many((modules - 1) // 3)


def uses(model: Many) -> dict[str, Any]:
    """Give what is done with it; `first` is with definitions with which it was not done yet."""
    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), model.abstract())
    new, other = (many(1 + 3 * len(model.pairs)) for _ in range(2))
    hash(model)
    return {
        "bind, first": lambda: new.bind(params),
        "bind": lambda: model.bind(params),
        "hash, first": lambda: hash(other),
        "==, first": lambda: model == other,
        "==": lambda: model == other,
        "hash": lambda: hash(model),
    }


def build(cfg: Config, variant: str) -> Contender:
    return (Scanned if cfg.scan else Funcparams)(cfg, variant)
