"""Modules that the tests of the core share; none of them comes from funcparams.nn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import init

zeros, ones, normal = init.zeros(), init.ones(), init.normal(std=1.0)


class Linear(fp.Module):
    """`y = x @ weight.T + bias`."""

    def __init__(self, i: int, o: int, bias: bool = True):
        self.i, self.o = i, o
        self.weight = fp.param((o, i), normal)
        self.bias = fp.param((o,), zeros) if bias else None

    def __call__(self, x: Any) -> Any:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


class Chain(fp.Module):
    """Modules and functions, one after the other, named `0`, `1`, ..."""

    def __init__(self, *layers: Any):
        self.count = len(layers)
        for index, layer in enumerate(layers):
            setattr(self, str(index), layer)

    def __call__(self, x: Any) -> Any:
        for index in range(self.count):
            x = getattr(self, str(index))(x)
        return x


class Table(fp.Module):
    """An embedding."""

    def __init__(self, n: int, d: int):
        self.weight = fp.param((n, d), normal)

    def __call__(self, ids: Any) -> Any:
        return self.weight[ids]


class Language(fp.Module):
    """An embedding and a head that share one weight, declaration-level."""

    def __init__(self, n: int = 5, d: int = 3):
        self.wte = Table(n, d)
        self.body = Linear(d, d)
        self.head = Linear(d, n, bias=False).replace(weight=self.wte.weight)

    def __call__(self, ids: Any) -> Any:
        return self.head(self.body(self.wte(ids)))


class Counter(fp.Module):
    """Counts its training calls, and averages what it sees."""

    def __init__(self, features: int = 3):
        self.calls = fp.buffer((), zeros, jnp.int32)
        self.mean = fp.buffer((features,), zeros)
        self.scale = fp.param((features,), ones)

    def __call__(self, x: Any) -> Any:
        if self.training:
            self.calls = self.calls + 1
            self.mean = 0.9 * self.mean + 0.1 * x.reshape(-1, x.shape[-1]).mean(0)
        return (x - self.mean) * self.scale


class Drop(fp.Module):
    """Dropout."""

    def __init__(self, rate: float = 0.5):
        self.rate = rate

    def __call__(self, x: Any) -> Any:
        if not self.training:
            return x
        keep = jax.random.bernoulli(self.next_key(), 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0)


class Block(fp.Module):
    """A layer of everything: arrays, buffers, random numbers."""

    def __init__(self, width: int = 3):
        self.layer = Linear(width, width)
        self.norm = Counter(width)
        self.drop = Drop()

    def __call__(self, x: Any) -> Any:
        return x + self.drop(self.norm(self.layer(x)))


def squash(x: Any) -> Any:
    """An activation that can be pickled, as jax's own jitted functions cannot."""
    return jnp.tanh(x)


def twice(i: int = 2) -> Chain:
    """The same layer at two places."""
    layer = Linear(i, i)
    return Chain(layer, squash, layer)


def nested() -> Chain:
    """Ties inside two parts, and one across: 2 is part 0 again, 1.wte.weight is 0's too."""
    first = Language()
    second = Language().replace({"wte.weight": first.wte.weight})
    return Chain(first, second, first)


def filled(model: fp.Module, offset: float = 0.0) -> dict[str, Any]:
    """Params of distinct numbers, without compiling anything."""
    size = sum(parameter.size for parameter in model.parameters())
    numbers = iter(np.arange(1, size + 1, dtype=np.float32) + offset)

    def make(struct: Any) -> jax.Array:
        values = [next(numbers) for _ in range(int(np.prod(struct.shape)))]
        return jnp.asarray(np.array(values).reshape(struct.shape), struct.dtype)

    return jax.tree.map(make, model.abstract())


def same_arrays(one: Any, two: Any) -> bool:
    """Whether two trees have one structure and equal arrays, dtypes included."""
    if jax.tree.structure(one) != jax.tree.structure(two):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)
