"""Losses with a margin between what belongs together and what does not: pairs and triplets."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.nn.checks import InputError, array, number
from funcparams.nn.functional.reduction import (
    above,
    above_zero,
    alike,
    described,
    floats,
    magnitude,
    numbers_like,
    one_shape,
    reduced,
    reduction_of,
    wide,
)


def hinge_embedding_loss(
    input: ArrayLike, target: ArrayLike, margin: float = 1.0, *, reduction: str = "mean"
) -> jax.Array:
    r"""Compute distances of what is alike, and hinges of what is not.

    $x$ where $y = 1$, and $\max(0, m - x)$ where $y = -1$, entry by entry.

    Args:
        input: $x$, distances, of any shape.
        target: $y$, 1 or -1, of the same shape; integers, or of the input's dtype. Where it is
            neither, the loss is the sum of both, as in PyTorch.
        margin: $m$.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction, or a margin that is no number.
        InputError: For arrays of two shapes.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([2.0, 0.25, 3.0]), jnp.array([1, -1, -1])
        >>> print(F.hinge_embedding_loss(x, y, reduction="none"))
        [2.   0.75 0.  ]

    References:
        [torch.nn.functional.hinge_embedding_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hinge_embedding_loss.html)
    """
    how = reduction_of(reduction, "hinge_embedding_loss")
    apart = float(number(margin, "hinge_embedding_loss", "margin"))
    (given,) = floats("hinge_embedding_loss", input=input)
    y = numbers_like("hinge_embedding_loss", "target", target, given)
    one_shape("hinge_embedding_loss", input=given, target=y)
    x = wide(given)
    losses = jnp.where(y == -1, 0, x) + jnp.where(y == 1, 0, above(apart - x))
    return reduced(losses, how, given.dtype)


def margin_ranking_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    margin: float = 0,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute how far pairs are from their order: $\max(0, -y\, (x_1 - x_2) + m)$.

    Args:
        input1: $x_1$, of any shape.
        input2: $x_2$, of the same shape and dtype.
        target: $y$, 1 where the first should be larger, -1 where the second; of the same shape;
            integers, or of the inputs' dtype.
        margin: $m$, how much larger.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the inputs' dtype: one number, or for `"none"` the inputs' shape.

    Raises:
        ArgumentError: For an unknown reduction, or a margin that is no number.
        InputError: For arrays of several shapes.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x1, x2, y = jnp.array([3.0, 3.0]), jnp.array([1.0, 1.0]), jnp.array([1, -1])
        >>> print(F.margin_ranking_loss(x1, x2, y, reduction="none"))
        [0. 2.]

    References:
        [torch.nn.functional.margin_ranking_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.margin_ranking_loss.html)
    """
    name = "margin_ranking_loss"
    how = reduction_of(reduction, name)
    apart = float(number(margin, name, "margin"))
    first, second = alike(name, input1=input1, input2=input2)
    y = numbers_like(name, "target", target, first)
    one_shape(name, input1=first, target=y)
    return reduced(above(-y * (wide(first) - wide(second)) + apart), how, first.dtype)


def cosine_embedding_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    margin: float = 0,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute how far the angles of pairs are from what they should be.

    $1 - \cos(x_1, x_2)$ where $y = 1$, and $\max(0, \cos(x_1, x_2) - m)$ where $y = -1$.

    Args:
        input1: $x_1$, (N, D) or (D,).
        input2: $x_2$, of the same shape and dtype.
        target: $y$, 1 or -1, (N,) or (); integers, or of the inputs' dtype.
        margin: $m$, from -1 to 1; 0 to 0.5 is advised.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the inputs' dtype: one number, or for `"none"` the target's shape. As in
        PyTorch, 1e-12 is added to squared lengths, so that derivatives are finite at 0.

    Raises:
        ArgumentError: For an unknown reduction, or a margin that is no number.
        InputError: For arrays of shapes that do not fit.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x1, x2 = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([[0.0, 1.0], [3.0, 0.0]])
        >>> print(F.cosine_embedding_loss(x1, x2, jnp.array([1, -1]), reduction="none"))
        [1. 1.]

    References:
        [torch.nn.functional.cosine_embedding_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_embedding_loss.html)
    """
    name = "cosine_embedding_loss"
    how = reduction_of(reduction, name)
    apart = float(number(margin, name, "margin"))
    first, second = alike(name, input1=input1, input2=input2)
    y = numbers_like(name, "target", target, first)
    if first.ndim not in (1, 2) or y.shape != first.shape[:-1]:
        raise InputError(
            f"{name}: expected inputs of shape (N, D) and a target of shape (N,), or (D,) and (), "
            f"got {first.shape} and {described(array(target))}."
        )
    x1, x2 = wide(first), wide(second)
    square1, square2 = (jnp.sum(x * x, axis=-1) + 1e-12 for x in (x1, x2))
    cosine = jnp.sum(x1 * x2, axis=-1) / (jnp.sqrt(square1) * jnp.sqrt(square2))
    losses = jnp.where(y == 1, 1 - cosine, jnp.where(y == -1, above(cosine - apart), 0))
    return reduced(losses, how, first.dtype)


def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute how much nearer an anchor is to what is unlike it than to what is like it.

    $\max(0, d(a, q) - d(a, n) + m)$ of the p-norm $d(x, y) = \|x - y + \epsilon\|_p$.

    Args:
        anchor: $a$, (N, D) or (D,).
        positive: $q$, of the same shape and dtype.
        negative: $n$, of the same shape and dtype.
        margin: $m$, above 0.
        p: The p of the norm, not negative; `math.inf` is the maximum.
        eps: $\epsilon$, which keeps equal points off the edge of the norm.
        swap: Whether $d(q, n)$ stands in for $d(a, n)$ where it is smaller.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the inputs' dtype: one number, or for `"none"` the shape (N,) or ().

    Raises:
        ArgumentError: For an unknown reduction, a margin that is not above 0, or a negative p.
        InputError: For arrays of several shapes, or of no axis.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> anchor, near, far = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 1.0]])
        >>> print(round(float(F.triplet_margin_loss(anchor, near, far)), 3))
        5.0

    References:
        Balntas et al., [Learning local feature descriptors with triplets and shallow convolutional
        neural networks](https://bmva-archive.org.uk/bmvc/2016/papers/paper119/index.html), 2016;
        [torch.nn.functional.triplet_margin_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_loss.html)
    """
    name = "triplet_margin_loss"
    how = reduction_of(reduction, name)
    apart = above_zero(margin, name, "margin")
    order = above_zero(p, name, "p", or_zero=True)
    small = float(number(eps, name, "eps"))
    given = _triplet(name, anchor, positive, negative)
    losses = _triplets(given, _by_norm(order, small), apart, swap)
    return reduced(losses, how, given[0].dtype)


