"""Activations that mix the entries along an axis: softmaxes, and the gated linear unit."""

from __future__ import annotations

import jax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputError, floating, title, whole


class _AlongAxis(Module):
    """An activation along the axis `dim`."""

    dim: int

    def _input(self, x: ArrayLike) -> jax.Array:
        x = floating(self, x)
        if not -x.ndim <= self.dim < x.ndim:
            raise InputError(
                f"{title(self)}: expected an input that has the axis dim={self.dim}, got shape "
                f"{x.shape}."
            )
        return x


class Softmax(_AlongAxis):
    r"""$e^{x_i} / \sum_j e^{x_j}$ along an axis.

    Args:
        dim: The axis. PyTorch guesses one where none is given, with a warning; here it is required.

    Called with x that has this axis, it returns an array of x's shape and dtype.

    Raises:
        ArgumentError: If dim is not an integer.
        InputError: If x has no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Softmax(dim=-1).apply({}, jnp.zeros(4)).tolist()
        [0.25, 0.25, 0.25, 0.25]

    References:
        [torch.nn.Softmax](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html)
    """

    def __init__(self, dim: int) -> None:
        self.dim = whole(dim, "Softmax", "dim", None)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it along the axis."""
        return jax.nn.softmax(self._input(x), axis=self.dim)


class LogSoftmax(_AlongAxis):
    r"""$x_i - \log \sum_j e^{x_j}$ along an axis.

    Args:
        dim: The axis. PyTorch guesses one where none is given, with a warning; here it is required.

    Called with x that has this axis, it returns an array of x's shape and dtype.

    Raises:
        ArgumentError: If dim is not an integer.
        InputError: If x has no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> print(nn.LogSoftmax(dim=-1).apply({}, jnp.zeros(4)).round(4))
        [-1.3863 -1.3863 -1.3863 -1.3863]

    References:
        [torch.nn.LogSoftmax](https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html)
    """

    def __init__(self, dim: int) -> None:
        self.dim = whole(dim, "LogSoftmax", "dim", None)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it along the axis."""
        return jax.nn.log_softmax(self._input(x), axis=self.dim)


class Softmin(_AlongAxis):
    r"""$e^{-x_i} / \sum_j e^{-x_j}$ along an axis.

    Args:
        dim: The axis. PyTorch guesses one where none is given, with a warning; here it is required.

    Called with x that has this axis, it returns an array of x's shape and dtype.

    Raises:
        ArgumentError: If dim is not an integer.
        InputError: If x has no such axis.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Softmin(dim=0).apply({}, jnp.array([1.0, 900.0])).tolist()
        [1.0, 0.0]

    References:
        [torch.nn.Softmin](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmin.html)
    """

    def __init__(self, dim: int) -> None:
        self.dim = whole(dim, "Softmin", "dim", None)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it along the axis."""
        return jax.nn.softmax(-self._input(x), axis=self.dim)


class Softmax2d(Module):
    r"""Softmax over the channels of images, place by place.

    Args:
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W), it returns an array of x's shape and dtype.

    Raises:
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Softmax2d().apply({}, jnp.zeros((2, 1, 1))).ravel().tolist()
        [0.5, 0.5]

    References:
        [torch.nn.Softmax2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax2d.html)
    """

    def __init__(self, *, channels_last: bool = False) -> None:
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Compute it over the channels."""
        x = floating(self, x)
        if x.ndim not in (3, 4):
            raise InputError(
                f"{title(self)}: expected an input of 3 or 4 axes, got shape {x.shape}."
            )
        return jax.nn.softmax(x, axis=-1 if self.channels_last else -3)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return "channels_last=True" if self.channels_last else ""


class GLU(_AlongAxis):
    r"""$a\, \sigma(b)$, where a and b are the two halves of x along an axis.

    Args:
        dim: The axis.

    Called with x whose axis has an even size, it returns an array with half of that size.

    Raises:
        ArgumentError: If dim is not an integer.
        InputError: If x has no such axis, or its size is odd.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.GLU().apply({}, jnp.array([1.0, 2.0, 0.0, 100.0])).tolist()
        [0.5, 2.0]

    References:
        [torch.nn.GLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GLU.html)
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = whole(dim, "GLU", "dim", None)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Gate one half of x by the other."""
        x = self._input(x)
        if x.shape[self.dim] % 2:
            raise InputError(
                f"{title(self)}: expected an even size of the axis dim={self.dim}, to halve it, "
                f"got shape {x.shape}."
            )
        return jax.nn.glu(x, axis=self.dim)
