"""Pools that give a size, whatever the input's: `AdaptiveAvgPool1d` to `AdaptiveMaxPool3d`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import numpy as np
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import ArgumentError, array, floating, spatial_axes, whole, widened
from funcparams.nn.pooling.avgpool import divided
from funcparams.nn.pooling.places import first_maxima, placed
from funcparams.nn.pooling.windows import adaptive_bounds, maxima, totals, uneven

Output: TypeAlias = int | Sequence[int | None] | None


class _Adaptive(Module):
    """What they share: the size asked for."""

    spatial: ClassVar[int]

    output_size: int | tuple[int | None, ...] | None
    channels_last: bool

    def _keep(self, output_size: Output, channels_last: bool) -> None:
        layer, count = type(self).__name__, self.spatial
        sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,)
        if isinstance(output_size, Sequence) and len(sizes) != count:
            raise ArgumentError(
                f"{layer}(output_size={sizes}): expected one size, or one for each of {count} axes."
            )
        checked = tuple(None if s is None else whole(s, layer, "output_size", 1) for s in sizes)
        self.output_size = checked if isinstance(output_size, Sequence) else checked[0]
        self.channels_last = bool(channels_last)

    def _counts(self, x: jax.Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the spatial axes, and the number of windows on each."""
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        given = self.output_size
        sizes = given if isinstance(given, tuple) else (given,) * self.spatial
        counts = (x.shape[a] if size is None else size for a, size in zip(axes, sizes, strict=True))
        return axes, tuple(counts)

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return f"output_size={self.output_size}{last}"


class _AdaptiveAvgPool(_Adaptive):
    """What the average pools share: everything but the number of axes."""

    def __init__(self, output_size: Output, *, channels_last: bool = False) -> None:
        self._keep(output_size, channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Take the mean of each window."""
        x = floating(self, x)
        axes, counts = self._counts(x)
        sums = totals(x.astype(widened(x.dtype)), axes, counts)
        sizes = np.ones((1,) * x.ndim, np.int64)
        for axis, count in zip(axes, counts, strict=True):
            widths = [high - low for low, high in adaptive_bounds(x.shape[axis], count)]
            sizes = sizes * np.reshape(widths, [-1 if i == axis else 1 for i in range(x.ndim)])
        return divided(sums, sizes).astype(x.dtype)


class _AdaptiveMaxPool(_Adaptive):
    """What the maximum pools share: everything but the number of axes."""

    def __init__(
        self, output_size: Output, return_indices: bool = False, *, channels_last: bool = False
    ) -> None:
        self.return_indices = bool(return_indices)
        self._keep(output_size, channels_last)

    def __call__(self, x: ArrayLike) -> Any:
        """Take the maximum of each window, and where it stands if that is asked for."""
        x = array(x)
        axes, counts = self._counts(x)
        # From the last axis on: so the first of equal maxima is the first row by row.
        backwards = list(zip(axes, counts, strict=True))[::-1]
        if self.return_indices:
            pair = placed(x, axes)
            for axis, count in backwards:
                pair = uneven(first_maxima, pair, axis, count)
            return pair
        for axis, count in backwards:
            x = uneven(maxima, x, axis, count)
        return x


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    r"""Take means over as many windows as the output is to have places, of one axis.

    Window i of m on n places goes from $\lfloor i n / m \rfloor$ to
    $\lceil (i + 1) n / m \rceil - 1$.

    Args:
        output_size: The number m of places; None for the input's own.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and a floating dtype, it returns an array of as many
    axes and of x's dtype. The half types are summed in float32.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveAvgPool1d(2).apply({}, jnp.arange(6.0)[None]).tolist()
        [[1.0, 4.0]]

    References:
        [torch.nn.AdaptiveAvgPool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html)
    """

    spatial = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    r"""Take means over as many windows as the output is to have places, of two axes.

    Args:
        output_size: The height and width, or one number for both; None for the input's own.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and a floating dtype, it returns an array of as
    many axes and of x's dtype. The windows are those of
    [`AdaptiveAvgPool1d`][funcparams.nn.AdaptiveAvgPool1d] on each axis.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveAvgPool2d(1).apply({}, jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[7.5]]]

    References:
        [torch.nn.AdaptiveAvgPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html)
    """

    spatial = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    r"""Take means over as many windows as the output is to have places, of three axes.

    Args:
        output_size: The depth, height and width, or one number for all; None for the input's own.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and a floating dtype, it returns an array
    of as many axes and of x's dtype. The windows are those of
    [`AdaptiveAvgPool1d`][funcparams.nn.AdaptiveAvgPool1d] on each axis.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveAvgPool3d((1, None, 2)).apply({}, jnp.ones((3, 4, 4, 4))).shape
        (3, 1, 4, 2)

    References:
        [torch.nn.AdaptiveAvgPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html)
    """

    spatial = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    r"""Take maxima over as many windows as the output is to have places, of one axis.

    Window i of m on n places goes from $\lfloor i n / m \rfloor$ to
    $\lceil (i + 1) n / m \rceil - 1$.

    Args:
        output_size: The number m of places; None for the input's own.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool1d`][funcparams.nn.MaxUnpool1d] takes them.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L), it returns an array of as many axes and of x's
    dtype. The derivative is that of the first maximum in each window. With return_indices it
    returns a pair of this and of int32: the number of the entry in its channel.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveMaxPool1d(2).apply({}, jnp.arange(6.0)[None]).tolist()
        [[2.0, 5.0]]

    References:
        [torch.nn.AdaptiveMaxPool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html)
    """

    spatial = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    r"""Take maxima over as many windows as the output is to have places, of two axes.

    Args:
        output_size: The height and width, or one number for both; None for the input's own.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool2d`][funcparams.nn.MaxUnpool2d] takes them.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W), it returns an array of as many axes and of x's
    dtype. The windows are those of [`AdaptiveMaxPool1d`][funcparams.nn.AdaptiveMaxPool1d] on each
    axis. With return_indices it returns a pair of this and of int32: the number of the entry in its
    channel, row by row.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveMaxPool2d(1).apply({}, jnp.arange(16.0).reshape(1, 4, 4)).tolist()
        [[[15.0]]]

    References:
        [torch.nn.AdaptiveMaxPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html)
    """

    spatial = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    r"""Take maxima over as many windows as the output is to have places, of three axes.

    Args:
        output_size: The depth, height and width, or one number for all; None for the input's own.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool3d`][funcparams.nn.MaxUnpool3d] takes them.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W), it returns an array of as many axes and
    of x's dtype. The windows are those of [`AdaptiveMaxPool1d`][funcparams.nn.AdaptiveMaxPool1d] on
    each axis. With return_indices it returns a pair of this and of int32: the number of the entry
    in its channel, row by row.

    Raises:
        ArgumentError: For a size that is not a positive integer.
        InputError: If x has another rank.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.AdaptiveMaxPool3d((1, None, 2)).apply({}, jnp.ones((3, 4, 4, 4))).shape
        (3, 1, 4, 2)

    References:
        [torch.nn.AdaptiveMaxPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html)
    """

    spatial = 3
