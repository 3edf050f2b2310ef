"""Dropout: zeros, or the value that SELU saturates at, in random places while training."""

from __future__ import annotations

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import (
    InputError,
    floating,
    probability,
    spatial_axes,
    title,
)

# What SELU goes to at -infinity: -scale * alpha, Klambauer et al., 2017.
_SATURATION = -1.7580993408473766


class _Dropout(Module):
    """What all of them share: the rate and its text."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p, type(self).__name__)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"p={self.p}, inplace=False"


class Dropout(_Dropout):
    r"""Zero each entry with probability p while training, and scale the others by $1 / (1 - p)$.

    Args:
        p: The probability of a zero.

    Called with x of any shape and a floating dtype, it returns an array of that shape and dtype.
    In training a call needs a key, at any p; otherwise it returns x and needs none.

    Raises:
        ArgumentError: If p is not from 0 to 1.
        KeyRequiredError: In training without a key.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Dropout(0.25)
        >>> y = model.apply({}, jnp.ones(1000), key=jax.random.key(0), training=True)
        >>> sorted({round(value, 2) for value in y.tolist()})
        [0.0, 1.33]
        >>> model.apply({}, jnp.ones(3)).tolist()
        [1.0, 1.0, 1.0]

    References:
        Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014;
        [torch.nn.Dropout](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Drop entries of x while training."""
        x = floating(self, x)
        return dropped(x, self.next_key(), self.p, x.shape) if self.training else x


class _ChannelDropout(_Dropout):
    """Dropout of whole channels."""

    spatial: ClassVar[int]

    def __init__(self, p: float = 0.5, *, channels_last: bool = False) -> None:
        super().__init__(p)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Drop channels of x while training."""
        x = floating(self, x)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        if not self.training:
            return x
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return dropped(x, self.next_key(), self.p, shape)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return super().extra_repr() + (", channels_last=True" if self.channels_last else "")


class Dropout1d(_ChannelDropout):
    r"""Zero each channel of sequences with probability p while training; scale the others.

    Args:
        p: The probability of a zero.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L), it returns an array of x's shape and dtype. In
    training a call needs a key.

    Raises:
        ArgumentError: If p is not from 0 to 1.
        InputError: If x has another rank.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> y = nn.Dropout1d(0.5).apply({}, jnp.ones((9, 4)), key=jax.random.key(0), training=True)
        >>> sorted(set(y.sum(1).tolist()))
        [0.0, 8.0]

    References:
        Tompson et al., [Efficient object localization](https://arxiv.org/abs/1411.4280), 2015;
        [torch.nn.Dropout1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout1d.html)
    """

    spatial = 1


class Dropout2d(_ChannelDropout):
    r"""Zero each channel of images with probability p while training; scale the others.

    Args:
        p: The probability of a zero.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W), it returns an array of x's shape and dtype.
    In training a call needs a key. (PyTorch still reads three axes as (N, C, L), with a warning
    that this will change: for sequences take `Dropout1d`.)

    Raises:
        ArgumentError: If p is not from 0 to 1.
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Dropout2d(0.5, channels_last=True).apply({}, jnp.ones((5, 5, 3))).shape
        (5, 5, 3)

    References:
        Tompson et al., [Efficient object localization](https://arxiv.org/abs/1411.4280), 2015;
        [torch.nn.Dropout2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html)
    """

    spatial = 2


class Dropout3d(_ChannelDropout):
    r"""Zero each channel of volumes with probability p while training; scale the others.

    Args:
        p: The probability of a zero.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W), it returns an array of x's shape and
    dtype. In training a call needs a key.

    Raises:
        ArgumentError: If p is not from 0 to 1.
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Dropout3d().apply({}, jnp.ones((3, 2, 2, 2))).shape
        (3, 2, 2, 2)

    References:
        Tompson et al., [Efficient object localization](https://arxiv.org/abs/1411.4280), 2015;
        [torch.nn.Dropout3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout3d.html)
    """

    spatial = 3


class AlphaDropout(_Dropout):
    r"""Set entries to SELU's saturation $\alpha'$ while training, keeping mean 0 and variance 1.

    What is kept becomes $a x + b$, what is dropped $a \alpha' + b$, with
    $a = ((1 - p)(1 + p \alpha'^2))^{-1/2}$, $b = -a p \alpha'$ and $\alpha' = -1.7581$.

    Args:
        p: The probability that an entry is dropped.

    Called with x of any shape and a floating dtype, it returns an array of that shape and dtype. In
    training a call needs a key, at any p.

    Raises:
        ArgumentError: If p is not from 0 to 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> y = nn.AlphaDropout().apply({}, jnp.zeros(99), key=jax.random.key(0), training=True)
        >>> sorted({round(value, 2) for value in y.tolist()})
        [-0.78, 0.78]

    References:
        Klambauer et al., [Self-normalizing neural networks](https://arxiv.org/abs/1706.02515),
        2017;
        [torch.nn.AlphaDropout](https://docs.pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html)
    """

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Drop entries of x while training."""
        x = floating(self, x)
        return _saturated(x, self.next_key(), self.p, x.shape) if self.training else x


class FeatureAlphaDropout(_Dropout):
    r"""Do as `AlphaDropout` does, to whole channels.

    Args:
        p: The probability that a channel is dropped.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Called with x of shape (N, C, ...) and a floating dtype, it returns an array of x's shape and
    dtype. In training a call needs a key, at any p.

    Raises:
        ArgumentError: If p is not from 0 to 1.
        InputError: If x has fewer than two axes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.FeatureAlphaDropout()
        >>> y = model.apply({}, jnp.zeros((9, 9, 5)), key=jax.random.key(0), training=True)
        >>> bool((y == y[:, :, :1]).all())
        True

    References:
        [torch.nn.FeatureAlphaDropout](https://docs.pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html)
    """

    def __init__(self, p: float = 0.5, *, channels_last: bool = False) -> None:
        super().__init__(p)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Drop channels of x while training."""
        x = floating(self, x)
        if x.ndim < 2:
            raise InputError(
                f"{title(self)}: expected an input with a batch and a channel axis, got shape "
                f"{x.shape}."
            )
        if not self.training:
            return x
        kept = (0, x.ndim - 1 if self.channels_last else 1)
        shape = tuple(size if axis in kept else 1 for axis, size in enumerate(x.shape))
        return _saturated(x, self.next_key(), self.p, shape)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return super().extra_repr() + (", channels_last=True" if self.channels_last else "")


def _mask(key: jax.Array, p: float, shape: tuple[int, ...], to: tuple[int, ...]) -> jax.Array:
    """Return True with probability 1 - p, drawn for `shape` and repeated to the shape `to`."""
    # Comparing raw bits is a fifth faster than jax.random.bernoulli, which makes floats of them.
    bound = np.uint32(min(round((1 - p) * 2**32), 2**32 - 1))
    mask = jax.random.bits(key, shape, jnp.uint32) < bound
    return mask if shape == to else jnp.broadcast_to(mask, to)


def dropped(x: jax.Array, key: jax.Array, p: float, shape: tuple[int, ...]) -> jax.Array:
    """Return x with numbers put to 0 with probability p, and the others divided by 1 - p.

    Args:
        x: The input.
        key: A PRNG key.
        p: The probability.
        shape: Of the random numbers; it broadcasts to x's.
    """
    if p in (0, 1):  # 1 / (1 - p) would make NaN of the gradient at 1
        return x if p == 0 else jnp.zeros_like(x)
    return jnp.where(_mask(key, p, shape, x.shape), x * (1 / (1 - p)), 0)


def _saturated(x: jax.Array, key: jax.Array, p: float, shape: tuple[int, ...]) -> jax.Array:
    if p in (0, 1):
        return x if p == 0 else jnp.zeros_like(x)
    a = 1 / math.sqrt((1 - p) * (1 + p * _SATURATION**2))
    b = -a * p * _SATURATION
    return jnp.where(_mask(key, p, shape, x.shape), x * a + b, a * _SATURATION + b)
