"""Mean and variance as every normalisation here computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputTypeError, floating, title, widened


def moments(
    x: jax.Array, axes: Sequence[int], axis_name: str | tuple[str, ...] | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    r"""Return x less its mean, its variance (of n, not n - 1) and its mean, over `axes`, kept.

    With $c$ the computed mean and $d = x - c$, the variance is
    $\overline{d^2} - \overline d^2$. Since $c$ misses the mean by rounding only, this is two-pass
    accuracy and more: what $c$ misses is corrected. No derivative passes $c$, on which nothing
    depends; so gradients cost what those of $\overline{x^2} - \overline x^2$ cost, and that
    formula loses all digits where the mean is large. benchmarks/norms.py measures both.

    Args:
        x: An array, float32 or wider.
        axes: The axes to reduce.
        axis_name: Mapped axes to reduce as well. All that share them have one $c$, so what is
            shared afterwards is small numbers, and no digits are lost; that costs one exchange
            more than $\overline{x^2}$ and $\overline x$ would.
    """

    def shared(means: Any) -> Any:
        return means if axis_name is None else lax.pmean(means, axis_name)

    centre = lax.stop_gradient(shared(jnp.mean(x, axes, keepdims=True)))
    shifted = x - centre
    # The squares stand before the mean: with these two lines the other way round, XLA's CPU backend
    # took 3 times as long over a train step of 12 layers, whose program was 2 times slower.
    square = jnp.mean(lax.square(shifted), axes, keepdims=True)
    square, rest = shared((square, jnp.mean(shifted, axes, keepdims=True)))
    # Rounding can take the difference below 0 where x is constant.
    variance = jnp.maximum(square - lax.square(rest), 0)
    return shifted - rest, variance, centre + rest


def measured(module: Module, x: ArrayLike, *params: jax.Array | None) -> tuple[jax.Array, Any]:
    """Return an input in the dtype that statistics are computed in, and its own dtype.

    That is float32 for the half types, else the dtype itself. Parameters have either of the two.
    """
    x = floating(module, x, jnp.floating)
    wide = widened(x.dtype)
    for weight in params:
        if weight is not None and weight.dtype not in (x.dtype, wide):
            allowed = " or ".join(dict.fromkeys((str(x.dtype), str(wide))))
            raise InputTypeError(
                f"{title(module)}: the input is {x.dtype}{list(x.shape)}, and the parameters are "
                f"{weight.dtype}; expected {allowed} parameters.\n"
                f"  Convert the input, x.astype({weight.dtype}), or the parameters: "
                "model.astype(dtype) for new ones, fp.cast(params, dtype) for these."
            )
    return x.astype(wide), x.dtype


def scaled(
    x: jax.Array,
    factor: jax.Array,
    weight: jax.Array | None,
    bias: jax.Array | None,
    dtype: Any,
) -> jax.Array:
    """Return x * factor * weight + bias in `dtype`, computed in that of x."""
    # Both factors first: one pass over x less.
    factor = factor if weight is None else factor * weight.astype(x.dtype)
    y = x * factor
    return (y if bias is None else y + bias.astype(x.dtype)).astype(dtype)