def triplet_margin_with_distance_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    distance_function: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute the triplet margin loss of any distance.

    $\max(0, d(a, q) - d(a, n) + m)$, as
    [`triplet_margin_loss`][funcparams.nn.functional.triplet_margin_loss] computes it of p-norms.

    Args:
        anchor: $a$, of a shape that the distance takes, at least one axis.
        positive: $q$, of the same shape and dtype.
        negative: $n$, of the same shape and dtype.
        distance_function: $d$, a function of two arrays; none is the 2-norm of the last axis.
        margin: $m$, above 0.
        swap: Whether $d(q, n)$ stands in for $d(a, n)$ where it is smaller.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the inputs' dtype: one number, or for `"none"` the shape of the distances.

    Raises:
        ArgumentError: For an unknown reduction, or a margin that is not above 0.
        InputError: For arrays of several shapes, or of no axis.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> def farthest(x, y):
        ...     return jnp.max(jnp.abs(x - y), axis=-1)
        >>> anchor, near, far = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 1.0]])
        >>> print(
        ...     F.triplet_margin_with_distance_loss(anchor, near, far, distance_function=farthest)
        ... )
        4.0

    References:
        [torch.nn.functional.triplet_margin_with_distance_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_with_distance_loss.html)
    """
    name = "triplet_margin_with_distance_loss"
    how = reduction_of(reduction, name)
    apart = above_zero(margin, name, "margin")
    given = _triplet(name, anchor, positive, negative)
    losses = _triplets(given, distance_function or _by_norm(2, 1e-6), apart, swap)
    return reduced(losses, how, given[0].dtype)


_Distance = Callable[[jax.Array, jax.Array], jax.Array]


def _triplet(
    loss: str, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike
) -> list[jax.Array]:
    arrays = alike(loss, anchor=anchor, positive=positive, negative=negative)
    if not arrays[0].ndim:
        raise InputError(f"{loss}: expected arrays of shape (N, D) or (D,), got shape ().")
    return arrays


def _triplets(given: list[jax.Array], distance: _Distance, margin: float, swap: bool) -> jax.Array:
    """Return the loss of each triplet."""
    anchor, positive, negative = given
    far = wide(distance(anchor, negative))
    if swap:
        far = jnp.minimum(far, wide(distance(positive, negative)))
    return above(wide(distance(anchor, positive)) - far + margin)


def _by_norm(order: float, eps: float) -> _Distance:
    """Return the distance that is the p-norm of a difference."""

    def distance(x: jax.Array, y: jax.Array) -> jax.Array:
        return _norm(wide(x) - wide(y) + eps, order)

    return distance


def _norm(x: jax.Array, order: float) -> jax.Array:
    """Return the p-norm over the last axis, with derivative 0 where PyTorch has it."""
    size = magnitude(x)
    if order == 0:
        return jnp.sum(x != 0, axis=-1).astype(x.dtype)
    if order == 1:
        return jnp.sum(size, axis=-1)
    if math.isinf(order):
        return jnp.max(size, axis=-1)
    # Roots and powers have no derivative at 0: 1 stands there until the end.
    if order == 2:
        total = jnp.sum(jnp.square(x), axis=-1)
        return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))
    power = jnp.where(size == 0, 0, jnp.where(size == 0, 1, size) ** order)
    total = jnp.sum(power, axis=-1)
    return jnp.where(total == 0, 0, jnp.where(total == 0, 1, total) ** (1 / order))
