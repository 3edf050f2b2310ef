"""What batch and instance normalisation share: parameters, running statistics, and both modes."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, buffer, param
from funcparams.nn.checks import number, whole
from funcparams.nn.norm.moments import measured, moments, scaled


class RunningNorm(Module):
    """A normalisation with running statistics: everything but the axes that it reduces."""

    weight: jax.Array | None
    bias: jax.Array | None
    running_mean: jax.Array | None
    running_var: jax.Array | None
    num_batches_tracked: jax.Array | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        dtype: Any,
        *,
        bias: bool,
        channels_last: bool,
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
        channel, axes = self._axes(x)
        after = tuple(range(1, x.ndim - channel))  # the axes that parameters get to stand on x's
        weight, bias = (
            None if each is None else lax.expand_dims(each, after)
            for each in (self.weight, self.bias)
        )
        if self.training or self.running_mean is None or self.running_var is None:
            centred, variance, mean = self._moments(x, axes)
            if self.training:
                self._track(mean, variance, channel, axes, self._values(x, axes))
        else:
            mean, variance = (
                lax.expand_dims(each.astype(x.dtype), after)
                for each in (self.running_mean, self.running_var)
            )
            centred = x - mean
        return scaled(centred, lax.rsqrt(variance + self.eps), weight, bias, dtype)

    @abstractmethod
    def _axes(self, x: jax.Array) -> tuple[int, tuple[int, ...]]:
        """Check an input; return the axis of its features, and the axes that are reduced."""

    @abstractmethod
    def _share(self, dtype: Any) -> Any:
        """Return the share of this input in the running statistics; None leaves them alone."""

    def _moments(
        self, x: jax.Array, axes: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return x less its mean, its variance and its mean."""
        return moments(x, axes)

    def _values(self, x: jax.Array, axes: tuple[int, ...]) -> int:
        """Count the values that make one mean."""
        return math.prod(x.shape[axis] for axis in axes)

    def _track(
        self,
        mean: jax.Array,
        variance: jax.Array,
        channel: int,
        axes: tuple[int, ...],
        values: int,
    ) -> None:
        """Move the running statistics towards those of this input."""
        old_mean, old_variance = self.running_mean, self.running_var
        if old_mean is None or old_variance is None:
            return
        if (share := self._share(mean.dtype)) is None:
            return
        others = tuple(axis for axis in range(mean.ndim) if axis != channel)
        examples = tuple(axis for axis in others if axis not in axes)

        def moved(old: jax.Array, new: jax.Array) -> jax.Array:
            # Where each example has statistics of its own, their average moves the running ones.
            new = jnp.mean(new, examples, keepdims=True) if examples else new
            new = lax.squeeze(new, others)
            return ((1 - share) * old.astype(new.dtype) + share * new).astype(old.dtype)

        self.running_mean = moved(old_mean, mean)
        self.running_var = moved(old_variance, variance * (values / max(values - 1, 1)))

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
        text += f"affine={self.affine}, bias={self.bias is not None}, "
        text += f"track_running_stats={self.track_running_stats}"
        return text + (", channels_last=True" if self.channels_last else "")
