"""Losses of classes: cross entropies of indices and of probabilities."""

from __future__ import annotations

from typing import Any, cast

import jax
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, InputError, probability, whole
from funcparams.nn.functional.classes import (
    Terms,
    chosen,
    class_axis,
    class_weights,
    entropies,
    is_floating,
    of_classes,
    pick,
    target_classes,
    target_of,
)
from funcparams.nn.functional.reduction import floats, reduction_of, wide


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    channels_last: bool = False,
) -> jax.Array:
    r"""Compute the cross entropy of logits with classes, or with probabilities of classes.

    With $\log p$ the log_softmax of the input over its C classes, at each position:
    $-w_y \log p_y$ for the class $y$, or $-\sum_c t_c\, w_c \log p_c$ for probabilities $t$.

    Args:
        input: Logits, (C,), (N, C) or (N, C, d1, d2, ...); with channels_last (N, d1, ..., C).
        target: Integers: classes from 0 to C - 1, of the input's shape without the axis C. Or
            probabilities of the input's very shape and dtype.
        weight: $w$, (C,), of the input's dtype; none is 1.
        ignore_index: Positions of this class give 0 and no gradient.
        reduction: `"none"`, `"mean"` or `"sum"`. The mean over classes is divided by the sum of
            $w_y$ of all positions that are not ignored; that over probabilities by the number of
            positions.
        label_smoothing: The part $s$ of each target that is spread evenly over all classes:
            $t_c (1 - s) + s / C$.
        channels_last: Whether the classes are on the last axis.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape without the
        axis C. PyTorch raises an IndexError for classes that are not from 0 to C - 1; compiled
        code cannot, and gives NaN for them. A mean over nothing is NaN, as in PyTorch.

    Raises:
        ArgumentError: For an unknown reduction, a label_smoothing outside 0 to 1, or an
            ignore_index from 0 on with probabilities.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> logits = jnp.array([[0.0, 0.0], [0.0, 1000.0]])
        >>> print(F.cross_entropy(logits, jnp.array([1, 0]), reduction="none"))
        [6.931472e-01 1.000000e+03]
        >>> print(F.cross_entropy(logits, jnp.array([1, -100])))
        0.6931472
        >>> print(F.cross_entropy(logits, jnp.array([[0.5, 0.5], [0.0, 1.0]]), reduction="sum"))
        0.6931472

    References:
        Szegedy et al., [Rethinking the Inception Architecture for Computer
        Vision](https://arxiv.org/abs/1512.00567), 2015, for smoothing;
        [torch.nn.functional.cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html)
    """
    name = "cross_entropy"
    how = reduction_of(reduction, name)
    smoothing = float(probability(label_smoothing, name, "label_smoothing"))
    ignored = whole(ignore_index, name, "ignore_index", None)
    (x,) = floats(name, input=input)
    axis = class_axis(name, x, channels_last)
    y = target_of(name, target, x, x.shape, axis)
    if ignored >= 0:
        _refuse_ignoring(name, y, ignored)
    weights = class_weights(name, weight, x, x.shape[axis])
    return entropies(x, y, weights, ignored, smoothing, axis).reduced(how, x.dtype)


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    channels_last: bool = False,
) -> jax.Array:
    r"""Compute the negative log likelihood of classes: $-w_y x_y$ at each position.

    Args:
        input: $x$, logarithms of probabilities, (C,), (N, C) or (N, C, d1, d2, ...); with
            channels_last (N, d1, ..., C).
        target: $y$, integers from 0 to C - 1, of the input's shape without the axis C.
        weight: $w$, (C,), of the input's dtype; none is 1.
        ignore_index: Positions of this class give 0 and no gradient.
        reduction: `"none"`, `"mean"` or `"sum"`. The mean is divided by the sum of $w_y$ of all
            positions that are not ignored.
        channels_last: Whether the classes are on the last axis.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape without the
        axis C. PyTorch raises an IndexError for classes that are not from 0 to C - 1; compiled
        code cannot, and gives NaN for them. A mean over nothing is NaN, as in PyTorch.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For shapes that do not fit.
        InputTypeError: For a target that is not of integers, or arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x = jnp.array([[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0]])
        >>> print(F.nll_loss(x, jnp.array([0, 2])))
        3.5

    References:
        [torch.nn.functional.nll_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html)
    """
    how = reduction_of(reduction, "nll_loss")
    ignored = whole(ignore_index, "nll_loss", "ignore_index", None)
    (x,) = floats("nll_loss", input=input)
    axis = class_axis("nll_loss", x, channels_last)
    y = target_classes("nll_loss", target, x.shape, axis)
    weights = class_weights("nll_loss", weight, x, x.shape[axis])
    index, kept = chosen(y, ignored)
    terms = of_classes(-pick(wide(x), index, axis), index, kept, weights)
    return terms.reduced(how, x.dtype)


