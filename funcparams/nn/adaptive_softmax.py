"""`AdaptiveLogSoftmaxWithLoss`: a softmax of many classes, the rare ones in smaller spaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    InputTypeError,
    array,
    matching,
    number,
    title,
    whole,
)
from funcparams.nn.containers import Sequential
from funcparams.nn.linear import Linear, check_last


class ASMoutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns: a log-probability each, and their mean's loss."""

    output: jax.Array
    loss: jax.Array


class AdaptiveLogSoftmaxWithLoss(Module):
    r"""Give log-probabilities of classes in clusters: $\log p(y) = \log p(c) + \log p(y \mid c)$.

    Classes are numbered from frequent to rare. Those below the first cutoff are in the head, which
    also has one place for each cluster c of rarer ones. Cluster i, from 1, has a space of
    in_features // div_value ** i numbers, so that rare classes cost little.

    Args:
        in_features: The size of x's last axis.
        n_classes: The number of classes.
        cutoffs: Where clusters start: increasing integers from 1 to n_classes - 1, one at least.
        div_value: By what each cluster's space is smaller than the last one's.
        head_bias: Whether the head has a bias.
        dtype: The dtype of the parameters.

    Attributes:
        head: A linear layer; its weight is (cutoffs[0] + clusters, in_features).
        tail: For each cluster i two linear layers without bias: `tail.i.0.weight` of shape
            (space, in_features) and `tail.i.1.weight` of shape (classes, space). All are drawn as
            [`Linear`][funcparams.nn.Linear] draws them.

    Called with x of shape (N, in_features), of the parameters' dtype, and integers target of shape
    (N,), or both without N, it returns a named tuple: `output`, the log-probability of each target,
    and `loss`, the mean of -output. `model.bind(params).log_prob(x)` gives the log-probabilities of
    all classes, `model.bind(params).predict(x)` the likeliest class.

    PyTorch computes the clusters that a batch has targets in. Compiled code has one shape for all
    batches: it computes every cluster for every example, and takes what the targets ask for. What
    is saved is the smaller spaces. PyTorch raises for a target that is no class; compiled code
    cannot, and gives NaN for it, and for the loss.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the shapes do not fit.
        InputTypeError: If x has not the parameters' dtype, or target is not of integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[5, 10], div_value=2.0)
        >>> [(name, weight.shape) for name, weight in model.named_parameters()][:2]
        [('head.weight', (7, 8)), ('tail.0.0.weight', (4, 8))]
        >>> params, x = model.init(jax.random.key(0)), jnp.ones((3, 8))
        >>> output, loss = model.apply(params, x, jnp.array([1, 7, 19]))
        >>> output.shape, loss.shape
        ((3,), ())
        >>> model.bind(params).log_prob(x).shape
        (3, 20)

    References:
        Grave et al., [Efficient softmax approximation for GPUs](https://arxiv.org/abs/1609.04309),
        2017; [torch.nn.AdaptiveLogSoftmaxWithLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html)
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        layer = "AdaptiveLogSoftmaxWithLoss"
        self.in_features = whole(in_features, layer, "in_features")
        self.n_classes = whole(n_classes, layer, "n_classes")
        self.cutoffs = (*_cutoffs(cutoffs, self.n_classes, layer), self.n_classes)
        self.div_value = number(div_value, layer, "div_value")
        if self.div_value <= 0:
            raise ArgumentError(f"{layer}(div_value={div_value!r}): expected a number > 0.")
        self.head_bias = bool(head_bias)
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(self.in_features, self.head_size, self.head_bias, dtype)
        clusters: list[Sequential] = []
        for index in range(self.n_clusters):
            space = int(self.in_features // self.div_value ** (index + 1))
            classes = self.cutoffs[index + 1] - self.cutoffs[index]
            into = Linear(self.in_features, space, False, dtype)
            clusters.append(Sequential(into, Linear(space, classes, False, dtype)))
        self.tail = clusters

    def __call__(self, x: ArrayLike, target: ArrayLike) -> ASMoutput:
        """Give the log-probability of each target, and the loss."""
        x, target = self._checked(x), array(target)
        if not jnp.issubdtype(target.dtype, jnp.integer):
            raise InputTypeError(
                f"{title(self)}: expected integers for target, got "
                f"{target.dtype}{list(target.shape)}."
            )
        if target.shape != x.shape[:-1]:
            raise InputError(
                f"{title(self)}: expected a target of shape {x.shape[:-1]} beside this input, got "
                f"shape {target.shape}."
            )
        first = self.shortlist_size
        place = target  # in the head: the target itself, or its cluster
        output = jnp.zeros(target.shape, x.dtype)
        for index, cluster in enumerate(self.tail):
            low, high = self.cutoffs[index], self.cutoffs[index + 1]
            inside = (target >= low) & (target < high)
            place = jnp.where(inside, first + index, place)
            within = jnp.where(inside, target - low, 0)
            output = jnp.where(inside, _picked(cluster(x), within), output)
        known = (target >= 0) & (target < self.n_classes)
        output += _picked(self.head(x), jnp.where(known, place, 0))
        output = jnp.where(known, output, jnp.nan)
        return ASMoutput(output, -output.mean())

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """Give the log-probabilities of all classes.

        Args:
            x: An array of shape (N, in_features), or without N.

        Returns:
            An array of shape (N, n_classes), or without N.
        """
        x = self._checked(x)
        head = jax.nn.log_softmax(self.head(x))
        first = self.shortlist_size
        parts = [lax.slice_in_dim(head, 0, first, axis=-1)]
        for index, cluster in enumerate(self.tail):
            whole_cluster = lax.slice_in_dim(head, first + index, first + index + 1, axis=-1)
            parts.append(whole_cluster + jax.nn.log_softmax(cluster(x)))
        return lax.concatenate(parts, x.ndim - 1)

    def predict(self, x: ArrayLike) -> jax.Array:
        """Give the likeliest class.

        Args:
            x: An array of shape (N, in_features), or without N.

        Returns:
            Integers of shape (N,), or one.
        """
        return jnp.argmax(self.log_prob(x), -1)

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does: the layers show it."""
        return ""

    def _checked(self, x: ArrayLike) -> jax.Array:
        x = matching(self, x, self.head.weight)
        if x.ndim not in (1, 2):
            size = f"in_features={self.in_features}"
            raise InputError(
                f"{title(self)}: expected an input of shape (N, {size}), or ({size},) without a "
                f"batch axis, got shape {x.shape}."
            )
        check_last(self, x, "in_features", self.in_features)
        return x


def _cutoffs(given: Any, classes: int, layer: str) -> tuple[int, ...]:
    """Check where clusters start."""
    cutoffs: tuple[Any, ...] = tuple(given) if isinstance(given, Iterable) else ()  # pyright: ignore
    if not cutoffs:
        raise ArgumentError(f"{layer}(cutoffs={given!r}): expected integers, one at least.")
    starts = tuple(whole(each, layer, "cutoffs", None) for each in cutoffs)
    if sorted({*starts}) != list(starts) or starts[0] < 1 or starts[-1] > classes - 1:
        raise ArgumentError(
            f"{layer}(n_classes={classes}, cutoffs={list(starts)}): expected increasing integers "
            "from 1 to n_classes - 1."
        )
    return starts


def _picked(scores: jax.Array, index: jax.Array) -> jax.Array:
    """Return the log-probability at one place of the last axis."""
    places = lax.expand_dims(index, (index.ndim,))
    return jnp.take_along_axis(jax.nn.log_softmax(scores), places, -1)[..., 0]
