"""Convolutions over one, two or three axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

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
from funcparams.nn.linear import fan_uniform

Sizes: TypeAlias = int | Sequence[int]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]

# What jax.numpy.pad calls PyTorch's padding modes.
_MODES: dict[str, str] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_LETTERS = {1: "H", 2: "HW", 3: "DHW"}


class _Conv(Module):
    """What the convolutions share: everything but the number of spatial axes."""

    spatial: ClassVar[int]

    bias: jax.Array | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | Literal["same", "valid"] = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
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
        self.dilation = wholes(dilation, n, layer, "dilation", 1)
        self.groups = whole(groups, layer, "groups", 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ArgumentError(
                    f"{layer}({name}={channels}, groups={groups}): {name} must be divisible by "
                    "groups."
                )
        if isinstance(padding, str):
            self.padding = choice(padding, ("same", "valid"), layer, "padding")
            if self.padding == "same" and max(self.stride) > 1:
                raise ArgumentError(
                    f"{layer}(padding='same', stride={self.stride}): padding='same' is not "
                    "supported for strided convolutions; give the padding as numbers."
                )
        else:
            self.padding = wholes(padding, n, layer, "padding")
        self.padding_mode = choice(padding_mode, ("zeros", *_MODES), layer, "padding_mode")
        self.channels_last = bool(channels_last)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = param(shape, init.kaiming_uniform(a=math.sqrt(5)), dtype)
        fan = math.prod(shape[1:])
        self.bias = param(self.out_channels, fan_uniform(fan), dtype) if bias else None

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Convolve x, with or without a batch axis."""
        x = matching(self, x, self.weight)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        channel = channel_axis(x, self.spatial, self.channels_last)
        pads = self._pads()
        self._check(x, axes, channel, pads)
        if self.padding_mode != "zeros":
            every = [(0, 0)] * x.ndim
            for axis, pad in zip(axes, pads, strict=True):
                every[axis] = pad
            x = jnp.pad(x, every, mode=_MODES[self.padding_mode])
            pads = [(0, 0)] * self.spatial
        single = x.ndim == self.spatial + 1
        letters = _LETTERS[self.spatial]
        data = f"N{letters}C" if self.channels_last else f"NC{letters}"
        y = lax.conv_general_dilated(
            lax.expand_dims(x, (0,)) if single else x,
            self.weight,
            self.stride,
            pads,
            rhs_dilation=self.dilation,
            dimension_numbers=(data, f"OI{letters}", data),
            feature_group_count=self.groups,
        )
        if single:
            y = lax.squeeze(y, (0,))
        if self.bias is None:
            return y
        after = () if self.channels_last else tuple(range(1, self.spatial + 1))
        return y + lax.expand_dims(self.bias, after)

    def _pads(self) -> list[tuple[int, int]]:
        """Return the padding of each spatial axis, before and after."""
        if self.padding == "valid":
            return [(0, 0)] * self.spatial
        if self.padding == "same":
            # Where the total is odd, PyTorch and XLA both put the extra one after.
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        return [(pad, pad) for pad in self.padding]  # pyright: ignore[reportReturnType]

    def _check(
        self, x: jax.Array, axes: Sequence[int], channel: int, pads: Sequence[tuple[int, int]]
    ) -> None:
        if x.shape[channel] != self.in_channels:
            raise InputError(
                f"{title(self)}: expected in_channels={self.in_channels} channels on axis "
                f"{channel} (channels_last={self.channels_last}), got {x.shape[channel]} in an "
                f"input of shape {x.shape}."
            )
        for axis, (low, high), kernel, dilation in zip(
            axes, pads, self.kernel_size, self.dilation, strict=True
        ):
            size, extent = x.shape[axis], dilation * (kernel - 1) + 1
            if size + low + high < extent:
                raise InputError(
                    f"{title(self)}: expected an input that is no smaller than the kernel, got "
                    f"{size + low + high} places with padding on axis {axis} of shape {x.shape}, "
                    f"where the kernel covers {extent}."
                )
            most = {"reflect": size - 1, "circular": size}.get(self.padding_mode)
            if most is not None and max(low, high) > most:
                raise InputError(
                    f"{title(self)}: padding_mode={self.padding_mode!r} can pad an axis of "
                    f"{size} by {most} at most, got padding {max(low, high)} on axis {axis} of "
                    f"shape {x.shape}."
                )

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        if self.padding != (0,) * self.spatial:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.spatial:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text + (", channels_last=True" if self.channels_last else "")