def linear_cross_entropy(
    input: ArrayLike,
    linear_weight: ArrayLike,
    target: ArrayLike,
    *,
    linear_bias: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    batch_chunk_size: int | None = None,
) -> jax.Array:
    r"""Compute the cross entropy of the logits $x A^\top + b$ without keeping the logits.

    It is [`cross_entropy`][funcparams.nn.functional.cross_entropy] after a linear map. With
    batch_chunk_size the logits of so many rows exist at a time, and the backward pass computes
    them again: for large vocabularies they are most of the memory. PyTorch has that number in its
    argument `options`.

    Args:
        input: $x$, (in_features,) or (N, in_features).
        linear_weight: $A$, (C, in_features) or (C, d1, ..., in_features).
        target: As in cross_entropy, for logits of shape (N, C, d1, ...).
        linear_bias: $b$, (C,) or (C, d1, ...); none is 0.
        weight: The weights of classes, (C,); none is 1.
        reduction: As in cross_entropy.
        ignore_index: As in cross_entropy; none is -100.
        label_smoothing: As in cross_entropy.
        batch_chunk_size: The number of rows whose logits exist at a time; none is all of them.

    Returns:
        The loss as cross_entropy gives it.

    Raises:
        ArgumentError: As in cross_entropy; for an ignore_index with probabilities, and for a
            batch_chunk_size below 1.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, table = jnp.ones((4, 2)), jnp.array([[1.0, 0.0], [0.5, 0.5]])
        >>> print(F.linear_cross_entropy(x, table, jnp.array([0, 1, 0, 1]), batch_chunk_size=2))
        0.6931472

    References:
        Wijmans et al., [Cut Your Losses in Large-Vocabulary Language
        Models](https://arxiv.org/abs/2411.09009), 2024;
        [torch.nn.functional.linear_cross_entropy](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html)
    """
    name = "linear_cross_entropy"
    how = reduction_of(reduction, name)
    smoothing = float(probability(label_smoothing, name, "label_smoothing"))
    ignored = -100 if ignore_index is None else whole(ignore_index, name, "ignore_index", None)
    x, table, bias = _linear(name, input, linear_weight, linear_bias)
    axis = x.ndim - 1
    y = target_of(name, target, x, (*x.shape[:-1], *table.shape[:-1]), axis)
    if ignore_index is not None:
        _refuse_ignoring(name, y, ignored)
    weights = class_weights(name, weight, x, table.shape[0])

    def of_rows(x: jax.Array, y: jax.Array) -> Terms:
        logits = lax.dot_general(x, table, (((x.ndim - 1,), (table.ndim - 1,)), ((), ())))
        logits = logits if bias is None else logits + bias
        return entropies(logits, y, weights, ignored, smoothing, x.ndim - 1)

    if batch_chunk_size is not None:
        size = whole(batch_chunk_size, name, "batch_chunk_size", 1)
        if x.ndim == 2 and size < x.shape[0]:
            return _by_chunks(of_rows, x, y, size).reduced(how, x.dtype)
    return of_rows(x, y).reduced(how, x.dtype)


def _refuse_ignoring(loss: str, y: jax.Array, ignore_index: int) -> None:
    if is_floating(y):
        raise ArgumentError(
            f"{loss}(ignore_index={ignore_index}): a target of probabilities has no index to "
            "ignore."
        )


def _linear(
    loss: str, input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Return the input and the arrays of the linear map; refuse shapes that do not fit."""
    x, table = floats(loss, input=input, linear_weight=weight)
    if x.ndim not in (1, 2):
        raise InputError(
            f"{loss}: expected an input of shape (in_features,) or (N, in_features), got shape "
            f"{x.shape}."
        )
    if table.ndim < 2 or table.shape[-1] != x.shape[-1]:
        raise InputError(
            f"{loss}: expected a linear_weight of shape (C, ..., {x.shape[-1]}) for an input of "
            f"shape {x.shape}, got shape {table.shape}."
        )
    if table.ndim > 2 and x.ndim == 1:
        raise InputError(
            f"{loss}: expected an input of shape (N, {x.shape[-1]}) for a linear_weight of shape "
            f"{table.shape}, got shape {x.shape}."
        )
    if bias is None:
        return x, table, None
    _, added = floats(loss, input=x, linear_bias=bias)
    if added.shape != table.shape[:-1]:
        raise InputError(
            f"{loss}: expected a linear_bias of shape {table.shape[:-1]}, got shape {added.shape}."
        )
    return x, table, added


def _by_chunks(of_rows: Any, x: jax.Array, y: jax.Array, size: int) -> Terms:
    """Compute the entries of so many rows at a time; the backward pass computes logits again."""

    def of_row(pair: tuple[jax.Array, jax.Array]) -> Terms:
        return of_rows(*pair)

    row = cast(Any, jax.checkpoint)(of_row, prevent_cse=False)
    return cast(Any, lax.map)(row, (x, y), batch_size=size)
