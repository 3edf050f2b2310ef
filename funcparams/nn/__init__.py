"""Layers with the names, constructor arguments, parameters and formulas of torch.nn.

A layer is a [`Module`][funcparams.Module]: a definition without arrays. Parameters have PyTorch's
names, shapes and default initialisation, so names and arrays of a state_dict are names and arrays
here. What differs is said in each class; these hold for all:

- `device` and `inplace` are left out: a layer neither places nor overwrites arrays.
- Inputs and parameters have one dtype; nothing is promoted silently. Normalisations compute the
  half types in float32, may keep float32 parameters beside them, and return the input's dtype.
- `channels_last=True` is for data with the channels on the last axis; weights do not change.
- `num_batches_tracked` is int32.

Example:
    >>> import jax, jax.numpy as jnp
    >>> from funcparams import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 10))
    >>> params = model.init(jax.random.key(0))
    >>> model.apply(params, jnp.ones((5, 1, 4, 4))).shape
    (5, 10)

References:
    [torch.nn](https://docs.pytorch.org/docs/stable/nn.html)
"""

from funcparams.nn import functional
from funcparams.nn.activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmax2d,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from funcparams.nn.adaptive_softmax import AdaptiveLogSoftmaxWithLoss
from funcparams.nn.attention import (
    GroupedQueryAttention,
    KeyValueCache,
    MultiheadAttention,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
    rotary,
)
from funcparams.nn.checks import ArgumentError, InputError, InputTypeError
from funcparams.nn.containers import Function, Sequential
from funcparams.nn.conv import Conv1d, Conv2d, Conv3d
from funcparams.nn.distance import CosineSimilarity, PairwiseDistance
from funcparams.nn.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
)
from funcparams.nn.embedding import Embedding, EmbeddingBag
from funcparams.nn.feedforward import SwiGLU
from funcparams.nn.linear import Bilinear, Identity, Linear
from funcparams.nn.norm import (
    AxisNameError,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    CrossMapLRN2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
    SyncBatchNorm,
)
from funcparams.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from funcparams.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from funcparams.nn.shape import Flatten, Unflatten

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveLogSoftmaxWithLoss",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "ArgumentError",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "AxisNameError",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "CosineSimilarity",
    "CrossMapLRN2d",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "EmbeddingBag",
    "FeatureAlphaDropout",
    "Flatten",
    "Function",
    "GRUCell",
    "GroupNorm",
    "GroupedQueryAttention",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "InputError",
    "InputTypeError",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KeyValueCache",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Mish",
    "MultiheadAttention",
    "PReLU",
    "PairwiseDistance",
    "RMSNorm",
    "RNNCell",
    "RReLU",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SwiGLU",
    "SyncBatchNorm",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Unflatten",
    "functional",
    "rotary",
]
