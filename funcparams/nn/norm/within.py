"""Normalisations within each example: `LayerNorm`, `RMSNorm` and `GroupNorm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, param
from funcparams.nn.checks import ArgumentError, InputError, number, title, whole, wholes
from funcparams.nn.norm.moments import measured, moments, scaled


class LayerNorm(Module):
    r"""Normalise over the last axes: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    Args:
        normalized_shape: The sizes of the last axes, over which mean and variance are taken.
        eps: $\epsilon$, added to the variance.
        elementwise_affine: Whether there are $w$ and $b$.
        bias: Whether there is $b$, if there is $w$.
        dtype: The dtype of the parameters.

    Attributes:
        weight: normalized_shape, ones.
        bias: normalized_shape, zeros.

    Called with x of shape (..., *normalized_shape), it returns an array of x's shape and dtype.
    The half types are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the last axes of x are not normalized_shape.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.LayerNorm(2)
        >>> model
        LayerNorm((2,), eps=1e-05, elementwise_affine=True, bias=True)
        >>> y = model.apply(model.init(None), jnp.array([[1.0, 3.0], [1000.0, 1004.0]]))
        >>> y.round(2).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]

    References:
        Ba et al., [Layer normalization](https://arxiv.org/abs/1607.06450), 2016;
        [torch.nn.LayerNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html)
    """

    weight: jax.Array | None
    bias: jax.Array | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape, "LayerNorm")
        self.eps = number(eps, "LayerNorm", "eps")
        self.elementwise_affine = bool(elementwise_affine)
        affine, shape = self.elementwise_affine, self.normalized_shape
        self.weight = param(shape, init.ones(), dtype) if affine else None
        self.bias = param(shape, init.zeros(), dtype) if affine and bias else None

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x of shape (..., *normalized_shape)."""
        x, dtype = measured(self, x, self.weight, self.bias)
        axes = _last(self, x, self.normalized_shape)
        centred, variance, _ = moments(x, axes)
        return scaled(centred, lax.rsqrt(variance + self.eps), self.weight, self.bias, dtype)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    r"""Divide by the root mean square: $y = x\, w / \sqrt{\overline{x^2} + \epsilon}$.

    Args:
        normalized_shape: The sizes of the last axes, over which the mean is taken.
        eps: $\epsilon$; with None the machine epsilon of the dtype that is computed in.
        elementwise_affine: Whether there is $w$.
        dtype: The dtype of the parameters.

    Attributes:
        weight: normalized_shape, ones.

    Called with x of shape (..., *normalized_shape), it returns an array of x's shape and dtype.
    The half types are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the last axes of x are not normalized_shape.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.RMSNorm(2)
        >>> [round(float(y), 2) for y in model.apply(model.init(None), jnp.array([1.0, 7.0]))]
        [0.2, 1.4]

    References:
        Zhang and Sennrich, [Root mean square layer normalization](https://arxiv.org/abs/1910.07467),
        2019; [torch.nn.RMSNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html)
    """

    weight: jax.Array | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape, "RMSNorm")
        self.eps = None if eps is None else number(eps, "RMSNorm", "eps")
        self.elementwise_affine = bool(elementwise_affine)
        self.weight = (
            param(self.normalized_shape, init.ones(), dtype) if self.elementwise_affine else None
        )

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x of shape (..., *normalized_shape)."""
        x, dtype = measured(self, x, self.weight)
        axes = _last(self, x, self.normalized_shape)
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        square = jnp.mean(lax.square(x), axes, keepdims=True)
        # Unlike in the others, the weight comes last: a step of 12 layers moves fewer bytes so.
        y = x * lax.rsqrt(square + eps)
        return (y if self.weight is None else y * self.weight.astype(x.dtype)).astype(dtype)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    r"""Normalise each group of channels: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    Args:
        num_groups: Into how many groups the channels fall; mean and variance are one group's, over
            its channels and all places of one example.
        num_channels: The number of channels.
        eps: $\epsilon$, added to the variance.
        affine: Whether there are $w$ and $b$, one number for each channel.
        dtype: The dtype of the parameters.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Attributes:
        weight: (num_channels,), ones.
        bias: (num_channels,), zeros.

    Called with x of shape (N, C, ...), it returns an array of x's shape and dtype. The half types
    are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: If num_groups does not divide num_channels.
        InputError: If x has fewer than two axes, or another number of channels.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.GroupNorm(2, 4)
        >>> model.apply(model.init(None), jnp.array([[1.0, 3.0, 10.0, 20.0]])).round(2).tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    References:
        Wu and He, [Group normalization](https://arxiv.org/abs/1803.08494), 2018;
        [torch.nn.GroupNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html)
    """

    weight: jax.Array | None
    bias: jax.Array | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = jnp.float32,
        *,
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        self.num_groups = whole(num_groups, "GroupNorm", "num_groups", 1)
        self.num_channels = whole(num_channels, "GroupNorm", "num_channels")
        if self.num_channels % self.num_groups:
            raise ArgumentError(
                f"GroupNorm(num_groups={num_groups}, num_channels={num_channels}): num_channels "
                "must be divisible by num_groups."
            )
        self.eps = number(eps, "GroupNorm", "eps")
        self.affine = bool(affine)
        self.channels_last = bool(channels_last)
        size = self.num_channels
        self.weight = param(size, init.ones(), dtype) if self.affine else None
        self.bias = param(size, init.zeros(), dtype) if self.affine and bias else None

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Normalise x of shape (N, C, ...), or (N, ..., C) with channels_last."""
        x, dtype = measured(self, x, self.weight, self.bias)
        channel = x.ndim - 1 if self.channels_last else 1
        if x.ndim < 2 or x.shape[channel] != self.num_channels:
            expected = "(N, ..., C)" if self.channels_last else "(N, C, ...)"
            raise InputError(
                f"{title(self)}: expected an input of shape {expected} with "
                f"C = num_channels={self.num_channels}, got shape {x.shape}."
            )
        # The channels become (group, channel of the group), and all axes but the batch's and the
        # groups' are reduced.
        groups = (self.num_groups, self.num_channels // self.num_groups)
        split = x.reshape(*x.shape[:channel], *groups, *x.shape[channel + 1 :])
        axes = tuple(axis for axis in range(1, split.ndim) if axis != channel)
        shape = (*groups, *(1,) * (x.ndim - 1 - channel))
        weight, bias = (
            None if each is None else each.reshape(shape) for each in (self.weight, self.bias)
        )
        centred, variance, _ = moments(split, axes)
        y = scaled(centred, lax.rsqrt(variance + self.eps), weight, bias, dtype)
        return y.reshape(x.shape)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
        text += f"bias={self.bias is not None}"
        return text + (", channels_last=True" if self.channels_last else "")


def _shape(value: int | Sequence[int], layer: str) -> tuple[int, ...]:
    if not isinstance(value, Sequence):
        return (whole(value, layer, "normalized_shape"),)
    if not value:
        raise ArgumentError(f"{layer}(normalized_shape={value!r}): expected one size or more.")
    return wholes(value, len(value), layer, "normalized_shape")


def _last(module: Module, x: jax.Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that are normalised, after a check that they have the sizes given."""
    if x.ndim < len(shape) or x.shape[x.ndim - len(shape) :] != shape:
        sizes = ", ".join(map(str, shape))
        raise InputError(
            f"{title(module)}: expected an input of shape (..., {sizes}), got shape {x.shape}."
        )
    return tuple(range(x.ndim - len(shape), x.ndim))
