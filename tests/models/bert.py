"""BERT for masked words, with the names of Hugging Face's `BertForMaskedLM`."""

from __future__ import annotations

from typing import Any

import jax

import funcparams as fp
from examples.sentences import BERT
from funcparams import init, nn


class Transform(fp.Module):
    """What the head does before it compares with all words."""

    def __init__(self, width: int):
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def __call__(self, x: Any) -> Any:
        return self.LayerNorm(jax.nn.gelu(self.dense(x), approximate=False))


class Predictions(fp.Module):
    """The head: its matrix is the embedding, its bias stands under two names."""

    def __init__(self, words: nn.Embedding):
        vocabulary, width = words.num_embeddings, words.embedding_dim
        self.bias = fp.param((vocabulary,), init.zeros())
        self.transform = Transform(width)
        linear = nn.Linear(width, vocabulary)
        self.decoder = linear.replace(weight=words.weight, bias=self.bias)

    def __call__(self, x: Any) -> Any:
        return self.decoder(self.transform(x))


class Head(fp.Module):
    """Holds the predictions, since their names say so."""

    def __init__(self, words: nn.Embedding):
        self.predictions = Predictions(words)

    def __call__(self, x: Any) -> Any:
        return self.predictions(x)


class MaskedLM(fp.Module):
    """The encoder of examples/sentences.py, and a head that guesses masked words."""

    def __init__(self, **sizes: int):
        self.bert = BERT(**sizes)
        self.cls = Head(self.bert.embeddings.word_embeddings)

    def __call__(self, ids: Any, segments: Any, mask: Any) -> Any:
        return self.cls(self.bert(ids, segments, mask))
