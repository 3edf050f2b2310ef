"""Losses of yes or no: cross entropies of two classes, and margins without an edge."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.nn.checks import InputError
from funcparams.nn.functional.reduction import (
    alike,
    floats,
    magnitude,
    numbers_like,
    one_shape,
    reduced,
    reduction_of,
    weights_like,
    wide,
)


def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute the cross entropy of two classes: $-w\, (t \log p + (1 - t) \log(1 - p))$.

    As in PyTorch, logarithms are clamped at -100, and derivatives divide by at least 1e-12, so
    that both stay finite for probabilities of 0 and 1. Where there are logits,
    [`binary_cross_entropy_with_logits`][funcparams.nn.functional.binary_cross_entropy_with_logits]
    is more exact.

    Args:
        input: $p$, probabilities, of any shape.
        target: $t$, from 0 to 1, of the same shape and dtype.
        weight: $w$, of the same dtype and of a shape that broadcasts to the input's; none is 1.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape. PyTorch
        raises a RuntimeError for an input outside 0 to 1; compiled code cannot, and gives NaN.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> p, t = jnp.array([0.5, 0.0]), jnp.array([1.0, 1.0])
        >>> print(F.binary_cross_entropy(p, t, reduction="none"))
        [  0.6931472 100.       ]

    References:
        [torch.nn.functional.binary_cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html)
    """
    how = reduction_of(reduction, "binary_cross_entropy")
    p, t = alike("binary_cross_entropy", input=input, target=target)
    weights = weights_like("binary_cross_entropy", weight, p)
    losses = _clamped_cross_entropy(wide(p), wide(t))
    return reduced(losses if weights is None else losses * weights, how, p.dtype)


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> jax.Array:
    r"""Compute the cross entropy of two classes from logits.

    $-w\, (q\, t \log \sigma(x) + (1 - t) \log(1 - \sigma(x)))$, exact far out on either side.

    Args:
        input: $x$, logits, of any shape.
        target: $t$, from 0 to 1, of the same shape and dtype.
        weight: $w$, of the same dtype and of a shape that broadcasts to the input's; none is 1.
        reduction: `"none"`, `"mean"` or `"sum"`.
        pos_weight: $q$, as weight: above 1 it favours recall, below 1 precision.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, t = jnp.array([0.0, -1000.0]), jnp.array([1.0, 1.0])
        >>> print(F.binary_cross_entropy_with_logits(x, t, reduction="none"))
        [6.931472e-01 1.000000e+03]

    References:
        [torch.nn.functional.binary_cross_entropy_with_logits](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html)
    """
    name = "binary_cross_entropy_with_logits"
    how = reduction_of(reduction, name)
    given, target = alike(name, input=input, target=target)
    weights = weights_like(name, weight, given)
    positive = weights_like(name, pos_weight, given, "pos_weight")
    losses = _logistic(wide(given), wide(target), positive)
    return reduced(losses if weights is None else losses * weights, how, given.dtype)


def soft_margin_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> jax.Array:
    r"""Compute the logistic loss of signs: $\log(1 + e^{-y x})$, entry by entry.

    Args:
        input: $x$, of any shape.
        target: $y$, 1 or -1, of the same shape; integers, or of the input's dtype.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape. It is finite
        where PyTorch's exponential overflows.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For arrays of two shapes.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([0.0, 1000.0]), jnp.array([1, -1])
        >>> print(F.soft_margin_loss(x, y, reduction="none"))
        [6.931472e-01 1.000000e+03]

    References:
        [torch.nn.functional.soft_margin_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.soft_margin_loss.html)
    """
    how = reduction_of(reduction, "soft_margin_loss")
    (x,) = floats("soft_margin_loss", input=input)
    y = numbers_like("soft_margin_loss", "target", target, x)
    one_shape("soft_margin_loss", input=x, target=y)
    return reduced(jax.nn.softplus(-y * wide(x)), how, x.dtype)


def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute the mean over C labels of the cross entropy of each.

    $-\frac{1}{C} \sum_c w_c\, (t_c \log \sigma(x_c) + (1 - t_c) \log(1 - \sigma(x_c)))$.

    Args:
        input: $x$, logits, (..., C).
        target: $t$, 0 or 1, of the same shape; integers, or of the input's dtype.
        weight: $w$, (C,), or another shape that broadcasts to the input's; none is 1.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the shape (...).

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, t = jnp.array([[1000.0, -1000.0, -4.0, 4.0]]), jnp.array([[1, 0, 1, 0]])
        >>> print(F.multilabel_soft_margin_loss(x, t))
        2.009075

    References:
        [torch.nn.functional.multilabel_soft_margin_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_soft_margin_loss.html)
    """
    name = "multilabel_soft_margin_loss"
    how = reduction_of(reduction, name)
    (x,) = floats(name, input=input)
    t = numbers_like(name, "target", target, x)
    one_shape(name, input=x, target=t)
    if not x.ndim:
        raise InputError(f"{name}: expected an input of shape (..., C), got shape ().")
    weights = weights_like(name, weight, x)
    losses = _logistic(wide(x), t, None)
    losses = losses if weights is None else losses * weights
    return reduced(jnp.mean(losses, axis=-1), how, x.dtype)


def _logistic(x: jax.Array, t: jax.Array, positive: jax.Array | None) -> jax.Array:
    """Return the cross entropy of logits x with targets t."""
    # Put together so that nothing large cancels.
    tail = jnp.log1p(jnp.exp(-magnitude(x)))
    if positive is None:
        return jnp.maximum(x, 0) - x * t + tail
    return positive * t * (jnp.maximum(-x, 0) + tail) + (1 - t) * (jnp.maximum(x, 0) + tail)


# PyTorch's 1e-12, which it holds in float32.
_SMALL = 9.999999960041972e-13


@jax.custom_jvp
def _clamped_cross_entropy(p: jax.Array, t: jax.Array) -> jax.Array:
    """Return the cross entropy of probabilities p with targets t."""
    return (t - 1) * jnp.maximum(jnp.log1p(-p), -100) - t * jnp.maximum(jnp.log(p), -100)


@_clamped_cross_entropy.defjvp
def _(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # Derivatives of the clamped logarithms would be 0 or NaN at 0 and 1, where a step is needed.
    (p, t), (dp, dt) = primals, tangents
    by_input = (p - t) / jnp.maximum((1 - p) * p, _SMALL)
    by_target = jnp.maximum(jnp.log1p(-p), -100) - jnp.maximum(jnp.log(p), -100)
    return _clamped_cross_entropy(p, t), by_input * dp + by_target * dt
