"""Stacks of transformer layers, and the whole `Transformer`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams import init
from funcparams.module import Module
from funcparams.nn.attention.layers import TransformerDecoderLayer, TransformerEncoderLayer
from funcparams.nn.checks import ArgumentError, InputError, array, title, whole
from funcparams.nn.containers import Sequential
from funcparams.nn.norm import LayerNorm


class _Stack(Module):
    """Layers that are copies of one, and a norm behind them."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None, kind: str) -> None:
        name = type(self).__name__
        for what, given in ((f"{kind}_layer", layer), ("norm", norm)):
            if not isinstance(given, Module) and not (given is None and what == "norm"):
                raise ArgumentError(f"{name}({what}={given!r}): expected a module.")
        self.num_layers = whole(num_layers, name, "num_layers", 1)
        # Copies are definitions of their own: one object in several places would be shared.
        self.layers = tuple(copy.deepcopy(layer) for _ in range(self.num_layers))
        self.norm = norm

    def _normed(self, x: Any) -> Any:
        return x if self.norm is None else self.norm(x)

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


class TransformerEncoder(_Stack):
    """Call several layers like one another, one after the other.

    Each layer is a copy of the one given, with parameters of its own, and draws its own initial
    values. (PyTorch copies values too, so that its layers start alike.)

    Args:
        encoder_layer: A [`TransformerEncoderLayer`][funcparams.nn.TransformerEncoderLayer], or a
            module of yours that is called in the same way.
        num_layers: How many copies of it.
        norm: What the last layer's output goes through, if anything.

    PyTorch's `enable_nested_tensor` and `mask_check` are left out: they choose a path for inference
    that skips padding, which there is none of here.

    Attributes:
        layers: The copies.
        norm: As given.

    Called with src (S, N, d_model), or (S, d_model), and `mask`, `src_key_padding_mask` and
    `is_causal` as a layer takes them, it returns an array of the shape of src. `is_causal=None`
    is False: PyTorch looks whether the mask is a causal one then, for a faster path to the same
    result.

    Raises:
        ArgumentError: For a num_layers below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8))
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.ones((5, 3, 8))).shape
        (5, 3, 8)

    References:
        [torch.nn.TransformerEncoder](https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerEncoder.html)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(encoder_layer, num_layers, norm, "encoder")

    def __call__(
        self,
        src: ArrayLike,
        mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool | None = None,
    ) -> jax.Array:
        """Map src of shape (S, N, d_model) to the same shape."""
        x: Any = src
        for layer in self.layers:
            x = layer(
                x,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
            )
        return self._normed(x)


class TransformerDecoder(_Stack):
    """Call several decoder layers like one another, one after the other, beside one memory.

    Each layer is a copy of the one given, with parameters of its own, and draws its own initial
    values. (PyTorch copies values too, so that its layers start alike.)

    Args:
        decoder_layer: A [`TransformerDecoderLayer`][funcparams.nn.TransformerDecoderLayer], or a
            module of yours that is called in the same way.
        num_layers: How many copies of it.
        norm: What the last layer's output goes through, if anything.

    Attributes:
        layers: The copies.
        norm: As given.

    Called with tgt (T, N, d_model) and memory (S, N, d_model), or both without N, and masks as a
    layer takes them, it returns an array of the shape of tgt. `tgt_is_causal=None` is False, see
    [`TransformerEncoder`][funcparams.nn.TransformerEncoder].

    Raises:
        ArgumentError: For a num_layers below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> model = nn.TransformerDecoder(layer, 2)
        >>> params = model.init(jax.random.key(0))
        >>> model.apply(params, jnp.ones((5, 3, 8)), jnp.ones((5, 4, 8))).shape
        (5, 3, 8)

    References:
        [torch.nn.TransformerDecoder](https://docs.pytorch.org/docs/stable/generated/torch.nn.TransformerDecoder.html)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm, "decoder")

    def __call__(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Map tgt (T, N, d_model), beside a memory (S, N, d_model), to the shape of tgt."""
        x: Any = tgt
        for layer in self.layers:
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return self._normed(x)


class Transformer(Module):
    """Encode a sequence, and decode another one beside what came out.

    Args:
        d_model: The size of the last axis of inputs and outputs.
        nhead: The number of heads.
        num_encoder_layers: The number of layers of the encoder.
        num_decoder_layers: The number of layers of the decoder.
        dim_feedforward: The size between the two linear layers of a layer.
        dropout: The probability of a zero, while training.
        activation: "relu", "gelu" (exact), a function or a module.
        custom_encoder: What stands for the encoder, if anything: a module that is called as a
            [`TransformerEncoder`][funcparams.nn.TransformerEncoder] is.
        custom_decoder: Likewise for the decoder.
        layer_norm_eps: What layer norms add to the variance.
        batch_first: Whether data is (N, S, E) instead of (S, N, E).
        norm_first: Whether norms stand before attentions and linear layers, instead of after.
        bias: Whether linear layers and norms have biases.
        dtype: The dtype of the parameters.

    Attributes:
        encoder: A [`TransformerEncoder`][funcparams.nn.TransformerEncoder] with a norm.
        decoder: A [`TransformerDecoder`][funcparams.nn.TransformerDecoder] with a norm.

    All parameters with two axes or more are drawn by `init.xavier_uniform`, custom ones too.

    Called with src (S, N, d_model) and tgt (T, N, d_model), or both without N, it returns an array
    of the shape of tgt. Masks are as those of the layers, see
    [`TransformerDecoderLayer`][funcparams.nn.TransformerDecoderLayer]; those of the memory speak of
    src.

    Raises:
        ArgumentError: If nhead does not divide d_model, or for values that cannot be.
        InputError: If shapes of inputs or masks do not fit.
        KeyRequiredError: In training without a key, at any dropout.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        >>> params = model.init(jax.random.key(0))
        >>> src, tgt = jnp.ones((5, 4, 8)), jnp.ones((5, 3, 8))
        >>> mask = model.generate_square_subsequent_mask(3)
        >>> model.apply(params, src, tgt, tgt_mask=mask, tgt_is_causal=True).shape
        (5, 3, 8)

    References:
        Vaswani et al., [Attention is all you need](https://arxiv.org/abs/1706.03762), 2017;
        [torch.nn.Transformer](https://docs.pytorch.org/docs/stable/generated/torch.nn.Transformer.html)
    """

    encoder: Module
    decoder: Module

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = jnp.float32,
    ) -> None:
        for name, custom in (("encoder", custom_encoder), ("decoder", custom_decoder)):
            if custom is not None and not isinstance(custom, Module):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ArgumentError(f"Transformer(custom_{name}={custom!r}): expected a module.")
        self.d_model = whole(d_model, "Transformer", "d_model", 1)
        self.nhead = whole(nhead, "Transformer", "nhead", 1)
        self.batch_first = bool(batch_first)
        sizes = (d_model, nhead, dim_feedforward, dropout, activation)
        options = (layer_norm_eps, batch_first, norm_first, bias, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        encoder, decoder = custom_encoder, custom_decoder
        if encoder is None:
            layer = TransformerEncoderLayer(*sizes, *options)
            encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if decoder is None:
            layer = TransformerDecoderLayer(*sizes, *options)
            decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        both = Sequential(encoder, decoder)  # together, so that what they share stays shared
        if any(_matrix(*each) for each in both.named_parameters()):
            both = both.with_init({_matrix: init.xavier_uniform()})
        self.encoder, self.decoder = both

    def __call__(
        self,
        src: ArrayLike,
        tgt: ArrayLike,
        src_mask: ArrayLike | None = None,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> jax.Array:
        """Map src (S, N, d_model) and tgt (T, N, d_model) to the shape of tgt."""
        src, tgt = array(src), array(tgt)
        self._check(src, tgt)
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = jnp.float32) -> jax.Array:
        """Make a causal mask: -infinity where a key is ahead of the row, and 0 elsewhere.

        Args:
            sz: The length of the sequence.
            dtype: A floating dtype.

        Returns:
            An array of shape (sz, sz).

        Example:
            >>> from funcparams import nn
            >>> nn.Transformer.generate_square_subsequent_mask(2).tolist()
            [[0.0, -inf], [0.0, 0.0]]
        """
        return jnp.triu(jnp.full((sz, sz), -jnp.inf, dtype), 1)

    def _check(self, src: jax.Array, tgt: jax.Array) -> None:
        batch = 0 if self.batch_first else 1
        for name, x in (("src", src), ("tgt", tgt)):
            if x.ndim not in (2, 3) or x.shape[-1] != self.d_model:
                axes = "N, L" if self.batch_first else "L, N"
                raise InputError(
                    f"{title(self)}: expected a {name} of shape ({axes}, d_model={self.d_model}), "
                    f"or (L, d_model={self.d_model}) without a batch axis, got shape {x.shape}."
                )
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise InputError(
                f"{title(self)}: expected a src and a tgt of one batch size, or both without a "
                f"batch axis, got shapes {src.shape} and {tgt.shape}."
            )

    def extra_repr(self) -> str:
        """Write nothing, as PyTorch does."""
        return ""


def _matrix(name: str, declared: Any) -> bool:
    return len(declared.shape) > 1
