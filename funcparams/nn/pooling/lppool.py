"""Power means, but for the division, over sliding windows: `LPPool1d` to `LPPool3d`."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, floating, number, spatial_axes, widened
from funcparams.nn.pooling.maxpool import least
from funcparams.nn.pooling.pool import Pool, Sizes
from funcparams.nn.pooling.windows import maxima, sums


class _LPPool(Pool):
    """What the power pools share: everything but the number of axes."""

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
        *,
        channels_last: bool = False,
    ) -> None:
        layer = type(self).__name__
        self.norm_type = number(norm_type, layer, "norm_type")
        if norm_type == 0:
            raise ArgumentError(f"{layer}(norm_type={norm_type!r}): there is no root of order 0.")
        self.set_geometry(kernel_size, stride, 0, 1)
        if stride is None:
            self.stride = None  # as PyTorch has it and shows it; it means the kernel's size
        self.ceil_mode = bool(ceil_mode)
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Take the norm of each window."""
        x = floating(self, x)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        windows = self.windows(x, axes)
        backwards = list(zip(axes, windows, strict=True))[::-1]
        if math.isinf(self.norm_type):
            sign = 1 if self.norm_type > 0 else -1
            top = sign * lax.abs(x)
            top = self.padded(top, axes, windows, least(x.dtype))
            for axis, window in backwards:
                top = maxima(top, axis, window)
            return sign * top
        # The half types lose digits in a sum.
        total = _power(x.astype(widened(x.dtype)), self.norm_type)
        total = self.padded(total, axes, windows, np.zeros((), total.dtype))
        for axis, window in backwards:
            total = sums(total, axis, window)
            # A window that reaches over the end counts as if it were as full of the others' mean.
            full = np.asarray(self._full(x.shape[axis], window.count, window.kernel, window.stride))
            if (full != 1).any():
                shape = [-1 if i == axis else 1 for i in range(x.ndim)]
                total = total * full.astype(total.dtype).reshape(shape)
        return _root(total, self.norm_type).astype(x.dtype)

    @staticmethod
    def _full(size: int, count: int, kernel: int, stride: int) -> list[float]:
        """Return the size of a whole window over that of each."""
        return [kernel / min(kernel, size - start * stride) for start in range(count)]

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}{self.layout_text()}"
        )


def _power(x: jax.Array, p: float) -> jax.Array:
    # A whole power is a product, also of negative numbers, and of zero has a derivative.
    return lax.integer_pow(x, int(p)) if p == int(p) else lax.pow(x, np.asarray(p, x.dtype))


def _root(total: jax.Array, p: float) -> jax.Array:
    """Return the root of order p, whose derivative at 0 is 0, as PyTorch has it."""
    if p == 1:
        return total
    none = total == 0
    inner = jnp.where(none, 1, total)
    root = lax.sqrt(inner) if p == 2 else lax.pow(inner, np.asarray(1 / p, total.dtype))
    return jnp.where(none, 0 if p > 0 else math.inf, root)


class LPPool1d(_LPPool):
    r"""Take the p-norm of each window on one axis: $y = (\sum_k x_k^p)^{1/p}$.

    Args:
        norm_type: The order p of the norm; infinity for the greatest absolute value.
        kernel_size: The number of places in a window.
        stride: The step between windows; None for the kernel's size.
        ceil_mode: Whether a last window may reach over the end; its sum is scaled to a whole one's.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and a floating dtype, it returns an array of as many
    axes and of x's dtype. As in PyTorch no absolute value is taken, so that an odd p may give NaN;
    where the sum is 0 the derivative is 0. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.LPPool1d(2, 2).apply({}, jnp.array([[3.0, 4.0, 0.0, 0.0]])).tolist()
        [[5.0, 0.0]]

    References:
        [torch.nn.LPPool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html)
    """

    spatial = 1


class LPPool2d(_LPPool):
    r"""Take the p-norm of each window on two axes: $y = (\sum_k x_k^p)^{1/p}$.

    Args:
        norm_type: The order p of the norm; infinity for the greatest absolute value.
        kernel_size: The height and width of a window; here and below an integer is for both.
        stride: The steps between windows; None for the kernel's size.
        ceil_mode: Whether a last window may reach over the end; its sum is scaled to a whole one's.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and a floating dtype, it returns an array of as
    many axes and of x's dtype. As in PyTorch no absolute value is taken, so that an odd p may give
    NaN; where the sum is 0 the derivative is 0. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.LPPool2d(1, 2).apply({}, jnp.ones((1, 4, 4))).tolist()
        [[[4.0, 4.0], [4.0, 4.0]]]

    References:
        [torch.nn.LPPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html)
    """

    spatial = 2


class LPPool3d(_LPPool):
    r"""Take the p-norm of each window on three axes: $y = (\sum_k x_k^p)^{1/p}$.

    Args:
        norm_type: The order p of the norm; infinity for the greatest absolute value.
        kernel_size: The depth, height and width of a window; here and below an integer is for all.
        stride: The steps between windows; None for the kernel's size.
        ceil_mode: Whether a last window may reach over the end; its sum is scaled to a whole one's.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and a floating dtype, it returns an array
    of as many axes and of x's dtype. As in PyTorch no absolute value is taken, so that an odd p may
    give NaN; where the sum is 0 the derivative is 0. The half types are summed in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank, or is smaller than the kernel.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.LPPool3d(2, 2).apply({}, jnp.ones((1, 4, 4, 4))).shape
        (1, 2, 2, 2)

    References:
        [torch.nn.LPPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html)
    """

    spatial = 3
