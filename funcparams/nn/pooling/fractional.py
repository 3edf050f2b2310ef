"""Maxima over windows that lie at random: `FractionalMaxPool2d` and `FractionalMaxPool3d`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, buffer
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    channel_axis,
    floating,
    matching,
    number,
    spatial_axes,
    title,
    wholes,
    widened,
)
from funcparams.nn.pooling.places import first_maxima, placed
from funcparams.nn.pooling.pool import Sizes
from funcparams.nn.pooling.windows import Window

Ratios: TypeAlias = float | Sequence[float]


class _FractionalMaxPool(Module):
    """What both share: everything but the number of axes."""

    spatial: ClassVar[int]

    _random_samples: jax.Array | None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratios | None = None,
        return_indices: bool = False,
        _random_samples: Any = None,
        *,
        channels_last: bool = False,
    ) -> None:
        layer, n = type(self).__name__, self.spatial
        self.kernel_size = wholes(kernel_size, n, layer, "kernel_size", 1)
        if (output_size is None) == (output_ratio is None):
            raise ArgumentError(
                f"{layer}(output_size={output_size!r}, output_ratio={output_ratio!r}): expected "
                "one of output_size and output_ratio."
            )
        self.output_size = (
            None if output_size is None else wholes(output_size, n, layer, "output_size", 1)
        )
        self.output_ratio = None if output_ratio is None else self._ratios(output_ratio)
        self.return_indices = bool(return_indices)
        self.channels_last = bool(channels_last)
        # A name of PyTorch's, with its line in the state_dict.
        self._random_samples = None
        if _random_samples is not None:
            self._random_samples = buffer(init=init.array(_random_samples))

    def _ratios(self, given: Ratios) -> tuple[float, ...]:
        layer, n = type(self).__name__, self.spatial
        ratios = tuple(given) if isinstance(given, Sequence) else (given,) * n
        checked = tuple(number(ratio, layer, "output_ratio") for ratio in ratios)
        if len(ratios) != n or not all(0 < ratio < 1 for ratio in checked):
            raise ArgumentError(
                f"{layer}(output_ratio={given!r}): expected a number between 0 and 1, or one for "
                f"each of {n} axes."
            )
        return checked

    def __call__(self, x: ArrayLike) -> Any:
        """Take the maximum of each window, and where it stands if that is asked for."""
        x = floating(self, x)
        axes = spatial_axes(self, x, self.spatial, self.channels_last)
        counts = self._counts(x, axes)
        starts = self._starts(x, axes, counts)
        pair = placed(lax.stop_gradient(x), axes)
        for axis, start, kernel, count in reversed(
            list(zip(axes, starts, self.kernel_size, counts, strict=True))
        ):
            # The places of every window side by side.
            wanted = start[..., None] + np.arange(kernel, dtype=np.int32)
            wanted = self._along(x, axes, axis, wanted.reshape(*start.shape[:2], count * kernel))
            values, places = (_taken(each, wanted, axis) for each in pair)
            pair = first_maxima((values, places), axis, Window(kernel, kernel, 1, count))
        # The numbers are taken once more, from x itself, so that the derivative is one sum.
        places = pair[1]
        first, last = axes[0], axes[-1] + 1
        length, before, after = int(np.prod(counts)), x.shape[:first], x.shape[last:]
        flat = x.reshape(*before, -1, *after)
        y = _taken(flat, places.reshape(*before, length, *after), first).reshape(places.shape)
        return (y, places) if self.return_indices else y

    def _counts(self, x: jax.Array, axes: Sequence[int]) -> tuple[int, ...]:
        """Return the number of windows on each axis."""
        if self.output_size is not None:
            counts = self.output_size
        else:
            ratios = self.output_ratio or ()
            counts = tuple(int(x.shape[a] * ratio) for a, ratio in zip(axes, ratios, strict=True))
        for axis, count, kernel in zip(axes, counts, self.kernel_size, strict=True):
            if count < 1 or count + kernel - 1 > x.shape[axis]:
                raise InputError(
                    f"{title(self)}: expected at least one window, and room for all of them: "
                    f"output_size + kernel_size - 1 = {count} + {kernel} - 1 places, got "
                    f"{x.shape[axis]} on axis {axis} of shape {x.shape}."
                )
        return counts

    def _starts(self, x: jax.Array, axes: Sequence[int], counts: Sequence[int]) -> list[jax.Array]:
        """Return where the windows of each axis start: (batch, channels, windows)."""
        batch = 1 if x.ndim == self.spatial + 1 else x.shape[0]
        channels = x.shape[channel_axis(x, self.spatial, self.channels_last)]
        shape = (batch, channels, self.spatial)
        samples = self._random_samples
        if samples is None:
            samples = jax.random.uniform(self.next_key(), shape, widened(x.dtype))
        else:
            matching(self, x, samples)
            if samples.ndim != 3 or samples.shape[0] < batch or samples.shape[1:] != shape[1:]:
                raise InputError(
                    f"{title(self)}: expected _random_samples of shape {shape} for an input of "
                    f"shape {x.shape}, got {samples.shape}."
                )
            samples = samples[:batch].astype(widened(x.dtype))
        starts: list[jax.Array] = []
        for i, (axis, count, kernel) in enumerate(zip(axes, counts, self.kernel_size, strict=True)):
            room = x.shape[axis] - kernel
            # PyTorch counts the axes of images from the last, and those of volumes from the first.
            sample = samples[:, :, self.spatial - 1 - i if self.spatial == 2 else i][..., None]
            last = np.full((*shape[:2], 1), room, np.int32)
            if count > 1:
                real = np.dtype(sample.dtype).type
                step = real(room) / real(count - 1)
                offset = (sample * step).astype(np.int32)
                steps = ((np.arange(count - 1, dtype=real) + sample) * step).astype(np.int32)
                starts.append(lax.concatenate([steps - offset, jnp.asarray(last)], 2))
            else:
                starts.append(jnp.asarray(last))
        return starts

    def _along(self, x: jax.Array, axes: Sequence[int], axis: int, places: jax.Array) -> jax.Array:
        """Give places, (batch, channels, n), the axes of x: n along one, 1 along the others."""
        places = places.swapaxes(1, 2) if self.channels_last else places
        places = places if x.ndim == self.spatial + 2 else places[0]
        return lax.expand_dims(places, [other for other in axes if other != axis])

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does: none of them."""
        return "channels_last=True" if self.channels_last else ""


