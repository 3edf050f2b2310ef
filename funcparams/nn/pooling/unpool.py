"""Putting maxima back where they stood: `MaxUnpool1d`, `MaxUnpool2d` and `MaxUnpool3d`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputError, InputTypeError, array, spatial_axes, title, wholes
from funcparams.nn.pooling.pool import Sizes


class _MaxUnpool(Module):
    """What they share: everything but the number of axes."""

    spatial: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        *,
        channels_last: bool = False,
    ) -> None:
        layer, n = type(self).__name__, self.spatial
        self.kernel_size = wholes(kernel_size, n, layer, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else wholes(stride, n, layer, "stride", 1)
        self.padding = wholes(padding, n, layer, "padding")
        self.channels_last = bool(channels_last)

    def __call__(
        self, x: ArrayLike, indices: ArrayLike, output_size: Sequence[int] | None = None
    ) -> jax.Array:
        """Put the numbers of x at their places, among zeros."""
        x, indices = array(x), array(indices)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise InputTypeError(
                f"{title(self)}: expected indices of integers, as a pool with return_indices=True "
                f"gives them, got {indices.dtype}{list(indices.shape)}."
            )
        if indices.shape != x.shape:
            raise InputError(
                f"{title(self)}: expected an index for each number of an input of shape {x.shape}, "
                f"got indices of shape {indices.shape}."
            )
        sizes = self._sizes(x, axes, output_size)
        first, places = axes[0], math.prod(sizes)
        rows, after = x.shape[:first], x.shape[first + self.spatial :]
        length = math.prod(x.shape[axis] for axis in axes)
        others = [i for i in range(first + 1 + len(after)) if i != first]
        numbers = lax.ScatterDimensionNumbers(
            update_window_dims=(),
            inserted_window_dims=(first,),
            scatter_dims_to_operand_dims=(first,),
            operand_batching_dims=tuple(others),
            scatter_indices_batching_dims=tuple(others),
        )
        # Windows that overlap have one maximum, so indices are the same where numbers are. Called
        # unique, each of these gets the derivative of the place, as in PyTorch.
        y = lax.scatter(
            lax.full((*rows, places, *after), 0, x.dtype),
            lax.expand_dims(indices.reshape(*rows, length, *after), (first + 1 + len(after),)),
            x.reshape(*rows, length, *after),
            numbers,
            unique_indices=True,
            mode="drop",
        )
        return y.reshape(*rows, *sizes, *after)

    def _sizes(
        self, x: jax.Array, axes: Sequence[int], output_size: Sequence[int] | None
    ) -> tuple[int, ...]:
        """Return the spatial size of the output."""
        geometry = zip(axes, self.kernel_size, self.stride, self.padding, strict=True)
        usual = tuple((x.shape[a] - 1) * s + k - 2 * pad for a, k, s, pad in geometry)
        sizes = usual
        if output_size is not None:
            given = tuple(output_size)
            if len(given) not in (self.spatial, self.spatial + 2):
                raise InputError(
                    f"{title(self)}: expected an output_size of {self.spatial} or "
                    f"{self.spatial + 2} numbers, got {given}."
                )
            start = 0 if len(given) == self.spatial else 1 if self.channels_last else 2
            sizes = given[start : start + self.spatial]
            if any(abs(a - b) >= s for a, b, s in zip(sizes, usual, self.stride, strict=True)):
                raise InputError(
                    f"{title(self)}: expected an output_size that is less than stride={self.stride}"
                    f" away from {usual} for an input of shape {x.shape}, got {given}."
                )
        if min(sizes) < 0:
            raise InputError(
                f"{title(self)}: the output of an input of shape {x.shape} would have the negative "
                f"size {sizes}."
            )
        return sizes

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}{last}"


class MaxUnpool1d(_MaxUnpool):
    """Put the maxima of windows on one axis back where they stood, and zeros everywhere else.

    Args:
        kernel_size: The number of places in a window.
        stride: The step between windows; None for the kernel's size.
        padding: The padding of the pool.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and indices of that shape, as
    [`MaxPool1d`][funcparams.nn.MaxPool1d] with return_indices=True gives them, it returns an array
    of as many axes and of x's dtype. Pools give one size for several; the call may be given
    `output_size`, the spatial size or whole shape of what was pooled. What has an index outside of
    the output is left out, where PyTorch raises.

    Raises:
        ArgumentError: For sizes that are no integers, or too small.
        InputError: If shapes do not fit, or the output cannot have the size.
        InputTypeError: If the indices are no integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> pool, unpool = nn.MaxPool1d(2, return_indices=True), nn.MaxUnpool1d(2)
        >>> y, places = pool.apply({}, jnp.array([[1.0, 4.0, 3.0, 2.0]]))
        >>> places.tolist(), unpool.apply({}, y, places).tolist()
        ([[1, 2]], [[0.0, 4.0, 3.0, 0.0]])

    References:
        [torch.nn.MaxUnpool1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html)
    """

    spatial = 1


class MaxUnpool2d(_MaxUnpool):
    """Put the maxima of windows on two axes back where they stood, and zeros everywhere else.

    Args:
        kernel_size: The height and width of a window; here and below an integer is for both.
        stride: The steps between windows; None for the kernel's size.
        padding: The padding of the pool.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and indices of that shape, as
    [`MaxPool2d`][funcparams.nn.MaxPool2d] with return_indices=True gives them, it returns an array
    of as many axes and of x's dtype. Pools give one size for several; the call may be given
    `output_size`, the spatial size or whole shape of what was pooled. What has an index outside of
    the output is left out, where PyTorch raises.

    Raises:
        ArgumentError: For sizes that are no integers, or too small.
        InputError: If shapes do not fit, or the output cannot have the size.
        InputTypeError: If the indices are no integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> y, places = jnp.array([[[5.0]]]), jnp.array([[[2]]])
        >>> nn.MaxUnpool2d(2).apply({}, y, places).tolist()
        [[[0.0, 0.0], [5.0, 0.0]]]

    References:
        [torch.nn.MaxUnpool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html)
    """

    spatial = 2


class MaxUnpool3d(_MaxUnpool):
    """Put the maxima of windows on three axes back where they stood, and zeros everywhere else.

    Args:
        kernel_size: The depth, height and width of a window; here and below an integer is for all.
        stride: The steps between windows; None for the kernel's size.
        padding: The padding of the pool.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and indices of that shape, as
    [`MaxPool3d`][funcparams.nn.MaxPool3d] with return_indices=True gives them, it returns an array
    of as many axes and of x's dtype. Pools give one size for several; the call may be given
    `output_size`, the spatial size or whole shape of what was pooled. What has an index outside of
    the output is left out, where PyTorch raises.

    Raises:
        ArgumentError: For sizes that are no integers, or too small.
        InputError: If shapes do not fit, or the output cannot have the size.
        InputTypeError: If the indices are no integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> y, places = jnp.ones((1, 2, 2, 2)), jnp.arange(8).reshape(1, 2, 2, 2)
        >>> nn.MaxUnpool3d(2).apply({}, y, places, output_size=(5, 4, 4)).shape
        (1, 5, 4, 4)

    References:
        [torch.nn.MaxUnpool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html)
    """

    spatial = 3
