"""Normalisations by neighbouring channels: `LocalResponseNorm` and `CrossMapLRN2d`."""

from __future__ import annotations

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import AXES, InputError, layout, number, title, whole
from funcparams.nn.norm.moments import measured
from funcparams.nn.pooling.windows import Window, sums


class _LocalNorm(Module):
    """What both share: everything but the channels that are neighbours."""

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        channels_last: bool = False,
    ) -> None:
        layer = type(self).__name__
        self.size = whole(size, layer, "size", 1)
        self.alpha = number(alpha, layer, "alpha")
        self.beta = number(beta, layer, "beta")
        self.k = number(k, layer, "k")
        self.channels_last = bool(channels_last)

    def _channel(self, x: jax.Array) -> int:
        return x.ndim - 1 if self.channels_last else 1

    def _divided(self, x: jax.Array, total: jax.Array) -> jax.Array:
        """Divide x by what the sums of its neighbours' squares make of it."""
        return x * (total * (self.alpha / self.size) + self.k) ** -self.beta

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text + (", channels_last=True" if self.channels_last else "")


class LocalResponseNorm(_LocalNorm):
    r"""Divide by neighbouring channels: $y_c = x_c\,(k + \alpha\,\overline{x^2})^{-\beta}$.

    The mean is that of n = size channels, those from c - n // 2 to c + (n - 1) // 2; where there
    are none, zeros count.

    Args:
        size: The number n of channels.
        alpha: The factor $\alpha$ of the mean.
        beta: The exponent $\beta$.
        k: The number k added to the mean.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Called with x of shape (N, C, ...), of three axes or more and a floating dtype, it returns an
    array of x's shape and dtype. The half types are computed in float32.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x has fewer than three axes.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.LocalResponseNorm(2, alpha=2.0, beta=1.0)
        >>> y = model.apply({}, jnp.array([[[1.0], [2.0], [3.0]]]))
        >>> [round(float(value), 3) for value in y.ravel()]
        [0.5, 0.333, 0.214]

    References:
        Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012;
        [torch.nn.LocalResponseNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x of shape (N, C, ...), or (N, ..., C) with channels_last."""
        x, dtype = measured(self, x)
        if x.ndim < 3:
            expected = "(N, ..., C)" if self.channels_last else "(N, C, ...)"
            raise InputError(
                f"{title(self)}: expected an input of shape {expected} with three axes or more, "
                f"got shape {x.shape}."
            )
        channel = self._channel(x)
        total = _neighbours(lax.square(x), channel, self.size // 2, (self.size - 1) // 2)
        return self._divided(x, total).astype(dtype)


class CrossMapLRN2d(_LocalNorm):
    r"""Divide by the size of near channels: $y_c = x_c\,(k + \frac\alpha n \sum_j x_j^2)^{-\beta}$.

    The sum is over the channels j that are at most (n - 1) // 2 from c, with n = size, and over
    channel 0 as well. That channel 0 is never let go of is PyTorch's: outputs agree with it. The
    gradient here is that of this formula; PyTorch's is off by one channel, and agrees only where no
    window ends before the last channel.

    Args:
        size: The number n of channels that the sum is divided by.
        alpha: The factor $\alpha$ of the sum.
        beta: The exponent $\beta$.
        k: The number k added to the sum.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) and a floating dtype, it returns an array of x's shape and
    dtype. The half types are computed in float32. New models take
    [`LocalResponseNorm`][funcparams.nn.LocalResponseNorm].

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x has another rank.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.CrossMapLRN2d(3).apply({}, jnp.ones((2, 3, 4, 4))).shape
        (2, 3, 4, 4)

    References:
        [torch.nn.CrossMapLRN2d](https://github.com/pytorch/pytorch/blob/main/torch/nn/modules/_functions.py)
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__(size, alpha, beta, k, channels_last=channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x of shape (N, C, H, W), or (N, H, W, C) with channels_last."""
        x, dtype = measured(self, x)
        if x.ndim != 4:
            raise InputError(
                f"{title(self)}: expected an input of shape "
                f"{layout('C', self.channels_last, AXES[2])}, got shape {x.shape}."
            )
        channel, reach = self._channel(x), (self.size - 1) // 2
        square = lax.square(x)
        total = _neighbours(square, channel, reach, reach)
        if x.shape[channel] > reach + 1:
            # From here on the windows lie behind channel 0.
            after = x.shape[channel] - reach - 1
            padding = [(0, 0, 0)] * x.ndim
            padding[channel] = (reach + 1, 0, 0)
            first = lax.slice_in_dim(square, 0, 1, axis=channel)
            shape = (*x.shape[:channel], after, *x.shape[channel + 1 :])
            late = lax.broadcast_in_dim(first, shape, range(x.ndim))
            total += lax.pad(late, np.zeros((), x.dtype), padding)
        return self._divided(x, total).astype(dtype)


def _neighbours(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Return, at each place of an axis, the sum from so many places before to so many after."""
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (before, after, 0)
    padded = lax.pad(x, np.zeros((), x.dtype), padding)
    return sums(padded, axis, Window(before + after + 1, 1, 1, x.shape[axis]))
