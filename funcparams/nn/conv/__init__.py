"""Convolutions."""

from funcparams.nn.conv.convolution import Conv1d, Conv2d, Conv3d

__all__ = ["Conv1d", "Conv2d", "Conv3d"]
