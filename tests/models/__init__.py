"""Modules that the tests of the core share: small ones of their own, and two of layers from nn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import init, nn

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


# Two models for the program that they compile to, and the same functions written by hand


class Attention(fp.Module):
    """Causal self-attention."""

    def __init__(self, width: int, heads: int):
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def __call__(self, x: Any) -> Any:
        q, k, v = jnp.split(self.qkv(x).reshape(*x.shape[:2], self.heads, -1), 3, axis=-1)
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return self.proj(y.reshape(x.shape))


class GPTBlock(fp.Module):
    """Attention and a perceptron, each after a norm and around a sum."""

    def __init__(self, width: int, heads: int):
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), jax.nn.gelu, nn.Linear(4 * width, width)
        )

    def __call__(self, x: Any) -> Any:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(fp.Module):
    """A language model of one block, whose head is the embedding."""

    def __init__(self, vocabulary: int = 11, width: int = 8, heads: int = 2, layers: int = 1):
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(16, width)
        self.blocks = [GPTBlock(width, heads) for _ in range(layers)]
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False).replace(weight=self.wte.weight)

    def __call__(self, ids: Any) -> Any:
        x = self.wte(ids) + self.wpe(jnp.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


def halve(x: Any) -> Any:
    """Take the maximum of every two by two places."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


class ConvNet(fp.Module):
    """LeNet's form with batch normalisation, for images of 8 by 8."""

    def __init__(self) -> None:
        self.conv = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), jax.nn.relu, halve),
            *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), jax.nn.relu, halve),
        )
        self.fc = nn.Sequential(nn.Linear(24, 12), jax.nn.relu, nn.Linear(12, 10))

    def __call__(self, x: Any) -> Any:
        return self.fc(self.conv(x).reshape(x.shape[0], -1))
