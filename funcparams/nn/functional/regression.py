"""Losses of numbers against numbers, entry by entry."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.nn.functional.reduction import (
    above_zero,
    alike,
    magnitude,
    reduced,
    reduction_of,
    weighed,
    weights_like,
    wide,
)


def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> jax.Array:
    r"""Compute absolute errors: $w\, |x - y|$, entry by entry.

    Args:
        input: $x$, of any shape.
        target: $y$, of the same shape and dtype.
        reduction: `"none"`, `"mean"` or `"sum"`; with weights the mean is $\sum w |x - y| /
            \sum w$.
        weight: $w$, of the same shape and dtype; none is 1.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For arrays of several shapes.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> print(F.l1_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        1.0

    References:
        [torch.nn.functional.l1_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html)
    """
    how = reduction_of(reduction, "l1_loss")
    x, y = alike("l1_loss", input=input, target=target)
    weights = weights_like("l1_loss", weight, x, exact=True)
    return weighed(magnitude(wide(x) - wide(y)), weights, how, x.dtype)


def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> jax.Array:
    r"""Compute squared errors: $w\, (x - y)^2$, entry by entry.

    Args:
        input: $x$, of any shape.
        target: $y$, of the same shape and dtype.
        reduction: `"none"`, `"mean"` or `"sum"`; with weights the mean is $\sum w (x - y)^2 /
            \sum w$.
        weight: $w$, of the same shape and dtype; none is 1.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For arrays of several shapes.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> print(F.mse_loss(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
        2.0

    References:
        [torch.nn.functional.mse_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html)
    """
    how = reduction_of(reduction, "mse_loss")
    x, y = alike("mse_loss", input=input, target=target)
    weights = weights_like("mse_loss", weight, x, exact=True)
    return weighed(jnp.square(wide(x) - wide(y)), weights, how, x.dtype)


def smooth_l1_loss(
    input: ArrayLike, target: ArrayLike, *, reduction: str = "mean", beta: float = 1.0
) -> jax.Array:
    r"""Compute errors that are squared near 0 and absolute farther out.

    With $d = |x - y|$, entry by entry: $d^2 / 2\beta$ where $d < \beta$, else $d - \beta / 2$.

    Args:
        input: $x$, of any shape.
        target: $y$, of the same shape and dtype.
        reduction: `"none"`, `"mean"` or `"sum"`.
        beta: Where the two pieces meet, not negative; 0 gives absolute errors.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction, or a negative beta.
        InputError: For arrays of two shapes.
        InputTypeError: For arrays of two dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([1.0, 4.0]), jnp.array([2.0, 0.0])
        >>> print(F.smooth_l1_loss(x, y, reduction="none", beta=2.0))
        [0.25 3.  ]

    References:
        Girshick, [Fast R-CNN](https://arxiv.org/abs/1504.08083), 2015;
        [torch.nn.functional.smooth_l1_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.smooth_l1_loss.html)
    """
    how = reduction_of(reduction, "smooth_l1_loss")
    edge = above_zero(beta, "smooth_l1_loss", "beta", or_zero=True)
    x, y = alike("smooth_l1_loss", input=input, target=target)
    distance = magnitude(wide(x) - wide(y))
    if edge:
        near = 0.5 * jnp.square(distance) / edge
        distance = jnp.where(distance < edge, near, distance - 0.5 * edge)
    return reduced(distance, how, x.dtype)


def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: ArrayLike | None = None,
) -> jax.Array:
    r"""Compute errors that are squared near 0 and grow with a fixed slope farther out.

    With $d = |x - y|$, entry by entry: $d^2 / 2$ where $d \le \delta$, else
    $\delta\, (d - \delta / 2)$, both times $w$.

    Args:
        input: $x$, of any shape.
        target: $y$, of the same shape and dtype.
        reduction: `"none"`, `"mean"` or `"sum"`. Unlike that of mse_loss, the mean of weighted
            entries is divided by their number, as in PyTorch.
        delta: Where the two pieces meet, above 0.
        weight: $w$, of the same shape and dtype; none is 1.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction, or a delta that is not above 0.
        InputError: For arrays of several shapes.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([1.0, 4.0]), jnp.array([2.0, 0.0])
        >>> print(F.huber_loss(x, y, reduction="none", delta=2.0))
        [0.5 6. ]

    References:
        Huber, Robust estimation of a location parameter, 1964;
        [torch.nn.functional.huber_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.huber_loss.html)
    """
    how = reduction_of(reduction, "huber_loss")
    edge = above_zero(delta, "huber_loss", "delta")
    x, y = alike("huber_loss", input=input, target=target)
    weights = weights_like("huber_loss", weight, x, exact=True)
    distance = magnitude(wide(x) - wide(y))
    near, far = 0.5 * jnp.square(distance), edge * (distance - 0.5 * edge)
    losses = jnp.where(distance <= edge, near, far)
    return reduced(losses if weights is None else losses * weights, how, x.dtype)
