"""What a model of 405 billion parameters is made of, known before one byte of it exists.

    python examples/giant.py

A definition holds declarations, so names, shapes and sizes are there without any array: on a
laptop, in milliseconds. The numbers are those of the largest Llama 3.1.
"""

from __future__ import annotations

import argparse
import time

import jax
import jax.numpy as jnp

import funcparams as fp
from funcparams import nn


class Attention(fp.Module):
    """The projections of grouped-query attention: 128 heads share 8 keys and values."""

    def __init__(self, width: int):
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width // 16, bias=False)
        self.v_proj = nn.Linear(width, width // 16, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)


class Layer(fp.Module):
    """One layer: attention and a gated MLP, each behind a norm."""

    def __init__(self, width: int, hidden: int):
        self.input_norm = nn.RMSNorm(width)
        self.attention = Attention(width)
        self.mlp_norm = nn.RMSNorm(width)
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)


class Giant(fp.Module):
    """A decoder; it has no __call__, since only its parameters are asked about here."""

    def __init__(
        self, layers: int, width: int = 16_384, hidden: int = 53_248, words: int = 128_256
    ):
        self.embed = nn.Embedding(words, width)
        self.layers = [Layer(width, hidden) for _ in range(layers)]
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, words, bias=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Count the parameters of a giant definition.")
    parser.add_argument("--layers", type=int, default=126, help="how many layers [126]")
    args = parser.parse_args(argv)
    if args.layers < 1:
        parser.error(f"argument --layers: expected at least 1, got {args.layers}")

    # Arrays of bfloat16 take half the room. The definition is another one, the names are the same.
    model = Giant(args.layers).astype(jnp.bfloat16)

    start = time.perf_counter()
    abstract = model.abstract()  # the tree that model.init would draw, of shapes and dtypes
    table = fp.summary(model)
    count = sum(declaration.size for declaration in model.parameters())
    took = time.perf_counter() - start

    print(fp.summary(model, where="layers.0.**"), end="\n\n")
    print(fp.summary(model, depth=1), end="\n\n")
    print(
        f"{len(jax.tree.leaves(abstract)):,} arrays, {count:,} numbers, {table.bytes:,} bytes: "
        f"abstract, summary and count took {1000 * took:.0f} ms"
    )


if __name__ == "__main__":
    main()
