"""Normalisations, within each example and over the batch."""

from funcparams.nn.norm.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from funcparams.nn.norm.instance import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from funcparams.nn.norm.local import CrossMapLRN2d, LocalResponseNorm
from funcparams.nn.norm.syncbatchnorm import AxisNameError, SyncBatchNorm
from funcparams.nn.norm.within import GroupNorm, LayerNorm, RMSNorm

__all__ = [
    "AxisNameError",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CrossMapLRN2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "SyncBatchNorm",
]
