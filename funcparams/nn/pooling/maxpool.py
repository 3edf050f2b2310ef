"""Maxima over sliding windows: `MaxPool1d`, `MaxPool2d` and `MaxPool3d`."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams.nn.checks import array, spatial_axes
from funcparams.nn.pooling.places import first_maxima, placed
from funcparams.nn.pooling.pool import Pool, Sizes
from funcparams.nn.pooling.windows import maxima


class _MaxPool(Pool):
    """What the maximum pools share: everything but the number of axes."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        channels_last: bool = False,
    ) -> None:
        self.dilation = self.given(dilation, "dilation", 1)
        self.set_geometry(kernel_size, stride, padding, self.dilation)
        self.return_indices = bool(return_indices)
        self.ceil_mode = bool(ceil_mode)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> Any:
        """Take the maximum of each window, and where it stands if that is asked for."""
        x = array(x)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        windows = self.windows(x, axes, self.dilation)
        # From the last axis on: so the first of equal maxima is the first row by row.
        backwards = list(zip(axes, windows, strict=True))[::-1]
        if self.return_indices:
            values, places = placed(x, axes)
            pair = (
                self.padded(values, axes, windows, least(x.dtype)),
                self.padded(places, axes, windows, np.int32(-1)),
            )
            for axis, window in backwards:
                pair = first_maxima(pair, axis, window)
            return pair
        x = self.padded(x, axes, windows, least(x.dtype))
        for axis, window in backwards:
            x = maxima(x, axis, window)
        return x

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}{self.layout_text()}"
        )


class MaxPool1d(_MaxPool):
    r"""Take the maximum of each window on one axis: $y_t = \max_k x_{st + dk}$.

    Args:
        kernel_size: The number of places in a window.
        stride: The step s between windows; None for the kernel's size.
        padding: The places of -infinity added at both ends, at most half of the kernel.
        dilation: The distance d between the places of a window.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool1d`][funcparams.nn.MaxUnpool1d] takes them.
        ceil_mode: Whether a last window may reach over the end.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L), it returns an array of as many axes and of x's
    dtype. The derivative is that of the first maximum in each window. With return_indices it
    returns a pair of this and of int32: the number of the entry in its channel.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.MaxPool1d(2).apply({}, jnp.array([[1.0, 3.0, 2.0, 0.0]])).tolist()
        [[3.0, 2.0]]

    References:
        [torch.nn.MaxPool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html)
    """

    spatial = 1


class MaxPool2d(_MaxPool):
    r"""Take the maximum of each window on two axes: $y_p = \max_k x_{sp + dk}$.

    Args:
        kernel_size: The height and width of a window; here and below an integer is for both.
        stride: The steps s between windows; None for the kernel's size.
        padding: The places of -infinity added at both ends, at most half of the kernel.
        dilation: The distances d between the places of a window.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool2d`][funcparams.nn.MaxUnpool2d] takes them.
        ceil_mode: Whether a last window may reach over the end.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W), it returns an array of as many axes and of x's
    dtype. The derivative is that of the first maximum in each window, row by row. With
    return_indices it returns a pair of this and of int32: the number of the entry in its channel,
    row by row.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.MaxPool2d(2)
        MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
        >>> nn.MaxPool2d(2).apply({}, jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[5.0, 7.0], [13.0, 15.0]]]

    References:
        [torch.nn.MaxPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html)
    """

    spatial = 2


class MaxPool3d(_MaxPool):
    r"""Take the maximum of each window on three axes: $y_p = \max_k x_{sp + dk}$.

    Args:
        kernel_size: The depth, height and width of a window; here and below an integer is for all.
        stride: The steps s between windows; None for the kernel's size.
        padding: The places of -infinity added at both ends, at most half of the kernel.
        dilation: The distances d between the places of a window.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool3d`][funcparams.nn.MaxUnpool3d] takes them.
        ceil_mode: Whether a last window may reach over the end.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W), it returns an array of as many axes and
    of x's dtype. The derivative is that of the first maximum in each window. With return_indices it
    returns a pair of this and of int32: the number of the entry in its channel, row by row.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.MaxPool3d(2).apply({}, jnp.ones((1, 4, 4, 4))).shape
        (1, 2, 2, 2)

    References:
        [torch.nn.MaxPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html)
    """

    spatial = 3


def least(dtype: Any) -> np.ndarray[Any, Any]:
    """Return the least number of a dtype, which is never a window's maximum."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.asarray(-math.inf, dtype)
    return np.asarray(jnp.iinfo(dtype).min, dtype)
