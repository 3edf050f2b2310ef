"""Losses of distributions: likelihoods of Poisson and Gaussian ones, and the divergence of two."""

from __future__ import annotations

import math
import numbers

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, InputError
from funcparams.nn.functional.reduction import (
    REDUCTIONS,
    above_zero,
    alike,
    floats,
    numbers_like,
    one_shape,
    reduced,
    reduction_of,
    wide,
)


def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    *,
    reduction: str = "mean",
    log_target: bool = False,
) -> jax.Array:
    r"""Compute the terms of the Kullback-Leibler divergence: $t\, (\log t - x)$.

    The divergence of a batch of distributions is the sum of these terms, divided by the number of
    distributions: `reduction="batchmean"`. The default divides by the number of terms too.

    Args:
        input: $x$, logarithms of probabilities, of any shape.
        target: $t$, probabilities, or with log_target their logarithms; same shape and dtype.
            Where $t$ is 0, $t \log t$ is 0.
        reduction: `"none"`, `"mean"`, `"sum"`, or `"batchmean"`: the sum divided by the size of
            the first axis.
        log_target: Whether target holds logarithms.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction.
        InputError: For arrays of two shapes.
        InputTypeError: For arrays of two dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, target = jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]])
        >>> print(F.kl_div(x, target, reduction="batchmean"))
        0.6931472

    References:
        [torch.nn.functional.kl_div](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html)
    """
    how = reduction_of(reduction, "kl_div", (*REDUCTIONS, "batchmean"))
    logs, given = alike("kl_div", input=input, target=target)
    x, t = wide(logs), wide(given)
    # The logarithm of 1 in place of that of 0 has a finite derivative too.
    log_t = t if log_target else jnp.log(jnp.where(t == 0, 1, t))
    losses = (jnp.exp(t) if log_target else t) * (log_t - x)
    if how != "batchmean":
        return reduced(losses, how, logs.dtype)
    count = x.shape[0] if x.ndim else 1
    return (jnp.sum(losses) / count).astype(logs.dtype)


def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute the negative log likelihood of counts under Poisson distributions.

    $e^x - y x$ of the logarithms $x$ of rates, or $x - y \log(x + \epsilon)$ of rates $x$.

    Args:
        input: $x$, of any shape.
        target: $y$, counts, of the same shape; integers, or of the input's dtype.
        log_input: Whether input holds the logarithms of rates.
        full: Whether $y \log y - y + \log(2 \pi y) / 2$, Stirling's $\log y!$, is added where
            $y > 1$.
        eps: $\epsilon$, which keeps off the logarithm of 0; without log_input only.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape.

    Raises:
        ArgumentError: For an unknown reduction, or a negative eps.
        InputError: For arrays of two shapes.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> print(F.poisson_nll_loss(jnp.array([0.0, 0.0]), jnp.array([1, 5])))
        1.0

    References:
        [torch.nn.functional.poisson_nll_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.poisson_nll_loss.html)
    """
    how = reduction_of(reduction, "poisson_nll_loss")
    small = above_zero(eps, "poisson_nll_loss", "eps", or_zero=True)
    (given,) = floats("poisson_nll_loss", input=input)
    y = numbers_like("poisson_nll_loss", "target", target, given)
    one_shape("poisson_nll_loss", input=given, target=y)
    x = wide(given)
    losses = jnp.exp(x) - y * x if log_input else x - y * jnp.log(x + small)
    if full:
        many = jnp.where(y > 1, y, 1)
        stirling = many * jnp.log(many) - many + 0.5 * jnp.log(2 * math.pi * many)
        losses = losses + jnp.where(y > 1, stirling, 0)
    return reduced(losses, how, given.dtype)


def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> jax.Array:
    r"""Compute the negative log likelihood of numbers under Gaussian distributions.

    $\frac{1}{2} (\log v + (x - y)^2 / v)$, where $v$ is the variance, but at least $\epsilon$.

    Args:
        input: $x$, means, of any shape.
        target: $y$, of the same shape and dtype; one axis may be of size 1.
        var: The variances, not negative: one number; or an array of the same dtype and shape, of
            one axis of size 1, or without the last axis.
        full: Whether the constant $\log(2 \pi) / 2$ is added.
        eps: $\epsilon$, above 0. Derivatives are those of the formula at $v$, whatever var was.
        reduction: `"none"`, `"mean"` or `"sum"`.

    Returns:
        The loss in the input's dtype: one number, or for `"none"` the input's shape. PyTorch
        raises a ValueError for arrays of variances with negative ones; compiled code cannot, and
        gives NaN there.

    Raises:
        ArgumentError: For an unknown reduction, a negative number for var, or an eps that is not
            above 0.
        InputError: For arrays of shapes that do not fit.
        InputTypeError: For arrays of several dtypes, or not of floating-point numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> x, y = jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])
        >>> print(F.gaussian_nll_loss(x, y, jnp.array([1.0, 1.0])))
        1.0

    References:
        Nix and Weigend, Estimating the mean and variance of the target probability distribution,
        1994;
        [torch.nn.functional.gaussian_nll_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gaussian_nll_loss.html)
    """
    how = reduction_of(reduction, "gaussian_nll_loss")
    least = above_zero(eps, "gaussian_nll_loss", "eps")
    given, y = floats("gaussian_nll_loss", input=input, target=target)
    if y.shape != given.shape and not _one_axis_short(y.shape, given.shape):
        one_shape("gaussian_nll_loss", input=given, target=y)
    variance = _variance(given, var)
    # PyTorch clamps the values behind the back of its derivative, which passes at both sides.
    clamped = variance + lax.stop_gradient(jnp.maximum(variance, least) - variance)
    clamped = jnp.where(variance < 0, jnp.nan, clamped)
    losses = 0.5 * (jnp.log(clamped) + jnp.square(wide(given) - wide(y)) / clamped)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, how, given.dtype)


def _variance(x: jax.Array, var: ArrayLike) -> jax.Array:
    """Return variances that broadcast to x."""
    if isinstance(var, numbers.Real):
        if not float(var) >= 0:
            raise ArgumentError(
                f"gaussian_nll_loss(var={var!r}): expected a variance, a number >= 0."
            )
        return wide(jnp.full((), float(var), x.dtype))
    _, given = floats("gaussian_nll_loss", input=x, var=var)
    variance = wide(given)
    if variance.shape == x.shape or _one_axis_short(variance.shape, x.shape):
        return variance
    if x.ndim and variance.shape == x.shape[:-1]:
        return lax.expand_dims(variance, (variance.ndim,))
    raise InputError(
        f"gaussian_nll_loss: expected a var of the input's shape, {x.shape}, of one axis of size "
        f"1, or without the last axis, got {variance.shape}."
    )


def _one_axis_short(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether a shape is another one, but for one axis of size 1."""
    if len(shape) != len(whole):
        return False
    return [size for size, full in zip(shape, whole, strict=True) if size != full] == [1]
