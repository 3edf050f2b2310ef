"""Losses with the names, arguments and numbers of torch.nn.functional.

A loss is a function of arrays, to be differentiated as any other. A `weight`, which PyTorch's loss
classes hold as a buffer, is an argument of the call. These hold for all:

- The reduction is `"mean"` by default; `"none"` gives the loss of each entry or sample.
- The loss has its input's dtype. Half types are computed in float32; nothing is promoted silently.
- Arrays of different shapes are an error, where PyTorch broadcasts them, mostly with a warning.
- What PyTorch finds wrong by reading an array's numbers, such as a class that does not exist,
  compiled code cannot report: it gives NaN.
- PyTorch's deprecated arguments, `size_average` and `reduce`, are left out. What follows them is
  passed by name, so that no position means something else.

Example:
    >>> import jax, jax.numpy as jnp
    >>> from funcparams import nn
    >>> from funcparams.nn import functional as F
    >>> model = nn.Linear(4, 3)
    >>> def loss(params, x, y):
    ...     return F.cross_entropy(model.apply(params, x), y)
    >>> params = model.init(jax.random.key(0))
    >>> grads = jax.grad(loss)(params, jnp.ones((5, 4)), jnp.array([0, 2, 1, 1, 0]))
    >>> grads["weight"].shape
    (3, 4)

References:
    [torch.nn.functional](https://docs.pytorch.org/docs/stable/nn.functional.html#loss-functions)
"""

from funcparams.nn.functional.binary import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from funcparams.nn.functional.classification import (
    cross_entropy,
    linear_cross_entropy,
    nll_loss,
)
from funcparams.nn.functional.ctc import ctc_loss
from funcparams.nn.functional.likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from funcparams.nn.functional.margin import multi_margin_loss, multilabel_margin_loss
from funcparams.nn.functional.ranking import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from funcparams.nn.functional.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear_cross_entropy",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