def _taken(x: jax.Array, places: jax.Array, axis: int) -> jax.Array:
    return jnp.take_along_axis(x, places, axis, mode="clip")


class FractionalMaxPool2d(_FractionalMaxPool):
    r"""Take maxima over windows on two axes, with steps that are random: not all are equal.

    Window i starts at $\lfloor (i + u) \alpha \rfloor - \lfloor u \alpha \rfloor$, the last one at
    the end, with $\alpha = (n - k) / (m - 1)$ for m windows of k places among n, and u from U(0, 1)
    for each axis of each channel of each example.

    Args:
        kernel_size: The height and width of a window; here and below one number is for all.
        output_size: The height and width of the output.
        output_ratio: In place of an output_size, its share of the input's size, between 0 and 1.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool2d`][funcparams.nn.MaxUnpool2d] takes them.
        _random_samples: The numbers u, (batch, channels, 2), if they are to be given ones.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Attributes:
        _random_samples: Where they are given, a buffer that holds them.

    Called with x of shape (N, C, H, W) or (C, H, W) and a floating dtype, it returns an array of as
    many axes and of x's dtype; with return_indices a pair of this and of int32, the number of the
    entry in its channel, row by row. A call needs a key where no samples are given: as in PyTorch
    the windows are random while training and not. The derivative is that of the first maximum.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        KeyRequiredError: If there is neither a key nor samples.
        InputError: If x has another rank or no room for the windows, or the samples do not fit.
        InputTypeError: If x is of integers, or the samples are of another dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.FractionalMaxPool2d(2, output_size=3)
        >>> model.apply({}, jnp.ones((1, 7, 7)), key=jax.random.key(0)).shape
        (1, 3, 3)

    References:
        Graham, [Fractional max-pooling](https://arxiv.org/abs/1412.6071), 2014;
        [torch.nn.FractionalMaxPool2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html)
    """

    spatial = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    r"""Take maxima over windows on three axes, with steps that are random: not all are equal.

    Window i starts at $\lfloor (i + u) \alpha \rfloor - \lfloor u \alpha \rfloor$, the last one at
    the end, with $\alpha = (n - k) / (m - 1)$ for m windows of k places among n, and u from U(0, 1)
    for each axis of each channel of each example.

    Args:
        kernel_size: The depth, height and width of a window; here and below one number is for all.
        output_size: The depth, height and width of the output.
        output_ratio: In place of an output_size, its share of the input's size, between 0 and 1.
        return_indices: Whether the places of the maxima are returned too, as
            [`MaxUnpool3d`][funcparams.nn.MaxUnpool3d] takes them.
        _random_samples: The numbers u, (batch, channels, 3), if they are to be given ones.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Attributes:
        _random_samples: Where they are given, a buffer that holds them.

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and a floating dtype, it returns an array
    of as many axes and of x's dtype; with return_indices a pair of this and of int32, the number of
    the entry in its channel, row by row. A call needs a key where no samples are given: as in
    PyTorch the windows are random while training and not. The derivative is that of the first
    maximum.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        KeyRequiredError: If there is neither a key nor samples.
        InputError: If x has another rank or no room for the windows, or the samples do not fit.
        InputTypeError: If x is of integers, or the samples are of another dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.FractionalMaxPool3d(2, output_ratio=0.5)
        >>> model.apply({}, jnp.ones((1, 6, 6, 6)), key=jax.random.key(0)).shape
        (1, 3, 3, 3)

    References:
        Graham, [Fractional max-pooling](https://arxiv.org/abs/1412.6071), 2014;
        [torch.nn.FractionalMaxPool3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html)
    """

    spatial = 3
