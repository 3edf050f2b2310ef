"""The classes of torch.nn: how each is made at a small size, and which are not in funcparams.nn."""

from __future__ import annotations

import inspect
from typing import Any

import torch

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvgPool1d": (2,),
    "AdaptiveAvgPool2d": (2,),
    "AdaptiveAvgPool3d": (2,),
    "AdaptiveLogSoftmaxWithLoss": (64, 12, [4, 8]),
    "AdaptiveMaxPool1d": (2,),
    "AdaptiveMaxPool2d": (2,),
    "AdaptiveMaxPool3d": (2,),
    "AvgPool1d": (2,),
    "AvgPool2d": (2,),
    "AvgPool3d": (2,),
    "BatchNorm1d": (3,),
    "BatchNorm2d": (3,),
    "BatchNorm3d": (3,),
    "Bilinear": (2, 3, 4),
    "ChannelShuffle": (2,),
    "CircularPad1d": (1,),
    "CircularPad2d": (1,),
    "CircularPad3d": (1,),
    "ConstantPad1d": (1, 0.5),
    "ConstantPad2d": (1, 0.5),
    "ConstantPad3d": (1, 0.5),
    "Conv1d": (2, 3, 3),
    "Conv2d": (2, 3, 3),
    "Conv3d": (2, 3, 3),
    "ConvTranspose1d": (2, 3, 3),
    "ConvTranspose2d": (2, 3, 3),
    "ConvTranspose3d": (2, 3, 3),
    "CrossMapLRN2d": (2,),
    "DataParallel": (torch.nn.Identity(),),
    "Embedding": (4, 3),
    "EmbeddingBag": (4, 3),
    "Fold": (4, 2),
    "FractionalMaxPool2d": (2, 1),
    "FractionalMaxPool3d": (2, 1),
    "GRU": (3, 4, 2),
    "GRUCell": (3, 4),
    "GroupNorm": (2, 4),
    "InstanceNorm1d": (3, 1e-5, 0.1, True, True),
    "InstanceNorm2d": (3, 1e-5, 0.1, True, True),
    "InstanceNorm3d": (3, 1e-5, 0.1, True, True),
    "LPPool1d": (2.0, 2),
    "LPPool2d": (2.0, 2),
    "LPPool3d": (2.0, 2),
    "LSTM": (3, 4, 2),
    "LSTMCell": (3, 4),
    "LayerNorm": (3,),
    "Linear": (2, 3),
    "LinearCrossEntropyLoss": (3, 4),
    "LocalResponseNorm": (2,),
    "LogSoftmax": (1,),
    "MaxPool1d": (2,),
    "MaxPool2d": (2,),
    "MaxPool3d": (2,),
    "MaxUnpool1d": (2,),
    "MaxUnpool2d": (2,),
    "MaxUnpool3d": (2,),
    "MultiheadAttention": (4, 2),
    "PixelShuffle": (2,),
    "PixelUnshuffle": (2,),
    "RMSNorm": (3,),
    "RNN": (3, 4, 2),
    "RNNCell": (3, 4),
    "ReflectionPad1d": (1,),
    "ReflectionPad2d": (1,),
    "ReflectionPad3d": (1,),
    "ReplicationPad1d": (1,),
    "ReplicationPad2d": (1,),
    "ReplicationPad3d": (1,),
    "Softmax": (1,),
    "Softmin": (1,),
    "SyncBatchNorm": (3,),
    "Threshold": (0.1, 2.0),
    "Transformer": (4, 2, 2, 1, 8),
    "TransformerDecoderLayer": (4, 2, 8),
    "TransformerEncoderLayer": (4, 2, 8),
    "Unflatten": (1, (2, 2)),
    "Unfold": (2,),
    "Upsample": (None, 2),
    "UpsamplingBilinear2d": (None, 2),
    "UpsamplingNearest2d": (None, 2),
    "ZeroPad1d": (1,),
    "ZeroPad2d": (1,),
    "ZeroPad3d": (1,),
}
"""What each class is made with; those that are not here need nothing."""

_LAZY = "it learns its shapes from the first input; here shapes are known before anything is drawn"
_LOSS = "losses are functions, nn.functional, and take weights as arguments"
_SEVERAL = "JAX itself computes on several devices: jax.sharding"

_LAZY_CLASSES = """
LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d
LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d
LazyLinear
""".split()
_LOSS_CLASSES = """
BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss
HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss
MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss
SmoothL1Loss SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss
""".split()

NOT_HERE: dict[str, str] = {
    **dict.fromkeys(_LAZY_CLASSES, _LAZY),
    **dict.fromkeys(_LOSS_CLASSES, _LOSS),
    "Container": "PyTorch has it for old code only; it is Module",
    "DataParallel": _SEVERAL,
    "Module": "it is funcparams.Module",
    "ModuleDict": "a plain dict of modules is registered",
    "ModuleList": "a plain list of modules is registered",
    "ParameterDict": "a plain dict of parameters is registered",
    "ParameterList": "a plain list of parameters is registered",
    "RNNBase": "it only holds what RNN, LSTM and GRU share",
    "RNNCellBase": "it only holds what RNNCell, LSTMCell and GRUCell share",
}
"""The classes without one of the same name in funcparams.nn, and why."""


def classes() -> dict[str, type[torch.nn.Module]]:
    """Every class of modules that torch.nn shows, by its name."""
    return {
        name: value
        for name, value in sorted(vars(torch.nn).items())
        if inspect.isclass(value) and issubclass(value, torch.nn.Module)
    }


def make(module: Any, name: str) -> Any:
    """Make a small one of torch.nn or of funcparams.nn."""
    if name in ("TransformerEncoder", "TransformerDecoder"):
        layer = f"{name}Layer"
        return getattr(module, name)(getattr(module, layer)(*ARGUMENTS[layer]), 2)
    return getattr(module, name)(*ARGUMENTS.get(name, ()))


def owns(name: str) -> bool:
    """Whether a class that is here owns parameters or buffers."""
    return name not in NOT_HERE and bool(make(torch.nn, name).state_dict())
