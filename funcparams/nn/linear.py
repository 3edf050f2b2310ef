"""Linear maps of the last axis: `Linear`, `Bilinear`, and `Identity`, which maps nothing."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, param
from funcparams.nn.checks import InputError, matching, title, whole


class Identity(Module):
    """Return the input as it is.

    Args:
        *args: Ignored, as in PyTorch, so that it can stand in for any layer.
        **kwargs: Ignored.

    Example:
        >>> from funcparams import nn
        >>> nn.Identity(54, unused=0.1).apply({}, 2.0)
        2.0

    References:
        [torch.nn.Identity](https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, x: Any) -> Any:
        """Return x."""
        return x


class Linear(Module):
    r"""Apply an affine map to the last axis: $y = x W^\top + b$.

    Args:
        in_features: The size of the input's last axis.
        out_features: The size of the output's last axis.
        bias: Whether $b$ is added.
        dtype: The dtype of the parameters.

    Attributes:
        weight: (out_features, in_features), from U(-k, k) with k = 1 / sqrt(in_features).
        bias: (out_features,), from the same distribution.

    Called with x of shape (..., in_features) and of the parameters' dtype, it returns an array of
    shape (..., out_features) of that dtype. Nothing is promoted: another dtype is an error.

    Raises:
        ArgumentError: For a size that is no integer, or negative.
        InputError: If the last axis of x is not in_features.
        InputTypeError: If x has not the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Linear(4, 3)
        >>> model
        Linear(in_features=4, out_features=3, bias=True)
        >>> params = {"weight": jnp.ones((3, 4)), "bias": jnp.arange(3.0)}
        >>> model.apply(params, jnp.ones((2, 4))).tolist()
        [[4.0, 5.0, 6.0], [4.0, 5.0, 6.0]]

    References:
        [torch.nn.Linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html)
    """

    bias: jax.Array | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = jnp.float32
    ) -> None:
        self.in_features = whole(in_features, "Linear", "in_features")
        self.out_features = whole(out_features, "Linear", "out_features")
        uniform = init.kaiming_uniform(a=math.sqrt(5))
        self.weight = param((self.out_features, self.in_features), uniform, dtype)
        self.bias = param(self.out_features, fan_uniform(self.in_features), dtype) if bias else None

    def __call__(self, x: ArrayLike) -> jax.Array:
        """Map x of shape (..., in_features) to (..., out_features)."""
        x = matching(self, x, self.weight)
        check_last(self, x, "in_features", self.in_features)
        # Contracting the weight's second axis says what x @ weight.T says, without the transpose.
        y = lax.dot_general(x, self.weight, (((x.ndim - 1,), (1,)), ((), ())))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(Module):
    r"""Apply a bilinear map to the last axes of two inputs: $y_o = x_1^\top A_o x_2 + b_o$.

    Args:
        in1_features: The size of the first input's last axis, at least 1.
        in2_features: The size of the second input's last axis.
        out_features: The size of the output's last axis.
        bias: Whether $b$ is added.
        dtype: The dtype of the parameters.

    Attributes:
        weight: (out_features, in1_features, in2_features), from U(-k, k) with
            k = 1 / sqrt(in1_features).
        bias: (out_features,), from the same distribution.

    Called with x1 of shape (..., in1_features) and x2 of shape (..., in2_features), of the same
    leading axes and of the parameters' dtype, it returns an array of shape (..., out_features).

    Raises:
        ArgumentError: For a size that is no integer, or too small.
        InputError: If the shapes of x1 and x2 do not fit.
        InputTypeError: If x1 or x2 has not the parameters' dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> params = {"weight": jnp.ones((1, 2, 3)), "bias": jnp.zeros(1)}
        >>> nn.Bilinear(2, 3, 1).apply(params, jnp.ones((5, 2)), jnp.ones((5, 3))).shape
        (5, 1)

    References:
        [torch.nn.Bilinear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html)
    """

    bias: jax.Array | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        self.in1_features = whole(in1_features, "Bilinear", "in1_features", 1)
        self.in2_features = whole(in2_features, "Bilinear", "in2_features")
        self.out_features = whole(out_features, "Bilinear", "out_features")
        shape = (self.out_features, self.in1_features, self.in2_features)
        uniform = fan_uniform(self.in1_features)
        self.weight = param(shape, uniform, dtype)
        self.bias = param(self.out_features, uniform, dtype) if bias else None

    def __call__(self, x1: ArrayLike, x2: ArrayLike) -> jax.Array:
        """Map (..., in1_features) and (..., in2_features) to (..., out_features)."""
        x1 = matching(self, x1, self.weight, "first input")
        x2 = matching(self, x2, self.weight, "second input")
        check_last(self, x1, "in1_features", self.in1_features)
        check_last(self, x2, "in2_features", self.in2_features)
        if x1.shape[:-1] != x2.shape[:-1]:
            raise InputError(
                f"{title(self)}: expected two inputs that differ in their last axis only, got "
                f"shapes {x1.shape} and {x2.shape}."
            )
        lead = tuple(range(x1.ndim - 1))
        half = lax.dot_general(x1, self.weight, (((x1.ndim - 1,), (1,)), ((), ())))
        y = lax.dot_general(half, x2, (((half.ndim - 1,), (x2.ndim - 1,)), (lead, lead)))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


def fan_uniform(fan: int) -> init.uniform:
    """Return PyTorch's default for biases, U(-k, k) with k = 1 / sqrt(fan); 0 without a fan."""
    bound = 1 / math.sqrt(fan) if fan else 0.0
    return init.uniform(-bound, bound)


def check_last(module: Module, x: jax.Array, name: str, size: int) -> None:
    """Refuse an input whose last axis has another size."""
    if x.ndim == 0 or x.shape[-1] != size:
        raise InputError(
            f"{title(module)}: expected an input of shape (..., {name}={size}), got shape "
            f"{x.shape}."
        )
