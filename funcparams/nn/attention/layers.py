"""One layer of a transformer's encoder and of its decoder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.module import Module
from funcparams.nn.attention.multihead import MultiheadAttention
from funcparams.nn.checks import ArgumentError, array, choice, whole
from funcparams.nn.dropout import Dropout
from funcparams.nn.linear import Linear
from funcparams.nn.norm import LayerNorm

_ACTIVATIONS = {"relu": jax.nn.relu, "gelu": functools.partial(jax.nn.gelu, approximate=False)}


class _Layer(Module):
    """What both layers share: attention of a sequence to itself, and the two linear layers."""

    self_attn: MultiheadAttention
    linear1: Linear
    dropout: Dropout
    linear2: Linear
    dropout1: Dropout
    activation: Any

    def _attend(
        self, x: Any, mask: ArrayLike | None, padding: ArrayLike | None, is_causal: bool
    ) -> jax.Array:
        y, _ = self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)
        return self.dropout1(y)

    def _feed(self, x: jax.Array) -> jax.Array:
        function = self.activation
        if isinstance(function, str):
            function = _ACTIVATIONS[function]
        return self.linear2(self.dropout(function(self.linear1(x))))

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


class TransformerEncoderLayer(_Layer):
    r"""Attend to the sequence itself, then feed each place through two linear layers.

    $y = n_1(x + a(x))$ and $z = n_2(y + f(y))$, with layer norms n, attention a and
    $f(y) = W_2\, \phi(W_1 y + b_1) + b_2$; or $y = x + a(n_1(x))$ and $z = y + f(n_2(y))$ with
    `norm_first`. While training, dropout follows a, $\phi$ and f.

    Args:
        d_model: The size of the last axis of inputs and outputs.
        nhead: The number of heads.
        dim_feedforward: The size between the linear layers.
        dropout: The probability of a zero, of a weight of the attention too.
        activation: $\phi$: "relu", "gelu" (exact, as in PyTorch), a function or a module. (The
            default of `jax.nn.gelu` itself is an approximation.)
        layer_norm_eps: What layer norms add to the variance.
        batch_first: Whether data is (N, S, E) instead of (S, N, E).
        norm_first: Whether norms stand before attention and linear layers, instead of after.
        bias: Whether linear layers and norms have biases.
        dtype: The dtype of the parameters.

    Attributes:
        self_attn: A [`MultiheadAttention`][funcparams.nn.MultiheadAttention].
        linear1: A linear layer with weight (dim_feedforward, d_model).
        linear2: A linear layer with weight (d_model, dim_feedforward).
        norm1: A layer norm with weight and bias (d_model,).
        norm2: Likewise.

    Called with src (S, N, d_model), or (S, d_model) without a batch axis, it returns an array of
    that shape. `src_mask` is (S, S) or (N * nhead, S, S) and `src_key_padding_mask` (N, S): True
    hides a key, floating-point numbers are added to the scores. `is_causal` is as in
    `MultiheadAttention`. PyTorch's own path for inference, which skips padding and leaves zeros at
    its places, is not taken: the output at padded places is what the formula gives.

    Raises:
        ArgumentError: If nhead does not divide d_model, or for values that cannot be.
        InputError: If shapes of inputs or masks do not fit.
        KeyRequiredError: In training without a key, at any dropout.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.ones((5, 3, 8))).shape
        (5, 3, 8)

    References:
        Vaswani et al., [Attention is all you need](https://arxiv.org/abs/1706.03762), 2017;
        [torch.nn.TransformerEncoderLayer](https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoderLayer.html)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        size, hidden = _sizes("TransformerEncoderLayer", d_model, nhead, dim_feedforward)
        attention = {"bias": bias, "batch_first": batch_first, "dtype": dtype}
        self.self_attn = MultiheadAttention(size, nhead, dropout, **attention)
        self.linear1 = Linear(size, hidden, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden, size, bias, dtype)
        self.norm_first = bool(norm_first)
        self.norm1 = LayerNorm(size, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(size, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation, "TransformerEncoderLayer")

    def __call__(
        self,
        src: ArrayLike,
        src_mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool = False,
    ) -> jax.Array:
        """Map src of shape (S, N, d_model) to the same shape."""
        x = array(src)
        given = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), *given)
            return x + self.dropout2(self._feed(self.norm2(x)))
        x = self.norm1(x + self._attend(x, *given))
        return self.norm2(x + self.dropout2(self._feed(x)))


