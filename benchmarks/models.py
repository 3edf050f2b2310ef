"""What all contenders share: configurations, data, attention, loss, optimiser, and the weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

EPS = 1e-5
MOMENTUM = 0.1  # PyTorch's: the share of the newest batch
STD = 0.02
RATE, DECAY = 1e-3, 1e-4


@dataclasses.dataclass(frozen=True)
class Config:
    """One model and the size of its input."""

    model: str = "gpt"  # or "mlp", "conv"
    layers: int = 12
    width: int = 256
    heads: int = 4
    vocab: int = 512
    batch: int = 8
    length: int = 128
    scan: bool = False  # the blocks stacked, and scanned over; gpt only
    image: int = 32
    channels: tuple[int, ...] = (16, 32, 64)
    classes: int = 10

    def describe(self) -> str:
        """Say it in the words of a table's title."""
        if self.model == "gpt":
            return (
                f"GPT, {self.layers} layers of width {self.width}, batch {self.batch}, "
                f"{self.length} tokens"
            )
        if self.model == "mlp":
            return f"MLP, {self.layers} layers of width {self.width}, batch {self.batch}"
        size = f"{self.batch} images of {self.image} px"
        return f"convolutions with BatchNorm, {self.channels} channels, {size}"


def inputs(cfg: Config, seed: int = 0) -> np.ndarray:
    """Make one input, in numpy."""
    rng = np.random.RandomState(seed)
    if cfg.model == "gpt":
        return rng.randint(0, cfg.vocab, (cfg.batch, cfg.length)).astype(np.int32)
    if cfg.model == "mlp":
        return rng.randn(cfg.batch, cfg.width).astype(np.float32)
    return rng.randn(cfg.batch, cfg.image, cfg.image, 3).astype(np.float32)


def targets(cfg: Config, seed: int = 0) -> np.ndarray:
    """Make what the model is to learn for `inputs(cfg, seed)`."""
    rng = np.random.RandomState(seed + 1)
    if cfg.model == "gpt":
        return rng.randint(0, cfg.vocab, (cfg.batch, cfg.length)).astype(np.int32)
    if cfg.model == "mlp":
        return rng.randn(cfg.batch, cfg.width).astype(np.float32)
    return rng.randint(0, cfg.classes, (cfg.batch,)).astype(np.int32)


def attention(qkv: Any, heads: int) -> Any:
    """Causal attention from a fused projection (..., S, 3d): no library's own."""
    import jax
    import jax.numpy as jnp

    *lead, length, triple = qkv.shape
    size = triple // 3 // heads
    q, k, v = (part.reshape(*lead, length, heads, size) for part in jnp.split(qkv, 3, axis=-1))
    scores = jnp.einsum("...qhd,...khd->...hqk", q, k) * size**-0.5
    scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -1e9)
    out = jnp.einsum("...hqk,...khd->...qhd", jax.nn.softmax(scores, axis=-1), v)
    return out.reshape(*lead, length, triple // 3)


def loss_of(cfg: Config, out: Any, target: Any) -> Any:
    """Give the mean loss."""
    import jax.numpy as jnp
    import optax

    if cfg.model == "mlp":
        return jnp.mean((out - target) ** 2)
    return optax.softmax_cross_entropy_with_integer_labels(out, target).mean()


def optimiser() -> Any:
    """Make the optimiser of every JAX contender."""
    import optax

    return optax.adamw(RATE, weight_decay=DECAY)


def canonical(cfg: Config, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give (weights, running statistics) in numpy: the same numbers for every contender.

    Names and shapes are PyTorch's, so they are those of hand.py and of funcparams too.
    """
    rng = np.random.RandomState(seed)

    def normal(*shape: int, std: float = 0.05) -> np.ndarray:
        return (rng.randn(*shape) * std).astype(np.float32)

    def linear(i: int, o: int) -> dict[str, Any]:
        return {"weight": normal(o, i, std=i**-0.5), "bias": normal(o)}

    def norm(size: int) -> dict[str, Any]:
        return {"weight": 1 + normal(size), "bias": normal(size)}

    d = cfg.width
    if cfg.model == "gpt":
        blocks = {
            str(index): {
                "ln1": norm(d),
                "qkv": linear(d, 3 * d),
                "proj": linear(d, d),
                "ln2": norm(d),
                "fc": linear(d, 4 * d),
                "out": linear(4 * d, d),
            }
            for index in range(cfg.layers)
        }
        table, places = normal(cfg.vocab, d), normal(cfg.length, d)
        return {
            "wte": {"weight": table},
            "wpe": {"weight": places},
            "blocks": blocks,
            "ln_f": norm(d),
        }, {}
    if cfg.model == "mlp":
        return {"layers": {str(index): linear(d, d) for index in range(cfg.layers)}}, {}
    convs, norms, stats, size = {}, {}, {}, 3
    for index, channels in enumerate(cfg.channels):
        kernel = normal(channels, size, 3, 3, std=(9 * size) ** -0.5)
        convs[str(index)] = {"weight": kernel, "bias": normal(channels)}
        norms[str(index)] = norm(channels)
        stats[str(index)] = {
            "running_mean": np.zeros(channels, np.float32),
            "running_var": np.ones(channels, np.float32),
            "num_batches_tracked": np.zeros((), np.int32),
        }
        size = channels
    params = {"convs": convs, "norms": norms, "dense": linear(size, cfg.classes)}
    return params, {"norms": stats}


def canonical_count(cfg: Config) -> int:
    """Count the trainable numbers of a model without making it; the tied table counts once."""
    d = cfg.width
    if cfg.model == "gpt":
        return (cfg.vocab + cfg.length + 2) * d + cfg.layers * (12 * d * d + 13 * d)
    if cfg.model == "mlp":
        return cfg.layers * (d * d + d)
    total, size = 0, 3
    for channels in cfg.channels:
        total += 9 * size * channels + 3 * channels
        size = channels
    return total + (size + 1) * cfg.classes


def stacked(trees: list[Any]) -> Any:
    """Stack trees of one structure leaf by leaf: the layout that a scan takes."""
    import jax

    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def on_device(tree: Any) -> Any:
    """Turn numpy leaves into arrays of JAX."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(jnp.asarray, tree)
