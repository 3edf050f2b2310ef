"""Layers that move numbers between channels and places: `PixelShuffle` to `ChannelShuffle`."""

from __future__ import annotations

import jax
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputError, array, title, whole


class _Pixels(Module):
    """What both share that change the resolution of images."""

    channels_last: bool

    def _axes(self, x: jax.Array) -> tuple[int, int, int]:
        """Return the axes of the channels, rows and columns."""
        if x.ndim < 3:
            layout = "(..., H, W, C)" if self.channels_last else "(..., C, H, W)"
            raise InputError(
                f"{title(self)}: expected an input of shape {layout}, got shape {x.shape}."
            )
        n = x.ndim - 3
        return (n + 2, n, n + 1) if self.channels_last else (n, n + 1, n + 2)


class PixelShuffle(_Pixels):
    r"""Make images r times as large, of $r^2$ channels each.

    $$y_{c, rh+i, rw+j} = x_{cr^2+ri+j, h, w}$$

    Args:
        upscale_factor: The factor r of the height and width.
        channels_last: Whether data is (..., H, W, C) instead of (..., C, H, W).

    Called with x of shape (..., C r^2, H, W) and any dtype, it returns an array of shape (..., C, H
    r, W r).

    Raises:
        ArgumentError: If the factor is not a positive integer.
        InputError: If x has fewer axes, or its channels do not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.PixelShuffle(2).apply({}, jnp.arange(8).reshape(4, 1, 2)).tolist()
        [[[0, 2, 1, 3], [4, 6, 5, 7]]]

    References:
        Shi et al., [Real-time super-resolution](https://arxiv.org/abs/1609.05158), 2016;
        [torch.nn.PixelShuffle](https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html)
    """

    def __init__(self, upscale_factor: int, *, channels_last: bool = False) -> None:
        self.upscale_factor = whole(upscale_factor, "PixelShuffle", "upscale_factor", 1)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Spread channels of x over places."""
        x = array(x)
        (channel, row, column), r = self._axes(x), self.upscale_factor
        if x.shape[channel] % r**2:
            raise InputError(
                f"{title(self)}: expected channels that are divisible by upscale_factor**2 = "
                f"{r**2}, got {x.shape[channel]} on axis {channel} of shape {x.shape}."
            )
        channels = x.shape[channel] // r**2
        rows, columns = x.shape[row], x.shape[column]
        batch, n = x.shape[:-3], x.ndim - 3
        if self.channels_last:
            split, merged = (rows, columns, channels, r, r), (rows * r, columns * r, channels)
        else:
            split, merged = (channels, r, r, rows, columns), (channels, rows * r, columns * r)
        order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)  # in both layouts, as it happens
        x = lax.transpose(x.reshape(*batch, *split), order)
        return x.reshape(*batch, *merged)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return f"upscale_factor={self.upscale_factor}{last}"


class PixelUnshuffle(_Pixels):
    r"""Make $r^2$ channels of each, r times as small: $y_{cr^2+ri+j, h, w} = x_{c, rh+i, rw+j}$.

    Args:
        downscale_factor: The factor r of the height and width.
        channels_last: Whether data is (..., H, W, C) instead of (..., C, H, W).

    Called with x of shape (..., C, H r, W r) and any dtype, it returns an array of shape (..., C
    r^2, H, W).

    Raises:
        ArgumentError: If the factor is not a positive integer.
        InputError: If x has fewer axes, or its height or width do not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.PixelUnshuffle(2).apply({}, jnp.arange(8).reshape(1, 2, 4)).tolist()
        [[[0, 2]], [[1, 3]], [[4, 6]], [[5, 7]]]

    References:
        Shi et al., [Real-time super-resolution](https://arxiv.org/abs/1609.05158), 2016;
        [torch.nn.PixelUnshuffle](https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelUnshuffle.html)
    """

    def __init__(self, downscale_factor: int, *, channels_last: bool = False) -> None:
        self.downscale_factor = whole(downscale_factor, "PixelUnshuffle", "downscale_factor", 1)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Gather places of x in channels."""
        x = array(x)
        (channel, row, column), r = self._axes(x), self.downscale_factor
        for axis in (row, column):
            if x.shape[axis] % r:
                raise InputError(
                    f"{title(self)}: expected a height and width that are divisible by "
                    f"downscale_factor={r}, got {x.shape[axis]} on axis {axis} of shape {x.shape}."
                )
        channels, rows, columns = x.shape[channel], x.shape[row] // r, x.shape[column] // r
        batch, n = x.shape[:-3], x.ndim - 3
        if self.channels_last:
            split, merged = (rows, r, columns, r, channels), (rows, columns, channels * r**2)
        else:
            split, merged = (channels, rows, r, columns, r), (channels * r**2, rows, columns)
        order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)  # in both layouts, as it happens
        x = lax.transpose(x.reshape(*batch, *split), order)
        return x.reshape(*batch, *merged)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return f"downscale_factor={self.downscale_factor}{last}"


class ChannelShuffle(Module):
    r"""Deal the channels of g groups out in turn: channel $i C/g + j$ becomes channel $jg + i$.

    Args:
        groups: The number g of groups.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Called with x of shape (N, C, ...) and any dtype, with one axis or more after the channels, it
    returns an array of that shape and dtype.

    Raises:
        ArgumentError: If groups is not a positive integer.
        InputError: If x has fewer axes, or its channels do not divide.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ChannelShuffle(2).apply({}, jnp.arange(6).reshape(1, 6, 1)).ravel().tolist()
        [0, 3, 1, 4, 2, 5]

    References:
        Zhang et al., [ShuffleNet](https://arxiv.org/abs/1707.01083), 2017;
        [torch.nn.ChannelShuffle](https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html)
    """

    def __init__(self, groups: int, *, channels_last: bool = False) -> None:
        self.groups = whole(groups, "ChannelShuffle", "groups", 1)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Move the channels of x."""
        x = array(x)
        if x.ndim < 3:
            layout = "(N, ..., C)" if self.channels_last else "(N, C, ...)"
            raise InputError(
                f"{title(self)}: expected an input of shape {layout} with three axes or more, got "
                f"shape {x.shape}."
            )
        axis = x.ndim - 1 if self.channels_last else 1
        if x.shape[axis] % self.groups:
            raise InputError(
                f"{title(self)}: expected channels that are divisible by groups={self.groups}, got "
                f"{x.shape[axis]} on axis {axis} of shape {x.shape}."
            )
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        grouped = x.reshape(*before, self.groups, x.shape[axis] // self.groups, *after)
        return grouped.swapaxes(axis, axis + 1).reshape(x.shape)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"groups={self.groups}{', channels_last=True' if self.channels_last else ''}"
