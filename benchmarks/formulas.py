"""Layers beside the other formulas for the same function: compile time, forward and gradient.

    python -m benchmarks.formulas                 # writes docs/benchmarks/formulas.md
    python -m benchmarks.formulas --only LSTM Conv2d --rounds 5

Contenders of a family take turns in one process. All compute the same function of the same
parameters, which is checked first. Normalisations have a script of their own, benchmarks/norms.py.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import handwritten
from benchmarks.run import ROOT
from funcparams import nn
from funcparams.nn import functional
from funcparams.testing import operation_counts

PAGE = ROOT / "docs" / "benchmarks" / "formulas.md"
Run = Callable[[Any, Any], Any]


class Family(NamedTuple):
    """One function, several ways to compute it; the first is this library's."""

    title: str
    params: Any
    x: Any
    ways: dict[str, Run]
    chosen: str
    by_x: bool = True


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def ours(model: Any, pick: Callable[[Any], Any] = lambda y: y, **options: Any) -> tuple[Any, Run]:
    """Give drawn params, and the layer as a function of (params, x)."""
    state = model.init_state()

    def run(params: Any, x: Any) -> Any:
        training = options.get("training", False)
        y, _ = model.apply_with_state(params, state, x, training=training)
        return pick(y)

    return model.init(jax.random.key(0)), run


def lstm() -> Family:
    params, run = ours(nn.LSTM(256, 256), lambda y: y[0])
    ways: dict[str, Run] = {
        "funcparams": run,
        "by hand, the same": lambda p, x: handwritten.lean_lstm(p, x)[0],
        "by hand, a scan that JAX differentiates": lambda p, x: handwritten.lstm(p, x)[0],
        "by hand, the input's product inside": lambda p, x: handwritten.textbook_lstm(p, x)[0],
    }
    chosen = "the input's product before the scan, the recurrent weight's gradient after it"
    return Family("LSTM, 64 steps, batch 16, 256 units", params, normal(64, 16, 256), ways, chosen)


def attention() -> Family:
    model = handwritten.SelfAttention(256, 4)
    params, run = ours(model)
    ways = {
        "funcparams": run,
        "by hand, the same": handwritten.attention,
        "jax.nn.dot_product_attention": handwritten.library_attention,
    }
    chosen = "one product for q, k and v; softmax of masked scores"
    x = normal(8, 128, 256)
    return Family("MultiheadAttention, causal, 128 tokens of 256", params, x, ways, chosen)


def conv() -> Family:
    params, run = ours(nn.Conv2d(32, 64, 3, padding=1, channels_last=True))
    _, first = ours(nn.Conv2d(32, 64, 3, padding=1))

    def channels_first(p: Any, x: Any) -> Any:
        return first(p, x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)

    def hwio(p: Any, x: Any) -> Any:
        kernel = p["weight"].transpose(2, 3, 1, 0)
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=numbers)
        return y + p["bias"]

    ways = {
        "funcparams, channels_last": run,
        "by hand, the same": handwritten.conv,
        "by hand, kernel turned to HWIO": hwio,
        "funcparams, data turned to channels first": channels_first,
    }
    chosen = "one convolution; weights stay OIHW"
    x = normal(16, 32, 32, 32)
    return Family("Conv2d, 16 images of 32 x 32 x 32", params, x, ways, chosen)


def conv_transpose() -> Family:
    model = nn.ConvTranspose2d(32, 16, 4, 2, 1, channels_last=True)
    params, run = ours(model)

    def adjoint(p: Any, x: Any) -> Any:
        numbers = ("NHWC", "OIHW", "NHWC")
        big = jax.ShapeDtypeStruct((x.shape[0], 2 * x.shape[1], 2 * x.shape[2], 16), x.dtype)

        def forward(y: Any) -> Any:
            return lax.conv_general_dilated(
                y, p["weight"], (2, 2), [(1, 1)] * 2, dimension_numbers=numbers
            )

        return jax.linear_transpose(forward, big)(x)[0] + p["bias"]

    ways = {"funcparams": run, "by hand, the transpose of a convolution": adjoint}
    chosen = "a convolution of the spread input with the turned kernel"
    x = normal(8, 16, 16, 32)
    return Family("ConvTranspose2d, stride 2, 8 images of 16 x 16 x 32", params, x, ways, chosen)


