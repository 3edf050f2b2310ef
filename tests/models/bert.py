"""BERT for masked words, with the names of Hugging Face's `BertForMaskedLM`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import funcparams as fp
from funcparams import init, nn


class Embeddings(fp.Module):
    """Words, places and segments, added up and normalised."""

    def __init__(self, vocabulary: int, positions: int, segments: int, width: int, eps: float):
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(segments, width)
        self.LayerNorm = nn.LayerNorm(width, eps)

    def __call__(self, ids: Any, segments: Any) -> Any:
        places = self.position_embeddings(jnp.arange(ids.shape[1]))
        return self.LayerNorm(
            self.word_embeddings(ids) + places + self.token_type_embeddings(segments)
        )


class SelfAttention(fp.Module):
    """Attention of every word to every other that the mask lets it see."""

    def __init__(self, width: int, heads: int):
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def __call__(self, x: Any, mask: Any) -> Any:
        q, k, v = (
            layer(x).reshape(*x.shape[:2], self.heads, -1)
            for layer in (self.query, self.key, self.value)
        )
        y = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
        return y.reshape(x.shape)


class Output(fp.Module):
    """A linear layer, and the norm of its sum with what went in before."""

    def __init__(self, i: int, o: int, eps: float):
        self.dense = nn.Linear(i, o)
        self.LayerNorm = nn.LayerNorm(o, eps)

    def __call__(self, x: Any, before: Any) -> Any:
        return self.LayerNorm(self.dense(x) + before)


class Attention(fp.Module):
    """Attention and its output; their attribute `self` is the former."""

    def __init__(self, width: int, heads: int, eps: float):
        self.self = SelfAttention(width, heads)
        self.output = Output(width, width, eps)

    def __call__(self, x: Any, mask: Any) -> Any:
        return self.output(self.self(x, mask), x)


class Dense(fp.Module):
    """A linear layer and GELU."""

    def __init__(self, i: int, o: int):
        self.dense = nn.Linear(i, o)

    def __call__(self, x: Any) -> Any:
        return jax.nn.gelu(self.dense(x), approximate=False)


class Layer(fp.Module):
    """One layer: attention, then two linear layers."""

    def __init__(self, width: int, heads: int, inner: int, eps: float):
        self.attention = Attention(width, heads, eps)
        self.intermediate = Dense(width, inner)
        self.output = Output(inner, width, eps)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Encoder(fp.Module):
    """The layers, one after the other."""

    def __init__(self, layers: int, width: int, heads: int, inner: int, eps: float):
        self.layer = [Layer(width, heads, inner, eps) for _ in range(layers)]

    def __call__(self, x: Any, mask: Any) -> Any:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class Body(fp.Module):
    """All but the head."""

    def __init__(self, embeddings: Embeddings, encoder: Encoder):
        self.embeddings = embeddings
        self.encoder = encoder

    def __call__(self, ids: Any, segments: Any, mask: Any) -> Any:
        return self.encoder(self.embeddings(ids, segments), mask)


class Transform(fp.Module):
    """What the head does before it compares with all words."""

    def __init__(self, width: int, eps: float):
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps)

    def __call__(self, x: Any) -> Any:
        return self.LayerNorm(jax.nn.gelu(self.dense(x), approximate=False))


class Predictions(fp.Module):
    """The head: its matrix is the embedding, its bias stands under two names."""

    def __init__(self, words: nn.Embedding, eps: float):
        vocabulary, width = words.num_embeddings, words.embedding_dim
        self.bias = fp.param((vocabulary,), init.zeros())
        self.transform = Transform(width, eps)
        linear = nn.Linear(width, vocabulary)
        self.decoder = linear.replace(weight=words.weight, bias=self.bias)

    def __call__(self, x: Any) -> Any:
        return self.decoder(self.transform(x))


class Head(fp.Module):
    """Holds the predictions, since their names say so."""

    def __init__(self, words: nn.Embedding, eps: float):
        self.predictions = Predictions(words, eps)

    def __call__(self, x: Any) -> Any:
        return self.predictions(x)


class BERT(fp.Module):
    """An encoder that guesses masked words.

    Args:
        vocabulary: How many tokens there are.
        positions: The longest text.
        segments: How many segments a text can have.
        width: The size of an embedding.
        layers: The number of layers.
        heads: The number of heads of each attention.
        inner: The size between the two linear layers.
        eps: What the norms add to the variance.
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        positions: int = 512,
        segments: int = 2,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        inner: int = 3072,
        eps: float = 1e-12,
    ):
        embeddings = Embeddings(vocabulary, positions, segments, width, eps)
        self.bert = Body(embeddings, Encoder(layers, width, heads, inner, eps))
        self.cls = Head(embeddings.word_embeddings, eps)

    def __call__(self, ids: Any, segments: Any, mask: Any) -> Any:
        return self.cls(self.bert(ids, segments, mask))
