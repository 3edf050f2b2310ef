"""Llama, with the names of Hugging Face's `LlamaForCausalLM`; Mistral likewise."""

from __future__ import annotations

from typing import Any

import funcparams as fp
from funcparams import nn


class Block(fp.Module):
    """Attention, then the gated layer, each added to what went in."""

    def __init__(self, width: int, hidden: int, attention: dict[str, Any], eps: float):
        self.self_attn = nn.GroupedQueryAttention(width, **attention)
        self.mlp = nn.SwiGLU(width, hidden)
        self.input_layernorm = nn.RMSNorm(width, eps)
        self.post_attention_layernorm = nn.RMSNorm(width, eps)

    def __call__(self, x: Any, cache: Any) -> Any:
        y, cache = self.self_attn(self.input_layernorm(x), cache)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), cache


class Body(fp.Module):
    """The embedding, the blocks and the last norm; their places in the names."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        hidden: int,
        layers: int,
        attention: dict[str, Any],
        eps: float,
    ):
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = [Block(width, hidden, attention, eps) for _ in range(layers)]
        self.norm = nn.RMSNorm(width, eps)

    def __call__(self, ids: Any, caches: Any) -> Any:
        x = self.embed_tokens(ids)
        written = []
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers), strict=True):
            x, cache = layer(x, cache)
            written.append(cache)
        return self.norm(x), written


class Llama(fp.Module):
    """Scores of the next word; `attention` is what `nn.GroupedQueryAttention` is given."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        hidden: int,
        layers: int,
        attention: dict[str, Any],
        eps: float = 1e-6,
    ):
        self.model = Body(vocabulary, width, hidden, layers, attention, eps)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def __call__(self, ids: Any, caches: Any = None) -> Any:
        x, caches = self.model(ids, caches)
        return self.lm_head(x), caches

    def init_caches(self, batch: int, max_length: int) -> list[nn.KeyValueCache]:
        """Make an empty cache for each block."""
        return [layer.self_attn.init_cache(batch, max_length) for layer in self.model.layers]