def batch_norm() -> Family:
    params, run = ours(nn.BatchNorm2d(64, channels_last=True), training=True)
    ways = {"funcparams": run, "by hand, the same": handwritten.batch_norm}
    ways["by hand, two passes"] = handwritten.two_pass_batch_norm
    chosen = "one pass over shifted numbers"
    x = normal(16, 32, 32, 64)
    return Family("BatchNorm2d, training, 16 images of 32 x 32 x 64", params, x, ways, chosen)


def max_pool() -> Family:
    params, run = ours(nn.MaxPool2d(3, 2, 1, channels_last=True))

    def window(p: Any, x: Any) -> Any:
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads)

    ways = {"funcparams": run, "lax.reduce_window": window}
    chosen = "slices, axis by axis, with a gradient of its own"
    x = normal(16, 32, 32, 64)
    return Family("MaxPool2d(3, 2, 1), 16 images of 32 x 32 x 64", params, x, ways, chosen)


def avg_pool() -> Family:
    params, run = ours(nn.AvgPool2d(3, 2, channels_last=True))

    def window(p: Any, x: Any) -> Any:
        strides = (1, 2, 2, 1)
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), strides, "VALID") / 9

    ways = {"funcparams": run, "lax.reduce_window": window}
    chosen = "sums of slices, axis by axis"
    x = normal(16, 32, 32, 64)
    return Family("AvgPool2d(3, 2), 16 images of 32 x 32 x 64", params, x, ways, chosen)


def embedding() -> Family:
    params, run = ours(nn.Embedding(8192, 256))
    ids = jnp.asarray(np.random.RandomState(0).randint(0, 8192, (16, 128)), jnp.int32)
    ways: dict[str, Run] = {
        "funcparams": run,
        "w[ids]": lambda p, ids: p["weight"][ids],
        "one-hot product": lambda p, ids: jax.nn.one_hot(ids, 8192) @ p["weight"],
    }
    chosen = "a gather whose rows out of range are NaN"
    return Family("Embedding, 2,048 of 8,192 rows of 256", params, ids, ways, chosen, False)


def embedding_bag() -> Family:
    params, run = ours(nn.EmbeddingBag(8192, 64, mode="sum"))
    ids = jnp.asarray(np.random.RandomState(0).randint(0, 8192, (64, 32)), jnp.int32)

    def segments(p: Any, ids: Any) -> Any:
        bags = jnp.repeat(jnp.arange(64), 32)
        return jax.ops.segment_sum(p["weight"][ids.ravel()], bags, 64)

    ways: dict[str, Run] = {"funcparams": run, "jax.ops.segment_sum": segments}
    chosen = "a gather and a sum"
    return Family("EmbeddingBag, 64 bags of 32 rows of 64", params, ids, ways, chosen, False)


def upsample() -> Family:
    model = nn.Upsample(scale_factor=2, mode="bilinear", channels_last=True)
    params, run = ours(model)
    ways: dict[str, Run] = {
        "funcparams": run,
        "jax.image.resize": lambda p, x: jax.image.resize(x, (8, 64, 64, 16), "linear"),
    }
    chosen = "shifted copies of whole axes, no gather"
    return Family(
        "Upsample, bilinear, 8 images to 64 x 64 x 16", params, normal(8, 32, 32, 16), ways, chosen
    )


def cross_entropy() -> Family:
    import optax

    labels = jnp.asarray(np.random.RandomState(0).randint(0, 1024, 512), jnp.int32)
    ways: dict[str, Run] = {
        "funcparams": lambda p, x: functional.cross_entropy(x, labels),
        "optax": lambda p, x: optax.softmax_cross_entropy_with_integer_labels(x, labels).mean(),
    }
    chosen = "log_softmax and a gather"
    return Family("cross_entropy, 512 of 1,024 classes", {}, normal(512, 1024), ways, chosen)


FAMILIES = {
    "LSTM": lstm,
    "MultiheadAttention": attention,
    "Conv2d": conv,
    "ConvTranspose2d": conv_transpose,
    "BatchNorm2d": batch_norm,
    "MaxPool2d": max_pool,
    "AvgPool2d": avg_pool,
    "Embedding": embedding,
    "EmbeddingBag": embedding_bag,
    "Upsample": upsample,
    "cross_entropy": cross_entropy,
}


