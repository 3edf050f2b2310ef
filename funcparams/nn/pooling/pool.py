"""What the pools over sliding windows share: their geometry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import jax
from jax import lax

from funcparams.module import Module
from funcparams.nn.checks import ArgumentError, InputError, title, wholes
from funcparams.nn.pooling.windows import Window

Sizes: TypeAlias = int | Sequence[int]


class Pool(Module):
    """A pool over windows, but for what it takes of each and the number of axes."""

    spatial: ClassVar[int]
    tuples: ClassVar[bool] = False  # whether sizes are kept, and shown, as tuples always

    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None
    padding: int | tuple[int, ...]
    ceil_mode: bool
    channels_last: bool

    def set_geometry(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes
    ) -> None:
        """Check and keep the sizes that every pool has."""
        self.kernel_size = self.given(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else self.given(stride, "stride", 1)
        self.padding = self.given(padding, "padding", 0)
        kernels, pads, dilations = (
            self.each(value) for value in (self.kernel_size, self.padding, dilation)
        )
        for kernel, pad, step in zip(kernels, pads, dilations, strict=True):
            if 2 * pad > step * (kernel - 1) + 1:
                raise ArgumentError(
                    f"{type(self).__name__}(kernel_size={kernel_size}, padding={padding}): "
                    "padding should be at most half of the effective kernel size, or windows would "
                    "hold nothing else."
                )

    def given(self, value: Sizes, name: str, least: int) -> int | tuple[int, ...]:
        """Check sizes, and keep them as they were given: one integer, or one for each axis."""
        sizes = wholes(value, self.spatial, type(self).__name__, name, least)
        return sizes if self.tuples or isinstance(value, Sequence) else sizes[0]

    def each(self, value: Sizes) -> tuple[int, ...]:
        """Return one size for each axis."""
        return tuple(value) if isinstance(value, Sequence) else (value,) * self.spatial

    def windows(self, x: jax.Array, axes: Sequence[int], dilation: Sizes = 1) -> list[Window]:
        """Return the windows of each axis, of an input that is not padded yet."""
        windows: list[Window] = []
        stride = self.kernel_size if self.stride is None else self.stride
        geometry = (self.kernel_size, stride, self.padding, dilation)
        for i, axis in enumerate(axes):
            kernel, stride, pad, step = (self.each(value)[i] for value in geometry)
            size = x.shape[axis]
            free = size + 2 * pad - step * (kernel - 1) - 1
            count = (free + (stride - 1 if self.ceil_mode else 0)) // stride + 1
            # A window that starts in the padding after the input is none.
            if self.ceil_mode and (count - 1) * stride >= size + pad:
                count -= 1
            if count < 1:
                raise InputError(
                    f"{title(self)}: expected an input that is no smaller than the kernel, got "
                    f"{size + 2 * pad} places with padding on axis {axis} of shape {x.shape}, "
                    f"where the kernel covers {step * (kernel - 1) + 1}."
                )
            windows.append(Window(kernel, stride, step, count))
        return windows

    def padded(
        self, x: jax.Array, axes: Sequence[int], windows: Sequence[Window], fill: Any
    ) -> jax.Array:
        """Pad an input as far as the windows reach."""
        config = [(0, 0, 0)] * x.ndim
        for axis, window, pad in zip(axes, windows, self.each(self.padding), strict=True):
            reach = (window.count - 1) * window.stride + window.extent
            config[axis] = (pad, max(reach - pad - x.shape[axis], 0), 0)
        return lax.pad(x, fill, config) if any(map(any, config)) else x

    def layout_text(self) -> str:
        """Write where the channels stand, if it is not where PyTorch has them."""
        return ", channels_last=True" if self.channels_last else ""
