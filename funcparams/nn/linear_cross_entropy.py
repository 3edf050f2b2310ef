"""`LinearCrossEntropyLoss`: a linear map to logits and their cross entropy, in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, buffer
from funcparams.nn.checks import ArgumentError, choice, matching, probability, whole
from funcparams.nn.functional import linear_cross_entropy
from funcparams.nn.linear import Linear, check_last


class LinearCrossEntropyLoss(Module):
    r"""Compute the cross entropy of the logits $x W^\top + b$ and a target.

    It is the last layer of a classifier and its loss in one, so that the logits need not be kept:
    with batch_chunk_size those of so many rows exist at a time.

    Args:
        in_features: The size of x's last axis.
        num_classes: The number of classes, C.
        out_features: The sizes of further axes, d1, d2, ..., for several targets of one row.
        bias: Whether the logits have a bias.
        reduction: What becomes of the losses: `mean` (weighted by the classes), `sum` or `none`.
        weight: A weight for each class, (C,); none is 1.
        ignore_index: A target that counts nothing; none is -100.
        label_smoothing: How much of the target is spread over all classes, from 0 to 1.
        batch_chunk_size: The number of rows whose logits exist at a time; none is all of them.
            PyTorch has it in its argument `options`.
        dtype: The dtype of the parameters.

    Attributes:
        linear: A linear layer; its weight is (C * d1 * d2 ..., in_features), drawn as
            [`Linear`][funcparams.nn.Linear] draws it.
        weight: The weights of classes, a buffer, or None.

    Called with x of shape (N, in_features), of the parameters' dtype, and a target of integers,
    (N, d1, ...), or of probabilities, (N, C, d1, ...), both without N where out_features is empty,
    it returns the loss: a number, or with `none` an array of the shape of an integer target.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If the shapes do not fit.
        InputTypeError: If the dtypes do not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.LinearCrossEntropyLoss(2, 4)
        >>> params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
        >>> print(model.apply(params, jnp.ones((3, 2)), jnp.array([0, 1, 3])))
        1.3862944

    References:
        Wijmans et al., [Cut Your Losses in Large-Vocabulary Language
        Models](https://arxiv.org/abs/2411.09009), 2024;
        [torch.nn.LinearCrossEntropyLoss](https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyLoss.html)
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        reduction: str = "mean",
        weight: ArrayLike | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        batch_chunk_size: int | None = None,
        dtype: Any = jnp.float32,
    ) -> None:
        layer = "LinearCrossEntropyLoss"
        self.num_classes = whole(num_classes, layer, "num_classes", 1)
        self.out_features = tuple(whole(n, layer, "out_features", 1) for n in out_features)
        self.reduction = choice(reduction, ("mean", "sum", "none"), layer, "reduction")
        if ignore_index is not None:
            ignore_index = whole(ignore_index, layer, "ignore_index", None)
        self.ignore_index = ignore_index
        self.label_smoothing = probability(label_smoothing, layer, "label_smoothing")
        self.batch_chunk_size = (
            None
            if batch_chunk_size is None
            else whole(batch_chunk_size, layer, "batch_chunk_size", 1)
        )
        self.weight = None if weight is None else self._weights(weight, layer, dtype)
        size = math.prod(self.out_features, start=self.num_classes)
        self.linear = Linear(in_features, size, bias, dtype)

    def _weights(self, weight: ArrayLike, layer: str, dtype: Any) -> jax.Array:
        values = np.asarray(weight, jnp.dtype(dtype))
        if values.shape != (self.num_classes,):
            raise ArgumentError(
                f"{layer}(weight=...): expected a number for each of {self.num_classes} classes, "
                f"got shape {values.shape}."
            )
        return buffer(init=init.array(values))

    def __call__(self, x: ArrayLike, target: ArrayLike) -> jax.Array:
        """Give the loss."""
        x = matching(self, x, self.linear.weight)
        check_last(self, x, "in_features", self.linear.in_features)
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return linear_cross_entropy(
            x,
            self.linear.weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            batch_chunk_size=self.batch_chunk_size,
        )

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        chunks = self.batch_chunk_size
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, "
            + ("options=None" if chunks is None else f"batch_chunk_size={chunks}")
        )
