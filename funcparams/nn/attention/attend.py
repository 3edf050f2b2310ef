"""The formula that all attention layers share.

`jax.nn.dot_product_attention` is not inside: its default is the same formula for XLA, with a
gradient that took 1.2 times as long on CPU; it takes the softmax of float64 in float32, gives rows
without a key the mean of all values, and refuses half types under strict promotion.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from funcparams.nn.attention.masks import Masks, causal_mask
from funcparams.nn.checks import widened


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    masks: Masks | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    batch_first: bool = True,
    drop: Callable[[jax.Array], jax.Array] | None = None,
    need_weights: bool = False,
) -> tuple[jax.Array, jax.Array | None]:
    r"""Return $\mathrm{softmax}(q k^\top / \sqrt d + m)\, v$ of each head, and weights if asked.

    Scores and softmax of the half types are computed in float32. A row that sees no key has weights
    0 where they are not asked for, and NaN where they are: as in PyTorch.

    Args:
        query: (N, L, H, d), or (L, N, H, d) without `batch_first`, or (L, H, d).
        key: The same with S for L and K for H, where K divides H: K groups of heads share a key.
        value: As `key`.
        masks: What is hidden, and what is added to the scores.
        causal: Whether row i sees the keys up to i only.
        window: How many keys a causal row sees, itself the last of them.
        batch_first: Whether the batch axis is the first.
        drop: What drops weights, if anything does.
        need_weights: Whether to return the weights, (N, H, L, S) or (H, L, S).
    """
    batched = query.ndim == 4
    rows, columns, batch = ("q", "k", "")
    if batched:
        rows, columns, batch = ("bq", "bk", "b") if batch_first else ("qb", "kb", "b")
    heads, groups = "h", query.shape[-2] // key.shape[-2]
    if groups > 1:
        heads = "hg"
        query = query.reshape(*query.shape[:-2], key.shape[-2], groups, query.shape[-1])
    scores = query.shape[-1] ** -0.5 * jnp.einsum(
        f"{rows}{heads}d,{columns}hd->{batch}{heads}qk",
        query,
        key,
        preferred_element_type=widened(query.dtype),
    )
    split = scores.shape
    if groups > 1:  # masks do not know of groups
        scores = scores.reshape(*split[: len(batch)], -1, *split[-2:])
    weights = _weights(scores, masks, causal, window, need_weights).astype(value.dtype)
    if drop is not None:
        weights = drop(weights)
    y = jnp.einsum(
        f"{batch}{heads}qk,{columns}hd->{rows}{heads}d",
        weights if groups == 1 else weights.reshape(split),
        value,
    )
    if groups > 1:
        y = y.reshape(*y.shape[:-3], -1, y.shape[-1])
    return y, weights if need_weights else None


def _weights(
    scores: jax.Array, masks: Masks | None, causal: bool, window: int | None, need_weights: bool
) -> jax.Array:
    """Return the softmax of masked scores."""
    hidden, added = masks or Masks()
    if added is not None:
        scores = scores + added
    if causal:
        ahead = causal_mask(scores.shape[-2], scores.shape[-1], window)
        hidden = ahead if hidden is None else hidden | ahead
    if hidden is not None:
        scores = jnp.where(hidden, -jnp.inf, scores)
    # Without masks every row sees a key.
    return jax.nn.softmax(scores) if masks is None or need_weights else softmax(scores)


@jax.custom_jvp
def softmax(scores: jax.Array) -> jax.Array:
    """Return the softmax over the last axis, and 0 where a whole row is -infinity.

    The derivative there is 0, too; `jnp.where` around a softmax would make it NaN.
    """
    top = jnp.max(scores, -1, keepdims=True)
    # -inf - -inf is NaN, and -inf - 0 is not.
    raised = jnp.exp(scores - jnp.where(top == -jnp.inf, 0, top))
    total = jnp.sum(raised, -1, keepdims=True)
    return raised / jnp.where(total == 0, 1, total)


@softmax.defjvp
def _softmax_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    y, (change,) = softmax(*primals), tangents
    return y, y * (change - jnp.sum(y * change, -1, keepdims=True))
