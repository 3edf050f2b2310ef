"""Batch normalisation: over the batch while training, by running statistics afterwards."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, buffer, param
from funcparams.nn.checks import AXES, InputError, layout, number, title, whole
from funcparams.nn.norm.moments import measured, moments, scaled


class _BatchNorm(Module):
    """What the batch normalisations share: everything but the ranks that they take."""

    spatial: ClassVar[tuple[int, ...]]

    weight: jax.Array | None
    bias: jax.Array | None
    running_mean: jax.Array | None
    running_var: jax.Array | None
    num_batches_tracked: jax.Array | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = jnp.float32,
        *,
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        layer = type(self).__name__
        self.num_features = whole(num_features, layer, "num_features")
        self.eps = number(eps, layer, "eps")
        self.momentum = None if momentum is None else number(momentum, layer, "momentum")
        self.affine = bool(affine)
        self.track_running_stats = bool(track_running_stats)
        self.channels_last = bool(channels_last)
        size = self.num_features
        self.weight = param(size, init.ones(), dtype) if self.affine else None
        self.bias = param(size, init.zeros(), dtype) if self.affine and bias else None
        tracked = self.track_running_stats
        self.running_mean = buffer(size, init.zeros(), dtype) if tracked else None
        self.running_var = buffer(size, init.ones(), dtype) if tracked else None
        self.num_batches_tracked = buffer((), init.zeros(), jnp.int32) if tracked else None

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x; while training, update the running statistics."""
        known = (self.weight, self.bias, self.running_mean, self.running_var)
        x, dtype = measured(self, x, *known)
        channel, after = self._check(x)
        weight, bias = (
            None if each is None else lax.expand_dims(each, after)
            for each in (self.weight, self.bias)
        )
        if self.training or self.running_mean is None or self.running_var is None:
            axes = tuple(axis for axis in range(x.ndim) if axis != channel)
            centred, variance, mean = moments(x, axes)
            if self.training:
                self._track(mean, variance, axes, _values(x, channel))
        else:
            mean, variance = (
                lax.expand_dims(each.astype(x.dtype), after)
                for each in (self.running_mean, self.running_var)
            )
            centred = x - mean
        return scaled(centred, lax.rsqrt(variance + self.eps), weight, bias, dtype)

    def _check(self, x: jax.Array) -> tuple[int, tuple[int, ...]]:
        """Return the axis of the features, and the axes that parameters get to stand on it."""
        channel = x.ndim - 1 if self.channels_last else 1
        if x.ndim - 2 not in self.spatial or x.shape[channel] != self.num_features:
            shapes = " or ".join(layout("C", self.channels_last, AXES[n]) for n in self.spatial)
            raise InputError(
                f"{title(self)}: expected an input of shape {shapes} with "
                f"C = num_features={self.num_features}, got shape {x.shape}."
            )
        if self.training and _values(x, channel) == 1:
            raise InputError(
                f"{title(self)}: expected more than 1 value per channel when training, got an "
                f"input of shape {x.shape}: a single value has no variance."
            )
        return channel, tuple(range(1, x.ndim - channel))

    def _track(
        self, mean: jax.Array, variance: jax.Array, axes: tuple[int, ...], values: int
    ) -> None:
        """Move the running statistics towards those of this batch."""
        old_mean, old_variance = self.running_mean, self.running_var
        if old_mean is None or old_variance is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked = count = self.num_batches_tracked + 1
        # Without a momentum every batch counts the same, since the first.
        share = 1 / count.astype(mean.dtype) if self.momentum is None else self.momentum

        def moved(old: jax.Array, new: jax.Array) -> jax.Array:
            new = lax.squeeze(new, axes)
            return ((1 - share) * old.astype(new.dtype) + share * new).astype(old.dtype)

        self.running_mean = moved(old_mean, mean)
        self.running_var = moved(old_variance, variance * (values / max(values - 1, 1)))

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
        text += f"affine={self.affine}, bias={self.bias is not None}, "
        text += f"track_running_stats={self.track_running_stats}"
        return text + (", channels_last=True" if self.channels_last else "")


def _values(x: jax.Array, channel: int) -> int:
    """Count the values of each feature."""
    return math.prod(x.shape[:channel] + x.shape[channel + 1 :])


class BatchNorm1d(_BatchNorm):
    r"""Normalise each feature of a batch: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    While training, $\mu$ and $\sigma^2$ are the batch's, over all axes but the features', and the
    running statistics move towards them by the momentum; otherwise they are the running ones.

    Args:
        num_features: The number C of features.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics; without, the batch's own are
            used in both modes.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Attributes:
        weight: (num_features,), ones.
        bias: (num_features,), zeros.
        running_mean: (num_features,), zeros; a buffer.
        running_var: (num_features,), ones; a buffer. It takes the variance of n - 1.
        num_batches_tracked: () of int32, 0; a buffer. PyTorch's is int64, which JAX has under
            jax_enable_x64 only.

    Called with x of shape (N, C) or (N, C, L), it returns an array of x's shape and dtype. The half
    types are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x has another shape, or in training one value per feature only.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm1d(1)
        >>> params, state = model.init(None), model.init_state()
        >>> x = jnp.array([[1.0], [2.0], [3.0], [6.0]])
        >>> y, state = model.apply_with_state(params, state, x, training=True)
        >>> [round(float(value), 3) for value in y.ravel()]
        [-1.069, -0.535, 0.0, 1.604]
        >>> [round(float(state[name][0]), 4) for name in ("running_mean", "running_var")]
        [0.3, 1.3667]

    References:
        Ioffe and Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015;
        [torch.nn.BatchNorm1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html)
    """

    spatial = (0, 1)


class BatchNorm2d(_BatchNorm):
    r"""Normalise each channel of images: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`BatchNorm1d`][funcparams.nn.BatchNorm1d] for x of shape (N, C, H, W), or (N, H, W, C)
    with channels_last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm2d(3)
        >>> model
        BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        >>> params, state = model.init(None), model.init_state()
        >>> model.apply(params, jnp.ones((2, 3, 4, 4)), state=state).shape
        (2, 3, 4, 4)

    References:
        [torch.nn.BatchNorm2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html)
    """

    spatial = (2,)


class BatchNorm3d(_BatchNorm):
    r"""Normalise each channel of volumes: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`BatchNorm1d`][funcparams.nn.BatchNorm1d] for x of shape (N, C, D, H, W), or
    (N, D, H, W, C) with channels_last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm3d(2)
        >>> params, state = model.init(None), model.init_state()
        >>> model.apply(params, jnp.ones((2, 2, 1, 2, 2)), state=state).shape
        (2, 2, 1, 2, 2)

    References:
        [torch.nn.BatchNorm3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm3d.html)
    """

    spatial = (3,)
