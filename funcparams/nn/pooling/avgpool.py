"""Means over sliding windows: `AvgPool1d`, `AvgPool2d` and `AvgPool3d`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from funcparams.nn.checks import ArgumentError, floating, number, spatial_axes, widened
from funcparams.nn.pooling.pool import Pool, Sizes
from funcparams.nn.pooling.windows import Window, sums


class _AvgPool(Pool):
    """What the average pools share: everything but the number of axes."""

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        self.set_geometry(kernel_size, stride, padding, 1)
        self.ceil_mode = bool(ceil_mode)
        self.count_include_pad = bool(count_include_pad)
        layer = type(self).__name__
        if divisor_override is not None and not number(divisor_override, layer, "divisor_override"):
            raise ArgumentError(f"{layer}(divisor_override=0): the divisor must not be zero.")
        self.divisor_override = divisor_override
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Take the mean of each window."""
        x = floating(self, x)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        windows = self.windows(x, axes)
        # The half types lose digits in a sum.
        total = x.astype(widened(x.dtype))
        total = self.padded(total, axes, windows, np.zeros((), total.dtype))
        for axis, window in zip(axes, windows, strict=True):
            total = sums(total, axis, window)
        if self.divisor_override is not None:
            return (total / self.divisor_override).astype(x.dtype)
        return divided(total, self._sizes(x, axes, windows)).astype(x.dtype)

    def _sizes(self, x: jax.Array, axes: Sequence[int], windows: Sequence[Window]) -> NDArray[Any]:
        """Return how many places each window counts."""
        sizes = np.ones((1,) * x.ndim, np.int64)
        for axis, window, pad in zip(axes, windows, self.each(self.padding), strict=True):
            starts = np.arange(window.count) * window.stride - pad
            # Padding counts where that is asked for, but not what ceil_mode adds after it.
            extra = pad if self.count_include_pad else 0
            stops = np.minimum(starts + window.kernel, x.shape[axis] + extra)
            counts = stops - np.maximum(starts, -extra)
            sizes = sizes * counts.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return sizes

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
            f"{self.layout_text()}"
        )


def divided(total: jax.Array, sizes: NDArray[Any]) -> jax.Array:
    """Return sums over the sizes of their windows: one number where these are all alike."""
    if (sizes == sizes.flat[0]).all():
        return total / int(sizes.flat[0])
    return total / jnp.asarray(sizes, total.dtype)


class AvgPool1d(_AvgPool):
    r"""Take the mean of each window on one axis: $y_t = \frac 1 K \sum_k x_{st + k}$.

    Args:
        kernel_size: The number K of places in a window.
        stride: The step s between windows; None for the kernel's size.
        padding: The zeros added at both ends, at most half of the kernel.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether added zeros count in the mean.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and a floating dtype, it returns an array of as many
    axes and of x's dtype. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AvgPool1d(2).apply({}, jnp.array([[1.0, 3.0, 2.0, 0.0]])).tolist()
        [[2.0, 1.0]]

    References:
        [torch.nn.AvgPool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html)
    """

    spatial = 1
    tuples = True

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__(
            kernel_size, stride, padding, ceil_mode, count_include_pad, channels_last=channels_last
        )


class AvgPool2d(_AvgPool):
    r"""Take the mean of each window on two axes: $y_p = \frac 1 K \sum_k x_{sp + k}$.

    Args:
        kernel_size: The height and width of a window; here and below an integer is for both.
        stride: The steps s between windows; None for the kernel's size.
        padding: The zeros added at both ends, at most half of the kernel.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether added zeros count in the mean.
        divisor_override: What sums are divided by instead of the number K of places.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and a floating dtype, it returns an array of as
    many axes and of x's dtype. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AvgPool2d(2).apply({}, jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[2.5, 4.5], [10.5, 12.5]]]

    References:
        [torch.nn.AvgPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html)
    """

    spatial = 2


class AvgPool3d(_AvgPool):
    r"""Take the mean of each window on three axes: $y_p = \frac 1 K \sum_k x_{sp + k}$.

    Args:
        kernel_size: The depth, height and width of a window; here and below an integer is for all.
        stride: The steps s between windows; None for the kernel's size.
        padding: The zeros added at both ends, at most half of the kernel.
        ceil_mode: Whether a last window may reach over the end.
        count_include_pad: Whether added zeros count in the mean.
        divisor_override: What sums are divided by instead of the number K of places.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and a floating dtype, it returns an array
    of as many axes and of x's dtype. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AvgPool3d(2).apply({}, jnp.ones((1, 4, 4, 4))).shape
        (1, 2, 2, 2)

    References:
        [torch.nn.AvgPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html)
    """

    spatial = 3
