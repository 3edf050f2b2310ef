"""Activations made of straight pieces or joined at 0: `ReLU` and its relatives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, param
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    array,
    floating,
    matching,
    number,
    title,
    whole,
)


class ReLU(Module):
    r"""$\max(x, 0)$, entry by entry, with derivative 0 at 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReLU().apply({}, jnp.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]

    References:
        [torch.nn.ReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.relu(x)


class Hardtanh(Module):
    r"""$\min(\max(x, min), max)$, entry by entry.

    Args:
        min_val: The least value.
        max_val: The greatest value, above min_val.

    Raises:
        ArgumentError: If max_val is not above min_val.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Hardtanh(-2, 2).apply({}, jnp.array([-3.0, 1.0, 3.0])).tolist()
        [-2.0, 1.0, 2.0]

    References:
        [torch.nn.Hardtanh](https://docs.pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html)
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val = number(min_val, "Hardtanh", "min_val")
        self.max_val = number(max_val, "Hardtanh", "max_val")
        if not max_val > min_val:
            raise ArgumentError(
                f"Hardtanh(min_val={min_val}, max_val={max_val}): max_val must be greater than "
                "min_val."
            )

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return clamp(array(x), self.min_val, self.max_val)


class ReLU6(Module):
    r"""$\min(\max(x, 0), 6)$, entry by entry, with derivative 0 at both ends.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ReLU6().apply({}, jnp.array([-1.0, 2.0, 8.0])).tolist()
        [0.0, 2.0, 6.0]

    References:
        [torch.nn.ReLU6](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU6.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return clamp(array(x), 0, 6)


class LeakyReLU(Module):
    r"""$x$ where it is positive, $\text{negative\_slope} \cdot x$ elsewhere.

    Args:
        negative_slope: The slope on the negative side.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.LeakyReLU(0.5).apply({}, jnp.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]

    References:
        [torch.nn.LeakyReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(negative_slope, "LeakyReLU", "negative_slope")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        return jnp.where(x > 0, x, x * self.negative_slope)


class PReLU(Module):
    r"""$x$ where it is positive, $w x$ elsewhere, with a learnt slope $w$.

    Args:
        num_parameters: The number of slopes: 1, or one for each channel.
        init: Where the slopes start.
        dtype: The dtype of the slopes.
        channels_last: Whether channels stand on the last axis of x instead of axis 1.

    Attributes:
        weight: (num_parameters,), all `init`.

    Called with x of any shape and of the slopes' dtype, it returns an array of that shape and
    dtype. Several slopes need an x of two axes or more, with as many channels.

    Raises:
        ArgumentError: If num_parameters is not a positive integer.
        InputError: If x has another number of channels than there are slopes.
        InputTypeError: If x has not the slopes' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.PReLU()
        >>> model.apply(model.init(None), jnp.array([-1.0, 2.0])).tolist()
        [-0.25, 2.0]

    References:
        He et al., [Delving deep into rectifiers](https://arxiv.org/abs/1502.01852), 2015;
        [torch.nn.PReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html)
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        dtype: Any = jnp.float32,
        *,
        channels_last: bool = False,
    ) -> None:
        self.num_parameters = whole(num_parameters, "PReLU", "num_parameters", 1)
        self.channels_last = bool(channels_last)
        self.weight = param(self.num_parameters, _start(init), dtype)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = matching(self, x, self.weight)
        slope = self.weight
        if self.num_parameters == 1:
            slope = lax.squeeze(slope, (0,))
        else:
            channel = x.ndim - 1 if self.channels_last else 1
            if x.ndim < 2 or x.shape[channel] != self.num_parameters:
                raise InputError(
                    f"{title(self)}: expected an input with num_parameters={self.num_parameters} "
                    f"channels on {'the last axis' if self.channels_last else 'axis 1'}, got shape "
                    f"{x.shape}."
                )
            slope = lax.expand_dims(slope, tuple(range(1, x.ndim - channel)))
        return jnp.where(x > 0, x, x * slope)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return f"num_parameters={self.num_parameters}{last}"


class RReLU(Module):
    r"""$x$ where it is positive, $s x$ elsewhere, with slopes drawn from U(lower, upper).

    In training each entry has a slope of its own; otherwise all have (lower + upper) / 2.

    Args:
        lower: The least slope.
        upper: The greatest slope.

    Called with x of any shape and a floating dtype, it returns an array of that shape and dtype.
    In training a call needs a key.

    Raises:
        ArgumentError: If lower > upper.
        KeyRequiredError: In training without a key.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.RReLU(0.25, 0.75).apply({}, jnp.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]

    References:
        Xu et al., [Empirical evaluation of rectified activations](https://arxiv.org/abs/1505.00853),
        2015; [torch.nn.RReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.RReLU.html)
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3) -> None:
        self.lower = number(lower, "RReLU", "lower")
        self.upper = number(upper, "RReLU", "upper")
        if lower > upper:
            raise ArgumentError(
                f"RReLU(lower={lower}, upper={upper}): lower must not be greater than upper."
            )

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = floating(self, x)
        slope: Any = (self.lower + self.upper) / 2
        if self.training:
            key = self.next_key()
            slope = jax.random.uniform(key, x.shape, x.dtype, self.lower, self.upper)
        return jnp.where(x > 0, x, x * slope)


class ELU(Module):
    r"""$x$ where it is positive, $\alpha (e^x - 1)$ elsewhere.

    Args:
        alpha: $\alpha$, what it goes to at -infinity, but for the sign.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> print(nn.ELU().apply({}, jnp.array([-1.0, 2.0])).round(4))
        [-0.6321  2.    ]

    References:
        Clevert et al., [Exponential linear units](https://arxiv.org/abs/1511.07289), 2015;
        [torch.nn.ELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.ELU.html)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "ELU", "alpha")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.elu(floating(self, x), self.alpha)


class CELU(Module):
    r"""$x$ where it is positive, $\alpha (e^{x / \alpha} - 1)$ elsewhere: smooth for any alpha.

    Args:
        alpha: $\alpha$, what it goes to at -infinity, but for the sign; not 0.

    Raises:
        ArgumentError: If alpha is 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.CELU(2.0).apply({}, jnp.array([-100.0, 2.0])).tolist()
        [-2.0, 2.0]

    References:
        Barron, [Continuously differentiable exponential linear units](https://arxiv.org/abs/1704.07483),
        2017; [torch.nn.CELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.CELU.html)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(alpha, "CELU", "alpha")
        if alpha == 0:
            raise ArgumentError("CELU(alpha=0): alpha cannot be 0, since x is divided by it.")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.celu(floating(self, x), self.alpha)


class SELU(Module):
    r"""$1.0507\,x$ where it is positive, $1.7581\,(e^x - 1)$ elsewhere.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> print(nn.SELU().apply({}, jnp.array([-100.0, 0.0])).round(2))
        [-1.76  0.  ]

    References:
        Klambauer et al., [Self-normalizing neural networks](https://arxiv.org/abs/1706.02515),
        2017; [torch.nn.SELU](https://docs.pytorch.org/docs/stable/generated/torch.nn.SELU.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        return jax.nn.selu(floating(self, x))


class Threshold(Module):
    r"""$x$ where it is above a threshold, a fixed value elsewhere.

    Args:
        threshold: The threshold.
        value: The value.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Threshold(0.1, 20).apply({}, jnp.array([-1.0, 2.0])).tolist()
        [20.0, 2.0]

    References:
        [torch.nn.Threshold](https://docs.pytorch.org/docs/stable/generated/torch.nn.Threshold.html)
    """

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold = number(threshold, "Threshold", "threshold")
        self.value = number(value, "Threshold", "value")

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it for every entry of x."""
        x = array(x)
        return jnp.where(x <= self.threshold, self.value, x)


def clamp(x: jax.Array, low: float, high: float) -> jax.Array:
    """Return x kept from `low` to `high`, with derivative 0 at both, as PyTorch has it.

    `jax.nn.relu6` and `jnp.clip` have derivative 1/2 there.
    """
    return lax.clamp(jnp.asarray(low, x.dtype), x, jnp.asarray(high, x.dtype))


def _start(value: float) -> init.constant:
    return init.constant(number(value, "PReLU", "init"))