class Conv1d(_Conv):
    r"""Convolve over one axis: $y_{o,t} = b_o + \sum_{i,k} W_{o,i,k}\, x_{i, st + dk}$.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The length of the kernel.
        stride: The step s between windows.
        padding: The places added at both ends, or "same" (as many as keep the length), or
            "valid" (none).
        dilation: The distance d between the places that a kernel takes.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether $b$ is added.
        padding_mode: What is put into the added places: "zeros", "reflect", "replicate" or
            "circular".
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, L, C) instead of (N, C, L). Weights are the same.

    Attributes:
        weight: (out_channels, in_channels / groups, kernel_size), from U(-k, k) with
            k = 1 / sqrt(in_channels / groups * kernel_size).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, L) or (C, L) and of the parameters' dtype, it returns an array of
    that dtype, with out_channels channels.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or is smaller than the kernel.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Conv1d(1, 1, 3, padding="same", bias=False)
        >>> model.apply({"weight": jnp.ones((1, 1, 3))}, jnp.arange(4.0)[None]).tolist()
        [[1.0, 3.0, 6.0, 5.0]]

    References:
        [torch.nn.Conv1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html)
    """

    spatial = 1


class Conv2d(_Conv):
    r"""Convolve over two axes: $y_{o,p} = b_o + \sum_{i,k} W_{o,i,k}\, x_{i, sp + dk}$.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The height and width of the kernel; here and below an integer is for both.
        stride: The steps s between windows.
        padding: The places added at both ends of an axis, or "same" (as many as keep the size), or
            "valid" (none).
        dilation: The distances d between the places that a kernel takes.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether $b$ is added.
        padding_mode: What is put into the added places: "zeros", "reflect", "replicate" or
            "circular".
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W), which is faster on
            CPU. Weights are the same.

    Attributes:
        weight: (out_channels, in_channels / groups, height, width), from U(-k, k) with
            k = 1 / sqrt(in_channels / groups * height * width).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, H, W) or (C, H, W) and of the parameters' dtype, it returns an
    array of that dtype, with out_channels channels.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or is smaller than the kernel.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)
        >>> model
        Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
        >>> params = {"weight": jnp.ones((8, 3, 3, 3)), "bias": jnp.zeros(8)}
        >>> model.apply(params, jnp.ones((5, 3, 6, 6))).shape
        (5, 8, 3, 3)

    References:
        [torch.nn.Conv2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html)
    """

    spatial = 2


class Conv3d(_Conv):
    r"""Convolve over three axes: $y_{o,p} = b_o + \sum_{i,k} W_{o,i,k}\, x_{i, sp + dk}$.

    Args:
        in_channels: The channels of the input.
        out_channels: The channels of the output.
        kernel_size: The depth, height and width of the kernel; here and below an integer is for
            all three.
        stride: The steps s between windows.
        padding: The places added at both ends of an axis, or "same" (as many as keep the size), or
            "valid" (none).
        dilation: The distances d between the places that a kernel takes.
        groups: Into how many groups the channels fall; each sees its own inputs only.
        bias: Whether $b$ is added.
        padding_mode: What is put into the added places: "zeros", "reflect", "replicate" or
            "circular".
        dtype: The dtype of the parameters.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W). Weights are the
            same.

    Attributes:
        weight: (out_channels, in_channels / groups, depth, height, width), from U(-k, k) with
            k = 1 / sqrt(in_channels / groups * depth * height * width).
        bias: (out_channels,), from the same distribution.

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and of the parameters' dtype, it returns
    an array of that dtype, with out_channels channels.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has another rank or number of channels, or is smaller than the kernel.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> params = {"weight": jnp.ones((4, 2, 3, 3, 3)), "bias": jnp.zeros(4)}
        >>> nn.Conv3d(2, 4, 3).apply(params, jnp.ones((2, 5, 5, 5))).shape
        (4, 3, 3, 3)

    References:
        [torch.nn.Conv3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv3d.html)
    """

    spatial = 3
