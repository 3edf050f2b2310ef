"""Interpolation: `Upsample`, `UpsamplingNearest2d` and `UpsamplingBilinear2d`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import (
    AXES,
    ArgumentError,
    InputError,
    array,
    choice,
    floating,
    layout,
    number,
    title,
    whole,
    widened,
)
from funcparams.nn.shape.resample import cubic, linear, nearest

Mode: TypeAlias = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear"]
Size: TypeAlias = int | Sequence[int]
Factor: TypeAlias = float | Sequence[float]

# How many axes a mode interpolates over.
_AXES: dict[Mode, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}


class Upsample(Module):
    r"""Give data another size by interpolation.

    The new place i of an axis stands at $(i + \frac 1 2) / s - \frac 1 2$ on the old one, with the
    factor s of its size, or, with align_corners, at $i (n - 1) / (m - 1)$ for n old and m new
    places. "nearest" takes the old place at $\lfloor i / s \rfloor$, "nearest-exact" the nearest
    one; the linear modes interpolate between the two old places around it on each axis, "bicubic"
    is cubic convolution over four, with a = -0.75.

    Args:
        size: The new size of the axes after the channels: one number for all, or one for each.
        scale_factor: In place of a size, what the old one is multiplied by, and then rounded down.
        mode: "nearest" or "nearest-exact" (over one to three axes), "linear" (one axis), "bilinear"
            or "bicubic" (two), "trilinear" (three).
        align_corners: Whether the first and last places, old and new, are the same ones; for the
            interpolating modes only.
        recompute_scale_factor: Whether s is the new size over the old one, rather than the
            scale_factor before rounding.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Called with x of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W), it returns an array of that
    rank and x's dtype, which is floating but for the nearest modes. The half types are interpolated
    in float32.

    Raises:
        ArgumentError: For arguments that PyTorch refuses too.
        InputError: If x has not the axes that the mode is for, or as many as there are sizes, or
            a size comes to zero.
        InputTypeError: If numbers between integers are asked for.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.Upsample(scale_factor=2)
        Upsample(scale_factor=2.0, mode='nearest')
        >>> nn.Upsample(scale_factor=2, mode="linear").apply({}, jnp.array([[[0.0, 4.0]]])).tolist()
        [[[0.0, 1.0, 3.0, 4.0]]]

    References:
        Keys, Cubic convolution interpolation for digital image processing, 1981;
        [torch.nn.Upsample](https://docs.pytorch.org/docs/stable/generated/torch.nn.Upsample.html)
    """

    size: int | tuple[int, ...] | None
    scale_factor: float | tuple[float, ...] | None

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        mode: Mode = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        layer = type(self).__name__
        if (size is None) == (scale_factor is None):
            raise ArgumentError(
                f"{layer}(size={size!r}, scale_factor={scale_factor!r}): expected one of size and "
                "scale_factor."
            )
        self.size = None if size is None else _each(size, layer, _checked_size)
        self.scale_factor = (
            None if scale_factor is None else _each(scale_factor, layer, _checked_factor)
        )
        self.mode: Mode = choice(mode, _AXES, layer, "mode")
        if align_corners is not None and self.mode in ("nearest", "nearest-exact"):
            raise ArgumentError(
                f"{layer}(mode={mode!r}, align_corners={align_corners}): align_corners is for the "
                "modes 'linear', 'bilinear', 'bicubic' and 'trilinear' only."
            )
        if recompute_scale_factor and size is not None:
            raise ArgumentError(
                f"{layer}(size={size!r}, recompute_scale_factor=True): there is no scale_factor to "
                "compute again."
            )
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor
        self.channels_last = bool(channels_last)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Interpolate x."""
        taking = self.mode in ("nearest", "nearest-exact")
        x = array(x) if taking else floating(self, x)
        axes, sizes, factors = self._geometry(x)
        dtype = x.dtype
        x = x if taking else x.astype(widened(dtype))
        for axis, count, factor in zip(axes, sizes, factors, strict=True):
            if taking:
                exact, image = self.mode == "nearest-exact", len(axes) == 2
                x = nearest(x, axis, count, factor, exact, image)
            else:
                interpolate = cubic if self.mode == "bicubic" else linear
                x = interpolate(x, axis, count, factor, bool(self.align_corners))
        return x.astype(dtype)

    def _geometry(
        self, x: jax.Array
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float | None, ...]]:
        """Return the axes of x, and the new size and factor of each."""
        known = _AXES[self.mode]
        count = x.ndim - 2
        if count not in known:
            shapes = " or ".join(layout("C", self.channels_last, AXES[n]) for n in known)
            raise InputError(
                f"{title(self)}: expected an input of shape {shapes} for mode={self.mode!r}, got "
                f"shape {x.shape}."
            )
        for name, value in (("size", self.size), ("scale_factor", self.scale_factor)):
            if isinstance(value, tuple) and len(value) != count:
                raise InputError(
                    f"{title(self)}: expected {count} numbers as {name}, one for each axis beside "
                    f"batch and channels of shape {x.shape}, got {value}."
                )
        first = 1 if self.channels_last else 2
        axes = tuple(range(first, first + count))
        if self.scale_factor is None:
            size = self.size if isinstance(self.size, tuple) else (self.size,) * count
            sizes, factors = tuple(each or 0 for each in size), (None,) * count
        else:
            scale = self.scale_factor
            factors = scale if isinstance(scale, tuple) else (scale,) * count
            sizes = tuple(int(x.shape[a] * f) for a, f in zip(axes, factors, strict=True))
            factors = (None,) * count if self.recompute_scale_factor else factors
        if min(sizes) < 1 or min(x.shape[axis] for axis in axes) < 1:
            raise InputError(
                f"{title(self)}: expected sizes greater than zero, got an input of shape {x.shape} "
                f"for an output of size {sizes}."
            )
        return axes, sizes, factors

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        name = "size" if self.scale_factor is None else "scale_factor"
        last = ", channels_last=True" if self.channels_last else ""
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}{last}"