class TransformerDecoderLayer(_Layer):
    r"""Attend to the sequence itself, then to a memory, then feed each place through two layers.

    $u = n_1(x + a(x))$, $v = n_2(u + c(u, m))$ and $z = n_3(v + f(v))$, with layer norms n,
    attention a, attention c to the memory m, and $f(v) = W_2\, \phi(W_1 v + b_1) + b_2$. With
    `norm_first` the norms stand before a, c and f instead. While training, dropout follows a, c,
    $\phi$ and f.

    Args:
        d_model: The size of the last axis of inputs and outputs.
        nhead: The number of heads.
        dim_feedforward: The size between the linear layers.
        dropout: The probability of a zero, of a weight of the attentions too.
        activation: $\phi$: "relu", "gelu" (exact, as in PyTorch), a function or a module. (The
            default of `jax.nn.gelu` itself is an approximation.)
        layer_norm_eps: What layer norms add to the variance.
        batch_first: Whether data is (N, T, E) instead of (T, N, E).
        norm_first: Whether norms stand before attentions and linear layers, instead of after.
        bias: Whether linear layers and norms have biases.
        dtype: The dtype of the parameters.

    Attributes:
        self_attn: A [`MultiheadAttention`][funcparams.nn.MultiheadAttention].
        multihead_attn: The same, to the memory.
        linear1: A linear layer with weight (dim_feedforward, d_model).
        linear2: A linear layer with weight (d_model, dim_feedforward).
        norm1: A layer norm with weight and bias (d_model,).
        norm2: Likewise.
        norm3: Likewise.

    Called with tgt (T, N, d_model) and memory (S, N, d_model), or both without N, it returns an
    array of the shape of tgt. `tgt_mask` is (T, T) or (N * nhead, T, T), `memory_mask` (T, S) or
    (N * nhead, T, S), `tgt_key_padding_mask` (N, T) and `memory_key_padding_mask` (N, S): True
    hides a key, floating-point numbers are added to the scores. `tgt_is_causal` and
    `memory_is_causal` are as `is_causal` in `MultiheadAttention`.

    Raises:
        ArgumentError: If nhead does not divide d_model, or for values that cannot be.
        InputError: If shapes of inputs or masks do not fit.
        KeyRequiredError: In training without a key, at any dropout.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> params = model.init(jax.random.key(0))
        >>> tgt, memory = jnp.ones((5, 3, 8)), jnp.ones((5, 4, 8))
        >>> model.apply(params, tgt, memory, tgt_is_causal=True).shape
        (5, 3, 8)

    References:
        Vaswani et al., [Attention is all you need](https://arxiv.org/abs/1706.03762), 2017;
        [torch.nn.TransformerDecoderLayer](https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoderLayer.html)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        size, hidden = _sizes("TransformerDecoderLayer", d_model, nhead, dim_feedforward)
        attention = {"bias": bias, "batch_first": batch_first, "dtype": dtype}
        self.self_attn = MultiheadAttention(size, nhead, dropout, **attention)
        self.multihead_attn = MultiheadAttention(size, nhead, dropout, **attention)
        self.linear1 = Linear(size, hidden, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden, size, bias, dtype)
        self.norm_first = bool(norm_first)
        self.norm1 = LayerNorm(size, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(size, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(size, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation, "TransformerDecoderLayer")

    def __call__(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Map tgt (T, N, d_model), beside a memory (S, N, d_model), to the shape of tgt."""
        x = array(tgt)
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory, memory_mask, memory_key_padding_mask, memory_is_causal)
        if self.norm_first:
            x = x + self._attend(self.norm1(x), *own)
            x = x + self._look(self.norm2(x), *other)
            return x + self.dropout3(self._feed(self.norm3(x)))
        x = self.norm1(x + self._attend(x, *own))
        x = self.norm2(x + self._look(x, *other))
        return self.norm3(x + self.dropout3(self._feed(x)))

    def _look(
        self,
        x: jax.Array,
        memory: ArrayLike,
        mask: ArrayLike | None,
        padding: ArrayLike | None,
        is_causal: bool,
    ) -> jax.Array:
        y, _ = self.multihead_attn(x, memory, memory, padding, False, mask, is_causal=is_causal)
        return self.dropout2(y)


def _sizes(layer: str, d_model: Any, nhead: Any, dim_feedforward: Any) -> tuple[int, int]:
    """Check sizes by the names that they have here; the layers inside know them by others."""
    size, heads = whole(d_model, layer, "d_model", 1), whole(nhead, layer, "nhead", 1)
    if size % heads:
        raise ArgumentError(
            f"{layer}(d_model={size}, nhead={heads}): d_model must be divisible by nhead."
        )
    return size, whole(dim_feedforward, layer, "dim_feedforward")


def _activation(given: Any, layer: str) -> Any:
    """Return a word or what can be called as it is."""
    if isinstance(given, str) or (not callable(given) and not isinstance(given, Module)):
        return choice(given, _ACTIVATIONS, layer, "activation")
    if isinstance(given, type):
        raise ArgumentError(
            f"{layer}(activation={given.__name__}): expected a function or a module; write "
            f"{given.__name__}()."
        )
    return given
