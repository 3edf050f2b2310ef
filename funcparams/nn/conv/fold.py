"""Sliding blocks of images as columns, and back: `Unfold` and `Fold`."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import InputError, array, layout, spatial_axes, title, wholes

Sizes: TypeAlias = int | Sequence[int]


class _Blocks(Module):
    """What both share: the geometry of the blocks."""

    kernel_size: int | tuple[int, ...]
    dilation: int | tuple[int, ...]
    padding: int | tuple[int, ...]
    stride: int | tuple[int, ...]
    channels_last: bool

    def _keep(
        self,
        kernel_size: Sizes,
        dilation: Sizes,
        padding: Sizes,
        stride: Sizes,
        channels_last: bool,
    ) -> None:
        self.kernel_size = self._given(kernel_size, "kernel_size", 1)
        self.dilation = self._given(dilation, "dilation", 1)
        self.padding = self._given(padding, "padding", 0)
        self.stride = self._given(stride, "stride", 1)
        self.channels_last = bool(channels_last)

    def _given(self, value: Sizes, name: str, least: int) -> int | tuple[int, ...]:
        """Check sizes, and keep them as they were given."""
        sizes = wholes(value, 2, type(self).__name__, name, least)
        return sizes if isinstance(value, Sequence) else sizes[0]

    def _geometry(self, sizes: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
        """Return kernel, dilation, padding, stride and the number of blocks of each axis."""
        given = (self.kernel_size, self.dilation, self.padding, self.stride)
        each = zip(sizes, *(_pair(value) for value in given), strict=True)
        return [
            (kernel, step, pad, stride, (size + 2 * pad - step * (kernel - 1) - 1) // stride + 1)
            for size, kernel, step, pad, stride in each
        ]

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        last = ", channels_last=True" if self.channels_last else ""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}{last}"
        )


class Unfold(_Blocks):
    r"""Write each block of an image as a column: im2col.

    A block is what a kernel of a convolution sees. Column l holds the $C \prod_d k_d$ numbers of
    block l, channel by channel, and these row by row; there are
    $\prod_d \lfloor (n_d + 2 p_d - d_d (k_d - 1) - 1) / s_d \rfloor + 1$ blocks, row by row. A
    convolution is a matrix product with these columns.

    Args:
        kernel_size: The height and width of a block; here and below an integer is for both.
        dilation: The distances between the places of a block.
        padding: The zeros added at both ends of an axis.
        stride: The steps between blocks.
        channels_last: Whether images are (N, H, W, C) instead of (N, C, H, W), and columns (N, L,
            C * kernel) instead of (N, C * kernel, L); in what order their numbers stand is the
            same.

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of shape (N,
    C * kernel, L) or (C * kernel, L).

    Raises:
        ArgumentError: For sizes that are no integers, or too small.
        InputError: If x has another rank, or is smaller than a block.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Unfold(2).apply({}, jnp.arange(6).reshape(1, 2, 3)).tolist()
        [[0, 1], [1, 2], [3, 4], [4, 5]]

    References:
        [torch.nn.Unfold](https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html)
    """

    def __init__(
        self,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
        *,
        channels_last: bool = False,
    ) -> None:
        self._keep(kernel_size, dilation, padding, stride, channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Cut x into blocks."""
        x = array(x)
        axes = spatial_axes(self, x, 2, self.channels_last)
        geometry = self._geometry([x.shape[axis] for axis in axes])
        blocks = tuple(count for *_, count in geometry)
        if min(blocks) < 1:
            raise InputError(
                f"{title(self)}: expected an input that is no smaller than a block, got shape "
                f"{x.shape} for kernel_size={self.kernel_size}, dilation={self.dilation}, "
                f"padding={self.padding}."
            )
        config = [(0, 0, 0)] * x.ndim
        for axis, (_, _, pad, _, _) in zip(axes, geometry, strict=True):
            config[axis] = (pad, pad, 0)
        if any(map(any, config)):
            x = lax.pad(x, _zero(x), config)
        # From the last axis on, so the first keeps its number: (..., H, W, ...) becomes
        # (..., kernel, H, kernel, W, ...).
        for axis, (kernel, step, _, stride, count) in zip(axes[::-1], geometry[::-1], strict=True):
            x = _cut(x, axis, kernel, step, stride, count)
        # Columns are (channel, kernel, kernel), whatever the layout.
        first = axes[0]
        order = (1, 3, 4, 0, 2) if self.channels_last else (0, 2, 1, 3)
        x = lax.transpose(x, (*range(first), *(first + axis for axis in order)))
        length, kernel = math.prod(blocks), math.prod(_pair(self.kernel_size))
        if self.channels_last:
            return x.reshape(*x.shape[:first], length, x.shape[first + 2] * kernel)
        return x.reshape(*x.shape[: first - 1], x.shape[first - 1] * kernel, length)


