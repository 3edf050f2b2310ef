"""The gated feed-forward layer of today's language models."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import array, whole
from funcparams.nn.linear import Linear, check_last


class SwiGLU(Module):
    r"""Feed each place through a gated layer: $y = W_d (\mathrm{silu}(W_g x) \odot W_u x)$.

    Args:
        in_features: The size of the input's last axis.
        hidden_features: The size of the gate.
        out_features: The size of the output's last axis; in_features with None.
        bias: Whether the three linear layers have biases.
        dtype: The dtype of the parameters.

    Attributes:
        gate_proj: A linear layer with weight (hidden_features, in_features), $W_g$.
        up_proj: The same, $W_u$.
        down_proj: A linear layer with weight (out_features, hidden_features), $W_d$.

    Called with x of shape (..., in_features) and of the parameters' dtype, it returns an array of
    shape (..., out_features) of that dtype.

    Raises:
        ArgumentError: For a size that is no integer, or negative.
        InputError: If the last axis of x is not in_features.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.SwiGLU(2, 4)
        >>> [name for name, _ in model.named_parameters()]
        ['gate_proj.weight', 'up_proj.weight', 'down_proj.weight']
        >>> params = {
        ...     "gate_proj": {"weight": jnp.ones((4, 2))},
        ...     "up_proj": {"weight": jnp.ones((4, 2))},
        ...     "down_proj": {"weight": jnp.ones((2, 4))},
        ... }
        >>> y = model.apply(params, jnp.array([1.0, 1.0]))  # 4 * silu(2) * 2
        >>> [round(float(each), 4) for each in y]
        [14.0928, 14.0928]

    References:
        Shazeer, [GLU variants improve transformer](https://arxiv.org/abs/2002.05202), 2020
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        size = whole(in_features, "SwiGLU", "in_features")
        hidden = whole(hidden_features, "SwiGLU", "hidden_features")
        out = size if out_features is None else whole(out_features, "SwiGLU", "out_features")
        self.gate_proj = Linear(size, hidden, bias, dtype)
        self.up_proj = Linear(size, hidden, bias, dtype)
        self.down_proj = Linear(hidden, out, bias, dtype)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Map x of shape (..., in_features) to (..., out_features)."""
        x = array(x)
        check_last(self, x, "in_features", self.gate_proj.in_features)
        return self.down_proj(jax.nn.silu(self.gate_proj(x)) * self.up_proj(x))