class Figures(NamedTuple):
    """What was measured of one way: seconds, and for the last two a value a round."""

    operations: int
    compiling: float
    forward: list[float]
    step: list[float]


def step_of(run: Run, by_x: bool) -> Callable[[Any, Any, Any], Any]:
    """Give the gradient of a weighted sum of outputs, by params and input."""

    def loss(params: Any, x: Any, weights: Any) -> Any:
        return jnp.sum(run(params, x) * weights)

    return jax.value_and_grad(loss, (0, 1) if by_x else 0)


def check(family: Family) -> None:
    """All ways give the same numbers."""
    first, *others = family.ways
    wanted = jax.jit(family.ways[first])(family.params, family.x)
    for name in others:
        came = jax.jit(family.ways[name])(family.params, family.x)
        scale = float(jnp.abs(wanted).max())
        np.testing.assert_allclose(
            came, wanted, atol=2e-4 * scale, err_msg=f"{family.title}: {name}"
        )


def measure(family: Family, rounds: int) -> dict[str, Figures]:
    """Compile each way alone, then let them run in turn."""
    check(family)
    given = family.params, family.x
    first = next(iter(family.ways.values()))
    weights = normal(*jax.eval_shape(first, *given).shape, seed=1)
    programs: dict[str, tuple[Any, Any]] = {}
    found: dict[str, Figures] = {}
    for name, run in family.ways.items():
        step, seconds = step_of(run, family.by_x), []
        for _ in range(3):
            jax.clear_caches()
            lowered = jax.jit(step).lower(*given, weights)
            start = time.perf_counter()
            compiled = lowered.compile()
            seconds.append(time.perf_counter() - start)
        forward = jax.jit(run).lower(*given).compile()
        programs[name] = (
            functools.partial(forward, *given),
            functools.partial(compiled, *given, weights),
        )
        count = operation_counts(lowered).total()
        found[name] = Figures(count, statistics.median(seconds), [], [])
    for turn in range(rounds + 1):
        gc.collect()
        for name in list(programs) if turn % 2 else list(programs)[::-1]:
            for program, values in zip(programs[name], found[name][2:], strict=True):
                jax.block_until_ready(program())
                start = time.perf_counter()
                jax.block_until_ready(program())
                if turn:  # the first one warms up
                    values.append(time.perf_counter() - start)
    return found


def ratios(figures: dict[str, Figures], name: str, base: str) -> tuple[float, float]:
    """Give the medians, over the rounds, of forward and step relative to another way's."""
    pairs = [zip(figures[name][i], figures[base][i], strict=True) for i in (2, 3)]
    one, two = (statistics.median(a / b for a, b in pair) for pair in pairs)
    return one, two


def table(name: str, family: Family, figures: dict[str, Figures]) -> list[str]:
    lines = [f"## {name}", "", f"{family.title}. Chosen: {family.chosen}.", ""]
    lines += [
        "| formula | operations | compile, s | forward, ms | x | gradient, ms | x |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    base = next(iter(figures))
    for way, one in figures.items():
        forward, step = ratios(figures, way, base)
        cells = [f"**{way}**" if way.startswith("funcparams") else way, f"{one.operations:,}"]
        cells += [f"{one.compiling:.2f}", f"{1e3 * statistics.median(one.forward):.2f}"]
        cells += [f"{forward:.2f}", f"{1e3 * statistics.median(one.step):.2f}", f"{step:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


HEAD = """# Formulas

This page is written by `python -m benchmarks.formulas`: every family of layers beside the other
ways to compute the same function, on {device}, jax {jax}, {cores} cores. `x` is the median, over
rounds in which all take turns, of the ratio to the first line; a gradient is by parameters and
input. Operations are those of the gradient's lowered program. Normalisations have
[a page of their own](norms.md).
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure all families, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=FAMILIES, metavar="FAMILY")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args(arguments)
    device = f"{jax.devices()[0].device_kind} ({platform.machine()})"
    head = HEAD.format(device=device, jax=jax.__version__, cores=len(os.sched_getaffinity(0)))
    lines = [head]
    for name in options.only or FAMILIES:
        family = FAMILIES[name]()
        rows = table(name, family, measure(family, options.rounds))
        print("\n".join(rows), flush=True)
        lines += rows
    options.out.write_text("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