class UpsamplingNearest2d(Upsample):
    """Give images another size by repeating and leaving out places.

    It is [`Upsample`][funcparams.nn.Upsample] with mode="nearest".

    Args:
        size: The new height and width, or one number for both.
        scale_factor: In place of a size, what the old ones are multiplied by.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) and any dtype, it returns an array of that rank and dtype.

    Raises:
        ArgumentError: If not exactly one of size and scale_factor is given.
        InputError: If x has not as many axes as there are sizes, or a size comes to zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.UpsamplingNearest2d(scale_factor=2).apply({}, jnp.array([[[[1, 2]]]])).tolist()
        [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]

    References:
        [torch.nn.UpsamplingNearest2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingNearest2d.html)
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__(size, scale_factor, "nearest", channels_last=channels_last)


class UpsamplingBilinear2d(Upsample):
    """Give images another size by interpolation between the four places around each new one.

    It is [`Upsample`][funcparams.nn.Upsample] with mode="bilinear" and align_corners=True.

    Args:
        size: The new height and width, or one number for both.
        scale_factor: In place of a size, what the old ones are multiplied by.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) and a floating dtype, it returns an array of that rank and
    dtype.

    Raises:
        ArgumentError: If not exactly one of size and scale_factor is given.
        InputError: If x has another rank, or a size comes to zero.
        InputTypeError: If x is of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.UpsamplingBilinear2d(size=(1, 4)).apply({}, jnp.array([[[[0.0, 3.0]]]])).tolist()
        [[[[0.0, 1.0, 2.0, 3.0]]]]

    References:
        [torch.nn.UpsamplingBilinear2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.UpsamplingBilinear2d.html)
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        *,
        channels_last: bool = False,
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", True, channels_last=channels_last)


def _each(value: Any, layer: str, check: Callable[[str, Any], Any]) -> Any:
    """Check one number or each of several, which become a tuple."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(check(layer, each) for each in value)  # pyright: ignore[reportUnknownVariableType]
    return check(layer, value)


def _checked_size(layer: str, value: Any) -> int:
    return whole(value, layer, "size", 1)


def _checked_factor(layer: str, value: Any) -> float:
    if number(value, layer, "scale_factor") <= 0:
        raise ArgumentError(f"{layer}(scale_factor={value!r}): expected a number above zero.")
    return float(value)
