"""Normalisations: step time, compile time and accuracy of three formulas, in one run.

Compared are this library's layers, the definition in two passes (the mean, then the mean of
squared deviations), and flax.linen's layers (the mean of squares less the square of the mean).
LayerNorm and RMSNorm stand in a GPT-like stack, GroupNorm and BatchNorm in a convolutional network
with the channels last; a step is the loss and its gradient. Contenders take turns, medians are
shown, and times are relative to the fastest of three. Errors are the largest difference from
float64, relative to the largest number, of outputs and of gradients by the input.

    python -m benchmarks.norms --layers 12 --rounds 15     # writes docs/benchmarks/norms.md
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcparams import nn

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "norms.md"
HEAD = """# Normalisations

This page is written by `python -m benchmarks.norms`: three formulas in one run, on {device}, jax
{jax}, {layers} layers of a GPT-like stack for `LayerNorm` and `RMSNorm`, three convolutions for the
others. A step is a loss and its gradient. Errors are the largest difference from float64, relative
to the largest number, of outputs and of gradients by the input, for numbers of mean 0, 1e3 and 1e5,
and with one number far from all others.

"""
EPS = 1e-5
WIDTH, HEADS, TOKENS, BATCH, VOCABULARY = 256, 4, 128, 8, 512
CHANNELS, IMAGE = (32, 64, 64), 32

Norm = Callable[[Any, Any, Any], tuple[Any, Any]]  # (weight, bias, x) -> (y, new statistics)


# The definition, in two passes


def two_pass(axes: tuple[int, ...], w: Any, b: Any, x: Any) -> tuple[Any, Any]:
    mean = jnp.mean(x, axes, keepdims=True)
    variance = jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + EPS) * w + b, (mean, variance)


def plain_layer(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
    return two_pass((-1,), w, b, x)[0], ()


def plain_rms(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
    return x / jnp.sqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + EPS) * w, ()


def plain_group(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
    n, *places, channels = x.shape
    split = x.reshape(n, *places, 8, channels // 8)
    axes = (*range(1, len(places) + 1), len(places) + 2)
    y = two_pass(axes, w.reshape(8, -1), b.reshape(8, -1), split)[0]
    return y.reshape(x.shape), ()


def plain_batch(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
    y, (mean, variance) = two_pass(tuple(range(x.ndim - 1)), w, b, x)
    size = x.size / x.shape[-1]
    return y, (0.1 * mean.ravel(), 0.9 + 0.1 * variance.ravel() * size / (size - 1))


# This library's layers, and flax's


def our(make: Callable[[int], Any]) -> Norm:
    def run(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
        model = make(w.size)
        params = {"weight": w, "bias": b} if "bias" in model.abstract() else {"weight": w}
        return model.apply_with_state(params, model.init_state(), x, training=True)

    return run


def flax(make: Callable[[int], Any]) -> Norm:
    def run(w: Any, b: Any, x: Any) -> tuple[Any, Any]:
        layer = make(w.size)
        variables = {"params": {"scale": w, "bias": b}}
        if isinstance(layer, linen.RMSNorm):
            variables = {"params": {"scale": w}}
        if isinstance(layer, linen.BatchNorm):
            variables["batch_stats"] = {"mean": jnp.zeros(w.size), "var": jnp.ones(w.size)}
        return layer.apply(variables, x, mutable=["batch_stats"])

    return run


NORMS: dict[str, dict[str, Norm]] = {
    "LayerNorm": {
        "funcparams": our(nn.LayerNorm),
        "two-pass": plain_layer,
        "flax.linen": flax(lambda n: linen.LayerNorm(epsilon=EPS)),
    },
    "RMSNorm": {
        "funcparams": our(lambda n: nn.RMSNorm(n, EPS)),
        "plain": plain_rms,
        "flax.linen": flax(lambda n: linen.RMSNorm(epsilon=EPS)),
    },
    "GroupNorm": {
        "funcparams": our(lambda n: nn.GroupNorm(8, n, channels_last=True)),
        "two-pass": plain_group,
        "flax.linen": flax(lambda n: linen.GroupNorm(num_groups=8, epsilon=EPS)),
    },
    "BatchNorm": {
        "funcparams": our(lambda n: nn.BatchNorm2d(n, channels_last=True)),
        "two-pass": plain_batch,
        "flax.linen": flax(
            lambda n: linen.BatchNorm(use_running_average=False, epsilon=EPS, momentum=0.9)
        ),
    },
}


# The models that they stand in


def gpt_params(layers: int) -> Any:
    rng = np.random.RandomState(0)

    def weight(*shape: int) -> Any:
        return jnp.asarray(0.02 * rng.randn(*shape), jnp.float32)

    def linear(i: int, o: int) -> Any:
        return weight(i, o), jnp.zeros(o)

    def norm() -> Any:
        return jnp.ones(WIDTH), jnp.zeros(WIDTH)

    blocks = [
        {
            "norm1": norm(),
            "qkv": linear(WIDTH, 3 * WIDTH),
            "proj": linear(WIDTH, WIDTH),
            "norm2": norm(),
            "up": linear(WIDTH, 4 * WIDTH),
            "down": linear(4 * WIDTH, WIDTH),
        }
        for _ in range(layers)
    ]
    return {"wte": weight(VOCABULARY, WIDTH), "blocks": blocks, "norm": norm()}


def gpt_loss(norm: Norm, params: Any, tokens: Any) -> Any:
    def linear(p: Any, x: Any) -> Any:
        return x @ p[0] + p[1]

    def attention(x: Any) -> Any:
        q, k, v = (
            a.reshape(BATCH, TOKENS, HEADS, WIDTH // HEADS) for a in jnp.split(x, 3, axis=-1)
        )
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(WIDTH // HEADS).astype(np.float32)
        scores = jnp.where(np.tri(TOKENS, dtype=bool), scores, -1e9)
        y = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v)
        return y.reshape(BATCH, TOKENS, WIDTH)

    x = params["wte"][tokens]
    for p in params["blocks"]:
        x = x + linear(p["proj"], attention(linear(p["qkv"], norm(*p["norm1"], x)[0])))
        x = x + linear(p["down"], jax.nn.gelu(linear(p["up"], norm(*p["norm2"], x)[0])))
    logits = norm(*params["norm"], x)[0] @ params["wte"].T
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)
    return -chosen.mean(), ()


def conv_params() -> Any:
    rng = np.random.RandomState(0)
    return [
        (jnp.asarray(0.1 * rng.randn(o, i, 3, 3), jnp.float32), jnp.ones(o), jnp.zeros(o))
        for i, o in zip((3, *CHANNELS), CHANNELS, strict=False)
    ]


def conv_loss(norm: Norm, params: Any, images: Any) -> Any:
    x, statistics_ = images, []
    for weight, w, b in params:
        x = lax.conv_general_dilated(
            x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC")
        )
        x, new = norm(w, b, x)
        statistics_.append(new)
        x = jax.nn.relu(x)
    return jnp.square(x.mean((1, 2))).sum(), statistics_


# Measuring


def build(loss: Any, norm: Norm, args: Any) -> tuple[float, Any]:
    """Compile a step from nothing, and give the seconds that XLA took."""
    jax.clear_caches()
    step = jax.jit(jax.value_and_grad(lambda p, x: loss(norm, p, x), has_aux=True))
    lowered = step.lower(*args)
    start = time.perf_counter()
    compiled = lowered.compile()
    return time.perf_counter() - start, compiled


def speed(loss: Any, args: Any, contenders: dict[str, Norm], rounds: int) -> Any:
    compiles: dict[str, list[float]] = {name: [] for name in contenders}
    steps: dict[str, list[float]] = {name: [] for name in contenders}
    programs: dict[str, Any] = {}
    for _ in range(3):
        for name, norm in contenders.items():
            seconds, programs[name] = build(loss, norm, args)
            compiles[name].append(seconds)
    for turn in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*args))
            if turn:  # the first one warms up
                steps[name].append(time.perf_counter() - start)
    return {
        name: (statistics.median(compiles[name]), statistics.median(steps[name]))
        for name in contenders
    }


def inputs(norm: str) -> dict[str, Any]:
    """Numbers of mean 0, of large means, and with the first one far out, in float32."""
    rng = np.random.RandomState(0)
    image = norm in ("GroupNorm", "BatchNorm")
    x = rng.randn(16, 16, 16, 64) if image else rng.randn(64, 768)
    far = x.copy()
    if image:
        far[0, 0, 0] = 1e4
    else:
        far[:, 0] = 1e4
    cases = {"0": x, "1e3": x + 1e3, "1e5": x + 1e5, "outlier": far}
    return {name: np.asarray(case, np.float32) for name, case in cases.items()}


def errors(norm: str, contenders: dict[str, Norm]) -> dict[str, list[str]]:
    exact = contenders["plain" if norm == "RMSNorm" else "two-pass"]
    found: dict[str, list[str]] = {name: [] for name in contenders}
    for x in inputs(norm).values():
        size = x.shape[-1]
        cotangent = np.random.RandomState(1).randn(*x.shape)

        def both(run: Norm, x: Any, dtype: Any, size: int = size, c: Any = cotangent) -> Any:
            ones, zeros = jnp.ones(size, dtype), jnp.zeros(size, dtype)
            y, pull = jax.vjp(lambda x: run(ones, zeros, x)[0], jnp.asarray(x, dtype))
            return np.asarray(y, np.float64), np.asarray(pull(jnp.asarray(c, dtype))[0], np.float64)

        with jax.enable_x64(True):
            wanted = both(exact, x, jnp.float64)
        for name, run in contenders.items():
            came = both(run, x, jnp.float32)
            pairs = zip(came, wanted, strict=True)
            worst = [np.abs(a - b).max() / np.abs(b).max() for a, b in pairs]
            found[name].append(" / ".join(f"{error:.0e}" for error in worst))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=12, help="blocks of the GPT-like stack")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each contender")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    rng = np.random.RandomState(2)
    tokens = jnp.asarray(rng.randint(0, VOCABULARY, (BATCH, TOKENS)))
    images = jnp.asarray(rng.randn(32, IMAGE, IMAGE, 3), jnp.float32)
    device = jax.devices()[0].device_kind
    page = [HEAD.format(device=device, jax=jax.__version__, layers=options.layers)]

    def write(line: str) -> None:
        page.append(line + "\n")
        print(line, flush=True)

    header = ["layer", "formula", "step (ms)", "relative", "compile (s)", "relative"]
    header += [f"error at {case}" for case in inputs("LayerNorm")]
    write("| " + " | ".join(header) + " |")
    write("|" + " --- |" * len(header))
    for norm, contenders in NORMS.items():
        if norm in ("LayerNorm", "RMSNorm"):
            times = speed(
                gpt_loss, (gpt_params(options.layers), tokens), contenders, options.rounds
            )
        else:
            times = speed(conv_loss, (conv_params(), images), contenders, options.rounds)
        wrong = errors(norm, contenders)
        compile_best, step_best = (min(each[i] for each in times.values()) for i in (0, 1))
        for name, (compiling, step) in times.items():
            row = [norm, name, f"{1e3 * step:.1f}", f"{step / step_best:.2f}"]
            row += [f"{compiling:.2f}", f"{compiling / compile_best:.2f}", *wrong[name]]
            write("| " + " | ".join(row) + " |")
    options.out.write_text("".join(page))


if __name__ == "__main__":
    main()
