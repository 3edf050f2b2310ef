"""Maxima, means and norms over windows, and the way back."""

from funcparams.nn.pooling.adaptive import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
)
from funcparams.nn.pooling.avgpool import AvgPool1d, AvgPool2d, AvgPool3d
from funcparams.nn.pooling.fractional import FractionalMaxPool2d, FractionalMaxPool3d
from funcparams.nn.pooling.lppool import LPPool1d, LPPool2d, LPPool3d
from funcparams.nn.pooling.maxpool import MaxPool1d, MaxPool2d, MaxPool3d
from funcparams.nn.pooling.unpool import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]