class Fold(_Blocks):
    r"""Add columns to an image as blocks: col2im, the adjoint of [`Unfold`][funcparams.nn.Unfold].

    Where blocks overlap, their numbers are added: `fold(unfold(x))` is x times the number of blocks
    that each place is in.

    Args:
        output_size: The height and width of the image; here and below an integer is for both.
        kernel_size: The height and width of a block.
        dilation: The distances between the places of a block.
        padding: The places left out at both ends of an axis.
        stride: The steps between blocks.
        channels_last: Whether images are (N, H, W, C) instead of (N, C, H, W), and columns (N, L,
            C * kernel) instead of (N, C * kernel, L).

    Called with x of shape (N, C * kernel, L) or (C * kernel, L) and any dtype of numbers, where L
    is the number of blocks, it returns an array of shape (N, C, H, W) or (C, H, W).

    Raises:
        ArgumentError: For sizes that are no integers, or too small.
        InputError: If x has another rank, or not as many rows and columns.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Fold((2, 3), 2).apply({}, jnp.ones((4, 2))).tolist()
        [[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]

    References:
        [torch.nn.Fold](https://docs.pytorch.org/docs/stable/generated/torch.nn.Fold.html)
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
        *,
        channels_last: bool = False,
    ) -> None:
        self.output_size = self._given(output_size, "output_size", 1)
        self._keep(kernel_size, dilation, padding, stride, channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Add the columns of x."""
        x = array(x)
        sizes = _pair(self.output_size)
        geometry = self._geometry(sizes)
        blocks = tuple(count for *_, count in geometry)
        kernel = _pair(self.kernel_size)
        channels = self._channels(x, kernel, blocks)
        batch = x.shape[:-2]
        n = len(batch)
        if self.channels_last:
            x = x.reshape(*batch, *blocks, channels, *kernel)
            order, first = (3, 0, 4, 1, 2), n
        else:
            x = x.reshape(*batch, channels, *kernel, *blocks)
            order, first = (0, 1, 3, 2, 4), n + 1
        x = lax.transpose(x, (*range(n), *(n + axis for axis in order)))
        # (..., kernel, H, kernel, W, ...): each pair of axes becomes one, the first pair first.
        for axis, size, (_, step, pad, stride, _) in zip(
            (first, first + 1), sizes, geometry, strict=True
        ):
            x = _join(x, axis, size, step, stride, pad)
        return x

    def _channels(self, x: jax.Array, kernel: Sequence[int], blocks: Sequence[int]) -> int:
        """Return the channels of the image; refuse columns that cannot be its blocks."""
        rows, length = math.prod(kernel), math.prod(blocks)
        axes = (-1, -2) if self.channels_last else (-2, -1)
        fits = x.ndim in (2, 3) and x.shape[axes[0]] % rows == 0 and x.shape[axes[1]] == length
        if min(blocks) < 1 or not fits:
            asked, single = (
                layout(f"C * {rows}", self.channels_last, (str(length),), batched)
                for batched in (True, False)
            )
            raise InputError(
                f"{title(self)}: expected an input of shape {asked}, or {single} without a batch "
                f"axis, for output_size={self.output_size}, kernel_size={self.kernel_size}, "
                f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}: "
                f"{blocks[0]} * {blocks[1]} blocks. Got shape {x.shape}."
            )
        return x.shape[axes[0]] // rows

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"output_size={self.output_size}, {super().extra_repr()}"


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value, value)


def _zero(x: jax.Array) -> Any:
    return np.zeros((), x.dtype)


def _cut(x: jax.Array, axis: int, kernel: int, step: int, stride: int, count: int) -> jax.Array:
    """Split an axis into two: the places of a block, and the blocks."""
    if step == 1 and stride == kernel:  # blocks side by side, as in patches: no slices
        if count * kernel < x.shape[axis]:
            x = lax.slice_in_dim(x, 0, count * kernel, axis=axis)
        x = x.reshape(*x.shape[:axis], count, kernel, *x.shape[axis + 1 :])
        return x.swapaxes(axis, axis + 1)
    reach = (count - 1) * stride + 1
    starts = [place * step for place in range(kernel)]
    parts = [lax.slice_in_dim(x, low, low + reach, stride, axis) for low in starts]
    return lax.concatenate([lax.expand_dims(part, (axis,)) for part in parts], axis)


def _join(x: jax.Array, axis: int, size: int, step: int, stride: int, pad: int) -> jax.Array:
    """Add the blocks on two axes to one of a size: the adjoint of `_cut`, and of the padding."""
    kernel, count = x.shape[axis], x.shape[axis + 1]
    if step == 1 and stride == kernel:
        x = x.swapaxes(axis, axis + 1).reshape(
            *x.shape[:axis], count * kernel, *x.shape[axis + 2 :]
        )
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (-pad, size + pad - count * kernel, 0)
        return lax.pad(x, _zero(x), config) if any(config[axis]) else x
    reach = (count - 1) * stride + 1
    parts: list[jax.Array] = []
    for place in range(kernel):
        part = lax.squeeze(lax.slice_in_dim(x, place, place + 1, axis=axis), (axis,))
        config = [(0, 0, 0)] * part.ndim
        low = place * step - pad
        config[axis] = (low, size - low - reach, stride - 1)
        parts.append(lax.pad(part, _zero(x), config))
    return functools.reduce(lax.add, parts)
