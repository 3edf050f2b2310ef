"""Padding with one number: `ConstantPad1d` to `ZeroPad3d`, and what all padding layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import ArgumentError, InputError, array, number, title, whole

Padding: TypeAlias = int | Sequence[int]


class Pad(Module):
    """A padding layer, but for what it adds and the number of axes."""

    spatial: ClassVar[int]

    padding: tuple[int, ...]
    channels_last: bool

    def keep(self, padding: Padding, channels_last: bool) -> None:
        """Check and keep what every padding layer has."""
        layer, count = type(self).__name__, 2 * self.spatial
        sides = tuple(padding) if isinstance(padding, Sequence) else (padding,) * count
        if isinstance(padding, str) or len(sides) != count:
            raise ArgumentError(
                f"{layer}(padding={padding!r}): expected one integer, or {count} of them: "
                f"{', '.join(('left', 'right', 'top', 'bottom', 'front', 'back')[:count])}."
            )
        self.padding = tuple(whole(side, layer, "padding", None) for side in sides)
        self.channels_last = bool(channels_last)

    def sides(self, axes: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return each axis, with how much is added before and after; PyTorch begins at the last."""
        pairs = zip(self.padding[::2], self.padding[1::2], strict=True)
        return [(axis, *pair) for axis, pair in zip(reversed(axes), pairs, strict=True)]

    def too_small(self, x: jax.Array, axis: int, why: str) -> InputError:
        """Make the error for an axis that cannot be padded so."""
        return InputError(
            f"{title(self)}: padding={self.padding} {why}, got {x.shape[axis]} places on axis "
            f"{axis} of shape {x.shape}."
        )

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"{self.padding}{self.layout_text()}"

    def layout_text(self) -> str:
        """Write where the channels stand, if it is not where PyTorch has them."""
        return ", channels_last=True" if self.channels_last else ""


class _Filled(Pad):
    """What the layers share that add one number."""

    value: float

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Pad x."""
        x = array(x)
        after = 1 if self.channels_last else 0
        if x.ndim < self.spatial + after:
            raise InputError(
                f"{title(self)}: expected an input of at least {self.spatial + after} axes, got "
                f"shape {x.shape}."
            )
        last = x.ndim - after
        config = [(0, 0, 0)] * x.ndim
        for axis, low, high in self.sides(range(last - self.spatial, last)):
            if x.shape[axis] + min(low, 0) + min(high, 0) < 0:
                raise self.too_small(x, axis, "takes away more places than there are")
            config[axis] = (low, high, 0)
        fill: Any = np.asarray(self.value).astype(x.dtype)
        return lax.pad(x, fill, config)


class _ConstantPad(_Filled):
    """What the layers share that add a given number."""

    def __init__(self, padding: Padding, value: float, *, channels_last: bool = False) -> None:
        self.keep(padding, channels_last)
        self.value = number(value, type(self).__name__, "value")

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"padding={self.padding}, value={self.value}{self.layout_text()}"


class _ZeroPad(_Filled):
    """What the layers share that add zeros."""

    def __init__(self, padding: Padding, *, channels_last: bool = False) -> None:
        self.keep(padding, channels_last)
        self.value = 0.0


class ConstantPad1d(_ConstantPad):
    """Add places that hold one number around one axis.

    Args:
        padding: How many places are added: one number for both ends, or
            (left, right).
            A negative number takes places away.
        value: The number that the places hold.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and any dtype, it returns an array of x's rank and
    dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ConstantPad1d((2, 1), 9.0).apply({}, jnp.array([[1.0, 2.0]])).tolist()
        [[9.0, 9.0, 1.0, 2.0, 9.0]]

    References:
        [torch.nn.ConstantPad1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html)
    """

    spatial = 1


class ConstantPad2d(_ConstantPad):
    """Add places that hold one number around two axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom).
            A negative number takes places away.
        value: The number that the places hold.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of x's rank
    and dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ConstantPad2d((1, 0, 0, 1), 9).apply({}, jnp.array([[[1, 2]]])).tolist()
        [[[9, 1, 2], [9, 9, 9]]]

    References:
        [torch.nn.ConstantPad2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html)
    """

    spatial = 2


class ConstantPad3d(_ConstantPad):
    """Add places that hold one number around three axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom, front, back).
            A negative number takes places away.
        value: The number that the places hold.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and any dtype, it returns an array of x's
    rank and dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ConstantPad3d(1, 0.5).apply({}, jnp.ones((1, 2, 3, 4))).shape
        (1, 4, 5, 6)

    References:
        [torch.nn.ConstantPad3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad3d.html)
    """

    spatial = 3


class ZeroPad1d(_ZeroPad):
    """Add zeros around one axis.

    Args:
        padding: How many places are added: one number for both ends, or
            (left, right).
            A negative number takes places away.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Called with x of shape (N, C, L) or (C, L) and any dtype, it returns an array of x's rank and
    dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ZeroPad1d((-1, 2)).apply({}, jnp.array([[1, 2, 3]])).tolist()
        [[2, 3, 0, 0]]

    References:
        [torch.nn.ZeroPad1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad1d.html)
    """

    spatial = 1


class ZeroPad2d(_ZeroPad):
    """Add zeros around two axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom).
            A negative number takes places away.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Called with x of shape (N, C, H, W) or (C, H, W) and any dtype, it returns an array of x's rank
    and dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ZeroPad2d((1, 0, 0, 1)).apply({}, jnp.array([[[1, 2]]])).tolist()
        [[[0, 1, 2], [0, 0, 0]]]

    References:
        [torch.nn.ZeroPad2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad2d.html)
    """

    spatial = 2


class ZeroPad3d(_ZeroPad):
    """Add zeros around three axes.

    Args:
        padding: How many places are added: one number for all sides, or
            (left, right, top, bottom, front, back).
            A negative number takes places away.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Called with x of shape (N, C, D, H, W) or (C, D, H, W) and any dtype, it returns an array of x's
    rank and dtype. (Any other rank that has the padded axes will do.) Raises

    Raises:
        ArgumentError: If the padding is not of that form.
        InputError: If x has another rank, or is too small for the padding.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.ZeroPad3d((0, 0, 1, 1, 2, 2)).apply({}, jnp.ones((1, 2, 3, 4))).shape
        (1, 6, 5, 4)

    References:
        [torch.nn.ZeroPad3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad3d.html)
    """

    spatial = 3
