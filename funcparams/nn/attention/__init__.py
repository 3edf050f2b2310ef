"""Attention: PyTorch's layers and transformers, and what newer models are made of."""

from funcparams.nn.attention.grouped import GroupedQueryAttention, KeyValueCache
from funcparams.nn.attention.layers import TransformerDecoderLayer, TransformerEncoderLayer
from funcparams.nn.attention.multihead import MultiheadAttention
from funcparams.nn.attention.positions import rotary
from funcparams.nn.attention.transformer import Transformer, TransformerDecoder, TransformerEncoder

__all__ = [
    "GroupedQueryAttention",
    "KeyValueCache",
    "MultiheadAttention",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "rotary",
]
