"""`MultiheadAttention`, as PyTorch has it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module, param
from funcparams.nn.attention.attend import attend
from funcparams.nn.attention.masks import Sizes, causal_mask, checked_masks
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    matching,
    probability,
    title,
    whole,
    widened,
)
from funcparams.nn.dropout import dropped
from funcparams.nn.linear import Linear


class NonDynamicallyQuantizableLinear(Linear):
    """A `Linear` under the name that the output projection has in PyTorch's text."""


class MultiheadAttention(Module):
    r"""Attend to keys with several heads, $y = \mathrm{concat}(y_1, \dots, y_H)\, W_o^\top + b_o$.

    Each head has a part of the projections of its own, d = embed_dim / num_heads wide:
    $y_h = \mathrm{softmax}(q_h k_h^\top / \sqrt d + m)\, v_h$ with $q = x_q W_q^\top + b_q$, and k
    and v likewise.

    Args:
        embed_dim: The size of the queries, of the output, and of all heads together.
        num_heads: The number of heads H.
        dropout: The probability with which a weight of the softmax is dropped while training.
        bias: Whether the projections have biases.
        add_bias_kv: Whether there is one more key and value, which are learnt.
        add_zero_attn: Whether there is one more key and value, which are 0.
        kdim: The size of the keys that come in; embed_dim with None.
        vdim: The size of the values that come in; embed_dim with None.
        batch_first: Whether data is (N, L, E) instead of (L, N, E).
        dtype: The dtype of the parameters.

    Attributes:
        in_proj_weight: (3 * embed_dim, embed_dim), of queries, keys and values one below the other,
            Xavier uniform; None where kdim or vdim differs from embed_dim.
        q_proj_weight: (embed_dim, embed_dim), Xavier uniform; None otherwise.
        k_proj_weight: (embed_dim, kdim), likewise.
        v_proj_weight: (embed_dim, vdim), likewise.
        in_proj_bias: (3 * embed_dim,), zeros.
        bias_k: (1, 1, embed_dim), Xavier normal; None without add_bias_kv.
        bias_v: (1, 1, embed_dim), likewise.
        out_proj: A linear layer with weight (embed_dim, embed_dim), from U(-k, k) with
            k = 1 / sqrt(embed_dim), and bias (embed_dim,), zeros.

    Called with query (L, N, embed_dim), key (S, N, kdim) and value (S, N, vdim), or all three
    without N, of the parameters' dtype, it returns the output, of the query's shape, and the
    weights, (N, L, S); None with need_weights=False, which is faster. With
    average_attn_weights=False the weights are those of each head, (N, H, L, S). Of masks,
    True hides a key and floating-point numbers, of any such dtype, are added to the scores:
    key_padding_mask is (N, S), attn_mask (L, S), or (N * H, L, S) for each example and head.
    `is_causal` hides the keys that come after a query's own place; a mask that is given beside it
    is taken to say the same, as in PyTorch, which asks for one. Inside your own function pass one
    array as query, key and value for self-attention: its three projections are then one product.

    Where no key is seen at all, the output is NaN, or `out_proj.bias` with need_weights=False; that
    is PyTorch's behaviour. Gradients are finite there without weights, and under masks of bool.

    The argument `key` is the keys. A PRNG key, which training with dropout > 0 needs, is given to
    the model around it as always, and to the layer alone by
    `model.bind(params, key=..., training=True)(query, key, value)`.

    Raises:
        ArgumentError: If num_heads does not divide embed_dim, or for sizes that cannot be.
        InputError: If shapes of inputs or masks do not fit.
        InputTypeError: If an input has not the parameters' dtype, or a mask is of integers.
        KeyRequiredError: In training with dropout > 0, without a PRNG key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> params = model.init(jax.random.key(0))
        >>> x, memory = jnp.ones((5, 3, 8)), jnp.ones((5, 4, 8))
        >>> y, weights = model.apply(params, x, memory, memory)
        >>> y.shape, weights.shape
        ((5, 3, 8), (5, 3, 4))

    References:
        Vaswani et al., [Attention is all you need](https://arxiv.org/abs/1706.03762), 2017;
        [torch.nn.MultiheadAttention](https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html)
    """

    in_proj_weight: jax.Array | None
    q_proj_weight: jax.Array | None
    k_proj_weight: jax.Array | None
    v_proj_weight: jax.Array | None
    in_proj_bias: jax.Array | None
    bias_k: jax.Array | None
    bias_v: jax.Array | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        layer = "MultiheadAttention"
        self.embed_dim = size = whole(embed_dim, layer, "embed_dim", 1)
        self.num_heads = whole(num_heads, layer, "num_heads", 1)
        if size % self.num_heads:
            raise ArgumentError(
                f"{layer}(embed_dim={size}, num_heads={num_heads}): embed_dim must be divisible by "
                "num_heads."
            )
        self.dropout = probability(dropout, layer, "dropout")
        self.kdim = size if kdim is None else whole(kdim, layer, "kdim", 1)
        self.vdim = size if vdim is None else whole(vdim, layer, "vdim", 1)
        self.batch_first = bool(batch_first)
        self.add_zero_attn = bool(add_zero_attn)
        self.in_proj_weight = self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        uniform = init.xavier_uniform()
        if self.kdim == self.vdim == size:
            self.in_proj_weight = param((3 * size, size), uniform, dtype)
        else:
            self.q_proj_weight = param((size, size), uniform, dtype)
            self.k_proj_weight = param((size, self.kdim), uniform, dtype)
            self.v_proj_weight = param((size, self.vdim), uniform, dtype)
        self.in_proj_bias = param(3 * size, init.zeros(), dtype) if bias else None
        out = NonDynamicallyQuantizableLinear(size, size, bias, dtype)
        self.out_proj = out.with_init({"bias": init.zeros()}) if bias else out
        normal = init.xavier_normal()
        self.bias_k = param((1, 1, size), normal, dtype) if add_bias_kv else None
        self.bias_v = param((1, 1, size), normal, dtype) if add_bias_kv else None

    def __call__(
        self,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        key_padding_mask: ArrayLike | None = None,
        need_weights: bool = True,
        attn_mask: ArrayLike | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Attend with queries (L, N, embed_dim) to keys (S, N, kdim) and values (S, N, vdim)."""
        q, k, v = self._checked(query, key, value)
        batched = q.ndim == 3
        length = int(batched and self.batch_first)  # the axis of the sequence
        batch = q.shape[1 - length] if batched else None
        sizes = Sizes(batch, self.num_heads, q.shape[length], k.shape[length])
        extra = (self.bias_k is not None) + self.add_zero_attn
        # Where PyTorch reads the mask that is given whatever the hint says, so does this.
        read = need_weights or key_padding_mask is not None
        causal = is_causal and (attn_mask is None or not read)
        if causal:
            # The keys that are added stand behind all others, and every row sees them.
            attn_mask = causal_mask(sizes.rows, sizes.columns) if extra else None
        masks = checked_masks(self, sizes, attn_mask, key_padding_mask, widened(q.dtype), extra)
        q, k, v = self._projected(q, k, v)
        if self.bias_k is not None:
            k, v = _longer(k, self.bias_k, length), _longer(v, self.bias_v, length)
        if self.add_zero_attn:
            zero = jnp.zeros(self.embed_dim, k.dtype)
            k, v = _longer(k, zero, length), _longer(v, zero, length)
        q, k, v = (x.reshape(*x.shape[:-1], self.num_heads, -1) for x in (q, k, v))
        y, weights = attend(
            q,
            k,
            v,
            masks,
            causal=causal and not extra,
            batch_first=self.batch_first,
            drop=self._drop if self.training and self.dropout else None,
            need_weights=need_weights,
        )
        if weights is not None and average_attn_weights:
            weights = jnp.mean(weights, -3)
        return self.out_proj(y.reshape(*y.shape[:-2], self.embed_dim)), weights

    def _projected(
        self, query: jax.Array, key: jax.Array, value: jax.Array
    ) -> tuple[jax.Array, ...]:
        """Return queries, keys and values as wide as all heads."""
        thirds = (self.embed_dim,) * 3
        bias = self.in_proj_bias
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif query is key and key is value:
            together = _linear(query, self.in_proj_weight, bias)
            return tuple(lax.split(together, thirds, together.ndim - 1))
        else:
            weights = lax.split(self.in_proj_weight, thirds, 0)
        biases = (None,) * 3 if bias is None else lax.split(bias, thirds, 0)
        return tuple(map(_linear, (query, key, value), weights, biases))

    def _drop(self, weights: jax.Array) -> jax.Array:
        return dropped(weights, self.next_key(), self.dropout, weights.shape)

    def _checked(
        self, query: ArrayLike, key: ArrayLike, value: ArrayLike
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the inputs as arrays that fit; what was one object stays one."""
        weight = self.out_proj.weight
        q = matching(self, query, weight, "query")
        k = q if key is query else matching(self, key, weight, "key")
        v = k if value is key else matching(self, value, weight, "value")
        if q.ndim not in (2, 3) or q.shape[-1] != self.embed_dim:
            raise InputError(
                f"{title(self)}: expected a query of shape {self._layout('L', 'N', 'embed_dim')}, "
                f"or {self._layout('L', None, 'embed_dim')} without a batch axis, got shape "
                f"{q.shape}."
            )
        batched = q.ndim == 3
        length = int(batched and self.batch_first)
        places = list(q.shape[:-1])  # the batch is the query's, the length is the key's own
        if k.ndim == q.ndim:
            places[length] = k.shape[length]
        batch = f"N={q.shape[1 - length]}" if batched else None
        if k.shape != (*places, self.kdim):
            raise InputError(
                f"{title(self)}: expected a key of shape {self._layout('S', batch, 'kdim')} beside "
                f"a query of shape {q.shape}, got shape {k.shape}."
            )
        if v.shape != (*places, self.vdim):
            columns = f"S={places[length]}"
            raise InputError(
                f"{title(self)}: expected a value of shape {self._layout(columns, batch, 'vdim')} "
                f"beside a key of shape {k.shape}, got shape {v.shape}."
            )
        return q, k, v

    def _layout(self, length: str, batch: str | None, size: str) -> str:
        """Write the shape of an input for error texts: `(L, N, embed_dim=4)`."""
        axes = [length] if batch is None else [length, batch]
        if self.batch_first:
            axes.reverse()
        return f"({', '.join(axes)}, {size}={getattr(self, size)})"

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


def _linear(x: jax.Array, weight: Any, bias: jax.Array | None) -> jax.Array:
    y = lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return y if bias is None else y + bias


def _longer(x: jax.Array, row: Any, axis: int) -> jax.Array:
    """Put one more row at the end of a sequence."""
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    return jnp.concatenate([x, jnp.broadcast_to(row.reshape(-1), shape)], axis)
