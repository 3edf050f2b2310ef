"""The program of transposed convolutions.

XLA has no other way to say it: a convolution of the input, spread out by the stride, with the
kernel turned round. JAX differentiates that by the kernel as a convolution of the spread input,
zeros and all, with the cotangents for a kernel. On CPU that is 50 times slower than the derivative
of a convolution (4 x 32 x 32 x 32, kernel 4, stride 2: 95 ms, not 2 ms), so it is given the latter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import lax

from funcparams.nn.checks import AXES

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where the kernels of a transposed convolution are added; pads are of the spread input."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    groups: int
    channels_last: bool

    def data(self, batch: str, channels: str) -> str:
        """Name the axes of data, with letters for the batch and the channels."""
        letters = "".join(AXES[len(self.stride)])
        inner = letters + channels if self.channels_last else channels + letters
        return batch + inner

    def kernel(self, inputs: str, outputs: str) -> str:
        """Name the axes of the weight."""
        return inputs + outputs + "".join(AXES[len(self.stride)])


def spread(x: jax.Array, weight: jax.Array, how: Geometry) -> jax.Array:
    """Convolve x, spread out, with a weight (inputs of a group, outputs, ...) turned round."""
    data = how.data("N", "C")
    return lax.conv_general_dilated(
        x,
        lax.rev(weight, range(2, weight.ndim)),
        (1,) * len(how.stride),
        how.pads,
        lhs_dilation=how.stride,
        rhs_dilation=how.dilation,
        dimension_numbers=(data, how.kernel("I", "O"), data),
        feature_group_count=how.groups,
    )


def _first_derivative(function: F) -> F:
    """Make a function one whose derivative is given by `function.defjvp`, with its type kept."""
    made: Any = jax.custom_jvp(function, nondiff_argnums=(2,))
    return made


spread_with_derivative = _first_derivative(spread)
"""The same for one group, with the better derivative."""


@spread_with_derivative.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _spread_jvp(how: Geometry, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x, weight), (of_x, of_weight) = primals, tangents
    changed = spread(of_x, weight, how) + _by_kernel(x, of_weight, how)
    return spread(x, weight, how), changed


def _by_kernel(x: jax.Array, weight: jax.Array, how: Geometry) -> jax.Array:
    """Return the same convolution with the parts exchanged: the weight is the data, x the kernel.

    What is derived from it by the weight is what a convolution has for its own.
    """
    first = 1 if how.channels_last else 2
    axes = range(first, first + len(how.stride))
    pads: list[tuple[int, int]] = []
    for axis, k, d, stride, (low, high) in zip(
        axes, weight.shape[2:], how.dilation, how.stride, how.pads, strict=True
    ):
        more = (x.shape[axis] - 1) * stride - d * (k - 1)
        pads.append((more + low, more + high))
    return lax.conv_general_dilated(
        weight,
        lax.rev(x, axes),
        (1,) * len(how.stride),
        pads,
        lhs_dilation=how.dilation,
        rhs_dilation=how.stride,
        dimension_numbers=(how.kernel("C", "N"), how.data("O", "I"), how.data("C", "N")),
    )
