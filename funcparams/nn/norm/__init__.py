"""Normalisations, within each example and over the batch."""

from funcparams.nn.norm.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from funcparams.nn.norm.within import GroupNorm, LayerNorm, RMSNorm

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "LayerNorm", "RMSNorm"]
