"""Losses with a margin between the scores of right and wrong classes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, InputError, number
from funcparams.nn.functional.classes import (
    class_weights,
    per_class,
    pick,
    target_classes,
)
from funcparams.nn.functional.reduction import (
    described,
    floats,
    integers,
    reduced,
    reduction_of,
    wide,
)


def multi_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute by how much wrong classes reach the right one's score less a margin.

    $\frac{w_y}{C} \sum_{c \ne y} \max(0, m - x_y + x_c)^p$ for each sample.

    Args:
        input: $x$, scores of the C classes, (N, C) or (C,).
        target: $y$, integers from 0 to C - 1, (N,) or ().
        p: The exponent, 1 or 2.
        margin: $m$.
        weight: $w$, (C,), of the input's dtype; none is 1.
        reduction: `"none"`, `"mean"` or `"sum"`. The mean is divided by N, with weights too.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the target's shape. PyTorch
        raises a RuntimeError for classes that are not from 0 to C - 1; compiled code cannot, and
        gives NaN for them.

    Raises:
        ArgumentError: For an unknown reduction, a p that is neither 1 nor 2, or a margin that is
            no number.
        InputError: For shapes that do not fit.
        InputTypeError: For a target that is not of integers, or arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x = jnp.array([[0.5, 1.0, -4.0], [3.0, 0.0, 0.0]])
        >>> print(F.multi_margin_loss(x, jnp.array([0, 0]), reduction="none"))
        [0.5 0. ]

    References:
        [torch.nn.functional.multi_margin_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multi_margin_loss.html)
    """
    name = "multi_margin_loss"
    how = reduction_of(reduction, name)
    if p not in (1, 2):
        raise ArgumentError(f"{name}(p={p!r}): expected 1 or 2.")
    apart = float(number(margin, name, "margin"))
    (given,) = floats(name, input=input)
    _check_scores(name, given)
    axis = given.ndim - 1
    y = target_classes(name, target, given.shape, axis)
    weights = class_weights(name, weight, given, given.shape[axis])
    x = wide(given)
    reach = apart - lax.expand_dims(pick(x, y, axis), (axis,)) + x
    right = lax.broadcasted_iota(y.dtype, x.shape, axis) == lax.expand_dims(y, (axis,))
    # A class that is none stays NaN; at the edge the derivative is 0, as in PyTorch.
    over = jnp.where(right | (reach <= 0), 0, reach)
    losses = jnp.mean(over if p == 1 else jnp.square(over), axis)
    losses = losses if weights is None else losses * per_class(weights, y)
    return reduced(losses, how, given.dtype)


def multilabel_margin_loss(
    input: ArrayLike, target: ArrayLike, *, reduction: str = "mean"
) -> jax.Array:
    r"""Compute by how much wrong classes reach the scores of the right ones less 1.

    $\frac{1}{C} \sum_{y} \sum_{c} \max(0, 1 - x_y + x_c)$ for each sample, over its right classes
    $y$ and its wrong ones $c$.

    Args:
        input: $x$, scores of the C classes, (N, C) or (C,).
        target: The right classes of each sample in the input's shape: integers from 0 to C - 1
            that end at the first -1, what follows it is not read.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the shape (N,) or (). PyTorch
        raises a RuntimeError for classes above C - 1; compiled code cannot, and gives NaN for
        them. Other negative numbers end the classes as -1 does.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For shapes that do not fit.
        InputTypeError: For an input that is not of floating-point numbers, or a target that is
            not of integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([0.5, 0.0, 1.0, 0.0]), jnp.array([2, 0, -1, 1])
        >>> print(F.multilabel_margin_loss(x, y))
        0.25

    References:
        [torch.nn.functional.multilabel_margin_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_margin_loss.html)
    """
    name = "multilabel_margin_loss"
    how = reduction_of(reduction, name)
    (given,) = floats(name, input=input)
    _check_scores(name, given)
    y = integers(name, "target", target)
    if y.shape != given.shape:
        raise InputError(
            f"{name}: expected a target of the input's shape, {given.shape}, classes that end at "
            f"the first -1, got {described(y)}."
        )
    of_sample = _multilabel if given.ndim == 1 else jax.vmap(_multilabel)
    return reduced(of_sample(wide(given), y), how, given.dtype)


def _multilabel(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the loss of the scores x of one sample, whose right classes y lists."""
    read = jnp.cumsum(y < 0) == 0
    classes = lax.iota(y.dtype, x.size)
    right = jnp.any(read[:, None] & (y[:, None] == classes), axis=0)
    score = per_class(x, jnp.where(read, y, 0))
    # Of each place in the list, and each class; at the edge the derivative is 0, as in PyTorch.
    reach = 1 - score[:, None] + x
    counted = read[:, None] & ~right & ~(reach <= 0)
    return jnp.sum(jnp.where(counted, reach, 0)) / x.size


def _check_scores(loss: str, x: jax.Array) -> None:
    if x.ndim not in (1, 2) or not x.shape[-1]:
        raise InputError(
            f"{loss}: expected an input of shape (N, C) or (C,), of at least one class, got shape "
            f"{x.shape}."
        )
