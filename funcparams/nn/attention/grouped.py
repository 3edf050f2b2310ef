"""Attention as today's language models have it: grouped heads, rotary positions, and a cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.core.trace import Tracer
from funcparams.module import Module
from funcparams.nn.attention.attend import attend
from funcparams.nn.attention.masks import Masks, Sizes, causal_mask, checked_masks
from funcparams.nn.attention.positions import rotary
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    matching,
    number,
    probability,
    title,
    whole,
    widened,
)
from funcparams.nn.dropout import dropped
from funcparams.nn.linear import Linear


class KeyValueCache(NamedTuple):
    """The keys and values of the tokens so far: a plain pytree, given to a call and returned by it.

    `GroupedQueryAttention.init_cache` makes an empty one.

    Attributes:
        keys: (N, max_length, num_kv_heads, head_dim), or without N; turned by their positions.
        values: The same.
        length: How many tokens are in it, an int32.

    Example:
        >>> from funcparams import nn
        >>> cache = nn.GroupedQueryAttention(8, 4, 2).init_cache(batch=3, max_length=16)
        >>> cache.keys.shape, int(cache.length)
        ((3, 16, 2, 2), 0)
    """

    keys: jax.Array
    values: jax.Array
    length: jax.Array


class GroupedQueryAttention(Module):
    r"""Attend to the sequence itself, with fewer heads for keys and values than for queries.

    Head h of the queries attends to head $\lfloor h K / H \rfloor$ of the keys and values:
    $y_h = \mathrm{softmax}(q_h k^\top / \sqrt d + m)\, v$, with H heads of queries and K of keys
    and values, each d wide. K = H is multi-head attention, K = 1 multi-query attention.

    Args:
        embed_dim: The size of the input's last axis, and of the output's.
        num_heads: The number of heads of the queries, H.
        num_kv_heads: The number of heads of keys and values, K, which divides H; H with None.
        head_dim: The size of a head, d; embed_dim / num_heads with None.
        bias: Whether the projections to queries, keys and values have biases.
        out_bias: Whether the output's projection has one.
        causal: Whether a token sees none that come after it.
        window: How many tokens a token sees, itself the last of them; all with None.
        rotary_base: The base of rotary positions, such as 10000.0; none with None.
        rotary_interleaved: Whether these turn neighbours, see [`rotary`][funcparams.nn.rotary].
        dropout: The probability with which a weight of the softmax is dropped while training.
        dtype: The dtype of the parameters.

    Attributes:
        q_proj: A linear layer to num_heads * head_dim.
        k_proj: A linear layer to num_kv_heads * head_dim.
        v_proj: The same.
        o_proj: A linear layer from num_heads * head_dim to embed_dim.

    Called with x (N, L, embed_dim), or (L, embed_dim) without a batch axis, it returns (y, cache):
    y has x's shape, and the cache is None where none was given. With one, x are the next tokens
    after those in it: keys and values of x are written behind them, and x attends to all. Of masks,
    True hides a key and floating-point numbers are added to the scores: `key_padding_mask` is
    (N, S), `attn_mask` (L, S) or (N * H, L, S), where S is L, or max_length with a cache.
    `positions`, (L,) or (N, L), are those that queries and keys are turned by: 0, 1, ... after
    what is in the cache, where nothing is said. A token that sees none has a y of `o_proj.bias`, or
    of zeros.

    A full cache is an error where its length is known, outside of `jax.jit`; inside, the last slots
    are overwritten, so count the tokens.

    Raises:
        ArgumentError: If num_kv_heads does not divide num_heads, or for values that cannot be.
        InputError: If shapes do not fit, or the cache is full.
        InputTypeError: If x has not the parameters' dtype, or a mask is of integers.
        KeyRequiredError: In training with dropout > 0, without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.GroupedQueryAttention(8, 4, 2, rotary_base=10000.0)
        >>> params, x = model.init(jax.random.key(0)), jnp.ones((3, 5, 8))
        >>> y, _ = model.apply(params, x)
        >>> prompt, token = x[:, :4], x[:, 4:]
        >>> step = jax.jit(model.apply)
        >>> _, cache = step(params, prompt, cache=model.init_cache(3, 16))
        >>> last, cache = step(params, token, cache=cache)
        >>> bool(jnp.allclose(last, y[:, 4:], atol=1e-6)), int(cache.length)
        (True, 5)

    References:
        Ainslie et al., [GQA](https://arxiv.org/abs/2305.13245), 2023; Su et al.,
        [RoFormer](https://arxiv.org/abs/2104.09864), 2021
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        bias: bool = False,
        out_bias: bool = False,
        causal: bool = True,
        window: int | None = None,
        rotary_base: float | None = None,
        rotary_interleaved: bool = False,
        dropout: float = 0.0,
        dtype: Any = jnp.float32,
    ) -> None:
        layer = "GroupedQueryAttention"
        self.embed_dim = whole(embed_dim, layer, "embed_dim", 1)
        self.num_heads = whole(num_heads, layer, "num_heads", 1)
        kv = num_heads if num_kv_heads is None else num_kv_heads
        self.num_kv_heads = whole(kv, layer, "num_kv_heads", 1)
        if self.num_heads % self.num_kv_heads:
            raise ArgumentError(
                f"{layer}(num_heads={num_heads}, num_kv_heads={kv}): num_heads must be divisible "
                "by num_kv_heads."
            )
        if head_dim is None and self.embed_dim % self.num_heads:
            raise ArgumentError(
                f"{layer}(embed_dim={embed_dim}, num_heads={num_heads}): embed_dim must be "
                "divisible by num_heads; or give head_dim."
            )
        size = self.embed_dim // self.num_heads if head_dim is None else head_dim
        self.head_dim = whole(size, layer, "head_dim", 1)
        self.causal = bool(causal)
        self.window = None if window is None else whole(window, layer, "window", 1)
        if self.window is not None and not self.causal:
            raise ArgumentError(f"{layer}(window={window}): a window needs causal=True.")
        self.rotary_base = (
            None if rotary_base is None else number(rotary_base, layer, "rotary_base")
        )
        if self.rotary_base is not None and (self.rotary_base <= 0 or self.head_dim % 2):
            raise ArgumentError(
                f"{layer}(rotary_base={rotary_base}): rotary positions need a base above 0 and an "
                f"even head_dim, and head_dim is {self.head_dim}."
            )
        self.rotary_interleaved = bool(rotary_interleaved)
        self.dropout = probability(dropout, layer, "dropout")
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        self.q_proj = Linear(self.embed_dim, queries, bias, dtype)
        self.k_proj = Linear(self.embed_dim, keys, bias, dtype)
        self.v_proj = Linear(self.embed_dim, keys, bias, dtype)
        self.o_proj = Linear(queries, self.embed_dim, out_bias, dtype)

    def init_cache(self, batch: int | None, max_length: int, dtype: Any = None) -> KeyValueCache:
        """Make an empty cache; the definition does it, without parameters.

        Args:
            batch: The batch size; None for inputs without a batch axis.
            max_length: How many tokens it is to hold.
            dtype: The dtype of its arrays, that of the parameters with None.

        Returns:
            The cache.

        Raises:
            ArgumentError: For sizes that are no integers, or negative.
        """
        length = whole(max_length, "init_cache", "max_length", 1)
        lead = () if batch is None else (whole(batch, "init_cache", "batch"),)
        shape = (*lead, length, self.num_kv_heads, self.head_dim)
        dtype = self.k_proj.weight.dtype if dtype is None else dtype
        # Two arrays, not one twice: a step may be given both to overwrite.
        keys, values = jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)
        return KeyValueCache(keys, values, jnp.zeros((), jnp.int32))

    def __call__(
        self,
        x: ArrayLike,
        cache: KeyValueCache | None = None,
        positions: ArrayLike | None = None,
        key_padding_mask: ArrayLike | None = None,
        attn_mask: ArrayLike | None = None,
    ) -> tuple[jax.Array, KeyValueCache | None]:
        """Attend within x (N, L, embed_dim), and to what the cache holds."""
        x = matching(self, x, self.q_proj.weight)
        if x.ndim not in (2, 3) or x.shape[-1] != self.embed_dim:
            raise InputError(
                f"{title(self)}: expected an input of shape (N, L, embed_dim={self.embed_dim}), or "
                f"(L, embed_dim={self.embed_dim}) without a batch axis, got shape {x.shape}."
            )
        rows = x.shape[-2]
        query, key, value = (
            each(x).reshape(*x.shape[:-1], -1, self.head_dim)
            for each in (self.q_proj, self.k_proj, self.v_proj)
        )
        start = 0 if cache is None else cache.length
        if self.rotary_base is not None:
            count = jnp.arange(rows, dtype=jnp.int32)
            places = count + start if positions is None else positions
            query, key = (
                rotary(each, places, self.rotary_base, self.rotary_interleaved)
                for each in (query, key)
            )
        if cache is not None:
            cache = self._written(cache, key, value)
            # A cache may be narrower than what is computed.
            key, value = (each.astype(x.dtype) for each in cache[:2])
        batch = x.shape[0] if x.ndim == 3 else None
        sizes = Sizes(batch, self.num_heads, rows, key.shape[-3])
        masks = checked_masks(self, sizes, attn_mask, key_padding_mask, widened(x.dtype))
        if cache is not None:
            masks = self._unseen(masks, sizes, start)
        drop = self._drop if self.training and self.dropout else None
        causal = self.causal and cache is None
        y, _ = attend(query, key, value, masks, causal=causal, window=self.window, drop=drop)
        return self.o_proj(y.reshape(*x.shape[:-1], -1)), cache

    def _written(self, cache: KeyValueCache, key: jax.Array, value: jax.Array) -> KeyValueCache:
        """Return the cache with new keys and values behind those in it."""
        rows, slots = key.shape[-3], cache.keys.shape[-3]
        expected = (*key.shape[:-3], slots, *key.shape[-2:])
        for name, held in (("keys", cache.keys), ("values", cache.values)):
            if held.shape != expected:
                raise InputError(
                    f"{title(self)}: expected a cache with {name} of shape {expected}, got shape "
                    f"{held.shape}.\n  Make one of this layer: layer.init_cache(batch, max_length)."
                )
        known = not isinstance(cache.length, Tracer)
        before = int(cache.length) if known else 0
        if before + rows > slots:
            raise InputError(
                f"{title(self)}: {rows} tokens do not fit into a cache for {slots} that holds "
                f"{before}{'' if known else ' or more'}."
            )
        at = (*(0,) * (key.ndim - 3), cache.length, 0, 0)
        return KeyValueCache(
            lax.dynamic_update_slice(cache.keys, key.astype(cache.keys.dtype), at),
            lax.dynamic_update_slice(cache.values, value.astype(cache.values.dtype), at),
            cache.length + rows,
        )

    def _unseen(self, masks: Masks | None, sizes: Sizes, start: Any) -> Masks:
        """Hide the slots of the cache that a row does not see: those not yet written, at least."""
        rows, columns = sizes.rows, sizes.columns
        if self.causal:
            unseen = causal_mask(rows, columns, self.window, start)
        else:
            unseen = jnp.arange(columns, dtype=jnp.int32) >= start + rows
        hidden, added = masks or Masks()
        return Masks(unseen if hidden is None else hidden | unseen, added)

    def _drop(self, weights: jax.Array) -> jax.Array:
        return dropped(weights, self.next_key(), self.dropout, weights.shape)

    def extra_repr(self) -> str:
        """Write what the layers inside do not say."""
        text = f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}, causal={self.causal}"
        for name in ("window", "rotary_base"):
            if getattr(self, name) is not None:
                text += f", {name}={getattr(self, name)}"
        text += ", rotary_interleaved=True" if self.rotary_interleaved else ""
        return text + (f", dropout={self.dropout}" if self.dropout else "")
