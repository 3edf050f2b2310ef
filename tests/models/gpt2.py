"""GPT-2, with the names of Hugging Face's `GPT2LMHeadModel`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import nn

# Their four matrices of a layer are (in, out).
TRANSPOSED = {("transformer.h.*.attn.*.weight", "transformer.h.*.mlp.*.weight"): np.transpose}


class Attention(fp.Module):
    """Causal attention from one fused projection."""

    def __init__(self, width: int, heads: int):
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def __call__(self, x: Any) -> Any:
        q, k, v = (
            part.reshape(*x.shape[:2], self.heads, -1)
            for part in jnp.split(self.c_attn(x), 3, axis=-1)
        )
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.reshape(x.shape))


class MLP(fp.Module):
    """Two linear layers, and the approximate GELU between them."""

    def __init__(self, width: int):
        self.c_fc = nn.Linear(width, 4 * width)
        self.act = nn.GELU("tanh")
        self.c_proj = nn.Linear(4 * width, width)

    def __call__(self, x: Any) -> Any:
        return self.c_proj(self.act(self.c_fc(x)))


class Block(fp.Module):
    """One layer: norms before, sums around."""

    def __init__(self, width: int, heads: int, eps: float):
        self.ln_1 = nn.LayerNorm(width, eps)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps)
        self.mlp = MLP(width)

    def __call__(self, x: Any) -> Any:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Body(fp.Module):
    """All but the head."""

    def __init__(
        self, vocabulary: int, positions: int, width: int, layers: int, heads: int, eps: float
    ):
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = [Block(width, heads, eps) for _ in range(layers)]
        self.ln_f = nn.LayerNorm(width, eps)

    def __call__(self, ids: Any) -> Any:
        x = self.wte(ids) + self.wpe(jnp.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT2(fp.Module):
    """A language model whose head is its embedding.

    Args:
        vocabulary: How many tokens there are.
        positions: The longest text.
        width: The size of an embedding.
        layers: The number of blocks.
        heads: The number of heads of each attention.
        eps: What the norms add to the variance.
    """

    def __init__(
        self,
        vocabulary: int = 50257,
        positions: int = 1024,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        eps: float = 1e-5,
    ):
        self.transformer = Body(vocabulary, positions, width, layers, heads, eps)
        tied = self.transformer.wte.weight
        self.lm_head = nn.Linear(width, vocabulary, bias=False).replace(weight=tied)

    def __call__(self, ids: Any) -> Any:
        return self.lm_head(self.transformer(ids))
