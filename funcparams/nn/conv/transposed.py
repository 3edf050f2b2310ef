"""Transposed convolutions over one, two or three axes: the adjoints of convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, param
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    channel_axis,
    choice,
    matching,
    spatial_axes,
    title,
    whole,
    wholes,
)
from funcparams.nn.conv.convolution import PaddingMode, Sizes
from funcparams.nn.conv.spread import Geometry, spread, spread_with_derivative
from funcparams.nn.linear import fan_uniform


class _ConvTranspose(Module):
    """What the transposed convolutions share: everything but the number of spatial axes."""

    spatial: ClassVar[int]

    bias: jax.Array | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: PaddingMode = "zeros",
        dtype: Any = jnp.float32,
        *,
        channels_last: bool = False,
    ) -> None:
        layer, n = type(self).__name__, self.spatial
        self.in_channels = whole(in_channels, layer, "in_channels")
        self.out_channels = whole(out_channels, layer, "out_channels")
        self.kernel_size = wholes(kernel_size, n, layer, "kernel_size", 1)
        self.stride = wholes(stride, n, layer, "stride", 1)
        self.padding = wholes(padding, n, layer, "padding")
        self.dilation = wholes(dilation, n, layer, "dilation", 1)
        self.output_padding = wholes(output_padding, n, layer, "output_padding")
        self.groups = whole(groups, layer, "groups", 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ArgumentError(
                    f"{layer}({name}={channels}, groups={groups}): {name} must be divisible by "
                    "groups."
                )
        for extra, *steps in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(steps):
                raise ArgumentError(
                    f"{layer}(output_padding={self.output_padding}, stride={self.stride}, "
                    f"dilation={self.dilation}): output_padding must be smaller than stride or "
                    "dilation on each axis."
                )
        self.padding_mode = choice(padding_mode, ("zeros",), layer, "padding_mode")
        self.channels_last = bool(channels_last)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.weight = param(shape, init.kaiming_uniform(a=math.sqrt(5)), dtype)
        # PyTorch takes axis 1 for the inputs here too.
        fan = math.prod(shape[1:])
        self.bias = param(self.out_channels, fan_uniform(fan), dtype) if bias else None

    def __call__(self, x: ArrayLike, output_size: Sequence[int] | None = None) -> jax.Array:
        """Convolve x with the transposed kernel, with or without a batch axis."""
        x = matching(self, x, self.weight)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        channel = channel_axis(x, self.spatial, self.channels_last)
        if x.shape[channel] != self.in_channels:
            raise InputError(
                f"{title(self)}: expected in_channels={self.in_channels} channels on axis "
                f"{channel} (channels_last={self.channels_last}), got {x.shape[channel]} in an "
                f"input of shape {x.shape}."
            )
        single = x.ndim == self.spatial + 1
        how = Geometry(
            self.stride,
            self.dilation,
            tuple(self._pads(x, axes, output_size)),
            self.groups,
            self.channels_last,
        )
        # Of groups the derivative would have to move the data too: there it stays JAX's own.
        convolve = spread if self.groups > 1 else spread_with_derivative
        y = convolve(lax.expand_dims(x, (0,)) if single else x, self._kernel(), how)
        if single:
            y = lax.squeeze(y, (0,))
        if self.bias is None:
            return y
        after = () if self.channels_last else tuple(range(1, self.spatial + 1))
        return y + lax.expand_dims(self.bias, after)

    def _kernel(self) -> jax.Array:
        """Return the weight as (inputs of a group, outputs of all groups, kernel...)."""
        if self.groups == 1:
            return self.weight
        inner = self.in_channels // self.groups
        grouped = self.weight.reshape(self.groups, inner, *self.weight.shape[1:])
        swapped = grouped.swapaxes(0, 1) if inner > 1 else grouped
        return swapped.reshape(inner, self.out_channels, *self.kernel_size)

    def _pads(
        self, x: jax.Array, axes: Sequence[int], output_size: Sequence[int] | None
    ) -> list[tuple[int, int]]:
        """Return the padding of each spatial axis of the spread input, before and after."""
        reaches = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        geometry = zip(axes, self.stride, reaches, self.padding, strict=True)
        least = [(x.shape[a] - 1) * s + reach + 1 - 2 * pad for a, s, reach, pad in geometry]
        extras = self.output_padding
        if output_size is not None:
            extras = self._extras(x, axes, tuple(output_size), least)
        sizes = [size + extra for size, extra in zip(least, extras, strict=True)]
        if min(sizes) < 1:
            raise InputError(
                f"{title(self)}: expected an input that is large enough for padding="
                f"{self.padding}, got shape {x.shape}, for which the output would have the spatial "
                f"size {tuple(sizes)}."
            )
        return [
            (reach - pad, reach - pad + extra)
            for reach, pad, extra in zip(reaches, self.padding, extras, strict=True)
        ]

    def _extras(
        self, x: jax.Array, axes: Sequence[int], asked: tuple[int, ...], least: Sequence[int]
    ) -> tuple[int, ...]:
        """Return the output padding that gives the size asked for."""
        if len(asked) not in (self.spatial, x.ndim):
            raise InputError(
                f"{title(self)}: expected an output_size of {self.spatial} or {x.ndim} numbers for "
                f"an input of shape {x.shape}, got {asked}."
            )
        sizes = [asked[axis] for axis in axes] if len(asked) == x.ndim else asked
        extras = tuple(size - low for size, low in zip(sizes, least, strict=True))
        if any(not 0 <= extra < step for extra, step in zip(extras, self.stride, strict=True)):
            most = [low + step - 1 for low, step in zip(least, self.stride, strict=True)]
            raise InputError(
                f"{title(self)}: expected an output_size from {tuple(least)} to {tuple(most)} for "
                f"an input of shape {x.shape}, got {asked}."
            )
        return extras

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != (0,) * self.spatial:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.spatial:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.spatial:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text + (", channels_last=True" if self.channels_last else "")


class ConvTranspose1d(_ConvTranspose):
    r"""Add a kernel at each place of one axis: $y_{o,st+dk} \mathrel{+}= W_{i,o,k}\, x_{i,t}$.

    Each place t of the input adds its kernel to the output at $st - p$, with the padding p; then
    the bias is added. It is the derivative of [`Conv1d`][funcparams.nn.Conv1d] by its input, so it
    gives back the size that a convolution with the same arguments took.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The length of the kernel.
        stride: The step s between the places where kernels are added.
        padding: The places p that are left out at both ends of the output.
        output_padding: The places added at the end of the output, fewer than the stride or the
            dilation: with a stride, convolutions of several sizes give one size.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether the bias is added.
        dilation: The distance d between the places that a kernel is added to.
        padding_mode: Only "zeros", as in PyTorch.
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, L, C) instead of (N, C, L). Weights are the same.

    Attributes:
        weight: (in_channels, out_channels / groups, kernel_size), from U(-k, k) with
            k = 1 / sqrt(out_channels / groups * kernel_size).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, L) or (C, L) and of the parameters' dtype, it returns an array of
    that dtype, with out_channels channels and (L - 1) s - 2 p + d (kernel_size - 1) + 1 +
    output_padding places. The call may be given `output_size`, the spatial size or whole shape of
    the output, in place of the output_padding.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or an output cannot have the size.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.ConvTranspose1d(1, 1, 3, stride=2, bias=False)
        >>> model.apply({"weight": jnp.array([[[1.0, 2.0, 3.0]]])}, jnp.array([[1.0, 10.0]]))
        Array([[ 1.,  2., 13., 20., 30.]], dtype=float32)

    References:
        Zeiler et al., Deconvolutional networks, 2010;
        [torch.nn.ConvTranspose1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html)
    """

    spatial = 1


class ConvTranspose2d(_ConvTranspose):
    r"""Add a kernel at each place of two axes: $y_{o,sp+dk} \mathrel{+}= W_{i,o,k}\, x_{i,p}$.

    Each place p of the input adds its kernel to the output; then the bias is added. It is the
    derivative of [`Conv2d`][funcparams.nn.Conv2d] by its input, so it gives back the size that a
    convolution with the same arguments took.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The height and width of the kernel; here and below an integer is for both.
        stride: The steps s between the places where kernels are added.
        padding: The places that are left out at both ends of each axis of the output.
        output_padding: The places added at the end of each axis of the output, fewer than the
            stride or the dilation.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether the bias is added.
        dilation: The distances d between the places that a kernel is added to.
        padding_mode: Only "zeros", as in PyTorch.
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W). Weights are the same.

    Attributes:
        weight: (in_channels, out_channels / groups, height, width), from U(-k, k) with
            k = 1 / sqrt(out_channels / groups * height * width).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, H, W) or (C, H, W) and of the parameters' dtype, it returns an
    array of that dtype, with out_channels channels. The call may be given `output_size`, the
    spatial size or whole shape of the output, in place of the output_padding.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or an output cannot have the size.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.ConvTranspose2d(3, 8, kernel_size=3, stride=2, padding=1)
        >>> params = {"weight": jnp.ones((3, 8, 3, 3)), "bias": jnp.zeros(8)}
        >>> model.apply(params, jnp.ones((5, 3, 4, 4))).shape
        (5, 8, 7, 7)
        >>> model.apply(params, jnp.ones((5, 3, 4, 4)), output_size=(8, 8)).shape
        (5, 8, 8, 8)

    References:
        Zeiler et al., Deconvolutional networks, 2010;
        [torch.nn.ConvTranspose2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html)
    """

    spatial = 2


class ConvTranspose3d(_ConvTranspose):
    r"""Add a kernel at each place of three axes: $y_{o,sp+dk} \mathrel{+}= W_{i,o,k}\, x_{i,p}$.

    Each place p of the input adds its kernel to the output; then the bias is added. It is the
    derivative of [`Conv3d`][funcparams.nn.Conv3d] by its input, so it gives back the size that a
    convolution with the same arguments took.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The depth, height and width of the kernel; here and below an integer is for
            all three.
        stride: The steps s between the places where kernels are added.
        padding: The places that are left out at both ends of each axis of the output.
        output_padding: The places added at the end of each axis of the output, fewer than the
            stride or the dilation.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether the bias is added.
        dilation: The distances d between the places that a kernel is added to.
        padding_mode: Only "zeros", as in PyTorch.
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W). Weights are the
            same.

    Attributes:
        weight: (in_channels, out_channels / groups, depth, height, width), from U(-k, k) with
            k = 1 / sqrt(out_channels / groups * depth * height * width).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and of the parameters' dtype, it returns
    an array of that dtype, with out_channels channels. The call may be given `output_size`, the
    spatial size or whole shape of the output, in place of the output_padding.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or an output cannot have the size.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> params = {"weight": jnp.ones((2, 4, 3, 3, 3)), "bias": jnp.zeros(4)}
        >>> nn.ConvTranspose3d(2, 4, 3).apply(params, jnp.ones((2, 5, 5, 5))).shape
        (4, 7, 7, 7)

    References:
        Zeiler et al., Deconvolutional networks, 2010;
        [torch.nn.ConvTranspose3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html)
    """

    spatial = 3
